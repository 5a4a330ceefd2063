"""What pages and the API read: lists over the books, paged and filtered. Reads only; short enough for the event loop (< 200 µs a page).

Invariant: no text of a request becomes SQL; every filter is a named parameter of a constant clause.
"""

from __future__ import annotations

import msgspec

from shared import rules
from shared.errors import Refused
from shared.ledger import records, secured, streams
from shared.ledger.availability import DayGrid
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.model import Attendance, Block, Booking, Customer, Resource
from shared.runtime.database import Database, InlineWriter, Tx

PAGE_MAX = 200
__all__ = ["Board", "BookingFilter", "DayGrid", "Seen"]

_booking = msgspec.json.Decoder(Booking).decode

CLAUSES = {
    "site_id": "site_id = :site_id",
    "resource_id": "resource_id = :resource_id",
    "customer_id": "customer_id = :customer_id",
    "order_id": "order_id = :order_id",
    "status": "status = :status",
    # a booking lasts at most a day: without the second half the index would walk through all of the past
    "from_slot": "past > :from_slot AND first > :from_slot - 100",
    "to_slot": "first < :to_slot",
    "after_first": "(first > :after_first OR (first = :after_first AND id > :after_id))",
}


class BookingFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Empty or 0 means no matter. `from_slot`, `to_slot`: bookings that touch `[from, to)`. `after_*`: the last row of the page before."""

    site_id: str = ""
    resource_id: str = ""
    customer_id: str = ""
    order_id: str = ""
    reference: str = ""
    status: str = ""
    from_slot: int = 0
    to_slot: int = 0
    after_first: int = 0
    after_id: str = ""


class Seen(msgspec.Struct, frozen=True):
    """A booking as it may be told (loss-7), with what is shown beside it: the order's reference, the site's attendance, the bay as people
    call it."""

    booking: Booking
    reference: str
    attendance: Attendance | None = None
    called: str = ""


class Board:
    def __init__(self, db: Database | InlineWriter, houses: Houses, desk: Desk):
        self._db, self._houses, self._desk = db, houses, desk

    def bookings(self, wanted: BookingFilter, limit: int) -> list[Booking]:
        """At most `limit`, in order of start, then id."""

        def read(tx: Tx) -> list[Booking]:
            where = [CLAUSES[name] for name in CLAUSES if getattr(wanted, name)]
            params = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value}
            params.setdefault("after_id", "")
            if wanted.reference:
                orders = records.order_by_reference(tx, wanted.reference)
                if not orders:
                    return []
                where.append("order_id IN (" + ", ".join(f":o{i}" for i in range(len(orders))) + ")")
                params |= {f"o{i}": order.id for i, order in enumerate(orders)}
            rows = tx.all(
                f"SELECT doc FROM bookings WHERE {' AND '.join(where) or '1 = 1'} ORDER BY first, id LIMIT :limit",
                params | {"limit": min(limit, PAGE_MAX)},
            )
            return [_booking(row[0]) for row in rows]

        return self._db.read(read)

    def see(self, bookings: list[Booking]) -> list[Seen]:
        """The bookings with what is shown beside them."""

        return self._db.read(lambda tx: [self.seen(tx, b) for b in bookings])

    def seen(self, tx: Tx, b: Booking, *, attended: bool = True) -> Seen:
        """`attended` False: nobody can have come yet, so the look for it is spared."""
        b = secured.told(tx, self._desk, b)
        return Seen(b, records.reference_of(b.order_id), records.attendance(tx, b.id) if attended else None, self.called(tx, b))

    def called(self, tx: Tx, b: Booking) -> str:
        """The bay as people of that facility call it ("Box 3"); empty where its site has not stated it."""
        try:
            house = self._houses.of(tx, b.site_id)
        except Refused:
            return ""
        resource = house.resources.get(b.resource_id)
        return rules.called(resource, house.facility) if resource else ""

    def booking(self, booking_id: str) -> Booking | None:
        return self._db.read(lambda tx: records.booking(tx, booking_id))

    def told(self, b: Booking | None) -> Booking | None:
        """The booking as it may be told of (loss-7)."""
        return None if b is None else self._db.read(lambda tx: secured.told(tx, self._desk, b))

    def order(self, order_id: str) -> list[Booking]:
        return self._db.read(lambda tx: records.bookings_of_order(tx, order_id))

    def customer(self, customer_id: str) -> tuple[Customer, list[Booking]] | None:
        """The customer, through merges, with every booking."""

        def read(tx: Tx):
            found = records.customer(tx, customer_id)
            return None if found is None else (found, records.bookings_of_customer(tx, found.id))

        return self._db.read(read)

    def resources(self, site_id: str = "") -> list[Resource]:
        return self._db.read(lambda tx: records.resources(tx, site_id))

    def blocks(self, site_id: str, from_slot: int, to_slot: int) -> list[Block]:
        return self._db.read(lambda tx: records.blocks_between(tx, site_id, from_slot, to_slot))

    def waiting_rows(self) -> dict[str, int]:
        """Site id -> messages that wait for it."""
        return self._db.read(lambda tx: {s: streams.waiting(tx, s)[0] for s in streams.sites(tx)})
