"""Every refusal and every failure of the product, as one tree.

    Refusal            a "no" that a person can read: a value, with a stable code; nothing was changed
    Refused            the same, travelling up through a transaction so that its savepoint is rolled back
    Failure            something outside did not work; `permanent` says whether trying again can help
      Unavailable      a vendor, the link, the disk: not now (HTTP 503 with Retry-After, or a queue)
      Broken           a stream, a chain, a file: must be looked at by a person
    (anything else)    a bug, and crashes

A code is part of the API: it is never renamed. `STATUS` is the one place that says which HTTP status a code answers with.
"""

from __future__ import annotations

import msgspec


class Violation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule that a request breaks: `rule` is the row id in the mission (R2, R3 …), `code` the stable code, `detail` a sentence."""

    rule: str
    code: str
    detail: str
    limit: str = ""


class SuggestedPart(msgspec.Struct, frozen=True):
    """One bay of a way out that has several."""

    resource_id: str
    start_at: int
    end_at: int


class Suggestion(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way out, priced: an interval of one resource that the same request could have. For several bays `parts` names each in the order in
    which they were asked for, the first of them too, and the price is that of all."""

    resource_id: str
    start_at: int
    end_at: int
    total_cents: int
    currency: str
    instant: bool = True
    parts: tuple[SuggestedPart, ...] = ()


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A "no" with a stable `code`, one sentence for a person, every violated rule and what could be had instead."""

    code: str
    detail: str
    violations: tuple[Violation, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    retry_after_s: int = 0


class Refused(Exception):
    """Carries a Refusal out of a transaction; whoever began the transaction rolls it back and turns this into an answer."""

    def __init__(self, refusal: Refusal):
        super().__init__(f"{refusal.code}: {refusal.detail}")
        self.refusal = refusal


class Failure(Exception):
    """Something outside did not work. `permanent` is False where the same call may succeed later."""

    permanent = False

    def __init__(self, detail: str, *, retry_after_s: int = 5):
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s


class Unavailable(Failure):
    """Not now: the caller keeps the work and tries again after `retry_after_s`."""


class Broken(Failure):
    """Trying again cannot help; a person must look."""

    permanent = True


def refuse(code: str, detail: str, **more) -> Refused:
    """Builds the exception for `raise refuse("slot_taken", "…")`."""
    return Refused(Refusal(code, detail, **more))


#: code -> HTTP status. 4xx only: a refusal is never the machine's fault.
STATUS: dict[str, int] = {
    "bad_request": 400,
    "bad_interval": 422,
    "not_signed_in": 401,
    "wrong_credentials": 401,
    "not_allowed": 403,
    "customer_blocked": 403,
    "not_found": 404,
    "booking_not_found": 404,
    "hold_not_found": 404,
    "block_not_found": 404,
    "order_not_found": 404,
    "resource_not_found": 404,
    "facility_not_found": 404,
    "customer_not_found": 404,
    "slot_taken": 409,
    "slot_being_released": 409,
    "id_reused": 409,
    "already_cancelled": 409,
    "already_checked_in": 409,
    "not_checked_in": 409,
    "illegal_move": 409,
    "site_unreachable": 409,
    "hub_unreachable": 409,
    "not_mine": 409,
    "declined": 409,
    "hold_ended": 409,
    "displaced": 409,
    "fenced": 409,
    "retired": 409,
    "clock_untrusted": 409,
    "clock_moved": 409,
    "bay_halted": 409,
    "not_halted": 409,
    "below_floor": 409,
    "link_stopped": 409,
    "no_broker": 409,
    "no_drill": 409,
    "notice_not_found": 404,
    "too_many_notices": 409,
    "drill_running": 409,
    "straddles_line": 409,
    "reschedule_limit": 409,
    "answer_late": 409,
    "pass_invalid": 403,
    "pass_expired": 403,
    "pass_early": 403,
    "pass_other_site": 403,
    "pass_not_seated": 403,
    "pins_exhausted": 409,
    "pin_unknown": 403,
    "quote_invalid": 422,
    "quote_expired": 422,
    "rules_violated": 422,
    "outside_hours": 422,
    "code_unknown": 422,
    "code_not_yet_valid": 422,
    "code_expired": 422,
    "code_not_here": 422,
    "code_not_for_customer": 422,
    "code_used_up": 422,
    "hook_forged": 403,
    "hook_stale": 403,
    "too_many_requests": 429,
    "too_many_tries": 429,
    "door_not_by_phone": 409,
    "not_near": 403,
    "not_confirmed": 403,
    "no_telephone": 409,
}


def status_of(code: str) -> int:
    """The HTTP status of a refusal's code; 409 for a code that was not listed, never 5xx."""
    return STATUS.get(code, 409)
