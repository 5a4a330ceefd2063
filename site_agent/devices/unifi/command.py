"""`site-agent doors pin` and `doors check`: what the installer does once, and looks at afterwards.

Not for: options and settings (`__main__` reads them). Invariants: a fingerprint is written only after a person has said that it is the
controller's; `check` changes nothing at the controller, and neither prints a token.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from shared.errors import Failure
from site_agent.devices.unifi.pinning import fetch_fingerprint
from site_agent.ports import Doors, DoorState

Say = Callable[[str], None]
PORT = 12445
SKEW_MAX_S = 60
"""From then on windows are so far off that guests stand before a shut door."""
_FINGERPRINT = re.compile(r'\bfingerprint[ \t]*=[ \t]*("[^"\n]*"|\'[^\'\n]*\')')
_HEAD, _NEXT = re.compile(r"^\[doors\][ \t]*(#.*)?$", re.MULTILINE), re.compile(r"^\[", re.MULTILINE)
_INLINE = re.compile(r"^(doors[ \t]*=[ \t]*\{)(.*)(\}[ \t]*(?:#.*)?)$", re.MULTILINE)


class Wanted(Protocol):
    """The settings that a check compares with the controller: `doors` as (who needs it, the door's id)."""

    doors: tuple[tuple[str, str], ...]
    pin_digits: int


# ---- pin
async def pin(file: Path, say: Say, ask: Callable[[str], str]) -> bool:
    """Shows the certificate that the configured controller shows now, and on a yes writes its fingerprint into the settings. False where the person
    did not say yes. ValueError with a sentence where there is no address, nobody answers, or the file cannot be changed so."""
    text, found = _read(file)
    host, port = found.get("host", ""), found.get("port", PORT)
    if not isinstance(host, str) or not host or not isinstance(port, int):
        raise ValueError(f"{file}: the settings name no door controller: give 'doors.host' first.")
    if found.get("certificate_file"):
        raise ValueError(f"{file}: the controller is known by 'doors.certificate_file'. Take that out first.")
    try:
        seen = await fetch_fingerprint(host, port)
    except (OSError, TimeoutError):
        raise ValueError(f"Nobody answers at {host}, port {port}. Is the controller on, and this its address?") from None
    say(f"The controller at {host}, port {port}, shows the certificate with this SHA-256 fingerprint:\n\n  {spaced(seen)}\n")
    if found.get("fingerprint", "").replace(":", "").lower() == seen:
        say("It is the one that the settings have. Nothing has changed.")
        return True
    say("Compare it with what the controller's own page shows in a browser on the same network, behind the lock beside its address.")
    if ask("Is it the same? Type yes: ").strip().casefold() != "yes":
        say("Nothing has changed.")
        return False
    _write(file, with_fingerprint(text, seen))
    say(f"Written to {file}. A running agent takes it up when it is started again.")
    return True


def spaced(fingerprint: str) -> str:
    """As browsers show it: AB:CD:…"""
    return ":".join(fingerprint[at : at + 2] for at in range(0, len(fingerprint), 2)).upper()


def with_fingerprint(text: str, fingerprint: str) -> str:
    """The settings with this fingerprint and nothing else changed. ValueError, with the line to write by hand, where they are laid out otherwise."""
    line = f'fingerprint = "{fingerprint}"'
    changed = _in_table(text, line) or _in_line(text, line) or ""
    before, after = tomllib.loads(text), tomllib.loads(changed) if changed else {}
    before.get("doors", {}).pop("fingerprint", None)
    if not changed or after.get("doors", {}).pop("fingerprint", "") != fingerprint or before != after:
        raise ValueError(f"The settings are laid out in a way that is not changed by itself. Write into the table of the doors:\n{line}")
    return changed


def _in_table(text: str, line: str) -> str:
    head = _HEAD.search(text)
    if head is None:
        return ""
    end = _NEXT.search(text, head.end())
    body = text[head.end() : end.start() if end else len(text)]
    body = _FINGERPRINT.sub(line, body, count=1) if _FINGERPRINT.search(body) else f"\n{line}{body}"
    return text[: head.end()] + body + (text[end.start() :] if end else "")


def _in_line(text: str, line: str) -> str:
    def changed(found: re.Match[str]) -> str:
        body = found[2]
        body = _FINGERPRINT.sub(line, body, count=1) if _FINGERPRINT.search(body) else f"{body.rstrip()}, {line} "
        return found[1] + body + found[3]

    return _INLINE.sub(changed, text, count=1) if _INLINE.search(text) else ""


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = file.read_text("utf-8")
        found = tomllib.loads(text).get("doors", {})
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {(error.strerror or 'unknown reason').lower()}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{file} is not written as a TOML file: {error}.") from None
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{file}: the settings name no door controller: there is no table [doors].")
    return text, found


def _write(file: Path, text: str) -> None:
    """Wholly or not at all: an agent may be starting."""
    fresh = file.with_name(f"{file.name}.new")
    try:
        fresh.write_text(text, "utf-8")
        os.chmod(fresh, file.stat().st_mode & 0o777)
        os.replace(fresh, file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ValueError(f"{file} cannot be written: {(error.strerror or 'unknown reason').lower()}.") from None


# ---- check
async def check(doors: Doors, say: Say, wanted: Wanted) -> bool:
    """One line each for the connection, what the token may do, the configured doors, the PIN's length and the clock. False where one is not well."""
    well = True

    def line(good: bool | None, text: str) -> None:
        nonlocal well
        well = well and good is not False
        say(f"{'?' if good is None else 'ok' if good else '!!':<3} {text}")

    try:
        known = await doors.doors()
    except Failure as error:
        line(False, error.detail)
        return False
    line(True, f"The controller answers and shows the certificate of the settings. It has {_count(known)}.")
    try:
        for one in await doors.check(wanted.pin_digits):
            line(one.good, one.text)
    except Failure as error:
        line(False, error.detail)
    for good, text in _of_doors(wanted.doors, {door.door_id: door for door in known}):
        line(good, text)
    skew_s = doors.clock_skew_s()
    if skew_s is None:
        line(None, "The controller does not tell its time, so nobody knows how far its clock is from this machine's.")
    else:
        line(
            abs(skew_s) <= SKEW_MAX_S,
            f"The controller's clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} this machine's.",
        )
    return well


def _count(doors: list[DoorState]) -> str:
    bound = sum(door.controlled for door in doors)
    return f"{len(doors)} door{'s' * (len(doors) != 1)}, {bound} of them with a hub"


def _of_doors(wanted: Iterable[tuple[str, str]], known: dict[str, DoorState]) -> Iterable[tuple[bool, str]]:
    named = list(wanted)
    if not named:
        yield False, "The settings name no door, so no booking opens any: give 'site.door_ids' or a bay's 'door_ids'."
    for who, door_id in named:
        if door_id not in known:
            yield False, f"{who} has the door {door_id}, which the controller does not know."
        elif not known[door_id].controlled:
            yield False, f"{who} has the door {known[door_id].name}, which has no hub and cannot be opened."
        else:
            yield True, f"{who} has the door {known[door_id].name}."
