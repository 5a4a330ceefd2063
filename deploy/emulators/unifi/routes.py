"""The developer API of the emulated controller: which call needs which scope and does what.

Not for: authentication, faults (the application does them). Invariant: a handler either answers or raises ApiError, having changed nothing.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from deploy.emulators.unifi.controller import Controller
from deploy.emulators.unifi.doors import Emergency
from deploy.emulators.unifi.envelope import Answer, ApiError
from deploy.emulators.unifi.http import Request, Response
from deploy.emulators.unifi.logs import TOPICS
from deploy.emulators.unifi.visitors import STATUS_FILTER, Visitor, VisitorBody
from deploy.emulators.unifi.webhooks import EndpointBody
from shared.runtime import qr

PREFIX = "/api/v1/developer"
NOTIFICATIONS_PATH = f"{PREFIX}/devices/notifications"
UNLOCK_DONE = Answer("success")
NO_RESULT = Answer(None)
NO_DATA = Answer()

Handler = Callable[..., Answer | Response]


class UnlockBody(msgspec.Struct):
    """Body of an unlock; the two actor fields go together."""

    actor_id: str = ""
    actor_name: str = ""
    extra: dict[str, Any] | None = None


class RuleBody(msgspec.Struct):
    """Body of a lock rule; `interval` in minutes."""

    type: str
    interval: int | None = None


class PinBody(msgspec.Struct):
    """Body of a PIN assignment."""

    pin_code: str


class SessionBody(msgspec.Struct):
    """Body of a card session; a card of the vendor's own may be written anew."""

    device_id: str
    reset_ua_card: bool = False


class CardBody(msgspec.Struct):
    """Body of a card's assignment; `force_add` takes it from whoever has it."""

    token: str
    force_add: bool = False


class LogBody(msgspec.Struct):
    """Body of a log search; times in unix seconds, both ends included."""

    topic: str
    since: int | None = None
    until: int | None = None
    actor_id: str = ""


def list_doors(box: Controller, request: Request) -> Answer:
    return Answer([door.data(box.now(), box.emergency, box.style.no_sensor) for door in box.doors.values()])


def get_door(box: Controller, request: Request, door_id: str) -> Answer:
    return Answer(box.door(door_id).data(box.now(), box.emergency, box.style.no_sensor))


def unlock_door(box: Controller, request: Request, door_id: str) -> Answer:
    body = request.decode(UnlockBody)
    if bool(body.actor_id) != bool(body.actor_name):
        raise ApiError("CODE_PARAMS_INVALID", "actor_id and actor_name go together.")
    if request.text("entry_method", "in") not in ("in", "out"):
        raise ApiError("CODE_PARAMS_INVALID", "entry_method is in or out.")
    if request.text("control_cmd", "open") not in ("open", "close", "stop"):
        raise ApiError("CODE_PARAMS_INVALID", "control_cmd is open, close or stop.")
    box.remote_unlock(door_id, body.actor_id, body.actor_name, body.extra)
    return UNLOCK_DONE


def get_rule(box: Controller, request: Request, door_id: str) -> Answer:
    return Answer(box.door(door_id).rule_data(box.now()))


def put_rule(box: Controller, request: Request, door_id: str) -> Answer:
    door = box.door(door_id)
    body = request.decode(RuleBody)
    if not door.spec.bound:
        raise ApiError("CODE_DEVICE_API_NOT_SUPPORTED")
    door.set_rule(body.type, body.interval, box.now())
    box.door_news(door)
    return UNLOCK_DONE


def get_emergency(box: Controller, request: Request) -> Answer:
    return Answer({"lockdown": box.emergency.lockdown, "evacuation": box.emergency.evacuation})


def put_emergency(box: Controller, request: Request) -> Answer:
    box.set_emergency(request.decode(Emergency))
    return UNLOCK_DONE


def topology(box: Controller, request: Request) -> Answer:
    return Answer(box.topology())


def list_devices(box: Controller, request: Request) -> Answer:
    if request.text("refresh", "false") not in ("true", "false"):
        raise ApiError("CODE_PARAMS_INVALID", "refresh is true or false.")
    return Answer([door.devices(box.style.devices_tell) for door in box.doors.values() if door.spec.bound])


def create_visitor(box: Controller, request: Request) -> Answer:
    visitor = box.visitors.create(request.decode(VisitorBody), box.now(), box.known_resources())
    box.visitor_news(visitor, "Visitor created")
    # The controller answers a create with ACTIVE whatever the window says.
    return Answer(visitor.data("ACTIVE", box.timezone.key))


