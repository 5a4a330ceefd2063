"""Booking over the API: sold at once in the hub's territory, asked of the site in the site's, refused with reasons and ways out."""

import asyncio

import pytest

from shared.ledger import attendance, claims
from shared.model import Interval
from tests.cloud_hub.hub_world import LINE_AFTER, NOON, SITE, opened

FAR = LINE_AFTER + 8  # 22:00 that night: the hub's
NEAR = 8  # 14:00: the site's


async def test_the_hub_sells_its_own_time_at_once(w):
    made = await w.post("/bookings", w.wish(1, FAR))
    assert made.status_code == 201
    assert made.headers["location"] == "/api/v1/bookings/booking-0001"
    booking = made.json()
    assert (booking["status"], booking["seller"], booking["resource"], booking["channel"]) == ("confirmed", "hub", "Box 1", "api")
    assert booking["start"] == w.iso(FAR) and booking["end"] == w.iso(FAR + 4)
    assert len(booking["reference"]) == 7 and len(booking["pin"]) >= 6
    assert booking["price"]["total_cents"] == sum(line["cents"] for line in booking["price"]["lines"])


async def test_the_site_hears_of_the_sale_and_keeps_the_same_booking(w):
    made = (await w.post("/bookings", w.wish(1, FAR))).json()
    await w.until(lambda: w.site.booking("booking-0001") is not None)
    there = w.site.booking("booking-0001")
    assert (there.status, there.sale_no, there.pin) == ("confirmed", made["sale_no"], made["pin"])


async def test_time_of_the_site_is_asked_of_the_site_and_confirmed_by_it(w):
    made = await w.post("/bookings", w.wish(2, NEAR))
    assert made.status_code == 201
    assert (made.json()["status"], made.json()["seller"]) == ("confirmed", "site")
    assert made.json()["pin"] == w.site.booking("booking-0001").pin


async def test_a_site_that_does_not_answer_in_time_makes_it_202_and_the_news_comes_later(w):
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)
    asked = await w.post("/bookings", w.wish(2, NEAR))
    assert asked.status_code == 202
    assert asked.headers["retry-after"] == "2" and asked.json()["status"] == "requested" and asked.json()["answer_by"]
    assert asked.json()["pin"] == ""
    w.network.heal(f"site-{SITE}")
    w.clock.forward(3)
    w.site.pump.tick()
    w.site.pump.hello()
    await w.until(lambda: w.hub.board.booking("booking-0001").status == "confirmed")
    assert (await w.get("/bookings/booking-0001")).json()["status"] == "confirmed"


async def test_the_same_request_again_is_the_same_booking(w):
    first = await w.post("/bookings", w.wish(1, FAR))
    again = await w.post("/bookings", w.wish(1, FAR))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()


async def test_another_spelling_of_the_same_moment_is_the_same_request(w):
    wish = w.wish(1, FAR)
    await w.post("/bookings", wish)
    wish["start"] = wish["start"].replace("Z", "+00:00")
    assert (await w.post("/bookings", wish)).status_code == 200


@pytest.mark.parametrize("change", [{"guests": 3}, {"notes": "left-handed"}, {"end": "2026-11-22T04:30:00Z"}])
async def test_the_same_id_with_another_body_is_refused(w, change):
    await w.post("/bookings", w.wish(1, FAR))
    other = await w.post("/bookings", {**w.wish(1, FAR), **change})
    assert (other.status_code, other.json()["code"]) == (409, "id_reused")


async def test_an_idempotency_key_stands_for_an_id(w):
    wish = w.wish(1, FAR)
    del wish["booking_id"]
    first = await w.post("/bookings", wish, idempotency_key="order 4711")
    again = await w.post("/bookings", wish, idempotency_key="order 4711")
    assert (first.status_code, again.status_code) == (201, 200) and first.json()["id"] == again.json()["id"]
    other = await w.post("/bookings", {**wish, "guests": 2}, idempotency_key="order 4711")
    assert other.json()["code"] == "id_reused"


async def test_the_same_idempotency_key_of_another_caller_is_another_booking(w):
    wish = w.wish(1, FAR)
    del wish["booking_id"]
    mine = await w.post("/bookings", wish, idempotency_key="order 4711")
    theirs = await w.post("/bookings", {**wish, **w.time(2, FAR)}, idempotency_key="order 4711", key=await w.new_key("bookings:write"))
    assert theirs.status_code == 201 and theirs.json()["id"] != mine.json()["id"]


