"""Blocks and the mark `displaced` (protocol block-1, block-2). The site owns its bays: a block needs no line."""

from __future__ import annotations

import msgspec

from ..errors import refuse
from ..messages import BlockRequest, BlockStated, Displaced
from ..model import Block, Booking, Interval
from ..runtime.database import Tx
from . import attendance, claims, locked, records, standing, streams
from .desk import Desk
from .holds import unreachable

replace = msgspec.structs.replace
#: who takes a seat away, as attendance tells it
BLOCK = "block"


def block(tx: Tx, desk: Desk, b: Block, *, link_up: bool = True) -> Block:
    """Takes a bay out of sale. The site does it; the hub asks for it (status `asked`). The same id again gives the same block.

    Free slots are taken at once; occupied ones when the booking there moves or ends; bookings there are displaced.
    """
    standing.require_side(tx, desk, b.site_id, selling=False)
    if records.resource(tx, b.resource_id) is None:
        raise refuse("resource_not_found", "This bay is not known here.")
    known = records.block(tx, b.id)
    if known is not None:
        if (known.resource_id, known.start, known.end) != (b.resource_id, b.start, b.end):
            raise refuse("id_reused", "This block's id was used for another time.")
        return known
    if desk.side == "hub":
        if not link_up:
            raise unreachable(desk)
        asked = records.put_block(tx, replace(b, status="asked"))
        streams.append(tx, desk, b.site_id, BlockRequest(block=asked))
        return asked
    b = records.put_block(tx, replace(b, status="active", created_at=desk.now()))
    streams.append(tx, desk, b.site_id, BlockStated(block=b))
    _occupy(tx, desk, b)
    return b


def prolong(tx: Tx, desk: Desk, block_id: str, end: int) -> Block:
    """At the site: an active block lasts until slot `end` instead, never shorter. Its bookings there are displaced as by `block`. Refuses
    `block_not_found`, `illegal_move` for one that has ended."""
    b = locked.block(tx, block_id)
    if b is None:
        raise refuse("block_not_found", "This block is not known.")
    standing.require_side(tx, desk, b.site_id, selling=False)
    if b.status != "active":
        raise refuse("illegal_move", "This block has ended.")
    if end <= b.end:
        return b
    b = records.put_block(tx, replace(b, end=end, version=b.version + 1))
    streams.append(tx, desk, b.site_id, BlockStated(block=b))
    _occupy(tx, desk, b)
    return b


def unblock(tx: Tx, desk: Desk, block_id: str, *, link_up: bool = True) -> Block:
    """Puts the bay back on sale; a displaced booking gets its slots before anyone can buy them."""
    b = locked.block(tx, block_id)
    if b is None:
        raise refuse("block_not_found", "This block is not known.")
    standing.require_side(tx, desk, b.site_id, selling=False)
    if b.status == "ended":
        return b
    if desk.side == "hub":
        if not link_up:
            raise unreachable(desk)
        streams.append(tx, desk, b.site_id, BlockRequest(block=replace(b, status="ended")))
        return b
    b = records.put_block(tx, replace(b, status="ended", version=b.version + 1))
    streams.append(tx, desk, b.site_id, BlockStated(block=b))
    _vacate(tx, desk, b)
    return b


def decide(tx: Tx, desk: Desk, message: BlockRequest) -> None:
    """The hub's wish, carried out at the site; the answer is the site's document."""
    asked = message.block
    known = records.block(tx, asked.id)
    if asked.status == "ended":
        if known is not None:
            unblock(tx, desk, asked.id)
        return
    if known is not None:
        streams.append(tx, desk, asked.site_id, BlockStated(block=known))
        return
    if records.resource(tx, asked.resource_id) is None:
        streams.append(tx, desk, asked.site_id, BlockStated(block=replace(asked, status="declined", version=asked.version + 1)))
        return
    block(tx, desk, asked)


