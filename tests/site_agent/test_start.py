"""Starting, configuring and stopping a site agent: alone, again, with a bad config, and as a real process."""

import asyncio
import io
import json
import os
import signal
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from shared.ledger import lines, records, streams
from shared.runtime.config import ConfigError
from site_agent.__main__ import main
from site_agent.config import load
from site_agent.services import people
from site_agent.store import spool
from tests.site_agent.site_world import CONFIG, NOON, SITE, Client, code_of, opened, staff_file


def written(folder: Path, text: str = CONFIG) -> Path:
    (folder / "site.toml").write_text(text)
    (folder / "staff.toml").write_text(staff_file())
    return folder / "site.toml"


# ---- the config
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('word = "Box"', 'wurd = "Box"'), "Did you mean 'site.word'?"),
        (('id = "bedford.box-2"', 'id = "dartmouth.box-2"'), "must begin with 'bedford.'"),
        (('id = "bedford.box-2"', 'id = "bedford.box-1"'), "is given twice"),
        (('name = "Bedford"', 'name = "Bedford"\nzone = "Atlantis/Deep"'), "'site.zone'"),
        (('data_dir = "data"', ""), "'data_dir' is missing"),
        (('data_dir = "data"', 'data_dir = "data"\nprofile = "cheap"'), "there is no profile 'cheap'"),
        (('number = 1', 'number = "one"'), "'resource[0].number'"),
        (('staff_file = "staff.toml"', 'staff_file = "nobody.toml"'), "nobody.toml"),
        (('[site]', '[doors]\nkind = "unifi"\nhost = "127.0.0.1"\n[site]'), "'doors.fingerprint' or 'doors.certificate_file'"),
        (('word = "Box"', 'word = "Box"\nnear_m = 50'), "'site.near_m' needs 'site.latitude' and 'site.longitude'"),
        (('[site]', '[http]\ntls_cert = "a.pem"\n[site]'), "go together"),
        (('[clock]', 'doors = 3\n[clock]'), "'doors' is wrong"),
        (('[site]', '[http]\nmetrics_from = ["everybody"]\n[site]'), "'http.metrics_from' is wrong"),
    ],
)
def test_a_config_that_is_wrong_refuses_and_names_the_key(tmp_path, change, told):
    with pytest.raises(ConfigError) as error:
        load(written(tmp_path, CONFIG.replace(*change, 1)))
    assert told in str(error.value)


