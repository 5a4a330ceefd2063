"""The calendar file of an order (RFC 5545): one event for every booking that stands, in UTC, so that no calendar must know the zone.

It holds no PIN and no pass: calendars are shared and kept by others. It holds the link, whose page shows them to whoever has it.
"""

from datetime import UTC, datetime

from cloud_hub.services.visits import OrderPage, Visit

from . import words

LINE_OCTETS = 75


def calendar(page: OrderPage, link: str) -> str:
    """The file's text. `link` is where the order's page is."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//ClubOS Booking//EN", "CALSCALE:GREGORIAN"]
    for visit in page.visits:
        if visit.booking.status == "confirmed":
            lines += _event(page, visit, link)
    return "".join(fold(line) + "\r\n" for line in [*lines, "END:VCALENDAR"])


def _event(page: OrderPage, visit: Visit, link: str) -> list[str]:
    b, facility = visit.booking, page.house.facility
    where = ", ".join(part for part in (facility.name, facility.address) if part)
    told = f"Reference {page.order.reference}."
    if link.startswith("http"):
        told += f" PIN, pass and changes: {link}"
    lines = [
        "BEGIN:VEVENT",
        f"UID:{b.id}@clubos-booking",
        f"SEQUENCE:{b.version}",
        f"DTSTAMP:{_utc(b.created_at or page.now_at)}",
        f"DTSTART:{_utc(b.starts_at)}",
        f"DTEND:{_utc(b.ends_at)}",
        f"SUMMARY:{escape(f'{facility.name}, {words.called(page.house, visit.seat)}')}",
        f"LOCATION:{escape(where)}",
        f"DESCRIPTION:{escape(told)}",
    ]
    return [*lines, *([f"URL:{link}"] if link.startswith("http") else []), "END:VEVENT"]


def _utc(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"


def escape(text: str) -> str:
    """Text as a value: what would end it or break the line is marked."""
    text = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return text.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "")


def fold(line: str) -> str:
    """A long line as several, cut between characters, each at most 75 octets with the blank that begins the next."""
    parts, part, room = [], b"", LINE_OCTETS
    for letter in line:
        octets = letter.encode()
        if len(part) + len(octets) > room:
            parts.append(part)
            part, room = b"", LINE_OCTETS - 1
        part += octets
    return b"\r\n ".join([*parts, part]).decode()
