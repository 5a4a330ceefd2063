"""Facility notices (B22): what guests must know, written by the hub for any facility or by staff at theirs, shown on both sides.

Not here: how they look, and who may write them. A notice's words never change and its end is for good, so the two copies need no owner
beyond that: the later version is the only other one there can be. It is told to the peer when its schema knows it and anew in every epoch,
so that a side that was restored, rebuilt or upgraded has them all again.
Invariant: what is ended stays ended on both sides, whoever hears what in whatever order.
"""

from __future__ import annotations

import msgspec

from ..errors import refuse
from ..messages import NoticeStated
from ..model import Notice
from ..runtime.database import Tx
from . import records, streams
from .desk import Desk

#: the first schema that knows these messages; nothing of it is sent to an older peer (stream-6)
FIRST_SCHEMA = 3
TEXT_MAX = 240
#: shown at a time on a page; kept open at a time, and how far ahead, per facility
SHOWN_MAX, OPEN_MAX, DAYS_MAX = 4, 20, 366
LEVELS = ("critical", "warning", "info")

TABLES = (
    "CREATE TABLE notices (site_id TEXT NOT NULL, id TEXT NOT NULL, from_at INTEGER NOT NULL, until_at INTEGER NOT NULL, ended INTEGER NOT NULL,"
    " version INTEGER NOT NULL, told_epoch TEXT NOT NULL DEFAULT '', told_version INTEGER NOT NULL DEFAULT 0, doc TEXT NOT NULL,"
    " PRIMARY KEY (site_id, id))",
    "CREATE INDEX notices_until ON notices (site_id, until_at)",
)
_notice = msgspec.json.Decoder(Notice).decode


# ---- writing
def sound(notice: Notice, now: int) -> Notice:
    """The notice with its blanks put right. Refuses `bad_request` for its words, `bad_interval` for its time."""
    text, french = " ".join(notice.text.split()), " ".join(notice.text_fr.split())
    if not text:
        raise refuse("bad_request", "Please write what guests must know.")
    for one in (text, french):
        if len(one) > TEXT_MAX or not one.isprintable():
            raise refuse("bad_request", f"A notice has at most {TEXT_MAX} characters and no control characters; this one has {len(one)}.")
    if notice.level not in LEVELS:
        raise refuse("bad_request", "A notice is of the level info, warning or critical.")
    if notice.until_at <= max(now, notice.from_at):
        raise refuse("bad_interval", "A notice ends after now, and after it begins.")
    if notice.until_at > now + DAYS_MAX * 86_400:
        raise refuse("bad_interval", f"A notice is for at most {DAYS_MAX} days from now; write it again then.")
    return msgspec.structs.replace(notice, text=text, text_fr=french, ended=False, version=1)


def state(tx: Tx, desk: Desk, notice: Notice) -> Notice:
    """Writes a notice and tells the other side. The same id again, with the same words and end, gives the notice as it stands.

    Refuses as `sound` does, `facility_not_found`, `id_reused` (another notice has this id), `too_many_notices`.
    """
    streams.lock(tx, notice.site_id)
    notice = sound(notice, desk.now())
    known = one(tx, notice.site_id, notice.id)
    if known is not None:
        if msgspec.structs.replace(known, ended=False, version=1, from_at=notice.from_at, by=notice.by) != notice:
            raise refuse("id_reused", "This notice's id was used for another one.")
        return known
    if len(upcoming(tx, notice.site_id, desk.now())) >= OPEN_MAX:
        raise refuse(
            "too_many_notices", f"A facility has at most {OPEN_MAX} notices at a time. Please end one that is not needed any more."
        )
    _put(tx, notice)
    records.journal(tx, desk.now(), notice.site_id, notice.by, "notice", notice.id, f"{notice.level}: {notice.text}")
    tell(tx, desk, notice.site_id)
    return notice


def end(tx: Tx, desk: Desk, site_id: str, notice_id: str, *, by: str) -> Notice:
    """Takes a notice down, whichever side wrote it. One that is down already stays so. Refuses `facility_not_found`, `notice_not_found`."""
    streams.lock(tx, site_id)
    known = one(tx, site_id, notice_id)
    if known is None:
        raise refuse("notice_not_found", "This notice is not known.")
    if known.ended:
        return known
    ended = _put(tx, msgspec.structs.replace(known, ended=True, version=known.version + 1))
    records.journal(tx, desk.now(), site_id, by, "notice ended", notice_id, known.text)
    tell(tx, desk, site_id)
    return ended


