"""The facility and its day: what is free, the staff's board, everything beside it, the link."""

from typing import Any

import msgspec
from litestar import Request, Response, get

from site_agent.services.alarms import Alarm, of_books
from site_agent.services.backups import BackupPanel
from site_agent.services.booking import OVERRIDE_WARNING, DayGrid
from site_agent.services.clock import ClockState, MarkState
from site_agent.services.doors.credentials import Stuck
from site_agent.services.doors.doors import Panel
from site_agent.services.doors.outage_pins import SparePins
from site_agent.services.halts import HaltView
from site_agent.services.link import LinkState
from site_agent.services.notices import NoticeView
from site_agent.services.outage import Drill
from site_agent.services.recovery import RecoveryPanel
from site_agent.services.visits.displaced import Conflict
from site_agent.store.board import Board, Figures
from site_agent.web import bodies
from site_agent.web.api.common import ANY, KIOSK_SCHEME, STAFF_SCHEME, DayQuery
from site_agent.web.auth import asker_of, kit_of, needs


class FacilityAnswer(msgspec.Struct, frozen=True):
    """The facility, its bays, and the warning that goes before an override."""

    id: str
    name: str
    zone: str
    currency: str
    word: str
    support_phone: str
    support_hours: str
    resources: list[dict[str, Any]]
    override_warning: str


class Panels(msgspec.Struct, frozen=True):
    """Everything beside the grid of the staff page; `alarms` need a person now."""

    alarms: list[Alarm]
    link: LinkState
    doors: Panel
    figures: Figures
    conflicts: list[Conflict]
    credentials: list[Stuck]
    halts: list[HaltView]
    drill: Drill | None
    spare_pins: SparePins
    backups: BackupPanel
    clock: ClockState
    mark: MarkState
    recovery: RecoveryPanel
    notices: list[NoticeView]


@get("/facility", tags=["Day"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False)
def facility(request: Request) -> FacilityAnswer:
    """The facility and its bays."""
    house = kit_of(request).bookings.house()
    told = house.facility
    bays = [
        {"id": r.id, "name": r.name, "kind": r.kind, "number": r.number, "make": r.make, "features": list(r.features), "capacity": r.capacity,
         "active": r.active}
        for r in house.resources.values()
    ]  # fmt: skip
    return FacilityAnswer(
        told.id, told.name, told.zone, told.currency, told.word, told.support_phone, told.support_hours, bays, OVERRIDE_WARNING
    )


@get("/availability", tags=["Day"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False, media_type="application/json")
def availability(request: Request, on: DayQuery) -> Response[DayGrid]:
    """What is free on a day, `as_of` when, and how it is sold: `instant` or `ask_site` (asked of the booking centre). Has an ETag."""
    kept = kit_of(request).bookings.availability(bodies.day(on))
    headers = {"etag": kept.etag, "cache-control": "no-cache"}
    if kept.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    return Response(kept.body, headers=headers, media_type="application/json")


@get("/board", tags=["Day"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def day_board(request: Request, on: DayQuery) -> Board:
    """The day with everything on it, for staff; `/staff/events` goes on from its `version`."""
    return kit_of(request).live.board(bodies.day(on))


@get("/panels", tags=["Day"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def panels(request: Request, on: DayQuery) -> Panels:
    """Link, doors, the day's figures, conflicts, stuck door credentials and stopped bays."""
    kit = kit_of(request)
    return Panels(
        [*of_books(kit.db), *kit.recovery.alarms(), *kit.halts.alarms(), *kit.emergency.alarms(), *kit.doors.alarms()], kit.link.state(), kit.doors.panel(),
        kit.live.figures(bodies.day(on)), kit.displaced.conflicts(asker_of(request)),
        kit.credentials.stuck(), kit.halts.list(), kit.outage.current(), kit.outage_pins.state(), kit.backups.panel(), kit.time.state(), kit.mark.state(),
        kit.recovery.panel(), kit.notices.open(),
    )  # fmt: skip


@get("/link", tags=["Day"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False)
def link_state(request: Request) -> LinkState:
    """Whether the booking centre is heard, since when, and what waits to be told to it."""
    return kit_of(request).link.state()


HANDLERS = (facility, availability, day_board, panels, link_state)
