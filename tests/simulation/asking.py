"""What may be asked of `make sim` and `make sim-teeth`: numbers and guards as words of a command line, or a sentence that says what is wrong.

Not here: what is done with them. Invariant: what comes out can be played.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

import msgspec

from shared.ledger.desk import GUARDS
from tests.simulation.schedule import Schedule, from_json


def whole(what: str) -> Callable[[str], int]:
    """For argparse: a whole number from 1 on, of what is called `what` in the sentence."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = 0
        if number < 1:
            raise argparse.ArgumentTypeError(f"{what} must be a whole number of 1 or more, not {text!r}")
        return number

    return read


def seconds(text: str) -> float:
    """For argparse: a time in seconds, more than none."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"the seconds must be a number above 0, not {text!r}")
    return number


def guards(text: str) -> list[str]:
    """For argparse: names of guards, with commas between them, at least one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("names no guard; the guards are: " + ", ".join(sorted(GUARDS)))
    wrong = unknown(names)
    if wrong:
        raise argparse.ArgumentTypeError(wrong)
    return list(dict.fromkeys(names))


def unknown(names: Iterable[str]) -> str:
    """The sentence about those that are no guards, with what may have been meant; empty where all are."""
    strangers = sorted(set(names) - GUARDS.keys())
    if not strangers:
        return ""
    meant = sorted({near for name in strangers for near in get_close_matches(name, GUARDS, n=2)})
    about = f"did you mean {' or '.join(meant)}?" if meant else "the guards are: " + ", ".join(sorted(GUARDS))
    return f"there is no guard called {' or '.join(strangers)}; {about}"


def schedule(text: str) -> Schedule:
    """For argparse: the day in the file of this name, as a failure left it."""
    try:
        day = from_json(Path(text).read_bytes())
    except OSError as e:
        raise argparse.ArgumentTypeError(f"the file {text} cannot be read: {e.strerror or e}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise argparse.ArgumentTypeError(f"the file {text} holds no day that can be played: {e}") from None
    wrong = unknown(day.without)
    if wrong:
        raise argparse.ArgumentTypeError(f"the day in {text} takes away what is not there: {wrong}")
    return day
