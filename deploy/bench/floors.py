"""What the machine can do right now, so that a bar can be read against it.

Absolute bars are scaled by what they spend their time in: `echo` (calls between processes), 0.094 ms on the machine they were set on, or
`imports` (a process that starts), 206 ms there. All floors are medians in ms.
Invariant: a floor is the plainest code that does the thing, on the disk and event loop that the product uses.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deploy.bench import children
from deploy.bench.results import BenchError
from shared.messages import Topics
from shared.runtime.mqtt import MqttTransport

ECHO_MS, IMPORTS_MS = 0.094, 206.0
ECHO_BYTES = 200
#: about what a batch with one booking weighs on the link
MESSAGE_BYTES = 1_000
ANSWER_WITHIN_S = 10.0


def flush_ms(folder: Path, rounds: int = 300) -> float:
    """A 4 KiB append with fdatasync (fsync where there is none)."""
    flush = getattr(os, "fdatasync", os.fsync)
    with tempfile.NamedTemporaryFile(dir=folder) as f:
        block, took = b"x" * 4096, []
        for _ in range(rounds):
            at = time.perf_counter()
            os.write(f.fileno(), block)
            flush(f.fileno())
            took.append(time.perf_counter() - at)
    return statistics.median(took) * 1000


class Commits:
    """Raw durable SQLite commits of one small row (WAL, synchronous=FULL) into a new file. A context; used from one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=folder)
        self._done = 0

    def __enter__(self) -> Commits:
        self._c = sqlite3.connect(Path(self._folder.name) / "floor.sqlite", isolation_level=None)
        self._c.execute("PRAGMA journal_mode=WAL")
        self._c.execute("PRAGMA synchronous=FULL")
        self._c.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
        return self

    def __exit__(self, *_: object) -> None:
        self._c.close()
        self._folder.cleanup()

    def one(self) -> None:
        self._done += 1
        self._c.execute("INSERT INTO t VALUES (?, ?)", (self._done, "x" * 200))


async def echo_ms(folder: Path, rounds: int = 1000) -> float:
    """A 200 byte echo between two processes over loopback TCP, each on an event loop as the product's."""
    with children.python(["-m", "deploy.bench.echoes", "tcp"], folder / "echo.log") as child:
        found = await asyncio.to_thread(child.found, r"PORT (\d+)")
        return await _echoes(int(found[1]), rounds)


async def _echoes(port: int, rounds: int) -> float:
    there = _There()
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: there, "127.0.0.1", port)
    took = []
    for _ in range(rounds):
        at = time.perf_counter()
        there.wait(ECHO_BYTES)
        transport.write(b"x" * ECHO_BYTES)
        await there.heard
        took.append(time.perf_counter() - at)
    transport.close()
    return statistics.median(took) * 1000


class _There(asyncio.Protocol):
    """Counts bytes until all of an answer are here."""

    def wait(self, octets: int) -> None:
        self._left, self.heard = octets, asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left <= 0 and not self.heard.done():
            self.heard.set_result(None)


IMPORTS = "import time; at = time.perf_counter(); import litestar; print(time.perf_counter() - at)"


def imports_ms() -> float:
    """A new process importing the web framework, once: the processor's speed, and how much of it the neighbours leave."""
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    return float(done.stdout) * 1000


class BrokerTrip:
    """Request and reply through the broker at QoS 1 between this process and an echo, with the product's transport. An async context.

    `user` is a site of its own on the broker, so that its topics are nobody else's; `hub` is (name, password) of the hub's user.
    """

    def __init__(self, port: int, user: str, password: str, hub: tuple[str, str], folder: Path) -> None:
        self._port, self._user, self._folder = port, user, folder
        self._topics = Topics(user)
        self._transport = MqttTransport("127.0.0.1", port, f"{user}-asker", username=hub[0], password=hub[1])
        self._heard: asyncio.Future[None] | None = None
        self._file = folder / f"{user}.password"
        self._file.write_text(password)
        self._file.chmod(0o600)

    async def __aenter__(self) -> BrokerTrip:
        words = ["-m", "deploy.bench.echoes", "mqtt", str(self._port), self._user, str(self._file)]
        self._echo = children.python(words, self._folder / "echo-mqtt.log")
        child = self._echo.__enter__()
        try:
            await asyncio.to_thread(child.found, "READY")
            self._transport.subscribe(self._topics.up, self._on_reply)
            await self._transport.start()
            await self._answering()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.stop()
        await asyncio.to_thread(self._echo.__exit__, None, None, None)

    async def _answering(self) -> None:
        """Both ends have connected and subscribed once a first reply is here."""
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while time.monotonic() < deadline:
            try:
                await self._ask(within_s=0.2)
            except TimeoutError:
                continue
            return
        raise BenchError("The echo behind the broker does not answer.")

    def _on_reply(self, topic: str, payload: bytes, retained: bool) -> None:
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)

    async def _ask(self, within_s: float = ANSWER_WITHIN_S) -> None:
        self._heard = asyncio.get_running_loop().create_future()
        self._transport.publish(self._topics.down, b"x" * MESSAGE_BYTES)
        async with asyncio.timeout(within_s):
            await self._heard

    async def there_and_back(self) -> None:
        """One request and its reply."""
        await self._ask()
