"""Which machine speaks for a side: box ids and terms (protocol loss-5), and the one hub a site is married to (loss-6).

A term is granted to a site's box by the hub, to a hub by the operator. The hub follows the box enrolled last; whoever comes with a lower
term is told that it has been replaced, sells nothing any more, and its late sales go to the conflict queue. Invariant: the enrolled term
of a site only rises.
"""

from __future__ import annotations

import hashlib

import msgspec

from .. import messages as m
from ..messages import Batch, Hello
from ..model import Booking
from ..runtime.database import Tx
from . import fencing, records, repair, streams
from .desk import Desk


def fingerprint(word: str) -> str:
    return hashlib.sha256(b"clubos.grant.v1\0" + word.encode()).hexdigest()


# ---- at the hub
def next_term(tx: Tx, site_id: str) -> int:
    """The term that a new box of the site gets."""
    (highest,) = tx.one("SELECT COALESCE(MAX(term), 0) FROM boxes WHERE site_id = :s AND state <> 'granted'", {"s": site_id})
    s = streams.read(tx, site_id)
    return max(highest, s.peer_term if s else 0) + 1


def grant(tx: Tx, desk: Desk, site_id: str, word_hash: str, *, by: str = "operator") -> int:
    """A term for a new box of the site; only the fingerprint of the word that shows it is kept. An earlier unused grant ends. Returns the term."""
    streams.lock(tx, site_id)
    tx.run("DELETE FROM boxes WHERE site_id = :s AND state = 'granted'", {"s": site_id})
    term = next_term(tx, site_id)
    tx.run(
        "INSERT INTO boxes (site_id, term, grant_hash, state, at) VALUES (:s, :t, :g, 'granted', :at)",
        {"s": site_id, "t": term, "g": word_hash, "at": desk.now()},
    )
    records.journal(tx, desk.now(), site_id, by, "granted a term", str(term))
    return term


def enrolled(tx: Tx, site_id: str) -> tuple[int, str]:
    """`(term, box_id)` of the box that speaks for the site; `(0, '')` before the first."""
    row = tx.one("SELECT term, box_id FROM boxes WHERE site_id = ? AND state = 'enrolled'", (site_id,))
    return (row[0], row[1]) if row else (0, "")


def is_granted(tx: Tx, site_id: str, hello: Hello) -> bool:
    row = tx.one("SELECT grant_hash FROM boxes WHERE site_id = :s AND term = :t AND state = 'granted'", {"s": site_id, "t": hello.term})
    return row is not None and bool(hello.grant) and row[0] == fingerprint(hello.grant)


def _forgotten(tx: Tx, desk: Desk, site_id: str, hello: Hello) -> bool:
    """A hub that was put back or rebuilt (its term says so) may have forgotten a grant. Terms come from grants alone, so the higher one is
    newer; where a grant of this term is known here, its word must fit."""
    if desk.term == 1 or not hello.grant:
        return False
    known = tx.one("SELECT COALESCE(MAX(term), 0) FROM boxes WHERE site_id = :s", {"s": site_id})
    return hello.term > known[0]


def replaced_by(tx: Tx, desk: Desk, s: streams.Stream | None, site_id: str, hello: Hello) -> int:
    """The term that stands instead of the speaker's; 0 where the speaker is the one to talk to. `s`: the site's stream row, as just read."""
    if not desk.guard("old_box_retires"):
        return 0
    if desk.side == "site":
        if s is None or not s.peer_box_id or hello.term > s.peer_term or (hello.box_id, hello.term) == (s.peer_box_id, s.peer_term):
            return 0
        return s.peer_term
    term, box_id = enrolled(tx, site_id)
    if not box_id or box_id == hello.box_id or is_granted(tx, site_id, hello) or _forgotten(tx, desk, site_id, hello):
        return 0
    return term


def enrol(tx: Tx, desk: Desk, site_id: str, hello: Hello) -> None:
    """The speaker answered our nonce and is the one to talk to: from now on it is the box of the site."""
    term, box_id = enrolled(tx, site_id)
    if box_id == hello.box_id and term == hello.term:
        return
    tx.run("UPDATE boxes SET state = 'replaced' WHERE site_id = :s AND state = 'enrolled'", {"s": site_id})
    tx.run(
        "INSERT INTO boxes (site_id, term, box_id, state, at) VALUES (:s, :t, :b, 'enrolled', :at)"
        " ON CONFLICT (site_id, term) DO UPDATE SET box_id = excluded.box_id, state = 'enrolled', at = excluded.at",
        {"s": site_id, "t": hello.term, "b": hello.box_id, "at": desk.now()},
    )
    records.journal(tx, desk.now(), site_id, "link", "enrolled a box", hello.box_id, f"term {hello.term}")


