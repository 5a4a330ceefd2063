"""Selling at the site by its API: offline as on the link, good requests and bad ones."""

import uuid

from tests.site_agent.site_world import NOON, SITE, code_of


async def test_a_walk_in_is_confirmed_offline_with_pin_and_pass(world):
    answer = await world.kiosk.post("/api/bookings", world.wish(1, 0))
    booking = answer.json()["booking"]
    assert (answer.status_code, answer.json()["state"], booking["status"]) == (201, "done", "confirmed")
    assert booking["pin"].isdigit() and len(booking["pin"]) == 6 and booking["pass"].startswith("CB1.")
    assert booking["price"]["total_cents"] == 3990 and booking["channel"] == "kiosk" and booking["bay"] == "Box 1"


async def test_the_same_id_and_body_again_is_the_same_booking(world):
    wish = world.wish(1, 0)
    first, again = await world.kiosk.post("/api/bookings", wish), await world.kiosk.post("/api/bookings", wish)
    assert again.status_code == 201 and again.json()["booking"]["pin"] == first.json()["booking"]["pin"]
    other = await world.kiosk.post("/api/bookings", {**wish, "start": world.at(4), "end": world.at(6)})
    assert code_of(other) == (409, "id_reused")


async def test_a_taken_time_is_refused_with_priced_ways_out(world):
    await world.booked(1, 0)
    answer = await world.kiosk.post("/api/bookings", world.wish(1, 1))
    assert code_of(answer) == (409, "slot_taken")
    ways = answer.json()["suggestions"]
    assert ways and all(way["total_cents"] > 0 and way["instant"] for way in ways)


async def test_far_times_are_refused_while_dark_and_say_so(world):
    answer = await world.kiosk.post("/api/bookings", world.wish(2, 20))
    assert code_of(answer) == (409, "hub_unreachable") and "retry-after" in answer.headers


async def test_far_times_are_asked_of_the_hub_and_confirmed_when_it_answers(linked):
    answer = await linked.kiosk.post("/api/bookings", linked.wish(2, 20))
    assert (answer.status_code, answer.json()["booking"]["status"]) == (201, "confirmed")
    assert answer.json()["booking"]["pin"] and answer.json()["booking"]["owner"] == "hub"


async def test_a_hub_that_says_no_is_a_refusal(linked):
    linked.hub.sell(2, 20)
    linked.hub.pump.transport.publish = lambda *a, **k: None  # what the hub says is lost, so the site does not know of the sale
    asked = await linked.kiosk.post("/api/bookings", linked.wish(2, 20))
    assert (asked.status_code, asked.json()["state"]) == (202, "asked") and asked.headers["location"].endswith(asked.json()["booking"]["id"])
    del linked.hub.pump.transport.publish
    linked.clock.forward(3)
    linked.hub.pump.tick()
    booking_id = asked.json()["booking"]["id"]

    def settled() -> bool:
        return linked.kit.bookings._db.read(lambda tx: tx.one("SELECT status FROM bookings WHERE id = :i", {"i": booking_id}))[0] == "declined"

    await linked.until(settled)
    assert (await linked.staff.get(f"/api/bookings/{booking_id}")).json()["status"] == "declined"


async def test_a_hold_keeps_the_time_for_whoever_has_it(world):
    hold_id = str(uuid.uuid4())
    times = {key: value for key, value in world.wish(1, 0).items() if key in ("resource_id", "start", "end")}
    held = await world.kiosk.post("/api/holds", {**times, "hold_id": hold_id})
    assert held.status_code == 201 and held.json()["status"] == "held"
    assert code_of(await world.staff.post("/api/bookings", world.wish(1, 0))) == (409, "slot_taken")
    assert (await world.kiosk.post(f"/api/holds/{hold_id}/extend")).status_code == 200
    assert code_of(await world.kiosk.post(f"/api/holds/{hold_id}/extend")) == (409, "hold_ended")
    assert (await world.kiosk.post("/api/bookings", world.wish(1, 0, hold_id=hold_id))).status_code == 201


