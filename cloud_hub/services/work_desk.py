"""Work rows for people: how every lane does, which rows need somebody, what was sent, and trying one again.

Not here: doing the work (`shared.ledger.worker`), pages. A search looks through `work.LOOKED_MAX` rows at a time, so that the event loop is not
held up by months of rows. Invariant: whoever reads a letter or has a row tried again stands in the journal, in the transaction of the act.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import get_args

import msgspec

from shared.errors import refuse
from shared.ledger import records, work
from shared.ledger.desk import Desk
from shared.ledger.work import Found, Work
from shared.ledger.worker import LaneState
from shared.runtime.database import Database, InlineWriter, Tx

from ..ports import Letter
from .admins import Admin

__all__ = ["STATES", "About", "Found", "Lane", "StuckLane", "Trouble", "Wanted", "Work", "WorkDesk"]

STATES: tuple[str, ...] = get_args(work.State)
#: rows on one page
PAGE_ROWS = 100
#: a vendor that has been left alone for so long is told of by health
AWAY_S = 600
#: what can be tried again
ENDED_UNDONE = ("stuck", "dropped")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; empty means no matter. `before`: `(changed_at, id)` from which to go on to what changed earlier."""

    state: str = ""
    lane: str = ""
    text: str = ""
    before: tuple[int, str] | None = None


class Lane(msgspec.Struct, frozen=True):
    """One vendor's queue: rows by state, for how many seconds the longest waiting row has been due, and how the vendor does.

    `doing` None: no channel of this hub works in it. `away_since`, `open_until` (unix seconds, 0: it is not left alone) and `why` of its breaker.
    """

    name: str
    rows: dict[str, int]
    oldest_s: int = 0
    doing: int | None = None
    away_since: int = 0
    open_until: int = 0
    why: str = ""


class Trouble(msgspec.Struct, frozen=True):
    """Something about the work that a person should know: a code and a sentence."""

    code: str
    text: str


class StuckLane(msgspec.Struct, frozen=True):
    """A lane with rows that need a person: how many, since when the first (unix seconds), and its reason."""

    name: str
    rows: int
    since_at: int
    reason: str


class About(msgspec.Struct, frozen=True):
    """What a row is about, for its title; empty where it says nothing of it. `reference` is what people call its order."""

    kind: str
    event: str = ""
    channel: str = ""
    reference: str = ""


class _Body(msgspec.Struct):
    """What is read of a row's body for people."""

    letter: Letter | None = None


class _Cause(msgspec.Struct):
    """The same, for its title."""

    event: str = ""
    channel: str = ""
    order_id: str = ""


