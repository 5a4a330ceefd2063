"""own-1 to own-6: who may change a booking, and what becomes of its slots meanwhile."""


import msgspec
import pytest

from shared.bookings import LEGAL
from shared.ledger import records
from shared.ledger.desk import Limits
from shared.ledger.frontdesk import customer_of
from shared.messages import CancelRequest, CustomerMerged, CustomerStated, FacilityStated, ResourceStated
from shared.model import Customer
from tests.rules.harm import refused
from tests.rules.story import deafen, statuses, story, until
from tests.two_sides import SITE, World

rule = pytest.mark.rule
replace = msgspec.structs.replace


@rule("own-1")
@story()
async def test_only_the_owner_gives_a_booking_up_and_the_other_side_asks(w: World):
    [near], [far] = w.site.book(1, 6), w.hub.book(2, 12)
    await w.quiet()
    assert (w.hub.cancel(near.id)[1], w.site.cancel(far.id)[1]) == ("asked", "asked")
    assert statuses(w, near.id, far.id) == [("confirmed", "confirmed")] * 2
    await w.quiet()
    assert statuses(w, near.id, far.id) == [("cancelled", "cancelled")] * 2


@rule("own-1")
def test_a_status_moves_forward_only_but_for_the_one_step_back_from_a_refused_cancel():
    order = ["requested", "pending", "confirmed", "cancelling", "cancelled", "declined", "expired"]
    back = {(a, b) for a, following in LEGAL.items() for b in following if order.index(b) < order.index(a)}
    assert back == {("cancelling", "confirmed")}


@rule("own-1")
@story()
async def test_a_move_at_the_site_passes_the_claim_over_in_one_transaction(w: World):
    [b] = w.site.book(1, 6)
    new = w.site.move(b.id, 1, 8)
    assert (new.status, w.site.booking(b.id).status) == ("confirmed", "cancelled")
    assert sorted(s - w.slot0 for _, s in w.site.claims()) == [8, 9, 10, 11]
    assert (new.order_id, new.replaces, new.pin) == (b.order_id, b.id, b.pin)


