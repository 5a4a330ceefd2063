"""What people at a site must see to just now, told to the hub, whose staff hear of it wherever they are (D5, D6).

Not here: what is an alarm (the site's services know), nor who is told (the hub's digest). The site states them whole, from their beginning to their
end, and anew in every epoch, so that a hub that was rebuilt has them all again.
Invariant: what has ended stays ended on both sides, whoever hears what in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..messages import AlarmStated
from ..model import SiteAlarm
from ..runtime.database import Tx
from . import streams
from .desk import Desk

#: the first schema that knows these messages; nothing of it is sent to an older peer (stream-6)
FIRST_SCHEMA = 4
#: of a facility at a time; what is more waits until one of them is over
OPEN_MAX = 50
KEPT_S = 30 * 86_400

TABLES = (
    "CREATE TABLE site_alarms (site_id TEXT NOT NULL, id TEXT NOT NULL, since_at INTEGER NOT NULL, ended INTEGER NOT NULL,"
    " told_epoch TEXT NOT NULL DEFAULT '', told_ended INTEGER NOT NULL DEFAULT 0, doc TEXT NOT NULL, PRIMARY KEY (site_id, id))",
    "CREATE INDEX site_alarms_open ON site_alarms (site_id, ended)",
)
#: asked every second: most are a month of those that have ended and were told of, which the index passes by
TOLD = ("CREATE INDEX site_alarms_told ON site_alarms (site_id, ended, told_ended, told_epoch)", "DROP INDEX site_alarms_open")
_UNTOLD = """SELECT doc FROM (
    SELECT since_at, id, doc FROM site_alarms WHERE site_id = :s AND ended = 0 AND told_epoch <> :e
    UNION ALL SELECT since_at, id, doc FROM site_alarms WHERE site_id = :s AND ended = 1 AND told_ended = 0 AND told_epoch > ''
    UNION ALL SELECT since_at, id, doc FROM site_alarms WHERE site_id = :s AND ended = 1 AND told_ended = 1 AND told_epoch > '' AND told_epoch < :e
    UNION ALL SELECT since_at, id, doc FROM site_alarms WHERE site_id = :s AND ended = 1 AND told_ended = 1 AND told_epoch > :e
) AS untold ORDER BY since_at, id"""
_alarm = msgspec.json.Decoder(SiteAlarm).decode
replace = msgspec.structs.replace


def current(tx: Tx, site_id: str) -> list[SiteAlarm]:
    """What stands, the oldest first."""
    rows = tx.all("SELECT doc FROM site_alarms WHERE site_id = :s AND ended = 0 ORDER BY since_at, id", {"s": site_id})
    return [_alarm(row[0]) for row in rows]


def _one(tx: Tx, site_id: str, alarm_id: str) -> SiteAlarm | None:
    row = tx.one("SELECT doc FROM site_alarms WHERE site_id = :s AND id = :id", {"s": site_id, "id": alarm_id})
    return _alarm(row[0]) if row else None


def _put(tx: Tx, alarm: SiteAlarm) -> None:
    tx.run(
        "INSERT INTO site_alarms (site_id, id, since_at, ended, doc) VALUES (:s, :id, :at, :e, :doc)"
        " ON CONFLICT (site_id, id) DO UPDATE SET ended = excluded.ended, doc = excluded.doc",
        {"s": alarm.site_id, "id": alarm.id, "at": alarm.since_at, "e": int(alarm.ended), "doc": msgspec.json.encode(alarm).decode()},
    )
    tx.tell("site_alarm", alarm.id)


# ---- at the site
def differs(tx: Tx, site_id: str, standing: Iterable[SiteAlarm]) -> bool:
    """Whether what stands now is other than what is in the books, or the hub lacks some of it; asked every second."""
    stream = streams.read(tx, site_id)
    return bool(_changes(tx, site_id, standing)) or (streams.takes(stream, FIRST_SCHEMA) and bool(_untold(tx, stream)))


def _changes(tx: Tx, site_id: str, standing: Iterable[SiteAlarm]) -> list[SiteAlarm]:
    """What is to be written: the ends of what stands no more, and what is new, as far as there is room."""
    now = {one.id: one for one in standing}
    known = {one.id: one for one in current(tx, site_id)}
    ended = [replace(one, ended=True) for one in known.values() if one.id not in now]
    news = [one for one in now.values() if one.id not in known and _one(tx, site_id, one.id) is None]
    return ended + news[: max(0, OPEN_MAX - len(known) + len(ended))]


def state(tx: Tx, desk: Desk, site_id: str, standing: Iterable[SiteAlarm]) -> int:
    """Brings the books to what stands now, and tells the hub what it lacks. An id that has ended does not come back. Returns how many were told."""
    stream = streams.lock(tx, site_id)
    for alarm in _changes(tx, site_id, standing):
        _put(tx, alarm)
    return _tell(tx, desk, stream)


def _tell(tx: Tx, desk: Desk, stream: streams.Stream) -> int:
    if not streams.takes(stream, FIRST_SCHEMA):
        return 0
    news = _untold(tx, stream)
    for alarm in news:
        streams.append(tx, desk, stream.site_id, AlarmStated(alarm=alarm))
        tx.run(
            "UPDATE site_alarms SET told_epoch = :e, told_ended = :x WHERE site_id = :s AND id = :id",
            {"e": stream.epoch, "x": int(alarm.ended), "s": stream.site_id, "id": alarm.id},
        )
    return len(news)


def _untold(tx: Tx, stream: streams.Stream) -> list[SiteAlarm]:
    """What stands and was not told in this epoch; what has ended and was told to stand, or was told of in another epoch: a hub that was set back
    may have it standing again."""
    rows = tx.all(_UNTOLD, {"s": stream.site_id, "e": stream.epoch})
    return [_alarm(row[0]) for row in rows]


# ---- at the hub
def apply(tx: Tx, desk: Desk, message: AlarmStated) -> None:
    """The site's word, unless it is older than what is known."""
    alarm = message.alarm
    known = _one(tx, alarm.site_id, alarm.id)
    if desk.side == "hub" and (known is None or (alarm.ended and not known.ended)):
        _put(tx, alarm)


# ---- both
def forget(tx: Tx, now: int) -> int:
    """Lets go what began a month ago and is over. Returns how many."""
    return tx.run("DELETE FROM site_alarms WHERE ended = 1 AND since_at < :at", {"at": now - KEPT_S})
