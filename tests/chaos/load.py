"""Customers and staff who book, move, cancel and let guests in, and remember what they were told.

Each request has an id of its own and is sent again, the same, until somebody answers it: that is all a client can do against machines
that die. `Promises` is what the answers have promised, to be held against the books in the end.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx
import msgspec

from deploy.demo.clients import Answer, Hub, Staff, new_id
from deploy.demo.data import Person

#: half hours that are fought over, from the first that the web may sell
ROWS = 80
FIRST_SLOTS = 6
#: a client gives one request up after this time; what became of it is then unknown to it
PATIENCE_S = 60.0
THINK_S = 0.25
BUSY = (429, 502, 503)


class Promises(msgspec.Struct):
    """What the answers said. A booking is in at most one of them.

    `sold`: confirmed, and nobody has asked to change it since. `gone`: told to be cancelled. `open`: asked for something whose outcome is
    not known; such a booking may be either, but both books must say the same. `moved`: old id to new, told to be done.
    """

    sold: dict[str, str] = {}
    gone: set[str] = set()
    open: set[str] = set()
    inside: set[str] = set()
    moved: dict[str, str] = {}
    told: Counter = msgspec.field(default_factory=Counter)


class Client:
    """One customer service: books in its own names at either side, and changes what it has booked."""

    def __init__(self, name: str, chance: random.Random, hub: Hub, staff: dict[str, Staff], bays: dict[str, tuple[str, ...]], promises: Promises):
        self._name, self._chance, self._hub, self._staff, self._bays = name, chance, hub, staff, bays
        self._promises = promises
        self._mine: dict[str, str] = {}
        self._count = 0

    async def run(self, until_at: float) -> None:
        """Works until the loop's clock is at `until_at`."""
        while time.monotonic() < until_at:
            await self._chance.choices((self._book, self._cancel, self._move, self._let_in, self._cross), (20, 3, 3, 1, 1))[0]()
            await asyncio.sleep(self._chance.expovariate(1 / THINK_S))

    # ---- asking
    async def _ask(self, send: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """Sends the same until somebody answers; None where patience ended first."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer = await send()
            except httpx.TransportError:
                self._promises.told["nobody answered"] += 1
                await asyncio.sleep(0.1)
                continue
            if answer.status not in BUSY:
                assert answer.status < 500, f"an app answered {answer}"
                return answer
            self._promises.told[f"answered {answer.status}"] += 1
            await asyncio.sleep(0.5)
        return None

    def _side(self, site_id: str) -> Hub | Staff:
        return self._hub if self._chance.random() < 0.5 else self._staff[site_id]

    def _somewhere(self) -> tuple[str, str, int, int]:
        site_id = self._chance.choice(sorted(self._bays))
        bay = self._chance.choice(self._bays[site_id])
        start = int(time.time()) // 1800 * 2 + FIRST_SLOTS + 2 * self._chance.randrange(ROWS)
        return site_id, bay, start, start + self._chance.choice((4, 4, 6, 8))

    def _guest(self) -> Person:
        self._count += 1
        return Person(f"Testa {self._name.title()}", "", f"{self._name}-{self._count}@example.test")

    # ---- what they do
    async def _book(self) -> None:
        site_id, bay, start, end = self._somewhere()
        side, booking_id, guest = self._side(site_id), new_id(self._name), self._guest()
        if isinstance(side, Hub):
            answer = await self._ask(lambda: side.book(booking_id, (bay,), start, end, guest))
        else:
            answer = await self._ask(lambda: side.book(booking_id, bay, start, end, guest))
        self._tell("book", answer)
        if answer is None or answer.status == 202:
            self._promises.open.add(booking_id)
        elif answer.ok:
            self._settled(booking_id, site_id, status_of(answer))

    def _settled(self, booking_id: str, site_id: str, status: str) -> None:
        if status == "confirmed":
            self._promises.sold[booking_id] = site_id
            self._mine[booking_id] = site_id
        elif status in ("requested", "pending"):
            self._promises.open.add(booking_id)

    def _take(self) -> tuple[str, str] | None:
        """One of mine, to be changed: from now on nothing is promised of it."""
        if not self._mine:
            return None
        booking_id = self._chance.choice(sorted(self._mine))
        site_id = self._mine.pop(booking_id)
        del self._promises.sold[booking_id]
        self._promises.open.add(booking_id)
        return booking_id, site_id

    def _give_back(self, booking_id: str, site_id: str) -> None:
        """The change was refused: the booking stands as before."""
        self._promises.open.discard(booking_id)
        self._promises.sold[booking_id] = site_id
        self._mine[booking_id] = site_id

    async def _cancel(self) -> None:
        taken = self._take()
        if taken is None:
            return
        booking_id, site_id = taken
        side = self._side(site_id)
        answer = await self._ask(lambda: side.cancel(booking_id, "changed my mind"))
        self._tell("cancel", answer)
        if answer is not None and answer.status == 200 and status_of(answer) == "cancelled":
            self._promises.open.discard(booking_id)
            self._promises.gone.add(booking_id)
        elif unchanged(answer):
            self._give_back(booking_id, site_id)

    async def _move(self) -> None:
        taken = self._take()
        if taken is None:
            return
        old_id, site_id = taken
        _, bay, start, end = self._somewhere()
        bay = self._chance.choice(self._bays[site_id])
        side, new = self._side(site_id), new_id(self._name)
        answer = await self._ask(lambda: side.reschedule(old_id, new, bay, start, end))
        self._tell("move", answer)
        if answer is None or answer.status == 202:
            self._promises.open.add(new)
        elif answer.ok and status_of(answer) == "confirmed":
            self._promises.moved[old_id] = new
            self._settled(new, site_id, "confirmed")
        elif unchanged(answer):
            self._give_back(old_id, site_id)

    async def _let_in(self) -> None:
        taken = self._take()
        if taken is None:
            return
        booking_id, site_id = taken
        answer = await self._ask(lambda: self._staff[site_id].let_in(booking_id))
        self._tell("let in", answer)
        if answer is not None and answer.ok:
            self._promises.open.discard(booking_id)
            self._promises.sold[booking_id] = site_id
            self._promises.inside.add(booking_id)
        elif unchanged(answer):
            self._give_back(booking_id, site_id)

    async def _cross(self) -> None:
        """The customer cancels on the web while staff let the guest in: one of them wins, on both sides the same."""
        taken = self._take()
        if taken is None:
            return
        booking_id, site_id = taken
        cancelled, inside = await asyncio.gather(
            self._ask(lambda: self._hub.cancel(booking_id, "changed my mind")), self._ask(lambda: self._staff[site_id].let_in(booking_id))
        )
        self._tell("crossed cancel", cancelled)
        self._tell("crossed let in", inside)

    def _tell(self, what: str, answer: Answer | None) -> None:
        if answer is None:
            self._promises.told[f"{what}: no answer"] += 1
        else:
            self._promises.told[f"{what}: {answer.status} {answer.code or status_of(answer)}".rstrip()] += 1


def unchanged(answer: Answer | None) -> bool:
    """Whether the answer is a plain no: the booking stands as it stood. `already_cancelled` may be the answer to our own first try."""
    return answer is not None and not answer.ok and answer.code != "already_cancelled"


def status_of(answer: Answer) -> str:
    """The booking's status in an answer of either app."""
    if not answer.ok or not isinstance(answer.body, dict):
        return ""
    booking = answer.body.get("booking", answer.body)
    return booking.get("status", "")
