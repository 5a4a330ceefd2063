"""People who change what they have: cancel, move, extend. A part of `People`.

Not here: buying. Invariant: the oracle hears of a wish to change before it is asked for, and of the change when it stood in an answer.
"""

from __future__ import annotations

from typing import Any

from cloud_hub.services.changes import Once
from shared.ledger.frontdesk import Part
from shared.model import Booking
from site_agent.services.booking import Ask as SiteAsk
from tests.simulation.guests import HAS, STAFF, Guests, Ticket
from tests.simulation.oracle import Sale
from tests.simulation.retries import ask_hub, is_cancelled, is_moved, same_for_both
from tests.simulation.schedule import Action


class Changes(Guests):
    def _ticket(self, of: int, how: str) -> tuple[Ticket, bool] | None:
        """The ticket, and whether the hub is asked. Who bought at the desk may still ask on the web, once the web knows the booking."""
        ticket = self.tickets.get(of)
        if ticket is None:
            return None
        return ticket, how in ("web", "api")

    async def cancel(self, action: Action, of: int, how: str, first: bool = False) -> str:
        """`first`: by somebody who holds the confirmation of the first day, and has not heard of any change since."""
        found = self._ticket(of, how)
        if found is None:
            return "no ticket"
        ticket, at_hub = found
        asked = ticket.ids if at_hub and len(ticket.ids) > 1 else [ticket.id]
        booking_id = ticket.order if first else asked[0]
        self.o.asks_change(booking_id, cancel=True)
        self._touch_order(ticket)
        if at_hub:
            once = Once("person", f"cancel-{action.no}", booking_id)
            answers = await ask_hub(
                self.w, self._hub(action), action, lambda hub: hub.services.changes.cancel(booking_id, by="customer", once=once)
            )
            self.o.breaches += answers.contradictions(lambda done: done.refund, is_cancelled)
            done = answers.best(is_cancelled)
            if done.outcome == "cancelled":
                self.o.told_cancelled(booking_id)
            return f"{booking_id} {done.outcome}"
        outcome = await self.w.sites[self._site_of(ticket)].kit.bookings.cancel(booking_id, "guest called", STAFF)
        if outcome.state == "done":
            self.o.told_cancelled(booking_id)
        return f"{booking_id} {outcome.state}"

    def _touch_order(self, ticket: Ticket) -> None:
        for sale in self.o.sales.values():
            if sale.order == ticket.order:
                sale.touched = True

    def _site_of(self, ticket: Ticket) -> str:
        return self.o.sales[ticket.id].site

    async def move(self, action: Action, of: int, how: str, site: str, bay: int, start: int, slots: int, first: bool = False) -> str:
        """`first` as in `cancel`."""
        found = self._ticket(of, how)
        if found is None:
            return "no ticket"
        ticket, at_hub = found
        old = self.o.sales[ticket.order if first else ticket.id]
        resource = f"{site}.box-{bay}" if bay else old.resource
        site = resource.split(".")[0]
        new_id = f"m-{self.w.seed}-{action.no:04d}"
        first = self._slot(start)
        self._moving(ticket, old, Sale(new_id, old.order, site, resource, first, first + slots, old.who, "hub" if at_hub else "site", replaces=old.id))
        if at_hub:
            part = Part(new_id, resource, first, first + slots)
            answers = await ask_hub(
                self.w, self._hub(action), action, lambda hub: hub.services.changes.reschedule(old.id, part, channel="web")
            )
            self.o.breaches += answers.contradictions(lambda moved: same_for_both(moved[0].booking), is_moved)
            return self._moved(ticket, answers.best(is_moved)[0].booking)
        ask = SiteAsk(booking_id=new_id, resource_id=resource, start=first, end=first + slots, name="", customer_id="")
        outcome = await self.w.sites[old.site].kit.bookings.reschedule(old.id, ask, STAFF)
        return self._moved_at_site(ticket, outcome)

    async def extend(self, action: Action, of: int, how: str) -> str:
        found = self._ticket(of, how)
        if found is None:
            return "no ticket"
        ticket, at_hub = found
        old = self.o.sales[ticket.id]
        new_id = f"x-{self.w.seed}-{action.no:04d}"
        asked = self._hub(action) if at_hub else self.w.sites[old.site]
        a = asked.attendance(old.id)  # of a seat whoever is asked may not have heard yet
        resource = a.seat if a is not None and a.seat else old.resource
        sale = Sale(new_id, old.order, old.site, resource, old.start, old.end + 2, old.who, "hub" if at_hub else "site", replaces=old.id)
        self._moving(ticket, old, sale)
        if at_hub:
            seen, _ = await self._hub(action).services.changes.extend(old.id, new_id, 30, channel="web")
            return self._moved(ticket, seen.booking)
        outcome = await self.w.sites[old.site].kit.bookings.extend(old.id, new_id, 30, STAFF)
        return self._moved_at_site(ticket, outcome)

    def _moving(self, ticket: Ticket, old: Sale, new: Sale) -> None:
        new.touched = True  # until the move is over, and known to be, either may stand
        new.group = old.group
        self.o.wants(new)
        self.o.asks_change(old.id)

    def _moved(self, ticket: Ticket, b: Booking) -> str:
        self.heard(b)
        if b.status == "confirmed":
            self._took(ticket, b.id)
        return f"{b.id} {b.status}"

    def _moved_at_site(self, ticket: Ticket, outcome: Any) -> str:
        said = self._viewed(outcome.booking)
        if outcome.state == "done" and outcome.booking.status in HAS:
            self._took(ticket, outcome.booking.id)
        return said

    def _took(self, ticket: Ticket, new_id: str) -> None:
        ticket.ids = [new_id, *ticket.ids[1:]]
        ticket.moves += 1
        self.o.count["changes"] += 1
