"""Scripted faults: what the next requests suffer, and what is wrong with the whole box.

Not for: answering. Invariant: without a script nothing here changes anything; a fault with a count goes away by itself.
"""

from typing import Literal

import msgspec

from deploy.emulators.unifi.envelope import DEFAULT_MESSAGES

SECONDS_MAX = 600.0
COUNT_MAX = 100_000


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """What the next `count` matching requests suffer.

    status: answered `status` with an envelope, nothing done. html: a gateway's page with `status`, nothing done.
    slow: done only after `seconds`, then answered. lost: done at once, the answer held back for `seconds`, when nobody waits any more.
    reboot: done at once, then the box goes down for `seconds` without an answer. code: answered 200 with the error `code` inside, nothing done.
    """

    kind: Literal["status", "html", "slow", "lost", "reboot", "code"]
    count: int = 1
    status: int = 500
    seconds: float = 0.0
    method: str = ""
    path: str = ""
    code: str = "CODE_SYSTEM_ERROR"
    retry_after: str = ""
    """With `status`: the header of that name, which no document promises."""

    def matches(self, method: str, path: str) -> bool:
        return (not self.method or self.method == method) and path.startswith(self.path)

    def problem(self) -> str:
        """Why this fault cannot be scripted, or nothing."""
        if not 1 <= self.count <= COUNT_MAX:
            return f"count must be 1 to {COUNT_MAX}."
        if not 0 <= self.seconds <= SECONDS_MAX:
            return f"seconds must be 0 to {SECONDS_MAX:.0f}."
        if self.kind == "reboot" and not self.seconds:
            return "a reboot takes a while."
        if self.code not in DEFAULT_MESSAGES:
            return "code must be one of the documented codes."
        if not 400 <= self.status <= 599 and not (self.kind == "html" and self.status == 200):
            return "status must be 400 to 599 (200 only with html)."
        return ""


class Faults:
    """The queue of faults; the first that matches a request is spent on it."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []
        self.tokens_revoked = False
        self.starting_until = 0.0
        """Until then (unix seconds) every API request is answered 503: the box is up, its application is not."""

    def add(self, fault: Fault) -> None:
        problem = fault.problem()
        if problem:
            raise ValueError(problem)
        self._queue.append(msgspec.structs.replace(fault))

    def next(self, kind: str, count: int = 1, **more: object) -> None:
        """Scripts one fault; `more` are fields of Fault. ValueError if it makes no sense."""
        self.add(msgspec.convert({"kind": kind, "count": count} | more, Fault))

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this request suffers; `path` is without the API's prefix."""
        for index, fault in enumerate(self._queue):
            if fault.matches(method, path):
                fault.count -= 1
                if fault.count <= 0:
                    del self._queue[index]
                return fault
        return None

    def clear(self) -> None:
        self._queue.clear()
        self.tokens_revoked = False
        self.starting_until = 0.0

    def waiting(self) -> list[Fault]:
        return list(self._queue)
