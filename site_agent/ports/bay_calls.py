"""What the bays' own program says to us, and what is answered.

Not for: who is believed, nor what is done about it (the way that takes the calls).
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import msgspec


class BayCall(msgspec.Struct, frozen=True):
    """What somebody says who says that they are a bay's PC: `path` of the request, the words of its headers as they came, the whole body.
    `address`: where it came from, for the log."""

    path: str
    bay: str
    at: str
    nonce: str
    signature: str
    body: bytes
    address: str = ""


class BayAnswer(msgspec.Struct, frozen=True):
    """What is answered: an HTTP status, a JSON body, headers (which sign it for whoever showed a key)."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@runtime_checkable
class BayCalls(Protocol):
    """A way to the machines by which they call us."""

    def attach(self, term: Callable[[], int]) -> None:
        """`term()` is this box's (loss-5), told with every answer, so that a replaced box gives no more commands."""

    async def called(self, call: BayCall) -> BayAnswer:
        """Hears a call, and may keep it waiting as long as it asked for; raises nothing."""

    def hang_up(self) -> None:
        """Ends every wait at once: the site agent stops."""
