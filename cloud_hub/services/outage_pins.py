"""The hub's stock of outage credentials (pass-4): what is left of it for people to see, and the one step that voids it.

Giving one to a sale is the ledger's affair (`shared.ledger.outage_pins`). Invariant: no method tells a PIN.
"""

from __future__ import annotations

from shared.errors import refuse
from shared.ledger import outage_pins, streams
from shared.ledger.desk import Desk
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx

_log = log.get("hub.outage_pins")


class OutagePins:
    def __init__(self, db: Database | InlineWriter, desk: Desk):
        self._db, self._desk = db, desk

    def free(self, site_id: str) -> int:
        """How many are left to give."""
        return self._db.read(lambda tx: outage_pins.stock(tx, site_id)).free

    def unexplained(self, site_id: str) -> int:
        """How many the site saw used in the last two days although nobody here has given them."""
        return self._db.read(lambda tx: len(outage_pins.unexplained(tx, self._desk, site_id)))

    async def tidy(self) -> int:
        """Lets go of what the lines have passed: it could not be given any more. Returns how many."""

        def run(tx: Tx) -> int:
            return sum(outage_pins.tidy(tx, self._desk, site_id) for site_id in streams.sites(tx))

        return await self._db.write(run)

    async def void(self, site_id: str, by: str) -> int:
        """Ends the whole stock of a site, here and (as soon as it hears) on its door controller. Refuses `facility_not_found`."""
        count = await self._db.write(lambda tx: void(tx, self._desk, site_id, by))
        _log.warning("outage_pins.voided", site_id=site_id, by=by, count=count)
        return count


def void(tx: Tx, desk: Desk, site_id: str, by: str) -> int:
    """For a hub that runs and for the command that has the books alone."""
    if streams.read(tx, site_id) is None:
        raise refuse("facility_not_found", f"There is no facility {site_id[:40]!r} in this hub's books.")
    return outage_pins.void(tx, desk, site_id, by=by)
