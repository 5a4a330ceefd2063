"""People who come: check-in at the kiosk or by staff, and what staff note of a visit. A part of `People`.

Not here: the reader at the door (`visitors`). Invariant: a guest shows only what stands on the confirmation.
"""

from __future__ import annotations

from shared.ledger import records, secured
from shared.model import Booking
from tests.simulation.guests import KIOSK, STAFF, Guests, Ticket
from tests.simulation.oracle import Sale
from tests.simulation.schedule import Action


class Arrivals(Guests):
    async def check_in(self, action: Action, of: int, how: str) -> str:
        found = self.tickets.get(of)
        if found is None:
            return "no ticket"
        sale = self.o.sales[found.id]
        if not sale.told and how != "staff":
            self._look(found, sale)
        site, at = self.w.sites[sale.site], self.w.now()
        if how == "staff":
            came = await site.kit.checkin.by_staff(sale.id, STAFF)
        elif how == "pin":
            came = await site.kit.checkin.by_pin(self._pin(sale), KIOSK)
        else:
            came = await site.kit.checkin.by_pass(self._pass(sale), KIOSK)
        inside = self.o.sales.get(came.booking.id, sale)  # a site that has not heard of a move lets its guest in on the old booking
        self._in_window(inside, how, at)
        self.o.told_came(inside.id, agreed=self._agreed(sale.site))
        if inside.order != sale.order:
            self.o.breach(f"the PIN of {sale.id} let in {inside.id}")
        return f"{came.booking.id} {came.door}"

    def _agreed(self, site: str) -> bool:
        """Whether the hub has taken in what the site told it last of all its books."""
        here, there = self.w.sites[site].stream(site), self.w.hub.stream(site)
        if here is None or there is None or here.epoch != there.epoch or there.fenced:
            return False
        return not here.fenced or bool(here.repair)  # a copy that was put back is in the old epoch until it has told all

    def _in_window(self, sale: Sale, how: str, at: float) -> None:
        """D2: no pass and no PIN opens outside its window, but by as much as the clocks are, or have just been, wrong."""
        if how == "staff":
            return
        wrong = self.w.skew_max + 5
        if not sale.start * 900 - 900 - wrong <= at <= sale.end * 900 + 900 + wrong:
            self.o.breach(f"{sale.id} ({sale.start}-{sale.end}) opened a door at slot {at / 900:.2f}")

    def _pin(self, sale: Sale) -> str:
        b = self._paper(sale)
        return b.pin if b is not None else ""

    def _pass(self, sale: Sale) -> str:
        """The QR code that the guest was sent by whoever sold."""
        b = self._paper(sale)
        if b is None:
            return "CB1.NONE"
        if sale.side == "hub":
            return self.w.hub.services.passes.of(b).token
        site = self.w.sites[sale.site]
        return site.kit.bookings.read(b.id, STAFF).pass_text

    def _paper(self, sale: Sale) -> Booking | None:
        """What the seller shows of the booking: the confirmation in the guest's pocket."""
        machine = self.w.hub if sale.side == "hub" else self.w.sites[sale.site]
        return machine.booking(sale.id) if machine.up else None

    def _look(self, ticket: Ticket, sale: Sale) -> None:
        """The guest opens the confirmation page before setting out."""
        machine = self.w.hub if sale.side == "hub" else self.w.sites[sale.site]
        b = machine.db.read(lambda tx: records.booking(tx, sale.id)) if machine.up else None
        if b is not None:
            self.heard(machine.db.read(lambda tx: secured.told(tx, machine.desk, b)))

    async def attend(self, action: Action, of: int, state: str) -> str:
        found = self.tickets.get(of)
        if found is None:
            return "no ticket"
        sale = self.o.sales[found.id]
        view = await self.w.sites[sale.site].kit.checkin.attend(sale.id, state, STAFF)
        self.o.told_left(sale.id)
        said = f"{view.id} {view.status}"
        return f"{said}, the rest sold: {await self._sell_rest(sale)}" if view.status == "no_show" else said

    async def _sell_rest(self, old: Sale) -> str:
        """Staff put the rest of a no-show's time on sale. The answer may be lost, or what it says with the disk."""
        site = self.w.sites[old.site]
        self.o.asks_rest(old.id)
        now = await site.kit.checkin.sell_rest(old.id, STAFF)
        self.letters()
        was, left = site.booking(old.id), site.booking(now.id)
        if left.id == old.id and old.rest:
            return "before"
        if left.id not in self.o.sales or was.replaced_by != left.id or (was.pin, was.price) != (left.pin, left.price):
            self.o.breach(f"the rest of {old.id} was sold, and {left.id} does not stand in its place")
        return left.id
