"""How it was: one question about a visit, below the link of its order (N2).

    GET/POST  /b/{order}/{token}/survey    the question, then the answer and thanks

Invariant: what cannot be answered says why, and nothing that was typed is lost to a mistake.
"""

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from cloud_hub.services.hub import Hub
from cloud_hub.services.surveys import WORDS_MAX, Survey, cleaned
from cloud_hub.services.visits import OrderPage, Visits
from shared.errors import Refused
from shared.runtime.body import decode_form, read_form

from . import forms, views
from .link_pages import LinkPages
from .views import Views


class SurveyPages(LinkPages):
    """The question, and thanks for its answer."""

    def __init__(self, hub: Hub, views: Views, visits: Visits):
        super().__init__(hub, views, visits)
        self._surveys = hub.surveys

    def page(self, request: Request, order_id: str, token: str) -> Response:
        order = self._open(order_id, token)
        survey = self._surveys.of(order_id)
        said = survey.answer
        form = forms.SurveyForm(score=str(said.score), words=said.words) if said else forms.SurveyForm()
        asks = survey.state == "open" and (said is None or "change" in request.query_params)
        return self._page(request, order, survey, form, self._root(order_id, token), asks=asks)

    def _page(self, request: Request, order: OrderPage, survey: Survey, form: forms.SurveyForm, root: str, **more) -> Response:
        values = {"asks": True, "errors": {}, "told": [], "status": 200} | more
        return self._show(request, "survey.html", order, root, survey=survey, form=form, words_max=WORDS_MAX, **values)

    async def answer(self, request: Request, order_id: str, token: str) -> Response:
        order, root = self._open(order_id, token), self._root(order_id, token)
        form = decode_form(await read_form(request), forms.SurveyForm)
        errors, score, text = _judged(form)
        survey = self._surveys.of(order_id)
        if errors and survey.state == "open":
            return self._page(request, order, survey, form, root, errors=errors, status=422)
        try:
            await self._surveys.answer(order_id, score, text)
        except Refused as no:
            told = views.sentences(no.refusal)
            return self._page(request, order, survey, form, root, asks=False, told=told, status=views.status(no.refusal))
        return Redirect(f"{root}/survey", status_code=303)


def _judged(form: forms.SurveyForm) -> tuple[dict[str, str], int, str]:
    """What is wrong, field -> sentence; the score (1 where none was chosen) and what was written, cleaned."""
    errors: dict[str, str] = {}
    if form.score not in ("1", "2", "3", "4", "5"):
        errors["score"] = "Please choose a number from 1 to 5."
    text = cleaned(form.words)
    if len(text) > WORDS_MAX:
        errors["words"] = f"There is room for {WORDS_MAX} characters; these are {len(text)}."
    return errors, 1 if "score" in errors else int(form.score), text[:WORDS_MAX]


def handlers(pages: SurveyPages) -> list[HTTPRouteHandler]:
    """The routes of the survey below a customer's link."""

    @get("/b/{order_id:str}/{token:str}/survey", include_in_schema=False, sync_to_thread=False)
    def page(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return pages.page(request, order_id, token)

    @post("/b/{order_id:str}/{token:str}/survey", include_in_schema=False)
    async def answer(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return await pages.answer(request, order_id, token)

    return [page, answer]
