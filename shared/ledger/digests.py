"""Comparing the two books (protocol loss-8): digests stated daily and after every cut, differences resent by the owner, counted, reported.

The rule of what a digest covers is `shared.reconcile`; here it is read from the books, carried by the stream and acted on. Three steps, each
a row in its sender's stream, so that nothing is compared before everything said earlier has been applied:

    DigestStated   the owner states one digest per bay and day
    RowsStated     the other side says what it has for a day that differs; `DigestCompared` says how many differed
    Resent         the owner sends again what the other lacks or has otherwise

Invariant: only the owner's word mends the other's books, and only by `merge`; what that cannot settle (a booking its owner has never heard
of, a cancel on one side only) is in the conflict queue of both sides (`BooksDiffer`) until the books agree again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec

from .. import reconcile
from ..errors import Broken
from ..messages import BooksDiffer, DigestCompared, DigestStated, Displaced, Resent, RowsStated
from ..model import Attendance, Booking, Side, site_of
from ..runtime.database import Database, InlineWriter, Tx
from . import blocks, lines, merge, records, streams
from .desk import Desk

log = logging.getLogger("clubos.digests")

#: the first version of the messages that has digests (stream-6)
FIRST_SCHEMA = 2
EVERY_S = 86_400
#: a link that comes and goes does not make a statement each time
REST_S = 60
#: bookings read at a time
SLICE = 512
#: why a conflict is open that only people can settle
WHY = "books_differ"

_booking = msgspec.json.Decoder(Booking).decode
_attendance = msgspec.json.Decoder(Attendance).decode


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the digests of one site, on this side. Times in unix seconds, 0 for never; counts since the books began.

    `stated_at`: our last statement; `answered_at`: the other side compared it, and `answered_differing` days differed. `compared_at`: we
    compared theirs, and `differing` days differed. `differences` days in all, `resent` bookings by us, `mended` bookings of ours that a
    resent row changed, `unsettled` bookings that went to the conflict queue.
    """

    stated_at: int = 0
    answered_at: int = 0
    answered_differing: int = 0
    compared_at: int = 0
    differing: int = 0
    differences: int = 0
    resent: int = 0
    mended: int = 0
    unsettled: int = 0


_COUNTED = Report.__struct_fields__


def report(tx: Tx, site_id: str) -> Report:
    row = tx.one(f"SELECT {', '.join(_COUNTED)} FROM digests WHERE site_id = :s", {"s": site_id})
    return Report(**dict(zip(_COUNTED, row, strict=True))) if row else Report()


def _note(tx: Tx, site_id: str, *, add: dict[str, int] | None = None, **now: int) -> None:
    """Sets what happened `now` and adds to what is counted."""
    known = report(tx, site_id)
    changed = msgspec.structs.replace(known, **now, **{name: getattr(known, name) + n for name, n in (add or {}).items()})
    values = msgspec.structs.asdict(changed)
    sets = ", ".join(f"{name} = excluded.{name}" for name in _COUNTED)
    tx.run(
        f"INSERT INTO digests (site_id, {', '.join(_COUNTED)}) VALUES (:site_id, {', '.join(f':{name}' for name in _COUNTED)})"
        f" ON CONFLICT (site_id) DO UPDATE SET {sets}",
        {"site_id": site_id, **values},
    )
    tx.tell("digest", site_id)


# ---- stating
def state(tx: Tx, desk: Desk, site_id: str) -> bool:
    """States a digest of everything this side owns from yesterday (UTC) on. False where the stream does not flow or the peer knows no digests."""
    stream = streams.lock(tx, site_id)
    if not _flows(stream) or stream.peer_schema < FIRST_SCHEMA:
        return False
    from_day = desk.now_slot() // reconcile.SLOTS_A_DAY - 1
    at = lines.lines_of(tx, site_id)
    mine = reconcile.owned(_rows(tx, site_id, from_day), desk.side, at)
    streams.append(tx, desk, site_id, DigestStated(from_day=from_day, lines=at, digests=reconcile.digests(mine)))
    _note(tx, site_id, stated_at=desk.now())
    return True


def _flows(stream: streams.Stream) -> bool:
    """A side under repair or retired neither states nor answers: the repair compares everything anyway."""
    return bool(stream.epoch) and not (stream.stopped or stream.closed or stream.fenced or stream.retired)


