"""Simulated time for asyncio: a loop that never waits. When nothing is ready, its clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Coroutine
from typing import Any


class _NoSockets(selectors.SelectSelector):
    """Looks at no socket while there is something to do; waits in earnest only where nothing is planned at all."""

    def select(self, timeout: float | None = None) -> list:
        return super().select(None) if timeout is None else []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`loop.time()` is simulated seconds since the start. For worlds without sockets and threads."""

    def __init__(self) -> None:
        super().__init__(_NoSockets())
        self._simulated = 0.0

    def time(self) -> float:
        return self._simulated

    def _run_once(self) -> None:
        while self._scheduled and self._scheduled[0]._cancelled:  # or time would jump to it, and then be waited for in earnest
            self._timer_cancelled_count -= 1
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._ready and self._scheduled:
            self._simulated = max(self._simulated, self._scheduled[0]._when)
        super()._run_once()


class LoopClock:
    """The clock of a simulated loop: `now` starts at `start_at` UTC unix seconds; `skew_s` is this machine's error."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start_at: float, skew_s: float = 0.0):
        self._loop, self._start, self.skew_s = loop, start_at, skew_s

    def forward(self, seconds: float) -> None:
        """The wall clock jumps, the loop's own time does not."""
        self._start += seconds

    def now(self) -> float:
        return self._start + self._loop.time() + self.skew_s

    def monotonic(self) -> float:
        return self._loop.time()


def simulate(make: Coroutine[Any, Any, Any] | Any) -> Any:
    """Runs a coroutine function (given the loop) or a coroutine to its end in simulated time."""
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(make(loop) if callable(make) else make)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        asyncio.set_event_loop(None)
        loop.close()
