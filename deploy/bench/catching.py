"""How fast a side takes in what waited for it after a cut, and what its own customers feel of that. Both directions, with real processes.

Invariant: all that waited is in the receiver's file when the time stops, every sale was confirmed, and the sales beside it are held
against sales of the same process a little later, with the link up and at rest.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import msgspec

from cloud_hub import app as hub_app
from deploy.bench import children, facility, floors, history, results
from deploy.bench.bench import Bench
from deploy.bench.caller import Caller
from deploy.bench.facility import BAYS, SITE, Facility, until
from deploy.bench.history import HOUR, History
from deploy.bench.results import BenchError, Entry, Factor
from deploy.demo.clients import iso, new_id
from shared.model import Side
from shared.runtime.database import Tx
from site_agent import app as site_app

MESSAGES = 10_000
RATE_BAR_PER_S, SALES_BAR = 2_000.0, 2.0
RUNS, PERCENT = 5, 95
IDLE_S, PAUSE_S, LOOK_EVERY_S = 5.0, 0.03, 0.02
CAUGHT_WITHIN_S = 60.0
FLUSH_MS = 0.26
#: the receiver sells from so many slots on: at the site below the line, at the hub beyond it
AHEAD: dict[Side, int] = {"site": 8, "hub": 3 * 96}


class Run(msgspec.Struct, frozen=True):
    """One run: messages a second, and the 95th percentiles of sales in ms beside the catching up and at rest."""

    per_s: float
    beside_ms: float
    idle_ms: float


async def catch_up(bench: Bench) -> list[Entry]:
    """`catch_up` and `catch_up_sales`: the slower direction of each."""
    runs: dict[Side, list[Run]] = {}
    for receiver in ("site", "hub"):
        runs[receiver] = await _direction(bench, receiver)
    factor = Factor("flush", floors.flush_ms(bench.folder), FLUSH_MS)
    rates = {side: results.percentile([run.per_s for run in those], 50) for side, those in runs.items()}
    times = {side: results.ratio([(run.idle_ms, run.beside_ms) for run in those]) for side, those in runs.items()}
    rate = (
        f"{MESSAGES} messages waiting after a cut, applied durably, medians of {RUNS}: {rates['site']:.0f} /s at a site, {rates['hub']:.0f} /s"
        f" at the hub; the slower counts ({RATE_BAR_PER_S:g} /s : {factor})"
    )
    slower: Side = max(times, key=times.__getitem__)
    ms = [results.percentile([getattr(run, name) for run in runs[slower]], 50) for name in ("beside_ms", "idle_ms")]
    sold = (
        f"p{PERCENT} of sales over HTTP at the side that catches up / at rest: {times['site']:.2f} at a site, {times['hub']:.2f} at the hub; the"
        f" worse counts (medians {ms[0]:.1f} and {ms[1]:.1f} ms)"
    )
    return [
        results.at_least("catch_up", rate, min(rates.values()), RATE_BAR_PER_S / factor.times, "/s"),
        results.at_most("catch_up_sales", sold, times[slower], SALES_BAR, "×"),
    ]


async def _direction(bench: Bench, receiver: Side) -> list[Run]:
    async with facility.prepared(bench, doors=False) as place:
        await _meet(place)
        await asyncio.to_thread(_fill, place, receiver)
        for side in ("hub", "site"):
            shutil.copytree(place.folder / side / "data", place.folder / side / "kept")
        runs = []
        for number in range(1, RUNS + 1):
            runs.append(await _run(place, receiver))
            one = runs[-1]
            bench.say(f"{receiver}, run {number}: {one.per_s:.0f} /s; p{PERCENT} of sales {one.beside_ms:.1f} ms, at rest {one.idle_ms:.1f} ms")
        return runs


async def _meet(place: Facility) -> None:
    """Hub and site once linked, so that both know all of each other; then both are ended and the cut begins."""
    code = place.leave_pairing()
    with place.run_hub():
        await until("The hub of the bench did not serve", place.hub.ready)
        with place.run_site():
            await place.settled(code)
            await place.quiet()
    place.broker.stop()


def _fill(place: Facility, receiver: Side) -> None:
    """What the other side sold and changed during the cut: `MESSAGES` rows that wait."""
    sender: Side = "hub" if receiver == "site" else "site"
    past = History(sender, SITE, BAYS)

    def at_hub(tx: Tx, number: int) -> None:
        if number == 0:
            past.stock(tx, MESSAGES)
        booking = past.sell(tx, number, past.far)
        if number % 4 == 0:
            past.cancelled(tx, booking)

    def at_site(tx: Tx, number: int) -> None:
        past.checked_in(tx, past.sell(tx, number, past.begin))

    if sender == "hub":
        history.write(_books(place, "hub"), MESSAGES * 4 // 5, at_hub)
    else:
        history.write(_books(place, "site"), MESSAGES // 2, at_site)
    ((waiting,),) = history.look(_books(place, sender), "SELECT COUNT(*) FROM outbox")
    if waiting < MESSAGES:
        raise BenchError(f"Only {waiting} messages wait where {MESSAGES} should.")


async def _run(place: Facility, receiver: Side) -> Run:
    for side in ("hub", "site"):
        shutil.rmtree(place.folder / side / "data")
        shutil.copytree(place.folder / side / "kept", place.folder / side / "data")
    # the sender has a core of its own, as it has a machine of its own in life
    hub_core, site_core = (children.LOAD_CORE, None) if receiver == "site" else (None, children.LOAD_CORE)
    with place.run_hub(hub_core), place.run_site(site_core):
        await until("The hub of the bench did not serve", place.hub.ready)
        await until("The site of the bench did not serve", place.staff.ready)
        till = Till(place, receiver)
        selling = asyncio.create_task(asyncio.to_thread(till.sell))
        try:
            place.broker.start()
            began, ended = await _caught(place, receiver, selling)
            await place.quiet()
            rested = time.perf_counter()
            await asyncio.wait({selling}, timeout=IDLE_S)
        finally:
            till.open = False
            await selling
            place.broker.stop()
    ((live,),) = history.look(_books(place, receiver), "SELECT COUNT(*) FROM bookings WHERE customer_id <> '' AND order_id <> ''")
    if live < len(till.took):
        raise BenchError("The books do not hold what was sold.")
    beside = [ms for at, ms in till.took if began <= at <= ended]
    idle = [ms for at, ms in till.took if at >= rested]
    return Run(MESSAGES / (ended - began), results.percentile(beside, PERCENT), results.percentile(idle, PERCENT))


async def _caught(place: Facility, receiver: Side, selling: asyncio.Task) -> tuple[float, float]:
    """The moments between which the receiver took in what waited: the last without its first row, the first with its last."""
    sender: Side = "hub" if receiver == "site" else "site"
    ((sent_no, acked_no),) = history.look(_books(place, sender), "SELECT sent_no, acked_no FROM streams WHERE site_id = ?", SITE)
    books, began, deadline = _books(place, receiver), time.perf_counter(), time.monotonic() + CAUGHT_WITHIN_S
    while time.monotonic() < deadline:
        if selling.done():
            await selling
            raise BenchError("The sales ended before the other side had caught up.")
        now = time.perf_counter()
        ((applied_no,),) = history.look(books, "SELECT applied_no FROM streams WHERE site_id = ?", SITE)
        if applied_no <= acked_no:
            began = now
        if applied_no >= sent_no:
            return began, time.perf_counter()
        await asyncio.sleep(LOOK_EVERY_S)
    raise BenchError(f"What waited after the cut was not applied within {CAUGHT_WITHIN_S:.0f} s.")


class Till:
    """Sales over HTTP at one side, one after the other with a short pause; `took` is (began, ms) of each. Used from one thread."""

    def __init__(self, place: Facility, side: Side) -> None:
        self.open, self.took = True, []
        self._place, self._side = place, side
        self._first = (int(time.time()) // 1800) * 2 + AHEAD[side]

    def sell(self) -> None:
        """Until it is closed. Raises BenchError at the first no."""
        at_hub = self._side == "hub"
        caller = Caller(self._place.hub_url, self._place.api_key) if at_hub else Caller(self._place.site_url, self._place.kiosk.token)
        path = "/api/v1/bookings" if at_hub else "/api/bookings"
        try:
            while self.open:
                body = self._body(len(self.took))
                began = time.perf_counter()
                status, _, answer = caller.ask("POST", path, body)
                self.took.append((began, (time.perf_counter() - began) * 1000))
                if status != 201:
                    told = msgspec.json.decode(answer)
                    raise BenchError(f"A sale during catching up was refused; the answer was {status}: {told.get('detail', told)}")
                time.sleep(PAUSE_S)
        finally:
            caller.close()

    def _body(self, number: int) -> dict[str, object]:
        start = self._first + number // BAYS * HOUR
        guest = {"name": "Testa Birdie", "phone": f"902555{number % 10_000:04d}", "email": f"till-{number}@example.test"}
        place = {"booking_id": new_id(), "resource_id": f"{SITE}.box-{number % BAYS + 1}", "start": iso(start), "end": iso(start + HOUR)}
        return {**place, "customer": guest} if self._side == "hub" else {**place, **guest}


def _books(place: Facility, side: Side) -> Path:
    return place.folder / side / "data" / (hub_app.DATABASE if side == "hub" else site_app.DATABASE)
