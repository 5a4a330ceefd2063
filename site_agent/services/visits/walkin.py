"""What a guest standing at the kiosk can have: which bays are free now or next, for how long, at what price (K2).

Reads only; the sale looks again. Invariant: nothing is offered that the rules or the line would refuse at this moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

import msgspec

from shared import passes, rules, slots, territory
from shared.errors import refuse
from shared.ledger import frontdesk, lines, ways
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses, Part, Wanted
from shared.model import Customer, Interval, Price, Resource
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.services import views
from site_agent.services.link import Link
from site_agent.store.board import beside

#: how far ahead a kiosk looks, and how many starts of one bay it shows
REACH_SLOTS = 24 * 4
STARTS_MAX = 8
#: in the first half of a half hour a guest may still take it as a whole; after that the next one is near enough to be let in at once
RUNNING_MIN = 15
_SIGNS = {"CAD": "$", "USD": "$", "AUD": "$", "EUR": "€", "GBP": "£"}


class Opening(msgspec.Struct, frozen=True):
    """One bay's next start. `label`: its clock, "tomorrow 07:30" where it is not today's. `now` if it can begin at once; `minutes_max` until
    something else begins; `asked`: the hub must be asked."""

    resource_id: str
    bay: str
    name: str
    start: int
    label: str
    now: bool
    until: str
    minutes_max: int
    asked: bool
    from_price: str


class Length(msgspec.Struct, frozen=True):
    """One length that can be had, with its price."""

    minutes: int
    label: str
    until: str
    total: str


class Offer(msgspec.Struct, frozen=True):
    """A bay at a start: the lengths, and other starts of the same bay."""

    resource_id: str
    bay: str
    name: str
    features: tuple[str, ...]
    capacity: int
    start: int
    label: str
    day: str
    now: bool
    lengths: tuple[Length, ...]
    starts: tuple[tuple[int, str], ...]


class PriceShown(msgspec.Struct, frozen=True):
    """A price in words: the lines and the total."""

    lines: tuple[tuple[str, str], ...]
    total: str


def money(cents: int, currency: str) -> str:
    """Cents for people: $39.90, or 39.90 XYZ where the sign is not known."""
    sign, minus = _SIGNS.get(currency, ""), "−" if cents < 0 else ""
    text = f"{abs(cents) // 100}.{abs(cents) % 100:02}"
    return f"{minus}{sign}{text}" if sign else f"{minus}{text} {currency}"


def price_shown(price: Price) -> PriceShown:
    """A price's lines as a receipt reads."""
    return PriceShown(tuple((line.label, money(line.cents, price.currency)) for line in price.lines), money(price.total_cents, price.currency))


