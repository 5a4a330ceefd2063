"""What every page below a customer's link begins with: the token is right, the order is there, the frame is the order's.

Invariant: a wrong token and an order that never was get the same 404, before anything is read; no answer here is kept, indexed or referred to.
"""

from litestar import Request, Response

from cloud_hub.services.hub import Hub
from cloud_hub.services.visits import OrderPage, Visits
from shared.errors import Refused
from shared.runtime.problems import of_status

from .views import Views

#: With `no-referrer` browsers send `Origin: null` from a form, which no forgery check could tell from a foreign page: pages that hold a form
#: say `same-origin`, which tells no other site anything either.
NO_REFERRER, OWN_REFERRER = {"referrer-policy": "no-referrer"}, {"referrer-policy": "same-origin"}


class LinkPages:
    """Base of the pages below a customer's link."""

    def __init__(self, hub: Hub, views: Views, visits: Visits):
        self._hub, self._views, self._visits = hub, views, visits

    def _open(self, order_id: str, token: str) -> OrderPage:
        if not self._hub.customer_links.opens(order_id, token):
            raise of_status(404)
        try:
            return self._visits.page(order_id)
        except Refused:
            raise of_status(404) from None

    @staticmethod
    def _root(order_id: str, token: str) -> str:
        return f"/b/{order_id}/{token}"

    def _show(
        self, request: Request, template: str, page: OrderPage, root: str, *, referrer: dict[str, str] = OWN_REFERRER, **more
    ) -> Response:
        now = self._hub.desk.now()
        return self._views.page(request, template, headers=referrer, order=page, house=page.house, root=root, now=now, **more)
