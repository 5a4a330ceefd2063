"""One door held open for some minutes (D2): while a delivery comes in, or for a group. By those who may call an emergency, with a reason.

Not for: every door at once (`emergency`). Invariant: a hold has an end that the controller itself keeps, so that a restart or a fault here leaves
no door open; who asked for it stands in journal and trail; what is shown as held is the controller's word, or what it has just taken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from shared.errors import Failure, refuse
from shared.ledger import records
from shared.ledger.desk import Desk
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import DoorHold, Doors, DoorsUnavailable
from site_agent.services.doors.doors import DoorDesk
from site_agent.services.people import Asker
from site_agent.store import door_trail
from site_agent.store.door_trail import Row

_log = log.get("site_agent.door_holds")

MINUTES_MAX, REASON_MAX = 480, 300
EMERGENCY = "An emergency stands, and every door does what that asks. End it first, under “Doors”."


class DoorHolds:
    """One site's; `doors` None where no controller is configured."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, site_id: str, doors: Doors | None, door_desk: DoorDesk):
        self._db, self._desk, self._site_id, self._doors, self._door_desk = db, desk, site_id, doors, door_desk
        self._held: dict[str, DoorHold] = {}
        #: whether an emergency decides over every door just now
        self.emergency: Callable[[], bool] = lambda: False

    def held(self, door_id: str) -> DoorHold | None:
        """How the door is held open, as far as is known; None where it is not. Its `until_at` is 0 without an end."""
        found = self._held.get(door_id)
        return None if found is None or 0 < found.until_at <= self._desk.now() else found

    async def look(self) -> None:
        """Asks the controller how the doors are held that stand unlocked: somebody there may have held one, or let it go."""
        if self._doors is None:
            return
        before = dict(self._held)
        for door_id in {*self._held, *self._door_desk.unlocked()}:
            try:
                self._note(await self._doors.held(door_id))
            except Failure:
                continue  # nothing is known anew; the doors' panel says whether the controller is away
        if before != self._held:
            self._door_desk.changed()

    def _note(self, found: DoorHold) -> None:
        if found.rule in ("unlocked", "unlocked_for"):
            self._held[found.door_id] = found
        else:
            self._held.pop(found.door_id, None)

    async def hold(self, door_id: str, minutes: int, reason: str, asker: Asker) -> int:
        """Holds the door open from now on; again, it begins its minutes anew. Returns its end in unix seconds.

        Refuses `not_allowed`, `no_doors`, `not_found`, `bad_request` without a reason or beyond `MINUTES_MAX`, `door_refused`, `door_unavailable`.
        """
        doors = self._may(door_id, asker)
        reason = " ".join(reason.split())[:REASON_MAX]
        if not reason:
            raise refuse("bad_request", "Please say why: it is written down.")
        if not 1 <= minutes <= MINUTES_MAX:
            raise refuse("bad_request", f"A door is held open for 1 to {MINUTES_MAX} minutes; it can be held again.")
        until_at = self._desk.now() + minutes * 60
        row = self._row(door_id, reason, asker, str(until_at))
        await self._carried_out(row, lambda: doors.hold(door_id, "unlocked_for", minutes))
        self._note(DoorHold(door_id, "unlocked_for", until_at))
        self._door_desk.changed()
        return until_at

    async def let_close(self, door_id: str, reason: str, asker: Asker) -> None:
        """Ends the hold before its time, whoever began it. Refuses `not_allowed`, `no_doors`, `not_found` where it is not held open, `door_refused`,
        `door_unavailable`."""
        doors = self._may(door_id, asker)
        try:
            found = await doors.held(door_id)
        except Failure as error:
            raise self._refusal(error) from None
        self._note(found)
        if found.rule == "schedule":
            raise refuse("door_refused", "The door controller's own schedule holds this door open. Please change it there.")
        if found.rule not in ("unlocked", "unlocked_for"):
            raise refuse("not_found", "This door is not held open.")
        row = self._row(door_id, " ".join(reason.split())[:REASON_MAX], asker, "")
        await self._carried_out(row, lambda: doors.hold(door_id, "normal"))
        self._held.pop(door_id, None)
        self._door_desk.changed()

    def _may(self, door_id: str, asker: Asker) -> Doors:
        asker.needs("emergency")
        if self._doors is None:
            raise refuse("no_doors", "No door controller is connected to this system.")
        if not self._door_desk.has(door_id):
            raise refuse("not_found", "This facility has no such door.")
        if self.emergency():
            raise refuse("door_refused", EMERGENCY)
        return self._doors

    def _row(self, door_id: str, reason: str, asker: Asker, until: str) -> Row:
        return Row(kind="hold", door_id=door_id, at=self._desk.now(), how=reason, who=asker.id, name=asker.name or asker.id, ref=until)

    async def _carried_out(self, row: Row, call: Callable[[], Awaitable[None]]) -> None:
        """Journal before, trail after, with what came of it."""
        what = f"hold {row.door_id} open" if row.ref else f"let {row.door_id} close"
        await self._db.write(lambda tx: records.journal(tx, row.at, self._site_id, row.who, f"asked to {what}", row.door_id, row.how))
        detail, failed = "done", None
        try:
            await call()
        except Failure as error:
            unknown = isinstance(error, DoorsUnavailable) and error.outcome_unknown
            detail, failed = f"{'unknown' if unknown else 'failed'}: {error.detail}", error
        _log.info("door.hold", door_id=row.door_id, actor=row.who, until=row.ref, outcome=detail)

        def write(tx: Tx) -> None:
            records.journal(tx, self._desk.now(), self._site_id, row.who, what, row.door_id, detail)
            door_trail.add(tx, self._site_id, msgspec.structs.replace(row, detail=detail))

        await self._db.write(write)
        if failed is not None:
            raise self._refusal(failed) from None

    @staticmethod
    def _refusal(error: Failure) -> Exception:
        if isinstance(error, DoorsUnavailable):
            return refuse("door_unavailable", error.detail, retry_after_s=error.retry_after_s)
        return refuse("door_refused", error.detail)
