"""The demo's child processes: started, watched, stopped; nobody restarts them.

For: real processes of our own programs, each with its log in the demo's folder. Not for: the broker (`deploy.broker` has its own child).
Invariant: a child is ended by its own process id only, and ends with the demo: asked first, killed when it takes too long, and on Linux
asked by the system if the demo itself is killed.
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from deploy.demo.addresses import DemoError

STOP_WITHIN_S = 5.0
TAIL_LINES = 12
LOOK_EVERY_S = 0.05
_PR_SET_PDEATHSIG = 1
PROJECT = Path(__file__).resolve().parents[2]


class Child:
    """One process. `command` is what follows the interpreter; what it prints goes to `log_path`."""

    def __init__(self, name: str, command: Iterable[str], log_path: Path) -> None:
        self.name = name
        self.command = (sys.executable, *command)
        self.log_path = log_path
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """0 before its start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(),
                # its own session: Ctrl-C at the terminal is for the demo, which then stops its children in order
                start_new_session=True, preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )  # fmt: skip

    async def ended(self) -> int:
        """Waits for its end; the exit code."""
        assert self._process is not None, "a child is started before it is waited for"
        return await self._process.wait()

    def ask_to_end(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines that it wrote."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:]) or "(it wrote nothing)"

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            assert self._process is not None
            try:
                self._process.send_signal(number)
            except ProcessLookupError:
                pass


class Children:
    """The children of one run."""

    def __init__(self) -> None:
        self._all: list[Child] = []

    def __iter__(self):
        return iter(self._all)

    async def start(self, child: Child) -> Child:
        await child.start()
        self._all.append(child)
        return child

    async def first_end(self) -> tuple[Child, int]:
        """Waits until one of them ends, for whatever reason; which, and its exit code."""
        waits = {asyncio.ensure_future(child.ended()): child for child in self._all}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        first = next(iter(done))
        return waits[first], first.result()

    async def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """Asks all of them at once, and kills those that are still there after `within_s`."""
        running = [child for child in self._all if child.running]
        for child in running:
            child.ask_to_end()
        ends = [asyncio.ensure_future(child.ended()) for child in running]
        if ends:
            await asyncio.wait(ends, timeout=within_s)
            self.kill()
            await asyncio.gather(*ends)

    def kill(self) -> None:
        for child in self._all:
            child.kill()


async def until(what: str, look: Callable[[], Awaitable[bool]], within_s: float, every_s: float = LOOK_EVERY_S) -> None:
    """Looks until it is so. Raises DemoError with `what` (a whole sentence's subject and verb) when it is not within `within_s`."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not await look():
        if asyncio.get_running_loop().time() > deadline:
            raise DemoError(f"{what} within {within_s:.0f} s.")
        await asyncio.sleep(every_s)


def _environment() -> dict[str, str]:
    """Ours, with the project on the path, so that the modules are found from whatever folder the demo is started in."""
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
