"""Translations between the port's words and the controller's: credentials to visitors, log rows to events, errors to failures.

Not for: calls. Invariant: pure; whatever the controller says becomes one of the port's values or failures.
"""

import hashlib
import re
from typing import Any, Literal, TypeVar

import msgspec

from site_agent.devices.unifi import objects
from site_agent.devices.unifi.wire import WireError
from site_agent.ports import (
    Actor,
    DoorCredential,
    DoorDevice,
    DoorEvent,
    DoorHold,
    DoorPlace,
    DoorsRefused,
    DoorState,
    DoorsUnavailable,
    EmergencyMode,
    EventKind,
    Granted,
    GrantRef,
    PinTaken,
    RefusalCode,
)

MARK = "ClubOS"
"""First name of our visitors, by which they are told from those that people make at the console."""

#: the bay that was sold, at the end of the remarks, where a site that has lost its books finds it again (loss-3)
_BAY = re.compile(r"\[([a-z0-9-]{2,32}\.[a-z0-9-]{1,32})\]$")
_HOW = {"REMOTE_THROUGH_UAH": "remote", "PIN_CODE": "pin", "QR": "qr", "QR_CODE": "qr", "REX": "button", "EXIT_BUTTON": "button"}
T = TypeVar("T")
_STATUS: dict[str, Literal["upcoming", "open", "ended", "cancelled"]] = {
    "UPCOMING": "upcoming", "ACTIVE": "open", "VISITING": "open", "VISITED": "ended", "NO_VISIT": "ended",
    "CANCELLED": "cancelled", "CANCELED": "cancelled",
    "1": "upcoming", "6": "open", "3": "open", "2": "ended", "5": "ended", "4": "cancelled",
}  # fmt: skip


def actor_id(actor: Actor, request_id: str) -> str:
    """Actor and request in the one field that the controller's log can be searched by."""
    return f"{actor.id}#{request_id}"


def check_actor(actor: Actor, request_id: str) -> None:
    if not actor.id or not actor.name or "#" in actor.id or not request_id or "#" in request_id:
        raise DoorsRefused("An unlock needs an actor with id and name and a request id, without the sign '#' in the ids.")


def check_credential(credential: DoorCredential) -> None:
    if not credential.booking_id or not credential.door_ids:
        raise DoorsRefused("A door credential needs a booking and at least one door.")
    if credential.closes_at <= credential.opens_at:
        raise DoorsRefused("A door credential's window must end after it begins.")


def fields(credential: DoorCredential) -> dict[str, Any]:
    bay = f" [{credential.resource_id}]" if credential.resource_id else ""
    return {
        "first_name": MARK,
        "last_name": credential.booking_id,
        "remarks": f"Booking {credential.booking_id}: {credential.label}{bay}",
        "start_time": credential.opens_at,
        "end_time": credential.closes_at,
        "visit_reason": "Others",
        "resources": [{"id": door_id, "type": "door"} for door_id in credential.door_ids],
    }


def status(visitor: objects.Visitor) -> Literal["upcoming", "open", "ended", "cancelled", "unknown"]:
    return _STATUS.get(str(visitor.status).upper(), "unknown")


def granted(visitor: objects.Visitor) -> Granted:
    bay = _BAY.search(visitor.remarks or "")
    return Granted(
        GrantRef(visitor.id),
        visitor.last_name,
        visitor.start_time or 0,
        visitor.end_time or 0,
        status(visitor),
        visitor.pin_code is not None,
        bay[1] if bay else "",
    )


def door_state(door: objects.Door) -> DoorState:
    lock: dict[str | None, Literal["locked", "unlocked"]] = {"lock": "locked", "unlock": "unlocked"}
    leaf: dict[str | None, Literal["open", "closed"]] = {"open": "open", "close": "closed"}
    return DoorState(
        door.id, door.name, door.full_name, door.is_bind_hub,
        lock.get(door.door_lock_relay_status, "unknown"), leaf.get(door.door_position_status, "unknown"),
    )  # fmt: skip


_HOLDS: dict[str, Literal["none", "unlocked", "locked", "unlocked_for", "schedule", "schedule_ended"]] = {
    "": "none", "reset": "none", "keep_unlock": "unlocked", "keep_lock": "locked", "custom": "unlocked_for", "schedule": "schedule",
    "lock_early": "schedule_ended", "lock_now": "schedule_ended",
}  # fmt: skip
#: what has no end is told with one far in the future
_FOREVER_AT = 3_000_000_000


def hold(door_id: str, rule: objects.Rule) -> DoorHold:
    word, until_at = _HOLDS.get(rule.type or "", "unknown"), rule.ended_time or 0
    return DoorHold(door_id, word, until_at if word in ("unlocked_for", "schedule") and 0 < until_at < _FOREVER_AT else 0)


def places(groups: list[objects.TopologyGroup]) -> list[DoorPlace]:
    """Every door once; by the building, and by a group that somebody made only where no building has it."""
    found: dict[str, DoorPlace] = {}
    for group in sorted(groups, key=lambda one: one.type != "building"):
        for floor in group.resource_topologies or []:
            for door in floor.resources or []:
                if door.type == "door" and door.id not in found:
                    found[door.id] = DoorPlace(door.id, door.name, floor.name, group.name, door.is_bind_hub)
    return list(found.values())


_READS = {"pin_code": "pin", "nfc": "nfc", "qr_code": "qr", "face": "face"}


