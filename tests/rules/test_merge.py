"""loss-2: two words on one booking, and which of them stays when the books are merged."""

import msgspec
import pytest

from shared.ledger import attendance, merge, records, sales
from shared.passes import copy_of, facts_of
from tests.rules.story import story
from tests.two_sides import SITE, World

rule = pytest.mark.rule


async def seen_at_a_dark_door(w: World):
    """A web sale that the site has not heard of, and its copy, made when the guest showed the pass."""
    await w.dark()
    [sold] = w.hub.book(2, 12)
    copy = w.site.write(lambda tx, desk: attendance.admit(tx, desk, copy_of(facts_of(sold, "0" * 16, 0))))
    return sold, copy


@rule("loss-2")
@story()
async def test_the_copy_of_a_pass_never_takes_the_place_of_the_sale_itself(w: World):
    sold, copy = await seen_at_a_dark_door(w)
    w.hub.write(lambda tx, desk: merge.take(tx, desk, copy))
    kept = w.hub.booking(sold.id)
    assert (kept.order_id, kept.customer_id, kept.price, kept.reason) == (sold.order_id, sold.customer_id, sold.price, sold.reason)


@rule("loss-2")
@story()
async def test_the_sale_takes_the_place_of_the_copy_of_its_pass(w: World):
    sold, _ = await seen_at_a_dark_door(w)
    w.site.write(lambda tx, desk: merge.take(tx, desk, sold))
    kept = w.site.bookings(SITE)[sold.id]
    assert (kept.customer_id, kept.price, kept.pin) == (sold.customer_id, sold.price, sold.pin)


@rule("loss-2")
@story()
async def test_a_guest_whose_visit_went_over_to_a_longer_booking_has_that_one_only(w: World):
    [first] = w.site.book(1, 2)
    w.site.check_in(first.id)
    longer = w.site.extend(first.id, 30)
    await w.quiet()
    old, visit = w.site.booking(first.id), w.site.attendance(first.id)
    assert (old.status, visit.state) == ("cancelled", "checked_in")
    w.hub.write(lambda tx, desk: merge.take(tx, desk, old, visit))
    assert [w.hub.booking(i).status for i in (first.id, longer.id)] == ["cancelled", "confirmed"]


@rule("loss-2")
@story()
async def test_books_that_only_asked_for_what_was_sold_and_cancelled_meanwhile_have_the_sale_as_it_was(w: World):
    [asked] = w.hub.book(1, 2)
    await w.quiet()
    w.site.write(lambda tx, desk: sales.cancel(tx, desk, asked.id, by="staff", reason="guest called"))
    await w.quiet()
    sold = w.site.booking(asked.id)

    def again(tx, desk) -> None:
        records.put_booking(tx, msgspec.structs.replace(records.booking(tx, asked.id), status="requested", seller="hub", sale_no=0, pin=""))
        merge.take(tx, desk, sold)

    w.hub.write(again)
    kept = w.hub.booking(asked.id)
    assert sold.sale_no and (kept.status, kept.seller, kept.sale_no, kept.pin) == ("cancelled", sold.seller, sold.sale_no, sold.pin)
