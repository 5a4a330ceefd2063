"""A guest's own choice where the house could not keep a place: what happened, what can be had instead, and taking it (B12).

What is free and the placing itself are in `displaced`; here is what the guest is shown and may press. Invariant: nothing that stands is
given up here, and whoever has come, or whose time has begun, is told so instead of being moved.
"""

from __future__ import annotations

from shared.conflicts import WayOut
from shared.errors import refuse
from shared.ledger import records
from shared.model import Booking, Frozen
from shared.runtime.database import Tx

from .hub import Hub
from .visits import OrderPage, Visit, Visits, new_id

__all__ = ["CLOSED", "Lost", "LostPlaces", "place_before"]

#: why nothing can be chosen any more -> the sentence
CLOSED = {
    "came": "You have been here already, so no other place can be chosen on this page.",
    "begun": "Your time has begun, so no other place can be chosen on this page any more. Please speak to the facility.",
    "over": "The time of this booking is over, so no other place can be chosen any more.",
}


class Lost(Frozen):
    """A booking that has lost its place, or stands where it was put instead. `was`: the place that could not be kept, which is the visit's own
    until there is another. `why`: the kind of the block that has it, empty for anything else. `ways` best first, none where `closed` says
    why (a key of `CLOSED`)."""

    visit: Visit
    was: Booking
    why: str
    ways: tuple[WayOut, ...]
    closed: str = ""

    @property
    def placed(self) -> bool:
        return not self.visit.booking.displaced


class LostPlaces:
    def __init__(self, hub: Hub, visits: Visits):
        self._hub, self._visits = hub, visits

    def open(self, page: OrderPage) -> list[Visit]:
        """The bookings of the order that wait for a choice; where none does, those that were put elsewhere."""
        found = [visit for visit in page.live if _may_choose(page, visit)]
        return [visit for visit in found if visit.booking.displaced] or found

    def now(self, page: OrderPage, booking_id: str) -> Visit:
        """What has become of this booking of the order. Refuses `booking_not_found`."""
        known = {visit.booking.id: visit for visit in page.all}
        found = known.get(booking_id)
        if found is None:
            raise refuse("booking_not_found", "This booking is not part of this order.")
        for _ in page.all:
            after = known.get(found.booking.replaced_by)
            if found.booking.status not in ("cancelled", "cancelling") or after is None:
                break
            found = after
        return found

    def of(self, page: OrderPage, visit: Visit) -> Lost | None:
        """What its guest can choose now; None where there is nothing to choose: it has its place, does not stand, or waits for an answer."""
        if not _may_choose(page, visit):
            return None
        b, closed = visit.booking, self._closed(visit)
        was = b if b.displaced else place_before(page, b)
        return Lost(
            visit=visit,
            was=was,
            why=self._hub.db.read(lambda tx: _why(tx, was)),
            ways=() if closed else self._hub.displaced.ways(b.id),
            closed=closed,
        )

    def _closed(self, visit: Visit) -> str:
        now, b, state = self._hub.desk.now(), visit.booking, visit.attendance.state if visit.attendance else ""
        if state in ("checked_in", "completed"):
            return "came"
        if state or now >= b.ends_at:
            return "over"
        return "begun" if now >= b.starts_at else ""

    async def choose(self, page: OrderPage, booking_id: str, resource_id: str, start: int, end: int, *, nonce: str) -> Booking:
        """Takes this place (slots) for the order's booking: `confirmed`, or `requested` while the facility is asked. The same nonce again gives
        the same booking. Refuses `booking_not_found`, `illegal_move` with a sentence of `CLOSED`, and what `Displacements.place` does."""
        visit, made = self._visits.visit(page, booking_id), new_id(nonce)
        closed = self._closed(visit)
        if closed and self._hub.board.booking(made) is None:
            raise refuse("illegal_move", CLOSED[closed])
        seen = await self._hub.displaced.place(visit.booking.id, resource_id, start, end, new_id=made, by="customer")
        return seen.booking


def place_before(page: OrderPage, b: Booking) -> Booking:
    """Where the booking was before the house put it elsewhere; itself where that was not so, is not known, or it is back there."""
    known, first = {visit.booking.id: visit.booking for visit in page.all}, b
    for _ in page.all:
        before = known.get(first.replaces)
        if not first.placed or before is None:
            break
        first = before
    return b if (first.resource_id, first.start) == (b.resource_id, b.start) else first


def _may_choose(page: OrderPage, visit: Visit) -> bool:
    b, a = visit.booking, visit.attendance
    seated = a is not None and a.seat  # near the start the facility itself has said where
    lost = b.displaced or place_before(page, b) is not b
    return visit.live and b.status == "confirmed" and lost and not visit.asked and not seated


def _why(tx: Tx, was: Booking) -> str:
    return next((block.kind for block in records.blocks_over(tx, was.resource_id, was.start, was.claimed.end)), "")
