"""The emulated door controller's own desk, its faults, its sockets and its command."""

import asyncio
import json
import os
import signal
import ssl
import sys

import httpx
import pytest
import websockets

from deploy.emulators import unifi_access
from deploy.emulators.tls import fingerprint_of, self_signed
from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi.envelope import Style
from deploy.emulators.unifi_access import UnifiAccessEmulator, door_from_word
from tests.deploy.unifi_desk import API, FRONT, SHED, SIDE, VISITOR, Desk


@pytest.fixture
async def desk():
    desk = Desk()
    yield desk
    await desk.http.aclose()


@pytest.fixture
async def emulator(tmp_path_factory):
    emulator = UnifiAccessEmulator(
        doors=[FRONT, SIDE, SHED], tokens={"good": AGENT_SCOPES}, folder=tmp_path_factory.mktemp("tls"), log_delay_s=0.1
    )
    await emulator.start()
    yield emulator
    await emulator.stop()


# The emulator's own desk


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/reader", {"door_id": FRONT.id}),
        ("/reader", {"door_id": FRONT.id, "pin": "1", "qr": "2"}),
        ("/faults", {"next": [{"kind": "status", "status": 200}]}),
        ("/faults", {"next": [{"kind": "slow", "seconds": 1e9}]}),
        ("/faults", {"next": [{"kind": "slow", "count": 0}]}),
        ("/faults", {"reboot": {"mode": "refuse", "seconds": 0}}),
    ],
)
async def test_the_desk_refuses_what_makes_no_sense(desk, path, body):
    assert (await desk.tell(path, body, status=400))["code"] == "CODE_PARAMS_INVALID"
    assert not desk.calls and not desk.box.faults.waiting()


