"""HTTP to NinjaOne: one call, its answer judged whatever style its error is worded in, and the patience it asks for.

Not for: bays, tokens' lives. Invariants: a call is made once and never repeated here; an error inside a 200 is an error; no token, code or
secret appears in an error or a log.
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from shared.runtime.clock import Clock
from site_agent.devices.ninjaone.objects import Grant

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5.0, 15.0
CONNECTIONS_MAX = 4
#: what a 429 that names no time asks for, and the most that one is believed
BUSY_S, BUSY_MAX_S = 5, 600
TOKEN_PATH, AUTHORIZE_PATH = "/ws/oauth/token", "/ws/oauth/authorize"
TEXT_MAX = 300
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
T = TypeVar("T")

Kind = Literal["away", "busy", "broken", "token", "client", "consent", "no_person", "scope", "unknown_thing", "refused"]
_KINDS: dict[str, Kind] = {
    "user_context_required": "no_person", "insufficient_privileges": "scope", "invalid_scope": "scope", "not_authenticated": "token",
    "invalid_token": "token", "invalid_client": "client", "unauthorized_client": "client", "unsupported_grant_type": "client",
    "invalid_grant": "consent",
}  # fmt: skip
_SENTENCES: dict[Kind, str] = {
    "away": "NinjaOne's address answered something that is not its API",
    "busy": "NinjaOne asks for fewer requests",
    "broken": "NinjaOne could not carry it out",
    "token": "NinjaOne does not take our token",
    "client": "NinjaOne does not take our client id or its secret",
    "consent": "NinjaOne says that the consent is over",
    "no_person": "NinjaOne does this for a person only, so it needs the consent of one: “site-agent ninjaone connect”",
    "scope": "NinjaOne says that our app, or whoever consented, lacks a right that this needs",
    "unknown_thing": "NinjaOne does not know what was asked for",
    "refused": "NinjaOne refused",
}


class WireError(Exception):
    """A call that did not succeed.

    kind: away (no or no usable answer), busy (429), broken (5xx, or an error inside a success), token (its token is dead), client, consent,
    no_person, scope (our access), unknown_thing, refused. `may_have_acted`: it may have been carried out nevertheless.
    """

    def __init__(self, kind: Kind, text: str, *, status: int = 0, may_have_acted: bool = False, retry_after_s: int = 0) -> None:
        super().__init__(text)
        self.kind, self.status, self.may_have_acted, self.retry_after_s = kind, status, may_have_acted, retry_after_s

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed later without a person."""
        return self.kind in ("away", "busy", "broken")


