"""Keeps the access trail: hears what happens at the doors, ties it to bookings and to what we asked, raises alerts, tells staff at once (D6).

Not for: opening doors (`doors`), nor the rows themselves (`store.door_trail`). Invariant: an event is in the trail once, however often it is
heard and whatever fails meanwhile; what the books do not take now is kept and tried again, and what a restart loses is read again from the
controller's log. Nothing here holds up a door.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from urllib.parse import quote

import msgspec

from shared.errors import Failure, refuse
from shared.ledger import outage_pins, records
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import DoorEvent, Doors
from site_agent.services import views
from site_agent.services.doors import door_words
from site_agent.services.doors.doors import DoorDesk
from site_agent.services.people import Asker
from site_agent.store import door_trail, door_work
from site_agent.store.door_trail import LEAVES, Alert, AlertKind, Row

_log = log.get("site_agent.door_trail")

#: events that wait for the books; beyond it the controller waits, whose log keeps them
WAITING_MAX, BATCH_MAX = 1000, 200
TRY_AGAIN_S = 1.0
#: a leaf may open so long after somebody was let in, and the controller tells of that a moment after the leaf
LET_IN_S, FORCED_WAIT_S = 30, 3
DENIED_TIMES, DENIED_WITHIN_S = 3, 600
#: of one kind at one door, no second alert so soon after one that nobody has looked at
ALERT_AGAIN_S = 600
#: a clock that is off by less is as good as right, for a door
SKEW_SHOWN_S = 2
STANDS_EVERY_S = 86_400
PAGE_MAX = 200
WORD_MAX = 300


class Clips(msgspec.Struct, frozen=True):
    """Where a moment's recording is seen: `url` with `{camera}` and `{at_ms}` (unix milliseconds), and the camera of each door (D8)."""

    url: str = ""
    cameras: dict[str, str] = {}

    def at(self, door_id: str, at: int) -> str:
        """The address for this moment (unix seconds) at a door; empty where no camera looks at it."""
        camera = self.cameras.get(door_id, "")
        return self.url.replace("{camera}", quote(camera, safe="")).replace("{at_ms}", str(at * 1000)) if self.url and camera else ""


class TrailSettings(msgspec.Struct, frozen=True):
    """`held_open_s`: how long a leaf may stand open. `keep_days`: how long rows are kept. `leaf_alarms`: whether a leaf that opens while locked,
    or stands open, is an alarm; not where people go out by a handle that the controller does not know of. `clips`: where recordings are seen."""

    held_open_s: int = 120
    keep_days: int = 400
    leaf_alarms: bool = True
    clips: Clips = Clips()


class TrailRow(msgspec.Struct, frozen=True):
    """A row for staff. `at` ISO 8601, `clock` by the facility's wall clock; `alert` is its kind while somebody must look at it, else empty.
    `clip`: where the recording of that moment can be seen, empty where no camera looks at the door."""

    n: int
    at: str
    clock: str
    kind: str
    door_id: str
    door: str
    sentence: str
    booking_id: str
    alert: str
    clip: str = ""


class DoorNamed(msgspec.Struct, frozen=True):
    id: str
    name: str


class TrailPage(msgspec.Struct, frozen=True):
    """The newest rows first; `more`: there are older ones. `doors` are those that the trail knows; `live`: events come as they happen."""

    rows: tuple[TrailRow, ...]
    more: bool
    doors: tuple[DoorNamed, ...]
    live: bool


class AlertView(msgspec.Struct, frozen=True):
    """An alert that nobody has answered yet: what happened, and what is known around it."""

    n: int
    kind: str
    at: str
    clock: str
    door: str
    sentence: str
    context: str


class _Known:
    """The keys that the trail has, for an adapter that asks of one at a time."""

    def __init__(self, trail: DoorTrail):
        self._trail = trail

    def __contains__(self, key: object) -> bool:
        return self._trail.has(str(key))


