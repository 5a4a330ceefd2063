"""Finds times in what the apps show as free: whose they are, how far away, on whole half hours.

For: the check's choice of what to book. Not for: asking anybody; a day's answer comes in, times come out. Invariant: a time that comes
out was shown as free for its whole length and as sold in one way only.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import msgspec

from shared import slots

#: as `shared.ledger.availability` letters the half hours
LETTERS = {"instant": "i", "ask_site": "a", "unreachable": "u"}
ROW_SLOTS = 2
PLAIN_DAY_SLOTS = 96


class Time(msgspec.Struct, frozen=True, order=True):
    """An interval of one bay, in slots."""

    start: int
    end: int
    resource_id: str


def join(days: list[dict[str, Any]]) -> dict[str, Any]:
    """Days in order as one, so that a time may lie across midnight. A bay that one of them lacks is left out."""
    cells = [{resource["id"]: resource["cells"] for resource in day["resources"]} for day in days]
    bays = [bay for bay in cells[0] if all(bay in one for one in cells)]
    return {
        "rows": [row for day in days for row in day["rows"]],
        "resources": [{"id": bay, "cells": "".join(one[bay] for one in cells)} for bay in bays],
    }


def free(day: dict[str, Any], how: str, hours: int, not_before: int) -> Iterator[Time]:
    """Times of a day's answer (or several, joined) that are sold `how`, begin at or after `not_before` (slot) and last `hours`; earliest first, none overlap."""
    length = hours * 4 // ROW_SLOTS
    found = []
    for resource in day["resources"]:
        run = 0
        for index, (row, cell) in enumerate(zip(day["rows"], resource["cells"], strict=True)):
            run = run + 1 if cell == LETTERS[how] and row["slot"] >= not_before else 0
            if run == length:
                first = day["rows"][index - length + 1]["slot"]
                if row["slot"] + ROW_SLOTS - first == length * ROW_SLOTS:
                    found.append(Time(first, first + length * ROW_SLOTS, resource["id"]))
                run = 0
    yield from sorted(found)


def changing_day(zone: str, first: date, days: int) -> date | None:
    """The first of so many local days on which clocks change."""
    found = (first + timedelta(days=number) for number in range(days))
    return next((day for day in found if len(slots.day_span(zone, day)) != PLAIN_DAY_SLOTS), None)


def change_of(zone: str, day: date) -> int:
    """The first slot of that day before which the wall clock has jumped; the day's own first where it jumps in none."""
    span = slots.day_span(zone, day)
    minutes = slots.clocks(zone, day, span)
    jumps = (number for number in range(1, len(minutes)) if minutes[number] - minutes[number - 1] != slots.SLOT_MIN)
    return span.start + next(jumps, 0)