def device(told: objects.Device) -> DoorDevice:
    """Older firmware tells no more than id, name, alias and type."""
    can, model = told.capabilities or [], told.type
    hub = "is_hub" in can or (not can and model.upper().startswith(("UAH", "UA-HUB", "UA-ULTRA", "EAH", "UGT")))
    reads = tuple(word for capability, word in _READS.items() if capability in can)
    reader = "is_reader" in can or bool(reads) or (not can and not hub and model.upper().startswith(("UA-", "UDA")))
    online = told.is_online if told.is_online is not None else told.is_connected
    name = told.alias or told.name or told.id
    return DoorDevice(
        told.id, name, "hub" if hub else "reader" if reader else "device", model, told.location_id or "", online,
        told.firmware or told.version or "", reads,
    )  # fmt: skip


def emergency_event(mode: EmergencyMode, now: float) -> DoorEvent:
    """The controller tells that its mode is another; when it came about it does not say, so the time is ours (unix seconds)."""
    return DoorEvent(
        at=int(now), door_id="", door_name="", admitted=False, how=mode, actor_id="", actor_name="", request_id="", message="", kind="emergency",
        key=_key("emergency", mode, int(now * 1000)),
    )  # fmt: skip


def door_event(hit: objects.LogHit) -> DoorEvent:
    return event_of_row(hit.source)


def event_of_row(source: objects.LogSource) -> DoorEvent:
    """A log row, whichever way it was told."""
    actor = source.actor or objects.LogActor()
    provider = source.authentication.credential_provider if source.authentication else ""
    door = next((target for target in source.target or [] if target.type == "door"), objects.LogTarget())
    actor_id, _, request_id = actor.id.partition("#")
    kind = _kind(source.event)
    first, _, booking_id = actor.display_name.partition(" ")
    return DoorEvent(
        at=source.event.published // 1000,
        door_id=door.id,
        door_name=door.display_name,
        admitted=source.event.result == "ACCESS",
        how=_HOW.get(provider.upper(), provider.lower()),
        actor_id=actor_id,
        actor_name=actor.display_name,
        request_id=request_id,
        message=source.event.display_message,
        kind=kind or "denied",
        said_ms=source.event.published,
        key=_key(source.event.published, door.id, actor.id, provider.upper(), kind),
        booking_id=booking_id if first == MARK else "",
    )


def is_of_a_door(source: objects.LogSource) -> bool:
    """Whether a row tells of somebody or something at a door, and not of the console's own affairs."""
    return bool(_kind(source.event)) and any(target.type == "door" and target.id for target in source.target or [])


def _kind(event: objects.LogEvent) -> EventKind | Literal[""]:
    """No document names the rows of a forced or a held door, so their words are looked at."""
    told = f"{event.type} {event.display_message}".casefold()
    if "forced" in told:
        return "forced"
    if "held open" in told or "held_open" in told:
        return "held"
    results: dict[str, EventKind] = {"ACCESS": "unlocked", "BLOCKED": "denied"}
    return results.get(event.result, "") if "door" in event.type else ""


def _key(*parts: object) -> str:
    """The same for the same event in the log and in either notification: their own ids are often empty, and are not of one kind."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:24]


def row_of_insight(told: objects.Insight) -> objects.LogSource:
    """A notification of the other kind, as the row that it tells of."""

    def part(name: str, kind: type[T]) -> T:
        found = told.metadata.get(name)
        found = found[0] if isinstance(found, list) and found else found
        return msgspec.convert(found if isinstance(found, dict) else {}, kind, strict=False)

    door = part("door", objects.LogTarget)
    return objects.LogSource(
        event=objects.LogEvent(told.event_type, told.message, told.result, told.published),
        actor=part("actor", objects.LogActor),
        authentication=part("authentication", objects.LogAuthentication),
        target=[objects.LogTarget("door", door.id, door.display_name)],
    )


def lock_word(told: str | None) -> Literal["locked", "unlocked", "unknown"]:
    """A lock as the stream tells of it, or as the list of doors does."""
    if told in ("locked", "lock"):
        return "locked"
    return "unlocked" if told in ("unlocked", "unlock") else "unknown"


def leaf_word(told: str | None) -> Literal["opened", "closed", ""]:
    words: dict[str | None, Literal["opened", "closed"]] = {"open": "opened", "close": "closed"}
    return words.get(told, "")


def leaf_event(door_id: str, name: str, kind: EventKind, lock: str | None, now: float, number: int, *, live: bool) -> DoorEvent:
    """A leaf that moved, or was found other than it was; the controller tells no time of it, so it is ours (unix seconds). `number` tells
    apart what happens in one moment."""
    return DoorEvent(
        at=int(now), door_id=door_id, door_name=name, admitted=False, how="", actor_id="", actor_name="", request_id="", message="", kind=kind,
        key=_key("leaf", door_id, kind, int(now * 1000), number), live=live, lock=lock_word(lock),
    )  # fmt: skip


def failure(error: WireError, *, door: bool = False) -> DoorsUnavailable | DoorsRefused:
    """The port's failure for the wire's; `door` where an unknown thing is a door and a lost answer a pulse nobody knows of."""
    text = str(error)
    if error.passing:
        if door and error.may_have_acted:
            text += " Nobody knows yet whether the door opened."
        return DoorsUnavailable(text, retry_after_s=error.retry_after_s, outcome_unknown=error.may_have_acted)
    if error.code == "CODE_CREDS_PIN_CODE_CREDS_ALREADY_EXIST":
        return PinTaken("Another credential of this site has the PIN already.")
    if error.code == "CODE_CREDS_PIN_CODE_CREDS_LENGTH_INVALID":
        return DoorsRefused("The PIN does not have the length that the door controller is set to.", code="pin_length")
    codes: dict[str, RefusalCode] = {
        "unsupported": "not_supported", "certificate": "certificate_changed",
        "credential": "token_refused", "unknown_thing": "door_unknown" if door else "grant_unknown"
    }  # fmt: skip
    return DoorsRefused(text, code=codes.get(error.kind, "refused"))
