"""What the command line leaves for the running agent: one small file each, taken in once, so that only the agent writes the database.

Two processes writing one SQLite file in WAL mode can meet a rare corruption; a folder of files cannot. Invariant: a file appears whole
(renamed into place), is readable by its owner only, and holds hashes, never a password or a code.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Literal

import msgspec

FILES_MAX = 200


class Errand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`staff`: an account (user, name, role, secret_hash = argon2). `pairing`: a code (name of the screen, secret_hash, ends_at).
    `drill`: an outage drill (minutes; not begun after ends_at). `vouch`, `stated`: a person's word after a repair (name; role: the reason).
    `keys`: the signing key is changed (role: `rotate` or `withdraw`)."""

    kind: Literal["staff", "pairing", "drill", "vouch", "stated", "keys"]
    name: str
    secret_hash: str = ""
    user: str = ""
    role: str = ""
    ends_at: int = 0
    minutes: int = 0


def leave(folder: Path, errand: Errand) -> Path:
    """Leaves an errand in the folder; the path under which it lies there until it is taken in."""
    for each in (folder.parent, folder):  # `parents` would make the outer one with everybody's rights
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    left = folder / f"{secrets.token_hex(8)}.json"
    _write(left, msgspec.json.encode(errand))
    return left


def answer(errand: Path, body: bytes) -> None:
    """Leaves the agent's answer beside where the errand lay, in the place of an earlier one."""
    _write(answer_of(errand), body)


def answer_of(errand: Path) -> Path:
    """Where the answer to this errand comes to lie."""
    return errand.with_suffix(".answer")


def _write(path: Path, body: bytes) -> None:
    beside = path.with_name(f".{path.stem}-{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def waiting(folder: Path) -> list[tuple[Path, Errand | None]]:
    """What lies there, oldest first; None for a file that is no errand."""
    try:
        found = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)[:FILES_MAX]
    except OSError:
        return []
    return [(path, _read(path)) for path in found]


def _read(path: Path) -> Errand | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Errand)
    except (OSError, msgspec.DecodeError):
        return None