def _put(tx: Tx, notice: Notice) -> Notice:
    tx.run(
        "INSERT INTO notices (site_id, id, from_at, until_at, ended, version, doc) VALUES (:s, :id, :f, :u, :e, :v, :doc)"
        " ON CONFLICT (site_id, id) DO UPDATE SET ended = excluded.ended, version = excluded.version, doc = excluded.doc",
        {
            "s": notice.site_id, "id": notice.id, "f": notice.from_at, "u": notice.until_at, "e": int(notice.ended), "v": notice.version,
            "doc": records.text(notice),
        },
    )  # fmt: skip
    tx.tell("notice", notice.site_id)
    return notice


# ---- the link
def apply(tx: Tx, desk: Desk, message: NoticeStated) -> None:
    """The peer's copy: taken where it is new here, or ends what stands here."""
    told = message.notice
    epoch = streams.lock(tx, told.site_id).epoch
    known = one(tx, told.site_id, told.id)
    if known is None or known.version < told.version:
        _put(tx, told)
        _told(tx, epoch, told)
    elif known.version == told.version:
        _told(tx, epoch, known)


def untold(tx: Tx, site_id: str, now: int) -> bool:
    """Whether there is something to tell, and a peer that would understand it; asked every few seconds."""
    stream = streams.read(tx, site_id)
    return stream is not None and _flows(stream) and bool(_untold(tx, stream, now))


def tell(tx: Tx, desk: Desk, site_id: str) -> int:
    """Tells the peer what it has not been told in this epoch and is not past. Returns how many; 0 while it could not take them in."""
    stream = streams.lock(tx, site_id)
    if not _flows(stream):
        return 0
    news = _untold(tx, stream, desk.now())
    for notice in news:
        streams.append(tx, desk, site_id, NoticeStated(notice=notice))
        _told(tx, stream.epoch, notice)
    return len(news)


def _flows(stream: streams.Stream) -> bool:
    return bool(stream.epoch) and stream.peer_schema >= FIRST_SCHEMA and not (stream.closed or stream.retired)


def _untold(tx: Tx, stream: streams.Stream, now: int) -> list[Notice]:
    rows = tx.all(
        "SELECT doc FROM notices WHERE site_id = :s AND until_at > :now AND (told_epoch <> :e OR told_version < version) ORDER BY until_at, id",
        {"s": stream.site_id, "now": now, "e": stream.epoch},
    )
    return [_notice(row[0]) for row in rows]


def _told(tx: Tx, epoch: str, notice: Notice) -> None:
    tx.run(
        "UPDATE notices SET told_epoch = :e, told_version = :v WHERE site_id = :s AND id = :id",
        {"e": epoch, "v": notice.version, "s": notice.site_id, "id": notice.id},
    )


# ---- reading
def one(tx: Tx, site_id: str, notice_id: str) -> Notice | None:
    row = tx.one("SELECT doc FROM notices WHERE site_id = :s AND id = :id", {"s": site_id, "id": notice_id})
    return _notice(row[0]) if row else None


def upcoming(tx: Tx, site_id: str, now: int) -> tuple[Notice, ...]:
    """All that are neither past nor ended, shown already or not, the most urgent first."""
    rows = tx.all("SELECT doc FROM notices WHERE site_id = :s AND until_at > :now AND ended = 0", {"s": site_id, "now": now})
    return tuple(sorted((_notice(row[0]) for row in rows), key=_urgency))


def current(tx: Tx, site_id: str, now: int) -> tuple[Notice, ...]:
    """What is shown now: critical first, then the newest, at most `SHOWN_MAX`."""
    return tuple(notice for notice in upcoming(tx, site_id, now) if notice.from_at <= now)[:SHOWN_MAX]


def during(tx: Tx, site_id: str, now: int, starts_at: int, ends_at: int) -> tuple[Notice, ...]:
    """What stands while a visit lasts, as `current`."""
    return tuple(one for one in upcoming(tx, site_id, now) if one.from_at < ends_at and one.until_at > starts_at)[:SHOWN_MAX]


def texts(tx: Tx, site_id: str, language: str, now: int, starts_at: int, ends_at: int) -> tuple[str, ...]:
    """The words of `during`, for a letter: French ("fr") where there are French ones, else English."""
    found = during(tx, site_id, now, starts_at, ends_at)
    return tuple((notice.text_fr if language == "fr" else "") or notice.text for notice in found)


def _urgency(notice: Notice) -> tuple[int, int, str]:
    return LEVELS.index(notice.level), -notice.from_at, notice.id


def forget(tx: Tx, before_at: int) -> int:
    """Lets notices go whose time was over before then. One that was ended early stays until then, or a peer long dark would bring it back."""
    return tx.run("DELETE FROM notices WHERE until_at < :at", {"at": before_at})
