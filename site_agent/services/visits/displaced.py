"""Bookings that have lost their place, as staff settle them: what is open with its ways out, and giving one of them (B12, block-2).

Not for: what the rule does alone (`shared.ledger.displaced.Placing`). One method, one transaction; where the hub must be asked, its answer is
waited for up to `ask_wait_s` and then comes later. Invariant: nobody is told that a guest has a place before whoever owns it has said so.
"""

from __future__ import annotations

import msgspec

from shared.conflicts import WayOut
from shared.errors import Refusal, Refused, refuse
from shared.ledger import attendance, displaced, lines, records
from shared.ledger.desk import Desk
from shared.ledger.displaced import Queued
from shared.ledger.frontdesk import House, Houses
from shared.model import Booking, Interval
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.services import views
from site_agent.services.booking import Outcome
from site_agent.services.link import Link
from site_agent.services.people import Asker
from site_agent.services.views import BookingView
from site_agent.services.waiting import Waiting

__all__ = ["Conflict", "DisplacedDesk", "Way"]

WAITING = ("requested", "pending")
#: kinds of ways, the best first
KINDS = ("same_time", "same_bay", "other_bay")


class Way(msgspec.Struct, frozen=True):
    """A place for a displaced booking. `here`: this site may seat the guest there now, alone; `asks`: the booking centre is asked for it;
    `possible`: it can be pressed now. `start`, `end` ISO 8601 in UTC, `clock` by the facility's wall clock."""

    kind: str
    resource_id: str
    bay: str
    start: str
    end: str
    clock: str
    seller: str
    here: bool
    asks: bool
    possible: bool


class Conflict(msgspec.Struct, frozen=True):
    """One entry of the conflict queue with its ranked ways out. `reason`: what was written on the block; `reseat_from`: when the site may
    reseat alone; `asked`: the place that the booking centre is asked for just now, in words, empty where it is not."""

    booking: BookingView
    against: str
    why: str
    reason: str
    at: str
    reseat_from: str
    asked: str
    ways: tuple[Way, ...]


