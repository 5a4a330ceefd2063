"""A displaced guest is put elsewhere while words cross on the link, an answer does not come, or a second bay breaks (B12, block-2).

What one side does alone is in `test_displaced`. Here each thing that could be believed done is looked for in the books of both.
"""

import asyncio

import msgspec
import pytest

from shared.ledger import blocks, displaced, records, settle
from shared.messages import BookingConfirmed, NotMine
from shared.model import Booking
from shared.runtime.transport import Faults
from tests.ledger.test_displaced import BAY, now_at, queued, where
from tests.rules.harm import refused
from tests.rules.story import statuses, story, until
from tests.two_sides import SITE, Party, World, play

rule = pytest.mark.rule
ALL_NEAR_S = 12 * 3600


def holder(party: Party, bay: int, start: int) -> tuple[str, str]:
    """Who has the slot: `(kind, ref)`, empty where nobody."""
    return party.claims().get((f"{BAY}{bay}", party.world.slot0 + start), ("", ""))


def living(party: Party, order_id: str) -> list[Booking]:
    """What stands of the order."""
    return [b for b in party.bookings().values() if b.order_id == order_id and b.status == "confirmed" and not b.withdrawn]


def pin_leads_to(w: World, pin: str) -> list[str]:
    return [b.id if (b := party.pin_of(pin)) is not None else "nobody" for party in w.parties]


# ---- the facility has seated the guest meanwhile
@rule("block-2")
@story(bays=4, release_ahead_s=ALL_NEAR_S)
async def test_a_guest_who_sits_where_the_facility_has_put_them_keeps_that_bay_when_the_hubs_wish_comes_late(w: World):
    [b] = w.site.book(1, 2)
    await w.quiet()
    w.site.block(1, 2)
    await w.quiet()
    w.network.faults = Faults(delay_s=(0.3, 0.3))
    new = w.hub.place(b.id, 3, 2)
    assert new.status == "requested" and w.site.place_by_rule() == ["reseated"]
    assert w.site.check_in(b.id).seat == BAY + "2"
    await w.quiet()
    assert statuses(w, b.id) == [("confirmed", "confirmed")] and w.hub.booking(new.id).status == "declined"
    assert holder(w.site, 2, 2) == ("booking", b.id) and holder(w.site, 3, 2) == ("", "")
    assert refused(lambda: w.site.book(2, 2)) == "slot_taken", "the bay under the guest is not sold"
    assert pin_leads_to(w, b.pin) == [b.id, b.id]


@rule("block-2")
@story(bays=4, release_ahead_s=ALL_NEAR_S)
async def test_a_guest_who_was_told_another_bay_at_the_facility_is_not_sent_on_by_a_wish_of_before(w: World):
    [b] = w.site.book(1, 2)
    await w.quiet()
    w.site.block(1, 2)
    await w.quiet()
    w.network.faults = Faults(delay_s=(0.3, 0.3))
    new = w.hub.place(b.id, 3, 2)
    assert w.site.place_by_rule() == ["reseated"]
    await w.quiet()
    assert w.hub.booking(new.id).status == "declined" and w.hub.attendance(b.id).seat == BAY + "2"
    assert w.hub.read(lambda tx: records.ask(tx, new.id))[:2] == ("refused", "illegal_move")


@rule("block-2")
@story(bays=4, release_ahead_s=ALL_NEAR_S)
async def test_a_facility_that_was_told_to_move_its_guest_itself_leaves_one_whom_it_has_seated(w: World):
    [b] = w.site.book(1, 2)
    await w.quiet()
    w.site.block(1, 2)

    def asked(tx, desk):
        """As before the line passed over the booking: the hub was to move it, and says now that it is not its to move."""
        new = msgspec.structs.replace(
            records.booking(tx, b.id), id="asked-0001", resource_id=BAY + "3", status="requested", sale_no=0, replaces=b.id, placed=True,
            displaced=False, answer_by=desk.now() + 60,
        )  # fmt: skip
        records.add_booking(tx, new)
        records.put_ask(tx, "moved", SITE, new.id, b.id, desk.now())

    w.site.write(asked)
    w.site.reseat(b.id, 2)
    w.site.check_in(b.id)
    w.site.write(lambda tx, desk: settle.not_mine(tx, desk, NotMine(asked="move", ids=("asked-0001", b.id)), SITE, link_fresh=True))
    assert w.site.booking("asked-0001").status == "declined" and w.site.booking(b.id).status == "confirmed"
    assert holder(w.site, 2, 2) == ("booking", b.id) and holder(w.site, 3, 2) == ("", "")


