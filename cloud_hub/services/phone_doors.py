"""The door by telephone (D2, D10): a guest presses "open the door" on their booking's page, the site opens it, the page says what came of it.

The hub judges what can be judged here, so that a guest who comes early reads so at once; the site judges everything again, like a check-in at its
kiosk. Not sold as a promise: whatever is amiss, the sentence sends the guest to the PIN. A position is asked for only where the facility wants
people near, is judged and let go. Whether it is its owner's hand that presses, where that is asked: `phone_checks`.
Invariant: only for a booking that stands, within its window; a press is one wish, however often it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import asin, cos, isfinite, radians, sin, sqrt
from typing import Any

import msgspec

from shared import passes, slots
from shared.errors import refuse
from shared.ledger import door_wishes, records
from shared.ledger.desk import Desk
from shared.ledger.door_wishes import Wish
from shared.ledger.frontdesk import House, Houses
from shared.model import Attendance, Booking, Facility
from shared.runtime.database import Database, InlineWriter, Tx

from .link import Links
from .phone_checks import NOT_CONFIRMED, USE_PIN, Asked, PhoneChecks
from .waiting import Waiting

__all__ = ["DoorOffer", "PhoneDoors", "Position", "Wish", "is_near", "metres"]

#: how long what came of a press is news on the page
SHOWN_S = 180
#: a telephone is believed to be up to so much nearer than it says, where it knows its place badly
ACCURACY_MAX_M = 200
EARTH_M = 6_371_000


class Position(msgspec.Struct, frozen=True):
    """Where a telephone says it is: degrees, and within how many metres that is right. Never kept."""

    latitude: float
    longitude: float
    accuracy_m: float = 0.0


class DoorOffer(msgspec.Struct, frozen=True):
    """What the page may offer: `state` is "open" (there is a button), "dark" (the site is not heard: the PIN), or "" (no word of it). `near`: the
    press must say where the telephone is. `wish`: the last press, while it is news. `check`: the press must come with the telephone's answer; `bound_at`:
    since when the order has its telephone, 0 where it has none."""

    state: str
    near: bool = False
    wish: Wish | None = None
    check: bool = False
    bound_at: int = 0

    @property
    def waits(self) -> bool:
        return self.wish is not None and not self.wish.outcome


def metres(a: Position, latitude: float, longitude: float) -> float:
    """The way over the ground between two places, near enough for a car park."""
    lat_a, lat_b = radians(a.latitude), radians(latitude)
    rise, run = (lat_b - lat_a) / 2, radians(longitude - a.longitude) / 2
    part = sin(rise) ** 2 + cos(lat_a) * cos(lat_b) * sin(run) ** 2
    return 2 * EARTH_M * asin(min(1.0, sqrt(part)))


def is_near(facility: Facility, at: Position) -> bool:
    """Whether a telephone that says so is near enough, or may be by what it knows of its place."""
    doubt = min(max(at.accuracy_m, 0.0), ACCURACY_MAX_M) if isfinite(at.accuracy_m) else 0.0
    away = metres(at, facility.latitude, facility.longitude)
    return isfinite(away) and away - doubt <= facility.near_m


class PhoneDoors:
    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, links: Links, waiting: Waiting, checks: PhoneChecks):
        self._db, self._desk, self._houses, self._links, self._waiting, self._checks = db, desk, houses, links, waiting, checks

    # ---- for the page
    def offer(self, house: House, b: Booking, a: Attendance | None) -> DoorOffer:
        """What can be offered now for a booking as it may be told of."""
        if self._no(house, b, a):
            return DoorOffer("")
        now = self._desk.now()
        flows, wishes = self._db.read(lambda tx: (door_wishes.flows(tx, b.site_id), door_wishes.latest(tx, [b.id], now - SHOWN_S)))
        up = flows and self._links.up(b.site_id)
        check = self._checks.wanted(b.site_id)
        phone = self._checks.phone(b.order_id) if check else None
        return DoorOffer(
            "open" if up else "dark", bool(house.facility.near_m), self._seen(wishes.get(b.id)), check, phone.made_at if phone else 0
        )

    def _seen(self, wish: Wish | None) -> Wish | None:
        """A press that nobody has answered in its time is none that anybody still waits for."""
        if wish is None or wish.outcome or self._desk.now() - wish.asked_at <= door_wishes.VALID_S:
            return wish
        return msgspec.structs.replace(wish, outcome="late", detail=f"The facility did not answer in time. {USE_PIN}")

    def _no(self, house: House, b: Booking, a: Attendance | None) -> tuple[str, str] | tuple[()]:
        """Why the door is not to be had by telephone, as code and sentence; nothing where it is."""
        opens_at, closes_at = passes.window(b.start, b.end)
        now, zone = self._desk.now(), house.facility.zone
        seat = house.resources.get(b.seat(a))
        doors = house.facility.door_ids or (seat.door_ids if seat else ())
        if not house.facility.door_by_phone or not doors:
            return "door_not_by_phone", f"The door does not open by telephone here. {USE_PIN}"
        if b.status != "confirmed" or b.withdrawn or (b.displaced and not (a and a.seat)):
            return "illegal_move", "Only a booking that is confirmed, and has its place, opens the door."
        if now < opens_at:
            return "pass_early", f"The door opens for you from {slots.label(zone, opens_at // slots.SLOT_S)}."
        if now >= closes_at or (a and a.state in ("completed", "no_show")):
            return "pass_expired", "This booking is over, so it opens no door any more."
        return ()

    # ---- before the press, where the telephone is to confirm: judged as the press will be, so that nobody confirms for nothing, nor from home
    async def asked(self, b: Booking, at: Position | None) -> Asked:
        """What the telephone is to answer before the press. Refuses as `press` does."""
        self._judge(b, at, True)
        return await self._checks.begin(b)

    async def bound(self, b: Booking, at: Position | None, answer: Mapping[str, Any]) -> Asked:
        """The telephone's new key in, its next question out. Refuses as `press` does."""
        self._judge(b, at, True)
        return await self._checks.bind(b, answer)

    # ---- the press
    async def press(
        self, b: Booking | None, wish_id: str, *, at: Position | None = None, answer: Mapping[str, Any] | None = None, by_phone: bool = True
    ) -> Wish:
        """Asks the site to open, and waits a moment for its answer. The same `wish_id` is one press. `by_phone`: the facility's wish to have people
        near, and their telephone's `answer`, is judged. `b` as it may be told of.

        Refuses `booking_not_found`, `door_not_by_phone`, `illegal_move`, `pass_early`, `pass_expired`, `not_near`, `not_confirmed`,
        `site_unreachable`, `too_many_tries`, `id_reused`.
        """
        if b is None:
            raise refuse("booking_not_found", "This booking is not known.")
        known = self._db.read(lambda tx: door_wishes.one(tx, wish_id))
        if known is None:
            self._judge(b, at, by_phone)
            if by_phone and self._checks.wanted(b.site_id):
                if answer is None:
                    raise refuse("not_confirmed", NOT_CONFIRMED)
                await self._checks.confirm(b, answer)
        wish = await self._db.write(lambda tx: door_wishes.ask(tx, self._desk, wish_id, b.site_id, b.id))
        return self._seen(await self._answered(wish)) or wish

    def _judge(self, b: Booking, at: Position | None, by_phone: bool) -> None:
        def read(tx: Tx) -> tuple[House, Attendance | None]:
            return self._houses.of(tx, b.site_id), records.attendance(tx, b.id)

        house, a = self._db.read(read)
        if no := self._no(house, b, a):
            raise refuse(*no)
        if not self._links.up(b.site_id):
            told = f"{house.facility.name} cannot be reached just now, so the door does not open from here. {USE_PIN}"
            raise refuse("site_unreachable", told, retry_after_s=5)
        if by_phone and house.facility.near_m:
            if at is None:
                raise refuse("not_near", f"The door opens by telephone only near it, and your telephone did not say where it is. {USE_PIN}")
            if not is_near(house.facility, at):
                raise refuse("not_near", f"The door opens by telephone only near it, and your telephone says that it is not. {USE_PIN}")

    async def _answered(self, wish: Wish) -> Wish:
        def look() -> Wish | None:
            now = self._db.read(lambda tx: door_wishes.one(tx, wish.id))
            return now if now is not None and now.outcome else None

        if wish.outcome or self._desk.now() - wish.asked_at > door_wishes.VALID_S:
            return wish
        return await self._waiting.until(look, [("door_wish", wish.id)], self._desk.limits.ask_wait_s) or wish
