"""The slot grid: UTC quarter hours. Local days, clocks and opening hours are cut here and nowhere else.

Source of the formula: protocol, "Words": `slot = unix_seconds // 900`. A zone is an IANA name ("America/Halifax"); a local day is a
`datetime.date`; a local clock is minutes after midnight as the wall clock shows them. Not here: who may buy a slot (`rules`,
`territory`) and what it costs (`pricing`).

Invariant: the day spans of one zone tile the time line, without gap or overlap; a day has 96 slots, or 92 or 100 when clocks change.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shared.model import FIRST_SLOT, LAST_SLOT, Interval
from shared.policy import DAYS, Hours, Opening

SLOT_S = 900
SLOT_MIN = 15
SLOTS_PER_HOUR = 4
#: proleptic ordinal of 1 Jan 1970, the day of slot 0
_EPOCH_DAY = 719163
_PLAIN_DAY = tuple(range(0, 1440, SLOT_MIN))
_LOCAL = re.compile(r"(\d{4}-\d{2}-\d{2})T(\d{2}):(\d{2})", re.ASCII)
#: days kept in the memory of conversions: a year ahead in ten zones
DAY_CACHE_MAX = 4096


class _Day(NamedTuple):
    """One local day: its slots `[start, end)`, what the wall clock shows at each, and which clocks it shows twice."""

    start: int
    end: int
    minutes: tuple[int, ...]
    twice: frozenset[int]


def slot_of(at: int) -> int:
    """The slot that holds the moment `at` (unix seconds)."""
    return at // SLOT_S


def at_of(slot: int) -> int:
    """The unix second at which the slot begins."""
    return slot * SLOT_S


def interval_of(start_at: int, end_at: int) -> Interval:
    """The slots between two unix seconds, which must lie on the quarter hour; ValueError with a sentence otherwise."""
    for name, at in (("start", start_at), ("end", end_at)):
        if at % SLOT_S:
            raise ValueError(f"The {name} must lie on a quarter hour; {at} does not.")
    if end_at <= start_at:
        raise ValueError("The end must lie after the start.")
    if start_at < at_of(FIRST_SLOT) or end_at > at_of(LAST_SLOT):
        raise ValueError("The time must lie between the years 2020 and 2100.")
    return Interval(start_at // SLOT_S, end_at // SLOT_S)


def minutes_of(interval: Interval) -> int:
    """How long the interval is, in minutes."""
    return (interval.end - interval.start) * SLOT_MIN


@lru_cache(64)
def _zone(zone: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{zone!r} is not a time zone that this machine knows.") from None


def _first_slot(zone: str, ordinal: int) -> int:
    """The first slot of a local day. fold=0 gives the first of two midnights, and the end of the gap where midnight is skipped."""
    midnight = datetime.fromordinal(ordinal).replace(tzinfo=_zone(zone))
    at = int(midnight.timestamp())
    if at % SLOT_S:
        raise ValueError(f"In {zone} the day {midnight.date()} does not begin on a quarter hour.")
    return at // SLOT_S


def _moment(zone: str, slot: int) -> datetime:
    return datetime.fromtimestamp(slot * SLOT_S, UTC).astimezone(_zone(zone))


@lru_cache(DAY_CACHE_MAX)
def _day(zone: str, ordinal: int) -> _Day:
    start, end = _first_slot(zone, ordinal), _first_slot(zone, ordinal + 1)
    if end - start == len(_PLAIN_DAY):
        return _Day(start, end, _PLAIN_DAY, frozenset())
    moments = [_moment(zone, slot) for slot in range(start, end)]
    minutes = tuple(moment.hour * 60 + moment.minute for moment in moments)
    return _Day(start, end, minutes, frozenset(minute for minute, times in Counter(minutes).items() if times > 1))


def _ordinal(zone: str, slot: int) -> int:
    """The local day of a slot, from the UTC day: no zone is further than a day off."""
    guess = _EPOCH_DAY + slot // 96
    day = _day(zone, guess)
    if slot < day.start:
        return guess - 1
    return guess if slot < day.end else guess + 1


def local_day(zone: str, slot: int) -> date:
    """The day that the wall calendar shows at the slot's start."""
    return date.fromordinal(_ordinal(zone, slot))


