"""Opening doors for people: by whom, for which booking, journalled, with an honest answer about what the controller said.

The browser never opens a door, this does (K1). Invariant: every unlock that was asked for stands in the journal with actor, booking and
outcome; a door controller that is away or absent refuses nothing but the unlock itself; no lock is told from a word older than `OLD_S`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from shared.errors import Failure, refuse
from shared.ledger import records
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import Actor, DoorDevice, DoorHold, DoorPlace, Doors, DoorsRefused, DoorState, DoorsUnavailable, Unlocked
from site_agent.services.alarms import Alarm
from site_agent.services.doors import door_words
from site_agent.services.people import Asker
from site_agent.services.views import iso
from site_agent.store import door_trail
from site_agent.store.door_trail import Row

_log = log.get("site_agent.doors")

RUNBOOK = "door-controller-away"

#: how long a person at the door is kept waiting for the controller's answer
ANSWER_WAIT_S = 3.0
STATES_KEPT_S = 5.0
#: a pulse ends by itself and the controller tells nobody: when to ask whether the door has locked again, after an unlock
AGAIN_AFTER_S = (2, 7)
#: how often to ask while somebody watches, since doors are also opened at their readers
WATCHED_EVERY_S = 15
#: after this a lock's state is no news any more and is not told
OLD_S = 30
STOP_WAIT_S = 2.0
#: unlocks whose events may still come
ASKED_KEPT = 256
#: how often hubs and readers are looked at, beside a look at the doors
DEVICES_EVERY_S = 60
#: a token that may not see them must be changed by a person
DEVICES_REFUSED_S = 3600
WRITE_AGAIN_S = 1.0
#: the controller opens nothing meanwhile
LOCKED_DOWN = "The facility is locked down, so this door was not opened. End the lock-down first, under “Doors”."


class DoorView(msgspec.Struct, frozen=True):
    """A door with what the controller says of it; `seen_at` unix seconds of that word, 0 if it was never heard. `where`: the floor, where the
    controller has several. `held`: it is held open, until `held_until` (ISO 8601, empty without an end)."""

    id: str
    name: str
    lock: str
    leaf: str
    controlled: bool
    seen_at: int
    where: str = ""
    held: bool = False
    held_until: str = ""


class DeviceView(msgspec.Struct, frozen=True):
    """A hub or a reader of the doors. `door` as people call it, empty where it belongs to none; `online` None: the controller does not say."""

    id: str
    name: str
    kind: str
    model: str
    door: str
    online: bool | None
    firmware: str
    reads: tuple[str, ...]


class Panel(msgspec.Struct, frozen=True):
    """All doors of the facility. `trouble` is the sentence for staff while the controller is away; `configured` false: there is none. `told`: what
    is amiss with the devices, a sentence each."""

    configured: bool
    trouble: str
    doors: tuple[DoorView, ...]
    devices: tuple[DeviceView, ...] = ()
    told: tuple[str, ...] = ()


class Opened(msgspec.Struct, frozen=True):
    """What came of asking doors to open: `opened` answered yes, `silent` have not answered yet, `failed` said no or were not reached. `barred`: why
    none was asked at all, in a sentence."""

    asked: tuple[str, ...]
    opened: tuple[str, ...]
    silent: tuple[str, ...]
    failed: tuple[str, ...]
    barred: str = ""

    @property
    def any(self) -> bool:
        return bool(self.opened)


class DoorDesk:
    """The facility's doors; `doors` None where no controller is configured."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, doors: Doors | None):
        self._db, self._desk, self._houses, self._site_id, self._doors = db, desk, houses, site_id, doors
        self._seen: dict[str, DoorState] = {}
        #: door -> its place in the panel
        self._numbers: dict[str, int] = {}
        self._asked_at = self._heard_at = 0
        self._trouble, self._refused = "", False
        self._again: dict[str, tuple[int, ...]] = {}
        self._asked: OrderedDict[str, Row] = OrderedDict()
        self._starting: asyncio.Future[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._asking_devices: asyncio.Task[None] | None = None
        self._unlocking: set[asyncio.Task[Unlocked]] = set()
        self._writing: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._watchers: list[Callable[[], None]] = []
        self._devices: list[DoorDevice] = []
        self._places: dict[str, DoorPlace] = {}
        self._devices_at, self._devices_trouble = 0, ""
        #: how a door is held open, None where it is not
        self.held: Callable[[str], DoorHold | None] = lambda _: None
        #: why no door is opened for guests just now; empty where they are
        self.barred: Callable[[], str] = lambda: ""

    @property
    def configured(self) -> bool:
        return self._doors is not None

    @property
    def trouble(self) -> str:
        """The sentence for staff while the controller is away; empty otherwise, and before it was first asked."""
        return self._trouble

    async def start(self) -> None:
        """A controller that is away holds nothing up."""
        if self._doors is not None:
            self._starting = asyncio.create_task(self._begin(self._doors))

    async def _begin(self, doors: Doors) -> None:
        await doors.start()
        self._known_ids()
        if not self._stopping:
            await self.look()  # so that the first page knows the doors by name

    async def stop(self) -> None:
        if self._doors is None or self._starting is None:
            return
        self._stopping = True
        await asyncio.gather(self._starting, return_exceptions=True)
        asking = [task for task in (self._asking, self._asking_devices) if task is not None]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await self._doors.stop()
        # The adapter has ended its pulses; what they came to is still written down, but nothing is waited for without end.
        for under_way in (self._unlocking, self._writing):
            if under_way:
                await asyncio.wait(set(under_way), timeout=STOP_WAIT_S)

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called after every unlock and whenever the controller's word has changed."""
        self._watchers.append(watcher)

    # ---- open
    def ask(self, door_ids: tuple[str, ...], actor: Actor, booking_id: str, what: str) -> dict[str, asyncio.Task[Unlocked]]:
        """Starts the unlocks at once and returns them by door; each writes its outcome into the journal when it is known."""
        if self._doors is None:
            return {}
        return {door_id: self._start(door_id, actor, self._desk.new_id(), booking_id, what) for door_id in door_ids}

    def _start(
        self, door_id: str, actor: Actor, request_id: str, booking_id: str, what: str, *, by_hand: bool = False
    ) -> asyncio.Task[Unlocked]:
        assert self._doors is not None
        # Known before the controller is asked: its event may be here before its answer.
        asked = Row(
            kind="asked",
            door_id=door_id,
            at=self._desk.now(),
            how=what,
            who=actor.id,
            name=actor.name,
            booking_id=booking_id,
            ref=request_id,
        )
        self._asked[request_id] = asked
        while len(self._asked) > ASKED_KEPT:
            self._asked.popitem(last=False)
        kept_shut = "" if by_hand else self.barred()
        task = asyncio.get_running_loop().create_task(_stay(kept_shut) if kept_shut else self._doors.unlock(door_id, actor, request_id))
        self._unlocking.add(task)
        task.add_done_callback(lambda done: self._ended(done, asked, actor))
        return task

    def called(self, signature: str, body: bytes) -> bool:
        """Whether a call to us was the door controller's own."""
        return self._doors is not None and self._doors.called(signature, body)

    def asked(self, request_id: str) -> Row | None:
        """What was asked lately under this request."""
        return self._asked.get(request_id)

    def has(self, door_id: str) -> bool:
        return door_id in self._known_ids()

    def unlocked(self) -> list[str]:
        """The doors that stood unlocked when they were last looked at, and that can be told not to."""
        return [seen.door_id for seen in self._seen.values() if seen.controlled and seen.lock == "unlocked"]

    def name_of(self, door_id: str) -> str:
        """The door as people call it, everywhere the same: by the controller's name for it, and by its number in the panel before that was heard."""
        seen = self._seen.get(door_id)
        if seen is not None and seen.name:
            return door_words.door_name(seen.name)
        return f"Door {self._numbers[door_id]}" if door_id in self._numbers else door_words.door_name(door_id)

    def _ended(self, task: asyncio.Task[Unlocked], asked: Row, actor: Actor) -> None:
        door_id, booking_id, what = asked.door_id, asked.booking_id, asked.how
        self._unlocking.discard(task)
        error = None if task.cancelled() else task.exception()
        outcome = "unlocked" if error is None and not task.cancelled() else f"failed: {getattr(error, 'detail', None) or error}"
        unknown = isinstance(error, DoorsUnavailable) and error.outcome_unknown
        detail = f"unknown: {error.detail}" if unknown else outcome
        if error is not None and not isinstance(error, Failure):
            _log.error("door.unlock_broke", error=error, door_id=door_id, booking_id=booking_id)
        else:
            _log.info("door.unlock", door_id=door_id, booking_id=booking_id, actor=actor.id, outcome=outcome)

        def write(tx: Tx) -> None:
            now = self._desk.now()
            records.journal(tx, now, self._site_id, actor.id, f"unlock {door_id}", booking_id or door_id, f"{what}: {outcome}")
            last = door_trail.asked(tx, asked.ref)
            if last is None or last.detail != detail:  # asked again under the same request, it is one pulse
                door_trail.add(tx, self._site_id, msgspec.structs.replace(asked, detail=detail))

        async def journal() -> None:
            while True:
                try:
                    await self._db.write(write)
                    return
                except Failure:  # the books are full: who opened what is still written down when they are not
                    if self._stopping:
                        raise
                    await asyncio.sleep(WRITE_AGAIN_S)

        writing = asyncio.get_running_loop().create_task(journal())
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        self._tell()
        if error is None and not task.cancelled():
            self._again[door_id] = tuple(self._desk.now() + after_s for after_s in AGAIN_AFTER_S)
        self._look_soon()

    async def answered(self, tasks: dict[str, asyncio.Task[Unlocked]], wait_s: float = ANSWER_WAIT_S) -> Opened:
        """What the controller has said after at most `wait_s`."""
        if tasks:
            await asyncio.wait(tasks.values(), timeout=wait_s)
        opened = tuple(door for door, task in tasks.items() if task.done() and not task.cancelled() and task.exception() is None)
        silent = tuple(door for door, task in tasks.items() if not task.done())
        failed = tuple(door for door in tasks if door not in opened and door not in silent)
        return Opened(tuple(tasks), opened, silent, failed, self.barred() if failed and not opened else "")

    async def unlock_by(self, door_id: str, request_id: str, asker: Asker, reason: str) -> Unlocked:
        """Staff open a door. The same `request_id` is one pulse. Refuses `no_doors`, `not_found`, `door_unavailable`, `door_refused`."""
        if self._doors is None:
            raise refuse("no_doors", "No door controller is connected to this system.")
        if not self.has(door_id):
            raise refuse("not_found", "This facility has no such door.")
        actor, why = Actor(asker.id, asker.name or asker.id), reason or door_words.BY_STAFF
        # On record before the pulse: should the agent end before the controller answers, it still says who asked.
        asked = f"asked to unlock {door_id}"
        await self._db.write(lambda tx: records.journal(tx, self._desk.now(), self._site_id, asker.id, asked, door_id, why))
        task = self._start(door_id, actor, request_id, "", why, by_hand=True)
        try:
            return await asyncio.shield(task)
        except DoorsUnavailable as error:
            raise refuse("door_unavailable", error.detail, retry_after_s=error.retry_after_s) from None
        except DoorsRefused as error:
            if error.code == "refused" and self.barred():  # what the controller said stands in log and journal
                raise refuse("door_refused", LOCKED_DOWN) from None
            raise refuse("door_refused", error.detail) from None

    def alarms(self) -> list[Alarm]:
        """A sentence as long as the controller refuses us, which only a person can mend; one that is away comes back by itself."""
        return [Alarm("doors_refused", self._trouble, RUNBOOK, bad=False)] if self._trouble and self._refused else []

    def doors_of(self, tx: Tx, resource_id: str) -> tuple[str, ...]:
        """The doors that a booking of this bay opens: the facility's and the bay's own."""
        house = self._houses.of(tx, self._site_id)
        bay = house.resources.get(resource_id)
        return tuple(dict.fromkeys((*house.facility.door_ids, *(bay.door_ids if bay else ()))))

    # ---- look
    def panel(self) -> Panel:
        """What is known now; asks the controller anew in the background where that is old."""
        if self._doors is None:
            return Panel(False, "", ())
        self.refresh()
        doors = tuple(self._view(door_id) for door_id in self._known_ids())
        return Panel(True, self._trouble, doors, tuple(self._device(one) for one in self._devices), self.amiss())

    def _view(self, door_id: str) -> DoorView:
        """What the controller said last; an old word is no news, nor is any while it is away, so lock and leaf are unknown then."""
        seen, hold = self._seen.get(door_id), self.held(door_id)
        if seen is None:
            return DoorView(door_id, self.name_of(door_id), "unknown", "unknown", True, 0)
        until = iso(hold.until_at) if hold is not None and hold.until_at else ""
        lock, leaf = ("unknown", "unknown") if self._trouble or self._old() else (seen.lock, seen.leaf)
        return DoorView(
            door_id, self.name_of(door_id), lock, leaf, seen.controlled, self._heard_at, self._floor(door_id), hold is not None, until
        )

    def _floor(self, door_id: str) -> str:
        several = len({place.floor for place in self._places.values()}) > 1
        return self._places[door_id].floor if several and door_id in self._places else ""

    def _device(self, one: DoorDevice) -> DeviceView:
        door = self.name_of(one.door_id) if one.door_id in self._seen else ""
        return DeviceView(one.device_id, one.name, one.kind, one.model, door, one.online, one.firmware, one.reads)

    def amiss(self) -> tuple[str, ...]:
        """What people must see to with hubs and readers, a sentence each. Of a controller that is away nothing is known about them."""
        if self._trouble:
            return ()
        told = [self._devices_trouble] if self._devices_trouble else []
        for one in map(self._device, self._devices):
            if one.online is False:
                at = f" at {door_words.within(one.door)}" if one.door else ""
                means = {
                    "hub": "That door opens neither from here nor at its reader."
                    if one.door
                    else "Its doors open neither from here nor at their readers.",
                    "reader": "No PIN, code or card is read there; check-in at the kiosk still opens the door.",
                }
                told.append(f"The {one.kind} “{one.name}”{at} is offline. {means.get(one.kind, '')}".rstrip())
        return tuple(told)

    def _old(self) -> bool:
        return self._desk.now() - self._heard_at > OLD_S

    def _known_ids(self) -> list[str]:
        """The doors that the config names, then those that the controller has beside them."""
        house = self._db.read(lambda tx: self._houses.of(tx, self._site_id))
        named = [*house.facility.door_ids, *(door for bay in house.resources.values() for door in bay.door_ids)]
        known = list(dict.fromkeys([*named, *(seen.door_id for seen in self._seen.values() if seen.controlled)]))
        self._numbers = {door_id: number for number, door_id in enumerate(known, 1)}
        return known

    def refresh(self) -> None:
        """Somebody begins to watch: asks the controller in the background where its last word is older than `STATES_KEPT_S`."""
        if self._doors is not None and self._desk.now() - self._asked_at >= STATES_KEPT_S:
            self._look_soon()

    async def tick(self, *, watched: bool) -> None:
        """Asks again what is due: doors that were unlocked until they read locked, and all of them now and then while `watched`."""
        now = self._desk.now()
        due = {door_id: tuple(at for at in times if at > now) for door_id, times in self._again.items() if times[0] <= now}
        if self._doors is None or not (due or (watched and now - self._asked_at >= WATCHED_EVERY_S)):
            return
        for door_id, later in due.items():
            self._again[door_id] = later
            if not later:
                del self._again[door_id]
        self._look_soon()
        if self._asking is not None:
            await asyncio.wait([self._asking])
        for door_id, later in due.items():
            seen = self._seen.get(door_id)
            # another unlock meanwhile has set times of its own, which stay
            if not self._trouble and seen is not None and seen.lock == "locked" and self._again.get(door_id) == later:
                del self._again[door_id]

    def changed(self) -> None:
        """Something was asked of a door elsewhere: what it is now is asked for, and whoever watches is told."""
        self._tell()
        self._look_soon()

    def _look_soon(self) -> None:
        if not self._stopping and (self._asking is None or self._asking.done()):
            self._asking = asyncio.get_running_loop().create_task(self.look())

    async def look(self) -> None:
        """Asks the controller for its doors now."""
        if self._doors is None:
            return
        before, was_old = (self._seen, self._trouble), self._old()
        try:
            self._seen = {door.door_id: door for door in await self._doors.doors()}
            self._trouble, self._heard_at = "", self._desk.now()
        except Failure as error:
            self._trouble, self._refused = error.detail, isinstance(error, DoorsRefused)
        self._asked_at = self._desk.now()
        if before != (self._seen, self._trouble) or (was_old and not self._trouble):
            self._tell()
        if not (self._trouble or self._stopping) and self._asked_at - self._devices_at >= DEVICES_EVERY_S:
            self._devices_at = self._desk.now()
            self._asking_devices = asyncio.get_running_loop().create_task(self._look_at_devices(self._doors))

    async def _look_at_devices(self, doors: Doors) -> None:
        """Not at every look, and beside it: it takes the controller longer than its doors do."""
        before = self.amiss()
        try:
            self._devices, self._devices_trouble = await doors.devices(), ""
            if not self._places:
                self._places = {place.door_id: place for place in await doors.places()}
        except DoorsUnavailable:
            return  # the doors themselves tell soon enough whether it is away
        except Failure as error:
            self._devices_at += DEVICES_REFUSED_S
            self._devices, self._devices_trouble = [], f"How the readers and hubs are cannot be seen. {error.detail}"
        if before != self.amiss():
            self._tell()

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()


async def _stay(why: str) -> Unlocked:
    """An unlock that is not asked for; it stands in journal and trail like one that failed."""
    raise DoorsRefused(why)
