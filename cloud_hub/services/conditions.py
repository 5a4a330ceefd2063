"""What is amiss at the hub and its facilities just now: one list, from which health and the staff's digest are told (O4).

Each kind has its judge, a function over one look at the hub; what it reads is judged where it is kept (links, books, backups, work rows). Not
here: since when it was told, and to whom (`digest`), in what words a whole message is (`staff_notes`). Invariant: a judge that fails hides no other;
what it would have said is undecided, neither begun nor ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec

from shared import rules
from shared.errors import Failure
from shared.ledger import records, site_alarms
from shared.ledger.backups import BackupPanel, Backups
from shared.ledger.clock_trust import ClockTrust
from shared.ledger.desk import Desk
from shared.ledger.displaced import Queued
from shared.ledger.displaced import queue as conflict_queue
from shared.ledger.marks import MarkKeeper, MarkState
from shared.model import SiteAlarm, site_of
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from shared.runtime.database_disk import Disk

from . import condition_judges as judges
from .attempts import Attempts
from .condition_judges import Condition, Judge, Undecided
from .link import Links, LinkState
from .outage_pins import OutagePins
from .sites import Sites
from .witness import SecondMachine, Witnessing
from .work_desk import Trouble, WorkDesk

__all__ = ["ALL", "OF_CLOCK", "OF_HEALTH", "Condition", "Conditions", "Judged", "Look"]

Kinds = Mapping[str, Judge]
#: what a clock in doubt leaves to be judged
OF_CLOCK: Kinds = {"clock": judges.clock}
#: with any of these the hub is degraded
OF_HEALTH: Kinds = {
    **OF_CLOCK,
    "fence": judges.fence,
    "unvouched": judges.unvouched,
    "halt": judges.halt,
    "stuck": judges.stuck,
    "away": judges.away,
    "backups": judges.backups,
}
#: kind -> its judge, in the order in which people should look
ALL: Kinds = {
    **OF_HEALTH,
    "site_alarm": judges.site_alarms,
    "forged_call": judges.forged_calls,
    "outage_pin": judges.outage_pins,
    "stopped": judges.stopped,
    "dark": judges.dark,
    "conflict": judges.conflicts,
    "disk": judges.disk,
    "sign_in": judges.sign_ins,
    "books": judges.books,
    "mark": judges.mark,
    "skew": judges.skew,
    "loss": judges.loss,
}
_log = log.get("hub.conditions")


class Judged(msgspec.Struct, frozen=True):
    """`open`: id -> the condition as it stands. `undecided`: ids and kinds of which nobody can tell just now."""

    open: dict[str, Condition]
    undecided: frozenset[str]

    def is_undecided(self, condition_id: str) -> bool:
        return condition_id in self.undecided or condition_id.partition("|")[0] in self.undecided


@dataclass(frozen=True)
class Conditions:
    """What a look reads. `began_at` (unix seconds): when this hub was started; nothing has been seen before."""

    db: Database | InlineWriter
    desk: Desk
    links: Links
    sites: Sites
    witnessing: Witnessing
    backups: Backups
    trust: ClockTrust
    mark: MarkKeeper
    outage_pins: OutagePins
    work: WorkDesk
    attempts: Attempts
    began_at: int

    def look(self) -> Look:
        return Look(self)

    def judged(self, kinds: Kinds = ALL) -> Judged:
        """The conditions of these kinds now. Raises a Failure where the books cannot be read."""
        return self.look().judged(kinds)


class Look:
    """The hub at one moment. Each part is read once, when somebody asks for it; reading the books may raise a Failure."""

    def __init__(self, of: Conditions):
        self.of = of
        self.now = of.desk.now()

    @cached_property
    def states(self) -> list[LinkState]:
        return self.of.links.states()

    @cached_property
    def second(self) -> SecondMachine:
        return self.of.witnessing.state()

    @cached_property
    def troubles(self) -> list[Trouble]:
        return self.of.work.troubles()

    @cached_property
    def backups(self) -> BackupPanel:
        return self.of.backups.panel()

    @cached_property
    def doubt(self) -> str:
        return self.of.trust.doubt()

    @cached_property
    def disk(self) -> Disk:
        return self.of.db.disk()

    @cached_property
    def mark_said(self) -> str:
        """What is wrong with the mark; empty where nothing is."""
        mark: MarkState = self.of.mark.state()
        return mark.trouble or ("The mark lies on the same medium as the books and would be lost with them." if mark.same_medium else "")

    @cached_property
    def facilities(self) -> dict[str, tuple[str, str]]:
        """Site -> its name and its zone, which is empty where it has not been stated."""

        def read(tx: Tx) -> dict[str, tuple[str, str]]:
            known = {s.site_id: records.facility(tx, s.site_id) for s in self.states}
            return {site_id: (one.name, one.zone) for site_id, one in known.items() if one is not None}

        stated = self.of.db.read(read)
        return {s.site_id: stated.get(s.site_id) or (self.of.sites.name(s.site_id), "") for s in self.states}

    @cached_property
    def displaced(self) -> list[tuple[Queued, str]]:
        """Displaced guests that have no place yet, with the bay that was booked as people call it."""

        def read(tx: Tx) -> list[Queued]:
            found = (one for s in self.states for one in conflict_queue(tx, self.of.desk, s.site_id))
            return [one for one in found if judges.is_open(one.booking, records.attendance(tx, one.booking.id))]

        return self.of.db.read(lambda tx: [(one, _called(tx, one.booking.resource_id)) for one in read(tx)])

    def alarms(self, site_id: str) -> list[SiteAlarm]:
        """What the site says that people must see to there."""
        return self.of.db.read(lambda tx: site_alarms.current(tx, site_id))

    def called(self, resource_id: str) -> str:
        """The bay as people of its facility call it."""
        return self.of.db.read(lambda tx: _called(tx, resource_id))

    def judged(self, kinds: Kinds = ALL) -> Judged:
        """Asks the judges of these kinds. A fault in one is a condition of its own. Raises a Failure where the books cannot be read."""
        found: dict[str, Condition] = {}
        undecided: set[str] = set()
        for kind, judge in kinds.items():
            for one in self._asked(kind, judge):
                if isinstance(one, Undecided):
                    undecided.add(one.id)
                else:
                    found[one.id] = one
        return Judged(found, frozenset(undecided))

    def _asked(self, kind: str, judge: Callable[[Look], Iterator[Condition | Undecided]]) -> Iterable[Condition | Undecided]:
        try:
            return list(judge(self))
        except Failure:
            raise
        except Exception as error:
            _log.error("conditions.not_judged", kind=kind, error=error)
            return [Undecided(kind), judges.fault(kind, error)]


def _called(tx: Tx, resource_id: str) -> str:
    resource, facility = records.resource(tx, resource_id), records.facility(tx, site_of(resource_id))
    return rules.called(resource, facility) if resource is not None and facility is not None else resource_id
