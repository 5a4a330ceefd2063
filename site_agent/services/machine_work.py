"""Commands to the bays' machines as work rows: given once, followed to their end, and said to be unknown where nobody knows.

Not for: who may ask, nor what is offered (`machines`). Invariants: how far the journal was is written down before a command is given, so that
its outcome can be looked up after any crash; a command is given again only where it surely was not; after `DEADLINE_S` nothing is begun and
what has not ended is nobody's knowledge, never a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from shared.errors import Failure
from shared.ledger import records, work
from shared.ledger.desk import Desk
from shared.ledger.work import Work
from shared.ledger.worker import Drop, Wait
from shared.outcomes import Later, Never, Outcome, Taken, Unknown
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import Bookmark, CommandOutcome, MachineCommand, Machines, MachinesUnavailable

KIND = "machine"
#: what a command is worth: after it nothing is begun, and nobody waits for its end any more
DEADLINE_S = 600
#: how often the vendor is asked what became of a command: while somebody stands there, and later
FOLLOW_S, FOLLOW_LATER_S, SOON_S = 5, 15, 60
#: what a row's code says of a command that is over
FAILED, UNKNOWN = "failed", "unknown"
FOLLOWED_MAX = 50


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a row: which command to which machine, what it is called for people, by whom and why. `sure`: given although the bay was in
    use. `since`: where the journal was before it was given; None until then."""

    machine_id: str
    command: MachineCommand
    told: str
    by: str
    why: str
    sure: bool = False
    since: Bookmark | None = None


order_of = msgspec.json.Decoder(Order).decode


class MachineWork:
    """Does the rows of one way (`lane`). `in_use(tx, resource_id, now)`: who plays there, in words, empty for nobody; `changed()` is called
    whenever a row is other than it was."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, site_id: str, lane: str, machines: Machines,
        in_use: Callable[[Tx, str, int], str], changed: Callable[[], None],
    ):  # fmt: skip
        self._db, self._desk, self._site_id, self.lane, self._machines = db, desk, site_id, lane, machines
        self._in_use, self._changed = in_use, changed
        self._look_at = 0
        #: what is known of commands that go on: id of the row -> outcome
        self.going: dict[str, CommandOutcome] = {}

    # ---- the worker's doer
    def judge(self, tx: Tx, row: Work, now: int) -> Order | Drop | Wait:
        order = order_of(row.body)
        if not order.sure and (who := self._in_use(tx, row.subject, now)):
            return Drop("bay_in_use", f"{who} Nobody said that it may be done all the same.")
        return order

    async def do(self, row: Work, what: Order) -> Outcome:
        try:
            since = await self._machines.bookmark(what.machine_id)
        except Failure as error:
            return _not_given(error)
        body = msgspec.json.encode(msgspec.structs.replace(what, since=since)).decode()
        if not await self._db.write(lambda tx: self._prepared(tx, row, body)):
            return Later("Somebody else has taken it up.")
        try:
            return Taken(await self._machines.command(what.machine_id, what.command))
        except MachinesUnavailable as error:
            return Unknown(error.detail) if error.outcome_unknown else _not_given(error)
        except Failure as error:
            return _not_given(error)

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
            found = await self._machines.outcome(order.machine_id, order.command, order.since, "")
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
        self._changed()

    # ---- to its end
    async def follow(self) -> None:
        """Asks what became of the commands that were taken. Called about once a second; most calls do nothing."""
        now = self._desk.now()
        rows = self._db.read(lambda tx: work.overdue(tx, "sent", 1 << 60, FOLLOWED_MAX, self.lane))
        self.going = {row.id: self.going[row.id] for row in rows if row.id in self.going}
        if not rows or now < self._look_at:
            return
        self._look_at = now + (FOLLOW_S if any(now - row.since_at < SOON_S for row in rows) else FOLLOW_LATER_S)
        for row in rows:
            if row.kind == KIND:
                await self._follow(row, now)

    async def _follow(self, row: Work, now: int) -> None:
        order = order_of(row.body)
        late = now >= row.since_at + DEADLINE_S
        try:
            found = await self._machines.outcome(order.machine_id, order.command, order.since or Bookmark("0", row.since_at), row.ref)
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
            self._changed()

    async def _end(self, row: Work, code: str, text: str, ref: str = "") -> None:
        def run(tx: Tx) -> None:
            known = work.one(tx, row.id)
            if known is not None and known.state == "sent" and work.same_try(known, row):
                self._over(tx, known, code, text, ref)

        await self._db.write(run)
        self.going.pop(row.id, None)
        self._changed()

    def _over(self, tx: Tx, row: Work, code: str, text: str, ref: str = "") -> None:
        now, order = self._desk.now(), order_of(row.body)
        work.end(tx, row, now, "done", code, text, ref)
        word = {"": "done", FAILED: "failed", UNKNOWN: "outcome unknown"}[code]
        records.journal(tx, now, self._site_id, order.by, f"{order.told}: {word}", row.subject, text)


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
