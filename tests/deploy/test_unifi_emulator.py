"""The emulated door controller: what its developer API answers and what it refuses."""

import json

import pytest

from deploy.emulators.unifi.doors import FAR_FUTURE_AT
from deploy.emulators.unifi.envelope import Style
from deploy.emulators.unifi.routes import ROUTES
from tests.deploy.unifi_desk import API, FRONT, NOON, SHED, SIDE, VISITOR, Desk


@pytest.fixture
async def desk():
    desk = Desk()
    yield desk
    await desk.http.aclose()


# Token, scope, envelope


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "CODE_AUTH_FAILED"),
        ("Bearer bad", "CODE_ACCESS_TOKEN_INVALID"),
        ("Basic good", "CODE_ACCESS_TOKEN_INVALID"),
        ("Bearer", "CODE_AUTH_FAILED"),
    ],
)
async def test_without_the_right_token_nothing_is_answered(desk, header, code):
    headers = {"Authorization": header} if header else {"Authorization": ""}
    assert await desk.refusal("GET", "/doors", headers=headers) == (401, code)


async def test_a_token_is_held_to_its_scopes_for_every_call():
    desk = Desk(tokens={"good": []})
    for method, path, _, _ in ROUTES:
        await desk.ask(method, path.replace(":id", FRONT.id), status=403, code="CODE_UNAUTHORIZED")
    desk = Desk(tokens={"good": ["view:space"]}, style=Style(missing_scope_status=401))
    await desk.ask("PUT", f"/doors/{FRONT.id}/unlock", status=401, code="CODE_UNAUTHORIZED")
    assert not desk.box.unlocks


def test_a_scope_that_the_vendor_does_not_have_is_refused():
    with pytest.raises(ValueError, match="no such scope: edit:everything"):
        Desk(tokens={"good": ["edit:everything"]})


async def test_successes_come_in_three_shapes(desk):
    assert (await desk.ask("PUT", f"/doors/{FRONT.id}/unlock"))["data"] == "success"
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    assert "data" not in await desk.ask("PUT", f"/visitors/{visitor}/pin_codes", {"pin_code": "570121"})
    assert (await desk.ask("DELETE", f"/visitors/{visitor}"))["data"] is None


@pytest.mark.parametrize(("errors", "params", "pin"), [("200", 200, 200), ("4xx", 400, 402)])
async def test_business_errors_have_their_code_in_both_styles(errors, params, pin):
    desk = Desk(style=Style(business_errors=errors))
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    assert await desk.refusal("POST", "/visitors", {"first_name": "x"}) == (params, "CODE_PARAMS_INVALID")
    path = f"/visitors/{visitor}/pin_codes"
    assert await desk.refusal("PUT", path, {"pin_code": "1"}) == (pin, "CODE_CREDS_PIN_CODE_CREDS_LENGTH_INVALID")
    assert await desk.refusal("GET", "/visitors/none") == (404, "CODE_NOT_EXISTS")


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[]", b'{"pin_code": 5}', b'"\\ud800"', b"[" * 60_000, b"null"])
async def test_a_body_that_does_not_fit_is_refused_in_the_envelope(desk, body):
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    answer = await desk.http.put(f"{API}/visitors/{visitor}/pin_codes", content=body)
    assert answer.json()["code"] == "CODE_PARAMS_INVALID"


async def test_a_body_without_end_is_refused(desk):
    answer = await desk.http.post(f"{API}/visitors", content=b"x" * ((1 << 20) + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "CODE_PARAMS_INVALID")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "CODE_RESOURCE_NOT_FOUND"),
        ("POST", "/doors", 405, "CODE_OPERATION_FORBIDDEN"),
        ("PATCH", "/visitors", 405, "CODE_OPERATION_FORBIDDEN"),
        ("GET", "/visitors?page_num=0", 200, "CODE_PARAMS_INVALID"),
        ("GET", "/visitors?page_size=x", 200, "CODE_PARAMS_INVALID"),
        ("GET", "/visitors?status=7", 200, "CODE_PARAMS_INVALID"),
        ("GET", "/visitors?page_num=99999999999999999999", 200, "CODE_PARAMS_INVALID"),
    ],
)
async def test_paths_methods_and_queries_that_are_wrong_are_told(desk, method, path, status, code):
    assert await desk.refusal(method, path) == (status, code)


