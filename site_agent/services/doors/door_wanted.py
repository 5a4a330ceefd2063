"""What the door controller should hold, worked out of the books: a booking's credential, a spare's, and the stamp by which they are compared.

Not for: telling the controller (`credentials`) or reading it back (`door_check`). Pure but for the books that it is handed. Invariant: what is
wanted follows from the books and the time alone, so that whoever asks twice is told the same.
"""

from __future__ import annotations

import hashlib

import msgspec

from shared import passes
from shared.bookings import live
from shared.ledger import outage_pins, records
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House
from shared.model import Attendance, Booking
from shared.runtime.database import Tx
from site_agent.ports import DoorCredential
from site_agent.services import views
from site_agent.services.doors.door_witness import FOUND

REACH_S = 14 * 86_400


def wanted(tx: Tx, desk: Desk, house: House, key: str) -> DoorCredential | None:
    """For a booking's id or a spare's; None where it should open nothing, or is neither."""
    b = records.booking(tx, key)
    if b is not None:
        return credential(house, b, records.attendance(tx, key), now_for(desk, b.starts_at))
    spare = outage_pins.one(tx, key)
    return spare_credential(house, spare, now_for(desk, spare.first * 900)) if spare is not None else None


def now_for(desk: Desk, starts_at: int) -> int:
    """What a clock in doubt calls over, or far off, may be now (clock-2): no guest loses a PIN for it. The controller, whose clock is its own,
    opens in the window and at no other time."""
    return starts_at if desk.clock_doubt() else desk.now()


def credential(house: House, b: Booking, attendance: Attendance | None, now: int) -> DoorCredential | None:
    """What the booking should open now; None where it should open nothing (cancelled, displaced, over, too far ahead, no doors).

    A guest who is in keeps the credential, also while the booking is `cancelling` (own-3) or was displaced. A reseated booking opens its new
    bay's doors.
    """
    opens_at, closes_at = passes.window(b.start, b.end)
    seat, reseated = b.seat(attendance), attendance is not None and attendance.seat != ""
    inside = attendance is not None and attendance.state == "checked_in"
    good = live(b.status) and (b.status == "confirmed" or inside) and not b.withdrawn and (not b.displaced or reseated or inside)
    if not good or now >= closes_at or b.starts_at > now + REACH_S:
        return None
    bay = house.resources.get(seat)
    door_ids = tuple(dict.fromkeys((*house.facility.door_ids, *(bay.door_ids if bay else ()))))
    if not door_ids:
        return None
    label = f"{views.bay(house, seat)}, {views.clock(house.facility.zone, b.start, b.end)}"
    # what was found on the controller has a PIN there that its guest knows and we do not
    return DoorCredential(
        b.id, door_ids, b.door_pin or None, opens_at, closes_at, label, resource_id=b.resource_id, keep_pin=b.reason == FOUND
    )


def spare_credential(house: House, spare: outage_pins.Spare, now: int) -> DoorCredential | None:
    """What an outage credential should open now that nobody is known to have: its bay's doors in its hour of arrival (pass-4)."""
    opens_at, closes_at = passes.window(spare.first, spare.past)
    bay = house.resources.get(spare.resource_id)
    door_ids = tuple(dict.fromkeys((*house.facility.door_ids, *(bay.door_ids if bay else ()))))
    if spare.state not in ("made", "leased") or now >= closes_at or not door_ids:
        return None
    label = f"spare PIN, {views.bay(house, spare.resource_id)}, {views.clock(house.facility.zone, spare.first, spare.past)}"
    return DoorCredential(spare.id, door_ids, spare.secret, opens_at, closes_at, label)


def stamp(one: DoorCredential) -> str:
    """A digest by which one sees whether the controller has this very credential; behind the point, of its PIN alone, since a PIN that stays
    is not taken off and put on again under a guest's hands."""
    whole = hashlib.sha256(msgspec.json.encode(msgspec.structs.asdict(one))).hexdigest()[:24]
    return f"{whole}.{hashlib.sha256(f'pin {one.pin}'.encode()).hexdigest()[:8]}"


def pin_part(stamped: str) -> str:
    """What a stamp says of the PIN alone, for a credential of which nothing else is known to be right; empty where it says nothing."""
    _, point, pin = stamped.partition(".")
    return point + pin


def same_pin(one: str, other: str) -> bool:
    """Whether two stamps are of the same PIN; one from before stamps told of it is of none."""
    return bool(pin_part(one)) and pin_part(one) == pin_part(other)
