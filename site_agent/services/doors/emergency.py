"""Emergencies (D5): lock-down, evacuation, all doors open for some minutes. Called by people, asked twice, ended by itself.

Not for: single doors (`doors`); bookings are not touched. Invariants: what was called stands in the books before the controller is asked, so that
a restart ends it in time; a controller that is away is asked until the emergency's end, and what may have reached it is taken back until it
answers; whoever stands at the controller has the last word, and nobody here argues with them.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from shared import slots
from shared.errors import Failure, refuse
from shared.ledger import records
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import Doors, EmergencyMode
from site_agent.services.alarms import Alarm
from site_agent.services.doors import door_words, emergency_doors, emergency_words
from site_agent.services.people import Asker
from site_agent.services.views import iso
from site_agent.store import door_trail, emergencies
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
        #: when they end by our uptime at the latest: a clock that is set meanwhile neither shortens nor prolongs them
        self._ends: dict[str, float] = {}
        self._from_before: frozenset[str] = frozenset()  # called before our start: how much of their time is gone only the clock knows
        self._standing: list[Row] = []
        self._heard: EmergencyMode | None = None
        self._differs, self._trouble = 0, ""
        self._try_at, self._look_at, self._asked_at = 0.0, 0.0, -math.inf  # by our uptime, too
        self._working: asyncio.Task[None] | None = None
        self._watchers: list[Callable[[], None]] = []
        self._stopping = self._wished = False

    async def start(self) -> None:
        """Takes up what stood when the agent ended."""
        self._standing = self._db.read(emergencies.standing)
        self._from_before = frozenset(row.id for row in self._standing)
        self._ends = {row.id: self._monotonic() + row.ends_at - row.asked_at for row in self._standing}

    async def stop(self) -> None:
        self._stopping = True
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

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
        said = [(row, emergency_words.standing(row, self._clock(row.ends_at), self._trouble)) for row in self._standing]
        found = [Alarm(f"emergency_{row.mode}", text, RUNBOOK) for row, text in said]
        outside = self._outside()
        if outside:
            found.append(Alarm("emergency_outside", emergency_words.outside(outside), RUNBOOK))
        return found

    def warning(self, mode: Mode, minutes: int) -> str:
        """What it would do, for whoever is about to call it."""
        ends_at = self._desk.now() + minutes * 60
        inside, coming = self._db.read(lambda tx: self._guests(tx, ends_at))
        return emergency_words.warning(mode, self._clock(ends_at), inside, coming)

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
        now = self._desk.now()
        wanted = Row(
            id=request_id,
            mode=mode,
            reason=reason,
            by_id=asker.id,
            by_name=asker.name or asker.id,
            asked_at=now,
            ends_at=now + minutes * 60,
        )

        def run(tx: Tx) -> None:
            known = emergencies.one(tx, request_id)
            if known is not None:
                if (known.mode, known.by_id) != (mode, asker.id):
                    raise refuse("id_reused", "This id was used before for something else.")
                return
            for row in emergencies.standing(tx):
                if row.state != "ending":
                    emergencies.put(tx, self._ended(row, now, f"{asker.name or asker.id}, who called another"))
            emergencies.put(tx, wanted)
            records.journal(tx, now, self._site_id, asker.id, f"emergency called: {mode}", request_id, f"{reason} ({minutes} min)")
            self._trail(tx, wanted, "called")

        await self._write(run)
        self._ends.setdefault(request_id, self._monotonic() + minutes * 60)
        await self._soon()
        return self.panel()

    async def end(self, reason: str, asker: Asker) -> EmergencyPanel:
        """Ends what stands, whoever began it, at the controller too. Refuses `not_allowed`, `no_doors`, `not_found` where nothing stands."""
        self._may(asker)
        outside, reason = self._outside(), " ".join(reason.split())[:REASON_MAX]
        if not self._standing and not outside:
            raise refuse("not_found", "No emergency stands.")
        now, who = self._desk.now(), asker.name or asker.id

        def run(tx: Tx) -> None:
            for row in emergencies.standing(tx):
                if row.state != "ending":
                    emergencies.put(tx, self._ended(row, now, who))
            if outside:  # as if we had called it: it is taken back until the controller answers
                begun = Row(
                    id=self._desk.new_id(), mode=outside, reason="begun there", by_id="", by_name="the controller", asked_at=now, ends_at=now,
                    state="ending", touched=1, over_by=who,
                )  # fmt: skip
                emergencies.put(tx, begun)
            records.journal(tx, now, self._site_id, asker.id, "emergency ended", "", reason)

        await self._write(run)
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
        if any(self._has_had_its_time(row) for row in self._standing):
            await self._write(self._expire)
        now = self._monotonic()
        owed = any(row.state in ("wanted", "ending") for row in self._standing)
        if (owed and now >= self._try_at) or now >= self._look_at:
            self._work()

    def _expire(self, tx: Tx) -> None:
        now = self._desk.now()
        for row in emergencies.standing(tx):
            if self._has_had_its_time(row):
                emergencies.put(tx, self._ended(row, now, ""))
                if not row.touched:
                    self._over(tx, row, now)

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
                _log.warning("emergency.not_carried_out", why=error.detail)
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
        known = self._db.read(lambda tx: emergencies.one(tx, row.id)) or row
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
        now = self._desk.now()
        await self._write(lambda tx: self._over(tx, row, now))
        self._differs = 0
        _log.info("emergency.over", mode=row.mode)

    async def _look(self, doors: Doors) -> None:
        """What the controller is in by its own word; ours is given up where it says otherwise twice."""
        now, uptime_s, before = self._desk.now(), self._monotonic(), self._outside()
        self._look_at = uptime_s + LOOK_EVERY_S
        try:
            found = await doors.emergency_now()
        except Failure as error:
            if error.permanent:
                self._heard = None  # it has none, or we may not ask: what is known of it is not carried on
            return
        if self._heard not in (None, found) and uptime_s - self._asked_at < SETTLE_S:
            self._look_at = self._asked_at + SETTLE_S  # of what it was asked for just now it may tell a moment late
            return
        self._heard, row = found, self._wanted()
        if row is None or row.state != "on" or row.mode not in OF_CONTROLLER or self._heard == row.mode:
            self._differs = 0
        else:
            self._look_at = uptime_s + SETTLE_S
            self._differs += uptime_s - self._asked_at >= SETTLE_S
            if self._differs >= 2:
                await self._write(lambda tx: self._given_up(tx, row, now))
        after = self._outside()
        if after != before:
            await self._write(lambda tx: self._told_outside(tx, before, after, now))

    def _given_up(self, tx: Tx, row: Row, now: int) -> None:
        emergencies.put(tx, msgspec.structs.replace(row, state="over", over_at=now, over_by="the controller"))
        records.journal(tx, now, self._site_id, "controller", f"emergency ended: {row.mode}", row.id, f"by its own word: {self._heard}")
        self._trail(tx, msgspec.structs.replace(row, over_by="somebody at the controller"), "over")

    def _told_outside(self, tx: Tx, before: str, after: str, now: int) -> None:
        last = door_trail.last_of(tx, self._site_id, "", ("emergency",))
        if last is not None and (last.how, last.who) == (after or before, "") and (last.detail == "outside") == bool(after):
            return  # it was told before a restart of ours
        step = "outside" if after else "outside over"
        records.journal(tx, now, self._site_id, "controller", f"emergency {step}: {after or before}", "", "")
        door_trail.add(tx, self._site_id, door_trail.Row(kind="emergency", door_id="", at=now, how=after or before, detail=step))
        tx.tell("alarm", self._site_id)

    def _outside(self) -> Literal["", "lockdown", "evacuation"]:
        """The mode that the controller is in without us."""
        if self._heard in (None, "normal") or any(row.mode in OF_CONTROLLER and row.touched for row in self._standing):
            return ""
        return self._heard

    # ---- the books
    def _wanted(self) -> Row | None:
        return next((row for row in reversed(self._standing) if row.state in ("wanted", "on")), None)

    def _ended(self, row: Row, now: int, by: str) -> Row:
        return msgspec.structs.replace(row, state="ending", over_by=by, ends_at=min(row.ends_at, now))

    def _over(self, tx: Tx, row: Row, now: int) -> None:
        known = emergencies.one(tx, row.id) or row
        emergencies.put(tx, msgspec.structs.replace(known, state="over", over_at=now))
        records.journal(tx, now, self._site_id, "agent", f"emergency over: {row.mode}", row.id, known.over_by or "its time was over")
        self._trail(tx, known, "over" if known.done_at else "void")

    async def _change(self, row: Row, step: str = "", **changes) -> Row:
        """What the row has come to; it may have been ended meanwhile, which stays."""

        def run(tx: Tx) -> Row:
            known = emergencies.one(tx, row.id) or row
            if known.state in ("ending", "over"):
                changes.pop("state", None)
            changed = msgspec.structs.replace(known, **changes)
            emergencies.put(tx, changed)
            if step:
                self._trail(tx, changed, step)
            return changed

        return await self._write(run)

    async def _write(self, work: Callable[[Tx], object]):
        """One transaction, after which what stands is known anew and everybody is told."""

        def run(tx: Tx) -> tuple[object, list[Row]]:
            done = work(tx)
            tx.tell("alarm", self._site_id)
            return done, emergencies.standing(tx)

        done, self._standing = await self._db.write(run)
        self._tell()
        return done

    def _trail(self, tx: Tx, row: Row, step: str) -> None:
        ended = f"|{row.over_by}" if step == "over" else f"|{row.reason}"
        told = door_trail.Row(
            kind="emergency", door_id="", at=self._desk.now(), how=row.mode, who=row.by_id, name=row.by_name, ref=row.id,
            key=f"emergency-{row.id}-{step}", detail=step + ended,
        )  # fmt: skip
        if not door_trail.has(tx, self._site_id, told.key):
            door_trail.add(tx, self._site_id, told)

    # ---- words
    def _view(self, row: Row) -> EmergencyView:
        return EmergencyView(row.id, row.mode, row.state, row.reason, row.by_name, iso(row.ends_at), self._clock(row.ends_at))

    def _clock(self, at: int) -> str:
        return door_words.clock(self._db.read(lambda tx: self._houses.of(tx, self._site_id)).facility.zone, at)

    def _guests(self, tx: Tx, until_at: int) -> tuple[int, int]:
        """`(inside now, expected until then)`."""
        first, past = self._desk.now() // slots.SLOT_S, until_at // slots.SLOT_S + 1
        visits = records.attendance_between(tx, self._site_id, first, past)
        inside = coming = 0
        for b in records.bookings_between(tx, self._site_id, first, past):
            if b.status == "confirmed" and not b.withdrawn:
                here = b.id in visits and visits[b.id].state == "checked_in"
                inside, coming = inside + here, coming + (not here and (b.id not in visits or not visits[b.id].state))
        return inside, coming
