"""Which rule was hit by whom, how often (R10): counts per local day, facility, rule, customer and channel, of the refusals that named it.

Not here: judging (`rules`), and who may read it. A refusal is counted in memory (`RuleTally`) and written with others in a small
transaction of its own, after the answer; a process that dies loses at most the last second. A site tells the hub its counts as they stand;
the hub keeps them beside its own, by `origin`, so that nothing is counted twice.
Invariant: refusals without end make no table without end: a day has at most `ROWS_A_DAY_MAX` rows of a facility and side, and what comes
after is counted as nobody known.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import date

import msgspec

from .. import slots
from ..errors import Failure, Refusal
from ..messages import RuleHitsStated
from ..model import RuleHits
from ..runtime.database import Database, InlineWriter, Tx
from . import records, streams
from .desk import Desk

#: the first schema that knows these messages; nothing of it is sent to an older peer (stream-6)
FIRST_SCHEMA = 3
KEPT_DAYS = 400
#: in a new epoch the days of this long are told again, for a hub that was rebuilt
TOLD_AGAIN_DAYS = 31
ROWS_A_DAY_MAX = 2000
#: counts that wait in memory, and rows in one message
WAITING_MAX, TOLD_AT_ONCE = 100, 200

TABLES = (
    "CREATE TABLE rule_hits (site_id TEXT NOT NULL, day TEXT NOT NULL, origin TEXT NOT NULL, rule TEXT NOT NULL, code TEXT NOT NULL,"
    " customer_id TEXT NOT NULL, channel TEXT NOT NULL, hits INTEGER NOT NULL, last_at INTEGER NOT NULL, told_epoch TEXT NOT NULL DEFAULT '',"
    " told_hits INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (site_id, day, origin, code, customer_id, channel))",
    "CREATE INDEX rule_hits_customer ON rule_hits (customer_id, day)",
    "CREATE INDEX rule_hits_day ON rule_hits (day)",
)


class Key(msgspec.Struct, frozen=True):
    """What one count is of."""

    site_id: str
    rule: str
    code: str
    customer_id: str
    channel: str


class Hits(msgspec.Struct, frozen=True):
    """One line of a summary: how often, by how many customers that are known, and when last (unix seconds)."""

    site_id: str
    rule: str
    code: str
    channel: str
    hits: int
    customers: int
    last_at: int


class Guest(msgspec.Struct, frozen=True):
    """A known customer of a facility's refusals: how often, by how many rules, and when last."""

    customer_id: str
    hits: int
    codes: tuple[str, ...]
    last_at: int


