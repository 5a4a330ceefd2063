"""Rows of admins' sessions on the hub's pages, known by the hash of their cookie only. Who may have one is judged in `services.admins`."""

from __future__ import annotations

from shared.runtime.database import Tx

TABLES = (
    "CREATE TABLE admin_sessions (key_hash TEXT PRIMARY KEY, api_key_id TEXT NOT NULL, began_at INTEGER NOT NULL, ends_at INTEGER NOT NULL)",
    "CREATE INDEX admin_sessions_key ON admin_sessions (api_key_id)",
)


def begin(tx: Tx, key_hash: str, api_key_id: str, now: int, ends_at: int) -> None:
    """A new session; those that are over are let go of on the way. Times in unix seconds."""
    tx.run("DELETE FROM admin_sessions WHERE ends_at <= :now", {"now": now})
    tx.run(
        "INSERT INTO admin_sessions (key_hash, api_key_id, began_at, ends_at) VALUES (:h, :k, :at, :end)",
        {"h": key_hash, "k": api_key_id, "at": now, "end": ends_at},
    )


def holder(tx: Tx, key_hash: str, now: int) -> str:
    """The id of the API key that a living session was begun with; "" where there is none."""
    row = tx.one("SELECT api_key_id FROM admin_sessions WHERE key_hash = :h AND ends_at > :now", {"h": key_hash, "now": now})
    return row[0] if row else ""


def end(tx: Tx, key_hash: str) -> bool:
    """False where there was no such session."""
    return tx.run("DELETE FROM admin_sessions WHERE key_hash = :h", {"h": key_hash}) > 0


def end_all(tx: Tx, api_key_id: str) -> int:
    """Ends every session of a key. Returns how many there were."""
    return tx.run("DELETE FROM admin_sessions WHERE api_key_id = :k", {"k": api_key_id})
