"""The door by telephone, below the link of an order (D2): one button, and the page says what came of it.

    POST /b/{order}/{token}/open    asks the facility, waits a moment, and goes back to the order's page

Invariant: works without a script, and whatever keeps the door shut, the page shows the PIN in large figures. A position is judged and let go.
"""

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from cloud_hub.services.hub import Hub
from cloud_hub.services.phone_doors import Position
from cloud_hub.services.visits import Visits, new_id
from shared.errors import Refused
from shared.runtime.body import decode_form, read_form

from . import forms, views
from .link_pages import LinkPages
from .views import Views


class DoorPages(LinkPages):
    """The press, and the page that says why the door stays shut."""

    def __init__(self, hub: Hub, views: Views, visits: Visits):
        super().__init__(hub, views, visits)

    async def open(self, request: Request, order_id: str, token: str) -> Response:
        order, root = self._open(order_id, token), self._root(order_id, token)
        form = decode_form(await read_form(request), forms.OpenForm)
        visit = self._visits.visit(order, form.booking)
        try:
            await self._hub.phone_doors.press(visit.booking, new_id(form.nonce), at=position_of(form))
        except Refused as no:
            return self._show(
                request, "door_shut.html", order, root, status=views.status(no.refusal), visit=visit, told=views.sentences(no.refusal)
            )
        return Redirect(f"{root}#door-{visit.booking.id}", status_code=303)


def position_of(form: forms.OpenForm) -> Position | None:
    """Where the telephone says it is; None where it says nothing."""
    if form.latitude is None or form.longitude is None:
        return None
    return Position(form.latitude, form.longitude, form.accuracy or 0.0)


def handlers(pages: DoorPages) -> list[HTTPRouteHandler]:
    """The route below a customer's link."""

    @post("/b/{order_id:str}/{token:str}/open", include_in_schema=False)
    async def open_door(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return await pages.open(request, order_id, token)

    return [open_door]