# Doors


async def test_doors_show_hub_and_sensor(desk):
    front, side, shed = (await desk.ask("GET", "/doors"))["data"]
    assert (front["is_bind_hub"], front["door_position_status"], front["door_lock_relay_status"]) == (True, "close", "lock")
    assert (side["door_position_status"], shed["is_bind_hub"]) == ("none", False)
    assert (await desk.ask("GET", f"/doors/{FRONT.id}"))["data"] == front
    building = (await desk.ask("GET", "/door_groups/topology"))["data"][0]
    assert [door["name"] for door in building["resource_topologies"][0]["resources"]] == ["front", "side", "shed"]


async def test_an_unlock_is_a_pulse_by_the_clock_with_its_row_in_the_log(desk):
    await desk.ask("PUT", f"/doors/{FRONT.id}/unlock", {"actor_id": "a1", "actor_name": "Booking 1", "extra": {"bay": 3}})
    assert (await desk.ask("GET", f"/doors/{FRONT.id}"))["data"]["door_lock_relay_status"] == "unlock"
    assert (await desk.ask("POST", "/system/logs", {"topic": "door_openings"}))["total"] == 0
    desk.clock.forward(5)
    assert (await desk.ask("GET", f"/doors/{FRONT.id}"))["data"]["door_lock_relay_status"] == "lock"
    told = await desk.ask("POST", "/system/logs", {"topic": "door_openings", "actor_id": "a1"})
    source = told["data"]["hits"][0]["_source"]
    assert (told["page"], told["total"]) == (1, 1)
    assert (source["actor"]["display_name"], source["event"]["result"], source["event"]["published"]) == (
        "Booking 1",
        "ACCESS",
        NOON * 1000,
    )
    assert {"UAH", "door", "floor"} <= {target["type"] for target in source["target"]}
    assert desk.box.unlocks[-1].extra == {"bay": 3}


@pytest.mark.parametrize("body", [{"actor_id": "a"}, {"actor_name": "A"}, {"actor_id": 5, "actor_name": "A"}, {"extra": []}])
async def test_an_unlock_with_half_an_actor_is_refused(desk, body):
    await desk.ask("PUT", f"/doors/{FRONT.id}/unlock", body, code="CODE_PARAMS_INVALID")
    assert not desk.box.unlocks


async def test_a_door_without_hub_or_with_its_hub_offline_does_not_open():
    desk = Desk(style=Style(unbound_code="CODE_DEVICE_DEVICE_NOT_FOUND"))
    await desk.ask("PUT", f"/doors/{SHED.id}/unlock", code="CODE_DEVICE_DEVICE_NOT_FOUND")
    await desk.tell("/door", {"door_id": FRONT.id, "offline": True})
    await desk.ask("PUT", f"/doors/{FRONT.id}/unlock", code="CODE_DEVICE_DEVICE_OFFLINE")
    assert not desk.box.unlocks


async def test_a_rule_in_minutes_holds_the_door_open_until_it_ends(desk):
    path = f"/doors/{FRONT.id}/lock_rule"
    assert (await desk.ask("GET", path))["data"] == {"type": "", "ended_time": 0}
    await desk.ask("PUT", path, {"type": "custom", "interval": 10})
    assert (await desk.ask("GET", path))["data"] == {"type": "custom", "ended_time": NOON + 600}
    assert (await desk.ask("GET", f"/doors/{FRONT.id}"))["data"]["door_lock_relay_status"] == "unlock"
    desk.clock.forward(600)
    assert (await desk.ask("GET", f"/doors/{FRONT.id}"))["data"]["door_lock_relay_status"] == "lock"
    assert (await desk.ask("GET", path))["data"]["type"] == ""