class Wire:
    """The API at one address. ValueError (with a sentence) when that cannot be right. Once it asks for patience, nothing is sent until then."""

    def __init__(
        self, url: str, clock: Clock, *, read_timeout_s: float = READ_TIMEOUT_S, connect_timeout_s: float = CONNECT_TIMEOUT_S
    ) -> None:
        self.base = address(url)
        self._clock = clock
        self._quiet_until = 0.0
        timeout = httpx.Timeout(read_timeout_s, connect=connect_timeout_s, pool=read_timeout_s)
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX)
        # trust_env off: a proxy named in the environment would be handed the tokens.
        self._client = httpx.AsyncClient(
            base_url=self.base,
            timeout=timeout,
            limits=limits,
            trust_env=False,
            follow_redirects=False,
            headers={"Accept": "application/json"},
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def call(self, method: str, path: str, token: str, *, query: dict[str, Any] | None = None, body: Any = None) -> bytes:
        """One call below /v2; the bytes of a success, perhaps none."""
        more = {} if body is None else {"content": msgspec.json.encode(body), "headers": {"Content-Type": "application/json"}}
        more["headers"] = more.get("headers", {}) | {"Authorization": f"Bearer {token}"}
        return await self._exchange(method, f"/v2{path}", acts=method != "GET", params=query, **more)

    async def token(self, form: dict[str, str]) -> Grant:
        """One question to the token endpoint. Whether a renewal was carried out is unknown where `may_have_acted` says so."""
        return read(Grant, await self._exchange("POST", TOKEN_PATH, acts=True, data={k: v for k, v in form.items() if v}))

    async def _exchange(self, method: str, path: str, *, acts: bool, **more: Any) -> bytes:
        left_s = self._quiet_until - self._clock.monotonic()
        if left_s > 0:
            raise WireError("busy", f"{_SENTENCES['busy']}.", retry_after_s=max(1, round(left_s)))
        try:
            response = await self._client.request(method, path, **more)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise WireError("away", "NinjaOne cannot be reached.") from None
        except httpx.HTTPError:
            raise WireError("away", "NinjaOne did not answer.", may_have_acted=acts) from None
        try:
            return _judged(response, acts)
        except WireError as error:
            if error.kind == "busy":
                self._quiet_until = self._clock.monotonic() + error.retry_after_s
            raise


def address(url: str) -> str:
    """The address as it is used: https and a host, nothing behind. http only on this machine. ValueError with a sentence."""
    try:
        parts = urlsplit(url.rstrip("/"))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{url!r} is no address of NinjaOne.") from None
    if parts.scheme not in ("https", "http") or not host or parts.path or parts.query or parts.fragment or parts.username or port == 0:
        raise ValueError(f"{url!r} is no address of NinjaOne; give it as https://ca.ninjarmm.com, the host that people sign in at.")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise ValueError("NinjaOne must be reached by https, or everybody on the way could read the token.")
    return f"{parts.scheme}://{parts.netloc}"


def read(kind: type[T], found: bytes) -> T:
    """A success's body as `kind`. WireError where it is something else."""
    try:
        return msgspec.json.decode(found, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise WireError("away", f"{_SENTENCES['away']}.", may_have_acted=True) from None


def loose(found: bytes) -> Any:
    """A body as JSON values, None where it is none: for answers whose shape nobody has written down."""
    try:
        return msgspec.json.decode(found) if found else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _judged(response: httpx.Response, acts: bool) -> bytes:
    """The body of a success, or the WireError of anything else."""
    status, found = response.status_code, loose(response.content)
    code, text = _error_in(found)
    good = 200 <= status < 300
    if good and not code and not text:
        if response.content and found is None:
            raise WireError("away", f"{_SENTENCES['away']} (HTTP {status}).", status=status, may_have_acted=acts)
        return response.content
    if not code and not text and "html" not in response.headers.get("content-type", ""):
        text = response.text[:TEXT_MAX].strip() if found is None else ""
    kind = _kind(status, code, good)
    raise WireError(
        kind,
        _sentence(kind, status, code, text),
        status=status,
        # an error inside a success, or behind a gateway that gave up, does not say that nothing was done
        may_have_acted=acts and (kind == "broken" or (kind == "away" and good)),
        retry_after_s=_retry_after(response.headers.get("retry-after", "")) if kind == "busy" else 0,
    )


def _error_in(found: Any) -> tuple[str, str]:
    """`(code, text)` of an error in any of the styles; both empty where there is none."""
    if not isinstance(found, dict):
        return "", ""
    told = found.get("errorMessage")
    if isinstance(told, dict):
        params = told.get("params")
        said = params.get("text", "") if isinstance(params, dict) else ""
        return _plain(told.get("code")) or "failure", _plain(said)
    if told or found.get("resultCode") == "FAILURE":
        return _plain(found.get("error")) or "failure", _plain(told)
    return _plain(found.get("error")), _plain(found.get("error_description"))


def _plain(said: Any) -> str:
    return re.sub(r"\s+", " ", said).strip()[:TEXT_MAX] if isinstance(said, str) else ""


def _kind(status: int, code: str, good: bool) -> Kind:
    if code in _KINDS:
        return _KINDS[code]
    if status == 429 or code == "too_many_requests":
        return "busy"
    if good or status >= 500:
        return "broken"
    if status == 401:
        return "token"
    if status == 403:
        return "scope"
    if status < 400:
        return "away"
    return "unknown_thing" if status == 404 else "refused"


def _sentence(kind: Kind, status: int, code: str, text: str) -> str:
    """What staff read; what NinjaOne said is quoted, since administrators know its words."""
    said = text or code
    return f"{_SENTENCES[kind]} (HTTP {status}{': ' + said.rstrip('.') if said and said != 'failure' else ''})."


def _retry_after(value: str) -> int:
    return min(BUSY_MAX_S, max(1, int(value))) if value.isascii() and value.isdigit() and len(value) < 6 else BUSY_S
