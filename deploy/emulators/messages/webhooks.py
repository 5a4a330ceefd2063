"""The vendors' webhooks on their way: delivered by a few workers, retried as the vendor does, and held, repeated, delayed or shuffled by script.

Not for: making or signing them. Invariants: nothing is ever posted to a host that was not allowed; what was posted is remembered, up to a limit.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from deploy.emulators.common.faults import SECONDS_MAX
from deploy.emulators.messages.faults import VENDORS
from deploy.emulators.messages.post import Heard, NotConnected, Poster
from deploy.emulators.messages.timers import Timers

WAITING_MAX = 100_000
"""Deliveries that wait or are held; beyond it new ones are dropped and counted."""
ATTEMPTS_KEPT = 2_000
WORKERS = 16
REPEAT_MAX = 20
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Order = Literal["as_is", "reversed", "shuffled"]


class Delivery(msgspec.Struct, kw_only=True):
    """One webhook. `retries_s` are the waits before each further try; `retry_on` says what a failure is.

    connect: nobody took the connection. late: nor answered in time. 4xx, 5xx: such answers. all: anything but 2xx.
    """

    vendor: str
    url: str
    headers: dict[str, str]
    body: bytes
    retries_s: tuple[float, ...] = ()
    retry_on: frozenset[str] = frozenset({"connect"})
    connect_s: float = 5.0
    read_s: float = 15.0
    on_answer: Callable[[Heard], None] | None = None
    tries: int = 0


class Attempt(msgspec.Struct, frozen=True):
    """One try: `status` is 0 and `trouble` a sentence when no answer was heard."""

    vendor: str
    url: str
    body: bytes
    headers: dict[str, str]
    at: float
    status: int
    trouble: str = ""


class Script(msgspec.Struct):
    """What happens to one vendor's webhooks by script.

    hold: they wait for `release`. drop: they are never sent. delay_s: they go later. repeat: each goes so many times more.
    shuffle: the events of a batch come in another order.
    """

    hold: bool = False
    drop: bool = False
    delay_s: float = 0.0
    repeat: int = 0
    shuffle: bool = False

    def problem(self) -> str:
        """Why this cannot be scripted, or nothing."""
        if not 0 <= self.delay_s <= SECONDS_MAX:
            return f"delay_s must be 0 to {SECONDS_MAX:.0f}."
        if not 0 <= self.repeat <= REPEAT_MAX:
            return f"repeat must be 0 to {REPEAT_MAX}."
        return ""


class Webhooks:
    """The way out of every vendor's webhooks. `attempts` are the latest tries, oldest first."""

    def __init__(self, now: Callable[[], float], rng: Random, timers: Timers, allowed_hosts: Iterable[str] = ()) -> None:
        self.attempts: deque[Attempt] = deque(maxlen=ATTEMPTS_KEPT)
        self.overflowed = 0
        self.scripts: dict[str, Script] = {vendor: Script() for vendor in VENDORS}
        self._now = now
        self._rng = rng
        self._timers = timers
        self._allowed = LOOPBACK | frozenset(allowed_hosts)
        self._held: dict[str, list[Delivery]] = {vendor: [] for vendor in VENDORS}
        self._posted: dict[str, deque[Delivery]] = {vendor: deque(maxlen=ATTEMPTS_KEPT) for vendor in VENDORS}
        # One queue a vendor: a receiver that is slow for one must not delay another's news.
        self._queues: dict[str, asyncio.Queue[Delivery]] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._poster = Poster()
        self._busy = 0

    @property
    def waiting(self) -> int:
        """Deliveries under way or in line, without those held."""
        return self._busy + sum(queue.qsize() for queue in self._queues.values())

    def held(self, vendor: str) -> int:
        return len(self._held[vendor])

    def send(self, delivery: Delivery) -> None:
        """Takes one webhook; what happens to it is the script's."""
        script = self.scripts[delivery.vendor]
        if script.drop or not delivery.url:
            return
        if self.waiting + sum(map(len, self._held.values())) >= WAITING_MAX:
            self.overflowed += 1
            return
        for _ in range(1 + script.repeat):
            one = msgspec.structs.replace(delivery)
            if script.hold:
                self._held[delivery.vendor].append(one)
            elif script.delay_s:
                self._timers.later(script.delay_s, lambda one=one: self._line_up(one))
            else:
                self._line_up(one)

    def send_now(self, delivery: Delivery) -> None:
        """Past the script: for forgeries."""
        self._line_up(delivery)

    def release(self, vendor: str, order: Order = "as_is") -> int:
        """Lets those held go, in this order; hold itself stays as it is. How many they were."""
        held, self._held[vendor] = self._held[vendor], []
        if order == "reversed":
            held.reverse()
        elif order == "shuffled":
            self._rng.shuffle(held)
        for one in held:
            self._line_up(one)
        return len(held)

    def replay(self, vendor: str, count: int) -> int:
        """Posts the latest `count` webhooks once more, exactly as they were: late repeats. How many they were."""
        again = list(self._posted[vendor])[-count:] if count > 0 else []
        for one in again:
            self._line_up(msgspec.structs.replace(one, tries=0, on_answer=None))
        return len(again)

    def forget(self) -> None:
        """Drops what is held and remembered; scripts go too."""
        self.attempts.clear()
        for vendor in VENDORS:
            self._held[vendor].clear()
            self._posted[vendor].clear()
            self.scripts[vendor] = Script()

    def start(self) -> None:
        self._queues = {vendor: asyncio.Queue() for vendor in VENDORS}
        self._workers = [asyncio.create_task(self._work(queue)) for queue in self._queues.values() for _ in range(WORKERS)]

    async def stop(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers.clear()
        self._queues.clear()
        self._poster.close()

    def _line_up(self, delivery: Delivery) -> None:
        queue = self._queues.get(delivery.vendor)
        if queue is not None:
            queue.put_nowait(delivery)

    async def _work(self, queue: asyncio.Queue[Delivery]) -> None:
        while True:
            delivery = await queue.get()
            self._busy += 1
            try:
                await self._try(delivery)
            finally:
                self._busy -= 1

    async def _try(self, delivery: Delivery) -> None:
        heard, failure, trouble = await self._post(delivery)
        delivery.tries += 1
        status = heard.status if heard else 0
        self.attempts.append(Attempt(delivery.vendor, delivery.url, delivery.body, delivery.headers, self._now(), status, trouble))
        if delivery.tries == 1:
            self._posted[delivery.vendor].append(delivery)
        again = failure not in ("", "refused") and ("all" in delivery.retry_on or failure in delivery.retry_on)
        if again and delivery.tries <= len(delivery.retries_s):
            self._timers.later(delivery.retries_s[delivery.tries - 1], lambda: self._line_up(delivery))
        elif heard is not None and delivery.on_answer is not None:
            delivery.on_answer(heard)

    async def _post(self, delivery: Delivery) -> tuple[Heard | None, str, str]:
        """(answer, kind of failure, its sentence); both empty when it went well."""
        if not self._may_call(delivery.url):
            return None, "refused", "The emulator posts to this machine only."
        try:
            heard = await self._poster.post(
                delivery.url, delivery.headers, delivery.body, connect_s=delivery.connect_s, read_s=delivery.read_s
            )
        except NotConnected as error:
            return None, "connect", str(error)
        except (OSError, TimeoutError) as error:
            return None, "late", str(error) or "No answer came in time."
        if 200 <= heard.status < 300:
            return heard, "", ""
        return heard, "4xx" if heard.status < 500 else "5xx", ""

    def _may_call(self, url: str) -> bool:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme in ("http", "https") and (host in self._allowed or host.endswith(".localhost"))


def valid_url(url: str) -> bool:
    """Whether a vendor would take this as the address of a webhook."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
