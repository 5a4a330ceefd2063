"""The emulators' own desk: what customers received, what they do with it, what is broken on purpose; and the page for people.

Not for: what programs under test call. Invariants: a request that makes no sense changes nothing; no key and no hook's path is ever shown.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.params import FromPath

from deploy.emulators.common import page as common
from deploy.emulators.common.faults import SECONDS_MAX
from deploy.emulators.messages import page
from deploy.emulators.messages.faults import Fault, Vendor
from deploy.emulators.messages.push import SubscriptionState
from deploy.emulators.messages.sendgrid_api import After
from deploy.emulators.messages.sendgrid_api import How as SendGridHow
from deploy.emulators.messages.slack import HookState
from deploy.emulators.messages.twilio_words import DEAD_CODES, E164
from deploy.emulators.messages.vendors import Vendors
from deploy.emulators.messages.webhooks import Order
from deploy.emulators.messages.wire import Answer, Refusal, application, respond

PREFIX = "/_emulator"
SHOWN_MAX = 1_000
TEXT_MAX = 1_600
DEAD_MAX = 10_000
# A mail is a stranger's page: no script, no form, nothing fetched, and only ever inside the frame.
_MAIL_HEADERS = common.HEADERS | {
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
}


class SmsBody(msgspec.Struct, forbid_unknown_fields=True):
    """A customer's SMS, to the account's first number if none is named."""

    sender: str
    text: str
    receiver: str = ""


class OptOutBody(msgspec.Struct, forbid_unknown_fields=True):
    """A number's wish as a carrier's list would hold it: no webhook tells of it."""

    number: str
    on: bool = True


class DeadBody(msgspec.Struct, forbid_unknown_fields=True):
    """An address that fails from now on. how: an error code (twilio), bounce, block or defer (sendgrid), an SMTP code; empty: it works again."""

    vendor: Literal["twilio", "sendgrid", "smtp"]
    address: str
    how: str = ""


class MailBody(msgspec.Struct, forbid_unknown_fields=True):
    """What befalls a delivered mail of SendGrid."""

    message: str
    event: After


class SubscriptionBody(msgspec.Struct, forbid_unknown_fields=True):
    """A new push subscription; with `key` and `secret` the browser's own."""

    server_key: str = ""
    name: str = ""
    key: str = ""
    secret: str = ""


class PushBody(msgspec.Struct, forbid_unknown_fields=True):
    """What becomes of a subscription, and whether its browser is there."""

    subscription: str
    state: SubscriptionState | None = None
    online: bool | None = None


class SlackBody(msgspec.Struct, forbid_unknown_fields=True):
    """What becomes of a hook."""

    hook: str
    state: HookState


class NextFault(msgspec.Struct, forbid_unknown_fields=True):
    """One scripted fault and whose it is."""

    vendor: Vendor
    fault: Fault


class Refuse(msgspec.Struct, forbid_unknown_fields=True):
    """Connections to a vendor are refused for `seconds`."""

    vendor: Vendor
    seconds: float


class FaultsBody(msgspec.Struct, forbid_unknown_fields=True):
    """What to break; every part by itself. `clear` comes first. revoked: vendor -> whether its keys are refused."""

    clear: bool = False
    next: list[NextFault] = []
    revoked: dict[Vendor, bool] = {}
    refuse: Refuse | None = None


class Forgery(msgspec.Struct, forbid_unknown_fields=True):
    """A webhook that the vendor never sent. message: our id of the message it tells of; or, for Twilio, an SMS from `sender` with `text`."""

    how: SendGridHow
    message: str = ""
    state: str = "delivered"
    sender: str = ""
    text: str = ""


class WebhooksBody(msgspec.Struct, forbid_unknown_fields=True):
    """What happens to one vendor's webhooks; what is not given stays. See Script; `release` lets those held go, `replay` repeats the latest."""

    vendor: Literal["twilio", "sendgrid"]
    hold: bool | None = None
    drop: bool | None = None
    delay_s: float | None = None
    repeat: int | None = None
    shuffle: bool | None = None
    release: Order | None = None
    replay: int = 0
    forge: Forgery | None = None


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """An empty body."""


