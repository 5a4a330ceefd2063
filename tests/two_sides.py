"""A hub and its sites in one process: the real ledgers and pumps over the in-memory broker, in simulated time, under one seed.

with world(...) is not needed: `play(script)` runs `async def script(w: World)` to its end and checks the books it leaves behind.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec

from shared.keys import KeyRing
from shared.ledger import attendance, blocks, frontdesk, holds, lines, pins, records, sales, schema, streams
from shared.ledger.desk import Desk, Limits
from shared.ledger.pump import Pump
from shared.messages import FacilityStated, ResourceStated
from shared.model import Block, Booking, Customer, Facility, Hold, Resource
from shared.profiles import profile
from shared.runtime.clock import Chance
from shared.runtime.database import InlineWriter
from shared.runtime.transport import MemoryNetwork
from shared.territory import release_ahead_s
from tests.simtime import LoopClock, simulate

#: Saturday 21 Nov 2026, 12:00 in Halifax
NOON = 1795276800
SITE = "bedford"
HOUR = 4


class Party:
    """One side: its books, its desk, its link(s)."""

    def __init__(self, world: World, side: str, site_ids: tuple[str, ...], without: frozenset[str] = frozenset()):
        self.world, self.side, self.site_ids = world, side, site_ids
        name = "hub" if side == "hub" else site_ids[0]
        self.chance = Chance(hash((world.seed, name)) & 0xFFFFFFFF)
        self.clock = LoopClock(world.loop, world.start_at)
        self.db = InlineWriter(world.folder(name))
        self.desk = Desk(
            side,
            clock=self.clock.now,
            new_id=self.chance.new_id,
            chance=self.chance.random,
            box_id=f"{name}-box",
            limits=world.limits,
            without=without,
        )
        self.transport = world.network.attach(name)
        self.houses = frontdesk.Houses(self.db, profile(world.profile))
        self.pumps: dict[str, Pump] = {}
        self.guard_breaches: list[str] = []

    async def open(self) -> None:
        for site_id in self.site_ids:
            epoch = self.chance.new_id() if self.side == "site" else ""
            self.db.write_now(lambda tx, s=site_id, e=epoch: streams.open_site(tx, s, epoch=e, hub_id="hub", box_id=self.desk.box_id))
            self.pumps[site_id] = Pump(db=self.db, desk=self.desk, clock=self.clock, site_id=site_id, transport=self.transport)
        if self.side == "site":
            self.db.write_now(self._state_documents)
        await self.transport.start()
        for pump in self.pumps.values():
            pump.attach()

    def _state_documents(self, tx) -> None:
        site_id = self.site_ids[0]
        facility = Facility(id=site_id, name=site_id.title(), zone=self.world.zone)
        records.put_document(tx, "facility", site_id, site_id, 1, records.text(facility))
        streams.append(tx, self.desk, site_id, FacilityStated(facility=facility))
        n = self.world.bays
        for i in range(n):
            ahead = self.world.release_ahead_s if self.world.release_ahead_s is not None else release_ahead_s(i, n)
            r = Resource(id=f"{site_id}.box-{i + 1}", name=f"Box {i + 1}", number=i + 1, release_ahead_s=ahead)
            line = self.desk.now_slot() + ahead // 900
            records.put_document(tx, "resource", r.id, site_id, 1, records.text(r))
            lines.begin(tx, site_id, r.id, line)
            streams.append(tx, self.desk, site_id, ResourceStated(resource=r, line=line))
        pins.lease(tx, self.desk, site_id)

    # ---- what people do here
    def write(self, fn):
        return self.db.write_now(lambda tx: fn(tx, self.desk))

    def read(self, fn):
        return self.db.read(fn)

    def up(self, site_id: str = SITE) -> bool:
        return self.pumps[site_id].fresh()

    def book(
        self, bay: int | list[int], start: int, hours: float = 1, *, booking_id: str = "", who: str = "", site_id: str = SITE, **more
    ) -> list[Booking]:
        """`start` in slots from the world's beginning."""
        bays = [bay] if isinstance(bay, int) else bay
        first = booking_id or self.world.new_id("b")
        parts = tuple(
            frontdesk.Part(
                booking_id=first if i == 0 else f"{first}-{i}",
                resource_id=f"{site_id}.box-{n}",
                start=self.world.slot0 + start,
                end=self.world.slot0 + start + int(hours * HOUR),
                hold_id=more.get("hold_id", ""),
            )
            for i, n in enumerate(bays)
        )
        more.pop("hold_id", None)
        wanted = frontdesk.Wanted(
            site_id=site_id, parts=parts, channel=more.pop("channel", "staff"), customer=self.world.person(who or first), **more
        )

        def run(tx, desk):
            return frontdesk.book(tx, desk, self.houses.of(tx, site_id), wanted, ring=self.world.ring, link_up=self.up(site_id))

        return self.write(run)

    def hold(self, bay: int, start: int, hours: float = 1, hold_id: str = "", site_id: str = SITE) -> Hold:
        h = Hold(
            id=hold_id or self.world.new_id("h"),
            site_id=site_id,
            resource_id=f"{site_id}.box-{bay}",
            start=self.world.slot0 + start,
            end=self.world.slot0 + start + int(hours * HOUR),
        )
        return self.write(lambda tx, desk: holds.hold(tx, desk, h, link_up=self.up(site_id)))

    def block(self, bay: int, start: int, hours: float = 1, block_id: str = "", site_id: str = SITE) -> Block:
        b = Block(
            id=block_id or self.world.new_id("k"),
            site_id=site_id,
            resource_id=f"{site_id}.box-{bay}",
            start=self.world.slot0 + start,
            end=self.world.slot0 + start + int(hours * HOUR),
            kind="maintenance",
            reason="net torn",
        )
        return self.write(lambda tx, desk: blocks.block(tx, desk, b, link_up=self.up(site_id)))

    def cancel(self, booking_id: str):
        return self.write(lambda tx, desk: sales.cancel(tx, desk, booking_id, by="customer"))

    def move(self, old_id: str, bay: int, start: int, hours: float = 1, *, new_id: str = "", site_id: str = SITE) -> Booking:
        part = frontdesk.Part(
            booking_id=new_id or self.world.new_id("m"),
            resource_id=f"{site_id}.box-{bay}",
            start=self.world.slot0 + start,
            end=self.world.slot0 + start + int(hours * HOUR),
        )
        old = self.booking(old_id)
        customer = self.read(lambda tx: records.customer(tx, old.customer_id)) or Customer(id=old.customer_id, name=old.shown_name)
        wanted = frontdesk.Wanted(site_id=site_id, parts=(part,), channel="staff", customer=customer, order_id=old.order_id)

        def run(tx, desk):
            house = self.houses.of(tx, site_id)
            return frontdesk.reschedule(tx, desk, house, old_id, wanted, link_up=self.up(site_id))

        return self.write(run)

    def check_in(self, booking_id: str):
        return self.write(lambda tx, desk: attendance.attend(tx, desk, booking_id, "checked_in", by="kiosk"))

    def release(self, site_id: str = SITE) -> int:
        return self.write(lambda tx, desk: lines.release(tx, desk, site_id, link_fresh=self.pumps[site_id].may_release()))

    def booking(self, booking_id: str) -> Booking | None:
        return self.read(lambda tx: records.booking(tx, booking_id))

    def line(self, bay: int, site_id: str = SITE) -> int:
        """In slots from the world's beginning."""
        return self.read(lambda tx: lines.line_of(tx, f"{site_id}.box-{bay}")) - self.world.slot0

    def claims(self, site_id: str = SITE) -> dict[tuple[str, int], tuple[str, str]]:
        rows = self.read(lambda tx: tx.all("SELECT resource_id, slot, kind, ref FROM claims"))
        return {(r, s): (k, ref) for r, s, k, ref in rows if r.startswith(site_id + ".")}

    def stream(self, site_id: str = SITE) -> streams.Stream:
        return self.read(lambda tx: streams.read(tx, site_id))

    def bookings(self, site_id: str = SITE) -> dict[str, Booking]:
        return {b.id: b for b in self.read(lambda tx: records.bookings_where(tx, "site_id = :s", {"s": site_id}))}


