"""What bays were used for, counted from the books: what was played and when the last maintenance was (M4). Only reads."""

from __future__ import annotations

import msgspec

from shared.model import Block
from shared.runtime.database import Tx

_block = msgspec.json.Decoder(Block).decode
#: a booking that began so long before a window may touch it (slots)
LONGEST = 200


def maintenance(tx: Tx, resource_id: str, not_by: str) -> list[Block]:
    """The bay's blocks for maintenance that stand, by anybody but `not_by`, in the order of their end."""
    rows = tx.all("SELECT doc FROM blocks WHERE resource_id = ? AND status = 'active' ORDER BY past, id", (resource_id,))
    found = (_block(row[0]) for row in rows)
    return [one for one in found if one.kind == "maintenance" and one.by != not_by]


def played(tx: Tx, resource_id: str, from_slot: int, until_slot: int) -> list[tuple[int, int]]:
    """`(first, after)` in slots of every visit whose guest came, in the bay where they sat, cut to the time asked for."""
    rows = tx.all(
        "SELECT b.first, b.past FROM bookings b JOIN attendance a ON a.booking_id = b.id WHERE a.state IN ('checked_in', 'completed')"
        " AND b.resource_id = :r AND a.seat IN ('', :r) AND b.first >= :low AND b.first < :u AND b.past > :f"
        " UNION SELECT b.first, b.past FROM attendance a JOIN bookings b ON b.id = a.booking_id WHERE a.seat = :r AND a.seat <> '' AND b.resource_id <> :r"
        " AND a.state IN ('checked_in', 'completed') AND b.first >= :low AND b.first < :u AND b.past > :f",
        {"f": from_slot, "low": from_slot - LONGEST, "u": until_slot, "r": resource_id},
    )
    return sorted((max(start, from_slot), min(end, until_slot)) for start, end in rows)
