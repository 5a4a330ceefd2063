"""The emulated door controller's stream, its pokes, its webhooks: what a client may be told, and how it may go wrong."""

import asyncio
import hashlib
import hmac
import json

import pytest

from deploy.emulators.unifi.envelope import Style
from deploy.emulators.unifi.notifications import FIRST_FRAME, HELLO_EVERY_S, HELLO_FRAME
from deploy.emulators.unifi.webhooks import EndpointBody
from deploy.emulators.unifi_access import UnifiAccessEmulator
from tests.deploy.unifi_desk import FRONT, NOON, SHED, SIDE, Desk

SCOPES = ("view:space", "edit:space", "view:device", "view:system_log", "view:webhook", "edit:webhook")
HOOK = {"name": "Site", "endpoint": "http://127.0.0.1:9/hooks/doors", "events": ["access.door.unlock", "access.device.dps_status"]}
STATE, ROW = "access.data.device.location_update_v2", "access.logs.add"


@pytest.fixture
async def desk():
    desk = Desk(tokens={"good": SCOPES}, log_delay_s=0.0)
    yield desk
    await desk.http.aclose()


def frames(listener) -> list[str]:
    found = []
    while not listener.queue.empty():
        found.append(listener.queue.get_nowait())
    return found


def events(listener) -> list[str]:
    return [json.loads(frame)["event"] for frame in frames(listener) if frame.startswith("{")]


@pytest.mark.parametrize(
    ("what", "told", "rows"),
    [
        ("denied", [ROW], [("BLOCKED", "NFC")]), ("button", [ROW, STATE], [("ACCESS", "REX")]), ("open", [STATE], []), ("close", [STATE], []),
        ("forced", [STATE], []), ("held", [STATE], []),
    ],
)  # fmt: skip
async def test_what_somebody_does_at_a_door_is_told_and_logged(desk, what, told, rows):
    listener = desk.box.notifications.join()
    await desk.tell("/poke", {"door_id": FRONT.id, "what": what})
    assert events(listener) == told
    hits = (await desk.ask("POST", "/system/logs", {"topic": "all"}))["data"]["hits"]
    assert [(hit["_source"]["event"]["result"], hit["_source"]["authentication"]["credential_provider"]) for hit in hits] == rows
    door = (await desk.ask("GET", f"/doors/{FRONT.id}"))["data"]
    assert door["door_position_status"] == ("open" if what in ("open", "forced", "held") else "close")
    assert door["door_lock_relay_status"] == ("unlock" if what == "button" else "lock")


async def test_a_console_that_writes_alarms_names_them_and_rows_may_have_ids(desk):
    desk.box.style = Style(alarm_rows=True, log_ids=True, log_event="access.logs.insights.add", state_event="access.data.v2.location.update")
    listener = desk.box.notifications.join()
    for what in ("forced", "held"):
        await desk.tell("/poke", {"door_id": FRONT.id, "what": what})
    assert events(listener) == ["access.data.v2.location.update", "access.logs.insights.add"] * 2
    hits = (await desk.ask("POST", "/system/logs", {"topic": "critical"}))["data"]["hits"]
    told = [(hit["_id"], hit["_source"]["event"]["display_message"]) for hit in hits]
    assert told == [("row-00000002", "Door Held Open"), ("row-00000001", "Door Forced Open")]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/poke", {"door_id": FRONT.id, "what": "explode"}), ("/poke", {"door_id": FRONT.id}),
        ("/faults", {"stream": {"lose": -1}}), ("/faults", {"stream": {"late_s": 1e9}}), ("/faults", {"silent_s": -1}),
        ("/faults", {"stream": {"explode": 1}}),
    ],
)  # fmt: skip
async def test_the_desk_refuses_pokes_and_scripts_that_make_no_sense(desk, path, body):
    answer = await desk.http.post("/_emulator" + path, json=body)
    assert answer.json()["code"] == "CODE_PARAMS_INVALID"
    assert desk.box.notifications.faults.lose == 0 and not desk.box.unlocks


async def test_a_door_that_does_not_exist_or_has_no_reader_cannot_be_poked(desk):
    for door_id, code in (("none", "CODE_NOT_EXISTS"), (SHED.id, "CODE_OPERATION_FORBIDDEN")):
        answer = await desk.http.post("/_emulator/poke", json={"door_id": door_id, "what": "button"})
        assert answer.json()["code"] == code


