"""Clock, ids and randomness as things that are handed in, so that a whole world can run under one seed and simulated time."""

from __future__ import annotations

import os
import random
import secrets
import time
from typing import Protocol

#: the bits of a UUID that chance decides, and those that say that it is a random one (RFC 9562, version 4): written out here, because
#: every hello and every booking needs one, and `uuid` spends most of its time on what is not needed here
_RANDOM = ~(0xF000 << 64 | 0xC000 << 48) & (1 << 128) - 1
_VERSION_4 = 0x4000 << 64 | 0x8000 << 48


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
        n = self.random.getrandbits(128) if self._seeded else int.from_bytes(os.urandom(16))
        text = f"{n & _RANDOM | _VERSION_4:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def token(self, octets: int = 32) -> str:
        """Unguessable text, URL-safe."""
        if self._seeded:
            return self.random.getrandbits(octets * 8).to_bytes(octets, "big").hex()
        return secrets.token_urlsafe(octets)
