"""Sites with the state of their links, and customers (S6, U1)."""

from litestar import Request, Response, get
from litestar.params import FromPath

from shared.bookings import shown
from shared.errors import refuse
from shared.runtime.openapi import raises

from ...services.hub import Hub
from ...services.link import LinkState
from ..auth import SECURITY, needs
from .common import hub_of
from .told import CustomerOut, SiteList, SiteOut
from .wire import answer, moment, moment_or_none


@get("/sites", security=SECURITY, tags=["Sites"], opt=needs("sites:read"), summary="Sites and their links")
async def sites(request: Request) -> Response[SiteList]:
    """Every site that is enrolled here: whether it is heard, since when, what waits for it, and who sells from when."""
    hub = hub_of(request)
    return answer(SiteList(sites=[_site(hub, state) for state in hub.links.states()]))


@get(
    "/sites/{site_id:str}", security=SECURITY, tags=["Sites"], opt={**needs("sites:read"), **raises("facility_not_found")}, summary="A site"
)
async def site(request: Request, site_id: FromPath[str]) -> Response[SiteOut]:
    """One site and its link."""
    hub = hub_of(request)
    return answer(_site(hub, hub.links.state(site_id)))


def _site(hub: Hub, s: LinkState) -> SiteOut:
    loss = hub.witnessing.loss(s.site_id)
    return SiteOut(
        id=s.site_id, name=hub.sites.name(s.site_id), link=s.link, since=moment_or_none(s.since_at), heard_at=moment_or_none(s.heard_at),
        rtt_s=s.rtt_s, skew_s=s.skew_s, skew_shown=s.skew_shown, releasing=s.releasing, waiting_messages=s.waiting_rows,
        waiting_since=moment_or_none(s.waiting_since_at), stopped_because=s.stopped_why, fenced_because=s.fenced_why,
        recovery=s.recovery, unvouched=s.unvouched,
        unknown_messages=s.unknown_rows, possible_loss=loss.sales, possible_loss_since=moment_or_none(loss.since_at),
        hub_sells_from={resource_id: moment(line * 900) for resource_id, line in sorted(s.lines.items())},
    )  # fmt: skip


@get(
    "/customers/{customer_id:str}", security=SECURITY, tags=["Customers"], summary="A customer",
    opt={**needs("customers:read"), **raises("customer_not_found")},
)  # fmt: skip
async def customer(request: Request, customer_id: FromPath[str]) -> Response[CustomerOut]:
    """A customer, through merges: the `customer_id` of a booking. Totals are counted from the bookings, never kept."""
    hub = hub_of(request)
    found = hub.board.customer(customer_id)
    if found is None:
        raise refuse("customer_not_found", "This customer is not known.")
    who, bookings = found
    seen = hub.board.see(bookings)
    states = [(s.booking, shown(s.booking.status, s.attendance.state if s.attendance else "")) for s in seen]
    now = hub.desk.now()
    return answer(
        CustomerOut(
            id=who.id, name=who.name, phone=who.phone, email=who.email, tier=who.tier, tags=list(who.tags), bookings=len(states),
            upcoming=sum(state in ("confirmed", "requested") and b.starts_at > now for b, state in states),
            completed=sum(state == "completed" for _, state in states),
        )
    )  # fmt: skip


HANDLERS = [sites, site, customer]
