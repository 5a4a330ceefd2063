"""The emulator's own desk, beside the vendor's API: state, readers, doors, faults, and the page for people.

Not for: anything a real controller has. It asks for no sign-in, so it listens where the emulator listens (this machine by default);
JSON bodies are demanded so that a foreign web page cannot post to it. Invariant: bad input gets the same envelope as the API's.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from deploy.emulators.common import page as common
from deploy.emulators.common.faults import SECONDS_MAX
from deploy.emulators.unifi import page
from deploy.emulators.unifi.controller import Controller
from deploy.emulators.unifi.doors import Emergency
from deploy.emulators.unifi.envelope import Answer, ApiError, encode_answer
from deploy.emulators.unifi.faults import Fault
from deploy.emulators.unifi.http import Request, Response
from deploy.emulators.unifi.notifications import FRAMES_MAX, StreamFaults

PREFIX = "/_emulator"
#: as an ASGI server takes them
_PAGE_HEADERS = tuple((name.encode(), value.encode()) for name, value in common.HEADERS.items())


class ReaderBody(msgspec.Struct, forbid_unknown_fields=True):
    """A PIN typed in, a QR text shown, or a card (by its number) held to a door's reader: one of the three. `visitor_id` in place of a QR text:
    that visitor's own picture is shown, for whoever has no camera. With `would_at` (unix seconds) and a PIN: what the reader would say then, as
    things stand."""

    door_id: str
    pin: str = ""
    qr: str = ""
    card: str = ""
    visitor_id: str = ""
    would_at: float | None = None


class DoorBody(msgspec.Struct, forbid_unknown_fields=True):
    """What happens to a door by hand: its leaf, its unlock schedule (until unix seconds), its hub's network, its reader's."""

    door_id: str
    leaf: Literal["open", "close"] | None = None
    schedule_until: int | None = None
    offline: bool | None = None
    reader_offline: bool | None = None


class EmergencyBody(msgspec.Struct, forbid_unknown_fields=True):
    """Somebody at the console calls an emergency, or ends it."""

    mode: Literal["normal", "lockdown", "evacuation"]


class Reboot(msgspec.Struct, forbid_unknown_fields=True):
    """refuse: nobody listens for `seconds`. unavailable: every API request is answered 503 for `seconds`. `forgets`: this time its emergency and
    the doors' rules are lost, though the style keeps them."""

    mode: Literal["refuse", "unavailable"]
    seconds: float = 5.0
    forgets: bool = False