class World:
    """One hub and its sites. `bays` per site; `release_ahead_s` None means the defaults of terr-8."""

    def __init__(
        self,
        loop,
        *,
        seed: int = 1,
        sites: tuple[str, ...] = (SITE,),
        bays: int = 3,
        start_at: int = NOON,
        zone: str = "America/Halifax",
        limits: Limits | None = None,
        without: frozenset[str] = frozenset(),
        release_ahead_s: int | None = None,
        profile: str = "business",
    ):
        self.loop, self.seed, self.start_at, self.zone, self.bays = loop, seed, start_at, zone, bays
        self.limits, self.release_ahead_s, self.profile = limits or Limits(), release_ahead_s, profile
        self.slot0 = start_at // 900
        self.random = random.Random(seed)
        self.network = MemoryNetwork(random.Random(seed + 1), loop.call_later)
        self.ring = KeyRing()
        self._ids = 0
        self._files: list[str] = []
        self.hub = Party(self, "hub", sites, without)
        self.sites = {s: Party(self, "site", (s,), without) for s in sites}
        self.site = self.sites[sites[0]]
        self._timers: list[asyncio.Task] = []

    def folder(self, name: str) -> str:
        """A database in memory, with its tables."""
        import tempfile

        f = tempfile.NamedTemporaryFile(prefix=f"clubos-{name}-", suffix=".db", delete=False)  # noqa: SIM115
        f.close()
        self._files.append(f.name)
        schema.prepare(f.name)
        return f.name

    def new_id(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}-{self.seed:04d}-{self._ids:06d}"

    def person(self, key: str) -> Customer:
        return Customer(
            id=f"person-{key}", name=f"Testa {key[:12]}", phone="", email=f"{key}@example.test", completed=1, tags=("tournament_host",)
        )

    async def open(self) -> None:
        await self.hub.open()
        for site in self.sites.values():
            await site.open()
        self._timers = [
            asyncio.ensure_future(self._every(self.limits.hello_every_s, "hello")),
            asyncio.ensure_future(self._every(1, "tick")),
        ]

    async def _every(self, seconds: float, what: str) -> None:
        while True:
            await asyncio.sleep(seconds)
            for party in (self.hub, *self.sites.values()):
                for pump in party.pumps.values():
                    getattr(pump, what)()

    async def quiet(self, seconds: float = 60) -> None:
        """Waits until no message waits on either side, at most `seconds` simulated."""
        until = self.loop.time() + seconds
        while self.loop.time() < until:
            await asyncio.sleep(0.05)
            parties = (self.hub, *self.sites.values())
            if all(p.stream(s).sent_no == p.stream(s).acked_no and p.stream(s).epoch for p in parties for s in p.site_ids):
                return
        stuck = [(p.side, s, p.stream(s)) for p in (self.hub, *self.sites.values()) for s in p.site_ids]
        raise AssertionError(f"the link did not come to rest: {stuck}")

    def cut(self, site_id: str = SITE) -> None:
        self.network.cut(site_id)

    def heal(self, site_id: str = SITE) -> None:
        self.network.heal(site_id)

    async def dark(self, site_id: str = SITE) -> None:
        """Cuts, and waits until both sides have noticed."""
        self.cut(site_id)
        await asyncio.sleep(self.limits.link_silence_s + 1)

    async def healed(self, site_id: str = SITE) -> None:
        self.heal(site_id)
        for _ in range(200):
            await asyncio.sleep(0.2)
            if self.hub.up(site_id) and self.sites[site_id].up(site_id):
                break
        await self.quiet()

    async def close(self) -> None:
        for t in self._timers:
            t.cancel()
        for party in (self.hub, *self.sites.values()):
            for pump in party.pumps.values():
                await pump.close()
            await party.transport.stop()
            await party.db.stop()
        import os

        for f in self._files:
            for end in ("", "-wal", "-shm", ".migrating"):
                if os.path.exists(f + end):
                    os.unlink(f + end)


