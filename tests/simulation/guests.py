"""What the people of the world have in hand, and what everybody who asks for them needs: names, tickets, papers, and telling the oracle.

Not here: what they do (`people`, `changes`, `arrivals`). Invariant: everything told to the oracle stood in an answer.
"""

from __future__ import annotations

from typing import Any

from shared.ledger import secured
from shared.model import Booking
from shared.presence import REST_ON_SALE
from site_agent.services.people import KIOSK_RIGHTS, ROLES, Asker
from tests.simulation.machines import Books, Hub
from tests.simulation.oracle import Oracle, Sale
from tests.simulation.schedule import Action
from tests.world import World

STAFF = Asker("staff", "staff-ada", "Ada Example", ROLES["admin"], "admin")
KIOSK = Asker("kiosk", "kiosk-1", "Front kiosk", KIOSK_RIGHTS)
#: statuses of a view that mean: the guest has it
HAS = ("confirmed", "checked_in", "completed", "no_show")
WAITS = ("requested", "pending", "cancelling")


class Ticket:
    """What one person holds in hand: the ids of the order's bookings as they were last told, and where they ask."""

    def __init__(self, order: str, site: str, how: str, ids: list[str]):
        self.order, self.site, self.how, self.ids = order, site, how, ids
        self.moves = 0

    @property
    def id(self) -> str:
        return self.ids[0]


class Guests:
    """What is common to all that people do."""

    def __init__(self, world: World, oracle: Oracle):
        self.w, self.o = world, oracle
        self.tickets: dict[int, Ticket] = {}
        self.holds: dict[int, tuple[str, dict[str, Any]]] = {}
        self.blocks: dict[int, tuple[str, str]] = {}
        self.asks: dict[int, Any] = {}
        #: booking -> when its guest first read "confirmed", in the scheduler's seconds
        self.told_at: dict[str, float] = {}
        #: booking -> the PIN on its confirmation, and whether it is one for the time of a cut
        self.papers: dict[str, tuple[str, bool]] = {}
        #: who was told no goes home, and neither changes nor visits what they do not have
        self.refused: set[int] = set()

    # ---- names
    def _ids(self, action: Action, n: int) -> list[str]:
        return [f"b-{self.w.seed}-{action.no:04d}" + (f"-{i}" if i else "") for i in range(n)]

    def _slot(self, relative: int) -> int:
        return self.w.slot0 + relative

    def _hub(self, action: Action) -> Hub:
        return self.w.hubs[action.no % len(self.w.hubs)]

    # ---- letters
    def letters(self, *, all_of_them: bool = False) -> None:
        """Whoever was put elsewhere by the house, or given another bay, reads so. To be asked before anything else is told, since the old
        place may be somebody else's by now."""
        if all_of_them:
            self.w.news += [
                (m, b.id) for m in (self.w.hub, *self.w.sites.values()) for s in self.w.site_ids for b in m.bookings(s).values()
            ]
        news, self.w.news = list(dict.fromkeys(self.w.news)), []
        while news:  # one that was put elsewhere twice is told in that order
            left = [(m, booking_id) for m, booking_id in news if not self._letter(m, booking_id)]
            if len(left) == len(news):
                break
            news = left
        self.w.news = [one for one in news if one[0] in self.w.machines] + self.w.news

    def _letter(self, machine: Books, booking_id: str) -> bool:
        """False where it may be told of later."""
        b = machine.booking(booking_id)
        if b is None:
            return True
        if machine.side == "site" and booking_id in self.o.sales:
            a = machine.attendance(booking_id)
            if a is not None and a.seat:
                self.o.told_seat(booking_id, a.seat)
        if booking_id not in self.o.sales and self._is_rest(b):
            old = self.o.sales[b.replaces]
            self.o.told_rest(old, Sale(b.id, b.order_id, b.site_id, b.resource_id, b.start, b.end, old.who, b.seller, replaces=old.id))
            self._holds(old.id, b.id)
            return True
        if not (b.placed and b.status == "confirmed") or booking_id in self.o.sales:
            return True
        if machine.read(lambda tx: secured.told(tx, machine.desk, b)).status != "confirmed" or b.replaces not in self.o.sales:
            return False
        old = self.o.sales[b.replaces]
        whole = b.end - b.start == old.end - old.start or b.end == old.end  # or the rest of what had begun
        if (b.order_id, b.site_id) != (old.order, old.site) or not whole:
            self.o.breach(f"{old.id} was put elsewhere as {b.id}, which is another order, length or facility")
        self.o.told_placed(old, Sale(b.id, old.order, b.site_id, b.resource_id, b.start, b.end, old.who, b.seller, replaces=old.id))
        self.told_at[b.id] = self.w.loop.time()
        self._holds(old.id, b.id)
        return True

    def _is_rest(self, b: Booking) -> bool:
        """What is left of a no-show's booking once the rest of its time is on sale; it may have been changed again before it was heard of."""
        old = self.o.sales.get(b.replaces)
        if old is None:
            return False
        return b.reason == REST_ON_SALE or (old.id in self.o.asked_rest and b.start == old.start and b.end < old.end)

    def _holds(self, old_id: str, new_id: str) -> None:
        for ticket in self.tickets.values():
            if old_id in ticket.ids:
                ticket.ids = [new_id if i == old_id else i for i in ticket.ids]
                ticket.moves += 1

    # ---- answers
    def heard(self, b: Booking) -> None:
        self.letters()
        if b.status == "confirmed" and b.id in self.o.sales:
            self.told_at.setdefault(b.id, self.w.loop.time())
            self.o.told_confirmed(b.id, b.resource_id, b.start, b.end)
            if b.door_pin and b.id not in self.papers:
                self.papers[b.id] = b.door_pin, bool(b.outage_pin)
                self.o.told_pin(b.id, b.door_pin)

    def _viewed(self, view: Any) -> str:
        self.letters()
        if view.status in HAS and view.id in self.o.sales:
            sale = self.o.sales[view.id]
            self.o.told_confirmed(view.id, view.resource_id, sale.start, sale.end)
        return f"{view.id} {view.status}"
