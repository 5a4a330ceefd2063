"""The processes of a measurement: started on a core of their own, waited for, ended by their id whatever happens.

Not for: what they run (`servers`, `echoes`, the product's own commands). Invariant: a child ends with the block that started it, and on
Linux with the bench, should that be killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deploy.bench.results import BenchError

SERVER_CORE, LOAD_CORE = 0, 1
START_WITHIN_S, STOP_WITHIN_S = 20.0, 5.0
PROJECT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def settle_on(core: int | None) -> Callable[[], None]:
    """What a new process does before it runs: keeps to `core` where there is such a choice, and ends with the bench."""
    bench = os.getpid()
    linux = sys.platform == "linux"
    library = ctypes.CDLL(None) if linux else None
    pinned = linux and core is not None and cores() > 1 and core in os.sched_getaffinity(0)

    def settle() -> None:
        if pinned:
            os.sched_setaffinity(0, {core})
        if library is not None:
            library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != bench:  # it was killed before we said so
                os._exit(1)

    return settle


class Child:
    """A running process whose words go to `log`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self.log = process, log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def words(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def found(self, pattern: str, within_s: float = START_WITHIN_S) -> re.Match[str]:
        """Waits until it says something that matches. Raises BenchError with its last lines when it ends or is silent."""
        deadline = time.monotonic() + within_s
        while True:
            match = re.search(pattern, self.words())
            if match is not None:
                return match
            if not self.running or time.monotonic() > deadline:
                tail = "\n".join(self.words().splitlines()[-8:])
                raise BenchError(f"A process of the bench did not start. It said:\n{tail}")
            time.sleep(0.01)

    def end(self) -> None:
        """Asks it to end, insists after `STOP_WITHIN_S`; again is nothing."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def python(words: Sequence[str], log: Path, core: int | None = None, folder: Path | None = None) -> Iterator[Child]:
    """`python WORDS` for the length of the block, in `folder` if one is given."""
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=settle_on(core), cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    child = Child(process, log)
    try:
        yield child
    finally:
        child.end()


@contextlib.contextmanager
def server(kind: str, folder: Path, **options: object) -> Iterator[str]:
    """A server of `servers` on its own core; its URL once it serves."""
    words = ["-m", "deploy.bench.servers", kind, str(folder), *(f"{name}={value}" for name, value in options.items())]
    with python(words, folder / "server.log", SERVER_CORE) as child:
        port = child.found(r"PORT (\d+)")[1]
        yield f"http://127.0.0.1:{port}"
