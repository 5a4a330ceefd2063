"""Notes to the staff: the rows of the kind `staff`, written when it is their turn, of what stands then.

What has ended meanwhile is told as over, or not at all; what a note told of counts as told once its channel has taken it. A note whose answer was lost
is not sent again: what it told of still counts as untold, and stands in the next one. Not here: when a note is asked for (`digest`).

Invariant: of a guest a note says the name as shown and the order, nothing else; what others typed stands on a line of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from shared import slots
from shared.ledger import records, work
from shared.ledger.desk import Desk
from shared.ledger.work import Work
from shared.ledger.worker import Drop, Wait
from shared.outcomes import Misconfigured, Never, Outcome, Taken, Unknown
from shared.runtime.database import Tx

from ..config import DigestSettings
from ..ports import Channel, Letter
from ..store import settings
from ..store import told_conditions as told
from ..store.told_conditions import Row
from .attempts import KEPT_MAX, Attempts
from .conditions import ALL, Condition, Judged

KIND, CHANNEL = "staff", "slack"
#: when the last note about news went out, in the hub's settings (unix seconds)
TOLD_AT = "staff_told_at"
#: an end is news for so long
WORTH_S = 12 * 3600
#: a note is written of a look that is no older; without one it waits
FRESH_S, AGAIN_S = 60, 5
#: what is held is looked at again after this long
HELD_S = 30
LINES_MAX = 20
#: a length that no condition has: a clock was wrong
LENGTH_MAX_S = 400 * 86_400
#: codes of notes that were not sent, or of which nobody knows it
UNANSWERED = "unanswered"
_UNTOLD = (UNANSWERED, "expired")


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a row: news, or the digest of a day (ISO); and, once it was its turn, the letter and what it tells of, by the keys of the rows."""

    event: Literal["news", "digest"]
    day: str = ""
    letter: Letter | None = None
    begun: tuple[tuple[str, int], ...] = ()
    ended: tuple[tuple[str, int], ...] = ()


note_of = msgspec.json.Decoder(Note).decode
_condition = msgspec.json.Decoder(Condition).decode


class Lines(msgspec.Struct):
    """What a note tells: a line for each condition, and the keys of their rows. `held`: of so many nobody can say just now whether they are over."""

    held: int = 0
    lines: list[str] = []
    begun: list[tuple[str, int]] = []
    ended: list[tuple[str, int]] = []


def is_news(row: Row, now: int) -> bool:
    """Whether it is to be told at once: that it began, that it is over, or that it was."""
    if row.told == 2:
        return row.ended_at > 0
    return row.urgent and (not row.ended_at or now - row.ended_at < WORTH_S)


