"""Scripted faults: what the next requests suffer, in the order in which they were scripted.

Not for: answering. Invariant: without a script nothing here changes anything; a fault with a count goes away by itself.
"""

from typing import Any, ClassVar, Generic, TypeVar

import msgspec

SECONDS_MAX = 600.0
COUNT_MAX = 100_000
#: scripts that may wait
QUEUE_MAX = 1_000


class Scripted(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the next `count` requests suffer whose method and start of the path are these; empty ones match every request."""

    count: int = 1
    seconds: float = 0.0
    method: str = ""
    path: str = ""

    def matches(self, method: str, path: str) -> bool:
        return (not self.method or self.method == method) and path.startswith(self.path)

    def problem(self) -> str:
        """Why this fault cannot be scripted, or nothing."""
        if not 1 <= self.count <= COUNT_MAX:
            return f"count must be 1 to {COUNT_MAX}."
        if not 0 <= self.seconds <= SECONDS_MAX:
            return f"seconds must be 0 to {SECONDS_MAX:.0f}."
        return ""


class CloudFault(Scripted, kw_only=True):
    """A fault of a service behind gateways; its `kind` is one of the words below.

    status: answered `status` (500) in the service's words, with Retry-After if `retry_after_s` is given.
    inside: the same with HTTP 200 around it. html: a gateway's page with `status` (502; 200 too). empty: `status` (200) with nothing in it.
    slow: waits `seconds`, then is done and answered. lost: done at once, after `seconds` closed without an answer.
    `acts` says whether the request is done all the same; if not given only `slow` and `lost` do it.
    """

    usual: ClassVar[dict[str, int]] = {"status": 500, "inside": 200, "html": 502, "empty": 200}

    status: int = 0
    retry_after_s: int | None = None
    acts: bool | None = None

    @property
    def code(self) -> int:
        return self.status or self.usual.get(self.kind, 0)

    @property
    def done(self) -> bool:
        """Whether what was asked is done in spite of the fault."""
        return self.kind in ("slow", "lost") if self.acts is None else self.acts

    def problem(self) -> str:
        if wrong := super().problem():
            return wrong
        if self.retry_after_s is not None and not 0 <= self.retry_after_s <= SECONDS_MAX:
            return f"retry_after_s must be 0 to {SECONDS_MAX:.0f}."
        if self.kind == "slow" and self.acts is False:
            return "slow means done later; without acting it would be lost."
        low, high = (200, 299) if self.kind == "inside" else (200, 599) if self.kind in ("html", "empty") else (400, 599)
        if self.code and not low <= self.code <= high:
            return f"status must be {low} to {high}."
        return ""


F = TypeVar("F", bound=Scripted)


class Queue(Generic[F]):
    """The faults that wait; the first that matches a request is spent on it. `of`: what they are made of."""

    def __init__(self, of: type[F]) -> None:
        self._of = of
        self._queue: list[F] = []

    def add(self, fault: F) -> None:
        """ValueError if it makes no sense, or too many wait."""
        if wrong := self.refusal(fault):
            raise ValueError(wrong)
        if len(self._queue) >= QUEUE_MAX:
            raise ValueError(f"{QUEUE_MAX} faults wait already.")
        self._queue.append(msgspec.structs.replace(fault))

    def refusal(self, fault: F) -> str:
        """Why this one is not taken, or nothing."""
        return fault.problem()

    def next(self, kind: str, count: int = 1, **more: Any) -> None:
        """Scripts one fault; `more` are its fields. ValueError if it makes no sense."""
        self.add(msgspec.convert({"kind": kind, "count": count} | more, self._of))

    def take(self, method: str, path: str, *, named: bool = False) -> F | None:
        """The fault that this request suffers; with `named` only one that names this method."""
        for index, fault in enumerate(self._queue):
            if fault.matches(method, path) and (fault.method or not named):
                fault.count -= 1
                if fault.count <= 0:
                    del self._queue[index]
                return fault
        return None

    def clear(self) -> None:
        self._queue.clear()

    def waiting(self) -> list[F]:
        return list(self._queue)
