"""People who look, and what they see, held against what was promised: a facility's day on the web (B2, B14), the state of the links, and
what is answered to a request that rides on another's id.

Not here: buying. Invariant: a bay is never shown as free at a time that was confirmed to somebody longer ago than a page is kept, whichever
replica is looked at.
"""

from __future__ import annotations

import msgspec

from cloud_hub.services.booking import Ask
from shared import slots
from shared.ledger.availability import KEEP_S, TAKEN, DayGrid
from tests.simulation.machines import Hub
from tests.simulation.oracle import Oracle
from tests.simulation.schedule import Action

ZONE = "America/Halifax"
#: letters of a bay that can be bought
ON_SALE = "iau"
#: a replica that was let stand by its machine renders what it has read before
LATE_S = 3.0


class Lookers:
    """A part of `People`."""

    o: Oracle
    told_at: dict[str, float]

    async def page(self, action: Action, site: str, start: int) -> str:
        """Somebody looks what is free, and buys nothing."""
        said, wrong = looked_at(self._hub(action), site, self._slot(start), self.o, self.told_at)
        self.o.breaches += wrong
        return said

    async def links(self, action: Action) -> str:
        """Whoever runs the hub looks at its links, on a day on which no disk is lost or put back: no repair is due on any of them."""
        states = self._hub(action).services.links.states()
        for s in states:
            if s.recovery != "sound" or s.link == "stopped":
                self.o.breach(f"the link to {s.site_id} is {s.recovery}, {s.link}, and nobody was set back: {s.fenced_why} {s.stopped_why}")
        return ", ".join(f"{s.site_id} {s.link}" for s in states)

    async def reuse_at_hub(self, hub: Hub, ask: Ask) -> str:
        """A program with a bug sends another wish under an id that the hub has in its books."""
        if hub.booking(ask.parts[0].booking_id) is None:
            return "nothing to reuse yet"
        later = tuple(msgspec.structs.replace(part, start=part.start + 8, end=part.end + 8, hold_id="") for part in ask.parts)
        (first, *_) = (await hub.services.bookings.book(msgspec.structs.replace(ask, parts=later))).made
        self.o.breach(f"{first.booking.id} was sent again for another time and answered with {first.booking.status}")
        return first.booking.status


def looked_at(hub: Hub, site: str, slot: int, oracle: Oracle, told_at: dict[str, float]) -> tuple[str, list[str]]:
    """How many bays the page shows, and sentences of what it shows wrongly. `told_at`: booking -> when its guest heard of it."""
    page = msgspec.json.decode(hub.services.days.get(site, slots.local_day(ZONE, slot)).body, type=DayGrid)
    shown = {(bay.id, row.slot): cell for bay in page.resources for row, cell in zip(page.rows, bay.cells, strict=True)}
    wrong = []
    for sale in oracle.sales.values():
        known_s = hub.world.loop.time() - told_at.get(sale.id, float("inf"))
        # what is the site's, or was changed or visited, the hub may not have heard of yet
        if sale.site != site or sale.side != "hub" or not sale.firm or sale.came or known_s < KEEP_S + LATE_S:
            continue
        if hub.attendance(sale.id) is not None or hub.booking(sale.id).displaced:
            continue
        free = [slot for slot in range(sale.start // 2 * 2, sale.end, 2) if shown.get((sale.resource, slot), TAKEN) in ON_SALE]
        if free:
            wrong.append(f"{hub.name} shows {sale.resource} at slot {free[0]} as free, {known_s:.0f} s after {sale.id} was confirmed there")
    return f"{len(page.resources)} bays, {sum(cell in ON_SALE for cell in shown.values())} half hours on sale", wrong
