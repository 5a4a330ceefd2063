"""The door controller as a witness: sales that nobody else had when the disk died, found again by the visitors that it keeps (loss-3).

A visitor of ours carries the booking's id, its bay and its window. Below the floor of a repaired site, one that neither side's books know is a
sale of this site's that was told to nobody: it is entered, told to the hub, and shown to people. Before the repair nothing is looked for: the hub
may know them all. Not here: what the controller ought to hold (`credentials`), which takes nothing off that the books do not know.
Invariant: nothing is entered that the books know, that has no bay, or that begins at or above the bay's floor.
"""

from __future__ import annotations

import re

from shared import passes, territory
from shared.errors import Failure
from shared.ledger import lines, outage_pins, records, repair, streams
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.messages import SaleFound
from shared.model import FIRST_SLOT, ID_PATTERN, LAST_SLOT, Booking, Order
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from shared.slots import SLOT_MIN, SLOT_S
from site_agent.ports import Doors, Granted
from site_agent.store import door_work
from site_agent.store.door_work import Work

_log = log.get("site_agent.door_witness")

#: why such a booking is in the books and in the queue for people
FOUND = "door_controller"
_OVER = ("cancelled", "declined", "expired")


class DoorWitness:
    """One site's. `doors` None: no controller, no witness."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, doors: Doors | None):
        self._db, self._desk, self._houses, self._site_id, self._doors = db, desk, houses, site_id, doors

    async def look(self) -> int:
        """While a floor stands: enters what the controller knows and the books do not. Returns how many sales were found.

        A controller that is away is asked again with the next call.
        """
        if self._doors is None or not self._db.read(self._floor_stands):
            return 0
        try:
            kept = await self._doors.granted()
        except Failure as error:
            _log.warning("witness.away", why=error.detail)
            return 0
        unknown = self._db.read(lambda tx: [one for one in kept if self._is_news(tx, one)])
        return await self._db.write(lambda tx: sum(self._enter(tx, one) for one in unknown)) if unknown else 0

    def _floor_stands(self, tx: Tx) -> bool:
        s = streams.read(tx, self._site_id)
        return s is not None and not (s.fenced or s.repair or s.retired) and lines.highest_floor(tx, self._site_id) > self._desk.now_slot()

    def _is_news(self, tx: Tx, one: Granted) -> bool:
        b = records.booking(tx, one.booking_id)
        if b is None:
            return self._sale(tx, one) is not None
        return b.status in _OVER and door_work.work(tx, b.id) is None

    def _enter(self, tx: Tx, one: Granted) -> int:
        """In the transaction everything is looked at again. What is over in the books opens no door any more."""
        if not self._floor_stands(tx) or not self._is_news(tx, one):
            return 0
        sale = self._sale(tx, one)
        if sale is None:
            over = Work(booking_id=one.booking_id, wanted="revoke", ref=one.ref, ends_at=one.closes_at, next_at=self._desk.now())
            door_work.put(tx, over)
            tx.tell("booking", one.booking_id)
            return 0
        order = Order(
            id=sale.order_id, reference=records.reference_of(sale.order_id), site_id=self._site_id, customer_id="", channel=sale.channel,
            created_at=sale.created_at,
        )  # fmt: skip
        told = SaleFound(order=order, bookings=(sale,), why=FOUND)
        if streams.lock(tx, self._site_id).epoch:  # before it is entered here: its PIN is told after it
            streams.append(tx, self._desk, self._site_id, told)
        repair.found(tx, self._desk, told, self._site_id)
        records.journal(tx, self._desk.now(), self._site_id, "door controller", "sale regained", sale.id)
        tx.tell("alarm", self._site_id)
        return 1

    def _sale(self, tx: Tx, one: Granted) -> Booking | None:
        """What the visitor says was sold; None where it is no sale of the time that may have been forgotten.

        Version 0 and a sale number of nought: any document of the sale's owner is newer, and of two for one slot the other is the later.
        """
        house = self._houses.of(tx, self._site_id)
        if records.booking(tx, one.booking_id) is not None or outage_pins.one(tx, one.booking_id) is not None:
            return None
        interval = _guests_time(one)
        if interval is None or one.resource_id not in house.resources or not re.match(ID_PATTERN, one.booking_id):
            return None
        start, end = interval
        if start >= lines.floor_of(tx, self._site_id, one.resource_id) or one.closes_at <= self._desk.now():
            return None
        return self._booking(tx, house, one, start, end)

    def _booking(self, tx: Tx, house: House, one: Granted, start: int, end: int) -> Booking:
        seller = "site" if territory.owns("site", start, lines.line_of(tx, one.resource_id)) else "hub"
        return Booking(
            id=one.booking_id, order_id=one.booking_id, site_id=self._site_id, resource_id=one.resource_id, start=start, end=end,
            buffer=house.profile.policy.buffer_min // SLOT_MIN, seller=seller, channel="staff", reason=FOUND, created_at=self._desk.now(),
            version=0,
        )  # fmt: skip


def _guests_time(one: Granted) -> tuple[int, int] | None:
    """The slots of the booking whose access window this is; None for a window that is none of ours."""
    start_at, end_at = one.opens_at + passes.BEFORE_MIN * 60, one.closes_at - passes.AFTER_MIN * 60
    if start_at % SLOT_S or end_at % SLOT_S or not FIRST_SLOT <= start_at // SLOT_S < end_at // SLOT_S <= LAST_SLOT:
        return None
    return start_at // SLOT_S, end_at // SLOT_S
