"""The controller's JSON objects, as far as we read them; unknown keys are ignored and missing ones have a value.

Not for: meaning. Invariant: what is `null`, absent or of the documented type decodes; anything else is the wire's error.
"""

from typing import Any

import msgspec


class Envelope(msgspec.Struct):
    """Every JSON answer. `data` may be anything, null or absent; `total` stands beside log hits."""

    code: str
    msg: str = ""
    data: Any = None
    total: int = 0


class Door(msgspec.Struct):
    """A door; `door_position_status` is open, close, or one of three ways to say that there is no sensor."""

    id: str
    name: str = ""
    full_name: str = ""
    is_bind_hub: bool = False
    door_lock_relay_status: str | None = None
    door_position_status: str | None = None


class Visitor(msgspec.Struct):
    """A visitor; list rows may lack anything but the id. Times in unix seconds."""

    id: str
    first_name: str = ""
    last_name: str = ""
    remarks: str | None = None
    status: str | int | None = None
    start_time: int | None = None
    end_time: int | None = None
    create_time: int | None = None
    pin_code: dict[str, Any] | None = None


class LogActor(msgspec.Struct):
    """Who did it; empty for an unknown credential."""

    id: str = ""
    display_name: str = ""


class LogTarget(msgspec.Struct):
    """What it was done to; look up by `type`, the order means nothing."""

    type: str = ""
    id: str = ""
    display_name: str = ""


class LogAuthentication(msgspec.Struct):
    """How: NFC, PIN_CODE, REMOTE_THROUGH_UAH and more."""

    credential_provider: str = ""


class LogEvent(msgspec.Struct):
    """`published` is in milliseconds; `result` is ACCESS or BLOCKED."""

    type: str = ""
    display_message: str = ""
    result: str = ""
    published: int = 0


class LogSource(msgspec.Struct):
    """The part of a log row that says something."""

    event: LogEvent
    actor: LogActor | None = None
    authentication: LogAuthentication | None = None
    target: list[LogTarget] | None = None


class LogHit(msgspec.Struct):
    """One log row."""

    source: LogSource = msgspec.field(name="_source")


class LogPage(msgspec.Struct):
    """One page of the log."""

    hits: list[LogHit] | None = None
