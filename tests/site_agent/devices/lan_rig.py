"""Our side of the local network against the emulated bays' switches, spoken to over real sockets, on one clock that the tests move.

async with rigged(tmp_path) as rig:
    rig.plug.on = False
    await rig.forward(8)
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from deploy.emulators.bays.emulator import _app
from deploy.emulators.bays.estate import LIGHTS as LIGHTS_CHANNEL
from deploy.emulators.bays.estate import PLUG, Bay
from deploy.emulators.bays.settings import BaySpec, Settings
from deploy.emulators.bays.shelly import Switch
from deploy.emulators.bays.wake import Cards
from deploy.emulators.messages.faults import Fault, VendorFaults
from deploy.emulators.messages.wire import Answer, Front, Listener
from shared.model import Resource
from shared.runtime.clock import ManualClock
from site_agent.devices.lan.machines import LanMachines
from site_agent.devices.machine_ways import Around, open_machines
from site_agent.ports import Machine, MachineCommand

NOON = 1_800_000_000
BOX, OTHER, NOBODYS = "bedford.box-1", "bedford.box-2", "bedford.box-3"
BAYS = tuple(Resource(id=one, name=one, number=number) for number, one in enumerate((BOX, OTHER, NOBODYS), 1))
MAC = "02:00:5e:00:00:01"
LIGHTS = MachineCommand("lights", "mark-1", "on")
POWER = MachineCommand("restart", "mark-2", reason="Stuck")
WAKE = MachineCommand("wake", "mark-3")
PASSWORD = "not-a-real-password"


class Wired:
    """One bay's switch, and the PC that it feeds, whose program nobody starts: `bay.pc.state` is set by hand. `sets`: what it was told to switch."""

    def __init__(self, bay: str, folder: Path, clock: ManualClock, generation: int, password: str) -> None:
        spec = BaySpec(bay, bay, "http://127.0.0.1:9", "", MAC, generation=generation, password=password)  # type: ignore[arg-type]
        self.bay = Bay(spec, Settings((spec,)), folder / bay, clock.monotonic)
        self.bay.pc.state = "on"
        self.bay.pc.press = self.bay.pc.cut = lambda *_: None  # type: ignore[assignment,method-assign]
        self.switch, self.faults = Switch(self.bay), VendorFaults("slack")
        app = Front(_app(self.switch.answer), self.faults, lambda status, path: Answer(status, b'{"code": -105, "message": "No such id!"}'))
        self.listener = Listener(app, "127.0.0.1")

    @property
    def plug(self) -> Any:
        return self.bay.channels[PLUG]

    @property
    def lights(self) -> Any:
        return self.bay.channels[LIGHTS_CHANNEL]

    @property
    def sets(self) -> list[str]:
        return [one for one in self.switch.requests if one == "GET /rpc/Switch.Set"]


class Rig:
    """`box`, `other`: the two bays' switches; `machines`: our side. `woken`: how often a PC was called up."""

    def __init__(self, clock: ManualClock, folder: Path, box: Wired, other: Wired) -> None:
        self.clock, self.box, self.other, self._folder = clock, box, other, folder
        self.calls_at, self.woken = 0, 0
        self._open: list[LanMachines] = []

    def opened(self, password: str = "", **more: object) -> LanMachines:
        bay = {"id": BOX, "mac": MAC, "plug": self.box.listener.url, "lights": self.box.listener.url, "lights_channel": 1, "idle_w": 5.0}
        table = {"broadcast": f"127.0.0.1:{self.calls_at}", "timeout_s": 1.0, "bay": [bay | {"power_cycle": True} | more]}
        table["bay"] += [{"id": OTHER, "plug": self.other.listener.url}]
        around = Around(lambda file, key: password, self._folder, self.clock, "site.toml", BAYS, lambda bay: f"Box {bay.number}")
        made = open_machines("lan", table, around)
        assert isinstance(made, LanMachines)
        self._open.append(made)
        return made

    async def forward(self, seconds: float) -> None:
        self.clock.forward(seconds)
        for one in (self.box, self.other):
            await one.bay.advance()

    async def look(self, machine_id: str = BOX) -> Machine:
        return {one.machine_id: one for one in await self.machines.machines()}[machine_id]

    def fault(self, kind: str, status: int = 0, path: str = "/rpc/Switch.Set", acts: bool | None = None) -> None:
        self.box.faults.add(Fault(kind, path=path, status=status, acts=acts))  # type: ignore[arg-type]

    def _woke(self, mac: str) -> None:
        self.woken += mac == MAC

    @contextlib.asynccontextmanager
    async def running(self, password: str) -> AsyncIterator["Rig"]:
        made = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Cards([MAC], self._woke), local_addr=("127.0.0.1", 0))
        self.calls_at = made[0].get_extra_info("sockname")[1]
        for one in (self.box, self.other):
            await one.listener.come_back()
        self.machines = self.opened(password)
        try:
            yield self
        finally:
            made[0].close()
            for machines in self._open:
                await machines.stop()
            for one in (self.box, self.other):
                await one.listener.go_down()


@contextlib.asynccontextmanager
async def rigged(folder: Path, generation: int = 2, password: str = "") -> AsyncIterator[Rig]:
    clock = ManualClock(float(NOON))
    box, other = (Wired(bay, folder, clock, generation, password) for bay in (BOX, OTHER))
    async with Rig(clock, folder, box, other).running(password) as rig:
        yield rig
