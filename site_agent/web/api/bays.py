"""The bays themselves in the site's JSON API: out of sale for their health, who came and who stayed longer, maintenance that is proposed."""

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath, JSONBody

from shared.runtime.openapi import raises
from site_agent.services.bays.foresight import Proposed
from site_agent.services.bays.stock import BayOut
from site_agent.services.visits.presence_words import PresencePanel
from site_agent.web import bodies
from site_agent.web.api.common import STAFF_SCHEME
from site_agent.web.auth import asker_of, kit_of, needs


class BaysPanel(msgspec.Struct, frozen=True):
    """`out`: bays that fail, and what was done; `presence`: what was concluded of visits; `proposed`: maintenance."""

    out: tuple[BayOut, ...]
    presence: PresencePanel
    proposed: tuple[Proposed, ...]


@get("/bays", tags=["Bays"], guards=[needs("view")], security=STAFF_SCHEME)
async def bays(request: Request) -> BaysPanel:
    """Bays that fail and what became of their guests, verdicts on visits with how they are known, time used after the end, proposed maintenance."""
    kit = kit_of(request)
    return BaysPanel(tuple(kit.stock.bays()), kit.presence.panel(), await kit.foresight.proposals())


@post(
    "/bays/{resource_id:str}/sell", status_code=200, tags=["Bays"], guards=[needs("block")], security=STAFF_SCHEME,
    opt=raises("resource_not_found", "bad_request", "illegal_move", "fenced", "retired", "clock_untrusted"),
)  # fmt: skip
async def sell(request: Request, resource_id: FromPath[str], data: JSONBody[bodies.ReasonBody]) -> list[BayOut]:
    """Sell a failing bay all the same for a while. The reason is written down."""
    desk = kit_of(request).stock
    await desk.spare(resource_id, data.reason, asker_of(request))
    return desk.bays()


@post(
    "/bays/{resource_id:str}/take-out", status_code=200, tags=["Bays"], guards=[needs("block")], security=STAFF_SCHEME,
    opt=raises("resource_not_found", "illegal_move", "fenced", "retired", "clock_untrusted"),
)  # fmt: skip
async def take_out(request: Request, resource_id: FromPath[str]) -> list[BayOut]:
    """Take a failing bay out of sale, about which staff are asked; it comes back by itself when it is well."""
    desk = kit_of(request).stock
    await desk.take(resource_id, asker_of(request))
    return desk.bays()


@post(
    "/bays/{resource_id:str}/not-now", status_code=200, tags=["Bays"], guards=[needs("block")], security=STAFF_SCHEME,
    opt=raises("resource_not_found", "bad_request"),
)  # fmt: skip
async def not_now(request: Request, resource_id: FromPath[str], data: JSONBody[bodies.ReasonBody]) -> list[Proposed]:
    """Dismiss the proposed maintenance of a bay for some days. To accept it, block the bay for that time as `maintenance`."""
    desk = kit_of(request).foresight
    await desk.dismiss(resource_id, data.reason, asker_of(request))
    return list(await desk.proposals())


@post(
    "/bookings/{booking_id:str}/overtime", status_code=200, tags=["Bays"], guards=[needs("book")], security=STAFF_SCHEME,
    opt=raises("booking_not_found", "illegal_move"),
)  # fmt: skip
async def waive(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.ReasonBody]) -> PresencePanel:
    """Do not charge the time used after the end, for this reason; without a reason it is charged after all."""
    desk = kit_of(request).presence
    await desk.waive(booking_id, data.reason, asker_of(request))
    return desk.panel()


@post(
    "/bays/unbooked/{row_id:str}", status_code=200, tags=["Bays"], guards=[needs("check_in")], security=STAFF_SCHEME,
    opt=raises("not_found", "bad_request"),
)  # fmt: skip
async def explain(request: Request, row_id: FromPath[str], data: JSONBody[bodies.ReasonBody]) -> PresencePanel:
    """Say who played in a bay that nobody had booked."""
    desk = kit_of(request).presence
    await desk.explain(row_id, data.reason, asker_of(request))
    return desk.panel()


HANDLERS = (bays, sell, take_out, not_now, waive, explain)
