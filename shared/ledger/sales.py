"""What people do with bookings: sell, ask, cancel, move (protocol terr-6, -7, -9, -10, own-1, own-3, own-4). One transaction each.

The callers have judged customer, rules, price and quote; here only slots, the line, blocks and ownership decide.
"""

from __future__ import annotations

import msgspec

from ..errors import Refused, refuse
from ..messages import BookingRequest, Cancelled, CancelRequest, MoveRequest, Replaced, Sold, Withdraw
from ..model import Booking, Customer, Order
from ..runtime.database import Tx
from . import claims, holds, lines, locked, outage_pins, pins, records, standing, streams
from .desk import Desk

replace = msgspec.structs.replace
#: what somebody is told whose withdrawal of a change came too late
CHANGE_IS_MADE = "The change has been made already, and the new booking stands. Cancel that if nothing is wanted any more."
LIVE = ("confirmed", "cancelling", "pending")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer wants: one order with its bookings (status is ours to say), already judged and priced.

    `new`: the caller has found in this transaction that no booking has these ids. `stated`: a person enters what was sold below the floor,
    on paper or by the box before (loss-4); the caller checked the right and the reason.
    """

    order: Order
    bookings: tuple[Booking, ...]
    customer: Customer | None = None
    hold_ids: dict[str, str] = {}
    body_hash: str = ""
    link_up: bool = False
    override: bool = False
    stated: bool = False
    new: bool = False


def same_sale(a: Booking, b: Booking) -> bool:
    """What never changes in a booking: two with the same id and another of these are two requests under one id."""
    return (a.order_id, a.resource_id, a.start, a.end, a.replaces) == (b.order_id, b.resource_id, b.start, b.end, b.replaces)


def known(tx: Tx, desk: Desk, wish: Wish) -> list[Booking] | None:
    """The bookings of an earlier, equal request under these ids; refuses `id_reused` for another body (terr-6). None: new."""
    found = [b for w in wish.bookings if (b := records.booking(tx, w.id)) is not None]
    if not found or not desk.guard("decided_once"):
        return None
    before = records.body_hash_of(tx, found[0].id)
    same = len(found) == len(wish.bookings) and all(same_sale(a, b) for a, b in zip(found, wish.bookings, strict=True))
    if desk.guard("same_body") and (not same or (wish.body_hash and before and wish.body_hash != before)):
        raise refuse("id_reused", "This booking's id was used before for something else.")
    return found


def place(tx: Tx, desk: Desk, wish: Wish) -> list[Booking]:
    """Sells the order here, asks the other side for it, or both for a group (terr-10). Returns the bookings as they stand:
    `confirmed`, or `requested` / `pending` until the answer is heard.

    Refuses: `slot_taken`, `id_reused`, `site_unreachable` / `hub_unreachable`, `straddles_line`, `slot_being_released`,
    `resource_not_found`, `fenced`.
    """
    site_id = wish.order.site_id
    stream = streams.lock(tx, site_id)
    before = None if wish.new else known(tx, desk, wish)
    if before is not None:
        return before
    standing.require_side(tx, desk, site_id)
    if wish.customer is not None:
        remember_customer(tx, desk, wish.customer)
    if wish.override:
        return _override(tx, desk, wish)
    mine, theirs = _split(tx, desk, wish)
    records.add_order(tx, wish.order)
    if not theirs:
        return _sell(tx, desk, wish, mine)
    if (not wish.link_up or stream.stopped) and desk.guard("ask_only_when_up"):
        raise holds.unreachable(desk)
    return _ask(tx, desk, wish, mine, theirs)


def _split(tx: Tx, desk: Desk, wish: Wish) -> tuple[list[Booking], list[Booking]]:
    """Which parts are ours and which are the other side's. A straddling part first has its line raised, by the hub (terr-4)."""
    mine, theirs = [], []
    for b in wish.bookings:
        verdict = lines.verdict(tx, desk, b.resource_id, b.claimed)
        if verdict == "straddles" and desk.side == "hub":
            if not wish.link_up:
                raise holds.unreachable(desk)
            if not lines.release_for(tx, desk, b.site_id, b.resource_id, b.claimed, link_fresh=wish.link_up):
                raise refuse("straddles_line", "This time cannot be sold just now. Please choose another time or try again shortly.")
        (mine if verdict == "mine" else theirs).append(b)
    return mine, theirs


