"""What goes wrong without the guards of ownership, passes and blocks: own-1 to own-6, pass-1, pass-3, block-1, block-2."""

from __future__ import annotations

from shared.ledger.desk import Limits
from shared.messages import BlockStated
from tests.rules.harm import displaced, must, refused, scenario
from tests.two_sides import World


@scenario(rule="own-1", guard="owner_only")
async def the_web_cancels_a_booking_of_a_dark_site(w: World):
    [b] = w.site.book(1, 6)
    await w.quiet()
    await w.dark()
    w.hub.cancel(b.id)
    must(w.hub.booking(b.id).status == "confirmed", "the hub gave up a booking that is the site's to give up")


@scenario(rule="own-3", guard="free_on_answer")
async def a_cancelled_slot_is_sold_while_its_guest_checks_in(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    await w.dark()
    w.hub.cancel(b.id)
    w.site.check_in(b.id)
    refused(lambda: w.hub.book(2, 12))
    await w.healed()
    must(not displaced(w), "the slot was sold again under a guest who had checked in")


@scenario(rule="own-3", guard="checked_in_stays")
async def a_cancel_crosses_a_check_in(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    await w.dark()
    w.hub.cancel(b.id)
    w.site.check_in(b.id)
    await w.healed()
    must(w.site.booking(b.id).status == "confirmed", "the booking of a guest who is in the bay was cancelled")


@scenario(rule="own-4", guard="withdraw_dead_move")
async def the_customer_cancels_while_the_move_is_asked(w: World):
    [b] = w.hub.book(2, 12)
    await w.quiet()
    new = w.hub.move(b.id, 1, 12)
    w.hub.cancel(b.id)
    await w.quiet()
    live = [x.id for x in w.site.bookings().values() if x.status == "confirmed"]
    must(not live, f"the customer cancelled and yet holds {live}, the new one being {new.id}")


@scenario(rule="own-6", guard="newer_document")
async def an_old_document_comes_after_a_newer(w: World):
    first = w.site.block(2, 12)
    await w.quiet()
    w.site.unblock(first.id)
    await w.quiet()
    w.site.say(BlockStated(block=first))
    await w.quiet()
    must(not w.hub.claims(), "a block that had ended came back at the hub and kept the bay from being sold")


@scenario(rule="pass-1", guard="sale_number_heard")
async def both_sides_number_their_sales(w: World):
    for start in (2, 4, 6):
        w.site.book(1, 2 * start)
    await w.quiet()
    [b] = w.hub.book(2, 12)
    must(b.sale_no > 3, "a later sale bears a number that an earlier one had, so the wrong guest would be seated")


@scenario(rule="pass-3", guard="pin_once", limits=Limits(pin_lease=1, pin_floor=1))
async def the_hub_has_one_pin_left(w: World):
    [one], [other] = w.hub.book(2, 12), w.hub.book(2, 20)
    must(one.pin != other.pin, "one PIN opens the door for two bookings")


@scenario(rule="block-1", guard="block_waits")
async def a_booking_under_a_block_is_cancelled(w: World):
    [b] = w.site.book(1, 6)
    w.site.block(1, 6)
    w.site.cancel(b.id)
    code = refused(lambda: w.site.book(1, 6))
    must(code == "slot_taken", "a bay that is out of service was sold")


@scenario(rule="block-2", guard="displaced_first")
async def a_slot_is_freed_under_a_displaced_guest(w: World):
    await w.dark()
    [sold] = w.hub.book(2, 12)
    [walk_in] = w.site.book(2, 12, override=True)
    await w.healed()
    w.hub.cancel(sold.id)
    await w.quiet()
    refused(lambda: w.hub.book(2, 12))
    await w.quiet()
    must(not w.site.booking(walk_in.id).displaced, "somebody bought the slot before the displaced guest had it")