async def test_an_expired_hold_frees_the_time(world):
    times = {key: value for key, value in world.wish(1, 2).items() if key in ("resource_id", "start", "end")}
    await world.kiosk.post("/api/holds", {**times, "hold_id": str(uuid.uuid4())})
    world.clock.forward(601)
    await world.kit.bookings.expire()
    assert (await world.staff.post("/api/bookings", world.wish(1, 2))).status_code == 201


async def test_a_quote_is_honoured_and_a_made_up_one_is_not(world):
    wish = world.wish(1, 0)
    quote = await world.kiosk.post("/api/quotes", {key: wish[key] for key in ("resource_id", "start", "end")})
    assert quote.status_code == 200 and quote.json()["price"]["total_cents"] == 3990 and not quote.json()["violations"]
    assert (await world.kiosk.post("/api/bookings", {**wish, "quote": quote.json()["quote"]})).status_code == 201
    forged = await world.kiosk.post("/api/bookings", world.wish(1, 4, quote=quote.json()["quote"]))
    assert code_of(forged) == (422, "quote_invalid")


async def test_moving_keeps_the_pin_and_frees_the_old_time(world):
    old = await world.booked(1, 0)
    new_id = str(uuid.uuid4())
    body = {"booking_id": new_id, "resource_id": f"{SITE}.box-1", "start": world.at(4), "end": world.at(6)}
    moved = await world.staff.post(f"/api/bookings/{old['id']}/reschedule", body)
    assert moved.status_code == 201 and moved.json()["booking"]["pin"] == old["pin"] and moved.json()["booking"]["changes"] == 1
    assert (await world.staff.get(f"/api/bookings/{old['id']}")).json()["status"] == "cancelled"
    assert (await world.staff.post("/api/bookings", world.wish(1, 0))).status_code == 201


async def test_extending_takes_the_next_slots_or_is_refused(world):
    first = await world.booked(1, 0)
    longer = await world.staff.post(f"/api/bookings/{first['id']}/extend", {"booking_id": str(uuid.uuid4()), "minutes": 30})
    assert longer.status_code == 201 and longer.json()["booking"]["end"] == world.at(3)
    await world.booked(1, 3)
    taken = await world.staff.post(
        f"/api/bookings/{longer.json()['booking']['id']}/extend", {"booking_id": str(uuid.uuid4()), "minutes": 30}
    )
    assert code_of(taken) == (409, "slot_taken")


async def test_cancelling_frees_the_time_and_tells_the_refund(world):
    booking = await world.booked(1, 4)
    answer = await world.staff.post(f"/api/bookings/{booking['id']}/cancel", {"reason": "guest called"})
    assert answer.status_code == 200 and answer.json()["booking"]["status"] == "cancelled" and answer.json()["refund_cents"] == 3990
    again = await world.staff.post(f"/api/bookings/{booking['id']}/cancel", {})
    assert code_of(again) == (409, "already_cancelled")
    assert (await world.staff.post("/api/bookings", world.wish(1, 4))).status_code == 201


async def test_cancelling_the_hubs_booking_is_asked_of_the_hub(linked):
    sold = linked.hub.sell(3, 30)
    await linked.quiet()
    answer = await linked.staff.post(f"/api/bookings/{sold.id}/cancel", {})
    assert (answer.status_code, answer.json()["booking"]["status"]) == (200, "cancelled")
    other = linked.hub.sell(3, 34)
    await linked.quiet()
    linked.cut()
    asked = await linked.staff.post(f"/api/bookings/{other.id}/cancel", {})
    assert (asked.status_code, asked.json()["state"]) == (202, "asked")


async def test_an_override_needs_the_right_a_reason_and_a_line_to_step_over(world):
    far = world.wish(2, 20, override_reason="standing here, link dark")
    sam = await world.signed_in("sam")
    assert code_of(await sam.post("/api/bookings", far)) == (403, "not_allowed")
    assert code_of(await world.staff.post("/api/bookings", {**far, "override_reason": "x"})) == (400, "bad_request")
    sold = await world.staff.post("/api/bookings", far)
    assert sold.status_code == 201 and sold.json()["booking"]["override"] is True
    assert any(row[2] == "override" and row[4] == "standing here, link dark" for row in world.journal())
    near = await world.staff.post("/api/bookings", world.wish(1, 2, override_reason="not needed here"))
    assert near.status_code == 201 and "override" not in near.json()["booking"]


