"""block-1 and block-2: a bay out of service, and guests whose slots are somebody else's."""

import pytest

from shared.ledger import records
from tests.rules.harm import refused
from tests.rules.story import statuses, story
from tests.two_sides import SITE, World

rule = pytest.mark.rule


def held_by(party, bay: int) -> dict[int, str]:
    return {slot - party.world.slot0: ref for (r, slot), (_, ref) in party.claims().items() if r == f"{SITE}.box-{bay}"}


@rule("block-1")
@story()
async def test_a_block_needs_no_line_and_takes_free_slots_at_once(w: World):
    k = w.site.block(2, 20)
    assert held_by(w.site, 2) == {slot: k.id for slot in range(20, 24)}
    await w.quiet()
    assert held_by(w.hub, 2) == held_by(w.site, 2)
    assert refused(lambda: w.hub.book(2, 20)) == "slot_taken"


@rule("block-1")
@story()
async def test_a_block_takes_an_occupied_slot_in_the_transaction_in_which_the_booking_there_ends_or_moves(w: World):
    [ends], [moves] = w.site.book(1, 6), w.site.book(1, 10)
    k = w.site.block(1, 6, 2)
    assert held_by(w.site, 1) == {6: ends.id, 7: ends.id, 8: ends.id, 9: ends.id, 10: moves.id, 11: moves.id, 12: moves.id, 13: moves.id}
    w.site.cancel(ends.id)
    w.site.move(moves.id, 1, 20)
    assert [held_by(w.site, 1)[slot] for slot in range(6, 14)] == [k.id] * 8


@rule("block-1")
@story()
async def test_the_hub_asks_for_a_block_and_the_site_carries_it_out(w: World):
    k = w.hub.block(1, 12)
    assert k.status == "asked" and w.hub.claims() == {}
    await w.quiet()
    assert held_by(w.site, 1) == held_by(w.hub, 1) == {slot: k.id for slot in range(12, 16)}
    w.hub.unblock(k.id)
    await w.quiet()
    assert w.site.claims() == w.hub.claims() == {}
    await w.dark()
    assert refused(lambda: w.hub.block(1, 20)) == "site_unreachable"
    assert w.site.block(1, 20).status == "active"


@rule("block-2")
@story()
async def test_a_block_over_a_booking_displaces_it_and_when_it_ends_the_guest_has_the_bay_again(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    k = w.site.block(2, 12)
    await w.quiet()
    assert w.hub.booking(b.id).displaced and w.site.booking(b.id).displaced
    assert (w.hub.booking(b.id).status, refused(lambda: w.site.check_in(b.id))) == ("confirmed", "displaced")
    for party in w.parties:
        queue = party.read(lambda tx: records.conflicts_open(tx, SITE))
        assert {row[0] for row in queue} == {b.id}
    w.site.unblock(k.id)
    await w.quiet()
    assert not w.hub.booking(b.id).displaced and not w.site.booking(b.id).displaced
    assert w.site.read(lambda tx: records.conflicts_open(tx, SITE)) == []
    w.site.check_in(b.id)


@rule("block-2")
@story()
async def test_a_freed_slot_goes_to_the_displaced_booking_with_the_lowest_sale_number_before_anyone_can_buy_it(w: World):
    await w.dark()
    [sold] = w.hub.book(2, 12)
    [first] = w.site.book(2, 12, override=True)
    await w.healed()
    w.hub.cancel(sold.id)
    await w.quiet()
    assert held_by(w.site, 2) == held_by(w.hub, 2) == {slot: first.id for slot in range(12, 16)}
    assert not w.site.booking(first.id).displaced and not w.hub.booking(first.id).displaced


@rule("block-2")
@story()
async def test_from_half_an_hour_before_the_start_the_site_alone_reseats_a_displaced_guest(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    await w.dark()
    w.site.block(2, 12)
    assert refused(lambda: w.site.reseat(b.id, 1)) == "illegal_move"
    w.forward(12 * 900 - w.limits.displace_local_min * 60)
    assert refused(lambda: w.site.reseat(b.id, 3)) == "not_mine"
    assert refused(lambda: w.site.reseat(b.id, 2)) == "not_mine"
    w.site.reseat(b.id, 1)
    w.site.check_in(b.id)
    await w.healed()
    assert statuses(w, b.id) == [("confirmed", "confirmed")]
    assert w.hub.attendance(b.id).seat == f"{SITE}.box-1"
    assert [held_by(party, 1)[slot] for party in w.parties for slot in range(12, 16)] == [b.id] * 8
    assert refused(lambda: w.site.reseat(b.id, 1)) == "illegal_move"


@rule("block-2")
@story()
async def test_a_guest_is_not_reseated_on_a_bay_that_is_out_of_service(w: World):
    [b] = w.site.book(1, 6)
    w.site.block(1, 6)
    w.forward(5 * 900)
    assert refused(lambda: w.site.reseat(b.id, 1)) == "slot_taken"
