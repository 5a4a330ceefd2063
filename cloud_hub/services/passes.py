"""Passes as the hub issues them (pass-1, D1): signed facts of a confirmed booking, for its guest to carry.

Invariant: a pass is signed only for a booking that stands, and only with a key that its site has acknowledged; its QR image is not shown
after 30 minutes past the end.
"""

from __future__ import annotations

import msgspec

from shared import passes
from shared.errors import refuse
from shared.ledger.desk import Desk
from shared.model import Booking
from shared.runtime import qr

from .keys import Keys

__all__ = ["Pass", "Passes"]


class Pass(msgspec.Struct, frozen=True):
    """`token` is the text of the QR code; times in unix seconds: doors open `[opens_at, closes_at)`, the image is shown until `shown_until_at`."""

    booking: Booking
    token: str
    opens_at: int
    closes_at: int
    shown_until_at: int


class Passes:
    def __init__(self, desk: Desk, keys: Keys):
        self._desk, self._keys = desk, keys

    def of(self, booking: Booking | None) -> Pass:
        """Refuses `booking_not_found`, `illegal_move` (it does not stand), `pass_expired`, `site_unreachable` (no acknowledged key yet)."""
        if booking is None:
            raise refuse("booking_not_found", "This booking is not known.")
        if booking.status != "confirmed" or booking.withdrawn:
            raise refuse("illegal_move", f"Only a confirmed booking has a pass; this one is {booking.status}.")
        if self._desk.now() >= passes.shown_until(booking.end):
            raise refuse("pass_expired", "This booking is over, so its pass is not shown any more.")
        key = self._keys.to_sign(booking.site_id)
        if key is None:
            raise refuse(
                "site_unreachable", "The facility has not acknowledged this hub's key yet. Please try again in a moment.", retry_after_s=5
            )
        # The same booking gives the same text, and so the same kept picture.
        facts = passes.facts_of(booking, key.id, booking.created_at)
        opens_at, closes_at = passes.window(booking.start, booking.end)
        return Pass(booking, passes.write(facts, key), opens_at, closes_at, passes.shown_until(booking.end))

    def image(self, booking: Booking | None) -> str:
        """The QR code as an SVG element; refuses as `of` does."""
        return qr.svg(self.of(booking).token)
