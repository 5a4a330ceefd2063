"""Ways out: what else could be had near what was refused (B13), and what is free of a bay.

Not for: judging or selling (`frontdesk`). Invariant: only reads, and asks the rules, the territory and the price that a sale there would be
asked; what nobody could sell just now is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .. import rules, territory
from ..errors import Suggestion
from ..model import FIRST_SLOT, LAST_SLOT, Interval, Price, Resource
from ..pricing import alike
from ..runtime.database import Tx
from . import claims, lines
from .desk import Desk
from .frontdesk import House, Part, Wanted, price_of_part, request_of

#: how far around the wished time a way out is looked for
REACH_SLOTS = 2 * 96


def free_between(tx: Tx, resource_id: str, window: Interval) -> list[Interval]:
    """The unclaimed runs of a resource within the window."""
    return _between(claims.taken_of(tx, [resource_id], window)[resource_id], window)


def _between(taken: list[int], window: Interval) -> list[Interval]:
    runs, at = [], window.start
    for slot in taken:
        if slot > at:
            runs.append(Interval(at, slot))
        at = slot + 1
    if at < window.end:
        runs.append(Interval(at, window.end))
    return runs


def out(tx: Tx, desk: Desk, house: House, wanted: Wanted, *, link_up: bool = True, limit: int = 3) -> tuple[Suggestion, ...]:
    """B13: the next priced alternatives to the first part of what was refused. What nobody could sell just now is left out."""
    part, now = wanted.parts[0], desk.now()
    resource = house.resources.get(part.resource_id)
    if resource is None or not FIRST_SLOT <= part.start < part.end <= LAST_SLOT:
        return ()
    around = Interval(max(part.start - REACH_SLOTS, now // 900), max(part.end, now // 900) + REACH_SLOTS)
    line = lines.lines_of(tx, wanted.site_id)

    def instant(r: Resource, interval: Interval) -> bool:
        return territory.may_sell(desk.side, interval, line.get(r.id, 0)) == "mine"

    def free() -> Iterable[tuple[Resource, list[Interval]]]:
        bays = [r for r in house.resources.values() if r.kind == resource.kind and r.active and r.id in line]
        taken = claims.taken_of(tx, [r.id for r in bays], around)
        for r in bays:
            runs = _between(taken[r.id], around)
            if not link_up:
                runs = [own for run in runs if (own := _own(desk.side, run, line[r.id])) is not None]
            yield r, runs

    plain = msgspec.structs.replace(wanted, quote="", code="")
    priced: dict[tuple[int, Interval], Price] = {}  # the nearest ways out are one time in bays that cost the same

    def price_there(r: Resource, interval: Interval) -> Price:
        there = Part(booking_id="", resource_id=r.id, start=interval.start, end=interval.end)
        key = alike(r), interval
        if key not in priced:
            priced[key] = price_of_part(house, plain, there, now, None)
        return priced[key]

    facts = rules.Facts(facility=house.facility, open_bookings=0)
    request = request_of(house, wanted, part, now)
    return rules.suggest(request, facts, house.profile.policy, free(), price_there, limit=limit, instant=instant)


def _own(side: str, run: Interval, line: int) -> Interval | None:
    own = Interval(run.start, min(run.end, line)) if side == "site" else Interval(max(run.start, line), run.end)
    return own if own.start < own.end else None
