"""What a guest can choose from: the times of a day at which enough bays are free together, each with its price (B13, W1).

The books are read for a "any box" question: so many bays, so many minutes, which starts? Not here: taking anything (`guest_holds`), and the
last word on rules and price, which the front desk has in the transaction that sells.
Invariant: what is offered broke no rule of time, hours or size and was free when it was read; what nobody could sell just now is not offered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, timedelta

from shared import pricing, rules, slots, territory
from shared.errors import Refused, refuse
from shared.ledger import claims, lines
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House
from shared.ledger.ways import helps
from shared.model import Customer, Frozen, Interval, Price, Resource
from shared.runtime.database import Tx

from .hub import Hub

__all__ = [
    "GUESTS_MAX", "House", "Look", "Offer", "OfferDesk", "Offers", "Place", "Search", "check_size", "counted", "helps", "lengths", "returning",
    "simulators",
]  # fmt: skip

GUESTS_MAX = 48
NEAREST_DAYS = 7
_TIME_RULES = {name: rules.RULES[name] for name in ("too_short", "wrong_step", "too_long", "off_grid", "in_the_past", "cut_off", "horizon")}
_BAY_RULES = {name: rules.RULES[name] for name in ("active", "closed", "wrong_guests")}


class Search(Frozen):
    """What is looked for. `resource_id` empty means any; `moving` is a booking whose own slots count as free (a change of it)."""

    site_id: str
    on: date
    minutes: int
    guests: int = 1
    resource_id: str = ""
    moving: str = ""


class Offer(Frozen):
    """One start (slots). `resource_ids` are the bays that would be taken, `free` how many there were to choose from.

    `how` is `instant` or `ask_site`; `cents` is the whole price with tax for all bays.
    """

    start: int
    end: int
    resource_ids: tuple[str, ...]
    free: int
    how: str
    cents: int
    currency: str


class Offers(Frozen):
    """A day's offers in order. `up`: the site is heard; `sells_from`: slot from which the hub alone can sell while it is not."""

    house: House
    search: Search
    boxes: int
    offers: tuple[Offer, ...]
    up: bool
    heard_at: int
    sells_from: int


class Place(Frozen):
    """A facility to choose: `from_cents` is the lowest hourly price of its tariff in the coming week, before tax."""

    house: House
    boxes: int
    up: bool
    from_cents: int
    today: date


