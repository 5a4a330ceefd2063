"""Two replicas of a hub work on one PostgreSQL database: each row is done once, by whoever was first, and looked up without harm by both."""

import asyncio
import time
from collections import Counter

import pytest

from shared.ledger import schema, work
from shared.ledger.work import Work
from shared.ledger.worker import Worker
from shared.outcomes import Taken, Unknown
from shared.runtime import postgres as pg
from shared.runtime.clock import SystemClock

pytestmark = pytest.mark.needs_postgres
ROWS = 120


class Doer:
    """Loses the answer of every tenth row, which it did."""

    def __init__(self, name: str, did: Counter, by: Counter):
        self.name, self.did, self.by = name, did, by

    def judge(self, tx, row: Work, now: int) -> str:
        return row.id

    async def do(self, row: Work, what: str) -> Taken | Unknown:
        self.did[row.id] += 1
        self.by[self.name] += 1
        await asyncio.sleep(0.005)
        return Unknown("The answer was lost.") if row.rank % 10 == 0 else Taken(final=True)

    async def find(self, row: Work) -> Taken | None:
        return Taken(final=True) if self.did[row.id] else None

    def settled(self, tx, row: Work, outcome) -> None:
        return None


async def test_two_replicas_do_every_row_once(postgres, monkeypatch):
    monkeypatch.setattr("shared.ledger.worker.LOOK_S", 0)
    url, did, by = postgres.books(), Counter(), Counter()
    pg.migrate(url, "ledger", schema.STEPS)
    books = [pg.PostgresDatabase(url) for _ in range(2)]
    for db in books:
        await db.start()
    workers = [
        Worker(db, SystemClock(), lambda: 0.5, lanes={"twilio": 8}, doers={"message": Doer(f"replica-{n}", did, by)})
        for n, db in enumerate(books)
    ]
    for one in workers:
        one.start()
    now = int(time.time())

    def put(tx) -> None:
        for n in range(ROWS):
            work.put(tx, Work(id=f"r-{n:03}", kind="message", lane="twilio", rank=n, due_at=now, created_at=now))

    await books[0].write(put)
    deadline = time.monotonic() + 30
    while books[0].read(work.counts) != {("twilio", "done"): ROWS}:
        assert time.monotonic() < deadline, books[0].read(work.counts)
        for one in workers:
            one.tick()
        await asyncio.sleep(0.1)
    for one in workers:
        await one.stop()
    for db in books:
        await db.stop()
    assert set(did.values()) == {1} and len(did) == ROWS
    assert min(by.values()) > 0 and len(by) == 2, "both had something to do: the one heard of it from the other"
