"""The doors as a whole in the site's JSON API: emergencies, and cards that are lent. Handlers decode, ask one service, and answer."""

from typing import Annotated, Literal

from litestar import Request, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from shared.runtime.openapi import raises
from site_agent.services.doors.door_cards import CardState
from site_agent.services.doors.emergency import MINUTES_MAX, REASON_MAX, EmergencyPanel
from site_agent.web.api.common import STAFF_SCHEME
from site_agent.web.auth import asker_of, kit_of, needs
from site_agent.web.bodies import Body, Id

Words = Annotated[str, Meta(max_length=REASON_MAX)]
Key = Annotated[str, Meta(min_length=1, max_length=120)]


class EmergencyBody(Body):
    """lockdown: no door opens for a guest. evacuation: every door open, by the controller's own mode. unlock_all: every door held open for the
    minutes. The same `request_id` is one call; `sure` after the sentence of `confirm` was read."""

    request_id: Id
    mode: Literal["lockdown", "evacuation", "unlock_all"]
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_MAX)]
    minutes: Annotated[int, Meta(ge=1, le=MINUTES_MAX)]
    sure: bool = False


class EndEmergencyBody(Body):
    reason: Words = ""


class CardBody(Body):
    """`device_id`: a reader that takes cards, as the doors' panel names it."""

    booking_id: Id
    device_id: Key


class CardSessionBody(Body):
    session: Key


class CardBackBody(Body):
    booking_id: Id


@get("/doors/emergency", tags=["Doors"], guards=[needs("view", "unlock")], security=STAFF_SCHEME, sync_to_thread=False)
def emergency(request: Request) -> EmergencyPanel:
    """What stands, called here or at the controller itself."""
    return kit_of(request).emergency.panel()


@post(
    "/doors/emergency", status_code=200, tags=["Doors"], guards=[needs("emergency")], security=STAFF_SCHEME,
    opt=raises("bad_request", "no_doors", "id_reused", "confirm"),
)  # fmt: skip
async def call_emergency(request: Request, data: JSONBody[EmergencyBody]) -> EmergencyPanel:
    """Lock down or open all doors for some minutes. Asked twice: the first time it is refused with `confirm` and what it would do."""
    desk = kit_of(request).emergency
    return await desk.call(data.request_id, data.mode, data.reason, data.minutes, data.sure, asker_of(request))


@post(
    "/doors/emergency/end",
    status_code=200,
    tags=["Doors"],
    guards=[needs("emergency")],
    security=STAFF_SCHEME,
    opt=raises("no_doors", "not_found"),
)
async def end_emergency(request: Request, data: JSONBody[EndEmergencyBody]) -> EmergencyPanel:
    """Let the doors go again before the time, whoever began it."""
    return await kit_of(request).emergency.end(data.reason, asker_of(request))


@get("/doors/cards/{booking_id:str}", tags=["Doors"], guards=[needs("check_in")], security=STAFF_SCHEME, sync_to_thread=False)
def card_of(request: Request, booking_id: FromPath[str]) -> CardState:
    """The card that is lent for a booking."""
    return kit_of(request).door_cards.of(booking_id)


@post(
    "/doors/cards", status_code=200, tags=["Doors"], guards=[needs("check_in")], security=STAFF_SCHEME,
    opt=raises("booking_not_found", "illegal_move", "no_doors", "door_unavailable", "door_refused"),
)  # fmt: skip
async def lend_card(request: Request, data: JSONBody[CardBody]) -> CardState:
    """A reader waits a minute for a card that is to be lent for a booking."""
    return await kit_of(request).door_cards.begin(data.booking_id, data.device_id, asker_of(request))


@post(
    "/doors/cards/read", status_code=200, tags=["Doors"], guards=[needs("check_in")], security=STAFF_SCHEME,
    opt=raises("card_not_read", "illegal_move", "no_doors", "door_unavailable", "door_refused"),
)  # fmt: skip
async def read_card(request: Request, data: JSONBody[CardSessionBody]) -> CardState:
    """Whether the card was held to the reader; then it is lent."""
    return await kit_of(request).door_cards.read(data.session, asker_of(request))


@post(
    "/doors/cards/back",
    status_code=200,
    tags=["Doors"],
    guards=[needs("check_in")],
    security=STAFF_SCHEME,
    opt=raises("no_doors", "not_found"),
)
async def take_card(request: Request, data: JSONBody[CardBackBody]) -> CardState:
    """The guest has given the card back."""
    return await kit_of(request).door_cards.take(data.booking_id, asker_of(request))


HANDLERS = (emergency, call_emergency, end_emergency, card_of, lend_card, read_card, take_card)