class RuleTally:
    """Takes refusals as they happen. `count(code)` is told of each; `flush` is called about once a second."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, count: Callable[[str], None]):
        self._db, self._desk, self._count = db, desk, count
        self._waiting: dict[Key, tuple[int, int]] = {}
        self._flushing: asyncio.Task | None = None

    def note(self, site_id: str, refusal: Refusal, customer_id: str, channel: str) -> None:
        """Counts every rule that the refusal names; one that names none is no matter of rules. Writes nothing yet."""
        for rule, code in dict.fromkeys((violation.rule, violation.code) for violation in refusal.violations):
            self._count(code)
            key = Key(site_id, rule, code, customer_id, channel)
            if key not in self._waiting and len(self._waiting) >= WAITING_MAX:
                key = msgspec.structs.replace(key, customer_id="")
            hits, _ = self._waiting.get(key, (0, 0))
            self._waiting[key] = (hits + 1, self._desk.now())
        if len(self._waiting) >= WAITING_MAX and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.get_running_loop().create_task(self._flush_early())

    async def stop(self) -> None:
        """What still waits is written down, if it can be."""
        await self._flush_early()

    async def _flush_early(self) -> None:
        with contextlib.suppress(Failure):  # the next flush by the clock says so again, to whoever listens
            await self.flush()

    async def flush(self) -> int:
        """Writes down what waits. Returns how many counts. Where the books cannot be written they wait on, and the failure is raised."""
        told, self._waiting = self._waiting, {}
        if not told:
            return 0
        try:
            await self._db.write(lambda tx: add(tx, self._desk, told))
        except Exception:
            for key, (hits, at) in told.items():
                if key in self._waiting or len(self._waiting) < 2 * WAITING_MAX:
                    more, last_at = self._waiting.get(key, (0, 0))
                    self._waiting[key] = (hits + more, max(at, last_at))
            raise
        return len(told)


# ---- writing
def add(tx: Tx, desk: Desk, counted: dict[Key, tuple[int, int]]) -> None:
    """Adds counts of this side to what stands: per key how often, and when last."""
    room: dict[tuple[str, str], int] = {}
    for key, (hits, at) in counted.items():
        day = local_day(tx, key.site_id, at).isoformat()
        if (key.site_id, day) not in room:
            room[key.site_id, day] = ROWS_A_DAY_MAX - _rows(tx, key.site_id, day, desk.side)
        if not _add(tx, desk.side, key, day, hits, at):
            if room[key.site_id, day] <= 0:
                key = msgspec.structs.replace(key, customer_id="")
                if _add(tx, desk.side, key, day, hits, at):
                    continue
            room[key.site_id, day] -= 1
            _put(tx, key.site_id, desk.side, RuleHits(day=day, rule=key.rule, code=key.code, channel=key.channel, customer_id=key.customer_id,
                                                      hits=hits, last_at=at))  # fmt: skip


def local_day(tx: Tx, site_id: str, at: int) -> date:
    """By the facility's calendar; by that of UTC where it has not stated itself."""
    facility = records.facility(tx, site_id)
    return slots.local_day(facility.zone if facility else "UTC", at // 900)


def _rows(tx: Tx, site_id: str, day: str, origin: str) -> int:
    return tx.one("SELECT COUNT(*) FROM rule_hits WHERE site_id = :s AND day = :d AND origin = :o", {"s": site_id, "d": day, "o": origin})[
        0
    ]


def _add(tx: Tx, origin: str, key: Key, day: str, hits: int, at: int) -> bool:
    """Adds to a row that is there. False where there is none."""
    return bool(
        tx.run(
            "UPDATE rule_hits SET hits = hits + :n, last_at = :at WHERE site_id = :s AND day = :d AND origin = :o AND code = :c"
            " AND customer_id = :who AND channel = :ch",
            {"n": hits, "at": at, "s": key.site_id, "d": day, "o": origin, "c": key.code, "who": key.customer_id, "ch": key.channel},
        )
    )


def _put(tx: Tx, site_id: str, origin: str, row: RuleHits) -> None:
    """Writes a count as it stands; a lower one never takes the place of a higher."""
    tx.run(
        "INSERT INTO rule_hits (site_id, day, origin, rule, code, customer_id, channel, hits, last_at)"
        " VALUES (:s, :d, :o, :r, :c, :who, :ch, :n, :at) ON CONFLICT (site_id, day, origin, code, customer_id, channel)"
        " DO UPDATE SET hits = excluded.hits, last_at = excluded.last_at WHERE excluded.hits > rule_hits.hits",
        {
            "s": site_id, "d": row.day, "o": origin, "r": row.rule, "c": row.code, "who": row.customer_id, "ch": row.channel, "n": row.hits,
            "at": row.last_at,
        },
    )  # fmt: skip


# ---- the link
def untold(tx: Tx, desk: Desk, site_id: str) -> bool:
    """At the site: whether there is something to tell, and a hub that would understand it."""
    stream = streams.read(tx, site_id)
    return stream is not None and _flows(stream) and bool(_untold(tx, desk, stream, 1))


def tell(tx: Tx, desk: Desk, site_id: str) -> int:
    """Tells the hub the site's counts that it has not been told, a message of them at a time. Returns how many."""
    stream = streams.lock(tx, site_id)
    if not _flows(stream):
        return 0
    rows = _untold(tx, desk, stream, TOLD_AT_ONCE)
    if not rows:
        return 0
    streams.append(tx, desk, site_id, RuleHitsStated(rows=tuple(rows)))
    for row in rows:
        tx.run(
            "UPDATE rule_hits SET told_epoch = :e, told_hits = :n WHERE site_id = :s AND day = :d AND origin = :o AND code = :c"
            " AND customer_id = :who AND channel = :ch",
            {
                "e": stream.epoch,
                "n": row.hits,
                "s": site_id,
                "d": row.day,
                "o": desk.side,
                "c": row.code,
                "who": row.customer_id,
                "ch": row.channel,
            },
        )
    return len(rows)


def _flows(stream: streams.Stream) -> bool:
    return bool(stream.epoch) and stream.peer_schema >= FIRST_SCHEMA and not (stream.closed or stream.retired)


def _untold(tx: Tx, desk: Desk, stream: streams.Stream, limit: int) -> list[RuleHits]:
    rows = tx.all(
        "SELECT day, rule, code, channel, hits, last_at, customer_id FROM rule_hits WHERE site_id = :s AND day >= :from AND origin = :o"
        " AND (told_hits < hits OR (told_epoch <> :e AND day >= :again)) ORDER BY day, code, customer_id, channel LIMIT :n",
        {
            "s": stream.site_id, "o": desk.side, "e": stream.epoch, "n": limit, "from": _days_ago(desk.now(), KEPT_DAYS),
            "again": _days_ago(desk.now(), TOLD_AGAIN_DAYS),
        },
    )  # fmt: skip
    names = ("day", "rule", "code", "channel", "hits", "last_at", "customer_id")
    return [RuleHits(**dict(zip(names, row, strict=True))) for row in rows]


def apply(tx: Tx, desk: Desk, message: RuleHitsStated, site_id: str) -> None:
    """At the hub: the site's counts as they stand there."""
    if desk.side != "hub":
        return
    for row in message.rows:
        _put(tx, site_id, "site", row)


# ---- reading
def by_rule(tx: Tx, site_id: str, now: int, days: int) -> list[Hits]:
    """Per rule and channel of a facility, of the last `days` days, the most frequent first."""
    rows = tx.all(
        "SELECT site_id, rule, code, channel, SUM(hits), COUNT(DISTINCT CASE WHEN customer_id <> '' THEN customer_id END), MAX(last_at)"
        " FROM rule_hits WHERE site_id = :s AND day > :from GROUP BY site_id, rule, code, channel ORDER BY 5 DESC, code, channel",
        {"s": site_id, "from": _days_ago(now, days)},
    )
    return _summed(rows)


def by_customer(tx: Tx, customer_id: str, now: int, days: int = KEPT_DAYS) -> list[Hits]:
    """What one customer was refused, also under ids that were merged into theirs: per facility, rule and channel, the most frequent first."""
    ids = ids_of(tx, customer_id)
    rows = tx.all(
        "SELECT site_id, rule, code, channel, SUM(hits), 1, MAX(last_at) FROM rule_hits"
        f" WHERE customer_id IN ({', '.join('?' * len(ids))}) AND day > ? GROUP BY site_id, rule, code, channel ORDER BY 5 DESC, code, channel",
        (*ids, _days_ago(now, days)),
    )
    return _summed(rows)


def _summed(rows: Sequence[tuple]) -> list[Hits]:
    # PostgreSQL's sums are no plain numbers
    return [Hits(*names, int(hits), int(customers), int(last_at)) for *names, hits, customers, last_at in rows]


def guests(tx: Tx, site_id: str, now: int, days: int, limit: int) -> list[Guest]:
    """The known customers who were refused most often, merged ones as one."""
    rows = tx.all(
        "SELECT customer_id, code, SUM(hits), MAX(last_at) FROM rule_hits WHERE site_id = :s AND day > :from AND customer_id <> ''"
        " GROUP BY customer_id, code",
        {"s": site_id, "from": _days_ago(now, days)},
    )
    found: dict[str, Guest] = {}
    for customer_id, code, hits, last_at in rows:
        who = records.alias(tx, customer_id)
        so_far = found.get(who, Guest(who, 0, (), 0))
        codes = tuple(sorted({*so_far.codes, code}))
        found[who] = Guest(who, so_far.hits + int(hits), codes, max(so_far.last_at, last_at))
    return sorted(found.values(), key=lambda one: (-one.hits, one.customer_id))[:limit]


def ids_of(tx: Tx, customer_id: str) -> list[str]:
    """Every id that leads to the same customer (own-6)."""
    found = [records.alias(tx, customer_id)]
    for one in found:
        olds = tx.all("SELECT old_id FROM aliases WHERE new_id = :n ORDER BY old_id", {"n": one})
        found += [old for (old,) in olds if old not in found]
    return found


def forget(tx: Tx, now: int) -> int:
    """Lets go what is older than `KEPT_DAYS`. Returns how many rows."""
    return tx.run("DELETE FROM rule_hits WHERE day < :d", {"d": _days_ago(now, KEPT_DAYS)})


def _days_ago(now: int, days: int) -> str:
    """A day as rows name it, by the calendar of UTC: a facility's may be one off."""
    return date.fromordinal(date(1970, 1, 1).toordinal() + now // 86_400 - days).isoformat()
