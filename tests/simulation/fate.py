"""What befalls the world, action by action: weather, cuts, crashes, the broker, clocks, disks, boxes that return.

Also the operator's part in it (loss-1, loss-4, loss-5): restoring, adopting, vouching that the old box is off, stating what was sold. The
operator is honest and knows what the oracle knows: nobody vouches while the old box runs, nor states while a lost sale lies ahead.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec

from cloud_hub.store import settings
from shared.errors import Refused
from shared.ledger import boxes, fencing, lines, marks, records, repair, streams
from shared.policy import Opening
from shared.profiles import profile
from shared.runtime.transport import Faults
from site_agent.services.booking import Ask as SiteAsk
from tests.simulation.guests import STAFF
from tests.simulation.machines import HUB_ID, Books, Hub, Site, empty
from tests.simulation.oracle import Oracle, Sale
from tests.simulation.schedule import WEATHER, Action
from tests.world import Dead, Disk, World

#: by the facility's clock, once it closes early
CLOSES_H = 20
HAD = ("confirmed", "cancelling", "cancelled")
#: how often the operator looks whether the statement that a box waits for can be given
LOOKS_EVERY_S = 4.0
#: how long an answer may be on its way to the guest
ANSWER_S = 0.05
#: within this time a machine has looked at its clock
TICK_S = 1.5


class Fate:
    def __init__(self, world: World, oracle: Oracle):
        self.w, self.o = world, oracle
        self.copies: dict[int, bytes] = {}
        self.closed_since: dict[str, float] = {}
        self.tasks: list[asyncio.Task] = []
        self.two_machines = False

    async def do(self, action: Action) -> None:
        self.w.note(f"#{action.no} {action.kind} {action.what}")
        done = getattr(self, action.kind)(action, **action.what)
        if asyncio.iscoroutine(done):
            await done

    def machine(self, name: str) -> Books:
        return self.w.hub if name == "hub" else self.w.sites[name]

    # ---- clock and network
    def _pass(self, action: Action, s: int) -> None:
        self.w.forward(s)

    def weather(self, action: Action, name: str) -> None:
        self.w.network.faults = Faults(**WEATHER[name])

    def cut(self, action: Action, site: str, way: str, noticed: bool) -> None:
        self.o.count["cuts"] += 1
        self.w.cut(site, way, noticed=noticed)

    def heal(self, action: Action, site: str) -> None:
        self.w.heal(site)

    async def broker(self, action: Action, down_s: float, wipe: bool) -> None:
        self.w.network.kill_broker()
        await asyncio.sleep(down_s)
        self.w.network.start_broker(wipe=wipe)

    def replay(self, action: Action, client: str, count: int) -> None:
        for c in filter(self.w.attached, self.machine(client).clients()):
            self.w.network.replay(c, count)

    async def skew(self, action: Action, machine: str, s: float) -> None:
        """Not before every machine has looked at its clock after hours that were passed over: in life it looks once a second."""
        while (early_s := self.w.passed_at + TICK_S - self.w.loop.time()) > 0:
            await asyncio.sleep(early_s)
        self.w.skew_max = max(self.w.skew_max, abs(s))
        for m in self.w.hubs if machine == "hub" else [self.machine(machine)]:
            if m.up and m.clock.skew_s <= self.w.limits.clock_ahead_s:  # further ahead it was in doubt, and believed none of its own moments
                self.o.newest[m.name] = max(self.o.newest.get(m.name, 0.0), m.clock.now())
            m.clock.skew_s = s

    def hours(self, action: Action, site: str) -> None:
        """The facility closes earlier from now on, and the hub has not been told."""
        m = self.w.sites[site]
        known = profile("business")
        closes = msgspec.structs.replace(known.policy.hours, weekly=(Opening(opens="00:00", closes=f"{CLOSES_H}:00"),))
        new = msgspec.structs.replace(known, policy=msgspec.structs.replace(known.policy, hours=closes), version=9)
        if not m.up:
            return

        def run(tx) -> None:
            records.put_document(tx, "profile", site, site, 9, records.text(new))
            tx.tell("document", site)

        m.db.write_now(run)
        self.closed_since[site] = self.w.now()

    # ---- processes
    async def crash(self, action: Action, machine: str, commits: int, lose_last: bool, down_s: float) -> None:
        m = self.w.hubs[action.no % len(self.w.hubs)] if machine == "hub" else self.machine(machine)
        if not m.up:
            return
        m.db.crash_in, m.db.lose_last = commits, lose_last
        for _ in range(200):
            if not m.up:
                break
            await asyncio.sleep(0.05)
        if m.up:
            m.die()
        self.o.count["crashes"] += 1
        await asyncio.sleep(down_s)
        await self.w.start(m)

    # ---- disks
    def backup(self, action: Action, machine: str) -> None:
        self.copies[action.no] = self.machine(machine).disk.image()

    async def restore(self, action: Action, machine: str, of: int) -> None:
        """`site-agent restore`, `cloud-hub restore`: the disk as it was then, and the fence."""
        if of not in self.copies:
            return
        m = self.machine(machine)
        before = m.disk
        if m.up:
            m.die()
        disk = before.another(self.copies[of])
        self._lose(m, before, disk)
        for box in self.w.hubs if isinstance(m, Hub) else [m]:
            if box.up:
                box.die()
            box.disk = disk
        # whoever starts a process on it before that is done starts it on books that were put back
        m.prepare = lambda tx, desk: self._fence(tx, desk, vouched=True)
        self.o.count["restores"] += 1
        await asyncio.sleep(0.5)
        if isinstance(m, Hub):
            await self._restore_hub(m)
        else:
            await self._restore_site(m)

    async def _restore_hub(self, hub: Hub) -> None:
        for replica in self.w.hubs:
            replica.term, replica.box_id = replica.term + 1, f"hub-box-{replica.term + 1}"
        hub.prepare = lambda tx, desk: begin_term(tx, hub, self.w.site_ids, vouched=True)
        for replica in self.w.hubs:
            await self.w.start(replica)
            replica.desk.second_machine = self.two_machines

    async def _restore_site(self, site: Site) -> None:
        await self._enrol(site)
        site.prepare = lambda tx, desk: self._fence(tx, desk, vouched=True)
        await self.w.start(site)
        self._operator(site)

    @staticmethod
    def _fence(tx, desk, *, vouched: bool) -> None:
        fencing.fence_all(tx, desk, "This copy was put back from a backup.")
        for (site_id,) in tx.all("SELECT site_id FROM streams ORDER BY site_id"):
            boxes.mark_restored(tx, desk, site_id, vouched=vouched, stated=False)

    async def _enrol(self, site: Site) -> None:
        """The operator has the hub grant a term for the new box (loss-5), as soon as there is a hub to grant it."""
        while True:
            with suppress(Dead):
                if self.w.hub.up:
                    site.grant = f"word-{self.w.seed}-{site.name}-{site.lives}"
                    site.term = self.w.hub.db.write_now(
                        lambda tx: boxes.grant(tx, self.w.hub.desk, site.site_id, boxes.fingerprint(site.grant))
                    )
                    site.box_id = f"{site.site_id}-box-{site.term}"
                    return
            await asyncio.sleep(0.5)

    async def rewind(self, action: Action, machine: str, of: int, mark: bool) -> None:
        """An older image of the disk is put back, and nobody says so. `mark`: the box keeps one on another medium (loss-1), where the last
        word of the books that are gone still stands; without it nobody comes to this box before it has been heard on the link."""
        m = self.w.sites[machine]
        if of not in self.copies or not m.up:
            return
        left = m.read(lambda tx: marks.of(tx, m.desk, None))
        disk = Disk(self.copies[of])
        m.die()
        self._lose(m, m.disk, disk)
        m.disk = disk
        self.o.count["restores"] += 1
        await asyncio.sleep(0.5)
        if mark:
            m.prepare = lambda tx, desk: marks.hold_against(tx, desk, left)
        await self.w.start(m)
        self._operator(m)

    def rot(self, action: Action, machine: str, site: str, rows: int) -> None:
        """A damaged page: this many bookings are gone from these books, whole, each of them one that the other side owns and nobody changes."""
        m = self.machine(machine)
        mine = m.read(lambda tx: lines.lines_of(tx, site))
        theirs = [
            b
            for b in sorted(m.bookings(site).values(), key=lambda b: b.id)
            if b.status == "confirmed" and (b.start < mine[b.resource_id]) == (m.side == "hub") and b.start > self.w.now() // 900 + 20
            and (sale := self.o.sales.get(b.id)) is not None and sale.firm and not sale.group
        ]  # fmt: skip

        def run(tx) -> None:
            for b in theirs[:rows]:
                self.w.note(f"the disk of {m.name} lost {b.id}")
                for statement in ("DELETE FROM bookings WHERE id = :b", "DELETE FROM claims WHERE ref = :b"):
                    tx.run(statement, {"b": b.id})

        if m.up:
            m.db.write_now(run)

    def second_machine(self, action: Action) -> None:
        """From now on the hub calls a sale confirmed when another machine holds it (loss-7); here that is the site."""
        self.two_machines = True
        for hub in self.w.hubs:
            hub.desk.second_machine = True

    async def lose_disk(self, action: Action, site: str, returns: bool) -> None:
        """The box is stolen, or its disk dies; a new one adopts the facility. The old box may turn up again: then nobody knows that it is off."""
        old = self.w.sites[site]
        if old.up:
            old.die()
        self._lose(old, old.disk, None)
        self.o.count["restores"] += 1
        stray = Site(self.w, site, name=f"{site}-old", disk=old.disk)
        stray.box_id, stray.term, stray.grant = old.box_id, old.term, old.grant
        stray.clock, stray.at_large = old.clock, returns
        new = self.w.sites[site] = Site(self.w, site, name=f"{site}-new", disk=Disk(empty("site")))
        new.clock.forward(self.w.passed)
        new.doors = old.doors
        self.w.strays.append(stray)
        self.w.heal(site)
        await asyncio.sleep(2)
        await self._enrol(new)
        new.prepare = lambda tx, desk: boxes.adopt(tx, desk, site, hub_id=HUB_ID, vouched=False, stated=False)
        await self.w.start(new)
        self._operator(new)

    async def old_box_wakes(self, action: Action, site: str) -> None:
        """The box that was replaced is plugged in again, sells what it believes to be its own, and hears of its successor."""
        for stray in [s for s in self.w.strays if isinstance(s, Site) and s.site_id == site and not s.up]:
            await self.w.start(stray)
            heard_s = 0.0
            for n in range(10):
                sold = await self._old_sale(stray, action, n)
                if sold and heard_s >= 3:
                    self.o.breach(f"the box of {site} that was replaced has heard the hub for {heard_s:.0f} s and sells {sold}")
                await asyncio.sleep(1.5)
                heard_s = heard_s + 1.5 if stray.hears() and self._enrolled(site) else 0.0

    def _enrolled(self, site: str) -> bool:
        """Whether the hub follows the new box by now."""
        return self.w.hub.read(lambda tx: boxes.enrolled(tx, site))[1] == self.w.sites[site].box_id

    async def _old_sale(self, stray: Site, action: Action, n: int) -> str:
        """Somebody buys at the old box's kiosk. Told to the oracle as any other sale. Returns its id where it was sold."""

        start = int(self.w.now() // 1800 + 1 + n % 4) * 2
        bay = f"{stray.site_id}.box-{1 + n % self.w.bays}"
        booking_id = f"o-{self.w.seed}-{action.no:04d}-{n}"
        self.o.wants(Sale(booking_id, booking_id, stray.site_id, bay, start, start + 4, "old", "old box"))
        ask = SiteAsk(booking_id=booking_id, resource_id=bay, start=start, end=start + 4, name="Testa Birdie", email="old@example.test")
        try:
            outcome = await stray.kit.bookings.book(ask, STAFF)
        except (Refused, Dead) as no:
            self.w.note(f"old box: {no!r}")
            return ""
        if outcome.booking.status == "confirmed":
            self.o.told_confirmed(booking_id, bay, start, start + 4)
            self.w.note(f"old box sold {booking_id}")
            return booking_id
        return ""

    def lose_word(self, old: Hub) -> None:
        """A hub is switched off whose place another has taken: what it sold and no other machine has is gone."""
        self._lose(old, old.disk, None)

    def _lose(self, m: Books, before: Disk, after: Disk | None) -> None:
        """loss-3: which promises were on this disk alone. The truth is looked up before anything else happens."""
        self.closed_since.pop(m.name.removesuffix("-new"), None)  # the hours that were stated there are gone with it
        self.o.newest.pop(m.name, None)  # its records are gone, and it can remember no later moment
        others = [x for x in self.w.machines if x is not m and x.disk is not before]
        kept = [Books_of(after)] if after is not None else []
        on_its_way = []
        for sale in self.o.sales.values():
            if sale.lost_with_disk:
                continue
            known = [b for reader in (*others, *kept) if (b := reader.booking(sale.id)) is not None]
            if sale.ended:
                sale.end_lost = sale.end_lost or all(b.status == "confirmed" for b in known)
                continue
            there = m.booking(sale.id)
            if there is not None and not any(b.status in HAD for b in known):
                by_site = isinstance(m, Site) and there.seller == "site" and not sale.override
                (self._lost(m, sale, by_site) if sale.told else on_its_way.append((sale, by_site)))
        if on_its_way:  # said by a process that has ended when its guest hears it
            self.w.loop.call_later(ANSWER_S, lambda: [self._lost(m, *one) for one in on_its_way if one[0].told])

    def _lost(self, m: Books, sale: Sale, by_site: bool) -> None:
        sale.lost_with_disk, sale.gone = True, by_site
        if self.two_machines and isinstance(m, Hub):
            self.o.breach(f"{sale.id} was called confirmed by the hub, and no second machine had it when the hub's disk was lost")
        self.o.count["lost_with_disk"] += 1
        self.w.note(f"lost with the disk of {m.name}: {sale.id}")

    # ---- the operator's words
    def _operator(self, site: Site) -> None:
        self.tasks.append(self.w.loop.create_task(self._speak(site)))

    async def _speak(self, site: Site) -> None:
        """Vouches for the old box when it is off for good, and states what was sold when nothing lost lies ahead."""
        while True:
            await asyncio.sleep(LOOKS_EVERY_S)
            if site.up and site is self.w.sites[site.site_id] and self._may_speak(site):
                with suppress(Dead, Refused):
                    self.speak(site)
                    return

    def speak(self, site: Site) -> None:
        site.db.write_now(lambda tx: repair.vouch(tx, site.desk, site.site_id, by="operator"))
        site.db.write_now(lambda tx: repair.state_sold(tx, site.desk, site.site_id, by="operator", reason="looked at the paper"))
        self.w.note(f"operator: stated what was sold at {site.name}")

    def may_vouch(self, site: Site) -> bool:
        """Whether no box of before is at large that has not heard of its successor."""
        return not at_large(self.w, site.site_id)

    def _may_speak(self, site: Site) -> bool:
        if not self.may_vouch(site):
            return False
        here = [s for s in self.o.sales.values() if s.site == site.site_id and s.end * 900 > self.w.now()]
        return not any(s.lost_with_disk or (s.side == "old box" and s.told and site.booking(s.id) is None) for s in here)


def begin_term(tx, hub: Hub, site_ids: tuple[str, ...], *, vouched: bool) -> None:
    """What `cloud-hub restore` and `cloud-hub rebuild` write (loss-1, loss-5). `vouched`: with the operator's word that the hub before is off."""
    settings.put(tx, "box_id", hub.box_id)
    settings.put(tx, "term", str(hub.term))
    hub.desk.box_id, hub.desk.term = hub.box_id, hub.term
    for site_id in site_ids:
        streams.open_site(tx, site_id, hub_id=HUB_ID, box_id=hub.box_id, term=hub.term)
    fencing.fence_all(tx, hub.desk, "These books were put back from a backup, or are new.")
    for site_id in streams.sites(tx):
        boxes.mark_restored(tx, hub.desk, site_id, vouched=vouched, stated=False)


def at_large(world: World, site_id: str) -> bool:
    """Whether a box that was replaced may still be plugged in somewhere, and has not heard of its successor."""
    strays = [s for s in world.strays if isinstance(s, Site) and s.site_id == site_id and s.at_large]
    return any((heard := s.stream(site_id)) is None or not heard.retired for s in strays)


setattr(Fate, "pass", Fate._pass)


class Books_of:
    """The books on a disk that no machine has yet."""

    def __init__(self, disk: Disk):
        self._disk = disk

    def booking(self, booking_id: str):
        from shared.runtime.database import Tx

        return records.booking(Tx(self._disk.connection), booking_id)
