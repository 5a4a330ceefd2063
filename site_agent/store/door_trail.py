"""The access trail (D6): what was asked of the doors and what happened there, one row each, chained like the journal; and the alerts among it.

Rows hold ids and never a guest's name: who that is stands in the books, from which a person can be erased while the trail stays whole.
Invariant: rows are only added, an event of the controller's once (by its key); what has had its time goes from the beginning, and the
journal says so. An alert is a row of the trail that somebody must look at, until they say what it was.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.ledger import journal, records
from shared.ledger.journal import Anchors, Chained, Noted
from shared.runtime.database import Tx

Kind = Literal["asked", "unlocked", "denied", "forced", "held", "opened", "closed", "emergency", "hold"]
AlertKind = Literal["forced", "held", "denied"]
#: how the journal names what it says of the trail, and why it says it: how far it stands, or what was let go
TOLD, STANDS, LET_GO = "door trail", "stands", "let go"
#: of the newest rows, in whatever order they came, one bears the newest moment
NEWEST = 1000
LEAVES = ("opened", "closed")

SCHEMA = (
    """CREATE TABLE door_trail (
    no INTEGER PRIMARY KEY, site_id TEXT NOT NULL, n INTEGER NOT NULL, chain TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
    door_id TEXT NOT NULL, how TEXT NOT NULL, who TEXT NOT NULL, name TEXT NOT NULL, booking_id TEXT NOT NULL, ref TEXT NOT NULL,
    key TEXT NOT NULL, said_ms INTEGER NOT NULL, detail TEXT NOT NULL
)""",
    "CREATE INDEX door_trail_n ON door_trail (site_id, n)",
    "CREATE INDEX door_trail_door ON door_trail (site_id, door_id, n)",
    "CREATE INDEX door_trail_booking ON door_trail (booking_id, n) WHERE booking_id <> ''",
    "CREATE INDEX door_trail_asked ON door_trail (ref) WHERE kind = 'asked'",
    "CREATE UNIQUE INDEX door_trail_key ON door_trail (site_id, key) WHERE key <> ''",
    """CREATE TABLE door_trail_heads (
    site_id TEXT PRIMARY KEY, n INTEGER NOT NULL, chain TEXT NOT NULL, from_n INTEGER NOT NULL DEFAULT 0, from_chain TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID""",
    """CREATE TABLE door_alerts (
    site_id TEXT NOT NULL, n INTEGER NOT NULL, kind TEXT NOT NULL, door_id TEXT NOT NULL, at INTEGER NOT NULL, seen_at INTEGER NOT NULL DEFAULT 0,
    seen_by TEXT NOT NULL DEFAULT '', word TEXT NOT NULL DEFAULT '', PRIMARY KEY (site_id, n)
) WITHOUT ROWID""",
    "CREATE INDEX door_alerts_open ON door_alerts (site_id, door_id, kind) WHERE seen_at = 0",
    "CREATE INDEX door_work_ref ON door_work (ref) WHERE ref <> ''",
    f"CREATE INDEX journal_door_trail ON journal (site_id, n) WHERE what = '{TOLD}'",
)


def _anchors(tx: Tx, site_id: str) -> Anchors:
    return Anchors(_noted(tx, site_id, STANDS), _noted(tx, site_id, LET_GO))


def _noted(tx: Tx, site_id: str, why: str) -> Noted | None:
    # the constant itself and no parameter: only so is the index for it taken
    find = f"SELECT ref FROM journal WHERE site_id = :s AND what = '{TOLD}' AND reason = :w ORDER BY n DESC LIMIT 1"
    row = tx.one(find, {"s": site_id, "w": why})
    n, _, chain = row[0].partition(":") if row else ("", "", "")
    return Noted(site_id, int(n), chain) if n.isdigit() else None


_FIELDS = ("kind", "door_id", "how", "who", "name", "booking_id", "ref", "key", "said_ms", "detail")
TRAIL = Chained("door_trail", "door_trail_heads", _FIELDS, "door trail", _anchors)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `at` unix seconds by our clock; `said_ms` as the controller told it (0: not by it). `who` is an actor's id, or the controller's
    name of a credential; `name` is staff's or the console's, never a guest's. `ref` is the request of an unlock, `key` the event's.

    `how`: of what was asked, the reason ("check-in"); of what happened, the means (`pin`, `remote`, …). `detail`: how it ended, or what was said.
    An `emergency` is of no door: `how` is its mode, `ref` its id, `detail` how far it came, and behind a bar why, or who ended it.
    A `hold` is asked for too: `ref` is its end in unix seconds, empty where the door was let close.
    """

    kind: Kind
    door_id: str
    at: int
    how: str = ""
    who: str = ""
    name: str = ""
    booking_id: str = ""
    ref: str = ""
    key: str = ""
    said_ms: int = 0
    detail: str = ""
    n: int = 0


class Alert(msgspec.Struct, frozen=True):
    """`n` is the row that raised it; `seen_at` 0 until somebody has said in `word` what it was."""

    n: int
    kind: AlertKind
    door_id: str
    at: int
    seen_at: int
    seen_by: str
    word: str


_COLUMNS = ", ".join(Row.__struct_fields__)


def _rows(tx: Tx, where: str, params: dict) -> list[Row]:
    """`where` is a constant of this file."""
    return [Row(**dict(zip(Row.__struct_fields__, found, strict=True))) for found in tx.all(f"SELECT {_COLUMNS} FROM door_trail WHERE {where}", params)]


# ---- write
def add(tx: Tx, site_id: str, row: Row) -> int:
    """Adds the row; its place in the trail. Whoever watches is told after the commit."""
    n = journal.append(tx, TRAIL, row.at, site_id, tuple(getattr(row, name) for name in _FIELDS))
    tx.tell("door_trail", str(n))
    return n


def stands(tx: Tx, site_id: str, now: int) -> None:
    """Notes in the journal how far the trail has come, so that a trail that was cut off or written anew shows there."""
    head = tx.one("SELECT n, chain FROM door_trail_heads WHERE site_id = :s", {"s": site_id})
    if head is not None and head[0] and _noted(tx, site_id, STANDS) != Noted(site_id, *head):
        records.journal(tx, now, site_id, "agent", TOLD, f"{head[0]}:{head[1]}", STANDS)


def forget(tx: Tx, site_id: str, before_at: int, now: int) -> int:
    """Lets rows that are older go, with alerts that were seen, and says so in the journal. Returns the last row that went, 0 for none."""
    gone = journal.let_go(tx, TRAIL, site_id, before_at)
    if gone is None:
        return 0
    tx.run("DELETE FROM door_alerts WHERE site_id = :s AND n <= :n AND seen_at > 0", {"s": site_id, "n": gone.n})
    records.journal(tx, now, site_id, "agent", TOLD, f"{gone.n}:{gone.chain}", LET_GO)
    return gone.n


# ---- read
def row(tx: Tx, site_id: str, n: int) -> Row | None:
    found = _rows(tx, "site_id = :s AND n = :n", {"s": site_id, "n": n})
    return found[0] if found else None


def has(tx: Tx, site_id: str, key: str) -> bool:
    return tx.one("SELECT 1 FROM door_trail WHERE site_id = :s AND key = :k AND key <> ''", {"s": site_id, "k": key}) is not None


def last_said_ms(tx: Tx, site_id: str) -> int:
    """The newest moment that the controller told of, by its clock; 0 for none."""
    newest = "SELECT said_ms FROM door_trail WHERE site_id = :s ORDER BY n DESC LIMIT :l"
    return tx.one(f"SELECT MAX(said_ms) FROM ({newest})", {"s": site_id, "l": NEWEST})[0] or 0


def page(tx: Tx, site_id: str, *, before_n: int = 0, door_id: str = "", booking_id: str = "", limit: int) -> list[Row]:
    """The newest rows before `before_n` (0: of all), of a door or a booking."""
    where, params = ["site_id = :s"], {"s": site_id, "l": limit}
    for name, value, test in (("before", before_n, "n < :before"), ("door", door_id, "door_id = :door"), ("booking", booking_id, "booking_id = :booking")):
        if value:
            where.append(test)
            params[name] = value
    return _rows(tx, f"{' AND '.join(where)} ORDER BY n DESC LIMIT :l", params)


def asked(tx: Tx, request_id: str) -> Row | None:
    """What we asked of a door under this request."""
    found = _rows(tx, "kind = 'asked' AND ref = :r ORDER BY n DESC LIMIT 1", {"r": request_id}) if request_id else []
    return found[0] if found else None


def last_of(tx: Tx, site_id: str, door_id: str, kinds: tuple[Kind, ...]) -> Row | None:
    """The last row of these kinds at a door."""
    marks = {f"k{number}": kind for number, kind in enumerate(kinds)}
    where = f"site_id = :s AND door_id = :d AND kind IN ({', '.join(f':{name}' for name in marks)}) ORDER BY n DESC LIMIT 1"
    found = _rows(tx, where, {"s": site_id, "d": door_id, **marks})
    return found[0] if found else None


def doors(tx: Tx, site_id: str) -> list[str]:
    """Every door that the trail has rows of."""
    return [found[0] for found in tx.all("SELECT DISTINCT door_id FROM door_trail WHERE site_id = :s AND door_id <> '' ORDER BY door_id", {"s": site_id})]


def let_in_between(tx: Tx, site_id: str, door_id: str, from_at: int, until_at: int) -> bool:
    """Whether anybody was let in at the door then, or the controller took an unlock of ours (or may have)."""
    found = tx.one(
        "SELECT 1 FROM door_trail WHERE site_id = :s AND door_id = :d AND at BETWEEN :a AND :b"
        " AND (kind = 'unlocked' OR (kind = 'asked' AND detail NOT LIKE 'failed:%'))",
        {"s": site_id, "d": door_id, "a": from_at, "b": until_at},
    )
    return found is not None


def count_since(tx: Tx, site_id: str, door_id: str, kind: Kind, since_at: int) -> int:
    return tx.one(
        "SELECT COUNT(*) FROM door_trail WHERE site_id = :s AND door_id = :d AND kind = :k AND at >= :a",
        {"s": site_id, "d": door_id, "k": kind, "a": since_at},
    )[0]


# ---- alerts
_ALERT = ", ".join(Alert.__struct_fields__)


def raise_alert(tx: Tx, site_id: str, kind: AlertKind, row: Row) -> None:
    """`row` with its place `n`."""
    tx.run(
        "INSERT INTO door_alerts (site_id, n, kind, door_id, at) VALUES (:s, :n, :k, :d, :at) ON CONFLICT DO NOTHING",
        {"s": site_id, "n": row.n, "k": kind, "d": row.door_id, "at": row.at},
    )


def standing_alert(tx: Tx, site_id: str, kind: AlertKind, door_id: str, since_at: int) -> bool:
    """Whether one of this kind at this door, from then on, still waits for somebody."""
    found = tx.one(
        "SELECT 1 FROM door_alerts WHERE site_id = :s AND kind = :k AND door_id = :d AND at >= :a AND seen_at = 0",
        {"s": site_id, "k": kind, "d": door_id, "a": since_at},
    )
    return found is not None


def open_alerts(tx: Tx, site_id: str, limit: int = 50) -> list[Alert]:
    """What nobody has looked at yet, the newest first."""
    found = tx.all(f"SELECT {_ALERT} FROM door_alerts WHERE site_id = :s AND seen_at = 0 ORDER BY n DESC LIMIT :l", {"s": site_id, "l": limit})
    return [Alert(*one) for one in found]


def oldest_alerts(tx: Tx, site_id: str, limit: int) -> list[Alert]:
    """What nobody has looked at yet, the oldest first."""
    found = tx.all(f"SELECT {_ALERT} FROM door_alerts WHERE site_id = :s AND seen_at = 0 ORDER BY n LIMIT :l", {"s": site_id, "l": limit})
    return [Alert(*one) for one in found]


def count_alerts(tx: Tx, site_id: str, after_n: int) -> tuple[int, int]:
    """`(all, forced)` of what nobody has looked at yet, behind that row."""
    find = "SELECT COUNT(*), SUM(kind = 'forced') FROM door_alerts WHERE site_id = :s AND seen_at = 0 AND n > :n"
    count, forced = tx.one(find, {"s": site_id, "n": after_n})
    return count, forced or 0


def alert(tx: Tx, site_id: str, n: int) -> Alert | None:
    found = tx.one(f"SELECT {_ALERT} FROM door_alerts WHERE site_id = :s AND n = :n", {"s": site_id, "n": n})
    return Alert(*found) if found else None


def see_alert(tx: Tx, site_id: str, n: int, *, by: str, at: int, word: str) -> None:
    tx.run(
        "UPDATE door_alerts SET seen_at = :at, seen_by = :by, word = :w WHERE site_id = :s AND n = :n",
        {"s": site_id, "n": n, "at": at, "by": by, "w": word},
    )
    tx.tell("door_trail", str(n))
