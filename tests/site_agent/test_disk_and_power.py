"""The real agent on a disk that fills up, turns read-only, or has a damaged page: a clear alarm, no wrong answer, and mended by its runbook."""

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi_access import UnifiAccessEmulator
from shared.ledger import records
from shared.runtime import database_disk
from shared.runtime.clock import Chance, ManualClock
from shared.runtime.database import InlineWriter
from site_agent import app
from site_agent.config import load
from tests.mounts import needs_mount, small_disk
from tests.site_agent.real_agent import RealAgent, config_in, wish
from tests.site_agent.site_world import CONFIG, NOON, SITE, opened

FULL, DAMAGED = database_disk.SENTENCES["full"], database_disk.SENTENCES["damaged"]


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", "1400k") as found:  # the empty books alone take half a megabyte, and their log as much
        yield found


def today() -> str:
    return wish(1, 0)["start"][:10]


def alarms(agent: RealAgent) -> list[dict]:
    return agent.get(f"/api/panels?date={today()}").json()["alarms"]


def booked(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as c:
        assert c.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row[0] for row in c.execute("SELECT id FROM bookings")}


@needs_mount
def test_a_full_disk_is_told_sells_nothing_shows_everything_and_goes_on_when_there_is_room(disk, tmp_path):
    confirmed = set()
    with RealAgent(config_in(tmp_path, disk.path / "data")) as agent:
        for number in range(1, 4):
            assert agent.post("/api/bookings", wish(number, 2 * number)).status_code == 201
            confirmed.add(f"booking-{number:04d}")
        assert agent.ready()
        assert [one["code"] for one in alarms(agent)] == ["disk_low"], "1 MB is little, and that is said before it is too late"

        disk.fill()
        for number in range(4, 40):  # what the log of the books still holds may be confirmed, and counts
            answer = agent.post("/api/bookings", wish(number, 2 * number))
            if answer.status_code == 503:
                break
            confirmed.add(f"booking-{number:04d}")
        told = answer.json()
        assert (answer.status_code, told["code"], told["detail"]) == (503, "unavailable", FULL) and answer.headers["retry-after"] == "30"
        assert agent.get(f"/api/bookings/booking-{number:04d}").status_code == 404

        ready = agent.get("/health/ready")
        assert (ready.status_code, ready.json()["books"]) == (503, "full")
        assert alarms(agent) == [{"code": "books_full", "text": FULL, "runbook": "full-disk", "bad": True}]
        assert agent.get("/staff").status_code == 200 and agent.get("/health/live").status_code == 200
        board = agent.get(f"/api/board?date={today()}").json()
        assert {item["id"] for item in board["items"]} <= confirmed and board["items"]
        numbers = agent.get("/metrics").text
        assert "site_books_failing 1.0" in numbers and "site_disk_low 1.0" in numbers

        disk.make_room()
        agent.until(agent.ready, "room on the disk is found without a restart")
        again = agent.post("/api/bookings", wish(number, 2 * number))
        assert again.status_code == 201
        confirmed.add(f"booking-{number:04d}")
        assert len(agent.events("books.failing")) == len(agent.events("books.written_again")) == 1
        assert [line["event"] for line in agent.loud()] == ["books.failing"], "told when it begins and when it ends, not in between"
        assert agent.stop() == 0
    assert booked(disk.path / "data" / "site.db") == confirmed


@needs_mount
async def test_on_a_full_disk_a_lock_down_reaches_the_doors_all_the_same_and_is_written_down_when_there_is_room(disk, tmp_path):
    token, mode = "testing-token-7d1f", "lockdown"
    emulator = UnifiAccessEmulator(doors=[DoorSpec("front")], tokens={token: AGENT_SCOPES}, folder=tmp_path)
    await emulator.start()
    (tmp_path / "token").write_text(token)
    doors = f'\n[doors]\nkind = "unifi"\nhost = "127.0.0.1"\nport = {emulator.port}\ntoken_file = "token"\nfingerprint = "{emulator.fingerprint}"\n'
    wanted = {"request_id": "emergency-1", "mode": mode, "reason": "Somebody shouts", "minutes": 30, "sure": True}

    def people() -> None:
        with RealAgent(config_in(tmp_path, disk.path / "data", doors)) as agent:
            disk.fill()
            for number in range(1, 40):
                if agent.post("/api/bookings", wish(number, 2 * number)).status_code == 503:
                    break
            panel = agent.post("/api/doors/emergency", wanted).json()
            assert panel["standing"]["state"] == "on" and emulator.box.emergency.lockdown
            assert {"books_full", f"emergency_{mode}", "unwritten_emergency"} <= {one["code"] for one in alarms(agent)}
            assert agent.post("/api/doors/emergency/end", {"reason": "over"}).status_code == 200 and not emulator.box.emergency.lockdown
            disk.make_room()
            agent.until(lambda: {one["code"] for one in alarms(agent)} == {"disk_low"}, "what was owed is written down")

    try:
        await asyncio.to_thread(people)
    finally:
        await emulator.stop()
    with contextlib.closing(sqlite3.connect(disk.path / "data" / "site.db")) as c:
        assert c.execute("SELECT id, state, over_by FROM emergencies").fetchall() == [("emergency-1", "over", "Ada Example")]


