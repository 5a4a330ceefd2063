"""Forged requests: a form or fetch that another site makes with our visitor's cookies is refused.

What it is for: every unsafe method that a cookie could authorise, pages without JavaScript included.
What it is not: authentication. Requests with a Bearer token pass, since a foreign page cannot send one (other schemes a browser may fill
in by itself, from an address with a name and a password in it); their handler must then judge that token and not the cookie.
Invariant: a token is bound to the cookie that signs the visitor in (or, before that, to a visitor cookie), by HMAC under a
key of this server; nothing is stored. A token of another session, or of before a sign-in, is refused.
"""

import hashlib
import hmac
import secrets
from collections.abc import MutableMapping
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from shared.runtime.body import read_form
from shared.runtime.cookies import make_cookie, read_cookie, set_cookie
from shared.runtime.problems import of_status

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
FIELD = "csrf_token"
HEADER = "x-csrf-token"
_VISITOR = "visitor"
_FRESH = "clubos.visitor"


class Csrf:
    """`key`: at least 32 random bytes of this server. `sign_in_cookies`: bare names of the cookies that authorise, best first."""

    def __init__(self, key: bytes, *, tls: bool, sign_in_cookies: tuple[str, ...] = ("session",)) -> None:
        if len(key) < 32:
            raise ValueError("The CSRF key needs at least 32 bytes.")
        self._key = key
        self._tls = tls
        self._cookies = (*sign_in_cookies, _VISITOR)

    def token(self, scope: MutableMapping[str, Any]) -> str:
        """The token for the forms of this page. A visitor without any cookie gets one with the answer."""
        return self._sign(self.visitor(scope))

    def visitor(self, scope: MutableMapping[str, Any]) -> str:
        """What this browser alone knows and sends: its best cookie's value; one without any gets a visitor cookie with the answer."""
        return self._binder(scope) or self._new_visitor(scope)

    def token_for(self, cookie_value: str) -> str:
        """The token bound to a cookie value that the coming answer sets (a page given right at sign-in)."""
        return self._sign(cookie_value)

    async def guard(self, connection: ASGIConnection, _: BaseRouteHandler) -> None:
        """For Litestar's `guards`: refuses with 403 `csrf_failed`. Reads the token from the header, else from the form."""
        scope = connection.scope
        bearer = connection.headers.get("authorization", "")[:7].lower() == "bearer "
        if scope.get("method", "GET") in SAFE_METHODS or bearer:
            return
        self._check_origin(connection)
        given = connection.headers.get(HEADER) or (await read_form(connection)).one(FIELD)
        binder = self._binder(scope)
        if not binder or not hmac.compare_digest(self._sign(binder).encode(), given.encode("utf-8", "replace")):
            raise of_status(403, "This page is out of date or was not ours. Please load it again and retry.", code="csrf_failed")

    @staticmethod
    def _check_origin(connection: ASGIConnection) -> None:
        site = connection.headers.get("sec-fetch-site", "")
        origin = connection.headers.get("origin", "")
        foreign = site == "cross-site" or (origin and origin.partition("://")[2] != connection.headers.get("host", ""))
        if foreign:
            raise of_status(403, "This request came from another site's page, which is not allowed.", code="csrf_failed")

    def _binder(self, scope: MutableMapping[str, Any]) -> str:
        for name in self._cookies:
            if value := read_cookie(scope, name, tls=self._tls):
                return value
        return ""

    def _new_visitor(self, scope: MutableMapping[str, Any]) -> str:
        value = scope.get(_FRESH)
        if value is None:
            value = scope[_FRESH] = secrets.token_urlsafe(24)
            set_cookie(scope, make_cookie(_VISITOR, value, tls=self._tls))
        return value

    def _sign(self, binder: str) -> str:
        return hmac.new(self._key, b"csrf\x00" + binder.encode(), hashlib.sha256).hexdigest()
