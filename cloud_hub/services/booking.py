"""Booking at the hub: one transaction decides, and where the site must be asked the answer waits a little for it (terr-6).

What it is not: rules, prices or claims (the front desk and the ledger), nor HTTP. Invariant: whatever this answers is durable, and a retry
of the same request gets the same answer and never a second booking.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from shared import rules, territory
from shared.errors import STATUS, Refusal, Refused, refuse
from shared.ledger import claims, frontdesk, lines, records, ways
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses, Part, Quoted, Wanted
from shared.model import Booking, Channel, Customer, Frozen, Interval, site_of
from shared.runtime.database import Database, InlineWriter, Tx

from ..store.board import Board, Seen
from .keys import Keys
from .link import Links
from .waiting import Waiting

__all__ = ["Ask", "Booked", "Bookings", "Checked", "Part", "Seen"]

WAITING = ("requested", "pending")
#: refusals that another time or bay could mend, so ways out are looked for
MENDABLE = frozenset(
    {
        "slot_taken", "slot_being_released", "straddles_line", "site_unreachable", "rules_violated", "declined", "answer_late",
        "outside_hours", "displaced", "bay_halted",
    }
)  # fmt: skip
#: what a person is told of the owner's no
DECLINED = {
    "slot_taken": "This time has just been taken.",
    "answer_late": "The facility could not be reached in time, so nothing was booked.",
    "fenced": "The facility is being repaired and sells nothing just now.",
    "retired": "The facility's system has just been replaced. Please try again in a few minutes.",
    "below_floor": "The facility has been repaired, and its staff have still to say what was sold at this time. Please choose a later time.",
    "clock_untrusted": "The facility sells nothing until its staff have confirmed its clock.",
    "bay_halted": "This bay is not sold just now. Please choose another.",
}
NOBODY = Customer(id="", name="")


class Ask(Frozen):
    """What somebody wants, as the edge understood it. `channel` is what the edge knows of the asker, never what the asker says.

    The customer is `customer_id`, or is found (or made) by name and contact; an ask without either is of nobody in particular (quotes).
    """

    parts: tuple[Part, ...]
    channel: Channel
    customer_id: str = ""
    name: str = ""
    phone: str = ""
    email: str = ""
    order_id: str = ""
    guests: int = 1
    code: str = ""
    quote: str = ""
    notes: str = ""
    shown_name: str = ""

    @property
    def site_id(self) -> str:
        return site_of(self.parts[0].resource_id)


class Booked(msgspec.Struct, frozen=True):
    """`made` in the order of the parts. `fresh` is False where the ids were known already: the answer of then, as it stands now."""

    made: tuple[Seen, ...]
    fresh: bool

    @property
    def waiting(self) -> bool:
        return any(seen.booking.status in WAITING for seen in self.made)


class Checked(msgspec.Struct, frozen=True):
    """Whether an interval could be had. `how`: `instant`, `ask_site`, `unreachable`, `taken` or `refused` (see the violations)."""

    how: str
    quoted: Quoted


class Bookings:
    """`count(outcome)` is told of every booking: confirmed, requested, declined, refused, repeated."""

    def __init__(
        self, *, db: Database | InlineWriter, desk: Desk, houses: Houses, board: Board, links: Links, keys: Keys, waiting: Waiting,
        count: Callable[[str], None],
    ):  # fmt: skip
        self.db, self.desk, self.houses, self.board = db, desk, houses, board
        self.links, self.keys, self.waiting, self._count = links, keys, waiting, count

    # ---- book
    async def book(self, ask: Ask, body_hash: str = "") -> Booked:
        """Sells or asks. Comes back `confirmed`, or `requested` where the site, or the second machine that is to hold it (loss-7), has not
        answered within `ask_wait_s`.

        Refuses what the front desk refuses, with ways out, and what the site declines.
        """
        site_id = ask.site_id
        up = self.links.up(site_id)

        def run(tx: Tx) -> tuple[tuple[Seen, ...], bool]:
            house = self.houses.of(tx, site_id)
            wanted = self._wanted(tx, ask, house)
            made = frontdesk.book(tx, self.desk, house, wanted, ring=self.keys.ring, link_up=up, body_hash=body_hash)
            # A known request writes nothing, and what writes nothing tells nothing.
            fresh = bool(tx.events)
            return tuple(self.board.seen(tx, b, attended=not fresh) for b in made), fresh

        try:
            made, fresh = await self.db.write(run)
        except Refused as no:
            self._count("refused")
            raise self.with_ways(no.refusal, ask, up) from None
        if any(seen.booking.status in WAITING for seen in made):
            made = await self._answered(made)
        self._refuse_declined(made, ask, up)
        self._count("repeated" if not fresh else made[0].booking.status)
        return Booked(made, fresh)

    def _wanted(self, tx: Tx, ask: Ask, house: House) -> Wanted:
        for part in ask.parts:
            if site_of(part.resource_id) != house.facility.id:
                raise refuse("bad_request", "All bays of one booking belong to one facility.")
        return Wanted(
            site_id=house.facility.id, parts=ask.parts, channel=ask.channel, customer=self._customer(tx, ask), order_id=ask.order_id,
            guests=ask.guests, code=ask.code, quote=ask.quote, notes=ask.notes, shown_name=ask.shown_name,
        )  # fmt: skip

    def _customer(self, tx: Tx, ask: Ask) -> Customer:
        if not (ask.customer_id or ask.name or ask.phone or ask.email):
            return NOBODY
        return frontdesk.customer_of(tx, self.desk, name=ask.name, phone=ask.phone, email=ask.email, customer_id=ask.customer_id)

    async def _answered(self, made: tuple[Seen, ...]) -> tuple[Seen, ...]:
        """The order once its owner has settled it, or as it stands when the patience is over."""
        ids = [seen.booking.id for seen in made]

        def look() -> tuple[Seen, ...] | None:
            now = self.db.read(lambda tx: tuple(self.board.seen(tx, records.booking(tx, i)) for i in ids))
            return None if any(seen.booking.status in WAITING for seen in now) else now

        events = [("booking", i) for i in ids] + [("secured", made[0].booking.site_id)]
        settled = await self.waiting.until(look, events, self.desk.limits.ask_wait_s)
        return settled or self.db.read(lambda tx: tuple(self.board.seen(tx, records.booking(tx, i)) for i in ids))

    def _refuse_declined(self, made: tuple[Seen, ...], ask: Ask, up: bool) -> None:
        no = next((seen.booking for seen in made if seen.booking.status == "declined"), None)
        if no is None:
            return
        self._count("declined")
        raise self.with_ways(declined(no), ask, up)

    def with_ways(self, refusal: Refusal, ask: Ask, up: bool) -> Refused:
        """The refusal with the next priced alternatives (B13), where another time or bay could help."""
        mendable = refusal.code in MENDABLE or any(v.code in MENDABLE for v in refusal.violations)
        if refusal.suggestions or not mendable:
            return Refused(refusal)

        def read(tx: Tx):
            house = self.houses.of(tx, ask.site_id)
            return ways.out(tx, self.desk, house, self._wanted(tx, ask, house), link_up=up)

        try:
            found = self.db.read(read)
        except Refused:
            return Refused(refusal)
        return Refused(msgspec.structs.replace(refusal, suggestions=found))

    # ---- ask without booking
    def quote(self, ask: Ask) -> Quoted:
        """The price, signed, and what stands against it. Changes nothing. Refuses as booking does for an unknown bay, code or customer."""
        self.links.up(ask.site_id)

        def read(tx: Tx) -> Quoted:
            house = self.houses.of(tx, ask.site_id)
            return frontdesk.quote(tx, self.desk, house, self._wanted(tx, ask, house), key=self.keys.newest)

        return self.db.read(read)

    def check(self, ask: Ask) -> Checked:
        """Whether one interval could be had now, and how."""
        up = self.links.up(ask.site_id)
        part = ask.parts[0]

        def read(tx: Tx) -> Checked:
            house = self.houses.of(tx, ask.site_id)
            quoted = frontdesk.quote(tx, self.desk, house, self._wanted(tx, ask, house), key=None)
            claimed = Interval(part.start, part.end + rules.buffer_slots(house.profile.policy))
            if quoted.violations:
                return Checked("refused", quoted)
            if claims.holders(tx, part.resource_id, claimed):
                return Checked("taken", quoted)
            if territory.may_sell("hub", claimed, lines.line_of(tx, part.resource_id)) == "mine":
                return Checked("instant", quoted)
            return Checked("ask_site" if up else "unreachable", quoted)

        return self.db.read(read)


def declined(b: Booking) -> Refusal:
    """The owner's no as a refusal: its own code where we know it."""
    code = b.reason if b.reason in STATUS else "declined"
    return Refusal(code, DECLINED.get(b.reason, "The facility could not take this booking."))
