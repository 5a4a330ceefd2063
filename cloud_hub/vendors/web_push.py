"""Notifications to browsers by web push (RFC 8030, 8291, 8292): the wire and the channel. The one file that imports `pywebpush`.

The address of a push service comes from a browser, that is from anybody: only the known services are called, only by https, and no redirect
is followed, so that nobody makes the hub call its own neighbours. Invariant: a subscription is called dead only when its service says so, or when
it could never have been one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid, VapidException
from pywebpush import WebPushException, webpush_async

from shared.outcomes import Later, Misconfigured, Never, Outcome, Taken, Unknown

from ..ports import Letter
from . import answers
from .channels import Around

#: the push services of the browsers there are; "*." stands for any name below
HOSTS = ("fcm.googleapis.com", "*.push.services.mozilla.com", "*.push.apple.com", "*.notify.windows.com")
#: what a service takes is 4096 bytes, sealed
PAYLOAD_MAX = 3993
SUBSCRIPTION_MAX = 4096
TTL_DEFAULT_S = 86_400
TTL_MAX_S = 28 * 86_400
_NOT_ONE = Never("bad_subscription", "This is no subscription of a browser.", dead_address=True)
_PLAIN = re.compile(r"[!-~]+")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_CONTACT = re.compile(r"mailto:[^@\s]+@[^@\s/]+|https://[A-Za-z0-9.-]+")


class WebPushSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[channels.web_push]: `vapid_key_file` holds the private key (32 bytes, base64url); a new one makes every subscription worthless.
    `contact`: "mailto:…" or "https://host", by which a push service reaches the operator. `loopback`: push services on this machine are called
    as well, without TLS; for trying out."""

    vapid_key_file: str
    contact: str
    loopback: bool = False
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    connections_max: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20


SETTINGS = WebPushSettings


def open_channel(settings: WebPushSettings, around: Around) -> WebPush:
    """Raises ConfigError, ValueError."""
    return WebPush(
        vapid_key=around.secret(settings.vapid_key_file, "vapid_key"),
        contact=settings.contact,
        loopback=settings.loopback,
        timeout_s=settings.timeout_s,
        connections_max=settings.connections_max,
        now=around.now,
    )


class _Keys(msgspec.Struct, frozen=True):
    p256dh: str
    auth: str


class _Subscription(msgspec.Struct, frozen=True):
    """What a browser's `PushSubscription.toJSON()` holds; more is ignored."""

    endpoint: str
    keys: _Keys


