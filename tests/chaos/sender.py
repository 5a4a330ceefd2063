"""A process that works off rows at a loopback vendor: `python -m tests.chaos.sender BOOKS VENDOR_URL ROWS`. It may be killed at any moment, and
ends by itself when every row has.

Waits are shorter here than in the product, so that a test need not wait for minutes until the dead are missed.
"""

import asyncio
import sys
import time

import httpx

from shared.ledger import schema, work, worker
from shared.ledger.work import Work
from shared.outcomes import Later, Never, Taken, Unknown
from shared.runtime.clock import SystemClock
from shared.runtime.database import Database

ANSWER_WITHIN_S = 0.6


class Sender:
    """One message, one POST; what became of it, one GET."""

    def __init__(self, url: str):
        self._http = httpx.AsyncClient(base_url=url, timeout=ANSWER_WITHIN_S, trust_env=False)

    def judge(self, tx, row: Work, now: int) -> str:
        return row.mark

    async def do(self, row: Work, what: str) -> Taken | Later | Unknown:
        try:
            answer = await self._http.post(f"/messages/{what}")
        except httpx.ConnectError:
            return Later("It cannot be reached.")
        except httpx.HTTPError as error:
            return Unknown(f"{type(error).__name__} after the request had gone out.")
        if answer.status_code == 429:
            return Later("Too many requests.")
        return Taken(final=True) if answer.status_code == 201 else Unknown(f"It answered {answer.status_code}.")

    async def find(self, row: Work) -> Taken | None | Unknown | Never:
        try:
            found = (await self._http.get(f"/messages/{row.mark}")).json()["found"]
        except (httpx.HTTPError, ValueError):
            return Unknown("It does not tell.")
        return {"yes": Taken(final=True), "no": None}.get(found, Unknown("It may still be on its way."))

    def settled(self, tx, row: Work, outcome) -> None:
        return None


async def main(books: str, url: str, rows: int) -> None:
    worker.LEASE_S, worker.DO_S, worker.LOOK_S = 3, 2, 1
    schema.prepare(books)
    db = Database(books)
    await db.start()
    own = worker.Worker(db, SystemClock(), lambda: 0.5, lanes={"vendor": 4}, doers={"message": Sender(url)})
    own.start()
    now = int(time.time())
    for n in range(rows):  # every life has the same causes
        row = Work(id=f"r-{n:03}", kind="message", lane="vendor", rank=n, due_at=now, created_at=now)
        await db.write(lambda tx, row=row: work.put(tx, row))
    while sum(count for (_, state), count in db.read(work.counts).items() if state in work.ENDED) < rows:
        own.tick()
        await asyncio.sleep(0.1)
    await own.stop()
    await db.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
