"""A request to the hub, which a load balancer may send to both of its replicas at once, and what the answers say of each other.

Not here: what the request is about. Invariant: with one replica it is asked once, and nothing changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from zlib import crc32

from shared.errors import Refused
from shared.model import Booking
from tests.simulation.machines import Hub
from tests.simulation.schedule import Action
from tests.world import Dead, World

#: one request in so many goes to both
BOTH_EVERY = 3
#: a no that only somebody who does not know the request's own result would give
OWN_RESULT = ("id_reused", "slot_taken", "already_cancelled")


class Answer(NamedTuple):
    """What one replica said: a value, or the exception in its place. `job`: the how many-th of all on this disk decided it."""

    hub: Hub
    value: Any
    job: int

    @property
    def is_last_word(self) -> bool:
        """Nothing else has been done since this sale."""
        return self.hub.world.gate is None or self.hub.disk.jobs == self.job


class Answers:
    """All that came of one request."""

    def __init__(self, what: str, answers: list[Answer]):
        self._what, self._all = what, answers
        self.good = [a for a in answers if not isinstance(a.value, BaseException)]

    def best(self, settled: Callable[[Any], bool]) -> Any:
        """What the person reads in the end; raises the no, or Dead where nobody answered."""
        if not self.good:
            raise next((a.value for a in self._all if not isinstance(a.value, Dead)), self._all[0].value)
        return next((a.value for a in self.good if settled(a.value)), self.good[0].value)

    def contradictions(self, said: Callable[[Any], Any], decided: Callable[[Any], bool]) -> list[str]:
        """terr-6: the same request has one result, whoever is asked, and whoever is asked later knows it. What only went to the site has none
        yet: its no may come before the other replica is asked."""
        out = []
        if len({repr(said(a.value)) for a in self.good}) > 1:
            out.append(f"{self._what} was asked of two replicas at once and has two results: {[said(a.value) for a in self.good]}")
        for no in self._all:
            code = no.value.refusal.code if isinstance(no.value, Refused) else ""
            if code in OWN_RESULT and any(yes.job < no.job and decided(yes.value) for yes in self.good):
                out.append(f"{self._what} was asked of two replicas at once; one did it, and the other said {code} after it")
        return out


async def ask_hub(world: World, hub: Hub, action: Action, ask: Callable[[Hub], Awaitable[Any]]) -> Answers:
    """Asks this replica, or both at once. Raises the one's no, or Dead, where only one was asked."""
    hubs = [hub]
    if len(world.hubs) > 1 and crc32(f"{world.seed}/{action.no}/both".encode()) % BOTH_EVERY == 0:
        hubs += [h for h in world.hubs if h is not hub]
        world.gate.count["asked_both"] += 1
    answers = [await _one(hub, ask)] if len(hubs) == 1 else await asyncio.gather(*(_one(h, ask) for h in hubs))
    return Answers(f"#{action.no} {action.kind}", list(answers))


async def _one(hub: Hub, ask: Callable[[Hub], Awaitable[Any]]) -> Answer:
    order, task = getattr(hub.db, "order", None), asyncio.current_task()
    if order is not None:
        order[task] = 0
    try:
        value = await ask(hub)
    except (Refused, Dead) as no:
        value = no
    return Answer(hub, value, order.pop(task) if order is not None else 0)


def same_for_both(b: Booking) -> tuple:
    """What does not change in a booking once it was decided."""
    return b.id, b.resource_id, b.start, b.end, b.price


def settled(booked: Any) -> bool:
    return all(s.booking.status == "confirmed" for s in booked.made)


def is_moved(moved: Any) -> bool:
    return moved[0].booking.status == "confirmed"


def is_cancelled(done: Any) -> bool:
    return done.outcome == "cancelled"
