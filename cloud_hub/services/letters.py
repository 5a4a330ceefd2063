"""One letter to a customer, out of the books as they stand when it is its turn: which facts it may say, in which language, with which link.

Not here: the words themselves (`wording`), whether it is still to be sent (`notifying`). Invariant: what a letter says is read in the
transaction that claims it, and is about the customer's own bookings at one facility.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.errors import Suggestion
from shared.ledger import notices, records
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.model import Booking, Customer, Price
from shared.notifications import ChannelName, Event
from shared.runtime.database import Tx

from ..ports import Letter
from ..store import notifications as kept
from ..store import refunds
from .customer_links import CustomerLinks
from .displaced import offered
from .link import Links
from .texts import Texts
from .wording import Wording, facts_of

#: what tells that a place was lost, and of the ways out
LOST: tuple[Event, ...] = ("displaced", "placed")
#: ways out that a letter names; its link leads to all of them
WAYS_MAX = 3


class Letters:
    """`public_url`: what links begin with; where it is empty letters have none."""

    def __init__(self, desk: Desk, houses: Houses, links: Links, customer_links: CustomerLinks, wording: Wording, texts: Texts, public_url: str):
        self._desk, self._houses, self._links, self._wording = desk, houses, links, wording
        self._texts = texts
        self._customer_links, self._url = customer_links, public_url.rstrip("/")

    @property
    def linked(self) -> bool:
        """Whether letters can lead to the customer's pages."""
        return bool(self._url)

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
        was = [self._under(tx, first.customer_id, customer, old) for old in self._was(tx, event, bookings)]
        up, heard_at = self._links.heard(site_id)
        dark = not up
        # a PIN of a sale that the site has not heard of opens its door only where it is one of those that lie there for that
        at_the_door = all(b.outage_pin or b.seller == "site" or b.created_at < heard_at for b in bookings)
        facts = facts_of(
            bookings,
            house.facility,
            house.resources,
            language,
            customer=msgspec.structs.replace(customer, id=first.customer_id),
            seats={a.booking_id: a.seat for b in bookings if (a := records.attendance(tx, b.id)) is not None and a.seat},
            was=was,
            reference=order.reference if order is not None else "",
            link=self._order_link(order_id),
            refund=refunds.of(tx, [b.id for b in bookings]) if event == "cancelled" else None,
            reason=self._lost_to(tx, was or bookings) if event in LOST else first.reason,
            ways=self._ways(tx, house, bookings, dark) if event in LOST else (),
            ways_link=self._order_link(order_id, "/ways") if event in LOST else "",
            notices=notices.texts(tx, site_id, language, self._desk.now(), min(b.starts_at for b in bookings), max(b.ends_at for b in bookings)),
            survey_link=self._order_link(order_id, "/survey") if event == "survey" else "",
            dark=dark and at_the_door,
        )
        own, kind = self._texts.for_site(tx, site_id), order.kind if order is not None else ""
        words = self._wording.render(event, channel, language, facts, own, site_id=site_id, order_kind=kind)
        self._texts.failed(tx, words.faults, self._desk.now())
        return Letter(key=key, to=to, text=words.text, subject=words.subject, html=words.html, url=words.url)

    @staticmethod
    def _was(tx: Tx, event: Event, bookings: Sequence[Booking]) -> list[Booking]:
        """What stood before, at the same facility."""
        if event not in ("moved", "placed"):
            return []
        before = [(b, records.booking(tx, b.replaces)) for b in bookings if b.replaces and (event == "moved" or b.placed)]
        return [old for b, old in before if old is not None and old.site_id == b.site_id]

    @staticmethod
    def _lost_to(tx: Tx, lost: Sequence[Booking]) -> str:
        """What has the bay instead, where that can be said: the kind of a block."""
        for b in lost:
            for block in records.blocks_over(tx, b.resource_id, b.start, b.claimed.end):
                return block.kind
        return ""

    def _ways(self, tx: Tx, house: House, bookings: Sequence[Booking], dark: bool) -> list[Suggestion]:
        """Where the first of them could go, at the price it has."""
        b = next((b for b in bookings if b.displaced), bookings[0])
        price = b.price or Price(currency=house.profile.tariff.currency, total_cents=0)
        found = offered(tx, self._desk, house, b, link_up=not dark)[:WAYS_MAX]
        return [Suggestion(way.resource_id, way.start * 900, way.end * 900, price.total_cents, price.currency) for way in found]

    @staticmethod
    def _under(tx: Tx, customer_id: str, customer: Customer, b: Booking) -> Booking:
        """The booking under one id of its customer's, whoever that customer has become since it was made."""
        if b.customer_id == customer_id:
            return b
        now = records.customer(tx, b.customer_id)
        return msgspec.structs.replace(b, customer_id=customer_id) if now is not None and now.id == customer.id else b

    def _order_link(self, order_id: str, page: str = "") -> str:
        return f"{self._url}/b/{order_id}/{self._customer_links.token(order_id)}{page}" if self._url else ""
