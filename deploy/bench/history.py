"""Books with a past: thousands of bookings of one facility, sold through the ledger itself into a file that no process has open.

For: the measures of catching up and recovery. Not for: measuring. Invariant: no hour of a bay is sold twice, every guest is invented, and
what a side could not have sold is entered as the other side's word.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec

from shared import messages as m
from shared.ledger import apply, attendance, pins, records, sales, schema
from shared.ledger.desk import Desk
from shared.model import Attendance, Booking, Customer, Order, Price, PriceLine, Side
from shared.runtime.database import InlineWriter, Tx

#: sales in one commit while books are filled
AT_ONCE = 500
HOUR, DAY = 4, 96
#: guests come again: so many bookings for each
VISITS_EACH = 5
PRICE = Price(
    currency="CAD", total_cents=5750,
    lines=(PriceLine(code="rate", label="60 minutes", cents=5000, minutes=60), PriceLine(code="tax", label="HST 15 %", cents=750)),
)  # fmt: skip


class History:
    """What is sold at one facility, hour by hour over its bays. `side`: whose books are filled."""

    def __init__(self, side: Side, site_id: str, bays: int) -> None:
        self.side, self.site_id, self.bays = side, site_id, bays
        self.desk = Desk(side, clock=time.time, new_id=lambda: str(uuid.uuid4()), chance=Random(site_id), box_id=f"box-{site_id}")
        #: slots: a year ago, and what is the hub's ground for days to come
        self.begin, self.far = self.desk.now_slot() - 365 * DAY, self.desk.now_slot() + 5 * DAY

    def hour(self, number: int, first: int) -> tuple[str, int]:
        """Bay and slot of the hour with this number, counted from slot `first` over all bays."""
        return f"{self.site_id}.box-{number % self.bays + 1}", first + number // self.bays * HOUR

    def wish(self, number: int, first: int, *, seller: Side) -> sales.Wish:
        resource_id, start = self.hour(number, first)
        guest, order_id = number // VISITS_EACH, self.desk.new_id()
        customer = Customer(id=f"guest-{self.site_id}-{seller}-{guest}", name=f"Testa Birdie {guest}", email=f"{seller}-{guest}@example.test")
        made_at = min(self.desk.now(), start * 900)
        order = Order(
            id=order_id, reference=records.reference_of(order_id), site_id=self.site_id, customer_id=customer.id, channel="web", guests=2, created_at=made_at
        )
        booking = Booking(
            id=self.desk.new_id(), order_id=order_id, site_id=self.site_id, resource_id=resource_id, start=start, end=start + HOUR, seller=seller,
            customer_id=customer.id, shown_name=customer.name, channel="web", price=PRICE, created_at=made_at,
        )  # fmt: skip
        return sales.Wish(order=order, bookings=(booking,), customer=customer)

    def stock(self, tx: Tx, count: int) -> None:
        """At the hub: so many door PINs that the site has leased to it, for the sales of a long cut."""
        pins.leased(tx, self.site_id, m.PinsLeased(pins=tuple(f"{number * 7 % 1_000_000:06d}" for number in range(count))))

    # ---- what happened
    def sell(self, tx: Tx, number: int, first: int) -> Booking:
        """Our own sale; its message waits for the other side."""
        return sales.place(tx, self.desk, self.wish(number, first, seller=self.side))[0]

    def hear(self, tx: Tx, number: int, first: int) -> Booking:
        """A sale of the other side, as its message would have entered it, with a PIN of its own."""
        theirs: Side = "site" if self.side == "hub" else "hub"
        wish = self.wish(number, first, seller=theirs)
        told = msgspec.structs.replace(wish.bookings[0], status="confirmed", sale_no=number + 1, pin=f"{number * 7919 % 1_000_000:06d}")
        apply.apply(tx, self.desk, m.Sold(order=wish.order, bookings=(told,), customer=wish.customer), apply.From(self.site_id))
        return told

    def played(self, tx: Tx, booking: Booking) -> None:
        """The guest came and went; both sides know."""
        visit = Attendance(booking_id=booking.id, site_id=self.site_id, state="completed", at=booking.start * 900, by="kiosk", version=2)
        records.put_attendance(tx, visit)

    def checked_in(self, tx: Tx, booking: Booking) -> None:
        """At the site: the guest is there, and the hub is told."""
        attendance.attend(tx, self.desk, booking.id, "checked_in", by="kiosk")

    def cancelled(self, tx: Tx, booking: Booking) -> None:
        sales.cancel(tx, self.desk, booking.id, by="customer")

    # ---- many of them
    def past(self, tx: Tx, number: int) -> None:
        """The hours of the year before, the site's own ground: sold there and played."""
        self.played(tx, self.sell(tx, number, self.begin) if self.side == "site" else self.hear(tx, number, self.begin))

    def ahead(self, tx: Tx, number: int) -> None:
        """The hours from five days on, the hub's ground."""
        self.sell(tx, number, self.far) if self.side == "hub" else self.hear(tx, number, self.far)


def write(path: Path, count: int, one: Callable[[Tx, int], object]) -> None:
    """`one(tx, number)` for so many numbers, in few commits, into books that nobody has open."""
    schema.prepare(path)
    books = InlineWriter(path)
    try:
        for begin in range(0, count, AT_ONCE):
            numbers = range(begin, min(count, begin + AT_ONCE))
            books.write_now(lambda tx, those=numbers: [one(tx, number) for number in those])
    finally:
        asyncio.run(books.stop())


def told(path: Path, site_id: str) -> None:
    """What these books have written is known to the other side: nothing waits any more."""

    def known(tx: Tx) -> None:
        tx.run("DELETE FROM outbox WHERE site_id = :s", {"s": site_id})
        tx.run("UPDATE streams SET acked_no = sent_no, acked_chain = sent_chain WHERE site_id = :s", {"s": site_id})

    books = InlineWriter(path)
    try:
        books.write_now(known)
    finally:
        asyncio.run(books.stop())


def look(path: Path, sql: str, *values: object) -> list[tuple]:
    """A read beside the process that has the books."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as c:
        return c.execute(sql, values).fetchall()


def bookings(path: Path, site_id: str) -> set[tuple]:
    """What both sides' books must say alike."""
    return set(look(path, "SELECT id, resource_id, first, past, status, displaced, sale_no FROM bookings WHERE site_id = ?", site_id))
