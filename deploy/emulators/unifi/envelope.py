"""The controller's way of answering: envelope, error codes, HTTP statuses, and the switches for what no document settles.

Not for: deciding what is wrong. Invariant: every error leaves here as one of the documented codes.
"""

from typing import Any, Literal

import msgspec

DEFAULT_MESSAGES = {
    "CODE_PARAMS_INVALID": "Invalid parameters.",
    "CODE_SYSTEM_ERROR": "An error occurred on the server.",
    "CODE_RESOURCE_NOT_FOUND": "The requested resource was not found.",
    "CODE_OPERATION_FORBIDDEN": "The requested operation is not allowed.",
    "CODE_AUTH_FAILED": "Authentication failed.",
    "CODE_ACCESS_TOKEN_INVALID": "The provided access token is invalid.",
    "CODE_UNAUTHORIZED": "You are not allowed to perform this action.",
    "CODE_NOT_EXISTS": "The requested item does not exist.",
    "CODE_CREDS_PIN_CODE_CREDS_ALREADY_EXIST": "The PIN code is already in use.",
    "CODE_CREDS_PIN_CODE_CREDS_LENGTH_INVALID": "The PIN code length does not match the site setting.",
    "CODE_DEVICE_DEVICE_NOT_FOUND": "The device was not found.",
    "CODE_DEVICE_DEVICE_OFFLINE": "The device is offline.",
    "CODE_DEVICE_WEBHOOK_ENDPOINT_DUPLICATED": "The webhook's address is registered already.",
    "CODE_DEVICE_API_NOT_SUPPORTED": "This device does not support the API.",
    "CODE_DEVICE_DEVICE_VERSION_TOO_OLD": "The device's firmware is too old.",
    "CODE_CREDS_NFC_HAS_BIND_USER": "The card belongs to another person.",
    "CODE_CREDS_NFC_READ_SESSION_NOT_FOUND": "The session was not found.",
    "CODE_CREDS_NFC_READ_POLL_TOKEN_EMPTY": "No card has been read yet.",
    "CODE_CREDS_NFC_CARD_INVALID": "The card is not valid.",
}

_UNKNOWN_THING = {"CODE_NOT_EXISTS", "CODE_RESOURCE_NOT_FOUND"}
_CREDENTIAL = {"CODE_AUTH_FAILED", "CODE_ACCESS_TOKEN_INVALID", "CODE_UNAUTHORIZED"}


class Style(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs between firmwares or is documented nowhere; a client has to bear every combination."""

    business_errors: Literal["200", "4xx"] = "200"
    """Business errors come as HTTP 200 with a code, or as the HTTP status of the document's table."""
    missing_scope_status: Literal[401, 403] = 403
    cancelled_word: Literal["CANCELLED", "CANCELED"] = "CANCELLED"
    list_has_remarks: bool = False
    no_sensor: Literal["none", "", None] = "none"
    unbound_code: Literal["CODE_OPERATION_FORBIDDEN", "CODE_DEVICE_DEVICE_NOT_FOUND", "CODE_DEVICE_DEVICE_OFFLINE", "CODE_NOT_EXISTS"] = (
        "CODE_OPERATION_FORBIDDEN"
    )
    log_event: Literal["access.logs.add", "access.logs.insights.add", "both", "none"] = "access.logs.add"
    """How the stream tells of a new log row, if it does at all."""
    state_event: Literal["access.data.device.location_update_v2", "access.data.v2.location.update"] = (
        "access.data.device.location_update_v2"
    )
    log_ids: bool = False
    """Whether log rows have an `_id`; without, it is empty."""
    button_word: Literal["REX", "EXIT_BUTTON", "BUTTON"] = "REX"
    """The credential provider of an exit button; the list of providers is open-ended."""
    alarm_rows: bool = False
    """Whether the controller writes a row of its own for a door that was forced or held open."""
    tells_codes: bool = True
    """Whether a visitor's record says that there is a QR code."""
    lacks: frozenset[Literal["emergency", "hold", "code", "card"]] = frozenset()
    """What this firmware does not have yet."""
    lacks_as: Literal["404", "CODE_DEVICE_API_NOT_SUPPORTED", "CODE_SYSTEM_ERROR"] = "404"
    """How it says so: a page that is no envelope, a code of its own, or (seen for held doors) a failure of its own with HTTP 200."""
    keeps_emergency: bool = True
    """Whether lock-down, evacuation and temporary rules of doors outlive a reboot; no document says."""
    devices_tell: Literal["much", "little"] = "much"
    """Older firmware tells id, name, alias and type of a device, and nothing else."""


class ApiError(Exception):
    """A refusal with one of the documented codes; `status` forces the HTTP status, else the style decides."""

    def __init__(self, code: str, msg: str = "", status: int | None = None) -> None:
        super().__init__(msg or DEFAULT_MESSAGES[code])
        self.code = code
        self.msg = msg or DEFAULT_MESSAGES[code]
        self.status = status


class Answer(msgspec.Struct, frozen=True):
    """A success: `data` is left out of the envelope when it is `msgspec.UNSET`; `beside` are top-level keys such as pagination."""

    data: Any = msgspec.UNSET
    beside: dict[str, Any] = {}


def encode_answer(answer: Answer) -> bytes:
    envelope: dict[str, Any] = {"code": "SUCCESS", "msg": "success"}
    if answer.data is not msgspec.UNSET:
        envelope["data"] = answer.data
    return msgspec.json.encode(envelope | answer.beside)


def encode_error(error: ApiError) -> bytes:
    return msgspec.json.encode({"code": error.code, "msg": error.msg, "data": None})


def status_of(error: ApiError, style: Style) -> int:
    """The HTTP status for `error`: 401/403 for credentials, 404 for unknown ids, the rest by the style's switch."""
    if error.status is not None:
        return error.status
    if error.code in _CREDENTIAL:
        return 401
    if error.code in _UNKNOWN_THING:
        return 404
    if style.business_errors == "200":
        return 200
    return {"CODE_PARAMS_INVALID": 400, "CODE_SYSTEM_ERROR": 500}.get(error.code, 402)
