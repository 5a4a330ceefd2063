"""Repair: how the two books become one again after a side was set back or lost (protocol loss-1, -2, -4).

    R1  the site, in one transaction, closes the old streams, begins an epoch of its own making and tells all it knows
    R2  the hub, when it has the whole of it, merges in one transaction, takes the higher lines, and tells all it knows
    R3  the site merges in one transaction, takes the hub's lines, keeps a floor if it was set back or is new, and opens

Begun by the site, whoever was hurt; what asks for it is an answer to a nonce (`fencing.wanted`), never a replayed message. Snapshots are ordinary
rows of the new epoch, kept in `staged` until the last one is there, so a repair survives crashes, and a second one simply begins anew.

Invariant: between the fence and the end of its repair a side takes no claim and raises no line; a line never falls.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec

from .. import messages as m
from ..errors import refuse
from ..messages import Hello, Position, chain_start
from ..model import Booking
from ..runtime.database import Tx
from . import blocks, claims, fencing, holds, lines, merge, outage_pins, pins, records, sales, settle, streams
from .desk import Desk

replace = msgspec.structs.replace
log = logging.getLogger("clubos.repair")

#: the mark of a transaction that merges, beside the streams it has locked
_RESTATES = "|restates"

#: bookings in one row of a snapshot: about 30 kB
PART = 40
#: after a repair both sides number their sales from here on above the highest either had issued (pass-1)
SALE_NO_STEP = 1_000_000
#: rows of a closed epoch that the snapshot has made superfluous
SUPERSEDED = frozenset({"Released", "SnapshotBegun", "SnapshotPart", "SnapshotEnded", "SnapshotMerged", "DigestStated", "PinsLeased"})


# ---- R1
def begin(tx: Tx, desk: Desk, site_id: str, hello: Hello, *, peer_behind: bool = False) -> None:
    """R1, at the site: everything it knows becomes the first rows of a new epoch; what the hub had not applied follows."""
    s = streams.lock(tx, site_id)
    number = max(map(fencing.repairs_of, (s.epoch, hello.epoch, hello.repair))) + 1
    left = _left_over(tx, s)
    fenced = bool(s.fenced)
    stopped = s.stopped or "a repair is under way"
    _enter_epoch(tx, s, f"{number}.{desk.new_id()}")
    s.repair, s.closed, s.stopped = s.epoch, 1, stopped
    tx.run("UPDATE streams SET repair = :e, closed = 1, stopped = :w WHERE site_id = :s", {"e": s.epoch, "w": stopped, "s": site_id})
    tx.run("UPDATE pins SET state = 'resting', until_at = :u WHERE site_id = :s AND state = 'leased'",
           {"u": desk.now() + desk.limits.pin_rest_s, "s": site_id})  # fmt: skip
    _tell_all(tx, desk, s, fenced=fenced, behind=peer_behind)
    _go_on(tx, desk, site_id, left)
    pins.lease(tx, desk, site_id)
    records.journal(tx, desk.now(), site_id, "repair", "began", s.epoch, stopped)
    tx.tell("alarm", site_id)


# ---- staging, on both sides
def propose(tx: Tx, desk: Desk, s: streams.Stream, hello: Hello) -> bool:
    """At the hub: the site answered my nonce from an epoch of its own making. True where this is news."""
    if s.repair == hello.repair:
        return False
    chain = chain_start(hello.repair)
    tx.run("DELETE FROM staged WHERE site_id = :s", {"s": s.site_id})
    s.repair, s.staged_no, s.staged_chain = hello.repair, 0, chain
    tx.run(
        "UPDATE streams SET repair = :e, staged_no = 0, staged_chain = :c WHERE site_id = :s", {"e": s.repair, "c": chain, "s": s.site_id}
    )
    return True


def stage(tx: Tx, s: streams.Stream, epoch: str, no: int, body: str, kind: str) -> bool:
    """Keeps one row of the peer's snapshot. True at its last, when it is time to merge."""
    tx.run("INSERT INTO staged (site_id, epoch, no, body) VALUES (:s, :e, :n, :b) ON CONFLICT DO NOTHING",
           {"s": s.site_id, "e": epoch, "n": no, "b": body})  # fmt: skip
    return kind == "SnapshotEnded"


