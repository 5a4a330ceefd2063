"""The telephone's own look at its owner before it opens a door (D10), where a facility wants it: which telephone an order has, and whether it has
just confirmed.

An order's first telephone within its window is its telephone; from then on no other opens its doors, whoever holds the link, until an admin lets it
go. The PIN opens whatever is here. Not here: whether the door may be had at all (`phone_doors`), and what a signature is (`passkeys`).
Invariant: a question is asked of one order for one purpose, is worth `VALID_S`, and is answered once; a wrong answer uses it up too.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from shared.errors import Refusal, Refused, refuse
from shared.ledger import records
from shared.ledger.desk import Desk
from shared.model import Booking, Order
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx

from ..store import passkeys as rows
from ..store.passkeys import Passkey

__all__ = ["Asked", "NotHeld", "Passkey", "PhoneChecks", "Signed"]

#: how long a telephone may take to answer
VALID_S = 120
#: questions that an order may have open at once
ASKED_MAX = 10
OCTETS = 32
Purpose = Literal["make", "confirm"]
USE_PIN = "Please use your PIN at the door."
NOT_CONFIRMED = f"Your telephone did not confirm that it is you. {USE_PIN}"
LATE = "Your telephone’s answer came too late, or was used before. Please press again, or use your PIN at the door."
OTHER_PHONE = f"Another telephone opens the door for this booking. {USE_PIN}"
COUNTED_BACK = f"Your telephone’s key was used elsewhere too, as if it had been copied, so it opens no door. {USE_PIN}"
T = TypeVar("T")
_log = log.get("hub.phone_checks")


class NotHeld(Exception):
    """An answer that does not hold; why, for the log."""


class Signed(NamedTuple):
    """A key (base64url) and how often its telephone says it has signed."""

    credential: str
    counter: int


class Asked(msgspec.Struct, frozen=True):
    """A question for the telephone: `purpose` "make" or "confirm", `options` as WebAuthn has them, octets as base64url."""

    purpose: Purpose
    options: dict[str, Any]


class Ceremony(Protocol):
    """What `passkeys` knows."""

    def to_make(self, order_id: str, shown: str, challenge: str) -> dict[str, Any]: ...
    def to_confirm(self, credential: str, challenge: str) -> dict[str, Any]: ...
    def challenge_of(self, answer: Mapping[str, Any], purpose: str) -> str: ...
    def made(self, challenge: str, answer: Mapping[str, Any]) -> Signed: ...
    def confirmed(self, challenge: str, credential: str, answer: Mapping[str, Any]) -> Signed: ...


class PhoneChecks:
    """`sites`: the facilities that want it; without any there need be no `ceremony`."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, ceremony: Ceremony | None, sites: frozenset[str]):
        self._db, self._desk, self._ceremony, self.sites = db, desk, ceremony, sites

    def wanted(self, site_id: str) -> bool:
        return self._ceremony is not None and site_id in self.sites

    def phone(self, order_id: str) -> Passkey | None:
        """The telephone that the order has."""
        return self._db.read(lambda tx: rows.of(tx, order_id))

    # ---- a question, its answer
    async def begin(self, b: Booking) -> Asked:
        """What the telephone is to do before it opens the door: make its key, where the order has none, or confirm. Refuses `too_many_tries`."""
        return await self._db.write(lambda tx: self._asked(tx, b))

    def _asked(self, tx: Tx, b: Booking) -> Asked:
        now, known = self._desk.now(), rows.of(tx, b.order_id)
        if rows.asked(tx, b.order_id, now) >= ASKED_MAX:
            raise refuse("too_many_tries", f"The door was asked for many times. {USE_PIN}", retry_after_s=VALID_S)
        challenge, ceremony = secrets.token_urlsafe(OCTETS), self._theirs()
        purpose: Purpose = "confirm" if known else "make"
        rows.ask(tx, challenge, b.order_id, purpose, now + VALID_S)
        if known:
            return Asked(purpose, ceremony.to_confirm(known.credential, challenge))
        return Asked(purpose, ceremony.to_make(b.order_id, f"Booking {records.reference_of(b.order_id)}", challenge))

    async def bind(self, b: Booking, answer: Mapping[str, Any]) -> Asked:
        """The key that the telephone has made is the order's, if it is the first; then it is asked to confirm. Refuses `not_confirmed`."""
        return self._or_refused(await self._db.write(lambda tx: self._bound(tx, b, answer)))

    def _bound(self, tx: Tx, b: Booking, answer: Mapping[str, Any]) -> Asked | Refusal:
        signed = self._held(tx, b, answer, "make")
        if isinstance(signed, Refusal):
            return signed
        one = Passkey(order_id=b.order_id, credential=signed.credential, counter=signed.counter, made_at=self._desk.now())
        if not rows.add(tx, one):
            return Refusal("not_confirmed", OTHER_PHONE)
        self._note(tx, b, "customer", "telephone bound to the order's doors")
        return self._asked(tx, b)

    async def confirm(self, b: Booking, answer: Mapping[str, Any]) -> None:
        """The order's telephone has just looked at its owner. Refuses `not_confirmed`."""
        self._or_refused(await self._db.write(lambda tx: self._confirmed(tx, b, answer)))

    def _confirmed(self, tx: Tx, b: Booking, answer: Mapping[str, Any]) -> Refusal | None:
        signed = self._held(tx, b, answer, "confirm")
        if isinstance(signed, Refusal):
            return signed
        if rows.count(tx, b.order_id, *signed):
            return None
        _log.warning("phone_check.counts_back", booking=b.id)
        self._note(tx, b, "hub", "telephone's key counts back, as a copy would: the door stays shut")
        return Refusal("not_confirmed", COUNTED_BACK)

    def _held(self, tx: Tx, b: Booking, answer: Mapping[str, Any], purpose: Purpose) -> Signed | Refusal:
        """What the answer holds. The "no" is a value, so that the question is used up by it."""
        ceremony = self._theirs()
        try:
            challenge = ceremony.challenge_of(answer, purpose)
            if not rows.take(tx, challenge, b.order_id, purpose, self._desk.now()):
                return Refusal("not_confirmed", LATE)
            if purpose == "make":
                return ceremony.made(challenge, answer)
            known = rows.of(tx, b.order_id)
            return ceremony.confirmed(challenge, known.credential, answer) if known else Refusal("not_confirmed", LATE)
        except NotHeld as why:
            _log.warning("phone_check.not_held", booking=b.id, why=str(why)[:200])
            return Refusal("not_confirmed", NOT_CONFIRMED)

    @staticmethod
    def _or_refused(value: T | Refusal) -> T:
        if isinstance(value, Refusal):
            raise Refused(value)
        return value

    def _theirs(self) -> Ceremony:
        if self._ceremony is None:
            raise refuse("bad_request", "This page is out of date. Please load it again.")
        return self._ceremony

    def _note(self, tx: Tx, b: Booking, by: str, what: str) -> None:
        records.journal(tx, self._desk.now(), b.site_id, by, what, records.reference_of(b.order_id))

    # ---- letting go
    async def let_go(self, reference: str, by: str) -> Order:
        """The order has no telephone any more: the next one within its window is. Refuses `order_not_found`, `no_telephone`."""

        def write(tx: Tx) -> Order:
            orders = records.order_by_reference(tx, reference)
            if not orders:
                raise refuse("order_not_found", "No order has this reference.")
            had = [order for order in orders if rows.end(tx, order.id)]
            if not had:
                raise refuse("no_telephone", "This order has no telephone: the first within its window will be it.")
            for order in had:
                records.journal(tx, self._desk.now(), order.site_id, by, "telephone of the order's doors let go", order.reference)
            return had[0]

        return await self._db.write(write)

    async def forget(self) -> int:
        """Lets go of what is over; nothing by a clock in doubt (clock-2). Returns how many rows went."""
        if self._desk.clock_doubt():
            return 0
        return await self._db.write(lambda tx: rows.forget(tx, self._desk.now()))
