"""A message of the link to the function that applies it, on either side (protocol stream-2, -6, -8). One table; the rest is in the rooms.

`apply` runs inside the transaction that also moves the inbox position. It raises only for a bug or for a message that does not belong to
this site's stream; the pump then keeps the row and stops the stream there.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from .. import messages as m
from ..errors import Broken
from ..model import Booking, site_of
from ..runtime.database import Tx
from . import (
    attendance,
    blocks,
    claims,
    digests,
    door_codes,
    door_wishes,
    holds,
    lines,
    notices,
    outage_pins,
    pins,
    records,
    repair,
    rule_hits,
    sales,
    settle,
    site_alarms,
    streams,
)
from .desk import Desk

replace = msgspec.structs.replace


class From(msgspec.Struct, frozen=True):
    """Where a message came from: the site whose stream it is, and whether that link is fresh now (for terr-4)."""

    site_id: str
    link_fresh: bool = True


def apply(tx: Tx, desk: Desk, message: m.Message, origin: From) -> None:
    _belongs(message, origin.site_id)
    HANDLERS[type(message)](tx, desk, message, origin)


def _belongs(message: m.Message, site_id: str) -> None:
    """A site speaks of itself only: whatever its stream names must be its own."""
    named: list[str] = []
    for field in ("order", "booking", "hold", "block", "attendance", "notice", "alarm"):
        value = getattr(message, field, None)
        if value is not None:
            named.append(value.site_id)
        resource_id = getattr(value, "resource_id", "")
        if resource_id:
            named.append(site_of(resource_id))
    for b in getattr(message, "bookings", ()):
        named += [b.site_id, site_of(b.resource_id)]
    if getattr(message, "resource_id", ""):
        named.append(site_of(message.resource_id))
    if isinstance(message, m.ResourceStated):
        named.append(site_of(message.resource.id))
    if isinstance(message, m.FacilityStated):
        named.append(message.facility.id)
    if any(n != site_id for n in named):
        raise Broken(f"{type(message).__name__} speaks of another facility")


def _document(tx: Tx, desk: Desk, kind: str, doc_id: str, origin: From, version: int, body: str) -> None:
    """own-6: a whole document in place of an older one."""
    known, guarded = records.document(tx, kind, doc_id), desk.guard("newer_document")
    if known is None or known[0] < version or not guarded:
        records.put_document(tx, kind, doc_id, origin.site_id, version, body, older_too=not guarded)


def resource_stated(tx: Tx, desk: Desk, x: m.ResourceStated, origin: From) -> None:
    r = x.resource
    _document(tx, desk, "resource", r.id, origin, r.version, records.text(r))
    lines.begin(tx, origin.site_id, r.id, x.line)
    tx.tell("resource", r.id)


def facility_stated(tx: Tx, desk: Desk, x: m.FacilityStated, origin: From) -> None:
    _document(tx, desk, "facility", x.facility.id, origin, x.facility.version, records.text(x.facility))


def profile_stated(tx: Tx, desk: Desk, x: m.ProfileStated, origin: From) -> None:
    _document(tx, desk, "profile", origin.site_id, origin, x.version, bytes(x.profile).decode())


def sold(tx: Tx, desk: Desk, x: m.Sold, origin: From) -> None:
    records.add_order(tx, x.order)
    if x.customer is not None:
        sales.remember_customer(tx, desk, x.customer)
    for b in x.bookings:
        settle.take_in(tx, desk, b)
        settle.end_moved(tx, b.id, "done")


def replaced(tx: Tx, desk: Desk, x: m.Replaced, origin: From) -> None:
    """own-1: at the hub the site's word; at the site a wish that a checked-in guest overrules (own-3)."""
    records.add_order(tx, x.order)
    if x.customer is not None:
        sales.remember_customer(tx, desk, x.customer)
    old = records.booking(tx, x.old_id)
    if desk.side == "site" and _in_the_bay(tx, desk, x.old_id):
        _never_seated(tx, desk, x.booking)
        refused = m.CancelRefused(booking_id=x.old_id, code="already_checked_in", detail="The guest has checked in already.")
        streams.append(tx, desk, origin.site_id, refused)
        return
    if desk.side == "site" and old is not None and (old.status, old.reason) == ("cancelled", "already_checked_in"):
        # moved on by a hub that has not heard yet that the first move was refused: there is nothing to move
        _never_seated(tx, desk, x.booking)
        streams.append(tx, desk, origin.site_id, m.CancelDone(booking_id=x.old_id))
        return
    freed = claims.drop(tx, x.old_id)
    if old is not None:
        records.put_booking(tx, replace(old, status="cancelled", replaced_by=x.booking.id, reason="moved", displaced=False))
        records.end_conflicts(tx, old.id)
    settle.take_in(tx, desk, x.booking)
    for resource_id, interval in freed:
        claims.pass_on(tx, desk, resource_id, interval)
    settle.end_moved(tx, x.booking.id, "done")
    if desk.side == "site":
        streams.append(tx, desk, origin.site_id, m.CancelDone(booking_id=x.old_id))


