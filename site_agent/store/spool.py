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
    """`staff`: an account (user, name, role, secret_hash = argon2). `pairing`: a code (name of the screen, secret_hash, ends_at)."""

    kind: Literal["staff", "pairing"]
    name: str
    secret_hash: str
    user: str = ""
    role: str = ""
    ends_at: int = 0


def leave(folder: Path, errand: Errand) -> None:
    """Leaves an errand in the folder."""
    for each in (folder.parent, folder):  # `parents` would make the outer one with everybody's rights
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = secrets.token_hex(8)
    beside = folder / f".{name}"
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(errand))
        file.flush()
        os.fsync(file.fileno())
    beside.rename(folder / f"{name}.json")


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
