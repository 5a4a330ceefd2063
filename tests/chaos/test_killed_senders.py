"""A process that sends for us, killed with -9 ten times, at a vendor over loopback that acts and then often never answers: every message is
sent exactly once, by the vendor's own record.

`CLUBOS_CHAOS_SEED` repeats the choices of a run.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.demo.processes import Child
from shared.ledger import work
from shared.runtime.database import InlineWriter

SEED = int(os.environ.get("CLUBOS_CHAOS_SEED", "4"))
ROWS = 80
KILLS = 10
#: what it does with a message, and how often: five of them act
WAYS = {"answers": 10, "hangs": 3, "hangs up": 2, "fails": 2, "says nonsense": 1, "is busy": 2}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Vendor:
    """Acts on each POST that it reads, and remembers it; says so only as it pleases. A GET tells what it knows, and no less."""

    def __init__(self, seed: int):
        self.chance = random.Random(seed)
        self.did: Counter[str] = Counter()
        self.ways: Counter[str] = Counter()
        self.asked = 0
        #: called whenever something has happened here
        self.watched: Callable[[], None] = lambda: None
        self._on_its_way: Counter[str] = Counter()
        self._server: asyncio.Server

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, target, _ = head.decode().split("\r\n", 1)[0].split()
                answer = await (self._tell if method == "GET" else self._take)(target.rpartition("/")[2], reader)
                if answer is None:
                    return
                status, body = answer
                writer.write(f"HTTP/1.1 {status} Told\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
                self.watched()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # whoever asked is gone
        finally:
            writer.close()

    async def _tell(self, mark: str, reader: asyncio.StreamReader) -> tuple[int, str]:
        self.asked += 1
        found = "yes" if self.did[mark] else "perhaps" if self._on_its_way[mark] else "no"
        return 200, f'{{"found": "{found}"}}'

    async def _take(self, mark: str, reader: asyncio.StreamReader) -> tuple[int, str] | None:
        way = self.chance.choices(list(WAYS), list(WAYS.values()))[0]
        self.ways[way] += 1
        self._on_its_way[mark] += 1
        self.watched()
        await asyncio.sleep(self.chance.uniform(0, 0.03))
        self._on_its_way[mark] -= 1
        if way == "is busy":
            return 429, "{}"
        self.did[mark] += 1
        self.watched()
        if way == "hangs":
            await reader.read()  # until whoever asked gives up
        return {"answers": (201, "{}"), "fails": (500, "<html>Sorry</html>"), "says nonsense": (200, "")}.get(way)


def kill_soon(vendor: Vendor, child: Child, chance: random.Random) -> None:
    """Kills the child at one of the next things that happen at the vendor, or a moment later."""
    left, later_s = chance.randint(1, 14), chance.choice((0.0, chance.uniform(0, 0.03)))

    def watched() -> None:
        nonlocal left
        left -= 1
        if not left:
            asyncio.get_running_loop().call_later(later_s, child.kill) if later_s else child.kill()

    vendor.watched = watched


async def test_every_message_is_sent_once_however_often_the_sender_is_killed(tmp_path: Path):
    vendor, chance, kills = Vendor(SEED), random.Random(SEED + 1), 0
    url, books = await vendor.start(), tmp_path / "books.sqlite"
    ended = -9
    while ended == -9:
        child = Child("sender", ("-m", "tests.chaos.sender", str(books), url, str(ROWS)), tmp_path / "sender.log")
        vendor.watched = lambda: None
        if kills < KILLS:
            kill_soon(vendor, child, chance)
        await child.start()
        ended = await child.ended()
        kills += ended == -9
    await vendor.stop()
    assert (ended, kills) == (0, KILLS), child.tail(40)
    rows = InlineWriter(books).read(lambda tx: [work.one(tx, f"r-{n:03}") for n in range(ROWS)])
    assert Counter(row.state for row in rows) == {"done": ROWS}
    assert {row.id: vendor.did[row.mark] for row in rows} == {row.id: 1 for row in rows}, f"seed {SEED}"
    assert vendor.did.total() == ROWS, "and nothing that nobody wanted"
    assert vendor.ways.keys() == WAYS.keys() and vendor.asked > KILLS, "the vendor had its ways, and was asked about what it kept to itself"
