"""Keeps the door controller holding what the books say: a visitor with PIN for each confirmed booking that starts within 14 days (D1-D4).

Wanted beside actual, one row per booking: a commit that touches a booking wakes the worker, a sweep finds what an event missed, and now and then
the controller is read back (`door_check`). Bookings never wait for the controller. Invariant: what the controller is told is worked out from the
books at that moment; what failed is tried again with a back-off until it is done, and shown to staff with its reason meanwhile. What may be
somebody's who stands at the door goes before all else and waits for no pace; the rest is done at the few requests a second a controller bears.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from shared.errors import Failure
from shared.ledger import outage_pins, records
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.model import Booking
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import DoorCredential, Doors, DoorsRefused, DoorsUnavailable, GrantRef, PinTaken
from site_agent.services.doors.door_wanted import REACH_S, now_for, same_pin, stamp, wanted
from site_agent.store import door_work
from site_agent.store.door_work import STRAY, URGENT, Work

_log = log.get("site_agent.credentials")

#: a credential that is over stays on the controller for a day, so that its log can be read, and is then erased
ERASE_AFTER_S = 86_400
BACK_OFF_MAX_S = 300
#: what opens a door that should stay shut is tried again this often at least
REVOKE_AGAIN_S = 15
#: what a person must look at is tried again now and then all the same
PERMANENT_WAIT_S = door_work.AGAIN_MAX_S
#: a controller that is away, or refuses us altogether, is left alone for so long at most before another is tried
PAUSE_MAX_S = 10
#: after so many failures in a row the next success says that it is back
AWAY_FAILURES = 3
#: so many requests at most does the adapter make for one of these; with so many a second none is left with more than ten in any second (D4)
REQUESTS = {"grant": 3, "regrant": 4, "revoke": 2}
REQUESTS_PER_S = 8
#: how many bookings one looks back for the one whose place was taken over
CHAIN_MAX = 8
_OF_THE_CONTROLLER = ("certificate_changed", "token_refused")


class Stuck(msgspec.Struct, frozen=True):
    """A credential that the controller does not have as it should, for staff."""

    booking_id: str
    wanted: str
    tries: int
    next_at: int
    error: str


class Credentials:
    """The worker. `doors` None: no controller, nothing to do."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, doors: Doors | None):
        self._db, self._desk, self._houses, self._site_id, self._doors = db, desk, houses, site_id, doors
        self._touched: set[str] = set()
        self._awake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._watchers: list[Callable[[], None]] = []
        self._failures = 0
        self._pause_until = self._bulk_at = 0.0
        #: while the controller is read back, what waits for a pace waits
        self.read_back = False
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

    def go_on(self) -> None:
        """The controller has been read back, and rows were written that are owed now: what waits for a pace does so for a second more."""
        self.read_back, self._bulk_at = False, asyncio.get_running_loop().time() + 1
        self._awake.set()

    async def wake(self) -> int:
        """The controller answers again: what waits is due now. Returns how much waited."""
        self._pause_until = 0.0
        woken = await self._db.write(lambda tx: door_work.wake(tx, self._desk.now()))
        self._awake.set()
        return woken

    def stuck(self) -> list[Stuck]:
        return [Stuck(row.booking_id, row.wanted, row.tries, row.next_at, row.error) for row in self._db.read(door_work.stuck)]

    def counts(self) -> tuple[int, int]:
        """`(owed, on the controller)`."""
        return self._db.read(door_work.counts)

    async def settle(self) -> None:
        """Plans what was touched and does what is due, all of it, without a pace; tests drive it by hand."""
        self._bulk_at = 0.0
        while await self._step(paced=False):
            pass

    async def _step(self, *, paced: bool) -> bool:
        """The next thing owed, if there is one that may be done now. What was touched meanwhile is planned first, so that a cancel is not behind
        what was due before it."""
        await self._plan()
        pause = self._pause_s() > 0
        waits = paced and (self.read_back or asyncio.get_running_loop().time() < self._bulk_at)
        most = 0 if pause else URGENT if waits else 9
        found = self._db.read(lambda tx: door_work.due(tx, self._desk.now(), most))
        if found is None or (pause and found[0].tries):  # a new cancel does not wait for what another call came to
            return False
        row, urgency = found
        if urgency > URGENT:
            kind = "regrant" if row.wanted == "grant" and row.ref else row.wanted
            self._bulk_at = asyncio.get_running_loop().time() + REQUESTS[kind] / REQUESTS_PER_S
        await self._do(row, urgency)
        return True

    async def _work(self) -> None:
        while True:
            try:
                while await self._step(paced=True):
                    pass
            except Exception as error:  # one bad round must not end the reconciler
                if not self._db.failing:  # the books tell of their disk themselves, once
                    _log.error("credentials.round_failed", error=error)
                await asyncio.sleep(1)
            await self._sleep()

    async def _sleep(self) -> None:
        """Until something is touched or the next try is due."""
        next_at = self._db.read(door_work.next_due_at)
        wait_s = None
        if next_at:
            paced_s = self._bulk_at - asyncio.get_running_loop().time()
            wait_s = max(0.02, next_at - self._desk.clock(), self._pause_s(), paced_s)
        try:
            async with asyncio.timeout(wait_s):  # not wait_for, which before Python 3.12 may swallow a cancel
                await self._awake.wait()
        except TimeoutError:
            pass
        self._awake.clear()

    def _pause_s(self) -> float:
        """How long the controller is left alone yet; what would be longer than any pause was noted before the clock was set back."""
        left_s = self._pause_until - self._desk.clock()
        return left_s if left_s <= PAUSE_MAX_S else 0.0

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
        one = self._wanted(tx, booking_id)
        if one is not None and (row is None or not row.ref):
            row = self._taken_over(tx, b) or row
        now = now_for(self._desk, b.starts_at)
        self._want(tx, booking_id, row, one, lies=lambda known: self._lies(b, known, now))

    def _wanted(self, tx: Tx, key: str) -> DoorCredential | None:
        return wanted(tx, self._desk, self._houses.of(tx, self._site_id), key)

    def _taken_over(self, tx: Tx, b: Booking) -> Work | None:
        """A move or an extension is another booking with the same PIN: it takes over the visitor of what it replaces, so that a guest who is in
        is not shut out between a revocation and a grant."""
        old: Booking | None = b
        for _ in range(CHAIN_MAX):
            old = records.booking(tx, old.replaces) if old is not None and old.replaces else None
            theirs = door_work.work(tx, old.id) if old is not None else None
            if old is None or theirs is None or not theirs.ref:
                continue
            if old.site_id != b.site_id or self._wanted(tx, old.id) is not None:
                return None
            door_work.drop(tx, old.id)
            return self._given(tx, b.id, theirs)
        return None

    @staticmethod
    def _given(tx: Tx, key: str, theirs: Work) -> Work:
        """The visitor of another row under this key: it is to be made as its new owner's, but for a PIN that is the same."""
        row = Work(booking_id=key, wanted="grant", ref=theirs.ref, done_stamp=theirs.done_stamp, ends_at=theirs.ends_at)
        door_work.put(tx, row)
        return row

    def _plan_spare(self, tx: Tx, pin_id: str, row: Work | None) -> None:
        """pass-4: one whose booking has become known is that booking's own visitor from now on."""
        spare = outage_pins.one(tx, pin_id)
        if spare is None:
            return
        theirs = door_work.work(tx, spare.booking_id) if spare.booking_id else None
        if spare.booking_id and row is not None and row.ref and not (theirs and theirs.ref):
            self._given(tx, spare.booking_id, row)
            door_work.drop(tx, pin_id)
            self._plan_one(tx, spare.booking_id)
            return
        self._want(tx, pin_id, row, self._wanted(tx, pin_id), lies=lambda _: False)

    def _want(self, tx: Tx, booking_id: str, row: Work | None, one: DoorCredential | None, *, lies: Callable[[Work], bool]) -> None:
        """Notes what the controller owes us. `lies`: a row that may stay although nothing is wanted any more."""
        now = self._desk.now()
        if one is not None:
            mark = stamp(one)
            if row is None:
                row = Work(booking_id=booking_id, wanted="grant")
            elif row.wanted == "grant" and row.stamp == mark:
                return
            done = row.wanted == "grant" and row.done_stamp == mark
            door_work.put(
                tx,
                msgspec.structs.replace(
                    # what was tried and never answered may be there: should it be wanted no more, it is looked for
                    row,
                    wanted="grant",
                    stamp=mark,
                    ends_at=one.closes_at,
                    tries=0 if row.ref else min(row.tries, 1),
                    next_at=0 if done else now,
                    error="",
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
    async def _do(self, row: Work, urgency: int) -> None:
        """One call to the controller, from what the books say now, and what came of it into the row."""
        try:
            if row.wanted == "revoke":
                await self._revoke(row)
                await self._db.write(lambda tx: self._revoked(tx, row))
            else:
                await self._grant(row)
        except Failure as error:
            await self._failed(row, error, urgency)
        except Exception as error:
            _log.error("credentials.broke", error=error, booking_id=row.booking_id)
            await self._failed(row, Failure("The door controller's adapter failed in an unexpected way."), urgency)
        else:
            was_away, self._failures = self._failures >= AWAY_FAILURES, 0
            if was_away:
                await self.wake()
            if row.error:
                self._tell()

    async def _grant(self, row: Work) -> None:
        one = self._db.read(lambda tx: self._wanted(tx, row.booking_id))
        if one is None:
            await self._db.write(lambda tx: door_work.put(tx, msgspec.structs.replace(row, wanted="revoke", tries=max(1, row.tries))))
            return
        # Before the call: a grant whose answer is lost must be found again by a later revocation.
        await self._db.write(lambda tx: self._tried(tx, row))
        mark, trouble, without = stamp(one), "", ""
        keeps = one.keep_pin or (bool(row.ref) and same_pin(row.done_stamp, mark))
        try:
            ref = await self._put(row, msgspec.structs.replace(one, keep_pin=keeps))
        except DoorsRefused as error:
            if error.code not in ("pin_taken", "pin_length") or one.pin is None:
                raise
            if isinstance(error, PinTaken) and await self._db.write(lambda tx: self._spare_taken(tx, row)):
                return
            ref = await self._put(row, msgspec.structs.replace(one, pin=None))
            trouble = f"{error.detail} The booking's PIN works at the kiosk, not at the door's reader."
            without = door_work.PIN_TAKEN if isinstance(error, PinTaken) else ""
        await self._db.write(lambda tx: self._granted(tx, row, ref, without if trouble else mark, mark, trouble))
        if trouble:
            self._tell()

    def _spare_taken(self, tx: Tx, row: Work) -> bool:
        """An outage credential without its PIN is nothing: it ends, and another is made for its hour. False for a booking's."""
        if records.booking(tx, row.booking_id) is not None or not outage_pins.end(tx, self._desk, row.booking_id):
            return False
        door_work.put(tx, msgspec.structs.replace(row, wanted="revoke", tries=max(1, row.tries), next_at=self._desk.now()))
        return True

    async def _put(self, row: Work, one: DoorCredential) -> GrantRef:
        assert self._doors is not None
        return await (self._doors.regrant(GrantRef(row.ref), one) if row.ref else self._doors.grant(one))

    async def _revoke(self, row: Work) -> None:
        """A spare's leaves nothing behind: nobody has come by it whose visit its record would tell of."""
        assert self._doors is not None
        erase = row.ends_at + ERASE_AFTER_S <= self._desk.now() or row.booking_id.startswith(door_work.SPARE)
        refs = [GrantRef(row.ref)] if row.ref else [g.ref for g in await self._doors.kept(row.booking_id) if g.status != "cancelled"]
        for ref in refs:
            await self._doors.revoke(ref, erase=erase)
        _log.info("credential.revoked", booking_id=row.booking_id)

    def _tried(self, tx: Tx, row: Work) -> None:
        now = door_work.work(tx, row.booking_id)
        if now is not None:
            door_work.put(tx, msgspec.structs.replace(now, tries=now.tries + 1))

    def _granted(self, tx: Tx, row: Work, ref: str, there: str, mark: str, trouble: str) -> None:
        """`there`: the stamp of what the controller has now. The books may have changed while it was asked: then the row asks for another round."""
        now = door_work.work(tx, row.booking_id) or row
        done = now.wanted == "grant" and now.stamp == mark
        next_at = self._desk.now() + PERMANENT_WAIT_S if done and trouble else (0 if done else now.next_at)
        door_work.put(
            tx,
            msgspec.structs.replace(now, ref=ref, done_stamp=there, tries=0 if not trouble else now.tries, next_at=next_at, error=trouble),
        )
        if not trouble:
            outage_pins.leased(tx, self._desk, row.booking_id)
        _log.info("credential.granted", booking_id=row.booking_id)

    def _revoked(self, tx: Tx, row: Work) -> None:
        now = door_work.work(tx, row.booking_id)
        if now is not None and now.wanted == "grant":
            door_work.put(tx, msgspec.structs.replace(now, ref="", done_stamp=""))
        else:
            door_work.drop(tx, row.booking_id)
        door_work.retry_pins(tx, self._desk.now())

    async def _failed(self, row: Work, error: Failure, urgency: int) -> None:
        wait_s = PERMANENT_WAIT_S if error.permanent else max(error.retry_after_s, min(BACK_OFF_MAX_S, 2 ** min(row.tries, 20)))
        if urgency == 0 and not error.permanent:
            wait_s = min(wait_s, REVOKE_AGAIN_S)
        if isinstance(error, DoorsUnavailable) or (isinstance(error, DoorsRefused) and error.code in _OF_THE_CONTROLLER):
            self._failures += 1
            self._pause_until = self._desk.clock() + min(PAUSE_MAX_S, 2 ** min(self._failures - 1, 10), wait_s)

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


def stray(ref: str, ends_at: int, now: int) -> Work:
    """The row of something on the controller that is nobody's: it is to go."""
    return Work(booking_id=f"{STRAY}{ref}", wanted="revoke", ref=ref, ends_at=ends_at, next_at=now)