class Notes:
    """Does the rows of the kind `staff`. `names`: site id -> the name that is shown until the site has stated its own."""

    def __init__(
        self,
        desk: Desk,
        wanted: DigestSettings | None,
        public_url: str,
        names: Mapping[str, str],
        attempts: Attempts,
        channel: Channel | None,
    ):
        self._desk, self._wanted, self._url, self._names = desk, wanted, public_url.rstrip("/"), names
        self._attempts, self._channel = attempts, channel
        self._judged, self._looked_at = Judged({}, frozenset()), -FRESH_S

    def look(self, judged: Judged, now: int) -> None:
        """What stands now: a note is written of it."""
        self._judged, self._looked_at = judged, now

    # ---- the row
    def judge(self, tx: Tx, row: Work, now: int) -> Letter | Drop | Wait:
        if self._wanted is None:
            return Drop("no_channel", "The staff are told nothing any more: the settings have no [digest].")
        if not 0 <= now - self._looked_at < FRESH_S:
            return Wait(now + AGAIN_S, "What stands is being looked at.")
        note = note_of(row.body.encode())
        subject, text, told_of = self._news(tx, now) if note.event == "news" else self._digest(tx, date.fromisoformat(note.day), now)
        if not text and told_of.held:
            return Wait(now + HELD_S, "Whether it is over cannot be told just now.")
        if not text:
            return Drop("no_longer", "There is nothing of it left to tell.")
        letter = Letter(key=row.mark, to=self._wanted.hook, subject=subject, text=text, expires_at=row.until_at)
        body = msgspec.structs.replace(note, letter=letter, begun=tuple(told_of.begun), ended=tuple(told_of.ended))
        work.prepared(tx, row, now, msgspec.json.encode(body).decode())
        return letter

    async def do(self, row: Work, what: Letter) -> Outcome:
        return Misconfigured("No Slack hook is configured any more.") if self._channel is None else await self._channel.send(what)

    async def find(self, row: Work) -> Never:
        return Never(UNANSWERED, "Nobody can say whether it was shown. What still stands is told in the next one.")

    def settled(self, tx: Tx, row: Work, outcome: Outcome) -> None:
        """What a note told of counts as told where it was taken, or will never be. Nobody has to see to one that could not be sent."""
        note, now = note_of(row.body.encode()), self._desk.now()
        given_up = isinstance(outcome, Never)
        if isinstance(outcome, Taken) or (given_up and outcome.code not in _UNTOLD):
            for key in note.begun:
                told.mark(tx, key, 2 if note.event == "news" else 1)
            for key in note.ended:
                told.drop(tx, key)
        if note.event == "news" and isinstance(outcome, Taken | Unknown):
            settings.put(tx, TOLD_AT, str(now))
        after = work.one(tx, row.id)
        if after is not None and after.state == "stuck" and not (given_up and outcome.code not in _UNTOLD):
            work.end(tx, after, now, "dropped", after.code, after.reason)

    # ---- news
    def _news(self, tx: Tx, now: int) -> tuple[str, str, Lines]:
        found = self._lines(tx, [row for row in told.rows(tx) if is_news(row, now)], now)
        counted = ((len(found.begun), "to see to"), (len(found.ended), "over"))
        what = ", ".join(f"{n} thing{'' if n == 1 else 's'} {how}" for n, how in counted if n)
        return f"ClubOS Booking: {what}", self._cut(found.lines), found

    def _lines(self, tx: Tx, rows: Sequence[Row], now: int) -> Lines:
        """What stands first, in the order in which people should look; then what is over."""
        found, kinds = Lines(), list(ALL)
        going = [(self._judged.open.get(row.id) or _condition(row.doc), row) for row in rows if not row.ended_at]
        going.sort(key=lambda one: (kinds.index(one[0].kind) if one[0].kind in kinds else len(kinds), one[0].id))
        for one, row in going:
            if row.id in self._judged.open or self._judged.is_undecided(row.id):  # else it has just ended
                found.begun.append(row.key)
                found.lines.append(self._begun(one, row, now))
        for row in rows:
            if row.ended_at and self._judged.is_undecided(row.id):  # as a link that has broken again
                found.held += 1
            elif row.ended_at:
                found.ended.append(row.key)
                found.lines.append(self._over(tx, _condition(row.doc), row))
        return found

    def _begun(self, one: Condition, row: Row, now: int) -> str:
        link = f"{self._url}{one.path}" if self._url and one.path else ""
        return " ".join(part for part in (f"{one.text} since {self._moment(one.zone, row.since_at, now)}.", one.why, link) if part)

    def _over(self, tx: Tx, one: Condition, row: Row) -> str:
        seconds = row.ended_at - row.since_at
        sure = 0 <= seconds < LENGTH_MAX_S
        if row.told:
            return f"{_outcome(tx, one, row.ended_at)}{f' after {length(seconds)}' if sure else ''}.".replace(",.", ".")
        return f"{one.was}{f' for {length(seconds)}' if sure else ''}.".replace(",.", ".")

    def _cut(self, lines: Sequence[str]) -> str:
        shown = [f"• {line}" for line in lines[:LINES_MAX]]
        if len(lines) > LINES_MAX:
            shown.append(f"… and {len(lines) - LINES_MAX} more." + (f" {self._url}/health/ready" if self._url else ""))
        return "\n".join(shown)

    def _moment(self, zone: str, at: int, now: int) -> str:
        return moment(zone or self._wanted.zone, at, now)

    # ---- the digest of a day
    def _digest(self, tx: Tx, day: date, now: int) -> tuple[str, str, Lines]:
        rows = told.rows(tx)
        quiet = [row for row in rows if not row.ended_at or not (is_news(row, now) or row.urgent)]
        found = self._lines(tx, quiet, now)
        n = len(found.begun)
        state = f"{n} thing{' is' if n == 1 else 's are'} open" if n else "all is well"
        parts = [self._cut(found.lines[:n])] if n else []
        if len(found.lines) > n:
            parts.append("Over since the last digest:\n" + self._cut(found.lines[n:]))
        before = day - timedelta(days=1)
        parts.append(f"{_day(before)}:\n" + "\n".join(f"• {line}" for line in self._figures(tx, before)))
        return f"ClubOS Booking, {_day(day)}: {state}", "\n".join(parts), found

    def _figures(self, tx: Tx, day: date) -> list[str]:
        """What is known of a day; what is not is said."""
        lines = [self._visits(tx, site_id, day) for site_id in self._names]
        from_at, until_at = (
            int(datetime(d.year, d.month, d.day, tzinfo=ZoneInfo(self._wanted.zone)).timestamp()) for d in (day, day + timedelta(days=1))
        )
        sent = told.messages(tx, from_at, until_at)
        open_ = f", {sent.unknown} of which nobody knows yet" if sent.unknown else ""
        lines.append(f"Messages to customers: {sent.sent} sent, {sent.failed} failed{open_}.")
        lines.append(self._tried(from_at, until_at))
        return lines

    def _visits(self, tx: Tx, site_id: str, day: date) -> str:
        facility = records.facility(tx, site_id)
        if facility is None:
            return f"{self._names[site_id]}: not known, since it has never been heard."
        span = slots.day_span(facility.zone, day)
        n = told.visits(tx, site_id, span.start, span.end)
        dark = any(one.site_id == site_id and one.kind in ("dark", "stopped") for one in self._judged.open.values())
        return f"{facility.name}: {n} booking{'' if n == 1 else 's'}{', as far as the hub has heard' if dark else ''}."

    def _tried(self, from_at: int, until_at: int) -> str:
        since = self._attempts.since_at
        if since >= until_at:
            return "Refused sign-ins and forged calls: not known, since the hub was started later."

        def counted(n: int) -> str:
            return f"at least {n}" if n == KEPT_MAX else str(n)

        keys, calls = (counted(self._attempts.counted(tried, from_at, until_at)) for tried in ("sign_in", "forged_call"))
        known = f" (known since {self._moment('', since, since)}, when the hub was started)" if since > from_at else ""
        return f"Refused sign-ins: {keys}, forged calls: {calls}{known}."


