"""What a failing disk does to the books: full, read-only, refusing, damaged, torn. On real small disks; nothing is simulated but the damage."""

import asyncio
import contextlib
import logging
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.errors import Broken, Failure, Unavailable
from shared.runtime import database, database_condition, database_disk
from shared.runtime.database import Database, InlineWriter
from shared.runtime.database_steps import migrate
from tests.ledger.test_database import SELLER
from tests.mounts import needs_mount, small_disk

BODY = "x" * 900


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk") as found:
        yield found


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(database, "TRY_AGAIN_S", 0.05)
    monkeypatch.setattr(database_condition, "CALM_S", 0.1)


async def opened(path: Path, **more) -> Database:
    db = Database(path, **more)
    await db.start()
    await db.write(lambda tx: tx.run("CREATE TABLE IF NOT EXISTS sale (id INTEGER PRIMARY KEY, body TEXT)"))
    return db


async def sell(db: Database, i: int) -> int:
    await db.write(lambda tx: tx.run("INSERT INTO sale VALUES (:i, :body)", {"i": i, "body": BODY}))
    return i


async def sell_until_refused(db: Database, first: int) -> tuple[set[int], Failure]:
    sold = set()
    for i in range(first, first + 5000):
        try:
            sold.add(await sell(db, i))
        except Failure as failure:
            return sold, failure
    raise AssertionError("the disk never refused")


async def until(condition, what: str, within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def kept(path: Path) -> set[int]:
    with contextlib.closing(sqlite3.connect(path)) as c:
        assert c.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row[0] for row in c.execute("SELECT id FROM sale")}


# ---- full
@needs_mount
async def test_on_a_full_disk_every_yes_is_kept_every_no_is_not_and_room_mends_it_without_a_restart(disk, caplog):
    caplog.set_level(logging.INFO, "runtime.database")
    path, changes = disk.path / "books.db", []
    db = await opened(path)
    db.watch(lambda: changes.append(db.failing_kind))
    sold, failure = await sell_until_refused(db, 1)
    assert isinstance(failure, Unavailable) and failure.detail == database_disk.SENTENCES["full"] and db.failing_kind == "full"
    assert db.read(lambda tx: tx.one("SELECT COUNT(*) FROM sale")) == (len(sold),), "reads go on, and show what was confirmed"
    disk.fill()
    with pytest.raises(Unavailable):
        await sell(db, 90_000)
    with contextlib.suppress(FileNotFoundError):
        disk.make_room()
    # the books themselves fill the disk: room comes from a larger one
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk.path)], check=True)
    await until(lambda: not db.failing, "an idle writer finds by itself that there is room again")
    sold.add(await sell(db, 90_001))
    assert changes == ["full", ""]
    assert [r.getMessage() for r in caplog.records].count("books.failing") == 1
    assert [r.getMessage() for r in caplog.records].count("books.written_again") == 1
    await db.stop()
    assert kept(path) == sold


@needs_mount
async def test_a_full_disk_refuses_a_whole_batch_and_tells_nobody(disk):
    db = await opened(disk.path / "books.db", slow_commit_s=0.01)
    heard = []
    db.listen(heard.extend)
    await sell_until_refused(db, 1)

    def sale(tx, i):
        tx.run("INSERT INTO sale VALUES (:i, :body)", {"i": i, "body": BODY * 20})
        tx.tell("booking", str(i))

    answers = await asyncio.gather(*(db.write(lambda tx, i=i: sale(tx, i)) for i in range(9000, 9020)), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers) and not heard
    await db.stop()


@needs_mount
async def test_a_job_that_swallows_the_disks_error_is_taken_back_all_the_same(disk):
    db = await opened(disk.path / "books.db")
    await sell_until_refused(db, 1)
    disk.fill()

    met = []

    def careless(tx):
        tx.run("PRAGMA cache_size=10")  # so that the disk is met before the commit
        for i in range(9000, 9100):
            try:
                tx.attempt(lambda i=i: tx.run("INSERT INTO sale VALUES (:i, :body)", {"i": i, "body": BODY * 50}))
            except Exception as error:
                met.append(error)
        return "all well"

    with pytest.raises(Unavailable):
        await db.write(careless)
    assert isinstance(met[0], Unavailable)
    assert db.read(lambda tx: tx.all("SELECT id FROM sale WHERE id >= 9000")) == []
    await db.stop()


