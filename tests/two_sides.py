"""A hub and its sites in one process: the real ledgers and pumps over the in-memory broker, in simulated time, under one seed.

`play(script)` runs `async def script(w: World)` to its end and checks the books it leaves behind (`tests.invariants`).
"""

from __future__ import annotations

import asyncio
import copy
import random
import sqlite3
from collections.abc import Awaitable, Callable
from zlib import crc32

import msgspec
from sqlite_utils import Database as Tables

from shared.keys import KeyRing
from shared.ledger import (
    attendance,
    blocks,
    boxes,
    displaced,
    fencing,
    frontdesk,
    holds,
    lines,
    pins,
    records,
    repair,
    resale,
    sales,
    schema,
    streams,
    ways,
)
from shared.ledger.desk import Desk, Limits
from shared.ledger.displaced import Placing
from shared.ledger.pump import Pump
from shared.messages import FacilityStated, ResourceStated, Topics
from shared.model import Attendance, Block, Booking, Customer, Facility, Hold, Resource
from shared.policy import Opening
from shared.profiles import profile
from shared.runtime.clock import Chance
from shared.runtime.database import InlineWriter
from shared.runtime.transport import Faults, MemoryNetwork
from shared.territory import release_ahead_s
from tests.invariants import assert_equal_books, assert_sound
from tests.simtime import LoopClock, simulate

#: Saturday 21 Nov 2026, 12:00 in Halifax
NOON = 1795276800
SITE = "bedford"
HOUR = 4


def books_in_memory() -> InlineWriter:
    """Empty books with today's tables, on no disk."""
    db = InlineWriter()
    for step in schema.STEPS:
        step(Tables(db._c))
    return db


#: what makes the hub's books; `CLUBOS_TEST_BOOKS=postgres` puts PostgreSQL's here (tests/rules/conftest.py)
hub_books = books_in_memory


