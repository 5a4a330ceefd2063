"""A facility's backups as its people meet them: the config, the command beside a running agent, the staff page, health and metrics."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.runtime import backup, sealed
from shared.runtime.config import ConfigError
from site_agent.__main__ import main
from site_agent.app import DATABASE, build
from site_agent.config import load
from tests.site_agent.site_world import CONFIG, opened, staff_file

SECRET, RECIPIENT = sealed.new_identity()
TABLE = f'\n[backup]\nto = "vault"\nrecipients = ["{RECIPIENT}"]\n'
WITH_BACKUPS = CONFIG + TABLE


@pytest.fixture
def site(tmp_path):
    """The path of a config with a vault beside it."""
    (tmp_path / "site.toml").write_text(WITH_BACKUPS)
    (tmp_path / "staff.toml").write_text(staff_file())
    (tmp_path / "vault").mkdir()
    return tmp_path / "site.toml"


@pytest.fixture
def sold(site):
    """The same with books of an agent that has run."""
    agent = build(load(site))

    async def live() -> None:
        await agent.start()
        await agent.stop()

    asyncio.run(live())
    return site


# ---- the config
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('to = "vault"', ""), "'backup.to' is wrong"),
        (('to = "vault"', 'too = "vault"'), "Did you mean 'backup.to'?"),
        ((RECIPIENT, SECRET), "a secret key stands where a recipient belongs"),
        ((f'"{RECIPIENT}"', ""), "'backup.recipients' is missing"),
        (('to = "vault"', 'to = "vault"\nevery_s = 5'), "'backup.every_s' is wrong"),
        (('to = "vault"', 'to = "vault"\ndrill_hour = 24'), "'backup.drill_hour' is wrong"),
    ],
)
def test_a_wrong_backup_table_refuses_and_names_the_key(site, change, told):
    site.write_text(WITH_BACKUPS.replace(*change))
    with pytest.raises(ConfigError) as error:
        load(site)
    assert told in str(error.value) and SECRET not in str(error.value)


def test_a_key_file_of_a_store_that_is_not_there_is_named(site):
    s3 = '[backup.s3]\nendpoint = "http://127.0.0.1:9"\nbucket = "backups"\nkey_id_file = "no.id"\nsecret_key_file = "no.key"\n'
    site.write_text(WITH_BACKUPS.replace('to = "vault"\n', "") + s3)
    with pytest.raises(ConfigError, match="no.id"):
        build(load(site))


# ---- the command
def test_a_key_is_made_without_any_config_and_its_halves_fit(capsys):
    assert main(["backup", "key", "create"]) == 0
    secret, public = capsys.readouterr().out.splitlines()
    assert sealed.recipient_of(secret) == public.removeprefix("# public key: ")


def test_a_backup_is_made_listed_and_verified(sold, tmp_path, capsys):
    assert main(["backup", "now", "--config", str(sold)]) == 0
    name = capsys.readouterr().out.split()[0]
    assert main(["backup", "list", "--config", str(sold)]) == 0
    assert capsys.readouterr().out.startswith(f"{name}  20")
    assert main(["backup", "verify", "--config", str(sold)]) == 0
    assert f"{name} is good: 0 bookings" in capsys.readouterr().out
    (tmp_path / "operator.key").write_text(f"{SECRET}\n")
    assert main(["backup", "verify", "--config", str(sold), name, "--identity", str(tmp_path / "operator.key")]) == 0


def test_the_key_that_signs_passes_is_in_it(sold, tmp_path, capsys):
    main(["backup", "now", "--config", str(sold)])
    (tmp_path / "keys").mkdir()
    vault = backup.open_vault(load(sold).config.backup, "site-bedford", load(sold).path, load(sold).secret)
    backup.fetch(vault, backup.newest(vault, time.time()), SECRET, tmp_path / "again.db", keys_to=tmp_path / "keys")
    assert (tmp_path / "keys" / "signing.key").read_bytes() == (tmp_path / "data" / "signing.key").read_bytes()


def test_a_wrong_key_is_a_sentence_and_no_success(sold, tmp_path, capsys):
    main(["backup", "now", "--config", str(sold)])
    (tmp_path / "other.key").write_text(sealed.new_identity()[0])
    assert main(["backup", "verify", "--config", str(sold), "--identity", str(tmp_path / "other.key")]) == 1
    assert "does not fit" in capsys.readouterr().err


def test_a_damaged_backup_is_a_sentence_and_no_success(sold, tmp_path, capsys):
    main(["backup", "now", "--config", str(sold)])
    path = next((tmp_path / "vault" / "site-bedford").glob("*.age"))
    path.write_bytes(path.read_bytes()[:-3])
    assert main(["backup", "verify", "--config", str(sold)]) == 1
    assert "is damaged" in capsys.readouterr().err


def test_books_that_lost_a_row_since_are_told_by_verify(sold, tmp_path, capsys):
    c = sqlite3.connect(tmp_path / "data" / DATABASE)
    doc = '{"id":"booking-1","order_id":"order-1","site_id":"bedford","resource_id":"bedford.box-1","start":4,"end":8}'
    c.execute("INSERT INTO bookings (id, order_id, site_id, resource_id, first, past, status, displaced, sale_no, customer_id, doc)"
              " VALUES ('booking-1', 'order-1', 'bedford', 'bedford.box-1', 4, 8, 'confirmed', 0, 1, '', ?)", (doc,))  # fmt: skip
    c.commit()
    main(["backup", "now", "--config", str(sold)])
    c.execute("DELETE FROM bookings")
    c.commit()
    c.close()
    assert main(["backup", "verify", "--config", str(sold)]) == 1
    assert "booking-1 is in the copy and no longer in the books" in capsys.readouterr().err


def test_without_a_table_the_command_says_so(site, capsys):
    site.write_text(CONFIG)
    assert main(["backup", "now", "--config", str(site)]) == 1
    assert "no [backup] table" in capsys.readouterr().err


def test_without_books_or_vault_the_command_says_so(site, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    assert main(["backup", "now", "--config", str(site)]) == 1
    assert "There are no books" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "vault")
    assert main(["backup", "list", "--config", str(site)]) == 1
    assert "is its disk connected" in capsys.readouterr().err


def test_a_command_that_fails_says_its_sentence_and_no_line_of_a_log(site, tmp_path):
    said = subprocess.run(
        [sys.executable, "-m", "site_agent", "backup", "now", "--config", str(site)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, timeout=60,
    )  # fmt: skip
    assert said.returncode == 1 and len(said.stderr.splitlines()) == 1 and said.stderr.endswith(".\n"), said.stderr


async def test_a_backup_by_another_process_has_the_running_agents_last_sale_and_leaves_its_wal(tmp_path):
    (tmp_path / "vault").mkdir()

    async def command(*words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "site_agent", "backup", *words, "--config", str(tmp_path / "site.toml"), stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0
        return out.decode()

    async with opened(tmp_path, config=WITH_BACKUPS) as w:
        await w.booked(1, 2)
        wal = tmp_path / "data" / f"{DATABASE}-wal"
        before = wal.read_bytes()[:32]  # its header, with another salt once it has been begun anew after a checkpoint
        assert (await command("now")).rstrip().endswith("1 bookings")
        assert wal.read_bytes()[:32] == before != b""
        await w.booked(2, 2)
        assert "is good: 1 bookings" in await command("verify")


# ---- what people see
async def test_the_staff_page_and_health_say_what_became_of_backups(tmp_path):
    (tmp_path / "vault").mkdir()
    async with opened(tmp_path, config=WITH_BACKUPS) as w:
        before = (await w.staff.get("/api/panels", date="2026-11-21")).json()["backups"]
        assert (before["configured"], before["status"], before["good_at"]) == (True, "none yet", 0)
        await w.kit.backups.tick()
        await w.kit.backups.tick()
        panel = (await w.staff.get("/api/panels", date="2026-11-21")).json()["backups"]
        assert (panel["status"], panel["good_at"], panel["drill_good_at"]) == ("good", w.kit.clock.now(), w.kit.clock.now())
        assert (await w.anybody.get("/health/ready")).json()["backups"] == "good"
        (tmp_path / "vault").rename(tmp_path / "away")
        w.clock.forward(900)
        await w.kit.backups.tick()
        told = (await w.staff.get("/api/panels", date="2026-11-21")).json()["backups"]
        assert told["status"] == "failing" and "is its disk connected" in told["told"][0]
        ready = await w.anybody.get("/health/ready")
        assert ready.status_code == 200 and ready.json()["status"] == "degraded"
        assert "backups_failing" in [alarm["code"] for alarm in ready.json()["alarms"]]
        assert "site_backup_failing 1.0" in w.kit.metrics.render().decode()


async def test_without_backups_the_page_says_that_there_are_none(tmp_path):
    async with opened(tmp_path) as w:
        assert (await w.staff.get("/api/panels", date="2026-11-21")).json()["backups"]["told"] == ["No backups are configured."]
        ready = (await w.anybody.get("/health/ready")).json()
        assert ready["backups"] == "none" and "site_backup" not in w.kit.metrics.render().decode()


@pytest.mark.rule("loss-5")
def test_a_backups_name_ends_with_the_number_of_the_box_that_made_it(sold, tmp_path, capsys):
    for grant, box in (("", "1"), ("7.word", "7")):
        if grant:
            (tmp_path / "operator.key").write_text(SECRET)
            assert main(["restore", "--config", str(sold), "--identity", str(tmp_path / "operator.key"), "--grant", grant]) == 0
            capsys.readouterr()
        assert main(["backup", "now", "--config", str(sold)]) == 0
        assert capsys.readouterr().out.split()[0].rpartition("-")[2] == box
