"""What one bay's PC was asked to do, and what it said of it. In memory: the work rows outlive a restart, and the PC's own journal does.

Invariant: a command is shown to the PC until it says that it has it, and its id makes it one; what was never shown and is too old was surely
not done; what is not known here is asked of the PC, which knows.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import msgspec

from site_agent.devices.bay_agent.objects import Given, Outcome
from site_agent.ports import CommandOutcome, MachineCommand

#: after this the PC begins nothing of it any more; what resets a bay was judged by who is there now, and soon that is somebody else
EXPIRES_S, RESETS_S = 600, 120
RESETS = ("prepare", "cleanup")
#: so many commands of a bay are remembered, and so many asked for at once
KEPT_MAX, ASKED_MAX = 200, 20


class Task(msgspec.Struct):
    """One command. given: the PC has not said that it has it. `shown`: it was in an answer, so the PC may have it. Times monotonic."""

    command: MachineCommand | None
    given_at: float
    state: Literal["given", "taken", "running", "done", "failed", "unknown"] = "given"
    text: str = ""
    shown: bool = False


class Tasks:
    """The commands of one PC. Every `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Task] = OrderedDict()
        self._asked: OrderedDict[str, None] = OrderedDict()

    def give(self, command: MachineCommand, now: float) -> None:
        """Takes a command in; the same mark is one command however often it is given."""
        if command.mark not in self._known:
            self._keep(command.mark, Task(command, now))

    def given_last(self, kind: str, what: str) -> float | None:
        """When such a command was last given here; None for never. One that surely was not done does not count."""
        found = [
            one.given_at
            for one in self._known.values()
            if one.command is not None and (one.command.kind, one.command.what) == (kind, what) and one.state != "failed"
        ]
        return max(found, default=None)

    def kind_of(self, mark: str) -> str:
        """What a command given here was; empty for one that was not."""
        one = self._known.get(mark)
        return one.command.kind if one is not None and one.command is not None else ""

    def waiting(self, now: float) -> list[Given]:
        """What the PC is to be shown: all that it has not said that it has, and is not too old."""
        found = []
        for mark, one in self._known.items():
            left_s = int(one.given_at + _worth_s(one) - now)
            if one.state == "given" and one.command is not None and left_s > 0:
                found.append(Given(mark, one.command.kind, one.command.what, one.command.parameters, left_s))
        return found

    def shown(self, given: list[Given]) -> None:
        for one in given:
            self._known[one.id].shown = True

    def asked(self) -> list[str]:
        """Commands of which the PC is asked what became of them."""
        return list(self._asked)

    def heard(self, outcome: Outcome, now: float) -> None:
        """What the PC says; also of a command from before this site agent began."""
        self._asked.pop(outcome.id, None)
        one = self._known.get(outcome.id)
        if one is None:
            self._keep(outcome.id, Task(None, now, outcome.state, outcome.text))
        elif one.state not in ("done", "failed"):
            one.state, one.text = outcome.state, outcome.text

    def never(self, mark: str, now: float) -> None:
        """The PC was never given that."""
        if mark in self._asked:
            text = "The site agent was started anew before the PC had taken it, so it was not done."
            self.heard(Outcome(mark, "failed", text), now)

    def outcome(self, mark: str, now: float) -> CommandOutcome:
        """What is known of a command; of one that is not known here, the PC is asked."""
        one = self._known.get(mark)
        if one is None:
            self._asked[mark] = None
            while len(self._asked) > ASKED_MAX:
                self._asked.popitem(last=False)
            return CommandOutcome("waiting")
        if one.state == "given":
            if not one.shown and now >= one.given_at + _worth_s(one):
                text = f"The bay's PC did not ask for it within {_worth_s(one) // 60} minutes, so it was not done."
                return CommandOutcome("failed", text, mark)
            return CommandOutcome("waiting", "", mark)
        if one.state in ("done", "failed"):
            return CommandOutcome(one.state, one.text, mark)  # type: ignore[arg-type]
        return CommandOutcome("running", one.text, mark)

    def _keep(self, mark: str, task: Task) -> None:
        self._known[mark] = task
        while len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)


def _worth_s(task: Task) -> int:
    return RESETS_S if task.command is not None and task.command.kind in RESETS else EXPIRES_S
