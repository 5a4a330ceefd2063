"""An emulated NinjaOne: OAuth with a person's consent, devices, health, alerts, scripts with their outcome by activities, a webhook.

For: trying and testing bays and their PCs without the vendor, in this process or as `python -m deploy.emulators.ninjaone_rmm`. Not for: a
real PC; nothing is ever run. Invariant: it knows the vendor's words only, and nothing of bookings.
"""

import argparse
import asyncio
import tomllib
from collections.abc import Coroutine, Iterator
from pathlib import Path
from random import Random

import msgspec

from deploy.emulators.common.command import run
from deploy.emulators.messages.wire import Listener
from deploy.emulators.ninjaone.tenant import Application, Settings, Tenant
from shared.runtime.clock import Clock, SystemClock

TICK_S = 0.25
"""How often the clock is looked at, so that what has become due is told without a request."""


class NinjaOneEmulator(Tenant):
    """One tenant that listens. After `start`, `url` is real; `estate` is what it holds, `faults` the script."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, rng: Random | None = None) -> None:
        super().__init__(settings, (clock or SystemClock()).now, rng)
        self._listener = Listener(Application(self, self.refuse_for), settings.host, settings.port)
        self._jobs: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return self._listener.url

    async def start(self) -> None:
        """Begins to listen. OSError when the port is taken."""
        await self._listener.come_back()
        self.hooks.start()
        self._job(self._tick())

    async def stop(self) -> None:
        """Stops listening, ends every connection and its own tasks."""
        jobs = [job for job in self._jobs if job is not asyncio.current_task()]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await self.hooks.stop()
        await self._listener.go_down()

    async def go_down(self) -> None:
        """Nobody listens any more: connections are refused."""
        await self._listener.go_down()

    async def come_back(self) -> None:
        """It listens again, on the same port. OSError when somebody else took it."""
        await self._listener.come_back()

    def refuse_for(self, seconds: float) -> None:
        """Connections are refused for `seconds`."""

        async def away() -> None:
            await self.go_down()
            await asyncio.sleep(seconds)
            await self.come_back()

        self._job(away())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.estate.advance()

    def _job(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)


def settings_of(path: Path, host: str = "", port: int | None = None) -> Settings:
    """The settings in a TOML file; what else is given wins over it. ValueError with what is wrong."""
    found = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Settings)
    if not found.devices or not found.apps:
        raise ValueError("The emulator needs [[devices]] and [[apps]] in its file.")
    if wrong := [spec.name for spec in found.devices if str(spec.organization_id) not in found.organizations]:
        raise ValueError(f"The device {wrong[0]} is in an organization that the file does not name.")
    if len({spec.id for spec in found.devices}) < len(found.devices):
        raise ValueError("Two devices have the same id.")
    changes = ({"host": host} if host else {}) | ({} if port is None else {"port": port})
    return msgspec.structs.replace(found, **changes)


def _lines(emulator: NinjaOneEmulator) -> Iterator[str]:
    yield f"Emulated NinjaOne at {emulator.url} (page: {emulator.url}/_emulator/)"
    for spec in emulator.settings.devices:
        yield f"Device {spec.id}: {spec.name}"


def main(argv: list[str] | None = None) -> int:
    """The command: 0 after a clean stop, 2 with a sentence when it cannot start."""
    parser = argparse.ArgumentParser(prog="ninjaone_rmm", description="An emulated NinjaOne.")
    parser.add_argument(
        "--config", required=True, type=Path, help="a TOML file with apps, devices, scripts and whatever else can be chosen"
    )
    parser.add_argument("--host", default="", help="address to listen on (this machine only by default)")
    parser.add_argument("--port", type=int, help="port to listen on (8140 by default, 0 for a free one)")
    args = parser.parse_args(argv)
    return run("emulated NinjaOne", lambda: NinjaOneEmulator(settings_of(args.config, args.host, args.port)), _lines)


if __name__ == "__main__":
    raise SystemExit(main())
