"""The hub's clock and mark: what is refused in doubt, what health and metrics say, and the command with which a person confirms."""

import json
import shutil
import time

import pytest

from cloud_hub import app as hub_app
from cloud_hub.__main__ import main
from cloud_hub.config import load
from shared.ledger import facts, streams
from shared.runtime.config import ConfigError
from shared.runtime.database import InlineWriter, Tx, connect
from tests.cloud_hub.hub_world import SITE, opened
from tests.cloud_hub.test_command import CONFIG, Running

pytestmark = [pytest.mark.rule("clock-2")]
UNSURE = 'hub_id = "hub-1"\ndata_dir = "data"\n[clock]\nrtc = "no"\n[[sites]]\nid = "bedford"\nname = "Bedford"\n'


async def ready(w) -> dict:
    return (await w.client.get("/health/ready")).json()


async def test_a_hub_whose_clock_is_set_back_sells_nothing_and_says_why(tmp_path):
    async with opened(tmp_path) as w:
        assert (await ready(w)).get("clock", "trusted") == "trusted"
        await w.hub.trust.tick()
        w.clock._now -= 600
        answer = await w.post("/bookings", w.wish(1, 40))
        assert (answer.status_code, answer.json()["code"]) == (409, "clock_untrusted")
        told = await ready(w)
        assert "its own records go to" in told["clock"] and told["status"] == "degraded"
        assert [one["code"] for one in told["alarms"]] == ["clock_untrusted"] and "Nothing can be sold" in told["alarms"][0]["text"]
        assert b"hub_clock_trusted 0.0" in (await w.client.get("/metrics")).content
        w.clock._now += 600
        assert (await ready(w))["status"] == "ready" and "alarms" not in await ready(w)
        assert (await w.post("/bookings", w.wish(1, 40, booking_id="booking-0002"))).status_code == 201


@pytest.mark.rule("clock-1")
async def test_a_difference_of_the_clocks_is_shown_by_health_and_metrics(tmp_path):
    async with opened(tmp_path) as w:
        w.site.pump.clock = type(w.clock)(w.clock.now() + 30)
        await w.greeting_until(lambda: w.hub.links.state(SITE).skew_shown)
        told = await ready(w)
        assert told["clocks_differ"][SITE] > 5 and told["status"] == "ready"
        assert b'hub_clock_skew_seconds{site="bedford"}' in (await w.client.get("/metrics")).content


# ---- the command
@pytest.fixture
def config(tmp_path):
    path = tmp_path / "hub.toml"
    path.write_text(UNSURE)
    return path


def confirmed_by(config) -> str:
    reader = connect(config.parent / "data" / hub_app.DATABASE, readonly=True)
    try:
        text = facts.get(Tx(reader), "clock")
    finally:
        reader.close()
    return json.loads(text)["confirmed_by"] if text else ""


def test_a_person_confirms_the_time_before_the_hub_runs(config, capsys):
    assert main(["clock", "confirm", "--config", str(config), "--yes"]) == 0
    assert "This machine believes it is" in capsys.readouterr().out
    assert confirmed_by(config) == "person"


def test_a_person_who_does_not_say_yes_confirms_nothing(config, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt: "no")
    assert main(["clock", "confirm", "--config", str(config)]) == 1
    assert "Nothing was confirmed" in capsys.readouterr().err
    assert not (config.parent / "data" / hub_app.DATABASE).exists()


def test_where_nobody_is_there_to_ask_nothing_is_confirmed(config, capsys, monkeypatch):
    def closed(prompt):
        raise EOFError

    monkeypatch.setattr("builtins.input", closed)
    assert main(["clock", "confirm", "--config", str(config)]) == 1
    assert "Nothing was confirmed" in capsys.readouterr().err


def test_a_person_confirms_the_time_of_a_running_hub(config):
    hub = Running(config)
    try:
        assert hub.get("/health/ready") == 200
        assert main(["clock", "confirm", "--config", str(config), "--yes"]) == 0
        until = time.monotonic() + 10
        while not confirmed_by(config) and time.monotonic() < until:
            time.sleep(0.05)
        assert confirmed_by(config) in ("person", "time server")
    finally:
        assert hub.end() == 0


@pytest.mark.parametrize(("wrong", "told"), [('rtc = "no"', 'rtc = "maybe"'), ('rtc = "no"', "battery = true")])
def test_a_wrong_setting_of_the_clock_is_named(config, wrong, told):
    config.write_text(UNSURE.replace(wrong, told))
    with pytest.raises(ConfigError, match="clock"):
        load(config)


# ---- the mark
@pytest.mark.rule("loss-1")
def test_another_boxes_mark_is_a_sentence_and_no_start(tmp_path, capsys):
    config = tmp_path / "hub.toml"
    config.write_text(CONFIG.replace('data_dir = "data"\n', 'data_dir = "data"\nmark_file = "stick/hub.mark"\n'))
    (tmp_path / "stick").mkdir()
    first = Running(config)
    assert first.port and first.end() == 0
    assert (tmp_path / "stick" / "hub.mark").exists()
    shutil.rmtree(tmp_path / "data")
    assert main(["run", "--config", str(config), "--port", "0"]) == 1
    assert "written by another box" in capsys.readouterr().err


@pytest.mark.rule("loss-1")
async def test_an_older_copy_of_the_hub_is_fenced_for_what_it_has_forgotten(tmp_path):
    async with opened(tmp_path) as w:
        from shared.ledger.marks import MarkKeeper
        from shared.runtime.mark import MarkFile

        file = MarkFile(tmp_path / "hub.mark")
        older = InlineWriter()
        w.db._c.backup(older._c)
        assert (await w.post("/bookings", w.wish(1, 40))).status_code == 201
        await MarkKeeper(w.db, w.hub.desk, file).keep()
        assert await MarkKeeper(older, w.hub.desk, file).hold() == [SITE]
        assert "older copy" in older.read(lambda tx: streams.read(tx, SITE)).fenced
        await older.stop()
