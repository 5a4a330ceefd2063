"""Requests of the other side, and its answers to ours (protocol terr-6, -9, -10, own-3, own-4).

The owner judges slots, opening hours and blocks, nothing else; customer, rules and price were judged by the asking side. Every request is
decided once and answered in the transaction that applied it.
"""

from __future__ import annotations

import msgspec

from ..errors import Refusal, Refused
from ..messages import (
    BookingConfirmed,
    BookingDeclined,
    BookingRequest,
    CancelDone,
    Cancelled,
    CancelRefused,
    CancelRequest,
    MoveRequest,
    NotMine,
    Sold,
    Withdraw,
)
from ..model import Booking, Order
from ..runtime.database import Tx
from . import claims, holds, lines, outage_pins, pins, records, sales, streams
from .desk import Desk

replace = msgspec.structs.replace
SEEN_TO = Refusal("illegal_move", "The facility has seen to this guest: they have come, or were given a bay.")


# ---- what is asked of us
def decide_booking(tx: Tx, desk: Desk, m: BookingRequest, *, link_fresh: bool) -> None:
    """Sells all parts or none. `not_mine` is not a decision and leaves no trace (terr-6)."""
    site_id = m.order.site_id
    ids = tuple(b.id for b in m.bookings)
    decided = [b for i in ids if (b := records.booking(tx, i)) is not None and b.status not in ("requested", "pending")]
    if decided and desk.guard("decided_once"):
        return _again(tx, desk, m.order, decided)
    if any((mine := records.booking(tx, i)) is not None and mine.withdrawn for i in ids):
        # our own customer's move, run by the other side, and given up here before it asked
        return decline(tx, desk, m.order, m.bookings, Refusal("withdrawn", "Withdrawn by the customer."))
    verdicts = []
    for b in m.bookings:
        verdict = lines.verdict(tx, desk, b.resource_id, b.claimed)
        if verdict == "straddles" and desk.side == "hub":
            lines.release_for(tx, desk, site_id, b.resource_id, b.claimed, link_fresh=link_fresh)
        verdicts.append(verdict)
    if any(v != "mine" for v in verdicts) and desk.guard("not_mine_is_no_answer"):
        streams.append(tx, desk, site_id, NotMine(asked="booking", ids=ids))
        return None
    if desk.now() > m.answer_by and desk.guard("answer_by"):
        return decline(tx, desk, m.order, m.bookings, Refusal("answer_late", "The facility was not reached in time."))
    if m.customer is not None:
        sales.remember_customer(tx, desk, m.customer)
    records.add_order(tx, m.order)

    def sell() -> list[Booking]:
        for b in m.bookings:
            closed = desk.judge_hours(tx, b) if desk.guard("owner_judges_hours") else None
            if closed is not None:
                raise Refused(closed)
        return [sales.confirm(tx, desk, replace(b, withdrawn=False), m.hold_id, "") for b in m.bookings]

    sold = holds.try_or(sell, lambda refusal: refusal, tx)
    if isinstance(sold, Refusal):
        return decline(tx, desk, m.order, m.bookings, sold)
    streams.append(tx, desk, site_id, BookingConfirmed(order_id=m.order.id, bookings=tuple(sold)))
    for b in sold:
        end_moved(tx, b.id, "done")
    return None


def _again(tx: Tx, desk: Desk, order: Order, decided: list[Booking]) -> None:
    """The recorded answer, once more (terr-6)."""
    yes = [b for b in decided if b.status not in ("declined", "expired")]
    if len(yes) == len(decided):
        streams.append(tx, desk, order.site_id, BookingConfirmed(order_id=order.id, bookings=tuple(decided)))
    else:
        ids = tuple(b.id for b in decided)
        code = decided[0].reason or "declined"
        streams.append(
            tx, desk, order.site_id, BookingDeclined(order_id=order.id, booking_ids=ids, code=code, detail="This time is not free.")
        )


def decline(tx: Tx, desk: Desk, order: Order, bookings: tuple[Booking, ...], refusal: Refusal) -> None:
    """The owner's no, recorded so that the same id gets the same answer."""
    records.add_order(tx, order)
    for b in bookings:
        no = replace(b, status="declined", reason=refusal.code)
        if records.booking(tx, b.id) is None:
            records.add_booking(tx, no)
        else:
            records.put_booking(tx, no)
        end_moved(tx, b.id, "refused", refusal.code, refusal.detail)
    streams.append(
        tx,
        desk,
        order.site_id,
        BookingDeclined(order_id=order.id, booking_ids=tuple(b.id for b in bookings), code=refusal.code, detail=refusal.detail),
    )


