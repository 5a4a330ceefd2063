"""The site's web app put together: routers, problems, the API's description, the edge around it all.

Invariant: nothing is served that is not listed here; every page and answer passes the edge.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Litestar, Request, get
from litestar.openapi.spec import SecurityScheme
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.response import Redirect

from shared.runtime.body import StrictRequest
from shared.runtime.openapi import ApiDescription
from shared.runtime.problems import Problems
from shared.runtime.ratelimit import RateLimiter, RateRule
from shared.runtime.web import EdgeSettings, WebEdge
from site_agent.services.kit import Kit
from site_agent.web import api, bay_agent, health, hooks, kiosk, staff
from site_agent.web.api import scan
from site_agent.web.auth import SESSION, who
from site_agent.web.pages import Pages
from site_agent.web.problems import catalogue, translate

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]

RATE_RULES = (
    RateRule("sign-in", 30, 60.0, prefixes=("/api/sign-in", "/staff/sign-in", "/api/kiosks/pair", "/kiosk/pair")),
    scan.RATE_RULE,
    bay_agent.RATE_RULE,
    RateRule("change", 600, 60.0, prefixes=("/api/", "/kiosk", "/staff", "/hooks"), methods=frozenset({"POST", "DELETE"})),
    RateRule("look", 3000, 60.0, prefixes=("/api/", "/kiosk", "/staff")),
)


class LeanLitestar(Litestar):
    """Litestar without the support of model libraries that it loads whenever they can be imported: 0.25 s and 15 MB that a small box
    would pay for nothing, since everything here is msgspec."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


@get("/", include_in_schema=False)
async def front(request: Request) -> Redirect:
    """The asker's own first page, in one step."""
    asker = await who(request)
    page = "/staff/sign-in" if asker is None else "/kiosk" if asker.kind == "kiosk" else "/staff"
    return Redirect(page, status_code=303)


def make(kit: Kit, version: str, lifespan: Lifespan) -> WebEdge:
    """The ASGI app to serve."""
    pages = Pages()
    facility = kit.loaded.facility
    problems = Problems(render_page=pages.problem, sign_in=_sign_in, translate=translate)
    description = ApiDescription(
        f"{facility.name}: site agent", version,
        "One facility on its own: what is free, bookings, check-in, blocks and doors. Staff sign in with `/api/sign-in` and send the CSRF"
        " token in `X-CSRF-Token`; a kiosk sends its token as Bearer. Times are ISO 8601 with an offset; days are the facility's.",
        css_url=pages.static.url("runtime/openapi.css"), catalogue=catalogue(),
        security={
            "staff": SecurityScheme(type="apiKey", name=SESSION, security_scheme_in="cookie", description="A staff session."),
            "kiosk": SecurityScheme(type="http", scheme="bearer", description="The token of a paired kiosk."),
        },
    )  # fmt: skip
    app = LeanLitestar(
        [front, api.router(), kiosk.router(), staff.router(),
         hooks.doors, bay_agent.bay_agent, health.live, health.ready, health.metrics, pages.static.handler()],
        request_class=StrictRequest, exception_handlers=problems.handlers(), openapi_config=description.config, logging_config=None,
        lifespan=[lifespan],
    )  # fmt: skip
    app.state.kit, app.state.pages = kit, pages
    settings = EdgeSettings(
        tls=kit.tls, allowed_hosts=frozenset(kit.loaded.config.http.allowed_hosts), rate_rules=RATE_RULES, large=(scan.PATH,)
    )
    return WebEdge(app, settings, problems, meter=kit.metrics.http, limiter=RateLimiter(kit.clock.monotonic))


def _sign_in(scope: Any) -> str | None:
    return "/staff/sign-in" if scope["path"].startswith("/staff") else None
