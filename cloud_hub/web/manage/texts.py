"""The admins' pages of the operator's own words: which there are, and one text with its preview. Forms and redirects; there is no script.

    GET  /manage/texts                               every message, and where the operator has own words
    GET  /manage/texts/{event}/{channel}/{language}  one text; ?facility= and ?kind= narrow it, ?version= brings an old one back into the form
    POST the same                                    check, save, put back, send a test

Invariant: what was typed comes back with every answer but one that has put it into use.
"""

from collections.abc import Sequence

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from cloud_hub.services.hub import Hub
from cloud_hub.services.words_desk import CHANNELS, EVENTS, LANGUAGES, ORDER_KINDS, TESTABLE, Text, Which, WordsDesk
from shared.errors import Failure, Refused, status_of
from shared.runtime.body import decode_form, read_form

from . import forms, words_of_texts
from .forms import TextForm
from .routes import admin_of
from .views import Views

NOTHING_WRONG = "It can be used as it is."


class TextPages:
    """Over the services of one hub."""

    def __init__(self, hub: Hub, views: Views, desk: WordsDesk):
        self._hub, self._views, self._desk = hub, views, desk

    def list(self, request: Request) -> Response:
        own = self._desk.own()
        counted: dict[tuple[str, ...], int] = {}
        for one in own:
            key = one.version.which[:3]
            counted[key] = counted.get(key, 0) + 1
        return self._views.page(
            request, "manage_texts.html", admin=admin_of(request), own=own, counted=counted, events=EVENTS, channels=CHANNELS, languages=LANGUAGES,
            which=Which, site=self._hub.sites.name, now=self._hub.desk.now(),
        )  # fmt: skip

    def page(self, request: Request, which: Which) -> Response:
        """The text as it stands, or with an old version in the form."""
        shown = self._desk.shown(which)
        asked, said, wrong = forms.version_of(request.query_params.get("version", "")), [], []
        old = next((one for one in shown.versions if one.version == asked), None)
        if old is not None:
            draft = Text(old.text, old.subject, old.html)
            said = [f"This is version {old.version} again. It is sent once you have saved it."]
        else:
            draft = Text(shown.own.version.text, shown.own.version.subject, shown.own.version.html) if shown.own else shown.otherwise
            wrong = ["This version is not kept any more."] if asked is not None else []
        if "saved" in request.query_params:
            said = ["It is saved, and sent from now on."]
        elif "put_back" in request.query_params:
            said = ["Your text is put back, and not sent any more. It stays among the versions."]
        return self._editor(request, which, draft, said=said, wrong=wrong, status=400 if wrong else 200)

    async def pressed(self, request: Request, which: Which) -> Response:
        form = decode_form(await read_form(request), TextForm)
        draft = form.draft()
        try:
            return await self._done(request, which, form, draft)
        except Refused as no:
            wrong = [no.refusal.detail, *(one.detail for one in no.refusal.violations)]
            latest = None if no.refusal.code == "illegal_move" else form.latest  # then they were told of the later one
            return self._editor(request, which, draft, wrong=wrong, to=form.to, latest=latest, status=status_of(no.refusal.code))
        except Failure as failure:  # the books cannot be written just now
            wrong = [f"It was not done: {failure.detail} What you have typed is still here; please try again."]
            return self._editor(request, which, draft, wrong=wrong, to=form.to, latest=form.latest, status=503)

    async def _done(self, request: Request, which: Which, form: TextForm, draft: Text) -> Response:
        admin = admin_of(request)
        if form.do == "save":
            await self._desk.save(which, draft, form.latest, admin)
            return Redirect(words_of_texts.address(which, saved=1), status_code=303)
        if form.do == "put_back":
            await self._desk.put_back(which, form.latest, admin)
            return Redirect(words_of_texts.address(which, put_back=1), status_code=303)
        if form.do == "test":
            row = await self._desk.send_test(which, draft, form.to, form.once, admin)
            return self._editor(request, which, draft, said=["The test is on its way."], mark=row.mark, to=form.to, latest=form.latest)
        wrong = self._desk.check(which, draft)
        return self._editor(request, which, draft, said=[] if wrong else [NOTHING_WRONG], wrong=wrong, to=form.to, latest=form.latest)

    def _editor(
        self, request: Request, which: Which, draft: Text, *, said: Sequence[str] = (), wrong: Sequence[str] = (), mark: str = "", to: str = "",
        latest: int | None = None, status: int = 200,
    ) -> Response:  # fmt: skip
        """`latest`: the version that the form was made from, where nobody was told of a later one."""
        shown, previews = self._desk.shown(which), self._desk.previews(which, draft)
        return self._views.page(
            request, "manage_text.html", admin=admin_of(request), status=status, styled=any(one.words.html for one in previews), which=which,
            shown=shown, draft=draft, previews=previews, values=self._desk.values(which), said=said, wrong=wrong, mark=mark, to=to,
            latest=shown.latest if latest is None else latest, once=self._hub.desk.new_id(), testable=which.channel in TESTABLE,
            sites=self._desk.sites, kinds=ORDER_KINDS, site=self._hub.sites.name, now=self._hub.desk.now(),
        )  # fmt: skip

    def asked(self, request: Request, event: str, channel: str, language: str) -> Which:
        """The text that an address names. Refuses `not_found`."""
        query = request.query_params
        return self._desk.which(event, channel, language, query.get("facility", ""), query.get("kind", ""))


def handlers_of_texts(pages: TextPages) -> list[HTTPRouteHandler]:
    @get("/", include_in_schema=False, sync_to_thread=False)
    def listed(request: Request) -> Response:
        return pages.list(request)

    @get("/{event:str}/{channel:str}/{language:str}", include_in_schema=False, sync_to_thread=False)
    def one(request: Request, event: FromPath[str], channel: FromPath[str], language: FromPath[str]) -> Response:
        return pages.page(request, pages.asked(request, event, channel, language))

    @post("/{event:str}/{channel:str}/{language:str}", include_in_schema=False)
    async def pressed(request: Request, event: FromPath[str], channel: FromPath[str], language: FromPath[str]) -> Response:
        return await pages.pressed(request, pages.asked(request, event, channel, language))

    return [listed, one, pressed]
