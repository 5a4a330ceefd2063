"""The file of a private signing key: read, or made once. What the 32 bytes are used for is known by `shared.keys`, not here.

Invariant: a path yields the same seed for ever and to everybody, also when two processes start at once on an empty folder; a file that is
damaged or open to others is an error and never silently replaced, because a new key would make worthless every pass in people's hands.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from shared.errors import Broken
from shared.runtime.folder_flush import flush_folder

SEED_BYTES = 32
_MARK = "clubos-key-1"
_FILE_MAX = 256
#: a group may read (systemd shows the access list of a credential so), but not write; others may nothing
_FORBIDDEN = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO


def load_or_create(path: Path, new_seed: Callable[[], bytes] = lambda: secrets.token_bytes(SEED_BYTES)) -> bytes:
    """The 32 secret bytes kept at `path`; made by `new_seed` and written 0600 if the file is not there. Blocks on the disk.

    `Broken` names the path and says what to do when the file is damaged, open to others, or cannot be read or written.
    """
    path = Path(path)
    try:
        if not path.exists():
            _create(path, new_seed())
        return _read(path)
    except OSError as error:
        raise Broken(f"The key file {path} cannot be used: {error.strerror}.") from error


def _create(path: Path, seed: bytes) -> None:
    """Writes a whole file beside `path` and links it there; a link, unlike a rename, fails if somebody else was first."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"A seed has {SEED_BYTES} bytes, not {len(seed)}.")
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(_text(seed))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            return
        flush_folder(path.parent)
    finally:
        os.unlink(beside)


def _read(path: Path) -> bytes:
    with open(path, "rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _FORBIDDEN:
            raise Broken(f"The key file {path} is open to others. Close it with chmod 600; if anybody read it, replace it.")
        found = file.read(_FILE_MAX)
    try:
        seed = bytes.fromhex(found.split()[1].decode())
        whole = found == _text(seed).encode()
    except (IndexError, ValueError):
        whole = False
    if not whole:
        raise Broken(f"The key file {path} is damaged. Put it back from a backup; without it passes signed with this key stop working.")
    return seed


def _text(seed: bytes) -> str:
    """Mark, seed and a check sum, so that a damaged file is seen instead of becoming another key."""
    return f"{_MARK} {seed.hex()} {hashlib.sha256(seed).hexdigest()[:8]}\n"
