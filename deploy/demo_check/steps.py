"""The steps of the check, each one thing that users do, each ending in a sentence of what was seen.

For: `deploy.demo_check.main`, in the order of `STEPS`. Not for: looking into anybody's database or memory: a step knows what a user could
see. Invariant: a step that returns has seen what its sentence says; a wait is for a condition and has an end.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from deploy.demo.clients import new_id, slot
from deploy.demo_check import books
from deploy.demo_check.bays import a_bay_without_power_leaves_sale
from deploy.demo_check.displacing import a_guest_without_a_bay_chooses_by_link, guests_of_a_blocked_bay_move_and_are_told
from deploy.demo_check.doors import (
    a_booking_of_the_cut_opens_the_door,
    a_cancelled_guests_pin_dies_with_the_controllers_return,
    a_changed_trail_is_told,
    hour_with_a_spare,
)
from deploy.demo_check.pages import Browser, Page
from deploy.demo_check.telling import a_forged_call_is_refused, a_guest_is_told, a_stop_is_heeded
from deploy.demo_check.times import Time
from deploy.demo_check.walk import (
    HEAL_WITHIN_S,
    Failed,
    Place,
    Sale,
    Walk,
    broker,
    far,
    free,
    linked,
    must,
    near,
    now_slot,
    quiet,
    today,
    told,
    until,
    wanted,
)
from shared import slots

DARK_WITHIN_S = 30.0
DOOR_WITHIN_S = 20.0
#: a demo that has just begun puts some three hundred of them on each controller, a few requests a second
SPARES_WITHIN_S = 120.0
BOOK_DAYS = 15
#: a guest may come in from a quarter hour before the start
EARLY_SLOTS = 1

Step = Callable[[Walk], Awaitable[str]]


async def everything_serves(walk: Walk) -> str:
    """The hub and the sites answer, and hear each other."""
    await linked(walk, 30)
    return f"the hub and {len(walk.places)} sites serve and hear each other"


async def web_sells_far_times_at_once(walk: Walk) -> str:
    """Above the line the hub confirms alone."""
    said = []
    for place in walk.places:
        at = await far(place, "instant", "hub")
        body, took_ms = await book_on_web(walk, place, at, f"far {place.id}")
        must(body["seller"] == "hub", f"The hub's own sale names {body['seller']} as its seller")
        said.append(f"{told(place, at)} in {took_ms:.0f} ms")
    return "the hub sold " + "; ".join(said)


async def web_asks_the_site_for_near_times(walk: Walk) -> str:
    """Below the line the hub asks, and the site's yes comes back in the same answer."""
    said = []
    for place in walk.places:
        at = await near(place, "ask_site", "hub")
        body, took_ms = await book_on_web(walk, place, at, f"near {place.id}")
        must(body["seller"] == "site", f"A sale of the site's names {body['seller']} as its seller")
        said.append(f"{told(place, at)} in {took_ms:.0f} ms")
    return "asked by the hub, the sites sold " + "; ".join(said)


async def a_customer_books_on_the_page(walk: Walk) -> str:
    """Place, time, details, done: forms only, no script. In both territories."""
    said = []
    for place, how, find in ((walk.places[0], "ask_site", near), (walk.largest, "instant", far)):
        at = await find(place, how, "hub")
        page = await through_the_pages(walk, place, at)
        order_id = page.url.partition("/b/")[2].partition("/")[0]
        found = wanted(await walk.hub.ask("GET", "/api/v1/bookings", params={"order_id": order_id}), 200, "The order of the page")["bookings"]
        must(len(found) == 1, f"The page made {len(found)} bookings instead of one")
        (booking,) = found
        must(booking["status"] == "confirmed", f"What the page booked is {booking['status']}")
        must(booking["pin"] in "".join(ch for ch in page.words if ch.isdigit()), "The customer's page does not show the booking's PIN")
        at = Time(slot(booking["start"]), slot(booking["end"]), booking["resource_id"])
        walk.sold(f"page {place.id}", Sale(place, booking["id"], at))
        said.append(told(place, at))
    return "without a script " + "; ".join(said)


