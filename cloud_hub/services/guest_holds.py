"""The bays that a guest on the web keeps while the form is filled (B6): one hold per bay, taken and given up together.

The id is made of the page that was looked at and the start that was pressed, so a second press of the same button finds the same holds
and keeps nothing twice. It is unguessable, and whoever has it may go on with it while the time is held. Once it is booked the id stands in
the order's, so in passes, calendars and logs: then it says nothing except to the browser whose page it was (`begun_by`).
Invariant: either every bay of the group is held (or asked for), or none is.
"""

from __future__ import annotations

import hmac
import re

from shared import rules, slots
from shared.errors import Refusal, Refused, refuse
from shared.ledger import frontdesk, holds, records
from shared.ledger.frontdesk import House
from shared.model import Frozen, Hold, Interval
from shared.runtime.database import Tx

from .hub import Hub
from .offers import Look, OfferDesk, Search, check_size, counted, returning, simulators

_PAGE = re.compile(r"[a-z0-9]{20,32}", re.ASCII)
_ID = re.compile(r"[a-z0-9]{20,32}-\d{7}", re.ASCII)


class Held(Frozen):
    """A group of holds. `state`: `asked`, `held`, `declined`, `used` (booked), `ended`; `expires_at` is the first end, 0 while asked."""

    id: str
    house: House
    holds: tuple[Hold, ...]
    state: str
    expires_at: int = 0
    extended: bool = False

    @property
    def start(self) -> int:
        return self.holds[0].start

    @property
    def end(self) -> int:
        return self.holds[0].end

    @property
    def minutes(self) -> int:
        return (self.end - self.start) * slots.SLOT_MIN