def staged_at(tx: Tx, s: streams.Stream, no: int, chain: str) -> None:
    """At the hub: how far the rows of the proposed epoch are kept."""
    s.staged_no, s.staged_chain = no, chain
    tx.run("UPDATE streams SET staged_no = :n, staged_chain = :c WHERE site_id = :s", {"n": no, "c": chain, "s": s.site_id})


# ---- R2
def merge_at_hub(tx: Tx, desk: Desk, site_id: str) -> bool:
    """R2. False while a person has not vouched that the hub before us is off (loss-5): what was told is kept until then."""
    s = streams.lock(tx, site_id)
    if s.unvouched and desk.guard("new_hub_is_vouched"):
        return False
    begun, parts = _staged(tx, site_id, s.repair)
    if not s.epoch:  # a hub that is rebuilt has no stream yet; what the merge says is taken up again below
        _enter_epoch(tx, s, desk.new_id())
    fenced_before = bool(s.fenced) or begun.behind
    _take_documents(tx, desk, site_id, begun)
    _raise_lines(tx, desk, site_id, begun, fenced_before)
    _drop_untold_below(tx, desk, site_id)
    owed = _owed(tx, site_id, parts) if desk.guard("owed_stays_owed") else []
    _take_parts(tx, desk, parts, whole=not fenced_before)
    _number_on(tx, s, begun)
    left = _left_over(tx, s)
    at = Position(s.staged_no, s.staged_chain)
    _enter_epoch(tx, s, s.repair)
    streams.advance(tx, s, at.no, at.chain)
    tx.run("DELETE FROM pins WHERE site_id = :s AND state = 'free'", {"s": site_id})
    if fenced_before:
        outage_pins.distrust(tx, desk, site_id)
    tx.run("UPDATE lines SET release_no = 0, wanted = 0 WHERE site_id = :s", {"s": site_id})
    _open(tx, s)
    _tell_all(tx, desk, s, fenced=fenced_before)
    _keep_owed(tx, desk, site_id, owed)
    _go_on(tx, desk, site_id, left)
    profile = records.document(tx, "profile", site_id)
    if profile is not None:
        streams.append(tx, desk, site_id, m.ProfileStated(profile=msgspec.Raw(profile[1].encode()), version=profile[0]))
    records.journal(tx, desk.now(), site_id, "repair", "merged", s.epoch)
    tx.tell("stream", site_id)
    return True


def _raise_lines(tx: Tx, desk: Desk, site_id: str, begun: m.SnapshotBegun, fenced_before: bool) -> None:
    """The higher line of the two, at least the floor; where neither can be trusted, the furthest a release can have gone."""
    far = desk.now_slot() + desk.limits.release_ahead_max_s // 900 if fenced_before and begun.fenced else 0
    if not desk.guard("both_fenced_go_far"):
        far = 0
    for resource_id in {**lines.lines_of(tx, site_id), **begun.lines}:  # a site that was set back may have forgotten a bay
        line = begun.lines.get(resource_id, 0)
        line = max(line, begun.floors.get(resource_id, 0)) if desk.guard("repair_takes_max") else 0
        lines.begin(tx, site_id, resource_id, max(line, far))
        tx.tell("resource", resource_id)


def _drop_untold_below(tx: Tx, desk: Desk, site_id: str) -> None:
    """A hold or a pending part below a line that rose is on the site's ground now, and the site was never told of it."""
    rows = tx.all(
        "SELECT DISTINCT c.kind, c.ref FROM claims c JOIN lines l ON l.resource_id = c.resource_id"
        " WHERE l.site_id = :s AND c.slot < l.line AND c.kind IN ('hold', 'pending')",
        {"s": site_id},
    )
    for kind, ref in rows:
        if kind == "hold":
            holds.end(tx, desk, ref)
            continue
        claims.free(tx, desk, ref)
        part = records.booking(tx, ref)
        if part is None:
            continue
        records.put_booking(tx, replace(part, status="declined", reason="repaired"))
        for asked in records.bookings_of_order(tx, part.order_id):
            if asked.status == "requested" and not asked.withdrawn:
                records.put_booking(tx, replace(asked, withdrawn=True))


def _owed(tx: Tx, site_id: str, parts: list[m.SnapshotPart]) -> list[Booking]:
    """What we gave up and the site's copy still seats: the cancels that it forgot or never heard (own-3)."""
    out = []
    for part in parts:
        for visit in part.visits:
            if visit.booking.status != "confirmed":
                continue
            mine = records.booking(tx, visit.booking.id)
            if mine is not None and mine.status == "cancelled":
                out.append(mine)
    return out