def _rows(tx: Tx, site_id: str, from_day: int) -> Iterator[reconcile.Row]:
    """What both sides must agree on from that day on, read a slice at a time."""
    start, after = from_day * reconcile.SLOTS_A_DAY, ""
    while True:
        found = tx.all(
            "SELECT b.doc, a.doc, b.first, b.id FROM bookings b LEFT JOIN attendance a ON a.booking_id = b.id"
            " WHERE b.site_id = :s AND (b.first > :f OR (b.first = :f AND b.id > :id)) ORDER BY b.first, b.id LIMIT :n",
            {"s": site_id, "f": start, "id": after, "n": SLICE},
        )
        yield from _told(found)
        if len(found) < SLICE:
            return
        start, after = found[-1][2], found[-1][3]


def _rows_of(tx: Tx, resource_id: str, day: int) -> Iterator[reconcile.Row]:
    start = day * reconcile.SLOTS_A_DAY
    return _told(
        tx.all(
            "SELECT b.doc, a.doc FROM bookings b LEFT JOIN attendance a ON a.booking_id = b.id"
            " WHERE b.resource_id = :r AND b.first >= :f AND b.first < :e",
            {"r": resource_id, "f": start, "e": start + reconcile.SLOTS_A_DAY},
        )
    )


def _told(found: list[tuple]) -> Iterator[reconcile.Row]:
    for doc, visit, *_ in found:
        row = reconcile.row_of(_booking(doc), _attendance(visit) if visit else None)
        if row is not None:
            yield row


# ---- comparing, at the other side
def compare(tx: Tx, desk: Desk, x: DigestStated, site_id: str) -> None:
    """The owner's digests beside our rows: says what we have for every day that differs."""
    _own(site_id, (*x.lines, *(d.resource_id for d in x.digests)))
    if not _flows(streams.lock(tx, site_id)):
        return
    owner = _other(desk.side)
    mine = reconcile.owned(_rows(tx, site_id, x.from_day), owner, x.lines)
    differing = reconcile.differences(reconcile.digests(mine), x.digests)
    by_day: dict[tuple[str, int], list[reconcile.Row]] = {key: [] for key in differing}
    for row in sorted(mine):
        if (row.resource_id, row.day) in by_day:
            by_day[row.resource_id, row.day].append(row)
    for (resource_id, day), rows in by_day.items():
        told = RowsStated(resource_id=resource_id, day=day, line=x.lines.get(resource_id, 0), rows=tuple(rows))
        streams.append(tx, desk, site_id, told)
        records.journal(tx, desk.now(), site_id, "digests", "books differ", resource_id, f"day {day}, owned by the {owner}")
    streams.append(tx, desk, site_id, DigestCompared(days=len(x.digests), differing=len(differing)))
    _note(tx, site_id, add={"differences": len(differing)}, compared_at=desk.now(), differing=len(differing))
    if differing:
        log.warning("the two books differ", extra={"site_id": site_id, "days": len(differing)})
    else:
        _agree_again(tx, site_id, owner)


def compared(tx: Tx, desk: Desk, x: DigestCompared, site_id: str) -> None:
    """The other side has compared what we stated."""
    _note(tx, site_id, answered_at=desk.now(), answered_differing=x.differing)
    if not x.differing:
        _agree_again(tx, site_id, desk.side)


# ---- mending
def answer(tx: Tx, desk: Desk, x: RowsStated, site_id: str) -> None:
    """The owner resends what the other side lacks or has otherwise; an id it has never heard of is for people."""
    _own(site_id, (x.resource_id, *(row.resource_id for row in x.rows)))
    if not _flows(streams.lock(tx, site_id)):
        return
    mine = reconcile.owned(_rows_of(tx, x.resource_id, x.day), desk.side, {x.resource_id: x.line})
    found = reconcile.repairs(mine, x.rows)
    sent = sum(_resend(tx, desk, booking_id) for booking_id in found.resend) if desk.guard("digests_resend") else 0
    _note(tx, site_id, add={"resent": sent})
    if found.unknown:
        _for_people(tx, desk, site_id, found.unknown, desk.side)
        streams.append(tx, desk, site_id, BooksDiffer(booking_ids=found.unknown, owner=desk.side))


def _resend(tx: Tx, desk: Desk, booking_id: str) -> bool:
    """False where the line has moved meanwhile and the booking is not ours any more: its new owner states it next time."""
    b = records.booking(tx, booking_id)
    if b is None or not lines.owns(tx, desk, b.resource_id, b.start):
        return False
    resent = Resent(
        order=records.order_of(tx, b), booking=b, attendance=records.attendance(tx, b.id), customer=records.customer(tx, b.customer_id)
    )
    streams.append(tx, desk, b.site_id, resent)
    return True


