"""The rest of a no-show's time is free again on both sides, and the guest keeps what they paid for until then (B15, own-1, own-2)."""

import pytest

from shared.ledger import resale
from shared.presence import REST_ON_SALE
from tests.rules.harm import refused
from tests.rules.story import statuses, story
from tests.two_sides import SITE, World, play

rule = pytest.mark.rule


async def over_there(w: World, minutes: int) -> None:
    """So many minutes later, with the releases of the time in between."""
    for _ in range(minutes // 60):
        w.forward(3600)
        w.hub.tidy()
        await w.quiet()
    w.forward(minutes % 60 * 60)


@pytest.mark.parametrize(("seller", "dark"), [("site", False), ("site", True), ("hub", False), ("hub", True)])
@rule("own-1")
@rule("own-2")
def test_both_books_have_the_shorter_booking_and_the_rest_is_sold_to_somebody_else(seller: str, dark: bool):
    async def script(w: World) -> None:
        bay = {"site": 1, "hub": 2}[seller]
        [b] = {"site": w.site, "hub": w.hub}[seller].book(bay, 12, 2)
        await w.quiet()
        await over_there(w, 180)
        if dark:
            await w.dark()
        w.forward(16 * 60)
        w.site.attend(b.id, "no_show")
        new = w.site.sell_rest(b.id)
        assert (new.start, new.end - new.start, new.price, new.pin, new.order_id) == (
            b.start,
            2,
            w.site.booking(b.id).price,
            w.site.booking(b.id).pin,
            b.order_id,
        )
        assert (new.replaces, new.reason, new.placed, new.changes) == (b.id, REST_ON_SALE, False, 0)
        assert w.site.sell_rest(b.id) == w.site.sell_rest(new.id) == new, "the same again changes nothing"
        [other] = w.site.book(bay, 14, 1.5)
        assert (other.status, other.start) == ("confirmed", new.end)
        if dark:
            await w.healed()
        await w.quiet()
        assert statuses(w, b.id, new.id, other.id) == [("cancelled",) * 2, ("confirmed",) * 2, ("confirmed",) * 2]
        for party in w.parties:
            here, before = party.attendance(new.id), party.attendance(b.id)
            assert (here.state, here.by, before.state, party.booking(b.id).replaced_by) == ("no_show", "staff", "", new.id)
            assert here.how == "the rest from 15:30 is on sale"
            assert not any(x.displaced for x in party.bookings().values()) and party.pin_of(new.pin).id == new.id

    play(script)


@story()
async def test_of_a_guest_who_was_given_another_bay_it_is_the_rest_there(w: World):
    [b] = w.site.book(1, 0, 2)
    k = w.site.block(1, 0, 4)
    w.site.reseat(b.id, 2)
    w.forward(16 * 60)
    w.site.attend(b.id, "no_show")
    new = w.site.sell_rest(b.id)
    assert new.resource_id.endswith("box-2") and not new.displaced and w.site.attendance(new.id).seat == ""
    assert {s - w.slot0 for (r, s), (_, ref) in w.site.claims().items() if r == new.resource_id and ref == new.id} == {0, 1}
    assert w.site.book(2, 2, 1.5)[0].status == "confirmed"
    assert {ref for (r, _), (_, ref) in w.site.claims().items() if r == b.resource_id} == {k.id}
    await w.quiet()


@story()
async def test_where_staff_keep_the_bay_for_themselves_nothing_is_offered_to_be_sold(w: World):
    [b] = w.site.book(1, 0, 2)
    w.site.block(1, 0, 4)
    w.site.reseat(b.id, 2)
    w.forward(16 * 60)
    w.site.attend(b.id, "no_show")
    w.site.block(2, 0, 4)
    assert w.site.write(lambda tx, desk: resale.rest_of(tx, desk, w.site.houses.of(tx, SITE), w.site.booking(b.id))) is None
    assert refused(lambda: w.site.sell_rest(b.id)) == "illegal_move"


@story()
async def test_only_the_rest_of_a_no_shows_own_time_that_is_worth_something_is_sold(w: World):
    [running], [over], [short], [lost] = w.site.book(1, 0, 2), w.site.book(2, 0), w.site.book(3, 0), w.site.book(1, 8, 2)
    [far] = w.hub.book(2, 12, 2)
    await w.quiet()
    w.site.block(1, 8, 1)
    w.forward(20 * 60)
    for b in (over, short, lost, far):
        w.site.attend(b.id, "no_show")
    w.site.book(3, 4)
    said = {
        name: refused(lambda i=i: w.site.sell_rest(i))
        for name, i in (("nobody", "nobody"), ("running", running.id), ("lost", lost.id), ("far", far.id), ("short", short.id))
    }
    assert said == {
        "nobody": "booking_not_found",
        "running": "illegal_move",
        "lost": "illegal_move",
        "far": "not_mine",
        "short": "illegal_move",
    }
    w.site.check_in(running.id)
    assert refused(lambda: w.site.sell_rest(running.id)) == "illegal_move", "its guest plays, with an hour and a half to go"
    w.forward(3600)
    assert refused(lambda: w.site.sell_rest(over.id)) == "illegal_move"
    assert refused(lambda: w.hub.sell_rest(far.id)) in ("illegal_move", "not_mine")


@story()
async def test_a_guest_who_comes_after_all_gets_the_time_back_for_nothing_as_long_as_nobody_has_it(w: World):
    [b] = w.site.book(1, 0, 2)
    w.forward(16 * 60)
    w.site.attend(b.id, "no_show")
    new = w.site.sell_rest(b.id)
    w.site.check_in(new.id)
    part = w.site.extend(new.id, 30)
    longer = w.site.extend(part.id, 30)
    assert (part.end, part.price) == (new.end + 2, b.price)
    assert (longer.end, longer.price) == (new.end + 4, b.price) and w.site.attendance(longer.id).state == "checked_in"
    more = w.site.extend(longer.id, 60)
    assert more.price.total_cents > b.price.total_cents