async def test_an_override_yields_to_the_web_sale_and_comes_up_as_a_conflict(linked):
    linked.cut()
    await linked.until(lambda: not linked.kit.link.up())
    over = await linked.staff.post("/api/bookings", linked.wish(2, 20, override_reason="standing here"))
    assert over.status_code == 201, over.text
    web = linked.hub.sell(2, 20)
    linked.network.heal("site")
    await linked.linked()
    conflicts = (await linked.staff.get("/api/conflicts")).json()
    assert [one["booking"]["id"] for one in conflicts] == [over.json()["booking"]["id"]] and conflicts[0]["ways"]
    assert (await linked.staff.get(f"/api/bookings/{web.id}")).json().get("displaced", False) is False


async def test_a_block_displaces_and_staff_reseat_near_the_start(world):
    booking = await world.booked(1, 0)
    block = {"block_id": str(uuid.uuid4()), "resource_id": f"{SITE}.box-1", "start": world.at(0), "end": world.at(4), "kind": "maintenance", "reason": "lamp"}
    assert (await world.staff.post("/api/blocks", block)).status_code == 201
    (conflict,) = (await world.staff.get("/api/conflicts")).json()
    here = [way for way in conflict["ways"] if way["here"]]
    assert conflict["booking"]["id"] == booking["id"] and here
    refused = await world.kiosk.post("/api/check-in", {"code": booking["pin"]})
    assert code_of(refused) == (409, "displaced") and refused.json()["suggestions"]
    seated = await world.staff.post(f"/api/bookings/{booking['id']}/reseat", {"resource_id": here[0]["resource_id"]})
    assert seated.status_code == 200 and seated.json()["seat"] == here[0]["resource_id"]
    assert (await world.staff.get("/api/conflicts")).json() == []
    came = await world.kiosk.post("/api/check-in", {"code": booking["pin"]})
    assert came.status_code == 200 and came.json()["bay"] == here[0]["bay"]
    assert (await world.staff.delete(f"/api/blocks/{block['block_id']}")).json()["status"] == "ended"
    assert (await world.staff.get("/api/blocks", date="2026-11-21")).json()[0]["status"] == "ended"


async def test_availability_has_an_etag_and_changes_with_a_sale(world):
    first = await world.kiosk.get("/api/availability", date="2026-11-21")
    assert first.status_code == 200 and len(first.json()["rows"]) == 48 and first.json()["link"] == "dark"
    same = await world.kiosk.http.get("/api/availability?date=2026-11-21", headers={"if-none-match": first.headers["etag"]})
    assert same.status_code == 304
    await world.booked(1, 2)
    other = await world.kiosk.http.get("/api/availability?date=2026-11-21", headers={"if-none-match": first.headers["etag"]})
    assert other.status_code == 200 and other.headers["etag"] != first.headers["etag"]


async def test_the_board_has_the_rows_of_the_day_also_when_clocks_change(world):
    for day, rows in (("2026-03-08", 46), ("2026-11-01", 50), ("2026-11-21", 48)):
        assert len((await world.staff.get("/api/board", date=day)).json()["rows"]) == rows


async def test_staff_see_of_a_guest_without_number_and_mail_address_that_no_message_reaches_them(world):
    for bay, contact, untold in ((1, {"phone": ""}, True), (2, {"phone": "", "email": "testa@example.test"}, False), (3, {}, False)):
        booking = await world.booked(bay, 2, **contact)
        assert (await world.staff.get(f"/api/bookings/{booking['id']}")).json().get("untold", False) is untold, contact
        assert "untold" not in (await (await world.signed_in("vi")).get(f"/api/bookings/{booking['id']}")).json()


async def test_a_kiosk_sees_initials_only_and_reads_only_its_own_sales(world):
    await world.booked(1, 0)
    (seen,) = (await world.kiosk.get("/api/bookings", date="2026-11-21")).json()
    assert seen["name"] == "T. B." and not {"pin", "phone", "pass"} & seen.keys()
    assert code_of(await world.kiosk.get(f"/api/bookings/{seen['id']}")) == (404, "booking_not_found")
    own = (await world.kiosk.post("/api/bookings", world.wish(1, 4))).json()["booking"]
    assert (await world.kiosk.get(f"/api/bookings/{own['id']}")).json()["pin"] == own["pin"]
    world.clock.forward(1801)
    assert (await world.kiosk.get(f"/api/bookings/{own['id']}")).status_code == 404