class WebPush:
    """`cloud_hub.ports.Channel` and `Subscribed` for push. The page's service worker gets JSON: `title`, `body`, `url` and `tag` (the letter's topic or key).

    `public_key` is what a page subscribes with. ValueError (with a sentence) for a key or contact that cannot be right.
    """

    name = "push"
    vendor = "web_push"
    finds = False

    def __init__(
        self,
        *,
        vapid_key: str,
        contact: str,
        hosts: tuple[str, ...] = HOSTS,
        loopback: bool = False,
        timeout_s: float = 10.0,
        connect_timeout_s: float = 3.0,
        connections_max: int = 20,
        now: Callable[[], float],
    ):
        self._vapid = _vapid(vapid_key)
        if not _CONTACT.fullmatch(contact):
            raise ValueError('the setting \'contact\' is wrong: give "mailto:somebody@example.test", or "https://host" without a path.')
        self._contact, self._hosts, self._loopback, self._now = contact, hosts, loopback, now
        self._wire = _Wire(timeout_s, min(connect_timeout_s, timeout_s), connections_max)

    @property
    def public_key(self) -> str:
        """For `applicationServerKey`: the point, uncompressed, base64url."""
        numbers = self._vapid.public_key.public_numbers()
        return _b64(b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"))

    def objection(self, subscription: str) -> str:
        found = self._subscription(subscription)
        return found.reason if isinstance(found, Never) else ""

    async def send(self, letter: Letter) -> Outcome:
        now = self._now()
        if late := answers.worthless(letter, now):
            return late
        subscription = self._subscription(letter.to)
        if isinstance(subscription, Never):
            return subscription
        payload = _payload(letter)
        if payload is None:
            return Never("413", "The address to open is longer than a push can carry.")
        ttl = min(TTL_MAX_S, max(1, int(letter.expires_at - now))) if letter.expires_at else TTL_DEFAULT_S
        headers: dict[str, Any] = {"Urgency": "high"} | ({"Topic": _topic(letter.topic)} if letter.topic else {})
        try:
            # The claims are written into by the call, so each gets its own.
            answer = await webpush_async(
                msgspec.to_builtins(subscription), payload, vapid_private_key=self._vapid, vapid_claims={"sub": self._contact},
                ttl=ttl, headers=headers, aiohttp_session=self._wire,
            )  # fmt: skip
        except WebPushException as error:
            return self._judged(error.response) if error.response else _NOT_ONE
        except aiohttp.InvalidURL:
            return _NOT_ONE
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Later(f"The push service cannot be reached ({type(error).__name__}).")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Unknown(f"The push service's answer was lost ({type(error).__name__}).")
        return self._judged(answer)

    async def find(self, letter: Letter, since_at: int) -> Taken | None | Unknown:
        return Unknown("A push service cannot be asked what it has sent.")

    async def close(self) -> None:
        await self._wire.close()

    def _subscription(self, text: str) -> _Subscription | Never:
        if len(text) > SUBSCRIPTION_MAX:
            return _NOT_ONE
        try:
            found = msgspec.json.decode(text, type=_Subscription)
            point, auth = _unb64(found.keys.p256dh), _unb64(found.keys.auth)
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            parts = urlsplit(found.endpoint)
            host, port = parts.hostname or "", parts.port
        except (msgspec.MsgspecError, ValueError):
            return _NOT_ONE
        if len(point) != 65 or len(auth) != 16 or parts.username or parts.fragment or not _PLAIN.fullmatch(found.endpoint):
            return _NOT_ONE
        if not self._is_service(parts.scheme, host, port):
            return Never("push_host_unknown", "The subscription names no push service that is known here.", dead_address=True)
        return found

    def _is_service(self, scheme: str, host: str, port: int | None) -> bool:
        if self._loopback and scheme in ("http", "https") and answers.is_loopback(host) and ":" not in host:
            return True
        known = any(host.endswith(name[1:]) if name.startswith("*.") else host == name for name in self._hosts)
        return known and scheme == "https" and port in (None, 443)

    def _judged(self, answer: Any) -> Outcome:
        status = answer.status
        reason = f"The push service answered {status}."
        if 200 <= status < 300:
            if answers.looks_like_html(answer.body):
                return Unknown(f"What answered is no push service ({status}, a page).")
            return Taken(answers.told(answer.headers.get("Location", "")), final=True)
        if status in (404, 410):
            return Never(str(status), "The browser has given up the subscription.", dead_address=True)
        if status == 429:
            return Later(reason, answers.after_s(answer.headers.get("Retry-After"), self._now()))
        if status in (401, 403):
            return Misconfigured(f"The push service refuses our key ({status}).")
        return Unknown(reason) if status >= 500 or status == 408 else Never(str(status), reason)


class _Answer(msgspec.Struct, frozen=True):
    """What the package asks of a response, read to its end and let go."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: str

    async def text(self) -> str:
        return self.body


class _Wire:
    """What the package takes for a session: its calls follow no redirect and end in time. The session itself is made by the first of them."""

    def __init__(self, timeout_s: float, connect_timeout_s: float, connections_max: int):
        self._limit = aiohttp.ClientTimeout(total=timeout_s, connect=connect_timeout_s, sock_connect=connect_timeout_s)
        self._free, self._connections_max = asyncio.Semaphore(connections_max), connections_max
        self._session: aiohttp.ClientSession | None = None

    async def post(self, endpoint: str, *, data: bytes, headers: Mapping[str, str], timeout: object = None) -> _Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=self._connections_max))
        async with (
            self._free,
            self._session.post(endpoint, data=data, headers=headers, timeout=self._limit, allow_redirects=False) as answer,
        ):
            body = await answers.body_of(answer.content.iter_chunked(65_536))
            return _Answer(answer.status, answer.reason or "", answer.headers, body)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _payload(letter: Letter) -> str | None:
    """The JSON for the service worker, its text shortened until a service takes it; None where even that does not help."""
    text = letter.text
    fixed = {"title": letter.subject[:200], "url": letter.url, "tag": letter.topic or letter.key}

    def sized(length: int) -> bytes:
        return msgspec.json.encode(fixed | {"body": text if length >= len(text) else text[:length].rstrip() + "…"})

    if len(sized(len(text))) <= PAYLOAD_MAX:
        return sized(len(text)).decode()
    if len(sized(0)) > PAYLOAD_MAX:
        return None
    fits, breaks = 0, len(text)
    while breaks - fits > 1:
        middle = (fits + breaks) // 2
        fits, breaks = (middle, breaks) if len(sized(middle)) <= PAYLOAD_MAX else (fits, middle)
    return sized(fits).decode()


def _topic(topic: str) -> str:
    """At most 32 letters of base64url, which is all that a service takes; another topic becomes its digest."""
    return topic if _TOPIC.fullmatch(topic) else _b64(hashlib.sha256(topic.encode()).digest())[:32]


def new_key() -> str:
    """A new private key for `vapid_key_file`: 32 bytes, base64url."""
    made = Vapid()
    made.generate_keys()
    return _b64(made.private_key.private_numbers().private_value.to_bytes(32))


def _vapid(key: str) -> Vapid:
    try:
        if not key:
            raise ValueError
        return Vapid.from_string(key)
    except (ValueError, TypeError, VapidException):
        raise ValueError("the file of 'vapid_key_file' holds no VAPID key (32 bytes, base64url).") from None


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    """Raises ValueError."""
    return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
