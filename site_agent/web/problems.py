"""The site's refusals over HTTP: codes of `shared.errors` to problem documents, and the catalogue that the API's description shows.

Invariant: a refusal keeps its code, sentence, violations and suggestions; 503 is said only when the machine itself cannot serve.
"""

import sqlite3
from datetime import UTC, datetime

import msgspec

from shared.errors import Failure, Refusal, Refused, Suggestion, status_of
from shared.runtime import log, problems
from shared.runtime.openapi import ProblemKind
from shared.runtime.problems import Problem

_log = log.get("site_agent.web")


class SuggestionShown(msgspec.Struct, frozen=True):
    """One way out, priced; `instant` if it would be confirmed at once."""

    resource_id: str
    start: str
    end: str
    total_cents: int
    currency: str
    instant: bool


#: what a code means, for the API's description; the sentence of each answer says more
ABOUT: dict[str, str] = {
    "bad_request": "Something in it is malformed or missing.",
    "bad_interval": "The times are no interval on the quarter hour.",
    "wrong_credentials": "User or password is not right.",
    "not_allowed": "Your role does not include this.",
    "customer_blocked": "This customer cannot book at present.",
    "not_found": "There is no such thing.",
    "booking_not_found": "There is no booking of this id.",
    "hold_not_found": "There is no hold of this id.",
    "block_not_found": "There is no block of this id.",
    "resource_not_found": "There is no bay of this id.",
    "customer_not_found": "There is no customer of this id.",
    "slot_taken": "Somebody else has the time.",
    "id_reused": "The id was used before for something else.",
    "already_cancelled": "The booking is cancelled already.",
    "already_checked_in": "The guest is checked in already.",
    "illegal_move": "The booking's state does not allow this.",
    "hub_unreachable": "Only the booking centre can sell this, and it cannot be reached.",
    "not_mine": "The slots are not this site's to give.",
    "declined": "The booking centre said no.",
    "hold_ended": "The hold is over, or was extended before.",
    "displaced": "The bay is not free for this booking; the suggestions say where to go.",
    "fenced": "The system is being repaired and sells nothing.",
    "retired": "The box has been replaced by a newer one and sells nothing any more.",
    "below_floor": "What was sold at this time may have been forgotten in a repair; it is not sold until a person has stated it.",
    "clock_untrusted": "The box's clock is not confirmed, so it sells nothing.",
    "clock_moved": "The time that was confirmed is not the time any more.",
    "reschedule_limit": "The booking was changed as often as allowed.",
    "pass_invalid": "The code is not one of our passes, or is damaged, changed or withdrawn.",
    "pass_expired": "The pass is over.",
    "pass_early": "The pass does not open yet; Retry-After says when.",
    "pass_other_site": "The pass is for another facility.",
    "pass_not_seated": "No valid booking stands behind this pass.",
    "pin_unknown": "No booking here has this PIN.",
    "quote_invalid": "The quote is not ours, or for something else.",
    "quote_expired": "The quote's 15 minutes are over.",
    "rules_violated": "A rule of the house speaks against it; `violations` says which.",
    "too_many_tries": "Too many wrong tries; Retry-After says how long to wait.",
    "no_doors": "No door controller is configured.",
    "door_unavailable": "The door controller cannot be reached, or has not answered.",
    "confirm": "It has consequences, which the sentence tells; send it again with `sure`.",
    "card_not_read": "The reader waits for no card any more.",
    "no_machines": "Nobody is configured who looks after the bays' machines.",
    "command_running": "The bay's machine has something to do already.",
    "bay_in_use": "Somebody plays in the bay, or has booked it for now; say that it is to be done all the same.",
    "door_refused": "The door controller said no.",
    "bay_halted": "The books of this bay are not sound, so it is not sold until a person has looked.",
    "not_halted": "Nothing is stopped there.",
    "notice_not_found": "There is no notice of this id.",
    "too_many_notices": "As many notices stand as a facility may have; end one first.",
    "outside_hours": "The facility is not open during the whole time.",
    "no_broker": "No link to a booking centre is configured.",
    "no_drill": "No outage drill is running.",
    "drill_running": "An outage drill is under way already.",
}


def catalogue() -> dict[str, ProblemKind]:
    return {code: ProblemKind(status_of(code), about) for code, about in ABOUT.items()}


def translate(error: Exception) -> Problem | None:
    """What the services raise, as a problem; None for what is not theirs."""
    if isinstance(error, Refused):
        return of_refusal(error.refusal)
    if isinstance(error, Failure):
        return problems.Unavailable(error.detail, retry_after_s=error.retry_after_s)
    if isinstance(error, sqlite3.OperationalError):
        _log.error("books.unreadable", error=error)
        return problems.Unavailable("The books cannot be read just now.")
    return None


def of_refusal(refusal: Refusal) -> Problem:
    status = status_of(refusal.code)
    headers = {"retry-after": str(max(1, refusal.retry_after_s))} if refusal.retry_after_s else {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return Problem(
        status, refusal.code, title_of(refusal.code), refusal.detail, headers=headers,
        violations=[{"code": v.code, "rule": v.rule, "message": v.detail, "limit": v.limit} for v in refusal.violations],
        suggestions=[suggested(one) for one in refusal.suggestions],
    )  # fmt: skip


def title_of(code: str) -> str:
    """The same for every problem of a code: what the catalogue says of it, else the code in words."""
    return ABOUT.get(code, code.replace("_", " ").capitalize()).rstrip(".")


def suggested(one: Suggestion) -> SuggestionShown:
    """A way out as the API shows it."""
    return SuggestionShown(one.resource_id, _iso(one.start_at), _iso(one.end_at), one.total_cents, one.currency, one.instant)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


