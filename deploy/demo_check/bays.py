"""The step at a bay whose plug is pulled: it leaves sale by itself, its guest moves and is told, and with the power it is back.

For: `deploy.demo_check.steps`. Not for: how a failing bay is known. Invariant: the plug is back in at the end, and the bay on sale.
"""

from datetime import timedelta
from typing import Any

from deploy.demo.clients import new_id
from deploy.demo_check.displacing import replaced, told_of_the_move
from deploy.demo_check.times import Time
from deploy.demo_check.walk import Place, Sale, Walk, free, must, now_slot, today, told, until, wanted

#: a bay that fails is out of sale for three hours ahead, so its guest must come by then
SOON_SLOTS = 9
#: in its last half hour a booking keeps its name and gets another seat, as staff see
LATER_SLOTS = 4
#: whoever looks after the PC says so at once; the bays are looked at every ten seconds
FAILS_WITHIN_S, BACK_WITHIN_S, HEARD_WITHIN_S = 60.0, 90.0, 20.0


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
        took_s = await until(f"{told(place, at)} has no power and is still on sale", lambda: _is(place, at, "out"), FAILS_WITHIN_S)
        (out,) = [one for one in await _bays(place) if one["resource_id"] == at.resource_id]
        new = await replaced(walk, sale)
        must(new["resource_id"] != at.resource_id, "The guest of a bay without power has the same bay again")
        must(new["pin"] == sold["pin"], f"A guest who was moved has another PIN: {new['pin']}")
        await told_of_the_move(walk, sale, new["resource"])
        walk.sold("moved from the pulled plug", Sale(place, new["id"], at, guest))
    finally:
        await _cable(walk, at.resource_id, into_plug=True)
    back_s = await until("A bay that has its power again is not on sale", lambda: _is(place, at, ""), BACK_WITHIN_S)
    return (
        f"the plug of {place.name} {at.resource_id.partition('.')[2]} was pulled: out of sale after {took_s:.0f} s (“{out['told']}”), its guest has"
        f" {new['resource']} and was told; with the power it was back on sale after {back_s:.0f} s"
    )


async def _soon_in_two_bays(walk: Walk) -> tuple[Place, Time]:
    """An hour within the next three at which two bays are free, at the site with the most bays first."""
    for place in reversed(walk.places):
        soon = now_slot() + SOON_SLOTS
        found = [at for at in await free(place, "instant", side="site", first_day=0, days=2, not_before=now_slot() + LATER_SLOTS) if at.start <= soon]
        passed_over = await _blocked(place) | await _in_play(place)  # what staff have out of sale is left to them, and a guest who plays stays
        for at in found:
            if at.resource_id not in passed_over and any(other.start == at.start and other.resource_id != at.resource_id for other in found):
                return place, at
    must(False, "No site has two boxes free at one time within three hours; restart the demo")
    raise AssertionError


async def _blocked(place: Place) -> set[str]:
    """The bays with a block today or tomorrow."""
    days = [(today(place) + timedelta(days=number)).isoformat() for number in range(2)]
    return {one["resource_id"] for day in days for one in wanted(await place.staff.ask("GET", "/api/blocks", params={"date": day}), 200, "The blocks")}


async def _in_play(place: Place) -> set[str]:
    """The bays with a guest in them."""
    rows = wanted(await place.staff.bookings(today(place).isoformat()), 200, "The bookings of today")
    return {one["resource_id"] for one in rows if one["status"] == "checked_in"}


async def _cable(walk: Walk, resource_id: str, *, into_plug: bool) -> None:
    wanted(await walk.bays.ask("POST", "/_emulator/bay", {"bay": resource_id, "cable": into_plug}), 200, "The emulated bays")


async def _bays(place: Place) -> list[dict[str, Any]]:
    return wanted(await place.staff.ask("GET", "/api/bays"), 200, "The bays that fail")["out"]


async def _is(place: Place, at: Time, state: str) -> bool:
    """Whether staff are shown the bay in this state; `` for none."""
    return next((one["state"] for one in await _bays(place) if one["resource_id"] == at.resource_id), "") == state
