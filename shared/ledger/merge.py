"""One booking of the peer's books merged into ours: attendance beats cancelled beats live (protocol loss-2, loss-8).

For repairs, resent rows and what witnesses bring back. Not for the rows of a healthy stream, which come in order and have handlers of
their own. Idempotent; the order of the bookings does not matter. What collides is stored displaced and goes to the conflict queue.
"""

from __future__ import annotations

import msgspec

from ..model import Attendance, Booking, Customer, Order
from ..runtime.database import Tx
from . import attendance as attending
from . import claims, pins, records, sales, settle, streams
from .desk import Desk

replace = msgspec.structs.replace

LIVE = ("confirmed", "cancelling")
OPEN = ("requested", "pending")
NEVER = ("declined", "expired")


def take(
    tx: Tx,
    desk: Desk,
    b: Booking,
    attendance: Attendance | None = None,
    customer: Customer | None = None,
    order: Order | None = None,
    *,
    more_follow: bool = False,
) -> None:
    """Merges the peer's `b` into these books. What is still being asked (`requested`, `pending`) is the asker's own affair and left out.

    `more_follow`: the caller calls `attended_stands` when it has taken all, for what replaced `b` may be among them.
    """
    if order is not None:
        records.add_order(tx, order)
    if customer is not None:
        sales.remember_customer(tx, desk, customer)
    if b.status in OPEN:
        return
    if desk.side == "site" and b.status == "cancelling":
        b = replace(b, status="confirmed", replaced_by="", reason="")  # the hub asks for our answer, and will ask again (own-3)
    mine = records.booking(tx, b.id)
    if mine is None:
        _enter(tx, desk, b)
    else:
        _combine(tx, desk, mine, b)
    if attendance is not None:
        attending.take_newer(tx, desk, attendance)
    if not more_follow:
        attended_stands(tx, desk, b.id)


def _enter(tx: Tx, desk: Desk, b: Booking) -> None:
    if b.status == "confirmed" or b.status == "cancelling":
        settle.take_in(tx, desk, b)
        return
    streams.heard_sale_no(tx, desk, b.site_id, b.sale_no)
    records.add_booking(tx, replace(b, displaced=False))


def _combine(tx: Tx, desk: Desk, mine: Booking, b: Booking) -> None:
    if mine.status == "pending" and b.status in LIVE:
        claims.hand_over(tx, mine.id, "booking", mine.id)
    if mine.status in OPEN or (mine.status in NEVER and b.status in LIVE):
        settle.take_in(tx, desk, b) if b.status in LIVE else _close(tx, desk, mine, b)
    elif mine.status in LIVE and b.status == "cancelled" and desk.guard("merge_keeps_cancelled"):
        _close(tx, desk, mine, b)
    elif mine.status == "confirmed" and b.status in LIVE:
        differs = (mine.pin, mine.sale_no, mine.order_id) != (b.pin, b.sale_no, b.order_id)
        if differs and b.sale_no >= mine.sale_no and b.reason != "seen_at_door":
            settle.take_in(tx, desk, b)  # ours is the copy of a pass, or an older word of the same sale
        elif claims.lacking(tx, mine.resource_id, mine.claimed, mine.id) and not _seat_of(tx, mine):
            claims.seat(tx, desk, mine)
    elif mine.status == "cancelled" and b.status in LIVE and not desk.guard("merge_keeps_cancelled"):
        _revive(tx, desk, mine)


def _close(tx: Tx, desk: Desk, mine: Booking, b: Booking) -> None:
    """It has ended on the other side: our claims go, and what we asked about it is answered."""
    if mine.status in OPEN and b.sale_no:  # sold and ended before these books heard of either
        streams.heard_sale_no(tx, desk, b.site_id, b.sale_no)
        mine = replace(mine, seller=b.seller, sale_no=b.sale_no, pin=b.pin, outage_pin=b.outage_pin)
    records.put_booking(tx, replace(mine, status=b.status, reason=b.reason, replaced_by=b.replaced_by, displaced=False))
    records.end_conflicts(tx, mine.id)
    if not b.replaced_by:
        pins.retire(tx, desk, mine)
    claims.free(tx, desk, mine.id)
    settle.end_cancel_asked(tx, mine, "done")
    settle.end_moved(tx, mine.id, "refused", b.reason or b.status, "The other side had ended it.")


def _seat_of(tx: Tx, b: Booking) -> str:
    a = records.attendance(tx, b.id)
    return a.seat if a else ""


def attended_stands(tx: Tx, desk: Desk, booking_id: str) -> None:
    """Whoever has come has the booking, whatever else was said of it: that is what beats a cancel. But where the site itself moved it, it
    knew who had come, and the visit went over to the new one."""
    b, a = records.booking(tx, booking_id), records.attendance(tx, booking_id)
    if b is None or a is None or a.state not in ("checked_in", "completed") or b.status == "confirmed" or not b.sale_no:
        return
    new = records.booking(tx, b.replaced_by) if b.replaced_by else None
    if new is not None and new.seller == "site" and (went := records.attendance(tx, new.id)) is not None and went.state:
        return
    _revive(tx, desk, b)


def _revive(tx: Tx, desk: Desk, b: Booking) -> None:
    new = records.booking(tx, b.replaced_by) if b.replaced_by else None
    if new is not None and desk.side == "hub":
        sales.take_back(tx, desk, new, reason="already_checked_in")
    b = records.put_booking(tx, replace(b, status="confirmed", reason="", replaced_by="", withdrawn=False))
    if not _seat_of(tx, b):
        claims.seat(tx, desk, b)
