"""What people do in the world, action by action, through the product's own services, and what the oracle hears of the answers.

Here: buying, holding, and what staff do about the house; `changes`, `arrivals` and `pages` are the rest. Not here: when and what
(`schedule`), machines and network (`fate`). Invariant: everything told to the oracle stood in an answer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cloud_hub.services.booking import Ask as HubAsk
from shared.errors import Refused
from shared.ledger import claims, lines, records
from shared.ledger.clock_trust import KEEP_EVERY_S
from shared.ledger.frontdesk import Part
from shared.model import Block, Booking, Interval
from site_agent.services.booking import Ask as SiteAsk
from tests.simulation.arrivals import Arrivals
from tests.simulation.changes import Changes
from tests.simulation.fate import at_large
from tests.simulation.guests import KIOSK, STAFF, WAITS, Ticket
from tests.simulation.machines import Books, Hub
from tests.simulation.oracle import Sale
from tests.simulation.pages import Lookers
from tests.simulation.retries import ask_hub, same_for_both, settled
from tests.simulation.schedule import Action
from tests.world import Dead


class People(Changes, Arrivals, Lookers):
    """Carries out the actions of people. `do(action)` never raises for a no or for a machine that is gone."""

    # ---- doing
    async def do(self, action: Action) -> None:
        if action.what.get("of") in self.refused:
            return
        try:
            said = await getattr(self, action.kind)(action, **action.what)
        except Refused as no:
            said = f"refused: {no.refusal.code}"
            self.o.count["refusals"] += 1
            if action.kind == "book":
                self.refused.add(action.no)
        except Dead:
            said = "no answer"
            self.o.count["unanswered"] += 1
        self.w.note(f"#{action.no} {action.kind} {action.what}: {said}")

    # ---- booking
    async def book(self, action: Action, site: str, how: str, start: int, slots: int, who: int, bays: list[int], hold: int | None = None) -> str:
        ids = self._ids(action, len(bays))
        hold_id = self.holds[hold][0] if hold is not None and hold in self.holds else ""
        for i, bay in zip(ids, bays, strict=True):
            first = self._slot(start)
            self.o.wants(
                Sale(i, ids[0], site, f"{site}.box-{bay}", first, first + slots, str(who), "hub" if how in ("web", "api") else "site", group=len(bays) > 1)
            )
        self.tickets[action.no] = Ticket(ids[0], site, how, ids)
        if how in ("web", "api"):
            parts = tuple(Part(i, f"{site}.box-{bay}", self._slot(start), self._slot(start + slots), hold_id) for i, bay in zip(ids, bays, strict=True))
            ask: Any = HubAsk(parts=parts, channel=how, name=f"Testa Birdie {who}", email=f"testa{who}@example.test")
        else:
            ask = self._site_ask(ids[0], site, bays[0], start, slots, who, hold_id=hold_id)
        self.asks[action.no] = ask
        dark_s = self.w.dark_for(site)
        machine = self._hub(action) if how in ("web", "api") else self.w.sites[site]
        kept = [] if hold is not None or len(ids) > 1 else self._kept(machine, self.o.sales[ids[0]])
        behind_s, known = self._behind(machine), self.o.sales[ids[0]].told
        said = await self._book(action, site, how, ask)
        if not known:
            self._over(machine, self.o.sales[ids[0]], kept, min(behind_s, self._behind(machine)))
        patient = self.w.hub.up and self.w.hub.desk.second_machine  # its guest waits for the other machine, whatever the link does
        if not patient and dark_s > self.w.limits.link_silence_s + 2 and any(word in said for word in WAITS[:2]):
            self.o.breach(f"{ids[0]} was asked into a cut of {dark_s:.0f} s, and its guest is kept waiting")
        return said

    async def _book(self, action: Action, site: str, how: str, ask: Any) -> str:
        if how in ("web", "api"):
            answers = await ask_hub(self.w, self._hub(action), action, lambda hub: hub.services.bookings.book(ask))
            for answer in answers.good:
                booked = answer.value
                if booked.fresh and len(booked.made) == 1 and booked.made[0].booking.seller == "hub" and answer.is_last_word:
                    self._numbered(answer.hub, booked.made[0].booking)
                for seen in booked.made:
                    self.heard(seen.booking)
            self.o.breaches += answers.contradictions(lambda booked: [same_for_both(s.booking) for s in booked.made], settled)
            return ", ".join(f"{s.booking.id} {s.booking.status}" for s in answers.best(settled).made)
        outcome = await self.w.sites[site].kit.bookings.book(ask, KIOSK if how == "kiosk" else STAFF)
        return self._viewed(outcome.booking)

    def _site_ask(self, booking_id: str, site: str, bay: int, start: int, slots: int, who: int, **more: Any) -> SiteAsk:
        return SiteAsk(
            booking_id=booking_id, resource_id=f"{site}.box-{bay}", start=self._slot(start), end=self._slot(start + slots),
            name=f"Testa Birdie {who}", email=f"testa{who}@example.test", **more,
        )  # fmt: skip

    def _numbered(self, hub: Hub, b: Booking) -> None:
        """pass-1: looked at while nothing else has been applied since the sale."""
        sql = "SELECT id FROM bookings WHERE site_id = :s AND sale_no >= :n AND id != :i LIMIT 1"
        at_once = b.status == "confirmed" and not hub.desk.second_machine
        row = hub.read(lambda tx: tx.one(sql, {"s": b.site_id, "n": b.sale_no, "i": b.id})) if at_once else None
        if row is not None:
            self.o.breach(f"{b.id} was sold under number {b.sale_no}, which is not above that of {row[0]}, known to the seller")

    def _kept(self, machine: Books, sale: Sale) -> list[str]:
        """For whom or what these books keep the slots that somebody asks for: blocks, and guests who wait for their bay (block-1, block-2)."""
        if not machine.up:
            return []

        def run(tx) -> list[str]:
            blocks = records.blocks_over(tx, sale.resource, sale.start, sale.end)
            waiting = claims.displaced_at(tx, sale.resource, Interval(sale.start, sale.end))
            return [f"block {k.id}" for k in blocks] + [f"displaced guest of {b.id}" for b in waiting if b.status == "confirmed" and b.id != sale.id]

        return machine.read(run) + [f"guest of {i}, who had been let in" for i in self.o.let_in(sale)]

    def _behind(self, machine: Books) -> float:
        """By how much its clock stands behind what the box must remember of its own records; 0 or less where it does not."""
        remembered = self.o.newest.get(machine.name, 0.0) - self.w.limits.clock_behind_s - KEEP_EVERY_S - 5
        return remembered - machine.clock.now()

    def _over(self, machine: Books, sale: Sale, kept: list[str], behind_s: float) -> None:
        """A new sale over what was kept before and is still: the slot had been freed, and did not go to whom it belongs. And clock-2: nobody
        sells by a clock that stands behind the seller's own records."""
        b = machine.booking(sale.id) if sale.told and not sale.override else None
        if b is None or b.seller != machine.side or b.status != "confirmed":
            return
        if behind_s > 0:
            self.o.breach(f"{sale.id} was sold by the clock of {machine.name}, {behind_s:.0f} s further behind its records than is allowed")
        over = sorted(set(kept) & set(self._kept(machine, sale)))
        if over:
            self.o.breach(f"{sale.id} was sold at the {machine.side} on {sale.resource} over the {over[0]}")

    async def again(self, action: Action, of: int) -> str:
        """A client that heard nothing, or pressed twice, sends the same request."""
        if of not in self.asks:
            return "nothing to repeat"
        ticket = self.tickets[of]
        if ticket.moves:
            return "moved since"
        return await self._book(action, ticket.site, ticket.how, self.asks[of])

    async def reuse(self, action: Action, of: int) -> str:
        """A client with a bug sends another wish under an id that it has used."""
        if of not in self.asks:
            return "nothing to reuse"
        ask, ticket = self.asks[of], self.tickets[of]
        if ticket.how in ("web", "api"):
            return await self.reuse_at_hub(self._hub(action), ask)
        site = self.w.sites[ticket.site]
        if site.booking(ticket.id) is None:
            return "nothing to reuse yet"
        other = SiteAsk(
            booking_id=ask.booking_id, resource_id=ask.resource_id, start=ask.start + 8, end=ask.end + 8, name=ask.name, email=ask.email
        )
        outcome = await site.kit.bookings.book(other, STAFF)
        self.o.breach(f"{ask.booking_id} was sent again for another time and answered with {outcome.booking.status}")
        return outcome.booking.status

    # ---- holds
    async def hold(self, action: Action, site: str, how: str, start: int, slots: int, who: int, bay: int) -> str:
        hold_id = f"h-{self.w.seed}-{action.no:04d}"
        where = f"{site}.box-{bay}", self._slot(start), self._slot(start + slots)
        if how in ("web", "api"):
            answers = await ask_hub(self.w, self._hub(action), action, lambda hub: hub.services.holds.hold(hold_id, *where, channel=how))
            status = answers.best(lambda answer: answer[0].status == "held")[0].status
        else:
            status = (await self.w.sites[site].kit.bookings.hold(hold_id, where[0], Interval(where[1], where[2]))).status
        self.holds[action.no] = hold_id, {"site": site, "how": how}
        return status

    def _holder(self, action: Action, of: int):
        hold_id, at = self.holds[of]
        return hold_id, self._hub(action).services.holds if at["how"] in ("web", "api") else self.w.sites[at["site"]].kit.bookings

    async def prolong(self, action: Action, of: int) -> str:
        if of not in self.holds:
            return "no hold"
        hold_id, there = self._holder(action, of)
        return (await there.prolong(hold_id)).status

    async def drop(self, action: Action, of: int) -> str:
        if of not in self.holds:
            return "no hold"
        hold_id, there = self._holder(action, of)
        await there.drop(hold_id)
        return "dropped"

    # ---- the house
    async def block(self, action: Action, site: str, bay: int, start: int, slots: int, how: str) -> str:
        block_id = f"k-{self.w.seed}-{action.no:04d}"
        resource, first = f"{site}.box-{bay}", self._slot(start)
        self.blocks[action.no] = block_id, site
        if how == "api":
            made, _ = await self._hub(action).services.blocks.block(
                block_id, resource, first, first + slots, kind="maintenance", reason="net torn", by="api"
            )
            return made.status
        wanted = Block(id=block_id, site_id=site, resource_id=resource, start=first, end=first + slots, kind="maintenance", reason="net torn")
        return (await self.w.sites[site].kit.bookings.block(wanted, STAFF)).status

    async def unblock(self, action: Action, of: int, how: str) -> str:
        if of not in self.blocks:
            return "no block"
        block_id, site = self.blocks[of]
        if how == "api":
            return (await self._hub(action).services.blocks.unblock(block_id)).status
        return (await self.w.sites[site].kit.bookings.unblock(block_id, STAFF)).status

    async def override(self, action: Action, site: str, bay: int, start: int, slots: int, who: int) -> str:
        (booking_id,) = self._ids(action, 1)
        first = self._slot(start)
        sale = Sale(booking_id, booking_id, site, f"{site}.box-{bay}", first, first + slots, str(who), "site", override=True)
        if self._may_be_sold(sale):
            return "staff enter nothing"
        self.o.wants(sale)
        self.tickets[action.no] = Ticket(booking_id, site, "staff", [booking_id])
        ask = self._site_ask(booking_id, site, bay, start, slots, who, override_reason="guest stands here")
        outcome = await self.w.sites[site].kit.bookings.book(ask, STAFF)
        if not outcome.booking.override:  # it was the site's own to sell, and so an ordinary sale
            self.o.sales[booking_id].override = False
        return self._viewed(outcome.booking)

    def _may_be_sold(self, wish: Sale) -> bool:
        """loss-4: slots that staff name below the floor they state to be theirs to enter. They are as honest as the operator: not while a box
        that was replaced may be selling, nor over what others were told is confirmed and these books have forgotten."""
        box = self.w.sites[wish.site]
        if not box.up or wish.start >= box.read(lambda tx: lines.floor_of(tx, wish.site, wish.resource)):
            return False
        told = [s for s in self.o.sales.values() if s.told and not s.ended and s.resource == wish.resource]
        return at_large(self.w, wish.site) or any(s.start < wish.end and wish.start < s.end and box.booking(s.id) is None for s in told)

    async def queue(self, action: Action, site: str) -> str:
        """Staff look at the conflicts and press the first button of each."""
        desk, out = self.w.sites[site].kit.displaced, []
        for n, conflict in enumerate(desk.conflicts(STAFF)):
            way = next((w for w in conflict.ways if w.possible), None)
            if way is None:
                continue
            at = Interval(self._slot_of(way.start), self._slot_of(way.end))
            try:
                outcome = await desk.place(conflict.booking.id, f"p-{self.w.seed}-{action.no:04d}-{n}", way.resource_id, at, STAFF)
                out.append(f"{outcome.booking.id} {outcome.state}")
            except Refused as no:
                out.append(f"{conflict.booking.id} {no.refusal.code}")
        self.letters()
        return f"placed {out}" if out else "nothing"

    @staticmethod
    def _slot_of(iso: str) -> int:
        return int(datetime.fromisoformat(iso).timestamp()) // 900