def list_visitors(box: Controller, request: Request) -> Answer:
    page_num, page_size = request.page()
    wanted = None
    if request.text("status"):
        wanted = STATUS_FILTER[request.number("status", 1, min(STATUS_FILTER), max(STATUS_FILTER))]
    found = box.visitors.search(box.now(), request.text("keyword"), wanted)
    rows = [_list_row(box, visitor, request.query.get("expand[]")) for visitor in found[(page_num - 1) * page_size : page_num * page_size]]
    return Answer(rows, {"pagination": {"page_num": page_num, "page_size": page_size, "total": len(found)}})


def get_visitor(box: Controller, request: Request, visitor_id: str) -> Answer:
    return Answer(_visitor_data(box, box.visitors.get(visitor_id)))


def update_visitor(box: Controller, request: Request, visitor_id: str) -> Answer:
    visitor = box.visitors.update(visitor_id, request.decode(VisitorBody), box.known_resources())
    return Answer(_visitor_data(box, visitor))


def cancel_visitor(box: Controller, request: Request, visitor_id: str) -> Answer:
    force = request.text("is_force", "false")
    if force not in ("true", "false"):
        raise ApiError("CODE_PARAMS_INVALID", "is_force is true or false.")
    visitor = box.visitors.get(visitor_id)
    box.visitors.cancel(visitor_id, force == "true")
    box.visitor_news(visitor, "Visitor deleted" if force == "true" else "Visitor cancelled")
    return NO_RESULT


def generate_pin(box: Controller, request: Request) -> Answer:
    return Answer(box.visitors.suggest_pin())


def assign_pin(box: Controller, request: Request, visitor_id: str) -> Answer:
    box.visitors.get(visitor_id)
    box.visitors.assign_pin(visitor_id, request.decode(PinBody).pin_code)
    return NO_DATA


def unassign_pin(box: Controller, request: Request, visitor_id: str) -> Answer:
    box.visitors.unassign_pin(visitor_id)
    return NO_DATA


def assign_qr(box: Controller, request: Request, visitor_id: str) -> Answer:
    box.visitors.assign_qr(visitor_id)
    return NO_RESULT


def unassign_qr(box: Controller, request: Request, visitor_id: str) -> Answer:
    box.visitors.unassign_qr(visitor_id)
    return NO_RESULT


def download_qr(box: Controller, request: Request, visitor_id: str) -> Answer | Response:
    visitor = box.visitors.get(visitor_id)
    if visitor.qr_text is None:
        raise ApiError("CODE_RESOURCE_NOT_FOUND", "The visitor has no QR code.")
    return Response(200, qr.png(visitor.qr_text), "image/png")


def begin_card(box: Controller, request: Request) -> Answer:
    body = request.decode(SessionBody)
    box.reader_of(body.device_id)
    return Answer({"session_id": box.cards.begin(body.device_id)})


def read_card(box: Controller, request: Request, session_id: str) -> Answer:
    session = box.cards.read(session_id)
    return Answer({"token": session.token, "card_id": session.card_id})


def end_card(box: Controller, request: Request, session_id: str) -> Answer:
    box.cards.end(session_id)
    return UNLOCK_DONE


def assign_card(box: Controller, request: Request, visitor_id: str) -> Answer:
    body = request.decode(CardBody)
    if body.token not in box.cards.known.values():
        raise ApiError("CODE_CREDS_NFC_CARD_INVALID")
    box.visitors.assign_card(visitor_id, body.token, body.force_add)
    return NO_DATA


def unassign_card(box: Controller, request: Request, visitor_id: str) -> Answer:
    box.visitors.unassign_card(visitor_id, request.decode(CardBody).token)
    return NO_DATA


def search_log(box: Controller, request: Request) -> Answer:
    body = request.decode(LogBody)
    if body.topic not in TOPICS:
        raise ApiError("CODE_PARAMS_INVALID", f"topic must be one of {', '.join(TOPICS)}.")
    page_num, page_size = request.page()
    found = box.log.find(box.now(), body.topic, body.since, body.until, body.actor_id)
    hits = found[(page_num - 1) * page_size : page_num * page_size]
    return Answer({"hits": hits}, {"page": page_num, "total": len(found)})


def list_webhooks(box: Controller, request: Request) -> Answer:
    return Answer([msgspec.to_builtins(one) for one in box.webhooks.endpoints.values()])


def create_webhook(box: Controller, request: Request) -> Answer:
    return Answer(msgspec.to_builtins(box.webhooks.create(request.decode(EndpointBody))))


def update_webhook(box: Controller, request: Request, endpoint_id: str) -> Answer:
    return Answer(msgspec.to_builtins(box.webhooks.update(endpoint_id, request.decode(EndpointBody))))


