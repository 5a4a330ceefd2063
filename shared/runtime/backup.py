"""A backup: the books of one moment and the box's key files, compressed, sealed for the operator, laid into a vault with a note beside it.

    make(...)    books -> copy -> tar, gzip, age -> vault; then the note, which makes it complete
    listed(...)  the complete ones, oldest first
    fetch(...)   the other way: the note's check sum, the seal, the archive; the books at a path of the caller's
    prune(...)   what retention no longer keeps

Two kinds of key open it. The operator's: made by `backup key create`, its secret kept away from every box, for the day when a box is gone.
And the box's own drill identity, made on the box as one more recipient: without it a box could not open its own backup to prove every night
that it can be restored, unless the operator's secret lay on every box. Whoever steals the box with it reads what the box holds anyway.
Without this code: `age --decrypt -i KEY FILE | tar xz`.

Not here: what the books mean (`ledger/drill`), or when it is time (`ledger/backups`).
Invariant: a backup without a whole note is not listed; memory does not grow with the books; the books are only read.
"""

from __future__ import annotations

import gzip
import hashlib
import secrets
import shutil
import sqlite3
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated

import msgspec

from ..errors import Broken, Unavailable
from . import database_copy, sealed
from .database_copy import Facts
from .vault import FolderVault, Item, Missing, S3Vault, Vault

BODY, NOTE = ".tar.gz.age", ".json"
BOOKS, KEYS = "books.db", "keys/"
KEY_FILE_MAX = 65_536
STAMP = "%Y%m%dT%H%M%SZ"
#: a backup that bears a time this much later than now was made by a clock that was ahead, or this one is behind
AHEAD_S = 60
_PREFIX = ".backup-"
#: a half-made one of a killed process; no backup takes as long
_LEFT_S = 6 * 3600
#: gives others the processor and the disk between two steps of a copy
REST_S = 0.002
_CHUNK = 65_536
_DAY_S = 86_400

Path_ = Callable[[str], Path]
Secret = Callable[[str, str], str]


class Stopped(Exception):
    """The process is ending; what was begun has been taken away."""


class S3Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store that speaks S3; its two keys lie in files."""

    endpoint: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s]+$")]
    bucket: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,62}$")]
    key_id_file: str
    secret_key_file: str
    region: str = "us-east-1"


class BackupSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[backup]` table: `to` a folder, or `[backup.s3]`; `recipients` who can open it. `drill_hour` by the facility's clock (a hub: UTC).

    Kept are all backups of `keep_all_h` hours, then the last of each UTC day for `keep_days` days and of each week for `keep_weeks` weeks.
    """

    to: str = ""
    s3: S3Settings | None = None
    recipients: tuple[str, ...] = ()
    every_s: Annotated[int, msgspec.Meta(ge=60, le=86_400)] = 900
    drill_hour: Annotated[int, msgspec.Meta(ge=0, le=23)] = 4
    keep_all_h: Annotated[int, msgspec.Meta(ge=1, le=8760)] = 24
    keep_days: Annotated[int, msgspec.Meta(ge=1, le=3660)] = 30
    keep_weeks: Annotated[int, msgspec.Meta(ge=0, le=520)] = 53


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What lies beside a backup, in the clear: no person's data. `at` unix seconds, `octets` and `sha256` of the sealed file."""

    name: str
    at: int
    octets: int
    sha256: str
    steps: dict[str, tuple[str, ...]]
    rows: dict[str, int]


def wrong(settings: BackupSettings) -> str:
    """What is wrong with the settings, as "'backup.x' …"; empty where nothing is."""
    if bool(settings.to) == bool(settings.s3):
        return "'backup.to' is wrong: give a folder there, or a store in 'backup.s3': one of the two"
    if not settings.recipients:
        return "'backup.recipients' is missing: without one nobody could open a backup once the box is gone"
    for recipient in settings.recipients:
        if why := sealed.not_a_recipient(recipient):
            return f"'backup.recipients' is wrong: {why}"
    return ""


