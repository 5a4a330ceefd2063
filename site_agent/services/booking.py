"""What people do with bookings at the site: see the day, price, hold, book, move, extend, cancel, block, override.

One method, one transaction; where the hub must be asked, the answer is waited for up to `ask_wait_s` and then comes later. Rules, price
and territory are judged in `ledger.frontdesk`, here only who may ask. Invariant: no method calls a device or waits inside a transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date
from typing import Literal, TypeVar

import msgspec

from shared import rules, slots
from shared.errors import Refusal, Refused, Violation, refuse
from shared.ledger import blocks, frontdesk, holds, lines, records, sales, ways
from shared.ledger.availability import DayCache, DayGrid, Kept
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses, Part, Wanted
from shared.ledger.rule_hits import RuleTally
from shared.model import Block, Booking, Channel, Customer, Frozen, Hold, Interval
from shared.runtime.database import Database, InlineWriter, Tx
from shared.territory import may_sell
from site_agent.services import views
from site_agent.services.link import Link
from site_agent.services.people import Asker
from site_agent.services.views import BlockView, BookingView, HoldView
from site_agent.services.waiting import Waiting

__all__ = ["Ask", "BookingDesk", "DayGrid", "Outcome"]

T = TypeVar("T")

#: what an override is told of before it is made (terr-5)
OVERRIDE_WARNING = (
    "The booking centre sells this time. If the web has sold it already, or sells it before it hears of this, that booking has the bay"
    " and this guest must be moved. Please make sure that you can offer them another bay."
)
REASON_MIN = 4
#: a kiosk may look again at what it has sold itself, for so long
KIOSK_LOOKS_S = 1800
#: says in a transaction what is looked for where something is refused, and which booking would be changed by it
Sought = Callable[[Tx], tuple[Wanted, Booking | None]]
NOBODY = Customer(id="", name="")


class Ask(Frozen):
    """What is wanted, as the edge decoded it: one bay, an interval in slots, who, and under which client-made id."""

    booking_id: str
    resource_id: str
    start: int
    end: int
    name: str = ""
    phone: str = ""
    email: str = ""
    customer_id: str = ""
    guests: int = 1
    code: str = ""
    quote: str = ""
    hold_id: str = ""
    notes: str = ""
    override_reason: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """A booking as it stands; `state` is `done`, or `asked` while the hub's answer is awaited. `refund_cents` after a cancellation."""

    booking: BookingView
    state: Literal["done", "asked"]
    refund_cents: int = 0
    refund_rule: str = ""


