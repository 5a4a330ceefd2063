"""The staff's digest: follows the conditions that the hub is in, and asks for a note where somebody is to be told (on Slack).

What is urgent is told at once, but gathered: a note every `EVERY_S` at the most, each condition once when it begins and once when it ends. All else
waits for the digest of the day. A note is a work row of the kind `staff`; what stands in it is decided when it is its turn. Not here: what is amiss
(`conditions`), the words of a note, and what of it counts as told (`staff_notes`).

Invariant: what has begun, ended and been told stands in the books, so that a restart, or a replica, repeats nothing.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from shared.ledger import work
from shared.ledger.desk import Desk
from shared.ledger.work import Work
from shared.runtime.database import Database, InlineWriter, Tx

from ..config import DigestSettings
from ..store import settings
from ..store import told_conditions as told
from ..store.told_conditions import Row
from .conditions import ALL, OF_CLOCK, Condition, Conditions, Judged
from .staff_notes import KIND, TOLD_AT, Note, Notes, is_news

#: what begins together is told together; a note follows another so late at the earliest
GATHER_S, EVERY_S = 10, 300
#: after this a note is worth nothing: another takes its place, judged anew
NOTE_S = 3600
#: a digest that could not be sent so long is not sent any more
DIGEST_S = 6 * 3600
#: a condition that comes back so soon has not ended; one that nobody was told of and that was over so soon is nobody's news
BACK_S, BRIEF_S = 300, 120
#: how many notes were asked for; from when on digests are due
NOTES, SINCE = "staff_notes", "staff_digests_since"


class Change(NamedTuple):
    """What a look found to be different: rows to be entered or to be replaced, and rows to be let go of."""

    put: list[Row]
    drop: list[Row]


class Digest:
    """`wanted` None, or no `lane` of a channel: there is nobody to tell, and nothing is done."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, conditions: Conditions, notes: Notes, wanted: DigestSettings | None, lane: str
    ):
        self._db, self._desk, self._conditions, self._notes, self._wanted, self._lane = db, desk, conditions, notes, wanted, lane

    async def look(self) -> int:
        """Follows what has begun and ended since the last look, and asks for what is to be told. Returns how many notes were asked for."""
        if self._wanted is None or not self._lane:
            return 0
        doubt = bool(self._desk.clock_doubt())
        now = int(self._desk.believed()) if doubt else self._desk.now()
        judged = self._conditions.judged(OF_CLOCK if doubt else ALL)
        if doubt:  # what else is so cannot be told by a clock in doubt, and nobody is written to meanwhile
            judged = Judged(judged.open, frozenset(ALL) - frozenset(OF_CLOCK) | {"fault"})
        self._notes.look(judged, self._desk.now())
        change, wants = self._db.read(lambda tx: (self._change(tx, judged, now), self._wants(tx, now)))
        if not (change.put or change.drop or wants):
            return 0
        return await self._db.write(lambda tx: self._follow(tx, judged, now))

    def _follow(self, tx: Tx, judged: Judged, now: int) -> int:
        change = self._change(tx, judged, now)
        for row in change.drop:
            told.drop(tx, row.key)
        for row in change.put:
            told.put(tx, row)
        return self._ask_for_note(tx, now) + self._ask_for_digest(tx, now)

    # ---- what has changed
    def _change(self, tx: Tx, judged: Judged, now: int) -> Change:
        known = told.rows(tx)
        going = {row.id: row for row in known if not row.ended_at}
        change = Change([], [])
        for one in judged.open.values():
            if (row := self._begun(one, going, known, now)) is not None:
                change.put.append(row)
        for row in going.values():
            if row.id in judged.open or judged.is_undecided(row.id):
                continue
            brief, site_id = not row.urgent and not row.told and now - row.since_at < BRIEF_S, _site(row)
            if brief or (site_id and not self._conditions.links.enrolled(site_id)):
                change.drop.append(row)
            else:
                change.put.append(msgspec.structs.replace(row, ended_at=max(now, 1)))
        return change

    def _begun(self, one: Condition, going: dict[str, Row], known: list[Row], now: int) -> Row | None:
        """The row of a condition that stands, where it is another than the books have."""
        urgent = one.urgent and self._wanted.urgent
        row = going.get(one.id)
        if row is None:
            row = next((r for r in reversed(known) if r.id == one.id and r.ended_at and 0 <= now - r.ended_at < BACK_S), None)
            if row is None:
                return Row(one.id, one.since_at or now, 0, urgent, 0, _doc(one))
        elif row.urgent or not urgent:
            return None  # what was urgent stays so to its end, which is told as its beginning was
        return msgspec.structs.replace(row, ended_at=0, urgent=row.urgent or urgent, doc=_doc(one))

    # ---- what is asked for
    def _wants(self, tx: Tx, now: int) -> bool:
        """Whether a note or the digest of the day is to be asked for."""
        day = self._due_digest(tx, now)
        return not settings.get(tx, SINCE) or day is not None or (self._has_news(tx, now) and not self._is_asked(tx, now))

    @staticmethod
    def _has_news(tx: Tx, now: int) -> bool:
        return any(is_news(row, now) for row in told.rows(tx))

    @staticmethod
    def _is_asked(tx: Tx, now: int) -> bool:
        """Whether a note that will tell of all of it waits for its turn, or is under way."""
        row = work.one(tx, _note_id(int(settings.get(tx, NOTES) or 0)))
        return row is not None and (row.state == "taken" or (row.state == "waiting" and now < row.until_at))

    def _ask_for_note(self, tx: Tx, now: int) -> int:
        if not self._has_news(tx, now) or self._is_asked(tx, now):
            return 0
        n = int(settings.get(tx, NOTES) or 0) + 1  # counted on, so that of two replicas one asks
        settings.put(tx, NOTES, str(n))
        due_at = max(now + GATHER_S, int(settings.get(tx, TOLD_AT) or 0) + EVERY_S)
        return self._put(tx, _note_id(n), Note(event="news"), due_at, due_at + NOTE_S, now)

    def _ask_for_digest(self, tx: Tx, now: int) -> int:
        if not settings.get(tx, SINCE):
            settings.put(tx, SINCE, str(now))
        day = self._due_digest(tx, now)
        if day is None:
            return 0
        told.forget(tx, now)
        due_at = due_of(self._wanted, day)
        return self._put(tx, _digest_id(day), Note(event="digest", day=day.isoformat()), due_at, due_at + DIGEST_S, now)

    def _due_digest(self, tx: Tx, now: int) -> date | None:
        """The day whose digest is due and was not asked for."""
        today = datetime.fromtimestamp(now, ZoneInfo(self._wanted.zone)).date()
        for day in (today, today - timedelta(days=1)):
            due_at = due_of(self._wanted, day)
            if int(settings.get(tx, SINCE) or now) <= due_at <= now < due_at + DIGEST_S and work.one(tx, _digest_id(day)) is None:
                return day
        return None

    def _put(self, tx: Tx, row_id: str, note: Note, due_at: int, until_at: int, now: int) -> int:
        body = msgspec.json.encode(note).decode()
        row = Work(id=row_id, kind=KIND, lane=self._lane, due_at=due_at, until_at=until_at, body=body, created_at=now)
        return int(work.put(tx, row))


def due_of(wanted: DigestSettings, day: date) -> int:
    """When the digest of a day is due (unix seconds); where the clocks skip that time, as much later, where they show it twice, the first time."""
    hour, minute = (int(part) for part in wanted.at.split(":"))
    return int(datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(wanted.zone)).timestamp())


def _note_id(n: int) -> str:
    return f"{KIND}|news|{n}"


def _digest_id(day: date) -> str:
    return f"{KIND}|digest|{day.isoformat()}"


def _doc(one: Condition) -> str:
    return msgspec.json.encode(one).decode()


def _site(row: Row) -> str:
    return msgspec.json.decode(row.doc, type=Condition).site_id
