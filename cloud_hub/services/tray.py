"""The tray of the data folder as services see it: what commands left for the running hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ..store import folder


class Tray:
    def __init__(self, data_dir: Path):
        self._data_dir = data_dir

    def wishes(self) -> Iterator[tuple[bytes, Callable[[], None]]]:
        """Body and the function that takes it away, oldest first."""
        return folder.wishes(self._data_dir)
