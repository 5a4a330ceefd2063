"""The settings of the program on a bay's PC: one TOML file, read strictly.

Invariant: what was read can be run: every command has its argv, no argv goes through a shell, and nothing that comes over the network
reaches a batch file, whose arguments Windows reads as a shell would.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from . import signing

KINDS = ("restart", "shutdown", "service", "script", "message", "lights", "prepare", "cleanup")
PARAMETERS = "{parameters}"
SHOW = "{show}"
COMMANDS_MAX, PROGRAMS_MAX = 100, 20
_DEFAULT_COOL_S = {"restart": 300, "shutdown": 300, "service": 60}


class Wrong(Exception):
    """The settings cannot be used; the message is a sentence for the installer."""


@dataclasses.dataclass(frozen=True)
class Command:
    """What may be done: `kind` and `what` as the site agent asks for it, `argv` as it is run."""

    kind: str
    what: str
    argv: tuple[str, ...]
    cool_down_s: float
    timeout_s: float


@dataclasses.dataclass(frozen=True)
class Program:
    """A program that is watched, by its process's name or by a file that holds its process id. `must_run`: the bay is ill without it."""

    name: str
    process: str
    pid_file: Path | None
    must_run: bool


@dataclasses.dataclass(frozen=True)
class Settings:
    """All of it. `activity`: files and folders that change when somebody plays; `fingerprint`: SHA-256 of the site agent's certificate."""

    url: str
    bay: str
    key: bytes = dataclasses.field(repr=False)
    state_folder: Path
    fingerprint: str
    ca_file: str
    heartbeat_s: float
    activity: tuple[Path, ...]
    boot_id_file: Path | None
    programs: tuple[Program, ...]
    commands: tuple[Command, ...]


def load(path: Path) -> Settings:
    """The settings at `path`. Raises Wrong with a sentence."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Wrong(f"{path} cannot be read: {(error.strerror or 'unknown reason').lower()}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Wrong(f"{path} is not TOML: {error}.") from None
    try:
        return _settings(found, path.absolute().parent)
    except _Wrong as error:
        raise Wrong(f"{path}: {error}.") from None


class _Wrong(Exception):
    """What is wrong, without the file's name."""


def _settings(found: dict, folder: Path) -> Settings:
    names = {"url", "key_file", "state_folder", "fingerprint", "ca_file", "heartbeat_s", "activity", "boot_id_file", "program", "command"}
    _known(found, names, "")
    key_file = _path(found, "key_file", folder)
    if key_file is None:
        raise _Wrong("the setting 'key_file' is missing: the file with the line that “site-agent bays enrol” printed")
    bay, key = _key(key_file)
    fingerprint = _text(found, "fingerprint").replace(":", "").lower()
    if fingerprint and (len(fingerprint) != 64 or not set(fingerprint) <= set("0123456789abcdef")):
        raise _Wrong("the setting 'fingerprint' is a certificate's SHA-256, 64 hexadecimal digits")
    url = _url(_text(found, "url"), fingerprint)
    programs = tuple(_program(one, folder) for one in _tables(found, "program", PROGRAMS_MAX))
    commands = tuple(_command(one) for one in _tables(found, "command", COMMANDS_MAX))
    for index, one in enumerate(commands):
        if any((one.kind, one.what) == (other.kind, other.what) for other in commands[:index]):
            raise _Wrong(f"the command {one.kind!r} {one.what!r} is given twice")
    return Settings(
        url=url, bay=bay, key=key, state_folder=_path(found, "state_folder", folder) or folder / "state", fingerprint=fingerprint,
        ca_file=str(_path(found, "ca_file", folder) or ""), heartbeat_s=_number(found, "heartbeat_s", 20.0, 1.0, 60.0),
        activity=tuple(folder / one for one in _texts(found, "activity")), boot_id_file=_path(found, "boot_id_file", folder),
        programs=programs, commands=commands,
    )  # fmt: skip


