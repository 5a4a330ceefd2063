"""A site agent as built for earnest, with doors that tell what they were asked, and (where a test wants one) a hub made of the same
ledger; the clock stands until moved.

    async with opened(tmp_path) as w:
        answer = await w.staff.post("/api/bookings", w.wish(1, 2))

Bays `bedford.box-1` to `box-4`, one front door. Box 1 is the site's for 48 hours from the start of the world, the others for 2.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Container
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import httpx

from shared.errors import Failure
from shared.keys import SigningKey, sealed_by
from shared.ledger import frontdesk, schema, streams
from shared.ledger.desk import Desk, Limits
from shared.ledger.pump import Pump
from shared.model import Booking, Customer
from shared.passes import facts_of
from shared.passes import write as write_pass
from shared.profiles import profile
from shared.runtime.clock import Chance, ManualClock
from shared.runtime.database import InlineWriter
from shared.runtime.transport import MemoryNetwork
from shared.sealing import Sealer, SealKey
from site_agent import app as site_app
from site_agent import jobs
from site_agent.config import load
from site_agent.ports import (
    Actor,
    DoorCard,
    DoorCheck,
    DoorCredential,
    DoorDevice,
    DoorEvent,
    DoorHold,
    DoorPlace,
    DoorState,
    DoorsUnavailable,
    EmergencyMode,
    Granted,
    GrantRef,
    HoldRule,
    Unlocked,
)
from site_agent.store import schema as site_schema

#: Saturday 21 Nov 2026, 12:00 in Halifax
NOON = 1795276800
SITE, FRONT = "bedford", "door-front"
LIMITS = Limits(ask_wait_s=0.5, ack_delay_s=0.0)
PASSWORD = "a long enough word"
#: who lost a place is put elsewhere by rule when a test says so (`kit.placing.run()`), not after a second
NEVER_S = 86_400.0
#: argon2id of PASSWORD with the cheapest setting there is, so that a test costs no 20 ms
PASSWORD_HASH = ""

CONFIG = """
data_dir = "data"
hub_id = "hub-test"
staff_file = "staff.toml"

[clock]
rtc = "yes"

[site]
id = "bedford"
name = "Bedford"
word = "Box"
support_phone = "902-555-0100"
door_ids = ["door-front"]

[[resource]]
id = "bedford.box-1"
name = "TrackMan iO"
number = 1

[[resource]]
id = "bedford.box-2"
name = "TrackMan 4"
number = 2
door_ids = ["door-side"]

[[resource]]
id = "bedford.box-3"
name = "GCQuad"
number = 3

