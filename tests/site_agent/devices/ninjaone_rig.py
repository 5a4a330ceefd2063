"""Our side of NinjaOne against the emulator, on one clock that the tests move."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from shared.sealing import Sealer
from site_agent.devices.machine_ways import Around, open_machines
from site_agent.devices.ninjaone.machines import CONSENT, KEY, NinjaOneMachines
from site_agent.devices.ninjaone.tokens import ConsentFile, Kept
from site_agent.ports import Bookmark, MachineCommand
from tests.deploy.ninjaone_world import BACK, BOX_1, CONSENTING, READER, RESTART, Ninja, emulated

BOX = str(BOX_1.id)
SCRIPT = MachineCommand("script", "mark-1", str(RESTART.id), "-Bay 1", "system", "The picture froze")
REBOOT = MachineCommand("restart", "mark-2", reason="Stuck")
SERVICE = MachineCommand("service", "mark-3", "TrackManPerformance")


class Rig:
    """The emulator (`ninja`), the adapter (`machines`) and its folder."""

    def __init__(self, ninja: Ninja, folder: Path) -> None:
        self.ninja, self.folder = ninja, folder
        self.estate, self.clock, self.faults = ninja.emulator.estate, ninja.clock, ninja.emulator.faults
        self._open: list[NinjaOneMachines] = []
        self.machines = self.opened()

    def opened(self, **more: object) -> NinjaOneMachines:
        """Another adapter on the same folder, as after a restart or in another process."""
        table = {
            "url": self.ninja.emulator.url, "client_id": READER.client_id, "secret_file": READER.secret,
            "consent_client_id": CONSENTING.client_id, "organization_id": 1, "read_timeout_s": 2.0,
        }  # fmt: skip
        table = {name: value for name, value in (table | more).items() if value is not None}
        # a secret's file is, here, the secret itself
        made = open_machines("ninjaone", table, Around(lambda file, key: file, self.folder, self.clock))
        assert isinstance(made, NinjaOneMachines)
        self._open.append(made)
        return made

    @property
    def file(self) -> ConsentFile:
        from shared.runtime.keyfile import load_or_create

        return ConsentFile(self.folder / CONSENT, Sealer(load_or_create(self.folder / KEY)))

    @property
    def kept(self) -> Kept:
        found = self.file.read()
        assert found is not None
        return found

    async def connect(self) -> Kept:
        """Somebody consents, as by the command."""
        consent = self.machines.asking(BACK)
        query = dict(parse_qsl(urlsplit(consent.url).query))
        answer = await self.ninja.http.post("/ws/oauth/authorize", data=query | {"answer": "allow"})
        return await self.machines.keep(consent, consent.code_in(answer.headers["location"]))

    async def given(self, command: MachineCommand, machine_id: str = BOX) -> tuple[Bookmark, str]:
        since = await self.machines.bookmark(machine_id)
        return since, await self.machines.command(machine_id, command)

    def scripts_run(self) -> int:
        return sum(run.kind == "script" for run in self.estate.runs)

    def renewals(self) -> int:
        return sum(grant == "refresh_token" for _, grant, _ in self.ninja.emulator.oauth.grants)

    async def close(self) -> None:
        for one in self._open:
            await one.stop()


@contextlib.asynccontextmanager
async def rigged(folder: Path, *, consent: bool = True, **more: object) -> AsyncIterator[Rig]:
    async with emulated(**more) as ninja:
        rig = Rig(ninja, folder)
        try:
            if consent:
                await rig.connect()
            yield rig
        finally:
            await rig.close()
