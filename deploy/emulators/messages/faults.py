"""Scripted faults of the message vendors: what the next requests of one vendor suffer, and whose keys are refused.

Not for: answering. Invariant: without a script nothing here changes anything; a fault with a count goes away by itself.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

Vendor = Literal["twilio", "sendgrid", "smtp", "slack", "web_push"]
VENDORS: tuple[Vendor, ...] = ("twilio", "sendgrid", "smtp", "slack", "web_push")
SECONDS_MAX = 600.0
COUNT_MAX = 100_000
QUEUE_MAX = 1_000
"""Scripts that may wait for one vendor."""

_STATUS = {"status": 500, "html": 502, "empty": 200}


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """What the next `count` matching requests suffer.

    status: answered `status` (500) in the vendor's words, with Retry-After if `retry_after_s` is given.
    html: a gateway's page with `status` (502; 200 too). empty: `status` (200) with nothing in it.
    slow: waits `seconds`, then is done and answered. lost: done at once, after `seconds` closed without an answer.
    `acts` says whether the request is done all the same; if not given only `slow` and `lost` do it.
    `method` and `path` choose requests; SMTP has the command (AUTH, MAIL, RCPT, DATA; DATA if not given) for a method.
    """

    kind: Literal["status", "html", "empty", "slow", "lost"]
    count: int = 1
    status: int = 0
    seconds: float = 0.0
    retry_after_s: int | None = None
    acts: bool | None = None
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

    def problem(self, vendor: str) -> str:
        """Why this fault cannot be scripted for `vendor`, or nothing."""
        if not 1 <= self.count <= COUNT_MAX:
            return f"count must be 1 to {COUNT_MAX}."
        if not 0 <= self.seconds <= SECONDS_MAX:
            return f"seconds must be 0 to {SECONDS_MAX:.0f}."
        if self.retry_after_s is not None and not 0 <= self.retry_after_s <= SECONDS_MAX:
            return f"retry_after_s must be 0 to {SECONDS_MAX:.0f}."
        if vendor == "smtp" and self.kind in ("html", "empty"):
            return f"A mail server has no {self.kind} answer."
        if self.kind == "slow" and self.acts is False:
            return "slow means done later; without acting it would be lost."
        low = 200 if self.kind in ("html", "empty") else 400
        if self.code and not low <= self.code <= 599:
            return f"status must be {low} to 599."
        return ""


class VendorFaults:
    """The queue of one vendor's faults; the first that matches a request is spent on it."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.revoked = False
        """Whether every key, token or password of this vendor is refused."""
        self._queue: list[Fault] = []

    def add(self, fault: Fault) -> None:
        problem = fault.problem(self.vendor)
        if problem:
            raise ValueError(problem)
        if len(self._queue) >= QUEUE_MAX:
            raise ValueError(f"{QUEUE_MAX} faults of {self.vendor} wait already.")
        self._queue.append(msgspec.structs.replace(fault))

    def take(self, method: str, path: str, *, named: bool = False) -> Fault | None:
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
        self.revoked = False

    def waiting(self) -> list[Fault]:
        return list(self._queue)


class Faults:
    """All vendors' faults: `faults["twilio"]` is one vendor's, `faults.next("twilio", "lost")` scripts one."""

    def __init__(self) -> None:
        self._by_vendor: dict[str, VendorFaults] = {vendor: VendorFaults(vendor) for vendor in VENDORS}

    def __getitem__(self, vendor: str) -> VendorFaults:
        return self._by_vendor[vendor]

    def __iter__(self) -> Iterator[VendorFaults]:
        return iter(self._by_vendor.values())

    def next(self, vendor: Vendor, kind: str, count: int = 1, **more: object) -> None:
        """Scripts one fault; `more` are fields of Fault. ValueError if it makes no sense."""
        self._by_vendor[vendor].add(msgspec.convert({"kind": kind, "count": count} | more, Fault))

    def clear(self) -> None:
        for one in self:
            one.clear()
