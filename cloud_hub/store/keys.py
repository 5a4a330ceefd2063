"""The public keys this hub believes, and which of its own each site has acknowledged (pass-1): rows to structs."""

from __future__ import annotations

import msgspec

from shared.keys import PublicKey
from shared.runtime.database import Tx


def all_keys(tx: Tx) -> list[PublicKey]:
    return [msgspec.json.decode(row[0], type=PublicKey) for row in tx.all("SELECT public FROM keys ORDER BY id")]


def put(tx: Tx, key: PublicKey) -> None:
    tx.run(
        "INSERT INTO keys (id, site_id, side, public) VALUES (:id, :s, :side, :p) ON CONFLICT (id) DO UPDATE SET public = excluded.public",
        {"id": key.id, "s": key.site_id, "side": key.side, "p": msgspec.json.encode(key).decode()},
    )


def acknowledged(tx: Tx) -> dict[str, set[str]]:
    """Site id -> the ids of our keys that it has said it knows."""
    found: dict[str, set[str]] = {}
    for site_id, key_id in tx.all("SELECT site_id, key_id FROM key_acks"):
        found.setdefault(site_id, set()).add(key_id)
    return found


def acknowledge(tx: Tx, site_id: str, key_id: str, at: int) -> None:
    tx.run(
        "INSERT INTO key_acks (site_id, key_id, at) VALUES (:s, :k, :at) ON CONFLICT (site_id, key_id) DO NOTHING",
        {"s": site_id, "k": key_id, "at": at},
    )
