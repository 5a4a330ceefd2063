"""Both books of one site side by side: read over HTTP, printed, compared.

For: the end of the check. Not for: what a booking means. Invariant: what never became a sale (declined, withdrawn, expired) is no part of
a book, since the side that was only asked need not know of it.
"""

from datetime import date, timedelta
from typing import Any

import msgspec

from deploy.demo.clients import Hub, Staff, slot
from shared import slots

NEVER_SOLD = ("declined", "expired", "requested")
MARKS = {"confirmed": "", "checked_in": " in", "completed": " done", "cancelled": " cancelled", "no_show": " no-show", "cancelling": " cancelling"}


class Entry(msgspec.Struct, frozen=True, order=True):
    """One booking as one side has it: bay, interval in slots, status as people see it, PIN, whether it is displaced."""

    resource_id: str
    start: int
    end: int
    id: str
    status: str
    pin: str
    displaced: bool


def of_hub(rows: list[dict[str, Any]]) -> dict[str, Entry]:
    """The hub's book of one site out of its API's rows."""
    return _book(rows, "shown")


def of_site(rows: list[dict[str, Any]]) -> dict[str, Entry]:
    """The site's book out of its API's rows."""
    return _book(rows, "status")


def _book(rows: list[dict[str, Any]], status: str) -> dict[str, Entry]:
    found = {}
    for row in rows:
        if row[status] in NEVER_SOLD:
            continue
        # the PIN of what is over is not shown by either side
        pin = row.get("pin", "") if row[status] in ("confirmed", "checked_in") else ""
        found[row["id"]] = Entry(
            row["resource_id"], slot(row["start"]), slot(row["end"]), row["id"], row[status], pin, bool(row.get("displaced", False))
        )
    return found


async def read(hub: Hub, staff: Staff, days: list[date], zone: str) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """`(hub's, site's)` book of these days."""
    first, last = slots.day_span(zone, days[0]).start, slots.day_span(zone, days[-1]).end
    theirs: list[dict[str, Any]] = []
    for day in days:
        answer = await staff.bookings(day.isoformat())
        if not answer.ok:
            raise RuntimeError(f"The site {staff.site_id} did not list its bookings: {answer}")
        theirs += answer.body
    return of_hub(await hub.bookings(staff.site_id, first, last)), of_site(theirs)


def differences(hub: dict[str, Entry], site: dict[str, Entry]) -> list[str]:
    """A line for each booking that the two sides do not have alike; none: the books are equal.

    A booking that was sold and cancelled before the other side heard of it is still told to it, so both have it.
    """
    out = []
    for booking_id in sorted(set(hub) | set(site)):
        one, other = hub.get(booking_id), site.get(booking_id)
        if one != other:
            out.append(f"{booking_id}: the hub has {_said(one)}, the site has {_said(other)}")
    return out


def _said(entry: Entry | None) -> str:
    if entry is None:
        return "nothing"
    mark = " displaced" if entry.displaced else ""
    return f"{entry.resource_id} slots {entry.start}-{entry.end} {entry.status}{mark}{' with a PIN' if entry.pin else ''}"


def page(name: str, hub: dict[str, Entry], site: dict[str, Entry], zone: str, days: list[date]) -> list[str]:
    """Both books as lines for a person: per day and bay the hub's line and the site's."""
    lines = []
    for day in days:
        span = slots.day_span(zone, day)
        bays = sorted({e.resource_id for book in (hub, site) for e in book.values() if span.start <= e.start < span.end})
        if bays:
            lines.append(f"{name}, {day:%a %d %b}")
        for bay in bays:
            for side, book in (("hub ", hub), ("site", site)):
                entries = sorted(e for e in book.values() if e.resource_id == bay and span.start <= e.start < span.end)
                told = "  ".join(f"{slots.label(zone, e.start)}-{slots.label(zone, e.end)}{MARKS.get(e.status, ' ' + e.status)}" for e in entries)
                lines.append(f"  {bay.partition('.')[2]:<6} {side}  {told or '-'}")
    return lines


def days_from(today: date, count: int) -> list[date]:
    """Yesterday, today and the days after, `count` in all."""
    return [today + timedelta(days=number - 1) for number in range(count)]
