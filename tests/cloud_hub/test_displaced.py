"""The hub's part when a facility cannot keep a booking's place: the queue of all facilities, ways out, going there, the rule (B12)."""

import msgspec
import pytest

from cloud_hub import jobs
from shared.errors import Refused
from shared.ledger import attendance, blocks, displaced, holds, records
from shared.model import Block, Hold
from tests.cloud_hub.hub_world import LINE_AFTER, NOON, SITE
from tests.cloud_hub.lost_world import breaks, later, states

FAR = LINE_AFTER + 8
NEAR = 8


async def lost(w, start: int = FAR, bay: int = 1, booking_id: str = "booking-0001", who: int = 1) -> dict:
    """A booking whose bay its facility has taken out of service."""
    made = await w.post("/bookings", w.wish(bay, start, booking_id=booking_id, who=who))
    assert made.status_code == 201, made.text
    await w.quiet()
    first = NOON // 900 + start
    k = Block(id=f"block-{booking_id}", site_id=SITE, resource_id=f"{SITE}.box-{bay}", start=first, end=first + 4, reason="net torn")
    w.site.db.write_now(lambda tx: blocks.block(tx, w.site.desk, k))
    await w.until(lambda: w.hub.board.booking(booking_id).displaced)
    return made.json()


async def place(w, way, new_id: str = "placed-0001", booking_id: str = "booking-0001"):
    return await w.hub.displaced.place(booking_id, way.resource_id, way.start, way.end, new_id=new_id, by="customer")


async def test_the_queue_tells_who_lost_what_why_and_where_each_could_go(w):
    await lost(w, FAR + 8, booking_id="booking-0002", who=2)
    made = await lost(w)
    first, second = w.hub.displaced.open()
    assert (first.booking.id, second.booking.id) == ("booking-0001", "booking-0002")
    assert (first.facility, first.called, first.shown_name) == ("Bedford", "Box 1", "Testa Birdie 1")
    assert (first.queued.why, first.queued.reason, first.queued.since_at) == ("block", "net torn", NOON)
    assert [way.kind for way in first.ways[:3]] == ["same_time"] * 3 and first.ways[0].price.total_cents == made["price"]["total_cents"]
    assert w.hub.displaced.open(SITE) == [first, second] and w.hub.displaced.ways("booking-0001") == first.ways
    with pytest.raises(Refused, match="not known"):
        w.hub.displaced.open("nowhere")
    with pytest.raises(Refused, match="not known"):
        w.hub.displaced.ways("nobody-0001")


async def test_a_place_of_the_hubs_own_is_given_at_once_at_the_old_price_with_the_old_pin(w):
    await lost(w)
    before = w.hub.board.booking("booking-0001")
    way = w.hub.displaced.ways("booking-0001")[0]
    seen = await place(w, way)
    b = seen.booking
    assert (b.status, b.placed, b.price, b.pin, b.order_id) == ("confirmed", True, before.price, before.pin, before.order_id)
    assert (await place(w, way)).booking.id == b.id, "the same press again"
    await w.until(lambda: (at := w.site.booking("placed-0001")) is not None and at.status == "confirmed")
    await w.until(lambda: w.hub.board.booking("booking-0001").status == "cancelled")
    assert w.hub.displaced.open() == []
    assert w.hub.displaced.ways("placed-0001"), "whoever was put elsewhere may choose again"
    back = await w.hub.changes.cancel("placed-0001", by="customer")
    assert (back.refund.rule, back.refund.kept_cents) == ("full_refund", 0)


async def test_the_facility_is_asked_where_the_place_is_its_own_and_its_word_is_waited_for(w):
    await lost(w, NEAR, booking_id="booking-0001")
    way = w.hub.displaced.ways("booking-0001")[0]
    assert way.seller == "site"
    assert (await place(w, way)).booking.status == "confirmed"
    assert w.site.booking("placed-0001").seller == "site"


async def test_what_the_facility_has_given_away_meanwhile_is_refused_in_its_words(w):
    await lost(w, NEAR)
    way = w.hub.displaced.ways("booking-0001")[0]
    held = Hold(id="hold-0001", site_id=SITE, resource_id=way.resource_id, start=way.start, end=way.end)
    w.site.db.write_now(lambda tx: holds.hold(tx, w.site.desk, held, link_up=True))
    with pytest.raises(Refused, match="just been taken") as no:
        await place(w, way)
    assert no.value.refusal.code == "slot_taken"
    assert w.hub.board.booking("booking-0001").status == "confirmed" and len(w.hub.displaced.open()) == 1
    other = w.hub.displaced.ways("booking-0001")[1]
    assert (await place(w, other, "placed-0002")).booking.status == "confirmed"


async def test_in_a_cut_only_what_the_hub_sells_itself_is_offered(w):
    await lost(w)
    await lost(w, NEAR, 2, "booking-0002", 2)
    near = w.hub.displaced.ways("booking-0002")[0]
    w.cut()
    w.clock.forward(20)
    await w.until(lambda: not w.hub.links.up(SITE))
    assert {way.seller for way in w.hub.displaced.ways("booking-0001")} == {"hub"}
    with pytest.raises(Refused) as no:
        await place(w, near, booking_id="booking-0002")
    assert no.value.refusal.code == "site_unreachable"
    assert (await place(w, w.hub.displaced.ways("booking-0001")[0])).booking.status == "confirmed"


