"""Sites with the state of their links and what their guests say of them, and customers (S6, N2, U1)."""

from litestar import Request, Response, get
from litestar.params import FromPath

from shared.bookings import shown
from shared.errors import refuse
from shared.runtime.openapi import raises

from ...services.hub import Hub
from ...services.link import LinkState
from ...services.surveys import COUNTED_DAYS
from ..auth import SECURITY, needs
from .common import hub_of
from .told import CustomerOut, NoticeOut, RuleHitsList, RuleHitsOut, SatisfactionOut, SiteList, SiteOut
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
        notices=[
            NoticeOut(id=n.id, level=n.level, text=n.text, text_fr=n.text_fr, since=moment(n.from_at), until=moment(n.until_at))
            for n in hub.notices.current(s.site_id)
        ],
    )  # fmt: skip


@get(
    "/sites/{site_id:str}/satisfaction", security=SECURITY, tags=["Sites"], summary="What a site's guests say of it",
    opt={**needs("sites:read"), **raises("facility_not_found")},
)  # fmt: skip
async def satisfaction(request: Request, site_id: FromPath[str]) -> Response[SatisfactionOut]:
    """How its guests answered when they were asked how it was. Without answers there is no figure."""
    hub = hub_of(request)
    hub.links.state(site_id)  # refuses a site that is not known
    found = hub.surveys.satisfaction(site_id)
    return answer(
        SatisfactionOut(site_id=site_id, days=COUNTED_DAYS, answers=found.answers, mean=found.mean, good_share=found.good_share)
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


@get(
    "/customers/{customer_id:str}/rule-hits", security=SECURITY, tags=["Customers"], summary="Rules a customer ran into",
    opt={**needs("customers:read"), **raises("customer_not_found")},
)  # fmt: skip
async def rule_hits(request: Request, customer_id: FromPath[str]) -> Response[RuleHitsList]:
    """Which rules refusals have named to a customer, and how often: on the web, at kiosks, by staff and over this API."""
    hub = hub_of(request)
    who, found = hub.rule_hits.by_customer(customer_id)
    rows = [
        RuleHitsOut(site_id=one.site_id, rule=one.rule, code=one.code, channel=one.channel, hits=one.hits, last_at=moment(one.last_at)) for one in found
    ]
    return answer(RuleHitsList(customer_id=who, rule_hits=rows))


HANDLERS = [sites, site, satisfaction, customer, rule_hits]
