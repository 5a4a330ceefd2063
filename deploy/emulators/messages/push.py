"""An emulated push service (RFC 8030) and the browsers behind it: subscriptions, messages, what was shown.

Not for: a real browser's push. Invariants: a message is taken only from the sender that the subscription names; a message of a topic replaces
the undelivered one of that topic; one past its TTL is never shown.
"""

import re
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from litestar import Litestar, Request, Response, post
from litestar.params import FromPath

from deploy.emulators.messages.faults import VendorFaults
from deploy.emulators.messages.push_crypto import BadVapid, Unreadable, b64, check_vapid, opened, point_of, private_key, unb64
from deploy.emulators.messages.wire import Answer, Refusal, application, respond

PUSHES_MAX = 20_000
SUBSCRIPTIONS_MAX = 10_000
BODY_MAX = 4096
WAITING_MAX = 100
"""Messages that wait for one browser; beyond it the oldest are given up."""
TTL_S_MAX = 4 * 7 * 86_400
SubscriptionState = Literal["active", "gone", "unknown"]
URGENCIES = ("very-low", "low", "normal", "high")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")


class Push(msgspec.Struct, kw_only=True):
    """One message. state: waiting, delivered, replaced, expired, or unreadable; `payload` is what it says when it is JSON."""

    id: str
    subscription: str
    state: str
    at: float
    ttl_s: int
    urgency: str
    topic: str
    content: str = ""
    payload: dict[str, Any] = {}
    reason: str = ""

    def said(self, *names: str) -> str:
        """The first of these fields of the payload that is text, looked for in `notification` too; else nothing."""
        inner = self.payload.get("notification")
        for fields in (self.payload, inner if isinstance(inner, dict) else {}):
            for name in names:
                if isinstance(fields.get(name), str) and fields[name]:
                    return fields[name]
        return ""


class Subscription(msgspec.Struct, kw_only=True):
    """One browser's. `server_key` is the application server's public key (empty: any may send); without `key` nothing can be opened."""

    id: str
    secret: bytes
    point: bytes
    key: ec.EllipticCurvePrivateKey | None
    server_key: str = ""
    state: SubscriptionState = "active"
    online: bool = True
    waiting: list[Push] = []


class PushService:
    """The service. `pushes` are the messages it took, oldest first; `origin` is set when the port is known."""

    def __init__(self, now: Callable[[], float], rng: Random, new_id: Callable[[], str]) -> None:
        self.origin = ""
        self.pushes: deque[Push] = deque(maxlen=PUSHES_MAX)
        self.subscriptions: dict[str, Subscription] = {}
        self.now = now
        self._rng = rng
        self._new_id = new_id

    def subscribe(self, server_key: str = "", name: str = "", *, key: str = "", secret: str = "") -> dict[str, Any]:
        """A new subscription as a browser gives it: {endpoint, expirationTime, keys}.

        `server_key` is the application server's key in base64url, `name` what the endpoint ends with. `key` (the browser's private key, 32
        bytes) and `secret` (16 bytes), in base64url, are drawn if not given. ValueError for what is none of this.
        """
        if len(self.subscriptions) >= SUBSCRIPTIONS_MAX:
            raise ValueError(f"The push service keeps {SUBSCRIPTIONS_MAX} subscriptions.")
        own = private_key(unb64(key) if key else (self._rng.getrandbits(248) + 1).to_bytes(32))
        auth = unb64(secret) if secret else self._rng.getrandbits(128).to_bytes(16)
        if len(auth) != 16:
            raise ValueError("The secret of a subscription has 16 bytes.")
        if server_key and len(unb64(server_key)) != 65:
            raise ValueError("The application server's key has 65 bytes.")
        if name and (not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or name in self.subscriptions):
            raise ValueError(f"{name!r} cannot be a new subscription's name.")
        one = Subscription(
            id=name or b64(self._rng.getrandbits(128).to_bytes(16)),
            secret=auth,
            point=point_of(own),
            key=own,
            server_key=server_key.rstrip("="),
        )
        self.subscriptions[one.id] = one
        return self.json(one)

    def json(self, one: Subscription) -> dict[str, Any]:
        keys = {"p256dh": b64(one.point), "auth": b64(one.secret)}
        return {"endpoint": f"{self.origin}/push/{one.id}", "expirationTime": None, "keys": keys}

    def set_online(self, one: Subscription, online: bool) -> None:
        """A browser that comes back gets what waits for it and is still worth something."""
        one.online = online
        if online:
            waiting, one.waiting = one.waiting, []
            for push in waiting:
                push.state = _shown(push, one) if self.now() <= push.at + push.ttl_s else "expired"

    def take(self, one: Subscription, body: bytes, ttl_s: int, urgency: str, topic: str) -> Push:
        push = Push(id=self._new_id(), subscription=one.id, state="waiting", at=self.now(), ttl_s=ttl_s, urgency=urgency, topic=topic)
        if body:
            self._read(push, one, body)
        self.pushes.append(push)
        if one.online:
            push.state = _shown(push, one)
        elif not ttl_s:
            push.state = "expired"
        else:
            self._wait(push, one)
        return push

    def forget(self) -> None:
        """Empties what was pushed; subscriptions stay and work again."""
        self.pushes.clear()
        for one in self.subscriptions.values():
            one.state, one.online, one.waiting = "active", True, []

    def _read(self, push: Push, one: Subscription, body: bytes) -> None:
        if one.key is None:
            push.reason = "The service was not told the subscription's key."
            return
        try:
            push.content = opened(body, one.key, one.secret).decode("utf-8", "replace")
        except Unreadable as error:
            # The service cannot know: only the browser finds out, and the sender never hears of it.
            push.reason = str(error)
            return
        try:
            said = msgspec.json.decode(push.content)
        except msgspec.DecodeError:
            return
        push.payload = said if isinstance(said, dict) else {}

    def _wait(self, push: Push, one: Subscription) -> None:
        for earlier in [earlier for earlier in one.waiting if push.topic and earlier.topic == push.topic]:
            earlier.state = "replaced"
            one.waiting.remove(earlier)
        if len(one.waiting) >= WAITING_MAX:
            one.waiting.pop(0).state = "expired"
        one.waiting.append(push)


