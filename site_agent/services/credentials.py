"""Keeps the door controller holding what the books say: a visitor with PIN for each confirmed booking that starts within 14 days (D1-D4).

Wanted beside actual, one row per booking: a commit that touches a booking wakes the worker, a sweep finds what an event missed. Bookings
never wait for the controller. Invariant: what the controller is told is worked out from the books at that moment; what failed is tried
again with a back-off until it is done, and shown to staff with its reason meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import msgspec

from shared import passes
from shared.bookings import live
from shared.errors import Failure
from shared.ledger import outage_pins, records
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.model import Attendance, Booking
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import DoorCredential, Doors, GrantRef, PinTaken
from site_agent.services import views
from site_agent.services.door_witness import FOUND
from site_agent.store import door_work
from site_agent.store.door_work import Work

_log = log.get("site_agent.credentials")

REACH_S = 14 * 86_400
#: a credential that is over stays on the controller for a day, so that its log can be read, and is then erased
ERASE_AFTER_S = 86_400
BACK_OFF_MAX_S = 300
#: what a person must look at is tried again now and then all the same
PERMANENT_WAIT_S = 600
RUN_MAX = 20


class Stuck(msgspec.Struct, frozen=True):
    """A credential that the controller does not have as it should, for staff."""

    booking_id: str
    wanted: str
    tries: int
    next_at: int
    error: str


def credential(house: House, b: Booking, attendance: Attendance | None, now: int) -> DoorCredential | None:
    """What the booking should open now; None where it should open nothing (cancelled, displaced, over, too far ahead, no doors).

    `cancelling` keeps its credential only for a guest who is in (own-3). A reseated booking opens its new bay's doors.
    """
    opens_at, closes_at = passes.window(b.start, b.end)
    seat = attendance.seat if attendance and attendance.seat else ""
    inside = attendance is not None and attendance.state == "checked_in"
    good = live(b.status) and (b.status == "confirmed" or inside) and not b.withdrawn and (not b.displaced or bool(seat))
    if not good or now >= closes_at or b.starts_at > now + REACH_S:
        return None
    bay = house.resources.get(seat or b.resource_id)
    door_ids = tuple(dict.fromkeys((*house.facility.door_ids, *(bay.door_ids if bay else ()))))
    if not door_ids:
        return None
    label = f"{views.bay(house, seat or b.resource_id)}, {views.clock(house.facility.zone, b.start, b.end)}"
    # what was found on the controller has a PIN there that its guest knows and we do not
    return DoorCredential(
        b.id, door_ids, b.door_pin or None, opens_at, closes_at, label, resource_id=b.resource_id, keep_pin=b.reason == FOUND
    )


def spare_credential(house: House, spare: outage_pins.Spare, now: int) -> DoorCredential | None:
    """What an outage credential should open now that nobody is known to have: its bay's doors in its hour of arrival (pass-4)."""
    opens_at, closes_at = passes.window(spare.first, spare.past)
    bay = house.resources.get(spare.resource_id)
    door_ids = tuple(dict.fromkeys((*house.facility.door_ids, *(bay.door_ids if bay else ()))))
    if spare.state not in ("made", "leased") or now >= closes_at or not door_ids:
        return None
    label = f"spare PIN, {views.bay(house, spare.resource_id)}, {views.clock(house.facility.zone, spare.first, spare.past)}"
    return DoorCredential(spare.id, door_ids, spare.secret, opens_at, closes_at, label)


def stamp(wanted: DoorCredential) -> str:
    """A digest by which one sees whether the controller has this very credential; the PIN cannot be read out of it in the open."""
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.asdict(wanted))).hexdigest()[:24]


