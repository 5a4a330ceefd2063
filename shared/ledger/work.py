"""Work rows: everything that must reach somebody or something outside, from its cause to its end. Not here: who does it, and how.

A row is written in the transaction that caused it, under an id that says what it is for, so that the same cause writes no second one. It is
claimed, tried, and ends with a reason that a person can read. What may have been done and was not answered is `unknown`: it is looked up, or
waited for, before anything is done again.

Invariant: nothing leaves these states but by the functions here; `done`, `dropped` and `stuck` are ends, and only a person's retry takes a
stuck row back to `waiting`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from typing import Literal

import msgspec

from ..runtime.database import Tx

State = Literal["waiting", "taken", "unknown", "sent", "done", "dropped", "stuck"]
#: states that need nobody any more
ENDED = ("done", "dropped", "stuck")
#: what a row that is over is kept for; a stuck one until somebody has seen to it
KEPT_S = 90 * 86_400
#: rows that one search looks through: some milliseconds
LOOKED_MAX = 10_000


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to be done. Times are unix seconds.

    `kind` names who does it, `lane` whose queue and breaker it is in (a vendor), `subject` what it is about (a booking's id) and `who` whom it
    is for (a customer's id). The lowest `rank` goes first. It is worth nothing after `until_at` (0: always worth something). `body` is JSON for
    who does it. `mark` is what we call it towards the vendor, who says it again in its reports; `ref` is what the vendor calls it: perhaps
    empty, perhaps not the only one of that name. `since_at` is when the try that it stands with was begun (0: none was).
    """

    id: str
    kind: str
    lane: str
    site_id: str = ""
    subject: str = ""
    who: str = ""
    rank: int = 0
    due_at: int = 0
    until_at: int = 0
    state: State = "waiting"
    tries: int = 0
    next_at: int = 0
    lease_at: int = 0
    since_at: int = 0
    mark: str = ""
    ref: str = ""
    code: str = ""
    reason: str = ""
    body: str = ""
    created_at: int = 0
    changed_at: int = 0


TABLES = (
    "CREATE TABLE work (id TEXT PRIMARY KEY, kind TEXT NOT NULL, lane TEXT NOT NULL, site_id TEXT NOT NULL, subject TEXT NOT NULL,"
    " who TEXT NOT NULL, rank INTEGER NOT NULL, due_at INTEGER NOT NULL, until_at INTEGER NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL,"
    " next_at INTEGER NOT NULL, lease_at INTEGER NOT NULL, since_at INTEGER NOT NULL, mark TEXT NOT NULL, ref TEXT NOT NULL,"
    " code TEXT NOT NULL, reason TEXT NOT NULL,"
    " body TEXT NOT NULL, created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL)",
    "CREATE INDEX work_waiting ON work (lane, next_at) WHERE state = 'waiting'",
    "CREATE INDEX work_turn ON work (lane, rank, next_at, id) WHERE state = 'waiting'",
    # with OR, and states in the queries as they stand here: SQLite uses it for nothing else
    "CREATE INDEX work_open ON work (state, next_at) WHERE state = 'taken' OR state = 'unknown' OR state = 'sent' OR state = 'stuck'",
    "CREATE INDEX work_subject ON work (subject)",
    "CREATE UNIQUE INDEX work_mark ON work (mark)",
    "CREATE INDEX work_ref ON work (ref) WHERE ref <> ''",
    "CREATE INDEX work_changed ON work (changed_at)",
    "CREATE INDEX work_counted ON work (lane, state)",
)
_COLUMNS = Work.__struct_fields__
_ALL = f"SELECT {', '.join(_COLUMNS)} FROM work"
_PUT = f"INSERT INTO work ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) ON CONFLICT (id) DO NOTHING"


def mark_of(row_id: str) -> str:
    """A name for vendors that says nothing of anybody: 32 characters of `[A-Za-z0-9_-]`, the same for the same row."""
    return base64.urlsafe_b64encode(hashlib.sha256(row_id.encode()).digest()[:24]).decode()