@needs_mount
async def test_the_wal_takes_no_room_ahead_that_a_small_disk_does_not_have(disk):
    db = await opened(disk.path / "books.db")
    assert os.stat(disk.path / "books.db-wal").st_size < 100_000
    await db.stop()


@needs_mount
async def test_a_disk_that_is_nearly_full_says_so_before_it_is(disk):
    db = await opened(disk.path / "books.db", low_octets=700_000)
    assert not db.disk().low and db.disk().free_octets > 700_000
    (disk.path / "other").write_bytes(b"\0" * 300_000)
    assert db.disk().low and not db.failing
    await db.stop()


# ---- read-only and refusing
@needs_mount
async def test_a_read_only_disk_is_a_sentence_at_the_start_and_the_books_are_as_they_were(disk):
    db = await opened(disk.path / "books.db")
    await sell(db, 1)
    await db.stop()
    disk.read_only()
    for start in (lambda: migrate(disk.path / "books.db", "test", []), lambda: InlineWriter(disk.path / "books.db")):
        with pytest.raises(Broken) as no:
            start()
        assert no.value.detail == database_disk.SENTENCES["read_only"]
    with pytest.raises(Broken):
        await Database(disk.path / "books.db").start()
    disk.writable()
    again = await opened(disk.path / "books.db")
    await sell(again, 2)
    await again.stop()
    assert kept(disk.path / "books.db") == {1, 2}


