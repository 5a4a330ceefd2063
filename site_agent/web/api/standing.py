"""The clock, stopped bays, what follows a loss, outage drills: what must be looked after for the house to go on selling."""

from litestar import Request, get, post
from litestar.params import JSONBody

from shared.runtime.openapi import raises
from site_agent.services.clock import ClockState
from site_agent.services.halts import HaltView, Lifted
from site_agent.services.outage import Drill
from site_agent.services.recovery import RecoveryPanel
from site_agent.web import bodies
from site_agent.web.api.common import STAFF_SCHEME
from site_agent.web.auth import asker_of, kit_of, needs


@get("/clock", tags=["Clock"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def clock_state(request: Request) -> ClockState:
    """The time this box believes, and whether that is trusted; while it is not, nothing is sold."""
    return kit_of(request).time.state()


@post("/clock/confirm", status_code=200, tags=["Clock"], guards=[needs("book")], security=STAFF_SCHEME, opt=raises("clock_moved"))
async def clock_confirm(request: Request, data: JSONBody[bodies.ClockBody]) -> ClockState:
    """Say that the time shown is right. It is written down who said so."""
    return await kit_of(request).time.vouch(asker_of(request), int(bodies.moment(data.shown_at)))


@get("/halts", tags=["Stopped bays"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def halts(request: Request) -> list[HaltView]:
    """Bays that are not sold because their books are not sound."""
    return kit_of(request).halts.list()


@post("/halts/lift", status_code=200, tags=["Stopped bays"], guards=[needs("resume")], security=STAFF_SCHEME, opt=raises("not_halted"))
async def lift_halt(request: Request, data: JSONBody[bodies.LiftBody]) -> Lifted:
    """Put a stopped bay back on sale, after a look at its day. What can be put right is put right; the rest is noted as let stand."""
    return await kit_of(request).halts.lift(data.resource_id, data.reason, asker_of(request))


@post("/changed/answer", status_code=204, tags=["Stopped bays"], guards=[needs("resume")], security=STAFF_SCHEME, opt=raises("not_found"))
async def answer_changed(request: Request, data: JSONBody[bodies.ChangedBody]) -> None:
    """Say what you found where the doors' trail or the journal was changed from outside. It is told until then, and again after another change."""
    await kit_of(request).halts.answer_changed(data.alarm, data.reason, asker_of(request))


@post("/recovery/vouch", status_code=200, tags=["After a loss"], guards=[needs("resume")], security=STAFF_SCHEME)
async def vouch(request: Request) -> RecoveryPanel:
    """Vouch that the box before this one is off and stays off. It is written down who said so."""
    return await kit_of(request).recovery.vouch(asker_of(request))


@post("/recovery/stated", status_code=200, tags=["After a loss"], guards=[needs("resume")], security=STAFF_SCHEME, opt=raises("fenced"))
async def state_sold(request: Request, data: JSONBody[bodies.StatedBody]) -> RecoveryPanel:
    """Say that what was sold below the floor has been entered, and how you know; then those times are sold again."""
    return await kit_of(request).recovery.state_sold(data.reason, asker_of(request))


@get("/drills", tags=["Drill"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def drills(request: Request) -> list[Drill]:
    """Reports of outage drills, the newest first; the first one may be under way."""
    return kit_of(request).outage.reports()


@post(
    "/drills", status_code=201, tags=["Drill"], guards=[needs("drill")], security=STAFF_SCHEME,
    opt=raises("no_broker", "drill_running", "hub_unreachable"),
)  # fmt: skip
async def start_drill(request: Request, data: JSONBody[bodies.DrillBody]) -> Drill:
    """Unplug the facility from the booking centre for some minutes. It is plugged in again by the clock, or by a restart."""
    return await kit_of(request).outage.start(data.minutes, asker_of(request).id)


@post("/drills/end", status_code=200, tags=["Drill"], guards=[needs("drill")], security=STAFF_SCHEME, opt=raises("no_drill"))
async def end_drill(request: Request) -> Drill:
    """Plug in again before the time is over."""
    return await kit_of(request).outage.end(asker_of(request).id)


HANDLERS = (clock_state, clock_confirm, halts, lift_halt, answer_changed, vouch, state_sold, drills, start_drill, end_drill)
