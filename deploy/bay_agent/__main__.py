"""The command on a bay's PC: `run`, `check` (can the site agent be spoken to?), `show TEXT` (a message on the screen).

Exit codes: 0 done, 1 it does not work, 2 with a sentence when the settings cannot be used or it runs already.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO

from . import VERSION, facts
from .agent import Agent
from .config import Settings, Wrong, load
from .journal import Journal
from .screen import show
from .wire import SiteTime, Wire, WireError

LOG_MAX = 1_000_000


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="bay_agent", description="Does on a bay's PC what its site agent asks for and its settings allow."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in (("run", "until it is ended"), ("check", "say whether the settings are right and the site agent answers")):
        commands.add_parser(name, help=about).add_argument("--config", type=Path, required=True, help="the TOML file")
    commands.add_parser("show", help="a message on this screen, for a minute").add_argument("text")
    args = parser.parse_args(argv)
    if args.command == "show":
        return show(args.text)
    try:
        settings = load(args.config)
        settings.state_folder.mkdir(parents=True, exist_ok=True)
        return _check(settings) if args.command == "check" else _run(settings)
    except Wrong as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or 'A file'} cannot be used: {(error.strerror or 'unknown reason').lower()}.", file=sys.stderr)
    return 2


def _wire(settings: Settings, site_time: SiteTime) -> Wire:
    return Wire(settings.url, settings.bay, settings.key, site_time, fingerprint=settings.fingerprint, ca_file=settings.ca_file)


def _check(settings: Settings) -> int:
    told = facts.gather(settings, facts.now())
    print(f"Bay {settings.bay}, version {VERSION}, site agent at {settings.url}")
    print(f"May be done here: {', '.join(f'{one.kind} {one.what}'.strip() for one in settings.commands) or 'nothing'}")
    print(f"Last used: {'cannot be seen' if told['idle_s'] is None else str(told['idle_s']) + ' s ago'}")
    for one in told["programs"]:
        print(f"Program {one['name']}: {'cannot be seen' if one['running'] is None else 'runs' if one['running'] else 'does not run'}")
    site_time = SiteTime()
    try:
        _wire(settings, site_time).post("/bay/report", {"outcomes": [], "never": []})
    except WireError as error:
        print(error)
        return 1
    print(f"The site agent answers. This PC's clock is {abs(site_time.offset_s):.0f} s off.")
    return 0


def _run(settings: Settings) -> int:
    stop = threading.Event()
    with open(settings.state_folder / "lock", "a+") as lock:
        if not _alone(lock):
            print("Another bay agent runs here with the same state folder.", file=sys.stderr)
            return 2
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: _end(stop))
        site_time = SiteTime()
        log = Log(settings.state_folder / "bay-agent.log")
        agent = Agent(
            settings,
            Journal(settings.state_folder, site_time.now),
            site_time,
            _wire(settings, site_time),
            _wire(settings, site_time),
            log.say,
        )
        log.say(f"Bay agent {VERSION} of {settings.bay} begins.")
        agent.begin()
        well = agent.run(stop)
        log.say("Bay agent ends.")
    return 0 if well else 1


def _end(stop: threading.Event) -> None:
    if stop.is_set():
        os._exit(0)
    stop.set()
    # a poll waits up to 25 s for the site agent, and nobody waits so long for a program to end: all that matters is on the disk
    threading.Timer(1.0, lambda: os._exit(0)).start()


def _alone(lock: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class Log:
    """A file of plain lines, begun anew when it is large; the one before stays."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def say(self, text: str) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"
        print(line, flush=True)
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size > LOG_MAX:
                os.replace(self._path, self._path.with_suffix(".log.1"))
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
