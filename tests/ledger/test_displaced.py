"""Bookings that have lost their place come to another by rule or by a person, on whichever side; nothing is given up before (B12, block-2)."""

import time
from functools import partial

import msgspec
import pytest

from shared.errors import Refused
from shared.ledger import displaced, frontdesk, records, standing
from shared.model import Resource
from shared.runtime.transport import Faults
from tests.rules.harm import refused
from tests.rules.story import statuses, story, until
from tests.two_sides import SITE, Party, World, play

rule = pytest.mark.rule
BAY = f"{SITE}.box-"


async def placed(w: World) -> None:
    """Both sides do what the rule allows, until nothing is left to do."""
    for _ in range(4):
        done = [party.place_by_rule() for party in w.parties]
        await w.quiet()
        if not any(done):
            return
    raise AssertionError(f"it goes on and on: {done}")


def now_at(party: Party, booking_id: str):
    """The booking that stands in the order's place of this one."""
    b = party.booking(booking_id)
    while b.status in ("cancelled", "cancelling"):
        new = [x for x in party.bookings().values() if x.replaces == b.id and x.sale_no]
        if not new:
            break
        (b,) = new
    return b


def where(w: World, booking_id: str) -> list[tuple[str, int, str]]:
    """`(bay, start, status)` of what became of it, at the hub and at the site."""
    found = [now_at(party, booking_id) for party in w.parties]
    return [(b.resource_id.removeprefix(BAY), b.start - w.slot0, b.status) for b in found]


def queued(party: Party) -> list[str]:
    return [one.booking.id for one in party.read(lambda tx: displaced.queue(tx, party.desk, SITE))]


def states_rule(party: Party, **rule) -> None:
    """This side's copy of the house's rule."""
    house = party.read(lambda tx: party.houses.of(tx, SITE))
    policy = msgspec.structs.replace(house.profile.policy, displacement=msgspec.structs.replace(house.profile.policy.displacement, **rule))
    new = msgspec.structs.replace(house.profile, policy=policy)
    party.write(lambda tx, desk: records.put_document(tx, "profile", SITE, SITE, 2, records.text(new)))


def refusal(act) -> tuple[str, str]:
    with pytest.raises(Refused) as no:
        act()
    return no.value.refusal.code, no.value.refusal.detail


# ---- whose it is
@rule("block-2")
@story()
async def test_the_hub_places_its_own_guest_whose_bay_the_site_has_blocked_and_the_site_agrees(w: World):
    [b] = w.hub.book(2, 12, 1.5, guests=3, shown_name="Testa B.")
    await w.quiet()
    before = w.hub.booking(b.id)
    k = w.site.block(2, 12, 2)
    await w.quiet()
    assert w.site.place_by_rule() == []
    await placed(w)
    assert where(w, b.id) == [("3", 12, "confirmed")] * 2
    for party in w.parties:
        new = now_at(party, b.id)
        assert new.placed and not new.displaced and new.replaces == b.id
        kept = ("order_id", "price", "pin", "channel", "customer_id", "shown_name", "changes")
        assert [getattr(new, name) for name in kept] == [getattr(before, name) for name in kept] and new.pin
        assert queued(party) == []
        assert party.claims()[BAY + "2", w.slot0 + 12] == ("block", k.id)
    assert ("rule", "placed elsewhere", b.id) in [row[1:4] for row in w.hub.read(lambda tx: records.journal_of(tx, SITE))]


@rule("block-2")
@story()
async def test_the_site_places_its_own_guest_on_a_bay_that_it_sells_and_asks_for_one_that_it_does_not(w: World):
    [near], [far] = w.site.book(1, 4), w.site.book(1, 20)
    await w.quiet()
    w.site.block(1, 4, 5)
    assert w.hub.place_by_rule() == []
    assert w.site.place_by_rule() == ["placed", "asked"]
    assert where(w, near.id)[1] == ("2", 4, "confirmed") and w.site.booking(far.id).status == "confirmed"
    await w.quiet()
    assert where(w, near.id) == [("2", 4, "confirmed")] * 2
    assert where(w, far.id) == [("2", 20, "confirmed")] * 2 and now_at(w.site, far.id).seller == "hub"
    assert now_at(w.site, far.id).pin == now_at(w.hub, far.id).pin == far.pin


