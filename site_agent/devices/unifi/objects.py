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
    nfc_cards: list[dict[str, Any]] | None = None
    has_qr_code: bool | None = None


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


class Notice(msgspec.Struct):
    """One frame of the notification stream."""

    event: str
    data: Any = None


class LogNotice(msgspec.Struct):
    """A log row as `access.logs.add` tells it."""

    source: LogSource = msgspec.field(name="_source")


class Insight(msgspec.Struct):
    """A log row as `access.logs.insights.add` tells it; each part of `metadata` is an object or a list of them. `published` in milliseconds."""

    event_type: str = ""
    message: str = ""
    published: int = 0
    result: str = ""
    metadata: dict[str, Any] = {}


class PlaceState(msgspec.Struct):
    """`lock` is locked or unlocked, `dps` open, close or a way to say that there is no sensor: other words than the doors' list has."""

    lock: str | None = None
    dps: str | None = None


class Place(msgspec.Struct):
    """A door as the stream tells of it."""

    id: str = ""
    name: str = ""
    location_type: str = ""
    state: PlaceState | None = None


class PlaceOfDevice(msgspec.Struct):
    """A door as the news of a device tells of it."""

    location_id: str = ""
    lock: str | None = None
    dps: str | None = None


class DeviceNews(msgspec.Struct):
    """News of a device, with the doors it stands at."""

    location_states: list[PlaceOfDevice] | None = None


class EmergencyPair(msgspec.Struct):
    """The whole site's mode; both true is not documented."""

    lockdown: bool = False
    evacuation: bool = False


class Rule(msgspec.Struct):
    """How a door is held: `type` empty without a rule. `ended_time` in unix seconds, far in the future for what has no end."""

    type: str | None = None
    ended_time: int | None = None


class TopologyDoor(msgspec.Struct):
    """A door of a floor."""

    id: str
    name: str = ""
    type: str = "door"
    is_bind_hub: bool = False


class TopologyFloor(msgspec.Struct):
    """A floor with its doors."""

    id: str = ""
    name: str = ""
    resources: list[TopologyDoor] | None = None


class TopologyGroup(msgspec.Struct):
    """A building (`type` building: every door) or a group that somebody made (access)."""

    id: str = ""
    name: str = ""
    type: str = ""
    resource_topologies: list[TopologyFloor] | None = None


class Device(msgspec.Struct):
    """A hub or a reader; only the first four are documented, `location_id` is its door's id."""

    id: str
    name: str = ""
    alias: str | None = None
    type: str = ""
    capabilities: list[str] | None = None
    location_id: str | None = None
    is_online: bool | None = None
    is_connected: bool | None = None
    firmware: str | None = None
    version: str | None = None


class CardSession(msgspec.Struct):
    """A reader that waits for a card."""

    session_id: str


class CardRead(msgspec.Struct):
    """The card that was held to it: `token` is the whole of what is kept of it, `card_id` what may be printed on it."""

    token: str = ""
    card_id: str = ""
