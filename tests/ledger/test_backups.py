"""When a backup or drill is due, what becomes of it, and what is said of it; the clock stands until moved."""

import asyncio
import errno
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from shared.errors import Unavailable
from shared.ledger import backups, schema
from shared.ledger.backups import AGAIN_S, DRILL_KEY, LOCK, ROOM_LEFT_OCTETS, SCRATCH, STATE, Backups, Busy
from shared.runtime import backup, log, sealed
from shared.runtime.backup import BackupSettings, Stopped
from shared.runtime.metrics import Metrics
from shared.runtime.vault import FolderVault

NOON = int(datetime(2026, 11, 21, 12, tzinfo=ZoneInfo("America/Halifax")).timestamp())
HOUR_S = 3600
SECRET, RECIPIENT = sealed.new_identity()
KNOWN = {"ledger": tuple(step.__name__ for step in schema.STEPS)}


class World:
    """Backups of one data folder into a folder beside it, under a clock that stands."""

    def __init__(self, folder: Path, **settings):
        self.sure, self.term = True, 1
        self.now, self.data, self.vault = NOON, folder / "data", folder / "vault"
        self.data.mkdir()
        self.vault.mkdir()
        schema.prepare(self.data / "site.db")
        (self.data / "signing.key").write_text("a seed")
        self.settings = BackupSettings(to=str(self.vault), recipients=(RECIPIENT,), **settings)
        self.backups = self.again()

    def again(self) -> Backups:
        return Backups(
            self.settings, FolderVault(self.vault, "site-bedford"), data_dir=self.data, books="site.db", keys=("signing.key", "absent.key"),
            known=KNOWN, now=lambda: self.now, sure=lambda: self.sure, term=lambda books: self.term, zone="America/Halifax",
        )  # fmt: skip

    def lying(self) -> list[str]:
        return [item.name for item in self.backups.listed()]


@pytest.fixture
def w(tmp_path):
    return World(tmp_path)


# ---- when
async def test_the_first_backup_is_made_at_once_and_the_next_after_its_period(w):
    await w.backups.tick()
    w.now += 899
    await w.backups.tick()  # the first drill
    await w.backups.tick()
    assert len(w.lying()) == 1
    w.now += 1
    await w.backups.tick()
    assert len(w.lying()) == 2


async def test_a_restart_does_not_begin_anew(w):
    await w.backups.tick()
    w.now += 60
    assert not w.again().due()


async def test_a_clock_that_was_set_back_does_not_silence_backups(w):
    await w.backups.tick()
    w.now -= 10 * HOUR_S
    assert w.backups.due()


async def test_the_drill_is_held_once_a_night_by_the_facilitys_clock(w):
    await w.backups.tick()
    await w.backups.tick()
    assert w.backups.state().drill_good_at == w.now  # the first one proves the keys
    held = []
    for _ in range(96):
        w.now += 900
        if w.backups.drill_due():
            held.append(datetime.fromtimestamp(w.now, ZoneInfo("America/Halifax")).strftime("%d %H:%M"))
            w.backups.drill()
    assert held == ["22 04:00"]


async def test_a_night_that_was_slept_through_is_made_up_for(w):
    await w.backups.tick()
    w.backups.drill()
    w.now += 20 * HOUR_S
    assert w.backups.drill_due()


def test_without_a_backup_there_is_nothing_to_drill(w):
    assert not w.backups.drill_due()


# ---- what becomes of it
def test_a_backup_holds_the_key_files_that_are_there_and_opens_with_the_operators_key(w, tmp_path):
    note = w.backups.make()
    (tmp_path / "keys").mkdir()
    backup.fetch(w.backups.vault, note.name, SECRET, tmp_path / "again.db", keys_to=tmp_path / "keys")
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["signing.key"]


def test_a_drill_of_a_good_backup_passes(w):
    w.backups.make()
    w.now += 60
    assert w.backups.drill().ok
    state = w.backups.state()
    assert (state.drill_at, state.drill_good_at, state.drill_trouble) == (w.now, w.now, "") and state.drill_name == w.lying()[-1]
    assert list((w.data / SCRATCH).iterdir()) == []