async def test_keep_lock_refuses_pins_until_it_is_reset(desk):
    path = f"/doors/{FRONT.id}/lock_rule"
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    await desk.ask("PUT", f"/visitors/{visitor}/pin_codes", {"pin_code": "570121"})
    await desk.ask("PUT", path, {"type": "keep_lock"})
    assert (await desk.ask("GET", path))["data"] == {"type": "keep_lock", "ended_time": FAR_FUTURE_AT}
    assert (await desk.tell("/reader", {"door_id": FRONT.id, "pin": "570121"}))["data"]["admitted"] is False
    await desk.ask("PUT", path, {"type": "reset"})
    assert (await desk.tell("/reader", {"door_id": FRONT.id, "pin": "570121"}))["data"]["admitted"] is True


async def test_a_running_schedule_is_ended_early_and_not_by_reset(desk):
    path = f"/doors/{FRONT.id}/lock_rule"
    await desk.ask("PUT", path, {"type": "lock_early"}, code="CODE_OPERATION_FORBIDDEN")
    await desk.tell("/door", {"door_id": FRONT.id, "schedule_until": NOON + 900})
    assert (await desk.ask("GET", path))["data"] == {"type": "schedule", "ended_time": NOON + 900}
    assert (await desk.ask("GET", f"/doors/{FRONT.id}"))["data"]["door_lock_relay_status"] == "unlock"
    await desk.ask("PUT", path, {"type": "lock_early"})
    await desk.ask("PUT", path, {"type": "reset"})
    assert (await desk.ask("GET", path))["data"]["type"] == "lock_early"
    assert (await desk.ask("GET", f"/doors/{FRONT.id}"))["data"]["door_lock_relay_status"] == "lock"


async def test_lock_now_ends_schedule_rule_and_pulse_together(desk):
    await desk.tell("/door", {"door_id": FRONT.id, "schedule_until": NOON + 900})
    await desk.ask("PUT", f"/doors/{FRONT.id}/lock_rule", {"type": "keep_unlock"})
    await desk.ask("PUT", f"/doors/{FRONT.id}/unlock")
    await desk.ask("PUT", f"/doors/{FRONT.id}/lock_rule", {"type": "lock_now"})
    assert (await desk.ask("GET", f"/doors/{FRONT.id}"))["data"]["door_lock_relay_status"] == "lock"


@pytest.mark.parametrize(
    "body", [{}, {"type": "open"}, {"type": "custom"}, {"type": "custom", "interval": 0}, {"type": "custom", "interval": "5"}]
)
async def test_a_rule_that_makes_no_sense_is_refused(desk, body):
    path = f"/doors/{FRONT.id}/lock_rule"
    before = (await desk.ask("GET", path))["data"]
    assert await desk.refusal("PUT", path, body) == (200, "CODE_PARAMS_INVALID")
    assert (await desk.ask("GET", path))["data"] == before


async def test_a_door_without_hub_takes_no_rule(desk):
    assert await desk.refusal("PUT", f"/doors/{SHED.id}/lock_rule", {"type": "reset"}) == (200, "CODE_DEVICE_API_NOT_SUPPORTED")


async def test_evacuation_opens_everything_and_lockdown_nothing(desk):
    await desk.ask("PUT", "/doors/settings/emergency", {"lockdown": False, "evacuation": True})
    assert [d["door_lock_relay_status"] for d in (await desk.ask("GET", "/doors"))["data"]] == ["unlock", "unlock", "lock"]
    await desk.ask("PUT", "/doors/settings/emergency", {"lockdown": True, "evacuation": False})
    await desk.ask("PUT", f"/doors/{FRONT.id}/unlock", code="CODE_OPERATION_FORBIDDEN")
    assert (await desk.ask("GET", "/doors/settings/emergency"))["data"] == {"lockdown": True, "evacuation": False}
    await desk.ask("PUT", "/doors/settings/emergency", {"lockdown": True}, code="CODE_PARAMS_INVALID")


