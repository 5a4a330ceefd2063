"""Holds and blackouts over the API, in both territories."""

import pytest

from tests.cloud_hub.hub_world import LINE_AFTER, NOON, SITE

FAR = LINE_AFTER + 8
NEAR = 8


# ---- holds
@pytest.mark.parametrize("start", [FAR, NEAR], ids=["of the hub", "of the site"])
async def test_a_hold_keeps_the_time_for_its_booking_and_for_nobody_else(w, start):
    held = await w.post("/holds", {**w.time(1, start), "hold_id": "hold-0001"})
    assert (held.status_code, held.json()["status"]) == (201, "held")
    no = await w.post("/bookings", w.wish(1, start, booking_id="booking-0002", who=2))
    assert no.json()["code"] == "slot_taken"
    made = await w.post("/bookings", w.wish(1, start, hold_id="hold-0001"))
    assert made.status_code == 201 and made.json()["status"] == "confirmed"


async def test_a_hold_lasts_ten_minutes_and_is_extended_once(w):
    held = (await w.post("/holds", {**w.time(1, FAR), "hold_id": "hold-0001"})).json()
    assert held["expires_at"] == "2026-11-21T16:10:00Z" and NOON == 1795276800
    longer = await w.post("/holds/hold-0001/extend")
    assert longer.json()["expires_at"] == "2026-11-21T16:20:00Z" and longer.json()["extended"] is True
    again = await w.post("/holds/hold-0001/extend")
    assert (again.status_code, again.json()["code"]) == (409, "hold_ended")
    w.clock.forward(1201)
    assert await w.hub.holds.expire() == 1
    assert (await w.post("/holds", {**w.time(1, FAR), "hold_id": "hold-0001"})).json()["code"] == "hold_ended"
    assert (await w.post("/bookings", w.wish(1, FAR, who=2))).status_code == 201


async def test_the_same_hold_again_is_the_same_hold(w):
    wish = {**w.time(1, FAR), "hold_id": "hold-0001"}
    first, again = await w.post("/holds", wish), await w.post("/holds", wish)
    assert (first.status_code, again.status_code) == (201, 200) and first.json() == again.json()
    other = await w.post("/holds", {**w.time(2, FAR), "hold_id": "hold-0001"})
    assert (other.status_code, other.json()["code"]) == (409, "id_reused")


async def test_a_dropped_hold_frees_the_time(w):
    await w.post("/holds", {**w.time(1, FAR), "hold_id": "hold-0001"})
    assert (await w.ask("DELETE", "/holds/hold-0001")).status_code == 204
    assert (await w.ask("DELETE", "/holds/hold-0001")).status_code == 204
    assert (await w.post("/bookings", w.wish(1, FAR))).status_code == 201


async def test_a_held_time_is_refused_with_ways_out(w):
    await w.post("/holds", {**w.time(1, FAR), "hold_id": "hold-0001"})
    no = await w.post("/holds", {**w.time(1, FAR), "hold_id": "hold-0002"})
    assert (no.status_code, no.json()["code"]) == (409, "slot_taken") and no.json()["suggestions"]


async def test_a_time_of_the_site_is_not_held_in_a_cut(w):
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    no = await w.post("/holds", {**w.time(1, NEAR), "hold_id": "hold-0001"})
    assert (no.status_code, no.json()["code"]) == (409, "site_unreachable")
    assert (await w.post("/holds", {**w.time(1, FAR), "hold_id": "hold-0001"})).status_code == 201


async def test_an_unanswered_hold_is_202_and_held_when_the_answer_comes(w):
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)
    wish = {**w.time(1, NEAR), "hold_id": "hold-0001"}
    asked = await w.post("/holds", wish)
    assert (asked.status_code, asked.json()["status"], asked.json()["expires_at"]) == (202, "asked", None)
    w.network.heal(f"site-{SITE}")
    w.clock.forward(3)
    w.site.pump.tick()
    w.say_hello()
    await w.quiet()
    assert (await w.post("/holds", wish)).json()["status"] == "held"