def test_a_drill_of_a_damaged_backup_fails_and_says_so(w):
    note = w.backups.make()
    path = w.vault / "site-bedford" / (note.name + backup.BODY)
    path.write_bytes(path.read_bytes()[:-1])
    assert not w.backups.drill().ok
    panel = w.backups.panel()
    assert panel.status == "failing" and panel.drill_good_at == 0 and "The last drill failed: " in panel.told[0] and note.name in panel.told[0]


def test_a_drill_with_another_key_on_the_box_fails(w):
    w.backups.make()
    (w.data / DRILL_KEY).unlink()
    assert "does not fit" in w.backups.drill().wrong[0]


def test_a_vault_that_is_away_is_told_and_tried_again(w, caplog):
    caplog.set_level(logging.INFO)
    w.vault.rename(w.vault.with_name("elsewhere"))
    for _ in range(3):
        with pytest.raises(Unavailable, match="is its disk connected"):
            w.backups.make()
    state = w.backups.state()
    assert state.failures == 3 and state.good_at == 0 and "is its disk connected" in w.backups.panel().told[0]
    w.now += AGAIN_S - 1
    assert not w.backups.due()
    w.now += 1
    assert w.backups.due()
    w.vault.with_name("elsewhere").rename(w.vault)
    w.backups.make()
    assert w.backups.state().trouble == "" and w.backups.panel().status == "good"
    lines = [record for record in caplog.records if "backup." in record.getMessage()]
    assert all("[redacted]" not in log.line_of(line, {}).decode() for line in lines)  # which backup, whoever reads it must know
    said = [record.getMessage() for record in lines]
    assert [text for text in said if "failed" in text or "works_again" in text] == ["backup.failed", "backup.works_again"]


async def test_a_tick_survives_a_vault_that_is_away_and_tells_the_pages(w):
    told = []
    w.backups.watch(lambda: told.append(1))
    w.vault.rename(w.vault.with_name("elsewhere"))
    await w.backups.tick()
    assert told == [1] and w.backups.panel().status == "failing"


def test_two_at_a_time_are_refused_and_nothing_counts_as_failed(w):
    import fcntl

    with open(w.data / LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="under way"):
            w.backups.make()
        with pytest.raises(Busy):
            w.backups.verify("any")
    assert w.backups.state().failures == 0


def test_retention_follows_every_backup(tmp_path):
    w = World(tmp_path, keep_all_h=1, keep_days=1, keep_weeks=0)
    first = w.backups.make().name
    w.now += 2 * 86_400
    last = w.backups.make().name
    assert first != last and w.lying() == [last]


def test_a_clock_in_doubt_makes_backups_and_deletes_none(tmp_path):
    w = World(tmp_path, keep_all_h=1, keep_days=1, keep_weeks=0)
    first = w.backups.make().name
    w.now, w.sure = w.now + 900 * 86_400, False
    ahead = w.backups.make().name
    assert w.lying() == [first, ahead], "years of backups would go with one jump of the clock"
    w.now, w.sure = NOON + 900, True
    w.backups.make()
    assert first in w.lying() and len(w.lying()) == 3