async def test_devices_come_as_lists_in_a_list(desk):
    groups = (await desk.ask("GET", "/devices"))["data"]
    assert len(groups) == 2 and all(isinstance(group, list) for group in groups)
    hub, reader = groups[0]
    assert (hub["type"], hub["location_id"], hub["is_online"], reader["connected_uah_id"]) == ("UAH", FRONT.id, True, hub["id"])


# Visitors, PINs, QR


async def test_a_visitors_status_follows_the_clock(desk):
    visitor = (await desk.ask("POST", "/visitors", VISITOR | {"start_time": NOON + 60}))["data"]
    assert visitor["status"] == "ACTIVE"
    path = f"/visitors/{visitor['id']}"
    seen = [(await desk.ask("GET", path))["data"]["status"]]
    for seconds in (60, 3540):
        desk.clock.forward(seconds)
        seen.append((await desk.ask("GET", path))["data"]["status"])
    assert seen == ["UPCOMING", "ACTIVE", "NO_VISIT"]


async def test_a_visitor_who_came_in_is_visiting_and_then_has_visited(desk):
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    await desk.ask("PUT", f"/visitors/{visitor}/pin_codes", {"pin_code": "570121"})
    await desk.tell("/reader", {"door_id": FRONT.id, "pin": "570121"})
    assert (await desk.ask("GET", f"/visitors/{visitor}"))["data"]["status"] == "VISITING"
    desk.clock.forward(3600)
    assert (await desk.ask("GET", f"/visitors/{visitor}"))["data"]["status"] == "VISITED"


async def test_resources_are_hidden_behind_a_group_and_the_pin_behind_a_hash(desk):
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    await desk.ask("PUT", f"/visitors/{visitor}/pin_codes", {"pin_code": "570121"})
    data = (await desk.ask("GET", f"/visitors/{visitor}"))["data"]
    assert data["resources"][0]["name"] == f"visitor-{NOON * 1000}" and data["resources"][0]["id"] != FRONT.id
    assert len(data["pin_code"]["token"]) == 64 and "570121" not in json.dumps(data)


@pytest.mark.parametrize(
    "change",
    [
        {"first_name": ""}, {"start_time": "soon"}, {"end_time": NOON - 60}, {"end_time": NOON - 61}, {"start_time": -1}, {"end_time": 2**70},
        {"visit_reason": "Golf"}, {"last_name": "x" * 1025}, {"resources": [{"id": FRONT.id, "type": "window"}]},
        {"week_schedule": {"noday": []}}, {"week_schedule": {"monday": [{"start_time": "25:00:00", "end_time": "26:00:00"}]}},
        {"week_schedule": {"monday": [{"start_time": "10:00:00", "end_time": "09:00:00"}]}},
    ],
)  # fmt: skip
async def test_a_visitor_that_makes_no_sense_is_refused_and_changes_nothing(desk, change):
    await desk.ask("POST", "/visitors", VISITOR | change, code="CODE_PARAMS_INVALID")
    assert not desk.box.visitors.visitors
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]
    await desk.ask("PUT", f"/visitors/{visitor['id']}", change, code="CODE_PARAMS_INVALID")
    assert (await desk.ask("GET", f"/visitors/{visitor['id']}"))["data"] == visitor


async def test_an_update_changes_what_is_given_only(desk):
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]
    data = (await desk.ask("PUT", f"/visitors/{visitor['id']}", {"end_time": NOON + 60, "status": "CANCELLED"}))["data"]
    assert (data["end_time"], data["last_name"], data["status"]) == (NOON + 60, "Birdie", "ACTIVE")