def _keep_owed(tx: Tx, desk: Desk, site_id: str, owed: list[Booking]) -> None:
    """What is still free of their slots stays so until the site has answered."""
    for b in owed:
        ref = claims.OWED + b.id
        records.put_ask(tx, "owed", site_id, ref, b.id, desk.now())
        claims.take_free(tx, b.resource_id, b.claimed, "pending", ref)


def merged_by_site(tx: Tx, desk: Desk, site_id: str) -> None:
    """The site has our snapshot: it seats nobody any more whom we had cancelled, or has told us who is in the bay, and that guest has it."""
    rows = tx.all("SELECT id, booking_id FROM asks WHERE kind = 'owed' AND state = 'waiting' AND site_id = :s ORDER BY id", {"s": site_id})
    for ref, booking_id in rows:
        records.end_ask(tx, ref, "done")
        freed = claims.drop(tx, ref)
        merge.attended_stands(tx, desk, booking_id)
        for resource_id, interval in freed:
            claims.pass_on(tx, desk, resource_id, interval)


# ---- R3
def merge_at_site(tx: Tx, desk: Desk, site_id: str) -> None:
    """R3: the hub's lines are ours; a site that was set back or is new sells nothing below them until a person has spoken (loss-4)."""
    s = streams.lock(tx, site_id)
    begun, parts = _staged(tx, site_id, s.epoch)
    _take_documents(tx, desk, site_id, begun)
    _take_parts(tx, desk, parts, whole=not s.fenced)
    floor = bool(s.fenced) and not s.stated
    for resource_id, line in begun.lines.items():
        lines.begin(tx, site_id, resource_id, line)
        if floor:
            tx.run("UPDATE lines SET floor = :l WHERE resource_id = :r AND floor < :l", {"l": line, "r": resource_id})
        tx.tell("resource", resource_id)
    if s.stated:
        s.stated = 0
        tx.run("UPDATE streams SET stated = 0 WHERE site_id = :s", {"s": site_id})
    _number_on(tx, s, begun)
    _open(tx, s)
    streams.append(tx, desk, site_id, m.SnapshotMerged())
    records.journal(tx, desk.now(), site_id, "repair", "opened", s.epoch, "below its floor nothing is sold" if floor else "")
    tx.tell("stream", site_id)


# ---- what a person states
def state_sold(tx: Tx, desk: Desk, site_id: str, *, by: str, reason: str) -> int:
    """loss-4: a person has entered what was sold below the floor (or says that nothing was) and lets the site sell there again.

    Before the repair is through the word is kept for it. Refuses while nobody has vouched that the box before is off. Returns the bays freed.
    """
    s = streams.lock(tx, site_id)
    if s.unvouched:
        raise refuse("fenced", "First somebody has to vouch that the old box is off and stays off.")
    if s.fenced or s.repair:
        s.stated = 1
        tx.run("UPDATE streams SET stated = 1 WHERE site_id = :s", {"s": site_id})
    freed = tx.run("UPDATE lines SET floor = 0 WHERE site_id = :s AND floor > 0", {"s": site_id})
    records.journal(tx, desk.now(), site_id, by, "stated what was sold", site_id, reason)
    for resource_id in lines.lines_of(tx, site_id):
        tx.tell("resource", resource_id)
    return freed


def vouch(tx: Tx, desk: Desk, site_id: str, *, by: str) -> None:
    """loss-5: a person vouches that the box before is off and stays off. A hub's waiting repair goes on at once: its site may be dark by then,
    has told all it knows, and its far times can be sold. One that fails takes the word not back; the link tries it again."""
    s = streams.lock(tx, site_id)
    s.unvouched = ""
    tx.run("UPDATE streams SET unvouched = '' WHERE site_id = :s", {"s": site_id})
    records.journal(tx, desk.now(), site_id, by, "vouched that the old box is off", site_id)
    tx.tell("alarm", site_id)
    if desk.side == "hub" and s.repair and is_complete(tx, site_id, s.repair):
        try:
            tx.attempt(lambda: merge_at_hub(tx, desk, site_id))
        except Exception:
            if tx.trouble is not None:
                raise
            log.exception("repair failed", extra={"site_id": site_id})