class WorkDesk:
    """`states`: how each lane of the worker does, now."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, states: Callable[[], list[LaneState]]):
        self._db, self._desk, self._states = db, desk, states

    # ---- how it goes
    def lanes(self) -> list[Lane]:
        """Every lane that is worked in or has rows, by name."""
        now = self._desk.now()
        counted, oldest = self._db.read(lambda tx: (work.counts(tx), work.oldest(tx, now)))
        states = {one.lane: one for one in self._states()}
        found = []
        for name in sorted({*states, *(lane for lane, _ in counted)}):
            rows = {state: n for (lane, state), n in counted.items() if lane == name}
            lane = Lane(name, rows, oldest.get(name, 0))
            if (s := states.get(name)) is not None:
                until, since = int(s.open_until), int(s.away_since)
                lane = msgspec.structs.replace(lane, doing=s.doing, away_since=since, open_until=until, why=s.why)
            found.append(lane)
        return found

    def troubles(self) -> list[Trouble]:
        """What health tells: rows that need a person, and vendors that have been left alone for `AWAY_S`. Cheap enough for every probe."""
        now, stuck, found = self._desk.now(), self._db.read(work.stuck), []
        if stuck:
            what = "One thing that was to be done is stuck" if stuck == 1 else f"{stuck} things that were to be done are stuck"
            found.append(Trouble("work_stuck", f"{what}: a person must look at /manage/work?state=stuck."))
        for one in self.away():
            minutes = int(now - one.away_since) // 60
            found.append(
                Trouble("vendor_away", f"{one.lane} has been left alone for {minutes} minutes, and what it should do waits. {one.why}".strip())
            )
        return found

    def away(self) -> list[LaneState]:
        """Vendors that have been left alone for `AWAY_S`."""
        now = self._desk.now()
        return [one for one in self._states() if one.away_since and now - one.away_since > AWAY_S]

    def stuck(self) -> list[StuckLane]:
        """Lanes with rows that need a person."""
        return [StuckLane(*found) for found in self._db.read(work.stuck_lanes)]

    # ---- rows
    def search(self, wanted: Wanted) -> Found:
        """A page of rows, the last changed first. What people call an order finds the rows of that order."""

        def run(tx: Tx) -> Found:
            orders = records.order_by_reference(tx, wanted.text.upper()) if wanted.text else []
            text = orders[0].id if len(orders) == 1 else wanted.text
            return work.found(tx, state=wanted.state, lane=wanted.lane, text=text, before=wanted.before, limit=PAGE_ROWS)

        return self._db.read(run)

    def about(self, rows: Iterable[Work]) -> dict[str, About]:
        """What each of the rows is about, by its id."""

        def run(tx: Tx) -> dict[str, About]:
            references: dict[str, str] = {}
            found = {}
            for row in rows:
                cause = _cause(row.body)
                order_id = cause.order_id or row.subject
                if order_id and order_id not in references:
                    order = records.order(tx, order_id)
                    references[order_id] = order.reference if order is not None else ""
                found[row.id] = About(row.kind, cause.event, cause.channel, references.get(order_id, ""))
            return found

        return self._db.read(run)

    def row(self, mark: str) -> Work:
        """The row of this mark, which says nothing of anybody and may stand in an address. Refuses `not_found`."""
        return _there(self._db.read(lambda tx: work.marked(tx, mark)))

    async def letter(self, row: Work, admin: Admin) -> Letter | None:
        """The letter of the row as it was sent, or would be next; None where it has none. Raises a Failure where it cannot be noted who read it."""
        found = _letter(row.body)
        if found is not None:
            await self._db.write(lambda tx: self._journal(tx, row, admin, "read a letter"))
        return found

    async def retry(self, mark: str, admin: Admin, *, sure: bool) -> Work:
        """Has a row that came to nothing tried once more. Refuses `not_found`, `illegal_move`, and `bad_request` for one that may have been done
        before, unless the admin is `sure`."""

        def run(tx: Tx) -> Work:
            row = _there(work.reported(tx, mark, "") if mark else None)
            if row.state not in ENDED_UNDONE:
                raise refuse("illegal_move", "There is nothing to try again: it has been taken up already, or it is done.")
            if may_repeat(row) and not sure:
                raise refuse("bad_request", "Nobody knows whether this was done. Please confirm that it may be done twice.")
            self._journal(tx, row, admin, "had it tried again", row.code)
            return work.retry(tx, row.id, self._desk.now())

        return await self._db.write(run)

    def _journal(self, tx: Tx, row: Work, admin: Admin, what: str, why: str = "") -> None:
        records.journal(tx, self._desk.now(), row.site_id, admin.signed, what, row.id, why)


def may_repeat(row: Work) -> bool:
    """Whether it may have been done already, so that trying again may do it twice."""
    return row.code == "unknown"


def _there(row: Work | None) -> Work:
    if row is None:
        raise refuse("not_found", "There is no such work here. What was over for three months is let go of.")
    return row


def _cause(body: str) -> _Cause:
    try:
        return msgspec.json.decode(body, type=_Cause) if body else _Cause()
    except msgspec.MsgspecError:
        return _Cause()


def _letter(body: str) -> Letter | None:
    try:
        return msgspec.json.decode(body, type=_Body).letter if body else None
    except msgspec.MsgspecError:
        return None
