"""Tells customers what concerns their bookings: what happened is planned in the transaction in which it happened, what the clock causes is a
projection of the bookings, and every message is a work row (N1 to N6).

A plan is a row of the lane `plan`: one for an event of an order. Not here: what becomes of a plan (`outgoing`), words (`wording`), what vendors
report (`reports`).

Invariant: no row, no message; a row's id says what for, so that nothing is planned twice.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from shared import notifications
from shared.ledger import records, repair, streams, work
from shared.ledger.desk import Desk
from shared.ledger.work import Work
from shared.model import Booking
from shared.notifications import Event
from shared.runtime.database import Database, InlineWriter, Tx

from ..store import notifications as kept
from ..store import settings
from .outgoing import Told, told_by

#: the lane of plans: our own, no vendor's
PLAN = "plan"
#: a refusal this soon after the request was shown where it was asked
SEEN_S = 10
#: how far a sweep has looked is written down so often: what it looks at twice is planned once
LOOKED, LOOKED_EVERY_S = "notified", 60
#: what was due before is not told; beside it, behind a bar, a facility's own since its books here were set back
SINCE = "notified_since"
#: bookings looked at in one transaction of a sweep
SWEEP_MAX = 200
#: no booking is longer: of what is due after the end, so far back the start is looked for
LONGEST_SLOTS = 96


class Notifying:
    """Follows bookings in the hub's books. One that is not `telling`, on a hub without channels, plans nothing: what would be told later, when
    there are some, would be no news any more."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, *, telling: bool):
        self._db, self._desk, self._telling = db, desk, telling
        #: facilities of which the last sweep told nothing; None before the first
        self._shut: frozenset[str] | None = None
        if telling:
            db.follow("booking", self.follow)
            db.follow("fenced", lambda tx, site_ids: set_back(tx, site_ids, desk.now()))

    # ---- what happened
    def follow(self, tx: Tx, booking_ids: list[str]) -> None:
        """In the transaction of the change: one plan for what happened to the bookings of an order."""
        now = self._desk.now()
        caused: dict[tuple[str, Event], list[tuple[str, Booking]]] = {}
        for booking_id in booking_ids:
            b = records.booking(tx, booking_id)
            found = self._caused(tx, b, now) if b is not None else None
            if found is not None and self._is_news(tx, found[0]):
                caused.setdefault((b.order_id, found[0]), []).append((found[1], b))
        for (order_id, event), parts in caused.items():
            bookings = [b for _, b in parts]
            moment = notifications.news(max(bookings, key=lambda b: b.ends_at), now)
            self._plan(tx, event, parts[0][0], order_id, bookings, moment, now)

    @staticmethod
    def _is_news(tx: Tx, event: Event) -> bool:
        """Of books that are put together again, what they say has been told, or is too old to be; but not that two have one bay now, nor that
        what books which have forgotten nothing took for standing is cancelled."""
        if not repair.restates(tx):
            return True
        return event == "displaced" or (event == "cancelled" and repair.merges_into_whole_books(tx))

    def _caused(self, tx: Tx, b: Booking, now: int) -> tuple[Event, str] | None:
        """The event that a booking's state is, and what it is one of; None where there is no news in it."""
        if b.ends_at <= now or (b.withdrawn and b.status != "cancelled"):
            return None
        if b.status == "confirmed":
            return self._standing(tx, b, now)
        if b.status == "cancelled" and not b.replaced_by and b.reason != "moved":
            told = self._change_told(tx, b)
            if b.reason != "withdrawn":  # what was asked for and given up before it was had is told only where it was said to be had
                # what was told of it long ago is not kept any more
                told = told or b.created_at <= now - work.KEPT_S or work.one(tx, _plan_id("confirmed", b.order_id)) is not None
            return ("cancelled", b.id) if told and not self._was_cancelled_before(tx, b) else None
        if b.status in ("declined", "expired") and not b.replaces and now - b.created_at > SEEN_S:
            return "declined", b.order_id
        return None

    def _standing(self, tx: Tx, b: Booking, now: int) -> tuple[Event, str] | None:
        """What is new of a booking that stands: its place, or that it does."""
        rounds = self._displaced_before(tx, b)
        if b.displaced:
            return "displaced", f"{b.id}|{rounds + 1}"
        a = records.attendance(tx, b.id)
        seat = a.seat if a is not None and not a.state else ""
        if (rounds or seat) and work.one(tx, _plan_id("placed", _place(b, rounds, seat))) is None:
            return "placed", _place(b, rounds, seat)  # the loss itself may never have been seen: both may be told in one batch
        if b.created_at < now - (work.KEPT_S if b.replaces else notifications.NEWS_S):
            return None  # old news: books that were put together again tell of every booking, and what was told is not kept for ever
        if b.replaces:
            return ("placed", _place(b, 0, "")) if b.placed and not self._chose(tx, b) else ("moved", b.id)
        return "confirmed", b.order_id

    @staticmethod
    def _chose(tx: Tx, b: Booking) -> bool:
        """Whether the guest wanted this instead of a place that the house had given and could keep: another one, or the same for longer."""
        old = records.booking(tx, b.replaces)
        return old is not None and old.placed and work.one(tx, _plan_id("displaced", f"{old.id}|1")) is None

    @staticmethod
    def _change_told(tx: Tx, b: Booking) -> bool:
        """Whether it was planned to say that this booking stands in the place of another."""
        return any(work.one(tx, _plan_id(event, key)) is not None for event, key in (("moved", b.id), ("placed", _place(b, 0, ""))))

    @staticmethod
    def _was_cancelled_before(tx: Tx, b: Booking) -> bool:
        """Whether it was part of a cancellation that is planned: those that end together have one row, under the first one's id."""
        plans = (row for row in work.about(tx, b.order_id) if row.id.startswith(_plan_id("cancelled", "")) and row.kind == "plan")
        return any(b.id in told_by(row.body.encode()).bookings for row in plans)

    @staticmethod
    def _displaced_before(tx: Tx, b: Booking) -> int:
        """How often this booking has lost its bay, as it was told; while it has none, the time under way does not count."""
        n = 0
        while work.one(tx, _plan_id("displaced", f"{b.id}|{n + 1}")) is not None:
            n += 1
        if not n or not b.displaced:
            return n
        found = (_plan_id("placed", _place(b, n, "")), _plan_id("placed", f"{_place(b, n, '')}|"))
        placed = any(row.id == found[0] or row.id.startswith(found[1]) for row in work.about(tx, b.order_id) if row.kind == "plan")
        return n if placed else n - 1

    def _plan(
        self, tx: Tx, event: Event, key: str, order_id: str, bookings: Iterable[Booking], moment: notifications.Moment, now: int
    ) -> bool:
        parts = sorted(bookings, key=lambda b: (b.start, b.resource_id))
        body = Told(event=event, order_id=order_id, bookings=tuple(b.id for b in parts))
        return work.put(
            tx,
            Work(
                id=_plan_id(event, key),
                kind="plan",
                lane=PLAN,
                site_id=parts[0].site_id,
                subject=order_id,
                who=parts[0].customer_id,
                rank=parts[0].start,
                due_at=moment.due_at,
                until_at=moment.until_at,
                body=msgspec.json.encode(body).decode(),
                created_at=now,
            ),
        )

    # ---- what the clock causes
    async def sweep(self) -> int:
        """Plans what has become due since the last look, of bookings as they stand now. A restart loses nothing: how far it looked is in the
        books. Returns how many were planned."""
        if not self._telling or self._desk.clock_doubt():
            return 0
        planned, now = 0, self._desk.now()
        looked, since, shut = self._db.read(self._how_far)
        if not since:  # a hub that begins to tell
            await self._db.write(lambda tx: (settings.put(tx, SINCE, str(now)), settings.put(tx, LOOKED, str(now))))
            return 0
        if self._shut is None or self._shut - shut:
            looked = 0  # some were passed over: all that is still worth telling is looked at once more
        self._shut = shut
        for event in notifications.TIMED:
            first, past = notifications.window(event, now)
            if looked:
                first = max(first, notifications.window(event, looked)[1] - 2)
            due = self._db.read(lambda tx, event=event, first=first, past=past: self._due(tx, event, first, past, since, shut, now))
            for at in range(0, len(due), SWEEP_MAX):
                part = due[at : at + SWEEP_MAX]
                planned += await self._db.write(lambda tx, part=part, event=event, now=now: self._plan_timed(tx, event, part, now))
        if not 0 <= now - looked < LOOKED_EVERY_S:
            await self._db.write(lambda tx: settings.put(tx, LOOKED, str(now)))
        return planned

    @staticmethod
    def _how_far(tx: Tx) -> tuple[int, int, frozenset[str]]:
        """How far the last sweep looked, from when on we tell what is due (0: never yet), and the facilities whose books are being put
        together again."""
        known = (streams.read(tx, site_id) for site_id in streams.sites(tx))
        shut = frozenset(s.site_id for s in known if s is not None and (s.fenced or s.repair))
        return int(settings.get(tx, LOOKED) or 0), int(settings.get(tx, SINCE) or 0), shut

    @staticmethod
    def _due(tx: Tx, event: Event, first: int, past: int, since: int, shut: frozenset[str], now: int) -> list[tuple[str, list[str]]]:
        """`(key, booking ids)`: the bookings of an order that begin (or end) together, and of which this is due, and was not before `since`.
        Nothing of the facilities in `shut`."""
        reach = LONGEST_SLOTS if notifications.TIMED[event].of_end else 0
        since_of = {site_id: max(since, int(settings.get(tx, _since_of(site_id)) or 0)) for site_id in streams.sites(tx)}
        found: dict[str, list[str]] = {}
        for b in kept.standing_between(tx, first, past, reach):
            moment = notifications.timed(event, b)
            if moment is None or b.site_id in shut or (event in notifications.OFFERS and not _is_there(tx, b)):
                continue
            if since_of[b.site_id] < moment.due_at <= now < moment.until_at:
                found.setdefault(f"{b.order_id}|{b.start}", []).append(b.id)
        return [(key, ids) for key, ids in found.items() if work.one(tx, _plan_id(event, key)) is None]

    def _plan_timed(self, tx: Tx, event: Event, due: list[tuple[str, list[str]]], now: int) -> int:
        planned = 0
        for key, booking_ids in due:
            bookings = [b for one in booking_ids if (b := records.booking(tx, one)) is not None and b.status == "confirmed"]
            moments = [m for b in bookings if (m := notifications.timed(event, b)) is not None]
            if moments:
                planned += self._plan(tx, event, key, bookings[0].order_id, bookings, moments[0], now)
        return planned

    async def forget(self) -> int:
        """Lets go of rows and reports that are over long ago."""
        now = self._desk.now()
        return await self._db.write(lambda tx: work.forget(tx, now) + kept.forget(tx, now))

    # ---- what was said
    def said(self, order_id: str) -> list[kept.AppMessage]:
        """What was said about an order where its customer reads it, the newest first."""
        return self._db.read(lambda tx: kept.app_messages(tx, order_id))


def _is_there(tx: Tx, b: Booking) -> bool:
    a = records.attendance(tx, b.id)
    return a is not None and a.state == "checked_in"


def set_back(tx: Tx, site_ids: Iterable[str], now: int) -> None:
    """In the transaction of their fence (loss-1): nobody knows what these facilities' guests have been told of what was due before."""
    for site_id in site_ids:
        settings.put(tx, _since_of(site_id), str(now))


def _since_of(site_id: str) -> str:
    return f"{SINCE}|{site_id}"


def _place(b: Booking, rounds: int, seat: str) -> str:
    """What names a place that was found: after so many losses, on another bay of the same booking where it has a seat there."""
    return f"{b.id}|{rounds}|{seat}" if seat else f"{b.id}|{rounds}"


def _plan_id(event: Event, key: str) -> str:
    return f"{event}|{key}"