class Party:
    """One side: its books, its desk, its link(s)."""

    def __init__(self, world: World, side: str, site_ids: tuple[str, ...], without: frozenset[str] = frozenset()):
        self.world, self.side, self.site_ids = world, side, site_ids
        #: under which name the broker knows it
        self.client = name = "hub" if side == "hub" else site_ids[0]
        self.chance = Chance(crc32(f"{world.seed}/{name}".encode()))
        self.clock = LoopClock(world.loop, world.start_at)
        self.db = hub_books() if side == "hub" else books_in_memory()
        self.desk = Desk(
            side,
            clock=self.clock.now,
            new_id=self.chance.new_id,
            chance=self.chance.random,
            box_id=f"{name}-box",
            limits=world.limits,
            without=without,
        )
        self.transport = world.network.attach(name, self._will())
        self.houses = frontdesk.Houses(self.db, profile(world.profile), self.desk)
        self.pumps: dict[str, Pump] = {}
        self.placing = Placing(self.db, self.desk, self.houses, self.up)

    def _will(self) -> tuple[str, bytes, bool] | None:
        """What the broker says for a site that goes without a word (stream-5)."""
        return None if self.side == "hub" else (Topics(self.site_ids[0]).state_site, b'{"up":false}', True)

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

        return self.book_wanted(wanted)

    def wanted(self, bay: int, start: int, hours: float = 1, *, booking_id: str = "", site_id: str = SITE, **more) -> frontdesk.Wanted:
        """One bay for somebody new, `start` in slots from the world's beginning."""
        booking_id = booking_id or self.world.new_id("b")
        first = self.world.slot0 + start
        part = frontdesk.Part(booking_id=booking_id, resource_id=f"{site_id}.box-{bay}", start=first, end=first + int(hours * HOUR))
        more.setdefault("channel", "staff")
        return frontdesk.Wanted(site_id=site_id, parts=(part,), customer=self.world.person(booking_id), **more)

    def book_wanted(self, wanted: frontdesk.Wanted) -> list[Booking]:
        def run(tx, desk):
            house = self.houses.of(tx, wanted.site_id)
            return frontdesk.book(tx, desk, house, wanted, ring=self.world.ring, link_up=self.up(wanted.site_id))

        return self.write(run)

    def ways(self, bay: int, start: int, site_id: str = SITE):
        """What is offered instead of this."""
        wanted = self.wanted(bay, start, site_id=site_id)
        house = self.read(lambda tx: self.houses.of(tx, site_id))
        return self.read(lambda tx: ways.out(tx, self.desk, house, wanted, link_up=self.up(site_id)))

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

    def extend(self, old_id: str, minutes: int, *, new_id: str = "", site_id: str = SITE) -> Booking:
        def run(tx, desk):
            house = self.houses.of(tx, site_id)
            name = new_id or self.world.new_id("x")
            return frontdesk.extend(tx, desk, house, old_id, name, minutes, channel="staff", link_up=self.up(site_id))

        return self.write(run)

    def prolong(self, hold_id: str) -> Hold:
        return self.write(lambda tx, desk: holds.prolong(tx, desk, hold_id))

    def hold_of(self, hold_id: str) -> Hold | None:
        return self.read(lambda tx: records.hold(tx, hold_id))

    def pin_of(self, pin: str, site_id: str = SITE) -> Booking | None:
        """Whose PIN it is."""
        return self.read(lambda tx: pins.booking_by_pin(tx, site_id, pin))

    def drop_hold(self, hold_id: str) -> None:
        self.write(lambda tx, desk: holds.drop(tx, desk, hold_id))

    def unblock(self, block_id: str, site_id: str = SITE) -> Block:
        return self.write(lambda tx, desk: blocks.unblock(tx, desk, block_id, link_up=self.up(site_id)))

    def reseat(self, booking_id: str, bay: int, site_id: str = SITE):
        return self.write(lambda tx, desk: attendance.reseat(tx, desk, booking_id, f"{site_id}.box-{bay}", by="staff"))

    def place(self, booking_id: str, bay: int, start: int, slots: int = HOUR, *, new_id: str = "", site_id: str = SITE) -> Booking:
        """Staff or the guest choose another place for a booking that has lost its own."""
        first = self.world.slot0 + start

        def run(tx, desk):
            return displaced.place(
                tx, desk, self.houses.of(tx, site_id), booking_id, resource_id=f"{site_id}.box-{bay}", start=first, end=first + slots,
                new_id=new_id or self.world.new_id("p"), by="staff", link_up=self.up(site_id),
            )  # fmt: skip

        return self.write(run)

    def place_by_rule(self, site_id: str = SITE) -> list[str]:
        """What `placing` does with each booking that waits for it, without its patience between two tries."""
        house = self.read(lambda tx: self.houses.of(tx, site_id))
        found = self.read(lambda tx: displaced.waiting(tx, self.desk, house))
        return [
            done
            for b in found
            if (done := self.write(lambda tx, desk, i=b.id: displaced.settle(tx, desk, house, i, link_up=self.up(site_id))))
        ]

    def ways_of(self, booking_id: str, site_id: str = SITE):
        """Where a displaced booking could go."""
        return self.read(lambda tx: displaced.ways_of(tx, self.desk, self.houses.of(tx, site_id), records.booking(tx, booking_id)))

    def tidy(self) -> None:
        """What the app's timers do: holds and requests whose time is over, releases (hub), PINs ahead (site)."""
        self.write(holds.expire)
        self.write(sales.expire)
        for site_id in self.site_ids:
            if self.side == "hub":
                self.release(site_id)
            else:
                self.write(lambda tx, desk, s=site_id: pins.lease(tx, desk, s))

    def states_profile(self, *, open_until: str, site_id: str = SITE) -> None:
        """This side's copy of the rules closes at this clock every day."""
        known = profile(self.world.profile)
        hours = msgspec.structs.replace(known.policy.hours, weekly=(Opening(opens="00:00", closes=open_until),))
        new = msgspec.structs.replace(known, policy=msgspec.structs.replace(known.policy, hours=hours))
        self.write(lambda tx, desk: records.put_document(tx, "profile", site_id, site_id, 2, records.text(new)))

    def copy_of_books(self) -> sqlite3.Connection:
        """Everything as it is on the disk now, as a backup would have it."""
        if not isinstance(self.db, InlineWriter):
            return self.db.copy()
        kept = sqlite3.connect(":memory:")
        self.db._c.backup(kept)
        return kept

    def roll_back(self, kept: sqlite3.Connection) -> None:
        """The books are as they were when the copy was made."""
        if not isinstance(self.db, InlineWriter):
            return self.db.put_back(kept)
        kept.backup(self.db._c)

    async def restart(self) -> None:
        """The process goes and comes back: what it held in memory is gone, the books are not."""
        for pump in self.pumps.values():
            await pump.close()
        await self.transport.stop()
        self.transport = self.world.network.attach(self.client, self._will())
        for site_id in self.site_ids:
            self.pumps[site_id] = Pump(db=self.db, desk=self.desk, clock=self.clock, site_id=site_id, transport=self.transport)
        await self.transport.start()
        for pump in self.pumps.values():
            pump.attach()

    async def restore(self, kept: sqlite3.Connection) -> None:
        """What the restore command does: the copy is put back and fenced, then the process starts."""
        self.roll_back(kept)
        self.write(lambda tx, desk: fencing.fence_all(tx, desk, "These books were put back from a backup."))
        await self.restart()

    async def adopt(self, *, vouched: bool = False, stated: bool = False) -> Party:
        """A new box takes over this facility; the old one, which is returned, is off until it is woken with `restart`."""
        old = copy.copy(self)
        old.pumps, old.client = dict(self.pumps), f"{self.client}-old"
        for pump in old.pumps.values():
            await pump.close()
        await self.transport.stop()
        site_id = self.site_ids[0]
        word = self.world.new_id("grant")
        term = self.world.hub.write(lambda tx, desk: boxes.grant(tx, desk, site_id, boxes.fingerprint(word)))
        self.db, self.pumps = books_in_memory(), {}
        self.desk = Desk("site", clock=self.clock.now, new_id=self.chance.new_id, chance=self.chance.random,
                         box_id=f"{site_id}-box-{term}", term=term, limits=self.world.limits, without=old.desk.without)  # fmt: skip
        self.desk.grant = word
        self.houses = frontdesk.Houses(self.db, profile(self.world.profile), self.desk)
        self.placing = Placing(self.db, self.desk, self.houses, self.up)
        self.write(lambda tx, desk: boxes.adopt(tx, desk, site_id, hub_id="hub", vouched=vouched, stated=stated))
        self.db.write_now(self._state_documents)
        await self.restart()
        return old

    def state_sold(self, site_id: str = SITE) -> int:
        """A person says what was sold below the floor (loss-4)."""
        return self.write(lambda tx, desk: repair.state_sold(tx, desk, site_id, by="staff", reason="nothing was sold"))

    def vouch(self, site_id: str = SITE) -> None:
        self.write(lambda tx, desk: repair.vouch(tx, desk, site_id, by="staff"))

    def floor(self, bay: int, site_id: str = SITE) -> int:
        """In slots from the world's beginning; negative where there is none."""
        row = self.read(lambda tx: tx.one("SELECT floor FROM lines WHERE resource_id = :r", {"r": f"{site_id}.box-{bay}"}))
        return row[0] - self.world.slot0

    def say(self, message, site_id: str = SITE) -> int:
        """Writes a message into the stream as the ledger would. Returns its number."""
        return self.write(lambda tx, desk: streams.append(tx, desk, site_id, message))

    def attend(self, booking_id: str, state: str) -> Attendance:
        return self.write(lambda tx, desk: attendance.attend(tx, desk, booking_id, state, by="staff"))

    def sell_rest(self, booking_id: str, site_id: str = SITE) -> Booking:
        return self.write(lambda tx, desk: resale.put_on_sale(tx, desk, self.houses.of(tx, site_id), booking_id, by="staff"))

    def check_in(self, booking_id: str) -> Attendance:
        return self.attend(booking_id, "checked_in")

    def release(self, site_id: str = SITE) -> int:
        return self.write(lambda tx, desk: lines.release(tx, desk, site_id, link_fresh=self.pumps[site_id].may_release()))

    def booking(self, booking_id: str) -> Booking | None:
        return self.read(lambda tx: records.booking(tx, booking_id))

    def attendance(self, booking_id: str) -> Attendance | None:
        return self.read(lambda tx: records.attendance(tx, booking_id))

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
        faults: Faults | None = None,
    ):
        self.loop, self.seed, self.start_at, self.zone, self.bays = loop, seed, start_at, zone, bays
        self.limits, self.release_ahead_s, self.profile = limits or Limits(), release_ahead_s, profile
        self.slot0 = start_at // 900
        self.random = random.Random(seed)
        self.network = MemoryNetwork(random.Random(seed + 1), loop.call_later, faults)
        self.ring = KeyRing()
        self._ids = 0
        self.hub = Party(self, "hub", sites, without)
        self.sites = {s: Party(self, "site", (s,), without) for s in sites}
        self.site = self.sites[sites[0]]
        self._timers: list[asyncio.Task] = []

    def new_id(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}-{self.seed:04d}-{self._ids:06d}"

    def person(self, key: str) -> Customer:
        return Customer(
            id=f"person-{key}", name=f"Testa {key[:12]}", phone="", email=f"{key}@example.test", completed=1, tags=("tournament_host",)
        )

    @property
    def parties(self) -> tuple[Party, ...]:
        return (self.hub, *self.sites.values())

    def forward(self, seconds: float) -> None:
        """Every clock jumps; no timer of the link notices. Cheaper than sleeping through hours of hellos."""
        for party in self.parties:
            party.clock.forward(seconds)

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
            for party in self.parties:
                for pump in party.pumps.values():
                    getattr(pump, what)()

    async def quiet(self, *site_ids: str, seconds: float = 120) -> None:
        """Waits until no message waits on either side of these sites' links (of all), at most `seconds` simulated."""
        site_ids = site_ids or tuple(self.sites)
        until = self.loop.time() + seconds
        while self.loop.time() < until:
            await asyncio.sleep(0.05)
            both = [party.stream(s) for s in site_ids for party in (self.hub, self.sites[s])]
            if all(s.epoch and s.sent_no == s.acked_no for s in both):
                return
        stuck = [(party.side, party.stream(s)) for s in site_ids for party in (self.hub, self.sites[s])]
        raise AssertionError(f"the link did not come to rest: {stuck}")

    def cut(self, site_id: str = SITE) -> None:
        self.network.cut(site_id)

    def heal(self, site_id: str = SITE) -> None:
        """Both ends of the site's link are whole again."""
        self.network.heal(site_id)
        self.network.heal("hub")

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
        await self.quiet(site_id)

    async def close(self) -> None:
        for t in self._timers:
            t.cancel()
        for party in self.parties:
            for pump in party.pumps.values():
                await pump.close()
            await party.transport.stop()
            await party.db.stop()


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
