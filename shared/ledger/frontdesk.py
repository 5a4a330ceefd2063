"""The front desk: facts, rules, price and sale as one step, the same at kiosk, web, staff board and API (R1, P1). One way in.

Not for: what else could be had where it says no (`ways`). Everything runs inside the caller's transaction, so the facts that are judged are
the facts that are sold on. Prices and rights come from the books and from signed quotes, never from what a client says of itself.
"""

from __future__ import annotations

import msgspec

from .. import quotes, rules, slots, terms
from ..bookings import counts_as_open
from ..errors import Broken, Refusal, Refused, Suggestion, Violation, refuse
from ..keys import KeyRing, SigningKey
from ..model import FIRST_SLOT, LAST_SLOT, Booking, Channel, Customer, Facility, Frozen, Interval, Order, Price, Resource
from ..policy import Profile
from ..pricing import CodeUse, add
from ..pricing import quote as price_of
from ..profiles import from_json
from ..runtime.database import Tx
from . import lines, locked, records, sales, streams
from .desk import Desk
from .soundness import adds_up

PARTS_MAX = 12
GUESTS_MAX = 200


class House(Frozen):
    """A facility with its bays and the rules and prices in force."""

    facility: Facility
    resources: dict[str, Resource]
    profile: Profile

    def resource(self, resource_id: str) -> Resource:
        found = self.resources.get(resource_id)
        if found is None:
            raise refuse("resource_not_found", f"{self.facility.name} has no such {self.facility.word.lower()}.")
        return found


class Houses:
    """The houses of this process, read once and again after a document changed. `fallback` serves until the hub has stated a profile."""

    def __init__(self, db, fallback: Profile, desk: Desk):
        desk.judge_hours = self._judge_hours
        self._houses: dict[str, House] = {}
        self._fallback = fallback
        db.listen(self._changed)

    def _changed(self, events: list[tuple[str, str]]) -> None:
        for topic, _ in events:
            if topic == "document":
                self._houses.clear()
                return

    def of(self, tx: Tx, site_id: str) -> House:
        """Refuses `facility_not_found`."""
        house = self._houses.get(site_id)
        if house is None:
            house = self._houses[site_id] = self._read(tx, site_id)
        return house

    def _judge_hours(self, tx: Tx, b: Booking) -> Refusal | None:
        house = self.of(tx, b.site_id)
        closed = rules.within_hours(house.resource(b.resource_id), Interval(b.start, b.end), house.facility, house.profile.policy.hours)
        return Refusal(closed.code, closed.detail, violations=(closed,)) if closed else None

    def _read(self, tx: Tx, site_id: str) -> House:
        facility = records.facility(tx, site_id)
        if facility is None:
            raise refuse("facility_not_found", "This facility is not known here.")
        stated = records.document(tx, "profile", site_id)
        profile = from_json(stated[1].encode()) if stated else self._fallback
        return House(facility=facility, resources={r.id: r for r in records.resources(tx, site_id)}, profile=profile)


class Part(Frozen):
    """One bay for one interval (slots), under an id that the client made."""

    booking_id: str
    resource_id: str
    start: int
    end: int
    hold_id: str = ""


class Wanted(Frozen):
    """What somebody wants. `channel` is what the handler knows of the asker; `override` (terr-5) and `stated` (loss-4: it was
    sold below the floor before) need staff with the right."""

    site_id: str
    parts: tuple[Part, ...]
    channel: Channel
    customer: Customer
    order_id: str = ""
    guests: int = 1
    code: str = ""
    quote: str = ""
    notes: str = ""
    shown_name: str = ""
    override: bool = False
    stated: bool = False

    @property
    def order(self) -> str:
        return self.order_id or self.parts[0].booking_id


class Quoted(Frozen):
    """A price with the signed promise to keep it (P5), per part; what stands against the booking, and then the nearest that could be had."""

    price: Price
    prices: tuple[Price, ...]
    tokens: tuple[str, ...]
    violations: tuple[Violation, ...]
    valid_until: int
    suggestions: tuple[Suggestion, ...] = ()