async def test_a_visitor_for_an_unknown_door_is_refused(desk):
    wrong = VISITOR | {"resources": [{"id": "none", "type": "door"}]}
    assert await desk.refusal("POST", "/visitors", wrong) == (404, "CODE_RESOURCE_NOT_FOUND")
    assert not desk.box.visitors.visitors


async def test_a_cancel_keeps_the_record_and_its_pin_and_a_forced_one_deletes(desk):
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    await desk.ask("PUT", f"/visitors/{visitor}/pin_codes", {"pin_code": "570121"})
    await desk.ask("DELETE", f"/visitors/{visitor}?is_force=maybe", code="CODE_PARAMS_INVALID")
    await desk.ask("DELETE", f"/visitors/{visitor}")
    data = (await desk.ask("GET", f"/visitors/{visitor}"))["data"]
    assert data["status"] == "CANCELLED" and data["pin_code"]
    assert (await desk.tell("/reader", {"door_id": FRONT.id, "pin": "570121"}))["data"]["admitted"] is False
    await desk.ask("DELETE", f"/visitors/{visitor}?is_force=true")
    await desk.ask("GET", f"/visitors/{visitor}", status=404, code="CODE_NOT_EXISTS")


async def test_lists_are_paged_and_a_keyword_beats_the_status(desk):
    for number in range(30):
        await desk.ask("POST", "/visitors", VISITOR | {"last_name": f"Birdie{number:02}"})
        desk.clock.forward(1)
    page = await desk.ask("GET", "/visitors?page_num=2&page_size=25")
    assert page["pagination"] == {"page_num": 2, "page_size": 25, "total": 30} and len(page["data"]) == 5
    assert page["data"][0]["remarks"] == ""
    assert (await desk.ask("GET", "/visitors?status=4"))["data"] == []
    assert [row["last_name"] for row in (await desk.ask("GET", "/visitors?status=4&keyword=birdie07"))["data"]] == ["Birdie07"]
    assert (await desk.ask("GET", "/visitors?keyword=irdie"))["data"] == []
    bare = (await desk.ask("GET", "/visitors?page_size=1&expand[]=none"))["data"][0]
    assert not {"pin_code", "resources", "schedule"} & set(bare)


async def test_pins_are_suggested_free_and_belong_to_one_holder(desk):
    pin = (await desk.ask("POST", "/credentials/pin_codes"))["data"]
    assert len(pin) == 6 and pin.isdigit()
    one, two = [(await desk.ask("POST", "/visitors", VISITOR))["data"]["id"] for _ in range(2)]
    await desk.ask("PUT", f"/visitors/{one}/pin_codes", {"pin_code": pin})
    await desk.ask("PUT", f"/visitors/{two}/pin_codes", {"pin_code": pin}, code="CODE_CREDS_PIN_CODE_CREDS_ALREADY_EXIST")
    await desk.ask("DELETE", f"/visitors/{one}/pin_codes")
    await desk.ask("PUT", f"/visitors/{two}/pin_codes", {"pin_code": pin})
    await desk.ask("PUT", f"/visitors/{two}/pin_codes", {"pin_code": "12345a"}, code="CODE_PARAMS_INVALID")
    await desk.ask("PUT", "/visitors/none/pin_codes", {"pin_code": pin}, status=404, code="CODE_NOT_EXISTS")


async def test_a_qr_code_is_a_png_that_the_reader_knows(desk):
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    path = f"/credentials/qr_codes/download/{visitor}"
    await desk.ask("GET", path, status=404, code="CODE_RESOURCE_NOT_FOUND")
    assert (await desk.ask("PUT", f"/visitors/{visitor}/qr_codes"))["data"] is None
    picture = await desk.http.get(API + path)
    assert picture.headers["content-type"] == "image/png" and picture.content.startswith(b"\x89PNG")
    text = desk.box.visitors.get(visitor).qr_text
    assert (await desk.tell("/reader", {"door_id": FRONT.id, "qr": text}))["data"]["admitted"] is True
    await desk.ask("DELETE", f"/visitors/{visitor}/qr_codes")
    assert (await desk.tell("/reader", {"door_id": FRONT.id, "qr": text}))["data"]["admitted"] is False


