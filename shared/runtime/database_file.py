"""One connection to a file of SQLite, with every setting said aloud, and the length that its WAL is given ahead.

Not for: who may have one, and when (`database`). Invariant: every connection flushes in full, and only a writer checkpoints.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

#: pages that the WAL grows to before they are copied into the database and it is written from its beginning again: room for the hot
#: pages of many batches to be copied once
WAL_PAGES = 4000
#: the cache, in KiB: a batch of sales touches hundreds of pages
CACHE_KIB = 16_000
#: the part of that length at which it is copied where nobody waits
COPIED_AT = 0.5
#: what stays in the cache while room is made in the WAL; the rest of it overflows into the file
ROOM_CACHE_PAGES = 50


def connect(path: str | Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection with every setting said aloud. Only the writer checkpoints: a second checkpointer meets the WAL-reset bug (3.7.0–3.51.2)."""
    c = sqlite3.connect(str(path), isolation_level=None, check_same_thread=False, cached_statements=512, timeout=10)
    c.execute("PRAGMA busy_timeout=10000")
    if not readonly:
        c.execute("PRAGMA journal_mode=WAL")
        c.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        c.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
    c.execute("PRAGMA synchronous=FULL")
    c.execute("PRAGMA foreign_keys=ON")
    c.execute("PRAGMA cell_size_check=ON")  # a damaged page is met as such, before anything is read out of it
    c.execute("PRAGMA temp_store=MEMORY")
    if readonly:
        c.execute("PRAGMA wal_autocheckpoint=0")
        c.execute("PRAGMA query_only=1")
    return c


class Wal:
    """Copies the WAL into the books while nobody waits, before it is as long as SQLite lets it become, which copies it within a commit.

    How long it is, SQLite does not tell without a checkpoint: it is reckoned from the rows that were changed.
    """

    def __init__(self, c: sqlite3.Connection, pages: int) -> None:
        self._due_pages = pages * COPIED_AT
        self._from, self._per_change = c.total_changes, 1.0

    def copied(self, c: sqlite3.Connection) -> None:
        """To be called between two transactions. What cannot be copied now is copied with a later commit."""
        changes = c.total_changes - self._from
        if changes * self._per_change < self._due_pages:
            return
        self._from += changes
        try:
            _, pages, _ = c.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:  # the disk is tried again, and judged, with the next write
            return
        if pages > 0:
            self._per_change = pages / changes


def make_room(c: sqlite3.Connection, pages: int) -> None:
    """Gives the WAL its whole length before it is needed, since a commit that lengthens a file costs a second flush on most file systems.

    What is written is a transaction too large for the cache, taken back: its pages belong to nothing, and the commits to come are
    written over them. A disk without that much room is no reason not to start.
    """
    c.execute(f"PRAGMA cache_size={ROOM_CACHE_PAGES}")
    page_octets = c.execute("PRAGMA page_size").fetchone()[0]
    try:
        c.execute("BEGIN IMMEDIATE")
        c.execute("CREATE TABLE wal_room (body BLOB)")
        c.execute("INSERT INTO wal_room VALUES (zeroblob(:octets))", {"octets": (pages + ROOM_CACHE_PAGES) * page_octets})
    except sqlite3.Error:
        pass
    finally:
        taken_back(c)
        c.execute(f"PRAGMA cache_size=-{CACHE_KIB}")


def taken_back(c: sqlite3.Connection) -> bool:
    """Ends a transaction without its changes; False if not even that can be done."""
    try:
        if c.in_transaction:
            c.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def wal_given_back(c: sqlite3.Connection) -> None:
    """On a full disk: copies the WAL into the books and gives its room back, which may be all that is needed for the next commit."""
    try:
        c.execute("PRAGMA busy_timeout=200")  # a reader in its moment must not keep everybody waiting
        c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error:
        pass
    finally:
        c.execute("PRAGMA busy_timeout=10000")
