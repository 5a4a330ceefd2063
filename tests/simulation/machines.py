"""The hub and a site as machines of a simulated world, wired as `cloud_hub.app` and `site_agent.app` wire them, without web and accounts.

Reading methods (`bookings`, `claims`, `attendance`, `stream`, `read`) are those of `two_sides.Party`, so that `tests.invariants` judges
these books, too; they look at the disk, whether a process runs or not.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Container
from functools import lru_cache
from pathlib import Path

import msgspec
from sqlite_utils import Database as Tables

from cloud_hub import app as hub_app
from cloud_hub import jobs as hub_jobs
from cloud_hub.config import Config, HubConfig
from cloud_hub.config import Site as Enrolled
from cloud_hub.services.hub import Hub as HubServices
from cloud_hub.services.tray import Tray
from cloud_hub.store import schema as hub_schema
from shared.keys import SigningKey
from shared.ledger import records, schema, streams
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.ledger.pump import Pump
from shared.messages import Topics
from shared.model import Attendance, Booking
from shared.profiles import profile
from shared.runtime.database import Tx
from site_agent import app as site_app
from site_agent.config import Loaded, load
from site_agent.ports import Actor, DoorCredential, DoorEvent, Granted, GrantRef, Unlocked
from site_agent.services.doors.credentials import Credentials
from site_agent.services.kit import Kit
from site_agent.store import schema as site_schema
from tests.simulation.statements import SharedDisk
from tests.world import Dead, Disk, Machine, World, without_rows

HUB_ID = "hub-test"
FRONT = "door-front"


@lru_cache
def folder() -> Path:
    """Where key files and configs lie; they are the same in every world."""
    path = Path(tempfile.mkdtemp(prefix="clubos-sim-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


#: the same document is read again and again, in the books of both sides
_booking = lru_cache(4096)(msgspec.json.Decoder(Booking).decode)
_attendance = lru_cache(4096)(msgspec.json.Decoder(Attendance).decode)


@lru_cache
def empty(side: str) -> bytes:
    """Books with today's tables and nothing in them: migrated once per process, then copied."""
    c = sqlite3.connect(":memory:", isolation_level=None)
    for step in (*schema.STEPS, *(hub_schema if side == "hub" else site_schema).STEPS):
        step(Tables(c))
    return without_rows(c.serialize())


class Books(Machine):
    """What those who judge read of either side."""

    desk: Desk
    #: what was read of the disk, until it is written to again: judges ask the same things over and over
    _known: tuple[object, dict] = (None, {})

    def once(self, what: object, fn):
        """`fn(tx)`, read anew where the disk is another or has been written to since. What comes is shared: not to be changed."""
        state = (self.disk, self.disk.version)
        if self._known[0] != state:
            self._known = (state, {})
        known = self._known[1]
        if what not in known:
            known[what] = self.read(fn)
        return known[what]

    def tells(self) -> None:
        """From now on this process tells of every booking that it changes, as a hub tells its guests (`guests.Guests.letters`)."""
        self.db.listen(lambda events: self.world.news.extend((self, key) for topic, key in events if topic == "booking"))

    def prepared(self) -> None:
        """What `restore` and `adopt` do before the process begins."""
        if self.prepare is not None:
            work = self.prepare
            self.db.write_now(lambda tx: work(tx, self.desk))
            self.prepare = None

    def stream(self, site_id: str) -> streams.Stream | None:
        return self.once(("stream", site_id), lambda tx: streams.read(tx, site_id))

    def bookings(self, site_id: str) -> dict[str, Booking]:
        return self.once(("bookings", site_id), lambda tx: self._bookings(tx, site_id))

    @staticmethod
    def _bookings(tx: Tx, site_id: str) -> dict[str, Booking]:
        return {b.id: b for b in (_booking(doc) for (doc,) in tx.all("SELECT doc FROM bookings WHERE site_id = :s", {"s": site_id}))}

    def booking(self, booking_id: str) -> Booking | None:
        return self.read(lambda tx: records.booking(tx, booking_id))

    def attendance(self, booking_id: str) -> Attendance | None:
        return self.once("attendance", self._attendance).get(booking_id)

    @staticmethod
    def _attendance(tx: Tx) -> dict[str, Attendance]:
        return {a.booking_id: a for a in (_attendance(doc) for (doc,) in tx.all("SELECT doc FROM attendance"))}

    def claims(self, site_id: str) -> dict[tuple[str, int], tuple[str, str]]:
        rows = self.read(lambda tx: tx.all("SELECT resource_id, slot, kind, ref FROM claims"))
        return {(r, s): (k, ref) for r, s, k, ref in rows if r.startswith(site_id + ".")}


