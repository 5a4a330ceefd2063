"""Bookings, holds and blocks as screens and programs see them: local words, ISO times, and only what the asker may see.

Invariant: a kiosk sees no name in full, no contact and no PIN but those of the booking that it has just made; staff who may not let people
in see neither PIN nor pass nor phone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from shared import passes, rules, slots, territory
from shared.bookings import shown
from shared.keys import SigningKey
from shared.ledger import lines, records, resale
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House
from shared.model import Attendance, Block, Booking, Hold, Price
from shared.runtime.database import Tx


class BookingView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One booking. `start`, `end` ISO 8601 in UTC, `clock` by the facility's wall clock; `status` as people see it; `pass` for the QR code.

    `owner` is `site`, `hub` by the line as this side knows it; `seat` is the bay it was reseated on; `placed`: the house gave it this place
    instead of one that it could not keep. `how` it is known that the guest came, or did not; time used after the end in `overtime_min`, what it
    costs with tax in `overtime_cents`, why staff do not charge it in `waived`. `rest_from`: from when on the rest of a no-show's time could be sold.
    `untold`: neither a number nor a mail address of the guest is known, so that no message reaches them.
    """

    id: str
    order_id: str
    reference: str
    resource_id: str
    bay: str
    start: str
    end: str
    clock: str
    status: str
    name: str = ""
    guests: int = 0
    phone: str = ""
    seat: str = ""
    displaced: bool = False
    override: bool = False
    placed: bool = False
    owner: str = ""
    channel: str = ""
    price: Price | None = None
    pin: str = ""
    pass_text: str = msgspec.field(default="", name="pass")
    replaces: str = ""
    replaced_by: str = ""
    changes: int = 0
    answer_by: str = ""
    reason: str = ""
    how: str = ""
    overtime_min: int = 0
    overtime_cents: int = 0
    waived: str = ""
    rest_from: str = ""
    untold: bool = False
    version: int = 1


class BlockView(msgspec.Struct, frozen=True, kw_only=True):
    """One block of a bay."""

    id: str
    resource_id: str
    bay: str
    start: str
    end: str
    clock: str
    kind: str
    reason: str
    by: str
    status: str


class HoldView(msgspec.Struct, frozen=True, kw_only=True):
    """A hold; `expires_at` is empty while the other side is asked."""

    id: str
    resource_id: str
    bay: str
    start: str
    end: str
    status: str
    expires_at: str
    extended: bool
    reason: str


@lru_cache(4096)
def iso(at: int) -> str:
    """Unix seconds as ISO 8601 in UTC: 2026-11-21T18:00:00Z."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(zone: str, start: int, end: int) -> str:
    """Slots as a sentence says them: "Sat 21 Nov 2026, 18:00 to 19:00"."""
    return f"{slots.when(zone, start)} to {slots.label(zone, end)}"


def bay(house: House, resource_id: str) -> str:
    """The resource as people say it ("Box 3"); its id where it is no longer known."""
    found = house.resources.get(resource_id)
    return rules.called(found, house.facility) if found else resource_id


def initials(name: str) -> str:
    """What a public screen may show of a name."""
    return " ".join(f"{word[0].upper()}." for word in name.split()[:2] if word[:1].isalnum())


def booking(
    tx: Tx, desk: Desk, house: House, b: Booking, *, full: bool, opens: bool = True, key: SigningKey | None = None
) -> BookingView:
    """The view of a booking. `full` for staff and for whoever just made it; `opens` with what lets its guest in (PIN, pass) and reaches them;
    `key` signs that pass, where the booking is good and not over for longer than the pass is shown (D2)."""
    attendance = records.attendance(tx, b.id)
    status = shown(b.status, attendance.state if attendance else "")
    zone = house.facility.zone
    plain = BookingView(
        id=b.id, order_id=b.order_id, reference=records.reference_of(b.order_id), resource_id=b.resource_id, bay=bay(house, b.resource_id),
        start=iso(b.starts_at), end=iso(b.ends_at), clock=clock(zone, b.start, b.end), status=status, name=initials(b.shown_name),
        seat=attendance.seat if attendance else "", displaced=b.displaced, version=b.version,
    )  # fmt: skip
    if not full:
        return plain
    customer, order = records.customer(tx, b.customer_id), records.order(tx, b.order_id)
    rest = resale.rest_of(tx, desk, house, b) if status == "no_show" else None
    good = b.status == "confirmed" and not b.withdrawn and desk.now() < passes.shown_until(b.end)
    return msgspec.structs.replace(
        plain if attendance is None else _visited(plain, attendance), name=b.shown_name,
        guests=order.guests if order else 0, phone=customer.phone if customer and opens else "",
        override=b.override, placed=b.placed, owner=owner(tx, b), channel=b.channel, price=b.price, pin=b.door_pin if opens else "",
        pass_text=sign(b, key, desk.now()) if key and good and opens else "",
        replaces=b.replaces, replaced_by=b.replaced_by, changes=b.changes,
        answer_by=iso(b.answer_by) if b.answer_by and b.status == "requested" else "", reason=b.reason,
        untold=opens and not (customer and (customer.phone or customer.email)),
        rest_from=iso(rest.start * slots.SLOT_S) if rest is not None else "",
    )  # fmt: skip


def _visited(view: BookingView, a: Attendance) -> BookingView:
    return msgspec.structs.replace(view, how=a.how, overtime_min=a.overtime_min, overtime_cents=a.overtime_cents, waived=a.waived)


def owner(tx: Tx, b: Booking) -> str:
    """own-1, as this side knows the line: the site below it; the hub above it."""
    return "site" if territory.owns("site", b.start, lines.line_of(tx, b.resource_id)) else "hub"


def sign(b: Booking, key: SigningKey, now: int) -> str:
    """The pass of a booking, signed by this site."""
    return passes.write(passes.facts_of(b, key.id, now), key)


def block(house: House, b: Block) -> BlockView:
    return BlockView(
        id=b.id, resource_id=b.resource_id, bay=bay(house, b.resource_id), start=iso(b.start * 900), end=iso(b.end * 900),
        clock=clock(house.facility.zone, b.start, b.end), kind=b.kind, reason=b.reason, by=b.by, status=b.status,
    )  # fmt: skip


def hold(house: House, h: Hold) -> HoldView:
    return HoldView(
        id=h.id, resource_id=h.resource_id, bay=bay(house, h.resource_id), start=iso(h.start * 900), end=iso(h.end * 900), status=h.status,
        expires_at=iso(h.expires_at) if h.expires_at else "", extended=h.extended, reason=h.reason,
    )  # fmt: skip
