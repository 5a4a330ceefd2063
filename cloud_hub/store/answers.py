"""Answers that were given under an Idempotency-Key, so that a retry gets the same one (X1). Rows; decides nothing."""

from __future__ import annotations

import msgspec

from shared.runtime.database import Tx


class Answer(msgspec.Struct, frozen=True):
    """`body` is what was answered, as JSON text; `body_hash` of what was asked."""

    body_hash: str
    status: int
    body: str


def find(tx: Tx, scope: str, key: str) -> Answer | None:
    row = tx.one("SELECT body_hash, status, body FROM answers WHERE scope = :s AND key = :k", {"s": scope, "k": key})
    return Answer(*row) if row else None


def put(tx: Tx, scope: str, key: str, answer: Answer, at: int) -> None:
    tx.run(
        "INSERT INTO answers (scope, key, body_hash, status, body, at) VALUES (:s, :k, :h, :st, :b, :at)",
        {"s": scope, "k": key, "h": answer.body_hash, "st": answer.status, "b": answer.body, "at": at},
    )


def replace(tx: Tx, scope: str, key: str, answer: Answer, at: int) -> None:
    """As `put`, in the place of what was answered before."""
    tx.run("DELETE FROM answers WHERE scope = :s AND key = :k", {"s": scope, "k": key})
    put(tx, scope, key, answer, at)


def forget(tx: Tx, before: int) -> int:
    """Lets answers go that were given before that unix second. Returns how many."""
    return tx.run("DELETE FROM answers WHERE at < :b", {"b": before})