def local_minute(zone: str, slot: int) -> int:
    """Minutes after midnight that the wall clock shows at the slot's start."""
    day = _day(zone, _ordinal(zone, slot))
    return day.minutes[slot - day.start]


def local_clock(zone: str, slot: int) -> tuple[date, int]:
    """Day and minutes after midnight that calendar and wall clock show at the slot's start."""
    ordinal = _ordinal(zone, slot)
    day = _day(zone, ordinal)
    return date.fromordinal(ordinal), day.minutes[slot - day.start]


def days_of(zone: str, interval: Interval) -> tuple[tuple[date, Interval], ...]:
    """The interval cut at local midnights: each local day with its part, in order."""
    parts, start = [], interval.start
    while start < interval.end:
        ordinal = _ordinal(zone, start)
        end = min(interval.end, _day(zone, ordinal).end)
        parts.append((date.fromordinal(ordinal), Interval(start, end)))
        start = end
    return tuple(parts)


def clocks(zone: str, day: date, interval: Interval) -> tuple[int, ...]:
    """What the wall clock shows (minutes) at each slot of an interval that lies within this local day."""
    cut = _day(zone, day.toordinal())
    return cut.minutes[interval.start - cut.start : interval.end - cut.start]


def day_span(zone: str, day: date) -> Interval:
    """The slots of a local day: 96, or 92 or 100 on the nights when clocks change."""
    cut = _day(zone, day.toordinal())
    return Interval(cut.start, cut.end)


@lru_cache(DAY_CACHE_MAX)
def label(zone: str, slot: int) -> str:
    """The wall clock "HH:MM"; where the day shows that clock twice, with the zone's short name: "01:30 ADT", then "01:30 AST"."""
    cut = _day(zone, _ordinal(zone, slot))
    minute = cut.minutes[slot - cut.start]
    text = f"{minute // 60:02}:{minute % 60:02}"
    return f"{text} {_moment(zone, slot).tzname()}" if minute in cut.twice else text


@lru_cache(DAY_CACHE_MAX)
def when(zone: str, slot: int) -> str:
    """Day and clock for a sentence: "Mon 5 Jan 2026, 04:00"."""
    day = local_day(zone, slot)
    return f"{day:%a} {day.day} {day:%b %Y}, {label(zone, slot)}"


@lru_cache(256)
def rows(zone: str, day: date) -> tuple[tuple[int, str], ...]:
    """The half-hour rows of the day grid (B2): slot and label; 48 of them, 46 or 50 when clocks change."""
    span = day_span(zone, day)
    return tuple((slot, label(zone, slot)) for slot in range(span.start, span.end, 2))


def parse_local(zone: str, text: str) -> tuple[int, ...]:
    """The slots at which the wall clock shows "YYYY-MM-DDTHH:MM": none in the spring gap, two in the autumn fold, else one.

    ValueError with a sentence if the text is no such time, is off the quarter hour or lies outside the years 2020 to 2099.
    """
    match = _LOCAL.fullmatch(text)
    try:
        day = date.fromisoformat(match[1]) if match else None
    except ValueError:
        day = None
    if day is None or int(match[2]) > 23 or int(match[3]) > 59:
        raise ValueError(f"{text[:40]!r} is not a local time like 2026-07-01T18:30.")
    if not 2020 <= day.year < 2100:
        raise ValueError("The time must lie between the years 2020 and 2100.")
    minute = int(match[2]) * 60 + int(match[3])
    if minute % SLOT_MIN:
        raise ValueError(f"The time must lie on a quarter hour; {match[2]}:{match[3]} does not.")
    cut = _day(zone, day.toordinal())
    return tuple(cut.start + index for index, shown in enumerate(cut.minutes) if shown == minute)


@lru_cache(128)
def clock_minutes(clock: str) -> int:
    """ "HH:MM" to minutes after midnight; "24:00" is 1440."""
    return int(clock[:2]) * 60 + int(clock[3:])


