"""Who follows a topic writes in the transaction that tells of it: with its cause or not at all, and never instead of it."""

import asyncio
import logging

import pytest

from shared.errors import Refused, Unavailable, refuse
from shared.runtime import postgres as pg
from shared.runtime.database import Database, InlineWriter, Tx

ON = [
    "sqlite",
    "inline",
    pytest.param("postgres", marks=pytest.mark.needs_postgres),
    pytest.param("inline postgres", marks=pytest.mark.needs_postgres),
]
TABLE = "CREATE TABLE t (id TEXT PRIMARY KEY)"


@pytest.fixture(params=ON)
async def db(request, tmp_path):
    if "postgres" in request.param:
        url = request.getfixturevalue("postgres").books()
        first = pg.InlinePostgres(url)
        first.write_now(lambda tx: tx.run(TABLE))
        await first.stop()
        db = pg.PostgresDatabase(url) if request.param == "postgres" else pg.InlinePostgres(url)
    else:
        path = tmp_path / "books.sqlite"
        InlineWriter(path).write_now(lambda tx: tx.run(TABLE))
        db = Database(path) if request.param == "sqlite" else InlineWriter(path)
    await db.start()
    yield db
    await db.stop()


def put(tx: Tx, row_id: str) -> None:
    tx.run("INSERT INTO t VALUES (:id)", {"id": row_id})


def cause(*keys: str, topic: str = "booking"):
    """Writes and tells of each key."""

    def job(tx: Tx) -> str:
        for key in keys:
            tx.run("INSERT INTO t VALUES (:id) ON CONFLICT (id) DO NOTHING", {"id": key})
            tx.tell(topic, key)
        return "done"

    return job


def notes(tx: Tx, keys: list[str]) -> None:
    """A follower that writes a row for each."""
    for key in keys:
        put(tx, f"note of {key}")
        tx.tell("work", key)


def kept(db) -> list[str]:
    return [row[0] for row in db.read(lambda tx: tx.all("SELECT id FROM t ORDER BY id"))]


async def test_what_a_follower_writes_is_there_with_its_cause_and_told_with_it(db):
    told = []
    db.follow("booking", notes)
    db.listen(lambda events: told.extend((event, kept(db)) for event in events))
    assert await db.write(cause("b-1")) == "done"
    assert kept(db) == ["b-1", "note of b-1"]
    assert told == [(("booking", "b-1"), kept(db)), (("work", "b-1"), kept(db))]


async def test_a_follower_sees_what_its_cause_did_and_each_key_once_in_order(db):
    seen = []
    db.follow("booking", lambda tx, keys: seen.append((keys, tx.all("SELECT id FROM t ORDER BY id"))))
    await db.write(cause("b-2", "b-1", "b-2", "b-2"))
    assert seen == [(["b-2", "b-1"], [("b-1",), ("b-2",)])]


async def test_a_follower_is_not_asked_where_nothing_is_told_of_its_topic(db):
    seen = []
    db.follow("booking", lambda tx, keys: seen.append(keys))
    await db.write(cause("r-1", topic="resource"))
    await db.write(lambda tx: put(tx, "quiet"))
    assert seen == []


async def test_a_cause_that_is_refused_takes_what_follows_with_it(db):
    seen = []
    db.follow("booking", lambda tx, keys: seen.append(keys))

    def refused(tx: Tx) -> None:
        cause("b-1")(tx)
        raise refuse("slot_taken", "No.")

    with pytest.raises(Refused):
        await db.write(refused)
    assert kept(db) == [] and seen == []


def fails(tx: Tx, keys: list[str]) -> None:
    put(tx, "half")
    tx.tell("work", "half")
    raise KeyError("zone")


def breaks(tx: Tx, keys: list[str]) -> None:
    """A statement fails, as one does that a key or the server refuses."""
    put(tx, "half")
    put(tx, "half")


@pytest.mark.parametrize("follower", [fails, breaks])
async def test_a_follower_that_fails_leaves_its_cause_standing_nothing_of_its_own_and_a_line_in_the_log(db, follower, caplog):
    told = []
    db.follow("booking", follower)
    db.listen(told.extend)
    assert await db.write(cause("b-1")) == "done"
    assert kept(db) == ["b-1"] and told == [("booking", "b-1")]
    [line] = [record for record in caplog.records if record.message == "books.follower_failed"]
    assert line.levelno == logging.ERROR and line.fields == {"topic": "booking"} and line.exc_info


async def test_who_follows_the_same_topic_besides_is_asked_all_the_same(db):
    db.follow("booking", fails)
    db.follow("booking", notes)
    db.follow("resource", lambda tx, keys: put(tx, "wrong"))
    await db.write(cause("b-1"))
    assert kept(db) == ["b-1", "note of b-1"]


async def test_one_may_follow_what_an_earlier_follower_tells(db):
    seen = []
    db.follow("booking", notes)
    db.follow("work", lambda tx, keys: seen.append(keys))
    await db.write(cause("b-1"))
    assert seen == [["b-1"]]


async def test_of_many_that_share_a_flush_each_is_followed_by_itself(db):
    db.follow("booking", lambda tx, keys: fails(tx, keys) if keys == ["b-3"] else notes(tx, keys))
    await asyncio.gather(*(db.write(cause(f"b-{n}")) for n in range(8)))
    assert kept(db) == sorted([f"b-{n}" for n in range(8)] + [f"note of b-{n}" for n in range(8) if n != 3])


@pytest.mark.needs_postgres
async def test_a_follower_that_meets_anothers_lock_runs_again_with_its_cause(postgres):
    url = postgres.books()
    other = pg.InlinePostgres(url)
    other.write_now(lambda tx: (tx.run(TABLE), put(tx, "note")))
    db = pg.PostgresDatabase(url)
    await db.start()
    runs = []

    def locks(tx: Tx, keys: list[str]) -> None:
        runs.append(keys)
        tx.one(f"SELECT id FROM t WHERE id = 'note'{tx.for_update}")
        put(tx, f"note of {keys[0]}")

    db.follow("booking", locks)
    other.session.control("BEGIN")
    other.session.execute("SELECT id FROM t WHERE id = 'note' FOR UPDATE")
    told = asyncio.ensure_future(db.write(cause("b-1")))
    deadline = asyncio.get_running_loop().time() + 20
    while len(runs) < 2 and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)
    other.session.control("COMMIT")
    assert await told == "done" and len(runs) >= 2
    assert kept(db) == ["b-1", "note", "note of b-1"]
    await db.stop()
    await other.stop()


async def test_where_the_disk_fails_under_a_follower_its_cause_is_not_kept_either(tmp_path):
    path = tmp_path / "books.sqlite"
    db = InlineWriter(path)
    db.write_now(lambda tx: tx.run(TABLE))

    def on_a_bad_disk(tx: Tx, keys: list[str]) -> None:
        tx.trouble = Unavailable("The disk is full.")
        raise tx.trouble

    db.follow("booking", on_a_bad_disk)
    with pytest.raises(Unavailable, match="full"):
        db.write_now(cause("b-1"))
    assert kept(db) == []
    await db.stop()
