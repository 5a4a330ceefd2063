"""SQLite as both sides use it: one writer with group commit, readers beside it. Knows no booking and is the one place that knows a dialect.

Invariant: what `write` returns has been flushed to the disk (`synchronous=FULL`); a job that raises has changed nothing, whoever shared
its flush. What queued while the last flush ran shares the next one, each job in its own savepoint, so durability costs one flush per
batch and nothing waits on purpose. `InlineWriter` does the same without a thread, for tests and simulated worlds.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import Broken, Unavailable

T = TypeVar("T")
Event = tuple[str, str]
Listener = Callable[[list[Event]], None]

#: the most jobs that share one flush: bounds how long the first of them waits
BATCH_JOBS_MAX = 512
#: pages that the WAL grows to before they are copied into the database and it is written from its beginning again: room for the hot
#: pages of many batches to be copied once
WAL_PAGES = 4000
#: the cache, in KiB: a batch of sales touches hundreds of pages
CACHE_KIB = 16_000
#: what stays in the cache while room is made in the WAL; the rest of it overflows into the file
ROOM_CACHE_PAGES = 50


class Tx:
    """One transaction: SQL with named parameters, and what to tell listeners once it is durable."""

    #: PostgreSQL would append " FOR UPDATE" to lock a row; on SQLite the writer is alone
    for_update = ""

    __slots__ = ("_c", "events", "memo")

    def __init__(self, connection: sqlite3.Connection):
        self._c = connection
        self.events: list[Event] = []
        self.memo: dict[str, Any] = {}

    def run(self, sql: str, params: dict[str, Any] | Sequence[Any] = ()) -> int:
        """Executes and returns how many rows were changed."""
        return self._c.execute(sql, params).rowcount

    def many(self, sql: str, rows: Iterable[dict[str, Any] | Sequence[Any]]) -> int:
        return self._c.executemany(sql, rows).rowcount

    def one(self, sql: str, params: dict[str, Any] | Sequence[Any] = ()) -> tuple | None:
        return self._c.execute(sql, params).fetchone()

    def all(self, sql: str, params: dict[str, Any] | Sequence[Any] = ()) -> list[tuple]:
        return self._c.execute(sql, params).fetchall()

    def attempt(self, fn: Callable[[], T]) -> T:
        """Runs `fn` in a savepoint: what it raises is raised on, but its changes, and what it wanted told, are gone."""
        mark = len(self.events)
        self._c.execute("SAVEPOINT attempt")
        try:
            value = fn()
        except BaseException:
            self._c.execute("ROLLBACK TO attempt")
            self._c.execute("RELEASE attempt")
            del self.events[mark:]
            self.memo.clear()
            raise
        self._c.execute("RELEASE attempt")
        return value

    def tell(self, topic: str, key: str) -> None:
        """Listeners hear `(topic, key)` after the commit, never before (stream-1)."""
        event = (topic, key)
        if event not in self.events:
            self.events.append(event)


def connect(path: str | Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection with every setting said aloud. Only the writer checkpoints: a second checkpointer meets the WAL-reset bug (3.7.0–3.51.2)."""
    c = sqlite3.connect(str(path), isolation_level=None, check_same_thread=False, cached_statements=512, timeout=10)
    c.execute("PRAGMA busy_timeout=10000")
    if not readonly:
        c.execute("PRAGMA journal_mode=WAL")
        c.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        c.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
    c.execute("PRAGMA synchronous=FULL")
    c.execute("PRAGMA foreign_keys=ON")
    c.execute("PRAGMA temp_store=MEMORY")
    if readonly:
        c.execute("PRAGMA wal_autocheckpoint=0")
        c.execute("PRAGMA query_only=1")
    return c