@pytest.mark.slow
@needs_mount
def test_a_read_only_disk_refuses_the_start_with_a_sentence_and_sells_again_when_it_is_writable(disk, tmp_path):
    config = config_in(tmp_path, disk.path / "data")
    with RealAgent(config) as agent:
        assert agent.post("/api/bookings", wish(1, 2)).status_code == 201
    disk.read_only()
    code, said = RealAgent(config).refused()
    assert code == 2 and "read-only" in said and "Traceback" not in said
    disk.writable()
    with RealAgent(config) as agent:
        assert agent.post("/api/bookings", wish(2, 4)).status_code == 201
    assert booked(disk.path / "data" / "site.db") == {"booking-0001", "booking-0002"}


def root_page(path: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(path)) as c:
        c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return c.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]


def garble(path: Path, page: int) -> None:
    with open(path, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))


def test_a_damaged_page_is_an_alarm_and_no_empty_day_and_a_backup_mends_it(tmp_path):
    config, books = config_in(tmp_path, tmp_path / "data"), tmp_path / "data" / "site.db"
    with RealAgent(config) as before:
        assert before.post("/api/bookings", wish(1, 2)).status_code == 201
    shutil.copy(books, tmp_path / "backup.db")
    garble(books, root_page(books, "claims"))

    with RealAgent(config, signed_in=before) as agent:
        grid = agent.get(f"/api/availability?date={today()}")
        assert (grid.status_code, grid.json()["detail"]) == (503, DAMAGED)
        ready = agent.get("/health/ready")
        assert (ready.status_code, ready.json()["books"]) == (503, "damaged")
        for _ in range(2):
            sale = agent.post("/api/bookings", wish(2, 4))
            assert (sale.status_code, sale.json()["detail"]) == (503, DAMAGED)
        told = agent.get(f"/api/panels?date={today()}")
        assert told.status_code == 503 or told.json()["alarms"][0]["code"] == "books_damaged"
        assert agent.get("/staff").status_code == 200
        assert len(agent.events("books.failing")) == 1
    code, said = RealAgent(config).refused()
    assert code == 2 and "Put them back from a backup" in said and "Traceback" not in said

    shutil.copy(tmp_path / "backup.db", books)
    with RealAgent(config) as agent:
        assert agent.ready() and not [one for one in alarms(agent) if one["bad"]]
        assert agent.post("/api/bookings", wish(2, 4)).status_code == 201
    assert booked(books) == {"booking-0001", "booking-0002"}


@pytest.mark.slow
def test_a_power_cut_loses_nothing_that_was_confirmed(tmp_path):
    config = config_in(tmp_path, tmp_path / "data")
    with RealAgent(config) as agent:
        for number in range(1, 6):
            assert agent.post("/api/bookings", wish(number, 2 * number)).status_code == 201
        agent.stop(signal.SIGKILL)
    with RealAgent(config) as agent:
        for number in range(1, 6):
            assert agent.get(f"/api/bookings/booking-{number:04d}").json()["status"] == "confirmed"
        assert agent.post("/api/bookings", wish(6, 14)).status_code == 201


BROKER = '\n[mqtt]\nhost = "broker.invalid"\nusername = "bedford"\n'


@pytest.mark.parametrize(("more", "fenced"), [(BROKER, True), ("", False)], ids=["with a hub", "on its own"])
async def test_books_whose_log_was_torn_sell_nothing_until_the_hub_has_told_what_is_missing(tmp_path, more, fenced):
    """A facility on its own has nobody to ask; it is told in its journal."""
    async with opened(tmp_path, config=CONFIG + more) as world:
        await world.booked(1, 0)
    mark = tmp_path / "data" / "site.db.torn"
    mark.touch()
    loaded = load(tmp_path / "site.toml")
    agent = app.build(loaded, clock=ManualClock(NOON + 60.0), chance=Chance(6), db=InlineWriter(loaded.data_dir / app.DATABASE))
    await agent.start()
    assert agent.kit.link.state().fenced is fenced
    assert "books torn" in {row[2] for row in agent.kit.db.read(lambda tx: records.journal_of(tx, SITE))}
    await agent.stop()
    assert not mark.exists()