async def test_the_desk_refuses_unknown_words_paths_and_forms_of_other_pages(desk):
    assert (await desk.tell("/faults", {"explode": True}))["code"] == "CODE_PARAMS_INVALID"
    assert (await desk.tell("/nothing", {}, status=404))["code"] == "CODE_RESOURCE_NOT_FOUND"
    answer = await desk.http.post("/_emulator/reader", content=b'{"door_id":"x","pin":"1"}', headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert (await desk.http.delete("/_emulator/state")).status_code == 405
    assert (await desk.http.get("/_emulator/../secret")).status_code in (401, 404)


async def test_faults_come_once_each_in_order_and_for_what_they_name(desk):
    await desk.tell(
        "/faults",
        {
            "next": [
                {"kind": "status", "status": 429, "method": "PUT"},
                {"kind": "status", "status": 500, "count": 2},
                {"kind": "html", "status": 502},
            ]
        },
    )
    codes = [(await desk.http.get(f"{API}/doors")).status_code for _ in range(4)]
    assert codes == [500, 500, 502, 200]
    assert (await desk.http.put(f"{API}/doors/{FRONT.id}/unlock")).status_code == 429
    assert not desk.box.unlocks and not desk.box.faults.waiting()


async def test_a_lost_answer_acts_first_and_a_slow_one_later(desk):
    desk.box.faults.next("lost", seconds=0.2, method="PUT")
    asking = asyncio.create_task(desk.ask("PUT", f"/doors/{FRONT.id}/unlock"))
    await until(lambda: desk.box.unlocks)
    assert not asking.done()
    await asking
    desk.box.faults.next("slow", seconds=0.2, method="PUT")
    asking = asyncio.create_task(desk.ask("PUT", f"/doors/{SIDE.id}/unlock"))
    await until(lambda: len(desk.box.requests) == 2)
    assert len(desk.box.unlocks) == 1
    await asking
    assert len(desk.box.unlocks) == 2


async def test_a_starting_box_answers_503_until_it_is_up_and_clear_ends_everything(desk):
    await desk.tell("/faults", {"reboot": {"mode": "unavailable", "seconds": 30}, "tokens_revoked": True})
    assert (await desk.http.get(f"{API}/doors")).status_code == 503
    desk.clock.forward(30)
    assert (await desk.http.get(f"{API}/doors")).status_code == 401
    await desk.tell("/faults", {"clear": True, "certificate": "new", "reboot": {"mode": "refuse", "seconds": 2}})
    assert (await desk.http.get(f"{API}/doors")).status_code == 200
    assert desk.calls == [("renew",), ("refuse", 2.0)]


@pytest.mark.parametrize(("style", "forgets", "keeps"), [(True, False, True), (True, True, False), (False, False, False)])
async def test_an_emergency_and_the_doors_rules_outlive_a_reboot_where_the_firmware_keeps_them(style, forgets, keeps):
    desk = Desk(style=Style(keeps_emergency=style))
    await desk.ask("PUT", "/doors/settings/emergency", {"lockdown": True, "evacuation": False})
    await desk.ask("PUT", f"/doors/{FRONT.id}/lock_rule", {"type": "keep_unlock"})
    await desk.tell("/faults", {"reboot": {"mode": "unavailable", "seconds": 30, "forgets": forgets}})
    desk.clock.forward(30)
    assert (await desk.ask("GET", "/doors/settings/emergency"))["data"] == {"lockdown": keeps, "evacuation": False}
    assert (await desk.ask("GET", f"/doors/{FRONT.id}/lock_rule"))["data"]["type"] == ("keep_unlock" if keeps else "")
    await desk.http.aclose()


async def test_the_state_and_the_page_show_doors_unlocks_visitors_and_log_without_secrets(desk):
    visitor = (await desk.ask("POST", "/visitors", VISITOR | {"last_name": "<b>Birdie</b>"}))["data"]["id"]
    await desk.ask("PUT", f"/visitors/{visitor}/pin_codes", {"pin_code": "570121"})
    await desk.ask("PUT", f"/doors/{FRONT.id}/unlock", {"actor_id": "<i>", "actor_name": "Booking <1>"})
    desk.clock.forward(2)
    state = (await desk.http.get("/_emulator/state")).json()
    assert (len(state["doors"]), len(state["visitors"]), len(state["unlocks"]), len(state["log"])) == (3, 1, 1, 1)
    page = await desk.http.get("/_emulator/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for part in ("Doors", "Unlocks", "Visitors", "Log", "Booking &lt;1&gt;", "&lt;b&gt;Birdie", FRONT.id):
        assert part in page.text
    assert "<b>Birdie" not in page.text and "<i>" not in page.text
    assert "570121" not in page.text + json.dumps(state) and "good" not in json.dumps(state)
    for name, kind in (("icon.svg", "image/svg+xml"), ("page.js", "text/javascript"), ("page.css", "text/css")):
        assert (await desk.http.get(f"/_emulator/{name}")).headers["content-type"].startswith(kind)


async def test_a_visitor_of_the_far_future_does_not_break_the_page(desk):
    await desk.ask("POST", "/visitors", VISITOR | {"end_time": 2**40})
    assert str(2**40) in (await desk.http.get("/_emulator/")).text


# With real sockets


async def test_it_listens_with_its_own_certificate_and_keeps_it_in_its_folder(tmp_path):
    first = self_signed(tmp_path, "box")
    assert self_signed(tmp_path, "box") == first
    assert fingerprint_of(first.cert_path.read_bytes()) == first.fingerprint
    assert os.stat(first.key_path).st_mode & 0o077 == 0
    assert self_signed(tmp_path, "other").fingerprint != first.fingerprint


async def test_listeners_hear_hello_then_what_happens(emulator):
    async with listening(emulator) as socket:
        assert (await socket.recv()).startswith("Hello")
        async with httpx.AsyncClient(verify=False, headers={"Authorization": "Bearer good"}) as client:
            await client.put(f"{emulator.url}{API}/doors/{FRONT.id}/unlock", json={"actor_id": "a", "actor_name": "A"})
        heard = [json.loads(await asyncio.wait_for(socket.recv(), 5)) for _ in range(3)]
    assert [event["event"] for event in heard] == [
        "access.data.device.location_update_v2", "access.data.device.remote_unlock", "access.logs.add",
    ]  # fmt: skip
    assert heard[0]["data"]["state"]["lock"] == "unlocked"
    assert heard[1]["data"]["unique_id"] == FRONT.id
    assert heard[2]["data"]["_source"]["actor"]["id"] == "a"


async def test_the_end_of_a_pulse_is_told_without_anybody_asking(tmp_path):
    emulator = UnifiAccessEmulator(doors=[FRONT], tokens={"good": AGENT_SCOPES}, folder=tmp_path, pulse_s=0.1, log_delay_s=9)
    await emulator.start()
    try:
        async with listening(emulator) as socket:
            await socket.recv()
            emulator.box.remote_unlock(FRONT.id, "", "", None)
            states = []
            while states[-1:] != ["locked"]:
                event = json.loads(await asyncio.wait_for(socket.recv(), 5))
                states += [event["data"]["state"]["lock"]] if "state" in event["data"] else []
        assert states == ["unlocked", "locked"]
    finally:
        await emulator.stop()


async def test_a_listener_is_dropped_by_the_fault_and_refused_without_the_scope(emulator):
    async with listening(emulator) as socket:
        await socket.recv()
        emulator.box.notifications.drop_all()
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)
    emulator.faults.tokens_revoked = True
    with pytest.raises(websockets.InvalidStatus):
        async with listening(emulator):
            pass


async def test_a_reboot_refuses_connections_and_comes_back_on_the_same_port(emulator):
    async with httpx.AsyncClient(verify=False, headers={"Authorization": "Bearer good"}) as client:
        told = await client.post(f"{emulator.url}/_emulator/faults", json={"reboot": {"mode": "refuse", "seconds": 0.3}})
        assert told.status_code == 200
        seen = []

        async def back() -> bool:
            try:
                seen.append((await client.get(f"{emulator.url}{API}/doors")).status_code)
            except httpx.TransportError:
                seen.append(0)
            return 0 in seen and seen[-1] == 200

        async with asyncio.timeout(5):
            while not await back():
                await asyncio.sleep(0.02)


async def test_a_port_that_is_taken_is_told(emulator, tmp_path):
    other = UnifiAccessEmulator(port=emulator.port, doors=[FRONT], tokens={"good": AGENT_SCOPES}, folder=tmp_path)
    with pytest.raises(OSError):
        await other.start()
    await other.stop()


async def test_the_command_serves_says_where_and_stops_on_a_signal(tmp_path):
    settings = tmp_path / "emulator.toml"
    settings.write_text('pin_length = 5\n[tokens]\ngood = ["view:space"]\n[[doors]]\nname = "front"\nfloor = "dartmouth"\n')
    command = [sys.executable, "-m", "deploy.emulators.unifi_access", "--port", "0", "--config", str(settings), "--folder", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        lines = [(await asyncio.wait_for(process.stdout.readline(), 20)).decode() for _ in range(3)]
        url = lines[0].split()[4]
        async with httpx.AsyncClient(verify=False, headers={"Authorization": "Bearer good"}) as client:
            assert (await client.get(f"{url}{API}/doors")).json()["data"][0]["id"] == DoorSpec("front", "dartmouth").id
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert DoorSpec("front", "dartmouth").id in lines[2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "needs doors"),
        (["--doors", "front:bedford"], "needs a token"),
        (["--doors", "front", "--token", "t"], "name:floor"),
        (["--doors", "front:bedford:ajar", "--token", "t"], "no-sensor or unbound"),
        (["--config", "/nonexistent.toml"], "cannot start"),
    ],
)
def test_the_command_says_why_it_cannot_start(capsys, arguments, sentence):
    assert unifi_access.main(arguments) == 2
    assert sentence in capsys.readouterr().out