async def test_without_an_id_and_without_a_key_nothing_is_booked(w):
    wish = w.wish(1, FAR)
    del wish["booking_id"]
    no = await w.post("/bookings", wish)
    assert no.status_code == 400 and "Idempotency-Key" in no.json()["detail"]


async def test_a_taken_time_is_refused_with_priced_ways_out(w):
    await w.post("/bookings", w.wish(1, FAR))
    no = await w.post("/bookings", w.wish(1, FAR, booking_id="booking-0002", who=2))
    assert (no.status_code, no.json()["code"]) == (409, "slot_taken")
    ways = no.json()["suggestions"]
    assert len(ways) == 3 and all(way["total_cents"] > 0 and way["currency"] == "CAD" for way in ways)
    assert ways[0] == {**ways[0], "resource_id": f"{SITE}.box-2", "start": w.iso(FAR), "instant": True}


async def test_a_suggested_way_can_be_booked_as_it_is(w):
    await w.post("/bookings", w.wish(1, FAR))
    way = (await w.post("/bookings", w.wish(1, FAR, booking_id="booking-0002", who=2))).json()["suggestions"][0]
    taken = await w.post(
        "/bookings", {**w.wish(1, FAR, booking_id="booking-0003", who=2), **{k: way[k] for k in ("resource_id", "start", "end")}}
    )
    assert taken.status_code == 201 and taken.json()["price"]["total_cents"] == way["total_cents"]


async def test_what_the_site_has_sold_is_declined_by_it_with_ways_out(w):
    start = NOON // 900 + NEAR
    w.site.db.write_now(
        lambda tx: claims.take(tx, w.site.desk, f"{SITE}.box-2", Interval(start, start + 4), "booking", "sold-at-the-kiosk")
    )
    no = await w.post("/bookings", w.wish(2, NEAR))
    assert (no.status_code, no.json()["code"]) == (409, "slot_taken")
    assert no.json()["suggestions"]
    assert (await w.get("/bookings/booking-0001")).json()["status"] == "declined"


async def test_two_at_once_get_one_bay_between_them(w):
    wishes = [w.wish(1, FAR, booking_id=f"booking-{n:04d}", who=n) for n in range(1, 9)]
    answers = await asyncio.gather(*(w.post("/bookings", wish) for wish in wishes))
    assert sorted(a.status_code for a in answers) == [201] + [409] * 7


async def test_broken_rules_are_named_each(w):
    no = await w.post("/bookings", w.wish(1, FAR, slots=2, guests=9))
    assert no.status_code == 422
    broken = {v["code"]: v for v in no.json()["violations"]}
    assert {"duration_too_short", "too_many_guests"} <= broken.keys()
    assert broken["duration_too_short"]["rule"] == "R2" and broken["duration_too_short"]["message"].endswith(".")


async def test_a_third_open_booking_of_one_customer_is_refused(w):
    for n in (1, 2):
        assert (await w.post("/bookings", w.wish(n, FAR, booking_id=f"booking-{n:04d}"))).status_code == 201
    no = await w.post("/bookings", w.wish(3, FAR, booking_id="booking-0003"))
    assert no.status_code == 422 and no.json()["violations"][0]["rule"] == "R5"


async def test_several_bays_are_one_order(w):
    wish = w.wish(1, FAR, guests=8)
    parts = [{**w.time(n, FAR), "booking_id": f"booking-{n:04d}"} for n in (1, 2, 3)]
    made = await w.post("/bookings", {"parts": parts, "customer": wish["customer"], "guests": 8})
    assert made.status_code == 201
    order = made.json()
    assert [b["id"] for b in order["bookings"]] == ["booking-0001", "booking-0002", "booking-0003"]
    assert {b["order_id"] for b in order["bookings"]} == {order["order_id"]} == {"booking-0001"}
    assert (await w.post("/bookings", {"parts": parts, "customer": wish["customer"], "guests": 8})).status_code == 200


async def test_a_group_over_the_line_is_settled_by_the_site_as_one(w):
    wish = w.wish(1, FAR)
    parts = [{**w.time(1, FAR), "booking_id": "booking-far1"}, {**w.time(2, NEAR), "booking_id": "booking-near"}]
    made = await w.post("/bookings", {"parts": parts, "customer": wish["customer"]})
    assert made.status_code == 201
    assert {b["id"]: b["seller"] for b in made.json()["bookings"]} == {"booking-far1": "hub", "booking-near": "site"}


async def test_a_time_across_the_line_is_handed_over_and_sold_by_the_site(w):
    made = await w.post("/bookings", w.wish(1, LINE_AFTER - 2))
    assert made.status_code == 201 and made.json()["seller"] == "site"


