"""How a customer is reached: what they chose, what stands in the way, and which browsers hear of an order (N3, W4).

Whoever asks has the link of one order. It says nothing whole of any address, and where the guest typed another contact than the one that is
known of the customer, it decides nothing for them: somebody else may have typed it. A browser hears of the order whose page it has shown and of no
other, since messages bring PINs and links. Not here: what is told, when, by which of these (`shared.notifications`).
"""

from __future__ import annotations

import hashlib

import msgspec

from shared.errors import refuse
from shared.ledger import records
from shared.model import Customer, Frozen, Order
from shared.notifications import CHANNELS, ChannelName, Language, Preferences
from shared.runtime.database import Tx

from ..ports import Subscribed
from ..store import notifications as kept
from .addresses import address_of
from .guest_booking import OTHER_CONTACT
from .hub import Hub


class Way(Frozen):
    """One channel. `shown`: the address as anybody may see it, empty without one; `on`: it is not switched off; `why`: what stands in the way of
    sending by it, "" nothing, "none" no address, else as in `Suppressed.why`."""

    name: ChannelName
    shown: str
    on: bool
    why: str = ""

    @property
    def able(self) -> bool:
        return not self.why


class Reach(Frozen):
    """How the customer of an order is reached. `browsers`: how many hear of the order; `push_key`: what a browser subscribes with, empty where
    this hub pushes nothing; `theirs`: whether the order's guest is known to be the customer."""

    ways: tuple[Way, ...]
    chosen: Preferences
    browsers: int = 0
    push_key: str = ""
    theirs: bool = True

    @property
    def silent(self) -> bool:
        """Whether nothing reaches them by any channel."""
        return not any(way.on and way.able for way in self.ways)


class Choice(Frozen):
    """What somebody chose: of the channels `offered` those that they want, and the rest as in `Preferences`."""

    offered: tuple[ChannelName, ...]
    wanted: tuple[ChannelName, ...]
    language: Language
    quiet: tuple[int, int]
    courtesies: bool


class Reaching:
    def __init__(self, hub: Hub):
        self._db, self._desk, self._channels = hub.db, hub.desk, hub.channels
        push = hub.channels.get("push")
        self._push = push if isinstance(push, Subscribed) else None

    @property
    def push_key(self) -> str:
        """What a browser subscribes with; empty where this hub pushes nothing."""
        return self._push.public_key if self._push else ""

    @property
    def tells(self) -> bool:
        """Whether this hub tells anybody anything."""
        return bool(self._channels)

    def of(self, order: Order) -> Reach:
        """Refuses `customer_not_found`."""
        return self._db.read(lambda tx: self._reach(tx, order))

    def _reach(self, tx: Tx, order: Order) -> Reach:
        customer = _customer(tx, order)
        browsers = len(kept.subscriptions(tx, order.id))
        if order.notes.startswith(OTHER_CONTACT):
            return Reach(ways=(), chosen=Preferences(), browsers=browsers, push_key=self.push_key, theirs=False)
        chosen = kept.preferences(tx, customer.id)
        ways = [self._way(tx, name, customer, chosen) for name in ("sms", "mail") if name in self._channels]
        if self._push:
            ways.append(Way(name="push", shown=str(browsers or ""), on="push" not in chosen.off, why="" if browsers else "none"))
        ways.append(Way(name="app", shown="", on="app" not in chosen.off))
        return Reach(ways=tuple(ways), chosen=chosen, browsers=browsers, push_key=self.push_key)

    @staticmethod
    def _way(tx: Tx, name: ChannelName, customer: Customer, chosen: Preferences) -> Way:
        to = address_of(customer, name)
        stopped = kept.suppressed(tx, name, to) if to else None
        return Way(name=name, shown=masked(to), on=name not in chosen.off, why=stopped.why if stopped else "" if to else "none")

    async def choose(self, order: Order, choice: Choice) -> None:
        """Keeps the choice for the customer of this order. What was not offered stays as it was. Refuses `customer_not_found`, and `not_allowed` where
        the guest is not known to be the customer."""

        def run(tx: Tx) -> None:
            customer = _customer(tx, order)
            if order.notes.startswith(OTHER_CONTACT):
                raise refuse("not_allowed", "How we reach you cannot be chosen from this booking.")
            before = kept.preferences(tx, customer.id)
            refused = [name for name in choice.offered if name not in choice.wanted]
            off = tuple(name for name in CHANNELS if name in refused or (name in before.off and name not in choice.offered))
            chosen = msgspec.structs.replace(before, off=off, language=choice.language, quiet=choice.quiet, courtesies=choice.courtesies)
            kept.put_preferences(tx, customer.id, chosen, self._desk.now())

        await self._db.write(run)

    # ---- browsers
    async def subscribe(self, order: Order, endpoint: str, subscription: str) -> None:
        """This browser hears of the order from now on; `subscription`: as JSON, with `endpoint` in it. Refuses `bad_request` for what is no
        subscription of a push service that is known here, `not_found` where this hub pushes nothing."""
        if self._push is None:
            raise refuse("not_found", "Nothing is sent to browsers here.")
        if why := self._push.objection(subscription):
            raise refuse("bad_request", why)
        own_id, now = _id(order.id, endpoint), self._desk.now()
        await self._db.write(lambda tx: kept.subscribe(tx, own_id, order.id, order.customer_id, subscription, now))

    async def unsubscribe(self, order: Order, endpoint: str) -> None:
        """This browser hears of the order no more, whether or not it did."""
        await self._db.write(lambda tx: kept.unsubscribe(tx, _id(order.id, endpoint)))

    async def forget_browsers(self, order: Order) -> None:
        """No browser hears of the order any more."""
        await self._db.write(lambda tx: [kept.unsubscribe(tx, one) for one, _ in kept.subscriptions(tx, order.id)])


def _customer(tx: Tx, order: Order) -> Customer:
    found = records.customer(tx, order.customer_id)
    if found is None:
        raise refuse("customer_not_found", "Nobody is known any more who made this booking.")
    return found


def _id(order_id: str, endpoint: str) -> str:
    return hashlib.sha256(f"{order_id}\0{endpoint}".encode()).hexdigest()[:32]


def masked(address: str) -> str:
    """As much of an address as its owner knows it by: "…0123", "t…@example.test"."""
    name, at, host = address.rpartition("@")
    if at:
        return f"{name[:1] if len(name) > 1 else ''}…@{host}"
    return f"…{address[-4:]}" if address else ""
