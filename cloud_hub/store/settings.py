"""Small facts this box keeps of itself, by name."""

from __future__ import annotations

from collections.abc import Callable

from shared.runtime.database import Tx


def get(tx: Tx, name: str) -> str:
    """The value under `name`; empty where there is none."""
    row = tx.one("SELECT value FROM settings WHERE name = :n", {"n": name})
    return row[0] if row else ""


def put(tx: Tx, name: str, value: str) -> None:
    """Keeps the value in the place of an earlier one."""
    tx.run("INSERT INTO settings (name, value) VALUES (:n, :v) ON CONFLICT (name) DO UPDATE SET value = excluded.value", {"n": name, "v": value})


def kept(tx: Tx, name: str, make: Callable[[], str]) -> str:
    """The value under `name`; made and kept at the first call."""
    row = tx.one("SELECT value FROM settings WHERE name = :n", {"n": name})
    if row is not None:
        return row[0]
    tx.run("INSERT INTO settings (name, value) VALUES (:n, :v) ON CONFLICT DO NOTHING", {"n": name, "v": make()})
    return tx.one("SELECT value FROM settings WHERE name = :n", {"n": name})[0]  # another replica may have been quicker
