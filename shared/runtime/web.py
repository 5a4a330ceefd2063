"""The web edge: the one ASGI layer around an app that every request passes.

What it is for: request id, security headers, host check, body limit, rate limit, well-formed addresses, metrics, and a problem
document for whatever gets past everything else.
What it is not: authentication or CSRF (guards know the route) and it reads no body.
Invariant: every answer carries the security headers and a request id; nothing here costs more than a few dictionary look-ups,
because the availability and sales paths run through it.
"""

import asyncio
import ipaddress
import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from shared.runtime.cookies import COOKIES_KEY
from shared.runtime.log import REQUEST_ID
from shared.runtime.metrics import HttpMeter
from shared.runtime.problems import Problem, Problems, bad_request, of_status, too_many_requests
from shared.runtime.ratelimit import RateLimiter, RateRule, rule_for

LOOPBACK = ("127.0.0.0/8", "::1/128")
BODY_MAX = 65_536  # bytes; no request of ours comes near it
LARGE_MAX = 1 << 20  # bytes; for what others post in batches, and for pictures
DRAIN_MAX = 1_048_576  # bytes of a refused body worth reading for the sake of keeping the connection
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}\Z")
_logger = logging.getLogger("runtime.web")

CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PERMISSIONS = "camera=(), geolocation=(), microphone=(), payment=()"
#: for the one page that looks through the camera, in the place of `PERMISSIONS`
PERMISSIONS_CAMERA = PERMISSIONS.replace("camera=()", "camera=(self)")
#: for the page that asks a telephone where it is
PERMISSIONS_POSITION = PERMISSIONS.replace("geolocation=()", "geolocation=(self)")
_CSP_DATA = b"default-src 'none'; frame-ancestors 'none'"
# What a handler may say itself; everything else comes from here.
_OVERRIDABLE = frozenset({b"cache-control", b"content-security-policy", b"permissions-policy", b"referrer-policy"})


@dataclass(frozen=True)
class EdgeSettings:
    """`tls`: served over TLS (turns HSTS on). `allowed_hosts`: names taken in Host, without port; empty takes any.

    `trusted_proxies`: networks whose X-Forwarded-For is believed. `rate_rules`: the first that applies counts, per client address; `/static/`
    and `/health/` are best left out. `large`: prefixes of paths that take bodies up to `LARGE_MAX`.
    """

    tls: bool = False
    body_max: int = BODY_MAX
    large: tuple[str, ...] = ()
    allowed_hosts: frozenset[str] = frozenset()
    trusted_proxies: tuple[str, ...] = ()
    rate_rules: tuple[RateRule, ...] = ()


