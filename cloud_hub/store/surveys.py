"""What guests answered when they were asked how it was, and the figures that follow from it.

One row for an order. What somebody wrote is personal data: it is let go of with its row after `KEPT_S`. Invariant: a figure is counted from the rows,
and where there are none there is none.
"""

from __future__ import annotations

import msgspec

from shared.runtime.database import Tx

TABLES = (
    "CREATE TABLE survey_answers (order_id TEXT PRIMARY KEY, site_id TEXT NOT NULL, customer_id TEXT NOT NULL, score INTEGER NOT NULL,"
    " words TEXT NOT NULL, at INTEGER NOT NULL, changed_at INTEGER NOT NULL)",
    "CREATE INDEX survey_answers_at ON survey_answers (at)",
)
KEPT_S = 400 * 86_400


class SurveyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`score` 1 (worst) to 5; `words` as written, perhaps empty; `at` when it was first given, `changed_at` when last (unix seconds)."""

    order_id: str
    site_id: str
    customer_id: str
    score: int
    words: str
    at: int
    changed_at: int


class Counted(msgspec.Struct, frozen=True):
    """The answers about one facility: how many, what their scores add up to, and how many of them are 4 or 5."""

    answers: int = 0
    total: int = 0
    good: int = 0


_COLUMNS = SurveyAnswer.__struct_fields__
_ALL = f"SELECT {', '.join(_COLUMNS)} FROM survey_answers"


def put(tx: Tx, one: SurveyAnswer) -> None:
    """A second answer about an order takes the place of the first; when that was given stays."""
    tx.run(
        f"INSERT INTO survey_answers ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) ON CONFLICT (order_id) DO UPDATE SET"
        " score = excluded.score, words = excluded.words, changed_at = excluded.changed_at",
        msgspec.structs.astuple(one),
    )


def of(tx: Tx, order_id: str) -> SurveyAnswer | None:
    return next(iter(_rows(tx, "WHERE order_id = ?", (order_id,))), None)


def newest(tx: Tx, before: tuple[int, str] | None, limit: int) -> list[SurveyAnswer]:
    """The last given first, from `before` (`(at, order_id)` of the last row of the page before) on."""
    at, order_id = before or (2**62, "")
    return _rows(tx, "WHERE at < ? OR (at = ? AND order_id < ?) ORDER BY at DESC, order_id DESC LIMIT ?", (at, at, order_id, limit))


def counted(tx: Tx, since: int) -> dict[str, Counted]:
    """Facility -> its answers since then. A facility without any is not in it."""
    rows = tx.all(
        "SELECT site_id, COUNT(*), SUM(score), SUM(CASE WHEN score >= 4 THEN 1 ELSE 0 END) FROM survey_answers WHERE at >= ? GROUP BY site_id",
        (since,),
    )
    return {site_id: Counted(*map(int, counts)) for site_id, *counts in rows}


def forget(tx: Tx, now: int) -> int:
    """Lets go of what was said long ago. Returns how many answers."""
    return tx.run("DELETE FROM survey_answers WHERE at < ?", (now - KEPT_S,))


def _rows(tx: Tx, where: str, params: tuple) -> list[SurveyAnswer]:
    return [SurveyAnswer(**dict(zip(_COLUMNS, row, strict=True))) for row in tx.all(f"{_ALL} {where}", params)]
