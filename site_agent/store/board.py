"""The day as staff see it: rows, bays and everything that lies on them. Read only.

Invariant: what is drawn comes out of one read, so a booking and its claim are never from two moments. Contacts and PINs are not in it.
"""

from __future__ import annotations

from datetime import date, timedelta

import msgspec

from shared import presence, rules, slots
from shared.bookings import shown
from shared.ledger import claims, lines, records
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House
from shared.model import Attendance, Booking, Interval, Resource
from shared.runtime.database import Tx

#: half hours of the next day that a day goes on with, so that the last evening hour has something to look ahead to
AFTER_ROWS = 12


class BoardRow(msgspec.Struct, frozen=True):
    """A half hour: its first slot and its label by the facility's clock."""

    slot: int
    label: str


class BoardBay(msgspec.Struct, frozen=True):
    """A column: `bay` is what people call it, `name` what else there is to say (may be empty). `line` is a slot: below it the site sells alone."""

    id: str
    bay: str
    name: str
    line: int
    capacity: int


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """Something on the board: `kind` is booking, block or hold; `start`, `end` in slots; `state` what people see of it; `due_at` (unix seconds) from
    when on a booking's guest is waited for.

    `tone` names its colour and pattern: web, kiosk, staff, in, done, noshow, asked, going, override, displaced, block, hold.
    """

    id: str
    kind: str
    resource_id: str
    start: int
    end: int
    state: str
    tone: str
    label: str
    detail: str = ""
    clock: str = ""
    due_at: int = 0


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """One day, and in `after` the first half hours of the next, whose title is `after_title`; `items` covers both.

    `now_at` is the site's clock in unix seconds; `version` is another one after every change (`services.live`).
    """

    site_id: str
    name: str
    word: str
    zone: str
    date: str
    title: str
    version: str
    now_at: int
    rows: tuple[BoardRow, ...]
    after: tuple[BoardRow, ...]
    after_title: str
    bays: tuple[BoardBay, ...]
    items: tuple[Item, ...]


def board(tx: Tx, desk: Desk, house: House, on: date, version: str) -> Board:
    """The whole day."""
    zone, site_id = house.facility.zone, house.facility.id
    line = lines.lines_of(tx, site_id)
    bays = tuple(
        BoardBay(r.id, called := rules.called(r, house.facility), beside(r, called), line.get(r.id, 0), r.capacity)
        for r in house.resources.values()
        if r.active
    )
    morrow = on + timedelta(days=1)
    return Board(
        site_id=site_id, name=house.facility.name, word=house.facility.word, zone=zone, date=on.isoformat(),
        title=_title(on), version=version, now_at=desk.now(), rows=_rows(zone, on), after=_rows(zone, morrow)[:AFTER_ROWS],
        after_title=_title(morrow), bays=bays,
        items=tuple(items(tx, house, on, [bay.id for bay in bays])),
    )  # fmt: skip


def beside(resource: Resource, called: str) -> str:
    """What else to say of a bay beside what people call it: its name, or its make where the name is the same; empty if neither is more."""
    return next((text for text in (resource.name, resource.make) if text and text.casefold() != called.casefold()), "")


def _rows(zone: str, on: date) -> tuple[BoardRow, ...]:
    return tuple(BoardRow(slot, label) for slot, label in slots.rows(zone, on))


def _title(on: date) -> str:
    return f"{on:%A} {on.day} {on:%B %Y}"


