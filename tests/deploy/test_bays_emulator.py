"""The emulated bays: the switch's HTTP in both generations, the call that wakes a PC, and what power does to the real bay agent."""

import asyncio
import contextlib
import socket
import time

import httpx
import pytest

from deploy.emulators.bays import pc as pc_module
from deploy.emulators.bays.__main__ import main
from deploy.emulators.bays.emulator import BaysEmulator
from deploy.emulators.bays.settings import BaySpec, Settings, settings_of
from deploy.emulators.messages.wire import Listener
from site_agent.devices.bay_agent.keys import Keys
from tests.site_agent.machines_world import BOX
from tests.site_agent.test_bay_agent_web import with_bays

MAC = "02:00:00:00:01:01"


class Standing:
    """A clock that the test moves, in place of the emulator's own."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def emulated(folder, *, clock=None, **more):
    spec = {"id": BOX, "name": "Box 1", "site_url": "http://127.0.0.1:9", "key_file": str(folder / "bay.key"), "mac": MAC}
    bays = (BaySpec(**spec | more.pop("bay", {})),)
    emulator = BaysEmulator(
        Settings(bays=bays, port=0, wake_port=0, **{"boot_s": 600.0} | more), folder / "bays", clock=clock or time.monotonic
    )
    await emulator.start()
    async with httpx.AsyncClient(base_url=emulator.switch_url(BOX), timeout=5) as http:
        emulator.http, emulator.bay = http, emulator.bays[BOX]
        try:
            yield emulator
        finally:
            await emulator.stop()


async def until(condition, within_s: float = 8.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


# ---- the switch
async def test_the_second_generation_is_switched_by_get_and_by_post_and_goes_back_by_itself(tmp_path):
    clock = Standing()
    async with emulated(tmp_path, clock=clock) as e:
        info = (await e.http.get("/rpc/Shelly.GetDeviceInfo")).json()
        assert (info["gen"], info["auth_en"]) == (2, False) and (await e.http.get("/shelly")).json() == info
        assert (await e.http.get("/rpc/Switch.Set", params={"id": 1, "on": "true"})).json() == {"was_on": False}
        told = (await e.http.get("/rpc/Switch.GetStatus", params={"id": 1})).json()
        assert (told["output"], told["apower"], told["id"]) == (True, 46.0, 1)
        body = {"id": 7, "method": "Switch.Set", "params": {"id": 0, "on": False, "toggle_after": 5}}
        assert (await e.http.post("/rpc", json=body)).json() == {"id": 7, "src": info["id"], "result": {"was_on": True}}
        assert (await e.http.get("/rpc/Switch.GetStatus?id=0")).json()["timer_duration"] == 5.0 and e.bay.pc.state == "off"
        clock.now += 5
        await e.advance()
        assert (await e.http.get("/rpc/Switch.GetStatus?id=0")).json()["output"] is True and e.bay.pc.state == "booting"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/rpc/Switch.GetStatus", 500, -103), ("/rpc/Switch.GetStatus?id=9", 500, -105), ("/rpc/Switch.Set?id=0", 500, -103),
        ("/rpc/Switch.Set?id=0&on=maybe", 500, -103), ("/rpc/Cover.Open?id=0", 404, 404),
    ],
)  # fmt: skip
async def test_a_call_that_is_wrong_is_refused_in_shellys_words(tmp_path, path, status, code):
    async with emulated(tmp_path) as e:
        answer = await e.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await e.http.get("/relay/0")).status_code == 404


async def test_the_first_generation_has_relays_and_meters(tmp_path):
    async with emulated(tmp_path, bay={"generation": 1}) as e:
        assert (await e.http.get("/shelly")).json()["type"] == "SHSW-25" and (
            await e.http.get("/rpc/Shelly.GetDeviceInfo")
        ).status_code == 404
        assert (await e.http.get("/relay/1?turn=on")).json()["ison"] is True and (await e.http.get("/meter/1")).json()["power"] == 46.0
        assert (await e.http.get("/relay/0?turn=off&timer=8")).json()["has_timer"] is True and not e.bay.powered
        assert [(await e.http.get(path)).status_code for path in ("/relay/2", "/relay/0?turn=up", "/relay/0?turn=on&timer=x")] == [
            404,
            400,
            400,
        ]


@pytest.mark.parametrize(("generation", "way"), [(1, httpx.BasicAuth), (2, httpx.DigestAuth)])
async def test_a_switch_with_a_password_asks_for_it_as_its_generation_does(tmp_path, generation, way):
    path = "/relay/1?turn=on" if generation == 1 else "/rpc/Switch.Set?id=1&on=true"
    async with emulated(tmp_path, bay={"generation": generation, "password": "word"}) as e:
        assert (await e.http.get("/shelly")).status_code == 200
        assert [(await e.http.get(path, auth=auth)).status_code for auth in (None, way("admin", "no"))] == [
            401,
            401,
        ] and not e.bay.channels[1].on
        assert (await e.http.get(path, auth=way("admin", "word"))).status_code == 200 and e.bay.channels[1].on


# ---- the desk
async def test_the_desk_troubles_a_bay_and_says_what_is_wrong_with_what_it_cannot_do(tmp_path):
    async with emulated(tmp_path) as e, httpx.AsyncClient(base_url=f"{e.url}/_emulator", timeout=5) as desk:
        for body in ({"stuck": True, "errors": ["overtemp"]}, {"play": True}, {"cable": False}):
            assert (await desk.post("/bay", json={"bay": BOX} | body)).status_code == 200
        (told,) = (await desk.get("/state")).json()["bays"]
        assert (told["cable"], told["pc"], told["watts"][0]) == (False, "off", 0.0) and told["played_at"] > 0
        assert (await e.http.get("/rpc/Switch.Set?id=1&on=true")).status_code == 200 and not e.bay.channels[1].on
        assert (await e.http.get("/rpc/Switch.GetStatus?id=1")).json()["errors"] == ["overtemp"]
        await desk.post("/bay", json={"bay": BOX, "switch": "silent"})
        with pytest.raises(httpx.TransportError):
            for _ in range(50):
                await e.http.get("/shelly")
        await desk.post("/bay", json={"bay": BOX, "switch": "answers"})
        await until(lambda: e._listeners[BOX]._server is not None)
        assert (await e.http.get("/shelly")).status_code == 200
        for body, said in (({"bay": "x"}, "no bay 'x'"), ({"bay": BOX, "fly": 1}, "fly"), ({"bay": BOX, "cable": "out"}, "Invalid body")):
            answer = await desk.post("/bay", json=body)
            assert answer.status_code == 400 and said in answer.text
        assert (await desk.post("/bay", content=b"{}")).status_code == 415 and (await desk.get("/nothing")).status_code == 404
        page = await desk.get("/")
        assert "Pull the plug" in (await desk.get("/board")).text or "Put the plug back" in page.text
        assert "unsafe-inline" not in page.headers["content-security-policy"]
        assert [(await desk.get(path)).status_code for path in ("/page.js", "/page.css", "/icon.svg")] == [200, 200, 200]


def test_settings_that_cannot_be_right_are_refused(tmp_path, capsys):
    for text, said in (
        ("", "bays"),
        ('[[bays]]\nid = "a.b"\nname = "B"\nsite_url = "x"\nkey_file = "k"\nmac = "02"', "network card"),
        ("[[", "cannot start"),
    ):
        (tmp_path / "bays.toml").write_text(text)
        assert main(["--config", str(tmp_path / "bays.toml"), "--folder", str(tmp_path)]) == 2 and said in capsys.readouterr().out
    with pytest.raises(ValueError, match="network card"):
        (tmp_path / "bays.toml").write_text('[[bays]]\nid = "a.b"\nname = "B"\nsite_url = "x"\nkey_file = "k"\nmac = "02"')
        settings_of(tmp_path / "bays.toml")


# ---- power and the real bay agent
async def test_a_pc_lives_by_its_power_and_does_what_staff_ask(tmp_path, monkeypatch):
    monkeypatch.setattr(pc_module, "AGAIN_S", 0.05)
    async with with_bays(tmp_path) as w:
        listener = Listener(w.agent.asgi, "127.0.0.1")
        await listener.come_back()
        bay = {"site_url": listener.url, "key_file": str(Keys(w.loaded.data_dir).folder / f"{BOX}.key")}
        async with emulated(tmp_path, bay=bay, boot_s=0.05, heartbeat_s=1.0, scripts=("restart-sim",), services=("trackman",)) as e:
            machines, pc = w.kit.machines.way("bay_agent"), e.bay.pc
            await until(lambda: "script" in machines.able(BOX))
            assert {"message", "restart", "shutdown", "prepare", "cleanup", "service"} <= machines.able(BOX)
            assert (await w.help("script", "restart-sim")).status_code == 202
            await w.move(1)
            await until(lambda: [deed["what"] for deed in pc.deeds] == ["restart-sim"])
            pid = pc._process.pid
            pc.crash()
            await until(lambda: pc.agent_on and pc._process.pid != pid)  # whoever looks after it starts it again
            e.bay.put_cable(False)
            await until(lambda: not pc.agent_on)
            assert (pc.state, pc.program_on) == ("off", False)
            e.bay.call_up()  # a card without power hears nothing
            assert e.bay.woken == 0
            e.bay.put_cable(True)
            await until(lambda: pc.agent_on)
            boot = (pc.folder / "boot-id").read_text()
            (pc.folder / "deeds.jsonl").open("a").write('{"at": 1, "kind": "shutdown", "what": "", "parameters": ""}\n')
            await until(lambda: pc.state == "off" and not pc.agent_on)
            packet = b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) * 16
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"no packet", e.wake_address)
                sock.sendto(packet, e.wake_address)
            await until(lambda: pc.agent_on)
            assert e.bay.woken == 1 and (pc.folder / "boot-id").read_text() != boot
        assert not pc.agent_on
        await listener.go_down()
