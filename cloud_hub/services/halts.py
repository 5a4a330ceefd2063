"""Bays whose sales the hub has stopped because its books of them are not sound, and the operator's word that lets them be sold again.

Not here: how a breach is found (`shared.ledger.watch`). Invariant: a stop is lifted by a person, by name and with a reason, and both
stand in the journal.
"""

from __future__ import annotations

import msgspec

from shared.ledger import standing, streams, watch
from shared.ledger.desk import Desk
from shared.runtime import log
from shared.runtime.database import Tx

_log = log.get("hub.halts")


class Lift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that a stop ends; `resource_id` is empty for a stop of the whole site."""

    site_id: str
    resource_id: str
    by: str
    reason: str


def lift(tx: Tx, desk: Desk, wish: Lift) -> int:
    """Carries a wish out. Returns how many breaches are let stand; nothing happens where nothing is stopped."""
    if not any(h.resource_id == wish.resource_id for h in halts(tx, wish.site_id)):
        return 0
    left = watch.lift(tx, desk, wish.site_id, wish.resource_id, by=wish.by, reason=wish.reason)
    for breach in left:
        _log.warning("halt.let_stand", site_id=breach.site_id, kind=breach.kind, ref=breach.ref, by=wish.by)
    return len(left)


def halts(tx: Tx, site_id: str = "") -> list[standing.Halt]:
    """The stops of a site, or of all."""
    return [halt for s in ([site_id] if site_id else streams.sites(tx)) for halt in standing.halts(tx, s)]