class Hub(Books):
    """One hub, or one of its replicas (which share the disk, and are one box)."""

    side = "hub"

    def __init__(self, world: World, name: str, disk: Disk | SharedDisk | None = None, hub_id: str = HUB_ID):
        if disk is None:
            disk = Disk(empty("hub")) if world.gate is None else SharedDisk(world.gate, empty("hub"))
        super().__init__(world, name, disk)
        self.box_id, self.hub_id = "hub-box", hub_id
        self._services: HubServices | None = None

    @property
    def services(self) -> HubServices:
        """What a request reaches; Dead where no process runs."""
        if not self.up or self._services is None:
            raise Dead
        return self._services

    def replica(self, n: int) -> Hub:
        return Hub(self.world, f"{self.name}{n}", self.disk)

    def clients(self) -> tuple[str, ...]:
        return tuple(f"{self.name}-{s}" for s in self.world.site_ids)

    def pumps(self) -> list[Pump]:
        return list(self._services.links._pumps.values()) if self.up and self._services is not None else []

    def hears(self, site_id: str) -> bool:
        return self.up and self._services is not None and self._services.links.enrolled(site_id) and self._services.links.up(site_id)

    async def _begin(self) -> None:
        world, data = self.world, folder() / "hub"
        data.mkdir(exist_ok=True)
        enrolled = tuple(Enrolled(id=s, name=s.title()) for s in world.site_ids)
        config = Config(hub=HubConfig(hub_id=self.hub_id, data_dir=str(data), sites=enrolled), data_dir=data, profile=profile("business"))
        hub = hub_app._services(config, self.clock, self.chance(), self.db, self._transport, world.limits, Uptime(self))
        self._services, self.desk = hub, hub.desk
        hub.desk.without, hub.desk.term = world.without, self.term
        self.prepared()
        self.tells()
        hub_jobs.plan(self.ticker, hub, Tray(data))
        await hub_app.App(hub, self.ticker, None, None).start()

    def _transport(self, site_id: str):
        return self.world.network.attach(f"{self.name}-{site_id}", (Topics(site_id).state_hub, b'{"up":false}', True))


class Uptime:
    """The time source of a box that has a clock which runs on without power, and nobody else to ask but the hub."""

    def __init__(self, machine: Machine):
        self._machine = machine

    def rtc(self) -> bool:
        return True

    def synchronised(self) -> bool:
        return False

    def boot_id(self) -> str:
        return f"{self._machine.name}/{self._machine.lives}"

    def uptime_s(self) -> float:
        """However wrong the clock is, the seconds since the start are right."""
        return self._machine.clock.now() - self._machine.clock.skew_s - self._machine.world.start_at