[[resource]]
id = "bedford.box-4"
name = "TrackMan 4"
number = 4
"""


def cheap_hash() -> str:
    """The hash of PASSWORD, made once per run."""
    global PASSWORD_HASH
    if not PASSWORD_HASH:
        from argon2 import PasswordHasher, Type

        PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1, type=Type.ID).hash(PASSWORD)
    return PASSWORD_HASH


def staff_file() -> str:
    roles = {"ada": "admin", "sam": "staff", "vi": "viewer", "clea": "cleaner", "con": "contractor"}
    rows = [f'[[staff]]\nuser = "{user}"\nname = "{user.title()} Example"\nrole = "{role}"\npassword_hash = "{cheap_hash()}"\n' for user, role in roles.items()]
    return "\n".join(rows)


class DoorsDouble:
    """The Doors port: remembers what it was asked; `failure` is raised by every call while it is set, `silent` never answers unlocks. What is
    put into `happens` is told as an event."""

    def __init__(self) -> None:
        self.unlocked: list[tuple[str, str, str]] = []
        self.visitors: dict[str, DoorCredential] = {}
        self.calls: list[str] = []
        self.failure: Failure | None = None
        self.silent = False
        self.skew_s: float | None = None
        self.happens: asyncio.Queue[DoorEvent] = asyncio.Queue()
        self._forever = asyncio.Event()
        self.mode: EmergencyMode = "normal"
        self.holds: dict[str, str] = {}
        self.cards: dict[str, GrantRef] = {}
        self.card: DoorCard | None = None
        self.fitted = [
            DoorDevice("hub-1", "Front hub", "hub", "UAH", FRONT, True),
            DoorDevice("reader-1", "Front reader", "reader", "UA-G2-PRO", FRONT, True, "v2.7", ("pin", "nfc")),
        ]

    def _may(self, call: str) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self._forever.set()

    def clock_skew_s(self) -> float | None:
        return self.skew_s

    async def unlock(self, door_id: str, actor: Actor, request_id: str) -> Unlocked:
        self._may("unlock")
        self.unlocked.append((door_id, actor.id, request_id))
        if self.silent:
            await self._forever.wait()
        return Unlocked(door_id, request_id, NOON, "answer")

    async def unlocked_already(self, door_id: str, actor: Actor, request_id: str, since_at: int) -> Unlocked | None:
        return None

    async def doors(self) -> list[DoorState]:
        self._may("doors")
        return [DoorState(FRONT, "Front", "Bedford - Front", True, "locked", "closed")]

    async def grant(self, credential: DoorCredential) -> GrantRef:
        self._may("grant")
        self.visitors[f"v-{credential.booking_id}"] = credential
        return GrantRef(f"v-{credential.booking_id}")

    async def regrant(self, ref: GrantRef, credential: DoorCredential) -> GrantRef:
        self._may("regrant")
        self.visitors[ref] = credential
        return ref

    async def revoke(self, ref: GrantRef, *, erase: bool = False) -> None:
        self._may("revoke")
        self.visitors.pop(ref, None)

    async def granted(self, *, ended: bool = False) -> list[Granted]:
        self._may("granted")
        return [Granted(GrantRef(ref), c.booking_id, c.opens_at, c.closes_at, "upcoming", c.pin is not None, c.resource_id) for ref, c in self.visitors.items()]

    async def kept(self, booking_id: str = "") -> list[Granted]:
        return [one for one in await self.granted() if booking_id in ("", one.booking_id)]

    async def kept_one(self, ref: GrantRef) -> Granted | None:
        return next((one for one in await self.granted() if one.ref == ref), None)

    async def log(self, since_at: int, until_at: int) -> list:
        return []

    async def emergency_now(self) -> EmergencyMode:
        if self.failure is not None:
            raise self.failure
        return self.mode

    async def emergency(self, mode: EmergencyMode) -> None:
        self._may("emergency")
        self.mode = mode

    async def hold(self, door_id: str, rule: HoldRule, minutes: int = 0) -> None:
        self._may(f"hold {rule} {minutes}")
        self.holds[door_id] = rule

    async def held(self, door_id: str) -> DoorHold:
        return DoorHold(door_id, self.holds.get(door_id, "none"))

    async def places(self) -> list[DoorPlace]:
        return [DoorPlace(FRONT, "Front", "Bedford", "All Doors", True)]

    async def devices(self) -> list[DoorDevice]:
        return self.fitted

    async def check(self, pin_digits: int = 6) -> list[DoorCheck]:
        return []

    async def code_of(self, ref: GrantRef) -> str:
        return f"code-{ref}"

    async def card_begin(self, device_id: str) -> str:
        self._may("card_begin")
        return f"session-{device_id}"

    async def card_read(self, session_id: str) -> DoorCard | None:
        return self.card

    async def card_end(self, session_id: str) -> None:
        self._may("card_end")

    async def give_card(self, ref: GrantRef, card_id: str) -> None:
        self._may("give_card")
        self.cards[card_id] = ref

    async def take_card(self, ref: GrantRef, card_id: str) -> None:
        self._may("take_card")
        self.cards.pop(card_id, None)

    async def events(self, after_ms: int, known: Container[str] = frozenset()) -> AsyncIterator[DoorEvent]:
        while True:
            event = await self.happens.get()
            if event.key not in known:
                yield event

    def hearing(self) -> bool:
        return self.failure is None

    def called(self, signature: str, body: bytes) -> bool:
        return signature == "good" and body == b"{}"


class HubDouble:
    """The hub's side of the link: the same books, its own key, no web."""

    def __init__(self, world: "SiteWorld", folder: Path):
        self.world = world
        schema.prepare(folder / "hub.db")
        self.db = InlineWriter(folder / "hub.db")
        chance = Chance(11)
        self.desk = Desk("hub", clock=world.clock.now, new_id=chance.new_id, chance=chance.random, box_id="box-hub", limits=LIMITS)
        self.houses = frontdesk.Houses(self.db, profile("business"), self.desk)
        self.key = SigningKey.from_seed(bytes(range(32)))
        self.desk.sealer, self.desk.opener = Sealer(bytes(32)), SealKey(bytes(32))
        self.transport = world.network.attach("hub")
        public = self.key.public("hub")
        self.known: set[str] = set()
        self.pump = Pump(
            db=self.db, desk=self.desk, clock=world.clock, site_id=SITE, transport=self.transport,
            keys=lambda: ({"id": public.id, "raw_b64": public.raw_b64, "side": "hub"},), known_keys=lambda: tuple(self.known),
            on_hello=lambda hello: self.known.update(key["id"] for key in hello.keys), seal=lambda: sealed_by(self.key, self.desk.opener.public),
        )  # fmt: skip

    async def open(self) -> None:
        self.db.write_now(lambda tx: streams.open_site(tx, SITE, hub_id="hub-test", box_id="box-hub"))
        await self.transport.start()
        self.pump.attach()

    def sell(self, bay: int, start: int, hours: float = 1.0, booking_id: str = "") -> Booking:
        """A web sale in the hub's own books, `start` in half hours from the world's beginning."""
        slot = NOON // 900 + start * 2
        part = frontdesk.Part(booking_id=booking_id or str(uuid.uuid4()), resource_id=f"{SITE}.box-{bay}", start=slot, end=slot + int(hours * 4))
        customer = Customer(id=f"c-{part.booking_id}", name="Webster Link", phone="902-555-0150")
        wanted = frontdesk.Wanted(site_id=SITE, parts=(part,), channel="web", customer=customer)
        return self.db.write_now(lambda tx: frontdesk.book(tx, self.desk, self.houses.of(tx, SITE), wanted, link_up=self.pump.fresh())[0])

    def pass_of(self, b: Booking) -> str:
        return write_pass(facts_of(b, self.key.id, NOON), self.key)