@rule("own-1")
@rule("own-3")
@story()
async def test_a_move_at_the_hub_keeps_the_union_of_slots_until_the_site_has_answered(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    await w.dark()
    new = w.hub.move(b.id, 2, 14)
    assert (new.status, w.hub.booking(b.id).status) == ("confirmed", "cancelling")
    assert sorted(s - w.slot0 for _, s in w.hub.claims()) == [12, 13, 14, 15, 16, 17]
    assert refused(lambda: w.hub.book(2, 10)) == "slot_taken"
    await w.healed()
    assert sorted(s - w.slot0 for _, s in w.hub.claims()) == [14, 15, 16, 17]


@rule("own-1")
@story()
async def test_an_extension_is_a_longer_booking_in_the_place_of_the_old_and_refused_where_the_next_guest_has_the_bay(w: World):
    [b] = w.site.book(1, 6)
    w.site.check_in(b.id)
    longer = w.site.extend(b.id, 30)
    assert (longer.start, longer.end) == (b.start, b.end + 2)
    assert w.site.attendance(longer.id).state == "checked_in"
    w.site.book(1, 12)
    assert refused(lambda: w.site.extend(longer.id, 30)) == "slot_taken"
    assert w.site.booking(longer.id).status == "confirmed"


@rule("own-2")
@story()
async def test_a_guest_of_the_hub_checks_in_and_out_however_long_the_cut(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    await w.dark()
    w.forward(12 * 900)
    w.site.check_in(b.id)
    w.site.attend(b.id, "completed")
    assert w.hub.attendance(b.id) is None
    await w.healed()
    assert w.hub.attendance(b.id) == w.site.attendance(b.id)
    assert (w.hub.attendance(b.id).state, w.hub.attendance(b.id).version) == ("completed", 2)


@rule("own-3")
@story()
async def test_slots_that_the_hub_gave_up_are_sold_again_only_after_the_site_has_answered(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    deafen(w, "hub")
    w.hub.cancel(b.id)
    await until(lambda: w.site.booking(b.id).status == "cancelled")
    assert refused(lambda: w.hub.book(2, 12)) == "slot_taken"
    assert w.hub.booking(b.id).status == "cancelling"
    await w.healed()
    assert w.hub.booking(b.id).status == "cancelled"
    assert w.hub.book(2, 12)[0].status == "confirmed"


@rule("own-3")
@story()
async def test_the_site_answers_a_cancel_that_it_hears_after_the_slots_end(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    await w.dark()
    w.hub.cancel(b.id)
    w.forward(24 * 900)
    await w.healed()
    assert statuses(w, b.id) == [("cancelled", "cancelled")]


@rule("own-3")
@story()
async def test_a_move_refused_because_its_guest_has_checked_in_gives_the_old_its_slots_back_and_cancels_all_that_followed(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    await w.dark()
    first = w.hub.move(b.id, 2, 14)
    second = w.hub.move(first.id, 3, 16)
    w.site.check_in(b.id)
    await w.healed()
    await w.quiet()
    assert statuses(w, b.id, first.id, second.id) == [("confirmed", "confirmed"), ("cancelled", "cancelled"), ("cancelled", "cancelled")]
    assert {ref for _, ref in w.hub.claims().values()} == {b.id}
    assert w.site.pin_of(b.pin).id == b.id


@rule("own-4")
@story()
async def test_a_move_to_the_other_side_asks_first_and_cancels_the_old_when_it_is_confirmed(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    deafen(w, "hub")
    new = w.hub.move(b.id, 1, 12)
    await until(lambda: w.site.booking(new.id) is not None)
    assert (new.status, w.hub.booking(b.id).status) == ("requested", "confirmed")
    await w.healed()
    assert statuses(w, b.id, new.id) == [("cancelled", "cancelled"), ("confirmed", "confirmed")]


@rule("own-4")
@story()
async def test_both_books_say_what_took_the_place_of_a_booking_that_was_moved_across_the_line(w: World):
    [hubs] = w.hub.book(2, 12)
    [sites] = w.site.book(1, 6)
    await w.quiet()
    down, up = w.hub.move(hubs.id, 1, 12), w.site.move(sites.id, 1, 20)
    await w.quiet()
    assert statuses(w, hubs.id, down.id, sites.id, up.id) == [("cancelled",) * 2, ("confirmed",) * 2] * 2
    for old, new in ((hubs, down), (sites, up)):
        assert w.hub.booking(old.id).replaced_by == w.site.booking(old.id).replaced_by == new.id


@rule("own-4")
@story()
async def test_a_refused_move_changes_nothing(w: World):
    deafen(w, "hub")
    w.site.book(1, 12)
    [b] = w.hub.book(2, 12)
    new = w.hub.move(b.id, 1, 12)
    await w.healed()
    assert statuses(w, b.id, new.id) == [("confirmed", "confirmed"), ("declined", "declined")]


@rule("own-4")
@story()
async def test_a_move_asked_of_the_owner_is_run_by_the_owner(w: World):
    [b] = w.site.book(1, 6)
    await w.quiet()
    new = w.hub.move(b.id, 1, 20)
    assert new.status == "requested"
    await w.quiet()
    assert statuses(w, b.id, new.id) == [("cancelled", "cancelled"), ("confirmed", "confirmed")]
    assert w.site.booking(new.id).seller == "site"


@rule("own-4")
@story(sites=(SITE, "truro"))
async def test_a_cancel_that_crosses_a_move_to_another_facility_ends_it_there(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    deafen(w, "hub")
    new = w.hub.move(b.id, 1, 4, site_id="truro")
    w.site.cancel(b.id)
    w.heal()
    await w.quiet(SITE, "truro")
    assert w.hub.booking(b.id).status == w.site.booking(b.id).status == "cancelled"
    assert w.hub.booking(new.id).status == w.sites["truro"].booking(new.id).status == "cancelled"


@rule("own-4")
@story(limits=Limits(answer_by_s=7200))
async def test_a_booking_that_both_sides_move_while_its_slots_change_hands_is_moved_once(w: World):
    [b] = w.hub.book(2, 8)
    await w.quiet()
    by_hub = w.hub.move(b.id, 1, 12)
    by_site = w.site.move(b.id, 3, 20)
    w.forward(3600)
    w.hub.release()
    await w.quiet()
    assert statuses(w, b.id, by_hub.id, by_site.id) == [("cancelled", "cancelled"), ("confirmed", "confirmed"), ("cancelled", "cancelled")]
    assert w.site.booking(b.id).replaced_by == w.hub.booking(b.id).replaced_by == by_hub.id
    assert w.hub.book(3, 20)[0].status == "confirmed"


@rule("own-4")
@rule("terr-6")
@story(limits=Limits(answer_by_s=7200))
async def test_a_move_whose_old_slots_were_released_meanwhile_is_run_to_its_end_by_the_new_owner(w: World):
    [b] = w.hub.book(2, 8)
    await w.quiet()
    new = w.site.move(b.id, 2, 20)
    w.forward(3600)
    w.hub.release()
    await w.quiet()
    assert w.site.line(2) == 12
    assert statuses(w, b.id, new.id) == [("cancelled", "cancelled"), ("confirmed", "confirmed")]


@rule("own-4")
@story(sites=(SITE, "truro"))
async def test_a_move_to_another_facility_is_run_by_the_hub_and_can_be_moved_on_there(w: World):
    [b] = w.hub.book(2, 12)
    new = w.hub.move(b.id, 2, 14, site_id="truro")
    for site_id in w.sites:
        await w.quiet(site_id)
    assert (w.hub.booking(b.id).status, w.sites["truro"].booking(new.id).status) == ("cancelled", "confirmed")
    # the order was made at another facility: its stream must not carry that name (it would stop)
    further = w.hub.move(new.id, 1, 12, site_id="truro")
    await w.quiet("truro")
    assert w.sites["truro"].booking(further.id).status == "confirmed"
    assert refused(lambda: w.sites["truro"].move(further.id, 2, 4, site_id=SITE)) == "facility_not_found"


@rule("own-4")
@story()
async def test_giving_up_a_change_that_is_done_already_leaves_the_new_booking_standing(w: World):
    [b] = w.site.book(1, 6)
    await w.quiet()
    deafen(w, "hub")
    new = w.hub.move(b.id, 1, 20)
    await until(lambda: w.site.booking(new.id) is not None)
    w.hub.cancel(new.id)
    await w.healed()
    assert statuses(w, b.id, new.id) == [("cancelled", "cancelled"), ("confirmed", "confirmed")]
    assert not w.hub.booking(new.id).withdrawn


@rule("own-4")
@story(sites=(SITE, "truro"))
async def test_giving_up_a_change_whose_yes_is_on_its_way_leaves_the_new_booking_and_not_both(w: World):
    [b] = w.site.book(1, 6)
    await w.quiet()
    deafen(w, SITE)
    new = w.site.move(b.id, 2, 20)
    await until(lambda: w.hub.booking(new.id) is not None)
    w.site.cancel(new.id)
    await w.healed()
    assert statuses(w, b.id, new.id) == [("cancelled", "cancelled"), ("confirmed", "confirmed")]
    deafen(w, "hub")
    far = w.hub.move(new.id, 1, 4, site_id="truro")
    await until(lambda: w.sites["truro"].booking(far.id) is not None)
    w.hub.cancel(far.id)
    w.heal()
    await w.quiet(SITE, "truro")
    assert w.hub.booking(new.id).status == w.site.booking(new.id).status == "cancelled"
    assert w.hub.booking(far.id).status == w.sites["truro"].booking(far.id).status == "confirmed"


@rule("own-4")
@story(sites=(SITE, "truro"))
async def test_a_change_to_another_facility_given_up_too_late_leaves_open_whether_the_old_booking_ends(w: World):
    def asked() -> str:
        return w.hub.read(lambda tx: records.ask(tx, f"cancel|{b.id}"))[0]

    [b] = w.site.book(1, 6)
    await w.quiet()
    w.cut(SITE)
    deafen(w, "hub")
    far = w.hub.move(b.id, 1, 4, site_id="truro")
    await until(lambda: w.sites["truro"].booking(far.id) is not None)
    w.hub.cancel(far.id)
    w.network.heal("hub")
    await w.quiet("truro")
    assert asked() == "waiting"
    w.heal()
    await w.quiet(SITE, "truro")
    assert (w.site.booking(b.id).status, asked()) == ("cancelled", "done")


@rule("own-4")
@story()
async def test_a_cancel_that_names_what_replaces_it_and_is_heard_again_leaves_that_standing(w: World):
    [b] = w.site.book(1, 6)
    new = w.site.move(b.id, 1, 4)
    await w.quiet()
    w.hub.say(CancelRequest(booking_id=b.id, by="move", reason="moved", replaced_by=new.id))
    await w.quiet()
    assert statuses(w, b.id, new.id) == [("cancelled", "cancelled"), ("confirmed", "confirmed")]


@rule("own-4")
@story()
async def test_who_gives_up_a_change_and_the_new_booking_in_either_order_has_none(w: World):
    [b] = w.site.book(1, 6)
    await w.quiet()
    deafen(w, SITE)
    new = w.site.move(b.id, 2, 20)
    await until(lambda: w.hub.booking(new.id) is not None)
    w.hub.cancel(new.id)
    w.site.cancel(new.id)
    await w.healed()
    assert statuses(w, b.id, new.id) == [("cancelled", "cancelled")] * 2


@rule("own-4")
@story()
async def test_giving_up_one_change_of_a_group_leaves_the_other_change_alone(w: World):
    one, other = w.site.book([1, 2], 4)
    await w.quiet()
    deafen(w, SITE)
    given_up, wanted = w.hub.move(one.id, 2, 20), w.hub.move(other.id, 3, 20)
    w.hub.cancel(given_up.id)
    await w.healed()
    await w.quiet()
    assert statuses(w, one.id, other.id, wanted.id) == [("confirmed", "confirmed"), ("cancelled", "cancelled"), ("confirmed", "confirmed")]
    assert "confirmed" not in statuses(w, given_up.id)[0]


@rule("own-5")
@story()
async def test_an_offer_on_a_slot_of_the_site_is_a_hold_that_can_be_extended_once_used_or_dropped(w: World):
    used, dropped = w.hub.hold(1, 12), w.hub.hold(1, 20)
    await w.quiet()
    assert {ref for _, ref in w.site.claims().values()} == {used.id, dropped.id}
    w.hub.prolong(used.id)
    await w.quiet()
    assert refused(lambda: w.hub.prolong(used.id)) == "hold_ended"
    assert w.site.hold_of(used.id).expires_at == w.site.hold_of(dropped.id).expires_at + w.limits.hold_s
    [b] = w.hub.book(1, 12, hold_id=used.id)
    w.hub.drop_hold(dropped.id)
    await w.quiet()
    assert statuses(w, b.id) == [("confirmed", "confirmed")]
    assert {ref for _, ref in w.site.claims().values()} == {b.id}


@rule("own-5")
@rule("B5")
@story()
async def test_a_hold_on_a_taken_slot_is_declined_even_where_part_of_it_is_free(w: World):
    deafen(w, "hub")
    w.site.book(1, 14)
    asked = w.hub.hold(1, 12)
    await w.healed()
    assert (w.hub.hold_of(asked.id).status, w.hub.hold_of(asked.id).reason) == ("declined", "slot_taken")
    assert refused(lambda: w.site.hold(1, 12)) == "slot_taken"
    assert refused(lambda: w.site.hold(1, 16)) == "slot_taken"


@rule("own-6")
@story()
async def test_documents_are_taken_whole_and_only_when_newer(w: World):
    facility = w.site.read(lambda tx: records.facility(tx, SITE))
    bay = w.site.read(lambda tx: records.resource(tx, f"{SITE}.box-1"))
    for version, name in ((3, "Third"), (2, "Second")):
        w.site.say(FacilityStated(facility=replace(facility, version=version, name=name)))
        w.site.say(ResourceStated(resource=replace(bay, version=version, name=name), line=0))
    await w.quiet()
    assert w.hub.read(lambda tx: records.facility(tx, SITE)).name == "Third"
    assert w.hub.read(lambda tx: records.resource(tx, bay.id)).name == "Third"
    assert w.hub.line(1) == 192, "a document restated lowers no line"


@rule("own-6")
@story()
async def test_a_customer_made_at_a_dark_kiosk_gets_an_id_there_and_merges_are_resolved_to_their_end(w: World):
    await w.dark()
    new = w.site.write(lambda tx, desk: customer_of(tx, desk, name="Testa  Birdie", phone="902-555-0101"))
    assert (new.id != "", new.name) == (True, "Testa Birdie")
    await w.healed()
    known = Customer(id="person-known", name="Testa Birdie", version=4)
    w.hub.say(CustomerStated(customer=known))
    w.hub.say(CustomerMerged(old_id=new.id, new_id="person-between"))
    w.hub.say(CustomerMerged(old_id="person-between", new_id=known.id))
    await w.quiet()
    assert w.site.read(lambda tx: records.customer(tx, new.id)) == known