class OfferDesk:
    def __init__(self, hub: Hub):
        self._db, self._desk, self._houses, self._links = hub.db, hub.desk, hub.houses, hub.links
        self._site_ids = tuple(site.id for site in hub.config.hub.sites)

    def house(self, site_id: str) -> House:
        """Refuses `facility_not_found`, also for one that has not stated its bays yet."""
        self._links.up(site_id)
        return self._db.read(lambda tx: self._houses.of(tx, site_id))

    def places(self) -> list[Place]:
        """The facilities that can be chosen, by name. One that was never heard is left out: nothing is known to sell there."""
        found = []
        for site_id in self._site_ids:
            try:
                house = self.house(site_id)
            except Refused:
                continue
            bays = simulators(house)
            if bays:
                cheapest, up = lowest_hour(house, self._desk.now()), self._links.up(site_id)
                found.append(Place(house=house, boxes=len(bays), up=up, from_cents=cheapest, today=self.today(house)))
        return sorted(found, key=lambda place: place.house.facility.name)

    def today(self, house: House) -> date:
        return slots.local_day(house.facility.zone, self._desk.now_slot())

    def last_day(self, house: House, *, known: bool = False) -> date:
        """The furthest day somebody new may book, or (`known`) somebody who has been here before."""
        days = rules.horizon_days(house.profile.policy, returning(house) if known else None)
        return slots.local_day(house.facility.zone, slots.slot_of(self._desk.now() + days * rules.DAY_S))

    def boxes_for(self, house: House, guests: int) -> int:
        """How many bays so many people need."""
        bays = simulators(house)
        return -(-guests // min(bay.capacity for bay in bays)) if bays else 1

    def day(self, search: Search) -> Offers:
        """Every start of a local day. Refuses `facility_not_found`, `resource_not_found`, `bad_request`."""
        house = self.house(search.site_id)
        boxes = 1 if search.moving else self.boxes_for(house, search.guests)
        check_size(house, search, boxes)
        up, heard_at = self._links.heard(search.site_id)

        def read(tx: Tx) -> Offers:
            return Offers(
                house=house,
                search=search,
                boxes=boxes,
                offers=tuple(Look(tx, self._desk, house, search, boxes, up).offers()),
                up=up,
                heard_at=heard_at,
                sells_from=min(lines.lines_of(tx, search.site_id).values(), default=0),
            )

        return self._db.read(read)

    def nearest(self, search: Search, start: int, limit: int = 3, *, known: bool = True) -> tuple[Offer, ...]:
        """The offers nearest to a wished start (slot), other starts or other bays: the ways out of a refusal (B13). Not `known`: for somebody
        who may book no further ahead than anybody."""
        house = self.house(search.site_id)
        search = Search(
            site_id=search.site_id,
            on=search.on,
            minutes=_legal_minutes(house, search.minutes),
            guests=max(1, min(search.guests, GUESTS_MAX)),
            moving=search.moving,
        )
        first, last = self.today(house), self.last_day(house, known=known)
        days = rules.horizon_days(house.profile.policy, returning(house) if known else None)
        last_slot = slots.slot_of(self._desk.now() + days * rules.DAY_S)
        wished = min(max(search.on, first), last)
        found: list[Offer] = []
        for away in range(NEAREST_DAYS):
            for day in {wished - timedelta(away), wished + timedelta(away)}:
                if first <= day <= last:
                    found += [offer for offer in self.day(_on(search, day)).offers if offer.start <= last_slot]
            # a day further out can still be nearer than this day's last, so one more is looked at
            if len(found) >= limit and away:
                break
        return tuple(sorted(found, key=lambda offer: (abs(offer.start - start), offer.start))[:limit])


def check_size(house: House, search: Search, boxes: int) -> None:
    """Refuses `bad_request` or `resource_not_found` for what no time of any day could satisfy."""
    bays = simulators(house)
    if search.resource_id and house.resource(search.resource_id).kind != "simulator":
        raise refuse("bad_request", "This page books simulators only. Please ask our staff for rooms and equipment.")
    if not 1 <= search.guests <= GUESTS_MAX:
        raise refuse("bad_request", f"A group is 1 to {GUESTS_MAX} people.")
    if boxes > len(bays):
        most = sum(bay.capacity for bay in bays)
        raise refuse("bad_request", f"{house.facility.name} has room for {most} people at a time; you asked for {search.guests}.")


class Look:
    """One reading of a day."""

    def __init__(self, tx: Tx, desk: Desk, house: House, search: Search, boxes: int, up: bool):
        self.tx, self.desk, self.house, self.search, self.boxes, self.up = tx, desk, house, search, boxes, up
        self.now, self.zone, self.policy = desk.now(), house.facility.zone, house.profile.policy
        self.buffer = rules.buffer_slots(self.policy)
        self.length = search.minutes // slots.SLOT_MIN
        self.span = slots.day_span(self.zone, search.on)
        self.line = lines.lines_of(tx, search.site_id)
        self.facts = rules.Facts(facility=house.facility)
        self.customer = returning(house)
        self.prices: dict[tuple[int, int], Price] = {}
        self.bays = [bay for bay in simulators(house) if bay.id in self.line and search.resource_id in ("", bay.id)]
        self.taken = {bay.id: self._taken(bay) for bay in self.bays}

    def offers(self) -> Iterator[Offer]:
        """Every start of the day."""
        for start in range(self.span.start, self.span.end):
            # most quarter hours fall at the grid already, before anything costs a look
            if slots.local_clock(self.zone, start)[1] % self.policy.grid_min == 0 and (offer := self.at(start)) is not None:
                yield offer

    def at(self, start: int) -> Offer | None:
        """The offer at one start of this day; None where there is none."""
        if self.length < 1 or self.search.minutes % slots.SLOT_MIN:
            return None
        interval = Interval(start, start + self.length)
        if not self._allowed(self.bays, interval, _TIME_RULES):
            return None
        ways = [(how, bay) for bay in self.bays if (how := self._how(bay, interval))]
        return self._offer(interval, ways) if len(ways) >= self.boxes else None

    def _taken(self, bay: Resource) -> Collection[int]:
        window = Interval(self.span.start, self.span.end + self.length + self.buffer)
        return {slot for slot, _, ref in claims.holders(self.tx, bay.id, window) if not self.search.moving or ref != self.search.moving}

    def _allowed(self, bays: list[Resource], interval: Interval, those: dict[str, rules.Rule]) -> bool:
        guests = -(-self.search.guests // self.boxes)
        return bool(bays) and not rules.check(
            rules.Request(
                resource=bays[0], interval=interval, channel="web", now_at=self.now, customer=self.customer, guests=guests, prepaid=True
            ),
            self.facts,
            self.policy,
            those,
        )

    def _how(self, bay: Resource, interval: Interval) -> str:
        claimed, taken = Interval(interval.start, interval.end + self.buffer), self.taken[bay.id]
        if any(slot in taken for slot in range(claimed.start, claimed.end)) or not self._allowed([bay], interval, _BAY_RULES):
            return ""
        if territory.may_sell(self.desk.side, claimed, self.line[bay.id]) == "mine":
            return "instant"
        return "ask_site" if self.up else ""

    def _offer(self, interval: Interval, ways: list[tuple[str, Resource]]) -> Offer:
        # what we sell ourselves is certain at once, so it goes first
        ways.sort(key=lambda way: (way[0] != "instant", way[1].number, way[1].id))
        chosen = ways[: self.boxes]
        prices = [self._price(bay, interval) for _, bay in chosen]
        return Offer(
            start=interval.start,
            end=interval.end,
            resource_ids=tuple(bay.id for _, bay in chosen),
            free=len(ways),
            how="instant" if all(how == "instant" for how, _ in chosen) else "ask_site",
            cents=sum(price.total_cents for price in prices),
            currency=prices[0].currency,
        )

    def _price(self, bay: Resource, interval: Interval) -> Price:
        # bays without an hourly rate of their own cost the same
        key = (interval.start, bay.hourly_cents)
        if key not in self.prices:
            self.prices[key] = pricing.quote(
                bay, interval, self.house.profile.tariff, zone=self.zone, site_id=self.search.site_id, now_at=self.now
            )
        return self.prices[key]


def simulators(house: House) -> list[Resource]:
    """The bays that this page sells, in the order of their numbers."""
    return [bay for bay in house.resources.values() if bay.kind == "simulator" and bay.active]


def counted(house: House, count: int) -> str:
    """Bays by the facility's own word: "1 box", "2 boxes", "3 bays"."""
    word = house.facility.word.lower()
    if count == 1:
        return f"1 {word}"
    return f"{count} {word}{'es' if word.endswith(('x', 's', 'ch', 'sh')) else 's'}"


def lengths(house: House) -> tuple[int, ...]:
    """The lengths in minutes that can be booked."""
    policy = house.profile.policy
    return tuple(range(policy.min_min, policy.max_min + 1, policy.step_min))


def lowest_hour(house: House, now: int) -> int:
    """The lowest price in cents before tax of one hour in the coming week."""
    bays, tariff, zone = simulators(house), house.profile.tariff, house.facility.zone
    first = slots.day_span(zone, slots.local_day(zone, now // slots.SLOT_S)).start
    untaxed = tariff.__class__(currency=tariff.currency, base=tariff.base, rates=tariff.rates)
    return min(
        pricing.quote(
            bays[0], Interval(at, at + slots.SLOTS_PER_HOUR), untaxed, zone=zone, site_id=house.facility.id, now_at=now
        ).total_cents
        for at in range(first, first + 7 * 96, slots.SLOTS_PER_HOUR)
    )


def returning(house: House) -> Customer:
    """Somebody who has played here before, and nothing else: who asks is known only at the next step, where the rules look again."""
    played = max((one.who.completed_min for one in house.profile.policy.horizons if not one.who.tags and not one.who.tiers), default=0)
    return Customer(id="", name="", completed=played)


def _legal_minutes(house: House, minutes: int) -> int:
    return min(lengths(house), key=lambda one: (abs(one - minutes), one))


def _on(search: Search, day: date) -> Search:
    return Search(
        site_id=search.site_id,
        on=day,
        minutes=search.minutes,
        guests=search.guests,
        resource_id=search.resource_id,
        moving=search.moving,
    )
