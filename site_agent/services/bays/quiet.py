"""While staff block a bay for maintenance its machines raise no alerts, and after it they do again (M3).

Not for: blocks. Invariant: what was told to a machine is written down once a way took it, so that the end is told also after a restart; whoever does
not answer is told again, ever more seldom.
"""

from __future__ import annotations

from shared.errors import Failure
from shared.ledger import records
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.services.bays.machines import MachineDesk
from site_agent.store import machines as store

_log = log.get("site_agent.machines")

#: how far a chain of blocks is followed (slots); how long one who does not answer is left alone
AHEAD, AGAIN_S, AGAIN_MAX_S = 7 * 96, 30, 900


class Quiet:
    """Tells the machines of bays under maintenance."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, machines: MachineDesk):
        self._db, self._desk, self._houses, self._site_id, self._machines = db, desk, houses, site_id, machines
        #: resource -> (not before, how long the next wait is)
        self._later: dict[str, tuple[int, int]] = {}

    async def tick(self) -> None:
        """Every few seconds: tells what has changed."""
        if not self._machines.configured or self._desk.clock_doubt():
            return
        now = self._desk.now()
        wanted, told = self._db.read(lambda tx: (self._wanted(tx, now), store.quiet(tx)))
        for resource_id in sorted(wanted.keys() | told.keys()):
            until_at = wanted.get(resource_id, (0, ""))[0]
            if until_at == told.get(resource_id, 0) or now < self._later.get(resource_id, (0, 0))[0]:
                continue
            if not until_at and told[resource_id] <= now:
                await self._keep(resource_id, 0)  # it has ended by itself
            elif await self._tell(resource_id, until_at, wanted.get(resource_id, (0, ""))[1], now):
                await self._keep(resource_id, until_at)

    def _wanted(self, tx: Tx, now: int) -> dict[str, tuple[int, str]]:
        """Resource -> until when it is under maintenance from now on without a break, and why."""
        slot, found = now // 900, {}
        for resource_id in self._houses.of(tx, self._site_id).resources:
            end, why = slot, ""
            for block in records.blocks_over(tx, resource_id, slot, slot + AHEAD):
                if block.kind == "maintenance" and block.start <= end < block.end:
                    end, why = block.end, why or block.reason
            if end > slot:
                found[resource_id] = (end * 900, why)
        return found

    async def _tell(self, resource_id: str, until_at: int, why: str, now: int) -> bool:
        """Whether every way to the bay took it."""
        ways = self._db.read(lambda tx: self._machines.ways_to(tx, resource_id))
        taken = True
        for way in ways:
            machines = self._machines.way(way.name)
            try:
                if machines is not None:
                    await machines.maintenance(way.machine, until_at, why or "Maintenance")
            except Failure as error:
                if not error.permanent:
                    taken = False
                elif resource_id not in self._later:
                    _log.warning("machines.maintenance_refused", way=way.name, resource_id=resource_id, why=error.detail)
        if taken:
            self._later.pop(resource_id, None)
        else:
            wait_s = self._later.get(resource_id, (0, AGAIN_S))[1]
            self._later[resource_id] = (now + wait_s, min(AGAIN_MAX_S, wait_s * 2))
        return taken

    async def _keep(self, resource_id: str, until_at: int) -> None:
        await self._db.write(lambda tx: store.put_quiet(tx, resource_id, until_at))