def _sell(tx: Tx, desk: Desk, wish: Wish, parts: list[Booking]) -> list[Booking]:
    dark = not wish.link_up
    sold = [confirm(tx, desk, b, wish.hold_ids.get(b.id, ""), wish.body_hash, dark=dark, stated=wish.stated) for b in parts]
    streams.append(tx, desk, wish.order.site_id, Sold(order=wish.order, bookings=tuple(sold), customer=wish.customer))
    return sold


def confirm(tx: Tx, desk: Desk, b: Booking, hold_id: str, body_hash: str, *, dark: bool = False, stated: bool = False) -> Booking:
    standing.require(tx, desk, b.resource_id, b.start, stated=stated)
    if not (hold_id and holds.use(tx, desk, hold_id, "booking", b)):
        if hold_id:
            holds.drop(tx, desk, hold_id)
        claims.take(tx, desk, b.resource_id, b.claimed, "booking", b.id, stated=stated)
    sold = sold_here(tx, desk, b, dark=dark)
    if b.status == "confirmed" or records.booking(tx, b.id) is None:  # a fresh wish has no row here; what was asked may have one
        records.add_booking(tx, sold, body_hash)
        return sold
    return records.put_booking(tx, sold)


def sold_here(tx: Tx, desk: Desk, b: Booking, *, dark: bool = False) -> Booking:
    """The booking as its seller confirms it: with sale number (pass-1) and PIN (pass-3), and an outage credential where the other side is
    `dark` (pass-4)."""
    return replace(
        b,
        status="confirmed",
        seller=desk.side,
        sale_no=streams.next_sale_no(tx, b.site_id),
        pin=pins.give(tx, desk, b),
        outage_pin=outage_pins.give(tx, desk, b) if dark else "",
        created_at=desk.now(),
    )


def _ask(tx: Tx, desk: Desk, wish: Wish, mine: list[Booking], theirs: list[Booking]) -> list[Booking]:
    """terr-6, terr-10: our parts wait claimed (`pending`), the rest is `requested`; the owner's one answer settles all."""
    answer_by = desk.now() + desk.limits.answer_by_s
    out = {}
    for b in mine:
        lines.refuse_below_waiting(tx, desk, b.resource_id, b.claimed)
        hold_id = wish.hold_ids.get(b.id, "")
        if desk.guard("pending_is_claimed") and not (hold_id and holds.use(tx, desk, hold_id, "pending", b)):
            claims.take(tx, desk, b.resource_id, b.claimed, "pending", b.id)
        out[b.id] = replace(b, status="pending", answer_by=answer_by, created_at=desk.now())
    for b in theirs:
        out[b.id] = replace(b, status="requested", answer_by=answer_by, created_at=desk.now())
    for b in out.values():
        records.add_booking(tx, b, wish.body_hash)
    asked = tuple(out[b.id] for b in theirs)
    hold_id = wish.hold_ids.get(theirs[0].id, "") if len(theirs) == 1 else ""
    streams.append(
        tx,
        desk,
        wish.order.site_id,
        BookingRequest(order=wish.order, bookings=asked, answer_by=answer_by, customer=wish.customer, hold_id=hold_id),
    )
    return [out[b.id] for b in wish.bookings]


def _override(tx: Tx, desk: Desk, wish: Wish) -> list[Booking]:
    """terr-5: in person, staff sell slots by name that the web may have sold. At the site only; the caller checked the right and the reason."""
    if desk.side != "site":
        raise refuse("not_allowed", "Only staff at the facility can override.")
    records.add_order(tx, wish.order)
    sold = []
    for b in wish.bookings:
        claims.take(tx, desk, b.resource_id, b.claimed, "booking", b.id, stated=wish.stated)
        b = replace(sold_here(tx, desk, b), override=True)
        records.add_booking(tx, b, wish.body_hash)
        sold.append(b)
    streams.append(tx, desk, wish.order.site_id, Sold(order=wish.order, bookings=tuple(sold), customer=wish.customer))
    return sold