async def test_all_bays_of_an_order_are_of_one_facility(w):
    parts = [
        {**w.time(1, FAR), "booking_id": "booking-0001"},
        {**w.time(2, FAR), "resource_id": "other.box-1", "booking_id": "booking-0002"},
    ]
    no = await w.post("/bookings", {"parts": parts, "customer": w.wish(1, 1)["customer"]})
    assert (no.status_code, no.json()["code"]) == (400, "bad_request")


# ---- the cut
async def test_while_the_site_is_dark_the_hub_sells_its_own_and_refuses_the_rest_with_what_it_can_sell(w):
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    assert (await w.post("/bookings", w.wish(1, FAR))).status_code == 201
    no = await w.post("/bookings", w.wish(1, NEAR, booking_id="booking-0002", who=2))
    assert (no.status_code, no.json()["code"]) == (409, "site_unreachable")
    assert no.headers["retry-after"] == "30"
    assert no.json()["suggestions"] and all(way["instant"] for way in no.json()["suggestions"])
    await w.heal()
    await w.until(lambda: w.site.booking("booking-0001") is not None)


async def test_a_hub_that_has_never_heard_a_site_sells_nothing_for_it(tmp_path):
    async with opened(tmp_path, link=False) as fresh:
        fresh.cut()
        no = await fresh.post("/bookings", fresh.wish(1, FAR))
        assert no.status_code == 404 and no.json()["code"] == "facility_not_found"


# ---- reading
async def test_a_booking_is_read_and_an_unknown_one_is_not_found(w):
    made = (await w.post("/bookings", w.wish(1, FAR))).json()
    assert (await w.get("/bookings/booking-0001")).json() == made
    no = await w.get("/bookings/nobody-has-this")
    assert (no.status_code, no.json()["code"]) == (404, "booking_not_found")


async def test_the_list_is_filtered_and_paged(w):
    for n in range(1, 5):
        await w.post("/bookings", w.wish(n, FAR + n * 2, booking_id=f"booking-{n:04d}", who=n))
    first = (await w.get(f"/bookings?site_id={SITE}&limit=3")).json()
    assert [b["id"] for b in first["bookings"]] == ["booking-0001", "booking-0002", "booking-0003"]
    rest = (await w.get(f"/bookings?site_id={SITE}&limit=3&cursor={first['next_cursor']}")).json()
    assert [b["id"] for b in rest["bookings"]] == ["booking-0004"] and rest["next_cursor"] is None
    one = first["bookings"][1]
    for query in (f"reference={one['reference'].lower()}", f"order_id={one['order_id']}", f"customer_id={one['customer_id']}",
                  f"resource_id={one['resource_id']}"):  # fmt: skip
        assert [b["id"] for b in (await w.get(f"/bookings?{query}")).json()["bookings"]] == ["booking-0002"], query
    within = await w.get(f"/bookings?from={w.iso(FAR + 7)}&to={w.iso(FAR + 8)}")
    assert [b["id"] for b in within.json()["bookings"]] == ["booking-0002", "booking-0003"]
    assert (await w.get("/bookings?status=cancelled")).json() == {"bookings": [], "next_cursor": None}


async def test_what_the_site_sold_is_read_at_the_hub_with_its_attendance(w):
    await w.post("/bookings", w.wish(2, NEAR))
    w.site.db.write_now(lambda tx: attendance.attend(tx, w.site.desk, "booking-0001", "checked_in", by="kiosk"))
    await w.quiet()
    assert (await w.get("/bookings/booking-0001")).json()["shown"] == "checked_in"


async def test_time_used_after_the_end_is_read_at_the_hub_and_whether_it_is_waived(w):
    await w.post("/bookings", w.wish(2, NEAR))
    assert (await w.get("/bookings/booking-0001")).json()["overtime"] is None
    w.site.db.write_now(lambda tx: attendance.attend(tx, w.site.desk, "booking-0001", "checked_in", by="kiosk"))
    w.site.db.write_now(lambda tx: attendance.over(tx, w.site.desk, "booking-0001", 19, 3990))
    await w.quiet()
    assert (await w.get("/bookings/booking-0001")).json()["overtime"] == {"minutes": 19, "cents": 3990, "waived": None}
    w.site.db.write_now(lambda tx: attendance.waive(tx, w.site.desk, "booking-0001", "The door stuck"))
    await w.quiet()
    assert (await w.get("/bookings/booking-0001")).json()["overtime"]["waived"] == "The door stuck"
