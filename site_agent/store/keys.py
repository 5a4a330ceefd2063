"""The public keys that this site believes, and whether its peer knows them (pass-1): rows of the ledger's `keys` to structs."""

from __future__ import annotations

import msgspec

from shared.keys import PublicKey
from shared.runtime.database import Tx


def all_keys(tx: Tx) -> list[PublicKey]:
    return [_key(row) for row in tx.all("SELECT id, site_id, side, public FROM keys ORDER BY id")]


def _key(row: tuple) -> PublicKey:
    """Books from before keys could end have the bare key instead of the document."""
    if row[3].startswith("{"):
        return msgspec.json.decode(row[3], type=PublicKey)
    return PublicKey(id=row[0], site_id=row[1], side=row[2], raw_b64=row[3])


def put_key(tx: Tx, key: PublicKey) -> None:
    """The key with its end or withdrawal, in the place of what was known of it."""
    tx.run(
        "INSERT INTO keys (id, site_id, side, public) VALUES (:id, :s, :side, :p) ON CONFLICT (id) DO UPDATE SET public = excluded.public",
        {"id": key.id, "s": key.site_id, "side": key.side, "p": msgspec.json.encode(key).decode()},
    )


def known_to_peer(tx: Tx, key_ids: list[str]) -> None:
    for key_id in key_ids:
        tx.run("UPDATE keys SET known_to_peer = 1 WHERE id = :id", {"id": key_id})


def known_to_peer_of(tx: Tx, key_ids: list[str]) -> set[str]:
    """Those of these that the peer has said it knows."""
    rows = tx.all("SELECT id FROM keys WHERE known_to_peer = 1")
    return {row[0] for row in rows} & set(key_ids)