def delete_webhook(box: Controller, request: Request, endpoint_id: str) -> Answer:
    box.webhooks.delete(endpoint_id)
    return NO_RESULT


def _visitor_data(box: Controller, visitor: Visitor) -> dict[str, Any]:
    status = visitor.status(box.now())
    data = visitor.data(box.style.cancelled_word if status == "CANCELLED" else status, box.timezone.key)
    if not box.style.tells_codes:
        del data["has_qr_code"]
    return data


_EXPANDABLE = {"resource": "resources", "schedule": "schedule", "nfc_card": "nfc_cards", "pin_code": "pin_code"}


def _list_row(box: Controller, visitor: Visitor, expand: list[str] | None) -> dict[str, Any]:
    data = _visitor_data(box, visitor)
    if not box.style.list_has_remarks:
        data["remarks"] = ""
    if expand is not None:
        for word, key in _EXPANDABLE.items():
            if word not in expand:
                del data[key]
    return data


ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/doors", "view:space", list_doors),
    ("GET", "/doors/settings/emergency", "view:space", get_emergency),
    ("PUT", "/doors/settings/emergency", "edit:space", put_emergency),
    ("GET", "/doors/:id", "view:space", get_door),
    ("PUT", "/doors/:id/unlock", "edit:space", unlock_door),
    ("GET", "/doors/:id/lock_rule", "view:space", get_rule),
    ("PUT", "/doors/:id/lock_rule", "edit:space", put_rule),
    ("GET", "/door_groups/topology", "view:space", topology),
    ("GET", "/devices", "view:device", list_devices),
    ("POST", "/visitors", "edit:visitor", create_visitor),
    ("GET", "/visitors", "view:visitor", list_visitors),
    ("GET", "/visitors/:id", "view:visitor", get_visitor),
    ("PUT", "/visitors/:id", "edit:visitor", update_visitor),
    ("DELETE", "/visitors/:id", "edit:visitor", cancel_visitor),
    ("PUT", "/visitors/:id/pin_codes", "edit:visitor", assign_pin),
    ("DELETE", "/visitors/:id/pin_codes", "edit:visitor", unassign_pin),
    ("PUT", "/visitors/:id/qr_codes", "edit:visitor", assign_qr),
    ("DELETE", "/visitors/:id/qr_codes", "edit:visitor", unassign_qr),
    ("PUT", "/visitors/:id/nfc_cards", "edit:visitor", assign_card),
    ("PUT", "/visitors/:id/nfc_cards/delete", "edit:visitor", unassign_card),
    ("POST", "/credentials/nfc_cards/sessions", "edit:credential", begin_card),
    ("GET", "/credentials/nfc_cards/sessions/:id", "view:credential", read_card),
    ("DELETE", "/credentials/nfc_cards/sessions/:id", "edit:credential", end_card),
    ("POST", "/credentials/pin_codes", "view:credential", generate_pin),
    ("GET", "/credentials/qr_codes/download/:id", "view:credential", download_qr),
    ("POST", "/system/logs", "view:system_log", search_log),
    ("GET", "/webhooks/endpoints", "view:webhook", list_webhooks),
    ("POST", "/webhooks/endpoints", "edit:webhook", create_webhook),
    ("PUT", "/webhooks/endpoints/:id", "edit:webhook", update_webhook),
    ("DELETE", "/webhooks/endpoints/:id", "edit:webhook", delete_webhook),
)

#: what firmwares learned later -> the calls of it
_FEATURES = {"emergency": "/doors/settings/emergency", "hold": "/lock_rule", "code": "/qr_codes", "card": "/nfc_cards"}

_COMPILED = [(method, re.compile(path.replace(":id", "([^/]+)")), scope, handler) for method, path, scope, handler in ROUTES]


def feature_of(path: str) -> str:
    """What a firmware must have learned for this call; empty for what all have."""
    return next((feature for feature, part in _FEATURES.items() if part in path), "")


def find_route(method: str, path: str) -> tuple[str, Handler, tuple[str, ...]]:
    """The needed scope, the handler and the ids in `path` (without the prefix); ApiError for no such path or method."""
    other_method = False
    for route_method, pattern, scope, handler in _COMPILED:
        match = pattern.fullmatch(path)
        if match and route_method == method:
            return scope, handler, match.groups()
        other_method = other_method or match is not None
    if other_method:
        raise ApiError("CODE_OPERATION_FORBIDDEN", "This path does not take this method.", status=405)
    raise ApiError("CODE_RESOURCE_NOT_FOUND", "The API has no such path.", status=404)
