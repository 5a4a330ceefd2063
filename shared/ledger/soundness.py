"""The invariants of the books, asked of the books themselves: what must hold at every moment, whatever is under way.

For the watch in production (`watch`), for tests and for simulated worlds: one decision, one file. Reads only; what follows from a breach
is decided elsewhere. Each question is about one bay and one window, or one stream and one stretch of it, so that it stays short; the
answers of neighbouring windows add up to the answer for all. Invariant: books that came about by the ledger's own rules have no breach.
"""

from __future__ import annotations

import msgspec

from .. import passes
from ..messages import chain_next
from ..model import Booking, Interval, Price
from ..runtime.database import Tx
from . import digests, lines, records, streams
from .claims import OWED, holders

#: a booking lasts a day at most, and its buffer less than another (slots)
LONGEST = 200
#: how long the two sides' books differ before it counts: a repair or a resent row may be on its way
DOUBT_S = 600
#: outbox rows whose chain one question follows
STREAM_ROWS = 500
LIVE = ("confirmed", "cancelling", "pending")
NOBODY = ("", "")


class Breach(msgspec.Struct, frozen=True):
    """What does not hold. `resource_id` is empty where it concerns the whole site; `ref` is the booking, hold or block it is about, the epoch
    of a stream, the line of a bay: what a person lets stand is let stand for that one.

    Kinds: `overlap` (two live bookings in one slot), `unclaimed` (a live booking without its slots), `unowned` (a slot taken by what is
    over), `price` (lines that do not add up), `line` (the site sells what the hub sells), `stream` (a hole or a broken chain in what is
    to be told), `books` (the two sides do not say the same of a
    booking), `window` (a door would have opened outside the booking's time), `journal` (a row was changed or taken away).
    """

    kind: str
    site_id: str
    resource_id: str
    ref: str
    detail: str


# ---- a bay
def bay(tx: Tx, site_id: str, resource_id: str, window: Interval) -> list[Breach]:
    """Claims and live bookings of one bay within the window (slots): each booking that is not displaced has its slots, each slot that is
    taken has a living reason, and prices add up."""
    taken: dict[int, tuple[str, str]] = {}
    slots_of: dict[tuple[str, str], list[int]] = {}
    for slot, kind, ref in holders(tx, resource_id, window):
        holder = taken[slot] = kind, ref
        slots_of.setdefault(holder, []).append(slot)
    found: list[Breach] = []

    def breach(kind: str, ref: str, detail: str) -> None:
        found.append(Breach(kind, site_id, resource_id, ref, detail))

    at_home = _at_home(tx, resource_id, window)
    for b, seat in at_home.values():
        if not adds_up(b.price):
            breach("price", b.id, _sum_told(b.price))
        if b.displaced or giving_way(b):
            continue
        got = taken if seat == resource_id else {s: (k, r) for s, k, r in holders(tx, seat, _both(b.claimed, window))}
        others = [got.get(s, NOBODY)[1] for s in _slots(b.claimed, window)]
        missing = [ref for ref in others if ref != b.id]
        if missing:
            rival = next((ref for ref in missing if ref and _lives(tx, ref)), "")
            told = f"it stands in the same slots as booking {rival}" if rival else f"{_slots_told(len(missing))} not taken for it"
            breach("overlap" if rival else "unclaimed", b.id, f"Booking {b.id} is {b.status}, but {told}.")
    for (kind, ref), slots in slots_of.items():
        why = _unowned(tx, resource_id, kind, ref, slots, at_home)
        if why:
            breach("unowned", ref, f"{_slots_told(len(slots))} taken by {kind} {ref}, {why}.")
    return found


def _slots_told(n: int) -> str:
    return "one quarter hour is" if n == 1 else f"{n} quarter hours are"