class PokeBody(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody does at a door: tries a card that nobody has, forces the leaf, leaves it open, moves it, or presses the exit button."""

    door_id: str
    what: Literal["denied", "forced", "held", "open", "close", "button"]


class FaultsBody(msgspec.Struct, forbid_unknown_fields=True):
    """What to break; every part by itself. `clear` comes first."""

    clear: bool = False
    next: list[Fault] = []
    reboot: Reboot | None = None
    certificate: Literal["new"] | None = None
    drop_notifications: bool = False
    stream: StreamFaults | None = None
    silent_s: float | None = None
    tokens_revoked: bool | None = None


class Box:
    """What the desk may do to the process around the controller; the server hands in real ones."""

    def __init__(self, refuse_for: Callable[[float], None], renew_certificate: Callable[[], None]) -> None:
        self.refuse_for = refuse_for
        self.renew_certificate = renew_certificate


def handle(box: Controller, around: Box, request: Request) -> Response:
    """One request below /_emulator; ApiError for what it cannot do."""
    path = request.path.removeprefix(PREFIX)
    if request.method in ("GET", "HEAD"):
        return _show(box, request, path)
    if request.method != "POST":
        raise ApiError("CODE_OPERATION_FORBIDDEN", "The emulator's desk takes GET and POST.", status=405)
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise ApiError("CODE_PARAMS_INVALID", "The emulator's desk takes JSON bodies only.", status=415)
    if path == "/reader":
        return _answer(_reader(box, request.decode(ReaderBody)))
    if path == "/door":
        return _answer(_door(box, request.decode(DoorBody)))
    if path == "/emergency":
        mode = request.decode(EmergencyBody).mode
        box.set_emergency(Emergency(lockdown=mode == "lockdown", evacuation=mode == "evacuation"))
        return _answer(Answer("success"))
    if path == "/poke":
        return _answer(_poke(box, request.decode(PokeBody)))
    if path == "/faults":
        return _answer(_faults(box, around, request.decode(FaultsBody)))
    raise ApiError("CODE_RESOURCE_NOT_FOUND", "The emulator's desk has no such path.", status=404)


def state(box: Controller) -> dict[str, Any]:
    """Everything the page shows, as JSON values."""
    now = box.now()
    return {
        "now": now,
        "doors": [
            door.data(now, box.emergency, box.style.no_sensor)
            | {
                "rule": door.rule_data(now),
                "offline": door.offline,
                "reader_offline": door.reader_offline,
                "unlocked_until": door.unlocked_until,
            }
            for door in box.doors.values()
        ],
        "emergency": msgspec.to_builtins(box.emergency),
        "unlocks": [msgspec.to_builtins(unlock) for unlock in reversed(box.unlocks)],
        "visitors": [
            {
                "id": v.id,
                "first_name": v.first_name,
                "last_name": v.last_name,
                "remarks": v.remarks,
                "status": v.status(now),
                "start_time": v.start_time,
                "end_time": v.end_time,
                "has_pin": v.pin_hash is not None,
                "has_qr": v.qr_text is not None,
                "cards": len(v.cards),
                "doors": [ref.id for ref in v.resources],
            }
            for v in box.visitors.search(now, "", None)
        ],
        "log": [entry["_source"] for entry in box.log.find(now, "door_openings")[:100]],
        "faults": [msgspec.to_builtins(fault) for fault in box.faults.waiting()],
        "tokens_revoked": box.faults.tokens_revoked,
        "stream_faults": msgspec.to_builtins(box.notifications.faults),
        "listeners": len(box.notifications),
        "requests": len(box.requests),
        "webhooks": [{"event": call.event, "url": call.url, "answer": call.answer} for call in reversed(box.webhooks.calls)],
    }


def _show(box: Controller, request: Request, path: str) -> Response:
    if path in ("", "/"):
        return Response(200, page.render(box).encode(), "text/html; charset=utf-8", _PAGE_HEADERS)
    if path == "/board":
        return Response(200, page.board(box).encode(), "text/html; charset=utf-8", _PAGE_HEADERS)
    if path == "/state":
        return Response(200, msgspec.json.encode(state(box)), headers=((b"cache-control", b"no-store"),))
    found = common.file(path.removeprefix("/"), page.STATIC)
    if found is not None:
        return Response(200, *found)
    raise ApiError("CODE_RESOURCE_NOT_FOUND", "The emulator's desk has no such path.", status=404)


def _reader(box: Controller, body: ReaderBody) -> Answer:
    if [bool(body.pin), bool(body.qr), bool(body.card), bool(body.visitor_id)].count(True) != 1:
        raise ApiError("CODE_PARAMS_INVALID", "A reader takes a pin, a qr, a visitor's qr or a card, one of them.", status=400)
    if body.would_at is not None and body.pin:
        return Answer(msgspec.to_builtins(box.would_admit(body.door_id, body.pin, body.would_at)))
    if body.pin:
        admission = box.read_pin(body.door_id, body.pin)
    elif body.card:
        admission = box.read_card(body.door_id, body.card)
    else:
        admission = box.read_qr(body.door_id, body.qr or box.visitors.get(body.visitor_id).qr_text or "no code")
    return Answer(msgspec.to_builtins(admission))


def _door(box: Controller, body: DoorBody) -> Answer:
    door = box.door(body.door_id)
    if body.leaf is not None:
        door.leaf_open = body.leaf == "open"
    if body.schedule_until is not None:
        door.schedule_until = body.schedule_until
        door.schedule_ended_early = False
    if body.offline is not None:
        door.offline = body.offline
    if body.reader_offline is not None:
        door.reader_offline = body.reader_offline
    box.door_news(door)
    return Answer("success")


def _poke(box: Controller, body: PokeBody) -> Answer:
    if body.what == "denied":
        return Answer(msgspec.to_builtins(box.deny(body.door_id)))
    acts = {
        "forced": lambda: box.force(body.door_id),
        "held": lambda: box.hold_open(body.door_id),
        "open": lambda: box.move_leaf(body.door_id, opened=True),
        "close": lambda: box.move_leaf(body.door_id, opened=False),
        "button": lambda: box.press_button(body.door_id),
    }
    acts[body.what]()
    return Answer("success")


def _stream_faults(box: Controller, body: FaultsBody) -> None:
    if body.stream is not None:
        box.notifications.faults = body.stream
    if body.silent_s is not None:
        box.notifications.faults.silent_until = box.now() + body.silent_s


def _faults(box: Controller, around: Box, body: FaultsBody) -> Answer:
    for fault in body.next:
        if fault.problem():
            raise ApiError("CODE_PARAMS_INVALID", fault.problem(), status=400)
    stream = body.stream or StreamFaults()
    if not all(0 <= count <= FRAMES_MAX for count in (stream.lose, stream.duplicate, stream.late)):
        raise ApiError("CODE_PARAMS_INVALID", f"lose, duplicate and late must be 0 to {FRAMES_MAX}.", status=400)
    if not all(0 <= seconds <= SECONDS_MAX for seconds in (stream.late_s, body.silent_s or 0)):
        raise ApiError("CODE_PARAMS_INVALID", f"late_s and silent_s must be 0 to {SECONDS_MAX:.0f}.", status=400)
    if body.reboot is not None and not 0 < body.reboot.seconds <= SECONDS_MAX:
        raise ApiError("CODE_PARAMS_INVALID", f"A reboot takes up to {SECONDS_MAX:.0f} seconds.", status=400)
    if body.clear:
        box.faults.clear()
        box.notifications.faults = StreamFaults()
    _stream_faults(box, body)
    for fault in body.next:
        box.faults.add(fault)
    if body.tokens_revoked is not None:
        box.faults.tokens_revoked = body.tokens_revoked
    if body.drop_notifications:
        box.notifications.drop_all()
    if body.certificate == "new":
        around.renew_certificate()
    if body.reboot is not None and body.reboot.forgets:
        box.forget_emergency()
    if body.reboot is not None and body.reboot.mode == "unavailable":
        box.faults.starting_until = box.now() + body.reboot.seconds
        box.rebooted()
    elif body.reboot is not None:
        around.refuse_for(body.reboot.seconds)
    return Answer("success")


def _answer(answer: Answer) -> Response:
    return Response(200, encode_answer(answer))