class DoorTrail:
    """One site's. `doors` None: no controller, and only what was asked of it before is there to be read."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, doors: Doors | None, door_desk: DoorDesk,
        settings: TrailSettings,
    ):  # fmt: skip
        self._db, self._desk, self._houses, self._site_id = db, desk, houses, site_id
        self._doors, self._door_desk, self._settings = doors, door_desk, settings
        self._waiting: asyncio.Queue[DoorEvent] = asyncio.Queue(WAITING_MAX)
        self._tasks: list[asyncio.Task[None]] = []
        self._watchers: list[Callable[[TrailRow], None]] = []
        self._names: dict[str, str] = {}
        #: a leaf that opened while its lock was locked -> when, as long as nobody is known to have been let in
        self._suspect: dict[str, int] = {}
        self._stood_at = 0
        #: called when the controller tells that its mode is another
        self.on_emergency: Callable[[], None] = lambda: None
        #: whether a door is meant to stand open just now, so that it is no alarm for it
        self.meant_open: Callable[[str], bool] = lambda _: False
        db.listen(self._changed)

    def watch(self, watcher: Callable[[TrailRow], None]) -> None:
        """`watcher(row)` is called for every new row, and for one whose alert was answered, after its commit."""
        self._watchers.append(watcher)

    async def start(self) -> None:
        if self._doors is not None:
            self._tasks = [asyncio.create_task(self._listen(self._doors)), asyncio.create_task(self._keep())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    # ---- hear
    async def _listen(self, doors: Doors) -> None:
        while True:
            try:
                after_ms = self._db.read(lambda tx: door_trail.last_said_ms(tx, self._site_id))
                async with aclosing(doors.events(after_ms, _Known(self))) as found:
                    async for event in found:
                        if event.kind == "emergency":
                            self.on_emergency()  # no event of a door: whoever keeps the mode asks for it
                        else:
                            await self._waiting.put(event)
            except Exception as error:  # an adapter that breaks must not end the trail
                if not self._db.failing:
                    _log.error("door_trail.listening_broke", error=error)
            await asyncio.sleep(TRY_AGAIN_S)

    async def _keep(self) -> None:
        """Takes what waits into the books, all of it in one commit; what cannot be written now is tried again."""
        while True:
            events = [await self._waiting.get()]
            while len(events) < BATCH_MAX and not self._waiting.empty():
                events.append(self._waiting.get_nowait())
            while True:
                try:
                    await self.keep(events)
                    break
                except Failure:
                    await asyncio.sleep(TRY_AGAIN_S)
                except Exception as error:
                    _log.error("door_trail.row_broke", error=error, count=len(events))
                    break

    async def keep(self, events: list[DoorEvent]) -> int:
        """Takes events into the trail. Returns how many were news. Raises Failure where the books cannot be written; one that breaks costs
        itself and no other."""
        return await self._db.write(lambda tx: sum(self._taken(tx, event) for event in events))

    def _taken(self, tx: Tx, event: DoorEvent) -> bool:
        try:
            return tx.attempt(lambda: self._take(tx, event))
        except Failure:
            raise
        except Exception as error:
            if tx.trouble is not None:
                raise
            _log.error("door_trail.event_broke", error=error, kind=event.kind, door_id=event.door_id)
            return False

    def _take(self, tx: Tx, event: DoorEvent) -> bool:
        if door_trail.has(tx, self._site_id, event.key):
            return False
        if event.kind in LEAVES:
            return self._take_leaf(tx, event)
        row = self._add(tx, self._row(tx, event))
        if event.kind == "unlocked":
            self._suspect.pop(event.door_id, None)
        elif event.kind == "denied":
            since_at = row.at - DENIED_WITHIN_S
            if door_trail.count_since(tx, self._site_id, row.door_id, "denied", since_at) >= DENIED_TIMES:
                self._alert(tx, "denied", row)
        elif event.kind in ("forced", "held"):
            self._suspect.pop(event.door_id, None)
            self._alert(tx, event.kind, row)
        return True

    def _take_leaf(self, tx: Tx, event: DoorEvent) -> bool:
        before = door_trail.last_of(tx, self._site_id, event.door_id, LEAVES)
        if (before.kind if before else "closed") == event.kind:
            return False
        row = self._add(
            tx,
            Row(kind=event.kind, door_id=event.door_id, at=event.at, how="" if event.live else "found", key=event.key, detail=event.lock),
        )
        if event.kind == "closed":
            return True
        let_in = door_trail.let_in_between(tx, self._site_id, event.door_id, row.at - LET_IN_S, row.at)
        if event.live and event.lock == "locked" and not let_in and not self.meant_open(event.door_id):
            self._suspect[event.door_id] = row.at
        return True

    def _row(self, tx: Tx, event: DoorEvent) -> Row:
        """The event with what the books know of it; times by our clock."""
        asked = self._door_desk.asked(event.request_id) or door_trail.asked(tx, event.request_id)
        booking_id, spare = self._booking_of(tx, event)
        skew_s = self._doors.clock_skew_s() if self._doors is not None else None
        off_s = round(skew_s) if skew_s is not None and abs(skew_s) >= SKEW_SHOWN_S else 0
        return Row(
            kind=event.kind, door_id=event.door_id, at=event.at - off_s, how=event.how, who=event.actor_id,
            name="" if booking_id or spare else _plain(event.actor_name), booking_id=booking_id or (asked.booking_id if asked else ""), ref=event.request_id,
            key=event.key, said_ms=event.said_ms, detail=self._detail(event, asked, spare),
        )  # fmt: skip

    @staticmethod
    def _detail(event: DoorEvent, asked: Row | None, spare: str) -> str:
        """Of an unlock of ours the reason that it was asked for with; else what the controller says."""
        if event.request_id:
            return asked.how if asked else ""
        return f"{door_words.SPARE} {spare}" if spare else _plain(event.message)

    def _booking_of(self, tx: Tx, event: DoorEvent) -> tuple[str, str]:
        """`(booking, spare)` of the credential that was used: by the controller's name of it, else by the words it bears."""
        wanted = door_work.booking_of(tx, event.actor_id) if event.actor_id else ""
        for found in dict.fromkeys((wanted, event.booking_id)):
            if not found:
                continue
            if records.booking(tx, found) is not None:
                return found, ""
            spare = outage_pins.one(tx, found)
            if spare is not None:
                return (spare.booking_id, "") if spare.booking_id else ("", spare.id)
        return "", ""

    def _add(self, tx: Tx, row: Row) -> Row:
        return msgspec.structs.replace(row, n=door_trail.add(tx, self._site_id, row))

    def _alert(self, tx: Tx, kind: AlertKind, row: Row) -> None:
        if not door_trail.standing_alert(tx, self._site_id, kind, row.door_id, row.at - ALERT_AGAIN_S):
            door_trail.raise_alert(tx, self._site_id, kind, row)
            _log.warning("door.alert", kind=kind, door_id=row.door_id, booking_id=row.booking_id)

    # ---- judge, by the clock
    async def tick(self) -> None:
        """Every second: leaves that opened while nobody was let in, and leaves that stand open for too long."""
        if not self._tasks or not self._settings.leaf_alarms:
            return
        now = self._desk.now()
        forced = {door_id: at for door_id, at in dict(self._suspect).items() if now - at >= FORCED_WAIT_S}
        held = self._db.read(lambda tx: self._held(tx, now)) if self.live() else []
        if forced or held:
            await self._db.write(lambda tx: self._judge(tx, now, forced, held))
        for door_id in forced:
            self._suspect.pop(door_id, None)

    def _held(self, tx: Tx, now: int) -> list[Row]:
        """The leaves that have stood open for too long and were not told of since they opened."""
        found = []
        for door_id in door_trail.doors(tx, self._site_id):
            leaf = door_trail.last_of(tx, self._site_id, door_id, LEAVES)
            if leaf is None or leaf.kind != "opened" or now - leaf.at < self._settings.held_open_s or self.meant_open(door_id):
                continue
            told = door_trail.last_of(tx, self._site_id, door_id, ("held",))
            if told is None or told.n < leaf.n:
                found.append(leaf)
        return found

    def _judge(self, tx: Tx, now: int, forced: dict[str, int], held: list[Row]) -> None:
        for door_id, at in forced.items():
            known = door_trail.last_of(tx, self._site_id, door_id, ("forced",))
            told = known is not None and abs(known.at - at) <= LET_IN_S
            if not told and not door_trail.let_in_between(tx, self._site_id, door_id, at - LET_IN_S, at + FORCED_WAIT_S):
                self._alert(tx, "forced", self._add(tx, Row(kind="forced", door_id=door_id, at=at, key=f"forced-{door_id}-{at}")))
        for leaf in held:
            row = Row(kind="held", door_id=leaf.door_id, at=now, key=f"held-{leaf.n}", detail=f"{now - leaf.at} s")
            if not door_trail.has(tx, self._site_id, row.key):
                self._alert(tx, "held", self._add(tx, row))

    async def tidy(self) -> int:
        """Every hour: notes in the journal once a day how far the trail is, and lets rows go that have had their time (not by a clock in doubt). Returns
        the last row that went, 0 for none."""

        def run(tx: Tx) -> int:
            now = self._desk.now()
            if now - self._stood_at >= STANDS_EVERY_S:
                self._stood_at = now
                door_trail.stands(tx, self._site_id, now)
            if self._desk.clock_doubt():
                return 0
            return door_trail.forget(tx, self._site_id, now - self._settings.keep_days * 86_400, now)

        return await self._db.write(run)

    # ---- for staff
    def live(self) -> bool:
        """Whether events are heard as they happen."""
        return bool(self._tasks) and self._doors is not None and self._doors.hearing()

    def waiting(self) -> int:
        """How many alerts nobody has answered yet."""
        return len(self._db.read(lambda tx: door_trail.open_alerts(tx, self._site_id)))

    def has(self, key: str) -> bool:
        return self._db.read(lambda tx: door_trail.has(tx, self._site_id, key))

    def page(self, *, before_n: int = 0, door_id: str = "", booking_id: str = "", limit: int = 50) -> TrailPage:
        limit = max(1, min(PAGE_MAX, limit))

        def read(tx: Tx) -> TrailPage:
            house = self._houses.of(tx, self._site_id)
            found = door_trail.page(tx, self._site_id, before_n=before_n, door_id=door_id, booking_id=booking_id, limit=limit + 1)
            shown = tuple(self._shown(tx, house, row) for row in found[:limit])
            doors = tuple(DoorNamed(one, self._door_desk.name_of(one)) for one in door_trail.doors(tx, self._site_id))
            return TrailPage(shown, len(found) > limit, doors, self.live())

        return self._db.read(read)

    def alerts(self) -> list[AlertView]:
        """What somebody must look at, the newest first."""

        def read(tx: Tx) -> list[AlertView]:
            house, told = self._houses.of(tx, self._site_id), []
            for one in door_trail.open_alerts(tx, self._site_id):
                row = door_trail.row(tx, self._site_id, one.n)
                if row is not None:
                    told.append(self._alert_shown(tx, house, one, row))
            return told

        return self._db.read(read)

    async def answer(self, n: int, word: str, asker: Asker) -> None:
        """Somebody has looked and says what it was. Refuses `not_allowed`, `not_found`, `bad_request` without a word."""
        asker.needs("unlock")
        word = " ".join(word.split())[:WORD_MAX]
        if not word:
            raise refuse("bad_request", "Please say what it was.")

        def run(tx: Tx) -> None:
            found = door_trail.alert(tx, self._site_id, n)
            if found is None:
                raise refuse("not_found", "There is no such alert.")
            if found.seen_at:
                return
            door_trail.see_alert(tx, self._site_id, n, by=asker.id, at=self._desk.now(), word=word)
            records.journal(tx, self._desk.now(), self._site_id, asker.id, f"door alert answered: {found.kind}", f"{found.door_id} {n}", word)

        await self._db.write(run)

    def _alert_shown(self, tx: Tx, house: House, one: Alert, row: Row) -> AlertView:
        name = self._door_desk.name_of(row.door_id)
        sentence = door_words.sentence(tx, house, row, name)
        if one.kind == "denied":
            count = door_trail.count_since(tx, self._site_id, row.door_id, "denied", row.at - DENIED_WITHIN_S)
            sentence = f"{sentence} Refused there {count} times within {DENIED_WITHIN_S // 60} minutes."
        where = door_words.context(tx, house, self._site_id, row)
        return AlertView(one.n, one.kind, views.iso(row.at), door_words.clock(house.facility.zone, row.at), name, sentence, where)

    def _shown(self, tx: Tx, house: House, row: Row) -> TrailRow:
        name, found = self._door_desk.name_of(row.door_id), door_trail.alert(tx, self._site_id, row.n)
        return TrailRow(
            row.n, views.iso(row.at), door_words.clock(house.facility.zone, row.at), row.kind, row.door_id, name,
            door_words.sentence(tx, house, row, name), row.booking_id, found.kind if found is not None and not found.seen_at else "",
            self._settings.clips.at(row.door_id, row.at),
        )  # fmt: skip

    def _changed(self, events: list[tuple[str, str]]) -> None:
        """After a commit: every new row goes to whoever watches, in its order."""
        places = sorted({int(key) for topic, key in events if topic == "door_trail"})
        if not places or not self._watchers:
            return

        def read(tx: Tx) -> list[TrailRow]:
            house = self._houses.of(tx, self._site_id)
            found = [door_trail.row(tx, self._site_id, n) for n in places]
            return [self._shown(tx, house, row) for row in found if row is not None]

        for row in self._db.read(read):
            for watcher in self._watchers:
                watcher(row)


def _plain(text: str) -> str:
    """What the controller says, as one short line; nothing where it says that it does not know."""
    told = "".join(letter if letter.isprintable() else " " for letter in text)[:200].strip()
    return "" if told == "N/A" else told
