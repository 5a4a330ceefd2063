"""Does the work rows: one queue for each vendor, so that one that is down delays nobody else's. Knows no vendor and no kind of work.

    worker = Worker(db, clock, chance, lanes={"twilio": 80}, doers={"message": Messages(...)})
    worker.start(); worker.tick() about once a second; await worker.stop()

A row is claimed in one transaction, in which its doer has the last word on whether it is still wanted; it is done outside of any; and what came
of it is written in another. Invariant: what may have been done is not done again before somebody knows that it was not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec

from ..breaker import Breaker, backoff_s
from ..errors import Failure
from ..outcomes import Later, Misconfigured, Never, Outcome, Taken, Unknown
from ..runtime import log
from ..runtime.clock import Clock
from ..runtime.database import Database, InlineWriter, Tx
from . import work
from .work import Work

_log = log.get("ledger.work")

#: who has claimed a row says within `LEASE_S` how it went, or has died; a doer is given up after `DO_S`
LEASE_S, DO_S = 120, 60
#: rows claimed in one transaction
CLAIM_MAX = 50
#: a row that was tried so often without an answer is for a person
TRIES_MAX = 12
#: what may have been done is looked up after this long, then at twice the distance, and is for a person after `UNKNOWN_MAX_S`
LOOK_S, UNKNOWN_MAX_S = 20, 86_400
#: a receipt that has not come by then will not come any more
RECEIPT_S = 3 * 86_400
#: what a refused key kept from being done is tried again after this long, which the lane's breaker makes longer
REFUSED_S = 30
#: how long a vendor's wish to be asked later can put a row off
AFTER_MAX_S = 3600
#: how long the end of the program waits for what is under way
STOP_S = 5.0
#: what came of something is written down again after this long, where the books took no writes
WRITE_AGAIN_S = 1.0


class Drop(NamedTuple):
    """The doer's last word: not wanted any more, and why."""

    code: str
    reason: str


class Wait(NamedTuple):
    """The doer's last word: not before `at` (unix seconds), and why."""

    at: int
    reason: str


class Doer(Protocol):
    """Does the rows of one kind."""

    def judge(self, tx: Tx, row: Work, now: int) -> Any | Drop | Wait:
        """Is it still wanted, and what exactly is to be done? In the transaction that claims the row."""

    async def do(self, row: Work, what: Any) -> Outcome:
        """Does it, once, within its own time limit (below `DO_S`). `what` is what `judge` made of the row."""

    async def find(self, row: Work) -> Taken | None | Unknown | Never:
        """What became of a row that may have been done. Taken: it was. None: it is done again, since it surely was not, or since whoever it is
        for sees one only however often it is done. Unknown: nobody can tell yet. Never: nobody ever will."""

    def settled(self, tx: Tx, row: Work, outcome: Outcome) -> None:
        """What follows from the outcome, in the transaction that writes it down. `row` as it was before. One that fails is logged."""


class LaneState(msgspec.Struct, frozen=True):
    """One vendor's queue for people: how many are being done, and what its breaker says (`open_until` unix seconds, 0: closed). `away_since`
    (unix seconds, 0: it is not left alone): since when it has done nothing that it was asked."""

    lane: str
    doing: int
    open_until: float
    why: str
    away_since: float = 0.0


