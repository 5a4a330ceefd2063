"""The steps in which a bay is taken out of sale: its guests move, or choose by the link that comes to their telephone.

For: `deploy.demo_check.steps`. Not for: how a place is found. Invariant: only what staff, the API and the guests themselves see is looked
at; the bay is back on sale at the end.
"""

import re
from typing import Any
from urllib.parse import urlsplit

from deploy.demo.clients import new_id, slot
from deploy.demo_check.pages import Browser
from deploy.demo_check.telling import number_of
from deploy.demo_check.times import Time
from deploy.demo_check.walk import Place, Sale, Walk, far, must, now_slot, told, until, wanted
from shared import slots

PLACED_WITHIN_S, CHOSEN_WITHIN_S, TOLD_WITHIN_S = 10.0, 30.0, 30.0


async def guests_of_a_blocked_bay_move_and_are_told(walk: Walk) -> str:
    """One guest's bay is blocked while another is free at the time: the rule moves them, with PIN and price, and an SMS says where to."""
    place = walk.largest
    sale, before = await _booked(walk, place, "blocked bay", await far(place, "instant", "hub"))
    block_id = await _blocked(place, sale.at)
    new = await replaced(walk, sale)
    must(new["resource_id"] != sale.at.resource_id, "The guest of a blocked bay has the same bay again")
    for same in ("start", "end", "pin", "price"):
        must(new[same] == before[same], f"A booking that the house moved has another {same}: {new[same]} instead of {before[same]}")
    took_s = await told_of_the_move(walk, sale, new["resource"])
    walk.sold("placed by rule", Sale(place, new["id"], _time(new), sale.guest))
    must((await place.staff.ask("DELETE", f"/api/blocks/{block_id}")).ok, "The bay could not be put back on sale")
    return f"the guest of {told(place, sale.at)} has {new['resource']} at the same time, and was told so after {took_s:.1f} s"


async def a_guest_without_a_bay_chooses_by_link(walk: Walk) -> str:
    """At a time when every bay is taken the rule can do nothing: staff see it on both sides, and the guest chooses on the page."""
    place = walk.places[0]
    at, others = await _whole_facility(place)
    sale, _ = await _booked(walk, place, "no bay left", at)
    for number, bay in enumerate(others, 1):
        await _booked(walk, place, f"fills {number}", Time(at.start, at.end, bay))
    block_id = await _blocked(place, at)

    async def queued() -> bool:
        conflicts = wanted(await place.staff.ask("GET", "/api/conflicts"), 200, "The conflict queue of the site")
        return any(one["booking"]["id"] == sale.booking_id and one["ways"] for one in conflicts)

    await until("Staff were not shown the guest without a bay", queued, PLACED_WITHIN_S)
    new = await chosen_by_link(walk, sale)
    walk.sold("chosen by link", Sale(place, new["id"], _time(new), sale.guest))
    await told_of_the_move(walk, sale, new["resource"])
    must((await place.staff.ask("DELETE", f"/api/blocks/{block_id}")).ok, "The bay could not be put back on sale")
    return f"the guest of {told(place, sale.at)} was queued for staff, and chose {told(place, _time(new))} by the link in the SMS"


async def chosen_by_link(walk: Walk, sale: Sale) -> dict[str, Any]:
    """The guest takes the first way out on the page that the SMS leads to; the booking that came of it."""
    link = await link_to_choose(walk, sale)
    async with Browser(walk.hub.url) as browser:
        page = await browser.go(link)
        form = page.form(link.removesuffix("/ways") + "/ways", button="")
        must(form is not None, f"The page of ways out offers none; it said: {page.words[:300]}")
        page = await browser.send(form, {})
        must(page.status == 200, f"A way out could not be chosen; the page said: {page.words[:300]}")
    return await replaced(walk, sale, CHOSEN_WITHIN_S)


async def _whole_facility(place: Place) -> tuple[Time, list[str]]:
    """An hour at which every bay is free days from now; the first bay, and the other ones."""
    first = await far(place, "instant", "hub")
    day = wanted(
        await place.hub.availability(place.id, slots.local_day(place.zone, first.start).isoformat()), 200, f"The hub's availability of {place.name}"
    )
    bays = [one["id"] for one in day["resources"]]
    rows = [row["slot"] for row in day["rows"]]
    for index, start in enumerate(rows[:-1]):
        if start > now_slot() and rows[index + 1] == start + 2 and all(one["cells"][index : index + 2] == "ii" for one in day["resources"]):
            return Time(start, start + 4, bays[0]), bays[1:]
    must(False, f"{place.name} has no hour days from now at which every bay is free")
    raise AssertionError


async def _booked(walk: Walk, place: Place, name: str, at: Time) -> tuple[Sale, dict[str, Any]]:
    guest = walk.guest()
    sale = Sale(place, new_id("check"), at, guest)
    answer = await walk.hub.book(sale.booking_id, (at.resource_id,), at.start, at.end, guest)
    body = wanted(answer, 201, f"A booking on the web for {told(place, at)}")
    walk.sold(name, sale)
    return sale, body


async def _blocked(place: Place, at: Time) -> str:
    """Staff take the bay out of sale for that time."""
    block_id = new_id("k")
    answer = await place.staff.block(block_id, at.resource_id, at.start, at.end, "maintenance", "The check looks at the screen")
    must(answer.ok, f"Staff could not block {told(place, at)}: {answer}")
    return block_id


async def replaced(walk: Walk, sale: Sale, within_s: float = PLACED_WITHIN_S) -> dict[str, Any]:
    """Waits until another booking stands in its place; that one."""
    found: list[dict[str, Any]] = []

    async def so() -> bool:
        old = (await walk.hub.booking(sale.booking_id)).body
        if old["status"] != "cancelled" or not old["replaced_by"]:
            return False
        found[:] = [(await walk.hub.booking(old["replaced_by"])).body]
        return found[0]["status"] == "confirmed"

    await until(f"The guest of {told(sale.place, sale.at)} has no other place", so, within_s)
    return found[0]


async def told_of_the_move(walk: Walk, sale: Sale, bay: str) -> float:
    """Waits for the SMS that names the new bay; the seconds it took."""
    assert sale.guest is not None, "a guest who is told"
    number = number_of(sale.guest)

    async def came() -> bool:
        return any("had to move you" in one["text"] and bay in one["text"] for one in await walk.inbox.received("sms", number))

    return await until(f"No SMS told the guest of {bay}", came, TOLD_WITHIN_S)


async def link_to_choose(walk: Walk, sale: Sale) -> str:
    """The path of the page that the SMS about the lost bay leads to."""
    assert sale.guest is not None, "a guest who is told"
    number, found = number_of(sale.guest), []
    order_id = wanted(await walk.hub.booking(sale.booking_id), 200, "The booking at the hub")["order_id"]

    async def came() -> bool:
        texts = [one["text"] for one in await walk.inbox.received("sms", number)]
        # the number may have had others, of checks before this one
        found[:] = [link for text in texts for link in re.findall(rf"https?://\S+/{re.escape(order_id)}/\S+/ways\b", text)]
        return bool(found)

    await until("No SMS with a link to choose came", came, TOLD_WITHIN_S)
    return urlsplit(found[0]).path


def _time(booking: dict[str, Any]) -> Time:
    return Time(slot(booking["start"]), slot(booking["end"]), booking["resource_id"])
