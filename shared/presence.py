"""Who came, who did not, whose time is over, and what of it can be sold again: concluded from check-ins, doors and bays (B15). Pure.

Not here: hearing doors and bays, writing attendance, putting on sale (`ledger.resale`), money (`overtime`). Invariants: what staff have said of
a visit is never changed; what was not heard is unknown and never an absence, so that a no-show needs a witness who would have seen the guest; a
guest who has lost the place is no no-show.
"""

from __future__ import annotations

from typing import Literal

from shared import slots
from shared.model import Attendance, Attended, Booking, Frozen, Interval
from shared.overtime import OVER_MAX_S
from shared.policy import Policy

#: heard: it would have told of the guest; deaf: it is there and was not heard all the while; none: there is no such witness
Witness = Literal["heard", "deaf", "none"]
#: a bay that somebody has in the minutes before the start is theirs by then
EARLY_S = 15 * 60
#: why a booking ends earlier than the one in whose place it stands: nobody had come, and the rest of its time was put on sale
REST_ON_SALE = "rest_on_sale"


class Seen(Frozen):
    """What doors and bay tell of one visit. Times in unix seconds, 0 for never.

    `door_at`: when the booking's own PIN, code or card first let somebody in, and `door_told` how and where; `door_last_at` the last time.
    `played_from`, `played_until`: the bay was seen in use between, from the start of the booking on; `playing`: it is at this moment.
    `unclear`: somebody was seen who may have been this guest: one who played on from the time before, or one of the same party.
    """

    doors: Witness = "none"
    bay: Witness = "none"
    door_at: int = 0
    door_told: str = ""
    door_last_at: int = 0
    played_from: int = 0
    played_until: int = 0
    playing: bool = False
    unclear: bool = False

    @property
    def last_at(self) -> int:
        """When the guest was last known to be there: who comes in again after the end has perhaps forgotten a glove, so that a door says something
        only where no bay could."""
        return max(self.door_last_at if self.bay == "none" else 0, self.played_until)


class Verdict(Frozen):
    """What the visit is, and how that is known, as the end of a sentence for staff."""

    state: Attended
    how: str


def due_at(b: Booking) -> int:
    """From when on (unix seconds) its guest is waited for: the start, or the sale where that came after it. What stands in the place of a longer
    booking whose rest is on sale was no sale to anybody."""
    return b.starts_at if b.reason == REST_ON_SALE else max(b.starts_at, b.created_at)


def judge(b: Booking, a: Attendance | None, seen: Seen, policy: Policy, now_at: int) -> Verdict | None:
    """What the visit has become by now; None where it stays as it is, or nobody can tell."""
    if b.status != "confirmed" or b.withdrawn or not policy.presence.by_rule or (a is not None and a.said):
        return None
    state = a.state if a is not None else ""
    if state == "checked_in":
        return _ended(b, seen, policy, now_at)
    if state == "no_show":  # late after all
        return Verdict(state="checked_in", how=f"came in {seen.door_told}") if seen.door_at else None
    if state or (b.displaced and not (a is not None and a.seat)):
        return None
    return _came(b, seen, policy, now_at) or _stayed_away(b, seen, policy, now_at)


def _came(b: Booking, seen: Seen, policy: Policy, now_at: int) -> Verdict | None:
    """The PIN or code proves as much at the door's reader as at the kiosk. Play proves it only once the guest before has had time to leave."""
    if seen.door_at:
        return Verdict(state="checked_in", how=f"came in {seen.door_told}")
    if seen.played_until >= b.starts_at + policy.presence.no_show_min * 60 and seen.played_from < b.ends_at:
        return Verdict(state="checked_in", how="plays in the bay, without a check-in")
    return None


def _stayed_away(b: Booking, seen: Seen, policy: Policy, now_at: int) -> Verdict | None:
    if now_at < due_at(b) + policy.presence.no_show_min * 60 or seen.unclear or seen.played_until >= b.starts_at:
        return None  # somebody was seen there, who may have been the guest before: people must judge
    if "deaf" in (seen.doors, seen.bay) or (seen.doors, seen.bay) == ("none", "none"):
        return None
    missing = ["no check-in"] + ["no PIN or code used at a door"] * (seen.doors == "heard") + ["nobody in the bay"] * (seen.bay == "heard")
    since = "the start" if due_at(b) == b.starts_at else "it was booked"
    return Verdict(state="no_show", how=f"{', '.join(missing)} until {policy.presence.no_show_min} minutes after {since}")


def _ended(b: Booking, seen: Seen, policy: Policy, now_at: int) -> Verdict | None:
    """Over when the grace is, or when the guest has left after it."""
    if now_at < b.ends_at + policy.overtime.grace_min * 60:
        return None
    if seen.playing and now_at < b.ends_at + OVER_MAX_S:
        return None
    return Verdict(state="completed", how="the time was over")


def theirs_until(b: Booking, following: Booking | None, came_at: int) -> int:
    """Until when (unix seconds) who plays in the bay after the end is taken for this booking's guest: until the next one's start, or until
    that guest came (`came_at`, 0: not yet). The same customer's next booking goes on where this one ends."""
    if following is None:
        return b.ends_at + OVER_MAX_S
    if b.customer_id and following.customer_id == b.customer_id and following.starts_at <= b.ends_at + EARLY_S:
        return b.ends_at
    return max(b.ends_at, min(following.starts_at, came_at or following.starts_at, b.ends_at + OVER_MAX_S))


def is_flagged(no_shows: int, policy: Policy) -> bool:
    """Whether a customer with so many no-shows within the time that is looked at is shown to staff."""
    return 0 < policy.presence.no_show_flag_count <= no_shows


def rest_of(b: Booking, now_at: int, policy: Policy, free_until: int, *, zone: str) -> Interval | None:
    """The part of a no-show's time that can be sold again, in slots: from the next start on the grid of the facility's clock until its end. Before it
    at least a slot is left of the booking, which is not over yet, and its buffer.

    `free_until`: the slot until which the bay could be had from now on, the booking's own time counting as free. None where the shortest booking
    does not fit before that, or nothing of the time is left.
    """
    grid, least = policy.grid_min // slots.SLOT_MIN, (policy.min_min + policy.buffer_min) // slots.SLOT_MIN
    first = max(-(-now_at // slots.SLOT_S), b.start + 1) + b.buffer
    # two steps: in the night in which clocks change one may be shorter or longer
    cut = next((at for at in range(first, first + 2 * grid) if slots.local_minute(zone, at) % policy.grid_min == 0), b.end)
    return Interval(cut, b.end) if cut < b.end and free_until - cut >= least else None