class DisplacedDesk:
    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, link: Link):
        self._db, self._desk, self._houses, self._site_id, self._link = db, desk, houses, site_id, link
        self._waiting = Waiting(db)

    def conflicts(self, asker: Asker) -> list[Conflict]:
        """The open conflicts, the earliest start first, with where each could go."""

        def look(tx: Tx) -> list[Conflict]:
            house = self._houses.of(tx, self._site_id)
            return [self._conflict(tx, house, one, asker) for one in displaced.queue(tx, self._desk, self._site_id)]

        return self._db.read(look)

    def _conflict(self, tx: Tx, house: House, one: Queued, asker: Asker) -> Conflict:
        b, zone = one.booking, house.facility.zone
        # what is in the queue for another reason has its place; where something is asked, the answer comes first
        lost = b.displaced and b.status == "confirmed" and not displaced.is_asked(tx, self._desk, b)
        ways = tuple(self._way(tx, house, b, way) for way in self._ways(tx, house, b)) if lost else ()
        asked = f"{views.bay(house, one.asked.resource_id)}, {views.clock(zone, one.asked.start, one.asked.end)}" if one.asked else ""
        from_at = b.starts_at - self._desk.limits.displace_local_min * 60
        view = views.booking(tx, self._desk, house, b, full=True, opens=asker.may("check_in"))
        return Conflict(view, one.against, one.why, one.reason, views.iso(one.since_at), views.iso(from_at), asked, ways)

    def _ways(self, tx: Tx, house: House, b: Booking) -> tuple[WayOut, ...]:
        """The nearest of each kind; in a cut also the nearest on slots of this site, which may be had then."""
        nearest = displaced.ways_of(tx, self._desk, house, b)
        own = () if self._link.up() else displaced.ways_of(tx, self._desk, house, b, link_up=False)
        return tuple(sorted(dict.fromkeys(nearest + own), key=lambda way: KINDS.index(way.kind)))

    def _way(self, tx: Tx, house: House, b: Booking, way: WayOut) -> Way:
        here = self._seats(tx, b, way.resource_id, Interval(way.start, way.end))
        asks = not here and (way.seller != "site" or not lines.owns(tx, self._desk, b.resource_id, b.start))
        return Way(
            way.kind, way.resource_id, views.bay(house, way.resource_id), views.iso(way.start * 900), views.iso(way.end * 900),
            views.clock(house.facility.zone, way.start, way.end), way.seller, here, asks, not asks or self._link.up(),
        )  # fmt: skip

    def _seats(self, tx: Tx, b: Booking, resource_id: str, at: Interval) -> bool:
        """Whether the site seats the guest there by itself: near the start, at the time that was booked, on slots of its own."""
        if not (b.displaced and displaced.is_near(self._desk, b) and at == Interval(b.start, b.end)):
            return False
        return lines.verdict(tx, self._desk, resource_id, b.claimed) == "mine"

    async def place(self, booking_id: str, new_id: str, resource_id: str, at: Interval, asker: Asker) -> Outcome:
        """Gives a displaced booking this place: near the start as a seat of its own booking, otherwise as the booking `new_id` in its stead.
        `asked` while the booking centre has not answered. The same again gives the same.

        Refuses what `displaced.place` and `attendance.reseat` refuse, and `declined` with the booking centre's word.
        """

        def run(tx: Tx) -> Booking:
            house, b = self._houses.of(tx, self._site_id), records.booking(tx, booking_id)
            if b is None:
                raise refuse("booking_not_found", "This booking is not known.")
            house.resource(resource_id)
            if self._sits(tx, b, resource_id, at):
                return b
            if self._seats(tx, b, resource_id, at):
                return self._seat(tx, b.id, resource_id, asker)
            return displaced.place(
                tx, self._desk, house, booking_id, resource_id=resource_id, start=at.start, end=at.end, new_id=new_id, by=asker.id,
                link_up=self._link.up(),
            )  # fmt: skip

        b = await self._db.write(run)
        if b.status in WAITING:
            b = await self._waiting.until(
                "booking", b.id, lambda: self._db.read(lambda tx: records.booking(tx, b.id)), lambda now: now.status not in WAITING,
                self._desk.limits.ask_wait_s,
            )  # fmt: skip
        if b.status in ("declined", "expired", "cancelled"):
            raise Refused(self._why(b.id))
        return Outcome(self._db.read(lambda tx: self._view(tx, b)), "asked" if b.status in WAITING else "done")

    def _sits(self, tx: Tx, b: Booking, resource_id: str, at: Interval) -> bool:
        a = records.attendance(tx, b.id)
        return a is not None and a.seat == resource_id and at == Interval(b.start, b.end)

    def _seat(self, tx: Tx, booking_id: str, resource_id: str, asker: Asker) -> Booking:
        attendance.reseat(tx, self._desk, booking_id, resource_id, by=asker.id)
        records.journal(tx, self._desk.now(), self._site_id, asker.id, "reseat", booking_id, resource_id)
        return records.booking(tx, booking_id)

    def _why(self, new_id: str) -> Refusal:
        found = self._db.read(lambda tx: records.ask(tx, new_id))
        said = found[2] if found is not None else ""
        return Refusal("declined", said or "The booking centre could not give this place: it has just been taken or may not be sold now.")

    async def reseat(self, booking_id: str, resource_id: str, asker: Asker) -> BookingView:
        """block-2: gives a displaced booking another bay of this site's, near its start."""

        def run(tx: Tx) -> BookingView:
            self._houses.of(tx, self._site_id).resource(resource_id)
            return self._view(tx, self._seat(tx, booking_id, resource_id, asker))

        return await self._db.write(run)

    def _view(self, tx: Tx, b: Booking) -> BookingView:
        house = self._houses.of(tx, self._site_id)
        return views.booking(tx, self._desk, house, b, full=True, key=self._link.key())
