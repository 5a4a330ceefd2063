"""What the witness does with what it is sent: keeps it, lets settled files go, gives all of it back."""

from __future__ import annotations

import msgspec

from ..store.segments import Line, Segments


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows to keep, and per site the epoch and row up to which its own box has everything."""

    rows: tuple[Line, ...]
    settled: dict[str, tuple[str, int]]


class Shelf:
    """Blocks on the disk; one call at a time."""

    def __init__(self, segments: Segments):
        self._segments = segments

    def keep(self, body: bytes) -> None:
        """Comes back when the rows are on the disk. Raises OSError, and MsgspecError for what is no such request."""
        given = msgspec.json.decode(body, type=Given)
        if given.rows:
            self._segments.add(list(given.rows))
        self._segments.settle(given.settled)

    def all(self) -> bytes:
        """Everything kept, as a JSON list in the order in which it came."""
        return msgspec.json.encode(self._segments.lines())
