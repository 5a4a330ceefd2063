"""Translations between the port's words and the controller's: credentials to visitors, log rows to events, errors to failures.

Not for: calls. Invariant: pure; whatever the controller says becomes one of the port's values or failures.
"""

import re
from typing import Any, Literal

from site_agent.devices.unifi import objects
from site_agent.devices.unifi.wire import WireError
from site_agent.ports import (
    Actor,
    DoorCredential,
    DoorEvent,
    DoorsRefused,
    DoorState,
    DoorsUnavailable,
    Granted,
    GrantRef,
    PinTaken,
    RefusalCode,
)

MARK = "ClubOS"
"""First name of our visitors, by which they are told from those that people make at the console."""

#: the bay that was sold, at the end of the remarks, where a site that has lost its books finds it again (loss-3)
_BAY = re.compile(r"\[([a-z0-9-]{2,32}\.[a-z0-9-]{1,32})\]$")
_HOW = {"REMOTE_THROUGH_UAH": "remote", "PIN_CODE": "pin", "QR": "qr", "QR_CODE": "qr"}
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


def door_event(hit: objects.LogHit) -> DoorEvent:
    source = hit.source
    actor = source.actor or objects.LogActor()
    provider = source.authentication.credential_provider if source.authentication else ""
    door = next((target for target in source.target or [] if target.type == "door"), objects.LogTarget())
    actor_id, _, request_id = actor.id.partition("#")
    return DoorEvent(
        at=source.event.published // 1000,
        door_id=door.id,
        door_name=door.display_name,
        admitted=source.event.result == "ACCESS",
        how=_HOW.get(provider, provider.lower()),
        actor_id=actor_id,
        actor_name=actor.display_name,
        request_id=request_id,
        message=source.event.display_message,
    )


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
        "certificate": "certificate_changed", "credential": "token_refused", "unknown_thing": "door_unknown" if door else "grant_unknown"
    }  # fmt: skip
    return DoorsRefused(text, code=codes.get(error.kind, "refused"))
