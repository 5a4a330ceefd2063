"""Liveness and readiness (O4). Ready means that the books can be read and written; a site, a broker or a vendor that is away never
makes it red, because then the hub would stop selling for all of them."""

import sqlite3

import msgspec
from litestar import Request, Response, get

from shared.runtime.problems import Unavailable

from ..services.hub import Hub
from .api.wire import answer


class Health(msgspec.Struct, kw_only=True):
    status: str


class Ready(msgspec.Struct, kw_only=True):
    """`sites`: each site's link, for whoever looks; it does not count."""

    status: str
    sites: dict[str, str]


@get("/health/live", include_in_schema=False)
async def live() -> Response[Health]:
    return answer(Health(status="live"))


@get("/health/ready", include_in_schema=False)
async def ready(request: Request) -> Response[Ready]:
    hub: Hub = request.app.state["hub"]
    try:
        links = {state.site_id: state.link for state in hub.links.states()}
    except sqlite3.Error:
        raise Unavailable("The books cannot be read.") from None
    if hub.db.failing:
        raise Unavailable("The books cannot be written.")
    return answer(Ready(status="ready", sites=links))


HANDLERS = [live, ready]
