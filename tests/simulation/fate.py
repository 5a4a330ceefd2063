"""What befalls the world, action by action: weather, cuts, crashes, the broker, clocks, disks, boxes that return.

Also the operator's part in it (loss-1, loss-4, loss-5): restoring, adopting, vouching that the old box is off, stating what was sold. The
operator is honest and knows what the oracle knows: nobody vouches while the old box runs, nor states while a lost sale lies ahead.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from shared.errors import Refused
from shared.ledger import boxes, records, repair
from shared.runtime.transport import Faults
from tests.simulation.machines import HUB_ID, Books, Hub, Site, empty
from tests.simulation.oracle import Oracle
from tests.simulation.people import STAFF
from tests.simulation.schedule import WEATHER, Action
from tests.world import Dead, Disk, World
from site_agent.services.booking import Ask as SiteAsk

HAD = ("confirmed", "cancelling", "cancelled")
#: how often the operator looks whether the statement that a box waits for can be given
LOOKS_EVERY_S = 4.0


class Fate:
    def __init__(self, world: World, oracle: Oracle):
        self.w, self.o = world, oracle
        self.copies: dict[int, bytes] = {}
        self.tasks: list[asyncio.Task] = []

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

    def skew(self, action: Action, machine: str, s: float) -> None:
        self.w.skew_max = max(self.w.skew_max, abs(s))
        for m in self.w.hubs if machine == "hub" else [self.machine(machine)]:
            m.clock.skew_s = s

    # ---- processes
    async def crash(self, action: Action, machine: str, commits: int, lose_last: bool, down_s: float) -> None:
        m = self.machine(machine)
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
        disk = Disk(self.copies[of])
        self._lose(m, before, disk)
        for box in self.w.hubs if isinstance(m, Hub) else [m]:
            if box.up:
                box.die()
            box.disk = disk
        self.o.count["restores"] += 1
        await asyncio.sleep(0.5)
        if isinstance(m, Hub):
            await self._restore_hub(m)
        else:
            await self._restore_site(m)

    async def _restore_hub(self, hub: Hub) -> None:
        for replica in self.w.hubs:
            replica.term, replica.box_id = replica.term + 1, f"hub-box-{replica.term + 1}"
        hub.prepare = lambda tx, desk: self._fence(tx, desk, vouched=True)
        for replica in self.w.hubs:
            await self.w.start(replica)

    async def _restore_site(self, site: Site) -> None:
        await self._enrol(site)
        site.prepare = lambda tx, desk: self._fence(tx, desk, vouched=True)
        await self.w.start(site)
        self._operator(site)

    @staticmethod
    def _fence(tx, desk, *, vouched: bool) -> None:
        repair.fence_all(tx, desk, "This copy was put back from a backup.")
        for (site_id,) in tx.all("SELECT site_id FROM streams ORDER BY site_id"):
            boxes.mark_restored(tx, desk, site_id, vouched=vouched, stated=False)

    async def _enrol(self, site: Site) -> None:
        """The operator has the hub grant a term for the new box (loss-5), as soon as there is a hub to grant it."""
        while True:
            with suppress(Dead):
                if self.w.hub.up:
                    site.grant = f"word-{self.w.seed}-{site.name}-{site.lives}"
                    word = boxes.fingerprint(site.grant)
                    site.term = self.w.hub.db.write_now(lambda tx: boxes.grant(tx, self.w.hub.desk, site.site_id, word))
                    site.box_id = f"{site.site_id}-box-{site.term}"
                    return
            await asyncio.sleep(0.5)

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
            for n in range(6):
                await self._old_sale(stray, action, n)
                await asyncio.sleep(1.5)

    async def _old_sale(self, stray: Site, action: Action, n: int) -> None:
        """Somebody buys at the old box's kiosk. Told to the oracle as any other sale."""
        from tests.simulation.oracle import Sale

        start = int(self.w.now() // 1800 + 1 + n % 4) * 2
        bay = f"{stray.site_id}.box-{1 + n % self.w.bays}"
        booking_id = f"o-{self.w.seed}-{action.no:04d}-{n}"
        self.o.wants(Sale(booking_id, booking_id, stray.site_id, bay, start, start + 4, "old", "old box"))
        ask = SiteAsk(booking_id=booking_id, resource_id=bay, start=start, end=start + 4, name="Testa Birdie", email="old@example.test")
        try:
            outcome = await stray.kit.bookings.book(ask, STAFF)
        except (Refused, Dead) as no:
            self.w.note(f"old box: {no!r}")
            return
        if outcome.booking.status == "confirmed":
            self.o.told_confirmed(booking_id, bay, start, start + 4)
            self.w.note(f"old box sold {booking_id}")

    def _lose(self, m: Books, before: Disk, after: Disk | None) -> None:
        """loss-3: which promises were on this disk alone. The truth is looked up before anything else happens."""
        others = [x for x in self.w.machines if x is not m and x.disk is not before]
        kept = [Books_of(after)] if after is not None else []
        for sale in self.o.sales.values():
            if not sale.told or sale.ended or sale.lost_with_disk:
                continue
            known = [b for reader in (*others, *kept) if (b := reader.booking(sale.id)) is not None]
            if not any(b.status in HAD for b in known) and m.booking(sale.id) is not None:
                sale.lost_with_disk = True
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
        return not any(s.at_large and not self._retired(s) for s in self.w.strays if s.site_id == site.site_id)

    def _may_speak(self, site: Site) -> bool:
        if not self.may_vouch(site):
            return False
        ahead = [s for s in self.o.sales.values() if s.site == site.site_id and s.lost_with_disk and s.end * 900 > self.w.now()]
        return not ahead

    @staticmethod
    def _retired(stray: Site) -> bool:
        s = stray.stream(stray.site_id)
        return s is not None and bool(s.retired)


setattr(Fate, "pass", Fate._pass)


class Books_of:
    """The books on a disk that no machine has yet."""

    def __init__(self, disk: Disk):
        self._disk = disk

    def booking(self, booking_id: str):
        from shared.runtime.database import Tx

        return records.booking(Tx(self._disk.connection), booking_id)