@rule("block-2")
@story(bays=4, release_ahead_s=ALL_NEAR_S)
async def test_a_guest_who_was_seated_elsewhere_and_stays_longer_or_changes_bays_has_the_slots_that_they_sit_in(w: World):
    [b] = w.site.book(1, 2)
    await w.quiet()
    w.site.block(1, 2)
    assert w.site.place_by_rule() == ["reseated"]
    w.site.check_in(b.id)
    longer = w.site.extend(b.id, 30)
    came = w.site.attendance(longer.id)
    assert (longer.resource_id, came.state, came.seat) == (BAY + "2", "checked_in", "")
    assert {holder(w.site, 2, start) for start in range(2, 8)} == {("booking", longer.id)}
    other = w.site.move(longer.id, 4, 4)
    assert (w.site.attendance(other.id).state, w.site.attendance(other.id).seat) == ("checked_in", "")
    assert {holder(w.site, 4, start) for start in range(4, 8)} == {("booking", other.id)} and holder(w.site, 2, 4) == ("", "")


@story(bays=4, release_ahead_s=ALL_NEAR_S)
async def test_who_was_put_elsewhere_and_extends_was_still_put_elsewhere(w: World):
    [b] = w.site.book(1, 4)
    await w.quiet()
    w.site.block(1, 4)
    assert w.site.place_by_rule() == ["placed"]
    await w.quiet()
    w.forward(4 * 900 - 60)
    w.site.check_in(now_at(w.site, b.id).id)
    longer = w.site.extend(now_at(w.site, b.id).id, 30)
    assert longer.placed and longer.end - longer.start == 6
    await w.quiet()
    assert w.hub.booking(longer.id).placed and w.hub.attendance(longer.id).state == "checked_in"


@rule("own-1")
@story(bays=4, release_ahead_s=ALL_NEAR_S)
async def test_a_longer_visit_that_the_hub_asks_for_is_no_other_place_and_is_made_for_a_guest_who_was_seated(w: World):
    [b] = w.site.book(1, 2)
    await w.quiet()
    w.site.block(1, 2)
    placed_ = w.site.place(b.id, 3, 2)
    w.site.block(3, 2)
    assert w.site.place_by_rule() == ["reseated"]
    await w.quiet()
    asked = w.hub.extend(placed_.id, 30)
    await w.quiet()
    longer = w.site.booking(asked.id)
    assert (longer.status, longer.resource_id, longer.placed) == ("confirmed", BAY + "2", True)


# ---- a second bay breaks
@rule("block-2")
@story(bays=4)
async def test_a_guest_whose_second_bay_breaks_too_is_displaced_again_and_seated_in_a_third(w: World):
    [b] = w.site.book(1, 4)
    await w.quiet()
    w.site.block(1, 4)
    w.forward(3600 - 900)
    assert w.site.place_by_rule() == ["reseated"]
    await w.quiet()
    second = w.site.block(2, 4)
    w.hub.write(lambda tx, desk: blocks.take(tx, desk, second))
    assert w.hub.attendance(b.id).seat == BAY + "2", "who sits where is the facility's to say (own-2)"
    assert w.site.booking(b.id).displaced and queued(w.site) == [b.id]
    assert refused(lambda: w.site.check_in(b.id)) == "displaced"
    await w.quiet()
    assert w.hub.booking(b.id).displaced and w.hub.attendance(b.id).seat == "" and queued(w.hub) == [b.id]
    assert [holder(party, 2, 4) for party in w.parties] == [("block", second.id)] * 2
    assert w.site.place_by_rule() == ["reseated"]
    await w.quiet()
    assert [party.attendance(b.id).seat for party in w.parties] == [BAY + "3"] * 2
    assert [holder(party, 3, 4) for party in w.parties] == [("booking", b.id)] * 2 and queued(w.hub) == queued(w.site) == []
    assert w.site.check_in(b.id).seat == BAY + "3"


