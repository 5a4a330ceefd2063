"""How the books are while they are open: well, or failing and why. Mixed into the writers; knows no SQL.

Invariant: a trouble is logged when it begins and when it ends, not in between; damaged books stay damaged until they are opened anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..errors import Failure
from . import database_disk as disk
from . import log

#: a disk that reported errors counts as well when it has reported none for this long
CALM_S = 5.0
_log = log.get("runtime.database")


class Condition:
    """`failing` is a sentence while they cannot be written or read, `failing_kind` one of `database_disk`'s kinds or empty.

    `damaged` is set for good once a part of the books could not be read.
    """

    path: Path

    def __init__(self, low_octets: int) -> None:
        self.failing = ""
        self.failing_kind = ""
        self.damaged: Failure | None = None
        self._low_octets = low_octets
        self._watchers: list[Callable[[], None]] = []
        self._failed_at = 0.0

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called whenever the books begin or cease to fail."""
        self._watchers.append(watcher)

    def disk(self) -> disk.Disk:
        """The room left where the books lie (one system call)."""
        return disk.room(self.path, self._low_octets)

    def _failed(self, failure: Failure) -> None:
        self._failed_at = time.monotonic()
        kind = getattr(failure, "kind", "")
        if kind == disk.DAMAGED and self.damaged is None:
            self.damaged = failure
            disk.mark_damaged(self.path)
        if (self.failing, self.failing_kind) == (failure.detail, kind) or (self.damaged and kind != disk.DAMAGED):
            return
        self.failing, self.failing_kind = failure.detail, kind
        _log.error("books.failing", kind=kind, why=failure.detail, sqlite=str(failure.__cause__ or ""))
        self._told()

    def _well(self) -> None:
        """A write went through. A full disk is well only when it has room again, a failing one when it has been calm."""
        if not self.failing or self.damaged is not None:
            return
        if self.failing_kind == disk.FULL and 0 <= self.disk().free_octets < disk.ROOM_BACK_OCTETS:
            return
        if self.failing_kind == disk.FAILING and time.monotonic() - self._failed_at < CALM_S:
            return
        _log.info("books.written_again", kind=self.failing_kind)
        self.failing = self.failing_kind = ""
        self._told()

    def _told(self) -> None:
        for watcher in self._watchers:
            watcher()
