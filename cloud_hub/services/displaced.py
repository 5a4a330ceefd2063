"""Bookings that have lost their place, for the hub's staff and for their guests: what is open, where each could go, and going there (B12).

Not for: what the rule does alone (`shared.ledger.displaced.Placing`), nor who may ask; whoever calls has seen to that. Invariant: a place is
answered as given only once its owner has said so.
"""

from __future__ import annotations

import msgspec

from shared.conflicts import WayOut
from shared.errors import refuse
from shared.ledger import displaced, lines, records
from shared.ledger.desk import Desk
from shared.ledger.displaced import Queued
from shared.ledger.frontdesk import House
from shared.model import Booking
from shared.runtime.database import Tx

from ..store.board import Seen
from .booking import Bookings
from .changes import Changes

__all__ = ["Displacements", "Open", "offered"]


class Open(msgspec.Struct, frozen=True):
    """One open conflict of a facility. `called`: the bay as people call it; `shown_name`: the guest's. `ways` best first; none where something
    is asked already (`queued.asked`)."""

    queued: Queued
    facility: str
    called: str
    shown_name: str
    ways: tuple[WayOut, ...]

    @property
    def booking(self) -> Booking:
        return self.queued.booking


def offered(tx: Tx, desk: Desk, house: House, b: Booking, *, link_up: bool) -> tuple[WayOut, ...]:
    """The ways out that can be had from here just now, best first; none for who has come, and none while an answer is awaited."""
    a = records.attendance(tx, b.id)
    if b.status != "confirmed" or b.withdrawn or displaced.is_asked(tx, desk, b) or (a is not None and a.state):
        return ()
    if not link_up and not lines.owns(tx, desk, b.resource_id, b.start):
        return ()  # its facility alone can move it (own-1), and cannot be asked
    return displaced.ways_of(tx, desk, house, b, link_up=link_up)


class Displacements:
    def __init__(self, bookings: Bookings, changes: Changes):
        self._bookings, self._changes = bookings, changes
        self._db, self._desk = bookings.db, bookings.desk

    def ways(self, booking_id: str) -> tuple[WayOut, ...]:
        """Where the booking could go now, best first, at the price it has; nothing where it has a place that was never lost, is not
        confirmed, waits for an answer, is the facility's alone to move while that is not heard, or its guest has come. Refuses
        `booking_not_found`."""

        def read(tx: Tx) -> tuple[WayOut, ...]:
            b = records.booking(tx, booking_id)
            if b is None:
                raise refuse("booking_not_found", "This booking is not known.")
            return self._ways(tx, b) if b.displaced or b.placed else ()

        return self._db.read(read)

    def _ways(self, tx: Tx, b: Booking) -> tuple[WayOut, ...]:
        house = self._bookings.houses.of(tx, b.site_id)
        return offered(tx, self._desk, house, b, link_up=self._bookings.links.up(b.site_id))

    async def place(self, booking_id: str, resource_id: str, start: int, end: int, *, new_id: str, by: str) -> Seen:
        """Gives a displaced booking, or one that was placed before, this place (slots): the new booking, `confirmed`, or `requested` where the
        facility has not answered within `ask_wait_s`. The same again gives the same.

        Refuses what `displaced.place` refuses, and what the facility declines.
        """
        before = self._bookings.board.booking(booking_id)
        if before is None:
            raise refuse("booking_not_found", "This booking is not known.")
        up = self._bookings.links.up(before.site_id)

        def run(tx: Tx) -> tuple[Booking, bool]:
            house = self._bookings.houses.of(tx, before.site_id)
            new = displaced.place(
                tx, self._desk, house, booking_id, resource_id=resource_id, start=start, end=end, new_id=new_id, by=by, link_up=up
            )
            return new, bool(tx.events)

        seen, _ = await self._changes.moved(run, None, up, "placed")
        return seen

    def count(self) -> int:
        """How many open conflicts there are at all facilities."""
        return self._db.read(lambda tx: sum(len(displaced.queue(tx, self._desk, site_id)) for site_id in self._stated(tx)))

    def _stated(self, tx: Tx) -> list[str]:
        """The facilities that are enrolled here and have been heard from."""
        return [f.id for f in records.facilities(tx) if self._bookings.links.enrolled(f.id)]

    def open(self, site_id: str | None = None) -> list[Open]:
        """Every open conflict of the facility, or of all of them, the earliest start first. Refuses `facility_not_found`."""

        def read(tx: Tx) -> list[Open]:
            if site_id is not None:
                self._bookings.links.up(site_id)
            here = [site_id] if site_id is not None else self._stated(tx)
            found = [self._open(tx, one) for s in here for one in displaced.queue(tx, self._desk, s)]
            return sorted(found, key=lambda one: (one.booking.start, one.booking.id))

        return self._db.read(read)

    def one(self, booking_id: str) -> Open | None:
        """The open conflict of this booking; None where it has none, or is over."""

        def read(tx: Tx) -> Open | None:
            found = displaced.queued(tx, self._desk, booking_id)
            return self._open(tx, found) if found is not None else None

        return self._db.read(read)

    def _open(self, tx: Tx, one: Queued) -> Open:
        b = one.booking
        facility = records.facility(tx, b.site_id)
        called = self._bookings.board.called(tx, b)
        return Open(one, facility.name if facility else b.site_id, called, b.shown_name, self._ways(tx, b) if b.displaced else ())
