"""The site's own documents at start: facility and bays out of the config, stated in the stream when they changed (own-6).

Invariant: a document and the message that tells of it are one transaction, and a new version is written only for a change; a bay's first
line is stated once and never moves by the config afterwards (terr-2).
"""

from __future__ import annotations

import msgspec

from shared.ledger import lines, records, streams
from shared.ledger.desk import Desk
from shared.messages import FacilityStated, ResourceStated
from shared.model import Facility, Resource
from shared.runtime import log
from shared.runtime.database import Tx

_log = log.get("site_agent.documents")


def open_books(tx: Tx, desk: Desk, site_id: str, *, hub_id: str, epoch: str) -> None:
    """Enters the site in its own books; the epoch given is used the first time only. A stream that stood still at a row is tried again."""
    streams.open_site(tx, site_id, epoch=epoch, hub_id=hub_id, box_id=desk.box_id, term=desk.term)
    streams.start_again(tx, site_id)


def state(tx: Tx, desk: Desk, facility: Facility, resources: tuple[Resource, ...]) -> int:
    """Writes and tells what the config changed. A bay that the config no longer names goes out of sale. Returns how many documents changed."""
    changed = _state_facility(tx, desk, facility)
    known = {one.id: one for one in records.resources(tx, facility.id)}
    for resource in resources:
        changed += _state_resource(tx, desk, facility.id, resource, known.pop(resource.id, None))
    for gone in known.values():
        if gone.active:
            changed += _state_resource(tx, desk, facility.id, msgspec.structs.replace(gone, active=False), gone)
    if changed:
        _log.info("documents.stated", site_id=facility.id, count=changed)
    return changed


def _state_facility(tx: Tx, desk: Desk, facility: Facility) -> int:
    known = records.facility(tx, facility.id)
    facility = msgspec.structs.replace(facility, version=known.version if known else 1)
    if known == facility:
        return 0
    if known is not None:
        facility = msgspec.structs.replace(facility, version=known.version + 1)
    records.put_document(tx, "facility", facility.id, facility.id, facility.version, records.text(facility))
    streams.append(tx, desk, facility.id, FacilityStated(facility=facility))
    return 1


def _state_resource(tx: Tx, desk: Desk, site_id: str, resource: Resource, known: Resource | None) -> int:
    resource = msgspec.structs.replace(resource, version=known.version if known else 1)
    if known == resource:
        return 0
    if known is None:
        # a box that waits for what the hub knows takes its line from there (loss-2)
        line = 0 if streams.lock(tx, site_id).fenced else desk.now_slot() + resource.release_ahead_s // 900
        lines.begin(tx, site_id, resource.id, line)
    else:
        line = lines.line_of(tx, resource.id)
        resource = msgspec.structs.replace(resource, version=known.version + 1)
    records.put_document(tx, "resource", resource.id, site_id, resource.version, records.text(resource))
    streams.append(tx, desk, site_id, ResourceStated(resource=resource, line=line))
    tx.tell("resource", resource.id)
    return 1
