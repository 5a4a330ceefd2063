"""Ways out for a booking that has lost its place (B12, block-2): ranked, at the price already agreed, and which of them the rule allows.

Not here: who takes one. The booking's owner resolves the conflict; near the start the site reseats. This only says what is free.

Invariant: every way lies, buffer included, inside an interval that was handed in as free, starts no earlier than now, is on an active
resource of the same kind and site; equal facts give equal lists in equal order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from shared.model import Booking, Frozen, Interval, Price, Resource, Side, site_of
from shared.policy import Policy

#: ways of one kind that are offered at most
PER_KIND_MAX = 3
#: bookings start on half hours
STEP_SLOTS = 2

WayKind = Literal["same_time", "same_bay", "other_bay"]


class WayOut(Frozen):
    """One place the booking could have. `start`, `end` in slots; `price` is the price already agreed, kept.

    `seller` is whose slots these are: `site`, `hub`, or `line` for an interval that straddles the line (terr-4). `same_make`: the bay is of
    the make that was booked.
    """

    kind: WayKind
    resource_id: str
    start: int
    end: int
    seller: Literal["site", "hub", "line"]
    price: Price | None = None
    same_make: bool = True


def ways_out(
    booking: Booking,
    resources: Sequence[Resource],
    free_intervals: Mapping[str, Sequence[Interval]],
    now_slot: int,
    site_lines: Mapping[str, int],
    *,
    can: Callable[[WayOut], bool] = lambda way: True,
    per_kind_max: int | None = PER_KIND_MAX,
) -> tuple[WayOut, ...]:
    """Where a displaced booking could go, best first: its own time on another bay, then the nearest time, on its own bay before another.

    `free_intervals` per resource: open and unclaimed. `now_slot` is the first slot that can still be had; of a booking that has begun
    only the rest is placed at its own time. `site_lines` is each resource's line; one that is missing counts as all hub's. A resource that
    `resources` does not tell of is not offered; none is offered to a booking that is over or whose own resource is unknown. Only ways that
    `can` be had count among the first `per_kind_max` of each kind (None: all of them).
    """
    own = next((resource for resource in resources if resource.id == booking.resource_id), None)
    if own is None or booking.end <= now_slot:
        return ()
    ranked = []
    for other in _candidates(own, resources):
        for start, end in _places(booking, _merged(free_intervals.get(other.id, ())), now_slot):
            way = WayOut(
                kind=_kind(booking, other.id, start, end, now_slot),
                resource_id=other.id,
                start=start,
                end=end,
                seller=_seller(start, end + booking.buffer, site_lines.get(other.id, 0)),
                price=booking.price,
                same_make=other.make == own.make,
            )
            if can(way):
                ranked.append((_order(booking, own, other, way), way))
    return _best((way for _, way in sorted(ranked, key=lambda pair: pair[0])), per_kind_max)


def by_rule(policy: Policy, booking: Booking, ways: Sequence[WayOut]) -> WayOut | None:
    """The best of `ways` (best first) that the facility lets be taken without asking anybody; None where a person must choose."""
    rule = policy.displacement
    if not rule.by_rule:
        return None
    most, length = rule.shift_max_min // 15, booking.end - booking.start
    return next(
        (
            way
            for way in ways
            if way.end - way.start == length and abs(way.start - booking.start) <= most and (way.same_make or not rule.same_make)
        ),
        None,
    )


def own_first(ways: Sequence[WayOut], side: Side) -> list[WayOut]:
    """The ways as `side` takes them by itself: among bays of one make at the same start first those on its own slots, for which nobody has to
    be asked. Nobody starts later for it, nor gets another make."""
    at: dict[int, int] = {}
    for i, way in enumerate(ways):
        at.setdefault(way.start, i)
    return sorted(ways, key=lambda way: (at[way.start], not way.same_make, way.seller != side))


def _candidates(own: Resource, resources: Sequence[Resource]) -> list[Resource]:
    return [other for other in resources if other.active and other.kind == own.kind and site_of(other.id) == site_of(own.id)]


def _places(booking: Booking, free: Sequence[Interval], now_slot: int) -> list[tuple[int, int]]:
    """The guest intervals that fit: its own time (what is left of it), and in each free interval the whole booking as near as possible."""
    rest = (max(booking.start, now_slot), booking.end)
    places = {rest for gap in free if gap.start <= rest[0] and rest[1] + booking.buffer <= gap.end}
    needed = booking.end - booking.start + booking.buffer
    for gap in free:
        start = _nearest_start(booking.start, max(gap.start, now_slot), gap.end - needed)
        if start is not None:
            places.add((start, start + booking.end - booking.start))
    return sorted(places)


def _nearest_start(wanted: int, first: int, last: int) -> int | None:
    """The start in `[first, last]` nearest to `wanted`, a whole number of steps from it; None if there is none."""
    if wanted > last:
        wanted -= -(-(wanted - last) // STEP_SLOTS) * STEP_SLOTS
    elif wanted < first:
        wanted += -(-(first - wanted) // STEP_SLOTS) * STEP_SLOTS
    return wanted if first <= wanted <= last else None


def _kind(booking: Booking, resource_id: str, start: int, end: int, now_slot: int) -> WayKind:
    # its own bay at its own time is free when what displaced it has ended: nothing is nearer than that
    if (start, end) == (max(booking.start, now_slot), booking.end):
        return "same_time"
    return "same_bay" if resource_id == booking.resource_id else "other_bay"


def _order(booking: Booking, own: Resource, other: Resource, way: WayOut) -> tuple:
    """Its own time first, then the smaller shift, the later of two, its own bay, the same make, lost features, the nearer bay, the id."""
    return (
        way.kind != "same_time",
        abs(way.start - booking.start),
        way.start < booking.start,
        other.id != own.id,
        other.make != own.make,
        len(set(own.features) - set(other.features)),
        abs(other.number - own.number),
        other.id,
    )


def _seller(start: int, end: int, line: int) -> Literal["site", "hub", "line"]:
    if end <= line:
        return "site"
    return "hub" if start >= line else "line"


def _best(ways: Iterable[WayOut], per_kind_max: int | None) -> tuple[WayOut, ...]:
    """The first few of each kind."""
    if per_kind_max is None:
        return tuple(ways)
    kept: list[WayOut] = []
    for way in ways:
        if sum(other.kind == way.kind for other in kept) < per_kind_max:
            kept.append(way)
    return tuple(kept)


def _merged(intervals: Sequence[Interval]) -> list[Interval]:
    """The same slots as few intervals in order, so that two free halves that touch are one place."""
    merged: list[Interval] = []
    for interval in sorted(interval for interval in intervals if interval.start < interval.end):
        if merged and interval.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, interval.end))
        else:
            merged.append(interval)
    return merged
