"""Which bookings have a credential on the door controller whose QR code the hub may show. What was told of it is the ledger's (`door_codes`).

Invariant: only what the controller has taken as it stands now; a credential that is owed, or being taken off, is nobody's code.
"""

from __future__ import annotations

from shared.runtime.database import Tx


def granted(tx: Tx, site_id: str, from_slot: int, until_slot: int) -> dict[str, str]:
    """Booking -> the controller's name of its credential: of confirmed bookings that end after the one and begin before the other, the nearest first."""
    rows = tx.all(
        "SELECT w.booking_id, w.ref FROM door_work w JOIN bookings b ON b.id = w.booking_id WHERE b.site_id = :s AND b.status = 'confirmed'"
        " AND b.past > :f AND b.first < :u AND w.wanted = 'grant' AND w.ref <> '' AND w.next_at = 0 ORDER BY b.first, b.id",
        {"s": site_id, "f": from_slot, "u": until_slot},
    )
    return dict(rows)