# ---- what R1, R2 and R3 share
def _enter_epoch(tx: Tx, s: streams.Stream, epoch: str) -> None:
    chain = chain_start(epoch)
    tx.run("DELETE FROM outbox WHERE site_id = :s", {"s": s.site_id})
    tx.run(
        "UPDATE streams SET epoch = :e, sent_no = 0, acked_no = 0, applied_no = 0, sent_chain = :c, acked_chain = :c, applied_chain = :c"
        " WHERE site_id = :s",
        {"e": epoch, "c": chain, "s": s.site_id},
    )
    s.epoch, s.sent_no, s.acked_no, s.applied_no = epoch, 0, 0, 0
    s.sent_chain = s.acked_chain = s.applied_chain = chain


def _open(tx: Tx, s: streams.Stream) -> None:
    tx.run("DELETE FROM staged WHERE site_id = :s", {"s": s.site_id})
    tx.run("UPDATE streams SET repair = '', closed = 0, stopped = '', fenced = '' WHERE site_id = :s", {"s": s.site_id})
    s.repair, s.closed, s.stopped, s.fenced = "", 0, "", ""
    tx.tell("alarm", s.site_id)


def _number_on(tx: Tx, s: streams.Stream, begun: m.SnapshotBegun) -> None:
    """pass-1: whatever either has issued, and the other had not heard of, stays below."""
    s.sale_no = max(s.sale_no, begun.sale_no) + SALE_NO_STEP
    tx.run("UPDATE streams SET sale_no = :n WHERE site_id = :s", {"n": s.sale_no, "s": s.site_id})


def _staged(tx: Tx, site_id: str, epoch: str) -> tuple[m.SnapshotBegun, list[m.SnapshotPart]]:
    rows = tx.all("SELECT body FROM staged WHERE site_id = :s AND epoch = :e ORDER BY no", {"s": site_id, "e": epoch})
    told = [m.decode(body.encode()) for (body,) in rows]
    return told[0], [part for part in told if isinstance(part, m.SnapshotPart)]


def is_complete(tx: Tx, site_id: str, epoch: str) -> bool:
    """Whether the whole of the peer's snapshot is kept."""
    row = tx.one("SELECT body FROM staged WHERE site_id = :s AND epoch = :e ORDER BY no DESC LIMIT 1", {"s": site_id, "e": epoch})
    return row is not None and isinstance(m.decode(row[0].encode()), m.SnapshotEnded)


def _take_documents(tx: Tx, desk: Desk, site_id: str, begun: m.SnapshotBegun) -> None:
    """own-6: the site's documents. A new box goes on from the versions that the hub kept, with its own words."""
    for old_id, new_id in begun.aliases:
        tx.run("INSERT INTO aliases (old_id, new_id) VALUES (:o, :n) ON CONFLICT DO NOTHING", {"o": old_id, "n": new_id})
    told = [("resource", r.id, r) for r in begun.resources] + ([("facility", site_id, begun.facility)] if begun.facility else [])
    for kind, doc_id, theirs in told:
        known = records.document(tx, kind, doc_id)
        if desk.side == "hub" or known is None:
            if known is None or known[0] < theirs.version:
                records.put_document(tx, kind, doc_id, site_id, theirs.version, records.text(theirs))
        elif known[0] <= theirs.version:
            mine = records.resource(tx, doc_id) if kind == "resource" else records.facility(tx, doc_id)
            if replace(mine, version=0) == replace(theirs, version=0):
                mine = theirs
            else:
                mine = replace(mine, version=theirs.version + 1)
                line = lines.line_of(tx, doc_id) if kind == "resource" else 0
                said = m.ResourceStated(resource=mine, line=line) if kind == "resource" else m.FacilityStated(facility=mine)
                streams.append(tx, desk, site_id, said)
            records.put_document(tx, kind, doc_id, site_id, mine.version, records.text(mine))


def restates(tx: Tx) -> bool:
    """Whether this transaction merges a snapshot: what it writes of bookings is what was so before, and no news."""
    return _RESTATES in tx.memo


def merges_into_whole_books(tx: Tx) -> bool:
    """Whether this transaction merges a snapshot into books that have forgotten nothing: what has ended by it, they had never heard of."""
    return tx.memo.get(_RESTATES) is True


