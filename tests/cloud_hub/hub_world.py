"""A hub as built for earnest, and a site made of the same ledger, in one process over the in-memory broker; the clock stands until moved.

    async with opened(tmp_path) as w:
        answer = await w.post("/bookings", w.wish(1, 40))

Bays `bedford.box-1` to `box-4`; the hub sells from 8 hours after the start of the world on, the site before.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from unittest import mock

import httpx
from sqlite_utils import Database as Tables

from cloud_hub import app as hub_app
from cloud_hub import jobs
from cloud_hub.config import Config, DigestSettings, Http, HubConfig, Mqtt, Rates, Site
from cloud_hub.services import api_keys
from cloud_hub.store import api_keys as key_rows
from cloud_hub.store import schema
from shared.keys import SigningKey
from shared.ledger import frontdesk, lines, pins, records, streams
from shared.ledger import schema as ledger_schema
from shared.ledger.desk import Desk, Limits
from shared.ledger.pump import Pump
from shared.messages import FacilityStated, ResourceStated
from shared.model import Facility, Resource
from shared.profiles import profile
from shared.runtime.clock import Chance, ManualClock
from shared.runtime.database import InlineWriter
from shared.runtime.transport import MemoryNetwork, Transport

#: Saturday 21 Nov 2026, 12:00 in Halifax
NOON = 1795276800
SITE = "bedford"
LINE_AFTER = 32  # slots from NOON: the hub sells from there on
BAYS = 4
LIMITS = Limits(ask_wait_s=1.0, ack_delay_s=0.0)
#: who lost a place is put elsewhere by rule when a test says so (`hub.placing.run()`), not after a second
NEVER_S = 86_400.0


def books(*steps) -> InlineWriter:
    db = InlineWriter()
    for step in steps:
        step(Tables(db._c))
    return db


class SiteDouble:
    """The facility's side of the link: the same books, its own key, no web."""

    def __init__(self, world: "HubWorld", site_id: str, transport: Transport | None):
        self.world, self.site_id = world, site_id
        self.db = books(*ledger_schema.STEPS)
        chance = Chance(7)
        self.desk = Desk("site", clock=world.clock.now, new_id=chance.new_id, chance=chance.random, box_id="box-site", limits=LIMITS)
        self.houses = frontdesk.Houses(self.db, profile("business"), self.desk)
        self.key = SigningKey.from_seed(bytes(range(32)))
        self.believed: set[str] = set()
        self.transport = transport or world.network.attach(f"site-{site_id}")
        self.pump = Pump(
            db=self.db, desk=self.desk, clock=world.clock, site_id=site_id, transport=self.transport, keys=self._keys,
            known_keys=lambda: tuple(self.believed), on_hello=lambda hello: self.believed.update(k["id"] for k in hello.keys),
        )  # fmt: skip

    def _keys(self) -> tuple[dict[str, str], ...]:
        public = self.key.public("site", self.site_id)
        return ({"id": public.id, "raw_b64": public.raw_b64, "side": "site"},)

    async def open(self) -> None:
        self.db.write_now(lambda tx: streams.open_site(tx, self.site_id, epoch="epoch-1", hub_id="hub-test", box_id="box-site"))
        self.db.write_now(self._state_documents)
        await self.transport.start()
        self.pump.attach()

    def _state_documents(self, tx) -> None:
        facility = Facility(id=self.site_id, name="Bedford", zone="America/Halifax")
        records.put_document(tx, "facility", self.site_id, self.site_id, 1, records.text(facility))
        streams.append(tx, self.desk, self.site_id, FacilityStated(facility=facility))
        for n in range(1, BAYS + 1):
            r = Resource(id=f"{self.site_id}.box-{n}", name=f"Box {n}", number=n, release_ahead_s=2 * 3600)
            records.put_document(tx, "resource", r.id, self.site_id, 1, records.text(r))
            lines.begin(tx, self.site_id, r.id, NOON // 900 + LINE_AFTER)
            streams.append(tx, self.desk, self.site_id, ResourceStated(resource=r, line=NOON // 900 + LINE_AFTER))
        pins.lease(tx, self.desk, self.site_id)

    def booking(self, booking_id: str):
        return self.db.read(lambda tx: records.booking(tx, booking_id))


class HubWorld:
    """`mqtt` and `site_transport` put a real broker between the two, `db` books on a disk."""

    def __init__(
        self, folder: Path, rates: Rates, *, mqtt: Mqtt | None = None, site_transport: Transport | None = None, db=None, password="", witness=None,
        digest: DigestSettings | None = None, public_url: str = "", machines: dict | None = None, door_check: str = "none",
    ):  # fmt: skip
        self.clock = ManualClock(float(NOON))
        self.network = MemoryNetwork(Random(1), asyncio.get_running_loop().call_later)
        self.db = db or books(*ledger_schema.STEPS, *schema.STEPS)
        sites = (Site(id=SITE, name="Bedford (enrolled)", door_check=door_check),)
        hub = HubConfig(
            hub_id="hub-test", data_dir=str(folder), sites=sites, rates=rates, mqtt=mqtt, digest=digest, http=Http(public_url=public_url),
            machines=machines or {},
        )  # fmt: skip
        self.config = Config(hub=hub, data_dir=folder, profile=profile("business"), mqtt_password=password)
        transports = None if mqtt else lambda s: self.network.attach(f"hub-{s}")
        with mock.patch.object(jobs, "PLACING_EVERY_S", NEVER_S):
            self.app = hub_app.build(
                self.config, clock=self.clock, chance=Chance(3), db=self.db, transports=transports, limits=LIMITS, witness=witness
            )
        self.hub = self.app.hub
        self.site = SiteDouble(self, SITE, site_transport)
        transport = httpx.ASGITransport(self.app.asgi, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://hub.test")
        self.key = ""

    async def open(self) -> None:
        await self.app.start()
        self.key = await self.new_key(*api_keys.SCOPES)
        await self.site.open()

    async def new_key(self, *scopes: str) -> str:
        key, token = api_keys.make("a program", list(scopes), NOON)
        await self.db.write(lambda tx: key_rows.add(tx, key))
        return token

    async def close(self) -> None:
        await self.client.aclose()
        await self.site.pump.close()
        await self.site.transport.stop()
        await self.app.stop()

    # ---- the link
    async def linked(self) -> None:
        """Both sides have heard each other, and everything that was said has been applied."""
        epochs = lambda: {db.read(lambda tx: streams.read(tx, SITE)).epoch for db in (self.db, self.site.db)}  # noqa: E731
        await self.greeting_until(lambda: self.hub.links.up(SITE) and self.site.pump.fresh() and len(epochs()) == 1)
        await self.greeting_until(self.is_quiet)
        await self.greeting_until(lambda: self.hub.keys.to_sign(SITE) is not None and self.hub.keys.known(SITE))

    async def greeting_until(self, condition) -> None:
        """As `until`, with a hello from both sides every 50 ms, which the ticker gives every five seconds."""
        async with asyncio.timeout(10):
            while not condition():
                self.say_hello()
                for _ in range(25):
                    await asyncio.sleep(0.002)
                    if condition():
                        return

    def say_hello(self) -> None:
        """What the ticker does every five seconds."""
        self.hub.links.hello()
        self.site.pump.hello()

    async def quiet(self) -> None:
        """Nothing waits in either outbox."""
        await self.until(self.is_quiet)

    def is_quiet(self) -> bool:
        return all(db.read(lambda tx: streams.waiting(tx, SITE))[0] == 0 for db in (self.db, self.site.db))

    async def until(self, condition, within_s: float = 5.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0)
                await asyncio.sleep(0.001)

    def cut(self) -> None:
        self.network.cut(f"hub-{SITE}")

    async def heal(self) -> None:
        self.network.heal(f"hub-{SITE}")
        await self.linked()

    # ---- requests
    async def ask(self, method: str, path: str, body=None, key: str | None = None, **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        token = self.key if key is None else key
        if token:
            given["authorization"] = f"Bearer {token}"
        return await self.client.request(method, f"/api/v1{path}", json=body, headers=given)

    async def get(self, path: str, **more) -> httpx.Response:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, body=None, **more) -> httpx.Response:
        return await self.ask("POST", path, body, **more)

    # ---- what is asked for
    def iso(self, slot: int) -> str:
        """A moment so many slots after NOON."""
        return datetime.fromtimestamp(NOON + slot * 900, UTC).isoformat().replace("+00:00", "Z")

    def time(self, bay: int, start: int, slots: int = 4) -> dict[str, str]:
        return {"resource_id": f"{SITE}.box-{bay}", "start": self.iso(start), "end": self.iso(start + slots)}

    def wish(self, bay: int, start: int, slots: int = 4, *, booking_id: str = "booking-0001", who: int = 1, **more) -> dict:
        person = {"name": f"Testa Birdie {who}", "phone": f"902-555-{100 + who:04d}", "email": f"testa{who}@example.test"}
        return {"booking_id": booking_id, **self.time(bay, start, slots), "customer": person, **more}


ENOUGH = Rates(per_address=100_000, per_key=100_000)


@contextlib.asynccontextmanager
async def opened(folder: Path, *, link: bool = True, rates: Rates = ENOUGH, **more) -> AsyncIterator[HubWorld]:
    """`more` as HubWorld takes it. `link` waits until the two have heard each other."""
    w = HubWorld(folder, rates, **more)
    await w.open()
    try:
        if link:
            await w.linked()
        yield w
    finally:
        await w.close()
