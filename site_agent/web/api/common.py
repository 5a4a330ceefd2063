"""What the routes of the site's API share: who may ask, and with what they may be refused."""

from datetime import date
from typing import Annotated

from litestar import Response
from litestar.params import QueryParameter

from site_agent.services.booking import Outcome

ANY = ("view", "kiosk")
STAFF_SCHEME, KIOSK_SCHEME = [{"staff": []}], [{"staff": []}, {"kiosk": []}]
TIMES = ("bad_interval", "resource_not_found")
STOPPED = ("fenced", "retired", "below_floor", "bay_halted", "clock_untrusted")
SALE = (
    *TIMES,
    "slot_taken",
    "id_reused",
    "hub_unreachable",
    "declined",
    "rules_violated",
    "outside_hours",
    *STOPPED,
    "customer_blocked",
    "not_allowed",
)
DOOR = ("already_cancelled", "illegal_move", "displaced")
DayQuery = Annotated[date, QueryParameter(name="date", description="A day by the facility's calendar, YYYY-MM-DD.")]


def outcome(done: Outcome, *, made: bool) -> Response[Outcome]:
    """201 for what was made, 200 for what was changed, 202 while the other side is asked."""
    if done.state == "asked":
        headers = {"retry-after": "2", "location": f"/api/bookings/{done.booking.id}"}
        return Response(done, status_code=202, headers=headers)
    return Response(done, status_code=201 if made else 200)
