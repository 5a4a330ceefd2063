"""The life of the program on a bay's PC: heartbeats, long polls, commands one after the other, outcomes told until they were taken.

Two threads: one speaks with the site agent, one runs commands, so that a long command stops no heartbeat. Invariants: a command is written
down before it is begun and begun at most once; it is not begun after its time, within its cool-down, or for a site agent of an older term.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from . import facts, runner
from .config import Command, Settings
from .journal import Entry, Journal
from .wire import SiteTime, Wire, WireError

POLL_MAX_S = 25.0
#: a command is worth so much at most, whatever the site agent says
TTL_MAX_S = 600.0
PARAMETERS_MAX = 500
#: a restart that was taken and does not come within this time has failed
RESTART_WITHIN_S = 300.0
AWAY_FIRST_S, AWAY_MAX_S = 1.0, 20.0
#: a site agent that stops answers at once, without work; it is not asked again at once
QUICK_S, REST_S = 0.2, 1.0
GIVEN_MAX = 20

Run = Callable[[Command, str], tuple[int | None, str]]


class Agent:
    """One PC. `poll_wire` waits for work, `tell_wire` tells outcomes beside it; `gather()` gives the facts; `say(text)` writes the log."""

    def __init__(
        self, settings: Settings, journal: Journal, site_time: SiteTime, poll_wire: Wire, tell_wire: Wire, say: Callable[[str], None], *,
        monotonic: Callable[[], float] = time.monotonic, run: Run = runner.run, gather: Callable[[], dict[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        self._settings, self._journal, self._time, self._poll_wire, self._tell_wire = settings, journal, site_time, poll_wire, tell_wire
        self._say, self._monotonic, self._run = say, monotonic, run
        self._gather = gather or (lambda: facts.gather(settings, facts.now()))
        self._allowed = {(one.kind, one.what): one for one in settings.commands}
        self._work: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._telling = threading.Lock()
        self._heartbeat_at, self._trouble, self._away_s = float("-inf"), "", AWAY_FIRST_S
        self._restart_by: dict[str, float] = {}
        self._idle = True

    # ---- life
    def begin(self) -> None:
        """Settles what an earlier process of this program left unfinished. Called once, before anything else."""
        here = str(self._gather().get("boot_id", ""))
        for entry in self._journal.unfinished():
            if entry.state == "taken":
                self._journal.change(entry, "failed", "This PC or its bay agent was started anew before it was begun, so it was not done.")
            elif entry.kind in ("restart", "shutdown") and entry.boot_id and here and entry.boot_id != here:
                self._journal.change(entry, "done", "The PC has restarted." if entry.kind == "restart" else "The PC was shut down.")
            else:
                self._journal.change(entry, "unknown", "The PC or its bay agent was ended while it ran; nobody knows how it ended.")

    def run(self, stop: threading.Event) -> bool:
        """Turns until `stop` is set, with patience while the site agent is away; false where a bug has ended the second thread before that."""
        worker = threading.Thread(target=self._work_on, name="commands", daemon=True)
        worker.start()
        while not stop.is_set() and worker.is_alive():
            before = self._monotonic()
            if not self.turn():
                stop.wait(self._away_s)
                self._away_s = min(AWAY_MAX_S, self._away_s * 2)
            elif self._idle and self._monotonic() - before < QUICK_S:
                stop.wait(REST_S)
        self._work.put(None)
        return stop.is_set()

    def turn(self, poll_s: float = POLL_MAX_S) -> bool:
        """Tells what is to be told, beats, and waits for work; false where the site agent could not be spoken to."""
        try:
            self._restarts_late()
            self.tell()
            if self._monotonic() >= self._heartbeat_at + self._settings.heartbeat_s:
                self._hello()
            left_s = self._heartbeat_at + self._settings.heartbeat_s - self._monotonic()
            self._poll(max(0.0, min(poll_s, left_s)))
        except (WireError, OSError, KeyError, TypeError, ValueError) as error:
            text = str(error) if isinstance(error, WireError) else f"{type(error).__name__}: {error}"
            if text != self._trouble:
                self._say(text)
            self._trouble = text
            return False
        if self._trouble:
            self._say("The site agent answers again.")
        self._trouble, self._away_s = "", AWAY_FIRST_S
        return True

    # ---- speaking
    def _hello(self) -> None:
        offers = [{"kind": one.kind, "what": one.what} for one in self._settings.commands]
        told, off_s = self._gather() | {"commands": offers}, None
        while off_s != round(-self._time.offset_s):  # said again where its answer has told how far our clock is off
            off_s = round(-self._time.offset_s)
            self._ours(self._poll_wire.post("/bay/hello", told | {"clock_off_s": off_s}))
        self._heartbeat_at = self._monotonic()

    def _poll(self, wait_s: float) -> None:
        found = self._ours(self._poll_wire.post("/bay/poll", {"wait_s": wait_s}, wait_s))
        unknown = [one for one in map(str, found.get("asked", [])[:GIVEN_MAX]) if not self._journal.tell_again(one)]
        given = found.get("commands", [])[:GIVEN_MAX]
        self._idle = not given
        for one in given:
            self._take(one)
        if given or found.get("asked"):
            self.tell(unknown)

    def _ours(self, found: dict[str, Any]) -> dict[str, Any]:
        """The answer of a site agent that is not an older one come back (loss-5)."""
        term = int(found["term"])
        if term < self._journal.term:
            raise WireError(f"This site agent was replaced (term {term}, and {self._journal.term} was heard); nothing is done for it.")
        self._journal.heard_term(term)
        return found

    def tell(self, never: list[str] | None = None) -> None:
        """Tells every outcome that was not taken yet, and which of the commands asked for nobody gave here."""
        with self._telling:
            entries = self._journal.untold()
            told = [{"id": one.id, "state": one.state, "text": one.text, "at": int(one.changed_at)} for one in entries[:GIVEN_MAX]]
            if not told and not never:
                return
            answer = self._ours(self._tell_wire.post("/bay/report", {"outcomes": told, "never": never or []}))
            took = set(map(str, answer.get("took", [])))
            for one in told:
                if one["id"] in took:
                    self._journal.took(one["id"], one["state"])

    # ---- commands
    def _take(self, given: dict[str, Any]) -> None:
        ttl_s = max(0.0, min(TTL_MAX_S, float(given["ttl_s"])))
        parameters = " ".join(str(given.get("parameters", "")).split())[:PARAMETERS_MAX]
        entry = Entry(
            id=str(given["id"])[:64], kind=str(given["kind"])[:32], what=str(given.get("what", ""))[:200], parameters=parameters,
            taken_at=self._time.now(), ttl_s=ttl_s, until=self._monotonic() + ttl_s,
        )  # fmt: skip
        if self._journal.take(entry):
            self._work.put(entry.id)

    def _work_on(self) -> None:
        while (command_id := self._work.get()) is not None:
            self._guarded(command_id)
            try:
                self.tell()
            except (WireError, OSError, KeyError, TypeError, ValueError):
                pass  # told with the next turn

    def work(self) -> None:
        """Does what waits, here and now; for whoever has no second thread."""
        while not self._work.empty():
            if command_id := self._work.get():
                self._guarded(command_id)

    def _guarded(self, command_id: str) -> None:
        entry = self._journal.one(command_id)
        if entry is None or entry.state != "taken":
            return
        try:
            self._do(entry)
        except OSError as error:
            # not written down, so not begun; if even this cannot be written, the site agent hears nothing and says so itself
            self._say(f"The command {entry.kind} was not done: {error}.")

    def _do(self, entry: Entry) -> None:
        command = self._allowed.get((entry.kind, entry.what))
        if command is None:
            return self._journal.change(entry, "failed", "This PC's settings do not allow that.")
        if self._monotonic() > entry.until or self._time.now() > entry.taken_at + entry.ttl_s:
            return self._journal.change(entry, "failed", "It came too late to be begun, so it was not done.")
        left_s = self._cooling_s(command)
        if left_s > 0:
            text = f"The same was done less than {command.cool_down_s / 60:g} minutes ago; it may be done again in {left_s:.0f} s."
            return self._journal.change(entry, "failed", text)
        here = str(self._gather().get("boot_id", ""))
        self._journal.change(entry, "running", began_at=self._time.now(), boot_id=here)
        entry = self._journal.one(entry.id) or entry
        self._say(f"Begun: {entry.kind} {entry.what}".rstrip())
        self._ended(entry, *self._run(command, entry.parameters))

    def _ended(self, entry: Entry, code: int | None, said: str) -> None:
        self._say(f"Ended: {entry.kind} {entry.what}".rstrip() + ("" if code is None else f", exit code {code}"))
        if code is None:
            self._journal.change(entry, "failed", said)
        elif code:
            self._journal.change(entry, "failed", f"{said or 'It ended with an error'} (exit code {code})")
        elif entry.kind == "restart":
            self._restart_by[entry.id] = self._monotonic() + RESTART_WITHIN_S
            self._journal.change(entry, "running", "The PC is restarting.")
        else:
            self._journal.change(
                entry, "done", said or {"shutdown": "The PC shuts down.", "message": "It is on the screen."}.get(entry.kind, "")
            )

    def _restarts_late(self) -> None:
        for command_id, by in list(self._restart_by.items()):
            entry = self._journal.one(command_id)
            if self._monotonic() >= by and entry is not None:
                del self._restart_by[command_id]
                self._journal.change(
                    entry, "failed", f"The PC took the restart, and has not restarted within {RESTART_WITHIN_S / 60:.0f} minutes."
                )

    def _cooling_s(self, command: Command) -> float:
        """How long it must wait still. A clock that was set back counts as the shorter wait that it cannot be told from."""
        last = self._journal.last_begun(command.kind, command.what)
        return command.cool_down_s - abs(self._time.now() - last) if last else 0.0
