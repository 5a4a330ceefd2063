"""The truth, kept outside the product: what people were told, by whom, about which bay and time. Decided from answers, never from books.

Naive on purpose. A sale is *firm* from the moment somebody was told "confirmed" until that somebody asks for a change of it; from then on
the books' last word counts, for a question may be decided either way. Invariant: nothing here reads a claim.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


class Breach(AssertionError):
    """The product has broken a promise. The sentence says which."""


@dataclass
class Sale:
    """One booking as its guest knows it. Slots count as in the product. `told`: the guest has read "confirmed"."""

    id: str
    order: str
    site: str
    resource: str
    start: int
    end: int
    who: str
    side: str
    override: bool = False
    told: bool = False
    touched: bool = False
    ended: bool = False
    replaces: str = ""
    came: bool = False
    lost_with_disk: bool = False
    #: it was the site's own sale, and went with the site's disk: nobody sells there before people have stated what was sold (loss-4)
    gone: bool = False
    #: its cancellation was on that disk only: the booking may come back, which costs nobody a bay
    end_lost: bool = False
    group: bool = False
    #: where its guest was told to play instead, on the same booking (block-2)
    seat: str = ""
    #: the house gave it in the place of another (B12)
    placed: bool = False
    #: what is left of another, the rest of whose time is on sale (B15)
    rest: bool = False

    @property
    def firm(self) -> bool:
        return self.told and not (self.touched or self.ended or self.lost_with_disk)


@dataclass
class Oracle:
    """Everything that was promised. `count` is what the run reports."""

    sales: dict[str, Sale] = field(default_factory=dict)
    count: Counter = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    #: (resource, slot) -> ids of sales that were firm there when they were made
    taken: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    double: set[tuple[str, int]] = field(default_factory=set)
    asked_cancel: set[str] = field(default_factory=set)
    #: the rest of whose time staff have asked to put on sale, whatever they heard (B15), and whether no other change was asked for
    asked_rest: dict[str, bool] = field(default_factory=dict)
    #: machine -> the latest moment of its clock before somebody set it: its books have records from about then
    newest: dict[str, float] = field(default_factory=dict)
    #: who cancelled, came all the same, and was let in by a site whose books had forgotten it, while the hub knew what those books say
    inside: dict[str, Sale] = field(default_factory=dict)
    #: (site, PIN) -> the order whose confirmation it stands on
    pins: dict[tuple[str, str], str] = field(default_factory=dict)

    # ---- what people say and hear
    def wants(self, sale: Sale) -> None:
        """Somebody asks for a booking under this id. The answer may be lost; the wish may still be granted."""
        self.sales.setdefault(sale.id, sale)

    def told_confirmed(self, booking_id: str, resource: str, start: int, end: int) -> None:
        sale = self.sales[booking_id]
        if (sale.resource, sale.start, sale.end) != (resource, start, end):
            self.breach(f"{booking_id} was asked for {sale.resource} {sale.start}-{sale.end} and confirmed for {resource} {start}-{end}")
        if sale.told or sale.ended:
            return
        sale.told = True
        self.count["sales"] += 1
        if sale.replaces and (old := self.sales.get(sale.replaces)) is not None:
            old.touched = True
        if not (sale.touched or sale.override):
            self._takes(sale, resource)

    def _takes(self, sale: Sale, resource: str) -> None:
        for slot in range(sale.start, sale.end):
            there = self.taken.setdefault((resource, slot), [])
            for other in [i for i in there if self.sales[i].firm and i != sale.id]:
                self.double.add((resource, slot))
                self.breach(f"{resource} at slot {slot} was sold twice: to {other} and to {sale.id}, both told that it is confirmed")
            for other in [i for i in there if self.sales[i].gone and not (self.sales[i].touched or self.sales[i].ended)]:
                self.breach(f"{resource} at slot {slot} was sold to {sale.id}, and nobody had stated yet what the lost disk had sold: {other}")
            there.append(sale.id)

    def told_seat(self, booking_id: str, resource: str) -> None:
        """block-2: the guest was given another bay, and the first is free for others."""
        sale = self.sales.get(booking_id)
        if sale is None or sale.seat == resource:
            return
        sale.seat = resource
        self._either(sale)
        for there in self.taken.values():
            if booking_id in there:
                there.remove(booking_id)
        if sale.firm:
            self._takes(sale, resource)

    def told_placed(self, old: Sale, new: Sale) -> None:
        """B12: the house has written that it could not keep the place, and which one there is instead."""
        new.group, new.touched, new.told, new.placed = old.group, old.touched, True, True
        self.sales[new.id] = new
        self.count["placed"] += 1
        old.touched = True
        if old.seat or old.came or any(s is not new for s in self._places(old)):
            self._either(old)
        if not new.touched:
            self._takes(new, new.resource)

    def _places(self, old: Sale) -> list[Sale]:
        return [s for s in self.sales.values() if s.placed and s.replaces == old.id]

    def _either(self, old: Sale) -> None:
        """The house has given two places, each side one (block-2), or the guest is let in on the first (own-3): one of them stands."""
        for place in self._places(old):
            place.touched = True

    def asks_rest(self, booking_id: str) -> None:
        """B15: staff ask to put the rest of a no-show's time on sale. From here on the guest has the whole, or what is left of it."""
        sale = self.sales[booking_id]
        if not sale.rest:  # of that nothing more is sold
            self.asked_rest.setdefault(booking_id, not sale.touched)
            sale.touched = True

    def told_rest(self, old: Sale, new: Sale) -> None:
        """The books say what is left, and it is the guest's, unless another change was asked for."""
        if old.id not in self.asked_rest:
            self.breach(f"the rest of {old.id} is on sale as {new.id}, and nobody asked for that")
        same = (new.order, new.start) == (old.order, old.start) and new.resource in (old.resource, old.seat)
        if not (same and old.start < new.end < old.end):
            self.breach(f"the rest of {old.id} was sold, and {new.id} is not what is left of it")
        sure = self.asked_rest.get(old.id, False) and old.order not in self.asked_cancel
        new.group, new.touched, new.told, new.rest = old.group, not sure, True, True
        self.sales[new.id] = new
        self.count["changes"] += 1
        if sure:
            self._takes(new, new.resource)

    def asks_change(self, booking_id: str, *, cancel: bool = False) -> None:
        """From here on either answer is possible, until it is told."""
        sale = self.sales.get(booking_id)
        if sale is not None:
            sale.touched = True
            if booking_id in self.asked_rest:
                self.asked_rest[booking_id] = False
            if cancel:
                self.asked_cancel.add(sale.order)

    def told_cancelled(self, booking_id: str) -> None:
        sale = self.sales.get(booking_id)
        if sale is not None:
            sale.ended = True
            self.count["changes"] += 1

    def told_came(self, booking_id: str, *, agreed: bool = False) -> None:
        """`agreed`: the two sides know of each other's books as they are after a repair."""
        sale = self.sales.get(booking_id)
        if sale is not None:
            sale.came = True
            self._either(sale)
            self.count["check_ins"] += 1
            if sale.ended and agreed:
                self.inside[sale.id] = sale

    def told_left(self, booking_id: str) -> None:
        self.inside.pop(booking_id, None)

    def let_in(self, sale: Sale) -> list[str]:
        """Who is in that bay, at that time, on a booking that was cancelled."""
        return [i for i, s in self.inside.items() if s.resource == sale.resource and s.start < sale.end and sale.start < s.end]

    def told_pin(self, booking_id: str, pin: str) -> None:
        """pass-3, pass-4: a PIN is one order's, and nobody's who had it before."""
        sale = self.sales.get(booking_id)
        if sale is None:
            return
        first = self.pins.setdefault((sale.site, pin), sale.order)
        if first != sale.order:
            self.breach(f"{booking_id} was given a PIN that stands on the confirmation of {first}, too")

    def breach(self, sentence: str) -> None:
        self.breaches.append(sentence)

    # ---- judging the end
    def judge_lost(self, found: dict[str, tuple[str, bool]]) -> list[str]:
        """`found`: booking id -> (status by its owner, whether both books have it). Everybody who was told "confirmed" and asked for
        nothing since has it in both books; everybody who never cancelled has one."""
        lost = []
        for sale in self.sales.values():
            if not sale.firm:
                continue
            status, both = found.get(sale.id, ("", False))
            if status != "confirmed" or not both:
                where = "" if both else ", not in both books"
                lost.append(f"{sale.id} ({sale.resource} {sale.start}-{sale.end}, sold by {sale.side}) is {status or 'unknown'}{where}")
        lost += self._orders_lost(found)
        return lost

    def _orders_lost(self, found: dict[str, tuple[str, bool]]) -> list[str]:
        """A chain of changes without a cancel ends in a booking."""
        chains: dict[str, list[Sale]] = {}  # of a group, one for each part
        for sale in self.sales.values():
            chains.setdefault(self._first(sale).id, []).append(sale)
        out = []
        for order, chain in chains.items():
            told = [s for s in chain if s.told]
            if not told or chain[0].order in self.asked_cancel or any(s.lost_with_disk or s.ended for s in chain):
                continue
            if not any(found.get(s.id, ("", False))[0] == "confirmed" for s in chain):
                states = {s.id: found.get(s.id, ("unknown", False))[0] for s in chain}
                out.append(f"order {order} was changed, never cancelled, and has no booking left: {states}")
        return out

    def _first(self, sale: Sale) -> Sale:
        while sale.replaces in self.sales:
            sale = self.sales[sale.replaces]
        return sale

    def judge_ghosts(self, found: dict[str, tuple[str, bool]]) -> list[str]:
        """own-4: whoever was told "cancelled" holds nothing more of that order, but for what a guest came for."""
        ended = {s.order for s in self.sales.values() if s.ended and not s.group}
        hurt = {s.order for s in self.sales.values() if s.lost_with_disk or s.end_lost or s.came}
        return [
            f"order {s.order} was cancelled, and {s.id} still stands"
            for s in self.sales.values()
            if s.order in ended - hurt and found.get(s.id, ("", False))[0] == "confirmed"
        ]

    def judge_twins(self, found: dict[str, tuple[str, bool]]) -> list[str]:
        """own-4: a booking is moved once. Whoever was told of two new ones in its place holds one of them, and the other is on sale."""
        first: dict[str, Sale] = {}
        out = []
        for s in self.sales.values():
            if not (s.replaces and s.told) or s.lost_with_disk or s.came or found.get(s.id, ("", False))[0] != "confirmed":
                continue
            other = first.setdefault(s.replaces, s)
            if other is not s:
                out.append(f"{s.replaces} was moved twice, and both {other.id} and {s.id} stand")
        return out

    def judge_double(self, live: dict[str, tuple[str, int, int]]) -> list[str]:
        """`live`: every booking that counts at the end (firm by what was told, or confirmed by its owner's books after a change), with its
        bay (where the guest was reseated: that one) and slots. Returns a sentence for every slot that two of them hold."""
        taken: dict[tuple[str, int], str] = {}
        out = []
        for booking_id, (resource, start, end) in sorted(live.items()):
            for slot in range(start, end):
                other = taken.setdefault((resource, slot), booking_id)
                if other != booking_id and (resource, slot) not in self.double:
                    self.double.add((resource, slot))
                    out.append(f"{resource} at slot {slot} is held by {other} and by {booking_id}")
        return out