def build(box: Vendors, refuse_for: Callable[[Vendor, float], None]) -> Litestar:
    """The desk as an app; `refuse_for` is what it may do to the sockets."""
    return application([*_shows(box), *_deeds(box, refuse_for)], of_status)


def of_status(status: int, path: str) -> Answer:
    """An error that only has an HTTP status."""
    code = {404: "CODE_RESOURCE_NOT_FOUND", 405: "CODE_OPERATION_FORBIDDEN"}.get(status, "CODE_PARAMS_INVALID")
    words = {404: "The emulators' desk has no such path.", 405: "The emulators' desk takes GET and POST, each where it belongs."}
    return _error(status, code, words.get(status, "The emulators' desk cannot do this."))


def state(box: Vendors) -> dict[str, Any]:
    """Everything that is going on, as JSON values, without keys."""
    return {
        "now": box.now(),
        "timezone": str(box.timezone),
        "counts": {"sms": len(box.sms), "mail": len(box.mail), "push": len(box.pushes), "slack": len(box.slack)},
        "messages": msgspec.to_builtins(box.inbox.shown(limit=200)),
        "recipients": msgspec.to_builtins(box.inbox.recipients()),
        "opted_out": [{"pool": pool, "number": number, "at": at} for (pool, number), at in box.twilio.opted_out.items()],
        "dead": {"twilio": box.twilio.dead, "sendgrid": box.sendgrid.dead, "smtp": box.smtp.dead},
        "suppressed": {name: sorted(held) for name, held in box.sendgrid.suppressed.items()},
        "alerts": msgspec.to_builtins(list(box.twilio.alerts)),
        "subscriptions": [
            {"id": one.id, "state": one.state, "online": one.online, "waiting": len(one.waiting)}
            for one in box.push_service.subscriptions.values()
        ],
        "hooks": [{"name": hook.name, "state": hook.state} for hook in box.slack_hooks.hooks.values()],
        "faults": [{"vendor": one.vendor, "fault": msgspec.to_builtins(fault)} for one in box.faults for fault in one.waiting()],
        "revoked": {one.vendor: one.revoked for one in box.faults},
        "webhooks": {
            "waiting": box.webhooks.waiting,
            "overflowed": box.webhooks.overflowed,
            "scripts": {
                vendor: msgspec.to_builtins(box.webhooks.scripts[vendor]) | {"held": box.webhooks.held(vendor)}
                for vendor in ("twilio", "sendgrid")
            },
            "attempts": [
                {"vendor": one.vendor, "url": one.url, "at": one.at, "status": one.status, "trouble": one.trouble}
                for one in list(box.webhooks.attempts)[-50:]
            ],
        },
    }


def _shows(box: Vendors) -> list[Any]:
    @get([PREFIX, f"{PREFIX}/"])
    async def whole(request: Request) -> Response[bytes]:
        return _html(page.render(box, *_choice(request)))

    @get(f"{PREFIX}/board")
    async def board(request: Request) -> Response[bytes]:
        return _html(page.board(box, *_choice(request)))

    @get(f"{PREFIX}/state")
    async def everything() -> Response[bytes]:
        return _told(state(box), bare=True)

    @get(f"{PREFIX}/messages")
    async def messages(request: Request) -> Response[bytes]:
        to, channel = _choice(request)
        given = request.query_params.get("limit", "100")
        if not (given.isascii() and given.isdigit() and len(given) < 6 and 1 <= int(given) <= SHOWN_MAX):
            raise _invalid(f"limit must be 1 to {SHOWN_MAX}.")
        return _told(msgspec.to_builtins(box.inbox.shown(to, channel, int(given))), bare=True)

    @get(f"{PREFIX}/letters/{{mail_id:str}}")
    async def mail(mail_id: FromPath[str]) -> Response[bytes]:
        found = box.inbox.mail(mail_id)
        if found is None or not found.html:
            raise Refusal(_error(404, "CODE_NOT_EXISTS", "There is no such mail, or it has no HTML."))
        return respond(Answer(200, found.html.encode(), "text/html; charset=utf-8", _MAIL_HEADERS))

    @get(f"{PREFIX}/{{name:str}}")
    async def static(name: FromPath[str]) -> Response[bytes]:
        found = common.file(name, page.STATIC)
        if found is None:
            raise Refusal(of_status(404, ""))
        return respond(Answer(200, *found, {"x-content-type-options": "nosniff"}))

    return [whole, board, everything, messages, mail, static]


