"""THE answer to "may this side sell this interval?" and "who owns this booking?" (protocol terr-1, terr-2, terr-4, terr-8, own-1).

A line is one slot number per resource: below it the site sells, at or above it the hub. Pure: the caller reads the line inside the
transaction that takes the claim, after locking the site's stream row.
"""

from __future__ import annotations

from typing import Literal

from .model import Interval, Side

Verdict = Literal["mine", "theirs", "straddles"]

HOUR_SLOTS = 4


def may_sell(side: Side, interval: Interval, line: int) -> Verdict:
    """terr-1: the site sells what ends at or below its line, the hub what starts at or above its own; what lies across is nobody's yet."""
    below, above = interval.end <= line, interval.start >= line
    if side == "site":
        return "mine" if below else ("theirs" if above else "straddles")
    return "mine" if above else ("theirs" if below else "straddles")


def owns(side: Side, start: int, line: int) -> bool:
    """own-1: by the first slot. Between the two lines both say no: nobody owns it until the release is applied."""
    return start < line if side == "site" else start >= line


def release_target(now_slot: int, ahead_slots: int, ahead_max_slots: int) -> int:
    """The line the hub would like by its own clock (terr-2): `ahead_slots` from now, never past the constant `ahead_max_slots`."""
    return now_slot + min(ahead_slots, ahead_max_slots)


def release_to(line: int, target: int, first_untold: int | None) -> int | None:
    """How far a release may go: up to `target`, but not past the first slot that a claim untold by the stream takes (terr-2).

    None where the line would not rise.
    """
    new = target if first_untold is None else min(target, first_untold)
    return new if new > line else None


def straddle_target(interval: Interval, now_slot: int, ahead_max_slots: int) -> int | None:
    """terr-4: the line a straddling interval asks for is its end; None (refused) past `hub_now + release_ahead_max`."""
    return interval.end if interval.end <= now_slot + ahead_max_slots else None


def release_ahead_s(index: int, count: int) -> int:
    """terr-8: the default per resource, so that both sides have something to sell in every near hour of a cut.

    `max(1, count // 3)` bays are released 48 h ahead, the rest 2 h; the only bay of a site 12 h. `index` counts from 0.
    """
    if count <= 1:
        return 12 * 3600
    return 48 * 3600 if index < max(1, count // 3) else 2 * 3600
