"""Changing what is booked: cancel, withdraw, reschedule, extend (B7, B16, R8, own-1, own-3, own-4).

Whoever owns the booking decides; where that is the site, and where the site must have heard before slots are free (own-3), the answer waits
a little. Invariant: fees and refunds are judged at the moment of asking (terr-9); a refund is due only once the booking is `cancelled`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from shared.errors import STATUS, Refusal, Refused, refuse
from shared.ledger import frontdesk, locked, old_rows, records, sales, secured, ways
from shared.ledger.frontdesk import Part, Wanted
from shared.model import Booking, Channel, site_of
from shared.runtime.database import Tx
from shared.terms import Refund

from ..store import answers, refunds
from ..store.answers import Answer
from ..store.board import Seen
from .booking import WAITING, Bookings, declined

__all__ = ["Cancelled", "Changes", "Once"]

ANSWERS_KEPT_S = 7 * 86_400


class Cancelled(msgspec.Struct, frozen=True):
    """`outcome`: `cancelled`, or `cancelling` / `asked` while the site has not answered. `refund` is paid when it is cancelled."""

    seen: Seen
    outcome: str
    refund: Refund


class Sought(msgspec.Struct, frozen=True):
    """What is looked for at which facility where a change is refused: `wanted` says it, and which booking would be changed by it."""

    site_id: str
    wanted: Callable[[Tx], tuple[Wanted, Booking | None]]


class Once(msgspec.Struct, frozen=True):
    """A request that carries an Idempotency-Key: whose it is, the key, and a hash of what was asked."""

    scope: str
    key: str
    body_hash: str


class Changes:
    """`count(what)` is told of every change that was made: cancelled, moved, extended."""

    def __init__(self, bookings: Bookings, count: Callable[[str], None]):
        self._bookings, self._count = bookings, count
        self._db, self._desk, self._board = bookings.db, bookings.desk, bookings.board

    # ---- give up
    async def cancel(self, booking_id: str, *, by: str, reason: str = "", once: Once | None = None, only_asked: bool = False) -> Cancelled:
        """Gives a booking up. `only_asked`: a withdrawal, for what has not been answered yet.

        Refuses `booking_not_found`, `already_cancelled`, `already_checked_in`, `illegal_move`, `id_reused` (the key, for something else).
        """

        def run(tx: Tx) -> tuple[Refund, bool]:
            b = self._known(tx, booking_id, locked.booking)  # who asks the same of another replica at once waits, and finds the answer
            if once is not None and (told := answers.find(tx, once.scope, once.key)) is not None:
                if told.body_hash != once.body_hash:
                    raise refuse("id_reused", "This Idempotency-Key was used before for something else.")
                return msgspec.json.decode(told.body, type=Refund), False
            if only_asked and secured.told(tx, self._desk, b).status not in WAITING:
                raise refuse("illegal_move", "Only a booking that has not been answered yet can be withdrawn; cancel this one instead.")
            refund = frontdesk.refund_of(tx, self._desk, self._bookings.houses.of(tx, b.site_id), b)
            sales.cancel(tx, self._desk, booking_id, by=by, reason=reason)
            if b.status not in WAITING:
                refunds.keep(tx, booking_id, refund, self._desk.now())
            if once is not None:
                answers.put(tx, once.scope, once.key, Answer(once.body_hash, 200, records.text(refund)), self._desk.now())
            return refund, True

        refund, fresh = await self._db.write(run)
        if fresh:
            self._count("cancelled")
        seen, outcome = await self._given_up(booking_id)
        return Cancelled(seen, outcome, refund)

    async def _given_up(self, booking_id: str) -> tuple[Seen, str]:
        """Waits for the site's word while it can be heard; refuses where its word was no."""

        def look() -> tuple[Seen, str] | None:
            return self._db.read(lambda tx: self._ended(tx, booking_id))

        found = look()
        if found is None:
            b = self._board.booking(booking_id)
            patience = self._desk.limits.ask_wait_s if self._bookings.links.up(b.site_id) else 0
            found = await self._bookings.waiting.until(look, [("booking", booking_id)], patience) if patience else None
        if found is not None:
            return found
        (seen,) = self._board.see([self._board.booking(booking_id)])
        return seen, "cancelling" if seen.booking.status == "cancelling" else "asked"

    def _ended(self, tx: Tx, booking_id: str) -> tuple[Seen, str] | None:
        b = records.booking(tx, booking_id)
        ask = records.ask(tx, f"cancel|{booking_id}")
        if b.status in ("cancelled", "declined", "expired"):
            return self._board.seen(tx, b), "cancelled"
        if ask is not None and ask[0] == "refused":
            raise refuse(ask[1] if ask[1] in STATUS else "declined", ask[2] or "The facility did not give this booking up.")
        a = records.attendance(tx, booking_id)
        if b.status == "confirmed" and ask is None and a is not None and a.state:
            raise refuse("already_checked_in", "The guest has checked in already.")
        if sales.stood_after_withdrawal(b, ask):
            raise refuse("illegal_move", sales.CHANGE_IS_MADE)
        return None

    def refund(self, booking_id: str) -> Refund:
        """What cancelling now would give back (R8). Changes nothing."""

        def read(tx: Tx) -> Refund:
            b = self._known(tx, booking_id)
            return frontdesk.refund_of(tx, self._desk, self._bookings.houses.of(tx, b.site_id), b)

        return self._db.read(read)

    # ---- move
    async def reschedule(
        self, old_id: str, part: Part, *, channel: Channel, code: str = "", quote: str = "", body_hash: str = ""
    ) -> tuple[Seen, bool]:
        """Another time or bay, at this facility or another. The new booking, `confirmed` or `requested`, and whether it is new.

        Refuses as booking does, and `reschedule_limit`, `already_cancelled`, `illegal_move`.
        """
        site_id = site_of(part.resource_id)
        up = self._bookings.links.up(site_id)

        def wanted(tx: Tx) -> tuple[Wanted, Booking]:
            old = self._known(tx, old_id)
            order = records.order(tx, old.order_id)
            wish = Wanted(
                site_id=site_id, parts=(part,), channel=channel, customer=ways.asker_of(tx, old), order_id=old.order_id, code=code, quote=quote,
                guests=order.guests if order and order.kind == "single" else 1,
            )  # fmt: skip
            return wish, old

        def run(tx: Tx) -> tuple[Booking, bool]:
            house = self._bookings.houses.of(tx, site_id)
            new = frontdesk.reschedule(
                tx, self._desk, house, old_id, wanted(tx)[0], ring=self._bookings.keys.ring, link_up=up, body_hash=body_hash
            )
            return new, bool(tx.events)

        return await self.moved(run, Sought(site_id, wanted), up, "moved")

    async def extend(self, old_id: str, new_id: str, minutes: int, *, channel: Channel, body_hash: str = "") -> tuple[Seen, bool]:
        """The same bay for longer (B16): a new booking of the whole time. As `reschedule`."""
        before = self._board.booking(old_id)
        if before is None:
            raise refuse("booking_not_found", "This booking is not known.")
        up = self._bookings.links.up(before.site_id)

        def run(tx: Tx) -> tuple[Booking, bool]:
            house = self._bookings.houses.of(tx, before.site_id)
            new = frontdesk.extend(tx, self._desk, house, old_id, new_id, minutes, channel=channel, link_up=up, body_hash=body_hash)
            return new, bool(tx.events)

        def wanted(tx: Tx) -> tuple[Wanted, Booking | None]:
            old = self._known(tx, old_id)
            who = Wanted(site_id=old.site_id, parts=(), channel=channel, customer=ways.asker_of(tx, old), order_id=old.order_id)
            return ways.longer(tx, self._desk, old, minutes, who)

        return await self.moved(run, Sought(before.site_id, wanted), up, "extended")

    async def moved(self, run: Callable[[Tx], tuple[Booking, bool]], sought: Sought | None, up: bool, what: str) -> tuple[Seen, bool]:
        """What `run` put in the place of another booking, once its owner has answered, or as it stands when the patience is over; and whether
        it is new. A no comes with the ways out of what was `sought`, where that is said."""
        try:
            new, fresh = await self._db.write(run)
        except Refused as no:
            raise self._with_ways(no.refusal, sought, up) from None
        new = self._board.told(new)
        if new.status in WAITING:
            new = await self._answered(new)
        if new.status == "declined" or (new.status == "cancelled" and new.reason == "declined"):
            raise self._with_ways(self._why(new), sought, up)
        if fresh:
            self._count(what)
        (seen,) = self._board.see([new])
        return seen, fresh

    def _with_ways(self, no: Refusal, sought: Sought | None, up: bool) -> Refused:
        return self._bookings.helped(no, sought.site_id, up, sought.wanted) if sought is not None else Refused(no)

    async def _answered(self, new: Booking) -> Booking:
        def look() -> Booking | None:
            now = self._board.told(self._board.booking(new.id))
            return None if now.status in WAITING else now

        events = [("booking", new.id), ("secured", new.site_id)]
        settled = await self._bookings.waiting.until(look, events, self._desk.limits.ask_wait_s)
        return settled or self._board.told(self._board.booking(new.id))

    def _why(self, new: Booking) -> Refusal:
        """The owner's own words of why the move was refused, where it gave them."""
        ask = self._db.read(lambda tx: records.ask(tx, new.id))
        if ask is not None and ask[1] in STATUS and ask[2]:
            return msgspec.structs.replace(declined(msgspec.structs.replace(new, reason=ask[1])), detail=ask[2])
        return declined(new)

    # ---- what the clock does
    async def expire(self) -> int:
        """terr-9: what was asked and never answered is over when its time is over. Returns how many."""
        return await self._db.write(lambda tx: sales.expire(tx, self._desk))

    async def forget(self) -> int:
        """Lets answers under an Idempotency-Key go after `ANSWERS_KEPT_S`, and rows that no rule asks for any more. Returns how many."""
        return await self._db.write(lambda tx: answers.forget(tx, self._desk.now() - ANSWERS_KEPT_S) + old_rows.forget(tx, self._desk))

    @staticmethod
    def _known(tx: Tx, booking_id: str, read: Callable[[Tx, str], Booking | None] = records.booking) -> Booking:
        found = read(tx, booking_id)
        if found is None:
            raise refuse("booking_not_found", "This booking is not known.")
        return found
