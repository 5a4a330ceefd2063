"""Digests of the books, and what to resend where they differ (loss-8). Values only: the stream carries them, the ledger reads the rows.

A digest rides as a row in its sender's stream, so the receiver compares when it has applied everything the sender had said. It covers what
the sender owns, and of that only facts whose news travels the same way: attendance and the displaced mark are told by the site, so the
hub's digest leaves them out. What is still being settled between the two (`cancelling`) makes its day *unsettled*: it is compared the next
time instead of being reported as a loss. Bookings the peer has not been told of (asked, pending) or need not keep (declined, expired)
are no rows, nor are those that were withdrawn before they were ever sold.

Invariant: for settled days two digests are equal exactly when the sets of rows are equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from shared.model import Attendance, Booking, Frozen, Side

SLOTS_A_DAY = 96
UNSETTLED = "unsettled"

#: which statuses are told to the peer, and as what; others are no rows
_GROUPS: dict[str, Literal["live", "gone", "leaving"]] = {"confirmed": "live", "cancelled": "gone", "cancelling": "leaving"}


class Row(msgspec.Struct, frozen=True, order=True, array_like=True):
    """What both sides must agree on about one booking. `start`, `end` in slots; `attendance` is the version of that document, 0 if none."""

    booking_id: str
    resource_id: str
    start: int
    end: int
    group: Literal["live", "gone", "leaving"]
    displaced: bool = False
    attendance: int = 0

    @property
    def day(self) -> int:
        """The UTC day of the start, counted from 1 Jan 1970: the same on both sides without anybody's time zone data."""
        return self.start // SLOTS_A_DAY


class Digest(Frozen):
    """One resource's day in the sender's books: how many rows, and SHA-256 over them (hex), or `unsettled`."""

    resource_id: str
    day: int
    rows: int
    sha256: str


class Repairs(Frozen):
    """What a difference comes to. `resend`: booking ids that the owner sends whole again. `unknown`: ids of the peer's that the owner has
    never heard of; nothing repairs those by itself, they go to the conflict queue."""

    resend: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def row_of(booking: Booking, attendance: Attendance | None = None) -> Row | None:
    """A booking as a row, None where the peer need not know it."""
    group = _GROUPS.get(booking.status)
    if group is None or (group == "gone" and not booking.sale_no):
        return None  # what was withdrawn before it was sold never became valid: its owner may not even have a row of it
    version = attendance.version if attendance else 0
    return Row(booking.id, booking.resource_id, booking.start, booking.end, group, booking.displaced, version)


def owned(rows: Iterable[Row], sender: Side, lines: Mapping[str, int]) -> tuple[Row, ...]:
    """The rows that a digest of `sender`'s covers, as it states them; the receiver cuts its own rows the same way before comparing.

    `lines` are the sender's lines per resource when it made the digest (they travel with it): the site owns what starts below, the hub the
    rest. A resource without a line is the hub's.
    """
    if sender == "site":
        return tuple(row for row in rows if row.start < lines.get(row.resource_id, 0))
    mine = (row for row in rows if row.start >= lines.get(row.resource_id, 0))
    return tuple(msgspec.structs.replace(row, displaced=False, attendance=0) for row in mine)


def digests(rows: Iterable[Row]) -> tuple[Digest, ...]:
    """One digest per resource and day that has rows, in order; the order and repetition of `rows` do not matter."""
    days: dict[tuple[str, int], set[Row]] = {}
    for row in rows:
        days.setdefault((row.resource_id, row.day), set()).add(row)
    return tuple(_digest(resource_id, day, found) for (resource_id, day), found in sorted(days.items()))


def differences(mine: Iterable[Digest], theirs: Iterable[Digest]) -> list[tuple[str, int]]:
    """The `(resource_id, day)` that differ, in order; a day that only one has differs, one that either calls unsettled does not.

    Both must be made over the same range of days, else what was left out looks lost.
    """
    a, b = _by_day(mine), _by_day(theirs)
    return [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key) and UNSETTLED not in (a.get(key), b.get(key))]


def repairs(mine: Iterable[Row], theirs: Iterable[Row]) -> Repairs:
    """What I, the owner, must do about the rows of a day that differs: resend what the peer has not or has otherwise, in order of start.

    Rows being settled on either side are left alone: their own answer is under way.
    """
    own, other = set(mine), set(theirs)
    leaving = {row.booking_id for row in own | other if row.group == "leaving"}
    resend = sorted((row.start, row.booking_id) for row in own - other if row.booking_id not in leaving)
    known = {row.booking_id for row in own}
    unknown = sorted({row.booking_id for row in other} - known - leaving)
    return Repairs(resend=tuple(booking_id for _, booking_id in resend), unknown=tuple(unknown))


def _digest(resource_id: str, day: int, rows: set[Row]) -> Digest:
    if any(row.group == "leaving" for row in rows):
        return Digest(resource_id=resource_id, day=day, rows=len(rows), sha256=UNSETTLED)
    # JSON of the sorted rows: quoted and comma'd, so that no two sets have the same bytes
    return Digest(resource_id=resource_id, day=day, rows=len(rows), sha256=hashlib.sha256(msgspec.json.encode(sorted(rows))).hexdigest())


def _by_day(found: Iterable[Digest]) -> dict[tuple[str, int], str]:
    return {(digest.resource_id, digest.day): digest.sha256 for digest in found}
