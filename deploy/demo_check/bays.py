"""The step at a bay whose plug is pulled: it leaves sale by itself, its guest moves and is told, and with the power it is back.

For: `deploy.demo_check.steps`. Not for: how a failing bay is known. Invariant: the plug is back in at the end, and the bay on sale.
"""

from datetime import timedelta
from typing import Any

from deploy.demo.clients import new_id, slot
from deploy.demo_check import times
from deploy.demo_check.displacing import link_to_choose, replaced, told_of_the_move
from deploy.demo_check.times import Time
from deploy.demo_check.walk import Failed, Place, Sale, Walk, must, now_slot, today, told, until, wanted

#: the guest comes within ten hours; a bay of the demo that fails is out of sale for twelve
SOON_SLOTS = 40
#: in its last half hour a booking keeps its name and gets another seat, as staff see
LATER_SLOTS = 4
HOUR_ROWS = 4 // times.ROW_SLOTS
#: its own program must have fallen silent, and NinjaOne is asked every 30 s
FAILS_WITHIN_S, BACK_WITHIN_S, HEARD_WITHIN_S, MOVED_WITHIN_S = 120.0, 120.0, 20.0, 20.0


async def a_bay_without_power_leaves_sale(walk: Walk) -> str:
    """Somebody pulls the plug of a bay's PC: no person acts, and its guest has another bay at the same time, with the same PIN."""
    sale = await _somebody_soon(walk)
    place = sale.place if sale else walk.largest
    bay = sale.at.resource_id if sale else await _any_bay(place)
    await _cable(walk, bay, into_plug=False)
    try:
        took_s = await until(f"{bay} has no power and is still on sale", lambda: _is(place, bay, "out"), FAILS_WITHIN_S)
        (out,) = [one for one in await _bays(place) if one["resource_id"] == bay]
        how = await _moved_or_asked(walk, sale) if sale else "(no box is free within ten hours, so nobody was booked there)"
    finally:
        await _cable(walk, bay, into_plug=True)
    back_s = await until("A bay that has its power again is not on sale", lambda: _is(place, bay, ""), BACK_WITHIN_S)
    return (
        f"the plug of {place.name} {bay.partition('.')[2]} was pulled: out of sale after {took_s:.0f} s (“{out['told']}”), its guest {how};"
        f" with the power it was back on sale after {back_s:.0f} s"
    )


async def _somebody_soon(walk: Walk) -> Sale | None:
    """A guest with a booking that the kiosk has sold, within ten hours, at a time when another bay is free too, or else at any time; None where there
    is none."""
    places = list(reversed(walk.places))
    for others, quiet, place in [(others, quiet, place) for others in (1, 0) for place in places for quiet in (True, False)]:
        at = await _free(place, others, quiet=quiet)
        if at is None:
            continue
        guest, booking_id = walk.guest(), new_id("check")
        wanted(await place.kiosk.book(booking_id, at.resource_id, at.start, at.end, guest), 201, f"A kiosk's sale of {told(place, at)}")
        sale = Sale(place, booking_id, at, guest)
        walk.sold("pulled plug", sale)

        async def known(booking_id: str = booking_id) -> bool:
            return (await walk.hub.booking(booking_id)).ok

        await until("The hub did not hear of a kiosk's sale", known, HEARD_WITHIN_S)
        return sale
    return None


async def _any_bay(place: Place) -> str:
    day = wanted(await place.staff.availability(today(place).isoformat()), 200, "The site's availability")
    bays, blocked, played = [one["id"] for one in day["resources"]], await _blocked(place), await _in_play(place)
    found = next((bay for bay in bays if bay not in blocked | played), None) or next((bay for bay in bays if bay not in blocked), None)
    must(found is not None, f"Every bay of {place.name} is out of sale already; restart the demo")
    return found or ""


async def _moved_or_asked(walk: Walk, sale: Sale) -> str:
    """What became of the guest: moved by the house's rule with the same PIN, or, in a full house, shown to staff and sent a link to choose by."""
    pin = wanted(await walk.hub.booking(sale.booking_id), 200, "The booking at the hub")["pin"]
    try:
        new = await replaced(walk, sale, MOVED_WITHIN_S)
    except Failed:
        waiting = wanted(await sale.place.staff.ask("GET", "/api/conflicts"), 200, "The conflict queue of the site")
        if any(one["booking"]["id"] == sale.booking_id for one in waiting):
            await link_to_choose(walk, sale)
            return "waits for staff, since no bay is free at the time, and was sent a link to choose by"
        new = await replaced(walk, sale)  # placed at the last moment, or else lost
    there = Time(slot(new["start"]), slot(new["end"]), new["resource_id"])
    must(new["resource_id"] != sale.at.resource_id, "The guest of a bay without power has the same bay again")
    must(new["pin"] == pin, f"A guest who was moved has another PIN: {new['pin']}")
    await told_of_the_move(walk, sale, new["resource"])
    walk.sold("moved from the pulled plug", Sale(sale.place, new["id"], there, sale.guest))
    return f"was moved to {told(sale.place, there)} and was told"


async def _free(place: Place, others: int, *, quiet: bool) -> Time | None:
    """The first hour within the next ten that the site sells in a bay which staff have not taken out of sale, and in so many other bays; `quiet`: one
    in which nobody plays now."""
    blocked = await _blocked(place) | (await _in_play(place) if quiet else set())
    days = [(today(place) + timedelta(days=number)).isoformat() for number in range(2)]
    shown = times.join([wanted(await place.staff.availability(day), 200, "The site's availability") for day in days])
    cells = {one["id"]: one["cells"] for one in shown["resources"]}
    for index, start in enumerate(row["slot"] for row in shown["rows"]):
        if not now_slot() + LATER_SLOTS <= start <= now_slot() + SOON_SLOTS:
            continue
        free = [bay for bay, each in cells.items() if each[index : index + HOUR_ROWS] == "i" * HOUR_ROWS]
        mine = [bay for bay in free if bay not in blocked]
        if mine and len(free) > others:
            return Time(start, start + HOUR_ROWS * times.ROW_SLOTS, mine[0])
    return None


async def _blocked(place: Place) -> set[str]:
    """The bays with a block today or tomorrow."""
    days = [(today(place) + timedelta(days=number)).isoformat() for number in range(2)]
    found = [one for day in days for one in wanted(await place.staff.ask("GET", "/api/blocks", params={"date": day}), 200, "The blocks")]
    return {one["resource_id"] for one in found if one["status"] == "active"}


async def _in_play(place: Place) -> set[str]:
    """The bays with a guest in them."""
    rows = wanted(await place.staff.bookings(today(place).isoformat()), 200, "The bookings of today")
    return {one["resource_id"] for one in rows if one["status"] == "checked_in"}


async def _cable(walk: Walk, resource_id: str, *, into_plug: bool) -> None:
    wanted(await walk.bays.ask("POST", "/_emulator/bay", {"bay": resource_id, "cable": into_plug}), 200, "The emulated bays")


async def _bays(place: Place) -> list[dict[str, Any]]:
    return wanted(await place.staff.ask("GET", "/api/bays"), 200, "The bays that fail")["out"]


async def _is(place: Place, bay: str, *states: str) -> bool:
    """Whether staff are shown the bay in one of these states; `` for none."""
    return next((one["state"] for one in await _bays(place) if one["resource_id"] == bay), "") in states