async def test_the_stream_greets_and_suffers_its_script(desk):
    listener = desk.box.notifications.join()
    desk.clock.forward(HELLO_EVERY_S)
    desk.box.advance()
    assert frames(listener) == [HELLO_FRAME]

    async def denied(script: dict) -> list[str]:
        await desk.tell("/faults", {"stream": script})
        for door in (FRONT, SIDE):
            desk.box.deny(door.id)
        return [json.loads(frame)["data"]["_source"]["target"][1]["display_name"] for frame in frames(listener) if frame.startswith("{")]

    assert await denied({}) == ["front", "side"]
    assert await denied({"lose": 1}) == ["side"]
    assert await denied({"duplicate": 1}) == ["front", "front", "side"]
    assert await denied({"swap": True}) == ["side", "front"]
    assert await denied({"late": 1, "late_s": 9}) == ["side"]
    desk.clock.forward(9)
    desk.box.advance()
    assert events(listener) == [ROW]
    await desk.tell("/faults", {"silent_s": 30})
    desk.clock.forward(10)
    desk.box.deny(FRONT.id)
    desk.box.advance()
    assert frames(listener) == []
    await desk.tell("/faults", {"clear": True})
    assert await denied({}) == ["front", "side"]


async def test_webhooks_are_kept_and_refused_as_documented(desk):
    made = (await desk.ask("POST", "/webhooks/endpoints", HOOK))["data"]
    assert len(made["secret"]) == 16 and made["events"] == HOOK["events"]
    assert (await desk.ask("GET", "/webhooks/endpoints"))["data"] == [made]
    assert await desk.refusal("POST", "/webhooks/endpoints", HOOK) == (200, "CODE_DEVICE_WEBHOOK_ENDPOINT_DUPLICATED")
    for wrong in ({"name": "x"}, HOOK | {"endpoint": "ftp://x"}, HOOK | {"endpoint": "http://y", "events": ["access.explode"]}):
        assert (await desk.refusal("POST", "/webhooks/endpoints", wrong))[1] == "CODE_PARAMS_INVALID"
    changed = (await desk.ask("PUT", f"/webhooks/endpoints/{made['id']}", {"events": ["access.door.unlock"]}))["data"]
    assert changed == made | {"events": ["access.door.unlock"]}
    assert (await desk.ask("DELETE", f"/webhooks/endpoints/{made['id']}"))["data"] is None
    assert (await desk.refusal("DELETE", f"/webhooks/endpoints/{made['id']}"))[1] == "CODE_NOT_EXISTS"


@pytest.mark.parametrize("spaced", [False, True])
async def test_a_webhook_is_signed_over_its_time_and_body_and_sent_once(desk, spaced):
    desk.box.webhooks.spaced = spaced
    made = (await desk.ask("POST", "/webhooks/endpoints", HOOK | {"headers": {"X-Site": "bedford"}}))["data"]
    await desk.ask("PUT", f"/doors/{FRONT.id}/unlock", {"actor_id": "a1", "actor_name": "Booking 1", "extra": {"request_id": "r"}})
    desk.box.move_leaf(FRONT.id, opened=True)
    desk.box.move_leaf(SIDE.id, opened=True)  # has no sensor
    unlock, moved = desk.box.webhooks.calls
    told = json.loads(unlock.body)
    assert (told["event"], told["data"]["location"]["id"], told["data"]["actor"]["name"]) == ("access.door.unlock", FRONT.id, "Boo***")
    assert told["data"]["object"]["extra"] == {"request_id": "r"}
    assert json.loads(moved.body)["data"]["object"] == {"event_type": "dps_change", "status": "open"}
    digest = hmac.new(made["secret"].encode(), f"{NOON}.".encode() + unlock.body, hashlib.sha256).hexdigest()
    assert unlock.headers["Signature"] == f"t={NOON},{' ' * spaced}v1={digest}" and unlock.headers["X-Site"] == "bedford"


async def test_a_webhook_is_posted_and_one_that_nobody_takes_is_not_tried_again(tmp_path):
    taken: list[bytes] = []

    async def receive(reader, writer) -> None:
        taken.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    emulator = UnifiAccessEmulator(doors=[FRONT], tokens={"good": SCOPES}, folder=tmp_path)
    await emulator.start()
    try:
        port = server.sockets[0].getsockname()[1]
        emulator.box.webhooks.create(EndpointBody("Site", f"http://127.0.0.1:{port}/hooks/doors", ["access.door.unlock"]))
        emulator.box.webhooks.create(EndpointBody("Gone", "http://127.0.0.1:9/", ["access.door.unlock"]))
        emulator.box.press_button(FRONT.id)
        async with asyncio.timeout(5):
            while not any(call.answer for call in emulator.box.webhooks.calls):
                await asyncio.sleep(0.01)
        assert len(taken) == 1 and b"POST /hooks/doors" in taken[0] and b"signature: t=" in taken[0].lower()
        assert [call.answer for call in emulator.box.webhooks.calls] == [204, 0]
    finally:
        await emulator.stop()
        server.close()


def test_the_first_frame_is_no_json_and_the_greetings_are():
    with pytest.raises(json.JSONDecodeError):
        json.loads(FIRST_FRAME)
    assert json.loads(HELLO_FRAME) == "Hello"