class SimDoors:
    """The door controller: remembers what it was asked to open, and when in truth. It keeps its visitors whatever becomes of the box, and
    its reader lets in who types the PIN of one of them."""

    def __init__(self, world: World):
        self.world = world
        self.opened: list[tuple[float, str, str]] = []
        #: ref -> the credential, as it was last granted; the box's own name of it is the ref here
        self.visitors: dict[str, DoorCredential] = {}

    def typed(self, pin: str) -> bool:
        """Whether the door opens to somebody who types this now."""
        now = self.world.now()
        return any(v.pin == pin and v.opens_at <= now < v.closes_at for v in self.visitors.values())

    async def grant(self, credential: DoorCredential) -> GrantRef:
        return await self.regrant(GrantRef(credential.booking_id), credential)

    async def regrant(self, ref: GrantRef, credential: DoorCredential) -> GrantRef:
        kept = self.visitors[ref].pin if credential.keep_pin and ref in self.visitors else credential.pin
        self.visitors[ref] = msgspec.structs.replace(credential, pin=kept)
        return ref

    async def revoke(self, ref: GrantRef, *, erase: bool = False) -> None:
        self.visitors.pop(ref, None)

    async def granted(self, *, ended: bool = False) -> list:
        return []

    async def kept(self, booking_id: str = "") -> list:
        return [
            Granted(GrantRef(ref), v.booking_id, v.opens_at, v.closes_at, "unknown", v.pin is not None, v.resource_id)
            for ref, v in self.visitors.items()
            if booking_id in ("", v.booking_id)
        ]

    async def kept_one(self, ref: GrantRef) -> Granted | None:
        return next((one for one in await self.kept() if one.ref == ref), None)

    async def events(self, after_ms: int, known: Container[str] = frozenset()) -> AsyncIterator[DoorEvent]:
        """Nothing is told: what people do at its doors is asked of `typed`."""
        await asyncio.Event().wait()
        yield

    def hearing(self) -> bool:
        return False

    def clock_skew_s(self) -> float | None:
        """The controller tells no time here: whether a clock is believed must not hang on it."""
        return None

    async def emergency_now(self) -> str:
        return "normal"

    async def devices(self) -> list:
        return []

    async def places(self) -> list:
        return []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def doors(self) -> list:
        return []

    async def unlock(self, door_id: str, actor: Actor, request_id: str) -> Unlocked:
        self.opened.append((self.world.now(), door_id, actor.id))
        return Unlocked(door_id, request_id, int(self.world.now()), "answer")


@lru_cache
def config_of(site_id: str, bays: int) -> Loaded:
    """The config of a site, read from a file as the product reads it."""
    path = folder() / f"{site_id}-{bays}"
    path.mkdir(exist_ok=True)
    text = [f'data_dir = "data"\nhub_id = "{HUB_ID}"\n[site]\nid = "{site_id}"\nname = "{site_id.title()}"\ndoor_ids = ["{FRONT}"]\n']
    text += [f'[[resource]]\nid = "{site_id}.box-{n}"\nname = "Bay {n}"\nnumber = {n}\n' for n in range(1, bays + 1)]
    (path / "site.toml").write_text("\n".join(text))
    loaded = load(path / "site.toml")
    loaded.data_dir.mkdir(exist_ok=True)
    return loaded


class Site(Books):
    """One facility's box."""

    side = "site"

    def __init__(self, world: World, site_id: str, *, name: str = "", disk: Disk | None = None):
        super().__init__(world, name or site_id, disk or Disk(empty("site")))
        self.site_id = site_id
        self.client = f"site-{self.name}"
        self.doors = SimDoors(world)
        self._kit: Kit | None = None
        #: replaced, and nobody knows whether it will run again
        self.at_large = False

    @property
    def kit(self) -> Kit:
        """What a request reaches; Dead where no process runs."""
        if not self.up or self._kit is None:
            raise Dead
        return self._kit

    def clients(self) -> tuple[str, ...]:
        return (self.client,)

    def pumps(self) -> list[Pump]:
        return [self._kit.link._pump] if self.up and self._kit is not None and self._kit.link._pump is not None else []

    def hears(self) -> bool:
        return self.up and self._kit is not None and self._kit.link.up()

    async def _begin(self) -> None:
        world, chance = self.world, self.chance()
        loaded = config_of(self.site_id, world.bays)
        desk = self.desk = Desk(
            "site", clock=self.clock.now, new_id=chance.new_id, chance=chance.random, box_id=self.box_id, term=self.term,
            limits=world.limits, without=world.without,
        )  # fmt: skip
        desk.grant = self.grant
        self.prepared()
        self.tells()
        key = SigningKey.from_seed(self.site_id.encode().ljust(32, b"-"))
        transport = world.network.attach(self.client, (Topics(self.site_id).state_site, b'{"up":false}', True))
        kit = self._kit = site_app._kit(loaded, self.clock, self.db, desk, key, transport, self.doors, Uptime(self))
        if not world.readers:  # what opens is opened at the kiosk, and nobody puts PINs on the door controller
            kit.credentials = Credentials(self.db, desk, Houses(self.db, loaded.profile, desk), self.site_id, None)
        await site_app.SiteAgent(kit, desk, self.ticker).start()
