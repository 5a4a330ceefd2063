"""Simulated time for asyncio: a loop that never waits. When nothing is ready, its clock jumps to the next timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from typing import Any


class Stuck(RuntimeError):
    """Everybody waits, and nothing is planned that could wake anybody."""


class Planned:
    """A call to come, soon or at a moment: what asyncio's handles are, with nothing in it that a world of thousands of them does not need.
    Without a context it runs in that of the loop."""

    __slots__ = ("_args", "_callback", "_context", "_when", "gone")

    def __init__(self, callback: Callable[..., Any], args: tuple, context: Context | None, when: float = 0.0):
        self._callback, self._args, self._context, self._when = callback, args, context, when
        self.gone = False

    def cancel(self) -> None:
        self.gone = True
        self._callback, self._args = _nothing, ()

    def cancelled(self) -> bool:
        return self.gone

    def when(self) -> float:
        return self._when


def _nothing() -> None: ...


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`loop.time()` is simulated seconds since the start. For worlds without sockets and threads: it looks at none, and has its own timers
    (asyncio's compare in Python, several times for each of the thousands of a simulated minute). Of equal moments the first planned comes
    first."""

    def __init__(self) -> None:
        super().__init__()
        self._simulated = 0.0
        self._timers: list[tuple[float, int, Planned]] = []
        self._order = count()

    def time(self) -> float:
        return self._simulated

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Planned:
        return self._call_soon(callback, args, context)

    def _call_soon(self, callback: Callable[..., Any], args: tuple, context: Context | None) -> Planned:
        planned = Planned(callback, args, context)
        self._ready.append(planned)
        return planned

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Planned:
        when = self._simulated + delay
        planned = Planned(callback, args, context, when)
        heappush(self._timers, (when, next(self._order), planned))
        return planned

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Planned:
        planned = Planned(callback, args, context, when)
        heappush(self._timers, (when, next(self._order), planned))
        return planned

    def create_task(self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None) -> asyncio.Task:
        """As asyncio's, without what is for debugging and for factories: a world makes thousands of tasks, most of one step."""
        return asyncio.Task(coro, loop=self, name=name or "simulated", context=context)

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers
        while timers and timers[0][2].gone:  # or time would jump to it
            heappop(timers)
        now = self._simulated
        if not ready:
            if not timers:
                raise Stuck("Everybody waits, and nothing is planned that could wake anybody.")
            if timers[0][0] > now:
                now = self._simulated = timers[0][0]
        while timers and timers[0][0] <= now:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            planned = ready.popleft()
            context = planned._context
            try:
                if context is None:
                    planned._callback(*planned._args)
                else:
                    context.run(planned._callback, *planned._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # told as asyncio tells it
                self.call_exception_handler({"message": f"Exception in callback {planned._callback!r}", "exception": error})


class LoopClock:
    """The clock of a simulated loop: `now` starts at `start_at` UTC unix seconds; `skew_s` is this machine's error."""

    __slots__ = ("_loop", "_start", "skew_s")

    def __init__(self, loop: SimulatedLoop, start_at: float, skew_s: float = 0.0):
        self._loop, self._start, self.skew_s = loop, start_at, skew_s

    def forward(self, seconds: float) -> None:
        """The wall clock jumps, the loop's own time does not."""
        self._start += seconds

    def now(self) -> float:
        return self._start + self._loop._simulated + self.skew_s

    def monotonic(self) -> float:
        return self._loop._simulated


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
