"""One facility with everything around it as real processes: hub, Mosquitto, site agent; the emulated door controller in this process.

For: the measures that go through more than one program. Not for: measuring. The controller is emulated here, not in a process of its own,
so that the moment a call reaches it is read from the same clock as the moment the guest pressed the key.
Invariant: everything started is ended with the block, newest first, whatever happened in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import msgspec

from cloud_hub.services import api_keys
from cloud_hub.store import folder as hub_folder
from deploy.bench import children
from deploy.bench.bench import Bench
from deploy.bench.children import Child
from deploy.bench.results import BenchError
from deploy.broker import BrokerError, BrokerUser, Mosquitto
from deploy.demo.clients import Hub, Kiosk, Staff
from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi_access import UnifiAccessEmulator
from shared.runtime import server
from shared.runtime.passwords import Passwords
from site_agent.services import people
from site_agent.store import spool

SITE, FLOOR, HUB = "bench", "floor", "hub"
DOOR = DoorSpec("front", SITE)
BAYS = 20
USER = "bench"
WITHIN_S, LOOK_EVERY_S = 30.0, 0.02
QUIET_S = 0.3
RATE = 10**6

HUB_TOML = """
hub_id = "bench-hub"
data_dir = "data"
log_level = "WARNING"

[clock]
rtc = "yes"

[http]
port = {port}
public_url = "http://127.0.0.1:{port}"

[rates]
per_address = {rate}
per_key = {rate}

[mqtt]
host = "127.0.0.1"
port = {broker_port}
username = "hub"
password_file = "broker.password"

[[sites]]
id = "{site}"
name = "Bench"
"""

SITE_TOML = """
data_dir = "data"
hub_id = "bench-hub"
log_level = "WARNING"
staff_file = "staff.toml"

[clock]
rtc = "yes"

[site]
id = "{site}"
name = "Bench"
door_ids = {door_ids}

[http]
port = {port}

