"""What goes wrong without the guards of territory: terr-1 to terr-10, and the one claim per slot below them all."""

from __future__ import annotations

import asyncio

from shared.ledger import records
from shared.ledger.desk import Limits
from shared.messages import BookingRequest, Released
from tests.invariants import overlaps
from tests.rules.harm import displaced, must, refused, scenario
from tests.rules.story import deafen, until
from tests.two_sides import SITE, World

BOX_2 = f"{SITE}.box-2"
PATIENT = Limits(answer_by_s=7200)


@scenario(rule="B5", guard="claim_is_exclusive")
async def two_guests_ask_for_the_same_bay(w: World):
    w.site.book(1, 6)
    refused(lambda: w.site.book(1, 6))
    must(not overlaps(w), "one bay was sold to two guests by the same side")


@scenario(rule="terr-1", guard="sell_own_only")
async def both_sides_sell_one_slot_in_a_cut(w: World):
    await w.dark()
    w.site.book(1, 20)
    refused(lambda: w.hub.book(1, 20))
    await w.healed()
    must(not displaced(w), "the web and the desk sold the same slot while they could not hear each other")


@scenario(rule="terr-2", guard="release_needs_fresh_link")
async def the_hub_gives_ground_away_in_a_cut(w: World):
    await w.dark()
    before = w.hub.line(2)
    w.forward(4 * 3600)
    w.hub.release()
    must(w.hub.line(2) == before, "the hub gave slots to a site that cannot hear of it, so neither side could sell them")


@scenario(rule="terr-2", guard="release_stops_at_untold", limits=PATIENT)
async def a_release_meets_a_pending_part(w: World):
    deafen(w, "hub")
    w.hub.book([1, 2], 12)
    await until(lambda: w.site.stream().applied_no == w.hub.stream().sent_no)
    w.forward(2 * 3600)
    w.hub.release()
    await until(lambda: w.site.stream().applied_no == w.hub.stream().sent_no)
    refused(lambda: w.site.book(2, 12))
    await w.healed()
    must(not displaced(w), "the group's bay at the hub was given to the site, which sold it to a walk-in")


@scenario(rule="terr-2", guard="one_release_waiting")
async def two_releases_of_one_bay_are_under_way(w: World):
    deafen(w, SITE)
    for _ in range(2):
        w.forward(3600)
        w.hub.release()
    out = w.hub.read(lambda tx: tx.all("SELECT body FROM outbox WHERE type = 'Released'"))
    must(sum(BOX_2 in row[0] for row in out) == 1, "a second release started before the first was applied")


@scenario(rule="terr-2", guard="release_ahead_max", limits=Limits(release_ahead_max_s=48 * 3600))
async def a_long_booking_lies_across_the_furthest_line(w: World):
    refused(lambda: w.hub.book(1, 190))
    must(w.hub.line(1) <= 192, "the line moved further from now than the constant allows")


@scenario(rule="terr-2", guard="lines_only_rise")
async def an_old_release_comes_late(w: World):
    w.forward(3600)
    w.hub.release()
    await w.quiet()
    before = w.site.line(2)
    w.hub.say(Released(resource_id=BOX_2, line=w.slot0 + 9))
    await w.quiet()
    must(w.site.line(2) == before, "an old release took back ground that the site may have sold")


@scenario(rule="terr-5", guard="override_yields")
async def staff_override_what_the_web_has_sold(w: World):
    await w.dark()
    [sold] = w.hub.book(2, 12)
    w.site.book(2, 12, override=True)
    await w.healed()
    must(not w.site.booking(sold.id).displaced, "the guest who paid on the web stands before a bay that staff gave away")


@scenario(rule="terr-6", guard="decided_once")
async def a_decided_request_is_asked_again(w: World):
    [b] = w.hub.book(1, 12)
    asked = w.hub.booking(b.id)
    order = w.hub.read(lambda tx: records.order(tx, b.order_id))
    await w.quiet()
    w.hub.say(BookingRequest(order=order, bookings=(asked,), answer_by=asked.answer_by))
    await w.quiet()
    must(w.site.booking(b.id).status == "confirmed", "a confirmed booking was decided a second time and declined")


@scenario(rule="terr-6", guard="same_body")
async def an_id_is_used_for_another_booking(w: World):
    [b] = w.site.book(1, 6, booking_id="client-made-id")
    code = refused(lambda: w.site.book(1, 20, booking_id=b.id))
    must(code == "id_reused", "a request for another time was answered with the booking of the first")


@scenario(rule="terr-6", guard="owner_judges_hours")
async def the_site_has_new_opening_hours_that_the_web_does_not_know(w: World):
    w.site.states_profile(open_until="20:00")
    [b] = w.hub.book(1, 34)
    await w.quiet()
    must(w.hub.booking(b.id).status == "declined", "a bay was sold for a time at which the facility is closed")


@scenario(rule="terr-6", guard="not_mine_is_no_answer", limits=PATIENT)
async def a_request_crosses_the_release_of_its_slots(w: World):
    deafen(w, SITE)
    w.site.book(2, 8)
    w.forward(3600)
    w.hub.release()
    await until(lambda: w.hub.stream().applied_no == w.site.stream().sent_no)
    [b] = w.site.bookings().values()
    must(w.hub.booking(b.id) is None, "the hub sold slots that it had released already")


@scenario(rule="terr-7", guard="ask_only_when_up")
async def the_web_wants_a_slot_of_a_dark_site(w: World):
    await w.dark()
    code = refused(lambda: w.hub.book(1, 12))
    must(code == "site_unreachable", "the customer was left waiting for an answer that could not come")


@scenario(rule="terr-9", guard="answer_by")
async def a_request_is_stuck_until_after_its_time(w: World):
    deafen(w, SITE)
    [b] = w.hub.book(1, 12)
    await asyncio.sleep(120)
    await w.healed()
    must(w.hub.booking(b.id).status == "declined", "a customer who had gone elsewhere was sold a booking two minutes later")


@scenario(rule="terr-10", guard="pending_is_claimed")
async def half_of_a_group_waits_for_the_other_side(w: World):
    deafen(w, "hub")
    w.hub.book([1, 2], 12)
    refused(lambda: w.hub.book(2, 12))
    await w.healed()
    must(not overlaps(w) and not displaced(w), "the group's own bay was sold while the other side decided on the rest")
