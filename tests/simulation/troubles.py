"""What seldom befalls the world: a second hub, another operator's hub, a release put back, rows spoilt on a disk, a cut in the middle of a repair.

As `fate`, of which it is the rest; also the operator's part in it. The operator is honest: the old hub is switched off before anybody vouches
for it, and a stopped bay is put back on sale by somebody who has looked. Not here: disks that are lost or put back (`fate`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec

from cloud_hub.store import settings
from shared.ledger import lines, repair, standing, streams, watch
from shared.messages import Batch, Topics
from shared.runtime.transport import MemoryTransport
from tests.simulation.fate import Fate, begin_term
from tests.simulation.machines import HUB_ID, Books, Hub, empty
from tests.simulation.schedule import Action
from tests.world import Dead, Disk

TROUBLES = frozenset({"hub_fails_over", "old_hub_off", "another_hub", "another_hub_off", "older_release", "upgrade", "spoil", "spoil_line",
                      "look_at_halts", "cut_repair"})  # fmt: skip
#: what a later release says of a sale, and an earlier one cannot know
LATER = ("shared_with",)


class Ahead:
    """The hub's end of a link while the site is back at an earlier release: every sale that goes down needs a field to be understood which
    only the later one knows (stream-6)."""

    def __init__(self, wire: MemoryTransport, site_id: str):
        self._wire, self._down = wire, Topics(site_id).down

    def __getattr__(self, name: str):
        return getattr(self._wire, name)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if topic == self._down:
            batch = msgspec.json.decode(payload, type=Batch)
            rows = tuple(msgspec.structs.replace(row, crit=LATER) if b'"type":"Sold"' in bytes(row.body) else row for row in batch.rows)
            payload = msgspec.json.encode(msgspec.structs.replace(batch, rows=rows))
        self._wire.publish(topic, payload, retain=retain)

    def plain(self) -> MemoryTransport:
        return self._wire


class Troubles:
    """`spoilt`: bays whose books a disk has damaged and nobody has looked at yet; what is wrong with them is judged when somebody has."""

    def __init__(self, fate: Fate):
        self.fate, self.w, self.o = fate, fate.w, fate.o
        self.spoilt: set[str] = set()

    async def do(self, action: Action) -> None:
        self.w.note(f"#{action.no} {action.kind} {action.what}")
        done = getattr(self, action.kind)(action, **action.what)
        if asyncio.iscoroutine(done):
            await done

    # ---- hubs
    async def hub_fails_over(self, action: Action, of: int) -> None:
        """The hub is cut off from the broker and believed to be lost; in another place a new one is set up, from a backup (`of`) or, without
        one, from the sites (`cloud-hub restore`, `cloud-hub rebuild`). Nobody vouches: the old one sells on, to those who still reach it."""
        old = self.w.hub
        for client in old.clients():
            self.w.network.cut(client)
        copy = self.fate.copies.get(of)
        new = Hub(self.w, "hub-new", Disk(copy or empty("hub")))
        new.clock.forward(self.w.passed)
        new.term, new.box_id = 2, "hub-box-2"
        self.w.hub, self.w.hubs = new, [new]
        self.w.strays.append(old)
        self.o.count["restores"] += 1
        new.prepare = lambda tx, desk: begin_term(tx, new, self.w.site_ids, vouched=False)
        await self.w.start(new)

    async def old_hub_off(self, action: Action) -> None:
        """Somebody has found the old hub and switched it off; then the operator vouches for it."""
        for old in [s for s in self.w.strays if isinstance(s, Hub) and s.hub_id == HUB_ID]:
            if old.up:
                old.die()
            self.fate.lose_word(old)
        await asyncio.sleep(0.5)
        for site_id in self.w.site_ids:
            with suppress(Dead):
                self.w.hub.db.write_now(lambda tx, s=site_id: repair.vouch(tx, self.w.hub.desk, s, by="operator"))
        self.w.note("operator: vouched for the old hub")

    async def another_hub(self, action: Action) -> None:
        """Somebody tries a hub of another id out, with the names of these sites and on this broker. It was rebuilt once, so its term is higher."""
        other = Hub(self.w, "other", hub_id="hub-trial")
        other.clock.forward(self.w.passed)
        other.prepare = lambda tx, desk: settings.put(tx, "term", "7")
        self.w.strays.append(other)
        await self.w.start(other)

    def another_hub_off(self, action: Action) -> None:
        for other in [s for s in self.w.strays if isinstance(s, Hub) and s.hub_id != HUB_ID and s.up]:
            other.die()

    # ---- releases
    def older_release(self, action: Action, site: str) -> None:
        """The site goes back to the release before, and the hub already says what only the later one understands."""
        for pump in self.w.hub.pumps():
            if pump.site_id == site and not isinstance(pump.transport, Ahead):
                pump.transport = Ahead(pump.transport, site)

    async def upgrade(self, action: Action, site: str) -> None:
        """The site gets the later release: its process begins anew, and understands."""
        for pump in self.w.hub.pumps():
            if pump.site_id == site and isinstance(pump.transport, Ahead):
                pump.transport = pump.transport.plain()
        m = self.w.sites[site]
        if m.up:
            m.die()
        await asyncio.sleep(0.5)
        await self.w.start(m)

    # ---- disks
    def spoil(self, action: Action, machine: str, site: str, bay: int) -> None:
        """A damaged page: the claims of some sales on this bay are gone from the seller's books. The watch sees it at its next look."""
        m, resource = self.fate.machine(machine), f"{site}.box-{bay}"
        if not m.up:
            return
        hit = [
            b.id
            for b in sorted(m.bookings(site).values(), key=lambda b: b.id)
            if b.resource_id == resource and b.status == "confirmed" and b.seller == m.side and (s := self.o.sales.get(b.id)) is not None and s.firm
        ]

        def run(tx) -> None:
            for booking_id in hit:
                tx.run("DELETE FROM claims WHERE ref = :b", {"b": booking_id})

        if hit:
            self.w.note(f"the disk of {m.name} lost the claims of {hit}")
            self.spoilt.add(resource)
            m.db.write_now(run)

    def spoil_line(self, action: Action, site: str, bay: int, slots: int) -> None:
        """A write of the hub's disk is lost: where the line of this bay was raised for a sale that lay across it, it is where it had been."""
        m, resource = self.w.hub, f"{site}.box-{bay}"
        if not m.up or self.w.dark_for(site):
            return
        line = m.read(lambda tx: lines.line_of(tx, resource))
        self.w.note(f"the disk of {m.name} lost how {resource} was raised to {line - self.w.slot0}")
        self.spoilt.add(resource)
        m.db.write_now(lambda tx: tx.run("UPDATE lines SET line = :l WHERE resource_id = :r", {"l": line - slots, "r": resource}))

    def look_at_halts(self, action: Action) -> None:
        """A person looks at every bay whose sales are stopped, and puts it back on sale."""
        for m in self.w.machines:
            if m.up:
                self._look_at(m)
        self.spoilt.clear()

    def _look_at(self, m: Books) -> None:
        for site_id in m.read(streams.sites):
            for halt in m.read(lambda tx, s=site_id: standing.halts(tx, s)):
                left = m.db.write_now(
                    lambda tx, h=halt: watch.lift(tx, m.desk, h.site_id, h.resource_id, by="staff-ada", reason="looked at the day")
                )
                self.w.note(f"{halt.resource_id} is back on sale at {m.name}: {halt.why} Left: {[b.detail for b in left]}")

    # ---- a cut at a bad moment
    async def cut_repair(self, action: Action, site: str, s: float) -> None:
        """The line to the site breaks, one way, just when the hub has taken in what the site told it in a repair."""
        m = self.w.sites[site]
        for _ in range(600):
            here, there = m.stream(site), self.w.hub.stream(site)
            if here is not None and here.repair and there is not None and there.epoch == here.epoch:
                self.w.cut(site, "from_broker", noticed=False)
                self.o.count["cuts"] += 1
                self.w.note(f"the line to {site} breaks in the repair")
                await asyncio.sleep(s)
                self.w.heal(site)
                return
            await asyncio.sleep(0.02)