def _url(url: str, fingerprint: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise _Wrong("the setting 'url' is the site agent's address, such as https://192.0.2.10:8080")
    if fingerprint and parts.scheme != "https":
        raise _Wrong("a 'fingerprint' is of no use without https")
    return url.rstrip("/")


def _key(path: Path) -> tuple[str, bytes]:
    try:
        return signing.read_key(path.read_text("utf-8"))
    except OSError as error:
        raise _Wrong(f"the key file {path} cannot be read: {(error.strerror or 'unknown reason').lower()}") from None
    except UnicodeDecodeError:
        raise _Wrong(f"the key file {path} is not text") from None
    except ValueError as error:
        raise _Wrong(f"the key file {path}: {str(error).rstrip('.')}") from None


def _program(found: dict, folder: Path) -> Program:
    _known(found, {"name", "process", "pid_file", "must_run"}, "program.")
    name, process, pid_file = _text(found, "name"), _text(found, "process"), _path(found, "pid_file", folder)
    if not name or bool(process) == bool(pid_file):
        raise _Wrong("a [[program]] needs a 'name', and 'process' or 'pid_file'")
    return Program(name[:80], process, pid_file, _flag(found, "must_run"))


def _command(found: dict) -> Command:
    _known(found, {"kind", "what", "argv", "cool_down_s", "timeout_s"}, "command.")
    kind, what = _text(found, "kind"), _text(found, "what")
    if kind not in KINDS:
        raise _Wrong(f"the setting 'command.kind' is wrong: {kind!r} is none of {', '.join(KINDS)}")
    if bool(what) != (kind in ("service", "script", "lights")):
        raise _Wrong(f"a [[command]] of kind {kind!r} has {'no' if what else 'a'} 'what'")
    argv = _texts(found, "argv") or usual_argv(kind, what)
    if not argv:
        raise _Wrong(f"the command {kind!r} needs an 'argv' on this system")
    if argv[0].lower().endswith((".bat", ".cmd")) and any(PARAMETERS in word for word in argv):
        raise _Wrong(
            f"{argv[0]} is a batch file and may not be given {PARAMETERS}: Windows would read them as commands. Use a program or a .ps1"
        )
    cool_s = _number(found, "cool_down_s", _DEFAULT_COOL_S.get(kind, 0), 0, 86_400)
    return Command(kind, what, argv, cool_s, _number(found, "timeout_s", 120.0, 1.0, 540.0))


def usual_argv(kind: str, what: str, windows: bool | None = None) -> tuple[str, ...]:
    """What the operating system has for it; nothing where it has none."""
    if os.name == "nt" if windows is None else windows:
        return {
            "restart": ("shutdown.exe", "/r", "/t", "10"),
            "shutdown": ("shutdown.exe", "/s", "/t", "10"),
            "service": ("powershell.exe", "-NoProfile", "-NonInteractive", "-Command", "Restart-Service", "-Force", "-Name", what),
            "message": (SHOW, PARAMETERS),
        }.get(kind, ())
    return {"restart": ("systemctl", "reboot"), "shutdown": ("systemctl", "poweroff"), "service": ("systemctl", "restart", what)}.get(
        kind, ()
    )


def program_argv() -> list[str]:
    """How this very program is started again."""
    archive = Path(sys.argv[0])
    return [sys.executable, str(archive)] if archive.suffix == ".pyz" else [sys.executable, "-m", __package__ or "bay_agent"]


# ---- reading
def _known(found: dict, names: set[str], where: str) -> None:
    for name in found:
        if name not in names:
            raise _Wrong(f"there is no setting '{where}{name}'")


def _text(found: dict, name: str) -> str:
    value = found.get(name, "")
    if not isinstance(value, str) or any(ord(one) < 32 for one in value):
        raise _Wrong(f"the setting '{name}' is a line of text")
    return value.strip()


def _texts(found: dict, name: str) -> tuple[str, ...]:
    value = found.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value) or value and not value[0]:
        raise _Wrong(f"the setting '{name}' is a list of texts")
    return tuple(value)


def _path(found: dict, name: str, folder: Path) -> Path | None:
    text = _text(found, name)
    return folder / Path(text).expanduser() if text else None


def _flag(found: dict, name: str) -> bool:
    value = found.get(name, False)
    if not isinstance(value, bool):
        raise _Wrong(f"the setting '{name}' is true or false")
    return value


def _number(found: dict, name: str, usual: float, low: float, high: float) -> float:
    value = found.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _Wrong(f"the setting '{name}' is a number from {low:g} to {high:g}")
    return float(value)


def _tables(found: dict, name: str, most: int) -> list[dict]:
    value = found.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value) or len(value) > most:
        raise _Wrong(f"'{name}' is given as [[{name}]], at most {most} times")
    return value
