"""Rows of API keys. The token itself is never here, only its SHA-256."""

from __future__ import annotations

import msgspec

from shared.runtime.database import Tx

from . import admin_sessions


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """`scopes` as `services.api_keys.SCOPES` names them. `revoked_at` 0: it stands. Times in unix seconds."""

    id: str
    name: str
    token_hash: str
    scopes: frozenset[str]
    created_at: int
    revoked_at: int = 0


def add(tx: Tx, key: ApiKey) -> None:
    """The same key again changes nothing."""
    tx.run(
        "INSERT INTO api_keys (id, name, token_hash, scopes, created_at, revoked_at) VALUES (:id, :n, :h, :s, :at, :r)"
        " ON CONFLICT (id) DO NOTHING",
        {"id": key.id, "n": key.name, "h": key.token_hash, "s": " ".join(sorted(key.scopes)), "at": key.created_at, "r": key.revoked_at},
    )
    tx.tell("api_key", key.id)


def revoke(tx: Tx, key_id: str, at: int) -> bool:
    """False where there is no such key, or it was revoked before. Its sessions end with it."""
    changed = tx.run("UPDATE api_keys SET revoked_at = :at WHERE id = :id AND revoked_at = 0", {"at": at, "id": key_id})
    admin_sessions.end_all(tx, key_id)
    tx.tell("api_key", key_id)
    return changed == 1


def all_keys(tx: Tx) -> list[ApiKey]:
    rows = tx.all("SELECT id, name, token_hash, scopes, created_at, revoked_at FROM api_keys ORDER BY created_at, id")
    return [
        ApiKey(id=i, name=n, token_hash=h, scopes=frozenset(s.split()), created_at=at, revoked_at=gone) for i, n, h, s, at, gone in rows
    ]
