"""Emulated SendGrid: what was taken, what became of it, who is suppressed, and the signed event webhook that tells.

Not for: HTTP (`sendgrid_routes`) or the body's rules (`sendgrid_check`). Invariants: a suppressed recipient is no error but an event;
every event has an id of its own, and a repeat the same one.
"""

import base64
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Literal

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.emulators.messages.letters import MAILS_MAX, Mail
from deploy.emulators.messages.timers import Timers
from deploy.emulators.messages.webhooks import Delivery, Webhooks

LISTS = ("bounces", "blocks", "spam_reports", "invalid_emails", "unsubscribes")
SUPPRESSED_MAX = 10_000
BATCH_MAX = 500
"""Events in one post."""
OLD_S = 3600
"""How old the time of a forgery is that replays the past."""

How = Literal["wrong_key", "unsigned", "altered", "old"]
"""How a forged webhook is wrong: signed with another key, not at all, changed after it was signed, or signed an hour ago."""
After = Literal["bounce", "block", "spam", "unsubscribe", "open", "click"]
"""What a person or a mail server does with a mail that was delivered."""
_DROPPED = {
    "bounces": "Bounced Address",
    "spam_reports": "Spam Reporting Address",
    "invalid_emails": "Invalid",
    "unsubscribes": "Unsubscribed Address",
}
SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"


class SendGridSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One account. An empty `api_key` is drawn at start, and so is an empty `event_key` (see `new_event_key`).

    senders: addresses or whole domains that may send (none named: any). events_url: where events go. batch_s: how long they are gathered.
    step_s: between a mail's states. retries_s: the waits before an event post is tried again. in_flight_max, latency_s: as for Twilio.
    """

    api_key: str = ""
    event_key: str = ""
    senders: tuple[str, ...] = ()
    events_url: str = ""
    batch_s: float = 0.05
    step_s: float = 0.05
    retries_s: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    in_flight_max: int = 0
    latency_s: float = 0.0


def new_event_key(rng: Random) -> str:
    """A key for signing event webhooks, 64 hex digits: for `event_key`."""
    return f"{rng.getrandbits(248) + 1:064x}"


def public_event_key(event_key: str) -> str:
    """What checks the signatures of `event_key`: base64 of the public key's DER form. ValueError for what is no key."""
    return _public(_event_key(event_key))


