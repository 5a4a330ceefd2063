"""Attendance: checked in, completed, no-show, and where the guest was reseated. The site's own document, whoever owns the slots (own-2)."""

from __future__ import annotations

import msgspec

from ..errors import refuse
from ..messages import AttendanceStated, PassSeen
from ..model import Attendance, Booking, Interval
from ..runtime.database import Tx
from . import claims, locked, records, streams
from .desk import Desk

replace = msgspec.structs.replace
#: '' -> checked_in -> completed; '' -> no_show; staff have the last word, so a no-show may still arrive and a check-in be taken back
LEGAL = {
    "": ("checked_in", "no_show"),
    "checked_in": ("completed", ""),
    "no_show": ("checked_in", ""),
    "completed": ("checked_in",),
}


def attend(tx: Tx, desk: Desk, booking_id: str, state: str, *, by: str, how: str = "", said: bool = False) -> Attendance:
    """Moves a booking's attendance on. `how` it is known; `said`: by staff, whose word no machine changes; a guest who checks in after it has come.

    Refuses `booking_not_found`, `illegal_move`, `already_checked_in`, `displaced`. The same again changes nothing, but for a first word of staff.
    """
    b = locked.booking(tx, booking_id)
    if b is None:
        raise refuse("booking_not_found", "This booking is not known.")
    a = records.attendance(tx, booking_id) or Attendance(booking_id=b.id, site_id=b.site_id, version=0)
    if a.state == state:
        return _write(tx, desk, replace(a, by=by, how=how, said=True)) if said and not a.said else a
    if b.status not in ("confirmed", "cancelling"):
        raise refuse("illegal_move", f"This booking is {b.status}, so nobody can be checked in or out on it.")
    if state not in LEGAL[a.state]:
        raise refuse("illegal_move", f"A visit that is {a.state.replace('_', ' ') or 'not begun'} cannot become {state.replace('_', ' ')}.")
    if state == "checked_in" and b.withdrawn:
        raise refuse("already_cancelled", "This booking has been given up; its owner is being told.")
    if state == "checked_in" and b.displaced and not a.seat:
        raise refuse("displaced", "This bay is not free for you: please see the other times and bays offered, or call for help.")
    return _write(tx, desk, replace(a, state=state, at=desk.now(), by=by, how=how, said=said))


def over(tx: Tx, desk: Desk, booking_id: str, minutes: int, cents: int) -> Attendance:
    """Notes time used after the end and what it costs (B21). The same again changes nothing. Refuses `booking_not_found`, `illegal_move` for a
    guest who has not come."""
    a = _visit(tx, booking_id)
    if (a.overtime_min, a.overtime_cents) == (minutes, cents):
        return a
    return _write(tx, desk, replace(a, overtime_min=minutes, overtime_cents=cents))


def waive(tx: Tx, desk: Desk, booking_id: str, why: str) -> Attendance:
    """Staff do not charge the time used after the end, for this reason; without one they do after all. Refuses `booking_not_found`, `illegal_move`."""
    a = _visit(tx, booking_id)
    if not a.overtime_min:
        raise refuse("illegal_move", "No time after the end is noted for this visit.")
    return a if a.waived == why else _write(tx, desk, replace(a, waived=why))


def _visit(tx: Tx, booking_id: str) -> Attendance:
    if locked.booking(tx, booking_id) is None:
        raise refuse("booking_not_found", "This booking is not known.")
    a = records.attendance(tx, booking_id)
    if a is None or a.state not in ("checked_in", "completed"):
        raise refuse("illegal_move", "This guest has not come.")
    return a


def _write(tx: Tx, desk: Desk, a: Attendance) -> Attendance:
    a = records.put_attendance(tx, replace(a, version=a.version + 1))
    b = records.booking(tx, a.booking_id)
    tx.tell("resource", a.seat or b.resource_id)
    streams.append(tx, desk, a.site_id, AttendanceStated(attendance=a))
    return a


def carry_over(tx: Tx, desk: Desk, a: Attendance, new_id: str) -> Attendance:
    """A guest in the bay whose booking is extended or moved stays checked in, on the new booking, whose own bay is the one they are in now."""
    new = replace(a, booking_id=new_id, seat="", at=desk.now(), overtime_min=0, overtime_cents=0, waived="", version=0)
    return _write(tx, desk, new)


