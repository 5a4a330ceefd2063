"""Holds every door open for an emergency, and lets them go again: a controller has no mode for that, so each door is told.

Invariant: a door that may have been held is noted before the next is asked; a hold that somebody else has put in its place stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from shared.errors import Failure
from site_agent.ports import HOLD_MINUTES_MAX, Doors, DoorsRefused, DoorsUnavailable
from site_agent.services.doors import door_words


async def hold_all(doors: Doors, held: Iterable[str], seconds: int, note: Callable[[str], Awaitable[object]]) -> None:
    """Every door that has a lock of its own, for so long, in whole minutes. `held`: those that may be held by now, of which it is asked first. One that
    cannot be held keeps none of the others; then a failure with a sentence for each, which passes where one of theirs does."""
    minutes, failed = _minutes(seconds), []
    passing = False
    for door in await doors.doors():
        if not door.controlled:
            continue
        try:
            if door.door_id in held and (await doors.held(door.door_id)).rule == "unlocked_for":
                continue
            await doors.hold(door.door_id, "unlocked_for", minutes)
        except Failure as error:
            failed.append(f"{door_words.door_name(door.name)}: {error.detail}")
            passing = passing or not error.permanent
            if not (isinstance(error, DoorsUnavailable) and error.outcome_unknown):
                continue
        await note(door.door_id)
    if failed:
        told = f"Not every door stands open. {' '.join(failed)}"
        raise DoorsUnavailable(told) if passing else DoorsRefused(told)


async def hold_again(doors: Doors, held: Iterable[str], seconds: int) -> list[str]:
    """Of doors that were held those that hold nothing now, held once more for so long; returns them. What somebody has set there instead stays. One that
    cannot be held keeps none of the others; then its failure, one that passes before another."""
    minutes, again, failed = _minutes(seconds), [], []
    for door_id in held:
        try:
            if (await doors.held(door_id)).rule in ("none", "schedule"):
                await doors.hold(door_id, "unlocked_for", minutes)
                again.append(door_id)
        except Failure as error:
            failed.append(error)
    if any(not error.permanent for error in failed):
        raise min(failed, key=lambda error: error.permanent)
    return again


def _minutes(seconds: int) -> int:
    return max(1, min(HOLD_MINUTES_MAX, -(-seconds // 60)))


async def let_go(doors: Doors, held: Iterable[str]) -> None:
    """Those that are still held for minutes; one that the controller does not have any more is let be. One that cannot be let go keeps none of the
    others; then its failure, one that passes before another."""

    async def one(door_id: str) -> Failure | None:
        try:
            if (await doors.held(door_id)).rule == "unlocked_for":
                await doors.hold(door_id, "normal")
        except Failure as error:
            return None if isinstance(error, DoorsRefused) and error.code == "door_unknown" else error
        return None

    failed = [error for error in await asyncio.gather(*map(one, held)) if error is not None]
    if failed:
        raise min(failed, key=lambda error: error.permanent)
