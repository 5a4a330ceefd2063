"""What the door controller holds: how soon a cancelled PIN is dead there, and how long it takes to read everything back and put it right.

Invariant: a cancel was measured with hundreds of others waiting, and its visitor was found without its PIN; what was read back was all there, and
what differed was the same as before it was harmed. The rate at which the controller was asked is read from its own list of requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from deploy.bench import facility, results
from deploy.bench.bench import Bench
from deploy.bench.facility import BAY_TOML, BAYS, DOOR, DOORS_TOML, SITE, Facility
from deploy.bench.history import History
from deploy.bench.results import BenchError, Entry
from deploy.demo.clients import new_id
from deploy.demo.data import Person
from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi_access import UnifiAccessEmulator
from site_agent import app
from site_agent.app import SiteAgent
from site_agent.config import load
from site_agent.services.doors.credentials import Credentials

RUNS, CANCELS, PERCENT = 5, 20, 95
REVOKE_BAR_MS = 500.0
WAITING = 200
#: first half hours of what is cancelled, and of what only waits for its turn
NEAR, FAR = 2, 22
WITHIN_S = 10.0
VISITORS, HARMED = 500, 20
READ_BAR_S, REPAIR_BAR_S, RATE_MAX = 60.0, 20.0, 10
REPAIR_WITHIN_S = 60.0

SITE_TOML = """
data_dir = "data"
log_level = "WARNING"

[clock]
rtc = "yes"