def book(
    tx: Tx, desk: Desk, house: House, wanted: Wanted, *, ring: KeyRing | None = None, link_up: bool = False, body_hash: str = ""
) -> list[Booking]:
    """Judges, prices and sells or asks (see `sales.place` for what comes back). The same ids and body again give the same bookings.

    Refuses what `rules`, `quotes`, `pricing` and `sales.place` refuse.
    """
    now = desk.now()
    _sound(wanted)
    plain = tuple(_plain(desk, house, wanted, part) for part in wanted.parts)
    wish = sales.Wish(
        order=_order(desk, wanted),
        bookings=plain,
        customer=wanted.customer,
        hold_ids={p.booking_id: p.hold_id for p in wanted.parts},
        body_hash=body_hash,
        link_up=link_up,
        override=wanted.override,
        stated=wanted.stated,
    )
    streams.lock(tx, wanted.site_id)  # before the look for an earlier, equal request: it may be in another replica's hands
    before = sales.known(tx, desk, wish)
    if before is not None:
        return before
    so_many = open_bookings(tx, wanted.customer.id, now)
    priced = []
    for part, b in zip(wanted.parts, plain, strict=True):
        _judge(house, wanted, part, now, open_now=so_many)
        priced.append(msgspec.structs.replace(b, price=price_of_part(house, wanted, part, now, ring)))
    return sales.place(tx, desk, msgspec.structs.replace(wish, bookings=tuple(priced), new=True))


def _sound(wanted: Wanted) -> None:
    if not wanted.parts or len(wanted.parts) > PARTS_MAX:
        raise refuse("bad_request", f"A booking has 1 to {PARTS_MAX} bays.")
    if not 1 <= wanted.guests <= GUESTS_MAX:
        raise refuse("bad_request", f"Guests are 1 to {GUESTS_MAX}.")
    seen: list[Part] = []
    for part in wanted.parts:
        sound_interval(part.start, part.end)
        for other in seen:
            if other.booking_id == part.booking_id:
                raise refuse("bad_request", "Two bays of one booking have the same id.")
            if other.resource_id == part.resource_id and other.start < part.end and part.start < other.end:
                raise refuse("bad_request", "Two parts of one booking want the same bay at the same time.")
        seen.append(part)


def sound_interval(start: int, end: int) -> None:
    """Refuses an interval that is none, or lies outside the years this system keeps."""
    if not FIRST_SLOT <= start < end <= LAST_SLOT:
        raise refuse("bad_interval", "The end must lie after the start, in a year between 2020 and 2100.")
    if end - start > 96:
        raise refuse("bad_interval", "A booking lasts at most a day.")


def _plain(desk: Desk, house: House, wanted: Wanted, part: Part) -> Booking:
    house.resource(part.resource_id)
    return Booking(
        id=part.booking_id,
        order_id=wanted.order,
        site_id=wanted.site_id,
        resource_id=part.resource_id,
        start=part.start,
        end=part.end,
        buffer=rules.buffer_slots(house.profile.policy),
        seller=desk.side,
        customer_id=wanted.customer.id,
        shown_name=wanted.shown_name or wanted.customer.name,
        channel=wanted.channel,
    )


def _order(desk: Desk, wanted: Wanted) -> Order:
    return Order(
        id=wanted.order,
        reference=records.reference_of(wanted.order),
        site_id=wanted.site_id,
        customer_id=wanted.customer.id,
        channel=wanted.channel,
        kind="group" if len(wanted.parts) > 1 else "single",
        guests=wanted.guests,
        notes=wanted.notes,
        created_at=desk.now(),
    )


