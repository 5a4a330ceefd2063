"""One letter to a customer, out of the books as they stand when it is its turn: which facts it may say, in which language, with which link.

Not here: the words themselves (`wording`), whether it is still to be sent (`notifying`). Invariant: what a letter says is read in the
transaction that claims it, and is about the customer's own bookings at one facility.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.ledger import records
from shared.ledger.frontdesk import Houses
from shared.model import Booking, Customer
from shared.notifications import ChannelName, Event
from shared.runtime.database import Tx

from ..ports import Letter
from ..store import notifications as kept
from ..store import refunds
from .customer_links import CustomerLinks
from .link import Links
from .wording import Wording, facts_of


class Letters:
    """`public_url`: what links begin with; where it is empty letters have none."""

    def __init__(self, houses: Houses, links: Links, customer_links: CustomerLinks, wording: Wording, public_url: str):
        self._houses, self._links, self._wording = houses, links, wording
        self._customer_links, self._url = customer_links, public_url.rstrip("/")

    def letter(
        self,
        tx: Tx,
        event: Event,
        order_id: str,
        bookings: Sequence[Booking],
        customer: Customer,
        *,
        channel: ChannelName,
        to: str,
        key: str,
    ) -> Letter:
        """`bookings`: those of the order that it is about, at least one. Raises nothing for what the books hold; an operator's text that cannot be
        used is passed over."""
        first, site_id = bookings[0], bookings[0].site_id
        bookings = [self._under(tx, first.customer_id, customer, b) for b in bookings]
        house, order = self._houses.of(tx, site_id), records.order(tx, order_id)
        language = kept.preferences(tx, customer.id).language
        facts = facts_of(
            bookings,
            house.facility,
            house.resources,
            language,
            customer=msgspec.structs.replace(customer, id=first.customer_id),
            seats={a.booking_id: a.seat for b in bookings if (a := records.attendance(tx, b.id)) is not None and a.seat},
            was=[old for b in bookings if event == "moved" and (old := records.booking(tx, b.replaces)) and old.site_id == site_id],
            reference=order.reference if order is not None else "",
            link=self._order_link(order_id),
            refund=refunds.of(tx, [b.id for b in bookings]) if event == "cancelled" else None,
            reason=first.reason,
            survey_link=self._order_link(order_id, "/survey") if event == "survey" else "",
            dark=not self._links.up(site_id),
        )
        words = self._wording.render(event, channel, language, facts, site_id=site_id)
        return Letter(key=key, to=to, text=words.text, subject=words.subject, html=words.html, url=words.url)

    @staticmethod
    def _under(tx: Tx, customer_id: str, customer: Customer, b: Booking) -> Booking:
        """The booking under one id of its customer's, whoever that customer has become since it was made."""
        if b.customer_id == customer_id:
            return b
        now = records.customer(tx, b.customer_id)
        return msgspec.structs.replace(b, customer_id=customer_id) if now is not None and now.id == customer.id else b

    def _order_link(self, order_id: str, page: str = "") -> str:
        return f"{self._url}/b/{order_id}/{self._customer_links.token(order_id)}{page}" if self._url else ""
