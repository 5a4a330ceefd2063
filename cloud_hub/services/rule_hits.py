"""Which rules the refusals named, to whom and how often (R10): the hub's own counts beside those that the sites have told.

Not here: counting (`shared.ledger.rule_hits`). Invariant: a customer's counts are found under every id that was merged into theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.errors import refuse
from shared.ledger import records, rule_hits
from shared.ledger.desk import Desk
from shared.ledger.rule_hits import Guest, Hits
from shared.model import Frozen
from shared.runtime.database import Database, InlineWriter, Tx

__all__ = ["Refusals", "RuleHits"]

SHOWN_DAYS, GUESTS_SHOWN = 30, 20


class Refusals(Frozen):
    """What one facility's refusals named lately: per rule and channel, and the customers who were refused most often, with their names."""

    site_id: str
    days: int
    rules: tuple[Hits, ...]
    guests: tuple[tuple[Guest, str], ...]

    @property
    def hits(self) -> int:
        return sum(one.hits for one in self.rules)


class RuleHits:
    """Reads the counts, for pages and the API."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, site_ids: Iterable[str]):
        self._db, self._desk, self._site_ids = db, desk, tuple(sorted(site_ids))

    def by_customer(self, customer_id: str, days: int = rule_hits.KEPT_DAYS) -> tuple[str, list[Hits]]:
        """Who the customer is now, and what they were refused, on both sides. Refuses `customer_not_found`."""

        def read(tx: Tx) -> tuple[str, list[Hits]]:
            who = records.customer(tx, customer_id)
            if who is None:
                raise refuse("customer_not_found", "This customer is not known.")
            return who.id, rule_hits.by_customer(tx, customer_id, self._desk.now(), days)

        return self._db.read(read)

    def by_rule(self, days: int = SHOWN_DAYS) -> list[Refusals]:
        """Every facility's."""
        return self._db.read(lambda tx: [self._of(tx, site_id, days) for site_id in self._site_ids])

    def _of(self, tx: Tx, site_id: str, days: int) -> Refusals:
        now = self._desk.now()
        guests = rule_hits.guests(tx, site_id, now, days, GUESTS_SHOWN)
        named = tuple((one, who.name if (who := records.customer(tx, one.customer_id)) else "") for one in guests)
        return Refusals(site_id=site_id, days=days, rules=tuple(rule_hits.by_rule(tx, site_id, now, days)), guests=named)
