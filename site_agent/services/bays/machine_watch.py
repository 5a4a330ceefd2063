"""One way to the machines, looked at: what it said last and when, why it says nothing, and when it is asked again.

Not for: choosing between ways, nor for commands. Invariant: what was not heard of for `OLD_POLLS` looks is old; a way that is away is asked ever
more seldom, and keeps no other one waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from shared.errors import Failure
from shared.ledger.desk import Desk
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import Machine, Machines, MachinesUnavailable
from site_agent.services.bays.machine_choice import Way, Word
from site_agent.store import machines as store

_log = log.get("site_agent.machines")

#: after so many looks that heard nothing, what was heard before is no news any more
OLD_POLLS, OLD_MIN_S = 3, 180
#: the longest that one that is away is left alone; and how long at least, where a command waits for it
AWAY_MAX_S, HASTE_S = 900, 20
#: a call about a machine is followed by a look, unless there was one so lately
CALLED_S = 3
#: what is known is written down so often though nothing has changed, so that a restart knows since when
KEPT_EVERY_S = 600
RENEW_EVERY_S = 3600
STOP_WAIT_S = 5.0


class WayWatch:
    """One way and what is known by it. `changed()` is called when that is other than it was; `chance()` gives 0 to 1."""

    def __init__(
        self, name: str, machines: Machines, db: Database | InlineWriter, desk: Desk, poll_s: int, chance: Callable[[], float],
        changed: Callable[[], None],
    ):  # fmt: skip
        self.name, self.machines, self.trouble = name, machines, ""
        self._db, self._desk, self._poll_s, self._chance, self._changed = db, desk, poll_s, chance, changed
        self._seen: dict[str, Machine] = {}
        self._heard_at = self._kept_at = self._looked_at = self._look_at = self._renew_at = 0
        self._patience_at = self._failures = 0
        self._looking: asyncio.Task[None] | None = None

    # ---- life
    async def start(self, known: list[store.Row]) -> None:
        """Takes up what was last known; a way that is away holds nothing up."""
        rows = [row for row in known if row.way == self.name]
        self._seen = {row.machine_id: msgspec.json.decode(row.doc, type=Machine) for row in rows}
        self._heard_at = self._kept_at = max((row.heard_at for row in rows), default=0)
        await self.machines.start()

    async def stop(self) -> None:
        if self._looking is not None:
            await asyncio.wait((self._looking,), timeout=STOP_WAIT_S)
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self.machines.stop()

    @property
    def resting(self) -> bool:
        """Whether nobody is looking just now."""
        return self._looking is None or self._looking.done()

    # ---- looking
    def tick(self) -> None:
        now = self._desk.now()
        if now < self._looked_at:  # the clock was set back: what was heard, and when to look again, was by the other one
            self._looked_at = self._look_at = now
            self._heard_at, self._patience_at = min(self._heard_at, now), 0
            self._renew_at = self._kept_at = 0
        if now >= self._look_at and self.resting:
            self._looking = asyncio.get_running_loop().create_task(self.look())

    def soon(self) -> None:
        """Somebody was asked to do something that may have changed how the machines are."""
        self._look_at = min(self._look_at, self._desk.now() + 1)

    def wanted(self) -> None:
        """A command waits for it: it is not left alone for long, unless it asked for patience itself."""
        self._look_at = min(self._look_at, max(self._looked_at + HASTE_S, self._patience_at))

    def called(self) -> None:
        """Somebody called about one of its machines: it is looked at without waiting for its turn, but not for each of many calls, nor before the
        patience that it asked for is over."""
        self._look_at = min(self._look_at, max(self._looked_at + CALLED_S, self._patience_at))
        self.tick()

    async def look(self) -> None:
        before, self._looked_at = (self._seen, self.trouble), self._desk.now()
        try:
            seen = {one.machine_id: one for one in await self.machines.machines()}
        except Failure as error:
            self._away(error)
        else:
            if self.trouble:
                _log.info("machines.back", way=self.name)
            self._seen, self._heard_at, self.trouble, self._failures, self._patience_at = seen, self._desk.now(), "", 0, 0
            self._look_at = self._desk.now() + self._spread(self._poll_s)
            await self._keep(before[0])
            await self._renew()
        if before != (self._seen, self.trouble):
            self._changed()

    def _away(self, error: Failure) -> None:
        if not self.trouble:
            _log.warning("machines.away", way=self.name, why=error.detail)
        self.trouble, self._failures = error.detail, self._failures + 1
        wait_s = min(AWAY_MAX_S, self._poll_s * 2 ** min(self._failures - 1, 6))
        self._patience_at = 0
        if isinstance(error, MachinesUnavailable) and error.busy:
            wait_s = max(wait_s, error.retry_after_s)
            self._patience_at = self._desk.now() + error.retry_after_s
        self._look_at = self._desk.now() + self._spread(wait_s)

    async def _keep(self, before: dict[str, Machine]) -> None:
        def said(seen: dict[str, Machine]) -> dict[str, Machine]:
            # when each was heard of changes with every look, and alone is no reason to write
            return {key: msgspec.structs.replace(one, heard_at=0) for key, one in seen.items()}

        if said(before) == said(self._seen) and self._heard_at - self._kept_at < KEPT_EVERY_S:
            return
        rows = [store.Row(self.name, one.machine_id, msgspec.json.encode(one).decode(), self._heard_at) for one in self._seen.values()]

        def run(tx: Tx) -> None:
            store.replace_all(tx, self.name, rows)

        await self._db.write(run)
        self._kept_at = self._heard_at

    async def _renew(self) -> None:
        if self._desk.now() < self._renew_at:
            return
        self._renew_at = self._desk.now() + RENEW_EVERY_S
        try:
            await self.machines.renew()
        except Failure as error:
            _log.warning("machines.not_renewed", way=self.name, why=error.detail)

    def _spread(self, seconds: float) -> int:
        """So that facilities that began together do not ask together."""
        return max(1, round(seconds * (0.9 + self._chance() / 5)))

    # ---- what is known
    def way(self, machine: str) -> Way:
        return Way(self.name, machine, self.machines.does(machine), self.machines.able(machine), self.trouble)

    def word(self, machine: str, now: int) -> Word:
        old = now - self._heard_at > max(OLD_MIN_S, OLD_POLLS * self._poll_s)
        return Word(self.name, self._seen.get(machine), self._heard_at, old)