def decide_withdraw(tx: Tx, desk: Desk, m: Withdraw, site_id: str) -> None:
    """terr-9: freed without fee. What was never decided is decided now: no."""
    b = records.booking(tx, m.booking_id)
    if b is None:
        streams.append(
            tx,
            desk,
            site_id,
            BookingDeclined(order_id="", booking_ids=(m.booking_id,), code="withdrawn", detail="Withdrawn before it was decided."),
        )
        return
    if b.status == "requested":
        # asked by us of the asker (a move run here): our ask dies with the customer's wish
        records.put_booking(tx, replace(b, status="cancelled", withdrawn=True, reason="withdrawn"))
        end_moved(tx, b.id, "refused", "already_cancelled", "The booking was cancelled meanwhile.")
        return
    if not m.unless_moved:
        b = _moved_on(tx, b)
    if b.status == "cancelled":  # never seated here, which the asker has no other way to learn
        streams.append(tx, desk, site_id, Cancelled(booking_id=b.id, by="customer", reason="withdrawn"))
    if b.status != "confirmed":
        return
    if m.unless_moved:
        stands = CancelRefused(booking_id=b.id, code="illegal_move", detail=sales.CHANGE_IS_MADE)
        streams.append(tx, desk, site_id, stands)
        return
    if b.site_id != site_id:
        _end_far(tx, desk, b, by="customer", reason="withdrawn", asker=site_id)
        return
    if not lines.owns(tx, desk, b.resource_id, b.start):
        streams.append(tx, desk, site_id, NotMine(asked="withdraw", ids=(b.id,)))
        return
    _give_up_or_say(tx, desk, b, by="customer", reason="withdrawn")


def decide_cancel(tx: Tx, desk: Desk, m: CancelRequest, site_id: str) -> None:
    b = records.booking(tx, m.booking_id)
    if b is None:
        streams.append(
            tx, desk, site_id, CancelRefused(booking_id=m.booking_id, code="booking_not_found", detail="This booking is not known.")
        )
        return
    if not (m.replaced_by and m.replaced_by == b.replaced_by):  # heard again: what has taken its place stands
        b = _moved_on(tx, b)
    if b.status != "confirmed":
        code = "already_cancelled" if b.status in ("cancelled", "cancelling") else "illegal_move"
        streams.append(tx, desk, site_id, CancelRefused(booking_id=b.id, code=code, detail=f"This booking is {b.status}."))
        return
    if b.site_id != site_id:
        _end_far(tx, desk, b, by=m.by, reason=m.reason, asker=site_id)
        return
    if not lines.owns(tx, desk, b.resource_id, b.start):
        streams.append(tx, desk, site_id, NotMine(asked="cancel", ids=(b.id,)))
        return
    _give_up_or_say(tx, desk, b, by=m.by, reason=m.reason, replaced_by=m.replaced_by)


def _end_far(tx: Tx, desk: Desk, b: Booking, *, by: str, reason: str, asker: str) -> None:
    """At the hub: what was given up had been moved to another facility, whose box is asked where the slots are its own."""
    try:
        sales.cancel(tx, desk, b.id, by=by, reason=reason)
    except Refused as e:
        streams.append(tx, desk, asker, CancelRefused(booking_id=b.replaces, code=e.refusal.code, detail=e.refusal.detail))


def _moved_on(tx: Tx, b: Booking) -> Booking:
    """What the booking has become while the other side still spoke of it under its old id: to cancel it is to cancel that."""
    while b.status in ("cancelled", "cancelling") and b.replaced_by and (new := records.booking(tx, b.replaced_by)) is not None:
        b = new
    return b


def end_cancel_asked(tx: Tx, b: Booking, state: str, code: str = "", detail: str = "") -> None:
    """Closes our question about a cancel, under whichever of the booking's earlier ids it was asked. One that stands yet, and is to go for the
    sake of this one, is a question of its own: its owner will answer it."""
    before: Booking | None = b
    while before is not None:
        found = records.ask(tx, f"cancel|{before.id}")
        if found is not None and found[0] == "waiting" and (before is b or before.status != "confirmed"):
            records.end_ask(tx, f"cancel|{before.id}", state, code, detail)
        before = records.booking(tx, before.replaces) if before.replaces else None


