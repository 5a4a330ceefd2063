"""The admins' page of the telephones that open doors (D10): letting an order's go, so that the guest's next one may be it.

    GET   /manage/phones    the form
    POST  /manage/phones    the order of this reference has no telephone any more

Invariant: nobody reads here which telephone an order has; who let one go is in the journal.
"""

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler

from cloud_hub.services.hub import Hub
from shared.errors import Refused, status_of
from shared.runtime.body import decode_form, read_form

from . import forms
from .routes import admin_of
from .views import Views


class PhonePages:
    """Over the services of one hub."""

    def __init__(self, hub: Hub, views: Views):
        self._hub, self._views = hub, views

    def page(self, request: Request, *, reference: str = "", told: str = "", error: str = "", status: int = 200) -> Response:
        wanted = [self._hub.sites.name(site_id) for site_id in sorted(self._hub.phone_checks.sites)]
        return self._views.page(
            request, "manage_phones.html", admin=admin_of(request), status=status, wanted=wanted, reference=reference, told=told, error=error
        )  # fmt: skip

    async def let_go(self, request: Request) -> Response:
        form = decode_form(await read_form(request), forms.PhoneForm)
        reference = form.reference.strip().upper()
        try:
            order = await self._hub.phone_checks.let_go(reference, admin_of(request).signed)
        except Refused as no:
            return self.page(request, reference=form.reference, error=no.refusal.detail, status=status_of(no.refusal.code))
        return self.page(request, told=order.reference)


def handlers_of_phones(pages: PhonePages) -> list[HTTPRouteHandler]:
    @get("/", include_in_schema=False, sync_to_thread=False)
    def form(request: Request) -> Response:
        return pages.page(request)

    @post("/", include_in_schema=False, status_code=200)
    async def let_go(request: Request) -> Response:
        return await pages.let_go(request)

    return [form, let_go]
