"""What was last known of the bays' machines: one row for each way and machine, for the first minutes after a restart and for a cut.

Not here: commands, which are work rows of the ledger. Invariant: nothing is decided from these rows; they only say what was heard, and when.
"""

from __future__ import annotations

from typing import NamedTuple

from shared.runtime.database import Tx

SCHEMA = ("CREATE TABLE machines (machine_id TEXT PRIMARY KEY, doc TEXT NOT NULL, heard_at INTEGER NOT NULL)",)
#: what was known by the only way that there was is heard anew within a minute. `machine_quiet`: which bays' machines were told to raise no alerts;
#: `machine_asleep`: which were shut down by us, and whether they were woken since (0: they were not)
BY_WAYS = (
    "DROP TABLE machines",
    "CREATE TABLE machines (way TEXT NOT NULL, machine_id TEXT NOT NULL, doc TEXT NOT NULL, heard_at INTEGER NOT NULL,"
    " PRIMARY KEY (way, machine_id))",
    "CREATE TABLE machine_quiet (resource_id TEXT PRIMARY KEY, until_at INTEGER NOT NULL)",
    "CREATE TABLE machine_asleep (resource_id TEXT PRIMARY KEY, since_at INTEGER NOT NULL, woken_at INTEGER NOT NULL)",
)


class Row(NamedTuple):
    """`doc`: JSON of the port's Machine; `heard_at`: when whoever looks after it said so, unix seconds."""

    way: str
    machine_id: str
    doc: str
    heard_at: int


def replace_all(tx: Tx, way: str, rows: list[Row]) -> None:
    """What is known by this way now, and of no machine that it does not speak of any more."""
    tx.run("DELETE FROM machines WHERE way = ?", (way,))
    for row in rows:
        tx.run("INSERT INTO machines (way, machine_id, doc, heard_at) VALUES (?, ?, ?, ?)", tuple(row))


def known(tx: Tx) -> list[Row]:
    return [Row(*row) for row in tx.all("SELECT way, machine_id, doc, heard_at FROM machines ORDER BY way, machine_id")]


def quiet(tx: Tx) -> dict[str, int]:
    """Resource -> until when its machine was told to raise no alerts."""
    return dict(tx.all("SELECT resource_id, until_at FROM machine_quiet"))


def put_quiet(tx: Tx, resource_id: str, until_at: int) -> None:
    """`until_at` 0: it was told that this is over."""
    tx.run("DELETE FROM machine_quiet WHERE resource_id = ?", (resource_id,))
    if until_at:
        tx.run("INSERT INTO machine_quiet (resource_id, until_at) VALUES (?, ?)", (resource_id, until_at))


def asleep(tx: Tx) -> dict[str, tuple[int, int]]:
    """Resource -> since when its machine was shut down by us, and when it was woken again (0: it was not)."""
    return {resource_id: (since_at, woken_at) for resource_id, since_at, woken_at in tx.all("SELECT * FROM machine_asleep")}


def put_asleep(tx: Tx, resource_id: str, since_at: int) -> None:
    """`since_at` 0: it is not asleep by us any more."""
    tx.run("DELETE FROM machine_asleep WHERE resource_id = ?", (resource_id,))
    if since_at:
        tx.run("INSERT INTO machine_asleep (resource_id, since_at, woken_at) VALUES (?, ?, 0)", (resource_id, since_at))


def put_woken(tx: Tx, resource_id: str, woken_at: int) -> None:
    tx.run("UPDATE machine_asleep SET woken_at = ? WHERE resource_id = ? AND woken_at = 0", (woken_at, resource_id))