async def through_the_pages(walk: Walk, place: Place, at: Time) -> Page:
    """From the choice of a time to the customer's own page, which has the order in its address."""
    guest, on = walk.guest(), slots.local_day(place.zone, at.start)
    async with Browser(walk.hub.url) as browser:
        path = f"/book/{place.id}"
        page = await browser.go(f"{path}?date={on}&minutes=60&guests=2&resource={at.resource_id}")
        form = page.form(path, button="start")
        must(form is not None and ("start", str(at.start)) in form.buttons, f"The page of {place.name} does not offer {told(place, at)}")
        page = await browser.send(form, {}, ("start", str(at.start)))
        details = next((one for one in page.forms() if "phone" in one.fields), None)
        must(details is not None, f"After the choice of a time the page said: {page.words[:200]}")
        lacking = await browser.send(details, {"name": "", "phone": "x", "email": ""}, ("do", "book"))
        must(lacking.status == 422 and "Please give your name" in lacking.words, "A form without a name was not refused with a sentence")
        page = await browser.send(details, {"name": guest.name, "phone": guest.phone, "email": guest.email}, ("do", "book"))
        must(page.status == 200 and "/b/" in page.url, f"The page did not book; it said: {page.words[:200]}")
        return page


async def book_on_web(walk: Walk, place: Place, at: Time, name: str) -> tuple[dict[str, Any], float]:
    """A confirmed booking by the API; how long its answer took."""
    booking_id, began = new_id("check"), time.monotonic()
    answer = await walk.hub.book(booking_id, (at.resource_id,), at.start, at.end, walk.guest())
    took_ms = (time.monotonic() - began) * 1000
    body = wanted(answer, 201, f"A booking on the web for {told(place, at)}")
    must(body["status"] == "confirmed", f"A booking on the web for {told(place, at)} is {body['status']}")
    walk.sold(name, Sale(place, booking_id, at))
    return body, took_ms


async def sites_know_them(walk: Walk) -> str:
    """Staff see each booking with its PIN, and the kiosk sees it without a name."""
    for sale in walk.made.values():
        place = sale.place

        async def heard(sale: Sale = sale) -> bool:
            return (await sale.place.staff.booking(sale.booking_id)).ok

        await until(f"{place.name} did not hear of {sale.booking_id}", heard, DOOR_WITHIN_S)
        at_site = wanted(await place.staff.booking(sale.booking_id), 200, "The booking at the site")
        at_hub = wanted(await walk.hub.booking(sale.booking_id), 200, "The booking at the hub")
        must(at_site["status"] == "confirmed", f"{place.name} has {sale.booking_id} as {at_site['status']}")
        must(at_site["pin"] == at_hub["pin"] and len(at_hub["pin"]) >= 4, "The two sides do not have the same PIN for a booking")
        day = slots.local_day(place.zone, sale.at.start).isoformat()
        rows = wanted(await place.kiosk.bookings(day), 200, "The kiosk's day")
        seen = next((row for row in rows if row["id"] == sale.booking_id), None)
        must(seen is not None, f"The kiosk of {place.name} does not show {sale.booking_id}")
        must("Checka" not in seen["name"] and not seen.get("pin"), "The kiosk shows a guest's name or PIN")
    return f"all {len(walk.made)} are at their sites, with the same PINs; the kiosks show initials only"


async def a_guest_walks_in(walk: Walk) -> str:
    """Booked at the kiosk, checked in by PIN, and the emulated door unlocks."""
    place, at = await now_free(walk)
    before = len((await place.doors.state())["unlocks"])
    booking_id = new_id("check")
    answer = await place.kiosk.book(booking_id, at.resource_id, at.start, at.end, walk.guest(stays=True))
    sold = wanted(answer, 201, f"A walk-in at the kiosk for {told(place, at)}")["booking"]
    walk.sold("inside", Sale(place, booking_id, at))
    wrong = await place.kiosk.check_in("000000" if sold["pin"] != "000000" else "000001")
    must(wrong.code == "pin_unknown", f"A PIN that nobody has was answered {wrong}")
    came = wanted(await place.kiosk.check_in(sold["pin"]), 200, "The check-in by PIN")
    must(came["door"] == "opened", f"After the check-in the kiosk said: {came['sentence']}")
    state = await place.doors.state()
    unlocks = state["unlocks"][: len(state["unlocks"]) - before]
    must(bool(unlocks), "The emulated controller gave no pulse")
    actor, doors = unlocks[0]["actor_name"], ", ".join(sorted({one["door_name"] for one in unlocks}))
    return f"{told(place, at)} at the kiosk; checked in by PIN, door {doors} unlocked for {actor}"


async def now_free(walk: Walk) -> tuple[Place, Time]:
    """A bay that somebody can walk into now, at any site, the fullest last."""
    row = now_slot() - now_slot() % 2
    for place in reversed(walk.places):
        for found in await free(place, "instant", side="site", first_day=0, days=2, not_before=row):
            if found.start <= now_slot() + EARLY_SLOTS:
                return place, found
    raise Failed("No box is free now. Try again at the next half hour, or restart the demo")


