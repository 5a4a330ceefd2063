"""Who a request comes from: a staff session's cookie, a kiosk's cookie, or a kiosk's token in the Authorization header.

Invariant: what acts by cookie passes the CSRF guard; a request with an Authorization header is judged by that header alone; what an asker
may do is asked of the services' matrix at every request.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from shared.errors import refuse
from shared.runtime.body import FORM_MEDIA
from shared.runtime.cookies import make_cookie, read_cookie, set_cookie
from shared.runtime.csrf import HEADER, SAFE_METHODS
from shared.runtime.problems import of_status, unauthorized
from site_agent.services.kit import Kit
from site_agent.services.people import RIGHTS, Asker

SESSION, KIOSK = "session", "kiosk"
#: a kiosk stays paired until somebody takes it back
KIOSK_COOKIE_S = 5 * 365 * 86_400
_ASKER = "clubos.asker"

Guard = Callable[[ASGIConnection, BaseRouteHandler], Awaitable[None]]


def kit_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Kit:
    return connection.app.state.kit


def asker_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Asker:
    """Who passed the guard."""
    return connection.scope[_ASKER]


def needs(*rights: str) -> Guard:
    """A guard: somebody who has one of the rights. 401 for nobody, 403 for somebody else; then CSRF."""

    async def guard(connection: ASGIConnection, handler: BaseRouteHandler) -> None:
        asker = await who(connection)
        if asker is None:
            raise unauthorized("Please sign in, or send the token of a paired kiosk.", code="not_signed_in")
        if not any(asker.may(right) for right in rights):
            raise refuse("not_allowed", f"You are not allowed to {RIGHTS.get(rights[0], 'do this')} here.")
        connection.scope[_ASKER] = asker
        await _not_forged(connection, handler)

    return guard


async def _not_forged(connection: ASGIConnection, handler: BaseRouteHandler) -> None:
    """The CSRF guard; a JSON body has no field for the token, so there it must be in the header."""
    headers = connection.headers
    bare = not ({HEADER, "authorization"} & set(headers)) and not headers.get("content-type", FORM_MEDIA).startswith(FORM_MEDIA)
    if bare and connection.scope.get("method") not in SAFE_METHODS:
        raise of_status(403, "This change needs the page's token in the header X-CSRF-Token.", code="csrf_failed")
    await kit_of(connection).csrf.guard(connection, handler)


async def paired(connection: ASGIConnection, handler: BaseRouteHandler) -> None:
    """A guard for kiosk pages: an unpaired browser gets nothing (K6). Pages know the cookie only: a header would pass the CSRF guard."""
    kit = kit_of(connection)
    bare = "authorization" not in connection.headers
    asker = kit.people.kiosk_of(read_cookie(connection.scope, KIOSK, tls=kit.tls)) if bare else None
    if asker is None:
        raise of_status(404)
    connection.scope[_ASKER] = asker
    await kit.csrf.guard(connection, handler)


async def who(connection: ASGIConnection) -> Asker | None:
    """Whom a request is taken for, by header or cookie; None for nobody."""
    kit = kit_of(connection)
    if "authorization" in connection.headers:
        scheme, _, token = connection.headers["authorization"].partition(" ")
        return kit.people.kiosk_of(token.strip()) if scheme.lower() == "bearer" else None
    cookie = read_cookie(connection.scope, SESSION, tls=kit.tls)
    asker = await kit.people.staff_of(cookie) if cookie else None
    return asker or kit.people.kiosk_of(read_cookie(connection.scope, KIOSK, tls=kit.tls))


def client_ip(connection: ASGIConnection) -> str:
    return connection.scope.get("clubos.client_ip", "local")


def give_session(connection: ASGIConnection, cookie: str) -> None:
    """The session's cookie, until the browser closes."""
    set_cookie(connection.scope, make_cookie(SESSION, cookie, tls=kit_of(connection).tls, same_site="Lax"))


def take_session(connection: ASGIConnection) -> str:
    """The cookie's value, and have the browser forget it."""
    kit = kit_of(connection)
    set_cookie(connection.scope, make_cookie(SESSION, "", tls=kit.tls, max_age_s=0, same_site="Lax"))
    return read_cookie(connection.scope, SESSION, tls=kit.tls)


def give_kiosk(connection: ASGIConnection, token: str) -> None:
    set_cookie(connection.scope, make_cookie(KIOSK, token, tls=kit_of(connection).tls, max_age_s=KIOSK_COOKIE_S, same_site="Lax"))
