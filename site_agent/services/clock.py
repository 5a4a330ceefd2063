"""This box's clock for the people of the facility: whether it is trusted, why not, and the button that says it is right (clock-2).

Not here: the judgement itself (`ledger.clock_trust`). Invariant: who confirmed the time, and against which doubt, stands in the journal.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.ledger.clock_trust import DOORS, HUB, ClockState, ClockTrust
from shared.ledger.marks import MarkState
from shared.messages import Hello
from site_agent.ports import Doors
from site_agent.services.people import Asker

__all__ = ["ClockState", "MarkState", "TimeDesk"]


class TimeDesk:
    """`doors` None where no controller is configured."""

    def __init__(self, trust: ClockTrust, site_id: str, doors: Doors | None):
        self._trust, self._site_id, self._doors = trust, site_id, doors
        self._watchers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called whenever the clock has come into doubt or out of it."""
        self._watchers.append(watcher)

    async def start(self) -> None:
        """Before anything is written into the books."""
        await self._trust.start()

    async def stop(self) -> None:
        await self._trust.keep()

    def heard(self, hello: Hello, skew_s: float) -> None:
        """The hub has answered our nonce: if it trusts its own clock, it may confirm ours."""
        if hello.clock_sure:
            self._trust.confirm(HUB, skew_s)

    async def tick(self) -> None:
        """Once a second."""
        skew_s = self._doors.clock_skew_s() if self._doors is not None else None
        if skew_s is not None:
            self._trust.confirm(DOORS, skew_s)
        if await self._trust.tick():
            self._told()

    def state(self) -> ClockState:
        return self._trust.state()

    def doubt(self) -> str:
        """Why nothing is sold, as a sentence for staff; empty where the clock is trusted."""
        return self._trust.doubt()

    async def vouch(self, asker: Asker, shown_at: int) -> ClockState:
        """A person says that the time they were shown is right. Refuses `clock_moved`."""
        state = await self._trust.vouch(asker.id, shown_at, self._site_id)
        self._told()
        return state

    def _told(self) -> None:
        for watcher in self._watchers:
            watcher()
