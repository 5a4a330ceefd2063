"""From held bays to a booking: who the guest is, what it costs, and the sale (W1).

Ids follow from the hold, so one hold becomes one booking however often the form is sent. A contact typed by a stranger proves little: only
phone and e-mail together, both as we know them, bring a customer's own prices and rights; one of them alone still brings their limits.
Invariant: a guest pays the price that was shown, or is shown another one and asked again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import msgspec

from shared import territory
from shared.errors import Refusal, Refused, Violation
from shared.ledger import frontdesk, holds, lines, records, secured
from shared.ledger.frontdesk import Part, Quoted, Wanted
from shared.model import Booking, Customer, Frozen
from shared.runtime.database import Tx

from .booking import NOBODY, WAITING, declined
from .guest_holds import Held, nth
from .hub import Hub

NAME_MAX, EMAIL_MAX, PHONE_MAX, CODE_MAX = 80, 120, 30, 32
_EMAIL = re.compile(r"[^\s@<>,;:\"()\[\]]{1,64}@[^\s@<>,;:\"()\[\]]+\.[^\s@<>,;:\"()\[\].]{2,24}")
_PHONE = re.compile(r"\+?[0-9 ().\-/]{7,29}", re.ASCII)


#: begins the notes of an order whose guest gave another contact than the one that is known of them
OTHER_CONTACT = "Contact given with this booking:"


class Details(Frozen):
    """What the guest typed. `shown_cents` is the price the page showed, only ever compared; `quote` is our own signed promise of it."""

    name: str
    phone: str
    email: str
    guests: int
    code: str = ""
    quote: str = ""
    shown_cents: int = -1


class BadDetails(Exception):
    """What is wrong with the form: field -> a sentence. Nothing was changed."""

    def __init__(self, errors: Mapping[str, str]):
        super().__init__(", ".join(errors))
        self.errors = dict(errors)


class PriceDiffers(Exception):
    """The price is not the one the guest saw. Nothing was changed; `quoted` is to be shown and agreed to first."""

    def __init__(self, quoted: Quoted):
        super().__init__(f"{quoted.price.total_cents}")
        self.quoted = quoted


def sound(details: Details) -> Details:
    """The details with blanks put right. Raises BadDetails with a sentence for every field that is wrong."""
    name, phone, email = (" ".join(text.split()) for text in (details.name, details.phone, details.email))
    errors = {}
    if not name:
        errors["name"] = "Please give your name."
    elif len(name) > NAME_MAX or not name.isprintable():
        errors["name"] = f"A name has at most {NAME_MAX} letters and no control characters."
    if not phone:
        errors["phone"] = "Please give a phone number, so that we can reach you about this booking."
    elif not _PHONE.fullmatch(phone) or not 7 <= sum(letter.isdigit() for letter in phone) <= 15:
        errors["phone"] = "A phone number has 7 to 15 digits, for instance 902-555-0123."
    if not email:
        errors["email"] = "Please give an e-mail address."
    elif len(email) > EMAIL_MAX or not _EMAIL.fullmatch(email) or not email.isprintable():
        errors["email"] = "An e-mail address looks like name@example.com."
    code = details.code.strip().upper()
    if len(code) > CODE_MAX or not code.isprintable():
        errors["code"] = f"A code has at most {CODE_MAX} characters."
    if errors:
        raise BadDetails(errors)
    return msgspec.structs.replace(details, name=name, phone=phone, email=email, code=code)


def order_of(hold_id: str) -> str:
    """The order that this hold becomes."""
    return f"w-{hold_id}"


class GuestBooking:
    def __init__(self, hub: Hub):
        self._hub, self._db, self._desk = hub, hub.db, hub.desk
        self._outcomes = hub.metrics.counter("guest_bookings", "Bookings on the customer's pages by how they came out.", ["outcome"])

    def quote(self, held: Held, guests: int, code: str = "") -> Quoted:
        """The price for somebody of whom nothing is known yet. Refuses a code that is not good."""
        wanted = self._wanted(held, NOBODY, guests=guests, code=code.strip().upper())
        return self._db.read(lambda tx: frontdesk.quote(tx, self._desk, held.house, wanted, key=self._hub.keys.newest))

    async def book(self, held: Held, details: Details) -> list[Booking]:
        """Books the held bays, or asks the site for them and waits a little. The bookings `confirmed`, `requested` or `pending`.

        Raises BadDetails and PriceDiffers. Refuses what the front desk refuses, and what the site declines.
        """
        details = sound(details)
        site_id, who = held.house.facility.id, ""
        up = self._hub.links.up(site_id)

        def run(tx: Tx) -> list[Booking]:
            nonlocal who
            known = records.bookings_of_order(tx, order_of(held.id))
            if known:
                return known
            guest, proven = self._guest(tx, details)
            who = guest.id if proven and records.customer(tx, guest.id) is not None else ""
            quoted = self._quoted(tx, held, details, guest)
            wanted = self._wanted(held, guest, guests=details.guests, code=details.code, name=details.name)
            # what an unproven customer typed is not written over what is known of them, but staff must be able to reach the guest
            notes = "" if proven else f"{OTHER_CONTACT} {details.phone}, {details.email}"
            wanted = msgspec.structs.replace(wanted, quote=self._promise(details, quoted), notes=notes)
            self._judge(quoted)
            self._make_room(tx, held)
            made = frontdesk.book(tx, self._desk, held.house, wanted, ring=self._hub.keys.ring, link_up=up, body_hash=_hash(details))
            if sum(b.price.total_cents for b in made) != details.shown_cents:
                raise PriceDiffers(quoted)
            return made

        try:
            made = await self._db.write(run)
        except Refused as error:
            self._outcomes.labels("refused").inc()
            self._hub.rule_tally.note(site_id, error.refusal, who, "web")
            raise
        made = await self._answered(made)
        no = any(b.status == "declined" for b in made)
        self._outcomes.labels("declined" if no else made[0].status).inc()
        if no:
            refusal = declined(next(b for b in made if b.status == "declined"))
            self._hub.rule_tally.note(site_id, refusal, who, "web")
            raise Refused(refusal)
        return made

    # ---- inside the transaction
    def _guest(self, tx: Tx, details: Details) -> tuple[Customer, bool]:
        """Who is asking, and whether the contact given proves it. Not proven, a customer is judged without tier, tags and history."""
        found = frontdesk.customer_of(tx, self._desk, name=details.name, phone=details.phone, email=details.email)
        same_phone = bool(records.phone_key(found.phone)) and records.phone_key(found.phone) == records.phone_key(details.phone)
        if same_phone and found.email.casefold() == details.email.casefold():
            return found, True
        # version 0: whatever is known of them already is newer and stays
        return msgspec.structs.replace(found, tier="", tags=(), completed=0, version=0), False

    def _quoted(self, tx: Tx, held: Held, details: Details, guest: Customer) -> Quoted:
        wanted = self._wanted(held, guest, guests=details.guests, code=details.code)
        return frontdesk.quote(tx, self._desk, held.house, wanted, key=self._hub.keys.newest)

    @staticmethod
    def _promise(details: Details, quoted: Quoted) -> str:
        """Our promise of the price shown is kept unless the guest's own price is lower: then that one is shown first."""
        if quoted.price.total_cents < details.shown_cents:
            raise PriceDiffers(quoted)
        return details.quote if len(quoted.prices) == 1 and quoted.price.total_cents > details.shown_cents else ""

    @staticmethod
    def _judge(quoted: Quoted) -> None:
        """Where only an unknown past stands in the way, says how to make it known."""
        far = [one for one in quoted.violations if one.code == "too_far_ahead"]
        if far:
            hint = (
                "Have you played here before? Give the same phone number and e-mail address as then: you may be able to book further ahead."
            )
            found = tuple(Violation(v.rule, v.code, f"{v.detail} {hint}", v.limit) if v in far else v for v in quoted.violations)
            raise Refused(Refusal("rules_violated", " ".join(v.detail for v in found), violations=found))

    def _wanted(self, held: Held, guest: Customer, *, guests: int, code: str = "", name: str = "") -> Wanted:
        order = order_of(held.id)
        parts = tuple(
            Part(booking_id=nth(order, i), resource_id=h.resource_id, start=h.start, end=h.end, hold_id=h.id)
            for i, h in enumerate(held.holds)
        )
        return Wanted(
            site_id=held.house.facility.id,
            parts=parts,
            channel="web",
            customer=guest,
            order_id=order,
            guests=guests,
            code=code,
            shown_name=name,
        )

    def _make_room(self, tx: Tx, held: Held) -> None:
        """A request for several bays of the site's names no holds (terr-10 has one answer for all), so they would stand in its own way.

        They are given up in the same transaction, and the site hears of that just before the request.
        """
        line = lines.lines_of(tx, held.house.facility.id)
        asked = [h for h in held.holds if territory.may_sell("hub", h.claimed, line[h.resource_id]) != "mine"]
        if len(asked) > 1:
            for hold in asked:
                holds.drop(tx, self._desk, hold.id)

    async def _answered(self, made: list[Booking]) -> list[Booking]:
        order_id = made[0].order_id

        def now() -> list[Booking]:
            return self._db.read(lambda tx: [secured.told(tx, self._desk, b) for b in records.bookings_of_order(tx, order_id)])

        def look() -> list[Booking] | None:
            found = now()
            return None if any(b.status in WAITING for b in found) else found

        if (told := look()) is not None:
            return told
        events = [("booking", b.id) for b in made] + [("secured", made[0].site_id)]
        return await self._hub.waiting.until(look, events, self._desk.limits.ask_wait_s) or now()


def _hash(details: Details) -> str:
    told = "\0".join((details.name, details.phone, details.email, details.code, str(details.guests)))
    return hashlib.sha256(told.encode()).hexdigest()
