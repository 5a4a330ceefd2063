"""Ways out for several bays that are wanted as one (B13, terr-10): the whole group so much earlier or later, in bays that are free then.

What one bay could have instead is `rules.suggest`. Pure: what is free, and what it costs, is handed in. Invariant: a way has a bay for every
part, no two of them overlap, every part breaks no rule, and the parts lie to each other as they were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec.structs import replace

from shared import rules, slots
from shared.errors import SuggestedPart, Suggestion
from shared.model import Interval, Price, Resource
from shared.policy import Policy
from shared.rules import Facts, Request

Placed = tuple[tuple[Resource, Interval], ...]


def suggest(
    requests: tuple[Request, ...],
    facts: Facts,
    policy: Policy,
    free: Mapping[str, Iterable[Interval]],
    bays: Iterable[Resource],
    price_of: Callable[[Resource, Interval], Price],
    *,
    limit: int = 3,
    instant: Callable[[Resource, Interval], bool] | None = None,
) -> tuple[Suggestion, ...]:
    """The nearest times for all parts together; none where no other time would help (see `rules.suggest`). `requests`: one for each part, of
    the same customer; `free` says per bay which slots nobody has claimed."""
    if any(one.code not in rules.MOVABLE for request in requests for one in rules.check(request, facts, policy)):
        return ()
    found: list[Placed] = []
    asked = tuple((request.resource, request.interval) for request in requests)
    for at in _starts(requests[0], facts, policy):
        if len(found) == limit:
            break
        placed = _place(requests, at - requests[0].interval.start, facts, policy, free, tuple(bays))
        if placed is not None and placed != asked:
            found.append(placed)
    return tuple(_suggestion(placed, price_of, instant) for placed in found)


def _starts(first: Request, facts: Facts, policy: Policy) -> Iterator[int]:
    """The starts on the grid that the clock leaves to the first part, nearest first; so many are tried and no more."""
    window, zone = rules.window_of(first, policy), facts.facility.zone
    wished, tries = max(window.start, min(first.interval.start, window.end)), 0
    for at in rules.nearest_first(window.start, window.end, wished):
        if tries == rules.SUGGEST_TRIES_MAX:
            return
        if slots.local_minute(zone, at) % policy.grid_min == 0:
            tries += 1
            yield at


def _place(
    requests: tuple[Request, ...], by: int, facts: Facts, policy: Policy, free: Mapping[str, Iterable[Interval]], bays: tuple[Resource, ...]
) -> Placed | None:
    """A bay for every part, so many slots later; its own where that is free, else the next."""
    placed: list[tuple[Resource, Interval]] = []
    for request in requests:
        start = request.interval.start + by
        interval = Interval(start, start + rules.legal_slots(request.interval, policy))
        bay = next(
            (bay for bay in _near(request.resource, bays) if _fits(request, bay, interval, placed, facts, policy, free.get(bay.id, ()))),
            None,
        )
        if bay is None:
            return None
        placed.append((bay, interval))
    return tuple(placed)


def _near(wished: Resource, bays: tuple[Resource, ...]) -> list[Resource]:
    alike = [bay for bay in bays if bay.kind == wished.kind]
    return sorted(alike, key=lambda bay: (bay.id != wished.id, abs(bay.number - wished.number), bay.id))


def _fits(
    request: Request, bay: Resource, interval: Interval, placed: list[tuple[Resource, Interval]], facts: Facts, policy: Policy,
    runs: Iterable[Interval],
) -> bool:  # fmt: skip
    buffer = rules.buffer_slots(policy)
    if not any(run.start <= interval.start and interval.end + buffer <= run.end for run in runs):
        return False
    if any(other.id == bay.id and its.start < interval.end + buffer and interval.start < its.end + buffer for other, its in placed):
        return False
    return not rules.check(replace(request, resource=bay, interval=interval), facts, policy)


def _suggestion(
    placed: Placed, price_of: Callable[[Resource, Interval], Price], instant: Callable[[Resource, Interval], bool] | None
) -> Suggestion:
    prices = [price_of(bay, interval) for bay, interval in placed]
    parts = tuple(SuggestedPart(bay.id, slots.at_of(interval.start), slots.at_of(interval.end)) for bay, interval in placed)
    return Suggestion(
        resource_id=parts[0].resource_id,
        start_at=parts[0].start_at,
        end_at=parts[0].end_at,
        total_cents=sum(price.total_cents for price in prices),
        currency=prices[0].currency,
        instant=instant is None or all(instant(bay, interval) for bay, interval in placed),
        parts=parts,
    )