def test_a_settings_file_with_an_unknown_key_is_refused(tmp_path, capsys):
    settings = tmp_path / "emulator.toml"
    settings.write_text("pim_length = 6\n")
    assert unifi_access.main(["--config", str(settings)]) == 2
    assert "pim_length" in capsys.readouterr().out


def test_doors_on_the_command_line_say_what_they_lack():
    assert door_from_word("front:bedford") == DoorSpec("front", "bedford")
    assert door_from_word("side:bedford:no-sensor").sensor is False
    assert door_from_word("shed:bedford:unbound").bound is False


def listening(emulator):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = emulator.url.replace("https", "wss") + f"{API}/devices/notifications"
    return websockets.connect(url, ssl=context, additional_headers={"Authorization": "Bearer good"})


async def until(condition, deadline_s: float = 5.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.005)


# What was learned later: cards, firmwares, the console's own emergency


async def test_a_card_is_read_by_a_reader_that_waits_and_then_opens_its_visitors_door(desk):
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    reader = next(one["id"] for one in (await desk.ask("GET", "/devices"))["data"][0] if "nfc" in one["capabilities"])
    sessions, card = "/credentials/nfc_cards/sessions", {"door_id": FRONT.id, "card": "0451"}
    await desk.ask("POST", sessions, {"device_id": "nobody"}, code="CODE_DEVICE_DEVICE_NOT_FOUND")
    session = (await desk.ask("POST", sessions, {"device_id": reader}))["data"]["session_id"]
    await desk.ask("GET", f"{sessions}/{session}", code="CODE_CREDS_NFC_READ_POLL_TOKEN_EMPTY")
    assert (await desk.tell("/reader", card))["data"]["admitted"] is False
    token = (await desk.ask("GET", f"{sessions}/{session}"))["data"]["token"]
    await desk.ask("DELETE", f"{sessions}/{session}")
    await desk.ask("GET", f"{sessions}/{session}", code="CODE_CREDS_NFC_READ_SESSION_NOT_FOUND")
    await desk.ask("PUT", f"/visitors/{visitor}/nfc_cards", {"token": "made up"}, code="CODE_CREDS_NFC_CARD_INVALID")
    await desk.ask("PUT", f"/visitors/{visitor}/nfc_cards", {"token": token, "force_add": False})
    assert (await desk.tell("/reader", card))["data"]["admitted"] is True
    other = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    await desk.ask("PUT", f"/visitors/{other}/nfc_cards", {"token": token}, code="CODE_CREDS_NFC_HAS_BIND_USER")
    await desk.ask("PUT", f"/visitors/{other}/nfc_cards", {"token": token, "force_add": True})
    await desk.ask("PUT", f"/visitors/{other}/nfc_cards/delete", {"token": token})
    await desk.ask("PUT", f"/visitors/{other}/nfc_cards/delete", {"token": token}, code="CODE_CREDS_NFC_CARD_INVALID")
    assert (await desk.tell("/reader", card))["data"]["reason"] == "Unknown credential"
    assert token not in str((await desk.http.get("/_emulator/state")).json())


