"""Scripted faults: what the next requests suffer, and what is wrong with the whole box.

Not for: answering. Invariant: without a script nothing here changes anything; a fault with a count goes away by itself.
"""

from typing import Literal

from deploy.emulators.common.faults import Queue, Scripted
from deploy.emulators.unifi.envelope import DEFAULT_MESSAGES


class Fault(Scripted):
    """What the next `count` matching requests suffer.

    status: answered `status` with an envelope, nothing done. html: a gateway's page with `status`, nothing done.
    slow: done only after `seconds`, then answered. lost: done at once, the answer held back for `seconds`, when nobody waits any more.
    reboot: done at once, then the box goes down for `seconds` without an answer. code: answered 200 with the error `code` inside, nothing done.
    """

    kind: Literal["status", "html", "slow", "lost", "reboot", "code"]
    status: int = 500
    code: str = "CODE_SYSTEM_ERROR"
    retry_after: str = ""
    """With `status`: the header of that name, which no document promises."""

    def problem(self) -> str:
        if wrong := super().problem():
            return wrong
        if self.kind == "reboot" and not self.seconds:
            return "a reboot takes a while."
        if self.code not in DEFAULT_MESSAGES:
            return "code must be one of the documented codes."
        if not 400 <= self.status <= 599 and not (self.kind == "html" and self.status == 200):
            return "status must be 400 to 599 (200 only with html)."
        return ""


class Faults(Queue[Fault]):
    """The faults that wait, and what is wrong with the box as long as it is not mended."""

    def __init__(self) -> None:
        super().__init__(Fault)
        self.tokens_revoked = False
        self.starting_until = 0.0
        """Until then (unix seconds) every API request is answered 503: the box is up, its application is not."""

    def clear(self) -> None:
        super().clear()
        self.tokens_revoked = False
        self.starting_until = 0.0