def resent(tx: Tx, desk: Desk, x: Resent, site_id: str) -> None:
    """The owner's word enters our books by `merge`. What that leaves different is for people, here and there."""
    owner = _other(desk.side)
    before = _seen(tx, x.booking.id, owner)
    merge.take(tx, desk, x.booking, x.attendance if owner == "site" else None, x.customer, x.order)
    stored = records.booking(tx, x.booking.id)
    if owner == "site" and stored is not None and stored.status == "confirmed" and stored.displaced != x.booking.displaced:
        blocks.apply_displaced(tx, desk, Displaced(booking_id=stored.id, displaced=x.booking.displaced))
    after, wanted = _seen(tx, x.booking.id, owner), _cut(reconcile.row_of(x.booking, x.attendance), owner)
    if before != after:
        _note(tx, site_id, add={"mended": 1})
        records.journal(tx, desk.now(), site_id, "digests", "resent", x.booking.id, f"by the {owner}")
    if after != wanted and not any(row is not None and row.group == "leaving" for row in (after, wanted)):
        _for_people(tx, desk, site_id, (x.booking.id,), owner)
        streams.append(tx, desk, site_id, BooksDiffer(booking_ids=(x.booking.id,), owner=owner))


def differ(tx: Tx, desk: Desk, x: BooksDiffer, site_id: str) -> None:
    """The other side has found something that only people can settle."""
    _for_people(tx, desk, site_id, x.booking_ids, x.owner)


def _seen(tx: Tx, booking_id: str, owner: Side) -> reconcile.Row | None:
    b = records.booking(tx, booking_id)
    return _cut(reconcile.row_of(b, records.attendance(tx, booking_id)), owner) if b else None


def _cut(row: reconcile.Row | None, owner: Side) -> reconcile.Row | None:
    """The row as its owner's digest has it, wherever the line is now."""
    if row is None:
        return None
    (cut,) = reconcile.owned([row], owner, {row.resource_id: row.start + 1 if owner == "site" else row.start})
    return cut


# ---- what people must settle
def _for_people(tx: Tx, desk: Desk, site_id: str, booking_ids: tuple[str, ...], owner: Side) -> None:
    known = set(doubtful(tx, site_id))
    for booking_id in booking_ids:
        records.put_conflict(tx, site_id, booking_id, owner, WHY, desk.now())
    fresh = set(booking_ids) - known
    if fresh:
        _note(tx, site_id, add={"unsettled": len(fresh)})
        tx.tell("alarm", site_id)
        log.error("the two books differ and nothing mends it", extra={"site_id": site_id, "bookings": len(fresh)})


def doubtful(tx: Tx, site_id: str) -> list[str]:
    """The ids of bookings on which the two books differ and which people must settle, one of the sides may not know them."""
    rows = tx.all("SELECT booking_id FROM conflicts WHERE site_id = :s AND state = 'open' AND why = :w ORDER BY at, id", {"s": site_id, "w": WHY})
    return list(dict.fromkeys(row[0] for row in rows))


def _agree_again(tx: Tx, site_id: str, owner: Side) -> None:
    ended = tx.run(
        "UPDATE conflicts SET state = 'ended' WHERE site_id = :s AND state = 'open' AND why = :w AND against = :o",
        {"s": site_id, "w": WHY, "o": owner},
    )
    if ended:
        tx.tell("conflict", site_id)


def _own(site_id: str, resource_ids: tuple[str, ...]) -> None:
    """A site speaks of itself only (stream-6)."""
    if any(site_of(resource_id) != site_id for resource_id in resource_ids):
        raise Broken("a digest speaks of another facility")


def _other(side: Side) -> Side:
    return "site" if side == "hub" else "hub"


# ---- when
class Rounds:
    """When one link's digest is due: after every cut, once what waited has been applied, and daily. A start of the process counts as a cut."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, site_id: str):
        self._db, self._desk, self._site_id = db, desk, site_id
        self._was_dark = True

    def due(self, fresh: bool) -> bool:
        """To be asked every few seconds with whether the link is fresh, or a cut would be missed."""
        if not fresh:
            self._was_dark = True
            return False

        def read(tx: Tx) -> bool:
            row = tx.one("SELECT stated_at FROM digests WHERE site_id = ?", (self._site_id,))
            since_s = self._desk.now() - (row[0] if row else 0)
            if not (since_s >= EVERY_S or since_s < 0 or (self._was_dark and since_s >= REST_S)):
                return False
            return not streams.waiting(tx, self._site_id)[0]

        return self._db.read(read)

    async def tick(self, fresh: bool) -> bool:
        """States the digest where it is due. True where it was stated."""
        if not self.due(fresh):
            return False
        stated = await self._db.write(lambda tx: state(tx, self._desk, self._site_id))
        if stated:
            self._was_dark = False
        return stated
