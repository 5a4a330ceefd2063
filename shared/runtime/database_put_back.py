"""Books and key files out of a backup, in the place of what is there: what `restore` of both sides shares.

Not here: the fence and the terms (`ledger`); the caller writes them into the fresh books before these take their place.
Invariant: whenever this is killed, either the books from before stand, or the fresh ones as the caller has prepared them; a key file that
is there is never written over.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import Unavailable
from . import database_disk as disk
from .backup import Note, fetch
from .folder_flush import flush_folder
from .vault import Vault

#: what SQLite keeps beside a database in use, and what we have noted of it; it goes with the books it belongs to
LOG_TAILS, NOTE_TAILS = ("-wal", "-shm"), (disk.DAMAGED_SUFFIX, disk.TORN_SUFFIX)
TAILS = LOG_TAILS + NOTE_TAILS


def fresh_path(books: Path) -> Path:
    """Where fresh books are prepared, beside those that they will replace; what a killed command left there is gone."""
    fresh = books.with_name(f"{books.name}.fresh")
    for tail in ("", *TAILS):
        fresh.with_name(fresh.name + tail).unlink(missing_ok=True)
    return fresh


def put_back(
    vault: Vault, name: str, identity: str, books: Path, keys_to: Path, prepare: Callable[[Path], object], now: int
) -> tuple[Note, Path | None]:
    """The books of a backup become the books, and its key files that are not in the folder `keys_to` are put there.

    `prepare(fresh)` looks whose books these are and writes into them, before anything is laid down. Returns the backup's note and what
    `take_place` returns. Raises what `backup.fetch`, `prepare` and `take_place` raise; nothing has been changed where one of the first two does.
    """
    with _told(books.parent):
        fresh = fresh_path(books)
        try:
            with tempfile.TemporaryDirectory(prefix=".keys-", dir=books.parent) as scratch:
                note = fetch(vault, name, identity, fresh, keys_to=Path(scratch))
                prepare(fresh)
                _lay_down(Path(scratch), keys_to)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh_path(books)  # nobody's books stay behind
            raise
    return note, take_place(fresh, books, now)


def _lay_down(keys: Path, keys_to: Path) -> None:
    """Before the books are in place: those that find no key of theirs would have a new one made."""
    keys_to.mkdir(mode=0o700, exist_ok=True)
    for key in sorted(keys.iterdir()):
        if not (keys_to / key.name).exists():
            key.replace(keys_to / key.name)
    flush_folder(keys_to)


def take_place(fresh: Path, books: Path, now: int) -> Path | None:
    """The fresh books become the books. Those from before are kept beside; their path, None where there were none. Unavailable where the disk
    does not take it."""
    with _told(books.parent):
        return _take_place(fresh, books, now)


def _take_place(fresh: Path, books: Path, now: int) -> Path | None:
    aside = None
    if books.exists():
        # what lies in the old WAL belongs into the old file: beside the new one SQLite would take it for the new one's
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(books)) as c:
            c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        aside = _unused(books.with_name(f"{books.name}.before-{now}"))
        with contextlib.suppress(OSError):  # a medium without links has an instant without books
            os.link(books, aside)
        if not aside.exists():
            books.replace(aside)
    kept = aside or _unused(books.with_name(f"{books.name}.before-{now}"))
    log = books.with_name(f"{books.name}-wal")
    if log.exists() and log.stat().st_size:  # it could not be taken in; without it the old books are set back, if we end here
        disk.mark_torn(books)
    _move(LOG_TAILS, books, kept)
    fresh.replace(books)
    _move(NOTE_TAILS, books, kept)
    flush_folder(books.parent)
    return aside


def _move(tails: tuple[str, ...], books: Path, kept: Path) -> None:
    for tail in tails:
        beside = books.with_name(books.name + tail)
        if beside.exists():
            beside.replace(kept.with_name(kept.name + tail))


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{folder} cannot be written: {(error.strerror or 'unknown reason').lower()}.") from None


def _unused(path: Path) -> Path:
    number, tried = 1, path
    while tried.exists():
        number += 1
        tried = path.with_name(f"{path.name}-{number}")
    return tried
