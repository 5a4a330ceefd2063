"""Signing in and out, and the kiosks that are paired."""

import msgspec
from litestar import Request, delete, get, post
from litestar.params import FromPath, JSONBody

from shared.runtime.openapi import raises
from site_agent.services.views import iso
from site_agent.web import bodies
from site_agent.web.api.common import ANY, KIOSK_SCHEME, STAFF_SCHEME
from site_agent.web.auth import asker_of, client_ip, give_kiosk, give_session, kit_of, needs, take_session


class SignedIn(msgspec.Struct, frozen=True):
    """`csrf_token` goes into the header `X-CSRF-Token` of every change."""

    user: str
    name: str
    role: str
    rights: list[str]
    csrf_token: str


class Paired(msgspec.Struct, frozen=True):
    """The kiosk's token, told this once; the same is set as a cookie."""

    kiosk: str
    name: str
    token: str


class KioskShown(msgspec.Struct, frozen=True):
    id: str
    name: str
    paired_at: str
    revoked: bool


class NewPairing(msgspec.Struct, frozen=True):
    """`path` is to be opened on the new screen before `ends_at`."""

    code: str
    path: str
    ends_at: str


@post("/sign-in", status_code=200, tags=["People"], opt=raises("wrong_credentials", "too_many_tries"))
async def sign_in(request: Request, data: JSONBody[bodies.SignInBody]) -> SignedIn:
    """Sign in as staff; the answer sets the session's cookie."""
    kit = kit_of(request)
    cookie, asker = await kit.people.sign_in(data.user, data.password, client_ip(request))
    give_session(request, cookie)
    return SignedIn(asker.id.removeprefix("staff-"), asker.name, asker.role, sorted(asker.rights), kit.csrf.token_for(cookie))


@post("/sign-out", status_code=204, tags=["People"], guards=[needs("view", "unlock")], security=STAFF_SCHEME)
async def sign_out(request: Request) -> None:
    """End the session."""
    await kit_of(request).people.sign_out(take_session(request))


@get("/me", tags=["People"], guards=[needs(*ANY, "unlock")], security=KIOSK_SCHEME, sync_to_thread=False)
def me(request: Request) -> SignedIn:
    """Who the request is taken for, what they may do, and the CSRF token of the session."""
    asker = asker_of(request)
    return SignedIn(asker.id, asker.name, asker.role, sorted(asker.rights), kit_of(request).csrf.token(request.scope))


@post("/kiosks/pair", status_code=201, tags=["People"], opt=raises("not_found"))
async def pair(request: Request, data: JSONBody[bodies.PairBody]) -> Paired:
    """Use a pairing code up: the token of a new kiosk."""
    token, asker = await kit_of(request).people.pair(data.code, client_ip(request))
    give_kiosk(request, token)
    return Paired(asker.id, asker.name, token)


@get("/kiosks", tags=["People"], guards=[needs("screens")], security=STAFF_SCHEME, sync_to_thread=False)
def list_kiosks(request: Request) -> list[KioskShown]:
    """The paired screens."""
    return [KioskShown(row.id, row.name, iso(row.paired_at), row.revoked) for row in kit_of(request).people.kiosks()]


@post("/kiosks", status_code=201, tags=["People"], guards=[needs("screens")], security=STAFF_SCHEME)
async def new_kiosk(request: Request, data: JSONBody[bodies.NewKioskBody]) -> NewPairing:
    """A code that pairs one more screen."""
    code, ends_at = await kit_of(request).people.new_pairing(data.name, asker_of(request))
    return NewPairing(code, f"/kiosk/pair?code={code}", iso(ends_at))


@delete("/kiosks/{kiosk_id:str}", tags=["People"], guards=[needs("screens")], security=STAFF_SCHEME, opt=raises("not_found"))
async def remove_kiosk(request: Request, kiosk_id: FromPath[str]) -> None:
    """Take a pairing back."""
    await kit_of(request).people.remove_kiosk(kiosk_id, asker_of(request))


HANDLERS = (sign_in, sign_out, me, pair, list_kiosks, new_kiosk, remove_kiosk)