def test_a_backup_leaves_the_books_their_room(w, monkeypatch):
    octets = (w.data / "site.db").stat().st_size
    name = w.backups.make().name
    monkeypatch.setattr(backups.shutil, "disk_usage", lambda path: SimpleNamespace(free=octets * 3 // 2 + ROOM_LEFT_OCTETS - 1))
    with pytest.raises(Unavailable, match=r"There is no room to prepare a backup .* 16 MB must be left for the books"):
        w.backups.make()
    assert "no room" in w.backups.panel().told[0] and w.lying() == [name]
    assert "no room" in w.backups.drill().wrong[0]
    monkeypatch.setattr(backups.shutil, "disk_usage", lambda path: SimpleNamespace(free=octets * 3 // 2 + ROOM_LEFT_OCTETS))
    w.backups.make()
    assert w.backups.drill().ok


def test_a_key_that_cannot_be_written_is_a_failure_that_is_told(w, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sealed.os, "link", full)
    with pytest.raises(Unavailable, match="backup-drill.key cannot be written: no space left"):
        w.backups.make()
    assert w.backups.state().failures == 1 and w.backups.panel().status == "failing"
    assert not list(w.data.glob(f".{DRILL_KEY}*")), "no half-made key is left"


async def test_a_drill_that_cannot_use_its_folder_fails_and_is_told(w):
    w.backups.make()
    (w.data / SCRATCH).rmdir()
    (w.data / SCRATCH).write_text("not a folder")
    assert "backup-scratch cannot be used for a drill" in w.backups.drill().wrong[0]
    assert w.backups.state().drill_failures == 1 and not w.backups.drill_due()


def test_what_a_killed_drill_left_is_taken_away(w):
    w.backups.make()
    (w.data / SCRATCH / "drill-1.db").write_text("people's data")
    assert w.backups.drill().ok and list((w.data / SCRATCH).iterdir()) == []


async def test_stopping_ends_what_is_under_way(w):
    w.backups.stop()
    with pytest.raises(Stopped):
        w.backups.make()
    await w.backups.tick()
    assert w.lying() == [] and list((w.data / SCRATCH).iterdir()) == []


async def test_the_loop_goes_on_while_a_backup_is_made(w):
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0)
            beats += 1

    beating = asyncio.create_task(beat())
    await w.backups.tick()
    beating.cancel()
    assert beats > 10 and len(w.lying()) == 1


# ---- what is said of it
def test_without_a_table_there_are_none_and_it_is_said(tmp_path):
    none = Backups(None, None, data_dir=tmp_path, books="site.db", keys=(), known=KNOWN, now=lambda: NOON, sure=lambda: True, term=lambda books: 1)
    metrics = Metrics("site")
    none.meter(metrics)
    assert (none.configured, none.panel().status, none.panel().told) == (False, "none", ("No backups are configured.",))
    assert b"backup" not in metrics.render()


def test_a_backup_that_grows_old_is_late(w):
    w.backups.make()
    w.now += 3 * 900
    assert w.backups.panel().status == "good"
    w.now += 1
    assert w.backups.panel().status == "late" and "older than it should be" in w.backups.panel().told[0]


def test_a_drill_that_is_never_held_is_late(w):
    w.backups.make()
    w.backups.drill()
    w.now += 37 * HOUR_S
    w.backups.make()
    assert w.backups.panel().told[0] == "The nightly drill has not been held."


def test_a_vault_on_the_same_disk_is_warned_of(w):
    w.backups.make()
    assert "same disk" in w.backups.panel().told[0] and w.backups.panel().status == "good"


def test_the_numbers_are_in_the_metrics(w):
    metrics = Metrics("site")
    w.backups.meter(metrics)
    assert b"site_backup_age_seconds +Inf" in metrics.render() and b"site_backup_drill_ok 0.0" in metrics.render()
    octets = w.backups.make().octets
    w.backups.drill()
    w.now += 90
    text = metrics.render().decode()
    for line in ("backup_age_seconds 90.0", f"backup_bytes {float(octets)}", "backup_drill_ok 1.0", "backup_drill_age_seconds 90.0", "backup_failing 0.0"):
        assert f"site_{line}\n" in text


def test_a_state_that_cannot_be_read_makes_the_next_one_due(w):
    w.backups.make()
    (w.data / STATE).write_text("{not json")
    assert w.backups.due()


def test_the_state_holds_no_secret(w):
    w.backups.make()
    w.backups.drill()
    text = (w.data / STATE).read_text()
    assert "AGE-SECRET" not in text and json.loads(text)["good_at"] == NOON == int(datetime.fromtimestamp(NOON, UTC).timestamp())
