"""PostgreSQL's own: starters side by side, replicas that hear and hold each other, a server that goes and comes back, no flush no books."""

import asyncio
import signal
import threading
import time

import psycopg
import pytest

from cloud_hub.store import schema as hub
from shared.errors import Broken, Unavailable
from shared.ledger import schema
from shared.runtime import postgres as pg

pytestmark = pytest.mark.needs_postgres


@pytest.fixture
def url(postgres):
    url = postgres.books()
    pg.InlinePostgres(url).write_now(lambda tx: tx.run("CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER NOT NULL)"))
    return url


async def opened(url: str) -> pg.PostgresDatabase:
    db = pg.PostgresDatabase(url)
    await db.start()
    return db


def put(key, n=0):
    return lambda tx: tx.run("INSERT INTO t (id, n) VALUES (:id, :n)", {"id": key, "n": n})


def count_up(key, meanwhile=lambda: None):
    """Reads a number under its row's lock and writes the next."""

    def job(tx):
        (n,) = tx.one(f"SELECT n FROM t WHERE id = :id{tx.for_update}", {"id": key})
        meanwhile()
        tx.run("UPDATE t SET n = :n WHERE id = :id", {"id": key, "n": n + 1})

    return job


def both(first, second, meanwhile=lambda: None):
    def job(tx):
        count_up(first, meanwhile)(tx)
        count_up(second)(tx)

    return job


def numbers(tx):
    return dict(tx.all("SELECT id, n FROM t"))


async def until(ok, seconds=15):
    deadline = time.monotonic() + seconds
    while not ok():
        assert time.monotonic() < deadline, "did not come to pass"
        await asyncio.sleep(0.01)


# ---- tables
def test_starters_side_by_side_make_the_tables_once(postgres):
    url = postgres.books()
    done: list[list[str]] = []
    starters = [threading.Thread(target=lambda: done.append(pg.migrate(url, "ledger", schema.STEPS))) for _ in range(4)]
    for s in starters:
        s.start()
    for s in starters:
        s.join(30)
    assert sorted(map(len, done)) == [0, 0, 0, len(schema.STEPS)]
    assert pg.migrate(url, "hub", hub.STEPS) == [s.__name__ for s in hub.STEPS]
    assert pg.migrate(url, "hub", hub.STEPS) == []


def test_a_step_that_cannot_be_carried_out_leaves_nothing_of_those_before_it(postgres):
    url = postgres.books()

    def m001_good(db):
        db.execute("CREATE TABLE good (id INTEGER PRIMARY KEY)")

    def m002_bad(db):
        db.execute("CREATE TABLE bad (id NONSENSE)")

    with pytest.raises(Broken, match="m002_bad.*Nothing was changed"):
        pg.migrate(url, "x", (m001_good, m002_bad))
    assert pg.migrate(url, "x", (m001_good,)) == ["m001_good"]


def test_a_journal_from_before_its_chain_is_taken_into_it(postgres):
    url = postgres.books()
    pg.migrate(url, "ledger", schema.STEPS[:1])
    books = pg.InlinePostgres(url)
    row = "INSERT INTO journal (at, site_id, actor, what, ref, reason) VALUES (:at, 'bedford', 'staff', 'unlock', 'b-1', '')"
    for at in (1, 2):
        books.write_now(lambda tx, at=at: tx.run(row, {"at": at}))
    pg.migrate(url, "ledger", schema.STEPS)
    assert books.read(lambda tx: tx.all("SELECT no, n FROM journal ORDER BY no")) == [(1, 1), (2, 2)]


# ---- the server
def test_nobody_there_is_unavailable_and_no_address_is_told(tmp_path):
    with pytest.raises(Unavailable) as e:
        pg.Session(f"postgresql://clubos:secret-word@/postgres?host={tmp_path}")
    assert "secret-word" not in e.value.detail


def test_a_server_that_does_not_flush_cannot_keep_the_books(postgres):
    postgres.stop()
    postgres.start(fsync="off")
    try:
        with pytest.raises(Broken, match="fsync is off"):
            pg.Session(postgres.url)
    finally:
        postgres.stop()
        postgres.start()
    pg.Session(postgres.url).close()


async def test_a_crash_of_the_server_keeps_what_was_answered_and_the_books_open_again_by_themselves(postgres, url):
    db = await opened(url)
    await db.write(put("before"))
    postgres.stop(signal.SIGQUIT)
    try:
        with pytest.raises(Unavailable):
            await db.write(put("during"))
        assert db.failing
        with pytest.raises(Unavailable):
            db.read(numbers)
        with pytest.raises(Unavailable):
            db.read(numbers)
    finally:
        postgres.start()
    await db.write(put("after"))
    assert not db.failing
    seen: list[dict] = []

    def readable():
        try:
            seen.append(db.read(numbers))
        except Unavailable:
            return False
        return True

    await until(readable)
    assert set(seen[0]) == {"before", "after"}
    await db.stop()


