"""Where copies rest: a folder, or a store that speaks S3. Names sort by time; what they hold is not known here.

Every owner (a site, the hub) has a folder of its own in the vault, so that many can share one. The S3 client is imported when one is used:
a box that keeps its copies in a folder has nothing of it in memory. Only this file imports obstore.

Invariant: a name that is listed is a whole object; one that was put is on the disk, or acknowledged by the store, when `put` returns.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Protocol

import msgspec

from ..errors import Broken, Failure, Unavailable
from .folder_flush import flush_folder

NAME = re.compile(r"[a-z0-9][a-zA-Z0-9._-]{0,120}")
#: what is read whole into memory: notes, never copies
READ_MAX = 262_144
CHUNK = 1_048_576
#: a part of an upload, the least that S3 takes. One at a time: parts that share a slow line would all be late
PART = 5_242_880
#: how long a store may take for one request, of which a copy takes many: a part in this time is 0.7 megabits a second
REQUEST_S = 60
RETRY_AFTER_S = 300
_PART = ".part"


class Item(msgspec.Struct, frozen=True, order=True):
    """One object: its name in the owner's folder and its size in octets."""

    name: str
    octets: int


class Missing(Broken):
    """There is no object of this name."""


class Vault(Protocol):
    """Blocking calls, for a thread. Unavailable where the vault cannot be reached or is full; Broken where a person must look."""

    def list(self) -> list[Item]:
        """Everything of this owner, by name."""
        ...

    def put(self, name: str, source: Path) -> None:
        """The file under this name; one that stands there is replaced."""
        ...

    def put_small(self, name: str, body: bytes) -> None: ...

    def get(self, name: str, target: Path) -> None:
        """Into a new file that only its owner can read. Missing where there is none."""
        ...

    def read(self, name: str) -> bytes:
        """At most `READ_MAX` octets, for notes. Missing where there is none."""
        ...

    def delete(self, name: str) -> None:
        """Gone afterwards, also if it was gone before."""
        ...

    def warning(self, beside: Path) -> str:
        """Why copies here would be lost together with what they copy, as a sentence; empty where nothing speaks for it."""
        ...


def is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None


class FolderVault:
    """A folder, usually another disk or a share. It must be there: a folder made in place of a disk that is not mounted would deceive."""

    def __init__(self, folder: Path, owner: str):
        self._top, self._folder = folder, folder / owner

    def list(self) -> list[Item]:
        with self._told():
            self._ready()
            found = [(entry.name, entry.stat().st_size) for entry in os.scandir(self._folder) if entry.is_file() and is_name(entry.name)]
            return sorted(Item(name, octets) for name, octets in found if not name.endswith(_PART))

    def put(self, name: str, source: Path) -> None:
        with self._told(), source.open("rb") as file:
            self._write(name, file)

    def put_small(self, name: str, body: bytes) -> None:
        import io

        with self._told():
            self._write(name, io.BytesIO(body))

    def get(self, name: str, target: Path) -> None:
        with self._told(name):
            source = (self._folder / _named(name)).open("rb")
        with source, _kept_here(), _new(target) as file:
            while part := self._part(source):
                file.write(part)

    def _part(self, source: IO[bytes]) -> bytes:
        with self._told():
            return source.read(CHUNK)

    def read(self, name: str) -> bytes:
        with self._told(name), (self._folder / _named(name)).open("rb") as file:
            return file.read(READ_MAX)

    def delete(self, name: str) -> None:
        with self._told():
            (self._folder / _named(name)).unlink(missing_ok=True)

    def warning(self, beside: Path) -> str:
        try:
            same = os.stat(self._top).st_dev == os.stat(beside).st_dev
        except OSError:
            return ""
        return "The copies lie on the same disk as the books and would be lost with it." if same else ""

    def _ready(self) -> None:
        if not self._top.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no such folder (is its disk connected?)", str(self._top))
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def _write(self, name: str, source) -> None:
        self._ready()
        half = self._folder / f"{_named(name)}.{secrets.token_hex(4)}{_PART}"
        try:
            with _new(half) as file:
                shutil.copyfileobj(source, file, CHUNK)
                file.flush()
                os.fsync(file.fileno())
            half.replace(self._folder / name)
        finally:
            half.unlink(missing_ok=True)
        flush_folder(self._folder)

    @contextlib.contextmanager
    def _told(self, wanted: str = "") -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if wanted and self._top.is_dir():
                raise Missing(f"There is no {wanted!r} in the backup folder {self._folder}.") from None
            raise Unavailable(f"The backup folder {self._top} cannot be used: {_plain(error)}.", retry_after_s=RETRY_AFTER_S) from None
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "its disk is full" if full else _plain(error)
            raise Unavailable(f"The backup folder {self._top} cannot be used: {why}.", retry_after_s=RETRY_AFTER_S) from None


