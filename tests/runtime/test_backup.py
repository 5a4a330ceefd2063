"""Backups end to end on real files: what goes in comes out, damage and wrong keys are seen, retention keeps what it says."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Broken, Unavailable
from shared.runtime import backup, database_copy, sealed
from shared.runtime.backup import BODY, NOTE, BackupSettings, S3Settings, Stopped
from shared.runtime.database import Database
from shared.runtime.vault import FolderVault, Missing

NOW = 1_795_276_800  # 21 Nov 2026, 16:00 UTC, a Saturday
DAY_S = 86_400
ROOT = Path(__file__).parents[2]
SECRET, RECIPIENT = sealed.new_identity()


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A database in use by nobody, with some rows and the mark of one migration."""
    path = tmp_path / "site.db"
    c = sqlite3.connect(path)
    c.execute("PRAGMA journal_mode=WAL")
    c.executescript(
        "CREATE TABLE _sqlite_migrations (migration_set TEXT, name TEXT);"
        "INSERT INTO _sqlite_migrations VALUES ('ledger', 'm001'), ('site', 'm001'), ('ledger', 'm002');"
        "CREATE TABLE bookings (id INTEGER PRIMARY KEY, doc TEXT)"
    )
    c.executemany("INSERT INTO bookings (doc) VALUES (?)", [(os.urandom(400).hex(),) for _ in range(500)])
    c.commit()
    c.close()
    return path


@pytest.fixture
def vault(tmp_path: Path) -> FolderVault:
    (tmp_path / "vault").mkdir()
    return FolderVault(tmp_path / "vault", "site-bedford")


def make(vault: FolderVault, books: Path, now: int = NOW, **more) -> backup.Note:
    return backup.make(vault, books, (RECIPIENT,), now, books.parent / "scratch", **more)


def lying(vault_path: Path) -> list[str]:
    return sorted(path.name for path in (vault_path / "site-bedford").iterdir())


def rows_of(path: Path) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(path)) as c:
        return c.execute("SELECT * FROM bookings").fetchall()


# ---- there and back
def test_a_backup_comes_back_as_the_books_it_was_made_of(vault, books, tmp_path):
    note = make(vault, books)
    fetched = backup.fetch(vault, note.name, SECRET, tmp_path / "again.db")
    assert fetched == note and (note.at, note.rows) == (NOW, {"_sqlite_migrations": 3, "bookings": 500})
    assert note.steps == {"ledger": ("m001", "m002"), "site": ("m001",)}
    assert rows_of(tmp_path / "again.db") == rows_of(books) and database_copy.faults(tmp_path / "again.db") == []


def test_what_is_restored_is_for_its_owner_only(vault, books, tmp_path):
    backup.fetch(vault, make(vault, books).name, SECRET, tmp_path / "again.db")
    assert (tmp_path / "again.db").stat().st_mode & 0o077 == 0


def test_key_files_travel_with_the_books(vault, books, tmp_path):
    (tmp_path / "signing.key").write_text("a seed")
    (tmp_path / "keys").mkdir()
    note = make(vault, books, keys={"signing.key": tmp_path / "signing.key"})
    backup.fetch(vault, note.name, SECRET, tmp_path / "again.db", keys_to=tmp_path / "keys")
    assert (tmp_path / "keys" / "signing.key").read_text() == "a seed"
    assert (tmp_path / "keys" / "signing.key").stat().st_mode & 0o077 == 0


def test_a_backup_is_a_plain_archive_under_its_seal(vault, books, tmp_path):
    import pyrage

    note = make(vault, books)
    packed = pyrage.decrypt((tmp_path / "vault" / "site-bedford" / (note.name + BODY)).read_bytes(), [pyrage.x25519.Identity.from_str(SECRET)])
    (tmp_path / "plain.tar.gz").write_bytes(packed)
    with tarfile.open(tmp_path / "plain.tar.gz") as archive:
        assert archive.getnames() == ["books.db"]