def _take_parts(tx: Tx, desk: Desk, parts: list[m.SnapshotPart], *, whole: bool) -> None:
    tx.memo[_RESTATES] = whole
    taken: list[str] = []
    for part in parts:
        for order in part.orders:
            records.add_order(tx, order)
        for customer in part.customers:
            sales.remember_customer(tx, desk, customer)
        for block in part.blocks:
            known = records.block(tx, block.id)
            if known is None or known.status == "asked" or known.version < block.version:
                blocks.take(tx, desk, block)
        for visit in part.visits:
            if not _same(tx, visit):
                merge.take(tx, desk, visit.booking, visit.attendance, more_follow=True)
                taken.append(visit.booking.id)
    for booking_id in taken:
        merge.attended_stands(tx, desk, booking_id)


def _same(tx: Tx, visit: m.Visit) -> bool:
    """What both know alike needs no merging, and in most repairs that is nearly all."""
    mine = records.booking(tx, visit.booking.id)
    if mine is None or mine.status == "cancelling" or mine.displaced:
        return False
    told = replace(visit.booking, version=mine.version, answer_by=mine.answer_by)
    return mine == told and (visit.attendance is None or records.attendance(tx, mine.id) == visit.attendance) and (
        mine.status != "confirmed" or not claims.lacking(tx, mine.resource_id, mine.claimed, mine.id)
    )  # fmt: skip


def _tell_all(tx: Tx, desk: Desk, s: streams.Stream, *, fenced: bool, behind: bool = False) -> None:
    """The snapshot, as the first rows of the epoch."""
    site_id = s.site_id
    floors = dict(tx.all("SELECT resource_id, floor FROM lines WHERE site_id = :s", {"s": site_id}))
    begun = m.SnapshotBegun(
        lines=lines.lines_of(tx, site_id), floors=floors, fenced=fenced, behind=behind, sale_no=s.sale_no,
        facility=records.facility(tx, site_id), resources=tuple(records.resources(tx, site_id)),
        aliases=tuple(tx.all("SELECT old_id, new_id FROM aliases ORDER BY old_id")),
    )  # fmt: skip
    streams.append(tx, desk, site_id, begun)
    told = 0
    for part in _parts(tx, site_id):
        told += len(part.visits)
        streams.append(tx, desk, site_id, part)
    streams.append(tx, desk, site_id, m.SnapshotEnded(bookings=told))


def _parts(tx: Tx, site_id: str) -> Iterator[m.SnapshotPart]:
    ids = [r[0] for r in tx.all("SELECT id FROM bookings WHERE site_id = :s AND status NOT IN ('requested', 'pending') ORDER BY first, id",
                                {"s": site_id})]  # fmt: skip
    customers: set[str] = set()
    for at in range(0, len(ids), PART):
        found = [records.booking(tx, i) for i in ids[at : at + PART]]
        orders = {b.order_id: records.order_of(tx, b) for b in found if records.order(tx, b.order_id) is not None}
        fresh = [c for c in dict.fromkeys(b.customer_id for b in found) if c and c not in customers]
        customers.update(fresh)
        people = [c for i in fresh if (c := records.customer(tx, i)) is not None]
        visits = tuple(m.Visit(booking=b, attendance=records.attendance(tx, b.id)) for b in found)
        yield m.SnapshotPart(orders=tuple(orders.values()), visits=visits, customers=tuple(people))
    known = [b for b in records.blocks_between(tx, site_id, 0, 1 << 40) if b.status != "asked"]
    for at in range(0, len(known), PART):
        yield m.SnapshotPart(blocks=tuple(known[at : at + PART]))


def _left_over(tx: Tx, s: streams.Stream) -> list[m.Message]:
    """What the peer had not applied of the epoch that ends, but for what the snapshot tells better."""
    rows = tx.all("SELECT type, body FROM outbox WHERE site_id = :s ORDER BY epoch, no", {"s": s.site_id})
    return [m.decode(body.encode()) for kind, body in rows if kind not in SUPERSEDED]


def _go_on(tx: Tx, desk: Desk, site_id: str, left: list[m.Message]) -> None:
    """Every unapplied row once more, and every question whose answer may have been lost. All are idempotent by id."""
    for message in left:
        streams.append(tx, desk, site_id, message)
    _ask_again(tx, desk, site_id)


