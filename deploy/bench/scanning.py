"""What a guest with a QR code waits for before the kiosk's camera: the reading of one picture by the agent.

Invariant: every picture was read to the text of its own pass, and those without a code to nothing; otherwise there is no figure.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from random import Random

from deploy.bench import frames, results
from deploy.bench.bench import Bench
from deploy.bench.frames import Scene
from deploy.bench.results import BenchError, Entry
from shared import passes
from shared.keys import SigningKey
from shared.model import Booking
from site_agent.devices import qr
from site_agent.services.visits.camera import SAME_CODE_S, Camera, frame

WIDTH, HEIGHT = 640, 480
DECODE_BAR_MS, DECODE_PERCENT = 10.0, 95
RUNS, LOOKS = 5, 20
EMPTY = 3

#: (pixels to a module, degrees, blur, noise, light lost from left to right, light on dark): far to near, tidy to poor
HELD = (
    (2.5, 4.0, 0, 6, 0.2, False), (3.0, -6.0, 1, 6, 0.3, False), (3.5, 11.0, 1, 12, 0.4, False), (3.5, -3.0, 0, 20, 0.5, False),
    (4.0, 8.0, 1, 12, 0.5, False), (4.0, 184.0, 1, 12, 0.3, False), (4.0, -14.0, 1, 10, 0.2, True), (4.5, 96.0, 1, 12, 0.4, False),
    (5.0, -9.0, 2, 12, 0.4, False), (5.0, 45.0, 1, 16, 0.3, False), (6.0, 5.0, 2, 16, 0.6, False), (7.0, -12.0, 2, 20, 0.5, False),
)  # fmt: skip


async def decode(bench: Bench) -> list[Entry]:
    """`qr_decode`."""
    chance = Random(5)
    held = [Scene(text, WIDTH, HEIGHT, *how[:2], (0.5, 0.5), *how[2:]) for text, how in zip(_passes(), HELD, strict=False)]
    shown = [(one.draw(chance), one.text) for one in held]
    bare = [(frames.empty(WIDTH, HEIGHT, chance), "") for _ in range(EMPTY)]
    factors, runs, none = [await bench.echo()], [], []
    for number in range(1, RUNS + 1):
        runs.append(results.percentile(await _looks(shown), DECODE_PERCENT))
        none.append(results.percentile(await _looks(bare), DECODE_PERCENT))
        bench.say(f"run {number}: p95 {runs[-1]:.2f} ms, of pictures without a code {none[-1]:.2f} ms")
    factors.append(await bench.echo())
    factor = max(factors, key=lambda one: one.times)
    what = (
        f"a pass in a {WIDTH}×{HEIGHT} frame read by the agent, {len(shown)} frames turned, blurred, noisy and unevenly lit, {HELD[0][0]:g} to"
        f" {HELD[-1][0]:g} pixels to a module, each read to its text: p95 of {len(shown) * LOOKS}, median of {RUNS} runs (runs"
        f" {', '.join(f'{run:.2f}' for run in runs)} ms; without a code in it {results.percentile(none, 50):.2f} ms; {DECODE_BAR_MS:g} ms × {factor})"
    )
    return [results.at_most("qr_decode", what, results.percentile(runs, 50), DECODE_BAR_MS * factor.times, "ms")]


async def _looks(pictures: list[tuple[bytes, str]]) -> list[float]:
    """Each picture looked at `LOOKS` times as the agent looks, ms each. The clock is past the time in which the same code is no news."""
    camera, took_ms = Camera(qr.decode, lambda ticks=itertools.count(1): next(ticks) * (SAME_CODE_S + 1)), []
    try:
        for grey, text in pictures * LOOKS:
            at = time.perf_counter()
            seen = await camera.look("kiosk-bench", frame(grey, WIDTH, HEIGHT))
            took_ms.append((time.perf_counter() - at) * 1000)
            if (seen.text if seen else "") != text:
                raise BenchError(f"A frame of the bench was read wrong: {'a code' if text else 'no code'} was in it, and {seen} was seen.")
    finally:
        camera.stop()
    return took_ms


def _passes() -> Iterator[str]:
    """Passes as the hub signs them, one after the other."""
    key = SigningKey.from_seed(b"b" * 32)
    for number in itertools.count(1):
        start = 2_000_000 + number * 4
        sold = Booking(
            id=f"0000b33c-0000-4000-8000-{number:012d}", order_id="order-bench", site_id="bedford", resource_id="bedford.box-1",
            start=start, end=start + 4, sale_no=number,
        )  # fmt: skip
        yield passes.write(passes.facts_of(sold, key.id, start * 900 - 86_400), key)
