"""HTTP to the UniFi Access developer API: envelope, errors, the kept connection.

Not for: bookings. Invariants: nothing is sent over an unpinned connection; a call is made once and never repeated here; success is
2xx and code SUCCESS, nothing else; the token appears in no error and no log.
"""

import asyncio
import math
import re
import socket
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from site_agent.devices.unifi.objects import (
    CardRead,
    CardSession,
    Device,
    Door,
    EmergencyPair,
    Envelope,
    LogHit,
    LogPage,
    Rule,
    TopologyGroup,
    Visitor,
)
from site_agent.devices.unifi.pinning import certificate_changed, pinned_context

PREFIX = "/api/v1/developer"
BACK_OFF_MAX_S = 60
CONNECTIONS_MAX = 4
KEEP_ALIVE_S = 60.0
CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 5.0

Kind = Literal["away", "busy", "broken", "credential", "certificate", "unknown_thing", "unsupported", "refused"]
_CREDENTIAL_CODES = {"CODE_AUTH_FAILED", "CODE_ACCESS_TOKEN_INVALID", "CODE_UNAUTHORIZED"}
_UNSUPPORTED_CODES = {"CODE_DEVICE_API_NOT_SUPPORTED", "CODE_DEVICE_DEVICE_VERSION_TOO_OLD"}
_UNKNOWN_CODES = {"CODE_NOT_EXISTS", "CODE_RESOURCE_NOT_FOUND", "CODE_DEVICE_DEVICE_NOT_FOUND"}
_PASSING_CODES = {"CODE_SYSTEM_ERROR", "CODE_DEVICE_DEVICE_OFFLINE", "CODE_DEVICE_DEVICE_BUSY"}
# Sent and perhaps carried out, whatever came back: a gateway that gave up waiting says nothing about the box behind it.
_ACTED_STATUSES = {500, 502, 504}
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9a-fA-F:]{2,39}")
T = TypeVar("T")
V = TypeVar("V", bound=Visitor)


