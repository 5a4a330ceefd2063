"""Blackouts as the hub sees them: the site owns its bays, so the hub asks and shows the site's answer (block-1)."""

from __future__ import annotations

from shared.errors import refuse
from shared.ledger import blocks, records
from shared.model import FIRST_SLOT, LAST_SLOT, Block, site_of
from shared.runtime.database import Tx

from .booking import Bookings

__all__ = ["Blocks"]

#: 31 days in slots: each slot is a claim, so a longer block is better said in parts
BLOCK_SLOTS_MAX = 31 * 96


class Blocks:
    def __init__(self, bookings: Bookings):
        self._bookings, self._db, self._desk = bookings, bookings.db, bookings.desk

    async def block(self, block_id: str, resource_id: str, start: int, end: int, *, kind: str, reason: str, by: str) -> tuple[Block, bool]:
        """Asks the site to take a bay out of sale. The block (`active`, or `asked` while unanswered), and whether it is new.

        Refuses `site_unreachable`, `resource_not_found`, `id_reused`, `bad_interval`, `declined`.
        """
        site_id = site_of(resource_id)
        up = self._bookings.links.up(site_id)

        def run(tx: Tx) -> tuple[Block, bool]:
            if not FIRST_SLOT <= start < end <= LAST_SLOT or end - start > BLOCK_SLOTS_MAX:
                raise refuse(
                    "bad_interval", "A block ends after it starts, lasts at most 31 days and lies between the years 2020 and 2100."
                )
            self._bookings.houses.of(tx, site_id).resource(resource_id)
            wanted = Block(
                id=block_id, site_id=site_id, resource_id=resource_id, start=start, end=end, kind=kind, reason=reason, by=by,
                created_at=self._desk.now(), status="asked",
            )  # fmt: skip
            made = blocks.block(tx, self._desk, wanted, link_up=up)
            return made, bool(tx.events)

        made, fresh = await self._db.write(run)
        made = await self._settled(made, lambda b: b.status != "asked")
        if made.status == "declined":
            raise refuse("declined", "The facility does not know this bay.")
        return made, fresh

    async def unblock(self, block_id: str) -> Block:
        """Asks the site to put the bay back on sale: `ended`, or as before while unanswered. Refuses `block_not_found`, `site_unreachable`."""
        known = self._db.read(lambda tx: records.block(tx, block_id))
        if known is None:
            raise refuse("block_not_found", "This block is not known.")
        up = self._bookings.links.up(known.site_id)
        made = await self._db.write(lambda tx: blocks.unblock(tx, self._desk, block_id, link_up=up))
        return await self._settled(made, lambda b: b.status == "ended")

    async def _settled(self, made: Block, over) -> Block:
        def look() -> Block | None:
            now = self._db.read(lambda tx: records.block(tx, made.id))
            return now if over(now) else None

        return look() or await self._bookings.waiting.until(look, [("block", made.id)], self._desk.limits.ask_wait_s) or made