# ---- cancel
def cancel(tx: Tx, desk: Desk, booking_id: str, *, by: str, reason: str = "") -> tuple[Booking, str]:
    """The customer gives it up. Returns the booking and how far it is: `done`, `cancelling` (own-3) or `asked` (of the owner).

    Has no deadline: what is asked into a cut is decided when it is heard (terr-9). Refuses `booking_not_found`, `already_cancelled`,
    `already_checked_in`, `illegal_move`.
    """
    b = locked.booking(tx, booking_id)
    if b is None:
        raise refuse("booking_not_found", "This booking is not known.")
    standing.require_side(tx, desk, b.site_id, selling=False)
    if b.status in ("cancelled", "cancelling"):
        raise refuse("already_cancelled", "This booking is cancelled already.")
    if b.status in ("declined", "expired"):
        raise refuse("illegal_move", "This booking never became valid, so there is nothing to cancel.")
    if b.status in ("requested", "pending"):
        return _withdraw_order(tx, desk, b), "asked"
    drop_moves_from(tx, desk, b)
    if not lines.owns(tx, desk, b.resource_id, b.start):
        records.put_ask(tx, "cancel", b.site_id, f"cancel|{b.id}", b.id, desk.now())
        streams.append(tx, desk, b.site_id, CancelRequest(booking_id=b.id, by=by, reason=reason))
        return b, "asked"
    return give_up(tx, desk, b, by=by, reason=reason)


def give_up(tx: Tx, desk: Desk, b: Booking, *, by: str, reason: str, replaced_by: str = "") -> tuple[Booking, str]:
    """The owner ends its booking. The site's slots are free at once; the hub's stay claimed until the site has answered (own-3)."""
    a = records.attendance(tx, b.id)
    if a is not None and a.state in ("checked_in", "completed") and desk.guard("checked_in_stays"):
        raise refuse("already_checked_in", "The guest has checked in already.")
    status = "cancelled" if desk.side == "site" else "cancelling"
    # while it may still come back (own-3) it keeps its mark: it lacks the slots then as now
    displaced = b.displaced and status == "cancelling"
    b = records.put_booking(tx, replace(b, status=status, reason=reason, replaced_by=replaced_by, displaced=displaced))
    records.end_conflicts(tx, b.id)
    streams.append(tx, desk, b.site_id, Cancelled(booking_id=b.id, by=by, reason=reason))
    if desk.side == "site" or not desk.guard("free_on_answer"):
        pins.retire(tx, desk, b)
        claims.free(tx, desk, b.id)
    return b, "done" if desk.side == "site" else "cancelling"


def _withdraw_order(tx: Tx, desk: Desk, b: Booking) -> Booking:
    """terr-9: what has been asked is withdrawn, all parts asked with it; the owner frees without fee and answers."""
    open_parts = [p for p in records.bookings_of_order(tx, b.order_id) if p.status in ("requested", "pending") and not p.withdrawn]
    # a move is a question of its own: giving it up touches no other change in the same order
    parts = [p for p in open_parts if p.id == b.id or not (p.replaces or b.replaces)]
    for part in parts:
        if part.status == "requested":
            part = records.put_booking(tx, replace(part, withdrawn=True))
            streams.append(tx, desk, part.site_id, Withdraw(booking_id=part.id, unless_moved=is_change(tx, part)))
        else:
            records.put_booking(tx, replace(part, withdrawn=True, status="cancelled", reason="withdrawn"))
            claims.free(tx, desk, part.id)
    return records.booking(tx, b.id)


def is_change(tx: Tx, b: Booking) -> bool:
    """Asked for in the place of a booking that stands until the answer is yes; giving it up gives up the change alone (own-4)."""
    asked = records.ask(tx, b.id) if b.replaces else None
    return asked is not None and asked[0] == "waiting"