def test_every_recipient_can_open_it(vault, books, tmp_path):
    other, recipient = sealed.new_identity()
    note = backup.make(vault, books, (RECIPIENT, recipient), NOW, tmp_path / "scratch")
    for number, secret in enumerate((SECRET, other)):
        backup.fetch(vault, note.name, secret, tmp_path / f"{number}.db")
        assert rows_of(tmp_path / f"{number}.db") == rows_of(books)


def test_nothing_of_the_books_can_be_read_in_the_vault(vault, books, tmp_path):
    c = sqlite3.connect(books)
    c.execute("INSERT INTO bookings (doc) VALUES (?)", ("Testa Birdie 902-555-0123",))
    c.commit()
    c.close()
    note = make(vault, books)
    assert all(b"Testa" not in path.read_bytes() for path in (tmp_path / "vault" / "site-bedford").iterdir())
    assert set(msgspec.json.decode(vault.read(note.name + NOTE))) == {"name", "at", "octets", "sha256", "steps", "rows"}


def test_making_one_leaves_no_half_made_file_and_the_books_as_they_were(vault, books, tmp_path):
    before = books.read_bytes()
    note = make(vault, books)
    assert list((tmp_path / "scratch").iterdir()) == [] and books.read_bytes() == before
    assert lying(tmp_path / "vault") == [note.name + NOTE, note.name + BODY]


# ---- beside a writer
async def test_a_copy_made_during_heavy_sales_is_of_one_moment(vault, books, tmp_path):
    """Every transaction moves a cent from one row to another: a copy of two moments would not add up."""
    c = sqlite3.connect(books)
    c.executescript("CREATE TABLE money (id INTEGER PRIMARY KEY, cents INTEGER, pad TEXT)")
    c.executemany("INSERT INTO money VALUES (?, 100, ?)", [(n, "x" * 900) for n in range(4000)])
    c.commit()
    c.close()
    db = Database(books, wal_pages=200)
    await db.start()
    made: list[backup.Note] = []
    copying = threading.Thread(target=lambda: made.append(make(vault, books)))
    moves = 0

    def move(tx) -> None:
        tx.run("UPDATE money SET cents = cents - 1 WHERE id = :id", {"id": moves * 7 % 4000})
        tx.run("UPDATE money SET cents = cents + 1 WHERE id = :id", {"id": (moves * 7 + 2001) % 4000})
        tx.run("INSERT INTO bookings (doc) VALUES ('sold')")

    copying.start()
    while copying.is_alive() or moves < 50:
        await db.write(move)
        moves += 1
    copying.join()
    rows = db.read(lambda tx: tx.one("SELECT COUNT(*) FROM bookings")[0])
    await db.stop()
    assert moves >= 50 and rows == 500 + moves
    backup.fetch(vault, made[0].name, SECRET, tmp_path / "again.db")
    again = sqlite3.connect(tmp_path / "again.db")
    assert again.execute("SELECT SUM(cents), COUNT(*) FROM money").fetchone() == (400_000, 4000)
    assert again.execute("SELECT COUNT(*) FROM bookings").fetchone()[0] == made[0].rows["bookings"]
    assert database_copy.faults(tmp_path / "again.db") == []
    again.close()


async def test_a_copy_ends_though_every_step_meets_a_new_commit(books, tmp_path):
    """Without one read transaction over the whole copy, each commit would begin it anew and it would never end."""
    c = sqlite3.connect(books)
    c.executemany("INSERT INTO bookings (doc) VALUES (?)", [("x" * 3000,) for _ in range(2000)])
    c.commit()
    steps = 0

    def between() -> None:
        nonlocal steps
        steps += 1
        assert steps < 100, "the copy begins again and again"
        c.execute("INSERT INTO bookings (doc) VALUES ('sold meanwhile')")
        c.commit()

    found = database_copy.copy(books, tmp_path / "copy.db", between)
    c.close()
    assert steps > 3 and found.rows["bookings"] == 2500
    assert database_copy.facts(tmp_path / "copy.db") == found


