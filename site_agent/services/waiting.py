"""Waiting for the other side's answer without polling: whoever asked is woken by the commit that settled the booking or the hold."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

from shared.runtime.database import Database, InlineWriter

T = TypeVar("T")


class Waiting:
    """Wakes waiters on `(topic, id)` events of the database."""

    def __init__(self, db: Database | InlineWriter):
        self._waiters: dict[tuple[str, str], list[asyncio.Event]] = defaultdict(list)
        db.listen(self._changed)

    def _changed(self, events: list[tuple[str, str]]) -> None:
        for event in events:
            for waiter in self._waiters.get(event, ()):
                waiter.set()

    async def until(self, topic: str, key: str, look: Callable[[], T], settled: Callable[[T], bool], wait_s: float) -> T:
        """`look()` again after every change of `(topic, key)` until it is settled or `wait_s` have passed; what was seen last."""
        woken = asyncio.Event()
        self._waiters[topic, key].append(woken)
        deadline = asyncio.get_running_loop().time() + wait_s
        try:
            while not settled(seen := look()):
                left_s = deadline - asyncio.get_running_loop().time()
                if left_s <= 0:
                    break
                try:
                    async with asyncio.timeout(left_s):  # not wait_for, which before Python 3.12 may swallow a cancel
                        await woken.wait()
                except TimeoutError:
                    return look()
                woken.clear()
            return seen
        finally:
            self._waiters[topic, key].remove(woken)
            if not self._waiters[topic, key]:
                del self._waiters[topic, key]