def stood_after_withdrawal(b: Booking, asked: tuple | None) -> bool:
    """A booking that somebody has just given up, with the question about it if there is one: whether it was a change that had been made
    already, so that it stands. Of any other it would be asked, or it would be ended."""
    return b.status == "confirmed" and not b.withdrawn and bool(b.replaces) and asked is None


def drop_moves_from(tx: Tx, desk: Desk, old: Booking) -> None:
    """own-4: the customer cancels the old one while its move is under way: the new one is withdrawn, or given up where we have sold it
    already and the owner of the old one has not heard of it yet."""
    if not desk.guard("withdraw_dead_move"):
        return
    for new_id in records.asks_waiting(tx, "move", old.id) + records.asks_waiting(tx, "moved", old.id):
        records.end_ask(tx, new_id, "refused", "already_cancelled", "The booking was cancelled meanwhile.")
    for new in records.bookings_of_order(tx, old.order_id):
        if new.replaces == old.id:
            take_back(tx, desk, new)


def drop_asked(tx: Tx, desk: Desk, old: Booking) -> None:
    """own-4: what we have asked the other side for in the place of `old`, which is ours to move, is not waited for any more: it is withdrawn,
    and a yes that comes yet is taken back. What the other side moves for us is not touched: it may be done."""
    for new_id in records.asks_waiting(tx, "move", old.id):
        records.end_ask(tx, new_id, "refused", "answer_late", "It was not answered in time.")
        take_back(tx, desk, records.booking(tx, new_id))


# ---- move
def move(tx: Tx, desk: Desk, old_id: str, wish: Wish) -> Booking:
    """Puts one new booking of the same order in the place of the old (B7, B16, own-1, own-4). At no instant the customer holds neither.

    Returns the new booking: `confirmed`, or `requested` while the owner of the old or of the new slots is asked. Refuses as `place` and
    `cancel` do.
    """
    (new,) = wish.bookings
    # an order that came from another facility speaks here of this one: a stream carries nothing else
    wish = replace(wish, order=replace(wish.order, site_id=new.site_id))
    old = records.booking(tx, old_id)
    if old is None:
        raise refuse("booking_not_found", "This booking is not known.")
    for site_id in sorted({old.site_id, new.site_id}):
        standing.require_side(tx, desk, site_id)
    old = records.booking(tx, old_id)  # as it stands now that nobody else can change it
    before = known(tx, desk, wish)
    if before is not None:
        return before[0]
    if old.status != "confirmed":
        code = "already_cancelled" if old.status in ("cancelled", "cancelling") else "illegal_move"
        raise refuse(code, "Only a confirmed booking can be moved.")
    if records.asks_waiting(tx, "move", old.id) or records.asks_waiting(tx, "moved", old.id):
        raise refuse("illegal_move", "A change of this booking is under way already. Please wait for its answer.")
    a = records.attendance(tx, old.id)
    if desk.side == "hub" and a is not None and a.state in ("checked_in", "completed"):
        raise refuse("already_checked_in", "The guest has checked in already.")
    if old.site_id != new.site_id:
        return _move_far(tx, desk, old, wish)
    verdict = lines.verdict(tx, desk, new.resource_id, new.claimed)
    if verdict == "straddles" and desk.side == "hub":
        if not wish.link_up:
            raise holds.unreachable(desk)
        if not lines.release_for(tx, desk, new.site_id, new.resource_id, new.claimed, link_fresh=wish.link_up):
            raise refuse("straddles_line", "This time cannot be sold just now. Please choose another time or try again shortly.")
    if not lines.owns(tx, desk, old.resource_id, old.start):
        return _ask_move(tx, desk, old, wish)
    return move_own(tx, desk, old, wish)


