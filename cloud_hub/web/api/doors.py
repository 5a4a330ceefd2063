"""The door of a booking over the API: asked of the facility, which judges like at its kiosk and answers within seconds (D2)."""

from litestar import Request, Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from shared.runtime.openapi import raises

from ...services.phone_doors import Wish
from ..auth import SECURITY, needs
from .asked import OpenIn
from .common import REPEATABLE, hub_of, made_id
from .told import OpenOut
from .wire import answer

TAGS = ["Bookings"]
CODES = (
    "booking_not_found", "door_not_by_phone", "illegal_move", "pass_early", "pass_expired", "site_unreachable", "too_many_tries", "id_reused"
)  # fmt: skip
UNANSWERED = ResponseSpec(OpenOut, description="The facility has not answered yet. Ask again with the same id to read what came of it.")


@post(
    "/bookings/{booking_id:str}/open", status_code=200, security=SECURITY, tags=TAGS, responses={202: UNANSWERED},
    opt={**needs("bookings:write"), **REPEATABLE, **raises(*CODES)}, summary="Open the door",
)  # fmt: skip
async def open_door(request: Request, booking_id: FromPath[str], data: JSONBody[OpenIn]) -> Response[OpenOut]:
    """Open the doors of a confirmed booking, within its access window, and check its guest in. No promise: the PIN opens whatever comes of it.

    What is older than 20 s when the facility hears of it opens nothing.
    """
    hub, open_id = hub_of(request), made_id(request, data.open_id, "open_id")
    booking = hub.board.told(hub.board.booking(booking_id))
    return _told(await hub.phone_doors.press(booking, open_id, by_phone=False))


def _told(wish: Wish) -> Response[OpenOut]:
    value = OpenOut(open_id=wish.id, booking_id=wish.booking_id, outcome=wish.outcome or "asked", code=wish.code, detail=wish.detail)
    return answer(value, 200 if wish.outcome else 202, **({} if wish.outcome else {"retry_after": "2"}))


HANDLERS = [open_door]
