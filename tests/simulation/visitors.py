"""People at the reader of a door, and people who still reach a hub that is not the hub any more, or never was.

As `people`, of which it is the rest. The reader asks the door controller alone, whatever the box knows. Not here: check-in at the kiosk.
Invariant: everything told to the oracle was read on a confirmation or seen at a door.
"""

from __future__ import annotations

from cloud_hub.services.booking import Ask
from shared.errors import Refused
from shared.ledger.frontdesk import Part
from tests.simulation.guests import Ticket
from tests.simulation.machines import Hub
from tests.simulation.oracle import Sale
from tests.simulation.people import People
from tests.simulation.schedule import Action
from tests.world import Dead

VISITS = frozenset({"at_door", "read_pins", "try_pins", "book_at"})


class Visitors:
    def __init__(self, people: People):
        self.people, self.w, self.o = people, people.w, people.o
        #: site -> PINs that somebody saw on the screen of the door controller when they were nobody's
        self.seen: dict[str, set[str]] = {}

    async def do(self, action: Action) -> None:
        try:
            said = await getattr(self, action.kind)(action, **action.what)
        except Refused as no:
            said = f"refused: {no.refusal.code}"
            self.o.count["refusals"] += 1
        except Dead:
            said = "no answer"
            self.o.count["unanswered"] += 1
        self.w.note(f"#{action.no} {action.kind} {action.what}: {said}")

    # ---- at the door
    async def at_door(self, action: Action, of: int) -> str:
        """A guest types the PIN of the confirmation. What was sold with a PIN for a cut opens, even if the box has never heard of it."""
        ticket = self.people.tickets.get(of)
        paper = self.people.papers.get(ticket.id) if ticket is not None else None
        if paper is None:
            return "has no PIN"
        sale, (pin, spare) = self.o.sales[ticket.id], paper
        site = self.w.sites[sale.site]
        opened = site.doors.typed(pin)
        known = site.booking(sale.id)
        if spare and sale.firm and not opened and not (known is not None and known.displaced):
            self.o.breach(f"the door of {sale.site} stayed shut for {sale.id}, which was sold with a PIN for the time of a cut")
        if opened:
            self.o.count["doors"] += 1
        return "opened" if opened else "stayed shut"

    async def read_pins(self, action: Action, site: str) -> str:
        """Somebody who is not a guest looks over a shoulder at the controller's screen."""
        found = {v.pin for v in self.w.sites[site].doors.visitors.values() if v.pin and not v.resource_id}
        self.seen[site] = self.seen.get(site, set()) | found
        return f"saw {len(found)}"

    async def try_pins(self, action: Action, site: str) -> str:
        """Later that person tries them all. While the two sides hear each other everybody who may come in is known, and a PIN that nobody has
        opens nothing. In a cut that is not promised: then a guest may have it whom the box has not heard of."""
        box = self.w.sites[site]
        if self.w.dark_for(site) or not (box.up and box.hears() and self.w.hub.hears(site)):
            return "the link is down"
        known = {pin for m in (box, self.w.hub) for b in m.bookings(site).values() for pin in (b.pin, b.outage_pin)}
        for pin in sorted(self.seen.get(site, set()) - known):
            if box.doors.typed(pin):
                self.o.breach(f"the door of {site} opened to somebody with a PIN that is no guest's")
        return f"tried {len(self.seen.get(site, ()))}"

    # ---- at another hub
    async def book_at(self, action: Action, hub: str, site: str, start: int, slots: int, who: int, bay: int) -> str:
        """Somebody whose browser still finds the hub of this name, or has been given its address."""
        booking_id, resource, first = f"s-{self.w.seed}-{action.no:04d}", f"{site}.box-{bay}", self.w.slot0 + start
        self.o.wants(Sale(booking_id, booking_id, site, resource, first, first + slots, str(who), "hub"))
        self.people.tickets[action.no] = Ticket(booking_id, site, "web", [booking_id])
        machine = next((h for h in (self.w.hub, *self.w.strays) if isinstance(h, Hub) and h.name == hub), None)
        if machine is None:
            return "there is no such hub"
        ask = Ask(parts=(Part(booking_id, resource, first, first + slots, ""),), channel="web", name=f"Testa Birdie {who}", email=f"testa{who}@example.test")
        booked = await machine.services.bookings.book(ask)
        for seen in booked.made:
            self.people.heard(seen.booking)
        return ", ".join(f"{s.booking.id} {s.booking.status}" for s in booked.made)