def _in_the_bay(tx: Tx, desk: Desk, booking_id: str) -> bool:
    a = records.attendance(tx, booking_id)
    return a is not None and a.state in ("checked_in", "completed") and desk.guard("checked_in_stays")


def _never_seated(tx: Tx, desk: Desk, b: Booking) -> None:
    """What was to replace a booking whose guest is in the bay: known, and cancelled from the first."""
    if _in_the_bay(tx, desk, b.id):
        settle.take_in(tx, desk, b)  # its guest came with a pass: two are in, and the owner hears so when it cancels one
        return
    never = replace(b, status="cancelled", displaced=False, reason="already_checked_in")
    if records.booking(tx, b.id) is None:
        records.add_booking(tx, never)
        return
    records.put_booking(tx, never)  # we had asked for this move, or seen its pass
    records.end_conflicts(tx, b.id)
    claims.free(tx, desk, b.id)
    settle.end_moved(tx, b.id, "refused", "already_checked_in", "The guest has checked in already.")


def cancelled(tx: Tx, desk: Desk, x: m.Cancelled, origin: From) -> None:
    """The owner gave it up. At the site the answer frees the hub's slots, unless the guest is in the bay (own-3)."""
    b = records.booking(tx, x.booking_id)
    if desk.side == "site" and _in_the_bay(tx, desk, x.booking_id):
        streams.append(
            tx,
            desk,
            origin.site_id,
            m.CancelRefused(booking_id=x.booking_id, code="already_checked_in", detail="The guest has checked in already."),
        )
        return
    if b is not None and b.status != "cancelled":
        successor = b.replaced_by or (_successor(tx, b) if x.reason == "moved" else "")
        b = records.put_booking(tx, replace(b, status="cancelled", reason=x.reason, replaced_by=successor, displaced=False))
        records.end_conflicts(tx, b.id)
        pins.retire(tx, desk, b)
        claims.free(tx, desk, b.id)
        settle.end_cancel_asked(tx, b, "done")
        _withdraw_moves(tx, desk, b)
    if desk.side == "site":
        streams.append(tx, desk, origin.site_id, m.CancelDone(booking_id=x.booking_id))


def _successor(tx: Tx, old: Booking) -> str:
    """What has taken its place: the message does not say so, but where it was sold across the line (own-4) we sold it, or have heard of it before."""
    sold = [x for x in records.bookings_of_order(tx, old.order_id) if x.replaces == old.id and x.sale_no and not x.withdrawn]
    return max(sold, key=lambda x: (x.status == "confirmed", x.sale_no)).id if sold else ""


def _withdraw_moves(tx: Tx, desk: Desk, old) -> None:
    """A move under way whose old booking was cancelled by its owner meanwhile: the new one is not wanted any more (own-4)."""
    if old.reason != "moved":
        sales.drop_moves_from(tx, desk, old)


def pass_seen(tx: Tx, desk: Desk, x: m.PassSeen, origin: From) -> None:
    if records.booking(tx, x.booking.id) is None:
        settle.take_in(tx, desk, x.booking)


def customer_merged(tx: Tx, desk: Desk, x: m.CustomerMerged, origin: From) -> None:
    tx.run(
        "INSERT INTO aliases (old_id, new_id) VALUES (:o, :n) ON CONFLICT (old_id) DO UPDATE SET new_id = excluded.new_id",
        {"o": x.old_id, "n": x.new_id},
    )


def out_of_place(tx: Tx, desk: Desk, x: m.Message, origin: From) -> None:
    """The pump keeps a snapshot's rows until the last; one that comes at any other time belongs to no repair."""
    raise Broken("a row of a snapshot outside a repair")


def released(tx: Tx, desk: Desk, x: m.Released, origin: From) -> None:
    """terr-3, and the spare PINs that nobody can be given any more (pass-4)."""
    lines.apply_release(tx, desk, x)
    outage_pins.below_line(tx, desk, x.resource_id, x.line)


def machine_told(tx: Tx, desk: Desk, x: m.MachineTold, origin: From) -> None:
    """A hint that nothing depends on: whoever looks after machines is told after the commit, and no row is kept."""
    if desk.side == "site":
        tx.tell("machine_told", x.machine_id)


