"""What must be true of every single booking at the end of a day, read out of the books: money, PINs, late answers, hours, guests, overrides."""

from __future__ import annotations

from shared.model import Booking
from tests.simulation.fate import CLOSES_H
from tests.simulation.oracle import Oracle
from tests.world import World

#: the world begins at noon by the facility's clock
NOON_H = 12


class Papers:
    """`closed_since`: site -> the true time from which it closes early."""

    def __init__(self, world: World, oracle: Oracle, closed_since: dict[str, float]):
        self.w, self.o, self.closed_since = world, oracle, closed_since

    def wrong(self) -> list[str]:
        """A sentence for everything that is not as it must be."""
        out: list[str] = []
        for site_id, site in self.w.sites.items():
            found = sorted(site.bookings(site_id).values(), key=lambda b: b.id)
            out += self._money(found) + self._pins(site_id, found) + self._late(found) + self._closed(site_id, found)
            out += self._put_out(site_id, found) + self._overridden(site_id, found)
        return out

    @staticmethod
    def _money(found: list[Booking]) -> list[str]:
        return [
            f"the lines of {b.id} do not add up to its price"
            for b in found
            if b.price is not None and sum(line.cents for line in b.price.lines) != b.price.total_cents
        ]

    @staticmethod
    def _pins(site_id: str, found: list[Booking]) -> list[str]:
        """pass-3."""
        seen: dict[str, Booking] = {}
        return [
            f"{b.id} and {seen[b.pin].id} have the same PIN at {site_id}"
            for b in found
            if b.status == "confirmed" and b.pin and seen.setdefault(b.pin, b).order_id != b.order_id  # what was put elsewhere keeps it
        ]

    def _late(self, found: list[Booking]) -> list[str]:
        """terr-9: what was asked of the other side was answered in time, or with a no."""
        out = []
        for b in found:
            sale = self.o.sales.get(b.id)
            asked = sale is not None and sale.side != b.seller and b.answer_by and b.sale_no and not sale.override
            if asked and b.created_at > b.answer_by + self.w.skew_max + 1:
                out.append(f"{b.id} was sold {b.created_at - b.answer_by} s after its asker had stopped waiting")
        return out

    def _closed(self, site_id: str, found: list[Booking]) -> list[str]:
        """terr-6: the owner judges the opening hours, whatever the asker believes them to be."""
        since = self.closed_since.get(site_id)
        if since is None:
            return []
        out = []
        for b in found:
            sale = self.o.sales.get(b.id)
            hours = {int((NOON_H + (slot - self.w.slot0) / 4) % 24) for slot in range(b.start, b.end)}
            asked = sale is not None and sale.side == "hub" and b.seller == "site" and not b.replaces
            if asked and b.sale_no and b.created_at > since + self.w.skew_max + 1 and max(hours) >= CLOSES_H:
                out.append(f"{b.id} was sold for a time at which {site_id} is closed")
        return out

    def _put_out(self, site_id: str, found: list[Booking]) -> list[str]:
        """own-3: nobody who is in the bay has lost it."""
        out = []
        for b in found:
            a = self.w.sites[site_id].attendance(b.id)
            if b.status == "cancelled" and not b.replaced_by and a is not None and a.state == "checked_in":
                out.append(f"the guest of {b.id} is in the bay, and the booking was cancelled")
        return out

    def _overridden(self, site_id: str, found: list[Booking]) -> list[str]:
        """terr-5: an override gives way to what the hub had sold, unless its guest is in the bay."""
        over = {b.id for b in found if b.override and b.status == "confirmed"}
        seated = self.w.sites[site_id].claims(site_id)
        out = []
        for b in found:
            if not (b.displaced and b.status == "confirmed" and b.seller == "hub"):
                continue
            for other in sorted({seated.get((b.resource_id, slot), ("", ""))[1] for slot in range(b.start, b.end)} & over):
                a = self.w.sites[site_id].attendance(other)
                if a is None or not a.state:
                    out.append(f"{b.id}, sold on the web, gave way to the override {other}")
        return out
