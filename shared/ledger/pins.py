"""Door PINs (protocol pass-3): the site's allocator, the blocks it leases to the hub ahead, and who has which.

States: `leased` (at the site: the hub may give it), `free` (at the hub: leased to us, not given yet), `used` (a booking has it),
`outage` (at the site: an outage credential, `outage_pins`), `resting` (it is over; not reused before `pin_rest_s`).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..errors import Refusal, Refused, refuse
from ..messages import PinGiven, PinsLeased
from ..model import Booking
from ..pins import DRAWS_MAX, make_block
from ..runtime.database import Tx
from . import records, streams
from .desk import Desk

_PUT = (
    "INSERT INTO pins (site_id, pin, state, booking_id, until_at) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (site_id, pin) DO UPDATE SET state = excluded.state, booking_id = excluded.booking_id, until_at = excluded.until_at"
)


#: PINs looked up by one statement
LOOKED_UP = 100


def _known(tx: Tx, site_id: str, pins: list[str]) -> set[str]:
    """Which of these the site has out, or resting."""
    found: set[str] = set()
    for i in range(0, len(pins), LOOKED_UP):
        some = pins[i : i + LOOKED_UP]
        rows = tx.all(f"SELECT pin FROM pins WHERE site_id = ? AND pin IN ({', '.join('?' * len(some))})", (site_id, *some))
        found.update(row[0] for row in rows)
    return found


def _draw(tx: Tx, desk: Desk, site_id: str, n: int) -> tuple[str, ...]:
    """`n` PINs that the site does not know. Drawn together and looked up together; those that it knows are drawn again, as often as
    `make_block` draws for one. Refuses `pins_exhausted`."""
    drawn: list[str] = []
    taken: set[str] = set()
    for _ in range(DRAWS_MAX):
        block = make_block(n - len(drawn), taken.__contains__, desk.chance.randrange, desk.limits.pin_digits)
        if isinstance(block, Refusal):
            raise Refused(block)
        known = _known(tx, site_id, list(block))
        drawn += [pin for pin in block if pin not in known]
        if len(drawn) == n:
            return tuple(drawn)
        taken.update(block)
    raise refuse("pins_exhausted", "Nearly all PINs are in use at this facility. Use longer PINs.")


def draw(tx: Tx, desk: Desk, site_id: str, until_at: list[int]) -> tuple[str, ...]:
    """A PIN of the site's for each of these moments, for something besides a sale (an outage credential): it is nobody else's until it has
    rested. Refuses `pins_exhausted`."""
    drawn = _draw(tx, desk, site_id, len(until_at))
    put_all(tx, site_id, zip(drawn, until_at, strict=True), "outage")
    return drawn


def give(tx: Tx, desk: Desk, b: Booking) -> str:
    """A PIN for a sale: the site draws one, the hub takes one that the site leased to it; empty where the hub has none left
    (the site then gives one when it hears of the sale). A booking that the house puts elsewhere brings its own and keeps it."""
    if b.pin:
        put(tx, b.site_id, b.pin, "used", b.id, b.ends_at)
        return b.pin
    if desk.side == "site":
        (pin,) = _draw(tx, desk, b.site_id, 1)
        put(tx, b.site_id, pin, "used", b.id, b.ends_at)
        return pin
    # from a random place in the stock: PINs given in order would tell the next guest's
    free = "SELECT pin FROM pins WHERE site_id = :s AND state = 'free' AND pin >= :p ORDER BY pin LIMIT 1"
    row = tx.one(free, {"s": b.site_id, "p": f"{desk.chance.randrange(10**6):06d}"}) or tx.one(free, {"s": b.site_id, "p": ""})
    if row is None:
        return ""
    if desk.guard("pin_once"):
        put(tx, b.site_id, row[0], "used", b.id, b.ends_at)
    return row[0]


def put(tx: Tx, site_id: str, pin: str, state: str, booking_id: str, until_at: int) -> None:
    """Who has the PIN from now on."""
    tx.run(_PUT, (site_id, pin, state, booking_id, until_at))


def put_all(tx: Tx, site_id: str, until_at: Iterable[tuple[str, int]], state: str) -> None:
    """The same for many PINs that are no booking's, each with its end."""
    tx.many(_PUT, [(site_id, pin, state, "", at) for pin, at in until_at])


