"""Predictive maintenance (M4): counts what each bay has been through and proposes a quiet time to look after it; staff accept or dismiss.

Not for: when it is due and which time (`shared.foresight`), nor for the block: accepting is blocking the bay for that time. Invariant: nothing is
blocked here, and what is proposed was free when it was looked at. A year of a bay takes milliseconds to count: bay by bay, so that nobody waits for all.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from shared import foresight, slots
from shared.errors import refuse
from shared.foresight import Usage, Wear
from shared.ledger import records, ways
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.model import Interval
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.services import views
from site_agent.services.bays import stock
from site_agent.services.people import Asker
from site_agent.store import foresight as store
from site_agent.store import stock as kept

#: what is proposed begins so much later at the earliest, so that somebody can come
LEAD_SLOTS = 12 * slots.SLOTS_PER_HOUR
#: the hours of the week are counted over so long
WEEKS_SLOTS = 28 * 96
#: hours are counted for a year, where no maintenance is known
HISTORY_SLOTS = 365 * 96
#: looked at anew so often
FRESH_S = 600


class Proposed(msgspec.Struct, frozen=True):
    """A time for a bay's maintenance. `start`, `end` ISO 8601 in UTC, `clock` by the facility's wall clock; `why` is a sentence."""

    resource_id: str
    bay: str
    start: str
    end: str
    clock: str
    why: str


class _Count(NamedTuple):
    """What was counted of a bay at `at` (unix seconds): slots played since its maintenance ended at the slot `since`, and at which hours of the week."""

    at: int
    since: int
    played: int
    usage: Usage


class Foresight:
    """One facility's."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str):
        self._db, self._desk, self._houses, self._site_id = db, desk, houses, site_id
        self._found: tuple[Proposed, ...] = ()
        self._fresh_until = 0
        self._counts: dict[str, _Count] = {}
        self._looking = asyncio.Lock()
        db.listen(self._changed)

    def _changed(self, events: list[tuple[str, str]]) -> None:
        if any(topic in ("block", "document") for topic, _ in events):
            self._fresh_until = 0

    async def proposals(self) -> tuple[Proposed, ...]:
        """What is proposed now, in the order of the bays; looked at anew after a while, and when a block changed."""
        async with self._looking:
            now = self._desk.now()
            if not now < self._fresh_until <= now + FRESH_S:
                self._fresh_until = now + FRESH_S  # a block that changes meanwhile takes it back
                self._found = await self._all(now)
            return self._found

    async def _all(self, now: int) -> tuple[Proposed, ...]:
        found = []
        for rid in self._db.read(lambda tx: self._bays(tx, now)):
            found.append(self._db.read(lambda tx, rid=rid: self._one(tx, rid, now)))
            await asyncio.sleep(0)
        return tuple(one for one in found if one is not None)

    def _bays(self, tx: Tx, now: int) -> list[str]:
        house, dismissed = self._houses.of(tx, self._site_id), kept.dismissed(tx, now)
        return [bay.id for bay in house.resources.values() if bay.active and bay.kind == "simulator" and bay.id not in dismissed]

    def _one(self, tx: Tx, rid: str, now: int) -> Proposed | None:
        house, slot = self._houses.of(tx, self._site_id), now // slots.SLOT_S
        if rid not in house.resources:
            return None
        zone, rule = house.facility.zone, house.profile.policy.care
        cared = store.maintenance(tx, rid, stock.BY)
        if any(block.end > slot for block in cared):
            return None  # it is planned, or being done
        since = max((block.end for block in cared), default=0)
        count = self._count(tx, house, rid, since, now)
        # a trouble that was seen to with the last maintenance is no reason for the next
        troubles = kept.troubles_since(tx, rid, max(now - rule.alert_days * 86_400, since * slots.SLOT_S))
        wear = Wear(played_min=count.played * slots.SLOT_MIN, troubles=troubles, since_at=since * slots.SLOT_S)
        if not foresight.is_due(wear, rule):
            return None
        free = ways.free_between(tx, rid, Interval(slot + LEAD_SLOTS, slot + rule.ahead_days * 96))
        bay = views.bay(house, rid)
        found = foresight.propose(bay, wear, free, count.usage, rule, zone)
        if found is None:
            return None
        at = found.at
        return Proposed(rid, bay, views.iso(at.start * 900), views.iso(at.end * 900), views.clock(zone, at.start, at.end), found.why)

    def _count(self, tx: Tx, house: House, rid: str, since: int, now: int) -> _Count:
        """What the bay has been through; what was counted a while ago will do, since a block changes nothing of it."""
        known = self._counts.get(rid)
        if known is not None and known.since == since and known.at <= now < known.at + FRESH_S:
            return known
        slot = now // slots.SLOT_S
        runs = store.played(tx, rid, max(since, slot - HISTORY_SLOTS), slot)
        usage = foresight.usage_of(store.played(tx, rid, slot - WEEKS_SLOTS, slot), house.facility.zone)
        count = _Count(now, since, sum(end - start for start, end in runs), usage)
        self._counts[rid] = count
        return count

    async def dismiss(self, resource_id: str, why: str, asker: Asker) -> None:
        """Staff do not want it now: it is not proposed for `dismissed_days`. Refuses `resource_not_found`, `bad_request` without a reason."""
        why = " ".join(why.split())[:300]
        if not why:
            raise refuse("bad_request", "Please say why: it is written down.")

        def run(tx: Tx) -> None:
            house, now = self._houses.of(tx, self._site_id), self._desk.now()
            house.resource(resource_id)
            until_at = now + house.profile.policy.care.dismissed_days * 86_400
            kept.dismiss(tx, resource_id, until_at, asker.id, why)
            records.journal(tx, now, self._site_id, asker.id, "maintenance not now", resource_id, why)

        await self._db.write(run)
        self._fresh_until = 0
