"""Scripted faults of the emulated NinjaOne: what the next requests suffer.

Not for: answering. Invariant: as of `common.faults`.
"""

from typing import Literal

from deploy.emulators.common.faults import CloudFault, Queue
from deploy.emulators.ninjaone.variants import ErrorStyle


class Fault(CloudFault):
    """As any cloud's; an error is worded in `style` (the emulator's own if empty). `path` is without the prefix /api: "/v2/device", "/ws/oauth/token"."""

    kind: Literal["status", "inside", "html", "empty", "slow", "lost"]
    style: ErrorStyle | Literal[""] = ""


class Faults(Queue[Fault]):
    def __init__(self) -> None:
        super().__init__(Fault)
