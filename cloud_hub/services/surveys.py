"""How it was: one question to whoever has visited, and what the answers say of a facility (N2, A8).

Whoever has the link of an order answers for it, once; for a week it can be changed. Not here: asking by message (`notifying`).
Invariant: only a visit that the facility saw is asked about, and a figure that nobody's answer stands behind is not given.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

import msgspec

from shared.errors import refuse
from shared.ledger import records
from shared.ledger.desk import Desk
from shared.model import Booking, Frozen
from shared.runtime.database import Database, InlineWriter, Tx

from ..store import surveys as rows
from ..store.surveys import SurveyAnswer
from .admins import Admin

__all__ = ["SCORES", "WORDS_MAX", "Answered", "Found", "Satisfaction", "Survey", "SurveyAnswer", "Surveys", "cleaned"]

SCORES = (1, 2, 3, 4, 5)
WORDS_MAX = 1000
#: after the visit's end it can be answered for so long, and changed for so long after the first answer
OPEN_S, CHANGE_S = 30 * 86_400, 7 * 86_400
#: a facility's figure is of the answers of so long
COUNTED_DAYS = 90
PAGE_ROWS = 50
# Everything that is no text: controls but the line's end, halves of characters, and marks that turn the direction of what follows.
_NO_TEXT = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")
#: attendance that says that somebody came
CAME = ("checked_in", "completed")

State = Literal["not_yet", "open", "over"]


class Survey(Frozen):
    """The question about one order. `open`: it can be answered or changed; `not_yet`: nobody has come; `over`: too late. `visit` is what it is
    about, `until_at` when it closes (unix seconds), `answer` what was said."""

    state: State
    visit: Booking | None = None
    until_at: int = 0
    answer: SurveyAnswer | None = None


class Satisfaction(Frozen):
    """What the answers of the last `COUNTED_DAYS` say of a facility: how many there are, the mean of 1 to 5, and the share of 4 and 5 (0 to 1).
    Both None where there are none."""

    site_id: str
    answers: int
    mean: float | None
    good_share: float | None


class Answered(msgspec.Struct, frozen=True):
    """An answer as an admin reads it, with the order's reference; empty where the order is not known any more."""

    answer: SurveyAnswer
    reference: str


class Found(msgspec.Struct, frozen=True):
    """A page of answers; `older` is where the next one begins, None on the last."""

    answers: list[Answered]
    older: tuple[int, str] | None


class Surveys:
    def __init__(self, db: Database | InlineWriter, desk: Desk):
        self._db, self._desk = db, desk

    # ---- the guest's
    def of(self, order_id: str) -> Survey:
        return self._db.read(lambda tx: self._of(tx, order_id))

    def _of(self, tx: Tx, order_id: str) -> Survey:
        came = [b for b in records.bookings_of_order(tx, order_id) if _was_visited(tx, b)]
        if not came:
            return Survey(state="not_yet")
        visit, said, now = max(came, key=lambda b: b.end), rows.of(tx, order_id), self._desk.now()
        until_at = visit.ends_at + OPEN_S
        if said is not None:
            until_at = min(until_at, said.at + CHANGE_S)
        return Survey(state="open" if now < until_at else "over", visit=visit, until_at=until_at, answer=said)

    async def answer(self, order_id: str, score: int, words: str) -> SurveyAnswer:
        """Keeps the answer. `words`: already `cleaned`. Refuses `bad_request` for a score or words that cannot be, `illegal_move` where nothing is
        asked."""
        if score not in SCORES:
            raise refuse("bad_request", "Please choose a number from 1 to 5.")
        if len(words) > WORDS_MAX:
            raise refuse("bad_request", f"Please use at most {WORDS_MAX} characters.")

        def run(tx: Tx) -> SurveyAnswer:
            asked, now = self._of(tx, order_id), self._desk.now()
            if asked.state != "open" or asked.visit is None:
                raise refuse(
                    "illegal_move", "This can be answered for 30 days after a visit, and changed for a week after the first answer."
                )
            visit = asked.visit
            made = SurveyAnswer(
                order_id=order_id, site_id=visit.site_id, customer_id=visit.customer_id, score=score, words=words,
                at=asked.answer.at if asked.answer else now, changed_at=now,
            )  # fmt: skip
            rows.put(tx, made)
            return made

        return await self._db.write(run)

    # ---- what they say
    def satisfaction(self, site_id: str) -> Satisfaction:
        """One facility's figure."""
        return self._figure(site_id, self._counted().get(site_id))

    def all_satisfaction(self, site_ids: list[str]) -> list[Satisfaction]:
        """The figures of these facilities, and of whichever else was answered about, by id."""
        found = self._counted()
        return [self._figure(site_id, found.get(site_id)) for site_id in sorted({*site_ids, *found})]

    def _counted(self) -> dict[str, rows.Counted]:
        since = self._desk.now() - COUNTED_DAYS * 86_400
        return self._db.read(lambda tx: rows.counted(tx, since))

    @staticmethod
    def _figure(site_id: str, found: rows.Counted | None) -> Satisfaction:
        if found is None or not found.answers:
            return Satisfaction(site_id=site_id, answers=0, mean=None, good_share=None)
        n = found.answers
        return Satisfaction(site_id=site_id, answers=n, mean=round(found.total / n, 2), good_share=round(found.good / n, 3))

    async def read_by(self, admin: Admin, before: tuple[int, str] | None) -> Found:
        """A page of answers, the newest first. Where one holds words it stands in the journal who read them. Raises a Failure where that cannot be
        noted."""

        def look(tx: Tx) -> Found:
            answers = rows.newest(tx, before, PAGE_ROWS + 1)
            older = (answers[PAGE_ROWS - 1].at, answers[PAGE_ROWS - 1].order_id) if len(answers) > PAGE_ROWS else None
            return Found([Answered(one, _reference(tx, one.order_id)) for one in answers[:PAGE_ROWS]], older)

        found = self._db.read(look)
        written = sum(1 for one in found.answers if one.answer.words)
        if written:
            now, what = self._desk.now(), f"{written} from {found.answers[0].answer.order_id} on"
            await self._db.write(lambda tx: records.journal(tx, now, "", admin.signed, "read survey answers", what))
        return found


def _was_visited(tx: Tx, b: Booking) -> bool:
    """As a follow-up is judged: it stands, and the facility says that somebody came."""
    if b.status != "confirmed" or b.withdrawn:
        return False
    seen = records.attendance(tx, b.id)
    return seen is not None and seen.state in CAME


def _reference(tx: Tx, order_id: str) -> str:
    order = records.order(tx, order_id)
    return order.reference if order else ""


def cleaned(text: str) -> str:
    """What somebody wrote, as text alone: one spelling of each character, at most one empty line in a row, nothing at the ends."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " "))
    lines = [" ".join(line.split()) for line in _NO_TEXT.sub("", text).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
