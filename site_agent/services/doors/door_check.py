"""Reads the door controller back, everything of ours that it has, and compares it with what the books want of it (D4, "wanted versus actual").

Once a night, at the start, whenever the controller was away and answers again, and when staff ask. What differs is noted, told to staff, and put
right by the worker (`credentials`), which is asked for exactly those. Invariant: what changed on either side while the controller was read is left
alone until the next time; nothing is taken off that may be a forgotten sale (loss-3) or another facility's; a check that fails changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from shared.errors import Failure, refuse
from shared.ledger import lines, outage_pins, records, streams
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.model import site_of
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import DoorCredential, Doors, Granted
from site_agent.services import views
from site_agent.services.doors.credentials import ERASE_AFTER_S, Credentials, stray
from site_agent.services.doors.door_wanted import pin_part, wanted
from site_agent.services.views import iso
from site_agent.store import door_checks, door_work
from site_agent.store.door_checks import Check, Drift
from site_agent.store.door_work import SPARE, STRAY, Work

_log = log.get("site_agent.door_check")

#: at night by the facility's clock, and not twice within the same night
HOUR, EVERY_S = 4, 12 * 3600
#: a line that comes and goes is no reason to read everything again at once
AGAIN_S = 600
#: with single records to be fetched, no more than this many a second (D4)
RECORD_PAUSE_S = 0.1
#: a difference between the clocks that guests notice: their PIN begins and ends so much early or late
SKEW_TOLD_S = 60
SHOWN_MAX = 20
#: of a controller that has lost everything the journal tells the number
JOURNALLED_MAX = 50
#: a controller whose events are not heard is compared all the same, once the agent has settled
WITHOUT_EVENTS_S = 60
KINDS = {
    "missing": "was not on the controller, and is put back",
    "cancelled": "had been cancelled at the controller, and is put back",
    "window": "had other times there, and gets its own again",
    "pin": "had no PIN there, and gets it again",
    "doors": "opened no door there, and opens its own again",
    "over": "still opened a door although it should not, and is taken off",
    "double": "was there twice, and the second is taken off",
    "unknown": "is in no book of this facility, and is taken off",
    "left": "was over long ago and still there, and is erased",
}


class DriftView(msgspec.Struct, frozen=True):
    """A difference for staff; `at` ISO 8601. `booking_id` is empty where no booking is known."""

    at: str
    booking_id: str
    sentence: str


class HeldPanel(msgspec.Struct, frozen=True):
    """What the controller holds for us: `held`, and how many it still owes. `checked_at` (ISO 8601, empty: never) is the last comparison that came
    to an end, of `compared` credentials with `differing` of them; `trouble` why the last could not. `told` are sentences for staff."""

    configured: bool
    held: int
    owed: int
    checking: bool
    checked_at: str
    compared: int
    differing: int
    trouble: str
    told: tuple[str, ...]
    drift: tuple[DriftView, ...]


class DoorCheck:
    """One site's. `doors` None: no controller, nothing to compare."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, doors: Doors | None, credentials: Credentials
    ):
        self._db, self._desk, self._houses, self._site_id = db, desk, houses, site_id
        self._doors, self._credentials = doors, credentials
        self._running: asyncio.Task[Check] | None = None
        self._watchers: list[Callable[[], None]] = []
        self._heard = False
        self._tried_at = self._began_at = 0

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called when a check has come to its end."""
        self._watchers.append(watcher)

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    # ---- by the clock
    async def tick(self) -> None:
        """Every second; asks the controller nothing by itself. When it is heard again after it was away, what waits is done at once and
        everything is compared; else once a night."""
        if self._doors is None:
            return
        heard, before = self._doors.hearing(), self._heard
        self._heard = heard
        now = self._desk.now()
        self._began_at = self._began_at or now
        if heard and not before:
            await self._credentials.wake()
            if now - self._tried_at >= AGAIN_S:
                self._begin("the controller answers again" if self._tried_at else "start")
        elif not self._tried_at and now - self._began_at >= WITHOUT_EVENTS_S:
            self._begin("start")
        elif self._tried_at and now - self._tried_at >= EVERY_S and self._hour() == HOUR:
            self._begin("night")

    def _hour(self) -> int:
        house = self._db.read(lambda tx: self._houses.of(tx, self._site_id))
        return datetime.fromtimestamp(self._desk.now(), UTC).astimezone(ZoneInfo(house.facility.zone)).hour

    async def ask(self, by: str) -> HeldPanel:
        """Staff want to know: compares now, or waits for the comparison that is under way. Refuses `no_doors`, `door_unavailable`."""
        if self._doors is None:
            raise refuse("no_doors", "No door controller is connected to this system.")
        check = await asyncio.shield(self._begin(f"asked by {by}"))
        if check.trouble:
            raise refuse("door_unavailable", check.trouble)
        return self.panel()

    def _begin(self, why: str) -> asyncio.Task[Check]:
        if self._running is None or self._running.done():
            self._tried_at = self._desk.now()
            self._running = asyncio.get_running_loop().create_task(self.look(why))
        return self._running

    # ---- compare
    async def look(self, why: str) -> Check:
        """Reads everything back and compares it, once. A controller that cannot be read leaves its sentence in the check."""
        assert self._doors is not None
        began = asyncio.get_running_loop().time()
        self._tried_at = self._desk.now()
        before = self._db.read(lambda tx: {row.booking_id: row for row in door_work.all_works(tx)})
        try:
            self._credentials.read_back = True
            found = await self._told(self._doors, await self._doors.kept(), before)
        except Failure as error:
            check = Check(self._desk.now(), self._ms(began), why, 0, 0, error.detail)
            await self._db.write(lambda tx: door_checks.add_check(tx, check))
            _log.warning("door_check.failed", why=error.detail)
        else:
            took_ms = self._ms(began)
            check = await self._db.write(lambda tx: self._compare(tx, found, before, why, took_ms))
            _log.info("door_check.done", compared=check.compared, differing=check.differing)
        finally:
            self._credentials.go_on()
        for watcher in self._watchers:
            watcher()
        return check

    @staticmethod
    def _ms(began: float) -> int:
        return int((asyncio.get_running_loop().time() - began) * 1000)

    async def _told(self, doors: Doors, listed: list[Granted], before: dict[str, Work]) -> list[Granted]:
        """What the lists tell, and where they leave something out that is compared, the record itself; so too where a list lacks one that should
        be there, since it moves while it is read."""
        found: list[Granted] = []
        for one in listed:
            found.append(await self._record(doors, one) if self._unclear(one, before) else one)
        here = {one.ref for one in found}
        for row in before.values():
            if row.wanted == "grant" and row.next_at == 0 and row.ref and row.ref not in here and row.ends_at > self._desk.now():
                await asyncio.sleep(RECORD_PAUSE_S)
                missed = await doors.kept_one(row.ref)
                if missed is not None:
                    found.append(missed)
        return found

    def _unclear(self, one: Granted, before: dict[str, Work]) -> bool:
        known = one.booking_id in before
        if one.status == "cancelled":
            return one.closes_at == 0
        return one.closes_at == 0 or one.has_pin is None or one.any_door is None or (not known and not one.resource_id)

    async def _record(self, doors: Doors, one: Granted) -> Granted:
        await asyncio.sleep(RECORD_PAUSE_S)
        return await doors.kept_one(one.ref) or one

    def _compare(self, tx: Tx, found: list[Granted], before: dict[str, Work], why: str, took_ms: int) -> Check:
        """In one transaction, from what the books say now. Rows that changed while the controller was read are left alone."""
        steady = {key: row for key, row in before.items() if door_work.work(tx, key) == row}
        drift = [*self._lacking(tx, found, steady), *self._too_much(tx, found, steady)]
        now = self._desk.now()
        for key, kind, label in drift:
            door_checks.add_drift(tx, Drift(now, key, kind, label))
        for key, kind, label in drift[:JOURNALLED_MAX]:
            records.journal(tx, now, self._site_id, "door check", f"credential {kind}", key, label)
        if len(drift) > JOURNALLED_MAX:
            records.journal(tx, now, self._site_id, "door check", "credentials differ", self._site_id, f"{len(drift)} in all")
        check = Check(now, took_ms, why, len(found), len(drift))
        door_checks.add_check(tx, check)
        return check

    def _lacking(self, tx: Tx, found: list[Granted], steady: dict[str, Work]) -> list[tuple[str, str, str]]:
        """What the books want and the controller took, and no longer has so: it is owed again."""
        by_ref, drift = {one.ref: one for one in found}, []
        house = self._houses.of(tx, self._site_id)
        for key, row in steady.items():
            one = wanted(tx, self._desk, house, key) if row.wanted == "grant" and row.ref and row.next_at == 0 else None
            if one is None:
                continue
            kind = _differs(one, by_ref.get(row.ref))
            if kind:
                # what is there is made right where it is; a PIN that is there stays
                ref, done = ("", "") if kind in ("missing", "cancelled") else (row.ref, "" if kind == "pin" else pin_part(row.done_stamp))
                door_work.put(tx, msgspec.structs.replace(row, ref=ref, done_stamp=done, next_at=self._desk.now(), tries=0))
                drift.append((key, kind, one.label))
        return drift

    def _too_much(self, tx: Tx, found: list[Granted], steady: dict[str, Work]) -> list[tuple[str, str, str]]:
        """What the controller has and nobody wants: to be taken off, unless it may be a sale that the books have forgotten."""
        now, drift = self._desk.now(), []
        for one in found:
            row = door_work.work(tx, one.booking_id)
            if row is not None and (row.ref == one.ref or row != steady.get(one.booking_id) or not row.ref):
                continue  # the worker's own, or being made just now
            if door_work.booking_of(tx, one.ref) or door_work.work(tx, f"{STRAY}{one.ref}") is not None:
                continue
            kind = self._why_not(tx, one, row, now)
            if kind:
                door_work.put(tx, stray(one.ref, one.closes_at, now))
                if kind != "left":
                    drift.append((one.booking_id, kind, self._label(tx, one)))
        return drift

    def _why_not(self, tx: Tx, one: Granted, row: Work | None, now: int) -> str:
        """Why this one is to go; empty where it stays."""
        if self._desk.clock_doubt():
            return ""
        over = bool(one.closes_at) and one.closes_at + ERASE_AFTER_S <= now
        known = records.booking(tx, one.booking_id) is not None or outage_pins.one(tx, one.booking_id) is not None
        if one.status == "cancelled" or over:
            return "left" if over and (known or self._is_ours(one)) else ""
        if row is not None:
            return "double"
        if known:
            unwanted = wanted(tx, self._desk, self._houses.of(tx, self._site_id), one.booking_id) is None
            return "over" if unwanted and one.closes_at > now else ""
        return "unknown" if self._is_ours(one) and not self._may_be_forgotten(tx) else ""

    def _is_ours(self, one: Granted) -> bool:
        """Another facility may stand on the same controller: what does not say that it is this one's is let be."""
        return one.booking_id.startswith(f"{SPARE}{self._site_id}-") or (
            bool(one.resource_id) and site_of(one.resource_id) == self._site_id
        )

    def _may_be_forgotten(self, tx: Tx) -> bool:
        """loss-3: below a floor, and until a repair is through, the controller may know sales that the books do not."""
        s = streams.read(tx, self._site_id)
        if s is None or s.fenced or s.repair or s.retired or s.closed:
            return True
        return lines.highest_floor(tx, self._site_id) > self._desk.now_slot()

    def _label(self, tx: Tx, one: Granted) -> str:
        house = self._houses.of(tx, self._site_id)
        bay = (
            views.bay(house, one.resource_id)
            if one.resource_id in house.resources
            else "A spare PIN"
            if one.booking_id.startswith(SPARE)
            else "?"
        )
        return f"{bay}, {views.clock(house.facility.zone, one.opens_at // 900 + 1, one.closes_at // 900 - 1)}"

    # ---- for staff
    def counts(self) -> tuple[int, int]:
        """`(differences of the last comparison, differences ever found)`."""
        last, ever = self._db.read(lambda tx: (door_checks.last(tx, good=True), door_checks.count(tx)))
        return (last.differing if last else 0, ever)

    def panel(self) -> HeldPanel:
        def read(tx: Tx) -> HeldPanel:
            owed, held = door_work.counts(tx)
            good, last = door_checks.last(tx, good=True), door_checks.last(tx)
            rows = tuple(
                DriftView(iso(one.at), one.key if records.booking(tx, one.key) is not None else "", f"{one.label} {KINDS[one.kind]}.")
                for one in door_checks.drift(tx, SHOWN_MAX)
            )
            return HeldPanel(
                self._doors is not None, held, owed, self._running is not None and not self._running.done(), iso(good.at) if good else "",
                good.compared if good else 0, good.differing if good else 0, last.trouble if last else "", tuple(self._told_of_clock()), rows,
            )  # fmt: skip

        return self._db.read(read)

    def _told_of_clock(self) -> list[str]:
        """The controller opens by its own clock. PINs have a quarter of an hour on either side of a booking, so up to there nobody is shut out."""
        skew_s = self._doors.clock_skew_s() if self._doors is not None else None
        if skew_s is None or abs(skew_s) < SKEW_TOLD_S or self._desk.clock_doubt():
            return []
        much, way = f"{round(abs(skew_s) / 60)} min", "ahead of" if skew_s > 0 else "behind"
        what = "early" if skew_s > 0 else "late"
        if abs(skew_s) < 900:
            return [
                f"The door controller's clock is {much} {way} this machine's: PINs begin and end that much {what}. Please set it right."
            ]
        return [
            f"The door controller's clock is {much} {way} this machine's: guests' PINs begin and end that much {what} at the readers, so let them in"
            " at the kiosk or from here. Please set its clock right."
        ]


def _differs(one: DoorCredential, kept: Granted | None) -> str:
    """How what the controller keeps differs from what is wanted; empty where it does not, as far as it says."""
    if kept is None:
        return "missing"
    if kept.status == "cancelled":
        return "cancelled"
    if (kept.opens_at, kept.closes_at) != (one.opens_at, one.closes_at) or (kept.resource_id and kept.resource_id != one.resource_id):
        return "window"
    if one.pin is not None and kept.has_pin is False:
        return "pin"
    return "doors" if kept.any_door is False else ""
