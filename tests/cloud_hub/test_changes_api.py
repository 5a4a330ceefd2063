"""Cancel, withdraw, reschedule, extend: whoever owns the booking decides, and nobody is left with neither."""

import pytest

from cloud_hub.services.changes import Once
from cloud_hub.store import answers
from cloud_hub.store.answers import Answer
from shared.ledger import attendance, lines, records, sales, streams
from shared.terms import Refund
from tests.cloud_hub.hub_world import LINE_AFTER, SITE

FAR = LINE_AFTER + 8
NEAR = 8


async def booked(w, bay=1, start=FAR, **more):
    made = await w.post("/bookings", w.wish(bay, start, **more))
    assert made.status_code == 201, made.text
    await w.quiet()
    return made.json()


# ---- cancel
async def test_a_hub_sale_is_cancelled_once_the_site_has_heard(w):
    await booked(w)
    gone = await w.post("/bookings/booking-0001/cancel", {"reason": "rain"})
    assert gone.status_code == 200
    assert (gone.json()["outcome"], gone.json()["booking"]["status"]) == ("cancelled", "cancelled")
    assert gone.json()["refund"]["cents"] == gone.json()["booking"]["price"]["total_cents"]
    assert gone.json()["booking"]["pin"] == ""
    assert w.site.booking("booking-0001").status == "cancelled"
    assert (await w.post("/bookings", w.wish(1, FAR, booking_id="booking-0002", who=2))).status_code == 201


async def test_while_the_site_is_dark_the_slots_of_a_cancelled_hub_sale_stay_claimed(w):
    await booked(w)
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    gone = await w.post("/bookings/booking-0001/cancel", {})
    assert (gone.status_code, gone.json()["outcome"], gone.headers["retry-after"]) == (202, "cancelling", "2")
    assert (await w.post("/bookings", w.wish(1, FAR, booking_id="booking-0002", who=2))).json()["code"] == "slot_taken"
    await w.heal()
    await w.until(lambda: w.hub.board.booking("booking-0001").status == "cancelled")
    assert (await w.post("/bookings", w.wish(1, FAR, booking_id="booking-0003", who=2))).status_code == 201


async def test_whoever_asks_two_replicas_at_once_under_one_key_gets_one_answer(w, monkeypatch):
    await booked(w)
    real, refund = streams.lock, []

    def lock(tx, site_id):
        """The other replica held the lock, and did the same, while we waited for it."""
        if not refund:
            refund.append(Refund(cents=1234, kept_cents=0, rule="full_refund"))
            sales.cancel(tx, w.hub.desk, "booking-0001", by="the same customer")
            answers.put(tx, "customer", "key-1", Answer("hash", 200, records.text(refund[0])), w.hub.desk.now())
        return real(tx, site_id)

    monkeypatch.setattr(streams, "lock", lock)
    done = await w.hub.changes.cancel("booking-0001", by="customer", once=Once("customer", "key-1", "hash"))
    assert done.refund == refund[0] and w.hub.board.booking("booking-0001").status in ("cancelling", "cancelled")


async def test_a_site_sale_is_cancelled_by_the_site(w):
    await booked(w, 2, NEAR)
    gone = await w.post("/bookings/booking-0001/cancel", {})
    assert (gone.status_code, gone.json()["booking"]["status"]) == (200, "cancelled")
    assert w.site.booking("booking-0001").status == "cancelled"


async def test_a_site_sale_cancelled_into_a_cut_is_asked_for_and_done_when_it_heals(w):
    await booked(w, 2, NEAR)
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    gone = await w.post("/bookings/booking-0001/cancel", {})
    assert (gone.status_code, gone.json()["outcome"]) == (202, "asked")
    await w.heal()
    await w.until(lambda: w.hub.board.booking("booking-0001").status == "cancelled")


async def test_a_guest_who_has_checked_in_keeps_the_hub_sale(w):
    await booked(w)
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)
    w.site.db.write_now(lambda tx: attendance.attend(tx, w.site.desk, "booking-0001", "checked_in", by="kiosk"))
    w.network.heal(f"site-{SITE}")
    no = await w.post("/bookings/booking-0001/cancel", {})
    assert (no.status_code, no.json()["code"]) == (409, "already_checked_in")
    assert (await w.get("/bookings/booking-0001")).json()["status"] == "confirmed"


