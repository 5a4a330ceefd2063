"""Token buckets: how often one key may do one class of thing.

What it is for: the web edge's limit per address and path class, and services' limits per account (take the same limiter).
What it is not: a lock-out after wrong passwords (`passwords.LockOut`).
Invariant: memory is bounded (the least recently seen bucket goes first); time comes from the clock handed in, never backwards.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

KEYS_MAX = 20_000


@dataclass(frozen=True)
class RateRule:
    """`capacity` requests at once, refilled evenly over `window_s`. Applies to the methods named (all if none) under the prefixes."""

    name: str
    capacity: int
    window_s: float
    prefixes: tuple[str, ...] = ("/",)
    methods: frozenset[str] = frozenset()
    per_s: float = field(init=False)
    limit_header: tuple[bytes, bytes] = field(init=False)

    def __post_init__(self) -> None:
        if self.capacity < 1 or self.window_s <= 0:
            raise ValueError(f"The rate rule {self.name!r} needs a capacity of at least 1 and a window above 0 s.")
        object.__setattr__(self, "per_s", self.capacity / self.window_s)
        object.__setattr__(self, "limit_header", (b"ratelimit-limit", b"%d" % self.capacity))

    def applies(self, method: str, path: str) -> bool:
        return path.startswith(self.prefixes) and (not self.methods or method in self.methods)


class RateLimiter:
    """Buckets of many rules in one bounded table. `clock` gives seconds that do not jump (monotonic)."""

    def __init__(self, clock: Callable[[], float], *, keys_max: int = KEYS_MAX) -> None:
        self._clock = clock
        self._keys_max = keys_max
        self._buckets: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, rule: RateRule, key: str) -> tuple[int, int, int]:
        """Take one token: `(remaining, reset_s, retry_after_s)`. Allowed if `retry_after_s` is 0; a refusal takes nothing.

        `remaining` whole tokens are left; in `reset_s` seconds the bucket is full again.
        """
        now = self._clock()
        name = (rule.name, key)
        bucket = self._buckets.get(name)
        capacity = rule.capacity
        if bucket is None:
            if len(self._buckets) >= self._keys_max:
                self._buckets.popitem(last=False)
            self._buckets[name] = bucket = [float(capacity), now]
        else:
            self._buckets.move_to_end(name)
            passed = now - bucket[1]
            if passed > 0:
                bucket[0] = min(capacity, bucket[0] + passed * rule.per_s)
                bucket[1] = now
        tokens = bucket[0]
        if tokens < 1.0:
            return 0, math.ceil((capacity - tokens) / rule.per_s), max(1, math.ceil((1.0 - tokens) / rule.per_s))
        bucket[0] = tokens = tokens - 1.0
        return int(tokens), int((capacity - tokens) / rule.per_s) + 1, 0


def rule_for(rules: tuple[RateRule, ...], method: str, path: str) -> RateRule | None:
    """The first rule that applies; None if none does. Order the narrow before the wide."""
    for rule in rules:
        if rule.applies(method, path):
            return rule
    return None
