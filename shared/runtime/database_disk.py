"""What the disk under the books does to them, in words for a person: full, read-only, failing, damaged, torn by a power cut.

For: `database`, which asks what an error of SQLite means, and the start, which asks whether books that were not closed are sound.
Not for: mending. Invariant: an error that is a bug of ours (a constraint, wrong SQL) is never called a trouble of the disk.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
import time
from pathlib import Path
from typing import NamedTuple

from ..errors import Broken, Failure, Unavailable
from . import log

#: free room below which the disk counts as nearly full: weeks of sales for a site, hours of a hub's busiest day
LOW_OCTETS = 256 * 1024 * 1024
#: a full disk counts as full until this much room is back, so that one small commit that still fits does not call it well
ROOM_BACK_OCTETS = 64 * 1024
#: how long the look through books that were not closed may hold up the start; what it has not seen by then, later reads and backups see
CHECK_MAX_S = 5.0
#: beside the books while they are known to be damaged; the next start looks through all of them, however long that takes
DAMAGED_SUFFIX = ".damaged"
#: beside the books from the moment that promised commits were seen to be missing until whoever opens them has taken note (loss-1)
TORN_SUFFIX = ".torn"

#: what is said of such books
TORN = "When this machine stopped, a part of the books' log was torn; confirmed bookings may be missing here."
_log = log.get("runtime.disk")
_CHECK_STEPS = 20_000
_WAL_HEAD, _FRAME_HEAD = 32, 24

FULL, READ_ONLY, FAILING, BUSY, DAMAGED = "full", "read_only", "failing", "busy", "damaged"
SENTENCES = {
    FULL: "The disk of this machine is full. Nothing more can be saved until room is made on it; what was confirmed is kept.",
    READ_ONLY: "The disk of this machine takes no writes: it is mounted read-only. What was confirmed is kept.",
    FAILING: "The disk of this machine reports errors when the books are read or written. What was confirmed is kept.",
    BUSY: "Another program holds the books, so that nothing can be saved just now.",
    DAMAGED: "The books are damaged: a part of them cannot be read. Nothing more is sold on them until they are put back from a backup.",
}
_RETRY_AFTER_S = {FULL: 30, READ_ONLY: 60, FAILING: 10, BUSY: 2, DAMAGED: 300}


class DiskUnavailable(Unavailable):
    """The books cannot be read or written just now; `kind` says why."""

    def __init__(self, kind: str, detail: str):
        super().__init__(detail, retry_after_s=_RETRY_AFTER_S.get(kind, 5))
        self.kind = kind


class DiskBroken(Broken):
    """The books cannot be read or written until a person has looked; `kind` says why."""

    def __init__(self, kind: str, detail: str):
        super().__init__(detail, retry_after_s=_RETRY_AFTER_S.get(kind, 60))
        self.kind = kind


def trouble(kind: str) -> DiskUnavailable | DiskBroken:
    """The failure of this kind with its sentence."""
    return (DiskBroken if kind in (READ_ONLY, DAMAGED) else DiskUnavailable)(kind, SENTENCES[kind])


def trouble_of(error: sqlite3.Error, path: Path, *, reading: bool = False) -> Failure | None:
    """What an error of SQLite says about the disk; None where it is a bug of ours. `reading`: on a connection that may not write."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by Python's own module: text that is no UTF-8 was not written by us
        return trouble(DAMAGED) if str(error).startswith("Could not decode to UTF-8") else None
    primary = code & 0xFF
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return trouble(DAMAGED)
    if primary == sqlite3.SQLITE_FULL:
        return trouble(FULL)
    if primary == sqlite3.SQLITE_READONLY:
        return None if reading else trouble(READ_ONLY)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return trouble(BUSY)
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM):
        return trouble(_why_failing(path))
    return None


def trouble_of_file(error: OSError) -> Failure | None:
    """The same for a file that is not SQLite's."""
    kinds = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EROFS: READ_ONLY, errno.EIO: FAILING}
    return trouble(kinds[error.errno]) if error.errno in kinds else None


def _why_failing(path: Path) -> str:
    """SQLite says "I/O error" of many things; the file system knows which."""
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return FAILING
    if found.f_flag & os.ST_RDONLY:
        return READ_ONLY
    return FULL if found.f_bavail * found.f_frsize < ROOM_BACK_OCTETS else FAILING


class Disk(NamedTuple):
    """The room that is left where the books lie; `free_octets` is -1 where it cannot be told (books in memory)."""

    free_octets: int
    low: bool


def room(path: Path, low_octets: int = LOW_OCTETS) -> Disk:
    if str(path) == ":memory:":
        return Disk(-1, False)
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return Disk(-1, False)
    free = found.f_bavail * found.f_frsize
    return Disk(free, free < low_octets)


