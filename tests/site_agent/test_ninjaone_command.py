"""`site-agent ninjaone connect` and `status` against the emulator: the installer's way from the settings to a script that may be run."""

import asyncio
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
import pytest

from deploy.emulators.ninjaone_rmm import NinjaOneEmulator
from site_agent.__main__ import main
from tests.deploy.ninjaone_world import CONSENTING, READER, RESTART, WEB, settings
from tests.site_agent.site_world import CONFIG, staff_file

TABLE = """
[machines]
[[machines.script]]
name = "restart-sim"
label = "Restart the simulator"
script = "{script}"

[machines.way.ninjaone]
url = "{url}"
client_id = "{reader}"
secret_file = "ninja.secret"
consent_client_id = "{consenting}"
{more}
"""


def written(folder: Path, url: str, *, script: str = "146", consenting: str = CONSENTING.client_id, more: str = "") -> str:
    text = CONFIG.replace("number = 1\n", 'number = 1\nmachine_id = "31"\n').replace("number = 2\n", 'number = 2\nmachine_id = "99"\n')
    table = TABLE.format(script=script, url=url, reader=READER.client_id, consenting=consenting, more=more)
    (folder / "site.toml").write_text(text + table)
    (folder / "staff.toml").write_text(staff_file())
    (folder / "ninja.secret").write_text(READER.secret)
    (folder / "web.secret").write_text(WEB.secret)
    return str(folder / "site.toml")


async def command(*words: str) -> int:
    return await asyncio.to_thread(main, list(words))


async def allow(url: str, answer: str = "allow") -> str:
    """What a browser does: Allow, and the address it is sent to."""
    async with httpx.AsyncClient(verify=False) as client:
        gone = await client.post(url.partition("?")[0], data=dict(parse_qsl(urlsplit(url).query)) | {"answer": answer})
        return gone.headers["location"]


async def printed(capsys, pattern: str, kept: list[str]) -> str:
    """What the command has printed by now that fits."""
    async with asyncio.timeout(10):
        while True:
            kept.append(capsys.readouterr().out)
            if found := re.search(pattern, "".join(kept)):
                return found[1]
            await asyncio.sleep(0.01)


@pytest.fixture
async def ninja():
    emulator = NinjaOneEmulator(settings())
    await emulator.start()
    yield emulator
    await emulator.stop()


async def test_the_browser_on_this_machine_brings_the_consent_back_by_itself(ninja, tmp_path, capsys):
    config, said = written(tmp_path, ninja.url), []
    running = asyncio.create_task(command("ninjaone", "connect", "--config", config))
    location = await allow(await printed(capsys, r"(http\S+authorize\S+)", said))
    async with httpx.AsyncClient(verify=False) as client:
        assert (await client.get(location)).status_code == 200
    assert await running == 0
    said.append(capsys.readouterr().out)
    told = "".join(said)
    assert "Connected" in told and ninja.oauth.consents == 1
    assert re.search(r"code=|refresh|[A-Za-z0-9_-]{40}$", told.partition("Connected")[2]) is None

    assert await command("ninjaone", "status", "--config", config) == 2  # for box 2's machine is not there
    told = capsys.readouterr().out
    assert "Box 1: Box 1 (31), good" in told and "Box 2: NinjaOne has no machine 99 here" in told
    assert "Box 3: no machine is named" in told and "Office (77) is no bay's" in told
    assert f"Restart the simulator: 146, {RESTART.name}" in told and "given 0 days ago" in told


async def test_from_another_machine_the_address_is_pasted(ninja, tmp_path, capsys, monkeypatch):
    config, said = written(tmp_path, ninja.url), []
    pasted: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    async def paste() -> str:
        return await pasted

    monkeypatch.setattr("builtins.input", lambda prompt: asyncio.run_coroutine_threadsafe(paste(), loop).result(10))
    running = asyncio.create_task(command("ninjaone", "connect", "--paste", "--config", config))
    pasted.set_result(await allow(await printed(capsys, r"(http\S+authorize\S+)", said)))
    assert await running == 0 and ninja.oauth.consents == 1


async def test_a_web_app_with_a_secret_comes_back_to_its_registered_address(ninja, tmp_path, capsys, monkeypatch):
    config = written(tmp_path, ninja.url, consenting=WEB.client_id, more='consent_secret_file = "web.secret"')
    said: list[str] = []
    pasted: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    async def paste() -> str:
        return await pasted

    monkeypatch.setattr("builtins.input", lambda prompt: asyncio.run_coroutine_threadsafe(paste(), loop).result(10))
    running = asyncio.create_task(command("ninjaone", "connect", "--redirect", WEB.redirects[0], "--config", config))
    location = await allow(await printed(capsys, r"(http\S+authorize\S+)", said))
    assert location.startswith(WEB.redirects[0])
    pasted.set_result(location)
    assert await running == 0 and ninja.oauth.consents == 1


