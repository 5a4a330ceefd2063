"""Holds over the API: keep slots while somebody fills a form (B6)."""

from litestar import Request, Response, delete, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from shared.runtime.openapi import raises

from ..auth import SECURITY, needs
from .asked import HoldIn
from .common import REPEATABLE, hub_of, made_id
from .told import HoldOut, hold_out
from .wire import answer, slots_of

TAGS = ["Holds"]
ASKED = ResponseSpec(
    HoldOut, description="Asked of the facility, which has not answered yet. Send the same request again after Retry-After."
)
AGAIN = ResponseSpec(HoldOut, description="This request was made before; this is its hold as it stands.")


@post(
    "/holds", security=SECURITY, tags=TAGS, responses={200: AGAIN, 202: ASKED}, summary="Hold",
    opt={**needs("bookings:write"), **REPEATABLE, **raises("slot_taken", "slot_being_released", "straddles_line", "site_unreachable", "id_reused",
                                             "hold_ended", "bad_interval", "resource_not_found", "facility_not_found", "declined")},
)  # fmt: skip
async def hold(request: Request, data: JSONBody[HoldIn]) -> Response[HoldOut]:
    """Keep a time for ten minutes. Name the hold in the booking (`hold_id`) and the time passes to it."""
    start, end = slots_of(data.start, data.end)
    hold_id = made_id(request, data.hold_id, "hold_id")
    held, fresh = await hub_of(request).holds.hold(hold_id, data.resource_id, start, end, channel="api")
    if held.status == "asked":
        return answer(hold_out(held), 202, retry_after="2")
    return answer(hold_out(held), 201 if fresh else 200)


@post(
    "/holds/{hold_id:str}/extend", status_code=200, security=SECURITY, tags=TAGS, summary="Extend a hold",
    opt={**needs("bookings:write"), **raises("hold_not_found", "hold_ended")},
)  # fmt: skip
async def prolong(request: Request, hold_id: FromPath[str]) -> Response[HoldOut]:
    """Ten minutes more, once. A facility's own hold shows its new end as soon as the facility has said it."""
    return answer(hold_out(await hub_of(request).holds.prolong(hold_id)))


@delete("/holds/{hold_id:str}", security=SECURITY, tags=TAGS, opt={**needs("bookings:write"), **raises("hold_not_found")}, summary="Drop")
async def drop(request: Request, hold_id: FromPath[str]) -> None:
    """The guest went away: the time is free again. One that is over already changes nothing."""
    await hub_of(request).holds.drop(hold_id)


HANDLERS = [hold, prolong, drop]
