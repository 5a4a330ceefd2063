"""One emulated PC: a folder, a boot, and in it the real bay agent as a process, with commands that harm nobody.

Not for: power (`estate` says when there is any). Invariant: without power the process is gone at once and without a word, as by a pulled plug.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Literal

import msgspec

from deploy.emulators.bays.settings import BaySpec, Settings

PROJECT = Path(__file__).resolve().parents[3]
DEED = Path(__file__).with_name("deed.py")
#: whoever looks after the PC's programs starts the bay agent again after so long
AGAIN_S = 2.0
PROGRAM = "TrackMan Performance Studio"
DEEDS_KEPT = 100
_PR_SET_PDEATHSIG = 1

PcState = Literal["off", "booting", "on"]


class End(msgspec.Struct, forbid_unknown_fields=True):
    """How a command ends there."""

    exit_code: int = 0
    text: str = ""
    seconds: float = 0.0


class Pc:
    """One PC. `state` off, booting, on; `agent_on` whether the bay agent runs; `deeds` what it was told to do, newest last."""

    def __init__(self, spec: BaySpec, settings: Settings, folder: Path) -> None:
        self.spec, self.folder, self._settings = spec, folder, settings
        self.state: PcState = "off"
        self.deeds: list[dict[str, Any]] = []
        self._boot_at = self._again_at = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._read_to = 0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "deeds.jsonl").unlink(missing_ok=True)
        (folder / "bay-agent.toml").write_text(self._toml(), encoding="utf-8")

    @property
    def agent_on(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def program_on(self) -> bool:
        return (self.folder / "program.pid").exists()

    @property
    def watts(self) -> float:
        """What it draws while it has power."""
        return {"off": 1.4, "booting": 95.0, "on": 182.5}[self.state]

    @property
    def played_at(self) -> float:
        """When somebody last used it, unix seconds; 0 for never."""
        path = self.folder / "played"
        return path.stat().st_mtime if path.exists() else 0.0

    # ---- what befalls it
    def press(self, now: float) -> None:
        """Its power button, or what does the same; nothing for one that is on. `now` monotonic."""
        if self.state == "off":
            self.state, self._boot_at = "booting", now + self._settings.boot_s

    def cut(self) -> None:
        """No power, from one moment to the next."""
        self.state = "off"
        self.program(on=False)
        self.crash()

    def crash(self) -> None:
        """The bay agent ends without a word."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        self._again_at = 0.0

    def program(self, *, on: bool) -> None:
        path = self.folder / "program.pid"
        if on and self.state == "on":
            path.write_text(str(os.getpid()))
        elif not on:
            path.unlink(missing_ok=True)

    def play(self) -> None:
        """Somebody uses it now."""
        (self.folder / "played").touch()

    def end_next(self, ends: list[End]) -> None:
        """How the next commands end."""
        (self.folder / "ends.json").write_bytes(msgspec.json.encode(ends))

    # ---- time
    async def advance(self, now: float) -> None:
        """What is due: a boot that is over, a bay agent that is started again, a restart that was asked for. `now` monotonic."""
        for deed in self._new_deeds():
            if deed["kind"] in ("restart", "shutdown") and self.state == "on":
                self.cut()
                if deed["kind"] == "restart":
                    self.press(now)
        if self.state == "booting" and now >= self._boot_at:
            self.state = "on"
            (self.folder / "boot-id").write_text(uuid.uuid4().hex)
            self.program(on=True)
            await self._start()
        elif self.state == "on" and not self.agent_on:
            self._again_at = self._again_at or now + AGAIN_S
            if now >= self._again_at:
                await self._start()

    async def stop(self) -> None:
        self.cut()
        if self._process is not None:
            await self._process.wait()

    async def _start(self) -> None:
        self._again_at = 0.0
        if self._process is not None:
            await self._process.wait()
        with open(self.folder / "pc.log", "ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "deploy.bay_agent", "run", "--config", str(self.folder / "bay-agent.toml"), stdin=asyncio.subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=PROJECT, start_new_session=True, preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )  # fmt: skip

    def _new_deeds(self) -> list[dict[str, Any]]:
        try:
            with open(self.folder / "deeds.jsonl", encoding="utf-8") as file:
                file.seek(self._read_to)
                whole = file.read()
        except FileNotFoundError:
            return []
        whole = whole[: whole.rfind("\n") + 1]
        self._read_to += len(whole.encode())
        found = [json.loads(line) for line in whole.splitlines()]
        self.deeds = (self.deeds + found)[-DEEDS_KEPT:]
        return found

    # ---- its settings
    def _toml(self) -> str:
        def q(value: object) -> str:
            return json.dumps(value)

        wanted = [(kind, "", 0) for kind in ("restart", "shutdown", "message", "prepare", "cleanup")]
        wanted += [("script", name, 0) for name in self._settings.scripts] + [("service", name, 0) for name in self._settings.services]
        commands = "".join(
            f"\n[[command]]\nkind = {q(kind)}\n" + (f"what = {q(what)}\n" if what else "") + f"cool_down_s = {cool_s}\n"
            f"argv = {q([sys.executable, '-I', '-S', str(DEED), str(self.folder), kind, what, '{parameters}'])}\n"
            for kind, what, cool_s in wanted
        )
        return (
            f"url = {q(self.spec.site_url)}\nkey_file = {q(self.spec.key_file)}\nstate_folder = \"state\"\nactivity = [\"played\"]\n"
            f"boot_id_file = \"boot-id\"\nheartbeat_s = {self._settings.heartbeat_s}\n"
            f"\n[[program]]\nname = {q(PROGRAM)}\npid_file = \"program.pid\"\nmust_run = true\n{commands}"
        )  # fmt: skip


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def monotonic() -> float:
    return time.monotonic()
