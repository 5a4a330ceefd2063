"""Where the house could not keep a place: the guest chooses another, below the link of the order (B12).

    GET/POST  /b/{order}/{token}/ways?booking=ID    what happened and what can be had; then taking it

Invariant: the price that was agreed stays, no rule or fee for customers is asked, and a no changes nothing.
"""

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from cloud_hub.services.hub import Hub
from cloud_hub.services.lost_places import CLOSED, Lost, LostPlaces
from cloud_hub.services.visits import OrderPage, Visit, Visits
from shared.errors import Refused
from shared.runtime.body import decode_form, read_form
from shared.runtime.problems import of_status

from . import forms, views, way_words
from .link_pages import LinkPages
from .views import Views

CHOSEN = "Another place has been taken for this booking already. This is what you have now."


class WayPages(LinkPages):
    """What can be had instead of a place that was lost."""

    def __init__(self, hub: Hub, views: Views, visits: Visits):
        super().__init__(hub, views, visits)
        self._places = LostPlaces(hub, visits)

    def page(self, request: Request, order_id: str, token: str) -> Response:
        order, root = self._open(order_id, token), self._root(order_id, token)
        booking_id = request.query_params.get("booking", "")
        if not booking_id:
            waiting = self._places.open(order)
            if len(waiting) > 1:
                return self._show(request, "ways_which.html", order, root, waiting=waiting)
            if not waiting:
                return Redirect(root, status_code=303)
            booking_id = waiting[0].booking.id
        lost = self._places.of(order, self._now(order, booking_id))
        return Redirect(root, status_code=303) if lost is None else self._page(request, order, lost, root)

    def _now(self, order: OrderPage, booking_id: str) -> Visit:
        """What has become of the order's booking; one of another order is answered like a link that was never given."""
        try:
            return self._places.now(order, booking_id)
        except Refused:
            raise of_status(404) from None

    def _page(
        self, request: Request, order: OrderPage, lost: Lost, root: str, *, told: list[str] | None = None, status: int = 200
    ) -> Response:
        # one nonce for each way: the same press twice takes one place, two presses are two wishes
        ways = [(way, self._hub.desk.new_id().replace("-", "")[:24]) for way in lost.ways]
        return self._show(
            request, "ways.html", order, root, status=status, lost=lost, ways=ways, told=told or [], closed=CLOSED.get(lost.closed, ""),
            may_cancel=lost.visit in order.cancellable, may_change=not lost.closed, say=way_words,
        )  # fmt: skip

    async def choose(self, request: Request, order_id: str, token: str) -> Response:
        order, root = self._open(order_id, token), self._root(order_id, token)
        form = decode_form(await read_form(request), forms.WayForm)
        self._now(order, form.booking)
        try:
            await self._places.choose(order, form.booking, form.resource, form.start, form.end, nonce=form.nonce)
        except Refused as no:
            return self._not_taken(request, self._open(order_id, token), form, root, no)
        return Redirect(root, status_code=303)

    def _not_taken(self, request: Request, order: OrderPage, form: forms.WayForm, root: str, no: Refused) -> Response:
        """The "no", with what can be had now. Who pressed in another tab before reads what came of that."""
        visit, told, status = self._now(order, form.booking), views.sentences(no.refusal), views.status(no.refusal)
        if visit.booking.id != form.booking:
            told, status = [CHOSEN], 409
        lost = self._places.of(order, visit)
        if lost is None:
            return self._show(request, "ways_none.html", order, root, status=status, visit=visit, told=told, say=way_words)
        return self._page(request, order, _without(lost, form), root, told=told, status=status)


def _without(lost: Lost, form: forms.WayForm) -> Lost:
    """The owner knows something of a place that it refuses, as a hold: it is not offered again in the same breath."""
    refused = (form.resource, form.start, form.end)
    return Lost(
        visit=lost.visit, was=lost.was, why=lost.why, closed=lost.closed,
        ways=tuple(way for way in lost.ways if (way.resource_id, way.start, way.end) != refused),
    )  # fmt: skip


def handlers(pages: WayPages) -> list[HTTPRouteHandler]:
    """The routes of the ways out below a customer's link."""

    @get("/b/{order_id:str}/{token:str}/ways", include_in_schema=False, sync_to_thread=False)
    def page(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return pages.page(request, order_id, token)

    @post("/b/{order_id:str}/{token:str}/ways", include_in_schema=False)
    async def choose(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return await pages.choose(request, order_id, token)

    return [page, choose]
