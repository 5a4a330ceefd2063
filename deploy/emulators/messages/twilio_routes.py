"""Emulated Twilio over HTTP: make, list, fetch, cancel and redact a message, with the documented refusals.

Not for: what becomes of a message. Invariant: everything is checked before anything is made.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.params import FromPath

from deploy.emulators.messages import twilio_words as words
from deploy.emulators.messages.faults import VendorFaults
from deploy.emulators.messages.twilio_api import Sms, Twilio, Wanted
from deploy.emulators.messages.webhooks import valid_url
from deploy.emulators.messages.wire import Answer, application, respond

PAGE_SIZE = 50
PAGE_SIZE_MAX = 1000
_PREFIX = f"/{words.API_VERSION}/Accounts/{{account:str}}"
Form = dict[str, list[str]]


def build(box: Twilio, faults: VendorFaults) -> Litestar:
    """The API of one account as an app."""

    def check(request: Request, account: str) -> None:
        """401 for bad credentials, 404 for another account."""
        if faults.revoked or not _known(box, request.headers.get("authorization", "")):
            raise words.refused(20003)
        if account != box.account_sid:
            raise words.refused(20404, request.scope["path"])

    def message(request: Request, name: str) -> Sms:
        sid = name.removesuffix(".json")
        found = box.find(sid) if re.fullmatch(r"(SM|MM)[0-9a-f]{32}", sid) else None
        if found is None:
            raise words.refused(20404, request.scope["path"])
        return found

    @post(f"{_PREFIX}/Messages.json")
    async def create(request: Request, account: FromPath[str]) -> Response[bytes]:
        check(request, account)
        sms = box.create(_wanted(box, await _form(request)))
        return _json(201, box.data(sms))

    @get(f"{_PREFIX}/Messages.json")
    async def list_messages(request: Request, account: FromPath[str]) -> Response[bytes]:
        check(request, account)
        query = parse_qs(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return _json(200, _list(box, request.scope["path"], query))

    @get(f"{_PREFIX}/Messages/{{name:str}}")
    async def fetch(request: Request, account: FromPath[str], name: FromPath[str]) -> Response[bytes]:
        check(request, account)
        return _json(200, box.data(message(request, name)))

    @post(f"{_PREFIX}/Messages/{{name:str}}")
    async def update(request: Request, account: FromPath[str], name: FromPath[str]) -> Response[bytes]:
        check(request, account)
        sms = message(request, name)
        form = await _form(request)
        if "Status" in form:
            if form["Status"] != ["canceled"]:
                raise words.refused(30409)
            box.cancel(sms)
        if form.get("Body") == [""]:
            sms.text = ""
        return _json(200, box.data(sms))

    return application([create, list_messages, fetch, update], words.of_status)


def _known(box: Twilio, authorization: str) -> bool:
    kind, _, given = authorization.partition(" ")
    if kind.lower() != "basic":
        return False
    try:
        user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    secret = box.auth_token if user == box.account_sid else box.settings.api_keys.get(user, "")
    return bool(secret) and hmac.compare_digest(secret.encode(), password.encode())


async def _form(request: Request) -> Form:
    return parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)


def _wanted(box: Twilio, form: Form) -> Wanted:
    def one(name: str) -> str:
        return form.get(name, [""])[0]

    to = one("To").strip()
    if not to:
        raise words.refused(21604)
    if not words.E164.fullmatch(to):
        raise words.refused(21211, to)
    sender, service = _sender(box, one("From"), one("MessagingServiceSid"))
    text, media = one("Body"), form.get("MediaUrl", [])
    if not text.strip() and not media and not one("ContentSid"):
        raise words.refused(21602)
    if len(text) > words.BODY_MAX:
        raise words.refused(21617)
    if "StatusCallback" in form and not valid_url(one("StatusCallback")):
        raise words.refused(21609, one("StatusCallback"))
    validity = one("ValidityPeriod") or str(words.VALIDITY_S_MAX)
    if not (validity.isascii() and validity.isdigit() and 1 <= int(validity[:9]) <= words.VALIDITY_S_MAX):
        raise words.refused(21624)
    return Wanted(
        to=to,
        sender=sender,
        service=service,
        text=text,
        callback=one("StatusCallback"),
        validity_s=int(validity),
        send_at=_send_at(box, one("ScheduleType"), one("SendAt"), service),
        media=len(media),
    )


def _sender(box: Twilio, sender: str, service: str) -> tuple[str, str]:
    """(number or nothing, service or nothing), one of the two at least."""
    if not sender and not service:
        raise words.refused(21603)
    if service:
        numbers = box.settings.services.get(service) if words.SID.fullmatch(service) else None
        if numbers is None:
            raise words.refused(21701, service)
        if not numbers:
            raise words.refused(21703, service)
        if sender and sender not in numbers:
            raise words.refused(21712, sender)
    elif not words.E164.fullmatch(sender):
        raise words.refused(21212, sender)
    elif sender not in box.settings.numbers:
        raise words.refused(21606, sender)
    return sender, service


def _send_at(box: Twilio, kind: str, given: str, service: str) -> float | None:
    if not kind and not given:
        return None
    if kind != "fixed":
        raise words.refused(35126)
    if not given:
        raise words.refused(35111)
    if not service:
        raise words.refused(35118)
    at = words.moment(given)
    if at is None or not 300 <= at[0] - box.now() <= 35 * 86_400:
        raise words.refused(35114)
    return at[0]


def _list(box: Twilio, path: str, query: Form) -> dict[str, Any]:
    def number(name: str, default: int, high: int) -> int:
        given = query.get(name, [""])[0]
        return min(int(given), high) if given.isascii() and given.isdigit() and len(given) < 10 else default

    size = max(number("PageSize", PAGE_SIZE, PAGE_SIZE_MAX), 1)
    page = number("Page", 0, 1_000_000)
    kept = {name: values for name, values in query.items() if name not in ("PageSize", "Page", "PageToken")}
    tests = _tests(box, kept)
    pool = box.of_number(query["To"][0]) if "To" in query else list(box.messages)
    newest = [sms for sms in reversed(pool) if all(test(sms) for test in tests)]
    shown = newest[page * size : (page + 1) * size]
    more = len(newest) > (page + 1) * size
    return words.page_of([box.data(sms) for sms in shown], page, size, more, path, urlencode(kept, doseq=True))


def _tests(box: Twilio, query: Form) -> list[Callable[[Sms], bool]]:
    """What a message has to be to be listed. The names on the wire are DateSent, DateSent> (from then on) and DateSent< (until then)."""
    seen_until = box.now() - box.settings.list_lag_s
    tests: list[Callable[[Sms], bool]] = [lambda sms: sms.created_at <= seen_until]
    if "From" in query:
        tests.append(lambda sms: sms.sender == query["From"][0])
    for name in ("DateSent", "DateSent>", "DateSent<"):
        if name in query:
            span = words.moment(query[name][0])
            if span is None:
                raise words.refused(20404, name)
            low = span[0] if name != "DateSent<" else float("-inf")
            high = span[1] if name != "DateSent>" else float("inf")
            tests.append(lambda sms, low=low, high=high: _sent_between(box, sms, low, high))
    return tests


def _sent_between(box: Twilio, sms: Sms, low: float, high: float) -> bool:
    if sms.sent_at is None:
        return box.settings.unsent_listed
    return low <= int(sms.sent_at) <= high


def _json(status: int, document: dict[str, Any]) -> Response[bytes]:
    return respond(Answer(status, msgspec.json.encode(document)))
