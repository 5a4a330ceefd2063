"""The proof that a backup can be restored: its books in a scratch file, checked by themselves and against the books that are in use.

A row that is younger in the books than in the copy has changed since, and so has one that only the books have: its day is counted as moved
on and not compared. What is left must be the same, day by day (`reconcile`). A row that only the copy has, or has in a later version, means
that the *books* have lost something: that is told as loudly.

Invariant: only reads; the books in short transactions, so that the writer's WAL is never held up by the length of a drill.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from ..model import Attendance, Booking
from ..reconcile import SLOTS_A_DAY, Row, differences, digests, row_of
from ..runtime import database_copy
from ..runtime.database import Tx
from ..runtime.database_copy import Facts

#: bookings of one bay in so many days are compared at a time: some hundred rows, a millisecond
WINDOW_DAYS = 7
#: rows decoded in one go; between two goes sales have the processor
ROWS_A_GO = 20
REST_S = 0.001
#: sentences before the rest is only counted
TOLD_MAX = 10

Known = Mapping[str, tuple[str, ...]]
_booking = msgspec.json.Decoder(Booking).decode
_attendance = msgspec.json.Decoder(Attendance).decode


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a drill found. `wrong`: a sentence each, none for a sound backup. `days` of one bay that were compared, `moved_on` that were not
    since they have changed after the copy was made; `bookings` in the copy; `rows` in all its tables."""

    wrong: tuple[str, ...]
    bookings: int = 0
    rows: int = 0
    days: int = 0
    moved_on: int = 0

    @property
    def ok(self) -> bool:
        return not self.wrong


class _Seen(msgspec.Struct, frozen=True):
    """One booking as a drill sees it: its row, None where the peer need not know it, and the versions of its two documents."""

    row: Row | None
    versions: tuple[int, int]
    day: tuple[str, int]


def verify(scratch: Path, live: Path | None, told: Facts, known: Known, stopping: Callable[[], bool] = lambda: False) -> Report:
    """Checks the restored file `scratch` against what its note told, the steps this program knows and the books in use (None: there are none).

    Blocks; Unavailable where the books in use cannot be read. Whatever is wrong with the copy is in the report.
    """
    if found := database_copy.faults(scratch):
        return Report(wrong=tuple(f"The copy is no sound database: {fault}." for fault in found[:TOLD_MAX]))
    has = database_copy.facts(scratch)
    report = Report(wrong=(*_strange_steps(has, known), *_miscounted(has, told)), bookings=has.rows.get("bookings", 0), rows=sum(has.rows.values()))
    if report.wrong or live is None:
        return report
    return _compare(report, scratch, live, stopping)


def _strange_steps(has: Facts, known: Known) -> list[str]:
    wrong = []
    if not any(has.steps.get(owner) for owner in known):
        wrong.append("The copy holds no books of this program: no step of its tables has run.")
    for owner, steps in has.steps.items():
        if strange := [step for step in steps if step not in known.get(owner, ())]:
            wrong.append(f"The copy comes from a newer program: it has steps of {owner!r} that are not known here ({', '.join(strange[:5])}).")
    return wrong


def _miscounted(has: Facts, told: Facts) -> list[str]:
    tables = sorted(has.rows.keys() | told.rows.keys())
    return [
        f"The copy's table {table!r} has {has.rows.get(table, 0)} rows where {told.rows.get(table, 0)} were counted when it was made."
        for table in tables
        if has.rows.get(table) != told.rows.get(table)
    ][:TOLD_MAX]


def _compare(report: Report, scratch: Path, live: Path, stopping: Callable[[], bool]) -> Report:
    wrong: list[str] = []
    days = moved_on = missed = 0
    with ExitStack() as stack:
        old = Tx(stack.enter_context(database_copy.reading(scratch, resting=True)))
        new = Tx(stack.enter_context(database_copy.reading(live)))
        for resource_id, first in _windows(old):
            if stopping():
                break
            theirs, ours = (_seen(tx, resource_id, first) for tx in (old, new))
            fresh, lost = _moved(theirs, ours)
            compared = {seen.day for seen in theirs.values()} - fresh
            days, moved_on = days + len(compared), moved_on + len(fresh)
            lost += _differing(theirs, ours, compared)
            missed += len(lost)
            wrong += lost[: TOLD_MAX - len(wrong)]
    if missed > len(wrong):
        wrong.append(f"{missed - len(wrong)} more differences were found.")
    return msgspec.structs.replace(report, wrong=tuple(wrong), days=days, moved_on=moved_on)


def _windows(old: Tx) -> Iterator[tuple[str, int]]:
    """`(resource_id, first slot)` of every stretch in which the copy has bookings."""
    span = WINDOW_DAYS * SLOTS_A_DAY
    yield from old.all(
        "SELECT DISTINCT resource_id, first - first % :span AS since FROM bookings ORDER BY resource_id, since", {"span": span}
    )


def _seen(tx: Tx, resource_id: str, first: int) -> dict[str, _Seen]:
    """The bookings of a bay that begin in the window, by id."""
    rows = tx.all(
        "SELECT b.doc, a.doc FROM bookings b LEFT JOIN attendance a ON a.booking_id = b.id"
        " WHERE b.resource_id = :r AND b.first >= :since AND b.first < :until",
        {"r": resource_id, "since": first, "until": first + WINDOW_DAYS * SLOTS_A_DAY},
    )
    found: dict[str, _Seen] = {}
    for number, (doc, attended) in enumerate(rows):
        if number % ROWS_A_GO == 0:
            time.sleep(REST_S)
        booking, attendance = _booking(doc), _attendance(attended) if attended else None
        versions = (booking.version, attendance.version if attendance else 0)
        found[booking.id] = _Seen(row_of(booking, attendance), versions, (booking.resource_id, booking.start // SLOTS_A_DAY))
    return found


def _moved(theirs: Mapping[str, _Seen], ours: Mapping[str, _Seen]) -> tuple[set[tuple[str, int]], list[str]]:
    """The days that have changed since the copy was made, and what shows the books to be the older ones."""
    fresh = {seen.day for booking_id, seen in ours.items() if booking_id not in theirs}
    lost = []
    for booking_id, seen in theirs.items():
        now = ours.get(booking_id)
        if now is None:
            fresh.add(seen.day)
            lost.append(f"The booking {booking_id} is in the copy and no longer in the books.")
        elif any(then > later for then, later in zip(seen.versions, now.versions, strict=True)):
            fresh.add(seen.day)
            lost.append(f"The booking {booking_id} is younger in the copy than in the books: the books have gone back.")
        elif now.versions != seen.versions:
            fresh.add(seen.day)
    return fresh, lost


def _differing(theirs: Mapping[str, _Seen], ours: Mapping[str, _Seen], compared: set[tuple[str, int]]) -> list[str]:
    mine, other = (
        digests(seen.row for seen in found.values() if seen.row is not None and seen.day in compared) for found in (ours, theirs)
    )
    return [
        f"The bookings of {resource_id} on {_date(day)} differ between the copy and the books, though none has changed since."
        for resource_id, day in differences(mine, other)
    ]


def _date(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(day * 86_400))
