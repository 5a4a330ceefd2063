"""What a guest waits for: a near time booked on the web, which the site decides; and the door after a PIN.

Invariant: every booking was confirmed and every check-in opened the door; one that was not ends the measurement with what was answered.
"""

from __future__ import annotations

import asyncio
import time

import msgspec

from deploy.bench import facility, floors, results
from deploy.bench.bench import Bench
from deploy.bench.caller import Caller
from deploy.bench.facility import BAYS, DOOR, FLOOR, HUB, SITE, Facility
from deploy.bench.results import BenchError, Entry
from deploy.demo.clients import iso, new_id
from deploy.demo.data import Person

ROUNDS, TRIPS = 9, 25
TRIPS_ASKED, COMMITS = 2, 3
ROUNDTRIP_BAR = 2.5
RUNS, CHECK_INS = 5, 40
UNLOCK_BAR_MS, UNLOCK_PERCENT = 15.0, 95
#: the web sells until an hour before the start
WEB_NOTICE_SLOTS = 6
UNLOCK_WITHIN_S = 5.0


# ---- a near time on the web
async def roundtrip(bench: Bench) -> list[Entry]:
    """`site_roundtrip`. The site has no door controller, so that nothing but the booking is under way."""
    async with facility.opened(bench, doors=False) as place:
        floor_trip = floors.BrokerTrip(place.broker.port, FLOOR, place.passwords[FLOOR], (HUB, place.passwords[HUB]), place.folder)
        async with floor_trip as trip:
            rounds = []
            for number in range(1, ROUNDS + 1):
                await place.quiet()
                floor_ms = results.percentile(await _floor(place, trip), 50)
                await place.quiet()
                ours_ms = results.percentile(await asyncio.to_thread(_book, place, (number - 1) * TRIPS), 50)
                rounds.append((floor_ms, ours_ms))
                bench.say(f"round {number}: trips and commits {floor_ms:.2f} ms, booking {ours_ms:.2f} ms")
    floor_ms, ours_ms = (results.percentile([pair[side] for pair in rounds], 50) for side in (0, 1))
    what = (
        f"a near time booked on the web, 1 client, hub to site and back: p50 / p50 of {TRIPS_ASKED} request-and-reply trips through the same"
        f" broker at QoS 1 and {COMMITS} raw durable commits, one after the other (medians {ours_ms:.2f} and {floor_ms:.2f} ms)"
    )
    return [results.at_most("site_roundtrip", what, results.ratio(rounds), ROUNDTRIP_BAR, "×")]


async def _floor(place: Facility, trip: floors.BrokerTrip) -> list[float]:
    """The trips and commits of a booking with nothing in between, ms each."""
    took_ms = []
    with floors.Commits(place.folder) as commits:
        for _ in range(TRIPS):
            at = time.perf_counter()
            for _ in range(TRIPS_ASKED):
                await trip.there_and_back()
            for _ in range(COMMITS):
                commits.one()
            took_ms.append((time.perf_counter() - at) * 1000)
    return took_ms


def _book(place: Facility, first: int) -> list[float]:
    """Books `TRIPS` hours of the site's territory, one after the other; ms each."""
    caller, took_ms = Caller(place.hub_url, place.api_key), []
    row = _row() + WEB_NOTICE_SLOTS
    try:
        for number in range(first, first + TRIPS):
            bay, start = number % BAYS + 1, row + number // BAYS * 4
            body = {
                "booking_id": new_id(), "resource_id": f"{SITE}.box-{bay}", "start": iso(start), "end": iso(start + 4),
                "customer": {"name": "Testa Birdie", "email": f"near-{number}@example.test"},
            }  # fmt: skip
            at = time.perf_counter()
            status, _, answer = caller.ask("POST", "/api/v1/bookings", body)
            took_ms.append((time.perf_counter() - at) * 1000)
            _must_be_sold_by_the_site(status, answer)
    finally:
        caller.close()
    return took_ms


def _must_be_sold_by_the_site(status: int, answer: bytes) -> None:
    told = msgspec.json.decode(answer)
    if status != 201 or told.get("status") != "confirmed" or told.get("seller") != "site":
        raise BenchError(f"A near time was not sold by the site; the hub answered {status}: {told.get('detail', told)}")


# ---- the door
async def unlock(bench: Bench) -> list[Entry]:
    """`checkin_unlock`."""
    async with facility.opened(bench) as place:
        guests = await _guests(place)
        runs, factors = [], [await bench.echo()]
        for number in range(1, RUNS + 1):
            await place.quiet()
            runs.append(results.percentile(await _run(place, guests), UNLOCK_PERCENT))
            bench.say(f"run {number}: p95 {runs[-1]:.1f} ms")
        factors.append(await bench.echo())
    factor = max(factors, key=lambda one: one.times)
    bar_ms = UNLOCK_BAR_MS * factor.times
    what = (
        f"check-in by PIN at the kiosk API to the unlock call at the emulated controller, p95 of {CHECK_INS}, median of {RUNS} runs"
        f" (runs {', '.join(f'{run:.1f}' for run in runs)} ms; {UNLOCK_BAR_MS:g} ms × {factor})"
    )
    return [results.at_most("checkin_unlock", what, results.percentile(runs, 50), bar_ms, "ms")]


async def _guests(place: Facility) -> dict[str, str]:
    """Somebody in every box from now on: booking id to PIN."""
    found = {}
    row = _row()
    for number in range(1, BAYS + 1):
        guest = Person(f"Testa Eagle {number}", f"902-555-{100 + number:04d}", f"now-{number}@example.test")
        answer = await place.kiosk.book(new_id(), f"{SITE}.box-{number}", row, row + 4, guest)
        if not answer.ok:
            raise BenchError(f"The kiosk of the bench could not book; it was answered {answer}")
        found[answer.body["booking"]["id"]] = answer.body["booking"]["pin"]
    return found


async def _run(place: Facility, guests: dict[str, str]) -> list[float]:
    """`CHECK_INS` first arrivals, ms from key press to call each: when all are in, staff take their check-ins back."""
    took_ms: list[float] = []
    while len(took_ms) < CHECK_INS:
        took_ms += await asyncio.to_thread(_arrive, place, list(guests.values()))
        for booking_id in guests:
            answer = await place.staff.ask("POST", f"/api/bookings/{booking_id}/attendance", {"state": "none"})
            if not answer.ok:
                raise BenchError(f"A check-in could not be taken back; staff were answered {answer}")
    return took_ms


def _arrive(place: Facility, pins: list[str]) -> list[float]:
    caller, took_ms = Caller(place.site_url, place.kiosk.token), []
    try:
        for pin in pins:
            at = time.time()
            status, _, answer = caller.ask("POST", "/api/check-in", {"code": pin})
            told = msgspec.json.decode(answer)
            if status != 200 or told["door"] != "opened":
                raise BenchError(f"A guest did not come in; the kiosk was answered {status}: {told.get('detail', told)}")
            took_ms.append((_unlocked_at(place, since=at) - at) * 1000)
    finally:
        caller.close()
    return took_ms


def _unlocked_at(place: Facility, since: float) -> float:
    """When the controller's API was asked to open the door; the answer has come, so the call is on its list."""
    calls = [at for at, _, path in list(place.controller.box.requests) if at >= since and path.endswith(f"/doors/{DOOR.id}/unlock")]
    if len(calls) != 1:
        raise BenchError(f"One check-in made {len(calls)} unlock calls.")
    return calls[0]


def _row() -> int:
    """The slot of the half hour that runs."""
    row = int(time.time()) // 900
    return row - row % 2