@pytest.mark.parametrize(("says", "status"), [("404", 404), ("CODE_DEVICE_API_NOT_SUPPORTED", 200), ("CODE_SYSTEM_ERROR", 200)])
async def test_a_firmware_lacks_what_its_style_says_in_the_way_it_says(says, status):
    desk = Desk(style=Style(lacks=frozenset({"hold", "emergency"}), lacks_as=says))
    for path in (f"/doors/{FRONT.id}/lock_rule", "/doors/settings/emergency"):
        answer = await desk.http.get(API + path)
        assert answer.status_code == status and (says in answer.text)
    await desk.ask("GET", "/doors")


async def test_the_console_calls_an_emergency_and_everybody_who_listens_hears_it(desk):
    listener = desk.box.notifications.join()
    await desk.tell("/emergency", {"mode": "lockdown"})
    assert (await desk.ask("GET", "/doors/settings/emergency"))["data"] == {"lockdown": True, "evacuation": False}
    assert json.loads(listener.queue.get_nowait())["data"] == {"lockdown": True, "evacuation": False}
    assert "Lock-down: no door opens." in (await desk.http.get("/_emulator/")).text
    await desk.tell("/emergency", {"mode": "normal"})
    assert (await desk.ask("GET", "/doors/settings/emergency"))["data"] == {"lockdown": False, "evacuation": False}


async def test_a_reader_that_is_offline_takes_nothing_while_its_hub_still_opens(desk):
    await desk.tell("/door", {"door_id": FRONT.id, "reader_offline": True})
    assert (await desk.tell("/reader", {"door_id": FRONT.id, "pin": "1"}, status=200))["code"] == "CODE_DEVICE_DEVICE_OFFLINE"
    assert [one["is_online"] for one in (await desk.ask("GET", "/devices?refresh=true"))["data"][0]] == [True, False]
    await desk.ask("PUT", f"/doors/{FRONT.id}/unlock")


async def test_an_error_inside_a_200_and_a_wish_to_be_left_alone_are_scripted(desk):
    await desk.tell("/faults", {"next": [{"kind": "code", "code": "CODE_DEVICE_DEVICE_BUSY"}]}, status=400)
    script = [{"kind": "code", "code": "CODE_OPERATION_FORBIDDEN"}, {"kind": "status", "status": 429, "retry_after": "7"}]
    await desk.tell("/faults", {"next": script})
    await desk.ask("GET", "/doors", code="CODE_OPERATION_FORBIDDEN")
    assert (await desk.http.get(f"{API}/doors")).headers["retry-after"] == "7"
    await desk.tell("/faults", {"next": [{"kind": "reboot"}]}, status=400)


async def test_a_visitors_own_code_is_shown_by_whoever_has_no_camera(desk):
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    shown = {"door_id": FRONT.id, "visitor_id": visitor}
    assert (await desk.tell("/reader", shown))["data"]["admitted"] is False
    await desk.ask("PUT", f"/visitors/{visitor}/qr_codes")
    assert (await desk.tell("/reader", shown))["data"]["admitted"] is True