@pytest.mark.parametrize("method_path", [("POST", "/holds/nobody-has-it/extend"), ("DELETE", "/holds/nobody-has-it")])
async def test_an_unknown_hold_is_not_found(w, method_path):
    no = await w.ask(*method_path)
    assert (no.status_code, no.json()["code"]) == (404, "hold_not_found")


async def test_nothing_is_held_at_a_bay_that_there_is_not(w):
    no = await w.post("/holds", {**w.time(1, FAR), "resource_id": f"{SITE}.box-99", "hold_id": "hold-0001"})
    assert (no.status_code, no.json()["code"]) == (404, "resource_not_found")


# ---- blackouts
async def test_a_blackout_is_made_by_the_site_and_takes_the_bay_out_of_sale(w):
    made = await w.post("/blackouts", {**w.time(1, FAR, 8), "kind": "maintenance", "reason": "net torn", "block_id": "block-0001"})
    assert (made.status_code, made.json()["status"]) == (201, "active")
    assert (await w.post("/bookings", w.wish(1, FAR))).json()["code"] == "slot_taken"
    listed = (await w.get(f"/blackouts?site_id={SITE}&from={w.iso(0)}&to={w.iso(96)}")).json()["blackouts"]
    assert [(b["id"], b["kind"], b["reason"]) for b in listed] == [("block-0001", "maintenance", "net torn")]
    ended = await w.ask("DELETE", "/blackouts/block-0001")
    assert (ended.status_code, ended.json()["status"]) == (200, "ended")
    assert (await w.post("/bookings", w.wish(1, FAR))).status_code == 201


async def test_a_blackout_displaces_who_is_there(w):
    await w.post("/bookings", w.wish(1, FAR))
    await w.quiet()
    await w.post("/blackouts", {**w.time(1, FAR), "block_id": "block-0001"})
    await w.until(lambda: w.hub.board.booking("booking-0001").displaced)
    assert (await w.get("/bookings/booking-0001")).json()["displaced"] is True


async def test_the_same_blackout_again_is_the_same_and_another_under_its_id_is_refused(w):
    wish = {**w.time(1, FAR), "block_id": "block-0001"}
    assert [(await w.post("/blackouts", wish)).status_code for _ in range(2)] == [201, 200]
    assert (await w.post("/blackouts", {**w.time(2, FAR), "block_id": "block-0001"})).json()["code"] == "id_reused"


async def test_a_dark_site_cannot_be_asked_for_a_blackout(w):
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    no = await w.post("/blackouts", {**w.time(1, FAR), "block_id": "block-0001"})
    assert (no.status_code, no.json()["code"]) == (409, "site_unreachable")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"kind": "party"}, 400, "bad_request"),
        ({"end": "2027-03-01T12:00:00Z"}, 422, "bad_interval"),
        ({"resource_id": "bedford.box-99"}, 404, "resource_not_found"),
        ({"resource_id": "nowhere.box-1"}, 404, "facility_not_found"),
    ],
)
async def test_an_impossible_blackout_is_refused(w, change, status, code):
    no = await w.post("/blackouts", {**w.time(1, FAR), "block_id": "block-0001", **change})
    assert (no.status_code, no.json()["code"]) == (status, code)


async def test_an_unknown_blackout_cannot_be_ended(w):
    assert (await w.ask("DELETE", "/blackouts/nobody-has-it")).json()["code"] == "block_not_found"


@pytest.mark.parametrize("query", ["", "?site_id=bedford", "?site_id=bedford&from=2026-11-21T00:00:00Z&to=2027-11-21T00:00:00Z",
                                   "?site_id=bedford&from=2026-11-22T00:00:00Z&to=2026-11-21T00:00:00Z",
                                   "?site_id=bedford&from=2026-11-21T00:00:00&to=2026-11-22T00:00:00"])  # fmt: skip
async def test_a_list_of_blackouts_needs_a_site_and_a_sound_range(w, query):
    assert (await w.get(f"/blackouts{query}")).status_code == 400
