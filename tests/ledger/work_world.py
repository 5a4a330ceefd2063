"""A worker over books in memory in simulated time, and who does its work as a test wants it.

`play(script)` runs `async def script(w: Shop)`; `w.open()` starts a worker and its clock, `w.kill()` ends them as a power cut does.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from sqlite_utils import Database as Tables

from shared.ledger import schema, work
from shared.ledger.work import Work
from shared.ledger.worker import Worker
from shared.outcomes import Taken
from shared.runtime.database import InlineWriter
from tests.simtime import LoopClock, simulate

#: Saturday 21 Nov 2026, 12:00 in Halifax
NOON = 1795276800
TICK_S = 1.0
#: an answer that never comes
HANGS = object()


class Books:
    """The books as one process has them. `die_in` counts writes down: at the last one the process is gone, just after the commit, or (`lost`)
    just before it. `fails` is raised instead of writing."""

    def __init__(self, books: InlineWriter):
        self._books = books
        self._listeners: list[Callable] = []
        self.dead = False
        self.die_in = 0
        self.lost = False
        self.fails: Exception | None = None
        books.listen(self._told)

    def _told(self, events) -> None:
        if not self.dead:
            for listener in self._listeners:
                listener(events)

    def listen(self, listener: Callable) -> None:
        self._listeners.append(listener)

    async def write(self, fn: Callable) -> Any:
        await asyncio.sleep(0)  # as with a writer of its own: others go on meanwhile
        if self.fails is not None:
            raise self.fails
        self.die_in -= 1
        if self.die_in == 0:
            self.dead = self.dead or self.lost
            if not self.dead:
                self._books.write_now(fn)
            self.dead = True
        if self.dead:
            await asyncio.Event().wait()  # nobody is there any more who could go on
        value = self._books.write_now(fn)
        await asyncio.sleep(0)
        return value

    def read(self, fn: Callable) -> Any:
        if self.dead:
            raise asyncio.CancelledError
        return self._books.read(fn)


class Doer:
    """Does and finds what the test says: `answers[row.id]` and `finds[row.id]` are taken one after the other, the last one for good; an exception is
    raised, a function called with the row, `HANGS` never comes."""

    def __init__(self, clock: LoopClock):
        self._clock = clock
        self.takes_s = 0.5
        self.usual: Any = Taken(final=True)
        self.answers: dict[str, list[Any]] = {}
        self.finds: dict[str, list[Any]] = {}
        self.judges: dict[str, Any] = {}
        #: id -> when it was begun, seconds since the shop opened
        self.begun: dict[str, list[float]] = defaultdict(list)
        self.order: list[str] = []
        self.looked: dict[str, list[float]] = defaultdict(list)
        self.settles: list[tuple[str, Any]] = []
        self.under_way = self.most = 0

    def judge(self, tx, row: Work, now: int) -> Any:
        said = self.judges.get(row.id, row.id)
        if isinstance(said, Exception):
            raise said
        return said(tx, row, now) if callable(said) else said

    async def do(self, row: Work, what: Any) -> Any:
        self.begun[row.id].append(round(self._clock.monotonic(), 3))
        self.order.append(row.id)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.takes_s)
            return await self._said(self.answers.get(row.id) or [self.usual], row)
        finally:
            self.under_way -= 1

    async def find(self, row: Work) -> Any:
        self.looked[row.id].append(round(self._clock.monotonic(), 3))
        return await self._said(self.finds[row.id], row)

    def settled(self, tx, row: Work, outcome: Any) -> None:
        self.settles.append((row.id, outcome))

    @staticmethod
    async def _said(answers: list[Any], row: Work) -> Any:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is HANGS:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(row)
            return await answer if isinstance(answer, Awaitable) else answer
        return answer


class Shop:
    """Books that outlive the processes that work over them."""

    def __init__(self, loop, lanes: dict[str, int], **settings: Any):
        self.lanes, self.settings = lanes, settings
        self.clock = LoopClock(loop, NOON)
        self.books = InlineWriter()
        for step in schema.STEPS:
            step(Tables(self.books._c))
        self.doer = Doer(self.clock)
        self.doers: dict[str, Any] = {"message": self.doer}
        self.db: Books
        self.worker: Worker
        self._ticking: asyncio.Task

    @property
    def now(self) -> int:
        return int(self.clock.now())

    # ---- the process
    def open(self) -> None:
        self.db = Books(self.books)
        self.worker = Worker(self.db, self.clock, lambda: 0.5, lanes=self.lanes, doers=self.doers, **self.settings)
        self.worker.start()
        self._ticking = asyncio.get_running_loop().create_task(self._ticks(self.db, self.worker))

    async def _ticks(self, db: Books, worker: Worker) -> None:
        while not db.dead:
            worker.tick()
            await asyncio.sleep(TICK_S)

    async def kill(self, but: frozenset[asyncio.Task] = frozenset()) -> None:
        """Nothing of the process goes on, and nothing that it was about to write is written. `but`: tasks of the world outside."""
        self.db.dead = True
        while victims := asyncio.all_tasks() - {asyncio.current_task()} - but:  # again: some still want to write down that they were ended
            for task in victims:
                task.cancel()
            await asyncio.sleep(0)

    # ---- rows
    def put(self, *row_ids: str, **more: Any) -> None:
        rows = [Work(**{"id": i, "kind": "message", "lane": "twilio", "due_at": self.now, "created_at": self.now, **more}) for i in row_ids]
        self.books.write_now(lambda tx: [work.put(tx, row) for row in rows])

    def row(self, row_id: str) -> Work:
        return self.books.read(lambda tx: work.one(tx, row_id))

    def state(self, *row_ids: str) -> Any:
        states = [self.row(one).state for one in row_ids]
        return states[0] if len(states) == 1 else states

    def end(self, row_id: str, state: work.State = "done") -> None:
        """A vendor's report of what became of it."""
        self.books.write_now(lambda tx: work.end(tx, work.one(tx, row_id), self.now, state))

    async def until(self, ok: Callable[[], bool], within_s: float = 600, every_s: float = 0.1) -> float:
        """Waits for it; returns how long that took."""
        begun = self.clock.monotonic()
        while not ok():
            assert self.clock.monotonic() - begun < within_s, "it did not come to pass"
            await asyncio.sleep(every_s)
        return self.clock.monotonic() - begun


def play(script: Callable[[Shop], Awaitable[None]], lanes: dict[str, int] | None = None, *, opened: bool = True, **settings: Any) -> Shop:
    """Runs the script in a fresh shop; at its end nothing of the shop goes on."""

    async def run(loop) -> Shop:
        shop = Shop(loop, lanes or {"twilio": 4, "sendgrid": 4}, **settings)
        if opened:
            shop.open()
        await script(shop)
        await shop.kill()
        return shop

    return simulate(run)
