"""Puts the customer's pages together over one hub: what `app` mounts."""

from collections.abc import Callable, Mapping
from typing import Any

from cloud_hub.services.guest_booking import GuestBooking
from cloud_hub.services.guest_holds import GuestHolds
from cloud_hub.services.hub import Hub
from cloud_hub.services.offers import OfferDesk
from cloud_hub.services.reaching import Reaching
from cloud_hub.services.visits import Visits
from shared.runtime.csrf import Csrf
from shared.runtime.ratelimit import RateRule
from shared.runtime.routing import Router

from . import door_routes, message_routes, order_routes, routes, survey_routes, way_routes
from .views import STATIC, Views

__all__ = ["RATE_RULES", "STATIC", "CustomerPages", "build"]

#: Z2, per client address: whoever fills forms by hand never meets these
RATE_RULES = (
    RateRule("book-writes", 40, 60.0, prefixes=("/book/hold/", "/b/"), methods=frozenset({"POST"})),
    # A press keeps a time from everybody else for ten minutes or twenty: one address must not be able to keep the whole week.
    RateRule("book-holds", 30, 600.0, prefixes=("/book/",), methods=frozenset({"POST"})),
    RateRule("book-pages", 240, 60.0, prefixes=("/book", "/b/")),
)


class CustomerPages:
    """`router` for the app; `problem` for `Problems(render_page=…)`."""

    def __init__(self, router: Router, problem: Callable[[Mapping[str, Any], Mapping[str, Any]], str]):
        self.router, self.problem = router, problem


def build(hub: Hub, static_url: Callable[[str], str], csrf_key: bytes) -> CustomerPages:
    """`static_url` gives the address of files of the folder `STATIC`, served as "book"; `csrf_key`: 32 secret bytes of this hub."""
    csrf = Csrf(csrf_key, tls=hub.config.hub.http.behind_tls, sign_in_cookies=())
    pages = Views(csrf, static_url)
    offers = OfferDesk(hub)
    holds = GuestHolds(hub, offers)
    steps = routes.BookPages(hub, pages, offers, holds, GuestBooking(hub))
    visits, reaching = Visits(hub, offers), Reaching(hub)
    orders = order_routes.OrderPages(hub, pages, offers, visits, reaching)
    messages = message_routes.MessagePages(hub, pages, visits, reaching)
    surveys = survey_routes.SurveyPages(hub, pages, visits)
    ways, doors = way_routes.WayPages(hub, pages, visits), door_routes.DoorPages(hub, pages, visits)
    below_a_link = [
        *order_routes.handlers(orders), *message_routes.handlers(messages), *survey_routes.handlers(surveys), *way_routes.handlers(ways),
        *door_routes.handlers(doors),
    ]  # fmt: skip
    router = Router("/", route_handlers=[*routes.handlers(steps), *below_a_link], guards=[csrf.guard])
    return CustomerPages(router, pages.problem)