def test_bays_get_their_release_by_place_or_by_the_config(tmp_path):
    loaded = load(written(tmp_path, CONFIG + "release_ahead_h = 5\n"))
    assert [bay.release_ahead_s // 3600 for bay in loaded.resources] == [48, 2, 2, 5]


def test_a_profile_of_ones_own_is_read_from_beside_the_config(tmp_path):
    from importlib.resources import files

    text = files("shared.profiles").joinpath("planning.toml").read_text("utf-8").replace('name = "planning"', 'name = "mine"')
    (tmp_path / "mine.toml").write_text(text)
    assert load(written(tmp_path, 'profile = "mine.toml"\n' + CONFIG)).profile.name == "mine"
    (tmp_path / "mine.toml").write_text(text + "\n[policy.surprise]\n")
    with pytest.raises(ConfigError):
        load(tmp_path / "site.toml")


# ---- the start
async def test_documents_are_stated_once_and_again_only_when_they_change(tmp_path):
    async with opened(tmp_path) as first:
        sent = first.db.read(lambda tx: streams.read(tx, SITE)).sent_no
        line = first.db.read(lambda tx: lines.line_of(tx, f"{SITE}.box-1"))
        assert line == NOON // 900 + 48 * 4 and first.db.read(lambda tx: records.facility(tx, SITE)).version == 1
    assert await _started_again(tmp_path, CONFIG) == (sent, line, 1)
    changed = CONFIG.replace('name = "TrackMan iO"', 'name = "TrackMan iO, new mat"').replace('word = "Box"', 'word = "Bay"')
    assert await _started_again(tmp_path, changed) == (sent + 2, line, 2)
    fewer = changed.replace('[[resource]]\nid = "bedford.box-4"\nname = "TrackMan 4"\nnumber = 4\n', "")
    assert await _started_again(tmp_path, fewer) == (sent + 3, line, 2)


async def _started_again(folder: Path, text: str) -> tuple[int, int, int]:
    """Starts the same box with this config: rows sent, box 1's line, the facility's version."""
    from shared.runtime.clock import Chance, ManualClock
    from shared.runtime.database import InlineWriter
    from site_agent import app

    loaded = load(written(folder, text))
    db = InlineWriter(loaded.data_dir / app.DATABASE)
    agent = app.build(loaded, clock=ManualClock(NOON + 3600.0), chance=Chance(6), db=db)
    await agent.start()
    stream = db.read(lambda tx: streams.read(tx, SITE))
    seen = stream.sent_no, db.read(lambda tx: lines.line_of(tx, f"{SITE}.box-1")), db.read(lambda tx: records.facility(tx, SITE)).version
    await agent.stop()
    return seen


async def test_the_box_keeps_its_id_epoch_and_keys(tmp_path):
    async with opened(tmp_path) as world:
        before = world.agent.desk.box_id, world.kit.link.state().epoch, world.kit.link.key().id
        booking = await world.booked(1, 0)
    loaded = load(tmp_path / "site.toml")
    from shared.runtime.database import InlineWriter
    from site_agent import app

    agent = app.build(loaded, db=InlineWriter(loaded.data_dir / app.DATABASE))
    await agent.start()
    assert (agent.desk.box_id, agent.kit.link.state().epoch, agent.kit.link.key().id) == before
    assert agent.kit.db.read(lambda tx: records.booking(tx, booking["id"])).status == "confirmed"
    await agent.stop()


async def test_a_broker_that_cannot_be_found_holds_nothing_up(tmp_path):
    config = CONFIG + '\n[mqtt]\nhost = "broker.invalid"\nusername = "bedford"\n'
    async with opened(tmp_path, config=config) as world:
        assert (await world.staff.get("/api/link")).json()["configured"] is True
        assert (await world.booked(1, 0))["status"] == "confirmed"
        ready = await world.anybody.get("/health/ready")
        assert ready.status_code == 200 and ready.json()["link"] == "dark"


async def test_ready_is_red_only_when_the_books_cannot_be_written(world):
    world.doors.failure = OSError("gone")
    assert (await world.anybody.get("/health/ready")).status_code == 200
    world.db.failing = "disk full"
    answer = await world.anybody.get("/health/ready")
    assert answer.status_code == 503 and answer.headers["retry-after"]
    assert (await world.anybody.get("/health/live")).json() == {"status": "live"}


async def test_metrics_tell_of_the_link_and_the_outbox_and_name_nobody(world):
    await world.booked(1, 0)
    text = (await Client(world, address="127.0.0.1").get("/metrics")).text
    assert "site_link_up 0.0" in text and "site_outbox_rows" in text and 'route="/api/bookings"' in text
    assert "Testa" not in text and "902-555" not in text


async def test_metrics_are_for_this_machine_or_the_networks_that_the_config_names(world, tmp_path):
    assert code_of(await world.anybody.get("/metrics")) == (404, "not_found")
    (tmp_path / "other").mkdir()
    config = CONFIG.replace("[site]", '[http]\nmetrics_from = ["192.0.2.0/24"]\n[site]', 1)
    async with opened(tmp_path / "other", config=config) as other:
        assert (await other.anybody.get("/metrics")).status_code == 200
        assert (await Client(other, address="127.0.0.1").get("/metrics")).status_code == 404


async def test_the_description_of_the_api_loads_nothing_from_elsewhere(world):
    schema = (await world.anybody.get("/api/openapi.json")).json()
    assert schema["openapi"].startswith("3.1") and "/api/bookings" in schema["paths"] and "/kiosk" not in schema["paths"]
    page = (await world.anybody.get("/api/docs")).text
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


async def test_the_front_page_leads_to_the_staff_page_and_statics_are_ours(world):
    assert (await world.anybody.get("/")).headers["location"] == "/staff/sign-in"
    assert (await world.staff.get("/")).headers["location"] == "/staff"
    page = (await world.anybody.get("/staff/sign-in")).text
    style = page.split('href="')[2].split('"')[0]
    answer = await world.anybody.get(style)
    assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]