Handler = Callable[[Tx, Desk, m.Message, From], None]
HANDLERS: dict[type[m.Message], Handler] = {
    m.ResourceStated: resource_stated,
    m.FacilityStated: facility_stated,
    m.ProfileStated: profile_stated,
    m.Released: released,
    m.PinsLeased: lambda tx, desk, x, o: pins.leased(tx, o.site_id, x),
    m.PinGiven: lambda tx, desk, x, o: pins.given(tx, x),
    m.CustomerStated: lambda tx, desk, x, o: sales.remember_customer(tx, desk, x.customer),
    m.CustomerMerged: customer_merged,
    m.Sold: sold,
    m.Replaced: replaced,
    m.Cancelled: cancelled,
    m.CancelDone: lambda tx, desk, x, o: settle.cancel_done(tx, desk, x),
    m.CancelRefused: lambda tx, desk, x, o: settle.cancel_refused(tx, desk, x),
    m.BookingRequest: lambda tx, desk, x, o: settle.decide_booking(tx, desk, x, link_fresh=o.link_fresh),
    m.BookingConfirmed: lambda tx, desk, x, o: settle.confirmed(tx, desk, x),
    m.BookingDeclined: lambda tx, desk, x, o: settle.declined(tx, desk, x),
    m.NotMine: lambda tx, desk, x, o: settle.not_mine(tx, desk, x, o.site_id, link_fresh=o.link_fresh),
    m.Withdraw: lambda tx, desk, x, o: settle.decide_withdraw(tx, desk, x, o.site_id),
    m.CancelRequest: lambda tx, desk, x, o: settle.decide_cancel(tx, desk, x, o.site_id),
    m.MoveRequest: lambda tx, desk, x, o: settle.decide_move(tx, desk, x, o.site_id),
    m.Displaced: lambda tx, desk, x, o: blocks.apply_displaced(tx, desk, x),
    m.HoldRequest: lambda tx, desk, x, o: holds.decide(tx, desk, x),
    m.HoldGranted: lambda tx, desk, x, o: holds.granted(tx, x),
    m.HoldDeclined: lambda tx, desk, x, o: holds.declined(tx, x),
    m.HoldDropped: lambda tx, desk, x, o: holds.drop(tx, desk, x.hold_id),
    m.HoldProlonged: lambda tx, desk, x, o: holds.prolong_for_peer(tx, desk, x),
    m.BlockStated: lambda tx, desk, x, o: blocks.apply(tx, desk, x),
    m.BlockRequest: lambda tx, desk, x, o: blocks.decide(tx, desk, x),
    m.AttendanceStated: lambda tx, desk, x, o: attendance.apply(tx, desk, x),
    m.PassSeen: pass_seen,
    m.SnapshotMerged: lambda tx, desk, x, o: repair.merged_by_site(tx, desk, o.site_id),
    m.SaleFound: lambda tx, desk, x, o: repair.found(tx, desk, x, o.site_id),
    **dict.fromkeys((m.SnapshotBegun, m.SnapshotPart, m.SnapshotEnded), out_of_place),
    m.DigestStated: lambda tx, desk, x, o: digests.compare(tx, desk, x, o.site_id),
    m.DigestCompared: lambda tx, desk, x, o: digests.compared(tx, desk, x, o.site_id),
    m.RowsStated: lambda tx, desk, x, o: digests.answer(tx, desk, x, o.site_id),
    m.Resent: lambda tx, desk, x, o: digests.resent(tx, desk, x, o.site_id),
    m.OutagePinsLeased: lambda tx, desk, x, o: outage_pins.take(tx, desk, x, o.site_id),
    m.OutagePinsEnded: lambda tx, desk, x, o: outage_pins.ended(tx, desk, x, o.site_id),
    m.OutagePinUsed: lambda tx, desk, x, o: outage_pins.hear_use(tx, desk, x, o.site_id),
    m.NoticeStated: lambda tx, desk, x, o: notices.apply(tx, desk, x),
    m.RuleHitsStated: lambda tx, desk, x, o: rule_hits.apply(tx, desk, x, o.site_id),
    m.OpenDoor: lambda tx, desk, x, o: door_wishes.hear(tx, desk, x, o.site_id),
    m.DoorAnswered: lambda tx, desk, x, o: door_wishes.answered(tx, desk, x, o.site_id),
    m.DoorCode: lambda tx, desk, x, o: door_codes.take(tx, desk, x, o.site_id),
    m.MachineTold: machine_told,
    m.AlarmStated: lambda tx, desk, x, o: site_alarms.apply(tx, desk, x),
    m.BooksDiffer: lambda tx, desk, x, o: digests.differ(tx, desk, x, o.site_id),
}
