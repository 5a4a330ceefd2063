"""What stands of emergencies, in memory, and the books that follow it: people in danger do not wait for a disk.

Not for: deciding, nor for the doors. Invariants: what stands is known here at once; the books are told everything, once and in its order, as soon
as they take it; what they have not taken when this program ends is lost, and that is said beforehand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from shared import slots
from shared.errors import Failure
from shared.ledger import records
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.store import door_trail, emergencies
from site_agent.store.emergencies import Row

_log = log.get("site_agent.emergency")

#: a disk that hangs is waited for no longer; it is told, and what it was handed is not handed to it again
WRITE_WAIT_S = 2.0


class EmergencyBooks:
    """One site's. `now()`: unix seconds."""

    def __init__(self, db: Database | InlineWriter, now: Callable[[], int], site_id: str):
        self._db, self._now, self._site_id = db, now, site_id
        self._rows: dict[str, Row] = {}
        self._owed: list[Callable[[Tx], object]] = []
        self._writing: asyncio.Task[bool] | None = None
        self._given_up: asyncio.Task[bool] | None = None  # what was waited for long enough
        #: why the books do not take what they are owed; empty while they do
        self.trouble = ""

    def read(self) -> None:
        """What stood when the agent ended."""
        self._rows = {row.id: row for row in self._db.read(emergencies.standing)}

    async def stop(self) -> None:
        await self.flush()
        if self._owed:
            _log.error("emergency.not_written_down", why=self.trouble)

    @property
    def standing(self) -> list[Row]:
        """Those that are not over, the oldest first."""
        return [row for row in self._rows.values() if row.state != "over"]

    @property
    def owed(self) -> bool:
        return bool(self._owed)

    def one(self, emergency_id: str) -> Row | None:
        """None for one that is not known, also where the books cannot be read."""
        try:
            return self._rows.get(emergency_id) or self._db.read(lambda tx: emergencies.one(tx, emergency_id))
        except Failure:
            return None

    def put(self, row: Row) -> None:
        if self._rows.get(row.id) != row:
            self._rows[row.id] = row
            self._owed.append(lambda tx: emergencies.put(tx, row))

    def journal(self, who: str, what: str, ref: str, reason: str) -> None:
        now = self._now()
        self._owed.append(lambda tx: records.journal(tx, now, self._site_id, who, what, ref, reason))

    def trail(self, row: Row, step: str, *, key: str = "") -> None:
        """How far it came. `key`: of a step that may be taken more than once."""
        told = door_trail.Row(
            kind="emergency", door_id="", at=self._now(), how=row.mode, who=row.by_id, name=row.by_name, ref=row.id,
            key=key or f"emergency-{row.id}-{step}", detail=f"{step}|{row.over_by if step == 'over' else row.reason}",
        )  # fmt: skip

        def run(tx: Tx) -> None:
            if not door_trail.has(tx, self._site_id, told.key):
                door_trail.add(tx, self._site_id, told)

        self._owed.append(run)

    def over(self, row: Row) -> None:
        """The doors were let go."""
        known = self.one(row.id) or row
        self.put(msgspec.structs.replace(known, state="over", over_at=self._now()))
        self.journal("agent", f"emergency over: {row.mode}", row.id, known.over_by or "its time was over")
        self.trail(known, "over" if known.done_at else "void")

    def given_up(self, row: Row, found: str) -> None:
        """The controller is in another mode, `found`, which somebody there has chosen."""
        self.put(msgspec.structs.replace(row, state="over", over_at=self._now(), over_by="the controller"))
        self.journal("controller", f"emergency ended: {row.mode}", row.id, f"by its own word: {found}")
        self.trail(msgspec.structs.replace(row, over_by="somebody at the controller"), "over")

    def lost(self, row: Row) -> None:
        """The controller had lost it while it was out of reach, and is put into it again."""
        self.journal("controller", f"emergency lost: {row.mode}", row.id, "out of reach meanwhile; put into it again")
        self.trail(row, "again", key=f"emergency-{row.id}-again-{self._now()}")

    def outside(self, before: str, after: str) -> None:
        """The controller's own mode has become another, without us; empty for none."""
        now = self._now()

        def run(tx: Tx) -> None:
            last = door_trail.last_of(tx, self._site_id, "", ("emergency",))
            if last is not None and (last.how, last.who) == (after or before, "") and (last.detail == "outside") == bool(after):
                return  # it was told before a restart of ours
            step = "outside" if after else "outside over"
            records.journal(tx, now, self._site_id, "controller", f"emergency {step}: {after or before}", "", "")
            door_trail.add(tx, self._site_id, door_trail.Row(kind="emergency", door_id="", at=now, how=after or before, detail=step))

        self._owed.append(run)

    # ---- the books
    async def flush(self) -> None:
        """Writes down what is owed, as one transaction. Books that do not take it raise nothing: `trouble` says why."""
        while self._owed:
            if self._writing is None or self._writing.done():
                self._writing = asyncio.get_running_loop().create_task(self._write())
            writing = self._writing  # whoever else waits for it may begin the next before we go on
            if writing is not self._given_up:
                await asyncio.wait((writing,), timeout=WRITE_WAIT_S)
            if not writing.done():
                self._given_up, self.trouble = writing, "The disk of this machine takes too long."
                return
            if not writing.result():
                return

    async def _write(self) -> bool:
        owed = tuple(self._owed)

        def run(tx: Tx) -> None:
            for write in owed:
                write(tx)
            tx.tell("alarm", self._site_id)

        try:
            await self._db.write(run)
        except Failure as error:
            self.trouble = error.detail
            return False
        except Exception:
            del self._owed[: len(owed)]  # a fault of ours must not keep what comes after it from being written
            self.trouble = ""
            raise
        del self._owed[: len(owed)]
        self.trouble = ""
        return True


def ended(row: Row, now: int, by: str) -> Row:
    """The same, to be let go."""
    return msgspec.structs.replace(row, state="ending", over_by=by, ends_at=min(row.ends_at, now))


def guests(tx: Tx, site_id: str, now: int, until_at: int) -> tuple[int, int]:
    """`(inside now, expected until then)`."""
    first, past = now // slots.SLOT_S, until_at // slots.SLOT_S + 1
    visits = records.attendance_between(tx, site_id, first, past)
    inside = coming = 0
    for b in records.bookings_between(tx, site_id, first, past):
        if b.status == "confirmed" and not b.withdrawn:
            here = b.id in visits and visits[b.id].state == "checked_in"
            inside, coming = inside + here, coming + (not here and (b.id not in visits or not visits[b.id].state))
    return inside, coming