class GuestHolds:
    def __init__(self, hub: Hub, offers: OfferDesk):
        self._hub, self._offers, self._db, self._desk = hub, offers, hub.db, hub.desk

    def new_page(self, visitor: str) -> str:
        """What a page with buttons carries, so that pressing one twice is pressing it once. `visitor`: what only this browser knows."""
        chance = self._desk.new_id().replace("-", "")[:12]
        return chance + self._hub.customer_links.visitor_mark(visitor, chance)

    def begun_by(self, hold_id: str, visitor: str) -> bool:
        """Whether the hold was taken from a page of this visitor's."""
        page = hold_id.partition("-")[0]
        return hmac.compare_digest(page[12:].encode(), self._hub.customer_links.visitor_mark(visitor, page[:12]).encode())

    async def take(self, search: Search, start: int, page: str, before: str = "") -> Held:
        """Holds the bays that `search` needs at `start` (slot). `before` is what this visitor held till now, which is given up.

        Refuses with every rule that stands against it, and `slot_taken`, `site_unreachable`, `bad_request`, `slot_being_released`.
        """
        if not _PAGE.fullmatch(page):
            raise refuse("bad_request", "This page is out of date. Please load it again.")
        house, up = self._offers.house(search.site_id), self._hub.links.up(search.site_id)
        frontdesk.sound_interval(start, start + max(1, search.minutes // slots.SLOT_MIN))
        hold_id = f"{page}-{start}"

        def run(tx: Tx) -> None:
            if self._find(tx, hold_id):
                return
            if before != hold_id:
                self._drop(tx, before)
            for index, bay in enumerate(self._choose(tx, house, search, start, up)):
                holds.hold(tx, self._desk, self._hold(house, search, start, nth(hold_id, index), bay), link_up=up)

        try:
            await self._db.write(run)
        except Refused as no:
            self._hub.rule_tally.note(search.site_id, no.refusal, "", "web")
            raise
        return await self._answered(hold_id)

    def _hold(self, house: House, search: Search, start: int, hold_id: str, bay: str) -> Hold:
        end = start + search.minutes // slots.SLOT_MIN
        buffer = rules.buffer_slots(house.profile.policy)
        return Hold(id=hold_id, site_id=search.site_id, resource_id=bay, start=start, end=end, buffer=buffer)

    def _choose(self, tx: Tx, house: House, search: Search, start: int, up: bool) -> tuple[str, ...]:
        boxes = self._offers.boxes_for(house, search.guests)
        check_size(house, search, boxes)
        search = Search(
            site_id=search.site_id,
            on=slots.local_day(house.facility.zone, start),
            minutes=search.minutes,
            guests=search.guests,
            resource_id=search.resource_id,
        )
        offer = Look(tx, self._desk, house, search, boxes, up).at(start)
        if offer is not None:
            return offer.resource_ids
        raise Refused(self._why_not(tx, house, search, start, boxes, up))

    def _why_not(self, tx: Tx, house: House, search: Search, start: int, boxes: int, up: bool) -> Refusal:
        """Every rule in the way; if none is, the time is taken, or only the facility could sell it and is not heard."""
        bay = house.resource(search.resource_id) if search.resource_id else simulators(house)[0]
        wanted = rules.Request(
            resource=bay,
            interval=Interval(start, start + max(1, search.minutes // slots.SLOT_MIN)),
            channel="web",
            now_at=self._desk.now(),
            customer=returning(house),
            guests=-(-search.guests // boxes),
        )
        refusal = rules.judge(wanted, rules.Facts(facility=house.facility), house.profile.policy)
        if refusal is not None:
            return refusal
        if not up and Look(tx, self._desk, house, search, boxes, True).at(start) is not None:
            return holds.unreachable(self._desk).refusal
        if boxes > 1:
            return Refusal("slot_taken", f"Your group needs {counted(house, boxes)}, and not so many are free at this time.")
        return Refusal("slot_taken", "This time has just been taken.")

    async def _answered(self, hold_id: str) -> Held:
        """Waits a little for a site that was asked."""

        def look() -> Held | None:
            found = self.look(hold_id)
            return None if found.state == "asked" else found

        found = self.look(hold_id)
        if found.state == "asked":
            events = [("hold", hold.id) for hold in found.holds]
            found = await self._hub.waiting.until(look, events, self._desk.limits.ask_wait_s) or self.look(hold_id)
        if found.state == "declined":
            await self.drop(hold_id)
        return found

    def look(self, hold_id: str) -> Held:
        """The holds of this id as they stand. Refuses `hold_not_found`."""
        found = self._db.read(lambda tx: self._find(tx, hold_id))
        if not found:
            raise refuse("hold_not_found", "This hold is not known.")
        house = self._offers.house(found[0].site_id)
        ends = [hold.expires_at for hold in found if hold.expires_at]
        state = self._state(found)
        return Held(
            id=hold_id,
            house=house,
            holds=found,
            state=state,
            expires_at=min(ends, default=0),
            extended=any(hold.extended for hold in found),
        )

    def _state(self, found: tuple[Hold, ...]) -> str:
        states = {hold.status for hold in found}
        if states == {"used"}:
            return "used"
        over = any(hold.status == "held" and hold.expires_at <= self._desk.now() for hold in found)
        for state in ("declined", "ended", "asked"):
            if state in states:
                return state
        return "ended" if over else "held"

    async def prolong(self, hold_id: str) -> Held:
        """The one extension, for every bay. Refuses `hold_not_found`, `hold_ended`."""
        await self._db.write(lambda tx: [holds.prolong(tx, self._desk, hold.id) for hold in self._known(tx, hold_id)])
        return self.look(hold_id)

    async def drop(self, hold_id: str) -> None:
        """The guest went away. What is not known or over already changes nothing."""
        await self._db.write(lambda tx: self._drop(tx, hold_id))

    def _drop(self, tx: Tx, hold_id: str) -> None:
        for hold in self._find(tx, hold_id):
            holds.drop(tx, self._desk, hold.id)

    def _known(self, tx: Tx, hold_id: str) -> tuple[Hold, ...]:
        found = self._find(tx, hold_id)
        if not found:
            raise refuse("hold_not_found", "This hold is not known.")
        return found

    @staticmethod
    def _find(tx: Tx, hold_id: str) -> tuple[Hold, ...]:
        found: list[Hold] = []
        while _ID.fullmatch(hold_id) and (hold := records.hold(tx, nth(hold_id, len(found)))) is not None:
            found.append(hold)
        return tuple(found)


def nth(group_id: str, index: int) -> str:
    """The id of one bay's row in a group: the first has the group's own."""
    return group_id if index == 0 else f"{group_id}-{index + 1}"