def request_of(house: House, wanted: Wanted, part: Part, now: int) -> rules.Request:
    """What the rules are asked of one part."""
    guests = -(-wanted.guests // len(wanted.parts))
    return rules.Request(
        resource=house.resource(part.resource_id),
        interval=Interval(part.start, part.end),
        channel=wanted.channel,
        now_at=now,
        customer=wanted.customer,
        guests=guests,
    )


def _judge(house: House, wanted: Wanted, part: Part, now: int, *, open_now: int, changes: int | None = None) -> None:
    facts = rules.Facts(facility=house.facility, open_bookings=open_now, changes_so_far=changes)
    refusal = rules.judge(request_of(house, wanted, part, now), facts, house.profile.policy)
    if refusal is not None:
        raise Refused(refusal)


def price_of_part(house: House, wanted: Wanted, part: Part, now: int, ring: KeyRing | None, fee_cents: int = 0) -> Price:
    """The price of one part. Raises Broken where its lines do not add up: nothing is sold at a price that nobody can explain."""
    price = _priced(house, wanted, part, now, ring, fee_cents)
    if not adds_up(price):
        raise Broken(f"The price of {part.resource_id} does not add up, so nothing was sold.")
    return price


def _priced(house: House, wanted: Wanted, part: Part, now: int, ring: KeyRing | None, fee_cents: int) -> Price:
    if wanted.quote:
        honoured = quotes.honour(
            wanted.quote,
            ring or KeyRing(),
            now,
            resource_id=part.resource_id,
            start=part.start,
            end=part.end,
            code=wanted.code,
            who=quotes.who_of(wanted.customer.id),
            channel=wanted.channel,
        )
        if isinstance(honoured, Refusal):
            raise Refused(honoured)
        return honoured
    return price_of(
        house.resource(part.resource_id),
        Interval(part.start, part.end),
        house.profile.tariff,
        zone=house.facility.zone,
        site_id=wanted.site_id,
        now_at=now,
        customer=wanted.customer,
        code=CodeUse(text=wanted.code) if wanted.code else None,
        change_fee_cents=fee_cents,
    )


def open_bookings(tx: Tx, customer_id: str, now: int, without_order: str = "") -> int:
    """R5: the customer's open bookings, an order counting once."""
    if not customer_id:
        return 0
    found = records.bookings_of_customer(tx, records.alias(tx, customer_id), now // 900 - 96)
    return len(
        {
            b.order_id
            for b in found
            if b.order_id != without_order
            and not b.withdrawn
            and counts_as_open("requested" if b.status == "pending" else b.status, "", ends_at=b.ends_at, answer_by=b.answer_by, now_at=now)
        }
    )


def quote(tx: Tx, desk: Desk, house: House, wanted: Wanted, *, key: SigningKey | None) -> Quoted:
    """What it costs, signed where we have a key (P5), and what stands against it. Changes nothing."""
    now = desk.now()
    _sound(wanted)
    so_many = open_bookings(tx, wanted.customer.id, now)
    prices, tokens, violations = [], [], []
    for part in wanted.parts:
        price = price_of_part(house, wanted, part, now, None)
        prices.append(price)
        facts = rules.Facts(facility=house.facility, open_bookings=so_many)
        violations += rules.check(request_of(house, wanted, part, now), facts, house.profile.policy)
        if key is not None:
            made = quotes.make(
                resource_id=part.resource_id,
                start=part.start,
                end=part.end,
                price=price,
                channel=wanted.channel,
                now_at=now,
                key_id=key.id,
                who=quotes.who_of(wanted.customer.id),
                code=wanted.code,
            )
            tokens.append(quotes.write(made, key))
    total = add_prices(prices)
    return Quoted(
        price=total,
        prices=tuple(prices),
        tokens=tuple(tokens),
        violations=tuple(dict.fromkeys(violations)),
        valid_until=now + quotes.VALID_S,
    )


def add_prices(prices: list[Price]) -> Price:
    return prices[0] if len(prices) == 1 else add(prices)


# ---- changes
def reschedule(
    tx: Tx,
    desk: Desk,
    house: House,
    old_id: str,
    wanted: Wanted,
    *,
    ring: KeyRing | None = None,
    link_up: bool = False,
    body_hash: str = "",
) -> Booking:
    """B7: another time or bay for a booking, by the same rules, with the change counted and its fee on the price (R7, R12).

    `wanted` has one part; its customer and order are the old booking's.
    """
    old = _movable(tx, old_id, wanted.site_id)
    now = desk.now()
    (part,) = wanted.parts
    _sound(wanted)
    wish = _move_wish(tx, desk, house, old, wanted, part, link_up=link_up, body_hash=body_hash)
    before = sales.known(tx, desk, wish)
    if before is not None:
        return before[0]
    if (part.resource_id, part.start, part.end) == (old.resource_id, old.start, old.end):
        raise refuse("illegal_move", "The booking has this bay and time already, so there is nothing to change.")
    forced = old.displaced or old.placed
    so_many = open_bookings(tx, old.customer_id, now, old.order_id)
    _judge(house, wanted, part, now, open_now=so_many, changes=0 if forced else old.changes)
    change = change_of(house, old, now)
    price = price_of_part(house, wanted, part, now, ring, change.fee_cents)
    new = msgspec.structs.replace(wish.bookings[0], price=price, changes=old.changes + (not forced))
    if change.flag:
        records.journal(tx, now, old.site_id, wanted.channel, change.flag, old.id, f"change {old.changes + 1}")
    return sales.move(tx, desk, old_id, msgspec.structs.replace(wish, bookings=(new,)))


def change_of(house: House, b: Booking, now: int) -> terms.Change:
    """What the next change of this booking costs (R12): nothing where the house could not keep its place (B12), and then it counts as none."""
    if b.displaced or b.placed:
        return terms.Change(fee_cents=0)
    return terms.change_fee(house.profile.policy, b.changes, slots.local_day(house.facility.zone, now // 900))


def fee_owed(b: Booking) -> int:
    """What an earlier change of this booking cost, in cents before tax; staying longer takes none of it away."""
    return sum(line.cents for line in b.price.lines if line.code == "fee") if b.price else 0


def extend(
    tx: Tx,
    desk: Desk,
    house: House,
    old_id: str,
    new_id: str,
    minutes: int,
    *,
    channel: Channel,
    link_up: bool = False,
    body_hash: str = "",
) -> Booking:
    """B16: the same bay for longer. A new booking of the whole time in the same order, priced as a whole; counts as no change."""
    old = _movable(tx, old_id)
    if minutes % 15 or not 15 <= minutes <= 24 * 60:
        raise refuse("bad_request", "Extend by whole quarter hours.")
    now = desk.now()
    customer = records.customer(tx, old.customer_id) or Customer(id=old.customer_id, name=old.shown_name)
    bay = old.seat(records.attendance(tx, old.id))
    part = Part(booking_id=new_id, resource_id=bay, start=old.start, end=old.end + minutes // 15)
    wanted = Wanted(site_id=old.site_id, parts=(part,), channel=channel, customer=customer, order_id=old.order_id)
    wish = _move_wish(tx, desk, house, old, wanted, part, link_up=link_up, body_hash=body_hash)
    before = sales.known(tx, desk, wish)
    if before is not None:
        return before[0]
    if now >= old.ends_at:
        raise refuse("illegal_move", "This booking is over; please book anew.")
    _judge_length(house, wanted, part, old, now)
    price = price_of_longer(tx, old, price_of_part(house, wanted, part, now, None, fee_owed(old)))
    new = msgspec.structs.replace(wish.bookings[0], price=price, changes=old.changes, placed=old.placed)
    return sales.move(tx, desk, old_id, msgspec.structs.replace(wish, bookings=(new,)))


def paid_for(tx: Tx, b: Booking) -> Booking:
    """The booking whose price its guest has paid: itself, or the longer one before the rest of its time was put on sale (B15), also where
    it was made longer again since."""
    paid = at = b
    while at.replaces and (old := records.booking(tx, at.replaces)) is not None:
        given_back = (old.price, old.changes) == (at.price, at.changes)  # by us: a customer's own change is counted, and priced anew
        if old.start != at.start or not (old.end < at.end or given_back):
            break
        paid, at = max(paid, old, key=lambda one: one.end), old
    return paid


def price_of_longer(tx: Tx, old: Booking, price: Price) -> Price:
    """What a longer booking in the place of `old` costs: `price`, or what was paid already for more than is left of it."""
    paid = paid_for(tx, old)
    more = paid.end > old.end and paid.price is not None and paid.price.total_cents > price.total_cents
    return paid.price if more else price


def _judge_length(house: House, wanted: Wanted, part: Part, old: Booking, now: int) -> None:
    """What is added must be allowed; that the old part has begun is no objection."""
    facts = rules.Facts(facility=house.facility)
    found = rules.check(request_of(house, wanted, part, now), facts, house.profile.policy)
    found = tuple(v for v in found if v.code not in ("in_the_past", "cut_off_passed", "prepay_only", "too_many_open"))
    if found:
        raise Refused(rules.refusal_of(found))


def _movable(tx: Tx, booking_id: str, to_site: str = "") -> Booking:
    old = records.booking(tx, booking_id)
    if old is None:
        raise refuse("booking_not_found", "This booking is not known.")
    locked.sites(tx, (old.site_id, to_site or old.site_id))
    return records.booking(tx, booking_id)


def _move_wish(tx: Tx, desk: Desk, house: House, old: Booking, wanted: Wanted, part: Part, *, link_up: bool, body_hash: str) -> sales.Wish:
    new = msgspec.structs.replace(
        _plain(desk, house, wanted, part),
        order_id=old.order_id,
        customer_id=old.customer_id,
        shown_name=old.shown_name,
        replaces=old.id,
        changes=old.changes,
    )
    customer = records.customer(tx, old.customer_id)
    return sales.Wish(order=order_of(tx, desk, old), bookings=(new,), customer=customer, body_hash=body_hash, link_up=link_up)


def order_of(tx: Tx, desk: Desk, b: Booking) -> Order:
    """The booking's order; made up of the booking where only its pass was ever seen."""
    return records.order(tx, b.order_id) or Order(
        id=b.order_id,
        reference=records.reference_of(b.order_id),
        site_id=b.site_id,
        customer_id=b.customer_id,
        channel=b.channel,
        created_at=desk.now(),
    )


def refund_of(tx: Tx, desk: Desk, house: House, b: Booking) -> terms.Refund:
    """R8 at this moment; fees are judged at the moment of asking (terr-9). Everything where the house could not keep the place (B12)."""
    price = b.price or Price(currency=house.profile.tariff.currency, total_cents=0)
    a = records.attendance(tx, b.id)
    if b.displaced or b.placed or (a is not None and a.seat):
        return terms.Refund(cents=price.total_cents, kept_cents=0, rule="full_refund")
    recent = [
        x
        for x in records.bookings_of_customer(tx, b.customer_id, desk.now_slot() - 90 * 96)
        if x.status in ("cancelled", "cancelling") and x.reason != "moved" and x.id != b.id and not x.placed
    ]
    customer = records.customer(tx, b.customer_id)
    return terms.cancellation(
        house.profile.policy,
        price,
        starts_at=b.starts_at,
        now_at=desk.now(),
        customer=customer,
        cancelled_at=tuple(min(x.starts_at, desk.now()) for x in recent),
    )


# ---- customers
def customer_of(tx: Tx, desk: Desk, *, name: str, phone: str = "", email: str = "", customer_id: str = "") -> Customer:
    """Who is asking: by id, else by contact, else somebody new under an id made here (own-6). Writes nothing.

    Refuses `customer_not_found` for an id that nobody has, `bad_request` without a name or a contact.
    """
    if customer_id:
        known = records.customer(tx, customer_id)
        if known is None:
            raise refuse("customer_not_found", "This customer is not known.")
        return known
    name = " ".join(name.split())
    if not name:
        raise refuse("bad_request", "Please give a name.")
    found = records.customers_by_contact(tx, phone=phone, email=email)
    if found:
        return found[0]
    return Customer(id=desk.new_id(), name=name, phone=phone, email=email)


def locked_line(tx: Tx, site_id: str, resource_id: str) -> int:
    """The line, read under the lock of the site's stream."""
    streams.lock(tx, site_id)
    return lines.line_of(tx, resource_id)
