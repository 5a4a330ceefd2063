"""The way by the bays' own program, and that program itself (`deploy.bay_agent`) on two emulated PCs, on one clock that the tests move.

async with rigged(tmp_path) as rig:
    await rig.forward(5)        # the PCs that are on speak with the site agent, and do what they were told
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from deploy.bay_agent import config, signing
from deploy.bay_agent.agent import Agent
from deploy.bay_agent.journal import Journal
from deploy.bay_agent.wire import SiteTime, Wire, WireError
from shared.model import Resource
from shared.runtime.clock import ManualClock
from site_agent.devices.bay_agent.keys import Keys
from site_agent.devices.bay_agent.machines import BayAgents
from site_agent.devices.machine_ways import Around, open_machines
from site_agent.ports import BayAnswer, BayCall, MachineCommand
from tests.deploy.ninjaone_world import NOON

BOX, OTHER, NOBODYS = "bedford.box-1", "bedford.box-2", "bedford.box-3"
BAYS = tuple(Resource(id=one, name=f"Box {number}", number=number) for number, one in enumerate((BOX, OTHER, NOBODYS), 1))
SCRIPT = MachineCommand("script", "mark-1", "146", "-Bay 1", "system", "The picture froze", "restart-sim")
REBOOT = MachineCommand("restart", "mark-2", reason="Stuck")
SERVICE = MachineCommand("service", "mark-3", "TrackManPerformance", name="trackman")
BOOT_S = 30.0
ALLOWED = tuple(
    config.Command(kind, what, ("do", kind, what, config.PARAMETERS), cool_s, 60)
    for kind, what, cool_s in (
        ("restart", "", 300),
        ("shutdown", "", 0),
        ("service", "trackman", 60),
        ("script", "restart-sim", 0),
        ("message", "", 0),
    )
)

Send = Callable[[BayCall], BayAnswer]


class InProcessWire(Wire):
    """The wire with everything but the socket: what it would send is handed to `send`."""

    def __init__(self, pc: "Pc", send: Send) -> None:
        super().__init__("http://site.test", pc.bay, pc.key, pc.time)
        self._pc, self._send = pc, send

    def _asked(self, path: str, body: bytes, headers: dict[str, str], timeout_s: float) -> tuple[int, dict[str, str], bytes]:
        if not self._pc.reached:
            raise WireError("The site agent does not answer.")
        words = {name.lower(): one for name, one in headers.items()}
        call = BayCall(path, words["x-bay"], words["x-bay-time"], words["x-bay-nonce"], words["x-bay-signature"], body, "192.0.2.31")
        self._pc.said.append(call)
        answer = self._send(call)
        return answer.status, dict(answer.headers), answer.body


class Pc:
    """One bay's PC: its clock may be off, its program may be ended at any point; what it runs is noted in `ran` and answered with `ends`."""

    def __init__(self, bay: str, key: bytes, folder: Path, clock: ManualClock, send: Send) -> None:
        self.bay, self.key, self.folder, self.clock, self._send = bay, key, folder, clock, send
        self.on, self.reached, self.boots, self.booting_s = True, True, 1, 0.0
        self.clock_off_s, self.idle_s, self.uptime_s, self.disk_free_mb = 0.0, 42, 36_000, 50_000
        self.programs: dict[str, bool] = {"TrackMan": True}
        self.ran: list[tuple[str, str, str]] = []
        self.ends: list[tuple[int | None, str]] = []
        self.dies_at: str = ""
        self.said: list[BayCall] = []
        self.log: list[str] = []
        self.start()

    def start(self) -> None:
        """The program begins, on whatever an earlier one left on the disk."""
        self.time = SiteTime(lambda: self.clock.now() + self.clock_off_s)
        settings = config.Settings("http://site.test", self.bay, self.key, self.folder, "", "", 20.0, (), None, (), ALLOWED)
        wires = [InProcessWire(self, self._send) for _ in range(2)]
        self.journal = Journal(self.folder, self.time.now)
        self.agent = Agent(
            settings, self.journal, self.time, *wires, self.log.append, monotonic=self.clock.monotonic, run=self._run, gather=self._facts
        )
        self.agent.begin()

    def _facts(self) -> dict[str, Any]:
        return {
            "version": "1", "system": "linux", "boot_id": f"boot-{self.boots}", "uptime_s": self.uptime_s, "idle_s": self.idle_s,
            "disk_free_mb": self.disk_free_mb, "programs": [{"name": n, "running": r, "must_run": True} for n, r in self.programs.items()],
        }  # fmt: skip

    def _run(self, command: config.Command, parameters: str) -> tuple[int | None, str]:
        if self.dies_at == "before":
            raise KeyboardInterrupt
        self.ran.append((command.kind, command.what, parameters))
        if self.dies_at == "after":
            raise KeyboardInterrupt
        end = self.ends.pop(0) if self.ends else (0, "All is well")
        if command.kind == "restart" and end[0] == 0:
            self.booting_s = BOOT_S
        return end

    def turn(self) -> bool:
        """What the program's two threads do, one after the other; false where the site agent was not spoken to."""
        if not self.on:
            return False
        spoken = self.agent.turn(0)
        self.agent.work()
        return self.agent.turn(0) if spoken else False

    def forward(self, seconds: float) -> None:
        if self.booting_s:
            self.booting_s -= seconds
            if self.booting_s > 0:
                return
            self.booting_s, self.boots = 0.0, self.boots + 1
            self.start()
        self.turn()


class Rig:
    """The adapter (`machines`) and the PCs by their bay."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.clock, self.folder, self._settings = ManualClock(float(NOON)), folder, settings
        keys = Keys(folder)
        told = {bay: signing.read_key(keys.make(bay))[1] for bay in (BOX, OTHER)}
        self.machines = self.opened()
        loop = asyncio.get_running_loop()

        def send(call: BayCall) -> BayAnswer:
            return asyncio.run_coroutine_threadsafe(self.machines.called(call), loop).result(5)

        self.pcs = {bay: Pc(bay, key, folder / f"pc-{bay}", self.clock, send) for bay, key in told.items()}

    def opened(self) -> BayAgents:
        """Another adapter on the same folder, as after a restart of the site agent."""
        around = Around(lambda file, key: file, self.folder, self.clock, bays=BAYS)
        made = open_machines("bay_agent", self._settings, around)
        assert isinstance(made, BayAgents)
        made.attach(lambda: 3)
        return made

    async def restarted(self) -> None:
        await self.machines.stop()
        self.machines = self.opened()
        await self.machines.start()

    async def forward(self, seconds: float = 0) -> None:
        """Time passes, and then the PCs have their turn."""
        self.clock.forward(seconds)
        await asyncio.to_thread(lambda: [pc.forward(seconds) for pc in self.pcs.values()])

    async def said(
        self, pc: Pc, path: str, body: bytes = b"{}", *, key: bytes | None = None, nonce: str = "n-1", off_s: int = 0, **more: str
    ) -> BayAnswer:
        """Somebody speaks as this PC, rightly or not."""
        at = str(int(self.clock.now()) + off_s)
        signed = signing.of_request(key or pc.key, path, pc.bay, at, nonce, body)
        call = {"path": path, "bay": pc.bay, "at": at, "nonce": nonce, "signature": signed, "body": body, "address": "192.0.2.66"} | more
        return await self.machines.called(BayCall(**call))


@contextlib.asynccontextmanager
async def rigged(folder: Path, **settings: object) -> AsyncIterator[Rig]:
    rig = Rig(folder, **settings)
    await rig.machines.start()
    await rig.forward()
    try:
        yield rig
    finally:
        await rig.machines.stop()
