"""Outage drills as the books keep them: one document each, by number."""

from __future__ import annotations

from shared.runtime.database import Tx

DRILLS_KEPT = 200


def put(tx: Tx, no: int, started_at: int, state: str, doc: str) -> None:
    """Keeps the drill as it stands, and lets the oldest go."""
    tx.run(
        "INSERT INTO drills (no, started_at, state, doc) VALUES (:n, :at, :s, :d)"
        " ON CONFLICT (no) DO UPDATE SET state = excluded.state, doc = excluded.doc",
        {"n": no, "at": started_at, "s": state, "d": doc},
    )
    tx.run("DELETE FROM drills WHERE no <= :n", {"n": no - DRILLS_KEPT})


def next_no(tx: Tx) -> int:
    return tx.one("SELECT COALESCE(MAX(no), 0) + 1 FROM drills")[0]


def latest(tx: Tx, limit: int) -> list[str]:
    """The documents, the newest first."""
    return [row[0] for row in tx.all("SELECT doc FROM drills ORDER BY no DESC LIMIT :l", {"l": limit})]


def unfinished(tx: Tx) -> list[str]:
    """Documents of drills that the agent did not live to finish."""
    return [row[0] for row in tx.all("SELECT doc FROM drills WHERE state <> 'done' ORDER BY no")]