class Credentials:
    """The worker. `doors` None: no controller, nothing to do."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, doors: Doors | None
    ):
        self._db, self._desk, self._houses, self._site_id, self._doors = db, desk, houses, site_id, doors
        self._touched: set[str] = set()
        self._awake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._watchers: list[Callable[[], None]] = []
        if doors is not None:
            db.listen(self._changed)

    def _changed(self, events: list[tuple[str, str]]) -> None:
        touched = {key for topic, key in events if topic in ("booking", "outage_pin")}
        if touched:
            self._touched |= touched
            self._awake.set()

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called when something came to be stuck, or is no longer."""
        self._watchers.append(watcher)

    async def start(self) -> None:
        if self._doors is not None:
            await self.sweep()
            self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def sweep(self) -> None:
        """Compares every booking in reach with its row, whatever events were missed."""
        if self._doors is None:
            return
        now = self._desk.now()
        found, spares = self._db.read(
            lambda tx: (
                door_work.bookings_in_reach(tx, self._site_id, now // 900 - 96, (now + REACH_S) // 900 + 1),
                outage_pins.known(tx, self._site_id),
            )
        )
        self._touched |= {b.id for b in found} | {spare.id for spare in spares}
        self._awake.set()

    def stuck(self) -> list[Stuck]:
        return [
            Stuck(row.booking_id, row.wanted, row.tries, row.next_at, row.error) for row in self._db.read(door_work.stuck)
        ]

    def counts(self) -> tuple[int, int]:
        """`(owed, on the controller)`."""
        return self._db.read(door_work.counts)

    async def settle(self) -> None:
        """Plans what was touched and does what is due, once. The worker's round; tests drive it by hand."""
        await self._plan()
        while due := self._db.read(lambda tx: door_work.due(tx, self._desk.now(), RUN_MAX)):
            for row in due:
                await self._do(row)

    async def _work(self) -> None:
        while True:
            try:
                await self.settle()
            except Exception as error:  # one bad round must not end the reconciler
                if not self._db.failing:  # the books tell of their disk themselves, once
                    _log.error("credentials.round_failed", error=error)
                await asyncio.sleep(1)
            await self._sleep()

    async def _sleep(self) -> None:
        """Until something is touched or the next try is due."""
        next_at = self._db.read(door_work.next_due_at)
        wait_s = max(0.2, next_at - self._desk.clock()) if next_at else None
        try:
            await asyncio.wait_for(self._awake.wait(), wait_s)
        except TimeoutError:
            pass
        self._awake.clear()

    # ---- wanted
    async def _plan(self) -> None:
        touched, self._touched = self._touched, set()
        if touched:
            await self._db.write(lambda tx: [self._plan_one(tx, booking_id) for booking_id in sorted(touched)])

    def _plan_one(self, tx: Tx, booking_id: str) -> None:
        b, row = records.booking(tx, booking_id), door_work.work(tx, booking_id)
        if b is None:
            self._plan_spare(tx, booking_id, row)
            return
        now = self._now_for(b.starts_at)
        wanted = credential(self._houses.of(tx, self._site_id), b, records.attendance(tx, booking_id), now)
        self._want(tx, booking_id, row, wanted, lies=lambda known: self._lies(b, known, now))

    def _plan_spare(self, tx: Tx, pin_id: str, row: Work | None) -> None:
        """pass-4: one whose booking has become known is that booking's own visitor from now on."""
        spare = outage_pins.one(tx, pin_id)
        if spare is None:
            return
        theirs = door_work.work(tx, spare.booking_id) if spare.booking_id else None
        if spare.booking_id and row is not None and row.ref and not (theirs and theirs.ref):
            door_work.put(tx, Work(booking_id=spare.booking_id, wanted="grant", ref=row.ref, ends_at=row.ends_at))
            door_work.drop(tx, pin_id)
            self._plan_one(tx, spare.booking_id)
            return
        wanted = spare_credential(self._houses.of(tx, self._site_id), spare, self._now_for(spare.first * 900))
        self._want(tx, pin_id, row, wanted, lies=lambda _: False)

    def _now_for(self, starts_at: int) -> int:
        """What a clock in doubt calls over, or far off, may be now (clock-2): no guest loses a PIN for it. The controller, whose clock is its
        own, opens in the window and at no other time."""
        return starts_at if self._desk.clock_doubt() else self._desk.now()

    def _want(self, tx: Tx, booking_id: str, row: Work | None, wanted: DoorCredential | None, *, lies: Callable[[Work], bool]) -> None:
        """Notes what the controller owes us. `lies`: a row that may stay although nothing is wanted any more."""
        now = self._desk.now()
        if wanted is not None:
            mark = stamp(wanted)
            if row is None:
                row = Work(booking_id=booking_id, wanted="grant")
            elif row.wanted == "grant" and row.stamp == mark:
                return
            done = row.wanted == "grant" and row.done_stamp == mark
            door_work.put(
                tx,
                msgspec.structs.replace(
                    row, wanted="grant", stamp=mark, ends_at=wanted.closes_at, tries=0, next_at=0 if done else now, error=""
                ),
            )
        elif row is not None and row.wanted == "grant" and not lies(row):
            if row.ref or row.tries:
                door_work.put(tx, msgspec.structs.replace(row, wanted="revoke", tries=0, next_at=now, error=""))
            else:
                door_work.drop(tx, booking_id)

    def _lies(self, b: Booking, row: Work, now: int) -> bool:
        """A visit that is simply over stays as it is until a day has passed: its window on the controller is over too."""
        return b.status == "confirmed" and not b.displaced and row.next_at == 0 and row.ends_at <= now < row.ends_at + ERASE_AFTER_S

    # ---- actual
    async def _do(self, row: Work) -> None:
        """One call to the controller, from what the books say now, and what came of it into the row."""
        assert self._doors is not None
        try:
            if row.wanted == "revoke":
                await self._revoke(row)
                await self._db.write(lambda tx: self._revoked(tx, row))
            else:
                await self._grant(row)
        except Failure as error:
            await self._failed(row, error)
        except Exception as error:
            _log.error("credentials.broke", error=error, booking_id=row.booking_id)
            await self._failed(row, Failure("The door controller's adapter failed in an unexpected way."))
        else:
            if row.error:
                self._tell()

    async def _grant(self, row: Work) -> None:
        assert self._doors is not None

        def look(tx: Tx) -> DoorCredential | None:
            b, spare = records.booking(tx, row.booking_id), outage_pins.one(tx, row.booking_id)
            house = self._houses.of(tx, self._site_id)
            if b is None:
                return spare_credential(house, spare, self._now_for(spare.first * 900)) if spare else None
            return credential(house, b, records.attendance(tx, row.booking_id), self._now_for(b.starts_at))

        wanted = self._db.read(look)
        if wanted is None:
            await self._db.write(lambda tx: door_work.put(tx, msgspec.structs.replace(row, wanted="revoke", tries=max(1, row.tries))))
            return
        # Before the call: a grant whose answer is lost must be found again by a later revocation.
        await self._db.write(lambda tx: self._tried(tx, row))
        pin_trouble = ""
        try:
            ref = await self._put(row, wanted)
        except PinTaken as error:
            if await self._db.write(lambda tx: self._spare_taken(tx, row)):
                return
            ref = await self._put(row, msgspec.structs.replace(wanted, pin=None))
            pin_trouble = f"{error.detail} The booking's PIN works at the kiosk, not at the door's reader."
        await self._db.write(lambda tx: self._granted(tx, row, ref, stamp(wanted), pin_trouble))
        if pin_trouble:
            self._tell()

    def _spare_taken(self, tx: Tx, row: Work) -> bool:
        """An outage credential without its PIN is nothing: it ends, and another is made for its hour. False for a booking's."""
        if records.booking(tx, row.booking_id) is not None or not outage_pins.end(tx, self._desk, row.booking_id):
            return False
        door_work.put(tx, msgspec.structs.replace(row, wanted="revoke", tries=max(1, row.tries), next_at=self._desk.now()))
        return True

    async def _put(self, row: Work, wanted: DoorCredential) -> GrantRef:
        assert self._doors is not None
        return await (self._doors.regrant(GrantRef(row.ref), wanted) if row.ref else self._doors.grant(wanted))

    async def _revoke(self, row: Work) -> None:
        assert self._doors is not None
        erase = row.ends_at + ERASE_AFTER_S <= self._desk.now()
        refs = [GrantRef(row.ref)] if row.ref else [g.ref for g in await self._doors.granted() if g.booking_id == row.booking_id]
        for ref in refs:
            await self._doors.revoke(ref, erase=erase)
        _log.info("credential.revoked", booking_id=row.booking_id)

    def _tried(self, tx: Tx, row: Work) -> None:
        now = door_work.work(tx, row.booking_id)
        if now is not None:
            door_work.put(tx, msgspec.structs.replace(now, tries=now.tries + 1))

    def _granted(self, tx: Tx, row: Work, ref: str, mark: str, trouble: str) -> None:
        """The books may have changed while the controller was asked: then the row asks for another round."""
        now = door_work.work(tx, row.booking_id) or row
        done = now.wanted == "grant" and now.stamp == mark
        next_at = self._desk.now() + PERMANENT_WAIT_S if done and trouble else (0 if done else now.next_at)
        door_work.put(
            tx, msgspec.structs.replace(now, ref=ref, done_stamp=mark, tries=0 if not trouble else now.tries, next_at=next_at, error=trouble)
        )
        outage_pins.leased(tx, self._desk, row.booking_id)
        _log.info("credential.granted", booking_id=row.booking_id)

    def _revoked(self, tx: Tx, row: Work) -> None:
        now = door_work.work(tx, row.booking_id)
        if now is not None and now.wanted == "grant":
            door_work.put(tx, msgspec.structs.replace(now, ref="", done_stamp=""))
        else:
            door_work.drop(tx, row.booking_id)

    async def _failed(self, row: Work, error: Failure) -> None:
        wait_s = PERMANENT_WAIT_S if error.permanent else max(error.retry_after_s, min(BACK_OFF_MAX_S, 2**min(row.tries, 20)))

        def run(tx: Tx) -> None:
            now = door_work.work(tx, row.booking_id)
            if now is not None:
                tries = max(now.tries, row.tries + 1)
                door_work.put(tx, msgspec.structs.replace(now, tries=tries, next_at=self._desk.now() + wait_s, error=error.detail))

        await self._db.write(run)
        _log.warning("credential.failed", booking_id=row.booking_id, wanted=row.wanted, why=error.detail, again_in_s=wait_s)
        if not row.error:
            self._tell()

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()