@contextlib.contextmanager
def refusing_writes():
    """Every write to a file of this process fails, as on a disk that is dying; pipes and sockets go on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_refuses_writes_is_told_and_well_again_when_it_takes_them(tmp_path, caplog):
    caplog.set_level(logging.INFO, "runtime.database")
    db = await opened(tmp_path / "books.db", wal_pages=50)
    await sell(db, 1)
    with refusing_writes():
        for i in (2, 3, 4):
            with pytest.raises(Unavailable) as no:
                await sell(db, i)
        assert no.value.detail == database_disk.SENTENCES["failing"] and db.failing_kind == "failing"
        assert db.read(lambda tx: tx.all("SELECT id FROM sale")) == [(1,)]
    await until(lambda: not db.failing, "it heals by itself")
    await sell(db, 5)
    await db.stop()
    assert kept(tmp_path / "books.db") == {1, 5}
    assert [r.getMessage() for r in caplog.records].count("books.failing") == 1


# ---- damaged
def garble(path: Path, page: int, octets: int = 4096) -> None:
    with open(path, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(octets))


async def with_history(path: Path) -> int:
    """Books of some hundred pages, closed. Returns a page of the sales."""
    db = await opened(path, wal_pages=50)
    await db.write(lambda tx: tx.many("INSERT INTO sale VALUES (?, ?)", [(i, BODY) for i in range(1, 2000)]))
    await db.stop()
    return 200


async def test_a_damaged_page_is_an_alarm_and_never_an_empty_answer(tmp_path, caplog):
    path = tmp_path / "books.db"
    garble(path, await with_history(path))
    db = await opened(path)  # closed in order, so nobody has looked through them yet
    with pytest.raises(Broken) as no:
        db.read(lambda tx: tx.all("SELECT id FROM sale"))
    assert no.value.detail == database_disk.SENTENCES["damaged"] and db.failing_kind == "damaged"
    with pytest.raises(Broken):
        await sell(db, 5000)
    assert db.read(lambda tx: tx.one("SELECT id FROM sale WHERE id = 1")) == (1,), "what can be read is still shown"
    await db.stop()
    assert [r.getMessage() for r in caplog.records].count("books.failing") == 1
    with pytest.raises(Broken, match="Put them back from a backup"):
        database_disk.look_through(path)
    with contextlib.closing(sqlite3.connect(path)) as c:
        assert c.execute("SELECT COUNT(*) FROM sale WHERE id >= 5000").fetchone() == (0,)


async def test_a_damaged_page_met_by_a_write_ends_the_writing(tmp_path):
    path = tmp_path / "books.db"
    garble(path, await with_history(path))
    db = await opened(path)
    with pytest.raises(Broken):
        await db.write(lambda tx: tx.run("UPDATE sale SET body = 'y'"))
    with pytest.raises(Broken):
        await sell(db, 5000)
    await db.stop()


async def test_books_put_back_from_a_backup_are_looked_through_once_and_good(tmp_path):
    path = tmp_path / "books.db"
    page = await with_history(path)
    shutil.copy(path, tmp_path / "backup.db")
    garble(path, page)
    database_disk.mark_damaged(path)
    with pytest.raises(Broken):
        database_disk.look_through(path)
    shutil.copy(tmp_path / "backup.db", path)
    assert database_disk.look_through(path).finished
    assert not path.with_name("books.db.damaged").exists()


def test_a_file_that_is_no_database_is_broken_and_stays_as_it_is(tmp_path):
    (tmp_path / "books.db").write_bytes(b"no database at all " * 500)
    with pytest.raises(Broken):
        migrate(tmp_path / "books.db", "test", [])
    assert (tmp_path / "books.db").read_bytes() == b"no database at all " * 500


async def test_an_error_of_ours_is_no_trouble_of_the_disk(tmp_path):
    db = await opened(tmp_path / "books.db")
    await sell(db, 1)
    for wrong in ("INSERT INTO sale VALUES (1, 'twice')", "SELECT nothing FROM nowhere"):
        with pytest.raises(sqlite3.Error):
            await db.write(lambda tx, wrong=wrong: tx.run(wrong))
        assert not db.failing
    await db.stop()


# ---- the writer's thread
async def test_a_writer_that_ends_by_a_bug_fails_those_who_wait_and_those_who_come(tmp_path, monkeypatch, caplog):
    db = await opened(tmp_path / "books.db")
    monkeypatch.setattr(database, "_run_batch", lambda *_: 1 / 0)
    for i in (1, 2):
        with pytest.raises(Broken, match="Please restart it"):
            await asyncio.wait_for(sell(db, i), 5)
    assert "restart" in db.failing
    assert "books.writer_ended" in [r.getMessage() for r in caplog.records]
    await db.stop()


async def test_a_listener_that_fails_does_not_keep_the_news_from_the_others(tmp_path):
    db = await opened(tmp_path / "books.db")
    heard = []
    db.listen(lambda events: 1 / 0)
    db.listen(heard.extend)
    await db.write(lambda tx: tx.tell("booking", "b-1"))
    assert heard == [("booking", "b-1")]
    await db.stop()


# ---- power cuts
@pytest.fixture(scope="module")
def cut(tmp_path_factory) -> tuple[Path, set[int]]:
    """Books of a seller that was killed in the middle of its work, and every sale that it had confirmed."""
    path = tmp_path_factory.mktemp("cut") / "books.db"
    p = subprocess.Popen([sys.executable, "-c", SELLER, str(path)], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "."})
    confirmed = set()
    for line in p.stdout:
        confirmed.add(int(line))
        if len(confirmed) == 640:
            break
    p.send_signal(signal.SIGKILL)
    confirmed |= {int(x) for x in p.stdout.read().split("\n")[:-1] if x}
    p.wait()
    return path, confirmed


def copy_of(cut: tuple[Path, set[int]], folder: Path) -> Path:
    for name in ("books.db", "books.db-wal"):
        shutil.copy(cut[0].with_name(name), folder / name)
    return folder / "books.db"


def frames_of(path: Path) -> list[int]:
    """The frames that end a commit, by number."""
    return database_disk._commits_of(path.with_name(path.name + "-wal"))


def test_after_a_power_cut_everything_that_was_confirmed_is_there(cut, tmp_path):
    path = copy_of(cut, tmp_path)
    assert database_disk.look_through(path) == (True, 0)
    assert kept(path) >= cut[1] and not database_disk.torn(path)


def test_a_commit_torn_at_the_very_end_was_promised_to_nobody_and_goes_alone(cut, tmp_path):
    path = copy_of(cut, tmp_path)
    commits = frames_of(path)
    before = len(kept(copy_of(cut, _folder(tmp_path, "whole"))))
    wal = path.with_name("books.db-wal")
    with open(wal, "r+b") as file:
        file.seek(32 + (commits[-1] - 1) * (24 + 4096) + 24 + 100)
        file.write(os.urandom(500))
    assert database_disk.look_through(path) == (True, 0)
    left = kept(path)
    assert before - 32 <= len(left) < before and left == set(range(1, max(left) + 1)), "whole commits, in order, without a hole"


def test_a_wal_garbled_in_its_middle_is_noticed_as_books_that_were_set_back(cut, tmp_path):
    path = copy_of(cut, tmp_path)
    commits = frames_of(path)
    middle = commits[len(commits) // 2]
    with open(path.with_name("books.db-wal"), "r+b") as file:
        file.seek(32 + (middle - 1) * (24 + 4096) + 24 + 100)
        file.write(os.urandom(500))
    look = database_disk.look_through(path)
    left = kept(path)
    assert left == set(range(1, max(left) + 1)) and max(left) < max(cut[1]), "SQLite keeps what lies before the torn place"
    assert look.lost_commits == len(commits) - len(commits) // 2 and database_disk.torn(path), "and what is lost is not passed over in silence"
    assert database_disk.torn(path), "until somebody has taken note"
    database_disk.torn_noted(path)
    assert not database_disk.torn(path)


def test_a_wal_cut_short_is_noticed_by_nothing_in_it_and_still_whole_before_the_cut(cut, tmp_path):
    """The file system has lost the tail without a trace: only the peer, the mark and the passes can tell (loss-1)."""
    path = copy_of(cut, tmp_path)
    commits = frames_of(path)
    os.truncate(path.with_name("books.db-wal"), 32 + commits[len(commits) // 2] * (24 + 4096) + 777)
    assert database_disk.look_through(path) == (True, 0)
    left = kept(path)
    assert left and left == set(range(1, max(left) + 1))


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


def test_a_page_damaged_by_a_power_cut_refuses_the_start(cut, tmp_path):
    whole = copy_of(cut, tmp_path)
    kept(whole)  # closes the WAL into the file
    garble(whole, 3)
    shutil.copy(cut[0].with_name("books.db-wal"), tmp_path / "other-wal")
    c = sqlite3.connect(whole)
    c.execute("PRAGMA journal_mode=WAL")
    c.execute("CREATE TABLE other (id INTEGER)")
    for suffix in ("", "-wal"):
        shutil.copy(f"{whole}{suffix}", tmp_path / f"left.db{suffix}")
    c.close()
    with pytest.raises(Broken, match="cannot be read"):
        database_disk.look_through(tmp_path / "left.db")
    with pytest.raises(Broken):
        database_disk.look_through(tmp_path / "left.db")  # nor the second time, when the WAL is gone


def test_the_look_is_bounded_and_says_when_it_did_not_finish(tmp_path, monkeypatch):
    path = tmp_path / "books.db"
    c = sqlite3.connect(path)
    c.execute("PRAGMA journal_mode=WAL")
    c.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, body TEXT)")
    c.executemany("INSERT INTO sale VALUES (?, ?)", [(i, BODY) for i in range(5000)])
    c.commit()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", tmp_path / f"left.db{suffix}")
    c.close()
    monkeypatch.setattr(database_disk, "_CHECK_STEPS", 1)
    assert not database_disk.look_through(tmp_path / "left.db", check_max_s=0.0).finished
    assert database_disk.look_through(tmp_path / "left.db").finished
