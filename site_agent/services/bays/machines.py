"""The bays' machines for staff: how each is, as far as anybody knows, and help from afar: restart, a service anew, an approved script (M3, M5).

Several ways may lead to a bay; each is looked at by itself (`machine_watch`), and which is taken and believed says `machine_choice`. Not for:
taking a bay out of sale, how a command is given and followed (`machine_work`), nor what bays need by themselves (`bay_jobs`). Invariants: what was
not heard of for long is unknown, whatever it was before; nothing is run that the settings do not list; every command stands in the journal with who
asked and why, before it is given; a machine has one command at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from shared import rules, slots
from shared.bookings import shown
from shared.errors import refuse
from shared.ledger import records, work
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.ledger.work import Work
from shared.ledger.worker import Drop, Wait
from shared.model import Resource
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.config import MachineSettings
from site_agent.ports import Activity, MachineCommand, Machines
from site_agent.services.bays import machine_choice as choice
from site_agent.services.bays.machine_choice import DISTURBING, Told, Way
from site_agent.services.bays.machine_watch import WayWatch
from site_agent.services.bays.machine_work import DEADLINE_S, JOB, KIND, MachineWork, Order, State, lane_of, order_of, state_of
from site_agent.services.people import Asker
from site_agent.store import machines as store

#: what may be asked of a bay where a way to it does that, beside what the settings list: `(kind, what) -> what it is called`
PLAIN = {
    ("wake", ""): "Wake the PC", ("shutdown", ""): "Shut the PC down", ("lights", "on"): "Lights on", ("lights", "off"): "Lights off",
    ("prepare", ""): "Prepare for a guest", ("cleanup", ""): "Clean up",
}  # fmt: skip
#: how often one on the facility's own network is looked at, seconds
NEAR_POLL_S = 10
#: a text for a bay's screen
MESSAGE_MAX = 300
#: commands of a bay that are shown, and for how long
SHOWN_MAX, SHOWN_S = 3, 86_400


class Offer(msgspec.Struct, frozen=True):
    """Something that staff may have done: `kind` as the port has it; `name` as the settings call it, "on" or "off" for lights, else empty."""

    kind: str
    name: str
    label: str


class CommandView(msgspec.Struct, frozen=True):
    """A command as staff see it. `state`: waiting (for the vendor), going, unclear (whether it was taken is being found out), done, failed, unknown
    (nobody knows how it ended), dropped (not given). `text`: the machine's own words, or why; `way`: who did it, or was last to try, as people call
    it. Times in unix seconds; `ended_at` 0 while it goes on."""

    id: str
    told: str
    by: str
    why: str
    at: int
    state: State
    text: str
    ended_at: int
    way: str = ""


class WayView(msgspec.Struct, frozen=True):
    """One way to a bay: what it is called, whether it would do something there now, and why not."""

    name: str
    able: bool
    why: str


class MachineView(msgspec.Struct, frozen=True):
    """A bay's machine. `state`: good, trouble, unknown, asleep (shut down by us), or none where the bay has no machine. `told`: sentences. `seen_at`:
    when it was last heard that it is so, unix seconds (0: never). `in_use`: who plays there now, in words; empty for nobody. `ways` in preference;
    `does`: the kinds of commands that one of them is there for."""

    resource_id: str
    bay: str
    machine_id: str
    state: str
    told: tuple[str, ...]
    seen_at: int
    in_use: str
    commands: tuple[CommandView, ...]
    ways: tuple[WayView, ...] = ()
    does: tuple[str, ...] = ()


class MachinePanel(msgspec.Struct, frozen=True):
    """All bays' machines. `configured` false: nobody looks after them. `trouble`: why nothing is heard just now; `alarms`: what a person must do."""

    configured: bool
    trouble: str
    alarms: tuple[str, ...]
    offers: tuple[Offer, ...]
    bays: tuple[MachineView, ...]


def _nobody_plans(tx: Tx, row: Work, order: Order, now: int) -> Drop:
    return Drop("not_wanted", "Nobody plans what bays need by themselves.")


