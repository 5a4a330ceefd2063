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
from shared.errors import Failure
from shared.ledger import work
from site_agent import app as site_app
from site_agent import jobs
from site_agent.devices.ninjaone.machines import NinjaOneMachines
from site_agent.ports import Activity, Bookmark, CommandOutcome, Machine, MachineCommand
from tests.deploy import ninjaone_world
from tests.deploy.ninjaone_world import BACK, CONSENTING, READER
from tests.site_agent.site_world import CONFIG, NEVER_S, NOON, SITE, SiteWorld

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
        await self.until(lambda: all(one.resting for one in desk.ways.values()))

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
        machines = self.kit.machines.way("ninjaone")
        assert isinstance(machines, NinjaOneMachines)
        consent = machines.asking(BACK)
        query = dict(parse_qsl(urlsplit(consent.url).query))
        async with httpx.AsyncClient(verify=False) as client:
            gone = await client.post(f"{self.ninja.url}/ws/oauth/authorize", data=query | {"answer": "allow"})
        await machines.keep(consent, consent.code_in(gone.headers["location"]))


@contextlib.asynccontextmanager
async def looked_after(folder: Path, *, consent: bool = True, more: str = "", **settings: object) -> AsyncIterator[LookedAfter]:
    """`more`: lines of the configuration, as for other ways; `settings` are the emulator's."""
    async with ninjaone_world.emulated(**settings) as ninja:
        way = f'[machines.way.ninjaone]\nurl = "{ninja.emulator.url}"\nclient_id = "{READER.client_id}"\nsecret_file = "ninja.secret"\n'
        way += f'consent_client_id = "{CONSENTING.client_id}"\norganization_id = 1\nread_timeout_s = 1.0\n'
        (folder / "ninja.secret").write_text(READER.secret)
        with mock.patch("tests.site_agent.site_world.ManualClock", lambda now: ninja.clock):
            world = LookedAfter(folder, linked=False, config=WITH_IDS + way + more)
        world.ninja = ninja.emulator
        await world.open()
        try:
            if consent:
                await world.connect()
            await world.move()
            yield world
        finally:
            await world.close()


class MachinesDouble:
    """The Machines port: remembers what it was asked; `failure` is raised by the calls named in `failing` (all of them if empty). `kinds`: what it is
    there for; it is able to do all of that while `here`. Its machines have the bays' ids of the configuration."""

    near = False

    def __init__(self, *kinds: str) -> None:
        self.kinds, self.here = frozenset(kinds or ("restart", "service", "script")), True
        self.people: Activity | None = None
        self.quiet: list[tuple[str, int, str]] = []
        self.given: list[tuple[str, MachineCommand]] = []
        self.calls: list[str] = []
        self.states = {"31": Machine("31", "BOX-1", True, NOON, "good"), "32": Machine("32", "BOX-2", True, NOON, "good")}
        self.ends: CommandOutcome = CommandOutcome("running", ref="s-1")
        self.failure: Failure | None = None
        self.failing: tuple[str, ...] = ()
        self.told: list[str] = []

    def _may(self, call: str) -> None:
        self.calls.append(call)
        if self.failure is not None and (not self.failing or call in self.failing):
            raise self.failure

    def reaches(self, resource_id: str, machine_id: str) -> str:
        return machine_id

    def does(self, machine: str) -> frozenset[str]:
        return self.kinds

    def able(self, machine: str) -> frozenset[str]:
        return self.kinds if self.here and machine in self.states else frozenset()

    def activity(self, machine: str) -> Activity | None:
        return self.people

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def machines(self) -> list[Machine]:
        self._may("machines")
        return list(self.states.values())

    async def bookmark(self, machine_id: str) -> Bookmark:
        self._may("bookmark")
        return Bookmark("700", NOON)

    async def command(self, machine_id: str, command: MachineCommand) -> str:
        self.given.append((machine_id, command))
        self._may("command")
        return ""

    async def outcome(self, machine_id: str, command: MachineCommand, since: Bookmark, ref: str) -> CommandOutcome:
        self._may("outcome")
        assert since == Bookmark("700", NOON)
        return self.ends

    async def maintenance(self, machine_id: str, until_at: int, reason: str) -> None:
        self._may("maintenance")
        self.quiet.append((machine_id, until_at, reason))

    async def renew(self) -> None:
        self._may("renew")

    def alarms(self) -> list[str]:
        return self.told


class Doubled(MachineWorld):
    """Its machines are doubles: `machines` the first way, `ways` all."""

    machines: MachinesDouble
    ways: dict[str, MachinesDouble]

    async def due(self, seconds: float = 0) -> None:
        """Time passes, and what the bays need by themselves is written down and begun."""
        self.clock.forward(seconds)
        await self.kit.machines.look()
        await self.kit.bay_jobs.tick()
        await self.move()

    def given(self, way: str = "ninjaone") -> list[str]:
        """The kinds of commands that a way was given."""
        return [command.kind for _, command in self.ways[way].given]


@contextlib.asynccontextmanager
async def machined(folder: Path, jobs: str = "", **ways: MachinesDouble) -> AsyncIterator[Doubled]:
    """`ways` in preference (one named ninjaone without), `jobs`: lines of their settings."""
    doubles, build = ways or {"ninjaone": MachinesDouble()}, site_app.build
    with mock.patch.object(site_app, "build", lambda *args, **more: build(*args, **more, machines=doubles)):
        world = Doubled(folder, linked=False, config=f"{WITH_IDS}{NOBODY}[machines.jobs]\n{jobs}\n")
    world.ways, world.machines = doubles, next(iter(doubles.values()))
    await world.open()
    try:
        yield world
    finally:
        await world.close()