[site]
id = "{site}"
name = "Bench"
door_ids = ["{door}"]
"""


# ---- cancelled
async def revoked(bench: Bench) -> list[Entry]:
    """`cancel_revoke`."""
    async with facility.opened(bench) as place:
        near, far = _slots(NEAR), _slots(FAR)
        runs, factors = [], [await bench.echo()]
        for number in range(1, RUNS + 1):
            gone = [await _booked(place, *next(near)) for _ in range(CANCELS)]
            await facility.until("The controller of the bench did not take the PINs", lambda gone=gone: _held(place, gone), WITHIN_S)
            owed = await _owed(place)
            while owed < WAITING:
                for _ in range(WAITING - owed + 40):
                    await _booked(place, *next(far))
                owed = await _owed(place)
            took_ms = await _cancel(place, gone)
            runs.append(results.percentile(took_ms, PERCENT))
            bench.say(f"run {number}: p95 {runs[-1]:.1f} ms with {owed} waiting")
        factors.append(await bench.echo())
    factor = max(factors, key=lambda one: one.times)
    what = (
        f"staff cancel to the PIN taken off at the emulated controller, at least {WAITING} other PINs waiting for their turn, p95 of {CANCELS},"
        f" median of {RUNS} runs (runs {', '.join(f'{run:.1f}' for run in runs)} ms; {REVOKE_BAR_MS:g} ms × {factor})"
    )
    return [results.at_most("cancel_revoke", what, results.percentile(runs, 50), REVOKE_BAR_MS * factor.times, "ms")]


def _slots(first: int):
    """Bay and first slot of one hour after the other, over all bays, from this half hour on."""
    row = int(time.time()) // 1800 * 2
    for number in range(BAYS * 20):
        yield number % BAYS + 1, row + first * 2 + number // BAYS * 4


async def _booked(place: Facility, bay: int, start: int) -> str:
    booking_id = new_id()
    guest = Person(f"Testa Eagle {booking_id[:8]}", "", f"{booking_id}@example.test")
    answer = await place.kiosk.book(booking_id, f"{SITE}.box-{bay}", start, start + 4, guest)
    if not answer.ok:
        raise BenchError(f"The kiosk of the bench could not book; it was answered {answer}")
    return booking_id


async def _owed(place: Facility) -> int:
    answer = await place.staff.ask("GET", "/api/doors/credentials")
    if not answer.ok:
        raise BenchError(f"Staff could not read what the controller owes; they were answered {answer}")
    return answer.body["owed"]


def _visitors(place: Facility) -> dict[str, object]:
    return {one.last_name: one for one in list(place.controller.box.visitors.visitors.values())}


async def _held(place: Facility, booking_ids: list[str]) -> bool:
    found = _visitors(place)
    return all(one in found and found[one].pin_hash for one in booking_ids)


async def _cancel(place: Facility, booking_ids: list[str]) -> list[float]:
    """Each cancelled by staff; ms from the press to the PIN being off."""
    took_ms, found = [], _visitors(place)
    for booking_id in booking_ids:
        at = time.time()
        answer = await place.staff.ask("POST", f"/api/bookings/{booking_id}/cancel", {})
        if not answer.ok:
            raise BenchError(f"The bench could not cancel; staff were answered {answer}")
        took_ms.append((await _off_at(place, found[booking_id].id, at) - at) * 1000)
    return took_ms


async def _off_at(place: Facility, visitor_id: str, since: float) -> float:
    """When the controller was told to take the PIN off, which it has done."""
    path, deadline = f"/visitors/{visitor_id}/pin_codes", time.time() + WITHIN_S
    while time.time() < deadline:
        visitor = place.controller.box.visitors.visitors.get(visitor_id)
        if visitor is None or not visitor.pin_hash:
            calls = [
                at
                for at, method, asked in list(place.controller.box.requests)
                if at >= since and method == "DELETE" and asked.endswith(path)
            ]
            if calls:
                return calls[0]
        await asyncio.sleep(0.001)
    raise BenchError(f"A cancelled PIN was still on the controller after {WITHIN_S:.0f} s.")


# ---- read back
async def reconciled(bench: Bench) -> list[Entry]:
    """`door_reconcile` and `door_repair`: an agent in this process, whose books are full before it begins."""
    async with _full(bench) as (agent, emulator):
        check, credentials = agent.kit.door_check, agent.kit.credentials
        began, since = time.perf_counter(), time.time()
        told = await check.look("bench")
        read_s, asked = time.perf_counter() - began, _asked(emulator, since)
        doubts = (
            [] if (told.compared, told.differing, told.trouble) == (VISITORS, 0, "") else [f"{told.differing} of {told.compared} differed"]
        )
        bench.say(f"{told.compared} read back in {read_s:.2f} s with {len(asked)} requests, {_rate(asked)} in a second at most")
        _harm(emulator)
        began, since = time.perf_counter(), time.time()
        found = await check.look("bench")
        await credentials.start()
        await facility.until("What differed was not put right", lambda: _right(credentials), REPAIR_WITHIN_S)
        repair_s, mended = time.perf_counter() - began, _asked(emulator, since)
        await credentials.stop()
        after = await check.look("bench")
        bench.say(f"{found.differing} put right in {repair_s:.1f} s with {len(mended)} requests, {_rate(mended)} in a second at most")
    what = (
        f"{VISITORS} visitors of the emulated controller read back and compared with the books, unchanged ({len(asked)} requests,"
        f" {_rate(asked)} in a second at most)"
    )
    repair = (
        f"{HARMED} of them harmed at the console (gone, cancelled, other times, no PIN, no door): found, put right and compared again"
        f" ({len(mended)} requests, {_rate(mended)} in a second at most)"
    )
    wrong = [] if (found.differing, after.differing) == (HARMED, 0) else [f"{found.differing} found, {after.differing} left"]
    return [
        results.at_most("door_reconcile", what, read_s, READ_BAR_S, "s", [*doubts, *_too_fast(asked)]),
        results.at_most("door_repair", repair, repair_s, REPAIR_BAR_S, "s", [*wrong, *_too_fast(mended)]),
    ]


@contextlib.asynccontextmanager
async def _full(bench: Bench) -> AsyncIterator[tuple[SiteAgent, UnifiAccessEmulator]]:
    """An agent whose books have so many bookings ahead and whose controller holds them all; its worker rests."""
    folder = bench.fresh("held")
    emulator = UnifiAccessEmulator(doors=[DOOR], tokens={"bench": AGENT_SCOPES}, folder=folder)
    await emulator.start()
    agent: SiteAgent | None = None
    try:
        agent = app.build(load(_settings(folder, emulator)))
        history = History("site", SITE, BAYS)
        first = (history.desk.now_slot() // 4 + 12) * 4
        await agent.start()
        await agent.kit.credentials.stop()
        agent.ticker.stop()
        for begin in range(0, VISITORS, 100):
            await agent.kit.db.write(lambda tx, begin=begin: [history.hear(tx, number, first) for number in range(begin, begin + 100)])
        await agent.kit.credentials.settle()
        yield agent, emulator
    finally:
        if agent is not None:
            await agent.stop()
        await emulator.stop()


def _settings(folder: Path, emulator: UnifiAccessEmulator) -> Path:
    text = SITE_TOML.format(site=SITE, door=DOOR.id) + DOORS_TOML.format(unifi_port=emulator.port, fingerprint=emulator.fingerprint)
    facility.write(folder / "site.toml", text + "".join(BAY_TOML.format(site=SITE, number=number) for number in range(1, BAYS + 1)))
    facility.write(folder / "doors.token", "bench")
    return folder / "site.toml"


def _harm(emulator: UnifiAccessEmulator) -> None:
    """Five kinds of harm, as somebody at the console might do it."""
    book = emulator.box.visitors
    for number, one in enumerate(list(book.visitors.values())[:HARMED]):
        if number % 5 == 0:
            book.cancel(one.id, force=True)
        elif number % 5 == 1:
            book.unassign_pin(one.id)
            book.cancel(one.id, force=False)
        else:
            changed = ({"end_time": one.end_time + 3600}, {"pin_hash": None}, {"resources": []})[number % 5 - 2]
            book.visitors[one.id] = msgspec.structs.replace(one, **changed)


async def _right(credentials: Credentials) -> bool:
    owed, held = credentials.counts()
    return (owed, held) == (0, VISITORS)


def _asked(emulator: UnifiAccessEmulator, since: float) -> list[float]:
    """When the controller was asked about visitors."""
    return [at for at, _, path in list(emulator.box.requests) if at >= since and "/visitors" in path]


def _rate(asked: list[float]) -> int:
    """The most requests in any second."""
    return max((sum(1 for other in asked if at <= other < at + 1) for at in asked), default=0)


def _too_fast(asked: list[float]) -> list[str]:
    return [f"the controller was asked {_rate(asked)} times in a second"] if _rate(asked) > RATE_MAX else []
