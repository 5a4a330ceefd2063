"""PostgreSQL with the manners of `runtime.database`: `write(fn)` durable on return, `read(fn)` of one moment, `listen`, `migrate`.

Several processes may keep one database (two replicas of a hub), so nothing here rests on a writer being alone: what must not happen side
by side locks its row with `tx.for_update` before it reads. Not here: SQL's dialect (`postgres_sql`), connections (`postgres_session`), any booking.
Invariant: READ COMMITTED, so that what is read after a lock is what the one before us has committed; a job that met a deadlock or waited
behind another's lock is taken back whole and run again, so a job must be one that may run twice.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..errors import Broken, Unavailable
from .database import Event, Follower, Listener, Tx, followed
from .postgres_session import CONNECT_S, Again, Gone, Session, driver, plain

T = TypeVar("T")

#: the most jobs that share one commit: beyond 64 savepoints the server keeps them less cheaply
GROUP_JOBS_MAX = 64
#: how long the first job of a group, which keeps nobody waiting, waits for a lock
PATIENCE_MS = 2000
#: how long the others wait: they hold the locks of those before them, so they rather let those be committed and come again
HURRY_MS = 20
#: how often a job is run for a deadlock or a lock before it is Unavailable: long enough to outlive one who stopped with the lock
TRIES_MAX = 6
#: between two tries to connect again
CONNECT_AGAIN_S = 1.0
#: one channel for what is told after a commit; a notification holds 8,000 octets
CHANNEL = "books"
NOTICE_OCTETS_MAX = 7000
LISTEN_S = 0.2
#: any number, the same for all who migrate
MIGRATION_LOCK = 7_362_001


class PostgresTx(Tx):
    """As `Tx`; rows that are read to be changed are locked."""

    __slots__ = ()
    for_update = " FOR UPDATE"


class _Job:
    __slots__ = ("error", "fn", "future", "result", "tries")

    def __init__(self, fn: Callable[[Tx], Any], future: Any):
        self.fn, self.future, self.tries = fn, future, 0
        self.result: Any = None
        self.error: BaseException | None = None


def _run_group(
    s: Session, jobs: list[_Job], tell_others: bool, make_tx: Callable[[Session], Tx] = PostgresTx
) -> tuple[list[Event], list[_Job]]:
    """Runs the jobs, each in its own savepoint, and commits once. Returns what to tell, and the jobs that must be run again.

    A job that meets a lock ends the group: what came before it is committed, which frees whoever waits for us. So two groups that hold
    each other's rows do not stand, and the order of locks matters within one job only. Raises `Gone`.
    """
    events: list[Event] = []
    left: list[_Job] = []
    s.control(f"BEGIN; SET LOCAL lock_timeout = '{PATIENCE_MS}ms'; SAVEPOINT job")
    for i, job in enumerate(jobs):
        if i:
            s.control(f"SET LOCAL lock_timeout = '{HURRY_MS}ms'; SAVEPOINT job")
        tx = make_tx(s)
        try:
            job.result, job.error = job.fn(tx), None
            s.control("RELEASE job")  # fails where the job hid a statement's failure: then nothing of it may stay
        except Gone:
            raise
        except Again as e:
            s.control("ROLLBACK TO job")
            job.tries += i == 0
            if job.tries < TRIES_MAX:
                left = jobs[i:]
                break
            job.error = Unavailable(f"The books are held by another and could not be written: {e}")
        except BaseException as e:  # a refusal or a bug: this job's changes go, the others' stay
            job.error = e
            s.control("ROLLBACK TO job")
        else:
            events.extend(tx.events)
    events = list(dict.fromkeys(events))
    if tell_others:
        for notice in _notices(events):
            s.execute("SELECT pg_notify(:channel, :notice)", {"channel": CHANNEL, "notice": notice})
    _commit(s)
    return events, left


def _commit(s: Session) -> None:
    try:
        said = s.control("COMMIT").statusmessage
    except driver().Error as e:  # a constraint that is judged at the end
        raise Gone(plain(e)) from e
    if said != "COMMIT":
        raise Gone("the server took the transaction back")


def _notices(events: list[Event]) -> list[str]:
    """The events as notifications, as many as it takes."""
    out, part, octets = [], [], 2
    for event in events:
        size = len(json.dumps(event)) + 2
        if part and octets + size > NOTICE_OCTETS_MAX:
            out.append(json.dumps(part))
            part, octets = [], 2
        part.append(event)
        octets += size
    return [*out, json.dumps(part)] if part else out


def _fail(jobs: list[_Job], why: BaseException) -> None:
    """Whether a commit whose answer was lost has been kept is not known: callers ask again under the same id."""
    for job in jobs:
        job.result, job.error = None, Unavailable(f"The books could not be written: {why}")


def _read(s: Session, fn: Callable[[Tx], T], make_tx: Callable[[Session], Tx] = Tx) -> T:
    """One moment; a read within a read belongs to its moment. Raises Unavailable where the server has gone."""
    if s.c.info.transaction_status != driver().pq.TransactionStatus.IDLE:
        return fn(make_tx(s))
    try:
        s.control("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            return fn(make_tx(s))
        finally:
            if not s.c.closed:
                s.control("ROLLBACK")
    except (Gone, Again) as e:
        s.close()
        raise Unavailable(f"The books could not be read: {e}") from None


class PostgresDatabase:
    """One writer thread with group commit, one reader connection, and one that hears what other replicas have committed.

    `url` as libpq takes it (`postgresql://…`). Commits of other processes reach `listen` too; what they tell while our connection is away
    is not told later, so nothing may rest on hearing it (the pump looks again by itself, kept pages end by their age).
    """

    def __init__(self, url: str):
        self._url = url
        self._listeners: list[Listener] = []
        self._followers: list[tuple[str, Follower]] = []
        self._jobs: list[_Job] = []
        self._sharing = 0
        self._wake = threading.Condition(threading.Lock())
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Session | None = None
        self._reader: Session | None = None
        self._no_reader_before = 0.0
        self.commits = 0
        self.jobs_done = 0
        self.failing = ""

    @property
    def crowded(self) -> bool:
        """Whether others wait while a job runs, or for the commit that it shares: one with much to do ends early and comes again."""
        return bool(self._jobs) or self._sharing > 1

    def follow(self, topic: str, follower: Follower) -> None:
        """As `Database.follow`."""
        self._followers.append((topic, follower))

    def listen(self, listener: Listener) -> None:
        """`listener(events)` runs on the event loop after every commit that told something, ours or another replica's."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Raises Unavailable or Broken as `Session` does."""
        self._loop = asyncio.get_running_loop()
        self._writer = await asyncio.to_thread(Session, self._url)
        self._reader = await asyncio.to_thread(Session, self._url, readonly=True)
        heard = threading.Event()
        for work, more in ((self._work, ()), (self._hear, (heard,))):
            thread = threading.Thread(target=work, args=more, name="books", daemon=True)
            thread.start()
            self._threads.append(thread)
        await asyncio.to_thread(heard.wait, CONNECT_S)

    async def stop(self) -> None:
        """Finishes what was queued, then closes."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._threads.clear()
        if self._reader:
            self._reader.close()
            self._reader = None

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Runs `fn(tx)` in the writer, again where it met another's lock; returns its value once it is durable. Raises what `fn` raised,
        or Unavailable."""
        assert self._loop is not None, "start() first"
        job = _Job(followed(self._followers, fn), self._loop.create_future())
        with self._wake:
            if self._stopping:
                raise Unavailable("The books are closing.")
            self._jobs.append(job)
            if len(self._jobs) == 1:
                self._wake.notify()
        return await job.future

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Runs a short read on the caller's thread, of one moment: it sees everything that `write` has returned. Raises Unavailable."""
        reader = self._reader
        assert reader is not None, "start() first"
        if reader.c.closed:
            now = time.monotonic()
            if now < self._no_reader_before:
                raise Unavailable("The books on PostgreSQL cannot be reached.")
            self._no_reader_before = now + CONNECT_AGAIN_S
            reader = self._reader = Session(self._url, readonly=True)
        return _read(reader, fn)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._jobs and not self._stopping:
                    self._wake.wait()
                jobs, self._jobs = self._jobs[:GROUP_JOBS_MAX], self._jobs[GROUP_JOBS_MAX:]
                self._sharing = len(jobs)
                if not jobs:
                    break
            events, left = self._group(jobs)
            done = jobs[: len(jobs) - len(left)]
            self.commits += 1
            self.jobs_done += len(done)
            with self._wake:
                self._jobs[:0] = left
            try:
                self._loop.call_soon_threadsafe(self._settle, done, events)
            except RuntimeError:  # the loop is gone: nobody waits any more
                break
        if self._writer:
            self._writer.close()

    def _group(self, jobs: list[_Job]) -> tuple[list[Event], list[_Job]]:
        try:
            if self._writer is None:
                self._writer = Session(self._url)
            return _run_group(self._writer, jobs, True)
        except (Gone, Again, Unavailable, Broken) as e:
            _fail(jobs, e)
        except BaseException as e:  # a bug here must not leave callers waiting for ever
            _fail(jobs, e)
        if self._writer:
            self._writer.close()
            self._writer = None
        return [], []

    def _settle(self, jobs: list[_Job], events: list[Event]) -> None:
        self.failing = next((str(j.error) for j in jobs if isinstance(j.error, Unavailable)), "")
        for job in jobs:
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        self._tell(events)

    def _tell(self, events: list[Event]) -> None:
        if events:
            for listener in self._listeners:
                listener(events)

    def _hear(self, ready: threading.Event) -> None:
        """What other replicas commit."""
        psycopg = driver()
        while not self._stopping:
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_S) as c:
                    c.execute(f"LISTEN {CHANNEL}")
                    ready.set()
                    while not self._stopping:
                        for notice in c.notifies(timeout=LISTEN_S):
                            self._heard(notice)
            except psycopg.Error:
                time.sleep(CONNECT_AGAIN_S)
            except RuntimeError:  # the loop is gone
                return

    def _heard(self, notice) -> None:
        writer = self._writer
        if writer is not None and notice.pid == writer.pid:
            return  # told already, in the order of our own commits
        events = [(topic, key) for topic, key in json.loads(notice.payload)]
        self._loop.call_soon_threadsafe(self._tell, events)


