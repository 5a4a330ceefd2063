"""Blocks and notices: what staff say of the house."""

from litestar import Request, delete, get, post
from litestar.params import FromPath, JSONBody

from shared.model import Block
from shared.runtime.openapi import raises
from site_agent.services.notices import NoticeView
from site_agent.services.views import BlockView
from site_agent.web import bodies
from site_agent.web.api.common import ANY, KIOSK_SCHEME, STAFF_SCHEME, TIMES, DayQuery
from site_agent.web.auth import asker_of, kit_of, needs


@get("/blocks", tags=["Blocks"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def blocks_of_day(request: Request, on: DayQuery) -> list[BlockView]:
    """The blocks of a day."""
    return kit_of(request).bookings.blocks_of_day(bodies.day(on))


@post("/blocks", status_code=201, tags=["Blocks"], guards=[needs("block")], security=STAFF_SCHEME, opt=raises(*TIMES, "id_reused"))
async def block(request: Request, data: JSONBody[bodies.BlockBody]) -> BlockView:
    """Take a bay out of sale. Bookings there are displaced: placed elsewhere where the house's rule allows, else shown as conflicts."""
    interval = bodies.interval(data)
    wanted = Block(
        id=data.block_id,
        site_id="",
        resource_id=data.resource_id,
        start=interval.start,
        end=interval.end,
        kind=data.kind,
        reason=data.reason,
    )
    return await kit_of(request).bookings.block(wanted, asker_of(request))


@delete(
    "/blocks/{block_id:str}",
    status_code=200,
    tags=["Blocks"],
    guards=[needs("block")],
    security=STAFF_SCHEME,
    opt=raises("block_not_found"),
)
async def unblock(request: Request, block_id: FromPath[str]) -> BlockView:
    """Put the bay back on sale."""
    return await kit_of(request).bookings.unblock(block_id, asker_of(request))


@get("/notices", tags=["Notices"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False)
def notices(request: Request) -> list[NoticeView]:
    """What guests of this facility must know, the most urgent first."""
    return kit_of(request).notices.open()


@post(
    "/notices", status_code=201, tags=["Notices"], guards=[needs("block")], security=STAFF_SCHEME,
    opt=raises("bad_interval", "id_reused", "too_many_notices"),
)  # fmt: skip
async def write_notice(request: Request, data: JSONBody[bodies.NoticeBody]) -> NoticeView:
    """Show a notice from now on, here and on the booking pages. The same id and body again give the same answer."""
    until_at = int(bodies.moment(data.until))
    return await kit_of(request).notices.write(data.notice_id, data.level, data.text, data.text_fr, until_at, asker_of(request))


@delete(
    "/notices/{notice_id:str}", status_code=200, tags=["Notices"], guards=[needs("block")], security=STAFF_SCHEME, opt=raises("notice_not_found")
)  # fmt: skip
async def end_notice(request: Request, notice_id: FromPath[str]) -> NoticeView:
    """Take a notice down, whoever wrote it."""
    return await kit_of(request).notices.end(notice_id, asker_of(request))


HANDLERS = (blocks_of_day, block, unblock, notices, write_notice, end_notice)