@rule("block-2")
@rule("own-4")
@story()
async def test_the_hub_asks_the_site_where_only_a_bay_of_the_sites_is_free(w: World):
    [b], [other] = w.hub.book(2, 12), w.hub.book(3, 12)
    await w.quiet()
    w.site.block(2, 12)
    await w.quiet()
    assert w.hub.place_by_rule() == ["asked"] and w.hub.place_by_rule() == []
    assert w.hub.claims()[BAY + "2", w.slot0 + 12] == ("booking", b.id)
    await w.quiet()
    assert where(w, b.id) == [("1", 12, "confirmed")] * 2 and now_at(w.hub, b.id).seller == "site"
    assert statuses(w, b.id, other.id) == [("cancelled", "cancelled"), ("confirmed", "confirmed")]
    assert now_at(w.hub, b.id).pin == now_at(w.site, b.id).pin == b.pin
    assert w.site.pin_of(b.pin).id == now_at(w.site, b.id).id


@rule("block-2")
@story()
async def test_while_the_link_is_dark_each_side_places_on_what_is_its_own(w: World):
    [b] = w.hub.book(2, 12)
    [mine] = w.site.book(1, 4)
    await w.quiet()
    w.site.block(2, 12)
    await w.quiet()
    await w.dark()
    w.site.block(1, 4)
    assert w.hub.place_by_rule() == ["placed"] and w.site.place_by_rule() == ["placed"]
    assert where(w, b.id)[0] == ("3", 12, "confirmed"), "the nearer bay is the site's, which cannot be asked"
    await w.healed()
    assert where(w, b.id) == [("3", 12, "confirmed")] * 2 and where(w, mine.id) == [("2", 4, "confirmed")] * 2


@rule("block-2")
@rule("terr-4")
@story()
async def test_of_the_sites_own_a_place_across_the_line_comes_after_the_release(w: World):
    [b] = w.site.book(1, 6)
    await w.quiet()
    w.site.block(1, 6)
    assert w.site.line(2) == 8
    assert w.site.place_by_rule() == ["asked"]
    await w.quiet()
    assert where(w, b.id) == [("2", 6, "confirmed")] * 2 and w.site.line(2) == w.hub.line(2) == 10
    assert now_at(w.site, b.id).pin == b.pin


