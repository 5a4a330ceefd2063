"""What came of comparing the door controller with the books: one row per comparison, and one per difference found (D4).

Invariant: a difference is kept with what was to be done about it, whatever becomes of the comparison; the newest are kept, old ones go.
"""

from __future__ import annotations

import msgspec

from shared.runtime.database import Tx

SCHEMA = (
    "CREATE TABLE door_checks (no INTEGER PRIMARY KEY, at INTEGER NOT NULL, took_ms INTEGER NOT NULL, why TEXT NOT NULL,"
    " compared INTEGER NOT NULL, differing INTEGER NOT NULL, trouble TEXT NOT NULL)",
    "CREATE TABLE door_drift (no INTEGER PRIMARY KEY, at INTEGER NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, label TEXT NOT NULL)",
)
CHECKS_KEPT, DRIFT_KEPT = 100, 500


class Check(msgspec.Struct, frozen=True):
    """One comparison: `at` unix seconds, `why` it was made, how many credentials were compared and how many differed; `trouble` is the sentence
    of one that failed."""

    at: int
    took_ms: int
    why: str
    compared: int
    differing: int
    trouble: str = ""


class Drift(msgspec.Struct, frozen=True):
    """One difference: whose credential (`key`), what kind of difference, and what staff call it."""

    at: int
    key: str
    kind: str
    label: str


def add_check(tx: Tx, check: Check) -> None:
    tx.run(
        "INSERT INTO door_checks (at, took_ms, why, compared, differing, trouble) VALUES (?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(check)
    )
    tx.run(f"DELETE FROM door_checks WHERE no <= (SELECT MAX(no) FROM door_checks) - {CHECKS_KEPT}")


def add_drift(tx: Tx, drift: Drift) -> None:
    tx.run("INSERT INTO door_drift (at, key, kind, label) VALUES (?, ?, ?, ?)", msgspec.structs.astuple(drift))
    tx.run(f"DELETE FROM door_drift WHERE no <= (SELECT MAX(no) FROM door_drift) - {DRIFT_KEPT}")


def last(tx: Tx, *, good: bool = False) -> Check | None:
    """The newest comparison; with `good` the newest that did not fail."""
    where = "WHERE trouble = ''" if good else ""
    row = tx.one(f"SELECT at, took_ms, why, compared, differing, trouble FROM door_checks {where} ORDER BY no DESC LIMIT 1")
    return Check(*row) if row else None


def drift(tx: Tx, limit: int) -> list[Drift]:
    """The newest differences first."""
    return [Drift(*row) for row in tx.all("SELECT at, key, kind, label FROM door_drift ORDER BY no DESC LIMIT :n", {"n": limit})]


def count(tx: Tx) -> int:
    """How many differences were ever found."""
    row = tx.one("SELECT MAX(no) FROM door_drift")
    return row[0] or 0
