"""What people do in the world, action by action, through the product's own services, and what the oracle hears of the answers.

Not here: when and what (`schedule`), machines and network (`fate`). Invariant: everything told to the oracle stood in an answer.
"""

from __future__ import annotations

from typing import Any

from cloud_hub.services.booking import Ask as HubAsk
from cloud_hub.services.changes import Once
from shared.errors import Refused
from shared.ledger import claims, records, secured
from shared.ledger.clock_trust import KEEP_EVERY_S
from shared.ledger.frontdesk import Part
from shared.model import Block, Booking, Interval
from site_agent.services.booking import Ask as SiteAsk
from site_agent.services.people import KIOSK_RIGHTS, ROLES, Asker
from tests.simulation.machines import Books, Hub
from tests.simulation.oracle import Oracle, Sale
from tests.simulation.pages import Lookers
from tests.simulation.retries import ask_hub, is_cancelled, is_moved, same_for_both, settled
from tests.simulation.schedule import Action
from tests.world import Dead, World

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


class People(Lookers):
    """Carries out the actions of people. `do(action)` never raises for a no or for a machine that is gone."""

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

    def heard(self, b: Booking) -> None:
        if b.status == "confirmed" and b.id in self.o.sales:
            self.told_at.setdefault(b.id, self.w.loop.time())
            self.o.told_confirmed(b.id, b.resource_id, b.start, b.end)
            if b.door_pin and b.id not in self.papers:
                self.papers[b.id] = b.door_pin, bool(b.outage_pin)
                self.o.told_pin(b.id, b.door_pin)

    def _viewed(self, view: Any) -> str:
        if view.status in HAS and view.id in self.o.sales:
            sale = self.o.sales[view.id]
            self.o.told_confirmed(view.id, view.resource_id, sale.start, sale.end)
        return f"{view.id} {view.status}"

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

    # ---- changes
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
        a = self.w.sites[old.site].attendance(old.id)
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

    # ---- visits
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
        return f"{view.id} {view.status}"

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
        self.o.wants(Sale(booking_id, booking_id, site, f"{site}.box-{bay}", first, first + slots, str(who), "site", override=True))
        self.tickets[action.no] = Ticket(booking_id, site, "staff", [booking_id])
        ask = self._site_ask(booking_id, site, bay, start, slots, who, override_reason="guest stands here")
        outcome = await self.w.sites[site].kit.bookings.book(ask, STAFF)
        if not outcome.booking.override:  # it was the site's own to sell, and so an ordinary sale
            self.o.sales[booking_id].override = False
        return self._viewed(outcome.booking)

    async def queue(self, action: Action, site: str) -> str:
        """Staff look at the conflicts and reseat who can be."""
        desk, out = self.w.sites[site].kit.bookings, []
        for conflict in desk.conflicts(STAFF):
            way = next((w for w in conflict.ways if w.here), None)
            if way is None:
                continue
            try:
                await desk.reseat(conflict.booking.id, way.resource_id, STAFF)
                self.o.told_seat(conflict.booking.id, way.resource_id)
                out.append(conflict.booking.id)
            except Refused as no:
                out.append(f"{conflict.booking.id} {no.refusal.code}")
        return f"reseated {out}" if out else "nothing"
