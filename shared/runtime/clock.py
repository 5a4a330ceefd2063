"""Clock, ids and randomness as things that are handed in, so that a whole world can run under one seed and simulated time."""

from __future__ import annotations

import random
import secrets
import time
import uuid
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clock: `now` UTC unix seconds, `monotonic` seconds that never go back."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that a test or a scheduler moves."""

    def __init__(self, now: float = 1_800_000_000.0):
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def forward(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds


class Chance:
    """Ids and random choices. `Chance()` draws from the operating system; `Chance(seed)` repeats itself."""

    def __init__(self, seed: int | None = None):
        self.random: random.Random = secrets.SystemRandom() if seed is None else random.Random(seed)
        self._seeded = seed is not None

    def new_id(self) -> str:
        if self._seeded:
            return str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        return str(uuid.uuid4())

    def token(self, octets: int = 32) -> str:
        """Unguessable text, URL-safe."""
        if self._seeded:
            return self.random.getrandbits(octets * 8).to_bytes(octets, "big").hex()
        return secrets.token_urlsafe(octets)
