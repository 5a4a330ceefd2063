"""Commands to the bays' machines as work rows: given once, followed to their end, and said to be unknown where nobody knows.

Not for: who may ask, what is offered (`machines`), nor what the bays need by themselves (`bay_jobs`). Invariants: the way that a command goes,
and how far the journal was there, are written down before it is given, so that its outcome can be looked up after any crash; it is given again,
or by another way, only where it surely was not; after `DEADLINE_S` nothing is begun and what has not ended is nobody's knowledge, never a failure.
"""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple, Protocol

import msgspec

from shared.errors import Failure
from shared.ledger import records, work
from shared.ledger.desk import Desk
from shared.ledger.work import Work
from shared.ledger.worker import Drop, Wait
from shared.outcomes import Later, Never, Outcome, Taken, Unknown
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import Bookmark, CommandOutcome, MachineCommand, Machines, MachinesUnavailable
from site_agent.services.bays import machine_choice as choice
from site_agent.services.bays.machine_choice import DISTURBING, Way
from site_agent.store import machines as store

#: what somebody asked for, and what a bay needs by itself
KIND, JOB = "machine", "bay_job"
#: what a command is worth: after it nothing is begun, and nobody waits for its end any more
DEADLINE_S = 600
#: how often the vendor is asked what became of a command: while somebody stands there, and later
FOLLOW_S, FOLLOW_LATER_S, SOON_S = 5, 15, 60
#: when a command that no way can carry out, or that another one keeps waiting, has its turn again
AGAIN_S = 10
#: how long one try may look for a way, and how long it waits for a way that is busy with another bay: the worker gives up after a minute
SEEK_S, BUSY_S = 20.0, 15.0
#: what a row's code says of a command that is over
FAILED, UNKNOWN = "failed", "unknown"
FOLLOWED_MAX = 50


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a row: which command to which machine, what it is called for people, by whom and why. `sure`: given although the bay was in
    use. `way`, `machine`: the way that it went last, and the machine's id there; `since`: where the journal was before; empty and None until it
    was to be given. `job`, `booking_id`: what need of the bay it serves, and whose; empty for what somebody asked for."""

    machine_id: str
    command: MachineCommand
    told: str
    by: str
    why: str
    sure: bool = False
    since: Bookmark | None = None
    way: str = ""
    machine: str = ""
    job: str = ""
    booking_id: str = ""


order_of = msgspec.json.Decoder(Order).decode


class Ready(NamedTuple):
    """What is to be done, and the ways that would do it now."""

    order: Order
    ways: list[Way]


class Bays(Protocol):
    """What is asked about the bays, by whoever knows the ways and the books."""

    def ways_to(self, tx: Tx, resource_id: str) -> list[Way]: ...

    def way(self, name: str) -> Machines | None: ...

    def in_use(self, tx: Tx, resource_id: str, now: int) -> str:
        """Who plays there, in words; empty for nobody."""

    def wanted(self, tx: Tx, row: Work, order: Order, now: int) -> Order | Drop | Wait:
        """The last word on what a bay needs by itself: as it is now."""

    def wait_for(self, names: list[str]) -> None:
        """A command waits for these ways."""

    def changed(self) -> None: ...


def lane_of(resource_id: str) -> str:
    """Each bay has a queue of its own, so that one whose machine is off keeps no other waiting."""
    return f"bay:{resource_id}"


class MachineWork:
    """Does the rows of all bays."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, site_id: str, bays: Bays):
        self._db, self._desk, self._site_id, self._bays = db, desk, site_id, bays
        self._look_at = self._followed_at = 0
        #: one command at a time by each way: who is asked for much at once takes less
        self._busy: dict[str, asyncio.Lock] = {}
        #: what is known of commands that go on: id of the row -> outcome
        self.going: dict[str, CommandOutcome] = {}

    # ---- the worker's doer
    def judge(self, tx: Tx, row: Work, now: int) -> Ready | Drop | Wait:
        order = order_of(row.body)
        if order.job:
            wanted = self._bays.wanted(tx, row, order, now)
            if not isinstance(wanted, Order):
                return wanted
            order = wanted
        elif not order.sure and order.command.kind in DISTURBING and (who := self._bays.in_use(tx, row.subject, now)):
            return Drop("bay_in_use", f"{who} Nobody said that it may be done all the same.")
        if order.command.kind in DISTURBING and (other := self._under_way(tx, row)):
            return Wait(now + AGAIN_S, f"It waits for the end of “{other}”.")
        return self._ways_for(tx, row, order, now)

    def _ways_for(self, tx: Tx, row: Work, order: Order, now: int) -> Ready | Drop | Wait:
        ways, kind = self._bays.ways_to(tx, row.subject), order.command.kind
        able = choice.able(ways, kind, gently=bool(order.job))
        if able:
            return Ready(order, able)
        there = choice.doing(ways, kind, gently=bool(order.job))
        if not there:
            return Drop("no_way", "No way to this bay does that any more.")
        self._bays.wait_for([way.name for way in there])
        return Wait(now + AGAIN_S, choice.why_not(there, kind))

    def _under_way(self, tx: Tx, row: Work) -> str:
        """What was begun at the same machine and has not ended."""
        for other in work.about(tx, row.subject):
            if other.id != row.id and other.kind in (KIND, JOB) and other.state in ("sent", "unknown"):
                order = order_of(other.body)
                if order.command.kind in DISTURBING:
                    return order.told
        return ""

    async def do(self, row: Work, what: Ready) -> Outcome:
        said: list[Outcome] = []
        until = asyncio.get_running_loop().time() + SEEK_S
        for way in what.ways:
            if said and asyncio.get_running_loop().time() > until:
                break
            if way.name in choice.HARD and any(isinstance(one, Later) and one.after_s is not None for one in said):
                break  # one that asks for patience may be at it: its power is not cut meanwhile
            outcome = await self._try(row, what.order, way)
            if not isinstance(outcome, Never | Later):
                return outcome
            said.append(outcome)
        # tried again where that can help with one of them
        text = " ".join(dict.fromkeys(one.reason for one in said))
        later = next((one for one in said if isinstance(one, Later)), None)
        return Later(text, later.after_s) if later is not None else Never(FAILED, text)

    async def _try(self, row: Work, order: Order, way: Way) -> Outcome:
        """One way. Never and Later: surely nothing was done by it."""
        machines = self._bays.way(way.name)
        busy = self._busy.setdefault(way.name, asyncio.Lock())
        if machines is None:
            return Never(FAILED, "This way is not among the settings any more.")
        try:
            async with asyncio.timeout(BUSY_S):
                await busy.acquire()
        except TimeoutError:
            return Later(f"{choice.called(way.name)} is busy with other bays.")
        try:
            return await self._give(row, order, way, machines)
        finally:
            busy.release()

    async def _give(self, row: Work, order: Order, way: Way, machines: Machines) -> Outcome:
        try:
            since = await machines.bookmark(way.machine)
        except Failure as error:
            return _not_given(error)
        given = msgspec.structs.replace(order, since=since, way=way.name, machine=way.machine)
        body = msgspec.json.encode(given).decode()
        if not await self._db.write(lambda tx: self._prepared(tx, row, body)):
            return Later("Somebody else has taken it up.")
        try:
            return Taken(await machines.command(way.machine, order.command))
        except MachinesUnavailable as error:
            return Unknown(error.detail) if error.outcome_unknown else _not_given(error)
        except Failure as error:
            return _not_given(error)

    async def _outcome(self, order: Order, since: Bookmark, ref: str) -> CommandOutcome:
        """What the way that it went says of it. A row from before there were several went the only one."""
        name = order.way or next((way for way in choice.CALLED if self._bays.way(way) is not None), "")
        machines = self._bays.way(name)
        if machines is None:
            raise MachinesUnavailable("The way that it went is not among the settings any more.")
        return await machines.outcome(order.machine or order.machine_id, order.command, since, ref)

    def _prepared(self, tx: Tx, row: Work, body: str) -> bool:
        known = work.one(tx, row.id)
        if known is None or known.state != "taken" or not work.same_try(known, row):
            return False
        work.prepared(tx, known, self._desk.now(), body)
        return True

    async def find(self, row: Work) -> Taken | None | Unknown | Never:
        order = order_of(row.body)
        if order.since is None:
            return None  # it is given only after that was written down
        try:
            found = await self._outcome(order, order.since, "")
        except Failure as error:
            return self._late(row, error.detail) or Unknown(error.detail)
        if found.state != "waiting":
            return Taken(found.ref)
        reason = "Whether it was taken is being found out."
        return self._late(row, "nothing shows that it was begun.") or Unknown(reason)

    def _late(self, row: Work, why: str) -> Never | None:
        if self._desk.now() < row.since_at + DEADLINE_S:
            return None
        return Never(UNKNOWN, f"Nobody knows whether it was done: {why}")

    def settled(self, tx: Tx, row: Work, outcome: Outcome) -> None:
        if isinstance(outcome, Never):
            # over, and told: nobody tries a command again that somebody gave an hour ago
            self._over(tx, row, outcome.code if outcome.code == UNKNOWN else FAILED, outcome.reason)
        elif isinstance(outcome, Taken) and order_of(row.body).command.kind in ("wake", "restart"):
            store.put_woken(tx, row.subject, self._desk.now())
        tx.tell("machine", row.subject)  # and not at once: whoever is told lives in the loop, and nothing is written yet

    # ---- to its end
    async def follow(self) -> None:
        """Asks what became of the commands that were taken. Called about once a second; most calls do nothing."""
        now = self._desk.now()
        rows = self._db.read(lambda tx: work.overdue(tx, "sent", 1 << 60, FOLLOWED_MAX))
        self.going = {row.id: self.going[row.id] for row in rows if row.id in self.going}
        if not rows or self._followed_at <= now < self._look_at:  # by a clock that was set back it is time
            return
        self._followed_at = now
        self._look_at = now + (FOLLOW_S if any(now - row.since_at < SOON_S for row in rows) else FOLLOW_LATER_S)
        for row in rows:
            if row.kind in (KIND, JOB):
                await self._follow(row, now)

    async def _follow(self, row: Work, now: int) -> None:
        order = order_of(row.body)
        late = now >= row.since_at + DEADLINE_S
        try:
            found = await self._outcome(order, order.since or Bookmark("0", row.since_at), row.ref)
        except Failure as error:
            if late:
                await self._end(row, UNKNOWN, f"Nobody knows how it ended: {error.detail}")
            elif isinstance(error, MachinesUnavailable) and error.busy:
                self._look_at = max(self._look_at, now + error.retry_after_s)
            return
        if found.state == "done":
            await self._end(row, "", found.text, found.ref)
        elif found.state == "failed":
            await self._end(row, FAILED, found.text or "It ended with an error, and said no more.", found.ref)
        elif late:
            last = f" The last that was heard: {found.text}" if found.text else ""
            await self._end(row, UNKNOWN, f"Nobody knows how it ended: after {DEADLINE_S // 60} minutes there is no word of its end.{last}")
        elif self.going.get(row.id) != found:
            self.going[row.id] = found
            self._bays.changed()

    async def _end(self, row: Work, code: str, text: str, ref: str = "") -> None:
        def run(tx: Tx) -> None:
            known = work.one(tx, row.id)
            if known is not None and known.state == "sent" and work.same_try(known, row):
                self._over(tx, known, code, text, ref)

        await self._db.write(run)
        self.going.pop(row.id, None)
        self._bays.changed()

    def _over(self, tx: Tx, row: Work, code: str, text: str, ref: str = "") -> None:
        now, order = self._desk.now(), order_of(row.body)
        work.end(tx, row, now, "done", code, text, ref)
        if order.command.kind == "shutdown" and code != FAILED:
            store.put_asleep(tx, row.subject, now)
        word = {"": "done", FAILED: "failed", UNKNOWN: "outcome unknown"}[code]
        by = f" ({choice.called(order.way)})" if order.way else ""
        if not order.job or code:  # what goes well by itself, some thousand times a year, would bury what people did
            records.journal(tx, now, self._site_id, order.by, f"{order.told}: {word}{by}", row.subject, text)


def _not_given(error: Failure) -> Later | Never:
    """It is known that nothing was done: whoever stands there is told at once what only a person can mend."""
    if error.permanent:
        return Never(FAILED, error.detail)
    busy = isinstance(error, MachinesUnavailable) and error.busy
    return Later(error.detail, after_s=float(error.retry_after_s) if busy else None)


State = Literal["waiting", "going", "unclear", "done", "failed", "unknown", "dropped"]


def state_of(row: Work) -> State:
    """What people see of a command."""
    if row.state == "done":
        return {"": "done", FAILED: "failed"}.get(row.code, "unknown")  # type: ignore[return-value]
    if row.state == "stuck":
        return "unknown" if row.code == UNKNOWN else "failed"
    return {"waiting": "waiting", "taken": "going", "sent": "going", "unknown": "unclear", "dropped": "dropped"}[row.state]  # type: ignore[return-value]
