"""The emulated NinjaOne's webhook: each visible activity posted once to the configured address, with its headers and no signature.

Not for: making activities. Invariants: nothing is posted to a host that was not allowed; a call that fails is lost, as nothing else is promised.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from deploy.emulators.messages.post import NotConnected, Poster
from deploy.emulators.ninjaone.activities import Activity
from deploy.emulators.ninjaone.bodies import HookBody

WAITING_MAX = 10_000
KEPT_MAX = 500
CONNECT_S, READ_S = 2.0, 5.0


class Attempt(msgspec.Struct, frozen=True):
    """One call: `status` 0 and `trouble` a sentence where no answer was heard."""

    url: str
    body: bytes
    headers: dict[str, str]
    at: float
    status: int
    trouble: str = ""


class Hooks:
    """The way out. `drop` loses so many of the next calls; `attempts` are the latest, oldest first."""

    def __init__(self, now: Callable[[], float], expanded: Callable[[int, list[str]], dict[str, Any]]) -> None:
        self.attempts: deque[Attempt] = deque(maxlen=KEPT_MAX)
        self.drop = 0
        self.lost = 0
        self._now, self._expanded = now, expanded
        self._poster = Poster()
        self._queue: asyncio.Queue[tuple[HookBody, Activity]] = asyncio.Queue(WAITING_MAX)
        self._sender: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sender = asyncio.get_running_loop().create_task(self._send())

    async def stop(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        self._poster.close()

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def tell(self, hook: HookBody | None, activity: Activity, organization_id: int) -> None:
        """Posts this activity if the configuration wants it."""
        if hook is None or (hook.organizationIds is not None and organization_id not in hook.organizationIds):
            return
        if hook.activities is not None and activity.status_code not in hook.activities.get(activity.activity_type, ()):
            return
        if self.drop > 0 or self._queue.full():
            self.drop = max(0, self.drop - 1)
            self.lost += 1
            return
        self._queue.put_nowait((hook, activity))

    async def _send(self) -> None:
        while True:
            hook, activity = await self._queue.get()
            body = activity.told() | {"activityTime": int(activity.at)} | self._expanded(activity.device_id, hook.expand)
            await self._post(hook, msgspec.json.encode(body))

    async def _post(self, hook: HookBody, body: bytes) -> None:
        headers = {"Content-Type": "application/json", **{one.name: one.value for one in hook.headers}}
        status, trouble = 0, ""
        try:
            status = (await self._poster.post(hook.url, headers, body, connect_s=CONNECT_S, read_s=READ_S)).status
        except NotConnected:
            trouble = "Nobody took the connection."
        except (TimeoutError, ConnectionError, OSError):
            trouble = "No answer came."
        self.lost += not 200 <= status < 300
        self.attempts.append(Attempt(hook.url, body, headers, self._now(), status, trouble))
