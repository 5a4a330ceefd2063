"""A running `clubos demo` as a child process, and its check beside it; on another day where a test wants one.

Another day is told to every process of the demo by libfaketime, below Python: the product has no setting for it.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.demo.processes import until

UP_WITHIN_S = 60.0
STOP_WITHIN_S = 12.0


class Demo:
    """A running `clubos demo` in a folder."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process, output: Path) -> None:
        self.folder, self.process, self.output = folder, process, output

    @property
    def told_path(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.json")

    @property
    def control_path(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}-control.json")

    @property
    def told(self) -> dict[str, Any]:
        return json.loads(self.told_path.read_text())

    @property
    def control(self) -> dict[str, Any]:
        return json.loads(self.control_path.read_text())

    @property
    def said(self) -> str:
        return self.output.read_text()

    async def served(self) -> None:
        async def is_told() -> bool:
            assert self.process.returncode is None, self.said
            return self.told_path.exists()

        await until("The demo did not serve", is_told, UP_WITHIN_S)

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), STOP_WITHIN_S)


THE_COMMAND = ("-m", "deploy.cli", "demo")
WITHOUT_MOSQUITTO = (
    "-c",
    "import sys; from deploy import broker; from deploy.demo.main import main; broker.Mosquitto.program = staticmethod(lambda: None);"
    " sys.exit(main(sys.argv[1:]))",
)


def days_later(days: int) -> dict[str, str]:
    """The environment of processes for which it is so many days later, as libfaketime's own command makes it."""
    faketime = shutil.which("faketime")
    assert faketime is not None, "the marker has asked for it"
    said = subprocess.run([faketime, "-m", "-f", f"+{days}d", "env"], capture_output=True, text=True, check=True).stdout
    names = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    return {name: names[name] for name in ("LD_PRELOAD", "FAKETIME")}


async def start(folder: Path, *more: str, command: tuple[str, ...] = THE_COMMAND, env: Mapping[str, str] | None = None) -> Demo:
    output = folder.with_name(f"{folder.name}.out")
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, "--folder", str(folder), *more, stdout=file, stderr=file, start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    return Demo(folder, process, output)


async def check(demo: Demo, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.cli", "demo-check", "--demo", str(demo.told_path), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, env={**os.environ, **(env or {})},
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode or 0, out.decode()
