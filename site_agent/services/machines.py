"""The bays' machines for staff: how each is, as far as anybody knows, and help from afar: restart, a service anew, an approved script (M3, M5).

Not for: taking a bay out of sale, nor how a command is given and followed (`machine_work`). Invariants: what was not heard of for `OLD_POLLS`
looks is unknown, whatever it was before; nothing is run that the settings do not list; every command stands in the journal with who asked and
why, before it is given; a machine has one command at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from shared import rules, slots
from shared.bookings import shown
from shared.errors import Failure, refuse
from shared.ledger import records, work
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.ledger.work import Work
from shared.model import Resource
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.config import MachineSettings
from site_agent.ports import Machine, MachineCommand, Machines, MachinesUnavailable
from site_agent.services.machine_work import DEADLINE_S, KIND, MachineWork, Order, State, order_of, state_of
from site_agent.services.people import Asker
from site_agent.store import machines as store

_log = log.get("site_agent.machines")

#: after so many looks that heard nothing, what was heard before is no news any more
OLD_POLLS, OLD_MIN_S = 3, 180
#: the longest that one that is away is left alone
AWAY_MAX_S = 900
#: what is known is written down so often though nothing has changed, so that a restart knows since when
KEPT_EVERY_S = 600
RENEW_EVERY_S = 3600
STOP_WAIT_S = 5.0
#: commands of a bay that are shown, and for how long
SHOWN_MAX, SHOWN_S = 3, 86_400


class Offer(msgspec.Struct, frozen=True):
    """Something that staff may have done: `kind` restart, service or script; `name` as the settings call it (empty for a restart)."""

    kind: str
    name: str
    label: str


class CommandView(msgspec.Struct, frozen=True):
    """A command as staff see it. `state`: waiting (for the vendor), going, unclear (whether it was taken is being found out), done, failed, unknown
    (nobody knows how it ended), dropped (not given). `text`: the machine's own words, or why. Times in unix seconds; `ended_at` 0 while it goes on."""

    id: str
    told: str
    by: str
    why: str
    at: int
    state: State
    text: str
    ended_at: int


class MachineView(msgspec.Struct, frozen=True):
    """A bay's machine. `state`: good, trouble, unknown, or none where the bay has no machine. `told`: sentences. `seen_at`: when it was last heard
    that it is so, unix seconds (0: never). `in_use`: who plays there now, in words; empty for nobody."""

    resource_id: str
    bay: str
    machine_id: str
    state: str
    told: tuple[str, ...]
    seen_at: int
    in_use: str
    commands: tuple[CommandView, ...]


class MachinePanel(msgspec.Struct, frozen=True):
    """All bays' machines. `configured` false: nobody looks after them. `trouble`: why nothing is heard just now; `alarms`: what a person must do."""

    configured: bool
    trouble: str
    alarms: tuple[str, ...]
    offers: tuple[Offer, ...]
    bays: tuple[MachineView, ...]