def late(tx: Tx, desk: Desk, site_id: str, batch: Batch) -> int:
    """A replaced box hands in what it had sold and not told (loss-5): into the books, the queue, and down to the new box. Returns how many."""
    taken = 0
    for row in batch.rows:
        try:
            message = m.decode(bytes(row.body), row.crit)
        except m.Unknown:
            continue
        for order, bookings, customer in _sales(tx, message):
            fresh = tuple(b for b in bookings if b.status == "confirmed" and b.site_id == site_id and records.booking(tx, b.id) is None)
            if not fresh:
                continue
            told = m.SaleFound(order=order, bookings=fresh, why="late_sale", customer=customer)
            repair.found(tx, desk, told, site_id)
            if streams.lock(tx, site_id).epoch:
                streams.append(tx, desk, site_id, told)
            taken += len(fresh)
        _end_late(tx, desk, site_id, message)
    return taken


def _end_late(tx: Tx, desk: Desk, site_id: str, message: m.Message) -> None:
    """What the replaced box had given up or moved on, and told nobody: its customer knows, so it ends here and, on its answer, at the new box."""
    if isinstance(message, m.Replaced):
        booking_id, reason, replaced_by = message.old_id, "moved", message.booking.id
    elif isinstance(message, m.Cancelled):
        booking_id, reason, replaced_by = message.booking_id, message.reason, ""
    else:
        return
    b, s = records.booking(tx, booking_id), streams.lock(tx, site_id)
    if b is None or b.site_id != site_id or b.status != "confirmed" or not s.epoch:
        return
    records.put_booking(tx, msgspec.structs.replace(b, status="cancelling", reason=reason, replaced_by=replaced_by))
    streams.append(tx, desk, site_id, m.Cancelled(booking_id=b.id, by="late", reason=reason))


def _sales(tx: Tx, message: m.Message) -> list[tuple]:
    if isinstance(message, m.Sold):
        return [(message.order, message.bookings, message.customer)]
    if isinstance(message, m.Replaced):
        return [(message.order, (message.booking,), message.customer)]
    if isinstance(message, m.SnapshotPart):
        orders = {order.id: order for order in message.orders}
        people = {c.id: c for c in message.customers}
        return [
            (orders[v.booking.order_id], (v.booking,), people.get(v.booking.customer_id))
            for v in message.visits
            if _sold_at_site(v.booking, orders)
        ]
    if isinstance(message, m.BookingConfirmed):
        order = records.order(tx, message.order_id)
        return [(order, message.bookings, None)] if order is not None else []
    return []


def _sold_at_site(b: Booking, orders: dict) -> bool:
    return b.seller == "site" and b.order_id in orders


# ---- on either side
def retire(tx: Tx, desk: Desk, site_id: str, term: int) -> bool:
    """We were told, in answer to our nonce, that a newer one stands in our place. False where we knew."""
    s = streams.lock(tx, site_id)
    if s.retired:
        return False
    s.retired = f"A box with term {term} has taken its place (ours is {desk.term})."
    tx.run("UPDATE streams SET retired = :w WHERE site_id = :s", {"w": s.retired, "s": site_id})
    records.journal(tx, desk.now(), site_id, "link", "retired", desk.box_id, s.retired)
    tx.tell("alarm", site_id)
    return True


def adopt(tx: Tx, desk: Desk, site_id: str, *, hub_id: str, vouched: bool, stated: bool) -> None:
    """The empty books of a new box (L4): fenced until the hub has told it everything. `vouched`: a person vouches that the old box is off
    (loss-5); `stated`: and states that nothing was sold there that the hub does not know (loss-4)."""
    streams.open_site(tx, site_id, epoch=desk.new_id(), hub_id=hub_id, box_id=desk.box_id, term=desk.term)
    fencing.fence(tx, desk, site_id, "This box is new here and waits for what the hub knows.")
    mark_restored(tx, desk, site_id, vouched=vouched, stated=stated)


def mark_restored(tx: Tx, desk: Desk, site_id: str, *, vouched: bool, stated: bool) -> None:
    """What a person has said, or has still to say, of the box whose place this one takes."""
    s = streams.lock(tx, site_id)
    s.unvouched = "" if vouched else "Nobody has vouched yet that the box before this one is off."
    if (s.box_id, s.term) != (desk.box_id, desk.term):
        s.retired = ""  # that was said to the box before
    s.stated, s.box_id, s.term = int(stated and vouched), desk.box_id, desk.term
    tx.run(
        "UPDATE streams SET unvouched = :u, stated = :st, box_id = :b, term = :t, retired = :r WHERE site_id = :s",
        {"u": s.unvouched, "st": s.stated, "b": desk.box_id, "t": desk.term, "r": s.retired, "s": site_id},
    )