async def test_a_connection_that_is_cut_in_the_middle_fails_its_group_and_keeps_nothing_of_it(postgres, url):
    db = await opened(url)

    def cut(tx):
        put("half")(tx)
        with psycopg.connect(postgres.url, autocommit=True) as c:
            c.execute("SELECT pg_terminate_backend(%s)", (tx.one("SELECT pg_backend_pid()")[0],))
        try:
            put("other half")(tx)
        except Exception as e:
            raise AssertionError("a job may not take a lost connection for a failure of its own") from e

    with pytest.raises(Unavailable):
        await db.write(cut)
    await db.write(put("next"))
    assert set(db.read(numbers)) == {"next"}
    await db.stop()


# ---- replicas
async def test_what_one_replica_commits_the_other_hears_once(url):
    here, there = await opened(url), await opened(url)
    heard: dict[str, list] = {"here": [], "there": []}
    here.listen(heard["here"].extend)
    there.listen(heard["there"].extend)
    many = [("resource", f"bedford.box-{i}-{'x' * 60}") for i in range(300)]

    def job(tx):
        put("a")(tx)
        for event in many:
            tx.tell(*event)

    await here.write(job)
    await until(lambda: len(heard["there"]) >= len(many))
    assert heard["here"] == many
    assert heard["there"] == many
    await here.stop()
    await there.stop()


async def test_numbers_counted_up_by_two_replicas_have_no_hole_and_none_twice(url):
    here, there = await opened(url), await opened(url)
    for key in ("a", "b"):
        await here.write(put(key))
    await asyncio.gather(*(db.write(count_up(key)) for _ in range(60) for db in (here, there) for key in ("a", "b")))
    assert here.read(numbers) == {"a": 120, "b": 120}
    await here.stop()
    await there.stop()


async def test_groups_that_hold_each_others_rows_are_both_done_without_a_deadlock(url, postgres):
    """Two jobs of one row each, in opposite order: no job locks two rows, only the groups would."""
    here, there = await opened(url), await opened(url)
    for key in ("a", "b"):
        await here.write(put(key))
    hold_up = threading.Event()
    # a first job keeps each writer busy, so that the two behind it form one group
    busy = [asyncio.ensure_future(db.write(lambda tx: hold_up.wait(10))) for db in (here, there)]
    await asyncio.sleep(0.1)
    met = threading.Barrier(2, timeout=5)
    once = {"here": True, "there": True}

    def meet(who):
        def wait():
            if once[who]:
                once[who] = False
                met.wait()  # both hold their first row now

        return wait

    jobs = [here.write(count_up("a", meet("here"))), here.write(count_up("b")), there.write(count_up("b", meet("there"))), there.write(count_up("a"))]
    waiting = [asyncio.ensure_future(j) for j in jobs]
    await asyncio.sleep(0)
    hold_up.set()
    await asyncio.gather(*busy, *waiting)
    assert here.read(numbers) == {"a": 2, "b": 2}
    assert "deadlock" not in (postgres.folder / "log").read_text()
    await here.stop()
    await there.stop()


async def test_two_jobs_that_deadlock_are_run_again_and_both_done(url):
    here, there = await opened(url), await opened(url)
    for key in ("c", "d"):
        await here.write(put(key))
    met = threading.Barrier(2, timeout=5)
    tries = []

    def meet():
        tries.append(1)
        if len(tries) <= 2:
            met.wait()

    await asyncio.gather(here.write(both("c", "d", meet)), there.write(both("d", "c", meet)))
    assert here.read(numbers) == {"c": 2, "d": 2}
    assert len(tries) >= 3
    await here.stop()
    await there.stop()


async def test_a_row_that_another_never_lets_go_is_unavailable_in_the_end(url, monkeypatch):
    monkeypatch.setattr(pg, "PATIENCE_MS", 30)
    db = await opened(url)
    await db.write(put("a"))
    other = psycopg.connect(url)
    other.execute("UPDATE t SET n = 7 WHERE id = 'a'")
    with pytest.raises(Unavailable, match="held by another"):
        await db.write(count_up("a"))
    other.rollback()
    await db.write(count_up("a"))
    assert db.read(numbers) == {"a": 1}
    other.close()
    await db.stop()


async def test_a_job_that_hides_a_failed_statement_keeps_nothing_and_spoils_nobody(url):
    db = await opened(url)
    await db.write(put("a"))

    def hides(tx):
        put("b")(tx)
        try:
            put("a")(tx)
        except psycopg.Error:
            pass

    results = await asyncio.gather(db.write(hides), db.write(put("c")), return_exceptions=True)
    assert isinstance(results[0], psycopg.Error) and results[1] == 1
    assert set(db.read(numbers)) == {"a", "c"}
    await db.stop()


async def test_a_constraint_that_is_judged_at_the_end_makes_the_group_unavailable(url):
    db = await opened(url)
    await db.write(lambda tx: tx.run("CREATE TABLE child (t TEXT REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)"))
    with pytest.raises(Unavailable):
        await db.write(lambda tx: tx.run("INSERT INTO child VALUES ('nobody')"))
    await db.write(put("a"))
    assert set(db.read(numbers)) == {"a"}
    await db.stop()