def reseat(tx: Tx, desk: Desk, booking_id: str, resource_id: str, *, by: str) -> Attendance:
    """block-2: from 30 min before the start the site alone gives a displaced booking another bay of its own, as an attendance fact.

    Refuses `illegal_move` before that or for a booking that is not displaced, `not_mine` for slots the site does not own, `slot_taken`.
    """
    from . import lines, sales

    b = locked.booking(tx, booking_id)
    if b is None:
        raise refuse("booking_not_found", "This booking is not known.")
    if not b.displaced:
        raise refuse("illegal_move", "This booking has its bay; there is nothing to reseat.")
    if desk.now() < b.starts_at - desk.limits.displace_local_min * 60:
        raise refuse("illegal_move", f"A bay can be given here from {desk.limits.displace_local_min} minutes before the start.")
    if lines.verdict(tx, desk, resource_id, b.claimed) != "mine":
        raise refuse("not_mine", "That bay is not the facility's to give at this time.")
    if records.blocks_over(tx, resource_id, b.claimed.start, b.claimed.end):
        raise refuse("slot_taken", "That bay is out of service at that time.")
    sales.drop_asked(tx, desk, b)
    claims.drop(tx, b.id)
    claims.take(tx, desk, resource_id, b.claimed, "booking", b.id)
    a = records.attendance(tx, b.id) or Attendance(booking_id=b.id, site_id=b.site_id, version=0)
    a = _write(tx, desk, replace(a, seat=resource_id, by=by, at=desk.now()))
    _seated(tx, desk, b)
    return a


def unseat(tx: Tx, desk: Desk, booking_id: str, *, by: str) -> None:
    """The bay that the guest was given goes out of service before they came: they have their own again, or are displaced once more (block-2)."""
    a = records.attendance(tx, booking_id)
    _write(tx, desk, replace(a, seat="", by=by, at=desk.now()))
    _leave_seat(tx, desk, booking_id)


def _leave_seat(tx: Tx, desk: Desk, booking_id: str) -> None:
    freed = claims.drop(tx, booking_id)
    claims.seat(tx, desk, records.booking(tx, booking_id))
    for resource_id, interval in freed:
        claims.pass_on(tx, desk, resource_id, interval)


def _seated(tx: Tx, desk: Desk, b: Booking) -> None:
    records.put_booking(tx, replace(records.booking(tx, b.id), displaced=False))
    records.end_conflicts(tx, b.id)
    claims.pass_on(tx, desk, b.resource_id, b.claimed)


def apply(tx: Tx, desk: Desk, message: AttendanceStated) -> None:
    take_newer(tx, desk, message.attendance)


def take_newer(tx: Tx, desk: Desk, a: Attendance) -> None:
    """The newer document is taken (own-6); a new seat, or the loss of one, moves the claims with it."""
    known = records.attendance(tx, a.booking_id)
    if known is not None and known.version >= a.version and desk.guard("newer_document"):
        return
    records.put_attendance(tx, a, older_too=not desk.guard("newer_document"))
    b = records.booking(tx, a.booking_id)
    if b is not None and a.seat and a.seat != (known.seat if known else ""):
        claims.drop(tx, b.id)
        claims.take_free(tx, a.seat, b.claimed, "booking", b.id)
        _seated(tx, desk, b)
    elif b is not None and known is not None and known.seat and not a.seat and b.status in ("confirmed", "cancelling"):
        _leave_seat(tx, desk, b.id)


def admit(tx: Tx, desk: Desk, copy: Booking) -> Booking:
    """pass-2: a good pass of an unknown booking enters the books and goes up. Of two for one slot the higher sale number is seated.

    The caller (`passes.may_enter`) has judged the pass. Returns the booking as stored.
    """
    streams.lock(tx, copy.site_id)
    known = records.booking(tx, copy.id)
    if known is not None:
        return known
    streams.heard_sale_no(tx, desk, copy.site_id, copy.sale_no)
    records.add_booking(tx, copy)
    for other in _lower(tx, copy):
        claims.hand_over_slots(tx, copy.resource_id, list(range(copy.start, copy.claimed.end)), other.id, "booking", copy.id)
        from . import blocks

        blocks.mark(tx, desk, other, True, [copy.id])
    copy = claims.seat(tx, desk, copy)
    streams.append(tx, desk, copy.site_id, PassSeen(booking=copy))
    return copy


def _lower(tx: Tx, copy: Booking) -> list[Booking]:
    """Bookings on the pass's slots that give way to it: with a lower sale number, or an override (terr-5), whose guest has not checked in."""
    out = []
    for ref in sorted({ref for _, kind, ref in claims.holders(tx, copy.resource_id, copy.claimed) if kind == "booking"}):
        other, a = records.booking(tx, ref), records.attendance(tx, ref)
        beaten = other is not None and (other.sale_no < copy.sale_no or (other.override and copy.seller == "hub"))
        if beaten and not (a and a.state == "checked_in"):
            out.append(other)
    return out


def seated_sale_no(tx: Tx, resource_id: str, interval: Interval, besides: str) -> int | None:
    """The highest sale number seated on these slots, apart from the booking itself: not the displaced, nor an override nobody came for (pass-2)."""
    numbers = []
    for ref in sorted({ref for _, kind, ref in claims.holders(tx, resource_id, interval) if kind == "booking" and ref != besides}):
        other, a = records.booking(tx, ref), records.attendance(tx, ref)
        arrived = a is not None and a.state == "checked_in"
        if other is not None and not other.displaced and (arrived or not other.override):
            numbers.append(other.sale_no)
    return max(numbers, default=None)
