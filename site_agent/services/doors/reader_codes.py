"""The door reader's own QR codes, for facilities whose readers take them (D3): asked of the controller, told to the hub for the guest's page.

Off unless the configuration says `reader_qr`. Not here: granting credentials (`credentials`), nor keeping codes: the site keeps none. Invariant: a code
is asked for once for each credential; it stands in no log; nobody waits for it, since the PIN opens the same door.
"""

from __future__ import annotations

from shared.errors import Failure
from shared.ledger import door_codes, records
from shared.ledger.desk import Desk
from shared.passes import shown_until
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import Doors, GrantRef
from site_agent.store import reader_codes

_log = log.get("site_agent.reader_codes")

#: a code is wanted on the day, and a controller with many visitors is not asked for all of theirs
REACH_S = 24 * 3600
#: asked for in one round, each two calls to the controller; and after one that failed
ROUND_MAX, AGAIN_S, AGAIN_REFUSED_S = 5, 30, 3600


class ReaderCodes:
    """`doors` None: no controller, or its readers take no codes."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, site_id: str, doors: Doors | None):
        self._db, self._desk, self._site_id, self._doors = db, desk, site_id, doors
        self._rest_until = 0
        self._refused: dict[str, int] = {}

    async def tick(self) -> int:
        """Every few seconds: asks for what the hub lacks, the nearest first. Returns how many it was told."""
        now = self._desk.now()
        if self._doors is None or now < self._rest_until:
            return 0
        self._refused = {ref: until for ref, until in self._refused.items() if until > now}
        due = [(booking_id, ref) for booking_id, ref in self._db.read(self._lacking) if ref not in self._refused][:ROUND_MAX]
        told = 0
        for booking_id, ref in due:
            told += await self._one(self._doors, booking_id, ref)
            if self._rest_until > now:
                break
        return told

    def _lacking(self, tx: Tx) -> list[tuple[str, str]]:
        # what is over stays on the controller for a day, and its code is shown no more
        granted = reader_codes.granted(
            tx, self._site_id, self._desk.now() // 900 - shown_until(0) // 900, (self._desk.now() + REACH_S) // 900
        )
        return [(booking_id, granted[booking_id]) for booking_id in door_codes.lacking(tx, self._desk, self._site_id, granted)]

    async def _one(self, doors: Doors, booking_id: str, ref: str) -> bool:
        try:
            text = await doors.code_of(GrantRef(ref))
        except Failure as error:
            _log.info("reader_codes.not_made", booking_id=booking_id, why=error.detail)
            if error.permanent:  # of this credential, which may be gone by now; others are asked for
                self._refused[ref] = self._desk.now() + AGAIN_REFUSED_S
            else:
                self._rest_until = self._desk.now() + max(AGAIN_S, error.retry_after_s)
            return False
        return await self._db.write(lambda tx: self._tell(tx, booking_id, ref, text))

    def _tell(self, tx: Tx, booking_id: str, ref: str, text: str) -> bool:
        """The booking may have changed while the controller was asked: then its credential's code is asked for anew."""
        b = records.booking(tx, booking_id)
        if b is None or b.status != "confirmed":
            return False
        if self._desk.now() >= shown_until(b.end):  # but for the slots after its end it would be no more among those that are asked for
            self._refused[ref] = self._desk.now() + AGAIN_REFUSED_S
            return False
        if reader_codes.granted(tx, self._site_id, b.start, b.start + 1).get(booking_id) != ref:
            return False
        return door_codes.tell(tx, self._desk, b, ref, text)