@rule("block-2")
@story(bays=4)
async def test_a_guest_whose_second_bay_breaks_has_the_first_again_where_that_is_whole_by_then(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    first = w.site.block(2, 12)
    await w.quiet()
    w.forward(12 * 900 - 1200)
    assert w.site.place_by_rule() == ["reseated"]
    w.site.unblock(first.id)
    await w.quiet()
    w.site.block(1, 12)
    await w.quiet()
    for party in w.parties:
        assert (party.attendance(b.id).seat, party.booking(b.id).displaced, queued(party)) == ("", False, [])
        assert holder(party, 2, 12) == ("booking", b.id)
    assert w.site.check_in(b.id).state == "checked_in"


@rule("block-2")
@story(bays=4)
async def test_a_guest_who_is_in_the_second_bay_when_it_is_blocked_stays_there(w: World):
    [b] = w.site.book(1, 4)
    await w.quiet()
    w.site.block(1, 4)
    w.forward(3600 - 900)
    w.site.place_by_rule()
    w.site.check_in(b.id)
    k = w.site.block(2, 4, 2)
    await w.quiet()
    for party in w.parties:
        assert (party.attendance(b.id).seat, party.booking(b.id).displaced) == (BAY + "2", False)
        assert (holder(party, 2, 4), holder(party, 2, 8)) == (("booking", b.id), ("block", k.id))


@rule("block-2")
@story(bays=4)
async def test_a_seat_that_is_lost_in_a_cut_is_lost_at_the_hub_too_when_it_hears_of_it(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    await w.dark()
    w.site.block(2, 12)
    w.forward(12 * 900 - 1200)
    assert w.site.place_by_rule() == ["reseated"]
    w.site.block(1, 12)
    assert w.site.place_by_rule() == [], "the other bays are the hub's to sell at that time"
    await w.healed()
    assert [(party.booking(b.id).displaced, party.attendance(b.id).seat) for party in w.parties] == [(True, "")] * 2


# ---- the PIN
@rule("pass-3")
@pytest.mark.parametrize("ahead_s", [None, 2 * 3600, ALL_NEAR_S])
def test_of_two_places_that_were_asked_at_once_the_one_that_stands_has_the_pin(ahead_s):
    async def script(w: World) -> None:
        [b] = w.site.book(1, 20) if ahead_s != 2 * 3600 else w.hub.book(1, 20)
        await w.quiet()
        w.site.block(1, 20)
        await w.quiet()
        pin = w.site.booking(b.id).pin
        w.network.faults = Faults(delay_s=(0.2, 0.2))
        for party, bay in ((w.hub, 3), (w.site, 2)):
            party.place(b.id, bay, 20)
        await asyncio.sleep(3)
        await w.quiet()
        [now] = living(w.site, b.order_id)
        assert [x.id for x in living(w.hub, b.order_id)] == [now.id] and now.pin == pin
        assert pin_leads_to(w, pin) == [now.id, now.id]

    play(script, bays=4, release_ahead_s=ahead_s)


# ---- an answer that does not come
@rule("block-2")
@story()
async def test_the_rule_asks_nobody_where_a_bay_of_ones_own_is_free_at_the_same_time(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    w.site.block(2, 12)
    await w.quiet()
    assert [(way.resource_id, way.seller) for way in w.hub.ways_of(b.id)][:2] == [(BAY + "1", "site"), (BAY + "3", "hub")]
    assert w.hub.place_by_rule() == ["placed"]
    await w.quiet()
    assert where(w, b.id) == [("3", 12, "confirmed")] * 2


@rule("block-2")
@story()
async def test_of_two_times_the_nearer_is_asked_for_though_a_later_one_is_ones_own(w: World):
    [b] = w.hub.book(2, 12)
    w.hub.book(3, 12)
    await w.quiet()
    w.site.block(2, 12)
    await w.quiet()
    assert w.hub.place_by_rule() == ["asked"]
    await w.quiet()
    assert where(w, b.id) == [("1", 12, "confirmed")] * 2


@rule("block-2")
@rule("terr-9")
@story()
async def test_who_waits_for_an_answer_in_a_cut_is_put_elsewhere_once_the_answer_would_be_too_late(w: World):
    [b] = w.hub.book(2, 40)
    await w.quiet()
    w.site.block(2, 40)
    await w.quiet()
    w.cut()
    asked = w.hub.place(b.id, 1, 40)
    await asyncio.sleep(w.limits.link_silence_s + 1)
    assert not w.hub.up() and w.hub.place_by_rule() == [], "the facility may yet have said yes in time"
    assert refused(lambda: w.hub.place(b.id, 3, 40)) == "illegal_move"
    w.forward(w.limits.answer_by_s)
    assert w.hub.place_by_rule() == ["placed"]
    assert where(w, b.id)[0] == ("3", 40, "confirmed") and w.hub.booking(asked.id).withdrawn
    assert w.hub.place_by_rule() == [] and queued(w.hub) == []
    await w.healed()
    assert where(w, b.id) == [("3", 40, "confirmed")] * 2
    assert [len(living(party, b.order_id)) for party in w.parties] == [1, 1]
    assert pin_leads_to(w, b.pin) == [now_at(w.hub, b.id).id] * 2 and holder(w.site, 1, 40) == ("", "")


@rule("block-2")
@rule("own-4")
@story()
async def test_a_yes_that_was_given_in_time_and_comes_late_is_taken_back_and_one_place_stands(w: World):
    [b] = w.hub.book(2, 40)
    await w.quiet()
    w.site.block(2, 40)
    await w.quiet()
    w.network.cut(SITE, "to_broker", noticed=False)
    asked = w.hub.place(b.id, 1, 40)
    await until(lambda: (x := w.site.booking(asked.id)) is not None and x.status == "confirmed")
    assert holder(w.site, 1, 40) == ("booking", asked.id)
    await asyncio.sleep(w.limits.link_silence_s + 1)
    w.forward(w.limits.answer_by_s)
    new = w.hub.place(b.id, 3, 40)
    assert new.status == "confirmed", "staff or the guest choose too"
    yes = BookingConfirmed(order_id=b.order_id, bookings=(w.site.booking(asked.id),))
    w.hub.write(lambda tx, desk: settle.confirmed(tx, desk, yes))
    assert w.hub.pin_of(b.pin).id == new.id and living(w.hub, b.order_id) == [new], "what is to be given back takes no PIN"
    await w.healed()
    assert [[x.id for x in living(party, b.order_id)] for party in w.parties] == [[new.id]] * 2
    assert pin_leads_to(w, b.pin) == [new.id, new.id] and holder(w.hub, 1, 40) == holder(w.site, 1, 40) == ("", "")


@rule("block-2")
@rule("own-4")
@story()
async def test_a_facility_that_waits_for_the_hub_in_a_cut_puts_its_guest_in_a_bay_of_its_own(w: World):
    [b], [other] = w.site.book(1, 6), w.site.book(2, 4)
    await w.quiet()
    w.site.block(1, 6)
    w.network.cut(SITE, "from_broker", noticed=False)
    asked = w.site.place(b.id, 3, 10)
    await until(lambda: (x := w.hub.booking(asked.id)) is not None and x.status == "confirmed")
    w.site.cancel(other.id)
    await asyncio.sleep(w.limits.link_silence_s + 1)
    w.forward(w.limits.answer_by_s)
    new = w.site.place(b.id, 2, 4)
    assert new.status == "confirmed" and not w.site.up()
    w.heal()
    await until(lambda: w.site.booking(asked.id).sale_no, 60)
    assert w.site.pin_of(b.pin).id == new.id
    await w.healed()
    assert [[x.id for x in living(party, b.order_id)] for party in w.parties] == [[new.id]] * 2
    assert pin_leads_to(w, b.pin) == [new.id, new.id]


@rule("block-2")
@story()
async def test_near_the_start_a_facility_whose_question_is_too_old_seats_the_guest_itself(w: World):
    """The hub owns the time and was asked to move its guest; nobody has answered, and the guest will be here soon."""
    [b] = w.hub.book(2, 12)
    await w.quiet()
    w.network.cut(SITE, noticed=False)
    w.site.block(2, 12)
    asked = w.site.place(b.id, 3, 16)
    await asyncio.sleep(w.limits.link_silence_s + 1)
    w.forward(12 * 900 - 1500)
    assert w.site.booking(asked.id).status == "requested" and w.site.place_by_rule() == ["reseated"]
    await w.healed()
    assert statuses(w, b.id) == [("confirmed", "confirmed")] and w.hub.attendance(b.id).seat == BAY + "1"


@rule("block-2")
@rule("own-4")
@story()
async def test_a_guest_whom_staff_seat_while_the_hub_is_asked_keeps_the_seat(w: World):
    [b] = w.site.book(1, 4)
    await w.quiet()
    w.site.block(1, 4)
    w.forward(3600 - 900)
    w.network.faults = Faults(delay_s=(0.3, 0.3))
    asked = w.site.place(b.id, 3, 12)
    assert asked.status == "requested" and w.site.place_by_rule() == []
    w.site.reseat(b.id, 2)
    await w.quiet()
    assert statuses(w, b.id) == [("confirmed", "confirmed")] and living(w.site, b.order_id) == [w.site.booking(b.id)]
    assert holder(w.hub, 3, 12) == holder(w.site, 3, 12) == ("", "") and holder(w.site, 2, 4) == ("booking", b.id)
    assert pin_leads_to(w, b.pin) == [b.id, b.id]


@rule("block-2")
@story()
async def test_while_the_other_side_is_heard_its_answer_is_waited_for_however_late(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    w.site.block(2, 12)
    await w.quiet()
    w.network.faults = Faults(delay_s=(2, 2))
    w.hub.place(b.id, 1, 12)
    w.forward(w.limits.answer_by_s + 1)
    house = w.hub.read(lambda tx: w.hub.houses.of(tx, SITE))
    assert w.hub.write(lambda tx, desk: displaced.settle(tx, desk, house, b.id, link_up=True)) == ""
    await w.healed()
    assert w.hub.place_by_rule() == ["placed"], "it came too late, so that the answer is no"


@rule("block-2")
@story()
async def test_near_the_start_a_facility_does_not_give_up_what_the_hub_may_have_given_to_ask_it_once_more(w: World):
    [b] = w.site.book(1, 12)
    await w.quiet()
    w.site.block(1, 12)
    w.network.faults = Faults(delay_s=(1, 1))
    asked = w.site.place(b.id, 3, 12)
    await until(lambda: (x := w.hub.booking(asked.id)) is not None and x.status == "confirmed")
    w.forward(12 * 900 - 1500)
    house = w.site.read(lambda tx: w.site.houses.of(tx, SITE))
    assert w.site.booking(asked.id).answer_by < w.site.desk.now() and displaced.is_near(w.site.desk, b)
    assert w.site.write(lambda tx, desk: displaced.settle(tx, desk, house, b.id, link_up=True)) == ""
    assert refused(lambda: w.site.place(b.id, 3, 12)) == "illegal_move", "nor do staff, who may choose another"
    await w.quiet()
    assert where(w, b.id) == [("3", 12, "confirmed")] * 2 and now_at(w.hub, b.id).id == asked.id
