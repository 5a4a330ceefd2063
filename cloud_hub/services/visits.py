"""The customer's own page of one order, reached by its link: what stands, what it would cost to change, and the changes (W2).

What is shown is put together here from the books; what is done goes through `changes`. Not here: who may see it (`customer_links`).
Invariant: an order is shown whole, with whatever waits for the facility's answer, and no fee or refund is said that the policy does not say
at this moment.
"""

from __future__ import annotations

import re

import msgspec

from shared import passes, pricing, quotes, slots
from shared.bookings import shown
from shared.errors import Refused, refuse
from shared.ledger import claims, displaced, door_codes, frontdesk, lines, records, secured
from shared.ledger.frontdesk import House, Part
from shared.model import Attendance, Booking, Customer, Frozen, Interval, Order, Price
from shared.runtime import qr
from shared.runtime.database import Tx
from shared.terms import Change, Refund

from ..store import refunds
from .booking import WAITING
from .hub import Hub
from .offers import OfferDesk, Offers, Search
from .passes import Pass
from .phone_doors import DoorOffer

EXTEND_STEPS = 4
#: why a change that was asked for never came to be
NEVER_CAME = ("declined", "withdrawn", "already_checked_in", "answer_late")
_NONCE = re.compile(r"[a-z0-9]{20,32}", re.ASCII)


class Visit(Frozen):
    """One booking of the order. `shown` as in `bookings.shown`; `seat` the bay it plays in; `asked` what waits: "", "cancel" or "change".

    `no` is what the facility said to the last change or cancellation that it refused.
    """

    booking: Booking
    shown: str
    seat: str
    asked: str = ""
    no: str = ""
    attendance: Attendance | None = None

    @property
    def live(self) -> bool:
        return self.booking.status in ("requested", "pending", "confirmed") and not self.booking.withdrawn

    @property
    def unkept(self) -> bool:
        """The house could not keep the place that was booked (B12): giving it up, or changing it, costs nothing."""
        return self.booking.displaced or self.booking.placed or bool(self.attendance and self.attendance.seat)


class OrderPage(Frozen):
    """An order as its customer sees it; `visits` without what was replaced by something that stands, nor what is only asked for in its place;
    both are in `all` too. `state` sums it up: `waiting`, `confirmed`, `declined`, `cancelling`, `cancelled`, `over`."""

    order: Order
    house: House
    visits: tuple[Visit, ...]
    all: tuple[Visit, ...]
    price: Price | None
    state: str
    up: bool
    now_at: int
    overdue: bool = False

    @property
    def live(self) -> tuple[Visit, ...]:
        return tuple(visit for visit in self.visits if visit.live)

    @property
    def cancellable(self) -> tuple[Visit, ...]:
        """What stands or waits, was not come to and is not being given up already."""
        return tuple(visit for visit in self.live if visit.asked != "cancel" and not (visit.attendance and visit.attendance.state))


class Move(Frozen):
    """A change about to be made: where it goes (slots), what it costs with its fee, and our promise of that price."""

    resource_id: str
    start: int
    end: int
    price: Price
    fee: Change
    quote: str


class Longer(Frozen):
    """A way to stay longer: by so many minutes, until `end` (slot), the new price and what is added to the old one."""

    minutes: int
    end: int
    cents: int
    more_cents: int