def heard(tx: Tx, desk: Desk, b: Booking) -> Booking:
    """A sale of the other side came with its PIN, or without one: then the site gives it and says so. Returns the booking with its PIN. What we
    have given up already (own-4) takes it from nothing that stands."""
    if b.pin:
        if not (b.withdrawn and _stands_with(tx, b)):
            put(tx, b.site_id, b.pin, "used", b.id, b.ends_at)
        return b
    if desk.side != "site":
        return b
    b = msgspec.structs.replace(b, pin=give(tx, desk, b))
    streams.append(tx, desk, b.site_id, PinGiven(booking_id=b.id, pin=b.pin))
    return b


def move(tx: Tx, old: Booking, new: Booking, pin: str) -> None:
    """A moved booking keeps its PIN."""
    if pin:
        put(tx, new.site_id, pin, "used", new.id, new.ends_at)


def retire(tx: Tx, desk: Desk, b: Booking) -> None:
    """The booking is over or cancelled: its PIN rests before it is drawn again. Where one of its order stands that carries it, as what it was to
    replace, or what replaced that instead, that one has it."""
    other = _stands_with(tx, b)
    if other is not None:
        put(tx, other.site_id, other.pin, "used", other.id, other.ends_at)
        return
    tx.run(
        "UPDATE pins SET state = 'resting', until_at = :u WHERE booking_id = :b",
        {"u": desk.now() + desk.limits.pin_rest_s, "b": b.id},
    )


def _stands_with(tx: Tx, b: Booking) -> Booking | None:
    """Another booking of the order at its facility that stands and carries the same PIN."""
    if not b.pin:
        return None
    same = (x for x in records.bookings_of_order(tx, b.order_id) if (x.site_id, x.pin) == (b.site_id, b.pin) and x.id != b.id)
    standing = [x for x in same if x.status == "confirmed" and not x.withdrawn]
    return min(standing, key=lambda x: bool(x.replaced_by), default=None)  # one whose owner is asked to give it up for another comes last


def rested(tx: Tx, desk: Desk) -> int:
    """Lets PINs that have rested long enough be drawn again. Returns how many; none while the clock is in doubt (clock-2), since a PIN that is
    only called over would be drawn again while its guest still has it."""
    if desk.clock_doubt():
        return 0
    now = desk.now()
    tx.run(
        "UPDATE pins SET state = 'resting', until_at = until_at + :rest WHERE state = 'used' AND until_at < :past",
        {"rest": desk.limits.pin_rest_s, "past": now - 86400},
    )
    return tx.run("DELETE FROM pins WHERE state = 'resting' AND until_at < :now", {"now": now})


def lease(tx: Tx, desk: Desk, site_id: str) -> int:
    """Leases the hub another block when it has few left of the length that the door controller takes. At the site. Returns how many were leased."""
    digits = {"s": site_id, "n": desk.limits.pin_digits}
    (left,) = tx.one("SELECT COUNT(*) FROM pins WHERE site_id = :s AND state = 'leased' AND LENGTH(pin) = :n", digits)
    if left >= desk.limits.pin_floor:
        return 0
    streams.lock(tx, site_id)
    block = _draw(tx, desk, site_id, desk.limits.pin_lease)
    tx.many("INSERT INTO pins (site_id, pin, state) VALUES (?, ?, 'leased')", [(site_id, p) for p in block])
    streams.append(tx, desk, site_id, PinsLeased(pins=tuple(block)))
    return len(block)


def leased(tx: Tx, site_id: str, message: PinsLeased) -> None:
    """The hub takes the block in; a PIN it knows already stays as it is. Of another length than these it gives none any more: the door controller
    is set to another length since."""
    if message.pins:
        other = {"s": site_id, "n": len(message.pins[0])}
        tx.run("DELETE FROM pins WHERE site_id = :s AND state = 'free' AND LENGTH(pin) <> :n", other)
    tx.many("INSERT INTO pins (site_id, pin, state) VALUES (?, ?, 'free') ON CONFLICT DO NOTHING", [(site_id, p) for p in message.pins])


def given(tx: Tx, message: PinGiven) -> None:
    b = records.booking(tx, message.booking_id)
    if b is not None and not b.pin:
        b = records.put_booking(tx, msgspec.structs.replace(b, pin=message.pin))
        put(tx, b.site_id, message.pin, "used", b.id, b.ends_at)


def booking_by_pin(tx: Tx, site_id: str, pin: str) -> Booking | None:
    """Who a PIN at the kiosk belongs to."""
    row = tx.one("SELECT booking_id FROM pins WHERE site_id = :s AND pin = :p AND state = 'used'", {"s": site_id, "p": pin})
    return records.booking(tx, row[0]) if row and row[0] else None
