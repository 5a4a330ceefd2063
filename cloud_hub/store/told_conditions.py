"""What of the conditions that the hub is in was told to its staff, and the figures of a day that they are told.

One row for a condition from its beginning until its end was told, under its id and when it began. Invariant: what was told stands here, so that a
restart repeats nothing.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.runtime.database import Tx

TABLES = (
    "CREATE TABLE told_conditions (id TEXT NOT NULL, since_at INTEGER NOT NULL, ended_at INTEGER NOT NULL, urgent INTEGER NOT NULL,"
    " told INTEGER NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (id, since_at))",
)
#: how far it was told: nobody, in a daily digest, at once
Told = Literal[0, 1, 2]
#: an end that nobody was to be told of at once, and no digest has told since
KEPT_S = 3 * 86_400


class Row(msgspec.Struct, frozen=True):
    """A condition as it was when it began, or ended (unix seconds, 0: it goes on). `doc` is the condition as JSON."""

    id: str
    since_at: int
    ended_at: int
    urgent: bool
    told: Told
    doc: str

    @property
    def key(self) -> tuple[str, int]:
        return self.id, self.since_at


class Sent(msgspec.Struct, frozen=True):
    """What became of the messages to customers that were tried in a time. `unknown`: their vendor has not said yet."""

    sent: int = 0
    failed: int = 0
    unknown: int = 0


def rows(tx: Tx) -> list[Row]:
    """All, the oldest first."""
    found = tx.all("SELECT id, since_at, ended_at, urgent, told, doc FROM told_conditions ORDER BY since_at, id")
    return [Row(one, since, ended, bool(urgent), told, doc) for one, since, ended, urgent, told, doc in found]


def put(tx: Tx, row: Row) -> None:
    """Enters a row, or takes the place of the one of its key; how far that was told stays."""
    tx.run(
        "INSERT INTO told_conditions (id, since_at, ended_at, urgent, told, doc) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id, since_at) DO UPDATE SET ended_at = excluded.ended_at, urgent = excluded.urgent, doc = excluded.doc",
        (row.id, row.since_at, row.ended_at, int(row.urgent), row.told, row.doc),
    )


def mark(tx: Tx, key: tuple[str, int], told: Told) -> None:
    """It was told so far; never less than before."""
    tx.run("UPDATE told_conditions SET told = ? WHERE id = ? AND since_at = ? AND told < ?", (told, *key, told))


def drop(tx: Tx, key: tuple[str, int]) -> None:
    tx.run("DELETE FROM told_conditions WHERE id = ? AND since_at = ?", key)


def forget(tx: Tx, now: int) -> int:
    """Lets go of ends that are nobody's news any more. Returns how many."""
    return tx.run("DELETE FROM told_conditions WHERE ended_at > 0 AND ended_at < ?", (now - KEPT_S,))


# ---- a day's figures
def visits(tx: Tx, site_id: str, first: int, past: int) -> int:
    """Bookings of the facility, standing in these books, that begin in the slots `[first, past)`."""
    asked = "SELECT COUNT(*) FROM bookings WHERE site_id = ? AND first >= ? AND first < ? AND status = 'confirmed'"
    return tx.one(asked, (site_id, first, past))[0]


def messages(tx: Tx, from_at: int, until_at: int) -> Sent:
    """Messages to customers by the moment when their last try was begun (unix seconds)."""
    counted = dict(
        tx.all(
            "SELECT state, COUNT(*) FROM work WHERE changed_at >= :a AND kind = 'message' AND since_at >= :a AND since_at < :b"
            " AND state IN ('sent', 'done', 'stuck', 'unknown') GROUP BY state",
            {"a": from_at, "b": until_at},
        )
    )
    return Sent(counted.get("sent", 0) + counted.get("done", 0), counted.get("stuck", 0), counted.get("unknown", 0))
