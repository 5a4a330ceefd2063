"""Check-in, attendance, and guests who have lost their place."""

from litestar import Request, Response, get, post
from litestar.params import FromPath, JSONBody

from shared.runtime.openapi import raises
from site_agent.services.booking import Outcome
from site_agent.services.views import BookingView
from site_agent.services.visits.checkin import CheckedIn
from site_agent.services.visits.displaced import Conflict
from site_agent.web import bodies
from site_agent.web.api.common import DOOR, KIOSK_SCHEME, STAFF_SCHEME, STOPPED, TIMES, outcome
from site_agent.web.auth import asker_of, kit_of, needs


@post(
    "/check-in", status_code=200, tags=["Arrivals"], guards=[needs("kiosk", "check_in")], security=KIOSK_SCHEME,
    opt=raises(
        "pin_unknown", "too_many_tries", "pass_invalid", "pass_other_site", "pass_early", "pass_expired", "pass_not_seated",
        "already_checked_in", "declined", *DOOR,
    ),
)  # fmt: skip
async def check_in(request: Request, data: JSONBody[bodies.CheckInBody]) -> CheckedIn:
    """Check in by PIN or by the text of the QR pass; the doors are asked to open at once."""
    return await kit_of(request).checkin.by_text(data.code, asker_of(request))


@post(
    "/bookings/{booking_id:str}/check-in", status_code=200, tags=["Arrivals"], guards=[needs("check_in")], security=STAFF_SCHEME,
    opt=raises("booking_not_found", *DOOR),
)  # fmt: skip
async def check_in_by_staff(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.StaffCheckInBody]) -> CheckedIn:
    """Check a guest in by hand."""
    return await kit_of(request).checkin.by_staff(booking_id, asker_of(request), open_doors=data.open_doors)


@post(
    "/bookings/{booking_id:str}/attendance", status_code=200, tags=["Arrivals"], guards=[needs("check_in")], security=STAFF_SCHEME,
    opt=raises("booking_not_found", "illegal_move"),
)  # fmt: skip
async def attend(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.AttendBody]) -> BookingView:
    """The visit is completed, a no-show, or the last word was a mistake."""
    return await kit_of(request).checkin.attend(booking_id, "" if data.state == "none" else data.state, asker_of(request))


@post(
    "/bookings/{booking_id:str}/sell-rest", status_code=200, tags=["Arrivals"], guards=[needs("check_in")], security=STAFF_SCHEME,
    opt=raises("booking_not_found", "illegal_move", "not_mine", *STOPPED),
)  # fmt: skip
async def sell_rest(request: Request, booking_id: FromPath[str]) -> BookingView:
    """Put the rest of a no-show's time on sale. Answers with the shorter booking that stands in its place now; the same again with the same."""
    return await kit_of(request).checkin.sell_rest(booking_id, asker_of(request))


@get("/conflicts", tags=["Arrivals"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def conflicts(request: Request) -> list[Conflict]:
    """Bookings that have lost their place, with ranked ways out."""
    return kit_of(request).displaced.conflicts(asker_of(request))


@post(
    "/bookings/{booking_id:str}/reseat", status_code=200, tags=["Arrivals"], guards=[needs("book")], security=STAFF_SCHEME,
    opt=raises("booking_not_found", "illegal_move", "not_mine", "slot_taken", "resource_not_found"),
)  # fmt: skip
async def reseat(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.ReseatBody]) -> BookingView:
    """Give a displaced booking another bay here, from 30 minutes before its start."""
    return await kit_of(request).displaced.reseat(booking_id, data.resource_id, asker_of(request))


@post(
    "/conflicts/{booking_id:str}/place", status_code=201, tags=["Arrivals"], guards=[needs("book")], security=STAFF_SCHEME,
    opt=raises(
        *TIMES, "bad_request", "booking_not_found", "illegal_move", "slot_taken", "outside_hours", "id_reused", "already_cancelled",
        "hub_unreachable", "declined", *STOPPED,
    ),
)  # fmt: skip
async def place(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.PlaceBody]) -> Response[Outcome]:
    """Give a displaced booking another place, at any time, at the price it has: near its start as a seat, else as a new booking of the same
    order. 202 while the booking centre is asked. The same again gives the same answer."""
    desk = kit_of(request).displaced
    return outcome(await desk.place(booking_id, data.booking_id, data.resource_id, bodies.interval(data), asker_of(request)), made=True)


HANDLERS = (check_in, check_in_by_staff, attend, sell_rest, conflicts, reseat, place)