async def the_pin_opens_the_door(walk: Walk) -> str:
    """The booking's credential is on the controller, and its log names the booking's visitor as the actor."""
    sale = walk.made["inside"]
    doors, found = sale.place.doors, {}

    async def granted() -> bool:
        visitors = (await doors.state())["visitors"]
        found.update(next((v for v in visitors if sale.booking_id in v["remarks"] and v["has_pin"]), {}))
        return bool(found)

    await until("The booking's PIN is not on the door controller", granted, DOOR_WITHIN_S)
    pin = wanted(await sale.place.staff.booking(sale.booking_id), 200, "The booking at the site")["pin"]
    admitted = await doors.type_pin(found["doors"][0], pin)
    must(admitted["admitted"], f"The door's reader refused the PIN: {admitted['reason']}")

    async def logged() -> bool:
        log = (await doors.state())["log"]
        return any(row["actor"]["id"] == found["id"] and row["event"]["result"] == "ACCESS" for row in log)

    await until("The controller's log does not name the booking's visitor", logged, DOOR_WITHIN_S)
    return f"the PIN opens the reader too; the controller's log names the visitor of {sale.booking_id}"


async def the_broker_dies(walk: Walk) -> str:
    """The link is cut, when the doors have PINs for what is sold meanwhile: both sides notice by themselves."""

    async def spared() -> bool:
        return await hour_with_a_spare(walk.largest) is not None

    await until("No hour that the hub sells alone has a spare PIN on the doors", spared, SPARES_WITHIN_S)
    await quiet(walk)
    await broker(walk, "kill")

    async def dark() -> bool:
        links = {site["id"]: site["link"] for site in await walk.hub.sites()}
        theirs = [(await place.staff.link()).body for place in walk.places]
        return all(links.get(place.id) == "dark" for place in walk.places) and all(link["link"] == "dark" for link in theirs)

    took_s = await until("The sides did not notice that they do not hear each other", dark, DARK_WITHIN_S)
    return f"the broker was killed; after {took_s:.1f} s the hub and the sites show each other as dark"


async def both_sides_sell_their_own(walk: Walk) -> str:
    """In the cut the kiosks sell below the line, the hub above it."""
    said = []
    for place in walk.places:
        at = await far(place, "instant", "hub")
        await book_on_web(walk, place, at, f"dark far {place.id}")
        said.append(f"the hub {told(place, at)}")
        at = await near(place, "instant", "site")
        booking_id = new_id("check")
        sold = wanted(
            await place.kiosk.book(booking_id, at.resource_id, at.start, at.end, walk.guest()), 201, f"A kiosk's sale of {told(place, at)}"
        )
        must(sold["booking"]["status"] == "confirmed", f"A kiosk's sale in a cut is {sold['booking']['status']}")
        walk.sold(f"dark near {place.id}", Sale(place, booking_id, at))
        said.append(f"the kiosk {told(place, at)}")
    return "in the cut sold " + "; ".join(said)


async def neither_side_sells_for_the_other(walk: Walk) -> str:
    """What the other side sells is refused with its code and with what can be had; nothing is confirmed for the other."""
    place = walk.largest
    at = await near(place, "unreachable", "hub")
    answer = await walk.hub.book(new_id("check"), (at.resource_id,), at.start, at.end, walk.guest())
    body = wanted(answer, 409, "A near time on the web in the cut", "site_unreachable")
    must(bool(body["suggestions"]), "The refusal offers nothing instead")
    must(all(way["instant"] and way["total_cents"] > 0 for way in body["suggestions"]), "The refusal offers what the hub cannot sell now")
    at = await far(place, "unreachable", "site")
    answer = await place.kiosk.book(new_id("check"), at.resource_id, at.start, at.end, walk.guest())
    wanted(answer, 409, "A far time at the kiosk in the cut", "hub_unreachable")
    first = body["suggestions"][0]
    return (
        f"near times on the web: 409 site_unreachable with {len(body['suggestions'])} alternatives (first {first['resource_id']} at"
        f" {first['start']}); far times at the kiosk: 409 hub_unreachable"
    )


