"""What was last known of the bays' machines: one row each, for the first minutes after a restart and for a cut.

Not here: commands, which are work rows of the ledger. Invariant: nothing is decided from these rows; they only say what was heard, and when.
"""

from __future__ import annotations

from typing import NamedTuple

from shared.runtime.database import Tx

SCHEMA = ("CREATE TABLE machines (machine_id TEXT PRIMARY KEY, doc TEXT NOT NULL, heard_at INTEGER NOT NULL)",)


class Row(NamedTuple):
    """`doc`: JSON of the port's Machine; `heard_at`: when whoever looks after it said so, unix seconds."""

    machine_id: str
    doc: str
    heard_at: int


def replace_all(tx: Tx, rows: list[Row]) -> None:
    """What is known now, and of no machine that is not spoken of any more."""
    tx.run("DELETE FROM machines")
    for row in rows:
        tx.run("INSERT INTO machines (machine_id, doc, heard_at) VALUES (?, ?, ?)", tuple(row))


def known(tx: Tx) -> list[Row]:
    return [Row(*row) for row in tx.all("SELECT machine_id, doc, heard_at FROM machines ORDER BY machine_id")]