def _ask_again(tx: Tx, desk: Desk, site_id: str) -> None:
    asked: dict[str, list[Booking]] = {}
    for b in records.bookings_where(tx, f"{records.WAITING} AND status = 'requested' AND site_id = :s ORDER BY first, id", {"s": site_id}):
        moved = bool(b.replaces and records.asks_waiting(tx, "moved", b.replaces))
        if b.withdrawn:
            streams.append(tx, desk, site_id, m.Withdraw(booking_id=b.id, unless_moved=sales.is_change(tx, b)))
        elif moved:
            order = records.order_of(tx, b)
            streams.append(tx, desk, site_id, m.MoveRequest(old_id=b.replaces, order=order, booking=b, answer_by=b.answer_by))
        else:
            asked.setdefault(b.id if b.replaces else b.order_id, []).append(b)
    for bookings in asked.values():
        order = records.order_of(tx, bookings[0])
        customer = records.customer(tx, order.customer_id)
        streams.append(
            tx, desk, site_id, m.BookingRequest(order=order, bookings=tuple(bookings), answer_by=bookings[0].answer_by, customer=customer)
        )
    _settle_again(tx, desk, site_id)
    for b in records.bookings_where(tx, f"{records.WAITING} AND status = 'cancelling' AND site_id = :s ORDER BY first, id", {"s": site_id}):
        streams.append(tx, desk, site_id, m.Cancelled(booking_id=b.id, reason=b.reason))
    for ask_id, booking_id in tx.all(
        "SELECT id, booking_id FROM asks WHERE kind = 'cancel' AND state = 'waiting' AND site_id = :s ORDER BY at, id", {"s": site_id}
    ):
        b = records.booking(tx, booking_id)
        if b is not None and b.status not in ("cancelled", "declined", "expired"):
            by, reason = ("move", "moved") if b.replaced_by else ("customer", "")
            request = m.CancelRequest(booking_id=booking_id, by=by, reason=reason, replaced_by=b.replaced_by)
            streams.append(tx, desk, site_id, request)
        else:
            records.end_ask(tx, ask_id, "done")
    ahead = {"s": site_id, "now": desk.now_slot()}
    for b in records.bookings_where(tx, "status = 'confirmed' AND site_id = :s AND first >= :now ORDER BY first, id", ahead):
        if b.withdrawn and not lines.owns(tx, desk, b.resource_id, b.start):
            streams.append(tx, desk, site_id, m.Withdraw(booking_id=b.id))
    for row in tx.all("SELECT doc FROM holds WHERE status = 'asked' AND site_id = :s", {"s": site_id}):
        hold = msgspec.json.decode(row[0], type=m.Hold)
        records.put_hold(tx, replace(hold, status="declined", reason="answer_late"))


def _settle_again(tx: Tx, desk: Desk, site_id: str) -> None:
    """What hangs on an answer that the merge has brought and nobody has acted on: our part of a group (terr-10), the old booking of a move
    (own-4). The owner has decided those ids and says the same once more."""
    decided: dict[tuple[str, int], list[Booking]] = {}
    for part in records.bookings_where(tx, f"{records.WAITING} AND status = 'pending' AND site_id = :s ORDER BY first, id", {"s": site_id}):
        asked = [b for b in records.bookings_of_order(tx, part.order_id) if b.status != "pending" and b.answer_by == part.answer_by]
        if not any(b.status == "requested" for b in asked):
            decided[part.order_id, part.answer_by] = asked
    for ask_id, _ in tx.all("SELECT id, booking_id FROM asks WHERE kind = 'move' AND state = 'waiting' AND site_id = :s", {"s": site_id}):
        new = records.booking(tx, ask_id)
        if new is not None and new.status == "confirmed":
            decided[new.id, new.answer_by] = [new]
    for bookings in filter(None, decided.values()):
        parts = tuple(replace(b, status="requested", displaced=False) for b in bookings)
        order, answer_by = records.order_of(tx, parts[0]), parts[0].answer_by
        streams.append(tx, desk, site_id, m.BookingRequest(order=order, bookings=parts, answer_by=answer_by))


def found(tx: Tx, desk: Desk, x: m.SaleFound, site_id: str) -> None:
    """A sale brought back by a witness or sent late by a replaced box (loss-3, loss-5): in the books, and in the queue for people."""
    records.add_order(tx, x.order)
    if x.customer is not None:
        sales.remember_customer(tx, desk, x.customer)
    for b in x.bookings:
        if records.booking(tx, b.id) is None:
            settle.take_in(tx, desk, b)
            records.put_conflict(tx, site_id, b.id, "", x.why, desk.now())
