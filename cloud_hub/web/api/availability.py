"""What is free, what it costs, and what there is (B2, B14, P5)."""

from datetime import date

from litestar import Request, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, JSONBody

from shared.errors import Violation, refuse
from shared.runtime.openapi import raises
from shared.runtime.problems import bad_request

from ...services.booking import Ask, Part
from ...store.board import DayGrid
from ..auth import SECURITY, needs
from .asked import QuoteIn
from .common import hub_of
from .told import CheckOut, PartPrice, QuoteOut, ResourceList, ResourceOut, RuleOut, resource_out, way_out
from .wire import MomentQuery, ResourceQuery, SiteFilter, SiteQuery, answer, moment, parse_moment, part_of, slots_of

TAGS = ["Availability and prices"]
FIRST_DAY, LAST_DAY = date(2020, 1, 2), date(2099, 12, 30)
PLACES = ("facility_not_found", "resource_not_found")
ETAG = [ResponseHeader(name="ETag", description="Send it as If-None-Match; an unchanged day is 304.", documentation_only=True)]
UNCHANGED = ResponseSpec(None, description="Unchanged since that ETag.")


@get(
    "/availability", security=SECURITY, tags=TAGS, opt={**needs("availability:read"), **raises("facility_not_found")}, summary="A day",
    response_headers=ETAG, responses={304: UNCHANGED},
)  # fmt: skip
async def day(request: Request, site_id: SiteQuery, date: FromQuery[date]) -> Response[DayGrid]:
    """One local day of a facility: 46, 48 or 50 half hours by every bay, up to when it is known (`as_of`), and how free times are sold."""
    if not FIRST_DAY <= date <= LAST_DAY:
        raise bad_request("The date lies outside the years that are kept here (2020 to 2099).")
    kept = hub_of(request).days.get(site_id, date)
    headers = {"etag": kept.etag, "cache-control": "private, no-cache"}
    for name, value in request.scope["headers"]:
        if name == b"if-none-match" and kept.etag.encode() in value:
            return Response(b"", status_code=304, headers=headers, media_type="application/json")
    return Response(kept.body, headers=headers, media_type="application/json")


@get(
    "/availability/check", security=SECURITY, tags=TAGS, summary="One time",
    opt={**needs("availability:read"), **raises("bad_interval", *PLACES)},
)  # fmt: skip
async def check(request: Request, resource_id: ResourceQuery, start: MomentQuery, end: MomentQuery) -> Response[CheckOut]:
    """Whether one time could be booked now, how, and what it costs."""
    first, past = slots_of(parse_moment(start), parse_moment(end))
    part = Part(booking_id="", resource_id=resource_id, start=first, end=past)
    found = hub_of(request).bookings.check(Ask(parts=(part,), channel="api"))
    available = found.how in ("instant", "ask_site")
    quoted = found.quoted
    return answer(
        CheckOut(
            available=available, how=found.how, price=quoted.price, violations=rules_out(quoted.violations),
            suggestions=[way_out(way) for way in quoted.suggestions],
        )
    )  # fmt: skip


@post(
    "/pricing/quote", status_code=200, security=SECURITY, tags=TAGS, summary="Quote",
    opt={**needs("availability:read"), **raises("bad_interval", "customer_not_found", *PLACES)},
)  # fmt: skip
async def quote(request: Request, data: JSONBody[QuoteIn]) -> Response[QuoteOut]:
    """The price line by line, signed and kept for 15 minutes, with every rule that stands against the booking and what could be had then."""
    parts = _parts(data)
    ask = Ask(parts=parts, channel="api", customer_id=data.customer_id or "", guests=data.guests, code=data.code)
    quoted = hub_of(request).bookings.quote(ask)
    priced = [
        PartPrice(resource_id=p.resource_id, start=moment(p.start * 900), end=moment(p.end * 900), price=price)
        for p, price in zip(parts, quoted.prices, strict=True)
    ]
    token = quoted.tokens[0] if len(parts) == 1 and quoted.tokens else ""
    return answer(
        QuoteOut(
            price=quoted.price, parts=priced, quote=token, valid_until=moment(quoted.valid_until), violations=rules_out(quoted.violations),
            suggestions=[way_out(way) for way in quoted.suggestions],
        )
    )  # fmt: skip


def _parts(data: QuoteIn) -> tuple[Part, ...]:
    single = data.resource_id is not None or data.start is not None or data.end is not None
    if data.parts:
        if single:
            raise refuse("bad_request", "Give either one bay (resource_id, start, end) or parts, not both.")
        # Ids play no part in a price, but those of one order differ.
        return tuple(part_of(part, f"part-{i}") for i, part in enumerate(data.parts))
    if data.resource_id is None or data.start is None or data.end is None:
        raise refuse("bad_request", "Give resource_id, start and end, or parts.")
    return (part_of(data, "part-0"),)


def rules_out(violations: tuple[Violation, ...]) -> list[RuleOut]:
    return [RuleOut(code=v.code, rule=v.rule, message=v.detail, limit=v.limit) for v in violations]


@get("/resources", security=SECURITY, tags=TAGS, opt=needs("availability:read"), summary="Bays")
async def resources(request: Request, site_id: SiteFilter = None) -> Response[ResourceList]:
    """Everything bookable, of one facility or of all."""
    found: list[ResourceOut] = [resource_out(r) for r in hub_of(request).board.resources(site_id or "")]
    return answer(ResourceList(resources=found))


HANDLERS = [day, check, quote, resources]
