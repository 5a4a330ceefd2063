"""The step at a bay whose plug is pulled: it leaves sale by itself, its guest moves and is told, and with the power it is back.

For: `deploy.demo_check.steps`. Not for: how a failing bay is known. Invariant: the plug is back in at the end, and the bay on sale.
"""

from datetime import timedelta
from typing import Any

from deploy.demo.clients import new_id, slot
from deploy.demo_check import times
from deploy.demo_check.displacing import chosen_by_link, replaced, told_of_the_move
from deploy.demo_check.times import Time
from deploy.demo_check.walk import Failed, Place, Sale, Walk, must, now_slot, today, told, until, wanted

#: a bay of the demo that fails is out of sale for twelve hours ahead, so its guest must come by then
SOON_SLOTS = 44
#: in its last half hour a booking keeps its name and gets another seat, as staff see
LATER_SLOTS = 4
HOUR_ROWS = 4 // times.ROW_SLOTS
#: its own program must have fallen silent, and NinjaOne is asked every 30 s
FAILS_WITHIN_S, BACK_WITHIN_S, HEARD_WITHIN_S = 120.0, 120.0, 20.0


async def a_bay_without_power_leaves_sale(walk: Walk) -> str:
    """Somebody pulls the plug of a bay's PC: no person acts, and its guest has another bay at the same time, with the same PIN."""
    place, at = await _soon_in_two_bays(walk)
    guest, booking_id = walk.guest(), new_id("check")
    answer = await place.kiosk.book(booking_id, at.resource_id, at.start, at.end, guest)
    sold = wanted(answer, 201, f"A kiosk's sale of {told(place, at)}")["booking"]
    sale = Sale(place, booking_id, at, guest)
    walk.sold("pulled plug", sale)

    async def known() -> bool:
        return (await walk.hub.booking(booking_id)).ok

    await until("The hub did not hear of a kiosk's sale", known, HEARD_WITHIN_S)
    await _cable(walk, at.resource_id, into_plug=False)
    try:
        took_s = await until(f"{told(place, at)} has no power and is still on sale", lambda: _is(place, at, "out", "playing"), FAILS_WITHIN_S)
        (out,) = [one for one in await _bays(place) if one["resource_id"] == at.resource_id]
        try:
            new, how = await replaced(walk, sale), "was moved to"
        except Failed:  # on a full day no bay is free at the time; the guest is asked, as anybody is
            new, how = await chosen_by_link(walk, sale), "chose"
        same = (new["resource_id"], slot(new["start"])) == (at.resource_id, at.start)
        must(not same, "The guest of a bay without power has the same place again")
        must(new["pin"] == sold["pin"], f"A guest who was moved has another PIN: {new['pin']}")
        await told_of_the_move(walk, sale, new["resource"])
        there = Time(slot(new["start"]), slot(new["end"]), new["resource_id"])
        walk.sold("moved from the pulled plug", Sale(place, new["id"], there, guest))
    finally:
        await _cable(walk, at.resource_id, into_plug=True)
    back_s = await until("A bay that has its power again is not on sale", lambda: _is(place, at, ""), BACK_WITHIN_S)
    return (
        f"the plug of {place.name} {at.resource_id.partition('.')[2]} was pulled: out of sale after {took_s:.0f} s (“{out['told']}”), its guest {how}"
        f" {told(place, there)} and was told; with the power it was back on sale after {back_s:.0f} s"
    )


async def _soon_in_two_bays(walk: Walk) -> tuple[Place, Time]:
    """An hour of the next half day at which two bays are free: one that the site sells, and better two; at the site with the most bays first."""
    for letters in ("i", "ia"):
        for place in reversed(walk.places):
            at = await _two_free(place, set(letters))
            if at is not None:
                return place, at
    must(False, "No site has two boxes free at one time within half a day; restart the demo")
    raise AssertionError


async def _two_free(place: Place, elsewhere: set[str]) -> Time | None:
    blocked = await _blocked(place)  # what staff have out of sale is left to them
    days = [(today(place) + timedelta(days=number)).isoformat() for number in range(2)]
    shown = times.join([wanted(await place.staff.availability(day), 200, "The site's availability") for day in days])
    cells = {one["id"]: one["cells"] for one in shown["resources"]}
    for index, start in enumerate(row["slot"] for row in shown["rows"]):
        if not now_slot() + LATER_SLOTS <= start <= now_slot() + SOON_SLOTS:
            continue
        hour = {bay: each[index : index + HOUR_ROWS] for bay, each in cells.items()}
        mine = [bay for bay, each in hour.items() if each == "i" * HOUR_ROWS and bay not in blocked]
        if mine and sum(len(each) == HOUR_ROWS and set(each) <= elsewhere for each in hour.values()) > 1:
            return Time(start, start + HOUR_ROWS * times.ROW_SLOTS, mine[0])
    return None


async def _blocked(place: Place) -> set[str]:
    """The bays with a block today or tomorrow."""
    days = [(today(place) + timedelta(days=number)).isoformat() for number in range(2)]
    return {one["resource_id"] for day in days for one in wanted(await place.staff.ask("GET", "/api/blocks", params={"date": day}), 200, "The blocks")}


async def _cable(walk: Walk, resource_id: str, *, into_plug: bool) -> None:
    wanted(await walk.bays.ask("POST", "/_emulator/bay", {"bay": resource_id, "cable": into_plug}), 200, "The emulated bays")


async def _bays(place: Place) -> list[dict[str, Any]]:
    return wanted(await place.staff.ask("GET", "/api/bays"), 200, "The bays that fail")["out"]


async def _is(place: Place, at: Time, *states: str) -> bool:
    """Whether staff are shown the bay in one of these states; `` for none."""
    return next((one["state"] for one in await _bays(place) if one["resource_id"] == at.resource_id), "") in states
