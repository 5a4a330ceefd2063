"""Ways out: what else could be had near what was refused (B13), and what is free of a bay.

Not for: judging or selling (`frontdesk`). Invariant: only reads, and asks the rules, the territory and the price that a sale there would be
asked; what nobody could sell just now is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .. import rules, slots, territory, together
from ..errors import Refusal, Suggestion
from ..model import FIRST_SLOT, LAST_SLOT, Booking, Customer, Interval, Price, Resource
from ..pricing import alike
from ..runtime.database import Tx
from . import claims, lines, records, standing, streams
from .desk import Desk
from .frontdesk import House, Part, Wanted, change_of, open_bookings, price_of_part, request_of

#: how far around the wished time a way out is looked for, and where that is too little
REACH_SLOTS, FAR_SLOTS = 2 * 96, rules.SUGGEST_REACH_SLOTS
#: refusals that another time or bay could mend; those that name rules are told by the rules (`rules.MOVABLE`)
MENDABLE = frozenset(
    {
        "slot_taken", "slot_being_released", "straddles_line", "site_unreachable", "hub_unreachable", "declined", "answer_late", "displaced",
        "bay_halted", "below_floor", "hold_ended",
    }
)  # fmt: skip


def helps(refusal: Refusal) -> bool:
    """Whether another time or bay could be had where this was refused."""
    if refusal.violations:
        return all(one.code in rules.MOVABLE for one in refusal.violations)
    return refusal.code in MENDABLE


def helped(tx: Tx, desk: Desk, house: House, wanted: Wanted, refusal: Refusal, *, link_up: bool, old: Booking | None = None) -> Refusal:
    """The refusal with the next priced alternatives, where there may be any and it has none. `old`: the booking that was to be changed."""
    if refusal.suggestions or not helps(refusal):
        return refusal
    found = out(tx, desk, house, wanted, link_up=link_up, old=old, tried=not refusal.violations)
    return msgspec.structs.replace(refusal, suggestions=found)


def longer(tx: Tx, desk: Desk, old: Booking, minutes: int, wanted: Wanted) -> tuple[Wanted, Booking | None]:
    """What is looked for where a visit cannot be extended: the whole longer time elsewhere, as a change of the booking; once it has begun the
    time that was to be added, as a booking of its own. `wanted` says who asks."""
    if desk.now() < old.starts_at:
        part = Part(booking_id="", resource_id=old.resource_id, start=old.start, end=old.end + minutes // slots.SLOT_MIN)
        return msgspec.structs.replace(wanted, parts=(part,)), old
    part = Part(booking_id="", resource_id=old.seat(records.attendance(tx, old.id)), start=old.end, end=old.end + minutes // slots.SLOT_MIN)
    return msgspec.structs.replace(wanted, parts=(part,)), None


def asker_of(tx: Tx, old: Booking) -> Customer:
    """Whose booking it is, as the rules and prices know them."""
    return records.customer(tx, old.customer_id) or Customer(id=old.customer_id, name=old.shown_name)


def free_between(tx: Tx, resource_id: str, window: Interval) -> list[Interval]:
    """The unclaimed runs of a resource within the window."""
    return free_of(tx, [resource_id], window)[resource_id]


def free_of(tx: Tx, resource_ids: list[str], window: Interval) -> dict[str, list[Interval]]:
    """The unclaimed runs of each resource within the window."""
    return {resource_id: _between(taken, window) for resource_id, taken in claims.taken_of(tx, resource_ids, window).items()}


def _between(taken: list[int], window: Interval) -> list[Interval]:
    runs, at = [], window.start
    for slot in taken:
        if slot > at:
            runs.append(Interval(at, slot))
        at = slot + 1
    if at < window.end:
        runs.append(Interval(at, window.end))
    return runs


def out(
    tx: Tx,
    desk: Desk,
    house: House,
    wanted: Wanted,
    *,
    link_up: bool = True,
    limit: int = 3,
    old: Booking | None = None,
    tried: bool = False,
) -> tuple[Suggestion, ...]:
    """B13: the next priced alternatives to what was refused, for all its parts together. What nobody could sell just now is left out.

    `old`: the booking that was to be changed, whose fee is then in the prices (R12). `tried`: no rule speaks against what was asked, and yet
    it could not be had, so it is none of the ways out.
    """
    if any(p.resource_id not in house.resources or not FIRST_SLOT <= p.start < p.end <= LAST_SLOT for p in wanted.parts):
        return ()
    look = Look(tx, desk, house, wanted, link_up, old)
    near = look.around(REACH_SLOTS, limit, tried)
    return near if len(near) >= limit else look.around(FAR_SLOTS, limit, tried)


class Look:
    """One reading of the books for ways out."""

    def __init__(self, tx: Tx, desk: Desk, house: House, wanted: Wanted, link_up: bool, old: Booking | None):
        self.tx, self.desk, self.house, self.now = tx, desk, house, desk.now()
        self.wanted = msgspec.structs.replace(wanted, quote="", code="")
        stream = streams.read(tx, wanted.site_id)
        self.closed = stream is None or standing.of_side(desk, stream) is not None
        self.link_up = link_up and stream is not None and not stream.stopped
        self.bounds = lines.bounds_of(tx, wanted.site_id)
        self.halted = {halt.resource_id for halt in standing.halts(tx, wanted.site_id)} if stream is not None and stream.halted else set()
        changes = None if old is None else 0 if old.displaced or old.placed else old.changes
        so_many = open_bookings(tx, wanted.customer.id, self.now)
        self.facts = rules.Facts(facility=house.facility, open_bookings=so_many, changes_so_far=changes)
        self.fee_cents = change_of(house, old, self.now).fee_cents if old else 0
        # the nearest ways out are one time in bays that cost the same
        self.priced: dict[tuple, Price] = {}

    def around(self, reach: int, limit: int, tried: bool) -> tuple[Suggestion, ...]:
        """What lies within so many slots of the wish, or of the nearest time that may be booked at all."""
        if self.closed or "" in self.halted:
            return ()
        parts, policy = self._within_reach(), self.house.profile.policy
        requests = tuple(request_of(self.house, self.wanted, part, self.now) for part in parts)
        window = self._window(requests[0], max(p.end for p in parts) - parts[0].start, reach)
        kinds = {request.resource.kind for request in requests}
        bays = [
            r for r in self.house.resources.values() if r.kind in kinds and r.active and r.id in self.bounds and r.id not in self.halted
        ]
        taken = claims.taken_of(self.tx, [r.id for r in bays], window)
        first = self.wanted.parts[0]
        if tried and len(parts) == 1 and first.resource_id in taken:
            asked = range(max(first.start, window.start), min(first.end, window.end))
            taken[first.resource_id] = sorted({*taken[first.resource_id], *asked})
        free = {r.id: list(self._sellable(r, _between(taken[r.id], window))) for r in bays}
        if len(parts) > 1:
            return together.suggest(requests, self.facts, policy, free, bays, self.price, limit=limit, instant=self.instant)
        runs = ((r, free[r.id]) for r in bays)
        return rules.suggest(requests[0], self.facts, policy, runs, self.price, limit=limit, instant=self.instant)

    def _within_reach(self) -> tuple[Part, ...]:
        """The parts as they were wished; while the other side is not heard, moved to where our own ground begins or ends."""
        parts = self.wanted.parts
        if self.link_up or not self.bounds:
            return parts
        edges = [line for line, _ in self.bounds.values()]
        by = max(0, min(edges) - parts[0].start) if self.desk.side == "hub" else min(0, max(edges) - max(p.end for p in parts))
        return tuple(msgspec.structs.replace(part, start=part.start + by, end=part.end + by) for part in parts)

    def _window(self, first: rules.Request, length: int, reach: int) -> Interval:
        now_slot = self.now // slots.SLOT_S
        last = slots.slot_of(self.now + rules.horizon_days(self.house.profile.policy, first.customer) * rules.DAY_S)
        wished = max(now_slot, min(first.interval.start, last))
        return Interval(max(wished - reach, now_slot), wished + length + reach)

    def _sellable(self, bay: Resource, runs: list[Interval]) -> Iterator[Interval]:
        """Each run cut at the line: what lies across it may be nobody's for a while. Ours from where we may sell; theirs while they are heard."""
        line, from_slot = self.bounds[bay.id]
        for run in runs:
            below, above = Interval(run.start, min(run.end, line)), Interval(max(run.start, line), run.end)
            ours, theirs = (below, above) if self.desk.side == "site" else (above, below)
            ours = Interval(max(ours.start, from_slot), ours.end)
            for part in (ours, theirs) if self.link_up else (ours,):
                if part.start < part.end:
                    yield part

    def price(self, bay: Resource, interval: Interval) -> Price:
        there = Part(booking_id="", resource_id=bay.id, start=interval.start, end=interval.end)
        key = alike(bay), interval
        if key not in self.priced:
            self.priced[key] = price_of_part(self.house, self.wanted, there, self.now, None, self.fee_cents)
        return self.priced[key]

    def instant(self, bay: Resource, interval: Interval) -> bool:
        return territory.may_sell(self.desk.side, interval, self.bounds[bay.id][0]) == "mine"
