"""What the site does again and again, by the clock. Due times rest in tables; the ticker only asks.

Invariant: every job may be late or missed without harm, because the next one looks at the books again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from site_agent.services import upkeep
from site_agent.services.kit import Kit

HOLDS_EVERY_S = 5.0
PINS_EVERY_S = 60.0
SWEEP_EVERY_S = 60.0
SESSIONS_EVERY_S = 3600.0
DOORS_EVERY_S = 1.0


class Ticks(Protocol):
    """What is asked of a scheduler."""

    def every(self, seconds: float, fn: Callable[[], Awaitable[object] | object], name: str) -> None: ...


def register(ticker: Ticks, kit: Kit, upkeeper: upkeep.Upkeep) -> None:
    """Hands every recurring call of the site to the ticker."""
    ticker.every(upkeeper.hello_every_s, kit.link.hello, "hello")
    ticker.every(1.0, kit.link.tick, "link")
    ticker.every(HOLDS_EVERY_S, kit.bookings.expire, "expire")
    ticker.every(PINS_EVERY_S, upkeeper.pins, "pins")
    ticker.every(SWEEP_EVERY_S, kit.credentials.sweep, "door-credentials")
    ticker.every(DOORS_EVERY_S, lambda: kit.doors.tick(watched=kit.live.watching > 0), "doors")
    ticker.every(SESSIONS_EVERY_S, kit.people.sessions.purge, "sessions")
