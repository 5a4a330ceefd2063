"""The writer: durable on return, shared flushes, savepoints, migrations beside another process, power cuts by kill -9."""

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading

import pytest

from shared.errors import Refused, Unavailable, refuse
from shared.ledger import schema
from shared.runtime.database import Database, InlineWriter


@pytest.fixture
def path(tmp_path):
    return tmp_path / "books.sqlite"


async def opened(path, **settings) -> Database:
    db = Database(path, **settings)
    await db.start()
    await db.write(lambda tx: tx.run("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, who TEXT)"))
    return db


async def test_what_write_returns_is_seen_by_the_next_read(path):
    db = await opened(path)
    await db.write(lambda tx: tx.run("INSERT INTO t VALUES (1, 'a')"))
    assert db.read(lambda tx: tx.all("SELECT who FROM t")) == [("a",)]
    await db.stop()


async def test_jobs_that_queue_during_a_flush_share_the_next(path):
    db = await opened(path, slow_commit_s=0.02)
    before = db.commits
    await asyncio.gather(*(db.write(lambda tx, i=i: tx.run("INSERT INTO t VALUES (:i, 'x')", {"i": i})) for i in range(200)))
    assert db.commits - before <= 4
    assert db.read(lambda tx: tx.one("SELECT COUNT(*) FROM t")) == (200,)
    await db.stop()


async def test_a_job_that_comes_while_another_runs_shares_its_flush(path):
    db = await opened(path)
    running, go = threading.Event(), threading.Event()

    def long(tx):
        running.set()
        assert go.wait(10)
        tx.run("INSERT INTO t VALUES (1, 'long')")

    before = db.commits
    first = asyncio.create_task(db.write(long))
    await asyncio.to_thread(running.wait, 10)
    others = [asyncio.create_task(db.write(lambda tx, i=i: tx.run("INSERT INTO t VALUES (:i, 'late')", {"i": i}))) for i in (2, 3, 3)]
    await asyncio.sleep(0)
    go.set()
    ended = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(one) for one in ended] == [type(None), int, int, sqlite3.IntegrityError]
    assert db.commits - before == 1
    assert db.read(lambda tx: tx.all("SELECT id FROM t ORDER BY id")) == [(1,), (2,), (3,)]
    await db.stop()


async def test_a_job_knows_that_others_wait_or_share_its_flush(path):
    db = await opened(path)
    seen, running, go = [], threading.Event(), threading.Event()

    def first(tx):
        seen.append(db.crowded)
        running.set()
        assert go.wait(10)
        seen.append(db.crowded)

    jobs = [asyncio.create_task(db.write(first))]
    await asyncio.to_thread(running.wait, 10)
    jobs += [asyncio.create_task(db.write(lambda tx: seen.append(db.crowded))) for _ in range(2)]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*jobs)
    await db.write(lambda tx: seen.append(db.crowded))
    assert seen == [False, True, True, True, False]
    await db.stop()


async def test_a_refused_job_changes_nothing_and_spoils_nobody_else(path):
    db = await opened(path, slow_commit_s=0.01)

    def refused(tx):
        tx.run("INSERT INTO t VALUES (1, 'refused')")
        raise refuse("slot_taken", "No.")

    results = await asyncio.gather(
        db.write(lambda tx: tx.run("INSERT INTO t VALUES (2, 'kept')")),
        db.write(refused),
        db.write(lambda tx: tx.run("INSERT INTO t VALUES (3, 'kept')")),
        return_exceptions=True,
    )
    assert isinstance(results[1], Refused)
    assert db.read(lambda tx: tx.all("SELECT id FROM t ORDER BY id")) == [(2,), (3,)]
    await db.stop()


async def test_nothing_is_told_before_it_is_durable_and_nothing_of_a_refused_job(path):
    db = await opened(path)
    heard = []
    db.listen(heard.extend)

    def sale(tx):
        tx.run("INSERT INTO t VALUES (1, 'x')")
        tx.tell("booking", "b-1")

    def refused(tx):
        tx.tell("booking", "b-2")
        raise refuse("slot_taken", "No.")

    await db.write(sale)
    with pytest.raises(Refused):
        await db.write(refused)
    assert heard == [("booking", "b-1")]
    await db.stop()


async def test_a_cancelled_caller_leaves_the_writer_in_order(path):
    db = await opened(path, slow_commit_s=0.05)
    task = asyncio.ensure_future(db.write(lambda tx: tx.run("INSERT INTO t VALUES (1, 'x')")))
    await asyncio.sleep(0)
    task.cancel()
    await db.write(lambda tx: tx.run("INSERT INTO t VALUES (2, 'y')"))
    assert db.read(lambda tx: tx.one("SELECT COUNT(*) FROM t")) == (2,)
    await db.stop()


async def test_a_commit_that_fails_fails_every_job_of_its_batch_as_unavailable(path):
    db = await opened(path)
    await db.write(lambda tx: tx.run("CREATE TABLE child (t INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)"))
    with pytest.raises(Unavailable):
        await db.write(lambda tx: tx.run("INSERT INTO child VALUES (99)"))
    assert db.failing
    await db.write(lambda tx: tx.run("INSERT INTO t VALUES (1, 'x')"))
    assert not db.failing
    await db.stop()