class InlinePostgres:
    """The same promises without a thread: `write` commits before it returns. For tests, and worlds under one scheduler."""

    def __init__(self, url: str, *, make_tx: Callable[[Session], Tx] = PostgresTx):
        self.session = Session(url)
        self._make_tx = make_tx
        self._listeners: list[Listener] = []
        self._followers: list[tuple[str, Follower]] = []
        self.commits = 0
        self.jobs_done = 0
        self.failing = ""

    @property
    def crowded(self) -> bool:
        return False

    def follow(self, topic: str, follower: Follower) -> None:
        """As `Database.follow`."""
        self._followers.append((topic, follower))

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        self.session.close()

    def write_now(self, fn: Callable[[Tx], T]) -> T:
        job = _Job(followed(self._followers, fn), None)
        left = [job]
        try:
            while left:
                events, left = _run_group(self.session, [job], False, self._make_tx)
        except Gone as e:
            _fail([job], e)
            if not self.session.c.closed:
                self.session.control("ROLLBACK")
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
        return _read(self.session, fn)


class Tables:
    """What a migration step is handed: `execute`, and `conn.executemany`, as sqlite-utils gives them."""

    def __init__(self, session: Session):
        self.conn = session

    def execute(self, sql: str, params: dict[str, Any] | Sequence[Any] = ()):
        return self.conn.execute(sql, params)


