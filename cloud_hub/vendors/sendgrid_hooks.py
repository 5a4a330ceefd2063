"""What SendGrid reports by its signed event webhook, in batches.

The signature is checked here and not by the package: over the time stamp and the raw body, and with an age. Invariant: nothing is read from a
call that SendGrid's key has not signed. Events come twice, late and in any order; an event that is not known is passed over.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.errors import refuse

from ..ports import HookAnswer, Inbound, Receipt, ReceiptState
from . import answers
from .channels import Around
from .sendgrid_mail import KEY, SendGridSettings

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
DONE = HookAnswer(204, "", b"")

_STATES: dict[str, ReceiptState] = {
    "processed": "accepted", "deferred": "accepted", "delivered": "delivered", "bounce": "bounced", "dropped": "dropped",
    "spamreport": "complained", "unsubscribe": "unsubscribed", "group_unsubscribe": "unsubscribed", "open": "opened", "click": "opened",
}  # fmt: skip


def open_hooks(settings: SendGridSettings, around: Around) -> SendGridHooks | None:
    """None where no key for events is given. Raises ValueError."""
    if not settings.webhook_public_key:
        return None
    return SendGridHooks(settings.webhook_public_key, now=around.now, age_max_s=settings.hook_age_max_s)


class SendGridHooks:
    """`cloud_hub.ports.Hooks`. `public_key`: as SendGrid prints it, base64 of a DER document. ValueError where it is none."""

    vendor = "sendgrid"
    answer = DONE

    def __init__(self, public_key: str, *, now: Callable[[], float], age_max_s: float = 600):
        try:
            key = serialization.load_der_public_key(base64.b64decode(public_key, validate=True))
        except ValueError:
            key = None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("the setting 'webhook_public_key' is not the key that SendGrid shows for signed events.")
        self._key, self._now, self._age_max_s = key, now, age_max_s

    def read(self, target: str, headers: Mapping[str, str], body: bytes) -> list[Receipt | Inbound]:
        stamp = headers.get(TIMESTAMP, "")
        if not self._is_signed(stamp.encode() + body, headers.get(SIGNATURE, "")):
            raise refuse("hook_forged", "This was not signed by SendGrid.")
        if not (stamp.isascii() and stamp.isdigit()) or abs(self._now() - int(stamp)) > self._age_max_s:
            raise refuse("hook_stale", "This was signed too long ago, or by a clock that is ahead.")
        try:
            events = msgspec.json.decode(body, type=list[dict[str, Any]])
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise refuse("bad_request", "The body is no list of events.") from None
        return [receipt for event in events if (receipt := self._receipt(event))]

    def _is_signed(self, said: bytes, given: str) -> bool:
        try:
            self._key.verify(base64.b64decode(given, validate=True), said, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True

    def _receipt(self, event: dict[str, Any]) -> Receipt | None:
        state = _STATES.get(_text(event, "event"))
        if state is None:
            return None
        reason = _text(event, "reason") or _text(event, "response")
        at = event.get("timestamp")
        return Receipt(
            id=_text(event, "sg_event_id") or hashlib.sha256(msgspec.json.encode(event, order="sorted")).hexdigest(),
            key=_text(event, KEY),
            # behind the dot stands which of their machines had it
            ref=_text(event, "sg_message_id").partition(".")[0],
            state=state,
            code=_text(event, "status") or _text(event, "type"),
            reason=answers.told(reason),
            to=_text(event, "email"),
            at=at if isinstance(at, int) and not isinstance(at, bool) else int(self._now()),
            dead_address=_is_dead(state, _text(event, "type"), reason),
            opted_out=_is_opted_out(state, reason),
        )


def _is_dead(state: ReceiptState, kind: str, reason: str) -> bool:
    """A hard bounce, and what is dropped for one before; what was merely blocked may pass another day."""
    if state == "bounced":
        return kind == "bounce"
    return state == "dropped" and reason.casefold() in ("bounced address", "invalid")


def _is_opted_out(state: ReceiptState, reason: str) -> bool:
    if state in ("complained", "unsubscribed"):
        return True
    return state == "dropped" and reason.casefold() in ("unsubscribed address", "spam reporting address")


def _text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""
