"""The bays' own program at a whole site agent: what its addresses answer, what staff see, the installer's commands, and once as a process."""

import asyncio
import contextlib
import json
import signal
import sys
import uuid

import pytest

from deploy.bay_agent import signing
from deploy.emulators.messages.wire import Listener
from site_agent.__main__ import main
from site_agent.devices.bay_agent.keys import Keys
from tests.site_agent.machines_world import BOX, WITH_IDS, MachineWorld
from tests.site_agent.site_world import opened

WAY = "\n[machines.way.bay_agent]\n"
PROGRAM = """
url = "{url}"
key_file = "bay.key"
heartbeat_s = 1
[[command]]
kind = "script"
what = "restart-sim"
argv = ["{python}", "-c", "import sys; print('Did', sys.argv[1])", "{{parameters}}"]
"""


class BayWorld(MachineWorld):
    async def said(self, path: str, body: bytes = b"{}", *, key: bytes, bay: str = BOX, nonce: str = ""):
        at, nonce = str(int(self.clock.now())), nonce or uuid.uuid4().hex
        words = {
            "x-bay": bay,
            "x-bay-time": at,
            "x-bay-nonce": nonce,
            "x-bay-signature": signing.of_request(key, path, bay, at, nonce, body),
        }
        return await self.anybody.http.post(path, content=body, headers=words | {"content-type": "application/json"})


@contextlib.asynccontextmanager
async def with_bays(folder):
    world = BayWorld(folder, linked=False, config=WITH_IDS + WAY)
    world.key = signing.read_key(Keys(world.loaded.data_dir).make(BOX))[1]
    await world.open()
    try:
        await world.move()
        yield world
    finally:
        await world.close()


@pytest.fixture
async def w(tmp_path):
    async with with_bays(tmp_path) as world:
        yield world


async def test_a_signed_call_is_answered_signed_with_this_boxs_term_and_a_forged_one_shows_on_the_staff_page(w):
    answer = await w.said("/bay/hello", b'{"boot_id": "b", "commands": [{"kind": "restart"}]}', key=w.key)
    told = answer.json()
    assert answer.status_code == 200 and told["term"] == w.agent.desk.term and answer.headers["x-bay-signature"]
    assert answer.headers["cache-control"] == "no-store" and "set-cookie" not in answer.headers
    forged = await w.said("/bay/poll", key=b"x" * 32)
    assert (forged.status_code, forged.json()["code"]) == (401, "wrong_key") and "x-bay-signature" not in forged.headers
    assert any("Somebody spoke as Box 1's PC with a wrong key" in one for one in (await w.panel())["alarms"])
    again = [await w.said("/bay/poll", key=w.key, nonce="the-same") for _ in range(2)]
    assert [one.status_code for one in again] == [200, 409]


async def test_whoever_calls_too_often_is_told_to_wait(w):
    for _ in range(320):
        answer = await w.said("/bay/poll", key=b"x" * 32)
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    assert (await w.said("/bay/poll", b"x" * 70_000, key=w.key)).status_code in (413, 429)


async def test_a_pc_that_is_off_for_hours_is_told_and_what_was_asked_of_it_ends_undone_with_a_sentence(w):
    assert (await w.said("/bay/hello", b'{"commands": [{"kind": "restart"}]}', key=w.key)).status_code == 200
    await w.move(70)
    assert (await w.bay())["state"] == "good"
    for _ in range(12):
        await w.move(900)
    assert ((await w.bay())["state"], (await w.bay())["told"]) == ("trouble", ["Its PC is off or cut off, or its bay agent does not run."])
    assert (await w.help()).status_code == 202
    await w.rest()
    assert (await w.last())[0] == "waiting"
    for _ in range(7):
        await w.move(100)
    state, text = await w.last()
    assert state == "dropped" and text.endswith(".")
    assert (await w.said("/bay/hello", b'{"commands": [{"kind": "restart"}]}', key=w.key)).status_code == 200
    assert json.loads((await w.said("/bay/poll", key=w.key)).text)["commands"] == []
    await w.move(70)
    assert (await w.bay())["state"] == "good"


async def test_without_such_a_way_there_is_nothing_here(tmp_path):
    async with opened(tmp_path) as w:
        assert (await w.anybody.post("/bay/hello")).status_code == 404


def test_the_installers_commands_make_show_and_end_keys(tmp_path, capsys):
    (tmp_path / "site.toml").write_text(WITH_IDS.replace('staff_file = "staff.toml"\n', "") + WAY)
    config = ["--config", str(tmp_path / "site.toml")]
    assert main(["bays", "enrol", BOX, *config]) == 0
    said = capsys.readouterr()
    assert signing.read_key(said.out)[0] == BOX and "shown this once" in said.err and "before" not in said.err
    assert (tmp_path / "data" / "bay_agent" / f"{BOX}.key").stat().st_mode & 0o777 == 0o600
    assert main(["bays", "enrol", BOX, *config]) == 0
    again = capsys.readouterr()
    assert again.out != said.out and "worth nothing from now on" in again.err
    assert main(["bays", "list", *config]) == 0
    assert f"{BOX}: enrolled\n" in (listed := capsys.readouterr().out) and "bedford.box-2: not enrolled" in listed
    assert main(["bays", "remove", BOX, *config]) == 0 and main(["bays", "remove", BOX, *config]) == 2
    assert main(["bays", "enrol", "bedford.box-99", *config]) == 2 and "has no bay 'bedford.box-99'" in capsys.readouterr().err


async def test_the_real_program_as_a_process_does_what_staff_ask_and_tells_its_words(w, tmp_path):
    listener = Listener(w.agent.asgi, "127.0.0.1")
    await listener.come_back()
    (tmp_path / "bay.key").write_text(signing.key_text(BOX, w.key))
    (tmp_path / "bay.toml").write_text(PROGRAM.format(url=listener.url, python=sys.executable))
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "deploy.bay_agent", "run", "--config", str(tmp_path / "bay.toml"))
    try:
        # the site's clock stands at its own noon, so this is also a PC whose clock is far off
        await w.until(lambda: "script" in w.kit.machines.ways["bay_agent"].machines.able(BOX), 10)
        assert (await w.help("script", "restart-sim")).status_code == 202
        await w.move(1)
        await w.until(lambda: w.kit.machines.ways["bay_agent"].machines._pcs[BOX].tasks.outcome(w.row().ref, 0).state == "done", 10)
        await w.move(5)
        assert await w.last() == ("done", "Did -Bay 1 -Name box-1")
        assert any("clock of Box 1's PC" in one for one in (await w.panel())["alarms"])
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await listener.go_down()
    assert "Begun: script restart-sim" in (tmp_path / "state" / "bay-agent.log").read_text()
