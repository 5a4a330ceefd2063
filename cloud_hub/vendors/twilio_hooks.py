"""What Twilio reports by webhook: what became of a message, and what people write back.

The signature is checked here and not by the package, which one file imports. Invariant: nothing is read from a call that was not signed with
the account's auth token for exactly this address. The signature holds no time: an old call, sent again, bears the same id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from shared.errors import refuse

from ..ports import HookAnswer, Inbound, Receipt, ReceiptState
from . import answers
from .channels import Around
from .twilio_sms import TwilioSettings

FIELDS_MAX = 200
SIGNATURE = "x-twilio-signature"
# An answer of plain text would be sent to the guest; one of JSON is an error in Twilio's log.
NOTHING_TO_SAY = HookAnswer(200, "text/xml", b'<?xml version="1.0" encoding="UTF-8"?><Response/>')

_STATES: dict[str, ReceiptState] = {
    "accepted": "accepted", "scheduled": "accepted", "queued": "accepted", "sending": "accepted",
    "sent": "sent", "delivered": "delivered", "partially_delivered": "delivered", "read": "opened",
    "undelivered": "failed", "failed": "failed", "canceled": "failed",
}  # fmt: skip
#: reported later of what was taken at first: no such number, a landline, and what a send is refused with
_DEAD = frozenset({"21211", "21614", "21635", "30005", "30006"})
_OPTED_OUT = frozenset({"21610", "63014"})
# Carriers in Canada know the French words as well; Twilio passes those on without acting on them, so it is upon us.
_WORDS: dict[str, Literal["stop", "start", "help"]] = {
    **dict.fromkeys(("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "ARRET", "ARRÊT"), "stop"),
    **dict.fromkeys(("START", "UNSTOP", "YES"), "start"),
    **dict.fromkeys(("HELP", "INFO", "AIDE"), "help"),
}


def open_hooks(settings: TwilioSettings, around: Around) -> TwilioHooks | None:
    """None where Twilio has no address to call us by. Raises ConfigError."""
    if not around.public_url:
        return None
    return TwilioHooks(around.secret(settings.auth_token_file, "auth_token"), around.public_url, now=around.now)


class TwilioHooks:
    """`cloud_hub.ports.Hooks`. `public_url`: scheme, host and perhaps a path, as Twilio calls them; what a proxy made of it does not count."""

    vendor = "twilio"
    answer = NOTHING_TO_SAY

    def __init__(self, auth_token: str, public_url: str, *, now: Callable[[], float]):
        if not auth_token:
            raise ValueError("the auth token is missing.")
        self._token, self._public_url, self._now = auth_token.encode(), public_url.rstrip("/"), now

    def read(self, target: str, headers: Mapping[str, str], body: bytes) -> list[Receipt | Inbound]:
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
        except ValueError:
            raise refuse("bad_request", "The body is no form.") from None
        if not self._is_signed(self._public_url + target, pairs, headers.get(SIGNATURE, "")):
            raise refuse("hook_forged", "This was not signed by Twilio for this address.")
        form = dict(pairs)
        query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True, max_num_fields=FIELDS_MAX))
        status = form.get("MessageStatus") or form.get("SmsStatus", "")
        if status in ("received", "receiving"):
            return [_inbound(form, body)]
        state = _STATES.get(status)
        return [self._receipt(form, query.get("m", ""), state, body)] if state else []

    def _is_signed(self, url: str, pairs: list[tuple[str, str]], given: str) -> bool:
        content = "".join(name + value for name, value in sorted(set(pairs)))
        wanted = [hmac.new(self._token, (form + content).encode(), hashlib.sha1).digest() for form in _with_and_without_port(url)]
        try:
            found = base64.b64decode(given, validate=True)
        except ValueError:
            return False
        return any([hmac.compare_digest(found, one) for one in wanted])

    def _receipt(self, form: dict[str, str], key: str, state: ReceiptState, body: bytes) -> Receipt:
        code = form.get("ErrorCode", "")
        ref = form.get("MessageSid") or form.get("SmsSid", "")
        word = form.get("MessageStatus") or form.get("SmsStatus", "")
        return Receipt(
            id=f"{ref}:{word}:{code}" if ref else _digest(body),
            key=key,
            ref=ref,
            state=state,
            code=code,
            reason=answers.told(form.get("ErrorMessage") or (f"Twilio says {word}." if state == "failed" else "")),
            to=form.get("To", ""),
            at=int(self._now()),
            dead_address=code in _DEAD,
            opted_out=code in _OPTED_OUT,
        )


def _inbound(form: dict[str, str], body: bytes) -> Inbound:
    text = form.get("Body", "")
    asked = form.get("OptOutType", "").upper() or text.strip().rstrip(".!").strip().upper()
    sid = form.get("MessageSid") or form.get("SmsSid", "")
    return Inbound(id=sid or _digest(body), sender=form.get("From", ""), receiver=form.get("To", ""), text=text, word=_WORDS.get(asked, ""))


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _with_and_without_port(url: str) -> tuple[str, str]:
    """Both ways of writing the address: which of them Twilio signs is not the same everywhere."""
    parts = urlsplit(url)
    host = parts.netloc if parts.port is None else parts.netloc.rpartition(":")[0]
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts._replace(netloc=host).geturl(), parts._replace(netloc=f"{host}:{port}").geturl()
