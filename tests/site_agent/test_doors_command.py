"""`site-agent doors pin` and `doors check` against the emulator: the installer's way from an address to doors that open."""

import asyncio
import tomllib
from pathlib import Path
from random import Random

import pytest

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi_access import UnifiAccessEmulator
from shared.runtime.clock import ManualClock, SystemClock
from site_agent.__main__ import main
from site_agent.devices.unifi.command import spaced, with_fingerprint
from tests.site_agent.site_world import CONFIG, staff_file

TOKEN = "testing-token-7d1f"


@pytest.fixture
async def controller(tmp_path_factory):
    emulators = []

    async def start(**more) -> UnifiAccessEmulator:
        doors = [DoorSpec("front"), DoorSpec("shed", bound=False)]
        more = {"tokens": {TOKEN: AGENT_SCOPES}, "rng": Random(5), "folder": tmp_path_factory.mktemp("tls")} | more
        emulators.append(UnifiAccessEmulator(doors=doors, **more))
        await emulators[0].start()
        return emulators[0]

    yield start
    for emulator in emulators:
        await emulator.stop()


def written(
    folder: Path, emulator: UnifiAccessEmulator, *, fingerprint: str | None = None, doors: dict[str, str] | None = None, more: str = ""
) -> Path:
    text = CONFIG.replace('"door-front"', f'"{emulator.door_id("front")}"').replace('door_ids = ["door-side"]\n', "")
    for old, new in (doors or {}).items():
        text = text.replace(old, new)
    known = emulator.fingerprint if fingerprint is None else fingerprint
    line = f'fingerprint = "{known}"\n' if known else ""
    text += f'\n[doors]\nkind = "unifi"  # the controller\nhost = "127.0.0.1"\nport = {emulator.port}\ntoken_file = "token"\n{line}{more}'
    (folder / "site.toml").write_text(text)
    (folder / "staff.toml").write_text(staff_file())
    (folder / "token").write_text(TOKEN)
    return folder / "site.toml"


async def command(*words: str) -> int:
    return await asyncio.to_thread(main, list(words))


def answers(monkeypatch, word: str) -> None:
    monkeypatch.setattr("builtins.input", lambda question: word)


@pytest.mark.parametrize("before", ["", "ab" * 32])
async def test_a_fingerprint_is_shown_confirmed_once_and_written_beside_what_stands_there(
    controller, tmp_path, monkeypatch, capsys, before
):
    emulator = await controller()
    file = written(tmp_path, emulator, fingerprint=before)
    answers(monkeypatch, "no")
    old = file.read_text()
    assert await command("doors", "pin", "--config", str(file)) == 2 and file.read_text() == old
    answers(monkeypatch, "yes")
    assert await command("doors", "pin", "--config", str(file)) == 0
    said = capsys.readouterr().out
    assert spaced(emulator.fingerprint) in said and "Nothing has changed." in said
    found = tomllib.loads(file.read_text())
    assert found["doors"]["fingerprint"] == emulator.fingerprint and "# the controller" in file.read_text()
    answers(monkeypatch, "must not be asked")
    assert await command("doors", "pin", "--config", str(file)) == 0
    assert "It is the one that the settings have." in capsys.readouterr().out
    assert await command("doors", "check", "--config", str(file)) == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('doors = { kind = "unifi", host = "h" } # x\n[site]\nid = "a"\n', True),
        ('doors = { kind = "unifi", fingerprint = "old", host = "h" }\n', True),
        ('[site]\nid = "a"\n[doors]\nhost = "h"\n[[resource]]\nfingerprint = "mine"\n', True),
        ("[doors]\nhost = 'h'\nfingerprint = 'old'\n[[doors.camera]]\ndoor_id = \"d\"\n", True),
        ('doors.host = "h"\ndoors.kind = "unifi"\n', False),
        ('[site]\nid = """\n[doors]\n"""\n', False),
    ],
)
def test_nothing_but_the_fingerprint_changes_or_the_line_is_told_to_be_written_by_hand(text, told):
    if not told:
        with pytest.raises(ValueError, match=f'fingerprint = "{"ab" * 32}"'):
            with_fingerprint(text, "ab" * 32)
        return
    before, after = tomllib.loads(text), tomllib.loads(with_fingerprint(text, "ab" * 32))
    assert after["doors"].pop("fingerprint") == "ab" * 32
    before["doors"].pop("fingerprint", None)
    assert before == after


async def test_a_pin_without_a_controller_or_with_nobody_there_is_a_sentence(controller, tmp_path, capsys):
    (tmp_path / "bare.toml").write_text(CONFIG)
    assert await command("doors", "pin", "--config", str(tmp_path / "bare.toml")) == 2
    assert "there is no table [doors]" in capsys.readouterr().err
    assert await command("doors", "pin", "--config", str(tmp_path / "none.toml")) == 2
    assert "cannot be read" in capsys.readouterr().err
    emulator = await controller()
    file = written(tmp_path, emulator, fingerprint="")
    await emulator.go_down()
    assert await command("doors", "pin", "--config", str(file)) == 2
    assert f"Nobody answers at 127.0.0.1, port {emulator.port}." in capsys.readouterr().err


async def test_a_check_says_one_line_for_each_thing_and_that_all_is_well(controller, tmp_path, capsys):
    emulator = await controller()
    assert await command("doors", "check", "--config", str(written(tmp_path, emulator))) == 0
    said = capsys.readouterr().out
    for line in (
        "ok  The controller answers and shows the certificate of the settings. It has 2 doors, 1 of them with a hub.",
        "ok  The token may read the log",
        "ok  The controller takes PINs of 6 digits.",
        "ok  The facility has the door front.",
        "ok  The controller's clock is ",
        "?   Only a change would show whether the token may open doors",
    ):
        assert line in said
    assert TOKEN not in said and "!!" not in said


async def test_a_check_tells_everything_that_is_wrong_at_once(controller, tmp_path, capsys):
    off = ManualClock(SystemClock().now() + 300)
    emulator = await controller(tokens={TOKEN: {"view:space", "view:visitor", "view:credential"}}, pin_length=8, clock=off)
    bays = {"GCQuad": emulator.door_id("shed"), "TrackMan iO": "gone"}
    changed = {f'name = "{bay}"\n': f'name = "{bay}"\ndoor_ids = ["{door_id}"]\n' for bay, door_id in bays.items()}
    file = written(tmp_path, emulator, doors=changed)
    assert await command("doors", "check", "--config", str(file)) == 2
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("!!")]
    for part in (
        "lacks a permission, or is not accepted: view:device", "view:system_log", "PINs of 8 digits, and ours have 6", " s ahead of this machine's.",
        "GCQuad has the door shed, which has no hub", "TrackMan iO has the door gone, which the controller does not know",
    ):  # fmt: skip
        assert any(part.casefold() in line.casefold() for line in wrong), (part, wrong)
    assert len(wrong) == 6


@pytest.mark.parametrize(
    ("fault", "said"), [("token", "does not accept the token"), ("certificate", "shows another certificate"), ("away", "cannot be reached")]
)
async def test_a_check_of_what_does_not_work_at_all_is_one_line(controller, tmp_path, capsys, fault, said):
    emulator = await controller()
    file = written(tmp_path, emulator, fingerprint="ab" * 32 if fault == "certificate" else None)
    emulator.faults.tokens_revoked = fault == "token"
    if fault == "away":
        await emulator.go_down()
    assert await command("doors", "check", "--config", str(file)) == 2
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("!!") and said in line and TOKEN not in line
