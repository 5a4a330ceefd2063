"""The state machine of a booking (B4): which status may follow which, and what people see.

The status is the owner's word (own-1), attendance the site's (own-2); they are two documents and move apart. Not here: who the owner
is (`territory`), what a move does to claims (`ledger`).

Invariant: a status only moves forward, but for own-3's one step back from `cancelling` to `confirmed`.
"""

from __future__ import annotations

from typing import get_args

from shared.errors import Refusal, Refused
from shared.model import Attended, Shown, Status

#: what the owner may make of a status
LEGAL: dict[Status, frozenset[Status]] = {
    "requested": frozenset({"confirmed", "declined", "cancelled", "expired"}),
    "pending": frozenset({"confirmed", "declined", "cancelled"}),
    "confirmed": frozenset({"cancelling", "cancelled"}),
    "cancelling": frozenset({"cancelled", "confirmed"}),
    "declined": frozenset(),
    "cancelled": frozenset(),
    "expired": frozenset(),
}

#: what the site may make of an attendance; a guest who came late after all is staff's last word
LEGAL_ATTENDANCE: dict[Attended, frozenset[Attended]] = {
    "": frozenset({"checked_in", "no_show"}),
    "checked_in": frozenset({"completed"}),
    "no_show": frozenset({"checked_in"}),
    "completed": frozenset(),
}

STATUSES: tuple[Status, ...] = get_args(Status)
_WORDS = {"checked_in": "checked in", "no_show": "a no-show", "": "not checked in"}


def settled(status: Status) -> bool:
    """Whether the status is an end: nothing can follow."""
    return not LEGAL[status]


def waiting(status: Status) -> bool:
    """Whether the other side's answer is still awaited."""
    return status in ("requested", "pending")


def live(status: Status) -> bool:
    """Whether the booking takes its slots: a `requested` one has none yet, a `cancelling` one keeps them until the site answered."""
    return status in ("pending", "confirmed", "cancelling")


def may_move(status: Status, to: Status) -> Refusal | None:
    """None if the owner may move a booking from `status` to `to`, else the refusal with its code."""
    if to in LEGAL[status]:
        return None
    if status == "cancelled" or (status, to) == ("cancelling", "cancelling"):
        return Refusal("already_cancelled", "This booking is already cancelled.")
    if status == "declined":
        return Refusal("declined", "This booking was declined; nothing can be done with it any more.")
    return Refusal("illegal_move", f"A booking that is {status} cannot become {to}.")


def move(status: Status, to: Status) -> Status:
    """The new status `to`; raises `Refused` (illegal_move, already_cancelled, declined) where the table does not allow it."""
    refusal = may_move(status, to)
    if refusal:
        raise Refused(refusal)
    return to


def may_attend(state: Attended, to: Attended) -> Refusal | None:
    """None if the site may move an attendance from `state` to `to`, else the refusal with its code."""
    if to in LEGAL_ATTENDANCE[state]:
        return None
    if to == "checked_in":
        return Refusal("already_checked_in", "This booking has already been checked in.")
    if to == "completed" and state in ("", "no_show"):
        return Refusal("not_checked_in", "This booking has not been checked in, so it cannot be completed.")
    words = [_WORDS.get(one, one) for one in (state, to)]
    return Refusal("illegal_move", f"A booking that is {words[0]} cannot become {words[1]}.")


def attend(state: Attended, to: Attended) -> Attended:
    """The new attendance `to`; raises `Refused` (already_checked_in, not_checked_in, illegal_move) where it is not allowed."""
    refusal = may_attend(state, to)
    if refusal:
        raise Refused(refusal)
    return to


def shown(status: Status, attended: Attended = "") -> Shown:
    """What people see of both documents together.

    Somebody who is or was in the bay is seen so whatever the status says (attendance beats cancelled, loss-2). A no-show is not: a
    cancel that crossed the cut was made in time. A pending part of a group is seen as requested.
    """
    if attended in ("checked_in", "completed"):
        return attended
    if attended == "no_show" and status == "confirmed":
        return "no_show"
    return "requested" if status == "pending" else status


def counts_as_open(status: Status, attended: Attended, *, ends_at: int, answer_by: int, now_at: int) -> bool:
    """Whether the booking counts against the limit of open bookings (R5): it is still to come or running, and stands or may stand.

    A request whose answer is overdue counts against nothing (terr-9), nor does one that the customer is giving up.
    """
    if ends_at <= now_at or attended in ("completed", "no_show"):
        return False
    if status == "requested":
        return not answer_by or now_at <= answer_by
    return status in ("pending", "confirmed")