# ---- what must hold
def overlaps(world: World) -> list[str]:
    """Slots that two live, safe bookings hold at once: a booking is live where its owner says so and it is not displaced."""
    found: dict[tuple[str, int], str] = {}
    out = []
    for party in (world.hub, *world.sites.values()):
        for site_id in party.site_ids:
            live = {}
            for b in party.bookings(site_id).values():
                if b.status != "confirmed" or b.displaced or b.override:
                    continue
                for slot in range(b.claimed.start, b.claimed.end):
                    at = (b.resource_id, slot)
                    if live.setdefault(at, b.id) != b.id:
                        out.append(f"{party.side}: {at} {live[at]} {b.id}")
            for at, booking_id in live.items():
                other = found.setdefault(at, booking_id)
                if other != booking_id:
                    out.append(f"{at}: {other} on one side, {booking_id} on the other")
    return out


def assert_sound(world: World) -> None:
    """The invariants that hold at every moment."""
    assert overlaps(world) == []
    for site_id, site in world.sites.items():
        hub_lines = world.hub.read(lambda tx, s=site_id: lines.lines_of(tx, s))
        site_lines = site.read(lambda tx, s=site_id: lines.lines_of(tx, s))
        assert all(site_lines[r] <= line for r, line in hub_lines.items()), (site_lines, hub_lines)
        for party in (world.hub, site):
            owned = party.claims(site_id)
            for b in party.bookings(site_id).values():
                if b.status in ("confirmed", "cancelling") and not b.displaced:
                    a = party.read(lambda tx, i=b.id: records.attendance(tx, i))
                    seat = a.seat if a and a.seat else b.resource_id
                    if b.replaced_by and b.status == "cancelling":
                        continue
                    missing = [s for s in range(b.claimed.start, b.claimed.end) if owned.get((seat, s), ("", ""))[1] != b.id]
                    assert not missing, (party.side, b, missing)


