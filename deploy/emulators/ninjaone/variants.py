"""Where public facts about NinjaOne are unsure, the emulator can be switched between them; the defaults are the likelier.

Not for: faults, which are never how it is meant to answer. Invariant: every variant has been told of by somebody, none is made up here.
"""

from typing import Literal

import msgspec

ErrorStyle = Literal["gateway", "application", "coded", "plain"]
"""How an error is worded: the gateway's `error`, the application's `errorMessage`, the same with a code in it, or bare text."""


class Variants(msgspec.Struct, forbid_unknown_fields=True):
    """user_context_status, missing_scope_status: what refuses a token that has no user, or lacks a scope.
    error_style: how the API words its errors (OAuth's own are the gateway's always).
    run_answer: what follows a script's start beside 2xx: nothing (204), or one of the ids that some tenants answer with.
    activities_bare: the list of activities without its envelope.
    old_refresh: a refresh token after it was exchanged works until the new one has been used (grace), is dead at once (strict), or its
    use ends the whole consent (family). rotates: whether it is exchanged at all.
    machine_offline_access: client credentials that ask for offline_access are refused, or the scope is ignored.
    maintenance_seconds: whether a number that looks like seconds is taken for a maintenance's time (else it is refused).
    webhook: who may set it: whoever may manage, or a person who is a system administrator, which the technician here is not.
    exit_code: where a finished script's exit code stands in its activity.
    """

    user_context_status: Literal[401, 403] = 403
    missing_scope_status: Literal[401, 403] = 403
    error_style: ErrorStyle = "application"
    run_answer: Literal["nothing", "id", "activity", "series", "uid", "number", "text"] = "nothing"
    activities_bare: bool = False
    old_refresh: Literal["grace", "strict", "family"] = "grace"
    rotates: bool = True
    machine_offline_access: Literal["refused", "ignored"] = "refused"
    maintenance_seconds: bool = False
    webhook: Literal["managers", "administrators"] = "managers"
    exit_code: Literal["data", "result_code", "nested", "absent"] = "data"