def make_room(c: sqlite3.Connection, pages: int) -> None:
    """Gives the WAL its whole length before it is needed, since a commit that lengthens a file costs a second flush on most file systems.

    What is written is a transaction too large for the cache, taken back: its pages belong to nothing, and the commits to come are
    written over them. A disk without that much room is no reason not to start.
    """
    c.execute(f"PRAGMA cache_size={ROOM_CACHE_PAGES}")
    page_octets = c.execute("PRAGMA page_size").fetchone()[0]
    try:
        c.execute("BEGIN IMMEDIATE")
        c.execute("CREATE TABLE wal_room (body BLOB)")
        c.execute("INSERT INTO wal_room VALUES (zeroblob(:octets))", {"octets": (pages + ROOM_CACHE_PAGES) * page_octets})
    except sqlite3.Error:
        pass
    finally:
        if c.in_transaction:
            c.execute("ROLLBACK")
        c.execute(f"PRAGMA cache_size=-{CACHE_KIB}")


class _Job:
    __slots__ = ("error", "fn", "future", "result")

    def __init__(self, fn: Callable[[Tx], Any], future: Any):
        self.fn, self.future = fn, future
        self.result: Any = None
        self.error: BaseException | None = None


def _run_batch(c: sqlite3.Connection, jobs: list[_Job], slow_commit_s: float) -> list[Event]:
    """Runs every job in its own savepoint and commits once. On a failed commit every job fails. Returns what to tell."""
    events: list[Event] = []
    try:
        c.execute("BEGIN IMMEDIATE")
        for job in jobs:
            c.execute("SAVEPOINT job")
            tx = Tx(c)
            try:
                job.result = job.fn(tx)
            except BaseException as e:  # a refusal or a bug: this job's changes go, the others' stay
                job.error = e
                c.execute("ROLLBACK TO job")
            else:
                events.extend(tx.events)
            c.execute("RELEASE job")
        if slow_commit_s:
            time.sleep(slow_commit_s)
        c.execute("COMMIT")
    except sqlite3.Error as e:
        if c.in_transaction:
            c.execute("ROLLBACK")
        failure = Unavailable(f"The books could not be written: {e}")
        for job in jobs:
            job.result, job.error = None, failure
        return []
    return list(dict.fromkeys(events))