def _outcome(tx: Tx, one: Condition, at: int) -> str:
    """How it ended, for whoever knows that it began."""
    b = records.booking(tx, one.ref) if one.ref else None
    if b is None:
        return one.over
    guest = one.over.partition(")")[0] + ")"
    if b.replaced_by:
        return f"{guest} has another place"
    if b.status in ("cancelling", "cancelled"):
        return f"{guest} needs no bay any more, since the booking is cancelled,"
    a = records.attendance(tx, b.id)
    if not b.displaced or (a is not None and (a.seat or a.state)):
        return f"{guest} has a bay"
    return f"{guest} had no bay to the end of the booking" if b.ends_at <= at else one.over


# ---- words
def moment(zone: str, at: int, now: int) -> str:
    """ "14:02", with the day where it is another than that of `now`, and the zone's short name in the hour that the night shows twice."""
    there, today = datetime.fromtimestamp(at, ZoneInfo(zone)), datetime.fromtimestamp(now, ZoneInfo(zone)).date()
    twice = there.replace(fold=0).utcoffset() != there.replace(fold=1).utcoffset()
    text = f"{there:%H:%M}{f' {there.tzname()}' if twice else ''}"
    return text if there.date() == today else f"{there:%a} {there.day} {there:%b}, {text}"


def length(seconds: int) -> str:
    """ "40 s", "14 min", "2 h 5 min", "3 days": rounded down."""
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 2 * 1440:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    return f"{minutes // 1440} days"


def _day(day: date) -> str:
    return f"{day:%A} {day.day} {day:%B}"