def put(tx: Tx, row: Work) -> bool:
    """Writes a row down. False where its id is known: the same cause has written it before."""
    row = msgspec.structs.replace(row, mark=mark_of(row.id), next_at=max(row.next_at, row.due_at), changed_at=row.created_at)
    fresh = tx.run(_PUT, msgspec.structs.astuple(row)) > 0
    if fresh and row.state == "waiting":
        tx.tell("work", row.lane)
    return fresh


def one(tx: Tx, row_id: str) -> Work | None:
    """In a transaction that may change it nobody else changes it meanwhile."""
    return next(iter(_rows(tx, f"id = ?{tx.for_update}", (row_id,))), None)


def marked(tx: Tx, mark: str) -> Work | None:
    """The row of a mark, to look at: what changes it asks `reported`, which keeps others from it."""
    return next(iter(_rows(tx, "mark = ?", (mark,))), None)


def about(tx: Tx, subject: str) -> list[Work]:
    """Everything that was or is to be done for a booking, the oldest first."""
    return _rows(tx, "subject = ? ORDER BY created_at, id", (subject,))


def _rows(tx: Tx, where: str, params: tuple = ()) -> list[Work]:
    return [Work(**dict(zip(_COLUMNS, row, strict=True))) for row in tx.all(f"{_ALL} WHERE {where}", params)]


# ---- doing it
def claim(tx: Tx, lane: str, now: int, limit: int, lease_s: int) -> list[Work]:
    """Up to `limit` rows of the lane that are due, the lowest rank first, taken for `lease_s`: who has not said by then how it went has died.
    Two who claim at once get different rows. Nothing is begun for a site whose books here are fenced (loss-1)."""
    # `+` leads to the index in whose order they are wanted; the other would sort all that is due for each few that are taken
    due = _rows(
        tx,
        "state = 'waiting' AND lane = ? AND +next_at <= ? AND site_id NOT IN (SELECT site_id FROM streams WHERE fenced <> '')"
        f" ORDER BY rank, next_at, id LIMIT ?{tx.for_update}",
        (lane, now, limit),
    )
    return [_change(tx, row, now, state="taken", tries=row.tries + 1, lease_at=now + lease_s, since_at=now) for row in due]


def next_at(tx: Tx, lane: str) -> int | None:
    """When something of the lane is due next; None where nothing waits."""
    row = tx.one("SELECT MIN(next_at) FROM work WHERE state = 'waiting' AND lane = ?", (lane,))
    return row[0] if row else None


def later(tx: Tx, row: Work, now: int, at: int, code: str, reason: str, *, tried: bool = True) -> None:
    """Nothing was done, and it is tried again at `at`; where that is after it is worth anything it ends. `tried`: whether it counts as a try."""
    if row.until_at and at >= row.until_at:
        end(tx, row, now, "dropped", "too_late", f"It was worth nothing any more before it could be done: {reason}")
        return
    tries = row.tries if tried else max(0, row.tries - 1)
    _change(tx, row, now, state="waiting", next_at=at, code=code, reason=reason, since_at=0, tries=tries)
    if at <= now:
        tx.tell("work", row.lane)


def prepared(tx: Tx, row: Work, now: int, body: str) -> Work:
    """What exactly is to be done, as it was decided when the row was claimed: what is looked up later is this."""
    return _change(tx, row, now, body=body)


def unknown(tx: Tx, row: Work, now: int, look_at: int, reason: str) -> None:
    """It may have been done: looked up at `look_at`, and not done again before somebody knows."""
    _change(tx, row, now, state="unknown", next_at=look_at, code="unknown", reason=reason)


def sent(tx: Tx, row: Work, now: int, ref: str, expect_by: int) -> None:
    """The vendor has it. Its receipt is expected by `expect_by`."""
    _change(tx, row, now, state="sent", ref=ref, next_at=expect_by, code="", reason="")


