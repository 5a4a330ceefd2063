"""The rest of a no-show's time, on sale again (B15): a shorter booking takes the place of the old one (own-1), and stays a no-show (own-2).

At the site, which owns attendance and the hours that run. Not for the rule of where the rest begins (`presence.rest_of`), nor for selling it: it
is free like any other time. Invariant: one transaction; the guest keeps bay, start, PIN and price, and what was said of the visit.
"""

from __future__ import annotations

import msgspec

from .. import presence, slots
from ..errors import Refusal, Refused, refuse
from ..model import Attendance, Booking, Interval
from ..runtime.database import Tx
from . import attendance, frontdesk, lines, locked, records, sales, standing, ways
from .desk import Desk
from .frontdesk import House

JOURNAL = "rest of a no-show on sale"


def rest_of(tx: Tx, desk: Desk, house: House, b: Booking) -> Interval | None:
    """The slots that could be put on sale now; None where there are none, or this side may not."""
    found = _judged(tx, desk, house, b)
    return found if isinstance(found, Interval) else None


def put_on_sale(tx: Tx, desk: Desk, house: House, booking_id: str, *, by: str) -> Booking:
    """Gives the rest of a no-show's time back. Returns the shorter booking that stands in its place; the same again gives the same.

    Refuses `booking_not_found`, `illegal_move` (not a no-show, over, nothing worth selling), `not_mine` for slots that the site does not own, and
    what `standing.may_sell` refuses.
    """
    old = locked.booking(tx, booking_id)
    if old is None:
        raise refuse("booking_not_found", "This booking is not known.")
    before = shorter_of(tx, old)
    if before.reason == presence.REST_ON_SALE:
        return before
    rest = _judged(tx, desk, house, old)
    if isinstance(rest, Refusal):
        raise Refused(rest)
    a = records.attendance(tx, old.id)
    attendance.attend(tx, desk, old.id, "", by=by)  # a visit that is over is not moved
    new = sales.move(tx, desk, old.id, _wish(tx, desk, old, a, rest))
    clock = slots.label(house.facility.zone, rest.start)
    how = "; ".join(one for one in (a.how, f"the rest from {clock} is on sale") if one)
    attendance.attend(tx, desk, new.id, "no_show", by=a.by, how=how, said=a.said)
    records.journal(tx, desk.now(), old.site_id, by, JOURNAL, old.id, f"from {clock}, now {new.id}")
    return new


def shorter_of(tx: Tx, b: Booking) -> Booking:
    """The shorter booking in the place of one whose rest was put on sale: what is said of the visit is said of that. Any other is itself."""
    new = records.booking(tx, b.replaced_by) if b.replaced_by else None
    return new if new is not None and new.reason == presence.REST_ON_SALE else b


def _wish(tx: Tx, desk: Desk, old: Booking, a: Attendance, rest: Interval) -> sales.Wish:
    new = msgspec.structs.replace(
        old, id=desk.new_id(), resource_id=old.seat(a), end=rest.start - old.buffer, replaces=old.id, replaced_by="",
        override=False, reason=presence.REST_ON_SALE, version=1,
    )  # fmt: skip
    return sales.Wish(order=frontdesk.order_of(tx, desk, old), bookings=(new,), customer=records.customer(tx, old.customer_id))


def _judged(tx: Tx, desk: Desk, house: House, b: Booking) -> Interval | Refusal:
    a = records.attendance(tx, b.id)
    if a is None or a.state != "no_show" or b.status != "confirmed" or b.withdrawn or b.displaced:
        return Refusal("illegal_move", "Only where a guest who had a bay did not come, the rest of the time can be sold.")
    if desk.now() >= b.ends_at:
        return Refusal("illegal_move", "This booking is over, so nothing of its time is left to sell.")
    if records.asks_waiting(tx, "move", b.id) or records.asks_waiting(tx, "moved", b.id):
        return Refusal("illegal_move", "A change of this booking is under way already. Please wait for its answer.")
    bay, policy = house.resources.get(b.seat(a)), house.profile.policy
    if bay is None or not bay.active or records.blocks_over(tx, bay.id, b.start, b.end):
        return Refusal("illegal_move", "This bay is not in use, so the rest of the time cannot be sold.")
    rest = presence.rest_of(b, desk.now(), policy, _free_until(tx, desk, house, bay.id, b), zone=house.facility.zone)
    if rest is None:
        return Refusal("illegal_move", "Too little of this time is left to be sold.")
    mine = lines.owns(tx, desk, b.resource_id, b.start) and lines.verdict(tx, desk, bay.id, Interval(b.start, rest.start)) == "mine"
    if desk.side != "site" or not mine:
        return Refusal("not_mine", "The booking centre sells this time, so the rest of it cannot be put on sale here.")
    return standing.may_sell(tx, desk, b.site_id, bay.id, b.start) or rest


def _free_until(tx: Tx, desk: Desk, house: House, resource_id: str, b: Booking) -> int:
    """The slot until which the bay could be had: the booking's time and what is free behind it, as long as the facility is open."""
    policy, end = house.profile.policy, b.claimed.end
    behind = ways.free_between(tx, resource_id, Interval(end, end + (policy.min_min + policy.buffer_min) // slots.SLOT_MIN))
    until = behind[0].end if behind and behind[0].start == end else end
    opened = slots.open_between(policy.hours, resource_id, house.facility.zone, Interval(b.start, until))
    return next((run.end for run in opened if run.end > desk.now_slot()), b.start)