class BookingDesk:
    """The site's bookings for its web and its jobs."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, link: Link, monotonic: Callable[[], float], hits: RuleTally
    ):
        """`hits` is told of every refusal."""
        self._db, self._desk, self._houses, self.site_id, self._link, self._hits = db, desk, houses, site_id, link, hits
        self._waiting = Waiting(db)
        self._days = DayCache(db, desk, houses, link.up_and_heard, monotonic)

    # ---- reading
    def house(self) -> House:
        return self._db.read(lambda tx: self._houses.of(tx, self.site_id))

    def availability(self, on: date) -> Kept:
        """The day's bytes with their ETag."""
        return self._days.get(self.site_id, on)

    def read(self, booking_id: str, asker: Asker) -> BookingView:
        """Refuses `booking_not_found`, also for a kiosk that did not sell it."""

        def look(tx: Tx) -> BookingView:
            b = records.booking(tx, booking_id)
            if b is None or not self._may_see(b, asker):
                raise refuse("booking_not_found", "This booking is not known.")
            return self._view(tx, b, full=True, opens=asker.kind == "kiosk" or asker.may("check_in"))

        return self._db.read(look)

    def _may_see(self, b: Booking, asker: Asker) -> bool:
        if asker.may("view"):
            return True
        return asker.kind == "kiosk" and b.channel == "kiosk" and b.reason != "seen_at_door" and self._desk.now() - b.created_at < KIOSK_LOOKS_S

    def of_day(self, on: date, asker: Asker) -> list[BookingView]:
        """Every booking that touches the local day; a kiosk sees initials only."""

        def look(tx: Tx) -> list[BookingView]:
            house = self._houses.of(tx, self.site_id)
            span = slots.day_span(house.facility.zone, on)
            found = records.bookings_between(tx, self.site_id, span.start, span.end)
            full, opens = asker.may("view"), asker.may("check_in")
            return [views.booking(tx, self._desk, house, b, full=full, opens=opens) for b in found]

        return self._db.read(look)

    def blocks_of_day(self, on: date) -> list[BlockView]:
        def look(tx: Tx) -> list[BlockView]:
            house = self._houses.of(tx, self.site_id)
            span = slots.day_span(house.facility.zone, on)
            return [views.block(house, b) for b in records.blocks_between(tx, self.site_id, span.start, span.end)]

        return self._db.read(look)

    def _view(self, tx: Tx, b: Booking, *, full: bool, opens: bool = True) -> BookingView:
        return views.booking(tx, self._desk, self._houses.of(tx, self.site_id), b, full=full, opens=opens, key=self._link.key())

    # ---- price and hold
    def quote(self, ask: Ask, asker: Asker) -> frontdesk.Quoted:
        """The price with the promise to keep it, what stands against the booking, and what could be had then. Changes nothing."""

        def look(tx: Tx) -> frontdesk.Quoted:
            house, wanted = self._houses.of(tx, self.site_id), self._wanted(ask, asker, self._known_as(tx, ask))
            quoted = frontdesk.quote(tx, self._desk, house, wanted, key=self._link.key_for_the_hub() or self._link.key())
            if not quoted.violations:
                return quoted
            no = ways.helped(tx, self._desk, house, wanted, rules.refusal_of(quoted.violations), link_up=self._link.up())
            return msgspec.structs.replace(quoted, suggestions=no.suggestions)

        return self._db.read(look)

    def refused(self, ask: Ask, asker: Asker, refusal: Refusal) -> Refusal:
        """A no that was said before anything was asked of the books: with what could be had instead, and counted (R10)."""
        return self._helped(refusal, lambda tx: (self._wanted(ask, asker, self._known_as(tx, ask)), None))

    @staticmethod
    def _known_as(tx: Tx, ask: Ask) -> Customer:
        """Who asks, as far as that is known; nobody is made up."""
        if ask.customer_id:
            return records.customer(tx, ask.customer_id) or NOBODY
        known = records.customers_by_contact(tx, phone=ask.phone, email=ask.email)
        return known[0] if known else NOBODY

    async def hold(self, hold_id: str, resource_id: str, interval: Interval) -> HoldView:
        """Keeps the slots while the form is filled (B6); far ones are asked of the hub."""
        frontdesk.sound_interval(interval.start, interval.end)
        wanted = Hold(id=hold_id, site_id=self.site_id, resource_id=resource_id, start=interval.start, end=interval.end)

        def run(tx: Tx) -> Hold:
            self._houses.of(tx, self.site_id).resource(resource_id)
            return holds.hold(tx, self._desk, wanted, link_up=self._link.up())

        def sought(tx: Tx) -> tuple[Wanted, Booking | None]:
            return self._wanted(Ask(booking_id=hold_id, resource_id=resource_id, start=interval.start, end=interval.end), _ANYBODY, NOBODY), None

        held = await self._with_ways(run, sought)
        if held.status == "asked":
            held = await self._settled("hold", hold_id, records.hold, lambda h: h is None or h.status != "asked")
        if held is None or held.status == "declined":
            raise Refused(self._helped(Refusal("slot_taken", "This time has just been taken."), sought))
        return views.hold(self.house(), held)

    async def prolong(self, hold_id: str) -> HoldView:
        """The one extension. Refuses `hold_not_found`, `hold_ended`."""
        held = await self._db.write(lambda tx: holds.prolong(tx, self._desk, hold_id))
        return views.hold(self.house(), held)

    async def drop(self, hold_id: str) -> None:
        """The guest went away; unknown or ended holds change nothing."""
        await self._db.write(lambda tx: holds.drop(tx, self._desk, hold_id))

    # ---- book
    async def book(self, ask: Ask, asker: Asker) -> Outcome:
        """Sells it, or asks the hub. The same id and body again give the same answer. Refuses what `frontdesk.book` refuses, with ways out."""
        if ask.override_reason:
            asker.needs("override")
            _reason(ask.override_reason, "an override")
        body_hash = hashlib.sha256(msgspec.json.encode(ask)).hexdigest()

        def run(tx: Tx) -> Booking:
            house = self._houses.of(tx, self.site_id)
            customer = frontdesk.customer_of(
                tx, self._desk, name=ask.name, phone=ask.phone, email=ask.email, customer_id=ask.customer_id
            )
            wanted = self._wanted(ask, asker, customer)
            if ask.override_reason:
                wanted = self._named(tx, house, wanted, ask, asker)
            (sold,) = frontdesk.book(
                tx, self._desk, house, wanted, ring=self._link.ring, link_up=self._link.up(), body_hash=body_hash
            )
            return sold

        def sought(tx: Tx) -> tuple[Wanted, Booking | None]:
            return self._wanted(ask, asker, self._known_as(tx, ask)), None

        return await self._answer(await self._with_ways(run, sought), sought)

    def _named(self, tx: Tx, house: House, wanted: Wanted, ask: Ask, asker: Asker) -> Wanted:
        """Slots that staff name with a reason: over the line an override (terr-5), below the floor what was sold before a loss and is now
        entered (loss-4). Elsewhere slots of the site's own are simply sold."""
        house.resource(ask.resource_id)
        line = frontdesk.locked_line(tx, self.site_id, ask.resource_id)
        over = may_sell("site", Interval(ask.start, ask.end), line) != "mine"
        below = ask.start < lines.floor_of(tx, self.site_id, ask.resource_id)
        if (over or below) and records.booking(tx, ask.booking_id) is None:
            what = "entered below the floor" if below else "override"
            records.journal(tx, self._desk.now(), self.site_id, asker.id, what, ask.booking_id, ask.override_reason)
        return msgspec.structs.replace(wanted, override=over, stated=below)

    async def reschedule(self, old_id: str, ask: Ask, asker: Asker) -> Outcome:
        """Another time or bay for a booking, by the same rules (B7)."""

        def sought(tx: Tx) -> tuple[Wanted, Booking | None]:
            old = self._known(tx, old_id)
            return msgspec.structs.replace(self._wanted(ask, asker, ways.asker_of(tx, old)), order_id=old.order_id), old

        def run(tx: Tx) -> Booking:
            house, (wanted, _) = self._houses.of(tx, self.site_id), sought(tx)
            return frontdesk.reschedule(tx, self._desk, house, old_id, wanted, ring=self._link.ring, link_up=self._link.up())

        return await self._answer(await self._with_ways(run, sought), sought)

    async def extend(self, old_id: str, new_id: str, minutes: int, asker: Asker) -> Outcome:
        """B16: the same bay for longer, as a new booking of the whole time under `new_id`."""

        def run(tx: Tx) -> Booking:
            house = self._houses.of(tx, self.site_id)
            self._known(tx, old_id)
            return frontdesk.extend(
                tx, self._desk, house, old_id, new_id, minutes, channel=_channel(asker), link_up=self._link.up()
            )

        def sought(tx: Tx) -> tuple[Wanted, Booking | None]:
            old = self._known(tx, old_id)
            who = Wanted(site_id=self.site_id, parts=(), channel=_channel(asker), customer=ways.asker_of(tx, old), order_id=old.order_id)
            return ways.longer(tx, self._desk, old, minutes, who)

        return await self._answer(await self._with_ways(run, sought), sought)

    async def cancel(self, booking_id: str, reason: str, asker: Asker) -> Outcome:
        """Ends a booking of the site at once; of the hub's it is asked, and answered when the hub was heard."""

        def run(tx: Tx) -> tuple[Booking, str, int, str]:
            house, b = self._houses.of(tx, self.site_id), self._known(tx, booking_id)
            refund = frontdesk.refund_of(tx, self._desk, house, b)
            b, state = sales.cancel(tx, self._desk, booking_id, by=asker.id, reason=reason)
            records.journal(tx, self._desk.now(), self.site_id, asker.id, "cancel", b.id, reason)
            return b, state, refund.cents, refund.rule

        b, state, cents, rule = await self._db.write(run)
        if state == "asked" and self._link.up():
            b = await self._settled("booking", b.id, records.booking, lambda now: now.status == "cancelled" or self._cancel_refused(now))
            if b.status != "cancelled" and (refusal := self._cancel_refused(b)):
                raise Refused(refusal)
        done = b.status == "cancelled"
        view = self._db.read(lambda tx: self._view(tx, b, full=True))
        return Outcome(view, "done" if done else "asked", cents if done else 0, rule if done else "")

    def _cancel_refused(self, b: Booking) -> Refusal | None:
        found = self._db.read(lambda tx: records.ask(tx, f"cancel|{b.id}"))
        if found is not None and found[0] == "refused":
            return Refusal(found[1], found[2] or "The booking centre did not cancel this booking.")
        return Refusal("illegal_move", sales.CHANGE_IS_MADE) if sales.stood_after_withdrawal(b, found) else None

    # ---- blocks
    async def block(self, wanted: Block, asker: Asker) -> BlockView:
        """Takes a bay out of sale (B11). Bookings there are displaced and come up in the conflict queue."""
        frontdesk_span(wanted.start, wanted.end)
        wanted = msgspec.structs.replace(wanted, site_id=self.site_id, by=asker.id)

        def run(tx: Tx) -> Block:
            self._houses.of(tx, self.site_id).resource(wanted.resource_id)
            made = blocks.block(tx, self._desk, wanted)
            records.journal(tx, self._desk.now(), self.site_id, asker.id, "block", wanted.id, wanted.reason)
            return made

        made = await self._db.write(run)
        return views.block(self.house(), made)

    async def unblock(self, block_id: str, asker: Asker) -> BlockView:
        def run(tx: Tx) -> Block:
            ended = blocks.unblock(tx, self._desk, block_id)
            records.journal(tx, self._desk.now(), self.site_id, asker.id, "unblock", block_id)
            return ended

        ended = await self._db.write(run)
        return views.block(self.house(), ended)

    # ---- for the timer
    async def expire(self) -> None:
        """Ends holds and requests whose time is over, on our clock. Most of the time there are none, and nothing is written."""
        if not self._db.read(lambda tx: records.holds_expired(tx, self._desk.now()) or sales.overdue(tx, self._desk)):
            return
        await self._db.write(lambda tx: (holds.expire(tx, self._desk), sales.expire(tx, self._desk)))

    # ---- within
    def _known(self, tx: Tx, booking_id: str) -> Booking:
        b = records.booking(tx, booking_id)
        if b is None:
            raise refuse("booking_not_found", "This booking is not known.")
        return b

    def _wanted(self, ask: Ask, asker: Asker, customer: Customer) -> Wanted:
        part = Part(booking_id=ask.booking_id, resource_id=ask.resource_id, start=ask.start, end=ask.end, hold_id=ask.hold_id)
        return Wanted(
            site_id=self.site_id, parts=(part,), channel=_channel(asker), customer=customer, guests=ask.guests, code=ask.code, quote=ask.quote,
            notes=ask.notes, shown_name=" ".join(ask.name.split()),
        )  # fmt: skip

    async def _with_ways(self, run: Callable[[Tx], T], sought: Sought) -> T:
        """The transaction; a refusal without alternatives gets them."""
        try:
            return await self._db.write(run)
        except Refused as error:
            raise Refused(self._helped(error.refusal, sought)) from None

    def _helped(self, refusal: Refusal, sought: Sought) -> Refusal:
        """The refusal with the next priced alternatives (B13), where another time or bay could help; the rules it names are counted for who
        asked (R10)."""
        if not refusal.violations and not ways.helps(refusal):
            return refusal

        def look(tx: Tx) -> tuple[Refusal, Customer, Channel]:
            wanted, old = sought(tx)
            known = records.customer(tx, wanted.customer.id) or NOBODY
            house = self._houses.of(tx, self.site_id)
            return ways.helped(tx, self._desk, house, wanted, refusal, link_up=self._link.up(), old=old), known, wanted.channel

        try:
            found, who, channel = self._db.read(look)
        except Refused:  # what was asked cannot be looked for at all, as a bay that is not known
            return refusal
        self._hits.note(self.site_id, refusal, who.id, channel)
        return found

    async def _answer(self, b: Booking, sought: Sought) -> Outcome:
        """A `requested` booking is waited for; a no of the other side becomes a refusal with ways out."""
        if b.status in ("requested", "pending"):
            b = await self._settled("booking", b.id, records.booking, lambda now: now.status not in ("requested", "pending"))
        if b.status in ("declined", "expired") or (b.status == "cancelled" and b.reason == "withdrawn"):
            raise Refused(self._helped(_declined(b), sought))
        view = self._db.read(lambda tx: self._view(tx, b, full=True))
        return Outcome(view, "asked" if b.status in ("requested", "pending") else "done")

    async def _settled(self, topic: str, key: str, read: Callable, settled: Callable) -> T:
        return await self._waiting.until(topic, key, lambda: self._db.read(lambda tx: read(tx, key)), settled, self._desk.limits.ask_wait_s)


_ANYBODY = Asker("kiosk", "kiosk-", "", frozenset())


def _declined(b: Booking) -> Refusal:
    """The hub's no; it names the rule where that was one (terr-6)."""
    detail = "The booking centre could not sell this time: it has just been taken or may not be sold now."
    if b.reason != "outside_hours":
        return Refusal("declined", detail)
    closed = "The facility is not open during the whole of this time."
    return Refusal(b.reason, closed, violations=(Violation("R6", b.reason, closed),))


def _channel(asker: Asker) -> Channel:
    return "kiosk" if asker.kind == "kiosk" else "staff"


def _reason(text: str, what: str) -> None:
    if len(text.strip()) < REASON_MIN:
        raise refuse("bad_request", f"Please give a reason for {what}, in a few words.")


def frontdesk_span(start: int, end: int) -> None:
    """A block may last longer than a booking, but is no lifetime: at most 60 days. Refuses `bad_interval`."""
    frontdesk.sound_interval(start, min(end, start + 96))
    if end <= start or end - start > 60 * 96:
        raise refuse("bad_interval", "A block ends after it starts and lasts at most 60 days.")
