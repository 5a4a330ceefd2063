"""Who may use the API: a bearer key, its scopes, its own rate (U5, Z2).

Invariant: a route without a scope of its own is refused to everybody, so that a forgotten one is shut and not open. Wrong keys from one
address lead to a lock-out of that address; a key is never echoed or logged.
"""

from collections.abc import Callable

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from shared.runtime.passwords import LockOut
from shared.runtime.problems import Problem, too_many_requests, unauthorized
from shared.runtime.ratelimit import RateLimiter, RateRule

from ..services.api_keys import ApiKeys

SCOPE = "clubos.scope"
KEY = "clubos.api_key"
SECURITY = [{"api_key": []}]
WRONG_KEYS_MAX = 30
WRONG_KEYS_WINDOW_S = 300


def needs(scope: str) -> dict[str, str]:
    """For a handler's `opt`: the scope that a key needs."""
    return {SCOPE: scope}


class ApiGuard:
    """For Litestar's `guards`. Leaves the key in the connection's scope under `KEY`. `wrong_key` is called for each key that is refused."""

    def __init__(self, keys: ApiKeys, clock: Callable[[], float], per_minute: int, wrong_key: Callable[[], None]):
        self._keys, self._clock, self._wrong_key = keys, clock, wrong_key
        self._limiter = RateLimiter(clock)
        self._rule = RateRule("key", per_minute, 60.0)
        self._wrong = LockOut(tries_max=WRONG_KEYS_MAX, window_s=WRONG_KEYS_WINDOW_S)

    def __deepcopy__(self, memo: dict) -> "ApiGuard":
        """Litestar copies a router with all it holds; counts and keys are to stay one."""
        return self

    async def __call__(self, connection: ASGIConnection, handler: BaseRouteHandler) -> None:
        scope = connection.scope
        given = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                given = value
                break
        key = self._keys.find(given[7:].decode("latin-1")) if given[:7].lower() == b"bearer " else None
        if key is None:
            raise self._refused(scope["clubos.client_ip"], bool(given))
        needed = handler.opt.get(SCOPE)
        if needed not in key.scopes:
            told = f"This needs the scope {needed}, which your API key does not have." if needed else "No API key opens this."
            raise Problem(403, "not_allowed", "Not allowed", told)
        _, _, retry_after_s = self._limiter.take(self._rule, key.id)
        if retry_after_s:
            raise too_many_requests(retry_after_s, "This API key has made too many requests. Please wait a moment and try again.")
        scope[KEY] = key

    def _refused(self, address: str, given: bool) -> Problem:
        if not given:
            return unauthorized("Send your API key as: Authorization: Bearer <key>.", code="not_signed_in")
        self._wrong_key()
        now = self._clock()
        wait_s = self._wrong.wait_s([address], now)
        if wait_s:
            return too_many_requests(wait_s, "Too many wrong API keys came from your address. Please wait.", code="too_many_tries")
        self._wrong.failed([address], now)
        return unauthorized("This API key is not known here, or has been revoked.", code="not_signed_in")
