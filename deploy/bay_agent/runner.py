"""Runs one allowed command to its end: no shell, a time limit, the last of its output kept.

Not for: whether it may be run. Invariant: nothing outlives its time limit, its children included, but a message on the screen.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from .config import PARAMETERS, SHOW, Command, program_argv

TEXT_MAX = 500
KILL_WITHIN_S = 5.0
#: a message that is still on the screen after so long is seen; it goes away by itself, and nothing waits for that
SHOWN_S = 3.0
_WINDOWS = sys.platform == "win32"


def argv_of(command: Command, parameters: str) -> list[str]:
    """The words that are run. The parameters stay inside the one word they were put in, whatever they hold."""
    words = program_argv() + ["show", *command.argv[1:]] if command.argv[0] == SHOW else list(command.argv)
    return [word.replace(PARAMETERS, parameters) for word in words]


def run(command: Command, parameters: str) -> tuple[int | None, str]:
    """`(exit code, the last characters it printed)`; None and a sentence where it did not begin or did not end in time. Blocks."""
    # a file and no pipe: a child that goes on in the background would hold a pipe open
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                argv_of(command, parameters), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=Path.home(),
                start_new_session=not _WINDOWS, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )  # fmt: skip
        except (OSError, ValueError) as error:
            return None, f"It could not be begun: {getattr(error, 'strerror', None) or error}."
        shown = command.argv[0] == SHOW
        try:
            code: int | None = process.wait(SHOWN_S if shown else command.timeout_s)
        except subprocess.TimeoutExpired:
            if shown:
                return 0, ""
            _end(process)
            code = None
        said = tail(output)
    return (code, said) if code is not None else (None, f"It did not end within {command.timeout_s:.0f} s and was ended. {said}".strip())


def tail(output) -> str:
    """The last of what was printed, as one readable text."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - TEXT_MAX * 4))
    text = output.read().decode("utf-8", errors="replace")
    return "".join(one if one.isprintable() or one == "\n" else " " for one in text.replace("\r", "")).strip()[-TEXT_MAX:]


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if _WINDOWS:
            subprocess.run(["taskkill.exe", "/T", "/F", "/PID", str(process.pid)], capture_output=True, timeout=KILL_WITHIN_S, check=False)
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait(KILL_WITHIN_S)
