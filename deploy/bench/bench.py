"""What every measure is handed: a folder on the disk that is measured, a voice, and the machine's factor.

Invariant: a factor is taken anew whenever it is asked for, beside the measurement that it is for: neighbours come and go.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deploy.bench import floors
from deploy.bench.results import Factor


class Bench:
    """One run. `say(line)` tells the person at the terminal how far it is."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self._folders = 0

    def fresh(self, name: str) -> Path:
        """A new, empty folder for one process or round."""
        self._folders += 1
        made = self.folder / f"{self._folders:02d}-{name}"
        made.mkdir()
        return made

    async def echo(self) -> Factor:
        """By loopback echo: for what spends its time in processes and calls between them."""
        return Factor("loopback echo", await floors.echo_ms(self.fresh("echo")), floors.ECHO_MS)
