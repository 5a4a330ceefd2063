"""How many bookings a second the hub confirms, durably, over HTTP: beside a bare path that commits the same rows, and on a slow disk
beside one commit per booking.

Invariant: every request is a new booking, every answer is a yes, and the books hold what was answered; else the figure is doubtful.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

import msgspec

from cloud_hub.app import DATABASE
from deploy.bench import children, load, results
from deploy.bench.bench import Bench
from deploy.bench.load import Load
from deploy.bench.results import Entry

ROUNDS, SECONDS, CONNECTIONS = 3, 3, 64
CEILING_SECONDS = 1
BAYS = 120
SLOW_COMMIT_S = 0.005
FAST_BAR, SLOW_BAR = 0.3, 6.0
#: the naive side's own script: nothing to read, so that only its commits count
BARE_LUA = 'wrk.method = "POST"\n'


class Sold(msgspec.Struct, frozen=True):
    """One round: what the load saw, and the bookings in the books when the server had ended."""

    load: Load
    rows: int

    @property
    def doubts(self) -> list[str]:
        """What makes a round worthless: a no, a broken connection, or books that do not hold what was answered.

        The load hangs up with a request under way on each connection; those may stand in the books without an answer.
        """
        found = []
        if self.load.refused or self.load.errors:
            found.append(f"{self.load.refused} requests were refused and {self.load.errors} failed")
        if not self.load.answers <= self.rows <= self.load.answers + CONNECTIONS:
            found.append(f"{self.load.answers} answers, but {self.rows} bookings in the books")
        return found


def fast(bench: Bench) -> list[Entry]:
    """`hub_sales`."""
    rounds, ceiling = [], 0.0
    for number in range(1, ROUNDS + 1):
        ceiling = max(ceiling, ceiling_per_s(bench, bookings_script("none")))
        rounds.append((sell(bench, "bare"), sell(bench, "hub", bays=BAYS)))
        bench.say(_told(number, "bare", "hub", rounds[-1]))
    naive, ours = _medians(rounds)
    doubts = [*_doubts(rounds), *results.ceiling_doubt(ceiling, max(naive, ours))]
    what = (
        f"60-min bookings confirmed over HTTP, durable, {CONNECTIONS} connections: hub / bare group commit of the same rows"
        f" (medians {ours:.0f} and {naive:.0f} /s; the load reaches {ceiling:.0f} /s)"
    )
    return [results.at_least("hub_sales", what, _ratio(rounds), FAST_BAR, "×", doubts)]


def slow(bench: Bench) -> list[Entry]:
    """`hub_sales_slow_disk`."""
    rounds = []
    for number in range(1, ROUNDS + 1):
        single = sell(bench, "hub", bays=BAYS, slow=SLOW_COMMIT_S, single=1)
        rounds.append((single, sell(bench, "hub", bays=BAYS, slow=SLOW_COMMIT_S)))
        bench.say(_told(number, "one commit per booking", "group commit", rounds[-1]))
    naive, ours = _medians(rounds)
    what = (
        f"the same with {SLOW_COMMIT_S * 1000:.0f} ms added to every commit: group commit / one commit per booking"
        f" (medians {ours:.0f} and {naive:.0f} /s)"
    )
    return [results.at_least("hub_sales_slow_disk", what, _ratio(rounds), SLOW_BAR, "×", _doubts(rounds))]


def sell(bench: Bench, kind: str, **options: object) -> Sold:
    """One round against a new server with new books."""
    folder = bench.fresh(kind)
    with children.server(kind, folder, **options) as url:
        if kind == "hub":
            path, script = "/api/v1/bookings", bookings_script((folder / "key").read_text())
        else:
            path, script = "/sale", BARE_LUA
        seen = load.run(url + path, connections=CONNECTIONS, seconds=SECONDS, folder=folder, script=script)
    return Sold(seen, booked(folder / (DATABASE if kind == "hub" else f"{kind}.db")))


def bookings_script(key: str) -> str:
    """wrk's script: every request another hour and bay of the hub's own territory, from four hours on."""
    first_at = int(time.time()) // 3600 * 3600 + 4 * 3600
    return load.BOOKINGS_LUA.format(offset=0, bays=BAYS, first_at=first_at, key=key)


def booked(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as c:
        return c.execute("SELECT COUNT(*) FROM bookings").fetchone()[0]


def ceiling_per_s(bench: Bench, script: str = "", headers: dict[str, str] | None = None) -> float:
    """What the load reaches against a server that does nothing, with the same script; the best of several rounds is its ceiling."""
    folder = bench.fresh("ping")
    with children.server("ping", folder) as url:
        seen = load.run(url, connections=CONNECTIONS, seconds=CEILING_SECONDS, folder=folder, script=script, headers=headers)
    return seen.per_s


def _ratio(rounds: list[tuple[Sold, Sold]]) -> float:
    return results.ratio([(naive.load.per_s, ours.load.per_s) for naive, ours in rounds])


def _medians(rounds: list[tuple[Sold, Sold]]) -> tuple[float, float]:
    """The median of each side."""
    return tuple(results.percentile([pair[side].load.per_s for pair in rounds], 50) for side in (0, 1))


def _doubts(rounds: list[tuple[Sold, Sold]]) -> list[str]:
    return [doubt for pair in rounds for sold in pair for doubt in sold.doubts]


def _told(number: int, naive: str, ours: str, pair: tuple[Sold, Sold]) -> str:
    return f"round {number}: {naive} {pair[0].load.per_s:.0f} /s, {ours} {pair[1].load.per_s:.0f} /s"
