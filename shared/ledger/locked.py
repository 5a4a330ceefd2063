"""A booking, hold or block as it stands under the lock of its facility's stream (terr-1).

Whoever held the lock before us may have changed it, so what was read earlier decides nothing; on PostgreSQL two replicas of the hub meet
here. Invariant: what these return stays as it is until this transaction ends, but for what the transaction itself does.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..model import Block, Booking, Hold
from ..runtime.database import Tx
from . import records, streams


def booking(tx: Tx, booking_id: str) -> Booking | None:
    return records.booking(tx, booking_id) if _at_home(tx, "SELECT site_id FROM bookings WHERE id = :id", booking_id) else None


def hold(tx: Tx, hold_id: str) -> Hold | None:
    return records.hold(tx, hold_id) if _at_home(tx, "SELECT site_id FROM holds WHERE id = :id", hold_id) else None


def block(tx: Tx, block_id: str) -> Block | None:
    return records.block(tx, block_id) if _at_home(tx, "SELECT site_id FROM blocks WHERE id = :id", block_id) else None


def _at_home(tx: Tx, sql: str, row_id: str) -> bool:
    """Locks the stream of the row's facility, which never changes. False where there is no such row."""
    row = tx.one(sql, {"id": row_id})
    if row is not None:
        streams.lock(tx, row[0])
    return row is not None


def sites(tx: Tx, site_ids: Iterable[str]) -> None:
    """Locks the streams of several facilities, in the one order that everybody takes them."""
    for site_id in sorted(set(site_ids)):
        streams.lock(tx, site_id)