class WireError(Exception):
    """A call that did not succeed.

    kind: away (no or no usable answer), busy (429), broken (5xx or the box's own failure), credential (401, 403), certificate (another
    one than pinned), unknown_thing, unsupported (it lacks the call, or the device does), refused. `may_have_acted` is true where the box may have
    done it nevertheless. `code` is the box's.
    """

    def __init__(
        self, kind: Kind, text: str, *, code: str = "", status: int = 0, may_have_acted: bool = False, retry_after_s: int = 0
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.code = code
        self.status = status
        self.may_have_acted = may_have_acted
        self.retry_after_s = retry_after_s

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed later without a person."""
        return self.kind in ("away", "busy", "broken")

    @property
    def about_controller(self) -> bool:
        """Whether the controller as a whole is meant, rather than one call or one device of it."""
        return self.kind in ("away", "credential", "certificate") or (self.kind == "broken" and not self.code.startswith("CODE_DEVICE_"))


class Wire:
    """The API of one controller. Unlocks travel on a connection of their own, so that they never queue behind housekeeping.

    ValueError (with a sentence) when host, port, token or fingerprint cannot be right.
    `on_heard(error | None)` is called after every call, for whoever watches whether the controller is there; `on_date(unix seconds)` with the
    time that an answer bears.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        fingerprint: str,
        *,
        read_timeout_s: float = READ_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        on_heard: Callable[[WireError | None], None] = lambda error: None,
        on_date: Callable[[float], None] = lambda said_at: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_address(host, port, token)
        bare_host = f"[{host}]" if ":" in host else host
        self._base = f"https://{bare_host}:{port}{PREFIX}"
        timeout = httpx.Timeout(read_timeout_s, connect=connect_timeout_s, pool=read_timeout_s)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._steady, self._urgent = (_client(fingerprint, timeout, headers) for _ in range(2))
        self._on_heard, self._on_date = on_heard, on_date
        self._failures = 0
        self._now, self._quiet_until = monotonic, 0.0

    async def close(self) -> None:
        await self._steady.aclose()
        await self._urgent.aclose()

    async def warm(self) -> None:
        """Opens both connections if they are not open, by reading the doors on each."""
        await asyncio.gather(self._call("GET", "/doors"), self._call("GET", "/doors", urgent=True))

    async def list_doors(self) -> list[Door]:
        return _as(list[Door], (await self._call("GET", "/doors")).data)

    async def unlock_door(self, door_id: str, actor_id: str, actor_name: str, extra: dict[str, Any]) -> None:
        """One pulse. The actor's two fields go together; `extra` comes back in webhooks."""
        body = {"actor_id": actor_id, "actor_name": actor_name, "extra": extra}
        await self._call("PUT", f"/doors/{_id(door_id)}/unlock", body, urgent=True)

    async def create_visitor(self, fields: dict[str, Any]) -> Visitor:
        return _as(Visitor, (await self._call("POST", "/visitors", fields)).data)

    async def update_visitor(self, visitor_id: str, fields: dict[str, Any]) -> Visitor | None:
        """Changes what is given; None where the box answers a success without the visitor."""
        data = (await self._call("PUT", f"/visitors/{_id(visitor_id)}", fields)).data
        return _as(Visitor, data) if isinstance(data, dict) else None

    async def get_visitor(self, visitor_id: str, kind: type[V] = Visitor) -> V:
        return _as(kind, (await self._call("GET", f"/visitors/{_id(visitor_id)}")).data)

    async def list_visitors(
        self, page_num: int, page_size: int, *, keyword: str = "", status: int | None = None, kind: type[V] = Visitor
    ) -> list[V]:
        """One page, from 1. A keyword (prefix of first or last name) makes the box ignore the status."""
        query: dict[str, str | int] = {"page_num": page_num, "page_size": page_size}
        if keyword:
            query["keyword"] = keyword
        elif status is not None:
            query["status"] = status
        return _as(list[kind], (await self._call("GET", "/visitors", query=query)).data or [])

    async def delete_visitor(self, visitor_id: str, *, force: bool) -> None:
        """Cancels (the record stays), or with `force` deletes."""
        await self._call("DELETE", f"/visitors/{_id(visitor_id)}", query={"is_force": "true"} if force else None)

    async def assign_pin(self, visitor_id: str, pin: str) -> None:
        await self._call("PUT", f"/visitors/{_id(visitor_id)}/pin_codes", {"pin_code": pin})

    async def unassign_pin(self, visitor_id: str) -> None:
        await self._call("DELETE", f"/visitors/{_id(visitor_id)}/pin_codes")

    async def search_log(
        self, page_num: int, page_size: int, *, since: int, until: int | None = None, actor_id: str = "", topic: str = "door_openings"
    ) -> tuple[list[LogHit], int]:
        """One page of the log (unix seconds, newest first) and how many rows there are in all."""
        body: dict[str, Any] = {"topic": topic, "since": since}
        if until is not None:
            body["until"] = until
        if actor_id:
            body["actor_id"] = actor_id
        answer = await self._call("POST", "/system/logs", body, query={"page_num": page_num, "page_size": page_size})
        return _as(LogPage, answer.data).hits or [], answer.total

    async def suggest_pin(self) -> str:
        """A PIN as the box would make one, by which its length is known; nothing is kept for it."""
        return _as(str, (await self._call("POST", "/credentials/pin_codes")).data)

    # ---- the house as a whole
    async def get_emergency(self) -> EmergencyPair:
        return _as(EmergencyPair, (await self._call("GET", "/doors/settings/emergency", urgent=True)).data)

    async def put_emergency(self, *, lockdown: bool, evacuation: bool) -> None:
        """The pair as a whole; both false is normal."""
        await self._call("PUT", "/doors/settings/emergency", {"lockdown": lockdown, "evacuation": evacuation}, urgent=True)

    async def get_rule(self, door_id: str) -> Rule:
        return _as(Rule, (await self._call("GET", f"/doors/{_id(door_id)}/lock_rule")).data)

    async def put_rule(self, door_id: str, kind: str, minutes: int | None = None) -> None:
        body = {"type": kind} if minutes is None else {"type": kind, "interval": minutes}
        await self._call("PUT", f"/doors/{_id(door_id)}/lock_rule", body, urgent=True)

    async def topology(self) -> list[TopologyGroup]:
        return _as(list[TopologyGroup], (await self._call("GET", "/door_groups/topology")).data or [])

    async def list_devices(self) -> list[Device]:
        """As they are just now, which takes the box longer than what it remembers; a list of lists, each of one door, or a plain one."""
        found = (await self._call("GET", "/devices", query={"refresh": "true"})).data or []
        flat = [one for part in found for one in (part if isinstance(part, list) else [part])] if isinstance(found, list) else found
        return _as(list[Device], flat)

    # ---- codes and cards
    async def assign_code(self, visitor_id: str) -> None:
        await self._call("PUT", f"/visitors/{_id(visitor_id)}/qr_codes")

    async def download_code(self, visitor_id: str) -> bytes:
        """The picture of the visitor's code, in whatever form the box sends it."""
        return await self._call("GET", f"/credentials/qr_codes/download/{_id(visitor_id)}", picture=True)

    async def begin_card(self, device_id: str) -> str:
        """A reader waits for a card; the session's id. A card of the vendor's own is not written anew."""
        body = {"device_id": device_id, "reset_ua_card": False}
        return _as(CardSession, (await self._call("POST", "/credentials/nfc_cards/sessions", body)).data).session_id

    async def read_card(self, session_id: str) -> CardRead:
        return _as(CardRead, (await self._call("GET", f"/credentials/nfc_cards/sessions/{_id(session_id)}")).data)

    async def end_card(self, session_id: str) -> None:
        await self._call("DELETE", f"/credentials/nfc_cards/sessions/{_id(session_id)}")

    async def assign_card(self, visitor_id: str, token: str) -> None:
        """Never by force: a card that is somebody's is refused."""
        await self._call("PUT", f"/visitors/{_id(visitor_id)}/nfc_cards", {"token": token, "force_add": False})

    async def unassign_card(self, visitor_id: str, token: str) -> None:
        await self._call("PUT", f"/visitors/{_id(visitor_id)}/nfc_cards/delete", {"token": token})

    # ---- what the token may do
    async def probe(self, path: str) -> None:
        """A harmless read, for whether it is allowed and known."""
        await self._call("GET", path, query={"page_num": 1, "page_size": 1})

    async def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
        urgent: bool = False,
        picture: bool = False,
    ) -> Any:
        """The envelope of a success, or with `picture` its octets."""
        wait_s = self._quiet_until - self._now()
        if wait_s > 0 and not urgent:
            # It said how long it wants to be left alone; a call sent all the same makes that longer.
            raise WireError(
                "busy", f"{_SENTENCES['busy']}, and is left alone for {math.ceil(wait_s)} s.", status=429, retry_after_s=math.ceil(wait_s)
            )
        try:
            response = await self._exchange(self._urgent if urgent else self._steady, method, path, body, query)
            answer = _picture(response) if picture else _judge(response)
        except WireError as error:
            self._failures = self._failures + 1 if error.passing else 0
            if error.kind == "busy" and error.retry_after_s:
                self._quiet_until = self._now() + error.retry_after_s
            error.retry_after_s = error.retry_after_s or min(BACK_OFF_MAX_S, 1 << min(self._failures - 1, 6)) if error.passing else 0
            self._on_heard(error)
            raise
        self._failures = 0
        self._on_heard(None)
        return answer

    async def _exchange(
        self, client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None, query: dict[str, Any] | None
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            response = await client.request(method, self._base + path, content=content, headers=headers, params=query)
        except httpx.HTTPError as error:
            raise _no_answer(error) from None
        said_at = _date(response.headers.get("date", ""))
        if said_at is not None:
            self._on_date(said_at)
        return response


def _check_address(host: str, port: int, token: str) -> None:
    if not token or not all("!" <= letter <= "~" for letter in token):
        raise ValueError("The door controller's token is empty or has characters that no token has.")
    if not _HOST.fullmatch(host) or not 1 <= port <= 65535:
        raise ValueError("The door controller's host or port is not an address.")


def _client(fingerprint: str, timeout: httpx.Timeout, headers: dict[str, str]) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(
        verify=pinned_context(fingerprint),
        limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX, keepalive_expiry=KEEP_ALIVE_S),
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    # trust_env off: a proxy named in the environment would be handed the token.
    return httpx.AsyncClient(transport=transport, timeout=timeout, headers=headers, trust_env=False, follow_redirects=False)


def _date(header: str) -> float | None:
    """The time of an answer, in unix seconds; None where the controller tells none."""
    try:
        return parsedate_to_datetime(header).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _no_answer(error: httpx.HTTPError) -> WireError:
    changed = certificate_changed(error)
    if changed is not None:
        return WireError("certificate", f"The controller shows another certificate than the pinned one (SHA-256 {changed.seen}).")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return WireError("away", "The controller cannot be reached.")
    return WireError("away", "The controller did not answer.", may_have_acted=True)


def _judge(response: httpx.Response) -> Envelope:
    """The envelope of a success, or the WireError of anything else."""
    status = response.status_code
    try:
        envelope = msgspec.json.decode(response.content, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        envelope = None
    code = envelope.code if envelope else ""
    if envelope is not None and 200 <= status < 300 and code == "SUCCESS":
        return envelope
    kind = _kind(status, code)
    raise WireError(
        kind,
        _sentence(kind, status, code),
        code=code,
        status=status,
        may_have_acted=_may_have_acted(status, code, envelope is not None),
        retry_after_s=_retry_after(response.headers.get("retry-after", "")),
    )


def _picture(response: httpx.Response) -> bytes:
    """A picture comes bare, an error in the envelope; some boxes answer either with any content type."""
    if 200 <= response.status_code < 300 and response.content.lstrip()[:1] != b"{":
        return response.content
    _judge(response)
    raise WireError("refused", "The controller answered without a picture.", status=response.status_code)


def _may_have_acted(status: int, code: str, is_envelope: bool) -> bool:
    if 200 <= status < 300:
        return code == "CODE_SYSTEM_ERROR" or not is_envelope
    return status in _ACTED_STATUSES


def _kind(status: int, code: str) -> Kind:
    if status == 429:
        return "busy"
    if code in _CREDENTIAL_CODES or status in (401, 403):
        return "credential"
    if status >= 500 or code in _PASSING_CODES:
        return "broken"
    if code in _UNSUPPORTED_CODES or (status in (404, 405) and not code):
        return "unsupported"
    if code in _UNKNOWN_CODES or (status == 404 and code):
        return "unknown_thing"
    if not code and status < 400:
        return "away"
    return "refused"


_SENTENCES: dict[Kind, str] = {
    "away": "The controller's address answered something that is not its API",
    "busy": "The controller asks for fewer requests",
    "broken": "The controller could not carry it out",
    "credential": "The controller does not accept the token, or the token lacks a permission",
    "certificate": "The controller shows another certificate",
    "unknown_thing": "The controller does not know what was asked for",
    "unsupported": "The controller, or the device, does not offer this",
    "refused": "The controller refused",
}


def _sentence(kind: Kind, status: int, code: str) -> str:
    return f"{_SENTENCES[kind]} (HTTP {status}{', ' + code if code else ''})."


def _retry_after(value: str) -> int:
    return min(BACK_OFF_MAX_S, int(value)) if value.isascii() and value.isdigit() and len(value) < 6 else 0


def _as(kind: type[T], data: Any) -> T:
    try:
        return msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError as error:
        # It answered SUCCESS, so it was carried out; only its telling is beyond us.
        raise WireError("away", f"The controller's answer cannot be read: {error}.", may_have_acted=True) from error


def _id(value: str) -> str:
    """An id as one path segment: an id from outside must not become another path."""
    return quote(value, safe="")