@rule("terr-4")
@story()
async def test_of_the_hubs_own_a_place_across_the_line_goes_to_the_site_after_the_release(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    w.site.block(2, 12)
    await w.quiet()
    new = w.hub.place(b.id, 3, 6)
    assert new.status == "requested" and w.hub.line(3) == 10
    await w.quiet()
    assert where(w, b.id) == [("3", 6, "confirmed")] * 2 and w.site.line(3) == 10
    await w.dark()
    code, _ = refusal(lambda: w.hub.place(new.id, 2, 6))
    assert code == "site_unreachable"


# ---- what stands in the way
@rule("block-2")
@story()
async def test_a_place_that_was_taken_meanwhile_leads_to_the_next_and_the_last_leads_to_people(w: World):
    [b] = w.hub.book(2, 12)
    [other] = w.hub.book(3, 12)
    await w.quiet()
    w.site.block(2, 12)
    held = w.site.hold(1, 12)  # which the hub has not been told of
    await w.quiet()
    assert w.hub.place_by_rule() == ["asked"]
    await w.quiet()
    assert w.hub.booking(b.id).displaced and queued(w.hub) == queued(w.site) == [b.id]
    assert w.hub.place_by_rule() == [], "the site has said no to the only place"
    w.site.drop_hold(held.id)
    w.hub.cancel(other.id)
    await w.quiet()
    assert w.hub.place_by_rule() == ["placed"]
    await w.quiet()
    assert where(w, b.id) == [("3", 12, "confirmed")] * 2


@rule("block-2")
@story()
async def test_a_place_that_was_refused_is_asked_for_again_when_a_hold_there_has_ended(w: World):
    [b] = w.hub.book(2, 24)
    w.hub.book(3, 24)
    await w.quiet()
    w.site.block(2, 24)
    w.site.hold(1, 24)
    await w.quiet()
    assert w.hub.place_by_rule() == ["asked"]
    await w.quiet()
    w.forward(displaced.DECLINED_S + 60)
    w.site.tidy()
    assert w.hub.place_by_rule() == ["asked"]
    await w.quiet()
    assert where(w, b.id) == [("1", 24, "confirmed")] * 2


@rule("block-2")
@rule("terr-5")
@story()
async def test_an_override_that_the_web_has_sold_over_is_placed_by_the_hub_which_owns_its_time(w: World):
    await w.dark()
    [sold] = w.hub.book(2, 12)
    [over] = w.site.book(2, 12, override=True)
    assert w.site.place_by_rule() == []
    await w.healed()
    assert w.site.booking(over.id).displaced
    await placed(w)
    assert where(w, over.id) == [("3", 12, "confirmed")] * 2 and where(w, sold.id) == [("2", 12, "confirmed")] * 2
    assert not now_at(w.site, over.id).override and now_at(w.hub, over.id).placed


@rule("block-2")
@rule("loss-2")
@story()
async def test_what_collides_in_a_repair_is_placed_when_the_repair_is_over_and_not_before(w: World):
    [b] = w.hub.book(3, 40)
    await w.quiet()
    kept = w.site.copy_of_books()
    w.hub.cancel(b.id)
    await w.quiet()
    [other] = w.hub.book(3, 40)
    await w.quiet()
    w.network.faults = Faults(delay_s=(0.05, 0.05))
    await w.site.restore(kept)
    assert w.site.place_by_rule() == []
    await until(lambda: w.site.stream().repair and w.hub.stream().epoch == w.site.stream().epoch, 60)
    w.site.check_in(b.id)
    await until(lambda: not w.site.stream().repair and not w.hub.stream().fenced, 60)
    await w.quiet()
    assert w.hub.booking(b.id).displaced, "it had been cancelled, and its guest was let in all the same"
    await placed(w)
    assert where(w, b.id) == [("3", 40, "confirmed")] * 2, "nobody is put elsewhere who is in the bay"
    assert where(w, other.id) == [("3", 40, "confirmed")] * 2


@rule("block-2")
@story()
async def test_nothing_is_placed_that_has_begun_or_that_the_rule_leaves_to_people(w: World):
    [begun], [left] = w.site.book(1, 2), w.hub.book(2, 20)
    await w.quiet()
    w.site.block(2, 20)
    w.forward(2 * 900 + 60)
    w.site.block(1, 2)
    await w.quiet()
    for party in w.parties:
        states_rule(party, by_rule=False)
        assert party.place_by_rule() == []
        states_rule(party, by_rule=True)
    assert w.site.place_by_rule() == [] and w.site.booking(begun.id).displaced
    assert w.hub.place_by_rule() == ["placed"]
    await w.quiet()
    assert where(w, left.id) == [("3", 20, "confirmed")] * 2


@rule("block-2")
@story()
async def test_who_has_come_or_whose_cancel_is_asked_is_left_where_he_is(w: World):
    [came], [gone] = w.site.book(1, 12), w.hub.book(2, 12)
    await w.quiet()
    w.site.check_in(came.id)
    w.site.block(1, 12)
    await w.dark()
    w.site.block(2, 12)
    w.site.cancel(gone.id)
    w.forward(12 * 900 - 1200)
    assert w.site.place_by_rule() == []
    await w.healed()
    assert statuses(w, came.id, gone.id) == [("confirmed", "confirmed"), ("cancelled", "cancelled")]
    assert w.site.booking(came.id).displaced and w.site.attendance(came.id).seat == ""


@rule("block-2")
@rule("loss-1")
@story()
async def test_a_fenced_side_and_a_bay_whose_books_are_in_doubt_place_nobody(w: World):
    [b] = w.site.book(1, 20)
    await w.quiet()
    w.site.block(1, 20)
    w.site.write(lambda tx, desk: standing.halt(tx, desk, SITE, BAY + "1", "a claim without a reason"))
    assert w.site.place_by_rule() == [] == w.hub.place_by_rule()
    w.site.write(lambda tx, desk: standing.lift(tx, desk, SITE, BAY + "1", "staff", "looked at it"))
    w.site.desk.clock_doubt = lambda: "Nothing has confirmed the clock since the start."
    assert w.site.place_by_rule() == [] and await w.site.placing.run() == 0
    w.site.desk.clock_doubt = lambda: ""
    assert w.site.place_by_rule() == ["asked"]
    await w.quiet()
    assert where(w, b.id) == [("2", 20, "confirmed")] * 2


@rule("block-2")
@story()
async def test_the_rule_moves_a_start_only_as_far_and_to_such_a_bay_as_the_facility_allows(w: World):
    [b] = w.hub.book(2, 12)
    for bay in (1, 3):
        (w.site if bay == 1 else w.hub).book(bay, 10, 2)
    await w.quiet()
    w.site.block(2, 12)
    await w.quiet()
    assert w.hub.place_by_rule() == []
    states_rule(w.hub, shift_max_min=30)
    assert w.hub.place_by_rule() == []
    states_rule(w.hub, shift_max_min=60, same_make=True)
    assert w.hub.place_by_rule() == ["placed"]
    await w.quiet()
    assert where(w, b.id) == [("2", 16, "confirmed")] * 2


# ---- near the start
@rule("block-2")
@story()
async def test_near_the_start_the_site_alone_reseats_whoever_is_displaced_on_a_bay_of_its_own(w: World):
    [b], [mine] = w.hub.book(2, 12), w.site.book(1, 8)
    await w.quiet()
    await w.dark()
    w.site.block(2, 12)
    assert w.site.place_by_rule() == [], "it is the hub's, and there is time"
    w.forward(12 * 900 - w.limits.displace_local_min * 60)
    assert w.site.place_by_rule() == ["reseated"]
    assert w.site.attendance(b.id).seat == BAY + "1" and w.site.check_in(b.id).by == "staff"
    await w.healed()
    assert w.hub.place_by_rule() == [] and statuses(w, b.id, mine.id) == [("confirmed", "confirmed")] * 2
    assert w.hub.attendance(b.id).seat == BAY + "1" and not w.hub.booking(b.id).displaced


@rule("block-2")
@story()
async def test_near_the_start_the_hub_leaves_its_guest_to_the_site(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    w.site.block(2, 12)
    await w.quiet()
    await w.dark()
    w.forward(12 * 900 - w.limits.displace_local_min * 60)
    assert w.hub.place_by_rule() == []
    w.forward(-60)
    assert w.hub.place_by_rule() == ["placed"]
    w.forward(60)
    assert w.site.place_by_rule() == ["reseated"], "it cannot know"
    await w.healed()
    assert where(w, b.id) == [("3", 12, "confirmed")] * 2, "what the owner has said counts, as long as nobody is in the bay"


# ---- two sides, and nothing given up before
async def both_place(w: World) -> None:
    [b] = w.hub.book(2, 12)
    await w.quiet()
    w.site.block(2, 12)
    await w.quiet()
    await w.dark()
    for party in w.parties:
        party.place_by_rule()
    await w.healed()
    for party in w.parties:
        living = [x.id for x in party.bookings().values() if x.order_id == b.order_id and x.status == "confirmed"]
        assert len(living) == 1, f"one guest has {living}"


@rule("block-2")
@rule("own-1")
def test_two_sides_never_both_place_one_guest_and_would_if_not_only_the_owner_did():
    play(both_place)
    with pytest.raises(AssertionError):
        play(both_place, without=frozenset({"owner_only"}))


async def the_guest_comes_to_the_place_of_before(w: World) -> None:
    [b], [other] = w.hub.book(2, 12), w.hub.book(3, 12)
    await w.quiet()
    w.site.block(2, 12)
    await w.quiet()
    w.hub.cancel(other.id)
    await w.quiet()
    first = w.hub.place(b.id, 3, 12)
    await w.quiet()
    w.network.faults = Faults(delay_s=(0.1, 0.1))
    second = w.hub.place(first.id, 1, 12)
    assert second.status == "requested" and w.hub.claims()[BAY + "3", w.slot0 + 12] == ("booking", first.id)
    await until(lambda: w.hub.booking(first.id).status == "cancelling")
    await w.dark()
    w.site.check_in(first.id)  # where nobody has heard yet that it was given up
    refused(lambda: w.hub.book(3, 12))
    await w.healed()
    crowd = [x.id for x in w.hub.bookings().values() if x.displaced]
    assert not crowd, f"the slot was sold under a guest who is in the bay: {crowd}"
    assert statuses(w, first.id) == [("confirmed", "confirmed")] and w.hub.booking(second.id).status == "cancelled"


@rule("block-2")
@rule("own-3")
def test_the_old_slots_stay_claimed_until_the_new_place_is_taken_and_heard_of_and_would_be_sold_otherwise():
    play(the_guest_comes_to_the_place_of_before)
    with pytest.raises(AssertionError):
        play(the_guest_comes_to_the_place_of_before, without=frozenset({"free_on_answer"}))


@rule("block-2")
@story()
async def test_a_place_that_is_refused_changes_nothing_of_the_old_one(w: World):
    [b] = w.site.book(1, 4)
    w.site.book(2, 4)
    k = w.site.block(1, 4)
    before, claims = w.site.booking(b.id), w.site.claims()
    assert refused(lambda: w.site.place(b.id, 2, 4)) == "slot_taken"
    assert (w.site.booking(b.id), w.site.claims()) == (before, claims)
    w.site.unblock(k.id)
    assert not w.site.booking(b.id).displaced


@rule("block-2")
@story()
async def test_of_a_group_only_the_part_that_lost_its_bay_is_placed_and_the_order_stays_one(w: World):
    parts = w.hub.book([2, 3], 40) + w.hub.book(2, 60)
    await w.quiet()
    w.site.block(3, 40)
    await w.quiet()
    await placed(w)
    assert where(w, parts[1].id) == [("1", 40, "confirmed")] * 2
    assert statuses(w, parts[0].id, parts[1].id) == [("confirmed", "confirmed"), ("cancelled", "cancelled")]
    for party in w.parties:
        mine = [x for x in party.bookings().values() if x.order_id == parts[0].order_id and x.status == "confirmed"]
        assert len(mine) == 2 and {x.placed for x in mine} == {True, False}


# ---- people choose
@rule("own-4")
@story()
async def test_whoever_is_let_in_on_the_old_place_meanwhile_keeps_it_and_the_pin(w: World):
    [b] = w.site.book(1, 20)
    await w.quiet()
    k = w.site.block(1, 20)
    w.network.faults = Faults(delay_s=(0.1, 0.1))
    new = w.site.place(b.id, 2, 20)
    w.site.unblock(k.id)
    w.site.check_in(b.id)
    await w.quiet()
    assert statuses(w, b.id) == [("confirmed", "confirmed")] and w.site.booking(new.id).status == "cancelled"
    assert [party.pin_of(b.pin).id for party in w.parties] == [b.id, b.id]


@rule("block-2")
@story()
async def test_who_was_placed_may_choose_another_place_within_days_of_the_first(w: World):
    [b] = w.site.book(1, 4)
    await w.quiet()
    w.site.block(1, 4)
    assert w.site.place_by_rule() == ["placed"]
    first = now_at(w.site, b.id)
    second = w.site.place(first.id, 1, 40)
    assert (second.placed, second.price, second.pin, second.changes) == (True, b.price, b.pin, 0)
    far = displaced.REACH_SLOTS + 5
    assert refusal(lambda: w.site.place(second.id, 1, far))[0] == "bad_interval"
    assert refusal(lambda: w.site.place(second.id, 1, 40)) == ("illegal_move", "It has this place already.")


@rule("block-2")
@story()
async def test_what_cannot_be_is_refused_in_a_sentence(w: World):
    [b], [fine] = w.site.book(1, 20), w.site.book(1, 4)
    room = Resource(id=BAY + "9", name="Party room", kind="room")
    shut = Resource(id=BAY + "8", name="Box 8", number=8, active=False)
    for r in (room, shut):
        w.site.write(lambda tx, desk, r=r: records.put_document(tx, "resource", r.id, SITE, 1, records.text(r)))
    w.site.block(1, 20)
    place, slots = partial(w.site.place, b.id), 4
    for code, act in {
        "booking_not_found": lambda: w.site.place("nobody-0001", 1, 30),
        "illegal_move": lambda: w.site.place(fine.id, 2, 4),
        "bad_interval": lambda: place(2, 20, slots + 2),
        "resource_not_found": lambda: place(7, 20),
        "bad_request": lambda: place(9, 20),
        "slot_taken": lambda: place(8, 20),
    }.items():
        said = refusal(act)
        assert said[0] == code and said[1].endswith(".") and len(said[1].split()) > 4
    assert refusal(lambda: place(2, -8))[0] == "bad_interval"
    w.site.states_profile(open_until="18:00")
    assert refusal(lambda: place(1, 24))[0] == "outside_hours"
    w.site.check_in(fine.id)
    assert refusal(lambda: w.site.place(fine.id, 2, 4))[0] == "illegal_move"


@rule("terr-6")
@story()
async def test_the_same_wish_again_gives_the_same_booking_and_another_under_its_id_is_refused(w: World):
    [b] = w.site.book(1, 4)
    w.site.block(1, 4)
    new = w.site.place(b.id, 2, 4, new_id="again-0001")
    assert w.site.place(b.id, 2, 4, new_id="again-0001") == new
    assert refused(lambda: w.site.place(b.id, 3, 4, new_id="again-0001")) == "id_reused"
    assert refused(lambda: w.site.place(b.id, 3, 4)) == "already_cancelled"


@story(release_ahead_s=12 * 3600)
async def test_of_one_that_has_begun_the_rest_is_placed(w: World):
    [b] = w.site.book(1, 4, 2)
    w.site.block(1, 4, 2)
    w.forward(6 * 900)
    ways = w.site.ways_of(b.id)
    assert (ways[0].kind, ways[0].start - w.slot0, ways[0].end - w.slot0) == ("same_time", 6, 12)
    assert refused(lambda: w.site.place(b.id, 3, 8, 4)) == "bad_interval", "a later part of the rest"
    new = w.site.place(b.id, 2, 6, 6)
    assert (new.status, new.price, new.end - w.slot0) == ("confirmed", b.price, 12)


# ---- what it costs
@story()
async def test_who_lost_the_place_gets_everything_back_and_changes_for_nothing(w: World):
    [b], [plain] = w.site.book(1, 4), w.site.book(2, 2)
    w.site.block(1, 4)
    house = w.site.read(lambda tx: w.site.houses.of(tx, SITE))
    policy = msgspec.structs.replace(house.profile.policy, cancellation=(), reschedule_max=0)
    strict = msgspec.structs.replace(house, profile=msgspec.structs.replace(house.profile, policy=policy))

    def back(x) -> tuple[int, str]:
        found = w.site.read(lambda tx: frontdesk.refund_of(tx, w.site.desk, strict, w.site.booking(x.id)))
        return found.kept_cents, found.rule

    assert back(plain) == (plain.price.total_cents, "no_refund") and back(b) == (0, "full_refund")
    assert w.site.place_by_rule() == ["placed"]
    new = now_at(w.site, b.id)
    assert back(new) == (0, "full_refund")
    assert frontdesk.change_of(strict, new, w.site.desk.now()).fee_cents == 0
    dear = msgspec.structs.replace(new, placed=False, changes=1)
    assert frontdesk.change_of(house, dear, w.site.desk.now()).fee_cents == 1000
    moved = w.site.move(new.id, 1, 40)
    assert (moved.changes, moved.placed, moved.price.total_cents) == (0, False, new.price.total_cents)


@story()
async def test_a_guest_who_was_reseated_gets_everything_back(w: World):
    [b] = w.site.book(1, 4)
    w.site.block(1, 4)
    w.forward(3600)
    w.site.reseat(b.id, 2)
    house = w.site.read(lambda tx: w.site.houses.of(tx, SITE))
    assert w.site.read(lambda tx: frontdesk.refund_of(tx, w.site.desk, house, w.site.booking(b.id))).rule == "full_refund"


# ---- again and again
@story(bays=4)
async def test_placing_begins_with_the_earliest_and_one_that_fails_stops_no_other(w: World, monkeypatch=pytest.MonkeyPatch()):
    found = [w.site.book(1, start)[0] for start in (40, 20, 30)]
    await w.quiet()
    w.site.block(1, 20, 8)
    seen, settle = [], displaced.settle

    def watched(tx, desk, house, booking_id, **more):
        seen.append(booking_id)
        if booking_id == found[2].id:
            raise RuntimeError("a bug")
        return settle(tx, desk, house, booking_id, **more)

    monkeypatch.setattr(displaced, "settle", watched)
    try:
        assert await w.site.placing.run() == 2
    finally:
        monkeypatch.undo()
    assert seen == [found[1].id, found[2].id, found[0].id]
    await w.quiet()
    assert queued(w.site) == [found[2].id]


@story()
async def test_what_no_way_suits_is_left_in_peace_until_something_changes_or_a_minute_has_passed(w: World):
    [b], [other] = w.hub.book(2, 12), w.hub.book(3, 12)
    w.site.book(1, 12)
    await w.quiet()
    w.site.block(2, 12)
    await w.quiet()
    placing = w.hub.placing
    assert await placing.run() == 0
    commits, reads = w.hub.db.commits, w.hub.db.read
    asked = []
    w.hub.db.read = lambda fn: (asked.append(1), reads(fn))[1]
    w.forward(displaced.CHANGED_S - 1)
    await placing.run()
    asked.clear()
    for _ in range(3):
        await placing.run()
    assert w.hub.db.commits == commits and len(asked) <= 3
    w.hub.db.read = reads
    w.hub.cancel(other.id)
    await w.quiet()
    w.forward(displaced.CHANGED_S)
    assert await placing.run() == 1
    await w.quiet()
    assert where(w, b.id) == [("3", 12, "confirmed")] * 2


@rule("block-2")
def test_thirty_bookings_of_one_bay_are_placed_in_far_less_than_three_seconds():
    async def script(w: World) -> None:
        found = [w.hub.book(2, 20 + 4 * i)[0] for i in range(30)]
        await w.quiet()
        w.site.block(2, 20, 30)
        await w.quiet()
        began = time.perf_counter()
        done = await w.hub.placing.run() + await w.site.placing.run()
        took_s = time.perf_counter() - began
        await w.quiet()
        assert done == 30 and not queued(w.hub) and not queued(w.site)
        assert {where(w, b.id)[0][2] for b in found} == {"confirmed"}
        assert took_s < 1

    play(script, bays=8)


@story()
async def test_the_queue_tells_why_since_when_and_what_is_asked(w: World):
    [b] = w.site.book(1, 20)
    await w.quiet()
    w.site.block(1, 20)
    await w.quiet()
    for party in w.parties:
        [one] = party.read(lambda tx, p=party: displaced.queue(tx, p.desk, SITE))
        assert (one.booking.id, one.why, one.reason, one.asked) == (b.id, "block", "net torn", None)
        assert one.since_at == party.desk.now()
    w.network.faults = Faults(delay_s=(1, 1))
    new = w.site.place(b.id, 2, 20)
    [one] = w.site.read(lambda tx: displaced.queue(tx, w.site.desk, SITE))
    assert one.asked.id == new.id and one.asked.status == "requested"
    assert refused(lambda: w.site.place(b.id, 3, 20)) == "illegal_move", "one place is asked for at a time"
    await w.quiet()
    assert queued(w.site) == queued(w.hub) == []
