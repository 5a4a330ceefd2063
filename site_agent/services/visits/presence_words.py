"""What staff read of presence: who came and how that is known, who stayed longer, and who played without a booking.

Not for: deciding or writing. Invariant: nothing is said that is not in the books or was not seen; a guest is told by first name and initial.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from shared import presence, slots
from shared.ledger.frontdesk import House
from shared.model import Attendance, Booking, Interval
from shared.runtime.database import Tx
from site_agent.services import views
from site_agent.services.doors import door_words
from site_agent.store import presence as store
from site_agent.store.presence import Unbooked

#: who concludes, in attendance and journal
BY = "presence"
SHOWN_SLOTS = 48
_VISIT = {"no_show": "{name} did not come: {how}.", "completed": "{name} has left: {how}.", "checked_in": "{name} {how}."}


class Visit(NamedTuple):
    b: Booking
    a: Attendance | None

    @property
    def seat(self) -> str:
        return self.b.seat(self.a)

    @property
    def state(self) -> str:
        return self.a.state if self.a is not None else ""

    @property
    def came(self) -> bool:
        return self.state in ("checked_in", "completed")


class VisitTold(msgspec.Struct, frozen=True):
    """A verdict of the last hours, for staff. `told` says how it is known; `flagged` where the customer has stayed away before, empty otherwise;
    `rest_from`: by the facility's clock, from when on the rest of a no-show's time could be sold, empty where it cannot."""

    booking_id: str
    name: str
    bay: str
    clock: str
    state: str
    told: str
    flagged: str
    rest_from: str


class OvertimeTold(msgspec.Struct, frozen=True):
    """Time used after the end: `cents` with tax, 0 where it is free; `waived`: why staff do not charge it; `going_on`: somebody is still there."""

    booking_id: str
    name: str
    bay: str
    ended: str
    minutes: int
    cents: int
    currency: str
    waived: str
    going_on: bool
    told: str


class UnbookedTold(msgspec.Struct, frozen=True):
    """A bay that was used while nobody had it."""

    id: str
    bay: str
    told: str


class PresencePanel(msgspec.Struct, frozen=True):
    visits: tuple[VisitTold, ...]
    overtime: tuple[OvertimeTold, ...]
    unbooked: tuple[UnbookedTold, ...]


def panel(tx: Tx, house: House, now: int, playing: Callable[[Visit], bool], rest_of: Callable[[Booking], Interval | None]) -> PresencePanel:
    """What was concluded in the last hours, the newest first. `playing(visit)`: whether its guest is in the bay now; `rest_of(booking)`: what could
    be sold again of a no-show's time."""
    slot = now // slots.SLOT_S
    visits = [Visit(*one) for one in store.visits_between(tx, house.facility.id, slot - SHOWN_SLOTS, slot + 8)]
    concluded = sorted((one for one in visits if one.a is not None and one.a.by == BY and one.a.how), key=lambda one: -one.a.at)
    over = [one for one in visits if one.a is not None and one.a.overtime_min]
    return PresencePanel(
        tuple(_visit(tx, house, one, now, rest_of(one.b)) for one in concluded), tuple(_over(house, one, visits, playing(one)) for one in over),
        tuple(_stranger(house, one) for one in store.open_unbooked(tx, now)),
    )  # fmt: skip


def _visit(tx: Tx, house: House, one: Visit, now: int, rest: Interval | None) -> VisitTold:
    b, policy, flagged = one.b, house.profile.policy, ""
    if one.state == "no_show":
        days = policy.presence.no_show_flag_days
        count = store.no_shows_of(tx, b.customer_id, (now - days * 86_400) // slots.SLOT_S)
        flagged = f"Did not come {count} times within {days} days." if presence.is_flagged(count, policy) else ""
    name, clock = door_words.short_name(b.shown_name), views.clock(house.facility.zone, b.start, b.end)
    told = _VISIT.get(one.state, "{name}: {how}.").format(name=name, how=one.a.how)
    rest_from = slots.label(house.facility.zone, rest.start) if rest is not None else ""
    return VisitTold(b.id, name, views.bay(house, one.seat), clock, one.state, told, flagged, rest_from)


def _over(house: House, one: Visit, visits: list[Visit], going_on: bool) -> OvertimeTold:
    b, a, zone = one.b, one.a, house.facility.zone
    name, bay = door_words.short_name(b.shown_name), views.bay(house, one.seat)
    told = f"{name} {'has been' if going_on else 'was'} in {bay} for {a.overtime_min} minutes after the end."
    following = min((x.b.start for x in visits if x.seat == one.seat and x.b.start >= b.end), default=None)
    if going_on and following is not None:
        told += f" The next guest comes at {slots.label(zone, following)}."
    currency = house.profile.tariff.currency
    return OvertimeTold(b.id, name, bay, slots.label(zone, b.end), a.overtime_min, a.overtime_cents, currency, a.waived, going_on, told)


def door_told(house: House, at: int, how: str, door_id: str, name_of: Callable[[str], str]) -> str:
    """How and where somebody came in: "by PIN at 18:02, front door"."""
    door = door_words.door_name(name_of(door_id))
    return f"{door_words.MEANS.get(how, f'by {how}')} at {door_words.clock(house.facility.zone, at)}, {door[:1].lower()}{door[1:]}"


def _stranger(house: House, row: Unbooked) -> UnbookedTold:
    bay, zone = views.bay(house, row.resource_id), house.facility.zone
    since, until = door_words.clock(zone, row.from_at), door_words.clock(zone, row.until_at)
    return UnbookedTold(row.id, bay, f"{bay} was played from {since} to {until}, and nobody had booked it.")
