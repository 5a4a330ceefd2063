"""The admins' pages: signing in, and work rows. Forms and redirects; there is no script.

Invariant: a refusal is a page with its sentence; nothing but a POST changes anything, except that reading a letter is noted.
"""

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from cloud_hub.services.admins import SESSION_S, Admin, Admins
from cloud_hub.services.hub import Hub
from cloud_hub.services.work_desk import ENDED_UNDONE, WorkDesk, may_repeat
from shared.errors import Failure, Refused, status_of
from shared.runtime.body import decode_form, read_form
from shared.runtime.cookies import make_cookie, read_cookie, set_cookie
from shared.runtime.web import rate_key

from . import forms
from .views import Views

#: the session's cookie, and where the guard leaves the admin in the connection's scope
COOKIE, ADMIN = "admin", "clubos.admin"
LETTER_KEPT_BACK = "The letter is not shown, since it cannot be noted just now who read it."


class Door:
    """Signing in."""

    def __init__(self, admins: Admins, views: Views, *, tls: bool):
        self._admins, self._views, self._tls = admins, views, tls

    def page(self, request: Request) -> Response:
        to = forms.back_to(request.query_params.get("next", ""))
        if self._admins.of(read_cookie(request.scope, COOKIE, tls=self._tls)) is not None:
            return Redirect(to, status_code=303)
        return self._form(request, to, "", 200)

    def _form(self, request: Request, to: str, error: str, status: int) -> Response:
        return self._views.page(request, "manage_sign_in.html", admin=None, status=status, next=to, error=error)

    async def sign_in(self, request: Request) -> Response:
        form = decode_form(await read_form(request), forms.SignInForm)
        to = forms.back_to(form.next)
        try:
            token = await self._admins.sign_in(form.key, rate_key(request.scope["clubos.client_ip"]))
        except Refused as no:
            return self._form(request, to, no.refusal.detail, status_of(no.refusal.code))
        set_cookie(request.scope, make_cookie(COOKIE, token, tls=self._tls, max_age_s=SESSION_S, same_site="Strict"))
        return Redirect(to, status_code=303)


class WorkPages:
    """Work rows, over the services of one hub."""

    def __init__(self, hub: Hub, views: Views, work: WorkDesk):
        self._hub, self._views, self._work = hub, views, work

    def list(self, request: Request) -> Response:
        lanes = self._work.lanes()
        wanted, wrong = forms.wanted_of(request.query_params, [lane.name for lane in lanes])
        found = self._work.search(wanted)
        return self._views.page(
            request, "manage_work.html", admin=admin_of(request), status=400 if wrong else 200, wrong=wrong, lanes=lanes, wanted=wanted, found=found,
            about=self._work.about(found.rows), older=forms.query_of(wanted, found.older) if found.older else "", now=self._hub.desk.now(),
            site=self._hub.sites.name,
        )  # fmt: skip

    async def row(self, request: Request, mark: str, *, told: str = "", status: int = 200) -> Response:
        admin, row, kept_back = admin_of(request), self._work.row(mark), ""
        try:
            letter = await self._work.letter(row, admin)
        except Failure:  # the books cannot be written; what else is known helps to mend that
            letter, kept_back = None, LETTER_KEPT_BACK
        return self._views.page(
            request, "manage_row.html", admin=admin, status=status, row=row, letter=letter, kept_back=kept_back, told=told, about=self._work.about([row])[row.id],
            retried="retried" in request.query_params, may_retry=row.state in ENDED_UNDONE, may_repeat=may_repeat(row),
            now=self._hub.desk.now(), site=self._hub.sites.name(row.site_id) if row.site_id else "",
        )  # fmt: skip

    async def retry(self, request: Request, mark: str) -> Response:
        form = decode_form(await read_form(request), forms.RetryForm)
        try:
            await self._work.retry(mark, admin_of(request), sure=form.sure == "yes")
        except Refused as no:
            if no.refusal.code == "not_found":
                raise
            return await self.row(request, mark, told=no.refusal.detail, status=status_of(no.refusal.code))
        return Redirect(f"/manage/work/{mark}?retried=1", status_code=303)


def admin_of(request: Request) -> Admin:
    """Who passed the guard."""
    return request.scope[ADMIN]


def handlers_of_door(door: Door) -> list[HTTPRouteHandler]:
    @get("/sign-in", include_in_schema=False, sync_to_thread=False)
    def page(request: Request) -> Response:
        return door.page(request)

    @post("/sign-in", include_in_schema=False, status_code=200)
    async def sign_in(request: Request) -> Response:
        return await door.sign_in(request)

    return [page, sign_in]


def handlers_of_session(admins: Admins, *, tls: bool) -> list[HTTPRouteHandler]:
    @post("/sign-out", include_in_schema=False)
    async def sign_out(request: Request) -> Redirect:
        decode_form(await read_form(request), forms.NoFields)
        await admins.sign_out(read_cookie(request.scope, COOKIE, tls=tls), admin_of(request))
        set_cookie(request.scope, make_cookie(COOKIE, "", tls=tls, max_age_s=0, same_site="Strict"))
        return Redirect("/manage/sign-in", status_code=303)

    @get("/", include_in_schema=False, sync_to_thread=False)
    def home() -> Redirect:
        return Redirect(forms.HOME, status_code=303)

    return [home, sign_out]


def handlers_of_work(pages: WorkPages) -> list[HTTPRouteHandler]:
    @get("/", include_in_schema=False, sync_to_thread=False)
    def listed(request: Request) -> Response:
        return pages.list(request)

    @get("/{mark:str}", include_in_schema=False)
    async def row(request: Request, mark: FromPath[str]) -> Response:
        return await pages.row(request, mark)

    @post("/{mark:str}/retry", include_in_schema=False)
    async def retry(request: Request, mark: FromPath[str]) -> Response:
        return await pages.retry(request, mark)

    return [listed, row, retry]
