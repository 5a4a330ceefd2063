"""How fast the hub shows a day while it is being booked, beside an empty handler behind the same edge; and whether an unchanged day is 304.

Invariant: the changes are bookings of the day that is shown, ten a second for the whole round; a round with fewer is doubtful.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from deploy.bench import children, load, results
from deploy.bench.bench import Bench
from deploy.bench.caller import Caller
from deploy.bench.results import BenchError, Entry
from deploy.bench.sales import CONNECTIONS, ROUNDS, SECONDS, ceiling_per_s
from deploy.bench.servers import SITE, ZONE
from deploy.demo.clients import iso
from shared import slots

BAYS, DAYS_AHEAD = 8, 3
CHANGES_PER_S, CHANGES_ENOUGH = 10, 0.9
BAR, UNCHANGED_BAR = 0.5, 1.0


def shown_day() -> date:
    """A day that is wholly the hub's to sell."""
    return slots.local_day(ZONE, int(time.time()) // 900) + timedelta(days=DAYS_AHEAD)


def path_of(day: date) -> str:
    return f"/api/v1/availability?site_id={SITE}&date={day.isoformat()}"


class Changes:
    """Books an hour of the shown day every tenth of a second, from a thread of its own, until `end`."""

    def __init__(self, url: str, key: str, day: date) -> None:
        self._caller, self._first = Caller(url, key), slots.day_span(ZONE, day).start
        self._stop, self._began = threading.Event(), time.monotonic()
        self.made, self.refused, self.seconds = 0, 0, 0.0
        self._thread = threading.Thread(target=self._work, name="changes", daemon=True)

    def start(self) -> None:
        """What was booked before counts as booked now."""
        self._began = time.monotonic() - self.made / CHANGES_PER_S
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._caller.close()

    def book(self) -> bool:
        """Another hour; whether it was sold."""
        number = self.made + self.refused
        bay, start = number % BAYS + 1, self._first + number // BAYS * 4
        body = {
            "booking_id": f"bench-{number:06d}", "resource_id": f"{SITE}.box-{bay}", "start": iso(start), "end": iso(start + 4),
            "customer": {"name": "Testa Birdie", "email": f"day-{number}@example.test"},
        }  # fmt: skip
        sold = self._caller.ask("POST", "/api/v1/bookings", body)[0] == 201
        self.made, self.refused = self.made + sold, self.refused + (not sold)
        return sold

    def _work(self) -> None:
        try:
            while not self._stop.wait(max(0.0, self._began + (self.made + self.refused) / CHANGES_PER_S - time.monotonic())):
                self.book()
        except (OSError, http.client.HTTPException):
            self.refused += 1
        self.seconds = time.monotonic() - self._began

    @property
    def doubts(self) -> list[str]:
        per_s = self.made / self.seconds if self.seconds else 0.0
        if self.refused or per_s < CHANGES_PER_S * CHANGES_ENOUGH:
            return [f"only {per_s:.1f} changes a second were made, and {self.refused} refused"]
        return []


def shown(bench: Bench) -> list[Entry]:
    """`availability`."""
    rounds, doubts, ceiling = [], [], 0.0
    for number in range(1, ROUNDS + 1):
        ceiling = max(ceiling, ceiling_per_s(bench, headers={"Authorization": "Bearer none"}))
        empty, (ours, doubt) = _empty_round(bench), _day_round(bench)
        rounds.append((empty.per_s, ours.per_s))
        doubts += [*doubt, *_refusals(empty), *_refusals(ours)]
        bench.say(f"round {number}: empty handler {empty.per_s:.0f} /s, a day {ours.per_s:.0f} /s")
    naive, mine = (results.percentile([pair[side] for pair in rounds], 50) for side in (0, 1))
    doubts += results.ceiling_doubt(ceiling, max(naive, mine))
    what = (
        f"a day × {BAYS} bays as JSON, {CONNECTIONS} connections, {CHANGES_PER_S} bookings a second of that day: hub / an empty handler behind"
        f" the same edge (medians {mine:.0f} and {naive:.0f} /s; the load reaches {ceiling:.0f} /s)"
    )
    return [results.at_least("availability", what, results.ratio(rounds), BAR, "×", doubts)]


def unchanged(bench: Bench) -> list[Entry]:
    """`availability_304`: an unchanged day is 304 and empty; once it is booked, it is 200 with another ETag."""
    day = shown_day()
    with _hub(bench) as (url, key, _):
        caller, changes = Caller(url, key), Changes(url, key, day)
        try:
            status, headers, body = caller.ask("GET", path_of(day))
            etag = headers.get("ETag", "")
            again, _, nothing = caller.ask("GET", path_of(day), **{"If-None-Match": etag})
            sold = changes.book()
            after, changed, _ = caller.ask("GET", path_of(day), **{"If-None-Match": etag})
        finally:
            changes.end()
            caller.close()
    so = (status, again, after, bool(etag), bool(body), nothing, sold) == (200, 304, 200, True, True, b"", True)
    so = so and changed.get("ETag") != etag
    what = f"If-None-Match with the day's ETag: {again} and {len(nothing)} bytes while unchanged, {after} and another ETag once a box is booked"
    return [results.at_least("availability_304", what, float(so), UNCHANGED_BAR, "")]


@contextmanager
def _hub(bench: Bench) -> Iterator[tuple[str, str, Path]]:
    folder = bench.fresh("hub")
    with children.server("hub", folder, bays=BAYS) as url:
        yield url, (folder / "key").read_text(), folder


def _empty_round(bench: Bench) -> load.Load:
    folder = bench.fresh("empty")
    with children.server("empty", folder) as url:
        return load.run(f"{url}/nothing", connections=CONNECTIONS, seconds=SECONDS, folder=folder, headers={"Authorization": "Bearer none"})


def _day_round(bench: Bench) -> tuple[load.Load, list[str]]:
    day = shown_day()
    with _hub(bench) as (url, key, folder):
        changes = Changes(url, key, day)
        if not changes.book():
            raise BenchError("The hub did not sell the first hour of the day that is to be shown.")
        changes.start()
        try:
            seen = load.run(
                url + path_of(day), connections=CONNECTIONS, seconds=SECONDS, folder=folder, headers={"Authorization": f"Bearer {key}"}
            )
        finally:
            changes.end()
    return seen, changes.doubts


def _refusals(seen: load.Load) -> list[str]:
    return [f"{seen.refused} requests were refused and {seen.errors} failed"] if seen.refused or seen.errors else []
