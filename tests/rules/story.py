"""Tests told as stories: `@story()` makes of `async def test_…(w: World)` a test that plays it in simulated time.

At the end of every story the link is healed and both books must be sound and equal, unless it says `equal=False`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.two_sides import World, play


def story(**settings):
    """`settings` go to the world (bays, limits, sites, start_at, zone, faults …)."""

    def tell(script: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
        def test() -> None:
            play(script, **settings)

        test.__name__, test.__doc__, test.__module__ = script.__name__, script.__doc__, script.__module__
        test.__qualname__ = script.__qualname__
        return test

    return tell


def deafen(w: World, client: str) -> None:
    """What is sent to this one vanishes; both ends still believe in the connection."""
    w.network.cut(client, "from_broker", noticed=False)


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Waits in simulated time, and fails where it does not come."""
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("what was waited for did not come")


def statuses(w: World, *booking_ids: str) -> list[tuple[str, str]]:
    """`(at the hub, at the first site)` of each booking; empty where it is not known."""
    return [tuple(b.status if (b := party.booking(i)) else "" for party in (w.hub, w.site)) for i in booking_ids]
