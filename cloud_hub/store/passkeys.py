"""The telephone that opens the doors of an order (D10): its key, and what it is just being asked to sign. Rows; decides nothing.

The key is the public half; the other one stays in the telephone. Invariant: an order has one telephone at most, the first; what was asked is taken
once; a count that does not go up is never written.
"""

from __future__ import annotations

import msgspec

from shared.runtime.database import Tx

TABLES = (
    "CREATE TABLE door_passkeys (order_id TEXT PRIMARY KEY, credential TEXT NOT NULL, counter INTEGER NOT NULL, made_at INTEGER NOT NULL)",
    "CREATE TABLE door_challenges (challenge TEXT PRIMARY KEY, order_id TEXT NOT NULL, purpose TEXT NOT NULL, until_at INTEGER NOT NULL)",
    "CREATE INDEX door_challenges_order ON door_challenges (order_id)",
    "CREATE INDEX door_challenges_until ON door_challenges (until_at)",
)
#: a key goes so long after the last visit of its order
KEPT_S = 86_400


class Passkey(msgspec.Struct, frozen=True, kw_only=True):
    """`credential`: the key with its id, base64url. `counter`: how often the telephone says it has signed, 0 where it does not count."""

    order_id: str
    credential: str
    counter: int
    made_at: int


def of(tx: Tx, order_id: str) -> Passkey | None:
    row = tx.one("SELECT order_id, credential, counter, made_at FROM door_passkeys WHERE order_id = :o", {"o": order_id})
    return Passkey(**dict(zip(Passkey.__struct_fields__, row, strict=True))) if row else None


def add(tx: Tx, one: Passkey) -> bool:
    """False where the order has a telephone already."""
    return tx.run(
        "INSERT INTO door_passkeys (order_id, credential, counter, made_at) VALUES (:o, :c, :n, :at) ON CONFLICT (order_id) DO NOTHING",
        {"o": one.order_id, "c": one.credential, "n": one.counter, "at": one.made_at},
    ) == 1  # fmt: skip


def count(tx: Tx, order_id: str, credential: str, counter: int) -> bool:
    """Notes that the telephone has signed again. False where its count does not go up; one that never counts may stay at 0."""
    up = "counter < :n" if counter else "counter = 0"
    values = {"o": order_id, "c": credential, "n": counter}
    return tx.run(f"UPDATE door_passkeys SET counter = :n WHERE order_id = :o AND credential = :c AND {up}", values) == 1


def end(tx: Tx, order_id: str) -> bool:
    """The order has no telephone any more, and what was being asked of it opens nothing. False where it had none."""
    tx.run("DELETE FROM door_challenges WHERE order_id = :o", {"o": order_id})
    return tx.run("DELETE FROM door_passkeys WHERE order_id = :o", {"o": order_id}) == 1


# ---- what is being asked
def ask(tx: Tx, challenge: str, order_id: str, purpose: str, until_at: int) -> None:
    tx.run(
        "INSERT INTO door_challenges (challenge, order_id, purpose, until_at) VALUES (:c, :o, :p, :u)",
        {"c": challenge, "o": order_id, "p": purpose, "u": until_at},
    )


def asked(tx: Tx, order_id: str, now: int) -> int:
    """How much is being asked of an order's telephones now."""
    return tx.one("SELECT COUNT(*) FROM door_challenges WHERE order_id = :o AND until_at > :now", {"o": order_id, "now": now})[0]


def take(tx: Tx, challenge: str, order_id: str, purpose: str, now: int) -> bool:
    """Whether this was asked of this order, for this, not long ago, and was not answered before. It is gone afterwards."""
    return tx.run(
        "DELETE FROM door_challenges WHERE challenge = :c AND order_id = :o AND purpose = :p AND until_at > :now",
        {"c": challenge, "o": order_id, "p": purpose, "now": now},
    ) == 1  # fmt: skip


def forget(tx: Tx, now: int) -> int:
    """Lets go of what was never answered, and of telephones whose visits are over. Returns how many rows went."""
    gone = tx.run("DELETE FROM door_challenges WHERE until_at <= :now", {"now": now})
    before_at = now - KEPT_S
    return gone + tx.run(
        "DELETE FROM door_passkeys WHERE made_at < :at AND NOT EXISTS"
        " (SELECT 1 FROM bookings b WHERE b.order_id = door_passkeys.order_id AND b.past > :past)",
        {"at": before_at, "past": before_at // 900},
    )