class SendGrid:
    """The account. `mails` are what it took, one per recipient, oldest first; `dead` says which addresses fail and how."""

    def __init__(
        self,
        settings: SendGridSettings,
        now: Callable[[], float],
        rng: Random,
        timers: Timers,
        webhooks: Webhooks,
        new_id: Callable[[], str],
    ) -> None:
        self.settings = settings
        self.now = now
        self._rng = rng
        self._timers = timers
        self._webhooks = webhooks
        self._new_id = new_id
        self.api_key = settings.api_key or f"SG.{self._token(16)}.{self._token(32)}"
        self.events_url = settings.events_url
        self.mails: deque[Mail] = deque()
        self.dead: dict[str, str] = {}
        """Address in lower case -> bounce, block, or defer (comes late, after one `deferred`)."""
        self.suppressed: dict[str, dict[str, float]] = {name: {} for name in LISTS}
        self._by_id: dict[str, Mail] = {}
        self._events: list[dict[str, Any]] = []
        self._flush_due = False
        self._key = _event_key(settings.event_key or new_event_key(rng))

    @property
    def public_key(self) -> str:
        """The key that checks event webhooks: base64 of its DER form."""
        return _public(self._key)

    def find(self, mail_id: str) -> Mail | None:
        """A mail by our id."""
        return self._by_id.get(mail_id)

    def may_send(self, address: str) -> bool:
        allowed = {one.lower() for one in self.settings.senders}
        return not allowed or address.lower() in allowed or address.lower().rpartition("@")[2] in allowed

    def accept(self, body: dict[str, Any]) -> str:
        """Takes a checked body of mail/send; the X-Message-Id."""
        message_id = self._token(16)
        for index, each in enumerate(body["personalizations"]):
            for recipient in [one for name in ("to", "cc", "bcc") for one in each.get(name, [])]:
                mail = self._keep(body, each, recipient["email"], message_id, index)
                due = max(each.get("send_at", body.get("send_at", 0)) - self.now(), self.settings.step_s)
                self._timers.later(due, lambda mail=mail: self._process(mail), counted=due == self.settings.step_s)
        return message_id

    def suppress(self, name: str, address: str) -> None:
        if len(self.suppressed[name]) < SUPPRESSED_MAX:
            self.suppressed[name][address.lower()] = self.now()

    def release(self, name: str, address: str) -> bool:
        """Whether the address stood on that list."""
        return self.suppressed[name].pop(address.lower(), None) is not None

    def happen(self, mail: Mail, what: After) -> None:
        """Something befalls a delivered mail, and its event is told."""
        if what == "bounce":
            self._bounce(mail, later=True)
        elif what == "block":
            mail.state, mail.reason = "blocked", "550 5.7.1 Message refused for its content"
            self._tell(mail, "bounce", type="blocked", reason=mail.reason, status="5.7.1", bounce_classification="Content")
        elif what == "spam":
            self.suppress("spam_reports", mail.to)
            self._tell(mail, "spamreport")
        elif what == "unsubscribe":
            self.suppress("unsubscribes", mail.to)
            self._tell(mail, "unsubscribe")
        else:
            more = {"url": "https://example.test/"} if what == "click" else {"sg_machine_open": False}
            self._tell(mail, what, useragent="Mozilla/5.0 (emulated)", ip="192.0.2.10", **more)

    def forge(self, mail: Mail, event: str, how: How) -> None:
        """Posts events that SendGrid never signed so. ValueError when there is no address to post them to."""
        if not self.events_url:
            raise ValueError("There is no address to post the forgery to.")
        body = _lines([self._event(mail, event, {})])
        stamp = str(int(self.now()) - (OLD_S if how == "old" else 0))
        key = ec.generate_private_key(ec.SECP256R1()) if how == "wrong_key" else self._key
        delivery = self._delivery(body, stamp, key)
        if how == "unsigned":
            del delivery.headers[SIGNATURE_HEADER], delivery.headers[TIMESTAMP_HEADER]
        if how == "altered":
            delivery.body = body.replace(b'"event"', b'"forged":true,"event"')
        delivery.retries_s = ()
        self._webhooks.send_now(delivery)

    def forget(self) -> None:
        """Empties what was taken, the suppression lists and the dead addresses."""
        self.mails.clear()
        self._by_id.clear()
        self.dead.clear()
        for one in self.suppressed.values():
            one.clear()

    def _keep(self, body: dict[str, Any], each: dict[str, Any], to: str, message_id: str, index: int) -> Mail:
        content = {part["type"]: part["value"] for part in body.get("content", [])}
        sender = each.get("from", body["from"])
        mail = Mail(
            id=self._new_id(),
            vendor="sendgrid",
            to=to,
            sender=sender["email"],
            sender_name=sender.get("name", ""),
            subject=each.get("subject") or body.get("subject", ""),
            text=content.get("text/plain", ""),
            html=content.get("text/html", ""),
            at=self.now(),
            state="accepted",
            vendor_id=f"{message_id}.recvd-{self._rng.getrandbits(40):010x}-{index}",
            headers=body.get("headers", {}) | each.get("headers", {}),
            args=body.get("custom_args", {}) | each.get("custom_args", {}),
            categories=tuple(body.get("categories", ())),
            attachments=tuple(one["filename"] for one in body.get("attachments", ())),
        )
        if len(self.mails) >= MAILS_MAX:
            self._by_id.pop(self.mails.popleft().id, None)
        self.mails.append(mail)
        self._by_id[mail.id] = mail
        return mail

    def _process(self, mail: Mail) -> None:
        reason = next((why for name, why in _DROPPED.items() if mail.to.lower() in self.suppressed[name]), "")
        if reason:
            mail.state, mail.reason = "dropped", reason
            self._tell(mail, "dropped", reason=reason, status="5.0.0")
            return
        mail.state = "processed"
        self._tell(mail, "processed")
        self._timers.later(self.settings.step_s, lambda: self._arrive(mail))

    def _arrive(self, mail: Mail) -> None:
        fate = self.dead.get(mail.to.lower(), "")
        if fate == "bounce":
            self._bounce(mail)
        elif fate == "block":
            self.happen(mail, "block")
        elif fate == "defer" and mail.state != "deferred":
            mail.state, mail.reason = "deferred", "451 4.7.1 Please try again later"
            self._tell(mail, "deferred", response=mail.reason, attempt="1")
            self._timers.later(self.settings.step_s, lambda: self._arrive(mail))
        else:
            mail.state, mail.reason = "delivered", ""
            self._tell(mail, "delivered", response="250 2.0.0 OK", ip="192.0.2.25", tls=1)

    def _bounce(self, mail: Mail, later: bool = False) -> None:
        """A hard bounce; one that comes long after the delivery no longer knows the message's id."""
        mail.state, mail.reason = "bounced", "550 5.1.1 The mailbox does not exist"
        self.suppress("bounces", mail.to)
        more = {"type": "bounce", "reason": mail.reason, "status": "5.1.1", "bounce_classification": "Invalid Address"}
        self._tell(mail, "bounce", without=("sg_message_id",) if later else (), **more)

    def _tell(self, mail: Mail, event: str, without: tuple[str, ...] = (), **more: Any) -> None:
        if not self.events_url:
            return
        told = self._event(mail, event, more)
        self._events.append({name: value for name, value in told.items() if name not in without})
        if not self._flush_due:
            self._flush_due = True
            self._timers.later(self.settings.batch_s, self._flush)

    def _event(self, mail: Mail, event: str, more: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {
            "email": mail.to,
            "timestamp": int(self.now()),
            "smtp-id": f"<{mail.vendor_id.partition('.')[0]}@emulated.example.test>",
            "event": event,
            "sg_event_id": self._token(24),
            "sg_message_id": mail.vendor_id,
        }
        if mail.categories:
            told["category"] = list(mail.categories)
        # Custom args come flat beside the vendor's own names, which win.
        return mail.args | told | more

    def _flush(self) -> None:
        events, self._events, self._flush_due = self._events, [], False
        if self._webhooks.scripts["sendgrid"].shuffle:
            self._rng.shuffle(events)
        for start in range(0, len(events), BATCH_MAX):
            self._webhooks.send(self._delivery(_lines(events[start : start + BATCH_MAX]), str(int(self.now())), self._key))

    def _delivery(self, body: bytes, stamp: str, key: ec.EllipticCurvePrivateKey) -> Delivery:
        signed = base64.b64encode(key.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
        return Delivery(
            vendor="sendgrid",
            url=self.events_url,
            headers={
                "Content-Type": "application/json",
                "User-Agent": "SendGrid Event API",
                SIGNATURE_HEADER: signed,
                TIMESTAMP_HEADER: stamp,
            },
            body=body,
            retries_s=self.settings.retries_s,
            retry_on=frozenset({"all"}),
        )

    def _token(self, octets: int) -> str:
        return base64.urlsafe_b64encode(self._rng.getrandbits(octets * 8).to_bytes(octets, "big")).decode().rstrip("=")


def _lines(events: list[dict[str, Any]]) -> bytes:
    """The body as the vendor writes it: an event a line and CRLF at the end, which belongs to what is signed."""
    return b"[" + b",\r\n".join(map(msgspec.json.encode, events)) + b"]\r\n"


def _event_key(event_key: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int(event_key, 16), ec.SECP256R1())


def _public(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()