def giving_way(b: Booking) -> bool:
    """Its slots may have passed on already: it is being moved, or was refused a move by a guest in the bay (own-1, own-3), or what it was to
    replace stands again and the owner of its slots by now has still to take it back (own-4)."""
    if b.status == "confirmed":
        return b.withdrawn and bool(b.replaces)
    return b.status == "cancelling" and bool(b.replaced_by or b.reason == "already_checked_in")


def _at_home(tx: Tx, resource_id: str, window: Interval) -> dict[str, tuple[Booking, str]]:
    """The live bookings of the bay that touch the window, with the bay each sits in."""
    rows = tx.all(
        "SELECT b.doc, COALESCE(a.seat, '') FROM bookings b LEFT JOIN attendance a ON a.booking_id = b.id WHERE b.resource_id = ?"
        " AND b.first > ? AND b.first < ? AND b.past > ? AND b.status IN ('confirmed', 'cancelling', 'pending')",
        (resource_id, window.start - LONGEST, window.end, window.start),
    )
    found = ((records.booking_of(doc), seat) for doc, seat in rows)
    return {b.id: (b, seat or resource_id) for b, seat in found}


def _both(a: Interval, b: Interval) -> Interval:
    return Interval(max(a.start, b.start), min(a.end, b.end))


def _slots(interval: Interval, window: Interval) -> range:
    return range(max(interval.start, window.start), min(interval.end, window.end))


def _lives(tx: Tx, ref: str) -> bool:
    row = tx.one("SELECT status FROM bookings WHERE id = :id", {"id": ref})
    return row is not None and row[0] in LIVE


def _unowned(tx: Tx, resource_id: str, kind: str, ref: str, slots: list[int], at_home: dict[str, tuple[Booking, str]]) -> str:
    """Why the claim has no right to these slots; empty where it has."""
    if kind == "hold":
        h = records.hold(tx, ref)
        return "" if h is not None and h.status == "held" else "which is over"
    if kind == "block":
        k = records.block(tx, ref)
        return "" if k is not None and k.status == "active" else "which is over"
    if kind == "pending" and ref.startswith(OWED):
        return ""  # given up here, and kept until a site in repair has said that nobody sits there (loss-2)
    b, seat = at_home.get(ref) or _elsewhere(tx, ref)
    if b is None or b.status not in (("pending",) if kind == "pending" else ("confirmed", "cancelling")):
        return "which is over" if b else "which nobody knows"
    if resource_id not in (seat, b.resource_id) or not b.start <= slots[0] <= slots[-1] < b.claimed.end:
        return "which is for another time or bay"
    return ""


def _elsewhere(tx: Tx, ref: str) -> tuple[Booking | None, str]:
    b, a = records.booking(tx, ref), records.attendance(tx, ref)
    return b, a.seat if a else ""


# ---- money
def adds_up(price: Price | None) -> bool:
    """The lines add up to the total exactly; a price without lines is what was paid before lines were kept, or nothing."""
    return price is None or not price.lines or sum(line.cents for line in price.lines) == price.total_cents


def _sum_told(price: Price) -> str:
    return f"The price's lines add up to {sum(line.cents for line in price.lines)} cents, its total says {price.total_cents}."


# ---- the line
def lines_told(tx: Tx, site_id: str, told: dict[str, int], epoch: str) -> list[Breach]:
    """At the hub: `told` are the site's lines in an answer of `epoch` to our own nonce. The hub's lines only rise, so the site's of then can lie
    above the hub's of now only where both would sell the slots between. While the two copies are known not to fit, repair has the word."""
    s = streams.read(tx, site_id)
    if s is None or s.epoch != epoch or s.fenced or s.stopped or s.closed or s.repair:
        return []
    mine = lines.lines_of(tx, site_id)
    return [
        Breach(
            "line", site_id, r, str(line), f"The site sells up to slot {line}, the hub from slot {mine[r]} on: {line - mine[r]} slots are sold by both."
        )
        for r, line in sorted(told.items())
        if r in mine and line > mine[r]
    ]


