"""The WAL has its length from the start, so that no commit has to lengthen a file; and nothing of that can be seen in the books."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from shared.runtime import database
from shared.runtime.database import Database

PAGES = 300


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "books.db"


def wal_of(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


async def opened(path: Path) -> Database:
    db = Database(path, wal_pages=PAGES)
    await db.start()
    await db.write(lambda tx: tx.run("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body TEXT)"))
    return db


async def sell(db: Database, first: int, past: int) -> None:
    for i in range(first, past):
        await db.write(lambda tx, i=i: tx.run("INSERT INTO t VALUES (:i, :body)", {"i": i, "body": "x" * 500}))


async def test_commits_do_not_lengthen_the_wal(path: Path) -> None:
    db = await opened(path)
    before = wal_of(path)
    assert before >= PAGES * 4096
    await sell(db, 0, 50)
    assert wal_of(path) == before
    await db.stop()


async def test_the_books_do_not_grow_and_hold_nothing_of_it(path: Path) -> None:
    db = await opened(path)
    await db.stop()
    assert path.stat().st_size < 10 * 4096
    c = sqlite3.connect(path)
    assert c.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
    assert c.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    c.close()


async def test_a_copy_taken_in_the_middle_holds_what_was_committed(path: Path, tmp_path: Path) -> None:
    """As after a power cut: the files as they lie there, with what was written for room still behind the last commit."""
    db = await opened(path)
    await sell(db, 0, 20)
    cut = tmp_path / "cut"
    cut.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        shutil.copy(tmp_path / name, cut / name)
    await db.stop()
    again = await opened(cut / path.name)
    assert again.read(lambda tx: tx.one("SELECT COUNT(*) FROM t")) == (20,)
    await sell(again, 20, 40)
    assert again.read(lambda tx: tx.one("SELECT COUNT(*) FROM t")) == (40,)
    await again.stop()
    assert sqlite3.connect(cut / path.name).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_disk_without_room_is_no_reason_not_to_write(path: Path) -> None:
    c = database.connect(path)
    c.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    c.execute("PRAGMA max_page_count=20")
    database.make_room(c, PAGES)
    assert not c.in_transaction
    c.execute("INSERT INTO t VALUES (1)")
    assert c.execute("SELECT id FROM t").fetchall() == [(1,)]
    c.close()


def written(c: sqlite3.Connection, rows: range) -> None:
    c.execute("BEGIN IMMEDIATE")
    c.executemany("INSERT INTO t VALUES (?, ?)", [(i, "x" * 2000) for i in rows])
    c.execute("COMMIT")


def test_the_wal_is_copied_between_two_commits_before_sqlite_would_within_one(path: Path) -> None:
    c = database.connect(path)
    c.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
    wal, before = database.Wal(c, PAGES), path.stat().st_size
    written(c, range(PAGES // 4))
    wal.copied(c)
    assert path.stat().st_size == before  # not worth it yet
    written(c, range(PAGES // 4, PAGES))
    wal.copied(c)
    assert path.stat().st_size >= PAGES // 2 * 4096
    c.close()


def test_a_reader_in_its_moment_only_delays_the_copying(path: Path) -> None:
    c = database.connect(path)
    c.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
    reader = database.connect(path, readonly=True)
    reader.execute("BEGIN")
    reader.execute("SELECT COUNT(*) FROM t").fetchone()
    wal, before = database.Wal(c, PAGES), path.stat().st_size
    written(c, range(PAGES))
    wal.copied(c)
    assert path.stat().st_size <= before + 4096
    assert reader.execute("SELECT COUNT(*) FROM t").fetchone() == (0,)
    reader.execute("ROLLBACK")
    written(c, range(PAGES, 3 * PAGES))
    wal.copied(c)
    assert path.stat().st_size >= PAGES * 4096
    for one in (reader, c):
        one.close()
