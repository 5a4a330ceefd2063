"""Bays whose sales were stopped because their books are not sound: what staff see of them, and the word that lets them be sold again.

Works with no hub. Not here: how a breach is found (`shared.ledger.watch`). Invariant: only a person with the right lifts a stop, with a
reason, and both stand in the journal.
"""

from __future__ import annotations

import re

import msgspec

from shared.errors import refuse
from shared.ledger import records, standing, watch
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.services import views
from site_agent.services.alarms import Alarm
from site_agent.services.people import Asker
from site_agent.store.door_trail import TRAIL

RUNBOOK, TRAIL_RUNBOOK = "bay-halted", "door-alarm"
#: how the sentences of a breach name a booking
BOOKING = re.compile(r"\b([Bb]ooking) ([A-Za-z0-9][\w-]*)")


class HaltView(msgspec.Struct, frozen=True):
    """One stop. `resource_id` is empty where the whole facility is stopped; `bay` as people say it; `since` ISO 8601; `found` every sentence."""

    resource_id: str
    bay: str
    since: str
    found: tuple[str, ...]


class Lifted(msgspec.Struct, frozen=True):
    """Sales go on. `left` are the sentences of what still does not hold and was let stand; they stop nothing again."""

    resource_id: str
    left: tuple[str, ...]


class Halts:
    """The stops of one site, and the watch that makes them."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str):
        self._db, self._desk, self._houses, self._site_id = db, desk, houses, site_id
        self.watch = watch.Watch(db, desk, TRAIL)

    def list(self) -> list[HaltView]:
        return self._db.read(self._list)

    def _list(self, tx: Tx) -> list[HaltView]:
        house, found = self._houses.of(tx, self._site_id), watch.known(tx, self._site_id)
        told = []
        for halt in standing.halts(tx, self._site_id):
            here = tuple(one.breach.detail for one in found if one.breach.resource_id == halt.resource_id and one.state == "open")
            bay = views.bay(house, halt.resource_id) if halt.resource_id else house.facility.name
            sentences = tuple(self._as_people_say(tx, house, one) for one in here or (halt.why,))
            told.append(HaltView(halt.resource_id, bay, views.iso(halt.at), sentences))
        return told

    @staticmethod
    def _as_people_say(tx: Tx, house: House, sentence: str) -> str:
        """The bookings by reference, bay and time, as the board shows them, where the sentence has their ids."""

        def told(match: re.Match) -> str:
            b = records.booking(tx, match[2])
            if b is None:
                return match[0]
            when = views.clock(house.facility.zone, b.start, b.end)
            return f"{match[1]} {records.reference_of(b.order_id)} ({views.bay(house, b.resource_id)}, {when})"

        return BOOKING.sub(told, sentence)

    def breaches(self) -> int:
        """How many broken invariants nobody has looked at yet, for the metrics."""
        return self._db.read(lambda tx: watch.open_count(tx, self._site_id))

    def alarms(self) -> list[Alarm]:
        """A sentence per stop, and one each where the journal or the doors' trail was changed."""
        told = [
            Alarm("bay_halted", f"{halt.bay} is not sold: its books are not sound. What was found stands under “Needs you”.", RUNBOOK)
            for halt in self.list()
        ]
        found = self._db.read(lambda tx: watch.known(tx, self._site_id))
        return told + [_changed(s.breach) for s in found if s.breach.kind == "journal" and s.state == "open"]

    async def lift(self, resource_id: str, reason: str, asker: Asker) -> Lifted:
        """Lets the bay be sold again. Refuses `not_allowed`, `not_halted`, `bad_request` without a reason."""
        asker.needs("resume")
        reason = " ".join(reason.split())
        if not reason:
            raise refuse("bad_request", "Please say what you have looked at.")

        def run(tx: Tx) -> Lifted:
            if not any(h.resource_id == resource_id for h in standing.halts(tx, self._site_id)):
                raise refuse("not_halted", "This bay is on sale; there is nothing to lift.")
            left = watch.lift(tx, self._desk, self._site_id, resource_id, by=asker.id, reason=reason)
            return Lifted(resource_id, tuple(b.detail for b in left))

        return await self._db.write(run)


    def changed(self) -> list[str]:
        """What was found changed from outside in the trail and the journal, as sentences, whether or not a person has let it stand."""
        return [s.breach.detail for s in self._db.read(lambda tx: watch.known(tx, self._site_id)) if s.breach.kind == "journal"]

    async def answer_changed(self, code: str, reason: str, asker: Asker) -> None:
        """A person has looked at the trail (`trail_changed`) or the journal (`journal_changed`) that was changed from outside; it is told until then.
        Refuses `not_allowed`, `not_found`, `bad_request` without a reason."""
        asker.needs("resume")
        reason = " ".join(reason.split())
        if not reason:
            raise refuse("bad_request", "Please say what you have found.")

        def run(tx: Tx) -> None:
            refs = [s.breach.ref for s in watch.known(tx, self._site_id) if s.breach.kind == "journal" and s.state == "open" and _changed(s.breach).code == code]
            for ref in refs:
                watch.accept_changed(tx, self._desk, self._site_id, ref, by=asker.id, reason=reason)
            if not refs:
                raise refuse("not_found", "Nothing was found changed that waits for a word.")

        await self._db.write(run)


def _changed(breach: watch.Breach) -> Alarm:
    """What was changed from outside."""
    code, page = ("trail_changed", TRAIL_RUNBOOK) if breach.ref == TRAIL.called else ("journal_changed", RUNBOOK)
    return Alarm(code, breach.detail, page, bad=False)
