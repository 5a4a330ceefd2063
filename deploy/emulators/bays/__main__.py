"""The emulated bays as a process: `python -m deploy.emulators.bays --config bays.toml --folder FOLDER`."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from deploy.emulators.bays.emulator import BaysEmulator
from deploy.emulators.bays.settings import settings_of
from deploy.emulators.common.command import run


def _lines(emulator: BaysEmulator) -> Iterator[str]:
    yield f"Emulated bays at {emulator.url}/_emulator/"
    for spec in emulator.settings.bays:
        yield f"{spec.name}: switch at {emulator.switch_url(spec.id)}, network card {spec.mac}"


def main(argv: list[str] | None = None) -> int:
    """The command: 0 after a clean stop, 2 with a sentence when it cannot start."""
    parser = argparse.ArgumentParser(prog="bays", description="Emulated bays: PCs with the real bay agent, plugs, lights.")
    parser.add_argument("--config", required=True, type=Path, help="a TOML file with the bays")
    parser.add_argument("--folder", required=True, type=Path, help="where the PCs have their disks")
    args = parser.parse_args(argv)
    return run("emulated bays", lambda: BaysEmulator(settings_of(args.config), args.folder), _lines)


if __name__ == "__main__":
    raise SystemExit(main())