BAD_BODIES = [
    ({"start": "2026-11-21T16:07:00Z"}, 422, "bad_interval"),
    ({"start": "2026-11-21T16:00:00"}, 400, "bad_request"),
    ({"start": "tomorrow"}, 400, "bad_request"),
    ({"end": "2026-11-21T15:00:00Z"}, 422, "bad_interval"),
    ({"end": "2031-11-21T15:00:00Z"}, 422, "bad_interval"),
    ({"end": "9999-12-31T23:45:00Z"}, 422, "bad_interval"),
    ({"start": "0001-01-01T00:00:00+14:00"}, 422, "bad_interval"),
    ({"booking_id": "x"}, 400, "bad_request"),
    ({"booking_id": "a/../../b-1234"}, 400, "bad_request"),
    ({"resource_id": "bedford.box-9"}, 404, "resource_not_found"),
    ({"resource_id": "'; DROP TABLE bookings"}, 400, "bad_request"),
    ({"guests": 0}, 400, "bad_request"),
    ({"guests": 99}, 422, "rules_violated"),
    ({"phone": "call me"}, 400, "bad_request"),
    ({"email": "nobody"}, 400, "bad_request"),
    ({"name": ""}, 400, "bad_request"),
    ({"name": "x" * 81}, 400, "bad_request"),
    ({"price": 1}, 400, "bad_request"),
    ({"quote": "CQ1.AAAA"}, 422, "quote_invalid"),
    ({"customer_id": "nobody-at-all"}, 404, "customer_not_found"),
    ({"end": "2026-11-21T16:30:00Z"}, 422, "rules_violated"),
]


async def test_a_bad_booking_is_refused_with_a_sentence_and_changes_nothing(world):
    for wrong, status, code in BAD_BODIES:
        answer = await world.kiosk.post("/api/bookings", {**world.wish(1, 0), **wrong})
        assert (wrong, *code_of(answer)) == (wrong, status, code) and answer.json()["detail"].endswith(".")
    assert world.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM bookings"))[0] == 0
    assert world.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM claims"))[0] == 0


async def test_bad_addresses_are_4xx_problems(world):
    paths = ("/api/bookings/none-such-1", "/api/bookings/%00", "/api/board?date=2026-02-30", "/api/availability", "/api/availability?date=1500-01-01")
    for path in paths:
        answer = await world.staff.get(path)
        assert 400 <= answer.status_code < 500 and answer.json()["code"], path


async def test_link_state_says_dark_since_and_what_waits(world):
    state = (await world.staff.get("/api/link")).json()
    assert (state["link"], state["configured"], state["since_at"]) == ("dark", False, NOON) and state["waiting"] >= 5


async def test_link_state_says_up_and_dark_again_after_a_cut(linked):
    state = (await linked.staff.get("/api/link")).json()
    assert (state["link"], state["waiting"], state["stopped"]) == ("up", 0, "")
    linked.cut()
    linked.clock.forward(20)
    state = (await linked.staff.get("/api/link")).json()
    assert (state["link"], state["since_at"]) == ("dark", NOON + 20)


async def test_the_pass_goes_half_an_hour_after_the_end(world):
    """D2, at the site: for staff and for the kiosk that has just sold it."""
    booking = (await world.kiosk.post("/api/bookings", world.wish(1, 0))).json()["booking"]
    path = f"/api/bookings/{booking['id']}"
    world.clock.forward(1799)
    assert (await world.kiosk.get(path)).json()["pass"].startswith("CB1.")
    world.clock.forward(3600)
    assert (await world.staff.get(path)).json()["pass"].startswith("CB1.")
    world.clock.forward(1)
    over = (await world.staff.get(path)).json()
    assert "pass" not in over and over["pin"] == booking["pin"]
    assert code_of(await world.kiosk.get(path)) == (404, "booking_not_found")
