"""The staff page: sign-in, the day as a live grid, and the stream that keeps it true.

The page is a frame; what is on it comes from the API by the page's own script. Works with no hub. Invariant: a stream ends when its
session does, and when the agent stops.
"""

from datetime import date
from typing import Annotated

import msgspec
from litestar import Request, Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect, Stream

from shared.errors import Refused, status_of
from shared.runtime.body import decode_form, read_form
from shared.runtime.cookies import read_cookie
from shared.runtime.routing import Router
from site_agent.web import bodies
from site_agent.web.auth import SESSION, asker_of, client_ip, give_session, kit_of, needs, take_session


class SignInForm(msgspec.Struct, forbid_unknown_fields=True):
    user: Annotated[str, msgspec.Meta(max_length=64)] = ""
    password: Annotated[str, msgspec.Meta(max_length=256)] = ""


class NoFields(msgspec.Struct, forbid_unknown_fields=True):
    """A form with a button and nothing else."""


@get("/sign-in", sync_to_thread=False)
def sign_in_page(request: Request) -> Response[str]:
    return _sign_in(request, "", "", 200)


def _sign_in(request: Request, error: str, user: str, status: int) -> Response[str]:
    kit = kit_of(request)
    facility = kit.bookings.house().facility
    return request.app.state.pages.page(
        "staff_sign_in.html", status, facility=facility, csrf=kit.csrf.token(request.scope), error=error, user=user
    )


@post("/sign-in")
async def sign_in(request: Request) -> Response[str] | Redirect:
    """A sign-in without a script."""
    kit = kit_of(request)
    await kit.csrf.guard(request, request.route_handler)
    form = decode_form(await read_form(request), SignInForm)
    try:
        cookie, _ = await kit.people.sign_in(form.user, form.password, client_ip(request))
    except Refused as error:
        return _sign_in(request, error.refusal.detail, form.user, status_of(error.refusal.code))
    give_session(request, cookie)
    return Redirect("/staff", status_code=303)


@post("/sign-out", guards=[needs("view", "unlock")])
async def sign_out(request: Request) -> Redirect:
    decode_form(await read_form(request), NoFields)
    await kit_of(request).people.sign_out(take_session(request))
    return Redirect("/staff/sign-in", status_code=303)


@get("/", guards=[needs("view", "unlock")], sync_to_thread=False)
def board_page(request: Request) -> Response[str]:
    """The frame of the day's board; its script does the rest."""
    kit, asker = kit_of(request), asker_of(request)
    house = kit.bookings.house()
    kit.doors.refresh()
    return request.app.state.pages.page(
        "staff.html", facility=house.facility, asker=asker, rights=" ".join(sorted(asker.rights)), csrf=kit.csrf.token(request.scope),
        today=kit.walkin.today().isoformat(), policy=house.profile.policy,
    )  # fmt: skip


@get("/events", guards=[needs("view")], sync_to_thread=False)
def events(request: Request, on: Annotated[date, QueryParameter(name="date")], version: Annotated[str, QueryParameter(max_length=40)] = "") -> Stream:
    """Server-sent events of one day: `cells` with what changed, `refetch`, `panels`; a ping every 15 s."""
    kit = kit_of(request)
    cookie = read_cookie(request.scope, SESSION, tls=kit.tls)

    async def still_allowed() -> bool:
        asker = await kit.people.staff_of(cookie)
        return asker is not None and asker.may("view")

    kit.doors.refresh()
    heard = request.headers.get("last-event-id", "")[:40]
    stream = kit.live.events(bodies.day(on), heard or version, still_allowed)
    return Stream(stream, media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"})


def router() -> Router:
    """Everything under /staff."""
    return Router("/staff", route_handlers=[sign_in_page, sign_in, sign_out, board_page, events], include_in_schema=False)
