"""A site whose bays' machines are looked after by an emulated NinjaOne, on one clock that the tests move.

async with looked_after(tmp_path) as w:
    await w.help("script", "restart-sim")
    await w.move(6)
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import httpx

from deploy.emulators.ninjaone_rmm import NinjaOneEmulator
from shared.ledger import work
from site_agent import jobs
from site_agent.devices.ninjaone.machines import NinjaOneMachines
from tests.deploy import ninjaone_world
from tests.deploy.ninjaone_world import BACK, CONSENTING, READER
from tests.site_agent.site_world import CONFIG, NEVER_S, SITE, SiteWorld

BOX = f"{SITE}.box-1"
APPROVED = """
[machines]
[[machines.script]]
name = "restart-sim"
label = "Restart the simulator"
script = "146"
parameters = "-Bay {number} -Name {bay}"

[[machines.service]]
name = "trackman"
label = "TrackMan service"
service = "TrackManPerformance"
"""
NOBODY = """
[machines.way.ninjaone]
url = "http://127.0.0.1:9"
consent_client_id = "nobody"
"""
#: boxes 1 and 2 have machines 31 and 32
WITH_IDS = (
    CONFIG.replace("number = 1\n", 'number = 1\nmachine_id = "31"\n').replace("number = 2\n", 'number = 2\nmachine_id = "32"\n') + APPROVED
)


class MachineWorld(SiteWorld):
    """A site with machines; `move(seconds)` lets time pass and the site do what is due, since its ticker stands."""

    async def open(self) -> None:
        with mock.patch.object(jobs, "PLACING_EVERY_S", NEVER_S):
            await self.agent.start()
        self.agent.ticker.stop()
        self.staff = await self.signed_in("ada")

    async def move(self, seconds: float = 0) -> None:
        self.clock.forward(seconds)
        self.kit.worker.tick()
        await self.kit.machines.tick()
        await self.rest()

    async def rest(self) -> None:
        """Nothing that was begun goes on."""
        worker, desk = self.kit.worker, self.kit.machines
        for _ in range(30):  # the queue takes up what it was woken for: nothing of it waits for anything but its turn
            await asyncio.sleep(0)
        await self.until(lambda: not any(state.doing for state in worker.states()))
        await self.until(lambda: all(task.done() for task in worker._looking.values()))
        await self.until(lambda: desk._looking is None or desk._looking.done())

    async def panel(self) -> dict:
        return (await self.staff.get("/api/machines")).json()

    async def bay(self, number: int = 1) -> dict:
        return next(one for one in (await self.panel())["bays"] if one["resource_id"] == f"{SITE}.box-{number}")

    async def help(self, kind: str = "restart", name: str = "", *, bay: str = BOX, who=None, **more) -> httpx.Response:
        body = {"command_id": str(uuid.uuid4()), "kind": kind, "name": name, "reason": "The picture froze"} | more
        return await (who or self.staff).post(f"/api/machines/{bay}/help", body)

    def row(self) -> work.Work:
        return self.db.read(lambda tx: work.about(tx, BOX))[-1]

    async def last(self) -> tuple[str, str]:
        """What staff see of the latest command: its state and what is said of it."""
        one = (await self.bay())["commands"][0]
        return one["state"], one["text"]


class LookedAfter(MachineWorld):
    """`ninja` is the emulator; it and the site have one clock."""

    ninja: NinjaOneEmulator

    async def move(self, seconds: float = 0) -> None:
        self.clock.forward(seconds)
        self.ninja.estate.advance()
        await super().move()

    async def connect(self) -> None:
        """The installer's consent."""
        machines = self.kit.machines._machines
        assert isinstance(machines, NinjaOneMachines)
        consent = machines.asking(BACK)
        query = dict(parse_qsl(urlsplit(consent.url).query))
        async with httpx.AsyncClient(verify=False) as client:
            gone = await client.post(f"{self.ninja.url}/ws/oauth/authorize", data=query | {"answer": "allow"})
        await machines.keep(consent, consent.code_in(gone.headers["location"]))


@contextlib.asynccontextmanager
async def looked_after(folder: Path, *, consent: bool = True, **settings: object) -> AsyncIterator[LookedAfter]:
    async with ninjaone_world.emulated(**settings) as ninja:
        way = f'[machines.way.ninjaone]\nurl = "{ninja.emulator.url}"\nclient_id = "{READER.client_id}"\nsecret_file = "ninja.secret"\n'
        way += f'consent_client_id = "{CONSENTING.client_id}"\norganization_id = 1\nread_timeout_s = 1.0\n'
        (folder / "ninja.secret").write_text(READER.secret)
        with mock.patch("tests.site_agent.site_world.ManualClock", lambda now: ninja.clock):
            world = LookedAfter(folder, linked=False, config=WITH_IDS + way)
        world.ninja = ninja.emulator
        await world.open()
        try:
            if consent:
                await world.connect()
            await world.move()
            yield world
        finally:
            await world.close()
