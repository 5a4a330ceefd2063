"""Which of the hub's sales two machines hold, and what may be said of the others (protocol loss-7).

A sale is in the hub's books when it is made. It is held by a second machine when its site has applied the row that tells of it, or when the
witness has that row: the witness is handed the rows of each stream in order, and `witnessed` says how far it has come.

Not here: the wire to the witness. Invariant: with a second machine configured nothing that only this machine holds is called confirmed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..messages import BookingConfirmed, Cancelled, CustomerStated, Message, Replaced, SaleFound, Sold, Unknown, decode
from ..model import Booking, Customer, Order
from ..runtime.database import Tx
from . import merge, records, sales, streams
from .desk import Desk

#: rows by which a side tells of sales that its customer has been told of; a BookingConfirmed reaches its customer through the site alone
SALES = ("Sold", "Replaced")
#: the word beside `requested` while only one machine holds a sale
WHY = "being_secured"
ROWS_MAX = 256


class Kept(msgspec.Struct, frozen=True):
    """One row of a stream as the witness keeps it: whose, in which epoch, its number, when it was written (unix seconds), the message."""

    site_id: str
    epoch: str
    no: int
    at: int
    body: str


class Loss(msgspec.Struct, frozen=True):
    """What would be lost with this machine: sales that no other holds, and when the oldest was made (unix seconds, 0 for none)."""

    sales: int = 0
    since_at: int = 0


def held_no(tx: Tx, stream: streams.Stream) -> int:
    """Up to this row of our stream a second machine has everything."""
    row = tx.one("SELECT no FROM witnessed WHERE site_id = :s AND epoch = :e", {"s": stream.site_id, "e": stream.epoch})
    return max(stream.acked_no, row[0] if row else 0)


def is_held(tx: Tx, desk: Desk, b: Booking) -> bool:
    """Whether this booking may be called confirmed: a second machine holds the sale, or none is asked for."""
    if not desk.second_machine or b.seller != desk.side or not desk.guard("two_machines_hold"):
        return True
    stream = streams.read(tx, b.site_id)
    if stream is None:
        return True
    no = held_no(tx, stream)
    if no >= stream.sent_no:
        return True
    found = tx.one(
        "SELECT 1 FROM outbox WHERE site_id = :s AND epoch = :e AND no > :n AND type IN ('Sold', 'Replaced') AND body LIKE :b LIMIT 1",
        {"s": b.site_id, "e": stream.epoch, "n": no, "b": f'%"id":"{b.id}"%'},
    )
    return found is None


def told(tx: Tx, desk: Desk, b: Booking) -> Booking:
    """The booking as its customer may be told of it: `requested`, with `WHY` for a reason and no PIN, while one machine alone holds it."""
    if b.status != "confirmed" or is_held(tx, desk, b):
        return b
    return msgspec.structs.replace(b, status="requested", reason=WHY, pin="", outage_pin="")


def possible_loss(tx: Tx, site_id: str) -> Loss:
    """The sales told by rows that no second machine has."""
    stream = streams.read(tx, site_id)
    if stream is None:
        return Loss()
    row = tx.one(
        "SELECT COUNT(*), COALESCE(MIN(at), 0) FROM outbox WHERE site_id = :s AND epoch = :e AND no > :n AND type IN ('Sold', 'Replaced')",
        {"s": site_id, "e": stream.epoch, "n": held_no(tx, stream)},
    )
    return Loss(*row)


# ---- handing rows to the witness
def to_keep(tx: Tx, site_id: str, limit: int = ROWS_MAX) -> list[Kept]:
    """The next rows that no second machine has, in order."""
    stream = streams.read(tx, site_id)
    if stream is None or not stream.epoch:
        return []
    rows = tx.all(
        "SELECT no, at, body FROM outbox WHERE site_id = :s AND epoch = :e AND no > :n ORDER BY no LIMIT :l",
        {"s": site_id, "e": stream.epoch, "n": held_no(tx, stream), "l": limit},
    )
    return [Kept(site_id, stream.epoch, no, at, body) for no, at, body in rows]


def has_kept(tx: Tx, rows: list[Kept]) -> None:
    """The witness has these rows of one stream on its disk."""
    last = rows[-1]
    tx.run(
        "INSERT INTO witnessed (site_id, epoch, no) VALUES (:s, :e, :n)"
        " ON CONFLICT (site_id) DO UPDATE SET epoch = excluded.epoch, no = excluded.no",
        {"s": last.site_id, "e": last.epoch, "n": last.no},
    )
    tx.tell("secured", last.site_id)


def settled(tx: Tx) -> dict[str, tuple[str, int]]:
    """Site -> (epoch, row): what the witness may let go, with every earlier epoch, because the site has applied all that it was ever sent."""
    found = [s for site_id in streams.sites(tx) if (s := streams.read(tx, site_id)) is not None]
    return {s.site_id: (s.epoch, s.acked_no) for s in found if 0 < s.sent_no == s.acked_no and not (s.closed or s.fenced or s.stopped)}


# ---- after a loss
def regain(tx: Tx, desk: Desk, rows: Iterable[Kept]) -> int:
    """loss-3: what the witness kept is merged into restored or rebuilt books, in the order it was kept. Returns the sales that were missing.

    What its site has not heard either is told by the repair that follows, or, where none is due, by `SaleFound`. Idempotent.
    """
    regained: set[str] = set()
    for row in rows:
        if streams.read(tx, row.site_id) is None:
            continue
        try:
            message = decode(row.body.encode())
        except Unknown:
            continue  # of a later release than ours; its site still hears of it from whoever knows it
        _again(tx, desk, row, message, regained)
    return len(regained)


def _again(tx: Tx, desk: Desk, row: Kept, message: Message, regained: set[str]) -> None:
    stream = streams.lock(tx, row.site_id)
    lost = row.epoch == stream.epoch and row.no > stream.sent_no  # we had written it, and were set back behind it
    if isinstance(message, Sold):
        regained |= _sale(tx, desk, row, message.order, message.bookings, message.customer)
    elif isinstance(message, Replaced):
        regained |= _sale(tx, desk, row, message.order, (message.booking,), message.customer)
        if lost or message.old_id in regained:
            _given_up(tx, message.old_id, reason="moved", replaced_by=message.booking.id)
    elif isinstance(message, BookingConfirmed):
        for b in message.bookings:
            if records.booking(tx, b.id) is None:
                merge.take(tx, desk, b)
    elif isinstance(message, Cancelled):
        # what our books know better may have been settled since: the guest came, and the cancel was refused
        if lost or message.booking_id in regained:
            _given_up(tx, message.booking_id, reason=message.reason)
    elif isinstance(message, CustomerStated):
        sales.remember_customer(tx, desk, message.customer)


def _sale(tx: Tx, desk: Desk, row: Kept, order: Order, bookings: tuple[Booking, ...], customer: Customer | None) -> set[str]:
    missing = tuple(b for b in bookings if records.booking(tx, b.id) is None)
    for b in missing:
        merge.take(tx, desk, b, None, customer, order)
        records.journal(tx, desk.now(), row.site_id, "witness", "sale regained", b.id)
    if missing and _flows(tx, row.site_id):
        streams.append(tx, desk, row.site_id, SaleFound(order=order, bookings=missing, customer=customer, why="witness"))
    return {b.id for b in missing}


def _flows(tx: Tx, site_id: str) -> bool:
    """Whether the stream goes on as it is; else a repair is due, whose snapshot tells everything."""
    s = streams.read(tx, site_id)
    return bool(s.epoch) and not (s.fenced or s.closed or s.repair)


def _given_up(tx: Tx, booking_id: str, *, reason: str, replaced_by: str = "") -> None:
    """own-3: what we gave up stays claimed until the site has answered; the repair asks it again."""
    b = records.booking(tx, booking_id)
    if b is not None and b.status == "confirmed":
        records.put_booking(tx, msgspec.structs.replace(b, status="cancelling", reason=reason, replaced_by=replaced_by))
