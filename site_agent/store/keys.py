"""The public keys that this site believes, and whether its peer knows them (pass-1): rows of the ledger's `keys` to structs."""

from __future__ import annotations

from shared.keys import PublicKey
from shared.runtime.database import Tx


def all_keys(tx: Tx) -> list[PublicKey]:
    rows = tx.all("SELECT id, site_id, side, public FROM keys ORDER BY id")
    return [PublicKey(id=r[0], site_id=r[1], side=r[2], raw_b64=r[3]) for r in rows]


def put_key(tx: Tx, key: PublicKey) -> None:
    tx.run(
        "INSERT INTO keys (id, site_id, side, public) VALUES (:id, :s, :side, :p) ON CONFLICT (id) DO NOTHING",
        {"id": key.id, "s": key.site_id, "side": key.side, "p": key.raw_b64},
    )


def known_to_peer(tx: Tx, key_ids: list[str]) -> None:
    for key_id in key_ids:
        tx.run("UPDATE keys SET known_to_peer = 1 WHERE id = :id", {"id": key_id})


def is_known_to_peer(tx: Tx, key_id: str) -> bool:
    row = tx.one("SELECT known_to_peer FROM keys WHERE id = :id", {"id": key_id})
    return bool(row and row[0])
