"""Holds at the hub: slots kept while a guest fills the form (B6). Only the owner's clock ends one (terr-6)."""

from __future__ import annotations

from shared.errors import STATUS, Refusal, Refused, refuse
from shared.ledger import frontdesk, holds, records
from shared.ledger.frontdesk import Part
from shared.model import Channel, Hold
from shared.rules import buffer_slots
from shared.runtime.database import Tx

from .booking import Ask, Bookings

__all__ = ["Holds"]


class Holds:
    def __init__(self, bookings: Bookings):
        self._bookings, self._db, self._desk = bookings, bookings.db, bookings.desk

    async def hold(self, hold_id: str, resource_id: str, start: int, end: int, *, channel: Channel) -> tuple[Hold, bool]:
        """Holds the slots, or asks the site to. The hold (`held`, or `asked` while unanswered), and whether it is new.

        Refuses `slot_taken` (with ways out), `slot_being_released`, `id_reused`, `site_unreachable`, `resource_not_found`, `bad_interval`.
        """
        ask = Ask(parts=(Part(booking_id=hold_id, resource_id=resource_id, start=start, end=end),), channel=channel)
        up = self._bookings.links.up(ask.site_id)

        def run(tx: Tx) -> tuple[Hold, bool]:
            frontdesk.sound_interval(start, end)
            house = self._bookings.houses.of(tx, ask.site_id)
            house.resource(resource_id)
            wanted = Hold(
                id=hold_id, site_id=ask.site_id, resource_id=resource_id, start=start, end=end, buffer=buffer_slots(house.profile.policy)
            )
            held = holds.hold(tx, self._desk, wanted, link_up=up)
            return held, bool(tx.events)

        try:
            held, fresh = await self._db.write(run)
        except Refused as no:
            raise self._bookings.with_ways(no.refusal, ask, up) from None
        if held.status == "asked":
            held = await self._answered(held)
        if held.status == "declined":
            code = held.reason if held.reason in STATUS else "slot_taken"
            raise self._bookings.with_ways(Refusal(code, "This time is not free."), ask, up)
        if held.status in ("used", "ended"):
            raise refuse("hold_ended", "This hold is over. Please choose your time again.")
        return held, fresh

    async def _answered(self, held: Hold) -> Hold:
        def look() -> Hold | None:
            now = self._db.read(lambda tx: records.hold(tx, held.id))
            return None if now.status == "asked" else now

        settled = await self._bookings.waiting.until(look, [("hold", held.id)], self._desk.limits.ask_wait_s)
        return settled or held

    async def prolong(self, hold_id: str) -> Hold:
        """The one extension. Refuses `hold_not_found`, `hold_ended`.

        A site's hold is prolonged by the site: the answer shows the end it had until the site has said the new one.
        """
        return await self._db.write(lambda tx: holds.prolong(tx, self._desk, hold_id))

    async def drop(self, hold_id: str) -> None:
        """The guest went away. Refuses `hold_not_found`; one that is over already changes nothing."""

        def run(tx: Tx) -> None:
            if records.hold(tx, hold_id) is None:
                raise refuse("hold_not_found", "This hold is not known.")
            holds.drop(tx, self._desk, hold_id)

        await self._db.write(run)

    async def expire(self) -> int:
        """Ends what our clock says is over. Returns how many. Most of the time there is none, and nothing is written."""
        if not self._db.read(lambda tx: records.holds_expired(tx, self._desk.now())):
            return 0
        return await self._db.write(lambda tx: holds.expire(tx, self._desk))
