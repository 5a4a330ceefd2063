"""Calls about the bays' machines: each is passed on, once, to the site that has the machine, so that it looks without waiting for its turn (M3).

Kept in memory: which calls were heard lately, and how many a site was told. Calls are lost on their way to us anyhow, so nothing depends on one.
Invariant: a call costs a site at most one look, and however many come, a site is told `TOLD_MAX` times a minute at most; one that is not heard is
told nothing, since it would hear it late.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Literal

from shared.ledger import machine_news
from shared.ledger.desk import Desk
from shared.runtime.database import Database, InlineWriter

from ..ports import MachineCall, MachineCaller
from .link import Links

Outcome = Literal["told", "duplicate", "unknown", "dark", "too_many"]
#: calls that are known again when they are repeated
KNOWN_MAX = 10_000
TOLD_MAX, TOLD_WITHIN_S = 60, 60


class MachineCalls:
    """`callers`: vendor -> who reads its calls. `count(outcome)` is told of each call about a machine."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, links: Links, callers: dict[str, MachineCaller], count: Callable[[str], None]
    ):
        self._db, self._desk, self._links, self.callers, self._count = db, desk, links, callers, count
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._told: dict[str, deque[int]] = {}

    async def heard(self, vendor: str, calls: list[MachineCall]) -> None:
        """Passes on what a vendor's call said."""
        for call in calls:
            self._count(await self._pass_on(vendor, call))

    async def _pass_on(self, vendor: str, call: MachineCall) -> Outcome:
        if call.key and not self._is_news((vendor, call.key)):
            return "duplicate"
        sites = [one for one in self._db.read(lambda tx: machine_news.sites_of(tx, call.machine_id)) if self._links.enrolled(one)]
        if not sites:
            return "unknown"
        up = [one for one in sites if self._links.up(one)]
        due = [one for one in up if self._may_tell(one)]
        told = [await self._db.write(lambda tx, s=one: machine_news.tell(tx, self._desk, s, call.machine_id)) for one in due]
        return "told" if any(told) else "too_many" if up and not due else "dark"

    def _is_news(self, key: tuple[str, str]) -> bool:
        if key in self._known:
            return False
        self._known[key] = None
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return True

    def _may_tell(self, site_id: str) -> bool:
        now, told = self._desk.now(), self._told.setdefault(site_id, deque(maxlen=TOLD_MAX))
        if len(told) == TOLD_MAX and 0 <= now - told[0] < TOLD_WITHIN_S:
            return False
        told.append(now)
        return True
