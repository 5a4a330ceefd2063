"""The admins' page of what guests answered when they were asked how it was: a figure for each facility, then every answer, the newest first.

    GET  /manage/answers    ?before= goes on to older ones

Invariant: where nobody has answered it says so, and gives no figure; who has read what guests wrote stands in the journal.
"""

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from cloud_hub.services.hub import Hub
from cloud_hub.services.surveys import COUNTED_DAYS, Found
from shared.errors import Failure

from . import forms
from .routes import admin_of
from .views import Views

KEPT_BACK = "What guests wrote is not shown, since it cannot be noted just now who read it."


class AnswerPages:
    """Over the services of one hub."""

    def __init__(self, hub: Hub, views: Views):
        self._hub, self._views = hub, views

    async def list(self, request: Request) -> Response:
        before, wrong = forms.before_of(request.query_params.get("before", ""))
        try:
            found, kept_back = await self._hub.surveys.read_by(admin_of(request), before), ""
        except Failure:  # the books cannot be written; the figures are told all the same
            found, kept_back = Found([], None), KEPT_BACK
        figures = self._hub.surveys.all_satisfaction([state.site_id for state in self._hub.links.states()])
        older = f"{found.older[0]}~{found.older[1]}" if found.older else ""
        return self._views.page(
            request, "manage_answers.html", admin=admin_of(request), status=400 if wrong else 200, wrong=wrong, found=found, figures=figures,
            older=older, later=bool(before), kept_back=kept_back, days=COUNTED_DAYS, now=self._hub.desk.now(), site=self._hub.sites.name,
        )  # fmt: skip


def handlers_of_answers(pages: AnswerPages) -> list[HTTPRouteHandler]:
    @get("/", include_in_schema=False)
    async def listed(request: Request) -> Response:
        return await pages.list(request)

    return [listed]
