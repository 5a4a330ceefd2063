"""The ticker: calls functions again and again. The only file that imports apscheduler.

What it is not: a place where work is kept. What is due rests in a table with its due time; a call that is missed or late loses nothing,
because the next one looks at the table again. So late calls run at once (`misfire_grace_time=None`), several missed ones become one
(`coalesce`), and a call never overlaps itself.
The library reckons by the wall clock, so a clock that is set back would silence it for as long: `LOOK_EVERY_S` mends that.
Invariant: an error in one call is logged and counted, and changes nothing about the next (what is only away, a disk or a vendor, is logged
when that begins and when it ends); everything runs on the event loop's thread.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from shared.errors import Failure
from shared.runtime import log

Call = Callable[[], Awaitable[object] | object]
LOOK_EVERY_S = 5.0  # seconds between looks at whether the wall clock was set back
_log = log.get("runtime.scheduler")


class Ticker:
    """`every` before or after `start`; `runs` and `errors` count by name, for metrics. Start it where the event loop runs."""

    def __init__(self, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1})
        self._look_every_s = look_every_s
        self._looking: asyncio.TimerHandle | None = None
        self.runs: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._failing: set[str] = set()

    def every(self, seconds: float, fn: Call, name: str) -> None:
        """Calls `fn()` every `seconds`, first one period from now; a coroutine is awaited. Names are unique: ValueError otherwise.

        A plain function must be short, since it runs on the event loop.
        """
        if seconds <= 0:
            raise ValueError(f"The period of {name!r} must be above 0 s.")
        if self._scheduler.get_job(name) is not None:
            raise ValueError(f"There is a call named {name!r} already.")

        async def once() -> None:  # the library would hand a plain function to a thread
            await self.run(fn, name)

        self._scheduler.add_job(once, IntervalTrigger(seconds=seconds, timezone=UTC), id=name, name=name)

    async def run(self, fn: Call, name: str) -> None:
        """One call, as the ticker makes it: whatever it raises is logged and counted here."""
        self.runs[name] += 1
        try:
            outcome = fn()
            if inspect.isawaitable(outcome):
                await outcome
            if name in self._failing:
                self._failing.discard(name)
                _log.info("ticker.call_works_again", call=name)
        except Failure as error:
            self.errors[name] += 1
            if name not in self._failing:
                self._failing.add(name)
                _log.warning("ticker.call_fails", call=name, why=error.detail)
        except Exception as error:
            self.errors[name] += 1
            _log.error("ticker.call_failed", error=error, call=name)

    def start(self) -> None:
        self._scheduler.start()
        self._look()

    def stop(self) -> None:
        """No further calls; one that is under way is cancelled. Does nothing when not started."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def _look(self) -> None:
        """A next call further off than its period means that the clock was set back: it is due now."""
        now = datetime.now(UTC)
        for job in self._scheduler.get_jobs():
            if job.next_run_time - now > job.trigger.interval + timedelta(seconds=1):
                job.modify(next_run_time=now)
        self._looking = asyncio.get_running_loop().call_later(self._look_every_s, self._look)