def end(tx: Tx, row: Work, now: int, state: State, code: str = "", reason: str = "", ref: str = "") -> None:
    assert state in ENDED, state
    _change(tx, row, now, state=state, code=code, reason=reason, ref=ref or row.ref)


def same_try(a: Work, b: Work) -> bool:
    """Whether both are of one try: what came of an earlier one says nothing of a row that has been claimed again since."""
    return (a.tries, a.lease_at) == (b.tries, b.lease_at)


def died(tx: Tx, now: int, alive: Collection[str] = (), limit: int = 500) -> list[Work]:
    """Rows whose taker has not been heard of within its lease: what he did is unknown. `alive`: ids of those that are being done here, whatever
    the clock says. Called at the start and by the clock."""
    gone = _rows(tx, f"state = 'taken' AND next_at >= 0 AND lease_at <= ? ORDER BY lease_at, id LIMIT ?{tx.for_update}", (now, limit))
    gone = [row for row in gone if row.id not in alive]
    for row in gone:
        unknown(tx, row, now, now, "Whoever was doing it ended before an answer came.")
    return gone


def overdue(tx: Tx, state: Literal["unknown", "sent"], now: int, limit: int = 500, lane: str = "") -> list[Work]:
    """Rows, of one lane or of all, in `unknown` that are to be looked up now, or in `sent` whose receipt has not come in time."""
    assert state in ("unknown", "sent"), state
    of_lane, params = (" AND lane = ?", (lane,)) if lane else ("", ())
    return _rows(tx, f"state = '{state}' AND next_at <= ?{of_lane} ORDER BY next_at, id LIMIT ?{tx.for_update}", (now, *params, limit))


def in_question(tx: Tx, now: int) -> list[str]:
    """Lanes with something to be looked up now."""
    return [lane for (lane,) in tx.all("SELECT DISTINCT lane || '' FROM work WHERE state = 'unknown' AND next_at <= ?", (now,))]


def uncertain(tx: Tx, site_id: str, now: int) -> int:
    """These books were set back (loss-1): what they say is still to be done may have been done, and is not done again by itself. Returns how
    many rows that were."""
    return tx.run(
        "UPDATE work SET state = 'stuck', code = 'unknown', reason = ?, changed_at = ?"
        " WHERE site_id = ? AND state IN ('waiting', 'taken', 'unknown')",
        ("These books were set back to an earlier time, and it may have been done since.", now, site_id),
    )


def reported(tx: Tx, mark: str, ref: str) -> Work | None:
    """The row that a vendor's report is about: by our mark, else by the vendor's name for it where only one has it."""
    where, value = ("mark = ?", mark) if mark else ("ref = ? AND ref <> ''", ref)
    found = _rows(tx, f"{where} ORDER BY id LIMIT 2{tx.for_update}", (value,))
    return found[0] if len(found) == 1 else None


# ---- people
def retry(tx: Tx, row_id: str, now: int) -> Work | None:
    """Somebody wants a stuck or dropped row tried once more, from now on and without an end. None where it is in no such state."""
    row = one(tx, row_id)
    if row is None or row.state not in ("stuck", "dropped"):
        return None
    row = _change(tx, row, now, state="waiting", next_at=now, tries=0, until_at=0, since_at=0)
    tx.tell("work", row.lane)
    return row


class Found(msgspec.Struct, frozen=True):
    """Rows, the last changed first, and where to go on (`before`) for those that changed earlier: None where there are none."""

    rows: list[Work]
    older: tuple[int, str] | None


