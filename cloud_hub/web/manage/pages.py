"""Puts the admins' pages together over one hub: what `app` mounts.

    GET  /manage/sign-in              the form for the key
    POST /manage/sign-in              a session begins
    POST /manage/sign-out
    GET  /manage/answers              what guests said when they were asked how it was
    GET  /manage/refusals             which rules stood in the way
    /manage/notices                   what guests of a facility must know
    /manage/phones                    telephones that open doors
    /manage/displaced                 bookings that have lost their place (see `displaced`)
    GET  /manage/work                 lanes, counts, rows
    GET  /manage/work/{mark}          one row
    POST /manage/work/{mark}/retry    try again
    /manage/texts                     the operator's own words (see `texts`)

Invariant: everything but the sign-in needs a living session, and what acts passes the CSRF guard.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from cloud_hub.services.admins import Admins
from cloud_hub.services.hub import Hub
from cloud_hub.services.words_desk import WordsDesk
from cloud_hub.services.work_desk import WorkDesk
from shared.runtime.cookies import read_cookie
from shared.runtime.csrf import Csrf
from shared.runtime.problems import unauthorized
from shared.runtime.ratelimit import RateRule
from shared.runtime.routing import Router

from . import answers, displaced, notices, phones, refusals, routes, texts
from .routes import ADMIN, COOKIE
from .views import STATIC, Views

__all__ = ["LARGE", "PREFIX", "RATE_RULES", "STATIC", "AdminPages", "build"]

PREFIX = "/manage"
#: a text, a subject and html may each be long, and a letter of French takes six octets in a form
LARGE = "/manage/texts/"
#: per client address
RATE_RULES = (
    RateRule("manage-sign-in", 10, 60.0, prefixes=("/manage/sign-in",), methods=frozenset({"POST"})),
    RateRule("manage", 120, 60.0, prefixes=(PREFIX,)),
)


class AdminPages:
    """`router` for the app; `problem` for `Problems(render_page=…)`, `sign_in` for `Problems(sign_in=…)`."""

    def __init__(self, router: Router, problem: Callable[[Mapping[str, Any], Mapping[str, Any]], str]):
        self.router, self.problem = router, problem

    @staticmethod
    def sign_in(scope: Mapping[str, Any]) -> str | None:
        """Where a browser without a session is sent: to the sign-in, which leads back to the page; None outside of these pages."""
        if not scope["path"].startswith(PREFIX):
            return None
        query = scope["query_string"].decode("latin-1")
        asked = scope["path"] + (f"?{query}" if query else "")
        return f"{PREFIX}/sign-in?next={quote(asked, safe='')}" if scope["method"] == "GET" else f"{PREFIX}/sign-in"


def build(hub: Hub, work: WorkDesk, words: WordsDesk, static_url: Callable[[str], str], csrf_key: bytes) -> AdminPages:
    """`static_url` gives the address of files of the folder `STATIC`, served as "manage"; `csrf_key`: 32 secret bytes of this hub."""
    tls = hub.config.hub.http.behind_tls
    csrf = Csrf(csrf_key, tls=tls, sign_in_cookies=(COOKIE,))
    admins = Admins(hub.db, hub.desk, hub.api_keys, hub.attempts.refused_sign_in)
    views = Views(csrf, static_url, hub.displaced.count, phones=bool(hub.phone_checks.sites))

    async def signed_in(connection: ASGIConnection, _: BaseRouteHandler) -> None:
        # an Authorization header would pass the CSRF guard, and these pages know no other sign-in than the cookie
        cookie = "" if "authorization" in connection.headers else read_cookie(connection.scope, COOKIE, tls=tls)
        admin = admins.of(cookie)
        if admin is None:
            raise unauthorized("Please sign in.", code="not_signed_in")
        connection.scope[ADMIN] = admin

    door = routes.handlers_of_door(routes.Door(admins, views, tls=tls))
    rows = Router("/work", route_handlers=routes.handlers_of_work(routes.WorkPages(hub, views, work)))
    own_words = Router("/texts", route_handlers=texts.handlers_of_texts(texts.TextPages(hub, views, words)))
    said = Router("/answers", route_handlers=answers.handlers_of_answers(answers.AnswerPages(hub, views)))
    told = Router("/notices", route_handlers=notices.handlers_of_notices(notices.NoticePages(hub, views)))
    stood = Router("/refusals", route_handlers=refusals.handlers_of_refusals(refusals.RefusalPages(hub, views)))
    lost = Router("/displaced", route_handlers=displaced.handlers_of_displaced(displaced.DisplacedPages(hub, views)))
    held = Router("/phones", route_handlers=phones.handlers_of_phones(phones.PhonePages(hub, views)))
    inside = [*routes.handlers_of_session(admins, tls=tls), rows, said, own_words, told, stood, lost, held]
    outer = Router("/", route_handlers=door, guards=[csrf.guard])
    inner = Router("/", route_handlers=inside, guards=[signed_in, csrf.guard])
    return AdminPages(Router(PREFIX, route_handlers=[outer, inner]), views.problem)