class Database:
    """One file, one writer thread with group commit, one reader connection for short reads on the event loop.

    `slow_commit_s` is added to every commit: it stands for a slow disk in benchmarks and simulations. `wal_pages`: the WAL's length, which
    is written once at the start; less is sooner there on a memory card, and copied more often.
    """

    def __init__(self, path: str | Path, *, slow_commit_s: float = 0.0, wal_pages: int = WAL_PAGES):
        self.path = Path(path)
        self._slow, self._wal_pages = slow_commit_s, wal_pages
        self._listeners: list[Listener] = []
        self._jobs: list[_Job] = []
        self._wake = threading.Condition(threading.Lock())
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader: sqlite3.Connection | None = None
        self.commits = 0
        self.jobs_done = 0
        self.failing = ""

    def listen(self, listener: Listener) -> None:
        """`listener(events)` runs on the event loop after every commit that told something."""
        self._listeners.append(listener)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        writer = connect(self.path)
        writer.execute(f"PRAGMA wal_autocheckpoint={self._wal_pages}")
        self._reader = connect(self.path, readonly=True)
        self._thread = threading.Thread(target=self._work, args=(writer,), name="writer", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Finishes what was queued, then closes."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread:
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        if self._reader:
            self._reader.close()
            self._reader = None

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Runs `fn(tx)` in the writer; returns its value once it is durable. Raises what `fn` raised, or Unavailable."""
        assert self._loop is not None, "start() first"
        job = _Job(fn, self._loop.create_future())
        with self._wake:
            if self._stopping:
                raise Unavailable("The books are closing.")
            self._jobs.append(job)
            if len(self._jobs) == 1:
                self._wake.notify()
        return await job.future

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Runs a short read (< 200 µs) on the caller's thread, of one moment: it sees everything that `write` has returned, and nothing
        that is committed between two of its statements."""
        reader = self._reader
        assert reader is not None, "start() first"
        if reader.in_transaction:  # a read within a read belongs to its moment
            return fn(Tx(reader))
        reader.execute("BEGIN")
        try:
            return fn(Tx(reader))
        finally:
            reader.execute("ROLLBACK")

    def _work(self, c: sqlite3.Connection) -> None:
        make_room(c, self._wal_pages)
        while True:
            with self._wake:
                while not self._jobs and not self._stopping:
                    self._wake.wait()
                jobs, self._jobs = self._jobs[:BATCH_JOBS_MAX], self._jobs[BATCH_JOBS_MAX:]
                if not jobs:
                    break
            events = _run_batch(c, jobs, self._slow)
            self.commits += 1
            self.jobs_done += len(jobs)
            try:
                self._loop.call_soon_threadsafe(self._settle, jobs, events)
            except RuntimeError:  # the loop is gone: nobody waits any more
                break
        c.close()

    def _settle(self, jobs: list[_Job], events: list[Event]) -> None:
        self.failing = next((str(j.error) for j in jobs if isinstance(j.error, Unavailable)), "")
        for job in jobs:
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        if events:
            for listener in self._listeners:
                listener(events)


class InlineWriter:
    """The same promises without a thread: `write` commits before it returns. For tests and worlds under one scheduler."""

    def __init__(self, path: str | Path = ":memory:"):
        self.path = Path(path)
        self._c = connect(path)
        self._listeners: list[Listener] = []
        self.commits = 0
        self.jobs_done = 0
        self.failing = ""

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        self._c.close()

    def write_now(self, fn: Callable[[Tx], T]) -> T:
        job = _Job(fn, None)
        events = _run_batch(self._c, [job], 0.0)
        self.commits += 1
        self.jobs_done += 1
        if job.error is not None:
            raise job.error
        if events:
            for listener in self._listeners:
                listener(events)
        return job.result

    async def write(self, fn: Callable[[Tx], T]) -> T:
        return self.write_now(fn)

    def read(self, fn: Callable[[Tx], T]) -> T:
        return fn(Tx(self._c))


def migrate(path: str | Path, name: str, steps: Sequence[Callable[[Any], None]]) -> list[str]:
    """Applies the numbered `steps` that this file has not had yet, once, whoever starts beside us (a lock file is held meanwhile).

    Each step is `step(sqlite_utils.Database)`, recorded in `_sqlite_migrations` under the function's name. Returns the names applied.
    Broken, with a sentence, for a file that is no database or a damaged one.
    """
    path = Path(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # People's contacts and PINs lie in it: for its owner only. SQLite gives the files beside it the same rights.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with open(path.with_name(path.name + ".migrating"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _pending(path, name, steps):
            return []
        from sqlite_utils import Database as UtilsDatabase  # 170 ms and 30 MB that a box with nothing to migrate does not need
        from sqlite_utils.migrations import Migrations

        migrations = Migrations(name)
        for step in steps:
            migrations()(step)
        c = connect(path)
        try:
            db = UtilsDatabase(c)
            before = {m.name for m in migrations.applied(db)}
            migrations.apply(db)
            return [m.name for m in migrations.applied(db) if m.name not in before]
        finally:
            c.close()


def _pending(path: Path, name: str, steps: Sequence[Callable[[Any], None]]) -> bool:
    if not path.exists() or os.path.getsize(path) == 0:
        return True
    c = sqlite3.connect(str(path), timeout=10)
    try:
        done = {r[0] for r in c.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (name,))}
    except sqlite3.OperationalError:
        return True
    except sqlite3.DatabaseError as error:
        raise Broken(f"The books in {path} cannot be read: {error}. Put them back from a backup; nothing was changed.") from None
    finally:
        c.close()
    return any(step.__name__ not in done for step in steps)