def migrate(url: str, name: str, steps: Sequence[Callable[[Any], None]]) -> list[str]:
    """Applies the numbered `steps` of the set `name` that these books have not had yet, all or none, whoever starts beside us.

    The steps are those of SQLite, handed a `Tables`. Returns the names applied. Raises Unavailable or Broken as `Session` does, and
    Broken for a step that cannot be carried out.
    """
    s = Session(url)
    step: Callable[[Any], None] | None = None
    try:
        s.control("BEGIN")
        s.execute("SELECT pg_advisory_xact_lock(:n)", {"n": MIGRATION_LOCK})
        s.execute(
            "CREATE TABLE IF NOT EXISTS migrations (migration_set TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (migration_set, name))"
        )
        done = {row[0] for row in s.execute("SELECT name FROM migrations WHERE migration_set = :s", {"s": name}).fetchall()}
        applied = []
        for step in steps:
            if step.__name__ in done:
                continue
            step(Tables(s))
            s.execute("INSERT INTO migrations (migration_set, name) VALUES (:s, :n)", {"s": name, "n": step.__name__})
            applied.append(step.__name__)
        _commit(s)
        return applied
    except (Gone, Again) as e:
        raise Unavailable(f"The books on PostgreSQL could not be brought to today's tables: {e}") from None
    except driver().Error as e:
        where = f" at {step.__name__}" if step else ""
        raise Broken(f"The books on PostgreSQL could not be brought to today's tables{where}: {plain(e)}. Nothing was changed.") from None
    finally:
        s.close()