def items(tx: Tx, house: House, on: date, resource_ids: list[str]) -> list[Item]:
    """What lies on these bays that day and in the first hours after it, each with what is drawn of it."""
    zone, site_id = house.facility.zone, house.facility.id
    day, wanted = slots.day_span(zone, on), set(resource_ids)
    span = Interval(day.start, day.end + AFTER_ROWS * 2)
    visits = records.attendance_between(tx, site_id, span.start, span.end)
    found = []
    for b in records.bookings_between(tx, site_id, span.start, span.end):
        visit = visits.get(b.id)
        at = b.seat(visit)
        if at in wanted and b.status in ("requested", "pending", "confirmed", "cancelling") and not b.withdrawn:
            found.append(_booking_item(zone, b, visit, at))
    for block in records.blocks_between(tx, site_id, span.start, span.end):
        if block.status == "active" and block.resource_id in wanted:
            found.append(
                Item(
                    id=block.id, kind="block", resource_id=block.resource_id, start=block.start, end=block.end, state="active", tone="block",
                    label=block.kind.replace("_", " ").capitalize(), detail=block.reason, clock=_clock(zone, block.start, block.end),
                )  # fmt: skip
            )
    for resource_id in resource_ids:
        found += _holds(tx, zone, resource_id, span)
    return found


def _booking_item(zone: str, b: Booking, visit: Attendance | None, at: str) -> Item:
    state = shown(b.status, visit.state if visit else "")
    return Item(
        id=b.id, kind="booking", resource_id=at, start=b.start, end=b.end, state=state, tone=_tone(b, state), label=b.shown_name or "Guest",
        detail=records.reference_of(b.order_id) + (", moved here by us" if b.placed else ""), clock=_clock(zone, b.start, b.end),
        due_at=presence.due_at(b),
    )  # fmt: skip


def _tone(b: Booking, state: str) -> str:
    if b.displaced:
        return "displaced"
    if state in ("checked_in", "completed", "no_show", "requested", "cancelling"):
        return {"checked_in": "in", "completed": "done", "no_show": "noshow", "requested": "asked", "cancelling": "going"}[state]
    if b.override:
        return "override"
    return b.channel if b.channel in ("kiosk", "staff") else "web"


def _holds(tx: Tx, zone: str, resource_id: str, span: Interval) -> list[Item]:
    """Holds as their claims lie, so that one of the other side's making is not drawn where it has no slots here."""
    refs = {ref for _, kind, ref in claims.holders(tx, resource_id, span) if kind == "hold"}
    held = [h for ref in sorted(refs) if (h := records.hold(tx, ref)) is not None]
    return [
        Item(
            id=h.id, kind="hold", resource_id=resource_id, start=h.start, end=h.end, state="held", tone="hold", label="Being booked",
            clock=_clock(zone, h.start, h.end),
        )  # fmt: skip
        for h in held
    ]


def _clock(zone: str, start: int, end: int) -> str:
    return f"{slots.label(zone, start)}–{slots.label(zone, end)}"


class Figures(msgspec.Struct, frozen=True):
    """A day in numbers (S2, A8): counted from the books, nothing estimated. `booked_minutes` of `bay_minutes` on all bays.

    `expected` counts who is to arrive on that day; today also who should have come before midnight and still may.
    """

    expected: int
    inside: int
    late: int
    done: int
    no_shows: int
    booked_minutes: int
    bay_minutes: int


def figures(tx: Tx, desk: Desk, house: House, on: date) -> Figures:
    """The day's visits and how full it is."""
    span, site_id, now = slots.day_span(house.facility.zone, on), house.facility.id, desk.now()
    visits = records.attendance_between(tx, site_id, span.start, span.end)
    counts = dict.fromkeys(("confirmed", "checked_in", "completed", "no_show"), 0)
    expected = late = booked = 0
    for b in records.bookings_between(tx, site_id, span.start, span.end):
        visit = visits.get(b.id)
        state = shown(b.status, visit.state if visit else "")
        if state not in counts:
            continue
        counts[state] += 1
        booked += (min(b.end, span.end) - max(b.start, span.start)) * 15
        expected += state == "confirmed" and (b.start >= span.start or span.start <= now // 900 < span.end)
        late += state == "confirmed" and presence.due_at(b) + 5 * 60 <= now < b.ends_at
    bays = sum(1 for r in house.resources.values() if r.active)
    return Figures(
        expected, counts["checked_in"], late, counts["completed"], counts["no_show"], booked, bays * len(span) * 15
    )
