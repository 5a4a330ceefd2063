"""A call about a bay's machine on its way from the hub, where vendors can call, to the site that looks after it (M3).

Not for: anything that must arrive. A call says only "look now", and the site looks by itself every minute whatever comes.
Invariant: nothing is kept for a site that would hear of it late.
"""

from __future__ import annotations

from ..messages import MachineTold
from ..model import site_of
from ..runtime.database import Tx
from . import records, streams
from .desk import Desk

#: the first schema that knows this message; nothing of it is sent to an older peer (stream-6)
FIRST_SCHEMA = 4


def sites_of(tx: Tx, machine_id: str) -> list[str]:
    """The sites that have this machine in a bay: one, or those whose vendors count alike."""
    return sorted({site_of(bay.id) for bay in records.resources(tx) if bay.machine_id == machine_id and bay.active})


def tell(tx: Tx, desk: Desk, site_id: str, machine_id: str) -> bool:
    """Tells the site to look. False where it would not understand."""
    if not streams.takes(streams.lock(tx, site_id), FIRST_SCHEMA):
        return False
    streams.append(tx, desk, site_id, MachineTold(machine_id=machine_id))
    return True
