"""How soon staff see what happens at a door: from the controller to the open staff page.

The page's own stream is read over HTTP, beside everything else that runs at a facility. Invariant: every event came as a row of the trail that
says what was done, in its order; one that did not ends the measurement.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from deploy.bench import facility, results
from deploy.bench.bench import Bench
from deploy.bench.facility import DOOR, Facility
from deploy.bench.results import BenchError, Entry

RUNS, EVENTS, PERCENT = 5, 40, 95
EVENT_BAR_MS = 200.0
WITHIN_S, LIVE_WITHIN_S = 10.0, 30.0
ZONE = "America/Halifax"


async def events(bench: Bench) -> list[Entry]:
    """`door_event`. The controller writes its log row at once, so that what is measured is the way to the page and not the box's own second."""
    async with facility.opened(bench) as place:
        place.controller.box.log.delay_s = 0.0
        runs, factors = [], [await bench.echo()]
        on = datetime.now(ZoneInfo(ZONE)).date().isoformat()
        async with place.staff.http.stream("GET", "/staff/events", params={"date": on}, timeout=WITHIN_S) as answer:
            rows = _rows(answer.aiter_lines())
            await _live(place)
            for number in range(1, RUNS + 1):
                await place.quiet()
                runs.append(results.percentile([await _one(place, rows, turn) for turn in range(EVENTS)], PERCENT))
                bench.say(f"run {number}: p95 {runs[-1]:.1f} ms")
        factors.append(await bench.echo())
    factor = max(factors, key=lambda one: one.times)
    what = (
        f"a card refused, an exit button, a leaf opened or closed at the emulated controller to its row on the open staff page's stream, p95 of"
        f" {EVENTS}, median of {RUNS} runs (runs {', '.join(f'{run:.1f}' for run in runs)} ms; {EVENT_BAR_MS:g} ms × {factor})"
    )
    return [results.at_most("door_event", what, results.percentile(runs, 50), EVENT_BAR_MS * factor.times, "ms")]


async def _live(place: Facility) -> None:
    """Waits until the site hears the controller."""

    async def so() -> bool:
        answer = await place.staff.ask("GET", "/api/doors/trail")
        return answer.ok and answer.body["live"]

    await facility.until("The site of the bench did not hear its controller", so, LIVE_WITHIN_S)


async def _one(place: Facility, rows: AsyncIterator[dict], turn: int) -> float:
    """One event and its row; milliseconds between."""
    box = place.controller.box
    acts = (
        ("denied", lambda: box.deny(DOOR.id)),
        ("unlocked", lambda: box.press_button(DOOR.id)),
        ("opened", lambda: box.move_leaf(DOOR.id, opened=True)),
        ("closed", lambda: box.move_leaf(DOOR.id, opened=False)),
    )
    kind, act = acts[turn % len(acts)]
    at = time.perf_counter()
    act()
    try:
        row = await asyncio.wait_for(anext(rows), WITHIN_S)
    except (TimeoutError, StopAsyncIteration):
        raise BenchError(f"The staff page was not told of an event ({kind}) within {WITHIN_S:.0f} s.") from None
    took_ms = (time.perf_counter() - at) * 1000
    if row["kind"] != kind:
        raise BenchError(f"The staff page was told of {row['kind']!r} where {kind!r} had happened: {row['sentence']}")
    return took_ms


async def _rows(lines: AsyncIterator[str]) -> AsyncIterator[dict]:
    """The rows of the trail that a stream carries, as they come."""
    event = ""
    async for line in lines:
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: ") and event == "door":
            yield msgspec.json.decode(line.removeprefix("data: "))