async def both_sides_reschedule(walk: Walk) -> str:
    """In the cut each side moves what is its own."""
    place = walk.largest
    sale = walk.made[f"dark far {place.id}"]
    to = await far(place, "instant", "hub")
    moved_id = new_id("check")
    answer = await walk.hub.reschedule(sale.booking_id, moved_id, to.resource_id, to.start, to.end)
    wanted(answer, 201, f"The hub's move to {told(place, to)}")
    walk.sold("moved by the hub", Sale(place, moved_id, to))
    sale = walk.made[f"dark near {place.id}"]
    there = await near(place, "instant", "site")
    moved_id = new_id("check")
    answer = await place.staff.reschedule(sale.booking_id, moved_id, there.resource_id, there.start, there.end)
    wanted(answer, 201, f"The staff's move to {told(place, there)}")
    walk.sold("moved by staff", Sale(place, moved_id, there))
    return f"in the cut the hub moved a booking to {told(place, to)}, staff moved one to {told(place, there)}"


async def a_cancelled_hub_sale_stays_claimed(walk: Walk) -> str:
    """Until the site has heard of it, nobody gets the time (own-3)."""
    sale = walk.made[f"far {walk.largest.id}"]
    body = wanted(await walk.hub.cancel(sale.booking_id, "the check changed its mind"), 202, "A cancellation in the cut")
    must(body["booking"]["status"] == "cancelling", f"A cancellation in the cut leaves the booking {body['booking']['status']}")
    at = sale.at
    answer = await walk.hub.book(new_id("check"), (at.resource_id,), at.start, at.end, walk.guest())
    wanted(answer, 409, "A booking of the time that is being given up", "slot_taken")
    return f"the hub's cancellation of {told(sale.place, at)} waits as cancelling, and its time is refused as taken"


async def the_link_heals(walk: Walk) -> str:
    """The broker is back: both sides find each other and tell what the other missed."""
    await broker(walk, "start")
    took_s = await linked(walk, HEAL_WITHIN_S)
    quiet_s = await quiet(walk)
    return f"the broker is back; linked after {took_s:.1f} s, both streams quiet {quiet_s:.1f} s later"


async def the_cancelled_time_is_free_again(walk: Walk) -> str:
    """Once the site has heard, the cancellation is done and the time can be sold."""
    sale = walk.made[f"far {walk.largest.id}"]

    async def done() -> bool:
        return (await walk.hub.booking(sale.booking_id)).body["status"] == "cancelled"

    await until("The cancellation is not done although the site has heard", done, HEAL_WITHIN_S)
    await book_on_web(walk, sale.place, sale.at, "in its place")
    return f"the cancellation is done, and {told(sale.place, sale.at)} was sold again"


async def the_books_are_equal(walk: Walk) -> str:
    """Both books of every site, printed side by side."""
    await quiet(walk)
    count = 0
    for place in walk.places:
        days = books.days_from(today(place), BOOK_DAYS)
        at_hub, at_site = await books.read(walk.hub, place.staff, days, place.zone)
        for line in books.page(place.name, at_hub, at_site, place.zone, days):
            walk.say(f"      {line}")
        differ = books.differences(at_hub, at_site)
        must(not differ, f"The books of {place.name} differ: " + "; ".join(differ))
        missing = [sale.booking_id for sale in walk.made.values() if sale.place is place and sale.booking_id not in at_hub]
        must(not missing, f"Both books of {place.name} lack what was sold: {', '.join(missing)}")
        count += len(at_hub)
    return f"both books have the same {count} bookings"


async def what_was_booked_is_given_back(walk: Walk) -> str:
    """The check leaves the demo as it found it, but for the guest who is inside."""
    given_back = 0
    for name, sale in walk.made.items():
        if name == "inside":
            continue
        answer = await walk.hub.cancel(sale.booking_id, "the check is over")
        must(answer.ok or answer.code in ("already_cancelled", "illegal_move"), f"The check's booking {name} could not be given back: {answer}")
        given_back += answer.ok
    await quiet(walk)
    return f"{given_back} bookings of the check are cancelled again"


STEPS: tuple[Step, ...] = (
    everything_serves,
    web_sells_far_times_at_once,
    web_asks_the_site_for_near_times,
    a_customer_books_on_the_page,
    sites_know_them,
    a_guest_walks_in,
    the_pin_opens_the_door,
    a_cancelled_guests_pin_dies_with_the_controllers_return,
    a_changed_trail_is_told,
    a_guest_is_told,
    a_stop_is_heeded,
    a_forged_call_is_refused,
    guests_of_a_blocked_bay_move_and_are_told,
    a_guest_without_a_bay_chooses_by_link,
    a_bay_without_power_leaves_sale,
    the_broker_dies,
    both_sides_sell_their_own,
    a_booking_of_the_cut_opens_the_door,
    neither_side_sells_for_the_other,
    both_sides_reschedule,
    a_cancelled_hub_sale_stays_claimed,
    the_link_heals,
    the_cancelled_time_is_free_again,
    the_books_are_equal,
    what_was_booked_is_given_back,
)