def _deeds(box: Vendors, refuse_for: Callable[[Vendor, float], None]) -> list[Any]:
    # One handler each, since Litestar finds them by path; what they do stands below.
    deeds: dict[str, tuple[type, Callable[[Any], Any]]] = {
        "sms": (SmsBody, lambda body: _sms(box, body)),
        "opt-out": (OptOutBody, lambda body: box.twilio.opt_out(_number(body.number), body.on)),
        "dead": (DeadBody, lambda body: _dead(box, body)),
        "mail": (MailBody, lambda body: _mail(box, body)),
        "subscriptions": (SubscriptionBody, lambda body: _subscribe(box, body)),
        "push": (PushBody, lambda body: _push(box, body)),
        "slack": (SlackBody, lambda body: _slack(box, body)),
        "faults": (FaultsBody, lambda body: _faults(box, body, refuse_for)),
        "webhooks": (WebhooksBody, lambda body: _webhooks(box, body)),
        "forget": (Nothing, lambda body: box.forget()),
    }

    @post(f"{PREFIX}/{{name:str}}", status_code=200)
    async def do(request: Request, name: FromPath[str]) -> Response[bytes]:
        if name not in deeds:
            raise Refusal(of_status(404, ""))
        # Only JSON: a form of somebody else's page cannot send that.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Refusal(_error(415, "CODE_PARAMS_INVALID", "The emulators' desk takes JSON bodies only."))
        kind, deed = deeds[name]
        try:
            answer = deed(msgspec.json.decode(await request.body() or b"{}", type=kind))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _invalid(f"The body is not what this call takes: {error}.") from error
        except ValueError as error:
            raise _invalid(str(error)) from error
        return _told("success" if answer is None else answer)

    return [do]


def _sms(box: Vendors, body: SmsBody) -> dict[str, str]:
    if not 1 <= len(body.text) <= TEXT_MAX:
        raise ValueError(f"An SMS has 1 to {TEXT_MAX} characters.")
    sms = box.twilio.receive(body.sender, body.text, body.receiver)
    return {"id": sms.id, "sid": sms.sid}


def _dead(box: Vendors, body: DeadBody) -> None:
    if body.vendor == "twilio":
        number = _number(body.address)
        if body.how and (not body.how.isdigit() or int(body.how) not in DEAD_CODES):
            raise ValueError(f"A dead number fails with one of {', '.join(map(str, sorted(DEAD_CODES)))}.")
        _set(box.twilio.dead, number, int(body.how) if body.how else None)
    elif body.vendor == "sendgrid":
        if body.how not in ("", "bounce", "block", "defer"):
            raise ValueError("A dead address of SendGrid does bounce, block or defer.")
        _set(box.sendgrid.dead, body.address.lower(), body.how or None)
    else:
        if body.how and not (body.how.isdigit() and 400 <= int(body.how) <= 599):
            raise ValueError("A dead address of the mail server has an SMTP code, 400 to 599.")
        _set(box.smtp.dead, body.address.lower(), int(body.how) if body.how else None)


def _set(dead: dict[str, Any], address: str, how: Any) -> None:
    if how is None:
        dead.pop(address, None)
    elif len(dead) >= DEAD_MAX:
        raise ValueError(f"{DEAD_MAX} addresses are dead already.")
    else:
        dead[address] = how


def _mail(box: Vendors, body: MailBody) -> None:
    mail = box.sendgrid.find(body.message)
    if mail is None:
        raise ValueError(f"SendGrid took no mail {body.message!r}.")
    box.sendgrid.happen(mail, body.event)


def _subscribe(box: Vendors, body: SubscriptionBody) -> dict[str, Any]:
    return box.push_service.subscribe(body.server_key, body.name, key=body.key, secret=body.secret)