@pytest.mark.parametrize("pasted", ["", "https://elsewhere.example.test/?code=x", "nonsense", "http://["])
async def test_what_is_pasted_wrongly_changes_nothing_and_says_why(ninja, tmp_path, capsys, monkeypatch, pasted):
    monkeypatch.setattr("builtins.input", lambda prompt: pasted)
    assert await command("ninjaone", "connect", "--paste", "--config", written(tmp_path, ninja.url)) == 2
    assert "not the answer to this question" in capsys.readouterr().err
    assert ninja.oauth.consents == 0


async def test_nobody_reached_is_said_in_a_sentence(tmp_path, capsys):
    config = written(tmp_path, "http://127.0.0.1:9")
    assert await command("ninjaone", "status", "--config", config) == 2
    told = capsys.readouterr().out
    assert "Reading: NinjaOne cannot be reached." in told and "Nobody has consented" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("connect", "--port", "99999"), "A port is a number"),
        (("connect",), "give 'consent_client_id'"),
        (("connect", "--port", "x"), "invalid int"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_sentence(ninja, tmp_path, capsys, words, told):
    config = written(tmp_path, ninja.url, consenting="")
    try:
        code = await command("ninjaone", *words, "--config", config)
    except SystemExit as ended:
        code = ended.code
    assert code == 2 and told in capsys.readouterr().err


async def test_settings_without_ninjaone_are_told_so(tmp_path, capsys):
    (tmp_path / "site.toml").write_text(CONFIG)
    (tmp_path / "staff.toml").write_text(staff_file())
    assert await command("ninjaone", "status", "--config", str(tmp_path / "site.toml")) == 2
    assert "[machines.way.ninjaone]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("[machines]\n", "[machines]\npoll_s = 5\n"), "poll_s"),
        (('name = "restart-sim"', 'name = "Restart Sim"'), "machines.script[0].name"),
        (('machine_id = "99"', 'machine_id = "31"'), "given to two"),
        (("[machines]\n", '[machines]\n[[machines.service]]\nname = "restart-sim"\nlabel = "x"\nservice = "y"\n'), "given twice"),
    ],
)
async def test_settings_of_machines_that_are_wrong_name_the_key(ninja, tmp_path, capsys, change, told):
    config = Path(written(tmp_path, ninja.url))
    config.write_text(config.read_text().replace(*change, 1))
    assert await command("ninjaone", "status", "--config", str(config)) == 2
    assert told in capsys.readouterr().err


async def test_the_installer_has_ninjaone_call_the_booking_centre_and_ends_that(ninja, tmp_path, capsys):
    config, secret = written(tmp_path, ninja.url), "calls-of-ninjaone-7f31a2"
    (tmp_path / "hook.secret").write_text(secret)
    words = ("ninjaone", "webhook", "--config", config)
    assert await command(*words, "--hub-url", "http://127.0.0.1:9/", "--secret-file", str(tmp_path / "hook.secret")) == 0
    hook = ninja.hook
    assert hook.url == "http://127.0.0.1:9/hooks/machines/ninjaone" and [(one.name, one.value) for one in hook.headers] == [("X-Clubos-Hook", secret)]
    assert hook.organizationIds is None, "NinjaOne keeps one address for all facilities of an app"
    out = capsys.readouterr()
    assert "NinjaOne calls http://127.0.0.1:9/hooks/machines/ninjaone from now on" in out.out and secret not in out.out + out.err
    assert await command(*words, "--off") == 0 and ninja.hook is None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "Give either --hub-url with --secret-file, or --off."),
        (("--hub-url", "http://book.example.test", "--secret-file", "{secret}"), "is no address at which NinjaOne could call"),
        (("--hub-url", "https://book.example.test"), "at least 24 plain characters"),
        (("--hub-url", "http://127.0.0.1:9", "--secret-file", "{secret}"), "lets only a system administrator"),
    ],
)
async def test_what_keeps_ninjaone_from_calling_is_a_sentence(ninja, tmp_path, capsys, more, told):
    ninja.variants = msgspec.structs.replace(ninja.variants, webhook="administrators")
    (tmp_path / "hook.secret").write_text("calls-of-ninjaone-7f31a2")
    more = [word.format(secret=tmp_path / "hook.secret") for word in more]
    assert await command("ninjaone", "webhook", "--config", written(tmp_path, ninja.url), *more) == 2
    assert told in capsys.readouterr().err and ninja.hook is None
