"""What was tried at the hub's own doors and refused: sign-ins with wrong keys, calls that posed as a vendor's. Counted for the staff.

Kept in memory since the start, so whoever tells of an earlier time says that it is not known. Not here: refusing (`web`), locking out.
Invariant: what was tried is not kept, only when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

Tried = Literal["sign_in", "forged_call"]
#: moments kept of each kind; of more the oldest go
KEPT_MAX = 10_000


class Attempts:
    """`since_at` (unix seconds): nothing before is known."""

    def __init__(self, now: Callable[[], int]):
        self._now = now
        self.since_at = now()
        self._at: dict[Tried, deque[int]] = {"sign_in": deque(maxlen=KEPT_MAX), "forged_call": deque(maxlen=KEPT_MAX)}

    def refused_sign_in(self) -> None:
        self._at["sign_in"].append(self._now())

    def refused_call(self) -> None:
        self._at["forged_call"].append(self._now())

    def counted(self, tried: Tried, from_at: int, until_at: int) -> int:
        """How many there were in `[from_at, until_at)`, as far as they are known: at least so many."""
        return sum(from_at <= at < until_at for at in self._at[tried])