def _push(box: Vendors, body: PushBody) -> None:
    one = box.push_service.subscriptions.get(body.subscription)
    if one is None:
        raise ValueError(f"There is no subscription {body.subscription!r}.")
    if body.state is not None:
        one.state = body.state
    if body.online is not None:
        box.push_service.set_online(one, body.online)


def _slack(box: Vendors, body: SlackBody) -> None:
    hook = box.slack_hooks.hooks.get(body.hook)
    if hook is None:
        raise ValueError(f"There is no hook {body.hook!r}.")
    hook.state = body.state


def _faults(box: Vendors, body: FaultsBody, refuse_for: Callable[[Vendor, float], None]) -> None:
    for one in body.next:
        problem = one.fault.problem_at(one.vendor)
        if problem:
            raise ValueError(problem)
    if body.refuse is not None and not 0 < body.refuse.seconds <= SECONDS_MAX:
        raise ValueError(f"Connections can be refused for up to {SECONDS_MAX:.0f} seconds.")
    if body.clear:
        box.faults.clear()
    for one in body.next:
        box.faults[one.vendor].add(one.fault)
    for vendor, revoked in body.revoked.items():
        box.faults[vendor].revoked = revoked
    if body.refuse is not None:
        refuse_for(body.refuse.vendor, body.refuse.seconds)


def _webhooks(box: Vendors, body: WebhooksBody) -> dict[str, int]:
    given = {name: getattr(body, name) for name in ("hold", "drop", "delay_s", "repeat", "shuffle") if getattr(body, name) is not None}
    script = msgspec.structs.replace(box.webhooks.scripts[body.vendor], **given)
    if script.problem():
        raise ValueError(script.problem())
    if not 0 <= body.replay <= SHOWN_MAX:
        raise ValueError(f"replay must be 0 to {SHOWN_MAX}.")
    if body.forge is not None:
        _forge(box, body.vendor, body.forge)
    box.webhooks.scripts[body.vendor] = script
    released = box.webhooks.release(body.vendor, body.release) if body.release is not None else 0
    return {"released": released, "replayed": box.webhooks.replay(body.vendor, body.replay)}


def _forge(box: Vendors, vendor: str, forgery: Forgery) -> None:
    if vendor == "sendgrid":
        mail = box.sendgrid.find(forgery.message)
        if mail is None:
            raise ValueError(f"SendGrid took no mail {forgery.message!r}.")
        box.sendgrid.forge(mail, forgery.state, forgery.how)
        return
    if forgery.how == "old":
        raise ValueError("Twilio's signatures carry no time, so none can be old; replay repeats one.")
    sms = next((one for one in box.twilio.messages if one.id == forgery.message), None)
    box.twilio.forge(forgery.how, sid=sms.sid if sms else "", state=forgery.state, sender=forgery.sender, text=forgery.text)


def _number(given: str) -> str:
    if not E164.fullmatch(given):
        raise ValueError(f"{given!r} is no phone number; it starts with + and the country.")
    return given


def _choice(request: Request) -> tuple[str, str]:
    """(recipient, channel) that the query names; empty for all."""
    channel = request.query_params.get("channel", "")
    if channel not in ("", "sms", "mail", "push", "slack"):
        raise _invalid("channel must be sms, mail, push or slack.")
    return request.query_params.get("to", ""), channel


def _html(text: str) -> Response[bytes]:
    return respond(Answer(200, text.encode(), "text/html; charset=utf-8", common.HEADERS))


def _told(data: Any, bare: bool = False) -> Response[bytes]:
    document = data if bare else {"code": "SUCCESS", "msg": "success", "data": data}
    return respond(Answer(200, msgspec.json.encode(document), headers={"cache-control": "no-store"}))


def _error(status: int, code: str, msg: str) -> Answer:
    return Answer(status, msgspec.json.encode({"code": code, "msg": msg, "data": None}))


def _invalid(msg: str) -> Refusal:
    return Refusal(_error(400, "CODE_PARAMS_INVALID", msg))
