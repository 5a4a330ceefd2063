"""The door by telephone, below the link of an order (D2): one button, and the page says what came of it.

    POST /b/{order}/{token}/open         asks the facility, waits a moment, and goes back to the order's page
    POST /b/{order}/{token}/phone        what the telephone is to confirm first, as JSON, where the facility wants that (D10)
    POST /b/{order}/{token}/phone/bind   the key that it has made, as JSON; the answer is what it is to confirm

Invariant: works without a script where a telephone can, and whatever keeps the door shut, the page shows the PIN in large figures. A position is
judged and let go.
"""

from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.response import Redirect

from cloud_hub.services.hub import Hub
from cloud_hub.services.phone_doors import Asked, Position
from cloud_hub.services.visits import Visits, new_id
from shared.errors import Refused
from shared.model import Booking
from shared.runtime.body import decode_form, read_form

from . import forms, views
from .link_pages import LinkPages
from .views import PRIVATE, Views


class DoorPages(LinkPages):
    """The press, and the page that says why the door stays shut."""

    def __init__(self, hub: Hub, views: Views, visits: Visits):
        super().__init__(hub, views, visits)

    async def open(self, request: Request, order_id: str, token: str) -> Response:
        order, root = self._open(order_id, token), self._root(order_id, token)
        form = decode_form(await read_form(request), forms.OpenForm)
        visit = self._visits.visit(order, form.booking)
        try:
            await self._hub.phone_doors.press(visit.booking, new_id(form.nonce), at=position_of(form), answer=answer_of(form))
        except Refused as no:
            return self._show(
                request, "door_shut.html", order, root, status=views.status(no.refusal), visit=visit, told=views.sentences(no.refusal)
            )
        return Redirect(f"{root}#door-{visit.booking.id}", status_code=303)

    # ---- before the press; a refusal is a problem document, whose sentence the page's script shows
    def _booking(self, order_id: str, token: str, booking_id: str) -> Booking:
        return self._visits.visit(self._open(order_id, token), booking_id).booking

    async def ask(self, order_id: str, token: str, data: forms.PhoneIn) -> Response[Asked]:
        b = self._booking(order_id, token, data.booking)
        return Response(await self._hub.phone_doors.asked(b, position_of(data)), headers=PRIVATE)

    async def bind(self, order_id: str, token: str, data: forms.PhoneIn) -> Response[Asked]:
        b = self._booking(order_id, token, data.booking)
        return Response(await self._hub.phone_doors.bound(b, position_of(data), data.answer), headers=PRIVATE)


def answer_of(form: forms.OpenForm) -> dict[str, Any] | None:
    """What the telephone answers; None for nothing, and for what is no answer."""
    try:
        return msgspec.json.decode(form.answer, type=dict[str, Any]) if form.answer else None
    except msgspec.MsgspecError:
        return None


def position_of(form: forms.OpenForm | forms.PhoneIn) -> Position | None:
    """Where the telephone says it is; None where it says nothing."""
    if form.latitude is None or form.longitude is None:
        return None
    return Position(form.latitude, form.longitude, form.accuracy or 0.0)


def handlers(pages: DoorPages) -> list[HTTPRouteHandler]:
    """The routes below a customer's link."""

    @post("/b/{order_id:str}/{token:str}/open", include_in_schema=False)
    async def open_door(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return await pages.open(request, order_id, token)

    @post("/b/{order_id:str}/{token:str}/phone", include_in_schema=False, status_code=200)
    async def ask(order_id: FromPath[str], token: FromPath[str], data: JSONBody[forms.PhoneIn]) -> Response[Asked]:
        return await pages.ask(order_id, token, data)

    @post("/b/{order_id:str}/{token:str}/phone/bind", include_in_schema=False, status_code=200)
    async def bind(order_id: FromPath[str], token: FromPath[str], data: JSONBody[forms.PhoneIn]) -> Response[Asked]:
        return await pages.bind(order_id, token, data)

    return [open_door, ask, bind]