async def test_a_guest_who_has_checked_in_keeps_the_site_sale(w):
    await booked(w, 2, NEAR)
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)
    w.site.db.write_now(lambda tx: attendance.attend(tx, w.site.desk, "booking-0001", "checked_in", by="kiosk"))
    w.network.heal(f"site-{SITE}")
    no = await w.post("/bookings/booking-0001/cancel", {})
    assert (no.status_code, no.json()["code"]) == (409, "already_checked_in")


async def test_a_second_cancel_is_refused_but_a_retry_under_its_key_is_answered_alike(w):
    await booked(w)
    first = await w.post("/bookings/booking-0001/cancel", {"reason": "rain"}, idempotency_key="cancel 1")
    again = await w.post("/bookings/booking-0001/cancel", {"reason": "rain"}, idempotency_key="cancel 1")
    assert (first.status_code, again.status_code) == (200, 200) and first.json() == again.json()
    other = await w.post("/bookings/booking-0001/cancel", {"reason": "snow"}, idempotency_key="cancel 1")
    assert other.json()["code"] == "id_reused"
    assert (await w.post("/bookings/booking-0001/cancel", {})).json()["code"] == "already_cancelled"


async def test_answers_under_a_key_and_refunds_that_were_told_are_forgotten_after_a_week(w):
    await booked(w)
    await w.post("/bookings/booking-0001/cancel", {}, idempotency_key="cancel 1")
    w.clock.forward(6 * 86_400)
    assert await w.hub.changes.forget() == 0
    w.clock.forward(2 * 86_400)
    assert await w.hub.changes.forget() == 2


@pytest.mark.parametrize("what", ["cancel", "withdraw"])
async def test_what_is_not_known_cannot_be_given_up(w, what):
    no = await w.post(f"/bookings/nobody-has-this/{what}", {})
    assert (no.status_code, no.json()["code"]) == (404, "booking_not_found")


# ---- withdraw
async def test_an_unanswered_request_is_withdrawn_and_the_site_never_sells_it(w):
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)
    w.network.cut(f"site-{SITE}", "from_broker", noticed=False)
    asked = await w.post("/bookings", w.wish(2, NEAR))
    assert asked.status_code == 202
    gone = await w.post("/bookings/booking-0001/withdraw", {})
    assert (gone.status_code, gone.json()["outcome"]) == (202, "asked")
    w.network.heal(f"site-{SITE}")
    w.clock.forward(3)
    w.hub.links.tick()
    w.say_hello()
    await w.until(lambda: w.hub.board.booking("booking-0001").status == "cancelled")
    assert w.site.booking("booking-0001").status in ("cancelled", "declined")


async def test_a_confirmed_booking_is_cancelled_and_not_withdrawn(w):
    await booked(w)
    no = await w.post("/bookings/booking-0001/withdraw", {})
    assert (no.status_code, no.json()["code"]) == (409, "illegal_move")


# ---- reschedule
async def test_a_change_to_the_same_bay_and_time_is_refused_and_uses_up_no_change(w):
    await booked(w)
    no = await w.post("/bookings/booking-0001/reschedule", {**w.time(1, FAR), "booking_id": "booking-0002"})
    assert (no.status_code, no.json()["code"]) == (409, "illegal_move") and "nothing to change" in no.json()["detail"]
    assert w.hub.board.booking("booking-0001").changes == 0 and w.hub.board.booking("booking-0002") is None


async def test_who_stays_longer_still_owes_the_fee_of_the_change_before(w):
    await booked(w)
    for number, start in ((2, FAR + 4), (3, FAR + 8)):
        moved = await w.post(f"/bookings/booking-000{number - 1}/reschedule", {**w.time(1, start), "booking_id": f"booking-000{number}"})
        assert moved.status_code == 201, moved.text
        await w.quiet()
    fee = [line for line in moved.json()["price"]["lines"] if line["code"] == "fee"]
    longer = await w.post("/bookings/booking-0003/extend", {"minutes": 30, "booking_id": "booking-0004"})
    assert longer.status_code == 201, longer.text
    assert [line for line in longer.json()["price"]["lines"] if line["code"] == "fee"] == fee != []
    assert longer.json()["price"]["total_cents"] > moved.json()["price"]["total_cents"]