def _give_up_or_say(tx: Tx, desk: Desk, b: Booking, *, by: str, reason: str, replaced_by: str = "") -> None:
    """What we were moving it to meanwhile is taken back when its answer comes (own-4)."""
    try:
        sales.give_up(tx, desk, b, by=by, reason=reason, replaced_by=replaced_by)
    except Refused as e:
        streams.append(tx, desk, b.site_id, CancelRefused(booking_id=b.id, code=e.refusal.code, detail=e.refusal.detail))


def decide_move(tx: Tx, desk: Desk, m: MoveRequest, site_id: str) -> None:
    """own-4: the owner of the old booking runs the move; if the new one is refused nothing has changed."""
    new = m.booking
    if records.booking(tx, new.id) is not None and desk.guard("decided_once"):
        return
    old = records.booking(tx, m.old_id)
    if old is None:
        return decline(tx, desk, m.order, (new,), Refusal("booking_not_found", "This booking is not known."))
    if not lines.owns(tx, desk, old.resource_id, old.start):
        streams.append(tx, desk, site_id, NotMine(asked="move", ids=(new.id, old.id)))
        return None
    if old.status != "confirmed":
        return decline(tx, desk, m.order, (new,), Refusal("already_cancelled", "This booking is not valid any more."))
    if _is_seen_to(tx, old, new):
        return decline(tx, desk, m.order, (new,), SEEN_TO)
    if desk.now() > m.answer_by and desk.guard("answer_by"):
        return decline(tx, desk, m.order, (new,), Refusal("answer_late", "The facility was not reached in time."))
    if m.customer is not None:
        sales.remember_customer(tx, desk, m.customer)
    wish = sales.Wish(order=m.order, bookings=(new,), customer=m.customer, link_up=True)

    def run() -> Booking:
        mine = lines.verdict(tx, desk, new.resource_id, new.claimed) == "mine"
        closed = desk.judge_hours(tx, new) if mine and desk.guard("owner_judges_hours") else None
        if closed is not None:
            raise Refused(closed)
        return sales.move_own(tx, desk, old, wish)

    outcome = holds.try_or(run, lambda refusal: refusal, tx)
    if isinstance(outcome, Refusal):
        decline(tx, desk, m.order, (new,), outcome)
    return None


def _is_seen_to(tx: Tx, old: Booking, new: Booking) -> bool:
    """Whether `new` is another place for a guest who has one at the facility by now. A longer visit is none: it stays in the bay they are in."""
    a = records.attendance(tx, old.id)
    return new.placed and new.end - new.start <= old.end - old.start and a is not None and bool(a.state or a.seat)


# ---- answers to what we asked
def confirmed(tx: Tx, desk: Desk, m: BookingConfirmed) -> None:
    """The owner's yes settles the order: our pending parts are sold now and told (terr-10); a move goes on (own-4)."""
    for b in m.bookings:
        heard = take_in(tx, desk, b)
        if heard.withdrawn and sales.is_change(tx, heard):
            # the change was given up too late: it has been made, which is what its owner will say of our withdrawal, too
            heard = records.put_booking(tx, replace(heard, withdrawn=False))
        if not heard.withdrawn:
            _go_on_moving(tx, desk, heard)
    pending = [p for p in records.bookings_of_order(tx, m.order_id) if p.status == "pending"]
    if not pending:
        return
    order = records.order_of(tx, pending[0])
    sold = []
    for part in pending:
        claims.hand_over(tx, part.id, "booking", part.id)
        sold.append(records.put_booking(tx, sales.sold_here(tx, desk, part)))
    customer = records.customer(tx, order.customer_id)
    streams.append(tx, desk, order.site_id, Sold(order=order, bookings=tuple(sold), customer=customer))


def take_in(tx: Tx, desk: Desk, b: Booking) -> Booking:
    """A sale of the other side enters our books; it never fails for want of a slot (stream-8)."""
    streams.heard_sale_no(tx, desk, b.site_id, b.sale_no)
    mine = records.booking(tx, b.id)
    if mine is None:
        b = pins.heard(tx, desk, outage_pins.heard(tx, desk, replace(b, displaced=False)))
        records.add_booking(tx, b)
    else:
        if mine.status in ("cancelled", "cancelling"):
            return mine
        # the copy of a pass may be displaced already: the mark stays until `seat` takes it away and tells
        displaced = mine.displaced and b.status in ("confirmed", "cancelling")
        # told again by a seller that had no PIN then: what was given since stays
        kept = replace(b, displaced=displaced, withdrawn=mine.withdrawn, pin=b.pin or mine.pin)
        b = pins.heard(tx, desk, outage_pins.heard(tx, desk, kept))
        b = records.put_booking(tx, replace(b, version=max(b.version, mine.version)))
    if b.status in ("cancelled", "declined", "expired"):
        return b
    _overrides_yield(tx, desk, b)
    return claims.seat(tx, desk, b)


