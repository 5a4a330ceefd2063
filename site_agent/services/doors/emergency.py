"""Emergencies (D5): lock-down, evacuation, all doors open for some minutes. Called by people, asked twice, ended by itself.

Not for: single doors (`doors`); bookings are not touched. Invariants: what was called stands in the books before the controller is asked, so that
a restart ends it in time, but books that take nothing keep nobody from being heard (`emergency_books`); a controller that is away is asked until the
emergency's end, and what may have reached it is taken back until it answers; one that was out of reach may have forgotten, and is put into it once
more; whoever stands at the controller while it is heard has the last word, and nobody here argues with them.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from shared.errors import Failure, refuse
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter
from site_agent.ports import Doors, EmergencyMode
from site_agent.services.alarms import RUNBOOKS, Alarm
from site_agent.services.doors import door_words, emergency_doors, emergency_words
from site_agent.services.doors.emergency_books import EmergencyBooks, ended, guests
from site_agent.services.people import Asker
from site_agent.services.views import iso
from site_agent.store.emergencies import Mode, Row

_log = log.get("site_agent.emergency")

RUNBOOK = "emergency"
MINUTES_MAX = 480
#: a controller that is away, or says no, is asked again after this
AGAIN_S, AGAIN_REFUSED_S = 3, 30
#: how often the controller is asked what it is in; it tells of a change by itself, where it is heard
LOOK_EVERY_S = 30
#: its word is not held against ours so soon after it was asked for something
SETTLE_S = 5
REASON_MAX, CALL_WAIT_S = 300, 3.0
#: lockdown and evacuation are modes of the whole controller; all doors open is told to each door
OF_CONTROLLER = ("lockdown", "evacuation")


class EmergencyView(msgspec.Struct, frozen=True):
    """The emergency that stands. `state`: wanted (the controller has not taken it yet), on, ending (the doors are not let go yet). `ends_at` ISO 8601,
    `until` by the facility's clock."""

    id: str
    mode: Mode
    state: str
    reason: str
    by: str
    ends_at: str
    until: str


class EmergencyPanel(msgspec.Struct, frozen=True):
    """`standing` None: none that was called here. `outside`: the mode that the controller is in without us, empty for none. `told`: sentences."""

    configured: bool
    standing: EmergencyView | None
    outside: Literal["", "lockdown", "evacuation"]
    told: tuple[str, ...]


