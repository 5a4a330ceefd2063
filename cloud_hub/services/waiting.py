"""Waiting for what the other side answers, without polling: woken by the commit that brought the answer.

Invariant: an answer that is in the books before the wait begins is seen at once, and one that comes later wakes it: both the look and the
registering happen on the event loop's thread, with nothing in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from shared.runtime.database import Database, Event, InlineWriter

T = TypeVar("T")


class Waiting:
    """`until` looks again after every commit that told one of the events it was given."""

    def __init__(self, db: Database | InlineWriter):
        #: in the order in which they began to wait, so that a simulated day repeats itself
        self._waiters: dict[Event, dict[asyncio.Event, None]] = {}
        db.listen(self._heard)

    def __len__(self) -> int:
        """How many events somebody waits for."""
        return len(self._waiters)

    def _heard(self, events: list[Event]) -> None:
        if not self._waiters:
            return
        for event in events:
            for waiter in self._waiters.get(event, ()):
                waiter.set()

    async def until(self, look: Callable[[], T | None], events: list[Event], within_s: float) -> T | None:
        """What `look()` gives once it gives something; None when it has given nothing within that time."""
        waiter = asyncio.Event()
        for event in events:
            self._waiters.setdefault(event, {})[waiter] = None
        try:
            async with asyncio.timeout(within_s):
                while (found := look()) is None:
                    waiter.clear()
                    await waiter.wait()
                return found
        except TimeoutError:
            return look()
        finally:
            for event in events:
                self._waiters[event].pop(waiter, None)
                if not self._waiters[event]:
                    del self._waiters[event]
