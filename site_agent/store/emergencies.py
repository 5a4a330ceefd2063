"""Emergencies that people called: what is wanted of all doors, until when, and how far that has come (D5).

Invariant: of those that are not over at most one is `wanted` or `on`; one that may have reached the controller (`touched`) is over only when the
doors were let go again, or somebody at the controller did that.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.runtime.database import Tx

Mode = Literal["lockdown", "evacuation", "unlock_all"]
State = Literal["wanted", "on", "ending", "over"]

SCHEMA = (
    """CREATE TABLE emergencies (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, mode TEXT NOT NULL, reason TEXT NOT NULL, by_id TEXT NOT NULL, by_name TEXT NOT NULL,
    asked_at INTEGER NOT NULL, ends_at INTEGER NOT NULL, state TEXT NOT NULL, touched INTEGER NOT NULL DEFAULT 0, done_at INTEGER NOT NULL DEFAULT 0,
    over_at INTEGER NOT NULL DEFAULT 0, over_by TEXT NOT NULL DEFAULT '', doors TEXT NOT NULL DEFAULT ''
)""",
    "CREATE INDEX emergencies_standing ON emergencies (no) WHERE state <> 'over'",
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One emergency. Times in unix seconds, 0: not yet. `over_by`: who ended it, empty for its time. `doors`: those that were held open for it."""

    id: str
    mode: Mode
    reason: str
    by_id: str
    by_name: str
    asked_at: int
    ends_at: int
    state: State = "wanted"
    touched: int = 0
    done_at: int = 0
    over_at: int = 0
    over_by: str = ""
    doors: tuple[str, ...] = ()


_NAMES = Row.__struct_fields__
_COLUMNS, _MARKS = ", ".join(_NAMES), ", ".join(f":{name}" for name in _NAMES)
_CHANGED = ", ".join(f"{name} = excluded.{name}" for name in _NAMES if name != "id")


def put(tx: Tx, row: Row) -> None:
    values = {name: getattr(row, name) for name in _NAMES} | {"doors": " ".join(row.doors)}
    tx.run(f"INSERT INTO emergencies ({_COLUMNS}) VALUES ({_MARKS}) ON CONFLICT (id) DO UPDATE SET {_CHANGED}", values)


def one(tx: Tx, emergency_id: str) -> Row | None:
    row = tx.one(f"SELECT {_COLUMNS} FROM emergencies WHERE id = :i", {"i": emergency_id})
    return _row(row) if row else None


def standing(tx: Tx) -> list[Row]:
    """Those that are not over, the oldest first."""
    return [_row(row) for row in tx.all(f"SELECT {_COLUMNS} FROM emergencies WHERE state <> 'over' ORDER BY no")]


def _row(found: tuple) -> Row:
    values = dict(zip(_NAMES, found, strict=True))
    return Row(**(values | {"doors": tuple(values["doors"].split())}))
