"""The `cloud-hub` command: keys without and beside a running hub, one hub per folder, a start on any port, a clean end."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cloud_hub.__main__ import main
from cloud_hub.store import folder
from cloud_hub.vendors.channels import Around, open_channel

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'hub_id = "hub-1"\ndata_dir = "data"\n[[sites]]\nid = "bedford"\nname = "Bedford"\n'


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "hub.toml"
    path.write_text(CONFIG)
    return path


class Running:
    """A hub in a process of its own; `port` once it serves."""

    def __init__(self, config: Path):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cloud_hub", "run", "--config", str(config), "--port", "0"],
            cwd=config.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines = []
        self.port = next((line["port"] for line in self._read() if line.get("event") == "hub.serving"), None)
        threading.Thread(target=lambda: list(self._read()), daemon=True).start()

    def _read(self):
        for text in self.process.stdout:
            self.lines.append(json.loads(text))
            yield self.lines[-1]

    def get(self, path, token=""):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self.process.stderr.close()
        return self.process.returncode


@pytest.fixture
def running(config):
    hub = Running(config)
    yield hub
    if hub.process.poll() is None:
        hub.end()


def key_create(config, capsys, *scopes):
    words = [word for scope in scopes for word in ("--scope", scope)]
    assert main(["key", "create", "--config", str(config), "--name", "reports", *words]) == 0
    return capsys.readouterr().out.strip()


def test_a_running_hub_takes_keys_and_revocations_from_the_command_and_ends_clean(config, running, capsys):
    assert running.get("/health/ready") == 200
    token = key_create(config, capsys, "sites:read")
    assert running.get("/api/v1/sites", token) == 200
    assert main(["key", "list", "--config", str(config)]) == 0
    listed = capsys.readouterr().out
    assert "reports: sites:read" in listed and token not in listed
    assert main(["key", "revoke", "--config", str(config), listed.split()[0]]) == 0
    assert running.get("/api/v1/sites", token) == 401
    assert main(["run", "--config", str(config), "--port", "0"]) == 1
    assert "running" in capsys.readouterr().err
    assert running.end() == 0
    assert all(token not in json.dumps(line) for line in running.lines)
    assert {"level", "event", "time"} <= running.lines[-1].keys()


def test_keys_are_made_before_the_hub_has_ever_run(config, capsys):
    token = key_create(config, capsys, "sites:read", "bookings:read")
    assert token.startswith("chk_") and len(token) > 40
    hub = Running(config)
    assert hub.get("/api/v1/sites", token) == 200
    assert hub.end() == 0


@pytest.mark.rule("pass-4")
def test_outage_pins_are_voided_beside_a_running_hub_and_without_one(config, running, capsys):
    assert running.get("/health/ready") == 200
    assert main(["outage-pins", "void", "--config", str(config), "--site", "bedford"]) == 0
    assert "void" in capsys.readouterr().err
    assert running.end() == 0
    assert any(line["event"] == "outage_pins.voided" and line["site_id"] == "bedford" for line in running.lines)
    assert main(["outage-pins", "void", "--config", str(config), "--site", "bedford"]) == 0
    assert main(["outage-pins", "void", "--config", str(config), "--site", "nowhere"]) == 1
    assert "no site 'nowhere'" in capsys.readouterr().err


def test_what_cannot_be_done_is_said_in_a_sentence(config, capsys, tmp_path):
    assert main(["key", "revoke", "--config", str(config), "key-000000000000"]) == 1
    assert "There is no key" in capsys.readouterr().err
    assert main(["key", "create", "--config", str(config), "--name", " ", "--scope", "sites:read"]) == 1
    assert "name" in capsys.readouterr().err
    assert main(["run", "--config", str(tmp_path / "gone.toml")]) == 1
    assert "gone.toml" in capsys.readouterr().err
    with pytest.raises(SystemExit) as wrong:
        main(["key", "create", "--config", str(config), "--name", "x", "--scope", "everything"])
    assert wrong.value.code == 2


def test_a_wish_that_nobody_carries_out_is_taken_back(config, capsys, monkeypatch):
    monkeypatch.setattr("cloud_hub.__main__.TAKEN_WITHIN_S", 0.2)
    with folder.hold(config.parent / "data"):
        assert main(["key", "create", "--config", str(config), "--name", "reports", "--scope", "sites:read"]) == 1
    assert "did not carry it out" in capsys.readouterr().err
    assert list(folder.wishes(config.parent / "data")) == []


def test_a_folder_is_held_by_one(tmp_path):
    with folder.hold(tmp_path), pytest.raises(folder.Held), folder.hold(tmp_path):
        pass
    with folder.hold(tmp_path):
        pass


def test_the_data_folder_is_for_its_owner_only_whatever_the_machine_usually_grants(tmp_path):
    before = os.umask(0o022)
    try:
        folder.wish(tmp_path / "wished", b"{}")
        with folder.hold(tmp_path / "held"):
            pass
    finally:
        os.umask(before)
    for name in ("wished", "wished/tray", "held"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.parametrize("place", ["a file", "damaged books"])
def test_a_data_folder_that_cannot_be_used_refuses_the_start_with_a_sentence(tmp_path, config, capsys, place):
    if place == "a file":
        (tmp_path / "data").write_text("")
    else:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "hub.db").write_bytes(bytes(range(256)) * 20)
    assert main(["run", "--config", str(config), "--port", "0"]) == 1
    told = capsys.readouterr().err
    assert ("'data_dir' is wrong" if place == "a file" else "cannot be read") in told and "Traceback" not in told


# ---- the key for push services
def test_a_push_key_is_made_once_for_us_alone_and_opens_the_channel(tmp_path, capsys):
    file = tmp_path / "push.key"
    assert main(["push-key", str(file)]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    key = file.read_text().strip()
    around = Around(secret=lambda *_: key, path=Path, now=lambda: 0.0, public_url="http://hub.test", where="hub.toml")
    channel = open_channel("web_push", {"vapid_key_file": "push.key", "contact": "mailto:ops@example.test"}, around)
    assert channel.public_key and key not in capsys.readouterr().err
    assert main(["push-key", str(file)]) == 1 and file.read_text().strip() == key
    assert "there already" in capsys.readouterr().err


def test_a_push_key_that_cannot_be_written_is_told(tmp_path, capsys):
    assert main(["push-key", str(tmp_path / "nowhere" / "push.key")]) == 1
    assert "cannot be written" in capsys.readouterr().err
