"""A small file on another medium than the books, replaced whole. Knows no booking: what stands in it is the caller's.

Invariant: whoever reads sees one whole body that was once written, or is told in a sentence why not; a body that was written has been
flushed, and so has its name.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..errors import Broken
from .folder_flush import flush_folder

#: a mark is a few numbers per facility
BODY_MAX = 1_000_000
_HEAD = b"clubos-mark-1 "


class MarkFile:
    """The file at `path`. Every call blocks on the medium: call `write` from a thread."""

    def __init__(self, path: Path):
        self.path = Path(path)

    def read(self) -> bytes | None:
        """The body; None where there is no file yet. Broken, with a sentence, where the medium is away or the file cannot be trusted."""
        if not self.path.parent.is_dir():
            raise Broken(f"The folder {self.path.parent} of the mark is not there. Is its medium plugged in and mounted?")
        try:
            with open(self.path, "rb") as file:
                found = file.read(BODY_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Broken(f"The mark {self.path} cannot be read ({_reason(error)}).") from None
        head, _, body = found.partition(b"\n")
        if head != _HEAD + _sum(body):
            raise Broken(f"The mark {self.path} is damaged.")
        return body

    def write(self, body: bytes) -> None:
        """Replaces the file: whole or not at all. Broken, with a sentence, where it cannot be written."""
        beside = self.path.with_name(f".{self.path.name}.new")
        try:
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(_HEAD + _sum(body) + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
            flush_folder(self.path.parent)
        except OSError as error:
            raise Broken(f"The mark {self.path} cannot be written ({_reason(error)}).") from None

    def on_medium_of(self, other: Path) -> bool:
        """Whether the file lies on the medium of `other`, with which it would be lost."""
        try:
            return os.stat(self.path.parent).st_dev == os.stat(other).st_dev
        except OSError:
            return False


def _sum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:32].encode()


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown reason").lower()