class MachineDesk:
    """The facility's machines; `machines` None where nobody looks after them. `chance()` gives 0 to 1."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, machines: Machines | None, settings: MachineSettings | None,
        chance: Callable[[], float], lane: str = "machines",
    ):  # fmt: skip
        self._db, self._desk, self._houses, self._site_id, self._machines = db, desk, houses, site_id, machines
        self._settings, self._chance, self.lane = settings, chance, lane
        self.work = MachineWork(db, desk, site_id, lane, machines, self._in_use, self._tell) if machines is not None else None
        self._seen: dict[str, Machine] = {}
        self._heard_at = self._kept_at = self._look_at = self._renew_at = 0
        self._trouble, self._failures = "", 0
        self._looking: asyncio.Task[None] | None = None
        self._watchers: list[Callable[[], None]] = []

    @property
    def configured(self) -> bool:
        return self._machines is not None

    @property
    def trouble(self) -> str:
        """Why nothing is heard of any machine just now, as a sentence; empty while all is heard."""
        return self._trouble

    # ---- life
    async def start(self) -> None:
        """Takes up what was last known; one that is away holds nothing up."""
        if self._machines is None:
            return
        rows = self._db.read(store.known)
        self._seen = {row.machine_id: msgspec.json.decode(row.doc, type=Machine) for row in rows}
        self._heard_at = self._kept_at = max((row.heard_at for row in rows), default=0)
        await self._machines.start()

    async def stop(self) -> None:
        if self._looking is not None:
            await asyncio.wait((self._looking,), timeout=STOP_WAIT_S)
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._machines is not None:
            await self._machines.stop()

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called whenever a machine or a command is other than it was."""
        self._watchers.append(watcher)

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()

    # ---- looking
    async def tick(self) -> None:
        """About once a second: looks at the machines when that is due, and follows what they were asked to do."""
        if self._machines is None or self.work is None:
            return
        if self._desk.now() >= self._look_at and (self._looking is None or self._looking.done()):
            self._looking = asyncio.get_running_loop().create_task(self._look(self._machines))
        before = len(self.work.going)
        await self.work.follow()
        if before and not self.work.going:
            self._look_at = min(self._look_at, self._desk.now() + 1)  # what was done may have changed how they are

    async def look(self) -> None:
        """Looks now, and waits for it."""
        if self._machines is not None:
            await self._look(self._machines)

    async def _look(self, machines: Machines) -> None:
        before = (self._seen, self._trouble)
        try:
            seen = {one.machine_id: one for one in await machines.machines()}
        except Failure as error:
            self._away(error)
        else:
            if self._trouble:
                _log.info("machines.back")
            self._seen, self._heard_at, self._trouble, self._failures = seen, self._desk.now(), "", 0
            self._look_at = self._desk.now() + self._spread(self._poll_s)
            await self._keep(before[0])
            await self._renew(machines)
        if before != (self._seen, self._trouble):
            self._tell()

    def _away(self, error: Failure) -> None:
        if not self._trouble:
            _log.warning("machines.away", why=error.detail)
        self._trouble, self._failures = error.detail, self._failures + 1
        wait_s = min(AWAY_MAX_S, self._poll_s * 2 ** min(self._failures - 1, 6))
        if isinstance(error, MachinesUnavailable) and error.busy:
            wait_s = max(wait_s, error.retry_after_s)
        self._look_at = self._desk.now() + self._spread(wait_s)

    async def _keep(self, before: dict[str, Machine]) -> None:
        def said(seen: dict[str, Machine]) -> dict[str, Machine]:
            # when each was heard of changes with every look, and alone is no reason to write
            return {key: msgspec.structs.replace(one, heard_at=0) for key, one in seen.items()}

        if said(before) == said(self._seen) and self._heard_at - self._kept_at < KEPT_EVERY_S:
            return
        rows = [store.Row(one.machine_id, msgspec.json.encode(one).decode(), self._heard_at) for one in self._seen.values()]
        await self._db.write(lambda tx: store.replace_all(tx, rows))
        self._kept_at = self._heard_at

    async def _renew(self, machines: Machines) -> None:
        if self._desk.now() < self._renew_at:
            return
        self._renew_at = self._desk.now() + RENEW_EVERY_S
        try:
            await machines.renew()
        except Failure as error:
            _log.warning("machines.not_renewed", why=error.detail)

    @property
    def _poll_s(self) -> int:
        return self._settings.poll_s if self._settings is not None else 60

    def _spread(self, seconds: float) -> int:
        """So that facilities that began together do not ask together."""
        return max(1, round(seconds * (0.9 + self._chance() / 5)))

    # ---- showing
    def panel(self) -> MachinePanel:
        """What is known now; nothing is asked."""
        if self._machines is None:
            return MachinePanel(False, "", (), (), ())
        return MachinePanel(True, self._trouble, tuple(self._machines.alarms()), tuple(self._offers()), tuple(self._db.read(self._views)))

    def _offers(self) -> list[Offer]:
        found = [Offer("restart", "", "Restart the PC")]
        if self._settings is not None:
            found += [Offer("service", one.name, f"Restart: {one.label}") for one in self._settings.service]
            found += [Offer("script", one.name, one.label) for one in self._settings.script]
        return found

    def _views(self, tx: Tx) -> list[MachineView]:
        house, now = self._houses.of(tx, self._site_id), self._desk.now()
        return [self._view(tx, house, bay, now) for bay in house.resources.values() if bay.active]

    def _view(self, tx: Tx, house: House, bay: Resource, now: int) -> MachineView:
        called = rules.called(bay, house.facility)
        if not bay.machine_id:
            return MachineView(bay.id, called, "", "none", (), 0, "", ())
        state, told, seen_at = self._state(bay.machine_id, now)
        commands = tuple(self._command(row) for row in self._commands(tx, bay.id, now)[:SHOWN_MAX])
        return MachineView(bay.id, called, bay.machine_id, state, told, seen_at, self._in_use(tx, bay.id, now), commands)

    def _state(self, machine_id: str, now: int) -> tuple[str, tuple[str, ...], int]:
        """`(state, sentences, heard at)`: an old word is no news."""
        seen = self._seen.get(machine_id)
        if seen is None:
            why = "Nobody who looks after machines knows one of this id." if self._heard_at else "Nothing has been heard of it yet."
            return "unknown", (why,), 0
        if now - self._heard_at > max(OLD_MIN_S, OLD_POLLS * self._poll_s):
            return "unknown", (), self._heard_at
        if seen.health == "unknown":
            return "unknown", ("It is not said how it is.",), self._heard_at
        return seen.health, seen.troubles, seen.heard_at if seen.online is False else self._heard_at

    @staticmethod
    def _commands(tx: Tx, resource_id: str, now: int) -> list[Work]:
        """The bay's commands of the last day, the newest first."""
        rows = [row for row in work.about(tx, resource_id) if row.kind == KIND and now - row.created_at < SHOWN_S]
        return rows[::-1]

    def _command(self, row: Work) -> CommandView:
        order, state = order_of(row.body), state_of(row)
        going = self.work.going.get(row.id) if self.work is not None else None
        text = going.text if going is not None and state == "going" else row.reason
        ended_at = row.changed_at if row.state in work.ENDED else 0
        return CommandView(row.id, order.told, order.by, order.why, row.created_at, state, text, ended_at)

    def _in_use(self, tx: Tx, resource_id: str, now: int) -> str:
        """Who plays in a bay now, as a sentence; empty for nobody. A guest who was reseated counts where they sit."""
        house, slot = self._houses.of(tx, self._site_id), now // 900
        visits = records.attendance_between(tx, self._site_id, slot, slot + 1)
        for b in records.bookings_between(tx, self._site_id, slot, slot + 1):
            visit = visits.get(b.id)
            at = visit.seat if visit and visit.seat else b.resource_id
            if at == resource_id and not b.withdrawn and shown(b.status, visit.state if visit else "") in ("confirmed", "checked_in"):
                here = visit is not None and visit.state == "checked_in"
                until = slots.label(house.facility.zone, b.end)
                return f"Somebody plays here until {until}." if here else f"It is booked until {until}, and nobody has checked in."
        return ""

    # ---- help
    async def help(self, resource_id: str, command_id: str, kind: str, name: str, why: str, sure: bool, asker: Asker) -> CommandView:
        """Has something done at a bay's machine; what came of it shows on the panel. The same `command_id` is one command.

        Refuses `no_machines`, `resource_not_found`, `not_found`, `bad_request`, `id_reused`, `command_running`, `bay_in_use`.
        """
        if self._machines is None:
            raise refuse("no_machines", "Nobody looks after the machines of this facility.")
        if not why.strip():
            raise refuse("bad_request", "Please say why: it is written down.")

        def run(tx: Tx) -> Work:
            house, now = self._houses.of(tx, self._site_id), self._desk.now()
            bay = house.resources.get(resource_id)
            if bay is None:
                raise refuse("resource_not_found", "This facility has no such bay.")
            if not bay.machine_id:
                raise refuse("not_found", f"{rules.called(bay, house.facility)} has no machine that anybody looks after.")
            order = self._order(bay, house, command_id, kind, name, why.strip(), sure, asker)
            return self._asked(tx, bay, command_id, order, now)

        row = await self._db.write(run)
        self._tell()
        return self._command(row)

    def _order(self, bay: Resource, house: House, command_id: str, kind: str, name: str, why: str, sure: bool, asker: Asker) -> Order:
        mark, called = work.mark_of(command_id), rules.called(bay, house.facility)
        reason = f"{why} ({asker.name or asker.id}, ClubOS)"
        offer = next((one for one in self._offers() if (one.kind, one.name) == (kind, name)), None)
        if offer is None:
            raise refuse("not_found", "This is not among what may be done here.")
        command = MachineCommand("restart", mark, reason=reason)
        script = next((one for one in self._settings.script if kind == "script" and one.name == name), None) if self._settings else None
        service = next((one for one in self._settings.service if kind == "service" and one.name == name), None) if self._settings else None
        if script is not None:
            told = script.parameters.replace("{number}", str(bay.number)).replace("{bay}", bay.id.partition(".")[2])
            command = MachineCommand("script", mark, script.script, told, script.run_as, reason)
        elif service is not None:
            command = MachineCommand("service", mark, service.service, reason=reason)
        return Order(machine_id=bay.machine_id, command=command, told=f"{offer.label}, {called}", by=asker.id, why=why, sure=sure)

    def _asked(self, tx: Tx, bay: Resource, command_id: str, order: Order, now: int) -> Work:
        known = work.one(tx, command_id)
        if known is not None:
            same = known.kind == KIND and msgspec.structs.replace(order_of(known.body), since=None, sure=order.sure) == order
            if not same:
                raise refuse("id_reused", "This id was used before for something else.")
            return known
        if any(row.state not in work.ENDED for row in self._commands(tx, bay.id, now)):
            raise refuse("command_running", "This machine has something to do already. Please wait for its end, 10 minutes at most.")
        if not order.sure and (who := self._in_use(tx, bay.id, now)):
            raise refuse("bay_in_use", f"{who} Do it all the same?")
        records.journal(tx, now, self._site_id, order.by, f"asked: {order.told}", bay.id, order.why)
        row = Work(
            id=command_id, kind=KIND, lane=self.lane, site_id=self._site_id, subject=bay.id, who=order.by, due_at=now, until_at=now + DEADLINE_S,
            body=msgspec.json.encode(order).decode(), created_at=now,
        )  # fmt: skip
        work.put(tx, row)
        return row
