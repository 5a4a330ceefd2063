"""Small facts this box keeps of itself, by name."""

from __future__ import annotations

from collections.abc import Callable

from shared.runtime.database import Tx


def kept(tx: Tx, name: str, make: Callable[[], str]) -> str:
    """The value under `name`; made and kept at the first call."""
    row = tx.one("SELECT value FROM settings WHERE name = :n", {"n": name})
    if row is not None:
        return row[0]
    value = make()
    tx.run("INSERT INTO settings (name, value) VALUES (:n, :v)", {"n": name, "v": value})
    return value
