"""What this PC was asked to do, on its disk: written down before it is begun, kept until the site agent has taken its outcome, and a day longer.

One line of JSON for each change, flushed; a line that a crash has cut short is no line. Invariants: a command that stands here is begun at
most once, whatever ends in between; the highest term of a site agent ever heard stands here too (loss-5).
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

KEPT_S = 86_400
LINES_MAX = 400
TEXT_MAX = 500
ENDED = ("done", "failed", "unknown")


@dataclasses.dataclass
class Entry:
    """A command. taken: to be begun; running; done; failed (or not done, `text` says why); unknown. Times are the site's, unix seconds.

    `told`: the last state that the site agent has taken. `until`: this process's monotonic time after which it is not begun any more.
    """

    id: str
    kind: str
    what: str
    parameters: str
    taken_at: float
    ttl_s: float
    state: str = "taken"
    text: str = ""
    began_at: float = 0.0
    changed_at: float = 0.0
    boot_id: str = ""
    told: str = ""
    until: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class Journal:
    """The commands, in one file of `folder`. Safe in threads. OSError where the disk does not take it."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._now = folder / "commands.jsonl", now
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._lines = 0
        self.term = 0
        self._read()

    def one(self, command_id: str) -> Entry | None:
        with self._lock:
            return self._entries.get(command_id)

    def take(self, entry: Entry) -> bool:
        """Writes a new command down; false for one that stands here already, whose state is then told again."""
        with self._lock:
            known = self._entries.get(entry.id)
            if known is not None:
                known.told = ""
                return False
            entry.changed_at = entry.taken_at
            self._write(_row(entry))
            self._entries[entry.id] = entry
            return True

    def change(self, entry: Entry, state: str, text: str = "", **more: object) -> None:
        """Writes a change down, then makes it."""
        with self._lock:
            changed = dataclasses.replace(entry, state=state, text=text[-TEXT_MAX:], changed_at=self._now(), told="", **more)
            self._write(_row(changed))
            self._entries[entry.id] = changed

    def untold(self) -> list[Entry]:
        """Commands whose state the site agent has not taken, oldest first."""
        with self._lock:
            return [one for one in self._entries.values() if one.told != one.state]

    def took(self, command_id: str, state: str) -> None:
        with self._lock:
            entry = self._entries.get(command_id)
            if entry is not None and entry.told != state:
                entry.told = state
                if entry.state == state and entry.ended:
                    self._write({"id": entry.id, "told": state})
                self._tidy()

    def tell_again(self, command_id: str) -> bool:
        """Has a command's state told anew; false for one that nobody gave."""
        with self._lock:
            entry = self._entries.get(command_id)
            if entry is not None:
                entry.told = ""
            return entry is not None

    def last_begun(self, kind: str, what: str) -> float:
        """When such a command was last begun, by the site's clock; 0 for never within a day."""
        with self._lock:
            return max((one.began_at for one in self._entries.values() if (one.kind, one.what) == (kind, what)), default=0.0)

    def unfinished(self) -> list[Entry]:
        with self._lock:
            return [one for one in self._entries.values() if not one.ended]

    def heard_term(self, term: int) -> None:
        with self._lock:
            if term > self.term:
                self._write({"term": term})
                self.term = term

    # ---- the file
    def _write(self, row: dict[str, object]) -> None:
        # a line end first: what a crash cut short before it is then a line of its own, and no part of this one
        data = ("\n" + json.dumps(row, separators=(",", ":")) + "\n").encode()
        with open(self._path, "ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._lines += 1

    def _read(self) -> None:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        names = {field.name for field in dataclasses.fields(Entry)} - {"until"}
        for line in filter(None, lines):
            self._lines += 1
            try:
                row = json.loads(line)
                if "term" in row:
                    self.term = max(self.term, int(row["term"]))
                elif set(row) == {"id", "told"}:
                    self._entries[row["id"]].told = row["told"]
                else:
                    self._entries[row["id"]] = Entry(**{name: one for name, one in row.items() if name in names})
            except (ValueError, KeyError, TypeError):
                continue  # cut short by a crash: what it was about was not begun, or is told by the line before
        self._tidy()

    def _tidy(self) -> None:
        """Forgets what is over, taken and old; writes the file anew where it has grown."""
        before = self._now() - KEPT_S
        for entry in list(self._entries.values()):
            if entry.ended and entry.changed_at < before and (entry.told == entry.state or entry.changed_at < before - KEPT_S):
                del self._entries[entry.id]
        if self._lines < max(LINES_MAX, 2 * len(self._entries)):
            return
        rows = [{"term": self.term}, *(_row(one) for one in self._entries.values())]
        beside = self._path.with_suffix(".new")
        with open(beside, "wb") as file:
            file.write("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)
        self._lines = len(rows)


def _row(entry: Entry) -> dict[str, object]:
    row = dataclasses.asdict(entry)
    del row["until"]
    return row
