"""Makes a failing day short: leaves out actions as long as the day still fails (delta debugging), within a bounded time.

What counts as "still fails" is any failure whose kind is the same: the first words of the sentence, with names and numbers taken out.
"""

from __future__ import annotations

import re
import time

from tests.simulation.run import play
from tests.simulation.schedule import Schedule


def kind_of(failure: str) -> str:
    """The sentence without what differs from day to day."""
    return re.sub(r"[\w.-]*\d[\w.:-]*", "#", failure)[:60]


def shrink(schedule: Schedule, failure: str, *, within_s: float = 60.0) -> tuple[Schedule, str]:
    """The shortest day found in the time, and its failure."""
    until, kind = time.monotonic() + within_s, kind_of(failure)
    actions, parts = list(schedule.actions), 2
    while len(actions) >= 2 and time.monotonic() < until:
        size = max(1, len(actions) // parts)
        for at in range(0, len(actions), size):
            rest = actions[:at] + actions[at + size :]
            if time.monotonic() > until:
                break
            said = play(schedule.only(rest)).failure
            if said and kind_of(said) == kind:
                actions, failure, parts = rest, said, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(actions), parts * 2)
    return schedule.only(actions), failure