# ---- the command line
def test_staff_add_leaves_an_account_with_a_hash_only(tmp_path, monkeypatch, capsys):
    config = written(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("a long enough word\n"))
    assert main(["staff", "add", "--config", str(config), "Nova", "--role", "viewer", "--password-stdin"]) == 0
    ((_, errand),) = spool.waiting(tmp_path / "data" / people.SPOOL)
    assert (errand.user, errand.role) == ("nova", "viewer") and errand.secret_hash.startswith("$argon2id$")
    assert "long enough" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [(["Nova", "--role", "boss"], "There is no role 'boss'"), (["No Va"], "letters, digits"), (["nova"], "10 to 256 characters")],
)
def test_staff_add_refuses_with_a_sentence(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    assert main(["staff", "add", "--config", str(written(tmp_path)), *words, "--password-stdin"]) == 2
    assert told in capsys.readouterr().err


async def test_kiosk_pair_prints_a_link_that_pairs(tmp_path, capsys):
    async with opened(tmp_path) as world:
        world.clock.forward(time.time() - NOON)
        code = await asyncio.to_thread(main, ["kiosk", "pair", "--config", str(tmp_path / "site.toml"), "--name", "Front"])
        link = capsys.readouterr().out.split(": ", 1)[1].strip()
        assert code == 0 and link.startswith("http://127.0.0.1:8080/kiosk/pair?code=")
        paired = await world.anybody.post("/api/kiosks/pair", {"code": link.rpartition("=")[2]})
        assert paired.status_code == 201 and paired.json()["name"] == "Front"


def test_a_missing_config_is_a_sentence_and_exit_code_two(tmp_path, capsys):
    assert main(["run", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: the file cannot be read" in capsys.readouterr().err


# ---- as a process
async def test_a_real_process_serves_alone_and_stops_clean(tmp_path):
    config = written(tmp_path)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "site_agent", "run", "--config", str(config), "--port", "0",
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    told = []

    async def until_serving() -> str:
        while line := await process.stdout.readline():
            told.append(json.loads(line))
            if told[-1]["event"] == "agent.serving":
                return told[-1]["url"]
        raise AssertionError(f"The agent ended: {told}")

    url = await asyncio.wait_for(until_serving(), 30)
    status, body = await asyncio.to_thread(_get, f"{url}/health/ready")
    assert (status, body["status"], body["link"]) == (200, "ready", "dark")
    assert (await asyncio.to_thread(_get, f"{url}/kiosk"))[0] == 404
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "site_agent", "run", "--config", str(config), "--port", "0", stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    _, complaint = await asyncio.wait_for(other.communicate(), 30)
    assert other.returncode == 2 and b"Another agent is running" in complaint
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0


def _get(url: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("[site]", '[http]\ntls_cert = "none.pem"\ntls_key = "none.key"\n[site]'), "'http.tls_cert' and 'http.tls_key' are wrong"),
        (("[site]", '[http]\ntls_cert = "staff.toml"\ntls_key = "staff.toml"\n[site]'), "'http.tls_cert' and 'http.tls_key' are wrong"),
        (('data_dir = "data"', 'data_dir = "staff.toml"'), "'data_dir' is wrong"),
        (('data_dir = "data"', 'data_dir = "damaged"'), "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_refuse_the_start_with_a_sentence(tmp_path, capsys, change, told):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "site.db").write_bytes(bytes(range(256)) * 20)
    config = written(tmp_path, CONFIG.replace(*change, 1))
    assert main(["run", "--config", str(config), "--port", "0"]) == 2
    assert told in capsys.readouterr().err


async def test_books_that_cannot_be_read_are_503_with_a_time_to_try_again(world, monkeypatch):
    def locked(fn):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(world.kit.bookings._db, "read", locked)
    answer = await world.kiosk.get("/api/facility")
    assert answer.status_code == 503 and answer.headers["retry-after"] and "disk" not in answer.text
