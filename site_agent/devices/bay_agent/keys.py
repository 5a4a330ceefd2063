"""The keys of the bays' PCs at this site: one file each, made by `site-agent bays enrol`, read whenever one speaks.

Invariants: a key is handed out once, when it is made; a new one ends the old at once, also for an agent that runs; files are the owner's alone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from site_agent.devices.bay_agent import signing

FOLDER = "bay_agent"


class Keys:
    """The keys in the site's folder. Bays are given by their resource's id, which the caller knows to be one of the facility's."""

    def __init__(self, site_folder: Path) -> None:
        self.folder = site_folder / FOLDER
        self._read: dict[str, tuple[tuple[int, int, int], bytes | None]] = {}

    def of(self, bay: str) -> bytes | None:
        """The key of a bay's PC; None where none was made, or its file is damaged."""
        path = self._path(bay)
        try:
            state = path.stat()
            mark = (state.st_ino, state.st_mtime_ns, state.st_size)
            known = self._read.get(bay)
            if known is None or known[0] != mark:
                known = self._read[bay] = (mark, signing.read_key(path.read_text("utf-8", errors="replace"), bay))
            return known[1]
        except OSError:
            return None

    def there(self, bay: str) -> bool:
        """Whether a key was made for it, damaged or not."""
        return self._path(bay).exists()

    def make(self, bay: str) -> str:
        """Makes a key in the place of any other, and says it, once. OSError where the disk does not take it."""
        text = signing.key_text(bay, secrets.token_bytes(signing.KEY_BYTES))
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self.folder / f".{bay}.{os.getpid()}"
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path(bay))
        finally:
            beside.unlink(missing_ok=True)
        return text

    def remove(self, bay: str) -> bool:
        """Ends a key; false where there was none."""
        with contextlib.suppress(FileNotFoundError):
            self._path(bay).unlink()
            return True
        return False

    def _path(self, bay: str) -> Path:
        return self.folder / f"{bay}.key"
