"""What the hub's services ask of the outside, in the hub's own words; `vendors` answer it.

Not here: who is behind a port. Invariant: an adapter answers or raises a `Failure`; it decides nothing.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class WitnessRow(msgspec.Struct, frozen=True):
    """One row of a site's stream: its epoch and number there, when it was written (unix seconds), the message as JSON."""

    site_id: str
    epoch: str
    no: int
    at: int
    body: str


class Witness(Protocol):
    """The second machine that holds what no site has heard of yet (protocol loss-7)."""

    async def keep(self, rows: list[WitnessRow], settled: dict[str, tuple[str, int]]) -> None:
        """Comes back when the rows are on the witness's disk. `settled`: site -> (epoch, row) up to which it may let go. Raises Unavailable, Broken."""

    async def kept(self) -> list[WitnessRow]:
        """Everything it still has, in the order in which it was given. Raises Unavailable, Broken."""

    async def close(self) -> None:
        """Nothing is asked of it any more."""