class MachineDesk:
    """The facility's machines; `ways` in preference, empty where nobody looks after them. `chance()` gives 0 to 1."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, ways: Mapping[str, Machines], settings: MachineSettings | None,
        chance: Callable[[], float],
    ):  # fmt: skip
        self._db, self._desk, self._houses, self._site_id, self._settings = db, desk, houses, site_id, settings
        poll_s = settings.poll_s if settings is not None else 60
        self.ways = {
            name: WayWatch(name, one, db, desk, min(poll_s, NEAR_POLL_S) if one.near else poll_s, chance, self.changed) for name, one in ways.items()
        }
        self.work = MachineWork(db, desk, site_id, self)
        #: the last word on what a bay needs by itself, of whoever plans that
        self.judge_job: Callable[[Tx, Work, Order, int], Order | Drop | Wait] = _nobody_plans
        self._watchers: list[Callable[[], None]] = []
        db.listen(lambda events: self.changed() if any(topic == "machine" for topic, _ in events) else None)

    @property
    def configured(self) -> bool:
        return bool(self.ways)

    @property
    def trouble(self) -> str:
        """Why nothing is heard of any machine just now, in sentences; empty while one way says something."""
        return self._troubles() if all(one.trouble for one in self.ways.values()) else ""

    def _troubles(self) -> str:
        return " ".join(dict.fromkeys(one.trouble for one in self.ways.values() if one.trouble))

    # ---- life
    async def start(self) -> None:
        """Takes up what was last known; one that is away holds nothing up."""
        known = self._db.read(store.known)
        for one in self.ways.values():
            await one.start(known)

    async def stop(self) -> None:
        for one in self.ways.values():
            await one.stop()

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called whenever a machine or a command is other than it was."""
        self._watchers.append(watcher)

    def changed(self) -> None:
        for watcher in self._watchers:
            watcher()

    # ---- looking
    async def tick(self) -> None:
        """About once a second: looks at the machines when that is due, and follows what they were asked to do."""
        for one in self.ways.values():
            one.tick()
        before = len(self.work.going)
        if self.ways:
            await self.work.follow()
        if before and not self.work.going:
            for one in self.ways.values():
                one.soon()

    async def look(self) -> None:
        """Looks now, and waits for it."""
        for one in self.ways.values():
            await one.look()

    def called(self, machine_id: str) -> None:
        """Whoever looks after a machine called about it (by way of the hub): the ways that have it are looked at now."""
        bays = self._db.read(lambda tx: list(self._houses.of(tx, self._site_id).resources.values()))
        for one in self.ways.values():
            if any(one.machines.reaches(bay.id, bay.machine_id) == machine_id for bay in bays):
                one.called()

    # ---- what the work asks
    def way(self, name: str) -> Machines | None:
        found = self.ways.get(name)
        return found.machines if found is not None else None

    def ways_to(self, tx: Tx, resource_id: str) -> list[Way]:
        """The ways to a bay, in preference; none where nobody looks after its machine."""
        bay = self._houses.of(tx, self._site_id).resources.get(resource_id)
        return [one.way(machine) for one, machine in self._reaching(bay)] if bay is not None else []

    def _reaching(self, bay: Resource) -> list[tuple[WayWatch, str]]:
        found = [(one, one.machines.reaches(bay.id, bay.machine_id)) for one in self.ways.values()]
        return [(one, machine) for one, machine in found if machine]

    def wanted(self, tx: Tx, row: Work, order: Order, now: int) -> Order | Drop | Wait:
        return self.judge_job(tx, row, order, now)

    def wait_for(self, names: list[str]) -> None:
        for name in names:
            self.ways[name].wanted()

    # ---- what others ask
    def told(self, tx: Tx, resource_id: str) -> Told | None:
        """What is believed of a bay's machine; None where it has none. Nothing is asked."""
        bay = self._houses.of(tx, self._site_id).resources.get(resource_id)
        reaching = self._reaching(bay) if bay is not None else []
        return self._told(tx, resource_id, reaching, self._desk.now()) if reaching else None

    @staticmethod
    def _told(tx: Tx, resource_id: str, reaching: list[tuple[WayWatch, str]], now: int) -> Told:
        told, slept = choice.believed(one.word(machine, now) for one, machine in reaching), store.asleep(tx).get(resource_id)
        return choice.rested(told, *slept, now) if slept is not None else told

    def activity(self, tx: Tx, resource_id: str) -> Activity | None:
        """What the bay's machines know of people there: the newest; None where none knows anything."""
        bay = self._houses.of(tx, self._site_id).resources.get(resource_id)
        found = [one.machines.activity(machine) for one, machine in self._reaching(bay)] if bay is not None else []
        return max((one for one in found if one is not None), key=lambda one: one.at, default=None)

    # ---- showing
    def panel(self) -> MachinePanel:
        """What is known now; nothing is asked."""
        if not self.ways:
            return MachinePanel(False, "", (), (), ())
        alarms = tuple(text for one in self.ways.values() for text in one.machines.alarms())
        views = tuple(self._db.read(self._views))
        does = {kind for view in views for kind in view.does}
        return MachinePanel(True, self._troubles(), alarms, tuple(one for one in self._offers() if one.kind in does), views)

    def _offers(self) -> list[Offer]:
        """Everything that may be asked for at all; what a bay can do of it is its own."""
        found = [Offer("restart", "", "Restart the PC")]
        if self._settings is not None:
            found += [Offer("service", one.name, f"Restart: {one.label}") for one in self._settings.service]
            found += [Offer("script", one.name, one.label) for one in self._settings.script]
        return found + [Offer(kind, what, label) for (kind, what), label in PLAIN.items()]

    def _views(self, tx: Tx) -> list[MachineView]:
        house, now = self._houses.of(tx, self._site_id), self._desk.now()
        return [self._view(tx, house, bay, now) for bay in house.resources.values() if bay.active]

    def _view(self, tx: Tx, house: House, bay: Resource, now: int) -> MachineView:
        called = rules.called(bay, house.facility)
        reaching = self._reaching(bay)
        if not reaching:
            return MachineView(bay.id, called, "", "none", (), 0, "", ())
        told, ways = self._told(tx, bay.id, reaching, now), [one.way(machine) for one, machine in reaching]
        commands = tuple(self.view(row) for row in self._commands(tx, bay.id, now)[:SHOWN_MAX])
        return MachineView(
            bay.id, called, bay.machine_id or ways[0].machine, told.state, told.told, told.seen_at, self.in_use(tx, bay.id, now), commands,
            tuple(WayView(choice.called(way.name), bool(way.able), way.why) for way in ways),
            tuple(sorted({kind for way in ways for kind in way.does})),
        )  # fmt: skip

    @staticmethod
    def _commands(tx: Tx, resource_id: str, now: int) -> list[Work]:
        """What people asked of the bay's machine in the last day, the newest first."""
        rows = [row for row in work.about(tx, resource_id) if row.kind == KIND and now - row.created_at < SHOWN_S]
        return rows[::-1]

    def view(self, row: Work) -> CommandView:
        """A command, or what a bay needed by itself, as staff see it."""
        order, state = order_of(row.body), state_of(row)
        going = self.work.going.get(row.id)
        text = going.text if going is not None and state == "going" else row.reason
        ended_at = row.changed_at if row.state in work.ENDED else 0
        way = choice.called(order.way) if order.way else ""
        return CommandView(row.id, order.told, order.by, order.why, row.created_at, state, text, ended_at, way)

    def in_use(self, tx: Tx, resource_id: str, now: int) -> str:
        """Who plays in a bay now, as a sentence; empty for nobody. A guest who was reseated counts where they sit."""
        house, slot = self._houses.of(tx, self._site_id), now // 900
        visits = records.attendance_between(tx, self._site_id, slot, slot + 1)
        for b in records.bookings_between(tx, self._site_id, slot, slot + 1):
            visit = visits.get(b.id)
            if b.seat(visit) == resource_id and not b.withdrawn and shown(b.status, visit.state if visit else "") in ("confirmed", "checked_in"):
                here = visit is not None and visit.state == "checked_in"
                until = slots.label(house.facility.zone, b.end)
                return f"Somebody plays here until {until}." if here else f"It is booked until {until}, and nobody has checked in."
        return ""

    # ---- help
    async def help(self, resource_id: str, command_id: str, kind: str, name: str, why: str, sure: bool, asker: Asker) -> CommandView:
        """Has something done at a bay's machine; what came of it shows on the panel. The same `command_id` is one command.

        Refuses `no_machines`, `resource_not_found`, `not_found`, `bad_request`, `id_reused`, `command_running`, `bay_in_use`.
        """
        if not why.strip():
            raise refuse("bad_request", "Please say why: it is written down.")
        return await self._ask(
            resource_id, command_id, lambda bay, house: self._order(bay, house, command_id, kind, name, why.strip(), sure, asker)
        )

    async def say(self, resource_id: str, command_id: str, text: str, asker: Asker) -> CommandView:
        """A text of staff's for the bay's screen; refusals as for `help`, but that it disturbs nobody."""
        text = " ".join(text.split())
        if not text or len(text) > MESSAGE_MAX:
            raise refuse("bad_request", f"Please write a message of 1 to {MESSAGE_MAX} letters.")

        def order(bay: Resource, house: House) -> Order:
            command = MachineCommand("message", work.mark_of(command_id), parameters=text, reason=f"{asker.name or asker.id}, ClubOS")
            told = f"Message, {rules.called(bay, house.facility)}"
            return Order(machine_id=bay.machine_id, command=command, told=told, by=asker.id, why=text, sure=True)

        return await self._ask(resource_id, command_id, order)

    async def _ask(self, resource_id: str, command_id: str, order_for: Callable[[Resource, House], Order]) -> CommandView:
        if not self.ways:
            raise refuse("no_machines", "Nobody looks after the machines of this facility.")

        def run(tx: Tx) -> Work:
            house, now = self._houses.of(tx, self._site_id), self._desk.now()
            bay = house.resources.get(resource_id)
            if bay is None:
                raise refuse("resource_not_found", "This facility has no such bay.")
            ways, called = self.ways_to(tx, resource_id), rules.called(bay, house.facility)
            if not ways:
                raise refuse("not_found", f"{called} has no machine that anybody looks after.")
            order = order_for(bay, house)
            if not choice.doing(ways, order.command.kind):
                raise refuse("not_found", f"No way to {called} does that.")
            return self._asked(tx, bay, command_id, order, now)

        row = await self._db.write(run)
        self.changed()
        return self.view(row)

    def _order(self, bay: Resource, house: House, command_id: str, kind: str, name: str, why: str, sure: bool, asker: Asker) -> Order:
        mark, called = work.mark_of(command_id), rules.called(bay, house.facility)
        reason = f"{why} ({asker.name or asker.id}, ClubOS)"
        offer = next((one for one in self._offers() if (one.kind, one.name) == (kind, name)), None)
        if offer is None:
            raise refuse("not_found", "This is not among what may be done here.")
        plain = (kind, name) in PLAIN
        command = MachineCommand(kind, mark, what=name, reason=reason) if plain else MachineCommand("restart", mark, reason=reason)  # type: ignore[arg-type]
        script = next((one for one in self._settings.script if kind == "script" and one.name == name), None) if self._settings else None
        service = next((one for one in self._settings.service if kind == "service" and one.name == name), None) if self._settings else None
        if script is not None:
            told = script.parameters.replace("{number}", str(bay.number)).replace("{bay}", bay.id.partition(".")[2])
            command = MachineCommand("script", mark, script.script, told, script.run_as, reason, name)
        elif service is not None:
            command = MachineCommand("service", mark, service.service, reason=reason, name=name)
        return Order(machine_id=bay.machine_id, command=command, told=f"{offer.label}, {called}", by=asker.id, why=why, sure=sure)

    def _asked(self, tx: Tx, bay: Resource, command_id: str, order: Order, now: int) -> Work:
        known = work.one(tx, command_id)
        if known is not None:
            given = msgspec.structs.replace(order_of(known.body), since=None, way="", machine="", sure=order.sure)
            same = known.kind == KIND and known.subject == bay.id and given == order
            if not same:
                raise refuse("id_reused", "This id was used before for something else.")
            return known
        disturbs = order.command.kind in DISTURBING
        if disturbs and any(self._in_the_way(row, now) for row in work.about(tx, bay.id)):
            raise refuse("command_running", "This machine has something to do already. Please wait for its end, 10 minutes at most.")
        if disturbs and not order.sure and (who := self.in_use(tx, bay.id, now)):
            raise refuse("bay_in_use", f"{who} Do it all the same?")
        records.journal(tx, now, self._site_id, order.by, f"asked: {order.told}", bay.id, order.why)
        row = Work(
            id=command_id, kind=KIND, lane=lane_of(bay.id), site_id=self._site_id, subject=bay.id, who=order.by, due_at=now, until_at=now + DEADLINE_S,
            body=msgspec.json.encode(order).decode(), created_at=now,
        )  # fmt: skip
        work.put(tx, row)
        return row

    @staticmethod
    def _in_the_way(row: Work, now: int) -> bool:
        """Whether another disturbing command would meet this one: what the bay needs by itself may wait for its turn."""
        if row.kind not in (KIND, JOB) or row.state in work.ENDED or now - row.created_at >= SHOWN_S:
            return False
        return order_of(row.body).command.kind in DISTURBING and (row.kind == KIND or row.state != "waiting")
