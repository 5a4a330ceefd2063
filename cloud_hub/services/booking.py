"""Booking at the hub: one transaction decides, and where the site must be asked the answer waits a little for it (terr-6).

What it is not: rules, prices or claims (the front desk and the ledger), nor HTTP. Invariant: whatever this answers is durable, and a retry
of the same request gets the same answer and never a second booking.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from shared import rules, territory
from shared.errors import STATUS, Refusal, Refused, Violation, refuse
from shared.ledger import claims, frontdesk, lines, records, ways
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses, Part, Quoted, Wanted
from shared.ledger.rule_hits import RuleTally
from shared.model import Booking, Channel, Customer, Frozen, Interval, site_of
from shared.runtime.database import Database, InlineWriter, Tx

from ..store.board import Board, Seen
from .keys import Keys
from .link import Links
from .waiting import Waiting

__all__ = ["Ask", "Booked", "Bookings", "Checked", "Part", "Seen"]

WAITING = ("requested", "pending")
#: what a person is told of the owner's no
DECLINED = {
    "slot_taken": "This time has just been taken.",
    "answer_late": "The facility could not be reached in time, so nothing was booked.",
    "fenced": "The facility is being repaired and sells nothing just now.",
    "retired": "The facility's system has just been replaced. Please try again in a few minutes.",
    "below_floor": "The facility has been repaired, and its staff have still to say what was sold at this time. Please choose a later time.",
    "clock_untrusted": "The facility sells nothing until its staff have confirmed its clock.",
    "bay_halted": "This bay is not sold just now. Please choose another.",
    "outside_hours": "The facility is not open during the whole of this time.",
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
    """`count(outcome)` is told of every booking: confirmed, requested, declined, refused, repeated; `hits` of every refusal."""

    def __init__(
        self, *, db: Database | InlineWriter, desk: Desk, houses: Houses, board: Board, links: Links, keys: Keys, waiting: Waiting,
        count: Callable[[str], None], hits: RuleTally,
    ):  # fmt: skip
        self.db, self.desk, self.houses, self.board = db, desk, houses, board
        self.links, self.keys, self.waiting, self._count, self._hits = links, keys, waiting, count, hits

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
        """The refusal of a booking with the next priced alternatives (B13), where another time or bay could help."""
        return self.helped(refusal, ask.site_id, up, lambda tx: (self._wanted(tx, ask, self.houses.of(tx, ask.site_id)), None))

    def helped(self, refusal: Refusal, site_id: str, up: bool, asked: Callable[[Tx], tuple[Wanted, Booking | None]]) -> Refused:
        """The same for whatever was asked: `asked` says what is looked for instead, and which booking was to be changed by it. The rules that
        the refusal names are counted for who asked (R10)."""
        if not refusal.violations and not ways.helps(refusal):
            return Refused(refusal)

        def read(tx: Tx) -> tuple[Refusal, Customer, Channel]:
            house = self.houses.of(tx, site_id)
            wanted, old = asked(tx)
            known = records.customer(tx, wanted.customer.id) or NOBODY
            return ways.helped(tx, self.desk, house, wanted, refusal, link_up=up, old=old), known, wanted.channel

        try:
            found, who, channel = self.db.read(read)
        except Refused:
            return Refused(refusal)
        self._hits.note(site_id, refusal, who.id, channel)
        return Refused(found)

    # ---- ask without booking
    def quote(self, ask: Ask) -> Quoted:
        """The price, signed, and what stands against it, with what could be had instead. Changes nothing. Refuses as booking does for an
        unknown bay, code or customer."""
        up = self.links.up(ask.site_id)

        def read(tx: Tx) -> Quoted:
            house = self.houses.of(tx, ask.site_id)
            wanted = self._wanted(tx, ask, house)
            quoted = frontdesk.quote(tx, self.desk, house, wanted, key=self.keys.newest)
            return self._with_others(tx, house, wanted, quoted, rules.refusal_of(quoted.violations), up) if quoted.violations else quoted

        return self.db.read(read)

    def _with_others(self, tx: Tx, house: House, wanted: Wanted, quoted: Quoted, refusal: Refusal, up: bool) -> Quoted:
        found = ways.helped(tx, self.desk, house, wanted, refusal, link_up=up)
        return msgspec.structs.replace(quoted, suggestions=found.suggestions)

    def check(self, ask: Ask) -> Checked:
        """Whether one interval could be had now, and how."""
        up = self.links.up(ask.site_id)
        part = ask.parts[0]

        def read(tx: Tx) -> Checked:
            house = self.houses.of(tx, ask.site_id)
            wanted = self._wanted(tx, ask, house)
            quoted = frontdesk.quote(tx, self.desk, house, wanted, key=None)
            claimed = Interval(part.start, part.end + rules.buffer_slots(house.profile.policy))
            if quoted.violations:
                return Checked("refused", self._with_others(tx, house, wanted, quoted, rules.refusal_of(quoted.violations), up))
            if claims.holders(tx, part.resource_id, claimed):
                return Checked("taken", self._with_others(tx, house, wanted, quoted, Refusal("slot_taken", ""), up))
            if territory.may_sell("hub", claimed, lines.line_of(tx, part.resource_id)) == "mine":
                return Checked("instant", quoted)
            if not up:
                return Checked("unreachable", self._with_others(tx, house, wanted, quoted, Refusal("site_unreachable", ""), up))
            return Checked("ask_site", quoted)

        return self.db.read(read)


def declined(b: Booking) -> Refusal:
    """The owner's no as a refusal: its own code where we know it."""
    code = b.reason if b.reason in STATUS else "declined"
    detail = DECLINED.get(b.reason, "The facility could not take this booking.")
    # the one rule that the owner of the slots judges (terr-6)
    return Refusal(code, detail, violations=(Violation("R6", code, detail),) if code == "outside_hours" else ())