class Worker:
    """The queues of all vendors in one process; other processes may work beside it on the same books."""

    def __init__(
        self,
        db: Database | InlineWriter,
        clock: Clock,
        chance: Callable[[], float],
        *,
        lanes: dict[str, int],
        doers: dict[str, Doer],
        doubt: Callable[[], str] = lambda: "",
    ):
        """`lanes`: vendor -> how many may be under way at once. `doubt`: why the clock is not believed, empty while it is: by a clock in doubt
        nothing is begun, is too late or is given up (clock-2)."""
        self.db, self.clock, self._chance, self._doers, self._doubt = db, clock, chance, doers, doubt
        self._lanes = lanes
        self._breakers = dict.fromkeys(lanes, Breaker())
        self._wake = {lane: asyncio.Event() for lane in lanes}
        #: lane -> id of a row -> who does it
        self._doing: dict[str, dict[str, asyncio.Task]] = {lane: {} for lane in lanes}
        self._loops: list[asyncio.Task] = []
        #: lane, or empty for what concerns all -> who looks what became of its rows
        self._looking: dict[str, asyncio.Task] = {}
        self._stopping = False
        db.listen(self._on_commit)

    # ---- life
    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._loops = [loop.create_task(self._queue(lane), name=f"work-{lane}") for lane in self._lanes]

    async def stop(self) -> None:
        """Begins nothing more and waits `STOP_S` for what is under way; what a vendor keeps waiting is cancelled, and so unknown."""
        self._stopping = True
        for wake in self._wake.values():
            wake.set()
        for task in self._looking.values():
            task.cancel()
        await _ended([*self._loops, *self._looking.values()])
        await _ended([task for tasks in self._doing.values() for task in tasks.values()])

    def states(self) -> list[LaneState]:
        now = self.clock.now()
        return [
            LaneState(
                lane, len(self._doing[lane]), b.open_until if b.open_until > now else 0.0, b.why, b.away_since if b.is_away(now) else 0.0
            )
            for lane, b in self._breakers.items()
        ]

    def _on_commit(self, events: list[tuple[str, str]]) -> None:
        for topic, lane in events:
            if topic == "work" and lane in self._wake:
                self._wake[lane].set()

    def tick(self) -> None:
        """About once a second: lanes with something due are woken, and what is unknown is looked into."""
        if self._stopping or self._doubt():
            return
        now = int(self.clock.now())
        due = self.db.read(lambda tx: [lane for lane in self._lanes if (at := work.next_at(tx, lane)) is not None and at <= now])
        for lane in due:
            self._wake[lane].set()
        self._look("", self._look_around)

    # ---- one queue
    async def _queue(self, lane: str) -> None:
        wake = self._wake[lane]
        while not self._stopping:
            wake.clear()  # before it looks: what comes meanwhile is seen, or wakes it again
            try:
                begun = await self._begin(lane)
            except Failure:  # the books say themselves what is wrong with them
                begun = 0
            except Exception as error:
                _log.error("work.not_claimed", lane=lane, error=error)
                begun = 0
            if not begun:
                await wake.wait()

    async def _begin(self, lane: str) -> int:
        """Claims what there is room for and sets about it. Returns how many rows were claimed, done or not."""
        now, doing = self.clock.now(), self._doing[lane]
        room = min(self._breakers[lane].room(now, self._lanes[lane]) - len(doing), CLAIM_MAX)
        if room <= 0 or self._doubt():
            return 0
        claimed, wanted = await self.db.write(lambda tx: self._claim(tx, lane, int(now), room))
        for row, what in wanted:
            doing[row.id] = asyncio.get_running_loop().create_task(self._do(row, what))
            doing[row.id].add_done_callback(partial(self._done, row))
        return claimed

    def _done(self, row: Work, task: asyncio.Task) -> None:
        if self._doing[row.lane].get(row.id) is task:  # a person may have had it begun anew meanwhile
            del self._doing[row.lane][row.id]
        self._wake[row.lane].set()

    def _claim(self, tx: Tx, lane: str, now: int, room: int) -> tuple[int, list[tuple[Work, Any]]]:
        rows, wanted = work.claim(tx, lane, now, room, LEASE_S), []
        for row in rows:
            what = self._judged(tx, row, now)
            if isinstance(what, Drop):
                work.end(tx, row, now, "dropped", what.code, what.reason)
            elif isinstance(what, Wait):
                work.later(tx, row, now, max(what.at, now + 1), "waits", what.reason, tried=False)
            elif isinstance(what, Never):
                work.end(tx, row, now, "stuck", what.code, what.reason)
            else:
                wanted.append((row, what))
        return len(rows), wanted

    def _judged(self, tx: Tx, row: Work, now: int) -> Any:
        """The last word on a row: Drop, Wait, Never, or what exactly is to be done. One row that cannot be judged keeps no other waiting."""
        doer = self._doers.get(row.kind)
        if doer is None:
            return Never("no_doer", f"Nobody here does work of the kind {row.kind!r}.")
        if row.until_at and now >= row.until_at:
            return Drop("too_late", row.reason or "Its moment had passed before it was its turn.")
        try:
            return tx.attempt(lambda: doer.judge(tx, row, now))
        except Failure:
            raise
        except Exception as error:
            _log.error("work.not_judged", work_id=row.id, error=error)
            return Never("bug", f"A fault in the program ({type(error).__name__}) kept it from being judged, so that nothing was done.")

    async def _do(self, row: Work, what: Any) -> None:
        try:
            async with asyncio.timeout(DO_S):
                outcome = await self._doers[row.kind].do(row, what)
            self._heard(row.lane, outcome)
        except asyncio.CancelledError:
            outcome = Unknown("The program ended before an answer came.")
        except TimeoutError:
            outcome = Unknown(f"No answer came within {DO_S} s.")
            self._heard(row.lane, outcome)
        except Exception as error:  # a bug of the doer: what it did before is not known
            _log.error("work.failed", work_id=row.id, error=error)
            outcome = Unknown(f"{type(error).__name__} while it was being done.")
            self._heard(row.lane, outcome)
        await self._write_down(row, outcome)

    async def _write_down(self, row: Work, outcome: Outcome) -> None:
        """What came of it is known nowhere else: where the books take no writes it is kept, and its place in the lane with it, until they do."""
        told = False
        while True:
            try:
                return await self.db.write(lambda tx: self._settle(tx, row, outcome))
            except Failure as error:
                if not told:
                    _log.error("work.not_written", work_id=row.id, outcome=type(outcome).__name__, error=error)
                if error.permanent or self._stopping:
                    return
                told = True
            await asyncio.sleep(WRITE_AGAIN_S)

    # ---- what came of it
    def _heard(self, lane: str, outcome: Outcome) -> None:
        """What the outcome says of the vendor."""
        now, breaker = self.clock.now(), self._breakers[lane]
        if isinstance(outcome, Taken | Never):
            after = breaker.succeeded()
        elif isinstance(outcome, Misconfigured):
            after = breaker.failed(now, outcome.reason, at_once=True)
        elif isinstance(outcome, Later) and outcome.after_s is not None:
            after = breaker.asked_to_wait(now, outcome.after_s, outcome.reason)
        else:
            after = breaker.failed(now, outcome.reason)
        if after.ill and not breaker.ill:
            _log.warning("work.vendor_gone", lane=lane, why=after.why)
        elif breaker.ill and not after.ill:
            _log.info("work.vendor_back", lane=lane)
        self._breakers[lane] = after

    def _settle(self, tx: Tx, row: Work, outcome: Outcome) -> None:
        now = int(self.clock.now())
        known = work.one(tx, row.id)
        if known is None or not work.same_try(known, row):
            return
        doubted = known.state == "stuck" and known.code == "unknown" and isinstance(outcome, Taken)  # given up on while it was being done
        if known.state not in ("taken", "unknown") and not doubted:
            return  # a report was quicker, or somebody else has found out
        if isinstance(outcome, Taken):
            if outcome.final:
                work.end(tx, known, now, "done", ref=outcome.ref)
            else:
                work.sent(tx, known, now, outcome.ref or known.ref, now + RECEIPT_S)
        elif isinstance(outcome, Unknown):
            self._not_known(tx, known, now, outcome)
        elif isinstance(outcome, Never):
            work.end(tx, known, now, "stuck", outcome.code, outcome.reason)
        elif isinstance(outcome, Misconfigured):
            work.later(tx, known, now, now + REFUSED_S, "misconfigured", outcome.reason, tried=False)
        else:
            wait_s = backoff_s(known.tries, self._chance()) if outcome.after_s is None else min(outcome.after_s, AFTER_MAX_S)
            self._not_done(tx, known, now, now + max(1, round(wait_s)), "later", outcome.reason)
        self._follow(tx, known, outcome)

    def _follow(self, tx: Tx, row: Work, outcome: Outcome) -> None:
        doer = self._doers.get(row.kind)
        if doer is None:
            return
        try:
            tx.attempt(lambda: doer.settled(tx, row, outcome))
        except Failure:
            raise
        except Exception as error:
            _log.error("work.not_followed", work_id=row.id, error=error)

    @staticmethod
    def _not_done(tx: Tx, row: Work, now: int, at: int, code: str, reason: str) -> None:
        if row.tries >= TRIES_MAX:
            work.end(tx, row, now, "stuck", "no_answer", f"Tried {row.tries} times; last: {reason}")
        else:
            work.later(tx, row, now, at, code, reason)

    @staticmethod
    def _not_known(tx: Tx, row: Work, now: int, outcome: Unknown) -> None:
        waited = now - row.since_at
        if waited >= UNKNOWN_MAX_S:
            work.end(tx, row, now, "stuck", "unknown", f"Nobody can tell whether it was done: {outcome.reason}")
        else:
            work.unknown(tx, row, now, now + max(LOOK_S, waited), outcome.reason)

    # ---- what is not known
    def _look(self, lane: str, looks: Callable[[], Awaitable[None]]) -> None:
        """Sets about it, unless whoever did last is still at it."""
        if lane not in self._looking or self._looking[lane].done():
            self._looking[lane] = asyncio.get_running_loop().create_task(_logged(looks))

    async def _look_around(self) -> None:
        """Each vendor's rows beside the others', so that a slow one keeps nobody else waiting."""
        now = int(self.clock.now())
        alive = {row_id for rows in self._doing.values() for row_id in rows}
        await self.db.write(lambda tx: self._tidy(tx, now, alive))
        for lane in self.db.read(lambda tx: work.in_question(tx, now)):
            self._look(lane, partial(self._look_up, lane))

    async def _look_up(self, lane: str) -> None:
        now = int(self.clock.now())
        for row in self.db.read(lambda tx: work.overdue(tx, "unknown", now, CLAIM_MAX, lane)):
            if self._breakers.get(lane, Breaker()).room(self.clock.now(), 1) < 1:
                return
            if row.id in self._doing.get(lane, {}):
                continue  # who does it will say what came of it
            found = await self._find(row)
            await self.db.write(lambda tx, row=row, found=found: self._found(tx, row, found))

    async def _find(self, row: Work) -> Taken | None | Unknown | Never:
        doer = self._doers.get(row.kind)
        if doer is None:
            return Unknown(f"Nobody here does work of the kind {row.kind!r}.")
        try:
            async with asyncio.timeout(DO_S):
                found = await doer.find(row)
        except TimeoutError:
            return Unknown(f"Whether it was done could not be found out within {DO_S} s.")
        except Exception as error:
            _log.error("work.not_found_out", work_id=row.id, error=error)
            return Unknown(f"{type(error).__name__} while it was looked up.")
        # that the question was refused says nothing of what was asked about
        return Unknown(found.reason) if isinstance(found, Later | Misconfigured) else found

    def _found(self, tx: Tx, row: Work, found: Taken | None | Unknown | Never) -> None:
        known = work.one(tx, row.id)
        if known is None or known.state != "unknown" or not work.same_try(known, row):
            return
        if found is None:
            now = int(self.clock.now())
            self._not_done(tx, known, now, now, "not_sent", "The vendor has no record of it, so it is done again.")
        else:
            self._settle(tx, known, found)

    @staticmethod
    def _tidy(tx: Tx, now: int, alive: Collection[str]) -> None:
        work.died(tx, now, alive)
        for row in work.overdue(tx, "sent", now):
            work.end(tx, row, now, "done", "no_receipt", "The vendor took it, and never said what became of it.")


async def _ended(tasks: list[asyncio.Task]) -> None:
    """Waits `STOP_S` for them, then cancels those that are not done, and waits as long for that."""
    late = (await asyncio.wait(tasks, timeout=STOP_S))[1] if tasks else ()
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=STOP_S)


async def _logged(looks: Callable[[], Awaitable[None]]) -> None:
    try:
        await looks()
    except Failure:  # the books say themselves what is wrong with them
        pass
    except Exception as error:
        _log.error("work.not_looked_up", error=error)
