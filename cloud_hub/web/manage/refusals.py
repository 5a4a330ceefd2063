"""The admins' page of refusals (R10): which rules stood in guests' way lately, at which facility and channel, and who met them most.

    GET  /manage/refusals

Invariant: it only reads; a figure is the sum of what the hub counted itself and of what the facility has told.
"""

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from cloud_hub.services.hub import Hub
from cloud_hub.services.rule_hits import SHOWN_DAYS

from .routes import admin_of
from .views import Views

CHANNELS = {"web": "Web", "kiosk": "Kiosk", "staff": "Staff", "api": "API", "clubos": "ClubOS"}
#: code of a rule -> what stood in the way; one that is not here is shown as it is
RULES = {
    "duration_too_short": "Shorter than may be booked",
    "duration_step": "Not a length that is sold",
    "duration_too_long": "Longer than may be booked",
    "off_grid": "Not at a start of the grid",
    "in_the_past": "Past already",
    "cut_off_passed": "Too short before the start",
    "too_far_ahead": "Too far ahead",
    "too_many_open": "Too many open bookings",
    "outside_hours": "Outside opening hours",
    "reschedule_limit": "Changed too often",
    "customer_blocked": "Customer may not book",
    "prepay_only": "Customer pays first",
    "restriction_unknown": "Restriction that staff must look at",
    "too_few_guests": "Nobody comes",
    "too_many_guests": "More people than the bay takes",
    "resource_not_active": "Bay taken out of sale",
}


class RefusalPages:
    """Over the services of one hub."""

    def __init__(self, hub: Hub, views: Views):
        self._hub, self._views = hub, views

    def page(self, request: Request) -> Response:
        found = sorted(self._hub.rule_hits.by_rule(), key=lambda one: self._hub.sites.name(one.site_id))
        return self._views.page(
            request, "manage_refusals.html", admin=admin_of(request), found=found, days=SHOWN_DAYS, channels=CHANNELS, rules=RULES,
            site=self._hub.sites.name, now=self._hub.desk.now(),
        )  # fmt: skip


def handlers_of_refusals(pages: RefusalPages) -> list[HTTPRouteHandler]:
    @get("/", include_in_schema=False, sync_to_thread=False)
    def listed(request: Request) -> Response:
        return pages.page(request)

    return [listed]