class EmergencyDesk:
    """One site's; `doors` None where no controller is configured."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, doors: Doors | None, monotonic: Callable[[], float]
    ):
        self._db, self._desk, self._houses, self._site_id, self._doors = db, desk, houses, site_id, doors
        self._monotonic = monotonic
        self._books = EmergencyBooks(db, desk.now, site_id)
        #: when they end by our uptime at the latest: a clock that is set meanwhile neither shortens nor prolongs them
        self._ends: dict[str, float] = {}
        self._from_before: frozenset[str] = frozenset()  # called before our start: how much of their time is gone only the clock knows
        self._heard: EmergencyMode | None = None
        self._differs, self._trouble = 0, ""
        #: the controller was out of reach since it was last known to do what it was asked; and what it was put into again, when
        self._was_away = self._events_heard = False
        self._again: dict[str, int] = {}
        self._try_at, self._look_at, self._asked_at = 0.0, 0.0, -math.inf  # by our uptime, too
        self._working: asyncio.Task[None] | None = None
        self._watchers: list[Callable[[], None]] = []
        self._stopping = self._wished = False

    async def start(self) -> None:
        """Takes up what stood when the agent ended."""
        self._books.read()
        self._was_away = bool(self._standing)  # what became of the controller meanwhile nobody saw
        self._from_before = frozenset(row.id for row in self._standing)
        self._ends = {row.id: self._monotonic() + row.ends_at - row.asked_at for row in self._standing}

    async def stop(self) -> None:
        self._stopping = True
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)
        await self._books.stop()

    @property
    def _standing(self) -> list[Row]:
        return self._books.standing

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called whenever what stands is other than it was."""
        self._watchers.append(watcher)

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()

    # ---- for the doors
    def barred(self) -> str:
        """Why no door is opened for a guest from here just now; empty where they are. Staff who open one by hand know what they do."""
        row = self._wanted()
        if (row is not None and row.mode == "lockdown") or self._outside() == "lockdown":
            return "The facility is locked down, so no door is opened from here."
        return ""

    def opens(self) -> bool:
        """Whether every door is meant to stand open just now."""
        row = self._wanted()
        return (row is not None and row.mode != "lockdown") or self._outside() == "evacuation"

    def for_guests(self) -> emergency_words.ForGuests | None:
        """What the kiosk tells its guests of the emergency that stands; None where none does."""
        return emergency_words.for_guests(self._wanted(), self._outside(), self._clock)

    def hint(self) -> None:
        """The controller has told that its mode is another: it is asked at the next tick."""
        self._look_at = 0.0

    # ---- for staff
    def panel(self) -> EmergencyPanel:
        if self._doors is None:
            return EmergencyPanel(False, None, "", ())
        row = self._standing[-1] if self._standing else None
        outside = self._outside()
        return EmergencyPanel(True, self._view(row) if row else None, outside, tuple(alarm.text for alarm in self.alarms()))

    def alarms(self) -> list[Alarm]:
        """A sentence for everybody who has the page open, as long as it stands."""
        found = [Alarm(f"emergency_{row.mode}", self._said(row), RUNBOOK) for row in self._standing]
        outside, unwritten = self._outside(), self._books.trouble
        if outside:
            found.append(Alarm("emergency_outside", emergency_words.outside(outside), RUNBOOK))
        if unwritten:
            found.append(Alarm("unwritten_emergency", emergency_words.unwritten(unwritten), RUNBOOKS.get(self._db.failing_kind, RUNBOOK)))
        return found

    def _said(self, row: Row) -> str:
        again_at = self._again.get(row.id, 0)
        return emergency_words.standing(row, self._clock(row.ends_at), self._trouble, self._clock(again_at) if again_at else "")

    def warning(self, mode: Mode, minutes: int) -> str:
        """What it would do, for whoever is about to call it."""
        ends_at = self._desk.now() + minutes * 60
        try:
            told = self._db.read(lambda tx: guests(tx, self._site_id, self._desk.now(), ends_at))
        except Failure:  # books that are damaged just there keep nobody from calling it
            told = None
        return emergency_words.warning(mode, self._clock(ends_at), told)

    async def call(self, request_id: str, mode: Mode, reason: str, minutes: int, sure: bool, asker: Asker) -> EmergencyPanel:
        """Somebody calls an emergency; the controller is asked at once, and waited for a moment. The same `request_id` is one call.

        Refuses `not_allowed`, `no_doors`, `bad_request` without a reason or beyond `MINUTES_MAX`, `id_reused`, and `confirm` the first time, with
        what it would do.
        """
        self._may(asker)
        reason = " ".join(reason.split())[:REASON_MAX]
        if not reason:
            raise refuse("bad_request", "Please say why: it is written down, and everybody with the page open reads it.")
        if not 1 <= minutes <= MINUTES_MAX:
            raise refuse("bad_request", f"An emergency lasts 1 to {MINUTES_MAX} minutes; it can be called again.")
        if not sure:
            raise refuse("confirm", self.warning(mode, minutes))
        known = self._books.one(request_id)
        if known is not None and (known.mode, known.by_id) != (mode, asker.id):
            raise refuse("id_reused", "This id was used before for something else.")
        if known is None:
            self._begin_one(request_id, mode, reason, minutes, asker)
        await self._write()
        await self._soon()
        return self.panel()

    def _begin_one(self, emergency_id: str, mode: Mode, reason: str, minutes: int, asker: Asker) -> None:
        now, who = self._desk.now(), asker.name or asker.id
        for row in self._standing:
            if row.state != "ending":
                self._books.put(ended(row, now, f"{who}, who called another"))
        wanted = Row(
            id=emergency_id, mode=mode, reason=reason, by_id=asker.id, by_name=who, asked_at=now, ends_at=now + minutes * 60,
        )  # fmt: skip
        self._ends[emergency_id] = self._monotonic() + minutes * 60
        self._books.put(wanted)
        self._books.journal(asker.id, f"emergency called: {mode}", emergency_id, f"{reason} ({minutes} min)")
        self._books.trail(wanted, "called")

    async def end(self, reason: str, asker: Asker) -> EmergencyPanel:
        """Ends what stands, whoever began it, at the controller too. Refuses `not_allowed`, `no_doors`, `not_found` where nothing stands."""
        self._may(asker)
        outside, reason = self._outside(), " ".join(reason.split())[:REASON_MAX]
        if not self._standing and not outside:
            raise refuse("not_found", "No emergency stands.")
        now, who = self._desk.now(), asker.name or asker.id
        for row in self._standing:
            if row.state != "ending":
                self._books.put(ended(row, now, who))
        if outside:  # as if we had called it: it is taken back until the controller answers
            begun = Row(
                id=self._desk.new_id(), mode=outside, reason="begun there", by_id="", by_name="the controller", asked_at=now, ends_at=now,
                state="ending", touched=1, over_by=who,
            )  # fmt: skip
            self._books.put(begun)
        self._books.journal(asker.id, "emergency ended", "", reason)
        await self._write()
        await self._soon()
        return self.panel()

    def _may(self, asker: Asker) -> None:
        asker.needs("emergency")
        if self._doors is None:
            raise refuse("no_doors", "No door controller is connected to this system.")

    # ---- by the clock
    async def tick(self) -> None:
        """Every second: ends what has had its time, asks the controller for what it has not done yet, and now and then what it is in."""
        if self._doors is None or self._stopping:
            return
        self._hear_of_absence(self._doors)
        late = [row for row in self._standing if self._has_had_its_time(row)]
        for row in late:
            self._expire(row)
        if self._books.owed:
            await self._books.flush()
            if late or not self._books.owed:
                self._tell()
        now = self._monotonic()
        owed = any(row.state in ("wanted", "ending") for row in self._standing)
        if (owed and now >= self._try_at) or now >= self._look_at:
            self._work()

    def _hear_of_absence(self, doors: Doors) -> None:
        """A controller whose events are heard no more may be starting anew."""
        heard = doors.hearing()
        if self._events_heard != heard:
            self._was_away = self._was_away or not heard
            self._look_at = self._look_at if not heard else 0.0
        self._events_heard = heard

    def _expire(self, row: Row) -> None:
        late = ended(row, self._desk.now(), "")
        self._books.put(late)
        if not row.touched:
            self._books.over(late)

    def _has_had_its_time(self, row: Row) -> bool:
        return row.state in ("wanted", "on") and self._left_s(row) <= 0

    def _left_s(self, row: Row) -> float:
        """How long it has yet. After a restart the clock says so, unless it is in doubt; but it never lasts longer than it was called for."""
        left_s = self._ends.get(row.id, math.inf) - self._monotonic()
        by_clock = row.id in self._from_before and not self._desk.clock_doubt()
        return min(left_s, row.ends_at - self._desk.now()) if by_clock else left_s

    def _work(self) -> None:
        if self._working is None or self._working.done():
            self._working = asyncio.get_running_loop().create_task(self._round())

    async def _soon(self) -> None:
        """Asks the controller now, after what it is being asked already, and waits for its answer a moment."""
        self._wished = True
        self._work()
        if self._working is not None:
            await asyncio.wait((self._working,), timeout=CALL_WAIT_S)

    async def _round(self) -> None:
        """What is owed, once; and again at once where somebody wished for something meanwhile."""
        assert self._doors is not None
        self._wished = True
        while self._wished:
            self._wished = False
            try:
                await self._carry_out(self._doors)
                self._trouble = ""
            except Failure as error:
                self._trouble = error.detail
                self._try_at = self._monotonic() + (AGAIN_REFUSED_S if error.permanent else AGAIN_S)
                self._was_away = self._was_away or not error.permanent
                _log.warning("emergency.not_carried_out", why=error.detail)
        await self._hold_again(self._doors)
        await self._look(self._doors)
        self._tell()

    # ---- actual
    async def _carry_out(self, doors: Doors) -> None:
        """What the controller owes. A newer mode, or doors held anew, take the place of an older by themselves, so that the doors are never between."""
        wanted = self._wanted()
        begun = wanted is None or wanted.state != "wanted"
        failed: list[Failure] = []

        async def tried(step: Callable[[Doors, Row], Awaitable[None]], row: Row) -> None:
            try:
                await step(doors, row)
            except Failure as error:  # what one owes keeps nobody from the others
                failed.append(error)

        if wanted is not None and not begun and wanted.mode in OF_CONTROLLER:
            await tried(self._begin, wanted)
        for row in [row for row in self._standing if row.state == "ending" and row.mode in OF_CONTROLLER]:
            await tried(self._let_go, row)
        if wanted is not None and not begun and wanted.mode not in OF_CONTROLLER:
            await tried(self._begin, wanted)
        for row in [row for row in self._standing if row.state == "ending" and row.mode not in OF_CONTROLLER]:
            await tried(self._let_go, row)
        if failed:
            raise failed[0]

    async def _begin(self, doors: Doors, row: Row) -> None:
        # Before the call: should its answer be lost, the doors are let go again at the end all the same.
        row = await self._change(row, touched=1)
        if row.state != "wanted":
            return
        self._asked_at = self._monotonic()
        if row.mode == "unlock_all":
            note = functools.partial(self._held, row)
            await emergency_doors.hold_all(doors, row.doors, math.ceil(self._left_s(row)), note)
        else:
            await doors.emergency(row.mode)
            self._heard = row.mode
        row = await self._change(row, step="on", state="on", done_at=self._desk.now())
        self._differs = 0
        _log.info("emergency.on", mode=row.mode)

    async def _held(self, row: Row, door_id: str) -> None:
        known = self._books.one(row.id) or row
        await self._change(row, doors=(*dict.fromkeys((*known.doors, door_id)),))

    async def _let_go(self, doors: Doors, row: Row) -> None:
        self._asked_at = self._monotonic()
        newer = self._wanted()
        if row.mode in OF_CONTROLLER:
            if row.touched and (newer is None or newer.mode not in OF_CONTROLLER):
                await doors.emergency("normal")
                self._heard = "normal"
        elif newer is not None and newer.mode == row.mode:
            if newer.state == "wanted":
                return  # until every door is held anew, the older hold is all that keeps some of them open
            await emergency_doors.let_go(doors, [door_id for door_id in row.doors if door_id not in newer.doors])
        else:
            await emergency_doors.let_go(doors, row.doors)
        self._books.over(row)
        await self._write()
        self._differs = 0
        _log.info("emergency.over", mode=row.mode)

    async def _hold_again(self, doors: Doors) -> None:
        """Doors that a controller which was out of reach has let go, where nobody has set anything else there."""
        row = self._wanted()
        if not self._was_away or row is None or row.state != "on" or row.mode in OF_CONTROLLER:
            return
        try:
            again = await emergency_doors.hold_again(doors, row.doors, math.ceil(self._left_s(row)))
        except Failure as error:
            _log.warning("emergency.not_held_again", why=error.detail)
            return
        self._was_away = False
        if again:
            await self._told_again(row)

    async def _told_again(self, row: Row) -> None:
        self._again[row.id] = self._desk.now()
        self._books.lost(row)
        _log.warning("emergency.again", mode=row.mode)
        await self._write()

    async def _look(self, doors: Doors) -> None:
        """What the controller is in by its own word. Where it says otherwise than we do, it is put into ours once more if it was out of reach; else
        ours is given up once it has said so twice."""
        uptime_s, before = self._monotonic(), self._outside()
        self._look_at = uptime_s + LOOK_EVERY_S
        try:
            found = await doors.emergency_now()
        except Failure as error:
            if error.permanent:
                self._heard = None  # it has none, or we may not ask: what is known of it is not carried on
            self._was_away = self._was_away or not error.permanent
            return
        if self._heard not in (None, found) and uptime_s - self._asked_at < SETTLE_S:
            self._look_at = self._asked_at + SETTLE_S  # of what it was asked for just now it may tell a moment late
            return
        self._heard, row = found, self._wanted()
        if row is None or row.state != "on" or row.mode not in OF_CONTROLLER or self._heard == row.mode:
            self._differs = 0
            self._was_away = self._was_away and row is not None and row.mode not in OF_CONTROLLER
        elif self._was_away:
            self._was_away, self._try_at = False, 0.0
            self._books.put(msgspec.structs.replace(row, state="wanted"))
            await self._told_again(row)
        else:
            self._look_at = uptime_s + SETTLE_S
            self._differs += uptime_s - self._asked_at >= SETTLE_S
            if self._differs >= 2:
                self._books.given_up(row, found)
        after = self._outside()
        if after != before:
            self._books.outside(before, after)
        if self._books.owed:
            await self._write()

    def _outside(self) -> Literal["", "lockdown", "evacuation"]:
        """The mode that the controller is in without us."""
        if self._heard in (None, "normal") or any(row.mode in OF_CONTROLLER and row.touched for row in self._standing):
            return ""
        return self._heard

    # ---- the books
    def _wanted(self) -> Row | None:
        return next((row for row in reversed(self._standing) if row.state in ("wanted", "on")), None)

    async def _change(self, row: Row, step: str = "", **changes) -> Row:
        """What the row has come to; it may have been ended meanwhile, which stays."""
        known = self._books.one(row.id) or row
        if known.state in ("ending", "over"):
            changes.pop("state", None)
        changed = msgspec.structs.replace(known, **changes)
        self._books.put(changed)
        if step:
            self._books.trail(changed, step)
        await self._write()
        return changed

    async def _write(self) -> None:
        """Writes down what has come of it, and tells everybody."""
        await self._books.flush()
        self._tell()

    # ---- words
    def _view(self, row: Row) -> EmergencyView:
        return EmergencyView(row.id, row.mode, row.state, row.reason, row.by_name, iso(row.ends_at), self._clock(row.ends_at))

    def _clock(self, at: int) -> str:
        return door_words.clock(self._db.read(lambda tx: self._houses.of(tx, self._site_id)).facility.zone, at, self._desk.now())
