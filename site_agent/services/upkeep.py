"""Small recurring work on the books that belongs to no person: the stock of PINs leased to the hub, those that have rested (pass-3),
what the hub is told of refusals, and rows that have had their time."""

from __future__ import annotations

from shared.ledger import old_rows, pins, rule_hits, work
from shared.ledger.desk import Desk
from shared.runtime.database import Database, InlineWriter, Tx


class Upkeep:
    """Called by the ticker."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, site_id: str):
        self._db, self._desk, self._site_id = db, desk, site_id

    @property
    def hello_every_s(self) -> float:
        return self._desk.limits.hello_every_s

    async def pins(self) -> None:
        """Leases the hub another block when it runs low, and lets rested PINs be drawn again."""
        await self._db.write(lambda tx: (pins.lease(tx, self._desk, self._site_id), pins.rested(tx, self._desk)))

    async def tell_refusals(self) -> int:
        """Tells the hub which rules refusals named here, as the counts stand (R10). Returns how many counts."""
        if not self._db.read(lambda tx: rule_hits.untold(tx, self._desk, self._site_id)):
            return 0
        return await self._db.write(lambda tx: rule_hits.tell(tx, self._desk, self._site_id))

    async def forget(self) -> int:
        """Lets rows go that no rule asks for any more. Returns how many."""
        return await self._db.write(self._forget)

    def _forget(self, tx: Tx) -> int:
        over = 0 if self._desk.clock_doubt() else work.forget(tx, self._desk.now())
        return over + old_rows.forget(tx, self._desk)