def _overrides_yield(tx: Tx, desk: Desk, b: Booking) -> None:
    """terr-5: the hub's sale takes the slots from an override; where the override's guest is in the bay both go to the conflict queue."""
    if desk.side != "site" or b.seller != "hub" or b.override:
        return
    from . import blocks

    for ref in sorted({ref for _, kind, ref in claims.holders(tx, b.resource_id, b.claimed) if kind == "booking" and ref != b.id}):
        other = records.booking(tx, ref)
        if other is None or not other.override:
            continue
        a = records.attendance(tx, ref)
        if a is not None and a.state == "checked_in":
            records.put_conflict(tx, b.site_id, ref, b.id, "override", desk.now())
            continue
        if desk.guard("override_yields"):
            claims.hand_over_slots(tx, b.resource_id, list(range(b.start, b.claimed.end)), ref, "booking", b.id)
            blocks.mark(tx, desk, other, True, [b.id])


def _go_on_moving(tx: Tx, desk: Desk, new: Booking) -> None:
    ask = records.ask(tx, new.id)
    if ask is None or not new.replaces:
        return
    state, _, _, old_id = ask
    old = records.booking(tx, old_id)
    if state == "waiting" and new.id in records.asks_waiting(tx, "move", old_id):
        sales.finish_move(tx, desk, old, new)
    elif state == "refused":
        sales.take_back(tx, desk, new)


def declined(tx: Tx, desk: Desk, m: BookingDeclined) -> None:
    """The owner's no settles the order: our pending parts are freed; a move leaves everything as it was."""
    for booking_id in m.booking_ids:
        b = records.booking(tx, booking_id)
        if b is not None and b.status in ("requested", "expired"):
            status = "cancelled" if b.withdrawn else "declined"
            records.put_booking(tx, replace(b, status=status, reason=m.code))
        end_moved(tx, booking_id, "refused", m.code, m.detail)
    for part in records.bookings_of_order(tx, m.order_id) if m.order_id else ():
        if part.status == "pending":
            records.put_booking(tx, replace(part, status="declined", reason=m.code))
            claims.free(tx, desk, part.id)


def end_moved(tx: Tx, new_id: str, state: str, code: str = "", detail: str = "") -> None:
    """Closes our question about a move, whichever way it was asked."""
    found = records.ask(tx, new_id)
    if found is not None and found[0] == "waiting" and not (state == "done" and new_id in records.asks_waiting(tx, "move", found[3])):
        records.end_ask(tx, new_id, state, code, detail)


def cancel_done(tx: Tx, desk: Desk, m: CancelDone) -> None:
    """own-3: the site has heard; now, and not before, the slots are free here."""
    b = records.booking(tx, m.booking_id)
    if b is None or b.status != "cancelling":
        return
    records.put_booking(tx, replace(b, status="cancelled", displaced=False))
    pins.retire(tx, desk, b) if not b.replaced_by else None
    claims.free(tx, desk, b.id)
    end_cancel_asked(tx, b, "done")


def cancel_refused(tx: Tx, desk: Desk, m: CancelRefused) -> None:
    """The guest had checked in: the booking stands again (the one step back), and what was to replace it is cancelled."""
    b = records.booking(tx, m.booking_id)
    if b is None:
        return
    end_cancel_asked(tx, b, "refused", m.code, m.detail)
    if m.code == "already_cancelled":
        return
    new = records.booking(tx, b.replaced_by) if b.replaced_by else None
    if b.status == "cancelling":
        b = records.put_booking(tx, replace(b, status="confirmed", replaced_by="", reason=""))
        if b.displaced:
            records.put_conflict(tx, b.site_id, b.id, "", "slots", desk.now())
    elif b.replaced_by or b.withdrawn:
        b = records.put_booking(tx, replace(b, replaced_by="", withdrawn=False))
    if new is not None:
        _undo_replacement(tx, desk, b, new)