def security_headers(settings: EdgeSettings) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """The constant headers of (pages, everything else)."""
    both = [
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if settings.tls:
        both.append((b"strict-transport-security", b"max-age=31536000"))
    page = [
        *both,
        (b"content-security-policy", CSP.encode()),
        # Not "no-referrer": browsers would then send "Origin: null" with our own forms.
        (b"referrer-policy", b"same-origin"),
        (b"permissions-policy", PERMISSIONS.encode()),
        (b"cross-origin-opener-policy", b"same-origin"),
    ]
    return page, [*both, (b"content-security-policy", _CSP_DATA)]


class WebEdge:
    """Wraps an ASGI app. `clock` is monotonic seconds; `meter` and `limiter` are the app's.

    In the scope it leaves `clubos.request_id` and `clubos.client_ip`; from it it takes `clubos.cookies` (see `cookies.set_cookie`).
    """

    def __init__(
        self,
        app: Callable[..., Any],
        settings: EdgeSettings,
        problems: Problems,
        *,
        meter: HttpMeter,
        limiter: RateLimiter | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.app = app
        self._problems = problems
        self._meter = meter
        self._limiter = limiter
        self._clock = clock
        self._rules = settings.rate_rules if limiter is not None else ()
        self._body_max, self._large = settings.body_max, settings.large
        self._hosts = frozenset(host.lower().encode() for host in settings.allowed_hosts)
        self._page_headers, self._data_headers = security_headers(settings)
        self._proxies = _networks(settings.trusted_proxies)
        self._ids = itertools.count(1)
        self._id_prefix = secrets.token_hex(4)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            # The routes know GET only; whatever answers that answers this, and says nothing further.
            scope, send = {**scope, "method": "GET"}, _head_only(send)
        exchange = _Exchange(self, scope, receive, send)
        try:
            limited = exchange.admit()
            await self.app(scope, exchange.receive_limited if limited else receive, exchange.send)
        except asyncio.CancelledError:
            # The server cancels what is still streaming when it stops: end the stream well, so that the browser comes back for more.
            if not await exchange.end():
                raise
        except Exception as error:
            await exchange.fail(error)

    def _request_id(self, sent: bytes | None) -> str:
        if sent is not None and _SAFE_ID.match(text := sent.decode("latin-1")):
            return text
        return f"{self._id_prefix}-{next(self._ids):08x}"

    def _client_ip(self, scope: Any, head: dict[bytes, bytes]) -> str:
        client = scope.get("client")
        address = client[0] if client else "local"
        if self._proxies and b"x-forwarded-for" in head:
            # Right to left: each hop that is ours vouches for the one before it; the first that is not is the client.
            for hop in reversed(head[b"x-forwarded-for"].decode("latin-1").split(",")):
                if not _within(address, self._proxies):
                    break
                address = hop.strip()
        return address

    def _check_host(self, head: dict[bytes, bytes]) -> None:
        host = head.get(b"host", b"").lower()
        name = host.rpartition(b"]")[0] + b"]" if host.startswith(b"[") else host.partition(b":")[0]
        if name not in self._hosts:
            raise bad_request("This server is not known by the name asked for.", code="bad_host")

    def _allowed(self, scope: Any, told: bytes) -> bytes:
        """The methods of the address asked for. Of several handlers at one address the framework's OPTIONS names only the first one's."""
        here = [route for route in getattr(self.app, "routes", ()) if route.path_format == scope.get("path_template")]
        methods = {method for route in here for method in getattr(route, "methods", ())} or {name.strip() for name in told.decode().split(",")}
        if "GET" in methods:
            methods.add("HEAD")
        return ", ".join(sorted(methods)).encode()


class _Exchange:
    """One request and its answer."""

    __slots__ = ("edge", "headers", "inner_receive", "inner_send", "left", "limit", "route", "scope", "started", "status")

    def __init__(self, edge: WebEdge, scope: Any, receive: Any, send: Any) -> None:
        self.edge = edge
        self.scope = scope
        self.inner_receive = receive
        self.inner_send = send
        self.started = edge._clock()
        self.status = 0
        self.left = self.limit = edge._body_max
        self.headers: tuple[tuple[bytes, bytes], ...] = ()

    def admit(self) -> bool:
        """Judge what the head shows; True if the body must be counted as it comes. Raises Problem."""
        edge, scope = self.edge, self.scope
        head = dict(scope["headers"])
        scope["clubos.request_id"] = request_id = edge._request_id(head.get(b"x-request-id"))
        REQUEST_ID.set(request_id)
        scope["clubos.client_ip"] = address = edge._client_ip(scope, head)
        method, path = scope["method"], scope["path"]
        if edge._rules and (rule := rule_for(edge._rules, method, path)) is not None:
            remaining, reset_s, retry_after_s = edge._limiter.take(rule, rate_key(address))
            self.headers = (rule.limit_header, (b"ratelimit-remaining", b"%d" % remaining), (b"ratelimit-reset", b"%d" % reset_s))
            if retry_after_s:
                raise too_many_requests(retry_after_s)
        if edge._hosts:
            edge._check_host(head)
        query = scope["query_string"]
        if b"%" in scope.get("raw_path", b"%") or b"%" in query or not query.isascii():
            _check_address(path, query)
        if method == "GET":
            return False
        if edge._large and path.startswith(edge._large):
            self.left = self.limit = LARGE_MAX
        length = head.get(b"content-length")
        if length is None:
            return b"transfer-encoding" in head
        if not length.isdigit() or int(length[:19]) > self.limit:
            raise self._too_large(close=int(length[:19] if length.isdigit() else 0) > DRAIN_MAX)
        return False

    def _too_large(self, *, close: bool) -> Problem:
        headers = {"connection": "close"} if close else {}
        return of_status(413, f"The body is larger than the {self.limit} bytes this server takes.", headers=headers)

    async def receive_limited(self) -> Any:
        """Receive a body of unannounced length, up to the limit."""
        message = await self.inner_receive()
        if message["type"] == "http.request":
            self.left -= len(message.get("body", b""))
            if self.left < 0:
                raise self._too_large(close=True)
        return message

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._finish_head(message)
        await self.inner_send(message)

    def _finish_head(self, message: Any) -> None:
        edge, scope = self.edge, self.scope
        self.status = status = message["status"]
        headers = list(message["headers"])
        constant, own = edge._data_headers, None
        for name, value in message["headers"]:
            if name == b"content-type":
                if value.startswith(b"text/html"):
                    constant = edge._page_headers
            elif name == b"allow":
                headers = [pair for pair in headers if pair[0] != b"allow"] + [(b"allow", edge._allowed(scope, value))]
            elif name in _OVERRIDABLE:
                own = {name} if own is None else own | {name}
        headers += constant if own is None else [pair for pair in constant if pair[0] not in own]
        headers += self.headers
        headers.append((b"x-request-id", scope["clubos.request_id"].encode()))
        if COOKIES_KEY in scope:
            headers += [(b"set-cookie", cookie) for cookie in scope[COOKIES_KEY]]
        message["headers"] = headers
        edge._meter.observe(scope.get("path_template", "unmatched"), scope["method"], status, edge._clock() - self.started)

    async def end(self) -> bool:
        """End an answer that has started and is still open; False if there is none such."""
        if not self.status:
            return False
        try:
            await self.inner_send({"type": "http.response.body", "body": b"", "more_body": False})
        except RuntimeError:  # it announced a length and is short of it, or was complete
            return False
        return True

    async def fail(self, error: Exception) -> None:
        """Answer what nobody answered; once an answer has started, only note it: the server then cuts the connection."""
        if self.status:
            _logger.error("http.broken_answer", exc_info=error, extra={"fields": {"route": self.scope.get("path_template", "")}})
            return
        status, headers, body = self.edge._problems.answer(error, self.scope)
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        pairs.append((b"content-length", b"%d" % len(body)))
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.inner_send({"type": "http.response.body", "body": body, "more_body": False})


def _head_only(send: Callable[..., Any]) -> Callable[..., Any]:
    """Passes the head of an answer on and ends it there; a stream then sees its reader gone."""

    async def send_head(message: Any) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_head


def _check_address(path: str, query: bytes) -> None:
    # The server decodes the path with replacement characters: one of those means bytes that were no UTF-8.
    if "\x00" in path or "\ufffd" in path:
        raise bad_request("The address is not valid UTF-8 text or holds a NUL character.", code="bad_address")
    try:
        text = unquote_to_bytes(query).decode("utf-8")
    except UnicodeDecodeError:
        raise bad_request("The query is not valid UTF-8 text.", code="bad_address") from None
    if "\x00" in text or not query.isascii():
        raise bad_request("The query holds a character that must not be in an address.", code="bad_address")


@lru_cache(4096)
def rate_key(address: str) -> str:
    """What one client is counted under: the address, or for IPv6 its /64, since one client has all of it."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


def not_a_network(texts: Iterable[str]) -> str:
    """The first text that is no network like 10.0.0.0/8; empty if all are."""
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            return text
    return ""


@lru_cache(64)
def _networks(texts: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def comes_from(scope: Mapping[str, Any], networks: tuple[str, ...]) -> bool:
    """Whether the client of this request, as the edge knows it, is in one of the networks."""
    return _within(scope["clubos.client_ip"], _networks(networks))


def _within(address: str, networks: tuple[Any, ...]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in net for net in networks)