def move_own(tx: Tx, desk: Desk, old: Booking, wish: Wish) -> Booking:
    """We own the old one: the new slots are ours too, or the other side is asked for them (own-4)."""
    (new,) = wish.bookings
    if lines.verdict(tx, desk, new.resource_id, new.claimed) != "mine":
        return _ask_new(tx, desk, old, wish)
    return replace_here(tx, desk, old, new, wish.order, wish.customer, wish.body_hash, dark=not wish.link_up)


def replace_here(
    tx: Tx,
    desk: Desk,
    old: Booking,
    new: Booking,
    order: Order,
    customer: Customer | None = None,
    body_hash: str = "",
    *,
    dark: bool = False,
) -> Booking:
    """own-1: one side owns both. At the site the claim passes over in this transaction; at the hub the union stays claimed until the answer."""
    a = records.attendance(tx, old.id)
    if desk.side == "hub" and a is not None and a.state == "checked_in":
        raise refuse("already_checked_in", "The guest has checked in already.")
    if desk.side == "site" and a is not None and a.state in ("completed", "no_show"):
        raise refuse("illegal_move", "This visit is over.")
    standing.require(tx, desk, new.resource_id, new.start)
    if desk.side == "site":
        freed = claims.drop(tx, old.id)
        claims.take(tx, desk, new.resource_id, new.claimed, "booking", new.id)
    else:
        freed = []
        overlap = [s for s in range(new.claimed.start, new.claimed.end) if new.resource_id == old.resource_id]
        claims.hand_over_slots(tx, new.resource_id, overlap, old.id, "booking", new.id)
        short = claims.take_free(tx, new.resource_id, new.claimed, "booking", new.id)
        if short and desk.guard("claim_is_exclusive"):
            raise refuse("slot_taken", "This time has just been taken.")
    if records.blocks_over(tx, new.resource_id, new.start, new.claimed.end):
        raise refuse("slot_taken", "This bay is out of service at that time.")
    pin = old.pin or pins.give(tx, desk, new)
    pins.move(tx, old, new, pin)
    spare = (outage_pins.give(tx, desk, new) if dark else "") or old.outage_pin
    sale_no = streams.next_sale_no(tx, new.site_id)
    new = replace(new, status="confirmed", seller=desk.side, sale_no=sale_no, pin=pin, outage_pin=spare, created_at=desk.now())
    new = outage_pins.heard(tx, desk, new)
    if records.booking(tx, new.id) is None:
        records.add_booking(tx, new, body_hash)
    else:
        new = records.put_booking(tx, new)
    status = "cancelled" if desk.side == "site" else "cancelling"
    records.put_booking(tx, replace(old, status=status, replaced_by=new.id, reason="moved", displaced=False))
    records.end_conflicts(tx, old.id)
    streams.append(tx, desk, new.site_id, Replaced(old_id=old.id, order=order, booking=new, customer=customer))
    if desk.side == "site":
        from . import attendance

        for resource_id, interval in freed:
            claims.pass_on(tx, desk, resource_id, interval)
        if a is not None and a.state == "checked_in":
            attendance.carry_over(tx, desk, a, new.id)
    return new


def _ask_new(tx: Tx, desk: Desk, old: Booking, wish: Wish) -> Booking:
    """own-4: we own the old one, the new slots are the other side's: ask for them; the old is cancelled when they are confirmed."""
    new = _requested(tx, desk, wish)
    records.put_ask(tx, "move", new.site_id, new.id, old.id, desk.now())
    streams.append(
        tx, desk, new.site_id, BookingRequest(order=wish.order, bookings=(new,), answer_by=new.answer_by, customer=wish.customer)
    )
    return new


def _requested(tx: Tx, desk: Desk, wish: Wish) -> Booking:
    if not wish.link_up and desk.guard("ask_only_when_up"):
        raise holds.unreachable(desk)
    records.add_order(tx, wish.order)
    (new,) = wish.bookings
    new = replace(new, status="requested", answer_by=desk.now() + desk.limits.answer_by_s, created_at=desk.now())
    if records.booking(tx, new.id) is None:
        records.add_booking(tx, new, wish.body_hash)
        return new
    return records.put_booking(tx, new)


