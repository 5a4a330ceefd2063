"""Outage credentials at the site (pass-4): which hours ahead have one, staff's one step to void them, and who looks when one is used.

The door controller's part is done by the credentials worker, which puts each on the controller and only then leases it to the hub. Invariant:
none is made while the hub is not heard, so a dark site's stock only shrinks; the controller's log is asked only while a window of one that
nobody is known to have is open, which is never while the link is up and the line runs ahead.
"""

from __future__ import annotations

import msgspec

from shared import slots
from shared.errors import Failure, refuse
from shared.ledger import lines, outage_pins
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.model import Interval
from shared.passes import window
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import Doors
from site_agent.services import views
from site_agent.services.doors import door_words
from site_agent.services.link import Link
from site_agent.store import door_work

_log = log.get("site_agent.outage_pins")


class Used(msgspec.Struct, frozen=True):
    """A spare PIN that opened a door although no booking is known to have it; `at` in unix seconds."""

    id: str
    bay: str
    clock: str
    door: str
    at: int


class SparePins(msgspec.Struct, frozen=True):
    """For staff: `ready` are on the door controller and the hub may give them, `coming` are not yet, `given` have a booking."""

    ready: int
    coming: int
    given: int
    used: tuple[Used, ...]


class OutagePins:
    """`doors` None: no controller, so there is nothing to lease."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, link: Link, doors: Doors | None):
        self._db, self._desk, self._houses, self._site_id, self._link, self._doors = db, desk, houses, site_id, link, doors

    # ---- by the clock
    async def tick(self) -> int:
        """Makes what is lacking ahead of the line, while the hub is heard, and ends what the line has passed. Returns how many were made."""
        if self._doors is None:
            return 0
        return await self._db.write(self._keep)

    def _keep(self, tx: Tx) -> int:
        outage_pins.tidy(tx, self._desk, self._site_id)
        if not self._link.up():
            return 0
        self._tell(tx)
        room = self._desk.limits.outage_pins_max - self._standing(tx)
        wanted = self._lacking(tx)[: max(0, min(outage_pins.MADE_MAX, room))]
        return len(outage_pins.make(tx, self._desk, self._site_id, wanted))

    def _tell(self, tx: Tx) -> None:
        """What the controller took while the hub could not be told of it."""
        for spare in outage_pins.untold(tx, self._site_id):
            row = door_work.work(tx, spare.id)
            if row is not None and row.ref and row.wanted == "grant" and row.next_at == 0:
                outage_pins.leased(tx, self._desk, spare.id)

    def _standing(self, tx: Tx) -> int:
        stock = outage_pins.stock(tx, self._site_id)
        return stock.made + stock.leased

    def _lacking(self, tx: Tx) -> list[tuple[str, int]]:
        """`(resource_id, first slot)` of the open hours from the line on, up to `outage_ahead_s` from now, in which the hub could sell and that have
        no credential, the nearest first."""
        house, found = self._houses.of(tx, self._site_id), []
        until = self._desk.now_slot() + self._desk.limits.outage_ahead_s // 900
        for resource_id, line in lines.lines_of(tx, self._site_id).items():
            bay = house.resources.get(resource_id)
            if bay is None or not bay.active or not (house.facility.door_ids or bay.door_ids):
                continue
            begin = max(line, self._desk.now_slot()) // outage_pins.WINDOW * outage_pins.WINDOW
            hours = self._open_hours(house, resource_id, Interval(begin, until)) if begin < until else []
            found += [(resource_id, first) for first in outage_pins.lacking(tx, self._desk, resource_id, hours)]
        return sorted(found, key=lambda one: (one[1], one[0]))

    @staticmethod
    def _open_hours(house: House, resource_id: str, span: Interval) -> list[int]:
        """The first slots of the hours of arrival within the span in which the bay is open at all."""
        whole = Interval(span.start, span.end + outage_pins.WINDOW)
        runs = slots.open_between(house.profile.policy.hours, resource_id, house.facility.zone, whole)
        firsts = range(span.start, span.end, outage_pins.WINDOW)
        return [first for first in firsts if any(run.start < first + outage_pins.WINDOW and first < run.end for run in runs)]

    async def watch(self) -> int:
        """Asks the controller's log for openings by those that no known booking has. Returns how many alerts were raised."""
        now = self._desk.now()
        watched = self._db.read(lambda tx: self._watched(tx, now))
        if self._doors is None or not watched:
            return 0
        since_at = min(opens_at for _, opens_at in watched.values())
        try:
            events = await self._doors.log(since_at, now)
        except Failure as error:
            _log.info("outage_pins.log_unread", why=error.detail)
            return 0
        hits = [(watched[event.actor_id][0], event) for event in events if event.admitted and event.actor_id in watched]
        raised = 0
        for pin_id, event in hits:
            raised += await self._db.write(
                lambda tx, p=pin_id, e=event: outage_pins.used(tx, self._desk, p, e.door_name or e.door_id, e.at)
            )
        if raised:
            _log.warning("outage_pins.used", site_id=self._site_id, count=raised)
        return raised

    def _watched(self, tx: Tx, now: int) -> dict[str, tuple[str, int]]:
        """The controller's name of each credential whose window is open and whose booking is not known -> `(its id, when it opened)`."""
        found = {}
        for spare in outage_pins.unassigned(tx, self._site_id):
            opens_at, closes_at = window(spare.first, spare.past)
            row = door_work.work(tx, spare.id)
            # an hour more, for an opening in its last minute that is read late
            if row is not None and row.ref and opens_at <= now < closes_at + 3600:
                found[row.ref] = (spare.id, opens_at)
        return found

    # ---- for staff
    def state(self) -> SparePins:
        def read(tx: Tx) -> SparePins:
            stock, house = outage_pins.stock(tx, self._site_id), self._houses.of(tx, self._site_id)
            used = tuple(
                Used(s.id, views.bay(house, s.resource_id), views.clock(house.facility.zone, s.first, s.past), door_words.door_name(s.used_door), s.used_at)
                for s in outage_pins.unexplained(tx, self._desk, self._site_id)
            )
            return SparePins(stock.leased, stock.made, stock.given, used)

        return self._db.read(read)

    async def void(self, by: str) -> int:
        """Ends all that no booking has, here, on the controller and at the hub. Refuses `no_doors`. Returns how many ended."""
        if self._doors is None:
            raise refuse("no_doors", "No door controller is connected to this system.")
        count = await self._db.write(lambda tx: outage_pins.void(tx, self._desk, self._site_id, by=by))
        _log.warning("outage_pins.voided", site_id=self._site_id, by=by, count=count)
        return count
