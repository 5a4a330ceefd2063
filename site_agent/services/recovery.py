"""What people see and say of a repair at this site: the fence, the floor, the box before this one (protocol loss-1, -4, -5).

Not here: the repair itself (`shared.ledger.repair`). Invariant: a word that lets sales go on is a person's, by name and with a reason, and
stands in the journal.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from shared import slots
from shared.errors import Failure, Refused, refuse
from shared.ledger import lines, repair, streams
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.services.alarms import Alarm
from site_agent.services.doors.door_witness import DoorWitness
from site_agent.services.people import Asker
from site_agent.services.views import iso
from site_agent.store import spool

_log = log.get("site_agent.recovery")
SPOOL = "recovery"
RUNBOOK, ADOPT = "restore-a-site", "adopt-a-new-box"
#: what a guest is told of the states in which nothing is sold
CLOSED = {
    "fenced": "Nothing can be booked here just now: this system is being repaired.",
    "retired": "Nothing can be booked at this screen any more: it belongs to a system that has been replaced.",
}
BELOW_FLOOR = "Nothing can be booked here just now: the staff have still to enter what was sold before this system was repaired."


class RecoveryPanel(msgspec.Struct, frozen=True, kw_only=True):
    """`state`: `sound`, `fenced` (put back or new, waits for the hub), `floor` (sells, but not below `floor_at`, ISO 8601),
    `repairing` (sells on while the hub's books are brought together with these) or `retired`. `why` is a sentence. `unvouched`: nobody has
    vouched yet that the box before this one is off."""

    state: str
    why: str = ""
    floor_at: str = ""
    unvouched: bool = False
    term: int = 1


def _sentence(why: str) -> str:
    return why[:1].upper() + why[1:].rstrip(".") + "." if why else ""


class Recovery:
    """One site's."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, data_dir: Path, witness: DoorWitness):
        self._db, self._desk, self._houses, self._site_id = db, desk, houses, site_id
        self._spool, self._witness = data_dir / SPOOL, witness

    def panel(self) -> RecoveryPanel:
        def read(tx: Tx) -> tuple[streams.Stream | None, int]:
            return streams.read(tx, self._site_id), lines.highest_floor(tx, self._site_id)

        s, floor = self._db.read(read)
        if s is None:
            return RecoveryPanel(state="sound")
        more = {"unvouched": bool(s.unvouched), "term": self._desk.term}
        if s.retired:
            return RecoveryPanel(state="retired", why=s.retired, **more)
        if s.fenced:
            return RecoveryPanel(state="fenced", why=s.fenced, **more)
        if floor > self._desk.now_slot():
            why = "What was sold here before the repair may not be known. Enter what was sold, then say so."
            return RecoveryPanel(state="floor", why=why, floor_at=iso(floor * 900), **more)
        if s.repair:
            return RecoveryPanel(state="repairing", why=s.stopped, **more)
        return RecoveryPanel(state="sound", **more)

    def alarms(self) -> list[Alarm]:
        """A sentence for whatever keeps this box from selling."""
        told = self.panel()
        words = {
            "retired": "This box has been replaced, or was started without being adopted, and sells nothing. Switch it off, or adopt it anew.",
            "repairing": "The books are being brought together with the booking centre's. This facility goes on selling its own times; the centre's"
            " can be sold here again when that is done.",
            "fenced": f"Nothing is sold here until the booking centre has been reached. {_sentence(told.why)}",
            "floor": f"Nothing is sold here that begins before {self._when(told.floor_at)}. {told.why}",
        }
        page = ADOPT if told.state == "retired" else RUNBOOK
        alarms = [] if told.state == "sound" else [Alarm(f"recovery_{told.state}", words[told.state], page, bad=told.state != "repairing")]
        if told.unvouched and told.state != "retired":
            alarms.append(Alarm("recovery_unvouched", "Nobody has vouched yet that the box before this one is off and stays off.", ADOPT, bad=False))
        return alarms

    def _when(self, at: str) -> str:
        """A moment (ISO 8601) by the facility's wall clock; empty for none."""
        if not at:
            return ""
        zone = self._db.read(lambda tx: self._houses.of(tx, self._site_id)).facility.zone
        return slots.when(zone, int(datetime.fromisoformat(at).timestamp()) // slots.SLOT_S)

    def retired(self) -> bool:
        """Whether another box speaks for this facility now (loss-5)."""
        s = self._db.read(lambda tx: streams.read(tx, self._site_id))
        return s is not None and bool(s.retired)

    def closed(self) -> str:
        """Why nothing at all is sold here, for guests; empty where it sells, be it from a floor on."""
        return CLOSED.get(self.panel().state, "")

    async def vouch(self, asker: Asker) -> RecoveryPanel:
        """The box before this one is off and stays off. Refuses `not_allowed`."""
        asker.needs("resume")
        await self._db.write(lambda tx: repair.vouch(tx, self._desk, self._site_id, by=asker.id))
        return self.panel()

    async def state_sold(self, reason: str, asker: Asker) -> RecoveryPanel:
        """What was sold below the floor has been entered. Refuses `not_allowed`, `bad_request` without words, `fenced` before the vouching."""
        asker.needs("resume")
        await self._state(reason, asker.id)
        return self.panel()

    async def _state(self, reason: str, by: str) -> None:
        reason = " ".join(reason.split())
        if not reason:
            raise refuse("bad_request", "Please say how you know what was sold.")
        await self._witness.look()  # once more, since only a floor lets it in
        await self._db.write(lambda tx: repair.state_sold(tx, self._desk, self._site_id, by=by, reason=reason))

    async def take_wishes(self) -> None:
        """Carries out what the commands left."""
        for path, errand in spool.waiting(self._spool):
            path.unlink(missing_ok=True)
            if errand is None:
                _log.warning("errand.unreadable", file=path.name)
                continue
            try:
                if errand.kind == "vouch":
                    await self._db.write(lambda tx, by=errand.name: repair.vouch(tx, self._desk, self._site_id, by=by))
                elif errand.kind == "stated":
                    await self._state(errand.role, errand.name)
                spool.answer(path, msgspec.json.encode(self.panel()))
            except (Refused, Failure) as no:
                spool.answer(path, msgspec.json.encode({"refused": no.refusal.detail if isinstance(no, Refused) else no.detail}))
