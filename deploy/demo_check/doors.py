"""The steps at the doors: a PIN sold in a cut, a cancellation that the controller has not heard, a trail that somebody changed.

For: `deploy.demo_check.steps`. Not for: what a reader decides, which is the emulated controller's. Invariant: what was broken is whole again
at a step's end.
"""

from typing import Any

import httpx

from deploy.demo.clients import new_id
from deploy.demo_check.times import Time
from deploy.demo_check.walk import Place, Sale, Walk, free, must, near, now_slot, today, told, until, wanted
from shared import slots
from shared.ledger.outage_pins import WINDOW
from shared.passes import window

AWAY_S = 4.0
#: the agent's back-off is seconds while the controller has just gone
BACK_WITHIN_S = 30.0
GRANTED_WITHIN_S = 20.0
CUT_DAYS = 3
SLOT_S = 900


async def a_booking_of_the_cut_opens_the_door(walk: Walk) -> str:
    """The hub sells in the dark, and its guest's PIN is on the door's reader already, though the site has not heard of the sale."""
    place = walk.largest
    at = await hour_with_a_spare(place)
    assert at is not None, "waited for before the cut"
    sale, guest = new_id("check"), walk.guest()
    body = wanted(await walk.hub.book(sale, (at.resource_id,), at.start, at.end, guest), 201, f"A booking in the cut for {told(place, at)}")
    walk.sold("opens in the cut", Sale(place, sale, at, guest))
    must((await place.staff.booking(sale)).status == 404, f"{place.name} knows a booking that was made in the cut")
    doors = [door["id"] for door in (await place.doors.state())["doors"]]
    come, early = at.start * SLOT_S, (at.start - 8) * SLOT_S
    said = {door: await place.doors.would_admit(door, body["pin"], come) for door in doors}
    opened = [door for door, one in said.items() if one["admitted"]]
    must(bool(opened), f"No reader takes the PIN of a booking made in the cut: {', '.join(sorted({one['reason'] for one in said.values()}))}")
    must(not (await place.doors.would_admit(opened[0], body["pin"], early))["admitted"], "A PIN of the cut opens two hours before its time")
    return f"sold by the hub in the dark: {told(place, at)}; {place.name} has not heard of it, and {len(opened)} readers take its PIN at that time, none before"


async def hour_with_a_spare(place: Place) -> Time | None:
    """The earliest free hour that the hub sells alone and for which a spare PIN is on the door controller; None while there is none yet."""
    day = wanted(await place.staff.availability(today(place).isoformat()), 200, "The site's availability")
    names = {one["id"]: one["name"] for one in day["resources"]}
    spares = [one for one in (await place.doors.state())["visitors"] if one["has_pin"] and ": spare PIN, " in one["remarks"]]
    for at in await free(place, "instant", side="hub", first_day=0, days=CUT_DAYS, not_before=now_slot() + 4):
        first = at.start // WINDOW * WINDOW
        named, opens = f": spare PIN, {names[at.resource_id]},", window(first, first + WINDOW)
        if any(named in one["remarks"] and (one["start_time"], one["end_time"]) == opens for one in spares):
            return at
    return None


async def a_cancelled_guests_pin_dies_with_the_controllers_return(walk: Walk) -> str:
    """Cancelled while nobody answers at the door controller: staff are told what it still holds, and its PIN dies when it is back."""
    place = walk.places[0]
    at, booking_id = await near(place, "instant", "site"), new_id("check")
    sold = wanted(await place.kiosk.book(booking_id, at.resource_id, at.start, at.end, walk.guest()), 201, f"A kiosk's sale of {told(place, at)}")
    walk.sold("cancelled behind the door's back", Sale(place, booking_id, at))
    door, pin, come = (await place.doors.state())["doors"][0]["id"], sold["booking"]["pin"], at.start * SLOT_S

    async def taken() -> bool:
        return (await place.doors.would_admit(door, pin, come))["admitted"]

    await until("The PIN of a kiosk's sale is not on the controller", taken, GRANTED_WITHIN_S)
    await place.doors.away(AWAY_S)
    await until("The controller does not go away", lambda: _silent(place), AWAY_S)
    must((await place.staff.cancel(booking_id, "the guest called")).ok, "A booking could not be cancelled while the controller was away")

    async def shown() -> bool:
        return any(one["booking_id"] == booking_id and one["wanted"] == "revoke" for one in (await _panels(place))["credentials"])

    await until("Staff were not shown that the controller holds a cancelled guest's PIN", shown, AWAY_S)

    async def dead() -> bool:
        return not await taken()

    await until("The controller does not answer again", lambda: _answers(place), BACK_WITHIN_S)
    took_s = await until("A cancelled guest's PIN still opens the door", dead, BACK_WITHIN_S)
    return f"{told(place, at)} was cancelled while the controller was away; staff saw it wait, and the PIN was dead {took_s:.1f} s after its return"


async def _answers(place: Place) -> bool:
    try:
        await place.doors.state()
    except httpx.TransportError:
        return False
    return True


async def _silent(place: Place) -> bool:
    return not await _answers(place)


async def a_changed_trail_is_told(walk: Walk) -> str:
    """Somebody with the disk in hand changes what the trail says: staff are told, and say what they found."""
    place = walk.places[0]
    must((await _checked(place))["sound"], "The trail is not sound although nobody has touched it")
    row = wanted(await walk.control.ask("POST", "/trail", {"site_id": place.id, "do": "change"}), 200, "The demo's control was asked to change a trail, and")["row"]
    found = await _checked(place)
    wanted(await walk.control.ask("POST", "/trail", {"site_id": place.id, "do": "restore"}), 200, "The demo's control was asked to put the trail back, and")
    must(any(f"row {row} " in one for one in found["problems"]), f"A changed row {row} of the trail was not found: {found['problems']}")
    alarms = [one["code"] for one in (await _panels(place))["alarms"]]
    must("trail_changed" in alarms, "Staff are not told of the changed trail")
    answer = await place.staff.ask("POST", "/api/changed/answer", {"alarm": "trail_changed", "reason": "the check changed it, and put it back"})
    must(answer.ok, f"Staff could not say what they found: {answer}")
    must((await _checked(place))["sound"], "The trail is not sound although it was put back and looked at")
    return f"row {row} of the trail of {place.name} was changed on the disk, found, told as an alarm, and answered"


async def _checked(place: Place) -> dict[str, Any]:
    return wanted(await place.staff.ask("POST", "/api/doors/trail/check"), 200, "The look at the trail")


async def _panels(place: Place) -> dict[str, Any]:
    day = slots.local_day(place.zone, now_slot()).isoformat()
    return wanted(await place.staff.ask("GET", "/api/panels", params={"date": day}), 200, "The staff's panels")