def test_a_copying_connection_can_neither_write_nor_checkpoint(books):
    writer = sqlite3.connect(books)
    writer.execute("INSERT INTO bookings (doc) VALUES ('x')")
    writer.commit()
    wal = books.with_name("site.db-wal")
    size = wal.stat().st_size
    with database_copy.reading(books) as c:
        for word in ("DELETE FROM bookings", "PRAGMA user_version = 7"):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                c.execute(word)
        try:
            c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError:
            pass
    assert wal.stat().st_size == size > 0
    writer.close()


def test_memory_does_not_grow_with_the_books(vault, books, tmp_path):
    """Some hundred megabytes of books there and back, in a process of its own."""
    c = sqlite3.connect(books)
    with c:
        c.executemany("INSERT INTO bookings (doc) VALUES (?)", [(f"{n}:" * 10_000,) for n in range(2000)])
    c.close()
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom shared.runtime import backup, database_copy, sealed\n"
        "from shared.runtime.vault import FolderVault\n"
        "here = Path(sys.argv[1]); vault = FolderVault(here / 'vault', 'site-bedford'); secret, recipient = sealed.new_identity()\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\nbefore = used()\n"
        "note = backup.make(vault, here / 'site.db', (recipient,), 1795276800, here / 'scratch')\n"
        "backup.fetch(vault, note.name, secret, here / 'again.db')\nassert database_copy.faults(here / 'again.db') == []\n"
        "print((here / 'again.db').stat().st_size // 1_000_000, used() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT)
    megabytes, grown = map(int, done.stdout.split())
    assert megabytes >= 85 and grown < 25


