"""Scripted faults of the message vendors: what the next requests of one vendor suffer, and whose keys are refused.

Not for: answering. Invariant: as of `common.faults`.
"""

from collections.abc import Iterator
from typing import Literal

from deploy.emulators.common.faults import CloudFault, Queue

Vendor = Literal["twilio", "sendgrid", "smtp", "slack", "web_push"]
VENDORS: tuple[Vendor, ...] = ("twilio", "sendgrid", "smtp", "slack", "web_push")


class Fault(CloudFault):
    """As any cloud's. SMTP has the command (AUTH, MAIL, RCPT, DATA; DATA if not given) for a method."""

    kind: Literal["status", "html", "empty", "slow", "lost"]

    def problem_at(self, vendor: str) -> str:
        """Why this fault cannot be scripted for `vendor`, or nothing."""
        if vendor == "smtp" and self.kind in ("html", "empty"):
            return f"A mail server has no {self.kind} answer."
        return self.problem()


class VendorFaults(Queue[Fault]):
    """The faults that wait for one vendor. `revoked`: every key, token or password of it is refused."""

    def __init__(self, vendor: Vendor) -> None:
        super().__init__(Fault)
        self.vendor = vendor
        self.revoked = False

    def refusal(self, fault: Fault) -> str:
        return fault.problem_at(self.vendor)

    def clear(self) -> None:
        super().clear()
        self.revoked = False


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
        self._by_vendor[vendor].next(kind, count, **more)

    def clear(self) -> None:
        for one in self:
            one.clear()
