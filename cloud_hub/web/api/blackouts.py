"""Blackouts over the API: the facility owns its bays, so it is asked (B11, block-1)."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from litestar import Request, Response, delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter

from shared.runtime.openapi import raises
from shared.runtime.problems import bad_request

from ..auth import SECURITY, needs
from .asked import BlockIn
from .common import REPEATABLE, hub_of, key_of, made_id
from .told import BlockList, BlockOut, block_out
from .wire import MOMENT_MARKS, SiteQuery, answer, parse_moment, slots_of

TAGS = ["Blackouts"]
RANGE_MAX = timedelta(days=62)
ASKED = ResponseSpec(BlockOut, description="Asked of the facility, which has not answered yet. Read it again after Retry-After.")
AGAIN = ResponseSpec(BlockOut, description="This request was made before; this is its blackout as it stands.")


@get("/blackouts", security=SECURITY, tags=TAGS, opt={**needs("blackouts:write"), **raises("facility_not_found")}, summary="Blackouts")
async def listed(
    request: Request,
    site_id: SiteQuery,
    start_from: Annotated[str, QueryParameter(name="from", **MOMENT_MARKS)],
    start_to: Annotated[str, QueryParameter(name="to", description="At most 62 days after `from`.", **MOMENT_MARKS)],
) -> Response[BlockList]:
    """Blackouts of a facility that touch a time, with those asked for and not yet answered, and those that have ended."""
    low, high = parse_moment(start_from), parse_moment(start_to)
    if not datetime(2020, 1, 1, tzinfo=UTC) <= low < high <= datetime(2100, 1, 1, tzinfo=UTC) or high - low > RANGE_MAX:
        raise bad_request("`to` lies after `from`, at most 62 days, between the years 2020 and 2100.")
    hub = hub_of(request)
    hub.links.up(site_id)
    found = hub.board.blocks(site_id, int(low.timestamp()) // 900, -(-int(high.timestamp()) // 900))
    return answer(BlockList(blackouts=[block_out(b) for b in found]))


@post(
    "/blackouts", security=SECURITY, tags=TAGS, responses={200: AGAIN, 202: ASKED}, summary="Take a bay out of sale",
    opt={**needs("blackouts:write"), **REPEATABLE, **raises("site_unreachable", "id_reused", "bad_interval", "declined", "resource_not_found",
                                              "facility_not_found")},
)  # fmt: skip
async def block(request: Request, data: JSONBody[BlockIn]) -> Response[BlockOut]:
    """Free times are taken at once, taken ones when the booking there moves or ends; its guest is displaced and gets ways out."""
    start, end = slots_of(data.start, data.end)
    block_id = made_id(request, data.block_id, "block_id")
    made, fresh = await hub_of(request).blocks.block(
        block_id, data.resource_id, start, end, kind=data.kind, reason=data.reason, by=key_of(request).id
    )
    if made.status == "asked":
        return answer(block_out(made), 202, retry_after="2")
    return answer(block_out(made), 201 if fresh else 200)


@delete(
    "/blackouts/{block_id:str}", status_code=200, security=SECURITY, tags=TAGS, summary="Put a bay back on sale",
    responses={202: ASKED}, opt={**needs("blackouts:write"), **raises("block_not_found", "site_unreachable")},
)  # fmt: skip
async def unblock(request: Request, block_id: FromPath[str]) -> Response[BlockOut]:
    """A displaced guest gets the time back before anybody can buy it."""
    made = await hub_of(request).blocks.unblock(block_id)
    return answer(block_out(made)) if made.status == "ended" else answer(block_out(made), 202, retry_after="2")


HANDLERS = [listed, block, unblock]
