"""The witness's shelf on disk: files that are only ever appended to and flushed, each row a line of JSON (protocol loss-7).

A line says in clear whose row it is (site, epoch, number) and holds its content sealed; whoever has the disk reads no booking. Invariant:
what `add` has come back from is on the disk; a torn line at a file's end, left by a crash, was never answered for and is passed over.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from shared.runtime.folder_flush import flush_folder

#: a file this long is closed and the next one begun
SEGMENT_BYTES = 8 << 20


class Line(msgspec.Struct, frozen=True):
    """One row as it lies here. `sealed` is base64."""

    site_id: str
    epoch: str
    no: int
    sealed: str


_decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.Encoder().encode


class Segments:
    """The files of one hub. One process at a time writes them; `add` blocks on the disk."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES):
        self._folder, self._most = folder, segment_bytes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        #: file -> (site, epoch) -> highest number in it
        self._tops = {path: _tops(read(path)) for path in self._files()}
        self._open: Path | None = None
        self._size = 0

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("rows-*.jsonl"))

    def add(self, lines: list[Line]) -> None:
        """Appends and flushes. Raises OSError, and then nothing of it may be relied on."""
        path = self._current()
        text = b"".join(_encode(line) + b"\n" for line in lines)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            rest = memoryview(text)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        except OSError:
            self._open = None  # half a line may lie at its end: nothing is ever written behind it
            raise
        finally:
            os.close(handle)
        self._size += len(text)
        for key, no in _tops(lines).items():
            self._tops[path][key] = max(no, self._tops[path].get(key, 0))

    def _current(self) -> Path:
        """The file being written: a new one after a start, a failure, or when the last is full."""
        if self._open is None or self._size >= self._most:
            last = max((int(path.stem.partition("-")[2]) for path in self._files()), default=0)
            self._open, self._size = self._folder / f"rows-{last + 1:08d}.jsonl", 0
            os.close(os.open(self._open, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            flush_folder(self._folder)
            self._tops[self._open] = {}
        return self._open

    def lines(self) -> list[Line]:
        """Everything, in the order in which it came."""
        return [line for path in self._files() for line in read(path)]

    def settle(self, settled: dict[str, tuple[str, int]]) -> int:
        """Lets files go whose every row its site has applied; the one being written stays. Returns how many went.

        Rows of an epoch that is no longer its site's go with it: the epoch that followed began with all of them (loss-2).
        """
        gone = 0
        for path, tops in list(self._tops.items()):
            if path != self._open and all(_is_settled(settled, site_id, epoch, no) for (site_id, epoch), no in tops.items()):
                path.unlink(missing_ok=True)
                del self._tops[path]
                gone += 1
        return gone


def _is_settled(settled: dict[str, tuple[str, int]], site_id: str, epoch: str, no: int) -> bool:
    now, applied_no = settled.get(site_id, ("", 0))
    return bool(now) and applied_no > 0 and (epoch != now or no <= applied_no)


def read(path: Path) -> list[Line]:
    """The whole lines of a file; what is torn or damaged is left out."""
    found = []
    for text in path.read_bytes().split(b"\n"):
        try:
            found.append(_decode(text))
        except msgspec.MsgspecError:
            continue
    return found


def _tops(lines: list[Line]) -> dict[tuple[str, str], int]:
    tops: dict[tuple[str, str], int] = {}
    for line in lines:
        key = (line.site_id, line.epoch)
        tops[key] = max(line.no, tops.get(key, 0))
    return tops