async def test_while_something_is_asked_nothing_else_is_offered(w):
    await lost(w, NEAR)
    way = w.hub.displaced.ways("booking-0001")[0]
    w.network.cut(f"hub-{SITE}", "from_broker", noticed=False)
    assert (await place(w, way)).booking.status == "requested"
    [one] = w.hub.displaced.open()
    assert (one.queued.asked.id, one.ways, w.hub.displaced.ways("booking-0001")) == ("placed-0001", (), ())
    await w.heal()
    await w.until(lambda: w.hub.displaced.open() == [])


async def test_a_booking_that_has_its_place_has_no_ways_and_is_not_put_elsewhere(w):
    await w.post("/bookings", w.wish(1, FAR))
    assert w.hub.displaced.ways("booking-0001") == () and w.hub.displaced.open() == []
    start = NOON // 900 + FAR
    for booking_id, code in (("booking-0001", "illegal_move"), ("nobody-0001", "booking_not_found")):
        with pytest.raises(Refused) as no:
            await w.hub.displaced.place(booking_id, f"{SITE}.box-2", start, start + 4, new_id="placed-0001", by="customer")
        assert no.value.refusal.code == code


async def test_the_hubs_job_places_its_own_guests_by_rule(w):
    assert jobs.PLACING_EVERY_S <= 1
    await lost(w)
    assert await w.hub.placing.run() == 1 and await w.hub.placing.run() == 0
    await w.quiet()
    [new] = [b for b in w.hub.board.order("booking-0001") if b.status == "confirmed"]
    assert (new.placed, new.resource_id, new.start) == (True, f"{SITE}.box-2", NOON // 900 + FAR)
    assert w.site.booking(new.id).status == "confirmed"
    assert ("rule", "placed elsewhere", "booking-0001") in [row[1:4] for row in w.db.read(lambda tx: records.journal_of(tx, SITE))]


async def test_in_a_cut_nothing_is_offered_to_whom_only_the_facility_can_move(w):
    await lost(w, NEAR)
    assert w.hub.displaced.ways("booking-0001")
    w.cut()
    w.clock.forward(20)
    await w.until(lambda: not w.hub.links.up(SITE))
    assert w.hub.displaced.ways("booking-0001") == ()


async def test_who_waits_for_an_answer_in_a_cut_may_choose_again_once_it_would_be_too_late(w):
    await lost(w)
    near = NOON // 900 + NEAR
    asked = msgspec.structs.replace(w.hub.displaced.ways("booking-0001")[0], start=near, end=near + 4)
    w.network.cut(f"hub-{SITE}", "from_broker", noticed=False)
    assert (await place(w, asked)).booking.status == "requested"
    w.cut()
    w.clock.forward(20)
    await w.until(lambda: not w.hub.links.up(SITE))
    assert w.hub.displaced.ways("booking-0001") == () and w.hub.displaced.one("booking-0001").queued.asked.id == "placed-0001"
    w.clock.forward(w.hub.desk.limits.answer_by_s)
    assert w.hub.displaced.one("booking-0001").queued.asked is None
    own = w.hub.displaced.ways("booking-0001")
    assert own and {way.seller for way in own} == {"hub"}
    assert (await place(w, own[0], "placed-0002")).booking.status == "confirmed"
    await w.heal()
    await w.until(lambda: w.hub.board.booking("placed-0001").status in ("cancelled", "declined") and not w.hub.displaced.open())
    await w.until(lambda: (at := w.site.booking("placed-0002")) is not None and at.status == "confirmed")
    assert [b.id for b in w.hub.board.order("booking-0001") if b.status == "confirmed"] == ["placed-0002"]


async def test_one_conflict_is_read_without_the_others(w):
    await lost(w)
    await lost(w, FAR + 8, booking_id="booking-0002", who=2)
    await w.post("/bookings", w.wish(3, FAR, booking_id="booking-0003", who=3))
    first, second = w.hub.displaced.open()
    assert (w.hub.displaced.one("booking-0001"), w.hub.displaced.one("booking-0002")) == (first, second)
    looked = []
    with pytest.MonkeyPatch.context() as patch:
        ways_of = displaced.ways_of
        patch.setattr(
            displaced, "ways_of", lambda tx, desk, house, b, **more: (looked.append(b.id), ways_of(tx, desk, house, b, **more))[1]
        )
        w.hub.displaced.one("booking-0002")
    assert looked == ["booking-0002"]
    assert w.hub.displaced.one("booking-0003") is None and w.hub.displaced.one("nobody-0001") is None
    w.clock.forward((FAR + 4) * 900)
    assert w.hub.displaced.one("booking-0001") is None, "it is over"


async def test_a_guest_whose_second_bay_breaks_too_is_displaced_once_more_by_what_the_hub_hears(w):
    states(w)
    await lost(w, NEAR, 2)
    await later(w, NEAR * 900 - 1500)
    seated = f"{SITE}.box-3"
    w.site.db.write_now(lambda tx: attendance.reseat(tx, w.site.desk, "booking-0001", seated, by="rule"))
    await w.quiet()
    assert not w.hub.board.booking("booking-0001").displaced and w.hub.displaced.open() == []
    marks = []
    w.db.follow("booking", lambda tx, ids: marks.extend(records.booking(tx, i).displaced for i in ids))
    await breaks(w, 3, NEAR)
    assert marks and marks[-1] and w.db.read(lambda tx: records.attendance(tx, "booking-0001")).seat == ""
    [one] = w.hub.displaced.open()
    assert (one.booking.id, [way.resource_id for way in one.ways][:1]) == ("booking-0001", [f"{SITE}.box-1"])
