"""A refusal or failure of the services as a problem document: codes, sentences, violated rules, ways out (X1, B13).

Invariant: a refusal is 4xx with its own stable code; only what the machine itself cannot do is 503, and it says when to try again.
"""

import sqlite3
from datetime import UTC, datetime

from shared.errors import STATUS, Failure, Refusal, Refused, SuggestedPart, Suggestion, status_of
from shared.runtime import log, problems
from shared.runtime.openapi import ProblemKind
from shared.runtime.problems import Problem

_log = log.get("hub.web")

#: code -> when it is answered; beside it stands its status in `shared.errors.STATUS`
ABOUT: dict[str, str] = {
    "bad_interval": "The time is off the grid, ends before it starts, or lies outside the years kept here.",
    "not_signed_in": "The API key is missing, unknown or revoked.",
    "not_allowed": "The API key lacks the scope that this needs.",
    "customer_blocked": "The customer may not book (R9).",
    "customer_not_found": "There is no such customer.",
    "booking_not_found": "There is no such booking.",
    "hold_not_found": "There is no such hold.",
    "block_not_found": "There is no such block.",
    "resource_not_found": "The facility has no such bay.",
    "facility_not_found": "There is no such facility here, or it has not been heard from yet.",
    "slot_taken": "Somebody else has the time; `suggestions` tells what could be had.",
    "slot_being_released": "The time is just being handed over to the facility.",
    "straddles_line": "The time lies across the line between site and hub and cannot be sold just now.",
    "site_unreachable": "Only the facility can sell this time, and it cannot be reached.",
    "id_reused": "The id or Idempotency-Key was used before for something else.",
    "already_cancelled": "It is cancelled already.",
    "already_checked_in": "The guest has checked in.",
    "illegal_move": "Its state does not allow this.",
    "hold_ended": "The hold is over, or was extended before.",
    "declined": "The facility said no.",
    "answer_late": "The facility was not reached in time; nothing was booked.",
    "reschedule_limit": "It has been changed as often as the rules allow (R7).",
    "fenced": "The books are being repaired.",
    "retired": "The facility's system has been replaced by a newer one and sells nothing any more.",
    "below_floor": "What was sold at this time may have been forgotten in a repair; it is not sold until a person at the facility has stated it.",
    "clock_untrusted": "The hub's clock is not confirmed, so it sells nothing.",
    "bay_halted": "The books of this bay are not sound, so it is not sold until a person has looked.",
    "pass_expired": "The pass is not shown any more.",
    "quote_invalid": "The quote is not ours, was changed, or is for another booking.",
    "quote_expired": "The quote is older than 15 minutes.",
    "outside_hours": "The facility is not open during the whole time (R6).",
    "rules_violated": "One or more rules are broken; `violations` names each.",
    "too_many_tries": "Too many wrong keys from this address, or too many presses for one door.",
    "door_not_by_phone": "The facility's doors do not open by telephone, or this booking opens none.",
    "pass_early": "The access window has not begun.",
}
#: the catalogue of the API's description
CATALOGUE = {code: ProblemKind(STATUS[code], about) for code, about in ABOUT.items()}

# What booking and changing can be refused with; named once, used by several routes.
BOOKING_CODES = (
    "slot_taken", "slot_being_released", "straddles_line", "site_unreachable", "id_reused", "declined", "answer_late",
    "fenced", "retired", "below_floor", "bay_halted", "clock_untrusted",
    "bad_interval", "rules_violated", "outside_hours", "customer_blocked", "customer_not_found", "resource_not_found", "facility_not_found",
    "quote_invalid", "quote_expired",
)  # fmt: skip


def translate(error: Exception) -> Problem | None:
    """For `Problems(translate=…)`."""
    if isinstance(error, Refused):
        return of_refusal(error.refusal)
    if isinstance(error, Failure):  # what fails here is told to operators; a customer learns that nothing was booked
        return problems.Unavailable("The books cannot be written just now. Nothing was changed.", retry_after_s=error.retry_after_s)
    if isinstance(error, sqlite3.OperationalError):
        _log.error("books.unreadable", error=error)
        return problems.Unavailable("The books cannot be read just now.")
    return None


def of_refusal(refusal: Refusal) -> Problem:
    status = status_of(refusal.code)
    headers = {"retry-after": str(refusal.retry_after_s)} if refusal.retry_after_s else {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return Problem(
        status,
        refusal.code,
        refusal.code.replace("_", " ").capitalize(),
        refusal.detail,
        headers=headers,
        violations=[{"code": v.code, "rule": v.rule, "message": v.detail, "limit": v.limit} for v in refusal.violations],
        suggestions=[_way(s) for s in refusal.suggestions],
    )


def _way(s: Suggestion) -> dict[str, object]:
    """One way out; one for several bays names each in `parts`, in the order in which they were asked for."""
    way: dict[str, object] = {**_place(s), "total_cents": s.total_cents, "currency": s.currency, "instant": s.instant}
    return way | {"parts": [_place(part) for part in s.parts]} if s.parts else way


def _place(s: Suggestion | SuggestedPart) -> dict[str, object]:
    start, end = datetime.fromtimestamp(s.start_at, UTC), datetime.fromtimestamp(s.end_at, UTC)
    return {"resource_id": s.resource_id, "start": start, "end": end}
