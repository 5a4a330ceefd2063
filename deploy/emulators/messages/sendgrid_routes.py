"""Emulated SendGrid over HTTP: mail/send, suppression lists, the public key of the event webhook.

Not for: what becomes of a mail. Invariant: a body that any rule refuses sends nothing to anybody.
"""

import hmac
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, delete, get, post
from litestar.params import FromPath

from deploy.emulators.messages import sendgrid_check
from deploy.emulators.messages.faults import VendorFaults
from deploy.emulators.messages.sendgrid_api import LISTS, SendGrid
from deploy.emulators.messages.wire import Answer, application, respond


def build(box: SendGrid, faults: VendorFaults) -> Litestar:
    """The API of one account as an app."""

    def check(request: Request) -> None:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if not given:
            raise sendgrid_check.refused("Permission denied, wrong credentials", status=401)
        if faults.revoked or kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), box.api_key.encode()):
            raise sendgrid_check.refused("The provided authorization grant is invalid, expired, or revoked", status=401)

    def listed(name: str) -> dict[str, float]:
        if name not in LISTS:
            raise sendgrid_check.refused("Not Found", status=404)
        return box.suppressed[name]

    @post("/v3/mail/send")
    async def send(request: Request) -> Response[bytes]:
        check(request)
        body = await _json_body(request)
        sendgrid_check.check(body, box.now())
        if not box.may_send(body["from"]["email"]):
            raise sendgrid_check.refused(
                "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.", "from", 403
            )
        sandbox = body.get("mail_settings", {}).get("sandbox_mode")
        if isinstance(sandbox, dict) and sandbox.get("enable") is True:
            return respond(Answer(200))
        return respond(Answer(202, headers={"X-Message-Id": box.accept(body)}))

    @get("/v3/suppression/{name:str}")
    async def suppression(request: Request, name: FromPath[str]) -> Response[bytes]:
        check(request)
        return _json(200, [{"created": int(at), "email": email, "reason": ""} for email, at in listed(name).items()])

    @get("/v3/suppression/{name:str}/{email:str}")
    async def suppressed(request: Request, name: FromPath[str], email: FromPath[str]) -> Response[bytes]:
        check(request)
        at = listed(name).get(email.lower())
        return _json(200, [] if at is None else [{"created": int(at), "email": email.lower(), "reason": ""}])

    @delete("/v3/suppression/{name:str}/{email:str}", status_code=200)
    async def release(request: Request, name: FromPath[str], email: FromPath[str]) -> Response[bytes]:
        check(request)
        if email.lower() not in listed(name):
            raise sendgrid_check.refused("resource not found", status=404)
        box.release(name, email)
        return respond(Answer(204))

    @post("/v3/asm/suppressions/global")
    async def suppress(request: Request) -> Response[bytes]:
        check(request)
        body = await _json_body(request)
        emails = body.get("recipient_emails") if isinstance(body, dict) else None
        if not isinstance(emails, list) or not all(isinstance(one, str) and sendgrid_check.ADDRESS.fullmatch(one) for one in emails):
            raise sendgrid_check.refused("recipient_emails must be a list of addresses", "recipient_emails")
        for email in emails:
            box.suppress("unsubscribes", email)
        return _json(201, {"recipient_emails": emails})

    @get("/v3/asm/suppressions/global/{email:str}")
    async def globally(request: Request, email: FromPath[str]) -> Response[bytes]:
        check(request)
        return _json(200, {"recipient_email": email} if email.lower() in box.suppressed["unsubscribes"] else {})

    @delete("/v3/asm/suppressions/global/{email:str}", status_code=200)
    async def subscribe(request: Request, email: FromPath[str]) -> Response[bytes]:
        check(request)
        box.release("unsubscribes", email)
        return respond(Answer(204))

    @get(["/v3/user/webhooks/event/settings/signed", "/v3/user/webhooks/event/settings/signed/{hook:str}"])
    async def public_key(request: Request) -> Response[bytes]:
        check(request)
        return _json(200, {"public_key": box.public_key})

    handlers = [send, suppression, suppressed, release, suppress, globally, subscribe, public_key]
    return application(handlers, sendgrid_check.of_status)


async def _json_body(request: Request) -> Any:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise sendgrid_check.refused("Content-Type should be application/json.", status=415)
    try:
        return msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise sendgrid_check.refused("Bad Request") from None


def _json(status: int, document: Any) -> Response[bytes]:
    return respond(Answer(status, msgspec.json.encode(document)))
