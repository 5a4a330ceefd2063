"""Scripted faults of the emulated NinjaOne: what the next requests suffer.

Not for: answering. Invariant: without a script nothing here changes anything; a fault with a count goes away by itself.
"""

from typing import Literal

import msgspec

from deploy.emulators.ninjaone.variants import ErrorStyle

SECONDS_MAX = 600.0
COUNT_MAX = 100_000
QUEUE_MAX = 1_000

_STATUS = {"status": 500, "inside": 200, "html": 502, "empty": 200}


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """What the next `count` matching requests suffer.

    status: answered `status` (500), worded in `style` (the emulator's own if empty), with Retry-After if `retry_after_s` is given.
    inside: the same with HTTP 200 around it. html: a gateway's page with `status` (502; 200 too). empty: `status` (200) with nothing in it.
    slow: waits `seconds`, then is done and answered. lost: done at once, after `seconds` closed without an answer.
    `acts` says whether the request is done all the same; if not given only `slow` and `lost` do it.
    `path` is without the prefix /api: "/v2/device", "/ws/oauth/token".
    """

    kind: Literal["status", "inside", "html", "empty", "slow", "lost"]
    count: int = 1
    status: int = 0
    seconds: float = 0.0
    retry_after_s: int | None = None
    acts: bool | None = None
    style: ErrorStyle | Literal[""] = ""
    method: str = ""
    path: str = ""

    @property
    def code(self) -> int:
        return self.status or _STATUS.get(self.kind, 0)

    @property
    def done(self) -> bool:
        """Whether what was asked is done in spite of the fault."""
        return self.kind in ("slow", "lost") if self.acts is None else self.acts

    def matches(self, method: str, path: str) -> bool:
        return (not self.method or self.method == method) and path.startswith(self.path)

    def problem(self) -> str:
        """Why this fault cannot be scripted, or nothing."""
        if not 1 <= self.count <= COUNT_MAX:
            return f"count must be 1 to {COUNT_MAX}."
        if not 0 <= self.seconds <= SECONDS_MAX:
            return f"seconds must be 0 to {SECONDS_MAX:.0f}."
        if self.retry_after_s is not None and not 0 <= self.retry_after_s <= SECONDS_MAX:
            return f"retry_after_s must be 0 to {SECONDS_MAX:.0f}."
        if self.kind == "slow" and self.acts is False:
            return "slow means done later; without acting it would be lost."
        low, high = (200, 299) if self.kind == "inside" else (200, 599) if self.kind in ("html", "empty") else (400, 599)
        if self.code and not low <= self.code <= high:
            return f"status must be {low} to {high}."
        return ""


class Faults:
    """The queue of faults; the first that matches a request is spent on it."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def add(self, fault: Fault) -> None:
        problem = fault.problem()
        if problem:
            raise ValueError(problem)
        if len(self._queue) >= QUEUE_MAX:
            raise ValueError(f"{QUEUE_MAX} faults wait already.")
        self._queue.append(msgspec.structs.replace(fault))

    def next(self, kind: str, count: int = 1, **more: object) -> None:
        """Scripts one fault; `more` are fields of Fault. ValueError if it makes no sense."""
        self.add(msgspec.convert({"kind": kind, "count": count} | more, Fault))

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this request suffers."""
        for index, fault in enumerate(self._queue):
            if fault.matches(method, path):
                fault.count -= 1
                if fault.count <= 0:
                    del self._queue[index]
                return fault
        return None

    def clear(self) -> None:
        self._queue.clear()

    def waiting(self) -> list[Fault]:
        return list(self._queue)
