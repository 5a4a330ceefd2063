"""The doors, why they opened, their alerts, and spare PINs for outages."""

from typing import Annotated

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from shared.runtime.openapi import raises
from site_agent.services.doors.door_trail import AlertView, TrailPage
from site_agent.services.doors.doors import Panel
from site_agent.services.doors.outage_pins import SparePins
from site_agent.services.views import iso
from site_agent.web import bodies
from site_agent.web.api.common import STAFF_SCHEME
from site_agent.web.auth import asker_of, kit_of, needs


class Unlocked(msgspec.Struct, frozen=True):
    """The controller took the command; it does not say that a person opened the door."""

    door_id: str
    at: str
    confirmed_by: str


class DoorHeld(msgspec.Struct, frozen=True):
    """The controller took the hold and ends it by itself at `until` (ISO 8601)."""

    door_id: str
    until: str


class TrailCheck(msgspec.Struct, frozen=True):
    """`problems` are sentences; none where the trail is sound."""

    sound: bool
    problems: list[str]


@get("/doors", tags=["Doors"], guards=[needs("unlock", "view")], security=STAFF_SCHEME, sync_to_thread=False)
def doors(request: Request) -> Panel:
    """The facility's doors as the controller sees them."""
    return kit_of(request).doors.panel()


@post(
    "/doors/{door_id:str}/unlock", status_code=200, tags=["Doors"], guards=[needs("unlock")], security=STAFF_SCHEME,
    opt=raises("not_found", "no_doors", "door_unavailable", "door_refused"),
)  # fmt: skip
async def unlock(request: Request, door_id: FromPath[str], data: JSONBody[bodies.UnlockBody]) -> Unlocked:
    """Open a door once."""
    done = await kit_of(request).doors.unlock_by(door_id, data.request_id, asker_of(request), data.reason)
    return Unlocked(done.door_id, iso(done.at), done.confirmed_by)


@post(
    "/doors/{door_id:str}/hold", status_code=200, tags=["Doors"], guards=[needs("emergency")], security=STAFF_SCHEME,
    opt=raises("bad_request", "not_found", "no_doors", "door_unavailable", "door_refused"),
)  # fmt: skip
async def hold(request: Request, door_id: FromPath[str], data: JSONBody[bodies.HoldDoorBody]) -> DoorHeld:
    """Hold one door open for some minutes; again, it begins them anew. Not during an emergency, which is told to every door."""
    until_at = await kit_of(request).door_holds.hold(door_id, data.minutes, data.reason, asker_of(request))
    return DoorHeld(door_id, iso(until_at))


@post(
    "/doors/{door_id:str}/let-close", status_code=200, tags=["Doors"], guards=[needs("emergency")], security=STAFF_SCHEME,
    opt=raises("not_found", "no_doors", "door_unavailable", "door_refused"),
)  # fmt: skip
async def let_close(request: Request, door_id: FromPath[str], data: JSONBody[bodies.ReasonBody]) -> Panel:
    """Let a door that is held open lock again before its time. Answers with the doors."""
    kit = kit_of(request)
    await kit.door_holds.let_close(door_id, data.reason, asker_of(request))
    return kit.doors.panel()


@get("/doors/trail", tags=["Doors"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def trail(
    request: Request,
    before: Annotated[int, QueryParameter(ge=0, le=2**53, description="Only rows before this one.")] = 0,
    door: Annotated[str, QueryParameter(max_length=120)] = "",
    booking: Annotated[str, QueryParameter(max_length=80)] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> TrailPage:
    """Why did this door open? What was asked of the doors and what happened there, the newest first, a sentence each."""
    return kit_of(request).door_trail.page(before_n=before, door_id=door, booking_id=booking, limit=limit)


@post("/doors/trail/check", status_code=200, tags=["Doors"], guards=[needs("unlock")], security=STAFF_SCHEME)
async def check_trail(request: Request) -> TrailCheck:
    """Look now whether a row of the trail or of the journal was changed from outside, which is also done every six hours."""
    halts = kit_of(request).halts
    await halts.watch.look_at_chains()
    found = halts.changed()
    return TrailCheck(not found, found)


@get("/doors/alerts", tags=["Doors"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def door_alerts(request: Request) -> list[AlertView]:
    """Doors that were forced or held open, and where somebody was refused again and again, until staff have answered."""
    return kit_of(request).door_trail.alerts()


@post("/doors/alerts/answer", status_code=200, tags=["Doors"], guards=[needs("unlock")], security=STAFF_SCHEME, opt=raises("not_found"))
async def answer_alert(request: Request, data: JSONBody[bodies.AnswerAlertBody]) -> list[AlertView]:
    """Say what it was; it is written down who said so. Answers with what still waits."""
    trail = kit_of(request).door_trail
    await trail.answer(data.alert, data.word, asker_of(request))
    return trail.alerts()


@post(
    "/outage-pins/void", status_code=200, tags=["Doors"], guards=[needs("void_pins")], security=STAFF_SCHEME, opt=raises("no_doors"),
)  # fmt: skip
async def void_outage_pins(request: Request) -> SparePins:
    """End every spare PIN that no booking has, on the doors and at the booking centre. New ones are made once that is heard."""
    kit = kit_of(request)
    await kit.outage_pins.void(asker_of(request).id)
    return kit.outage_pins.state()


HANDLERS = (doors, unlock, hold, let_close, check_trail, door_alerts, answer_alert, void_outage_pins, trail)
