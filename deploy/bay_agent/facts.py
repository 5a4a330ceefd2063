"""How this PC is: since when it runs, when somebody last used it, which programs run, how full the disk is.

Best effort: what cannot be found out is None, and never a guess. Only looks; nothing here changes anything.
"""

from __future__ import annotations

import csv
import ctypes
import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import VERSION
from .config import Program, Settings

LOOK_TIMEOUT_S = 8.0
#: of a folder that changes when somebody plays, so many names are looked at
NAMES_MAX = 500
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)


def gather(settings: Settings, now: float) -> dict[str, object]:
    """Everything, as the site agent is told it. `now` is this PC's own clock (unix seconds)."""
    running = _processes() if any(one.process for one in settings.programs) else set()
    return {
        "version": VERSION,
        "system": sys.platform,
        "boot_id": boot_id(settings.boot_id_file, now),
        "uptime_s": _uptime_s(),
        "idle_s": idle_s(settings.activity, now),
        "disk_free_mb": _disk_free_mb(settings.state_folder),
        "programs": [{"name": one.name, "running": _runs(one, running), "must_run": one.must_run} for one in settings.programs],
    }


def boot_id(file: Path | None, now: float) -> str:
    """The same until the PC is started anew, then another."""
    if file is not None or sys.platform == "linux":
        return _read(file or Path("/proc/sys/kernel/random/boot_id"))[:80]
    if sys.platform == "win32" and (counted := _windows_boots()):
        return counted
    uptime_s = _uptime_s()
    # rounded, since two clocks read one after the other are never quite the same
    return "" if uptime_s is None else f"at-{round((now - uptime_s) / 120)}"


def _windows_boots() -> str:
    import winreg

    name = r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, name) as key:
            return f"boot-{winreg.QueryValueEx(key, 'BootId')[0]}"
    except OSError:
        return ""


def _uptime_s() -> int | None:
    if sys.platform == "win32":
        ticks = ctypes.windll.kernel32.GetTickCount64
        ticks.restype = ctypes.c_ulonglong
        return int(ticks() // 1000)
    try:
        return int(float(_read(Path("/proc/uptime")).split()[0]))
    except (IndexError, ValueError):
        return None


def idle_s(activity: tuple[Path, ...], now: float) -> int | None:
    """Seconds since somebody used the PC: its keyboard and mouse (Windows, in the session that this runs in), or what changes with play."""
    found = [now - at for path in activity if (at := _changed_at(path))]
    if sys.platform == "win32" and (since := _windows_idle_s()) is not None:
        found.append(since)
    return max(0, int(min(found))) if found else None


def _windows_idle_s() -> float | None:
    class LastInput(ctypes.Structure):
        _fields_ = [("size", ctypes.c_uint), ("tick", ctypes.c_uint)]

    last = LastInput(ctypes.sizeof(LastInput), 0)
    if not ctypes.windll.user32.GetLastInputInfo(ctypes.byref(last)):
        return None
    # both are 32 bits wide and go round after 49 days
    return ((ctypes.windll.kernel32.GetTickCount() - last.tick) & 0xFFFFFFFF) / 1000


def _changed_at(path: Path) -> float:
    """When a file, or the newest thing in a folder, was last changed; 0 where there is none."""
    try:
        newest = path.stat().st_mtime
        if path.is_dir():
            with os.scandir(path) as names:
                for _, one in zip(range(NAMES_MAX), names, strict=False):
                    newest = max(newest, one.stat().st_mtime)
        return newest
    except OSError:
        return 0.0


def _disk_free_mb(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free // 1_000_000
    except OSError:
        return None


def _runs(program: Program, running: set[str] | None) -> bool | None:
    if program.pid_file is not None:
        return _alive(_read(program.pid_file))
    return None if running is None else program.process.lower() in running


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return False
    if sys.platform == "win32":
        return any(row[1:2] == [pid] for row in _tasks() or ())
    return Path("/proc", pid).exists()


def _processes() -> set[str] | None:
    """The names of all processes, in lower case; None where they cannot be listed."""
    if sys.platform == "win32":
        tasks = _tasks()
        return None if tasks is None else {row[0].lower() for row in tasks}
    try:
        return {_read(Path("/proc", pid, "comm")).lower() for pid in os.listdir("/proc") if pid.isdigit()}
    except OSError:
        return None


def _tasks() -> list[list[str]] | None:
    try:
        listed = subprocess.run(
            ["tasklist.exe", "/FO", "CSV", "/NH"], capture_output=True, timeout=LOOK_TIMEOUT_S, check=True, creationflags=_NO_WINDOW
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return [row for row in csv.reader(io.StringIO(listed.stdout.decode(errors="replace"))) if row]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""


def now() -> float:
    """This PC's own clock."""
    return time.time()