def _undo_replacement(tx: Tx, desk: Desk, old: Booking, new: Booking) -> None:
    """The old one stands, so what came of replacing it goes: it may have been moved on meanwhile, and only the last one still lives.
    The old one has its slots again at once; the last one's are free when its owner says so (own-3)."""
    chain = [new]
    while chain[-1].replaced_by and (further := records.booking(tx, chain[-1].replaced_by)) is not None:
        chain.append(further)
    shared = list(range(old.claimed.start, old.claimed.end))
    for b in chain:
        if b.resource_id == old.resource_id:
            claims.hand_over_slots(tx, old.resource_id, shared, b.id, "booking", old.id)
    last = chain[-1]
    if last.site_id == old.site_id:
        pins.move(tx, last, old, old.pin)
    sales.drop_moves_from(tx, desk, last)
    if last.status == "cancelling":  # given up before we heard: it has no slots to come back to
        records.put_booking(tx, replace(last, reason="already_checked_in"))
    sales.take_back(tx, desk, last, "already_checked_in")


def not_mine(tx: Tx, desk: Desk, m: NotMine, site_id: str, *, link_fresh: bool) -> None:
    """The other side is not entitled. If we are now, we decide the same id; it has not (terr-6)."""
    if m.asked == "booking":
        asked = [b for i in m.ids if (b := records.booking(tx, i)) is not None and b.status == "requested"]
        if asked:
            _decide_ourselves(tx, desk, asked)
    elif m.asked in ("cancel", "withdraw"):
        b = records.booking(tx, m.ids[0])
        if b is not None and b.status == "confirmed" and lines.owns(tx, desk, b.resource_id, b.start):
            try:
                by, reason = ("move", "moved") if b.replaced_by else ("customer", "withdrawn" if m.asked == "withdraw" else "")
                sales.give_up(tx, desk, b, by=by, reason=reason, replaced_by=b.replaced_by)
                records.end_ask(tx, f"cancel|{b.id}", "done")
            except Refused as e:
                records.end_ask(tx, f"cancel|{b.id}", "refused", e.refusal.code, e.refusal.detail)
    elif m.asked == "move":
        _move_ourselves(tx, desk, *m.ids, link_fresh=link_fresh)


def _decide_ourselves(tx: Tx, desk: Desk, requested: list[Booking]) -> None:
    """What we asked for together, again, from our own rows: nobody has decided it."""
    order = records.order_of(tx, requested[0])

    def sell() -> list[Booking]:
        if any(p.withdrawn for p in requested):
            raise Refused(Refusal("withdrawn", "Withdrawn by the customer."))
        if desk.now() > requested[0].answer_by and desk.guard("answer_by"):
            raise Refused(Refusal("answer_late", "It could not be decided in time."))
        for p in requested:
            if lines.verdict(tx, desk, p.resource_id, p.claimed) != "mine":
                raise Refused(Refusal("straddles_line", "This time cannot be sold just now."))
        return [sales.confirm(tx, desk, p, "", "") for p in requested]

    sold = holds.try_or(sell, lambda refusal: refusal, tx)
    if isinstance(sold, Refusal):
        no = BookingDeclined(order_id=order.id, booking_ids=tuple(p.id for p in requested), code=sold.code, detail=sold.detail)
        declined(tx, desk, no)
        # the other side may wait for the same id: it asked for the move that we run
        streams.append(tx, desk, order.site_id, no)
        return
    streams.append(tx, desk, order.site_id, Sold(order=order, bookings=tuple(sold), customer=records.customer(tx, order.customer_id)))
    confirmed(tx, desk, BookingConfirmed(order_id=order.id, bookings=tuple(sold)))


def _move_ourselves(tx: Tx, desk: Desk, new_id: str, old_id: str, *, link_fresh: bool) -> None:
    new, old = records.booking(tx, new_id), records.booking(tx, old_id)
    if new is None or old is None or new.status != "requested":
        return
    order = records.order_of(tx, new)
    records.end_ask(tx, new.id, "done")

    def run() -> Booking:
        if old.status != "confirmed" or new.withdrawn or not lines.owns(tx, desk, old.resource_id, old.start):
            raise Refused(Refusal("already_cancelled", "This booking is not valid any more."))
        if _is_seen_to(tx, old, new):
            raise Refused(SEEN_TO)
        wish = sales.Wish(order=order, bookings=(new,), customer=records.customer(tx, order.customer_id), link_up=link_fresh)
        return sales.move_own(tx, desk, old, wish)

    outcome = holds.try_or(run, lambda refusal: refusal, tx)
    if isinstance(outcome, Refusal):
        declined(tx, desk, BookingDeclined(order_id="", booking_ids=(new_id,), code=outcome.code, detail=outcome.detail))
