"""When a bay should be looked after before it fails, and at which quiet hour (M4). Pure.

Not here: counting hours and troubles, making the block. Invariants: what is proposed lies wholly in time that is free, and says why in
numbers that were counted; equal facts give the same proposal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from shared import slots
from shared.model import Frozen, Interval
from shared.policy import Care

STEP_SLOTS = 2
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: minutes that were played in an hour of the week: (day of the week from 0 for Monday, hour) -> minutes
Usage = Mapping[tuple[int, int], int]


class Wear(Frozen):
    """What a bay has been through: minutes played since its last maintenance (`since_at`, unix seconds, 0: none is known), and how many troubles
    its PC told of within `alert_days`."""

    played_min: int
    troubles: int
    since_at: int = 0


class Proposal(Frozen):
    """A time for maintenance (slots), and why, as a sentence for staff."""

    at: Interval
    why: str


def is_due(wear: Wear, rule: Care) -> bool:
    return wear.played_min >= rule.hours_max * 60 or wear.troubles >= rule.alerts_max


def propose(bay: str, wear: Wear, free: Sequence[Interval], usage: Usage, rule: Care, zone: str) -> Proposal | None:
    """The quietest free time for the bay (`bay` as people call it); None where it needs no care yet, or has no free time of that length.

    Of times that were played equally little before, the earliest.
    """
    if not is_due(wear, rule):
        return None
    length = rule.length_min // slots.SLOT_MIN
    # a quiet night hour before a quiet afternoon: what is not played is what counts, the earliest of equals is taken
    found = min((place for run in free for place in _places(run, length, usage, zone)), default=None)
    if found is None:
        return None
    at = Interval(found[1], found[1] + length)
    return Proposal(at=at, why=sentence(bay, wear, at, rule, zone))


def _places(run: Interval, length: int, usage: Usage, zone: str) -> Iterator[tuple[int, int]]:
    """Every place of that length in a free run: how many minutes used to be played then, and its start."""
    until = [0, *accumulate(usage.get(_hour(zone, slot), 0) for slot in range(run.start, run.end))]
    first = -(-run.start // STEP_SLOTS) * STEP_SLOTS
    yield from ((until[at + length - run.start] - until[at - run.start], at) for at in range(first, run.end - length + 1, STEP_SLOTS))


def played(at: Interval, usage: Usage, zone: str) -> int:
    """How many minutes used to be played in these hours of the week, a quarter of each hour for each slot."""
    return sum(usage.get(_hour(zone, slot), 0) for slot in range(at.start, at.end))


def _hour(zone: str, slot: int) -> tuple[int, int]:
    day, minute = slots.local_clock(zone, slot)
    return day.weekday(), minute // 60


def sentence(bay: str, wear: Wear, at: Interval, rule: Care, zone: str) -> str:
    """Why, and why then: "Box 3 has been played for 212 hours since its last maintenance …"."""
    day = DAY_NAMES[slots.local_clock(zone, at.start)[0].weekday()]
    since = "since its last maintenance" if wear.since_at else "since hours are counted"
    told = f"{bay} has been played for {wear.played_min // 60} hours {since}"
    if wear.troubles:
        times = "once" if wear.troubles == 1 else f"{wear.troubles} times"
        told += f", and its PC told of trouble {times} within {rule.alert_days} days"
    return f"{told}. {day} from {slots.label(zone, at.start)} to {slots.label(zone, at.end)} is free and usually quiet."


def usage_of(played_slots: Sequence[tuple[int, int]], zone: str) -> dict[tuple[int, int], int]:
    """The usage out of `(first slot, slot after)` of what was played."""
    found: dict[tuple[int, int], int] = {}
    for start, end in played_slots:
        for slot in range(start, end):
            hour = _hour(zone, slot)
            found[hour] = found.get(hour, 0) + slots.SLOT_MIN
    return found