# ---- books that were not closed
def mark_damaged(path: Path) -> None:
    """Has the next start look through all of the books. A disk that does not even take that is told of by its own errors."""
    try:
        path.with_name(path.name + DAMAGED_SUFFIX).touch(mode=0o600)
    except OSError:
        pass


class Look(NamedTuple):
    """What the look at the start found: whether it saw all it wanted, and how many commits behind a torn place of the WAL are lost."""

    finished: bool
    lost_commits: int


def torn(path: Path) -> bool:
    """Whether commits that were promised to somebody are missing: the books are then a copy that was set back (loss-1)."""
    return path.with_name(path.name + TORN_SUFFIX).exists()


def mark_torn(path: Path) -> None:
    path.with_name(path.name + TORN_SUFFIX).touch(mode=0o600)


def torn_noted(path: Path) -> None:
    path.with_name(path.name + TORN_SUFFIX).unlink(missing_ok=True)


def look_through(path: Path, check_max_s: float = CHECK_MAX_S) -> Look:
    """Looks through books that were not closed in order, before anybody uses them. Raises Broken for damaged ones.

    A WAL that is still there says that they were not closed. `quick_check` walks every page (0.14 s for 100 MB that are in memory, longer
    from a memory card), bounded by `check_max_s`; with the mark of a damage met earlier it is `integrity_check`, unbounded. Books that
    were closed cost nothing.
    """
    mark, wal = path.with_name(path.name + DAMAGED_SUFFIX), path.with_name(path.name + "-wal")
    marked, left_open = mark.exists(), wal.exists() and wal.stat().st_size > _WAL_HEAD
    if not path.exists() or not (marked or left_open):
        return Look(True, 0)
    commits = _commits_of(wal) if left_open else []
    c = sqlite3.connect(str(path), isolation_level=None, timeout=10)
    try:
        c.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()  # has SQLite read the WAL, as far as it believes it
        kept_frames = _believed(path)
        # One commit may have been under way when the machine stopped, and was promised to nobody; more than one were promised.
        behind = sum(1 for frame in commits if frame > kept_frames)
        if behind > 1:
            mark_torn(path)  # before the WAL goes, which closing does
        finished = _check(c, whole=marked, max_s=check_max_s)
    except sqlite3.Error as error:
        found = trouble_of(error, path)
        if found is None or found.kind != DAMAGED:
            raise (found or error) from error
        raise _damaged(path, str(error)) from error
    except _Faulty as error:
        raise _damaged(path, str(error)) from None
    finally:
        c.close()
    mark.unlink(missing_ok=True)
    look = Look(finished, behind if behind > 1 else 0)
    if not look.finished or look.lost_commits:
        _log.error("books.left_open", finished=look.finished, lost_commits=look.lost_commits)
    return look


class _Faulty(Exception):
    """The check's own words."""


def _check(c: sqlite3.Connection, *, whole: bool, max_s: float) -> bool:
    """Whether it came to an end. Raises _Faulty with what it found."""
    ends_at = time.monotonic() + max_s
    if not whole:
        c.set_progress_handler(lambda: time.monotonic() > ends_at, _CHECK_STEPS)
    try:
        found = c.execute(f"PRAGMA {'integrity_check' if whole else 'quick_check'}(3)").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_INTERRUPT:
            return False
        raise
    finally:
        c.set_progress_handler(None, 0)
    if found != [("ok",)]:
        raise _Faulty("; ".join(str(row[0]) for row in found))
    return True


def _damaged(path: Path, why: str) -> DiskBroken:
    mark_damaged(path)
    return DiskBroken(DAMAGED, f"The books in {path} cannot be read: {why}. Put them back from a backup; nothing was changed.")


def _believed(path: Path) -> int:
    """The last frame of the WAL that SQLite found good, out of its own index; asked there, since a checkpoint is the writer's alone.

    Format: https://www.sqlite.org/walformat.html#the_wal_index_file_format; numbers in the machine's own order.
    """
    with open(path.with_name(path.name + "-shm"), "rb") as file:
        return struct.unpack("=I", file.read(20)[16:])[0]


def _commits_of(wal: Path) -> list[int]:
    """The numbers (from 1) of the frames that end a commit, of this generation of the WAL, whether or not SQLite still believes them.

    Format: https://www.sqlite.org/fileformat2.html#walformat; frames of earlier generations carry other salts.
    """
    commits = []
    with open(wal, "rb") as file:
        head = file.read(_WAL_HEAD)
        if len(head) < _WAL_HEAD:
            return []
        page_octets, salts = struct.unpack(">I", head[8:12])[0], head[16:24]
        if not 512 <= page_octets <= 65536:
            return []
        number = 1
        while len(frame := file.read(_FRAME_HEAD)) == _FRAME_HEAD:
            if frame[8:16] == salts and frame[4:8] != b"\0\0\0\0":
                commits.append(number)
            file.seek(page_octets, os.SEEK_CUR)
            number += 1
    return commits