def _shown(push: Push, one: Subscription) -> str:
    return "unreadable" if push.reason and one.key is not None else "delivered"


def of_status(status: int, path: str) -> Answer:
    """An error that only has an HTTP status."""
    return Answer(status, msgspec.json.encode({"code": status, "message": "The push service refused the message."}))


def _refused(status: int, message: str) -> Refusal:
    return Refusal(Answer(status, msgspec.json.encode({"code": status, "message": message})))


def build(box: PushService, faults: VendorFaults) -> Litestar:
    """The service as an app."""

    @post("/push/{name:str}")
    async def deliver(request: Request, name: FromPath[str]) -> Response[bytes]:
        one = box.subscriptions.get(name)
        if one is None or one.state == "unknown":
            raise _refused(404, "There is no such subscription.")
        if one.state == "gone":
            raise _refused(410, "The subscription has ended.")
        _check_sender(box, faults, one, request.headers.get("authorization", ""))
        ttl_s, urgency, topic = _wishes(request)
        body = await request.body()
        if len(body) > BODY_MAX:
            raise _refused(413, f"A message has at most {BODY_MAX} bytes.")
        if body and request.headers.get("content-encoding", "") != "aes128gcm":
            raise _refused(415, "The content must be sealed with aes128gcm.")
        push = box.take(one, body, ttl_s, urgency, topic)
        return respond(Answer(201, headers={"Location": f"{box.origin}/message/{push.id}", "TTL": str(ttl_s)}))

    return application([deliver], of_status)


def _check_sender(box: PushService, faults: VendorFaults, one: Subscription, authorization: str) -> None:
    try:
        key, _ = check_vapid(authorization, box.origin, box.now())
    except BadVapid as error:
        raise _refused(error.status, str(error)) from error
    if faults.revoked or (one.server_key and key != one.server_key):
        raise _refused(403, "The subscription was made for another application server's key.")


def _wishes(request: Request) -> tuple[int, str, str]:
    """(TTL, urgency, topic), checked."""
    ttl = request.headers.get("ttl", "")
    if not (ttl.isascii() and ttl.isdigit() and len(ttl) <= 10):
        raise _refused(400, "The message needs a TTL, a whole number of seconds.")
    urgency = request.headers.get("urgency", "normal")
    if urgency not in URGENCIES:
        raise _refused(400, f"Urgency must be one of {', '.join(URGENCIES)}.")
    topic = request.headers.get("topic", "")
    if topic and not _TOPIC.fullmatch(topic):
        raise _refused(400, "A topic has up to 32 characters of the base64url alphabet.")
    return min(int(ttl), TTL_S_MAX), urgency, topic