def _ask_move(tx: Tx, desk: Desk, old: Booking, wish: Wish) -> Booking:
    """own-4: the other side owns the old one and runs the move."""
    new = _requested(tx, desk, wish)
    records.put_ask(tx, "moved", new.site_id, new.id, old.id, desk.now())
    streams.append(
        tx, desk, old.site_id, MoveRequest(old_id=old.id, order=wish.order, booking=new, answer_by=new.answer_by, customer=wish.customer)
    )
    return new


def _move_far(tx: Tx, desk: Desk, old: Booking, wish: Wish) -> Booking:
    """To another facility: the hub alone knows both, so it takes the new first and then gives up the old, or asks its owner to."""
    if desk.side != "hub":
        raise refuse("hub_unreachable", "A move to another facility is done by the booking centre. Please use the booking page.")
    (new,) = place(tx, desk, wish)
    if new.status == "confirmed":
        finish_move(tx, desk, old, new)
    else:
        records.put_ask(tx, "move", new.site_id, new.id, old.id, desk.now())
    return new


def finish_move(tx: Tx, desk: Desk, old: Booking, new: Booking) -> None:
    """The new one is confirmed: the old goes. Where the guest checked in meanwhile, or cancelled the old, the new one is withdrawn instead."""
    old = locked.booking(tx, old.id)
    records.end_ask(tx, new.id, "done")
    if old.status in ("cancelled", "cancelling") and old.reason == "moved" and old.replaced_by in ("", new.id):
        records.put_booking(tx, replace(old, replaced_by=new.id))  # done before, and forgotten by books that were put back
        return
    if old.status == "confirmed":
        try:
            if lines.owns(tx, desk, old.resource_id, old.start):
                give_up(tx, desk, old, by="move", reason="moved", replaced_by=new.id)
            else:
                records.put_booking(tx, replace(old, replaced_by=new.id))
                records.put_ask(tx, "cancel", old.site_id, f"cancel|{old.id}", old.id, desk.now())
                streams.append(tx, desk, old.site_id, CancelRequest(booking_id=old.id, by="move", reason="moved", replaced_by=new.id))
            return
        except Refused:
            pass  # checked in: the old one stands
    take_back(tx, desk, new)


def take_back(tx: Tx, desk: Desk, new: Booking, reason: str = "withdrawn") -> None:
    """A new booking whose old one stands, or whose customer is gone: freed without fee, by us or by its owner. Where its guest is in the
    bay already it stands."""
    new = locked.booking(tx, new.id)
    if new is None or new.status not in ("confirmed", "requested") or not desk.guard("withdraw_dead_move"):
        return
    if new.status == "confirmed" and lines.owns(tx, desk, new.resource_id, new.start):
        try:
            give_up(tx, desk, new, by="move", reason=reason)
        except Refused:
            pass  # checked in: staff see two
    elif not new.withdrawn:
        new = records.put_booking(tx, replace(new, withdrawn=True))
        streams.append(tx, desk, new.site_id, Withdraw(booking_id=new.id))


# ---- customers, time
def remember_customer(tx: Tx, desk: Desk, c: Customer) -> None:
    """own-6: whole documents by version; the hub's word on a customer that the site made wins by its higher version."""
    records.put_customer(tx, c, only_newer=desk.guard("newer_document"))


def overdue(tx: Tx, desk: Desk) -> list[Booking]:
    """What was asked, was never answered, and is over."""
    return records.bookings_where(tx, f"{records.WAITING} AND status = 'requested' AND past <= :now", {"now": desk.now_slot()})


def expire(tx: Tx, desk: Desk) -> int:
    """terr-9: what was asked and never answered is over when its time is over. Returns how many. Also on a fenced side: an answer that its copy
    has forgotten comes back with the repair, and counts."""
    due = overdue(tx, desk)
    if not due:
        return 0
    locked.sites(tx, (b.site_id for b in due))
    over = overdue(tx, desk)  # again, now that nobody else can change them
    for b in over:
        records.put_booking(tx, replace(b, status="expired"))
    return len(over)