class Client:
    """One asker: a browser or a program, with its own cookies."""

    def __init__(self, world: "SiteWorld", address: str = "192.0.2.7", **headers: str):
        transport = httpx.ASGITransport(world.agent.asgi, raise_app_exceptions=False, client=(address, 1))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://site.test", headers=headers)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.http.get(path, params=params or None)

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return await self.http.post(path, json={} if body is None else body)

    async def delete(self, path: str) -> httpx.Response:
        return await self.http.delete(path)

    async def form(self, path: str, **fields: Any) -> httpx.Response:
        return await self.http.post(path, data=fields)


class SiteWorld:
    """The agent with what is around it."""

    def __init__(self, folder: Path, *, linked: bool, config: str = CONFIG, clock: ManualClock | None = None, doors: Any = None):
        (folder / "site.toml").write_text(config)
        (folder / "staff.toml").write_text(staff_file())
        self.loaded = load(folder / "site.toml")
        self.clock = clock or ManualClock(float(NOON))
        self.network = MemoryNetwork(Random(1), asyncio.get_running_loop().call_later)
        self.doors = doors or DoorsDouble()
        self.loaded.data_dir.mkdir()
        path = self.loaded.data_dir / site_app.DATABASE
        site_schema.prepare(path, lambda: "box-site")
        self.db = InlineWriter(path)
        self.agent = site_app.build(
            self.loaded, clock=self.clock, chance=Chance(5), db=self.db, doors=self.doors, limits=LIMITS,
            transport=self.network.attach("site") if linked else None,
        )  # fmt: skip
        self.kit = self.agent.kit
        self.hub = HubDouble(self, folder) if linked else None
        self.anybody = Client(self)
        self._open: list[Client] = [self.anybody]

    async def open(self) -> None:
        with mock.patch.object(jobs, "PLACING_EVERY_S", NEVER_S):
            await self.agent.start()
        self.staff = await self.signed_in("ada")
        self.kiosk = await self.paired()

    async def close(self) -> None:
        for client in self._open:
            await client.http.aclose()
        await self.agent.stop()

    # ---- people
    async def signed_in(self, user: str) -> Client:
        client = Client(self)
        self._open.append(client)
        answer = await client.post("/api/sign-in", {"user": user, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.http.headers["x-csrf-token"] = answer.json()["csrf_token"]
        return client

    async def paired(self, name: str = "Front kiosk") -> Client:
        """A kiosk as a program, with its token."""
        code = (await self.staff.post("/api/kiosks", {"name": name})).json()["code"]
        token = (await self.anybody.post("/api/kiosks/pair", {"code": code})).json()["token"]
        self.anybody.http.cookies.clear()
        client = Client(self, authorization=f"Bearer {token}")
        self._open.append(client)
        return client

    async def screen(self) -> Client:
        """A kiosk as a browser, with its cookie."""
        code = (await self.staff.post("/api/kiosks", {"name": "Screen"})).json()["code"]
        browser = Client(self, accept="text/html")
        self._open.append(browser)
        page = await browser.get("/kiosk/pair", code=code)
        assert (await browser.form("/kiosk/pair", csrf_token=csrf_of(page.text), code=code)).status_code == 303
        return browser

    # ---- wishes; times in half hours from the world's beginning
    def at(self, half_hours: float) -> str:
        return datetime.fromtimestamp(NOON + half_hours * 1800, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def wish(self, bay: int, start: float, length: float = 2, **more: Any) -> dict[str, Any]:
        person = {"name": "Testa Birdie", "phone": f"902-555-{uuid.uuid4().int % 9000 + 1000}", "booking_id": str(uuid.uuid4())}
        return {"resource_id": f"{SITE}.box-{bay}", "start": self.at(start), "end": self.at(start + length), **person, **more}

    async def booked(self, bay: int, start: float, length: float = 2, **more: Any) -> dict[str, Any]:
        """A confirmed booking made by staff."""
        answer = await self.staff.post("/api/bookings", self.wish(bay, start, length, **more))
        assert answer.status_code == 201, answer.text
        return answer.json()["booking"]

    # ---- the link
    async def until(self, condition, within_s: float = 5.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.001)

    async def linked(self) -> None:
        """Both sides have heard each other, and everything that was said has been applied."""
        await self.saying_hello(lambda: self.kit.link.up() and self.hub.pump.fresh())
        await self.quiet()
        await self.saying_hello(lambda: self.kit.link.key_for_the_hub() is not None)

    async def quiet(self) -> None:
        """Nothing waits in either outbox."""
        waiting = lambda db: db.read(lambda tx: streams.waiting(tx, SITE))[0]  # noqa: E731
        await self.saying_hello(lambda: waiting(self.db) == 0 and waiting(self.hub.db) == 0)

    async def saying_hello(self, condition) -> None:
        """What the ticker does every five seconds, since the clock stands: a hello makes both sides send on from where they are."""
        for turn in range(50):
            if condition():
                return
            if turn > 2:  # what was lost on the way is sent again after a while
                self.clock.forward(3)
                self.kit.link.tick()
                self.hub.pump.tick()
            self.kit.link.hello()
            self.hub.pump.hello()
            with contextlib.suppress(TimeoutError):
                await self.until(condition, 0.1)
        told = [db.read(lambda tx: streams.read(tx, SITE)) for db in (self.db, self.hub.db)]
        raise AssertionError(f"The two sides did not come to rest: {told}")

    def cut(self) -> None:
        self.network.cut("site")

    def journal(self) -> list[tuple]:
        from shared.ledger import records

        return self.db.read(lambda tx: records.journal_of(tx, SITE))


def csrf_of(page: str) -> str:
    return page.split('name="csrf_token" value="')[1].split('"')[0]


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


@contextlib.asynccontextmanager
async def opened(folder: Path, *, linked: bool = False, config: str = CONFIG, **more: Any) -> AsyncIterator[SiteWorld]:
    """`more`: a clock and doors of the test's own."""
    world = SiteWorld(folder, linked=linked, config=config, **more)
    if world.hub is not None:
        await world.hub.open()
    await world.open()
    try:
        if linked:
            await world.linked()
        yield world
    finally:
        await world.close()


def away(detail: str = "The door controller does not answer.") -> DoorsUnavailable:
    return DoorsUnavailable(detail, retry_after_s=2)