def _from_clock(day: _Day, minute: int) -> int:
    """The first slot of the day that shows this clock or a later one."""
    if day.minutes is _PLAIN_DAY:
        return day.start + bisect_left(_PLAIN_DAY, minute)
    return next((day.start + index for index, shown in enumerate(day.minutes) if shown >= minute), day.end)


def _until_clock(day: _Day, minute: int) -> int:
    """The slot after the last one of the day that shows an earlier clock: a repeated hour is open both times."""
    if day.minutes is _PLAIN_DAY:
        return day.start + bisect_left(_PLAIN_DAY, minute)
    return next((day.end - back for back, shown in enumerate(reversed(day.minutes)) if shown < minute), day.start)


def _span(zone: str, ordinal: int, opening: Opening) -> Interval:
    opens, closes = clock_minutes(opening.opens), clock_minutes(opening.closes)
    day = _day(zone, ordinal)
    until = _until_clock(day, closes) if closes > opens else _until_clock(_day(zone, ordinal + 1), closes)
    return Interval(_from_clock(day, opens), until)


def _openings(hours: Hours, resource_id: str, day: date) -> tuple[Opening, ...]:
    """The openings that begin on this day: the most particular line decides."""
    named = [one for one in hours.exceptions if one.from_day <= day <= one.until_day]
    for exception in (one for one in named if resource_id in one.resource_ids):
        return exception.openings
    for exception in (one for one in named if not one.resource_ids):
        return exception.openings
    own = (one.weekly for one in hours.resources if one.resource_id == resource_id)
    weekday = DAYS[day.weekday()]
    return tuple(opening for opening in next(own, hours.weekly) if weekday in opening.days)


@lru_cache(DAY_CACHE_MAX)
def _begun(hours: Hours, resource_id: str, zone: str, day: date) -> tuple[Interval, ...]:
    openings = _openings(hours, resource_id, day)
    spans = [_span(zone, day.toordinal(), opening) for opening in openings]
    return tuple(span for span in spans if span.start < span.end)


def _merged(intervals: list[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for one in sorted(intervals):
        if merged and one.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, one.end))
        else:
            merged.append(one)
    return merged


def _open_around(hours: Hours, resource_id: str, zone: str, interval: Interval) -> tuple[Interval, ...]:
    """Every opening that may touch the interval, whole, those that meet as one."""
    return _open_on(hours, resource_id, zone, _ordinal(zone, interval.start), _ordinal(zone, interval.end - 1))


@lru_cache(DAY_CACHE_MAX)
def _open_on(hours: Hours, resource_id: str, zone: str, first: int, last: int) -> tuple[Interval, ...]:
    """Every opening that may touch these local days (ordinals), whole, those that meet as one."""
    begun: list[Interval] = []
    for ordinal in range(first - 1, last + 1):
        begun += _begun(hours, resource_id, zone, date.fromordinal(ordinal))
    return tuple(_merged(begun))


def _cut(intervals: Iterable[Interval], to: Interval) -> tuple[Interval, ...]:
    cut = (Interval(max(one.start, to.start), min(one.end, to.end)) for one in intervals)
    return tuple(one for one in cut if one.start < one.end)


def open_between(hours: Hours, resource_id: str, zone: str, interval: Interval) -> tuple[Interval, ...]:
    """When the resource is open within the interval, in slots, in order; openings that meet at midnight are one.

    What began the evening before and runs past midnight counts, even where an exception closes the new day: it replaces the openings
    that begin on its days.
    """
    return _cut(_open_around(hours, resource_id, zone, interval), interval)


def open_intervals(hours: Hours, resource_id: str, zone: str, day: date) -> tuple[Interval, ...]:
    """When the resource is open on a local day (`open_between` its midnights)."""
    return open_between(hours, resource_id, zone, day_span(zone, day))


def is_open(hours: Hours, resource_id: str, zone: str, interval: Interval) -> bool:
    """Whether the resource is open during the whole interval."""
    return any(one.start <= interval.start and interval.end <= one.end for one in _open_around(hours, resource_id, zone, interval))
