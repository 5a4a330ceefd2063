"""Replicas of the hub on one database, interleaved statement by statement under one seed.

Each replica is the product's own `Database` with connections of its own to one SQLite file in WAL, as in production; only its writer's
thread is a greenlet here, and before every statement of a writer (BEGIN, each execute, COMMIT) and of a read the gate chooses who goes on.
Whoever meets the writer's lock waits for it as long as `busy_timeout` lets it; what others commit is heard later, or not at all; a process
may be killed between any two statements, and what it had not committed is rolled back with its connection.

Not here: what people do and what befalls the world. Invariant: one greenlet runs at a time and the gate's own randomness decides which, so
the same seed gives the same interleaving.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import tempfile
from collections import Counter, deque
from collections.abc import Callable
from functools import lru_cache
from itertools import chain, count, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import greenlet

from shared.runtime.database import Database, Event, _Job
from shared.runtime.database_file import connect
from tests.world import Dead

if TYPE_CHECKING:
    from tests.world import Machine

#: how a transaction goes: its share of statements that follow each other at once, and how many are of this kind
HASTE = ((1.0, 50), (0.93, 30), (0.5, 20))
#: seconds that a writer stands before a statement while others go on; the last are a process that the machine has let wait
PAUSES_S = (0.0, 0.0, 0.001, 0.004, 0.02, 0.05, 0.12)
STALL_S, STALLS = 1.2, 0.0005
#: how much longer the pauses of a day are than that: on some days replicas hardly meet, on others everybody stands in everybody's way
SLOWER = (0.3, 1.0, 1.0, 4.0)
#: the same between a commit and its news to the event loop, and before an idle writer takes its first job
HANDED_OVER_S = (0.0,) * 12 + (0.001, 0.01, 0.04)
#: what one replica hears of another's commits: when, and how seldom not at all
HEARD_S, UNHEARD = (0.0005, 0.03), 0.02
#: a read lets somebody go on before a statement of its own
READ_YIELDS = 0.6
#: SQLite's own waits for a lock, and after how much waiting it gives up
BUSY_S = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.025, 0.025, 0.05, 0.05, 0.1)
BUSY_TIMEOUT_S = 10.0
#: a crash "within so many commits" strikes before any of so many statements
STATEMENTS_A_COMMIT = 12
#: worlds without what keeps replicas apart: `deferred` begins without the lock, `single` makes every statement its own transaction,
#: `torn` reads without a moment
TWINS = ("", "deferred", "single", "torn")


class SharedDisk:
    """What outlives the processes of several replicas: one SQLite file. As `world.Disk`."""

    def __init__(self, gate: Gate, image: bytes):
        self.gate, self.path = gate, gate.new_file()
        self.path.write_bytes(image)
        #: of those who judge: sees what is committed
        self.connection = connect(self.path)
        #: commits, and the jobs in them, whoever did them
        self.version = self.jobs = 0

    def image(self) -> bytes:
        """A backup as the online backup would make it: what is committed, whoever is in the middle of what."""
        image = bytearray(self.connection.serialize())
        image[18:20] = b"\1\1"  # books in memory have no WAL, which the copy's own header would ask for
        return bytes(image)

    def close(self) -> None:
        self.connection.close()

    def another(self, image: bytes) -> SharedDisk:
        return SharedDisk(self.gate, image)

    def open(self, machine: Machine) -> Replica:
        return Replica(self, machine.name, machine.die)


class Gate:
    """Who goes on. `tell` hears every statement, where somebody wants to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int, twin: str = ""):
        assert twin in TWINS, twin
        self.loop, self.twin = loop, twin
        self.rng = random.Random(f"{seed}/statements")
        self.main = greenlet.getcurrent()
        self._slower = self.rng.choice(SLOWER)
        self.replicas: list[Replica] = []
        self.tell: Callable[[str], None] | None = None
        #: statements, switches from one replica to the other, pauses, waits for the lock, kills inside a transaction, goings-on within a read
        self.count: Counter[str] = Counter()
        self.trace, self._last = 0, None
        self._folder = Path(tempfile.mkdtemp(prefix="clubos-replicas-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self._files = count(1)

    def new_file(self) -> Path:
        return self._folder / f"{next(self._files)}.db"

    def close(self) -> None:
        for replica in list(self.replicas):
            replica.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def note(self, replica: Replica, what: str) -> None:
        self.count["switches"] += replica is not self._last
        self._last = replica
        self.trace = crc32(_encoded(replica.name, what), self.trace)
        if self.tell is not None:
            self.tell(f"{self.loop.time():9.3f} | {replica.name:6} {' '.join(what.split())[:140]}")

    def haste(self) -> float:
        return self.rng.choices([h for h, _ in HASTE], [n for _, n in HASTE])[0]

    def pause(self, haste: float) -> float | None:
        """How long the writer stands before its next statement; None: it goes on at once."""
        if haste == 1.0 or self.rng.random() < haste:
            return None
        self.count["pauses"] += 1
        return self.rng.uniform(0.1, STALL_S) if self.rng.random() < STALLS else self._slower * self.rng.choice(PAUSES_S)

    def meanwhile(self) -> None:
        """Within a read: some who stand before a statement go on, its own writer among them."""
        while (ready := [r for r in self.replicas if r.stands]) and self.rng.random() < READ_YIELDS:
            self.count["within_reads"] += 1
            self.rng.choice(ready).go_on()

    def finish(self) -> None:
        """Everybody comes to the end of the transactions under way."""
        while busy := [r for r in self.replicas if r.stands or r.blocked]:
            self.rng.choice(busy).go_on()


@lru_cache(maxsize=2048)
def _encoded(name: str, what: str) -> bytes:
    return f"{name} {what}".encode()


class _Wake:
    """In the place of the condition on which the writer's thread waits for jobs."""

    def __init__(self, replica: Replica):
        self._replica = replica

    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...

    def wait(self, timeout: float | None = None) -> bool:
        return self._replica.idle(timeout)

    def notify(self) -> None:
        self._replica.called()


class _Loop:
    """What the writer's thread knows of the event loop. News from it comes in order, and some of it late."""

    def __init__(self, replica: Replica):
        self._replica = replica

    def create_future(self) -> asyncio.Future:
        return self._replica.future()

    def call_soon_threadsafe(self, fn: Callable, *args: Any) -> None:
        self._replica.hand_over(fn, args)

    @staticmethod
    def is_closed() -> bool:
        return False


class Gated:
    """A connection of one replica: before every statement it is asked who goes on."""

    def __init__(self, c: sqlite3.Connection, replica: Replica, *, writes: bool):
        self._c, self._replica, self._writes = c, replica, writes
        c.execute("PRAGMA busy_timeout=0")  # the gate does the waiting

    @property
    def in_transaction(self) -> bool:
        if self._replica.dead:
            raise Dead
        return self._c.in_transaction

    @property
    def total_changes(self) -> int:
        return self._c.total_changes

    def execute(self, sql: str, params: Any = ()) -> sqlite3.Cursor:
        replica = self._replica
        return self._do(self._c.execute, sql, replica.as_twin(sql, writes=self._writes) if replica.gate.twin else sql, params)

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
        return self._do(self._c.executemany, sql, sql, list(rows))

    def _do(self, act: Callable[[str, Any], sqlite3.Cursor], sql: str, as_twin: str, params: Any) -> sqlite3.Cursor:
        c, replica, writes = self._c, self._replica, self._writes
        began = replica.gate.loop.time()
        for wait_s in chain(BUSY_S, repeat(BUSY_S[-1])):
            replica.turn(sql, writes=writes)
            try:
                done = act(as_twin, params)
            except sqlite3.OperationalError as error:
                # As SQLite's own handler: nobody who has read in this transaction waits, since he might wait for ever.
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY and not c.in_transaction
                if not busy or replica.gate.loop.time() - began >= BUSY_TIMEOUT_S or not writes:
                    raise
                replica.wait_for_lock(wait_s)
                continue
            if writes and not c.in_transaction:
                replica.shared.version += 1
            return done
        raise AssertionError("the tries have no end")

    def close(self) -> None:
        """What was not committed is gone, as when a process dies. Statements that are still open would keep the lock otherwise."""
        if self._c.in_transaction:
            self._replica.gate.count["killed_inside"] += self._writes
            self._c.rollback()
        self._c.close()


class Replica(Database):
    """The books as one process keeps them. `crash_in` and `dead` as in `world.SimWriter`."""

    def __init__(self, disk: SharedDisk, name: str, on_death: Callable[[], None]):
        super().__init__(":memory:")  # its tables are made, and no file of it is looked at but through SQLite
        self.shared, self.name, self.gate, self._on_death = disk, name, disk.gate, on_death
        self.dead = self._struck = False
        self._strikes_in = 0
        #: stands before a statement, before the lock, or without work
        self.stands = self.blocked = self._idle = False
        self._turn_no = 0
        self._haste = 1.0
        self._futures: list[asyncio.Future] = []
        self._news: deque[tuple[Callable, tuple]] = deque()
        self._heard: deque[list[Event]] = deque()
        #: a task whose last write is of interest -> the how many-th job of all it was
        self.order: dict[asyncio.Task, int] = {}
        self._wake, self._loop = _Wake(self), _Loop(self)
        self._reader = Gated(connect(disk.path, readonly=True), self, writes=False)
        self._hand = greenlet.greenlet(self._work, parent=self.gate.main)
        self.gate.replicas.append(self)
        self._hand.switch(Gated(connect(disk.path), self, writes=True))

    # ---- what the product asks of its books
    async def start(self) -> None:
        """They are open."""

    async def stop(self) -> None:
        """The disk stays."""

    async def write(self, fn):
        self._alive()
        task = asyncio.current_task()
        return await super().write(lambda tx: self._run(task, fn, tx))

    def _run(self, task: asyncio.Task | None, fn, tx):
        self.shared.jobs += 1
        if task in self.order:
            self.order[task] = self.shared.jobs
        return fn(tx)

    def write_now(self, fn):
        """For what is no part of the process (an operator's command): others go on until it is done."""
        self._alive()
        job = _Job(lambda tx: self._run(None, fn, tx), self.future())
        self._jobs.append(job)
        while not job.future.done():
            able = [r for r in self.gate.replicas if r.stands or r.blocked or (r is self and r._idle)]
            self.gate.rng.choice(able).go_on()
            while self._news and not job.future.done():
                self._deliver()
        return job.future.result()

    def read(self, fn):
        self._alive()
        assert greenlet.getcurrent() is self.gate.main, "the event loop's connection was used in the writer's thread"
        return super().read(fn)

    def _settle(self, jobs, events, failure) -> None:
        super()._settle(jobs, events, failure)
        if events:
            for other in self.gate.replicas:
                if other is not self and other.shared is self.shared:
                    other.hear(events)

    def _alive(self) -> None:
        if self.dead:
            raise Dead

    # ---- turns
    def turn(self, sql: str, *, writes: bool) -> None:
        """Before a statement: comes back when it may go. Raises Dead where the process is gone."""
        self._alive()
        gate = self.gate
        if self._strikes_in:
            self._strikes_in -= 1
            if not self._strikes_in:
                self._strike(writes)
        if not writes:
            gate.meanwhile()
        else:
            if sql.startswith("BEGIN"):
                self._haste = gate.haste()
            pause_s = gate.pause(self._haste)
            if pause_s is not None:
                self.stands = True
                self._aside(pause_s)
        self._alive()
        gate.count["statements"] += 1
        gate.note(self, sql if writes else f"reads {sql}")

    def wait_for_lock(self, seconds: float) -> None:
        self.gate.count["lock_waits"] += 1
        self.gate.note(self, "waits for the lock")
        self.blocked = True
        self._aside(seconds)
        self._alive()

    def idle(self, timeout: float | None) -> bool:
        """The writer has nothing to do. False where nobody called it within the time."""
        no, self._idle = self._turn_no, True
        if timeout is not None:
            self.gate.loop.call_later(timeout, self._when_due, no)
        self.gate.main.switch()
        self._alive()
        return bool(self._jobs)

    def called(self) -> None:
        if self._idle:
            self.gate.loop.call_later(self.gate.rng.choice(HANDED_OVER_S), self._when_due, self._turn_no)

    def _aside(self, seconds: float) -> None:
        self.gate.loop.call_later(seconds, self._when_due, self._turn_no)
        self.gate.main.switch()

    def _when_due(self, no: int) -> None:
        if no == self._turn_no and not self.dead:
            self.go_on()

    def go_on(self) -> None:
        """The writer's next statement, and as many more as it makes at once. From the loop only."""
        self._turn_no += 1
        self.stands = self.blocked = self._idle = False
        self._hand.switch()
        if self._struck and not self.dead:
            self._on_death()

    # ---- from the writer's thread to the loop, and between processes
    def future(self) -> asyncio.Future:
        if len(self._futures) > 200:
            self._futures = [f for f in self._futures if not f.done()]
        self._futures.append(made := self.gate.loop.create_future())
        return made

    def hand_over(self, fn: Callable, args: tuple) -> None:
        if not self.dead:
            self._news.append((fn, args))
            self.gate.loop.call_later(self.gate.rng.choice(HANDED_OVER_S), self._deliver)

    def _deliver(self) -> None:
        if self._news and not self.dead:
            fn, args = self._news.popleft()
            fn(*args)

    def hear(self, events: list[Event]) -> None:
        """Another process has committed; nothing may rest on hearing of it."""
        if self.gate.rng.random() >= UNHEARD:
            self._heard.append(events)
            self.gate.loop.call_later(self.gate.rng.uniform(*HEARD_S), self._hears)

    def _hears(self) -> None:
        if self._heard and not self.dead:
            self._tell(self._listeners, self._heard.popleft())

    # ---- death
    @property
    def crash_in(self) -> int:
        return self._strikes_in

    @crash_in.setter
    def crash_in(self, commits: int) -> None:
        self._strikes_in = self.gate.rng.randint(1, commits * STATEMENTS_A_COMMIT) if commits else 0

    def _strike(self, writes: bool) -> None:
        self.gate.note(self, "is killed")
        if writes:
            self._struck = True
            self.gate.main.switch()  # to whoever let it go on, who sees to the rest
        else:
            self._on_death()
        raise Dead

    def kill(self) -> None:
        """The process is gone. Everybody who waits for it hears nothing more."""
        if self.dead:
            return
        self.dead = True
        self.gate.replicas.remove(self)
        for future in self._futures:
            if not future.done():
                future.set_exception(Dead())
        if not self._hand.dead:
            self._hand.throw(Dead())
        self._reader.close()

    # ---- twins
    def as_twin(self, sql: str, *, writes: bool) -> str:
        """The statement as it stands, or as it would be without what keeps replicas apart."""
        twin = self.gate.twin
        if twin == "deferred" and sql == "BEGIN IMMEDIATE":
            return "BEGIN"
        alone = twin == "single" if writes else twin == "torn"
        if alone and sql.split(maxsplit=1)[0] in ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"):
            return "SELECT 1"
        return sql
