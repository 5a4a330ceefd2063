"""Which of several ways to a bay is taken for a command, and which of their words is believed.

Not for: asking anybody. Invariants: pure; the order of the configuration is that of preference; a word about the power alone never says that the
PC is well while somebody else says that it is not, and a sentence that was heard is never lost to a newer one unless that one contradicts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from site_agent.ports import CommandKind, Machine

#: what the ways are called in a sentence
CALLED = {"ninjaone": "NinjaOne", "bay_agent": "the bay's own program", "lan": "the bay's plug"}
#: ways whose restart cuts the power: never what nobody asked for
HARD = frozenset({"lan"})
#: what a guest in the bay would notice as the end of the game
DISTURBING: frozenset[str] = frozenset({"restart", "service", "script", "shutdown", "prepare", "cleanup"})

#: asleep: shut down by us, so that its silence is no trouble
State = Literal["good", "trouble", "unknown", "asleep"]
#: a PC that was heard of so shortly before its plug was has its power
SPEAKS_S = 60
#: a PC that was woken is heard of within this long, or is in trouble
WAKES_S = 300


class Way(NamedTuple):
    """A way to one bay. `machine`: the bay's there; `does`, `able`: the kinds of commands that it is there for, and would carry out now; `why`: why
    it does not answer just now, as a sentence."""

    name: str
    machine: str
    does: frozenset[CommandKind]
    able: frozenset[CommandKind]
    why: str = ""


class Word(NamedTuple):
    """What one way says of a bay's machine: None where it knows none of this id; `heard_at` when it said so (unix seconds, 0: it has said nothing
    yet), `old` when that is no news any more."""

    way: str
    machine: Machine | None
    heard_at: int
    old: bool = False


class Told(NamedTuple):
    """What is believed of a bay's machine. `online` None: nobody says. `seen_at`: when it was last heard that it is so; `heard_at`: when the machine
    itself was, which whoever looks after it may say much later."""

    state: State
    told: tuple[str, ...]
    seen_at: int
    online: bool | None = None
    heard_at: int = 0


def called(way: str) -> str:
    return CALLED.get(way, way)


def doing(ways: Sequence[Way], kind: str, *, gently: bool = False) -> list[Way]:
    """The ways that this kind of command is for, in preference. `gently`: none that cuts the power."""
    return [way for way in ways if kind in way.does and not (gently and kind == "restart" and way.name in HARD)]


def able(ways: Sequence[Way], kind: str, *, gently: bool = False) -> list[Way]:
    """Those of them that would carry it out now."""
    return [way for way in doing(ways, kind, gently=gently) if kind in way.able]


def why_not(ways: Sequence[Way], kind: str) -> str:
    """Why none of them is able just now, as sentences."""
    said = [way.why or f"{called(way.name).capitalize()} says that it is off, or does not say." for way in doing(ways, kind)]
    return " ".join(dict.fromkeys(_cap(one) for one in said))


def believed(words: Iterable[Word]) -> Told:
    """One state of several words: the newest about the PC, with every other trouble that it does not contradict."""
    words = list(words)
    fresh = [word for word in words if word.machine is not None and not word.old]
    if not fresh:
        return _silent(words)
    of_pc = sorted((w for w in fresh if w.machine.of == "pc" and w.machine.health != "unknown"), key=_newness, reverse=True)
    power = sorted((w for w in fresh if w.machine.of == "power"), key=_newness, reverse=True)
    base = next(iter([*of_pc, *power]), None)
    if base is None:
        return Told("unknown", ("It is not said how it is.",), max(word.heard_at for word in fresh), fresh[0].machine.online)
    troubles = list(base.machine.troubles)
    for word in [*of_pc, *power]:
        # that it is off, or cut off, is contradicted by whoever has heard of it since; what is wrong with it is not
        stands = word.machine.health == "trouble" and (word.machine.online is not False or word.machine.of == "power")
        if word is not base and stands:
            troubles += word.machine.troubles
    state = "trouble" if troubles or base.machine.health == "trouble" else base.machine.health
    # a plug that measures too little is contradicted by a PC that speaks
    speaks = max((word.machine.heard_at for word in of_pc if word.machine.online is True), default=0)
    off = any(word.machine.online is False and word.machine.heard_at - speaks > SPEAKS_S for word in power)
    online = False if off else base.machine.online
    seen_at = base.machine.heard_at if base.machine.online is False else base.heard_at
    return Told(state, tuple(dict.fromkeys(troubles)), seen_at, online, base.machine.heard_at)


def rested(told: Told, since_at: int, woken_at: int, now: int) -> Told:
    """The same of a machine that was shut down by us at `since_at` and woken at `woken_at` (0: it was not)."""
    off = told.online is False or told.state == "unknown"
    if not off:
        return told
    if not woken_at or now - woken_at < WAKES_S:
        return Told("asleep", (), since_at, False)
    return Told("trouble", tuple(dict.fromkeys(["It was woken, and has not been heard of since.", *told.told])), since_at, False)


def _newness(word: Word) -> int:
    return word.machine.heard_at if word.machine is not None else 0


def _silent(words: list[Word]) -> Told:
    heard_at = max((word.heard_at for word in words), default=0)
    if any(word.machine is not None for word in words):
        return Told("unknown", (), heard_at)
    if any(word.heard_at for word in words):
        return Told("unknown", ("Nobody who looks after machines knows one of this id.",), 0)
    return Told("unknown", ("Nothing has been heard of it yet.",), 0)


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]