def found(
    tx: Tx,
    *,
    state: str = "",
    lane: str = "",
    text: str = "",
    before: tuple[int, str] | None = None,
    limit: int = 100,
    look: int = LOOKED_MAX,
) -> Found:
    """Rows for people to look at. `text` is looked for in ids, subjects, customers and reasons. Looks through no more than about `look` rows:
    there may be `older` ones though none was found."""
    where, params = ["1 = 1"], []
    if before is not None:
        where.append("changed_at <= ? AND (changed_at < ? OR id > ?)")
        params += [before[0], *before]
    floor = tx.one(f"SELECT changed_at FROM work WHERE {where[-1]} ORDER BY changed_at DESC LIMIT 1 OFFSET ?", (*params, look))
    if floor is not None:
        where.append("changed_at >= ?")
        params.append(floor[0])
    for column, value in (("state", state), ("lane", lane)):
        if value:
            where.append(f"{column} = ?")
            params.append(value)
    if text:
        like = "%" + text.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"
        where.append("(id LIKE ? ESCAPE '!' OR subject LIKE ? ESCAPE '!' OR who LIKE ? ESCAPE '!' OR reason LIKE ? ESCAPE '!')")
        params += [like] * 4
    rows = _rows(tx, f"{' AND '.join(where)} ORDER BY changed_at DESC, id LIMIT ?", (*params, limit + 1))
    if len(rows) > limit:
        last = rows[limit - 1]
        return Found(rows[:limit], (last.changed_at, last.id))
    return Found(rows, (floor[0] - 1, "") if floor is not None else None)


def stuck(tx: Tx) -> int:
    """How many rows need a person."""
    # `next_at` leads to the index of the few that are not over; the one of all rows would be read instead
    return tx.one("SELECT COUNT(*) FROM work WHERE state = 'stuck' AND next_at >= 0")[0]


def stuck_lanes(tx: Tx) -> list[tuple[str, int, int, str]]:
    """`(lane, rows, since, reason)` of each lane with rows that need a person: how many, since when the first (unix seconds), and its reason."""
    of_lane = "SELECT changed_at, reason FROM work WHERE state = 'stuck' AND next_at >= 0 AND lane = ? ORDER BY changed_at, id LIMIT 1"
    counted = tx.all("SELECT lane || '', COUNT(*) FROM work WHERE state = 'stuck' AND next_at >= 0 GROUP BY lane || '' ORDER BY 1")
    return [(lane, n, *tx.one(of_lane, (lane,))) for lane, n in counted]


def counts(tx: Tx) -> dict[tuple[str, str], int]:
    """`(lane, state)` -> how many rows."""
    return {(lane, state): n for lane, state, n in tx.all("SELECT lane, state, COUNT(*) FROM work GROUP BY lane, state")}


def oldest(tx: Tx, now: int) -> dict[str, int]:
    """Lane -> how many seconds the longest waiting row that is due has waited."""
    return {
        lane: now - at
        for lane, at in tx.all("SELECT lane, MIN(next_at) FROM work WHERE state = 'waiting' AND next_at <= ? GROUP BY lane", (now,))
    }


def forget(tx: Tx, now: int) -> int:
    """Lets go of what was over long ago, and ends what nobody came for in time: no channel of its lane is configured any more. Returns how
    many went."""
    tx.run(
        "UPDATE work SET state = 'dropped', code = 'too_late', reason = ?, changed_at = ? WHERE state = 'waiting' AND until_at > 0 AND until_at <= ?",
        ("Nobody did it before it was worth nothing any more.", now, now),
    )
    return tx.run("DELETE FROM work WHERE state IN ('done', 'dropped') AND changed_at < ?", (now - KEPT_S,))


def forget_kind(tx: Tx, kind: str, before_at: int) -> int:
    """Lets go of rows of a kind that were over before then (unix seconds). Returns how many went."""
    return tx.run("DELETE FROM work WHERE kind = ? AND state IN ('done', 'dropped', 'stuck') AND changed_at < ?", (kind, before_at))


def _change(tx: Tx, row: Work, now: int, **what: object) -> Work:
    row = msgspec.structs.replace(row, changed_at=now, **what)
    names = [*what, "changed_at"]
    tx.run(f"UPDATE work SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?", (*(getattr(row, name) for name in names), row.id))
    return row