def open_vault(settings: BackupSettings, owner: str, path: Path_, secret: Secret) -> Vault:
    """The vault of these settings. `path(text)` resolves a path of the config, `secret(file, key)` reads a secret (ConfigError)."""
    if settings.s3 is None:
        return FolderVault(path(settings.to), owner)
    s3 = settings.s3
    return S3Vault(
        endpoint=s3.endpoint, bucket=s3.bucket, region=s3.region, owner=owner, key_id=secret(s3.key_id_file, "backup.s3.key_id"),
        secret_key=secret(s3.secret_key_file, "backup.s3.secret_key"),
    )  # fmt: skip


# ---- making
def make(
    vault: Vault, books: Path, recipients: tuple[str, ...], now: float, scratch: Path, *,
    keys: Mapping[str, Path] = {}, box: Callable[[sqlite3.Connection], int] = lambda c: 0, stopping: Callable[[], bool] = lambda: False,
) -> Note:  # fmt: skip
    """Copies, seals and lays away; the note is written last. Blocks, beside a writer that goes on. `scratch`: a folder for half-made files.
    `keys`: key files by their names, which may lie in one folder of their own (`bays/one.key`).
    `box(copy)`: the number of the box that has the books; those of a box that was replaced are older than all of its successor's.

    Unavailable where the vault or the disk will not take it, Broken for damaged books, Stopped once `stopping()` says so.
    """

    def between() -> None:
        if stopping():
            raise Stopped
        time.sleep(REST_S)

    with _folder(scratch) as folder:
        copy, whole = folder / BOOKS, folder / "sealed"
        found = database_copy.copy(books, copy, between)
        with database_copy.reading(copy, resting=True) as c:
            name = _name(now, box(c))
        try:
            with whole.open("wb") as into:
                sealed.seal(lambda stream: _pack(stream, copy, keys, between), into, recipients)
            note = _note(name, int(now), whole, found, between)
        except OSError as error:
            raise Unavailable(f"There is no room to prepare a backup in {scratch}: {(error.strerror or '').lower()}.") from None
        vault.put(name + BODY, whole)
    vault.put_small(name + NOTE, msgspec.json.encode(note))
    return note


def _name(now: float, box: int) -> str:
    # the second's fraction before what chance adds: two of one second sort as they were made
    return f"{datetime.fromtimestamp(int(now), UTC).strftime(STAMP)}-{int(now % 1 * 65536):04x}{secrets.token_hex(2)}-{box}"


def _pack(stream: IO[bytes], copy: Path, keys: Mapping[str, Path], between: Callable[[], None]) -> None:
    # the lightest compression: a quarter of the size for a tenth of the time of the default
    with gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=1, mtime=0) as packed, \
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as archive:  # fmt: skip
        _add(archive, BOOKS, copy, between)
        for name, path in keys.items():
            _add(archive, KEYS + name, path, between)


def _add(archive: tarfile.TarFile, name: str, path: Path, between: Callable[[], None]) -> None:
    """One member, of which only name, size and content are told: no owner, no time."""
    with path.open("rb") as file:
        about = tarfile.TarInfo(name)
        about.size, about.mode = path.stat().st_size, 0o600
        archive.addfile(about, _Paced(file, between))


class _Paced:
    """Reads in small pieces, with a rest each megabyte."""

    def __init__(self, file: IO[bytes], between: Callable[[], None]):
        self._file, self._between, self._left = file, between, 1_048_576

    def read(self, octets: int = _CHUNK) -> bytes:
        found = self._file.read(octets)
        self._left -= len(found)
        if self._left <= 0:
            self._left = 1_048_576
            self._between()
        return found


def _note(name: str, now: int, whole: Path, found: Facts, between: Callable[[], None]) -> Note:
    octets, sha256 = _sum(whole, between)
    return Note(name=name, at=now, octets=octets, sha256=sha256, steps=found.steps, rows=found.rows)