# ---- damage
def damaged(tmp_path: Path, note: backup.Note, change) -> None:
    path = tmp_path / "vault" / "site-bedford" / (note.name + BODY)
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [lambda b: b[:-1], lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:900] + bytes([b[900] ^ 1]) + b[901:], lambda b: b + b"x"],
    ids=["last octet gone", "half gone", "empty", "one bit", "longer"],
)
@pytest.mark.parametrize("forged", [False, True], ids=["note stands", "note made to fit"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(vault, books, tmp_path, change, forged):
    note = make(vault, books)
    damaged(tmp_path, note, change)
    if forged:  # then only the seal can tell
        octets, sha256 = backup._sum(tmp_path / "vault" / "site-bedford" / (note.name + BODY), lambda: None)
        vault.put_small(note.name + NOTE, msgspec.json.encode(msgspec.structs.replace(note, octets=octets, sha256=sha256)))
    with pytest.raises(Broken, match="damaged"):
        backup.fetch(vault, note.name, SECRET, tmp_path / "new" / "again.db")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_wrong_key_is_named_as_such(vault, books, tmp_path):
    note = make(vault, books)
    with pytest.raises(sealed.WrongKey, match=f"does not fit the backup {note.name}"):
        backup.fetch(vault, note.name, sealed.new_identity()[0], tmp_path / "again.db")
    assert not (tmp_path / "again.db").exists()


def test_what_is_no_key_is_refused_before_anything_is_fetched(vault, books, tmp_path):
    note = make(vault, books)
    with pytest.raises(Broken, match="no secret key") as told:
        backup.fetch(vault, note.name, "age-something", tmp_path / "again.db")
    assert "age-something" not in str(told.value)


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"name": 3}'])
def test_a_damaged_note_is_refused(vault, books, tmp_path, body):
    note = make(vault, books)
    vault.put_small(note.name + NOTE, body)
    with pytest.raises(Broken, match="note beside the backup"):
        backup.fetch(vault, note.name, SECRET, tmp_path / "again.db")


def test_a_note_of_another_backup_is_refused(vault, books, tmp_path):
    first, second = make(vault, books), make(vault, books, NOW + 900)
    vault.put_small(second.name + NOTE, vault.read(first.name + NOTE))
    with pytest.raises(Broken, match="belongs to another"):
        backup.fetch(vault, second.name, SECRET, tmp_path / "again.db")


def test_a_backup_is_never_written_over_a_file(vault, books, tmp_path):
    note = make(vault, books)
    with pytest.raises(Broken, match="never written over"):
        backup.fetch(vault, note.name, SECRET, books)


@pytest.mark.parametrize("name", ["20260101T000000Z-abcd", "../../site", "", "x" * 400])
def test_a_backup_that_is_not_there_is_missing(vault, tmp_path, name):
    with pytest.raises(Missing):
        backup.fetch(vault, name, SECRET, tmp_path / "again.db")


def test_there_is_no_newest_of_none(vault):
    with pytest.raises(Missing, match="no backup yet"):
        backup.newest(vault, NOW)


def test_books_that_are_no_database_give_no_backup(vault, tmp_path):
    (tmp_path / "site.db").write_bytes(b"not a database at all, but long enough to look at " * 100)
    with pytest.raises(Broken, match="damaged"):
        make(vault, tmp_path / "site.db")
    with pytest.raises(Broken, match="no books"):
        make(vault, tmp_path / "nowhere.db")
    assert backup.listed(vault) == []


def test_a_corrupt_page_is_found_by_the_check(books):
    octets = bytearray(books.read_bytes())
    octets[8192:8300] = b"\xff" * 108
    books.write_bytes(octets)
    assert database_copy.faults(books)


def test_one_without_its_note_is_not_listed(vault, books):
    first, second = make(vault, books), make(vault, books, NOW + 900)
    vault.delete(second.name + NOTE)
    assert [item.name for item in backup.listed(vault)] == [first.name] and backup.newest(vault, NOW) == first.name


@pytest.mark.rule("loss-5")
def test_what_a_replaced_box_goes_on_making_is_not_taken_for_its_successors(vault, books):
    old = make(vault, books, box=lambda c: 9)
    new = make(vault, books, now=NOW + 60, box=lambda c: 10)
    late = make(vault, books, now=NOW + 3600, box=lambda c: 9)  # cut off, it has not heard that it was replaced
    assert [item.name for item in backup.listed(vault)] == [old.name, late.name, new.name]
    assert backup.newest(vault, NOW + 7200) == new.name
    assert backup.kept([old.name, late.name, new.name], NOW + 2 * DAY_S, BackupSettings()) == {new.name}


def test_two_of_one_second_are_listed_as_they_were_made(vault, books):
    made = [make(vault, books, NOW + fraction).name for fraction in (0.1, 0.2, 0.7)]
    assert [item.name for item in backup.listed(vault)] == made and {backup.made_at(name) for name in made} == {NOW}


def test_where_a_clock_was_wrong_nobody_guesses_which_is_the_newest(vault, books):
    make(vault, books)
    ahead = make(vault, books, NOW + 30 * DAY_S).name
    with pytest.raises(Broken, match=f"{ahead}, bears a time that is still to come") as found:
        backup.newest(vault, NOW + 900)
    assert "give the backup's name" in found.value.detail
    assert backup.newest(vault, NOW + 31 * DAY_S) == ahead


def test_a_process_that_ends_leaves_nothing_half_made(vault, books, tmp_path):
    with pytest.raises(Stopped):
        make(vault, books, stopping=lambda: True)
    assert list((tmp_path / "scratch").iterdir()) == [] and vault.list() == []


# ---- settings
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (BackupSettings(recipients=(RECIPIENT,)), "'backup.to' is wrong"),
        (BackupSettings(to="a", s3=S3Settings(endpoint="http://127.0.0.1", bucket="abc", key_id_file="a", secret_key_file="b"),
                        recipients=(RECIPIENT,)), "one of the two"),
        (BackupSettings(to="a"), "'backup.recipients' is missing"),
        (BackupSettings(to="a", recipients=("age1nonsense",)), "'age1nonsense' is no recipient"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_named(settings, told):
    assert told in backup.wrong(settings)


def test_a_secret_key_among_the_recipients_is_refused_and_not_repeated():
    told = backup.wrong(BackupSettings(to="a", recipients=(SECRET,)))
    assert "secret key stands where" in told and SECRET not in told


def test_good_settings_are_good():
    assert backup.wrong(BackupSettings(to="a", recipients=(RECIPIENT,))) == ""


# ---- keys
def test_the_box_makes_its_key_once_and_keeps_it_to_itself(tmp_path):
    path = tmp_path / "drill.key"
    first = sealed.kept_identity(path)
    assert sealed.kept_identity(path) == first and path.stat().st_mode & 0o077 == 0
    assert sealed.recipient_of(first) in path.read_text()


@pytest.mark.parametrize("text", ["", "# only a remark", "AGE-SECRET-KEY-1NONSENSE", "two\nlines"])
def test_a_file_without_a_secret_key_is_refused(tmp_path, text):
    (tmp_path / "key").write_text(text)
    with pytest.raises(Broken, match="secret key"):
        sealed.identity_file(tmp_path / "key")
    with pytest.raises(Broken, match="cannot be read"):
        sealed.identity_file(tmp_path / "nowhere")


def test_what_cannot_be_written_into_a_seal_is_told(tmp_path):
    def fails(stream) -> None:
        raise Unavailable("no room")

    with (tmp_path / "out").open("wb") as into, pytest.raises(Unavailable, match="no room"):
        sealed.seal(fails, into, (RECIPIENT,))


# ---- retention
def named(at: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime(backup.STAMP) + "-aaaa"


SETTINGS = BackupSettings(to="a")


def test_a_year_of_backups_every_quarter_of_an_hour_becomes_some_hundred_and_eighty():
    names = [named(NOW - n * 900) for n in range(400 * 96)]
    stay = backup.kept(names, NOW, SETTINGS)
    assert {name for name in names[:96]} <= stay
    days = {backup.made_at(name) // DAY_S for name in stay}
    assert all(NOW // DAY_S - n in days for n in range(30))
    assert 96 + 29 + 40 <= len(stay) <= 96 + 30 + 53
    assert NOW // DAY_S - 371 < min(days) <= NOW // DAY_S - 358


@given(st.lists(st.integers(0, 500 * DAY_S), min_size=1, max_size=40), st.integers(0, 100))
def test_pruning_day_by_day_keeps_what_pruning_once_keeps(ages, days):
    """What a later day wants must not have been deleted by an earlier one."""
    names = {named(NOW - age) for age in ages}
    left = set(names)
    for day in range(days, 0, -1):
        then = NOW - day * DAY_S
        known = {name for name in left if backup.made_at(name) <= then}
        left -= known - backup.kept(known, then, SETTINGS) if known else set()
    assert backup.kept(left, NOW, SETTINGS) == backup.kept(names, NOW, SETTINGS)


@given(st.lists(st.integers(-10 * DAY_S, 5000 * DAY_S), min_size=1, max_size=20))
def test_the_newest_always_stays_and_so_does_what_is_still_to_come(ages):
    names = {named(NOW - age) for age in ages}
    stay = backup.kept(names, NOW, SETTINGS)
    assert max(names) in stay and {name for name in names if backup.made_at(name) > NOW} <= stay <= names


def test_a_name_without_a_time_stays():
    assert backup.kept(["by-hand", named(NOW)], NOW, SETTINGS) == {"by-hand", named(NOW)}


def test_pruning_takes_the_old_ones_and_old_halves_and_leaves_the_young(vault, books):
    old, lone, young = make(vault, books, NOW - 40 * DAY_S), make(vault, books, NOW - 3 * DAY_S), make(vault, books)
    half = make(vault, books, NOW - 900)
    older = make(vault, books, NOW - 40 * DAY_S - 900)
    vault.delete(lone.name + NOTE)
    vault.delete(half.name + NOTE)
    assert backup.prune(vault, NOW, SETTINGS) == 2
    assert [item.name for item in backup.listed(vault)] == [old.name, young.name] and older.name not in str(vault.list())
    assert half.name + BODY in [item.name for item in vault.list()]
