"""A circuit breaker of one vendor, as a value: when may it be asked again? Time is handed in; nothing here waits.

After `FAILURES` in a row it is open: nobody asks until `open_until`. Then one may try (half open); its success closes the breaker, its failure
opens it for twice as long, up to `LONGEST_S`. A vendor that names a time (429) is left alone until then without being thought ill.
Invariant: a vendor that answers is asked again at the latest `LONGEST_S` after it began to.
"""

from __future__ import annotations

import msgspec

FAILURES = 5
SHORTEST_S, LONGEST_S = 5.0, 300.0


class Breaker(msgspec.Struct, frozen=True):
    """`failures` in a row; `open_until` (unix seconds) while it is open; `why` in a sentence, empty while all is well. `away_since`: when
    it was first left alone since it last did what it was asked (0: it was not); worth reading only while `is_away`."""

    failures: int = 0
    open_until: float = 0.0
    why: str = ""
    away_since: float = 0.0

    def room(self, now: float, most: int) -> int:
        """How many may ask at once: all, one to try, or nobody."""
        if now < self.open_until:
            return 0
        return 1 if self.ill else most

    def succeeded(self) -> Breaker:
        return Breaker()

    def failed(self, now: float, why: str, *, at_once: bool = False) -> Breaker:
        """One more failure. `at_once`: it is sure that the next one fares alike."""
        if now < self.open_until and self.ill and not at_once:
            return self  # begun before it opened: many at once that fail together are one sign, not many
        failures = max(self.failures + 1, FAILURES if at_once else 0)
        if failures < FAILURES:
            return Breaker(failures, self.open_until, self.why, self.away_since)
        wait_s = LONGEST_S if at_once else min(LONGEST_S, SHORTEST_S * 2 ** min(failures - FAILURES, 10))
        return Breaker(failures, now + wait_s, why, self._away_since(now))

    def asked_to_wait(self, now: float, seconds: float, why: str) -> Breaker:
        """The vendor has named a time; that is an answer."""
        return Breaker(0, max(self.open_until, now + min(seconds, LONGEST_S)), why, self._away_since(now))

    @property
    def ill(self) -> bool:
        """Whether it failed so often in a row that it is left alone; one that only asked for patience is not."""
        return self.failures >= FAILURES

    def is_away(self, now: float) -> bool:
        """Nobody asks it, or only one to try."""
        return now < self.open_until or self.ill

    def _away_since(self, now: float) -> float:
        # what it asked for long ago, with nobody asking since, is another story
        goes_on = self.away_since and (self.ill or now - self.open_until < LONGEST_S)
        return self.away_since if goes_on else now


def backoff_s(tries: int, chance: float) -> float:
    """How long to wait before try number `tries` + 1: 5 s, doubled each time, up to a quarter of an hour; `chance` (0 to 1) spreads it by a half,
    so that what failed together does not come back together."""
    return min(900.0, 5.0 * 2 ** min(max(tries, 1) - 1, 10)) * (0.75 + chance / 2)