def _sum(path: Path, between: Callable[[], None]) -> tuple[int, str]:
    done, octets = hashlib.sha256(), 0
    with path.open("rb") as file:
        paced = _Paced(file, between)
        while part := paced.read():
            done.update(part)
            octets += len(part)
    return octets, done.hexdigest()


# ---- looking and fetching
def listed(vault: Vault) -> list[Item]:
    """The complete backups, oldest first: their names without ending, and their sizes."""
    there = {item.name: item.octets for item in vault.list()}
    whole = {name.removesuffix(BODY): octets for name, octets in there.items() if name.endswith(BODY) and name.removesuffix(BODY) + NOTE in there}
    return [Item(name, whole[name]) for name in sorted(whole, key=_age)]


def note(vault: Vault, name: str) -> Note:
    """The note of a backup. Missing where there is none; Broken for a damaged one."""
    try:
        body = vault.read(name + NOTE)
    except Missing:
        raise Missing(f"There is no backup named {name[:80]!r}.") from None
    try:
        found = msgspec.json.decode(body, type=Note)
    except msgspec.MsgspecError:
        raise Broken(f"The note beside the backup {name} is damaged; the backup cannot be trusted.") from None
    if found.name != name:
        raise Broken(f"The note beside the backup {name} belongs to another one, {found.name[:80]!r}.")
    return found


def newest(vault: Vault, now: float) -> str:
    """The name of the youngest complete backup. Missing where there is none; Broken where only a person can say which one that is, because
    a clock was wrong then or is now."""
    names = [item.name for item in listed(vault)]
    if not names:
        raise Missing("There is no backup yet.")
    if (made_at(names[-1]) or 0) > now + AHEAD_S:
        raise Broken(
            f"The last backup in the list, {names[-1]}, bears a time that is still to come, so nobody can tell which one is the newest. Look at"
            " this machine's clock and at the list (`backup list`), then give the backup's name."
        )
    return names[-1]


def fetch(
    vault: Vault, name: str, identity: str, to_path: Path, *, keys_to: Path | None = None, stopping: Callable[[], bool] = lambda: False
) -> Note:
    """Writes the books of a backup to `to_path`, which must not be there, and its key files into the folder `keys_to`; returns its note.

    Either all of it has been checked (sum, seal, archive) or nothing is left behind. `identity`: a secret key as text.
    WrongKey, Missing, Broken for damage, Unavailable for the vault or the disk. The scratch files lie beside `to_path`.
    """

    def between() -> None:
        if stopping():
            raise Stopped
        time.sleep(REST_S)

    found = note(vault, name)
    if to_path.exists():
        raise Broken(f"{to_path} is there already; a backup is never written over a file.")
    with _folder(to_path.parent) as folder:
        whole, books, keys = folder / "sealed", folder / BOOKS, folder / "keys"
        keys.mkdir(mode=0o700)
        vault.get(name + BODY, whole)
        if _sum(whole, between) != (found.octets, found.sha256):
            raise Broken(f"The backup {name} is damaged: it is not the file that was laid away (size or check sum differ).")
        try:
            with whole.open("rb") as source:
                sealed.unseal(source, lambda stream: _unpack(stream, books, keys, between), identity)
        except sealed.WrongKey:
            raise sealed.WrongKey(f"The key does not fit the backup {name}: it was sealed for other keys.") from None
        except OSError as error:
            raise Unavailable(f"There is no room for the backup in {to_path.parent}: {(error.strerror or '').lower()}.") from None
        if not books.exists():
            raise Broken(f"The backup {name} holds no books.")
        if keys_to is not None:
            for path in sorted(keys.iterdir()):
                path.replace(keys_to / path.name)
        books.replace(to_path)
    return found


