"""How a customer is reached, below the link of an order: languages, channels, quiet hours, and browsers that want to be told (N3, W4).

    GET/POST  /b/{order}/{token}/messages          what is chosen, then choosing
    POST      /b/{order}/{token}/messages/browsers no browser is told of the order any more
    POST      /b/{order}/{token}/push              a browser wants to be told: its subscription as JSON
    POST      /b/{order}/{token}/push/off          it does not any more
    GET       /b/push.js                           the service worker; from here, since it may work for no other addresses than those beside it

Invariant: no address is shown whole, since whoever holds the link need not own it.
"""

from pathlib import Path

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.response import Redirect

from cloud_hub.services.hub import Hub
from cloud_hub.services.reaching import Reach, Reaching
from cloud_hub.services.visits import OrderPage, Visits
from shared.runtime.body import decode_form, read_form

from . import forms, message_words
from .link_pages import LinkPages
from .views import STATIC, Views

WORKER = Path("push-worker.js")
JAVASCRIPT = "text/javascript"


class MessagePages(LinkPages):
    """What is chosen of an order's customer, and which browsers hear of the order."""

    def __init__(self, hub: Hub, views: Views, visits: Visits, reaching: Reaching):
        super().__init__(hub, views, visits)
        self._reaching = reaching
        self.worker = (STATIC / WORKER).read_bytes()

    def page(self, request: Request, order_id: str, token: str) -> Response:
        order = self._open(order_id, token)
        reach = self._reaching.of(order.order)
        form = _standing(reach)
        return self._page(request, order, reach, form, self._root(order_id, token), saved="saved" in request.query_params)

    def _page(self, request: Request, order: OrderPage, reach: Reach, form: forms.MessagesForm, root: str, **more) -> Response:
        values = {"errors": {}, "saved": False, "status": 200} | more
        hours = sorted({*range(0, 24 * 60, 30), *(minute for minute in reach.chosen.quiet if minute)})
        return self._show(
            request, "messages.html", order, root, reach=reach, form=form, hours=hours, push_key=reach.push_key,
            tells=self._reaching.tells, say=message_words, **values,
        )  # fmt: skip

    async def choose(self, request: Request, order_id: str, token: str) -> Response:
        order, root = self._open(order_id, token), self._root(order_id, token)
        form = decode_form(await read_form(request), forms.MessagesForm)
        reach = self._reaching.of(order.order)
        choice, errors = forms.choice_of(form, reach.chosen)
        if choice is None:
            return self._page(request, order, reach, form, root, errors=errors, status=422)
        await self._reaching.choose(order.order, choice)
        return Redirect(f"{root}/messages?saved=1", status_code=303)

    # ---- browsers
    async def subscribe(self, order_id: str, token: str, browser: forms.BrowserIn) -> Response[None]:
        order = self._open(order_id, token)
        await self._reaching.subscribe(order.order, browser.endpoint, msgspec.json.encode(browser).decode())
        return Response(None, status_code=204)

    async def unsubscribe(self, order_id: str, token: str, browser: forms.BrowserOut) -> Response[None]:
        order = self._open(order_id, token)
        await self._reaching.unsubscribe(order.order, browser.endpoint)
        return Response(None, status_code=204)

    async def forget_browsers(self, request: Request, order_id: str, token: str) -> Response:
        order = self._open(order_id, token)
        decode_form(await read_form(request), forms.PressForm)
        await self._reaching.forget_browsers(order.order)
        return Redirect(f"{self._root(order_id, token)}/messages?saved=1", status_code=303)


def _standing(reach: Reach) -> forms.MessagesForm:
    """The form as what is chosen would fill it in."""
    chosen = reach.chosen
    quiet = [str(minute) for minute in chosen.quiet] if chosen.quiet != (0, 0) else ["", ""]
    return forms.MessagesForm(
        language=chosen.language,
        channel=[way.name for way in reach.ways if way.on],
        quiet_from=quiet[0],
        quiet_until=quiet[1],
        courtesies="yes" if chosen.courtesies else "",
    )


def handlers(pages: MessagePages) -> list[HTTPRouteHandler]:
    """The routes of messages below a customer's link, and the service worker's."""

    @get("/b/push.js", include_in_schema=False, sync_to_thread=False)
    def worker() -> Response[bytes]:
        return Response(pages.worker, media_type=JAVASCRIPT, headers={"cache-control": "no-cache"})

    @get("/b/{order_id:str}/{token:str}/messages", include_in_schema=False, sync_to_thread=False)
    def page(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return pages.page(request, order_id, token)

    @post("/b/{order_id:str}/{token:str}/messages", include_in_schema=False)
    async def choose(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return await pages.choose(request, order_id, token)

    @post("/b/{order_id:str}/{token:str}/messages/browsers", include_in_schema=False)
    async def forget_browsers(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return await pages.forget_browsers(request, order_id, token)

    @post("/b/{order_id:str}/{token:str}/push", include_in_schema=False, status_code=204)
    async def subscribe(order_id: FromPath[str], token: FromPath[str], data: JSONBody[forms.BrowserIn]) -> Response[None]:
        return await pages.subscribe(order_id, token, data)

    @post("/b/{order_id:str}/{token:str}/push/off", include_in_schema=False, status_code=204)
    async def unsubscribe(order_id: FromPath[str], token: FromPath[str], data: JSONBody[forms.BrowserOut]) -> Response[None]:
        return await pages.unsubscribe(order_id, token, data)

    return [worker, page, choose, forget_browsers, subscribe, unsubscribe]
