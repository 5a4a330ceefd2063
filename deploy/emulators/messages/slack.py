"""Emulated Slack incoming webhooks: posts to hooks, answered in plain text as the real ones are.

Not for: the rest of Slack. Invariant: only a post answered `ok` is kept, but for a fault that says so.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Literal
from urllib.parse import parse_qs

import msgspec
from litestar import Litestar, Request, Response, post
from litestar.params import FromPath

from deploy.emulators.messages.faults import VendorFaults
from deploy.emulators.messages.wire import Answer, Refusal, application, respond

POSTS_MAX = 5_000
TEXT_MAX = 40_000
BLOCKS_MAX = 50
PINGS = ("<!channel>", "<!here>", "<!everyone>")
HookState = Literal["open", "removed", "archived", "forbidden"]
_REFUSED: dict[str, tuple[int, str]] = {
    "removed": (404, "no_service"),
    "archived": (410, "channel_is_archived"),
    "forbidden": (403, "action_prohibited"),
}
_WORDS = {
    400: "invalid_payload",
    403: "invalid_token",
    404: "no_service",
    405: "method_not_allowed",
    410: "channel_is_archived",
    429: "rate_limited",
}


class SlackSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """hooks: name -> path below /services (drawn for names that have none). per_s and burst: how many posts a hook takes (per_s 0: any)."""

    hooks: dict[str, str] = msgspec.field(default_factory=lambda: {"staff": ""})
    per_s: float = 1.0
    burst: int = 10


class SlackPost(msgspec.Struct, kw_only=True):
    """One message in a channel. `pings` are the words in it that would call everybody."""

    id: str
    hook: str
    text: str
    blocks: list[Any]
    at: float
    pings: tuple[str, ...] = ()


class Hook(msgspec.Struct):
    """One incoming webhook; `room` is how many posts it takes now."""

    name: str
    path: str
    room: float
    filled_at: float
    state: HookState = "open"


class Slack:
    """The workspace. `posts` are what its channels show, oldest first."""

    def __init__(self, settings: SlackSettings, now: Callable[[], float], rng: Random, new_id: Callable[[], str]) -> None:
        self.settings = settings
        self.posts: deque[SlackPost] = deque(maxlen=POSTS_MAX)
        self._now = now
        self._new_id = new_id
        self.hooks = {
            name: Hook(name, path.removeprefix("/services/") or _path(rng), settings.burst, now()) for name, path in settings.hooks.items()
        }

    def hook_at(self, path: str) -> Hook | None:
        return next((hook for hook in self.hooks.values() if hook.path == path), None)

    def wait_s(self, hook: Hook) -> int:
        """Takes room for one post: 0, or the seconds until there is some."""
        if not self.settings.per_s:
            return 0
        now = self._now()
        hook.room = min(hook.room + (now - hook.filled_at) * self.settings.per_s, self.settings.burst)
        hook.filled_at = now
        if hook.room < 1:
            return max(1, round((1 - hook.room) / self.settings.per_s))
        hook.room -= 1
        return 0

    def keep(self, hook: Hook, text: str, blocks: list[Any]) -> None:
        whole = text + msgspec.json.encode(blocks).decode()
        pings = tuple(word for word in PINGS if word in whole)
        self.posts.append(SlackPost(id=self._new_id(), hook=hook.name, text=text[:TEXT_MAX], blocks=blocks, at=self._now(), pings=pings))

    def forget(self) -> None:
        """Empties the channels and opens every hook."""
        self.posts.clear()
        for hook in self.hooks.values():
            hook.state, hook.room = "open", self.settings.burst


def plain(status: int, text: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, text.encode(), "text/html; charset=utf-8" if status >= 400 else "text/plain; charset=utf-8", headers or {})


def of_status(status: int, path: str) -> Answer:
    """An error that only has an HTTP status."""
    return plain(status, _WORDS.get(status, "rollup_error"))


def build(box: Slack, faults: VendorFaults) -> Litestar:
    """The hooks as an app."""

    @post("/services/{path:path}")
    async def incoming(request: Request, path: FromPath[str]) -> Response[bytes]:
        hook = box.hook_at(path.strip("/"))
        if faults.revoked:
            raise Refusal(plain(403, "invalid_token"))
        if hook is None:
            raise Refusal(plain(404, "no_service"))
        if hook.state != "open":
            raise Refusal(plain(*_REFUSED[hook.state]))
        text, blocks = _message(request.headers.get("content-type", ""), await request.body())
        wait_s = box.wait_s(hook)
        if wait_s:
            raise Refusal(plain(429, "rate_limited", {"Retry-After": str(wait_s)}))
        box.keep(hook, text, blocks)
        return respond(plain(200, "ok"))

    return application([incoming], of_status)


def _message(kind: str, body: bytes) -> tuple[str, list[Any]]:
    """(text, blocks) of a payload; Refusal 400 when there is nothing to show."""
    try:
        if kind.startswith("application/x-www-form-urlencoded"):
            body = parse_qs(body.decode())["payload"][0].encode()
        payload = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        raise Refusal(plain(400, "invalid_payload")) from None
    text, blocks = payload.get("text", ""), payload.get("blocks", [])
    if not isinstance(text, str):
        raise Refusal(plain(400, "invalid_payload"))
    if not isinstance(blocks, list) or len(blocks) > BLOCKS_MAX or not all(isinstance(one, dict) and "type" in one for one in blocks):
        raise Refusal(plain(400, "invalid_blocks"))
    if not text.strip() and not blocks:
        raise Refusal(plain(400, "no_text"))
    return text, blocks


def _path(rng: Random) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    team, service = (first + "".join(rng.choice(letters) for _ in range(8)) for first in "TB")
    return f"{team}/{service}/{rng.getrandbits(96):024x}"