def length(minutes: int) -> str:
    """A length as short as a button asks: "1 hour", "2 h 30 min", "3 hours"."""
    return rules.length(minutes) if minutes % 60 == 0 or minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class WalkIn:
    """The kiosk's view of what is free."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, link: Link):
        self._db, self._desk, self._houses, self._site_id, self._link = db, desk, houses, site_id, link

    def openings(self) -> list[Opening]:
        """Every bay's next start, the soonest first."""
        found = self._db.read(lambda tx: [o for r in self._bays(tx) if (o := self._opening(tx, r)) is not None])
        return sorted(found, key=lambda opening: (opening.start, opening.asked))

    def offer(self, resource_id: str, start: int) -> Offer:
        """What one bay offers at one start. Refuses `resource_not_found`, `slot_taken`."""

        def look(tx: Tx) -> Offer:
            house = self._houses.of(tx, self._site_id)
            resource = house.resource(resource_id)
            starts = list(self._starts(tx, house, resource))
            chosen = next((run for run in starts if run.start == start), None)
            if chosen is None:
                raise refuse("slot_taken", "This time is no longer free. Please choose another.")
            lengths = tuple(self._lengths(house, resource, chosen))
            zone, bay = house.facility.zone, views.bay(house, resource.id)
            day = slots.local_day(zone, start)
            return Offer(
                resource.id, bay, beside(resource, bay), resource.features, resource.capacity, start, slots.label(zone, start),
                f"{day:%A} {day.day} {day:%B}", start * 900 <= self._desk.now(), lengths,
                tuple((run.start, self._when(zone, run.start, day)) for run in starts[:STARTS_MAX]),
            )  # fmt: skip

        return self._db.read(look)

    def place(self, resource_id: str, start: int, end: int) -> str:
        """A bay and a time in words: "Box 3, Sat 21 Nov 2026, 18:00 to 19:00"."""
        house = self._db.read(lambda tx: self._houses.of(tx, self._site_id))
        return f"{views.bay(house, resource_id)}, {views.clock(house.facility.zone, start, end)}"

    def least_min(self) -> int:
        """The shortest booking, in minutes."""
        return self._db.read(lambda tx: self._houses.of(tx, self._site_id)).profile.policy.min_min

    def today(self) -> date:
        """The day that the facility's calendar shows now."""
        house = self._db.read(lambda tx: self._houses.of(tx, self._site_id))
        return self._today(house.facility.zone)

    def opens_now(self, start: str) -> bool:
        """Whether the pass of a booking that starts then (ISO) opens the door already."""
        starts_at = int(datetime.fromisoformat(start).timestamp())
        return self._desk.now() >= starts_at - passes.BEFORE_MIN * 60

    def new_id(self) -> str:
        """The id of a booking that a kiosk is about to make."""
        return self._desk.new_id()

    def _when(self, zone: str, slot: int, beside: date) -> str:
        """The wall clock of a start; with its day where that is another than the one it stands beside."""
        clock, day = slots.label(zone, slot), slots.local_day(zone, slot)
        return clock if day == beside else f"{'today' if day == self._today(zone) else 'tomorrow'} {clock}"

    def _today(self, zone: str) -> date:
        return slots.local_day(zone, self._desk.now_slot())

    def _bays(self, tx: Tx) -> list[Resource]:
        house = self._houses.of(tx, self._site_id)
        return [r for r in house.resources.values() if r.active and r.kind == "simulator"]

    def _opening(self, tx: Tx, resource: Resource) -> Opening | None:
        house = self._houses.of(tx, self._site_id)
        run = next(self._starts(tx, house, resource), None)
        if run is None:
            return None
        zone, policy = house.facility.zone, house.profile.policy
        least = Interval(run.start, run.start + policy.min_min // slots.SLOT_MIN)
        line = lines.line_of(tx, resource.id)
        longest, bay = min(slots.minutes_of(run), policy.max_min), views.bay(house, resource.id)
        price = self._price(house, resource, least)
        return Opening(
            resource.id, bay, beside(resource, bay), run.start, self._when(zone, run.start, self._today(zone)), run.start * 900 <= self._desk.now(),
            slots.label(zone, run.start + longest // slots.SLOT_MIN), longest, territory.may_sell("site", least, line) != "mine",
            money(price.total_cents, price.currency),
        )  # fmt: skip

    def _starts(self, tx: Tx, house: House, resource: Resource) -> Iterator[Interval]:
        """The starts on the grid from which at least the shortest booking is free, each with the free run behind it."""
        policy, zone, now = house.profile.policy, house.facility.zone, self._desk.now()
        grid, least = policy.grid_min // slots.SLOT_MIN, (policy.min_min + policy.buffer_min) // slots.SLOT_MIN
        first = (now - RUNNING_MIN * 60) // 900 + 1
        reach = Interval(max(first, lines.floor_of(tx, self._site_id, resource.id)), first + REACH_SLOTS)
        if reach.start >= reach.end:
            return
        line = lines.line_of(tx, resource.id)
        for free in ways.free_between(tx, resource.id, reach):
            for run in slots.open_between(policy.hours, resource.id, zone, free):
                for start in range(run.start, run.end - least + 1):
                    if slots.local_clock(zone, start)[1] % (grid * slots.SLOT_MIN):
                        continue
                    mine = territory.may_sell("site", Interval(start, start + least), line) == "mine"
                    if not mine and not self._link.up():
                        return
                    end = run.end if self._link.up() else min(run.end, line)
                    yield Interval(start, end - policy.buffer_min // slots.SLOT_MIN)

    def _lengths(self, house: House, resource: Resource, run: Interval) -> Iterator[Length]:
        policy, zone = house.profile.policy, house.facility.zone
        longest = min(slots.minutes_of(run), policy.max_min)
        for minutes in range(policy.min_min, longest + 1, policy.step_min):
            interval = Interval(run.start, run.start + minutes // slots.SLOT_MIN)
            price = self._price(house, resource, interval)
            yield Length(minutes, length(minutes), slots.label(zone, interval.end), money(price.total_cents, price.currency))

    def _price(self, house: House, resource: Resource, interval: Interval) -> Price:
        part = Part(booking_id="", resource_id=resource.id, start=interval.start, end=interval.end)
        wanted = Wanted(site_id=self._site_id, parts=(part,), channel="kiosk", customer=Customer(id="", name=""))
        return self._db.read(lambda tx: frontdesk.quote(tx, self._desk, house, wanted, key=None)).price