class Visits:
    def __init__(self, hub: Hub, offers: OfferDesk):
        self._hub, self._offers, self._db, self._desk = hub, offers, hub.db, hub.desk

    def page(self, order_id: str) -> OrderPage:
        """Refuses `order_not_found`."""

        def read(tx: Tx) -> OrderPage:
            order = records.order(tx, order_id)
            found = records.bookings_of_order(tx, order_id) if order else []
            if not found:
                raise refuse("order_not_found", "This order is not known.")
            site_id = found[-1].site_id
            house = self._hub.houses.of(tx, site_id)
            all_of_it = tuple(self._visit(tx, b) for b in found)
            standing = {b.id for b in _standing(found)}
            visits = tuple(visit for visit in all_of_it if visit.booking.id in standing)
            prices = [v.booking.price for v in visits if v.booking.price is not None and (v.live or not any(x.live for x in visits))]
            now = self._desk.now()
            return OrderPage(
                order=order,
                house=house,
                visits=visits,
                all=all_of_it,
                price=frontdesk.add_prices(prices) if prices else None,
                state=_state(visits, now),
                up=self._hub.links.up(site_id),
                now_at=now,
                overdue=any(v.booking.status in WAITING and 0 < v.booking.answer_by < now for v in visits),
            )

        return self._db.read(read)

    def _visit(self, tx: Tx, b: Booking) -> Visit:
        b = secured.told(tx, self._desk, b)
        a = records.attendance(tx, b.id)
        asked, no = "", ""
        ask = records.ask(tx, f"cancel|{b.id}")
        if ask is not None and b.status == "confirmed":
            asked, no = ("cancel", "") if ask[0] == "waiting" else ("", ask[2])
        waits = records.asks_waiting(tx, "move", b.id) or records.asks_waiting(tx, "moved", b.id)
        # who was put elsewhere, or is to be, need not wait for an answer that would come too late
        if waits and (displaced.is_asked(tx, self._desk, b) or not (b.displaced or b.placed)):
            asked = "change"
        return Visit(booking=b, shown=shown(b.status, a.state if a else ""), seat=b.seat(a),
                     asked=asked, no=no, attendance=a)  # fmt: skip

    def visit(self, page: OrderPage, booking_id: str) -> Visit:
        """The order's booking of this id, or its only one that stands. Refuses `booking_not_found`."""
        found = [v for v in page.all if v.booking.id == booking_id] or (list(page.live) if not booking_id and len(page.live) == 1 else [])
        if not found:
            raise refuse("booking_not_found", "This booking is not part of this order.")
        return found[0]

    # ---- pass
    def card(self, visit: Visit) -> tuple[Pass | None, str]:
        """The pass with its QR image; without one where none can be shown now."""
        try:
            return self._hub.passes.of(visit.booking), self._hub.passes.image(visit.booking)
        except Refused:
            return None, ""

    def reader_code(self, visit: Visit) -> str:
        """The picture for the door's own reader, where the facility's readers take one (D3); empty where there is none to be shown."""
        text = self._db.read(lambda tx: door_codes.of(tx, self._desk, visit.booking))
        return qr.svg(text) if text else ""

    def door(self, page: OrderPage, visit: Visit) -> DoorOffer:
        """Whether the door can be opened from the page now, and what came of the last press."""
        return self._hub.phone_doors.offer(page.house, visit.booking, visit.attendance)

    @staticmethod
    def doors(b: Booking) -> tuple[int, int]:
        """From when until when the doors open for it, unix seconds."""
        return passes.window(b.start, b.end)

    # ---- cancel
    def refund(self, visit: Visit) -> Refund:
        """What cancelling now would give back. Nothing has been sold while the facility is asked, so nothing is kept."""
        if visit.booking.status in WAITING:
            return Refund(cents=visit.booking.price.total_cents if visit.booking.price else 0, kept_cents=0, rule="full_refund")
        return self._hub.changes.refund(visit.booking.id)

    def refunded(self, page: OrderPage) -> Refund | None:
        """What comes back for what was cancelled on this page, as judged then; None where nothing was, or it is long ago."""
        gone = [v.booking.id for v in page.visits if v.booking.status in ("cancelled", "cancelling")]
        return self._db.read(lambda tx: refunds.of(tx, gone))

    async def cancel(self, page: OrderPage, booking_ids: list[str]) -> None:
        """Gives up these bookings of the order. What is given up already stays so. Refuses as `changes.cancel` does."""
        for booking_id in booking_ids:
            visit = self.visit(page, booking_id)
            if not visit.live:
                continue
            try:
                await self._hub.changes.cancel(booking_id, by="customer")
            except Refused as no:
                # a second press of the button, or a withdrawal that took the whole order with it
                if no.refusal.code not in ("already_cancelled", "illegal_move"):
                    raise

    # ---- change
    def change(self, page: OrderPage, visit: Visit) -> Change:
        """What the next change costs and whether the customer may still make it (R7, R12)."""
        return frontdesk.change_of(page.house, visit.booking, self._desk.now())

    def times(self, page: OrderPage, visit: Visit, search: Search) -> Offers:
        """Where it could go, its own slots counting as free."""
        return self._offers.day(msgspec.structs.replace(search, site_id=visit.booking.site_id, moving=visit.booking.id))

    def move(self, page: OrderPage, visit: Visit, resource_id: str, start: int, minutes: int) -> Move:
        """The change as it would be made, priced with its fee and promised (P5). Refuses what can be known before asking the books."""
        b, house = visit.booking, page.house
        frontdesk.sound_interval(start, start + max(1, minutes // slots.SLOT_MIN))
        if (resource_id, start, minutes) == (b.resource_id, b.start, (b.end - b.start) * slots.SLOT_MIN):
            raise refuse("illegal_move", "The booking has this place and time already, so there is nothing to change.")
        end, fee = start + minutes // slots.SLOT_MIN, self.change(page, visit)
        customer = self._db.read(lambda tx: records.customer(tx, b.customer_id)) or Customer(id=b.customer_id, name=b.shown_name)
        price = pricing.quote(
            house.resource(resource_id),
            Interval(start, end),
            house.profile.tariff,
            zone=house.facility.zone,
            site_id=b.site_id,
            now_at=self._desk.now(),
            customer=customer,
            change_fee_cents=fee.fee_cents,
        )
        promise = self._promise(customer, resource_id, start, end, price)
        return Move(resource_id=resource_id, start=start, end=end, price=price, fee=fee, quote=promise)

    def _promise(self, customer: Customer, resource_id: str, start: int, end: int, price: Price) -> str:
        key = self._hub.keys.newest
        made = quotes.make(
            resource_id=resource_id, start=start, end=end, price=price, channel="web", now_at=self._desk.now(), key_id=key.id,
            who=quotes.who_of(customer.id),
        )  # fmt: skip
        return quotes.write(made, key)

    async def reschedule(self, visit: Visit, resource_id: str, start: int, minutes: int, *, nonce: str, quote: str) -> Booking:
        """Makes the change at the promised price. The new booking `confirmed`, or `requested` while the facility is asked."""
        part = Part(booking_id=new_id(nonce), resource_id=resource_id, start=start, end=start + minutes // slots.SLOT_MIN)
        seen, _ = await self._hub.changes.reschedule(visit.booking.id, part, channel="web", quote=quote)
        return seen.booking

    # ---- stay longer
    def longer(self, page: OrderPage, visit: Visit) -> tuple[Longer, ...]:
        """How much longer the bay can be kept, in steps; nothing where it is taken, lost, over, or as long as it may be."""
        b, policy, now = visit.booking, page.house.profile.policy, self._desk.now()
        if b.status != "confirmed" or b.displaced or visit.asked or now >= b.ends_at or visit.shown in ("completed", "no_show"):
            return ()
        return self._db.read(lambda tx: tuple(self._longer(tx, page.house, visit, policy.step_min)))

    def _longer(self, tx: Tx, house: House, visit: Visit, step_min: int):
        b = visit.booking
        most = house.profile.policy.max_min - (b.end - b.start) * slots.SLOT_MIN
        up, line = self._hub.links.up(b.site_id), lines.line_of(tx, b.resource_id)
        customer = records.customer(tx, b.customer_id)
        for minutes in range(step_min, min(most, step_min * EXTEND_STEPS) + 1, step_min):
            end = b.end + minutes // slots.SLOT_MIN
            taken = {ref for _, _, ref in claims.holders(tx, visit.seat, Interval(b.start, end + b.buffer))} - {b.id}
            reachable = up or (b.start >= line)
            if (
                taken
                or not reachable
                or not slots.is_open(house.profile.policy.hours, visit.seat, house.facility.zone, Interval(b.start, end))
            ):
                return
            price = pricing.quote(
                house.resource(visit.seat), Interval(b.start, end), house.profile.tariff, zone=house.facility.zone, site_id=b.site_id,
                now_at=self._desk.now(), customer=customer, change_fee_cents=frontdesk.fee_owed(b),
            )  # fmt: skip
            price = frontdesk.price_of_longer(tx, b, price)
            old = b.price.total_cents if b.price else 0
            yield Longer(minutes=minutes, end=end, cents=price.total_cents, more_cents=price.total_cents - old)

    async def extend(self, page: OrderPage, visit: Visit, minutes: int, *, nonce: str, shown_cents: int) -> Booking:
        """Keeps the bay longer at the price that was shown. Refuses `quote_expired` where it is another by now, else as `changes.extend`."""
        now = next((one for one in self.longer(page, visit) if one.minutes == minutes), None)
        if now is not None and now.cents != shown_cents:
            raise refuse("quote_expired", "The price has changed meanwhile. Please look at it again.")
        seen, _ = await self._hub.changes.extend(visit.booking.id, new_id(nonce), minutes, channel="web")
        return seen.booking


def _standing(found: list[Booking]) -> list[Booking]:
    """Without what was replaced, moved away or never came to be, nor what is only asked for in the place of something that stands; unless
    nothing else is left to show."""
    gone = {b.id for b in found if b.replaced_by and b.status in ("cancelled", "cancelling")}
    never = {b.id for b in found if b.replaces and (b.status in ("declined", "expired") or b.reason in NEVER_CAME)}
    stands = {b.id for b in found if b.status == "confirmed"}
    asked = {b.id for b in found if b.status in WAITING and b.replaces in stands}
    return [b for b in found if b.id not in gone | never | asked] or found[-1:]


def _state(visits: tuple[Visit, ...], now: int) -> str:
    states = {v.shown for v in visits}
    if any(v.booking.status in WAITING and not v.booking.withdrawn for v in visits):
        return "waiting"
    standing = [v for v in visits if v.shown in ("confirmed", "checked_in", "completed", "no_show")]
    if standing:
        return "over" if all(v.booking.ends_at <= now for v in standing) else "confirmed"
    if "cancelling" in states or any(v.booking.withdrawn and v.booking.status in WAITING for v in visits):
        return "cancelling"
    if "declined" in states or "expired" in states:
        return "declined"
    return "cancelled"


def new_id(nonce: str) -> str:
    """The id of what a page that carries this nonce asks for, so that a second press asks for the same. Refuses `bad_request`."""
    if not _NONCE.fullmatch(nonce):
        raise refuse("bad_request", "This page is out of date. Please load it again.")
    return f"w-{nonce}"
