"""Small facts that a box keeps of itself by name, beside the books of both sides: not of any site, and told to nobody."""

from __future__ import annotations

from ..runtime.database import Tx


def get(tx: Tx, name: str) -> str:
    """The text under `name`; empty where there is none."""
    row = tx.one("SELECT value FROM box_facts WHERE name = :n", {"n": name})
    return row[0] if row else ""


def put(tx: Tx, name: str, value: str) -> None:
    tx.run(
        "INSERT INTO box_facts (name, value) VALUES (:n, :v) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        {"n": name, "v": value},
    )
