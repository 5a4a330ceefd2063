"""SQLite as both sides use it: one writer with group commit, readers beside it. Knows no booking and is the one place that knows a dialect.

Invariant: what `write` returns has been flushed to the disk (`synchronous=FULL`); a job that raises has changed nothing, whoever shared
its flush. What queued while the last flush ran, and what comes while that batch runs, shares the next one, each job in its own savepoint,
so durability costs one flush per batch and nothing waits on purpose. `InlineWriter` does the same without a thread, for tests and simulated worlds.

Where the disk fails (`database_disk` says how) nothing of that batch is kept or told, whatever a job made of the error; `failing` says so
until a write has gone through again, which an idle writer tries by itself. Books that were found damaged take no write until they are
opened anew.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..errors import Broken, Failure, Unavailable
from . import database_disk as disk
from . import log
from .database_condition import Condition
from .database_file import WAL_PAGES, Wal, connect, make_room, taken_back, wal_given_back

T = TypeVar("T")
Event = tuple[str, str]
#: runs inside the transaction, with the keys told under its topic
Follower = Callable[["Tx", list[str]], None]
Listener = Callable[[list[Event]], None]

#: the most jobs that share one flush: bounds how long the first of them waits
BATCH_JOBS_MAX = 512
#: the WAL gets its length ahead only where the disk has this many times as much room
ROOM_FACTOR = 4
#: how often an idle writer tries whether a disk that failed takes writes again
TRY_AGAIN_S = 2.0
_log = log.get("runtime.database")


class Tx:
    """One transaction: SQL with named parameters, and what to tell listeners once it is durable."""

    #: PostgreSQL would append " FOR UPDATE" to lock a row; on SQLite the writer is alone
    for_update = ""

    __slots__ = ("_c", "_path", "_reading", "events", "memo", "trouble")

    def __init__(self, connection: sqlite3.Connection, path: Path = Path(), *, reading: bool = False):
        self._c, self._path, self._reading = connection, path, reading
        self.events: list[Event] = []
        self.memo: dict[str, Any] = {}
        #: the disk failed under this transaction: it is taken back as a whole, even if a job has swallowed the error
        self.trouble: Failure | None = None

    def run(self, sql: str, params: dict[str, Any] | Sequence[Any] = ()) -> int:
        """Executes and returns how many rows were changed."""
        try:
            return self._c.execute(sql, params).rowcount
        except sqlite3.Error as error:
            raise self._meant(error) from error

    def many(self, sql: str, rows: Iterable[dict[str, Any] | Sequence[Any]]) -> int:
        try:
            return self._c.executemany(sql, rows).rowcount
        except sqlite3.Error as error:
            raise self._meant(error) from error

    def one(self, sql: str, params: dict[str, Any] | Sequence[Any] = ()) -> tuple | None:
        try:
            return self._c.execute(sql, params).fetchone()
        except sqlite3.Error as error:
            raise self._meant(error) from error

    def all(self, sql: str, params: dict[str, Any] | Sequence[Any] = ()) -> list[tuple]:
        try:
            return self._c.execute(sql, params).fetchall()
        except sqlite3.Error as error:
            raise self._meant(error) from error

    def _meant(self, error: sqlite3.Error) -> Exception:
        """The error as what it says of the disk, or itself; the first trouble is kept."""
        found = disk.trouble_of(error, self._path, reading=self._reading)
        if found is not None and self.trouble is None:
            self.trouble = found
        return found or error

    def attempt(self, fn: Callable[[], T]) -> T:
        """Runs `fn` in a savepoint: what it raises is raised on, but its changes, and what it wanted told, are gone."""
        mark = len(self.events)
        self._c.execute("SAVEPOINT attempt")
        try:
            value = fn()
        except BaseException:
            del self.events[mark:]
            self.memo.clear()
            if self.trouble is None:  # otherwise SQLite may have ended the whole transaction, savepoints and all
                self._c.execute("ROLLBACK TO attempt")
                self._c.execute("RELEASE attempt")
            raise
        self._c.execute("RELEASE attempt")
        return value

    def tell(self, topic: str, key: str) -> None:
        """Listeners hear `(topic, key)` after the commit, never before (stream-1), and once however often it was told."""
        self.events.append((topic, key))


class _Job:
    __slots__ = ("error", "fn", "future", "result")

    def __init__(self, fn: Callable[[Tx], Any], future: Any):
        self.fn, self.future = fn, future
        self.result: Any = None
        self.error: BaseException | None = None


class _Spoiled(Exception):
    """The disk failed under a job: the batch cannot be kept."""

    def __init__(self, failure: Failure):
        super().__init__(failure.detail)
        self.failure = failure


def _run_batch(
    c: sqlite3.Connection, path: Path, jobs: list[_Job], slow_commit_s: float, late: Callable[[int], list[_Job]] = lambda there: []
) -> tuple[list[Event], Failure | None]:
    """Runs every job in its own savepoint and commits once. On a failed commit, or where the disk fails under a job, every job fails.

    `late(len(jobs))` is asked once, before the commit, for what has come meanwhile; it is added to `jobs` and shares the flush. Returns
    what to tell, and why nothing could be written (None: it was).
    """
    events: list[Event] = []
    try:
        c.execute("BEGIN IMMEDIATE")
        _run_jobs(c, path, jobs, events)
        others = late(len(jobs))
        jobs.extend(others)
        _run_jobs(c, path, others, events)
        if slow_commit_s:
            time.sleep(slow_commit_s)
        c.execute("COMMIT")
    except (sqlite3.Error, _Spoiled) as e:
        taken_back(c)
        failure = e.failure if isinstance(e, _Spoiled) else disk.trouble_of(e, path) or Unavailable(f"The books could not be written: {e}")
        failure.__cause__ = failure.__cause__ or e
        for job in jobs:
            job.result, job.error = None, failure
        return [], failure
    return list(dict.fromkeys(events)), None


def _run_jobs(c: sqlite3.Connection, path: Path, jobs: list[_Job], events: list[Event]) -> None:
    for job in jobs:
        c.execute("SAVEPOINT job")
        tx = Tx(c, path)
        try:
            job.result = job.fn(tx)
        except BaseException as e:  # a refusal or a bug: this job's changes go, the others' stay
            if tx.trouble is None:
                job.error = e
                c.execute("ROLLBACK TO job")
        if tx.trouble is not None:
            raise _Spoiled(tx.trouble)
        if job.error is None:
            events.extend(tx.events)
        c.execute("RELEASE job")


def _try_a_write(tx: Tx) -> None:
    """Changes nothing, but has a page written and flushed like any commit."""
    version = tx.one("PRAGMA user_version")
    tx.run(f"PRAGMA user_version={int(version[0]) if version else 0}")


def followed(followers: Sequence[tuple[str, Follower]], fn: Callable[[Tx], T]) -> Callable[[Tx], T]:
    """`fn` and, in its transaction, whoever follows what it tells of, in the order in which they asked to."""
    if not followers:
        return fn

    def run(tx: Tx) -> T:
        value = fn(tx)
        for topic, follower in followers:
            keys = list(dict.fromkeys(key for told, key in tx.events if told == topic))
            if not keys:
                continue
            try:
                tx.attempt(partial(follower, tx, keys))
            except Exception as error:
                if tx.trouble is not None:
                    raise
                _log.error("books.follower_failed", topic=topic, error=error)
        return value

    return run


class _Books(Condition):
    """What both writers share: followers, news for listeners, and reads."""

    def __init__(self, low_octets: int):
        super().__init__(low_octets)
        self._followers: list[tuple[str, Follower]] = []

    def follow(self, topic: str, follower: Follower) -> None:
        """`follower(tx, keys)` runs in every transaction that tells of `topic`, after what it did, with the keys told, each once: what must
        not be forgotten is written with its cause. One that fails is logged, and its own changes are taken back; the cause and what others
        wrote for it stand. Asked for at the start, before anything is written."""
        self._followers.append((topic, follower))

    @property
    def crowded(self) -> bool:
        """Whether others wait while a job runs, or for the flush that it shares: one with much to do ends early and comes again for the rest."""
        return False

    def _tell(self, listeners: list[Listener], events: list[Event]) -> None:
        """One listener that fails does not keep the news from the others."""
        for listener in listeners:
            try:
                listener(events)
            except Failure as error:
                if not self.failing:
                    _log.error("books.listener_failed", error=error)
            except Exception as error:
                _log.error("books.listener_failed", error=error)

    def _read(self, connection: sqlite3.Connection, fn: Callable[[Tx], T]) -> T:
        tx = Tx(connection, self.path, reading=True)
        try:
            return fn(tx)
        finally:
            if tx.trouble is not None:
                self._failed(tx.trouble)


class Database(_Books):
    """One file, one writer thread with group commit, one reader connection for short reads on the event loop.

    `slow_commit_s` is added to every commit: it stands for a slow disk in benchmarks and simulations. `wal_pages`: the WAL's length, which
    is written once at the start; less is sooner there on a memory card, and copied more often. `low_octets`: free room that is too little.
    """

    def __init__(self, path: str | Path, *, slow_commit_s: float = 0.0, wal_pages: int = WAL_PAGES, low_octets: int = disk.LOW_OCTETS):
        super().__init__(low_octets)
        self.path = Path(path)
        self._slow, self._wal_pages = slow_commit_s, wal_pages
        self._listeners: list[Listener] = []
        self._jobs: list[_Job] = []
        self._sharing = 0
        self._wake = threading.Condition(threading.Lock())
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader: sqlite3.Connection | None = None
        self._ailing = False
        self._ended: Failure | None = None
        self.commits = 0
        self.jobs_done = 0

    @property
    def crowded(self) -> bool:
        return bool(self._jobs) or self._sharing > 1

    def listen(self, listener: Listener) -> None:
        """`listener(events)` runs on the event loop after every commit that told something."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Opens the books. Raises Unavailable or Broken with what the disk says."""
        self._loop = asyncio.get_running_loop()
        try:
            writer = connect(self.path)
            writer.execute(f"PRAGMA wal_autocheckpoint={self._wal_pages}")
            self._reader = connect(self.path, readonly=True)
        except sqlite3.Error as error:
            raise disk.trouble_of(error, self.path) or error from error
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
        """Runs `fn(tx)` in the writer; returns its value once it is durable. Raises what `fn` raised, or Unavailable or Broken."""
        assert self._loop is not None, "start() first"
        if self.damaged is not None:
            raise self.damaged
        job = _Job(followed(self._followers, fn), self._loop.create_future())
        with self._wake:
            if self._ended is not None:
                raise self._ended
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
            return self._read(reader, fn)
        reader.execute("BEGIN")
        try:
            return self._read(reader, fn)
        finally:
            taken_back(reader)

    def _failed(self, failure: Failure) -> None:
        super()._failed(failure)
        with self._wake:
            self._ailing = True
            self._wake.notify()

    def _work(self, c: sqlite3.Connection) -> None:
        """The writer's thread. It never ends unseen: what nobody foresaw fails every job that waits, and all that come."""
        jobs: list[_Job] = []
        wal = Wal(c, self._wal_pages)
        try:
            if self.disk().free_octets >= ROOM_FACTOR * self._wal_pages * 4096:
                make_room(c, self._wal_pages)
            while (jobs := self._next_jobs()) is not None:
                if jobs:
                    events, failure = _run_batch(c, self.path, jobs, self._slow, self._late_jobs)
                else:
                    events, failure = _run_batch(c, self.path, [_Job(_try_a_write, None)], self._slow)
                if c.in_transaction:  # it could not even be taken back
                    c.close()
                    c = connect(self.path)
                    c.execute(f"PRAGMA wal_autocheckpoint={self._wal_pages}")
                    wal = Wal(c, self._wal_pages)
                if getattr(failure, "kind", "") == disk.FULL:
                    wal_given_back(c)
                self.commits += 1
                self.jobs_done += len(jobs)
                self._loop.call_soon_threadsafe(self._settle, jobs, events, failure)
                if not self._jobs and failure is None:
                    wal.copied(c)
        except BaseException as error:
            self._end(error, jobs or [])
        finally:
            try:
                c.close()
            except sqlite3.Error as error:
                _log.error("books.not_closed", error=error)

    def _next_jobs(self) -> list[_Job] | None:
        """What waits, up to a batch; an empty list when it is time to try a failing disk; None at the end."""
        with self._wake:
            while not self._jobs and not self._stopping:
                if not self._ailing:
                    self._wake.wait()
                elif not self._wake.wait(TRY_AGAIN_S) and self.damaged is None:
                    return []
            jobs, self._jobs = self._jobs[:BATCH_JOBS_MAX], self._jobs[BATCH_JOBS_MAX:]
            self._sharing = len(jobs)
            return jobs or None

    def _late_jobs(self, there: int) -> list[_Job]:
        """What came while a batch of so many ran and still has room in it: it need not wait for another flush."""
        room = BATCH_JOBS_MAX - there
        with self._wake:
            jobs, self._jobs = self._jobs[:room], self._jobs[room:]
            self._sharing = there + len(jobs)
            return jobs

    def _end(self, error: BaseException, jobs: list[_Job]) -> None:
        """The writer ends before its time."""
        if self._loop is None or self._loop.is_closed():  # nobody waits any more
            return
        _log.error("books.writer_ended", error=error)
        failure = Broken("The books are written no more because of a fault in the program. Please restart it; what was confirmed is kept.")
        with self._wake:
            self._ended = failure
            jobs, self._jobs = [*jobs, *self._jobs], []
        for job in jobs:
            job.result, job.error = None, failure
        try:
            self._loop.call_soon_threadsafe(self._settle, jobs, [], failure)
        except RuntimeError:  # the loop closed meanwhile
            pass

    def _settle(self, jobs: list[_Job], events: list[Event], failure: Failure | None) -> None:
        if failure is not None:
            self._failed(failure)
        elif self._ended is None:
            self._well()
            self._ailing = bool(self.failing)
        for job in jobs:
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        if events:
            self._tell(self._listeners, events)


class InlineWriter(_Books):
    """The same promises without a thread: `write` commits before it returns. For tests and worlds under one scheduler."""

    def __init__(self, path: str | Path = ":memory:", *, low_octets: int = disk.LOW_OCTETS):
        super().__init__(low_octets)
        self.path = Path(path)
        try:
            self._c = connect(path)
        except sqlite3.Error as error:
            raise disk.trouble_of(error, self.path) or error from error
        self._listeners: list[Listener] = []
        self.commits = 0
        self.jobs_done = 0

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        self._c.close()

    def write_now(self, fn: Callable[[Tx], T]) -> T:
        if self.damaged is not None:
            raise self.damaged
        job = _Job(followed(self._followers, fn), None)
        events, failure = _run_batch(self._c, self.path, [job], 0.0)
        self.commits += 1
        self.jobs_done += 1
        if failure is not None:
            self._failed(failure)
        else:
            self._well()
        if job.error is not None:
            raise job.error
        if events:
            for listener in self._listeners:
                listener(events)
        return job.result

    async def write(self, fn: Callable[[Tx], T]) -> T:
        return self.write_now(fn)

    def read(self, fn: Callable[[Tx], T]) -> T:
        return self._read(self._c, fn)