async def test_an_attempt_inside_a_job_is_undone_alone(path):
    db = await opened(path)

    def job(tx):
        tx.run("INSERT INTO t VALUES (1, 'kept')")
        with pytest.raises(Refused):
            tx.attempt(lambda: (tx.run("INSERT INTO t VALUES (2, 'gone')"), (_ for _ in ()).throw(refuse("slot_taken", "No.")))[0])
        return tx.run("INSERT INTO t VALUES (3, 'kept')")

    await db.write(job)
    assert db.read(lambda tx: tx.all("SELECT id FROM t ORDER BY id")) == [(1,), (3,)]
    await db.stop()


async def test_a_closing_database_finishes_what_was_queued_and_takes_no_more(path):
    db = await opened(path, slow_commit_s=0.01)
    queued = [asyncio.ensure_future(db.write(lambda tx, i=i: tx.run("INSERT INTO t VALUES (:i, 'x')", {"i": i}))) for i in range(20)]
    await asyncio.sleep(0)
    await db.stop()
    await asyncio.gather(*queued)
    with pytest.raises(Unavailable):
        await db.write(lambda tx: 1)
    assert sqlite3.connect(path).execute("SELECT COUNT(*) FROM t").fetchone() == (20,)


async def test_every_connection_flushes_in_full(path):
    db = await opened(path)
    assert await db.write(lambda tx: tx.one("PRAGMA synchronous")) == (2,)
    await db.stop()


async def test_one_read_is_of_one_moment_whoever_writes_meanwhile(path):
    db = await opened(path)

    def twice(tx):
        before = tx.one("SELECT COUNT(*) FROM t")
        other = sqlite3.connect(path)
        other.execute("INSERT INTO t VALUES (1, 'meanwhile')")
        other.commit()
        other.close()
        nested = db.read(lambda inner: inner.one("SELECT COUNT(*) FROM t"))
        return before, nested, tx.one("SELECT COUNT(*) FROM t")

    assert db.read(twice) == ((0,), (0,), (0,))
    assert db.read(lambda tx: tx.one("SELECT COUNT(*) FROM t")) == (1,)
    await db.stop()


async def test_the_reader_can_change_nothing(path):
    db = await opened(path)
    with pytest.raises(sqlite3.OperationalError):
        db.read(lambda tx: tx.run("INSERT INTO t VALUES (1, 'x')"))
    await db.stop()


def test_the_inline_writer_keeps_the_same_promises(tmp_path):
    db = InlineWriter(tmp_path / "inline.sqlite")
    db.write_now(lambda tx: tx.run("CREATE TABLE t (id INTEGER PRIMARY KEY)"))

    def refused(tx):
        tx.run("INSERT INTO t VALUES (1)")
        raise refuse("slot_taken", "No.")

    with pytest.raises(Refused):
        db.write_now(refused)
    assert db.read(lambda tx: tx.one("SELECT COUNT(*) FROM t")) == (0,)


def _prepare(path: str, queue) -> None:
    try:
        queue.put(schema.prepare(path))
    except BaseException as e:
        queue.put(repr(e))


def test_processes_that_start_at_once_migrate_once(path):
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    starters = [spawn.Process(target=_prepare, args=(str(path), queue)) for _ in range(4)]
    for p in starters:
        p.start()
    results = [queue.get(timeout=60) for _ in starters]
    for p in starters:
        p.join(20)
    assert sorted(map(len, results)) == [0, 0, 0, len(schema.STEPS)], results


def test_a_prepared_file_is_left_alone(path):
    assert schema.prepare(path) == [s.__name__ for s in schema.STEPS]
    assert schema.prepare(path) == []


SELLER = textwrap.dedent("""
    import asyncio, sys
    from shared.runtime.database import Database

    async def main():
        db = Database(sys.argv[1])
        await db.start()
        await db.write(lambda tx: tx.run("CREATE TABLE IF NOT EXISTS sale (id INTEGER PRIMARY KEY)"))
        n = db.read(lambda tx: tx.one("SELECT COALESCE(MAX(id), 0) FROM sale"))[0]

        async def sell(i):
            await db.write(lambda tx: tx.run("INSERT INTO sale VALUES (:i)", {"i": i}))
            sys.stdout.write(f"{i}\\n")
            sys.stdout.flush()

        while True:
            await asyncio.gather(*(sell(n + k) for k in range(1, 33)))
            n += 32

    asyncio.run(main())
""")


def test_what_was_acknowledged_survives_kill_9(path):
    acknowledged: list[int] = []
    for _ in range(3):
        p = subprocess.Popen([sys.executable, "-c", SELLER, str(path)], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "."})
        for line in p.stdout:
            acknowledged.append(int(line))
            if len(acknowledged) % 150 == 0:
                break
        p.send_signal(signal.SIGKILL)
        acknowledged += [int(x) for x in p.stdout.read().split("\n")[:-1] if x]
        p.wait()
    kept = {r[0] for r in sqlite3.connect(path).execute("SELECT id FROM sale")}
    assert len(acknowledged) >= 450
    assert set(acknowledged) <= kept
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_books_are_for_their_owner_only_whatever_the_machine_usually_grants(tmp_path):
    before = os.umask(0o022)
    try:
        schema.prepare(tmp_path / "new" / "books.sqlite")
        InlineWriter(tmp_path / "new" / "books.sqlite").write_now(lambda tx: tx.run("CREATE TABLE t (id INTEGER)"))
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    assert {path.name for path in (tmp_path / "new").glob("books.sqlite*") if path.stat().st_mode & 0o077} <= {"books.sqlite.migrating"}