[mqtt]
host = "127.0.0.1"
port = {broker_port}
username = "{site}"
password_file = "broker.password"
"""

DOORS_TOML = """
[doors]
kind = "unifi"
host = "127.0.0.1"
port = {unifi_port}
token_file = "doors.token"
fingerprint = "{fingerprint}"
"""

#: the site sells each of these for two days ahead (terr-8)
BAY_TOML = """
[[resource]]
id = "{site}.box-{number}"
name = "Box {number}"
number = {number}
release_ahead_h = 48
"""

STAFF_TOML = """
[[staff]]
user = "{user}"
name = "Testa Desk"
role = "admin"
password_hash = {password_hash}
"""


class Facility:
    """Files, ports and secrets of one run, and the clients of its users. Made by `opened`."""

    def __init__(self, folder: Path, *, doors: bool) -> None:
        self.folder, self.doors = folder, doors
        self.passwords = {name: secrets.token_urlsafe(12) for name in (HUB, SITE, FLOOR, USER)}
        users = (BrokerUser(HUB, self.passwords[HUB]), *(BrokerUser(name, self.passwords[name], name) for name in (SITE, FLOOR)))
        self.broker = Mosquitto(folder / "broker", users)
        token = secrets.token_urlsafe(12)
        (folder / "unifi").mkdir()
        self.controller = UnifiAccessEmulator(doors=[DOOR], tokens={token: AGENT_SCOPES}, folder=folder / "unifi")
        self._doors_token = token
        self.hub_port, self.site_port = free_port(), free_port()
        self.hub_url, self.site_url = f"http://127.0.0.1:{self.hub_port}", f"http://127.0.0.1:{self.site_port}"
        self.api_key, self.kiosk_token = "", ""
        self.hub: Hub
        self.staff: Staff
        self.kiosk: Kiosk

    # ---- files
    async def write(self) -> None:
        """Settings, secrets and errands of both sides; the controller and the broker listen already, so that their ports are known."""
        hub, site = self.folder / "hub", self.folder / "site"
        broker_port = self.broker.port
        write(hub / "hub.toml", HUB_TOML.format(port=self.hub_port, rate=RATE, broker_port=broker_port, site=SITE))
        write(hub / "broker.password", self.passwords[HUB])
        text = SITE_TOML.format(
            site=SITE, door_ids=json.dumps([DOOR.id] if self.doors else []), port=self.site_port, broker_port=broker_port
        )
        if self.doors:
            text += DOORS_TOML.format(unifi_port=self.controller.port, fingerprint=self.controller.fingerprint)
        write(site / "site.toml", text + "".join(BAY_TOML.format(site=SITE, number=number) for number in range(1, BAYS + 1)))
        write(site / "broker.password", self.passwords[SITE])
        write(site / "doors.token", self._doors_token)
        hashed = await Passwords().hash(self.passwords[USER])
        write(site / "staff.toml", STAFF_TOML.format(user=USER, password_hash=json.dumps(hashed)))
        key, self.api_key = api_keys.make("bench", list(api_keys.SCOPES), int(time.time()))
        hub_folder.wish(hub / "data", msgspec.json.encode(api_keys.KeyWish(add=key)))

    def leave_pairing(self) -> str:
        """Leaves a pairing code for a kiosk; the code."""
        code = people.new_code()
        errand = spool.Errand(kind="pairing", name="Kiosk", secret_hash=people.code_hash(code), ends_at=int(time.time()) + 300)
        spool.leave(self.folder / "site" / "data" / people.SPOOL, errand)
        return code

    # ---- processes
    def run_hub(self, core: int | None = None) -> contextlib.AbstractContextManager[Child]:
        return children.python(["-m", "cloud_hub", "run", "--config", str(self.folder / "hub" / "hub.toml")], self.folder / "hub.log", core)

    def run_site(self, core: int | None = None) -> contextlib.AbstractContextManager[Child]:
        return children.python(["-m", "site_agent", "run", "--config", str(self.folder / "site" / "site.toml")], self.folder / "site.log", core)

    async def settled(self, code: str) -> None:
        """Waits until the site serves, staff are signed in, the kiosk is paired by `code` and the link is up."""
        await until("The site of the bench did not serve", self.staff.ready)
        await self.staff.sign_in()
        await _paired(self, code)
        await self.linked()

    async def linked(self) -> None:
        """Waits until hub and site hear each other and the hub knows every bay."""

        async def so() -> bool:
            sites = await self.hub.sites()
            up = bool(sites) and sites[0]["link"] == "up" and not sites[0]["waiting_messages"]
            return up and len(await self.hub.resources()) == BAYS

        await until("The hub and the site of the bench did not find each other", so)

    async def quiet(self) -> None:
        """Waits until nothing is on its way any more: no message on the link, and no call at the door controller for a moment."""
        calls, since = -1, 0.0

        async def so() -> bool:
            nonlocal calls, since
            now_calls = len(self.controller.box.requests)
            if now_calls != calls:
                calls, since = now_calls, time.monotonic()
            return time.monotonic() - since > QUIET_S and not (await self.hub.sites())[0]["waiting_messages"]

        await until("The facility of the bench did not come to rest", so)


@contextlib.asynccontextmanager
async def prepared(bench: Bench, *, doors: bool = True) -> AsyncIterator[Facility]:
    """Everything around hub and site, and the clients of their users; both are started by whoever measures."""
    async with contextlib.AsyncExitStack() as stack:
        facility = Facility(bench.fresh("facility"), doors=doors)
        await facility.controller.start()
        stack.push_async_callback(facility.controller.stop)
        try:
            facility.broker.start()
        except BrokerError as error:
            raise BenchError(str(error)) from None
        stack.callback(facility.broker.stop)
        await facility.write()
        facility.hub = await stack.enter_async_context(Hub(facility.hub_url, facility.api_key))
        facility.staff = await stack.enter_async_context(Staff(SITE, facility.site_url, USER, facility.passwords[USER]))
        facility.kiosk = await stack.enter_async_context(Kiosk(SITE, facility.site_url))
        yield facility


@contextlib.asynccontextmanager
async def opened(bench: Bench, *, doors: bool = True, with_site: bool = True) -> AsyncIterator[Facility]:
    """A facility that serves, linked and paired; `doors`: its site knows the controller; without its site, only what that needs around it."""
    async with prepared(bench, doors=doors) as facility:
        with facility.run_hub():
            await until("The hub of the bench did not serve", facility.hub.ready)
            if not with_site:
                yield facility
                return
            code = facility.leave_pairing()
            with facility.run_site():
                await facility.settled(code)
                yield facility


async def _paired(facility: Facility, code: str) -> None:
    """The agent takes the errand in within a second or so."""

    async def so() -> bool:
        try:
            await facility.kiosk.pair(code)
        except (RuntimeError, httpx.TransportError):
            return False
        return True

    await until("The kiosk of the bench could not be paired", so, every_s=0.5)


async def until(what: str, look: Callable[[], Awaitable[bool]], within_s: float = WITHIN_S, every_s: float = LOOK_EVERY_S) -> None:
    """Looks until it is so. Raises BenchError with `what` when it is not within `within_s`."""
    deadline = time.monotonic() + within_s
    while not await look():
        if time.monotonic() > deadline:
            raise BenchError(f"{what} within {within_s:.0f} s.")
        await asyncio.sleep(every_s)


def free_port() -> int:
    """A port that nobody has just now; the process that gets it binds it at once."""
    sock = server.listen("127.0.0.1", 0)
    try:
        return sock.getsockname()[1]
    finally:
        sock.close()


def write(path: Path, text: str) -> None:
    """A file that only we read, and the folder for it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
