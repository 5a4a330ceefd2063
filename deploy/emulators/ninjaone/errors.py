"""The four ways in which NinjaOne words an error, and the refusals that its parts raise.

Not for: faults. Invariant: every refusal of the emulator passes here, so that a client meets the style that was chosen.
"""

import hashlib

import msgspec

from deploy.emulators.messages.wire import Answer
from deploy.emulators.ninjaone.variants import ErrorStyle

_NUMBERS = {"user_context_required": 5, "not_authenticated": 10}
_OF_STATUS = {400: "invalid_request", 401: "not_authenticated", 403: "insufficient_privileges", 404: "not_found", 405: "method_not_allowed"}
#: these come from the gateway before the application, whatever style that has
GATEWAY = {"user_context_required", "not_authenticated", "invalid_token", "insufficient_privileges", "invalid_scope", "invalid_client", "invalid_grant",
           "unsupported_grant_type"}  # fmt: skip


class ApiError(Exception):
    """A refusal: HTTP status, the code that the gateway style says, and a text."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


def bad(text: str) -> ApiError:
    return ApiError(400, "invalid_request", text)


def unknown(what: str) -> ApiError:
    return ApiError(404, "not_found", f"{what} does not exist.")


def worded(status: int, code: str, text: str, style: ErrorStyle, extra: dict[str, str] | None = None) -> Answer:
    """An error's answer in one of the four styles."""
    if style == "plain":
        return Answer(status, text.encode(), "text/plain", extra or {})
    if style == "gateway":
        body: dict[str, object] = {"error": code, "error_description": text, "error_code": _NUMBERS.get(code, 1)}
    else:
        message: object = text if style == "application" else {"code": code, "params": {"text": text}}
        # as an incident would have: the same for the same words, so that tests repeat themselves
        digest = hashlib.sha256(f"{code}{text}".encode()).hexdigest()
        incident = f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
        body = {"resultCode": "FAILURE", "errorMessage": message, "incidentId": incident}
    return Answer(status, msgspec.json.encode(body), headers=extra or {})


def of_error(error: ApiError, style: ErrorStyle) -> Answer:
    return worded(error.status, error.code, error.text, "gateway" if error.code in GATEWAY else style)


def of_status(status: int, path: str, style: ErrorStyle) -> Answer:
    """An error that only has an HTTP status."""
    code = _OF_STATUS.get(status, "too_many_requests" if status == 429 else "internal_error")
    text = "Too many requests." if status == 429 else f"The request to {path} could not be carried out."
    return worded(status, code, text, "gateway" if "/oauth/" in path else style)
