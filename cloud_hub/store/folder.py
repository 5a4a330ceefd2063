"""The hub's data folder: held by one hub at a time, and the tray in which commands leave what a running hub shall do.

One process writes a database file (a second one, checkpointing, could damage it), so a command that finds the folder held does not write:
it puts its wish into the tray, and the hub carries it out within about a second.
Invariant: a wish is a whole file or none, is carried out once, and holds no secret in the clear.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import Broken

WISH_MAX = 65_536  # bytes


class Held(Exception):
    """Another process has the folder; the message is a sentence."""


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Has the folder to itself until the end of the block or of the process. Raises Held; Broken where there can be no such folder."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(folder / "hub.lock", "w")  # noqa: SIM115 - closed by the `with` below
    except OSError as error:
        raise Broken(f"The setting 'data_dir' is wrong: {folder} cannot be used as a folder ({(error.strerror or '').lower()}).") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Held(f"A hub is running on {folder} already.") from None
        yield


def wish(folder: Path, body: bytes) -> Path:
    """Puts a wish into the tray; the path is gone once it has been carried out."""
    tray = folder / "tray"
    for each in (folder, tray):  # `parents` would make the outer one with everybody's rights
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = secrets.token_hex(8)
    half = tray / f".{name}"
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    whole = tray / f"{name}.json"
    half.rename(whole)
    return whole


def wishes(folder: Path) -> Iterator[tuple[bytes, Callable[[], None]]]:
    """What lies in the tray, oldest first: the body, and the function that takes it away."""
    tray = folder / "tray"
    if not tray.is_dir():
        return
    for path in sorted(tray.glob("*.json"), key=lambda p: p.stat().st_mtime_ns):
        yield path.read_bytes()[:WISH_MAX], path.unlink