# Readers and the log


async def test_a_reader_says_why_it_stays_shut_and_logs_it(desk):
    visitor = (await desk.ask("POST", "/visitors", VISITOR))["data"]["id"]
    await desk.ask("PUT", f"/visitors/{visitor}/pin_codes", {"pin_code": "570121"})
    assert (await desk.tell("/reader", {"door_id": FRONT.id, "pin": "111111"}))["data"]["reason"] == "Unknown credential"
    assert (await desk.tell("/reader", {"door_id": SIDE.id, "pin": "570121"}))["data"]["reason"] == "No permission for this door"
    desk.clock.forward(7200)
    assert (await desk.tell("/reader", {"door_id": FRONT.id, "pin": "570121"}))["data"]["reason"] == "Outside the visit's time"
    desk.clock.forward(1)
    hits = (await desk.ask("POST", "/system/logs", {"topic": "door_openings"}))["data"]["hits"]
    assert [hit["_source"]["event"]["result"] for hit in hits] == ["BLOCKED"] * 3
    assert not desk.box.unlocks


async def test_a_weekly_plan_is_read_in_the_consoles_time(desk):
    # NOON is Friday 15 January 2027, 08:00 UTC: 04:00 in Halifax.
    week = {"friday": [{"start_time": "04:00:00", "end_time": "04:30:00"}]}
    visitor = (await desk.ask("POST", "/visitors", VISITOR | {"week_schedule": week}))["data"]
    assert visitor["schedule"]["weekly"]["friday"] == week["friday"]
    await desk.ask("PUT", f"/visitors/{visitor['id']}/pin_codes", {"pin_code": "570121"})
    assert (await desk.tell("/reader", {"door_id": FRONT.id, "pin": "570121"}))["data"]["admitted"] is True
    desk.clock.forward(1801)
    assert (await desk.tell("/reader", {"door_id": FRONT.id, "pin": "570121"}))["data"]["admitted"] is False


async def test_staff_of_the_console_open_every_door_with_their_own_pin():
    desk = Desk(staff_pins=("998877",))
    assert (await desk.tell("/reader", {"door_id": SIDE.id, "pin": "998877"}))["data"]["admitted"] is True
    await desk.ask("PUT", "/doors/settings/emergency", {"lockdown": True, "evacuation": False})
    assert (await desk.tell("/reader", {"door_id": SIDE.id, "pin": "998877"}))["data"]["admitted"] is False


async def test_the_log_is_searched_by_topic_and_time_and_paged(desk):
    for _ in range(5):
        await desk.ask("PUT", f"/doors/{FRONT.id}/unlock")
        desk.clock.forward(10)
    await desk.ask("POST", "/visitors", VISITOR)
    desk.clock.forward(10)
    told = await desk.ask("POST", "/system/logs?page_num=2&page_size=2", {"topic": "door_openings"})
    assert (told["page"], told["total"], len(told["data"]["hits"])) == (2, 5, 2)
    window = {"topic": "door_openings", "since": NOON + 10, "until": NOON + 20}
    assert (await desk.ask("POST", "/system/logs", window))["total"] == 2
    assert (await desk.ask("POST", "/system/logs", {"topic": "visitor"}))["total"] == 1
    assert (await desk.ask("POST", "/system/logs", {"topic": "all"}))["total"] == 6
    for wrong in ({}, {"topic": "golf"}, {"topic": "all", "since": "x"}):
        await desk.ask("POST", "/system/logs", wrong, code="CODE_PARAMS_INVALID")
