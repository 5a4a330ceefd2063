"""What every pair of books promises, on SQLite and on PostgreSQL alike: durable on return, refused means unchanged, told after commit."""

import asyncio

import pytest

from shared.errors import Refused, Unavailable, refuse
from shared.ledger import schema
from shared.runtime import postgres as pg
from shared.runtime.database import Database, InlineWriter

ON = ["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)]


@pytest.fixture(params=ON)
def make(request, tmp_path):
    """Opens the same books, threaded or inline; ledger tables and one plain table are in them."""
    if request.param == "sqlite":
        path = tmp_path / "books.sqlite"
        schema.prepare(path)
        InlineWriter(path).write_now(lambda tx: tx.run("CREATE TABLE t (id INTEGER PRIMARY KEY, who TEXT)"))
        return lambda inline=False: InlineWriter(path) if inline else Database(path)
    url = request.getfixturevalue("postgres").books()
    pg.migrate(url, "ledger", schema.STEPS)
    pg.InlinePostgres(url).write_now(lambda tx: tx.run("CREATE TABLE t (id INTEGER PRIMARY KEY, who TEXT)"))
    return lambda inline=False: pg.InlinePostgres(url) if inline else pg.PostgresDatabase(url)


@pytest.fixture
async def db(make):
    db = make()
    await db.start()
    yield db
    await db.stop()


def put(n, who="x"):
    return lambda tx: tx.run("INSERT INTO t VALUES (:n, :w)", {"n": n, "w": who})


def kept(tx):
    return [row[0] for row in tx.all("SELECT id FROM t ORDER BY id")]


def refused_after(n, tell=""):
    def job(tx):
        put(n)(tx)
        if tell:
            tx.tell("booking", tell)
        raise refuse("slot_taken", "No.")

    return job


async def test_what_write_returns_is_seen_by_the_next_read(db):
    assert await db.write(put(1, "a")) == 1
    assert db.read(lambda tx: tx.all("SELECT id, who FROM t")) == [(1, "a")]


async def test_a_row_that_is_not_there_is_none(db):
    assert db.read(lambda tx: tx.one("SELECT who FROM t WHERE id = :n", {"n": 1})) is None


async def test_every_job_of_a_crowd_is_done_once(db):
    await asyncio.gather(*(db.write(put(i)) for i in range(200)))
    assert db.read(kept) == list(range(200))
    assert db.jobs_done >= 200 > db.commits


async def test_a_refused_job_changes_nothing_and_spoils_nobody_else(db):
    jobs = (put(1), refused_after(2), put(3))
    results = await asyncio.gather(*map(db.write, jobs), return_exceptions=True)
    assert [type(r) for r in results] == [int, Refused, int]
    assert db.read(kept) == [1, 3]


async def test_a_statement_that_fails_fails_its_job_alone(db):
    await db.write(put(1))
    results = await asyncio.gather(*map(db.write, (put(2), put(1), put(3))), return_exceptions=True)
    assert (results[0], results[2]) == (1, 1)
    assert isinstance(results[1], Exception) and not isinstance(results[1], Unavailable)
    assert db.read(kept) == [1, 2, 3]


async def test_nothing_is_told_before_it_is_durable_and_nothing_of_a_refused_job(db):
    told = []

    def listener(events):
        told.extend((event, db.read(kept)) for event in events)

    def sale(tx):
        put(1)(tx)
        tx.tell("booking", "b-1")
        tx.tell("booking", "b-1")

    db.listen(listener)
    await db.write(sale)
    with pytest.raises(Refused):
        await db.write(refused_after(2, "b-2"))
    assert told == [(("booking", "b-1"), [1])]


async def test_a_cancelled_caller_leaves_the_writer_in_order(db):
    task = asyncio.ensure_future(db.write(put(1)))
    await asyncio.sleep(0)
    task.cancel()
    await db.write(put(2))
    assert 2 in db.read(kept)


async def test_an_attempt_inside_a_job_is_undone_alone(db):
    def job(tx):
        put(1)(tx)
        with pytest.raises(Refused):
            tx.attempt(lambda: refused_after(2, "b-2")(tx))
        put(3)(tx)
        with pytest.raises(Refused):
            tx.attempt(lambda: (put(4)(tx), tx.attempt(lambda: put(5)(tx)), refused_after(6)(tx)))
        return tx.events

    assert await db.write(job) == []
    assert db.read(kept) == [1, 3]


async def test_one_read_is_of_one_moment_whoever_writes_meanwhile(db, make):
    other = make(inline=True)

    def twice(tx):
        before = kept(tx)
        other.write_now(put(1))
        return before, db.read(kept), kept(tx)

    assert db.read(twice) == ([], [], [])
    assert db.read(kept) == [1]
    await other.stop()


async def test_the_reader_can_change_nothing(db):
    with pytest.raises(Exception, match="read"):
        db.read(put(1))
    assert db.read(kept) == []


async def test_a_closing_database_finishes_what_was_queued_and_takes_no_more(make):
    db = make()
    await db.start()
    queued = [asyncio.ensure_future(db.write(put(i))) for i in range(20)]
    await asyncio.sleep(0)
    await db.stop()
    await asyncio.gather(*queued)
    with pytest.raises(Unavailable):
        await db.write(put(99))
    again = make(inline=True)
    assert again.read(kept) == list(range(20))
    await again.stop()


async def test_many_rows_go_at_once_and_none_is_no_error(db):
    def job(tx):
        return tx.many("INSERT INTO t VALUES (?, ?)", [(i, "many") for i in range(50)]), tx.many("INSERT INTO t VALUES (?, ?)", [])

    got = await db.write(job)
    assert got[0] == 50 and got[1] in (0, -1)
    assert len(db.read(kept)) == 50


async def test_a_taken_key_is_passed_over_and_counted_so(db):
    sql = "INSERT INTO claims (resource_id, slot, kind, ref) VALUES (:r, :a, 'hold', :ref), (:r, :b, 'hold', :ref) ON CONFLICT DO NOTHING"
    assert await db.write(lambda tx: tx.run(sql, {"r": "s.box-1", "a": 7, "b": 8, "ref": "h-1"})) == 2
    assert await db.write(lambda tx: tx.run(sql, {"r": "s.box-1", "a": 8, "b": 9, "ref": "h-2"})) == 1


async def test_text_is_ordered_by_its_octets_and_numbers_go_as_they_are(db):
    words = ["b", "A", "a", "B", "0", "z-1", "Z_1", "é"]
    row = "INSERT INTO aliases (old_id, new_id) VALUES (:a, :b)"
    for word in words:
        await db.write(lambda tx, w=word: tx.run(row, {"a": w, "b": "5% :x ?"}))
    assert [r[0] for r in db.read(lambda tx: tx.all("SELECT old_id FROM aliases ORDER BY old_id"))] == sorted(words)
    big = 1 << 40
    await db.write(lambda tx: tx.run("INSERT INTO lines (resource_id, site_id, line, wanted) VALUES ('r', 's', :l, :w)", {"l": big, "w": True}))
    assert db.read(lambda tx: tx.one("SELECT line, wanted, SUM(line) FROM lines GROUP BY line, wanted")) == (big, 1, big)
    assert all(type(n) is int for n in db.read(lambda tx: tx.one("SELECT SUM(line), COUNT(*) FROM lines")))


def test_the_inline_writer_keeps_the_same_promises(make):
    db = make(inline=True)
    told = []
    db.listen(told.extend)
    with pytest.raises(Refused):
        db.write_now(refused_after(1, "b-1"))
    db.write_now(lambda tx: (put(2)(tx), tx.tell("booking", "b-2")))
    assert db.read(kept) == [2]
    assert told == [("booking", "b-2")]