def _unpack(stream: IO[bytes], books: Path, keys: Path, between: Callable[[], None]) -> None:
    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as packed, tarfile.open(fileobj=packed, mode="r|", bufsize=_CHUNK) as archive:
            for about in archive:
                content = archive.extractfile(about) if about.isreg() else None
                if content is None:
                    continue
                if about.name == BOOKS:
                    _pour(content, books, between)
                elif _is_key(about.name) and about.size <= KEY_FILE_MAX:
                    target = keys / about.name.removeprefix(KEYS)
                    target.parent.mkdir(mode=0o700, exist_ok=True)
                    _pour(content, target, between)
            while packed.read(_CHUNK):  # the compression's own check sum stands at its end
                pass
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Broken(f"The backup's archive is damaged: {error}.") from None


def _is_key(name: str) -> bool:
    """Whether it is a key file, perhaps in a folder, and nothing that would leave the folder of the keys."""
    parts = name.removeprefix(KEYS).split("/")
    return name.startswith(KEYS) and len(parts) <= 2 and not {"", ".", ".."} & set(parts)


def _pour(content: IO[bytes], target: Path, between: Callable[[], None]) -> None:
    with target.open("wb") as file:
        target.chmod(0o600)
        paced = _Paced(content, between)
        while part := paced.read():
            file.write(part)


# ---- retention
def kept(names: Iterable[str], now: int, settings: BackupSettings) -> set[str]:
    """Which backups stay: all of the last hours, then the last of each day and of each week. The newest stays whatever the clock says, and
    so does what bears a time that is still to come or none at all."""
    ordered = sorted(names, key=_age)
    stay: set[str] = set(ordered[-1:])
    last_of: dict[tuple[str, int], str] = {}
    for name in ordered:
        at = made_at(name)
        if at is None or now - at < settings.keep_all_h * 3600:
            stay.add(name)
            continue
        day = at // _DAY_S
        if day > now // _DAY_S - settings.keep_days:
            last_of["day", day] = name
        week = (day + 3) // 7  # 1 January 1970 was a Thursday; weeks begin on Monday
        if week > (now // _DAY_S + 3) // 7 - settings.keep_weeks:
            last_of["week", week] = name
    return stay | set(last_of.values())


def made_at(name: str) -> int | None:
    """The time in a backup's name; None for a name that bears none."""
    try:
        return int(datetime.strptime(name.partition("-")[0], STAMP).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _age(name: str) -> tuple[int, str]:
    """Sorts the oldest first: by the box that made it, then by time. A predecessor that has not heard of its successor goes on making them."""
    box = name.rpartition("-")[2]
    return int(box) if name.count("-") == 2 and box.isascii() and box.isdigit() else 0, name


def prune(vault: Vault, now: int, settings: BackupSettings) -> int:
    """Deletes what is no longer kept, and half-made ones a day old. The note goes first, so that no listed backup lacks its body."""
    there = {item.name for item in vault.list()}
    stems = {name.removesuffix(end) for name in there for end in (BODY, NOTE) if name.endswith(end)}
    whole = {stem for stem in stems if {stem + BODY, stem + NOTE} <= there}
    stay = kept(whole, now, settings) | {stem for stem in stems - whole if now - (made_at(stem) or now) < _DAY_S}
    gone = sorted(stems - stay)
    for stem in gone:
        for name in (stem + NOTE, stem + BODY):
            if name in there:
                vault.delete(name)
    return len(gone)


@contextmanager
def _folder(where: Path) -> Iterator[Path]:
    """A folder for half-made files, its owner's only, gone afterwards; what a killed process left there goes with the next one."""
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(where)
        made = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=where)
    except OSError as error:
        raise Unavailable(f"{where} cannot take a backup's half-made files: {(error.strerror or '').lower()}.") from None
    with made as folder:
        yield Path(folder)


def _sweep(where: Path) -> None:
    for left in where.glob(f"{_PREFIX}*"):
        if left.is_dir() and time.time() - left.stat().st_mtime > _LEFT_S:
            shutil.rmtree(left, ignore_errors=True)
