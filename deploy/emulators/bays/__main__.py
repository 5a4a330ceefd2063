"""The emulated bays as a process: `python -m deploy.emulators.bays --config bays.toml --folder FOLDER`."""

import argparse
import asyncio
import signal
from pathlib import Path

import msgspec

from deploy.emulators.bays.emulator import BaysEmulator
from deploy.emulators.bays.settings import Settings, settings_of


async def _run(settings: Settings, folder: Path) -> None:
    emulator = BaysEmulator(settings, folder)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await emulator.start()
        print(f"Emulated bays at {emulator.url}/_emulator/", flush=True)
        for spec in settings.bays:
            print(f"{spec.name}: switch at {emulator.switch_url(spec.id)}, network card {spec.mac}", flush=True)
        await stop.wait()
    finally:
        await emulator.stop()


def main(argv: list[str] | None = None) -> int:
    """The command: 0 after a clean stop, 2 with a sentence when it cannot start."""
    parser = argparse.ArgumentParser(prog="bays", description="Emulated bays: PCs with the real bay agent, plugs, lights.")
    parser.add_argument("--config", required=True, type=Path, help="a TOML file with the bays")
    parser.add_argument("--folder", required=True, type=Path, help="where the PCs have their disks")
    args = parser.parse_args(argv)
    try:
        asyncio.run(_run(settings_of(args.config), args.folder))
    except (ValueError, OSError, msgspec.ValidationError) as error:
        print(f"The emulated bays cannot start: {error}", flush=True)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
