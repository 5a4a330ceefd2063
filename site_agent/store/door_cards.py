"""Cards that guests were lent for their booking (D11): which card, whose credential it is on, and who gave it.

Invariant: one booking, one card, and the other way round; a row stays until the controller has taken the card back.
"""

from __future__ import annotations

import msgspec

from shared.runtime.database import Tx

SCHEMA = (
    """CREATE TABLE door_cards (
    booking_id TEXT PRIMARY KEY, card_id TEXT NOT NULL UNIQUE, label TEXT NOT NULL, ref TEXT NOT NULL DEFAULT '', by_id TEXT NOT NULL,
    at INTEGER NOT NULL, ends_at INTEGER NOT NULL, back INTEGER NOT NULL DEFAULT 0
)""",
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A card that is lent. `ref`: the credential it is on by the controller's word, empty while it is on none. Times in unix seconds; `back` 1: it is
    to be taken back."""

    booking_id: str
    card_id: str
    label: str
    by_id: str
    at: int
    ends_at: int
    ref: str = ""
    back: int = 0


_NAMES = Row.__struct_fields__
_COLUMNS, _MARKS = ", ".join(_NAMES), ", ".join(f":{name}" for name in _NAMES)


def put(tx: Tx, row: Row) -> None:
    tx.run(f"INSERT OR REPLACE INTO door_cards ({_COLUMNS}) VALUES ({_MARKS})", {name: getattr(row, name) for name in _NAMES})


def drop(tx: Tx, booking_id: str) -> None:
    tx.run("DELETE FROM door_cards WHERE booking_id = :b", {"b": booking_id})


def lent(tx: Tx) -> list[Row]:
    """All that are not back, the earliest end first."""
    return [Row(**dict(zip(_NAMES, row, strict=True))) for row in tx.all(f"SELECT {_COLUMNS} FROM door_cards ORDER BY ends_at, booking_id")]


def of_booking(tx: Tx, booking_id: str) -> Row | None:
    return next((row for row in lent(tx) if row.booking_id == booking_id), None)


def of_card(tx: Tx, card_id: str) -> Row | None:
    return next((row for row in lent(tx) if row.card_id == card_id), None)
