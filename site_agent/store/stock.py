"""What is remembered of each bay's health: since when it fails or is well, the block that took it out of sale, and the troubles it told of (M3, M4).

Not here: blocks, which are the ledger's. Invariant: a bay's block stands here only while this rule made it and nobody else ended it; losing
these tables costs a bay its hysteresis and its history, no sale.
"""

from __future__ import annotations

import msgspec

from shared.health import Track
from shared.runtime.database import Tx

SCHEMA = (
    "CREATE TABLE bay_health (resource_id TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE bay_troubles (resource_id TEXT NOT NULL, text TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (resource_id, at, text)) WITHOUT ROWID",
    "CREATE TABLE care_dismissed (resource_id TEXT PRIMARY KEY, until_at INTEGER NOT NULL, by TEXT NOT NULL, why TEXT NOT NULL) WITHOUT ROWID",
)


ONE_TROUBLE_S = 3600


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """One bay. `block_id`: the block by which it is out of sale, empty while it is on sale. `why`: why it was taken out. `asked`: staff are asked
    whether it is to be taken out; `stays`: it failed so often that only staff put it back. `spared_by`: who has it sold all the same."""

    track: Track = Track()
    block_id: str = ""
    why: str = ""
    asked: bool = False
    stays: bool = False
    spared_by: str = ""


_kept = msgspec.json.Decoder(Kept).decode


def all_kept(tx: Tx) -> dict[str, Kept]:
    return {resource_id: _kept(doc) for resource_id, doc in tx.all("SELECT resource_id, doc FROM bay_health")}


def put(tx: Tx, resource_id: str, kept: Kept) -> None:
    tx.run(
        "INSERT INTO bay_health (resource_id, doc) VALUES (?, ?) ON CONFLICT (resource_id) DO UPDATE SET doc = excluded.doc",
        (resource_id, msgspec.json.encode(kept).decode()),
    )
    tx.tell("bay_health", resource_id)


# ---- what was done to it on purpose
def done_to(tx: Tx, resource_id: str, kinds: tuple[str, ...], since_at: int) -> list[tuple[str, str, int]]:
    """`(state, body, changed_at)` of the bay's latest work of these kinds that was not dropped, the newest first."""
    marks = ", ".join("?" * len(kinds))
    return tx.all(
        f"SELECT state, body, changed_at FROM work WHERE subject = ? AND kind IN ({marks}) AND created_at >= ? AND state <> 'dropped'"
        " ORDER BY created_at DESC, id LIMIT 20",
        (resource_id, *kinds, since_at),
    )


# ---- troubles, for what is foreseen
def add_trouble(tx: Tx, resource_id: str, text: str, at: int) -> None:
    """One that comes and goes is one, as long as it comes again within `ONE_TROUBLE_S`."""
    known = "SELECT 1 FROM bay_troubles WHERE resource_id = ? AND at > ? AND text = ? LIMIT 1"
    if tx.one(known, (resource_id, at - ONE_TROUBLE_S, text)) is None:
        tx.run("INSERT INTO bay_troubles (resource_id, text, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (resource_id, text, at))


def troubles_since(tx: Tx, resource_id: str, since_at: int) -> int:
    return tx.one("SELECT COUNT(*) FROM bay_troubles WHERE resource_id = ? AND at >= ?", (resource_id, since_at))[0]


def forget_troubles(tx: Tx, before_at: int) -> int:
    return tx.run("DELETE FROM bay_troubles WHERE at < ?", (before_at,))


# ---- proposals that staff do not want now
def dismiss(tx: Tx, resource_id: str, until_at: int, by: str, why: str) -> None:
    tx.run(
        "INSERT INTO care_dismissed (resource_id, until_at, by, why) VALUES (?, ?, ?, ?) ON CONFLICT (resource_id)"
        " DO UPDATE SET until_at = excluded.until_at, by = excluded.by, why = excluded.why",
        (resource_id, until_at, by, why),
    )


def dismissed(tx: Tx, now: int) -> set[str]:
    return {row[0] for row in tx.all("SELECT resource_id FROM care_dismissed WHERE until_at > ?", (now,))}