async def test_a_hub_sale_moves_to_another_time_of_the_hub(w):
    old = await booked(w)
    moved = await w.post("/bookings/booking-0001/reschedule", {**w.time(2, FAR + 4), "booking_id": "booking-0002"})
    assert moved.status_code == 201 and moved.headers["location"] == "/api/v1/bookings/booking-0002"
    new = moved.json()
    assert (new["status"], new["replaces"], new["order_id"], new["pin"], new["changes"]) == (
        "confirmed", "booking-0001", old["order_id"], old["pin"], 1)  # fmt: skip
    await w.until(lambda: w.hub.board.booking("booking-0001").status == "cancelled")
    assert w.site.booking("booking-0002").status == "confirmed" and w.site.booking("booking-0001").status == "cancelled"


@pytest.mark.parametrize(("old_start", "new_start"), [(FAR, NEAR), (NEAR, FAR), (NEAR, NEAR + 6)])
async def test_a_booking_moves_over_the_line_and_within_the_sites_time(w, old_start, new_start):
    await booked(w, 2, old_start)
    moved = await w.post("/bookings/booking-0001/reschedule", {**w.time(3, new_start), "booking_id": "booking-0002"})
    assert moved.status_code == 201 and moved.json()["status"] == "confirmed"
    await w.until(lambda: w.hub.board.booking("booking-0001").status == "cancelled")
    await w.until(lambda: w.site.booking("booking-0001").status == "cancelled")


@pytest.mark.parametrize(("old_start", "new_start"), [(FAR, NEAR), (NEAR, NEAR + 6)])
@pytest.mark.parametrize("how", ["withdraw", "cancel"])
async def test_a_change_given_up_after_it_was_made_stands_and_its_guest_is_told(w, old_start, new_start, how):
    await booked(w, 2, old_start)
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)
    asked = await w.post("/bookings/booking-0001/reschedule", {**w.time(3, new_start), "booking_id": "booking-0002"})
    assert asked.status_code == 202
    await w.until(lambda: (made := w.site.booking("booking-0002")) is not None and made.status == "confirmed")
    w.network.heal(f"site-{SITE}")
    no = await w.post(f"/bookings/booking-0002/{how}", {})
    assert (no.status_code, no.json()["code"]) == (409, "illegal_move") and "the new booking stands" in no.json()["detail"]
    await w.until(lambda: w.site.booking("booking-0001").status == "cancelled")
    assert (await w.get("/bookings/booking-0002")).json()["status"] == "confirmed"


async def test_a_move_is_repeated_under_its_id_and_not_made_twice(w):
    await booked(w)
    wish = {**w.time(2, FAR + 4), "booking_id": "booking-0002"}
    first = await w.post("/bookings/booking-0001/reschedule", wish)
    again = await w.post("/bookings/booking-0001/reschedule", wish)
    assert (first.status_code, again.status_code) == (201, 200)
    other = await w.post("/bookings/booking-0001/reschedule", {**w.time(3, FAR + 4), "booking_id": "booking-0002"})
    assert other.json()["code"] == "id_reused"


async def test_a_move_to_a_taken_time_is_refused_with_ways_out_and_changes_nothing(w):
    await booked(w)
    await booked(w, 2, booking_id="booking-0002", who=2)
    no = await w.post("/bookings/booking-0001/reschedule", {**w.time(2, FAR), "booking_id": "booking-0003"})
    assert (no.status_code, no.json()["code"]) == (409, "slot_taken") and no.json()["suggestions"]
    assert (await w.get("/bookings/booking-0001")).json()["status"] == "confirmed"
    assert (await w.get("/bookings/booking-0003")).status_code == 404


async def test_a_third_change_is_for_staff(w):
    await booked(w)
    for n in (2, 3):
        moved = await w.post(f"/bookings/booking-000{n - 1}/reschedule", {**w.time(n, FAR), "booking_id": f"booking-000{n}"})
        assert moved.status_code == 201
        await w.quiet()
    no = await w.post("/bookings/booking-0003/reschedule", {**w.time(4, FAR), "booking_id": "booking-0004"})
    assert (no.status_code, no.json()["code"]) == (409, "reschedule_limit")