def apply(tx: Tx, desk: Desk, message: BlockStated) -> None:
    """The hub hears of the site's block: whole documents, by version (own-6)."""
    b = message.block
    known = records.block(tx, b.id)
    if known is not None and known.status != "asked" and known.version >= b.version and desk.guard("newer_document"):
        return
    take(tx, desk, b)


def take(tx: Tx, desk: Desk, b: Block) -> None:
    """Writes the document as it is told, and takes or frees its slots."""
    records.put_block(tx, b, older_too=not desk.guard("newer_document"))
    if b.status == "active":
        _occupy(tx, desk, b)
    else:
        _vacate(tx, desk, b)


def _occupy(tx: Tx, desk: Desk, b: Block) -> None:
    claims.take_free(tx, b.resource_id, b.claimed, "block", b.id)
    for booking in _bookings_in(tx, b.resource_id, b.claimed):
        mark(tx, desk, booking, True, [b.id])
    for booking_id in _seated_in(tx, b.resource_id, b.claimed) if desk.side == "site" else ():
        attendance.unseat(tx, desk, booking_id, by=BLOCK)
    tx.tell("resource", b.resource_id)


def _vacate(tx: Tx, desk: Desk, b: Block) -> None:
    claims.free(tx, desk, b.id)
    for booking in claims.displaced_at(tx, b.resource_id, b.claimed):
        claims.seat(tx, desk, booking)
    tx.tell("resource", b.resource_id)


def _bookings_in(tx: Tx, resource_id: str, interval: Interval) -> list[Booking]:
    return records.bookings_where(
        tx,
        "resource_id = :r AND status IN ('confirmed', 'cancelling') AND first < :e AND past > :s",
        {"r": resource_id, "s": interval.start, "e": interval.end},
    )


def _seated_in(tx: Tx, resource_id: str, interval: Interval) -> list[str]:
    """Bookings of other bays whose guests were given this one and have not come yet. Who is in the bay stays there, as anywhere."""
    found = []
    for ref in dict.fromkeys(ref for _, kind, ref in claims.holders(tx, resource_id, interval) if kind == "booking"):
        a = records.attendance(tx, ref)
        if a is not None and a.seat == resource_id and not a.state:
            found.append(ref)
    return found


def mark(tx: Tx, desk: Desk, booking: Booking, displaced: bool, against: list[str]) -> Booking:
    """Sets or takes away the mark beside the status (block-2). The site, whose bays they are, tells it; a change opens or ends conflicts."""
    a = records.attendance(tx, booking.id)
    reseated = bool(a and a.seat)
    if booking.displaced == displaced or (displaced and reseated):
        return booking
    booking = records.put_booking(tx, replace(booking, displaced=displaced))
    why = "block" if against and records.block(tx, against[0]) is not None else "slots"
    if displaced:
        for other in against or [""]:
            records.put_conflict(tx, booking.site_id, booking.id, other, why, desk.now())
    else:
        records.end_conflicts(tx, booking.id)
    streams.append(tx, desk, booking.site_id, Displaced(booking_id=booking.id, displaced=displaced, reason=why))
    return booking


def apply_displaced(tx: Tx, desk: Desk, message: Displaced) -> None:
    """The peer lacks the slot, or has it again. Each side marks what it hears; the mark clears only when both have the slot."""
    booking = records.booking(tx, message.booking_id)
    if booking is None or booking.displaced == message.displaced or booking.status not in ("confirmed", "cancelling"):
        return
    a = records.attendance(tx, booking.id)
    if message.displaced and a is not None and a.seat:
        return  # said before the peer heard of the new seat
    if not message.displaced and claims.lacking(tx, booking.resource_id, booking.claimed, booking.id):
        return
    booking = records.put_booking(tx, replace(booking, displaced=message.displaced))
    if message.displaced:
        records.put_conflict(tx, booking.site_id, booking.id, "", message.reason or "slots", desk.now())
    else:
        records.end_conflicts(tx, booking.id)