def assert_equal_books(world: World) -> None:
    """After the link has come to rest both sides say the same of every booking."""
    for site_id, site in world.sites.items():
        mine, theirs = world.hub.bookings(site_id), site.bookings(site_id)
        strip = {"version": 0, "body_hash": "", "created_at": 0, "withdrawn": False, "answer_by": 0, "reason": "", "replaced_by": ""}
        both = set(mine) | set(theirs)
        for i in both:
            a, b = mine.get(i), theirs.get(i)
            settled = [x.status for x in (a, b) if x is not None]
            if None in (a, b):
                assert settled[0] in ("declined", "expired", "requested", "cancelled"), (i, a, b)
                continue
            strip_now = {k: v for k, v in strip.items() if k in Booking.__struct_fields__}
            assert msgspec.structs.replace(a, **strip_now) == msgspec.structs.replace(b, **strip_now), (i, a, b)
        assert world.hub.claims(site_id) == site.claims(site_id)


def play(script: Callable[[World], Awaitable[None]], *, equal: bool = True, **settings) -> World:
    """Runs the script in a fresh world whose link is up; at the end the link is healed and the books must be sound and equal."""

    async def run(loop) -> World:
        world = World(loop, **settings)
        await world.open()
        for site_id in world.sites:
            await world.healed(site_id)
        await script(world)
        if equal:
            for site_id in world.sites:
                await world.healed(site_id)
            assert_sound(world)
            assert_equal_books(world)
        await world.close()
        return world

    return simulate(run)