# ---- streams
def stream(tx: Tx, site_id: str, after: int = -1, limit: int = STREAM_ROWS) -> tuple[list[Breach], int]:
    """What waits to be told to the peer: rows without a hole from the acknowledged to the last, each chained to the one before.

    The chain is followed from row `after` on (-1: from the acknowledged), over at most `limit` rows. Returns the breaches and the row to
    go on from, -1 at the end.
    """
    s = streams.read(tx, site_id)
    if s is None or not s.epoch:
        return [], -1
    found = _positions(tx, s) if after < 0 else []
    after = max(after, s.acked_no)
    before = streams.chain_at(tx, s, after)
    rows = tx.all(
        "SELECT no, body, chain FROM outbox WHERE site_id = :s AND epoch = :e AND no > :n ORDER BY no LIMIT :l",
        {"s": site_id, "e": s.epoch, "n": after, "l": limit},
    )
    for no, body, chain in rows:
        if no == after + 1 and before is not None and chain_next(before, no, body.encode()) != chain:
            found.append(_of_stream(s, f"row {no} is not what was written, or was chained to another"))
        after, before = no, chain
    if len(rows) == limit:
        return found, after
    if rows and (after, before) != (s.sent_no, s.sent_chain):
        found.append(_of_stream(s, "the last row is not the one that was counted"))
    return found, -1


def _positions(tx: Tx, s: streams.Stream) -> list[Breach]:
    rows, first, last = tx.one(
        "SELECT COUNT(*), COALESCE(MIN(no), 0), COALESCE(MAX(no), 0) FROM outbox WHERE site_id = :s AND epoch = :e",
        {"s": s.site_id, "e": s.epoch},
    )
    if s.acked_no > s.sent_no:
        return [_of_stream(s, f"row {s.acked_no} was acknowledged, but only {s.sent_no} were written")]
    whole = (s.sent_no - s.acked_no, s.acked_no + 1, s.sent_no) if s.sent_no > s.acked_no else (0, 0, 0)
    if (rows, first, last) != whole:
        return [_of_stream(s, f"rows {s.acked_no + 1} to {s.sent_no} should wait, but {rows} do, from {first} to {last}")]
    (late,) = tx.one("SELECT COUNT(*) FROM lines WHERE site_id = :s AND release_no > :n", {"s": s.site_id, "n": s.sent_no})
    return [_of_stream(s, "a release waits for a row that was never written")] if late else []


def _of_stream(s: streams.Stream, what: str) -> Breach:
    return Breach("stream", s.site_id, "", s.epoch, f"What is to be told over the link has a fault: {what}.")


# ---- the two sides' books
def books(tx: Tx, site_id: str, now_at: int) -> list[Breach]:
    """Live bookings to come on which the digests of the two sides have differed for `DOUBT_S`, and which neither side's word has settled
    (loss-8). Digests are rows of the streams, so what is still under way is no difference."""
    rows = tx.all(
        "SELECT DISTINCT b.resource_id, b.id FROM conflicts c JOIN bookings b ON b.id = c.booking_id WHERE c.site_id = :s AND c.state = 'open'"
        " AND c.why = :w AND c.at <= :until AND b.past > :now AND b.status IN ('confirmed', 'cancelling') ORDER BY b.id",
        {"s": site_id, "w": digests.WHY, "until": now_at - DOUBT_S, "now": now_at // 900},
    )
    return [Breach("books", site_id, r, i, f"This side and the other do not say the same of booking {i}.") for r, i in rows]


# ---- doors
def outside_window_s(b: Booking, now_at: int, skew_s: int) -> int:
    """By how many seconds `now_at` lies outside the time in which the booking's pass or PIN may open a door, widened by the skew; 0 inside."""
    opens_at, closes_at = passes.window(b.start, b.end)
    return max(0, opens_at - abs(skew_s) - now_at, now_at - (closes_at + abs(skew_s)) + 1)