class S3Vault:
    """A bucket of a store that speaks S3. Copies go and come in parts, so that neither memory nor the time of a request grows with them."""

    def __init__(self, *, endpoint: str, bucket: str, region: str, key_id: str, secret_key: str, owner: str, timeout_s: int = REQUEST_S):
        from obstore.store import S3Store

        self._bucket, self._endpoint, self._owner = bucket, endpoint, owner
        self._store = S3Store(
            bucket,
            prefix=owner,
            endpoint=endpoint,
            region=region,
            access_key_id=key_id,
            secret_access_key=secret_key,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=5),
                "timeout": timedelta(seconds=timeout_s),
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=timeout_s)},
        )

    def list(self) -> list[Item]:
        import obstore

        with self._told():
            found = [Item(meta["path"], meta["size"]) for page in obstore.list(self._store) for meta in page]
        return sorted(item for item in found if is_name(item.name))

    def put(self, name: str, source: Path) -> None:
        import obstore

        with self._told():
            obstore.put(self._store, _named(name), source, chunk_size=PART, max_concurrency=1)

    def put_small(self, name: str, body: bytes) -> None:
        import obstore

        with self._told():
            obstore.put(self._store, _named(name), body)

    def get(self, name: str, target: Path) -> None:
        import obstore

        with self._told(name):
            octets = obstore.head(self._store, _named(name))["size"]
            with _kept_here():
                file = _new(target)
            with file:
                for start in range(0, octets, CHUNK):
                    part = obstore.get_range(self._store, name, start=start, length=min(CHUNK, octets - start))
                    with _kept_here():
                        file.write(part)

    def read(self, name: str) -> bytes:
        import obstore

        with self._told(name):
            found = obstore.get(self._store, _named(name))
            if found.meta["size"] > READ_MAX:
                raise Broken(f"{name!r} in the bucket {self._bucket} is too large to be a note.")
            return bytes(found.bytes())

    def delete(self, name: str) -> None:
        import obstore

        with self._told(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, _named(name))

    def warning(self, beside: Path) -> str:
        return ""

    @contextlib.contextmanager
    def _told(self, wanted: str = "") -> Iterator[None]:
        """The library's errors as ours: what it quotes of a request may hold a signature, so only its kind is passed on."""
        from obstore import exceptions

        where = f"The backup store {self._endpoint} (bucket {self._bucket})"
        try:
            yield
        except Failure:
            raise
        except FileNotFoundError:
            if wanted:
                raise Missing(f"There is no {wanted!r} in the bucket {self._bucket} for {self._owner}.") from None
            raise Broken(f"{where} has no such bucket.") from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
            raise Broken(f"{where} does not take our key.") from None
        except OSError as error:
            raise Unavailable(f"{where} cannot be used: {_plain(error)}.", retry_after_s=RETRY_AFTER_S) from None
        except exceptions.BaseError as error:
            why = "it does not answer" if "error sending request" in str(error) else "it answers with an error"
            raise Unavailable(f"{where} cannot be used: {why}.", retry_after_s=RETRY_AFTER_S) from None


def _named(name: str) -> str:
    if not is_name(name):
        raise Missing(f"{name[:80]!r} is no name of a copy.")
    return name


@contextlib.contextmanager
def _kept_here() -> Iterator[None]:
    """What a disk of this machine does not take is not the vault's fault, and must not be looked for there."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"The copy could not be kept on this machine: {_plain(error)}.", retry_after_s=RETRY_AFTER_S) from None


def _new(path: Path):
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _plain(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
