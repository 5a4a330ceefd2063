"""What is said of an emergency: before it is called, while it stands, while the doors owe it, and of one that was begun at the controller.

Invariant: pure; nothing is said of the doors that they have not told, and nobody but who called it is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from shared import passes
from site_agent.services.doors import door_words
from site_agent.store.emergencies import Mode, Row

_DOES: dict[Mode, str] = {
    "lockdown": "no door opens for guests, not even with a booking",
    "evacuation": "every door stands open",
    "unlock_all": "every door stands open",
}


def warning(mode: Mode, until: str, guests: tuple[int, int] | None) -> str:
    """What it would do until then (by the facility's clock), to how many guests who are in and who are expected; None where that cannot be read."""
    does: dict[Mode, str] = {
        "lockdown": f"Until {until} no PIN, code or card opens any door, not even of guests with a booking, and the kiosk opens none. The exit buttons are"
        " the controller's: whether they work is set there.",
        "evacuation": f"Until {until} every door stands open, for anybody.",
        "unlock_all": f"Until {until} every door stands open, for anybody; the controller itself sees no emergency in it.",
    }
    if guests is None:
        return f"{does[mode]} How many guests are here cannot be read just now. Bookings stay as they are."
    inside, coming = guests
    here = "Nobody plays" if not inside else f"{inside} {'guest plays' if inside == 1 else 'guests play'}"
    more = "nobody else is" if not coming else f"{coming} more {'is' if coming == 1 else 'are'}"
    return f"{does[mode]} {here} here now, {more} expected by then. Bookings stay as they are."


def standing(row: Row, until: str, trouble: str, again: str = "") -> str:
    """One that was called here. `trouble`: why the controller has not done what it owes, empty while it is being asked. `again`: when the controller
    was put into it once more, empty where it was not."""
    name = door_words.EMERGENCIES[row.mode]
    why = f"{row.by_name} called it: {row.reason}."
    if row.state == "ending":
        return f"The {name} is over, but the doors have not been let go yet. {trouble or 'The controller is being asked.'}"
    if row.state == "wanted":
        begun = f"{door_words.article_of(name).capitalize()} {name} was called, but the doors have not done it yet."
        return " ".join(part for part in (begun, trouble, f"They are asked until {until}.", why) if part)
    lost = f"The controller had lost it while it was out of reach, and was put into it again at {again}. Whoever ended it there on purpose must end it here too."
    return f"{name[:1].upper()}{name[1:]} until {until}: {_DOES[row.mode]}. {why}{f' {lost}' if again else ''}"


class ForGuests(msgspec.Struct, frozen=True):
    """An emergency as the kiosk tells it. `ends_at` unix seconds and `until` by the facility's clock; 0 and empty where only the controller knows."""

    mode: Mode
    ends_at: int = 0
    until: str = ""

    @property
    def shuts(self) -> bool:
        """Whether guests are kept out, so that nobody can play now."""
        return self.mode != "unlock_all"

    @property
    def sentence(self) -> str:
        until = f" until {self.until} at the latest" if self.until else ""
        if self.mode == "evacuation":
            return f"The facility is being evacuated{until}: every door stands open, so please leave now by the nearest exit."
        if self.mode == "unlock_all":
            return f"All doors stand open{until}: you need no PIN or code to come in, but please check in here as always."
        return f"The facility is locked down{until}: no door opens for guests before it is over, not even with a booking."

    def ahead(self, start_at: int) -> str:
        """What whoever is about to book a start (unix seconds) must know before the price; empty where the start lies behind it."""
        if not self.shuts or (self.ends_at and start_at >= self.ends_at):
            return ""
        return f"This time begins before the {door_words.EMERGENCIES[self.mode]} is over: you can come in once it is{self._latest()}."

    def code(self, start_at: int, end_at: int) -> str:
        """When PIN and code of a booking (unix seconds) open the door; empty where that is as always."""
        before_s, after_s = passes.BEFORE_MIN * 60, passes.AFTER_MIN * 60
        if not self.shuts or (self.ends_at and start_at - before_s >= self.ends_at):
            return ""
        if self.ends_at >= end_at + after_s:
            return f"Code and PIN open the door only if the {door_words.EMERGENCIES[self.mode]} is over before your time is."
        return f"Code and PIN open the door once the {door_words.EMERGENCIES[self.mode]} is over{self._latest()}."

    def _latest(self) -> str:
        return f", at the latest at {self.until}" if self.until else ""


def for_guests(row: Row | None, outside: Literal["", "lockdown", "evacuation"], clock: Callable[[int], str]) -> ForGuests | None:
    """Of what was called here, and of the mode that the controller is in without us: that one is above doors that are held."""
    if row is None or (outside and row.mode == "unlock_all"):
        return ForGuests(outside) if outside else None
    return ForGuests(row.mode, row.ends_at, clock(row.ends_at))


def unwritten(why: str) -> str:
    """The books do not take what was done."""
    return (
        f"The emergency is not written down yet: {why} What was asked of the doors stands all the same. Please see to that before this machine is"
        " restarted, or nobody here will know of it then."
    )


def outside(mode: str) -> str:
    """One that nobody called here."""
    what = "in evacuation: every door is open" if mode == "evacuation" else "in lock-down: no door opens for a guest"
    return f"The door controller is {what}. Nobody called that here; it was begun at the controller, or by something connected to it."