async def test_a_cancelled_booking_is_not_moved(w):
    await booked(w)
    await w.post("/bookings/booking-0001/cancel", {})
    no = await w.post("/bookings/booking-0001/reschedule", {**w.time(2, FAR), "booking_id": "booking-0002"})
    assert (no.status_code, no.json()["code"]) == (409, "already_cancelled")


async def test_a_site_sale_is_not_moved_in_a_cut(w):
    await booked(w, 2, NEAR)
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    no = await w.post("/bookings/booking-0001/reschedule", {**w.time(2, FAR), "booking_id": "booking-0002"})
    assert (no.status_code, no.json()["code"]) == (409, "site_unreachable")


# ---- extend
async def test_a_booking_is_extended_in_its_bay(w):
    old = await booked(w)
    longer = await w.post("/bookings/booking-0001/extend", {"minutes": 30, "booking_id": "booking-0002"})
    assert longer.status_code == 201
    assert (longer.json()["start"], longer.json()["end"]) == (old["start"], w.iso(FAR + 6))
    assert longer.json()["changes"] == 0 and longer.json()["price"]["total_cents"] > old["price"]["total_cents"]


async def test_an_extension_into_a_taken_time_is_refused(w):
    await booked(w)
    await booked(w, 1, FAR + 4, booking_id="booking-0002", who=2)
    no = await w.post("/bookings/booking-0001/extend", {"minutes": 30, "booking_id": "booking-0003"})
    assert (no.status_code, no.json()["code"]) == (409, "slot_taken")


@pytest.mark.parametrize("minutes", [0, -30, 10, 1455, 10**30])
async def test_an_extension_is_by_quarter_hours(w, minutes):
    await booked(w)
    assert (await w.post("/bookings/booking-0001/extend", {"minutes": minutes, "booking_id": "booking-0002"})).status_code == 400


# ---- pass
async def test_a_confirmed_booking_has_a_pass_that_the_site_believes(w):
    from shared import passes
    from shared.keys import KeyRing
    from shared.slots import at_of

    made = await booked(w)
    told = (await w.get("/bookings/booking-0001/pass")).json()
    facts = passes.read(told["token"], KeyRing([w.hub.keys.newest.public("hub")]), SITE)
    assert (facts.booking_id, facts.sale_no) == ("booking-0001", made["sale_no"])
    assert told["pin"] == made["pin"] and told["opens_at"] == w.iso(FAR - 1) and told["closes_at"] == w.iso(FAR + 5)
    picture = await w.client.get(told["qr_url"], headers={"authorization": f"Bearer {w.key}"})
    assert picture.headers["content-type"].startswith("image/svg+xml") and picture.text.startswith("<svg")
    w.clock.forward(at_of(facts.end) + 30 * 60 - w.clock.now())
    assert (await w.get("/bookings/booking-0001/pass")).json()["code"] == "pass_expired"


async def test_a_cancelled_booking_has_no_pass(w):
    await booked(w)
    await w.post("/bookings/booking-0001/cancel", {})
    for path in ("pass", "pass.svg"):
        no = await w.get(f"/bookings/booking-0001/{path}")
        assert (no.status_code, no.json()["code"]) == (409, "illegal_move")


async def test_no_pass_is_signed_with_a_key_that_the_site_has_not_acknowledged(w):
    await booked(w)
    w.hub.keys._acknowledged.clear()
    no = await w.get("/bookings/booking-0001/pass")
    assert (no.status_code, no.json()["code"]) == (409, "site_unreachable") and no.headers["retry-after"] == "5"


async def test_a_request_that_was_never_answered_expires_after_its_time(w):
    w.network.cut(f"site-{SITE}", "both", noticed=False)
    assert (await w.post("/bookings", w.wish(2, NEAR))).status_code == 202
    w.clock.forward((NEAR + 5) * 900)
    assert await w.hub.changes.expire() == 1
    assert (await w.get("/bookings/booking-0001")).json()["status"] == "expired"


async def test_the_hub_does_not_give_up_what_it_does_not_own(w):
    await booked(w, 2, NEAR)
    b = w.hub.board.booking("booking-0001")
    assert not w.db.read(lambda tx: lines.owns(tx, w.hub.desk, b.resource_id, b.start))
