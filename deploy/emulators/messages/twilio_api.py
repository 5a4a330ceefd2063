"""Emulated Twilio: one account's numbers, services, messages and opt-outs, and the receipts of what becomes of a message.

Not for: HTTP (`twilio_routes`). Invariants: a refused message is never made; a message's status only moves forward; an opted-out number gets
nothing but the answer to its own word.
"""

import itertools
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Literal
from urllib.parse import urlencode
from xml.etree import ElementTree

import msgspec

from deploy.emulators.messages import twilio_words as words
from deploy.emulators.messages.post import Heard
from deploy.emulators.messages.timers import Timers
from deploy.emulators.messages.webhooks import Delivery, Webhooks

MESSAGES_MAX = 50_000
ALERTS_MAX = 200
OPT_OUTS_MAX = 10_000
SERVICE = "MG00000000000000000000000000000001"
NUMBER = "+19025550100"

How = Literal["wrong_key", "unsigned", "altered"]
"""How a forged webhook is wrong: signed with another key, not at all, or changed after it was signed."""


class TwilioSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One account. Empty ids and keys are drawn at start.

    services: Messaging Service id -> its numbers. inbound_url: where an SMS from a customer goes. in_flight_max: requests at once before
    429 (0: no limit). latency_s: what each request takes. step_s: between a message's states. list_lag_s: how late a message shows in
    lists. unsent_listed: whether a message that has no DateSent yet matches a list filtered by it.
    """

    account_sid: str = ""
    auth_token: str = ""
    api_keys: dict[str, str] = {}
    numbers: tuple[str, ...] = (NUMBER,)
    services: dict[str, tuple[str, ...]] = msgspec.field(default_factory=lambda: {SERVICE: (NUMBER,)})
    inbound_url: str = ""
    in_flight_max: int = 100
    latency_s: float = 0.0
    step_s: float = 0.05
    list_lag_s: float = 0.0
    unsent_listed: bool = False


class Sms(msgspec.Struct, kw_only=True):
    """One message. `sender` is empty until a service picked one; times in unix seconds; `error_code` 0 for none."""

    id: str
    sid: str
    to: str
    sender: str
    text: str
    status: str
    direction: str
    created_at: float
    updated_at: float
    service: str = ""
    sent_at: float | None = None
    error_code: int = 0
    callback: str = ""
    validity_s: int = words.VALIDITY_S_MAX
    media: int = 0


class Alert(msgspec.Struct, frozen=True):
    """A line of the vendor's debugger: our answer to a webhook was not what it takes."""

    code: int
    url: str
    at: float


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A message as asked for, checked."""

    to: str
    sender: str
    service: str
    text: str
    callback: str = ""
    validity_s: int = words.VALIDITY_S_MAX
    send_at: float | None = None
    media: int = 0


class Twilio:
    """The account. `messages` are all it knows, oldest first; `dead` says which numbers fail and how."""

    def __init__(
        self,
        settings: TwilioSettings,
        now: Callable[[], float],
        rng: Random,
        timers: Timers,
        webhooks: Webhooks,
        new_id: Callable[[], str],
    ) -> None:
        self.settings = settings
        self._rng = rng
        self._timers = timers
        self._webhooks = webhooks
        self._new_id = new_id
        self.now = now
        self.account_sid = settings.account_sid or self._sid("AC")
        self.auth_token = settings.auth_token or f"{rng.getrandbits(128):032x}"
        self.inbound_url = settings.inbound_url
        self.messages: deque[Sms] = deque()
        self.dead: dict[str, int] = {}
        self.opted_out: dict[tuple[str, str], float] = {}
        """(pool, number) -> since when; a pool is a service, or a number of its own."""
        self.alerts: deque[Alert] = deque(maxlen=ALERTS_MAX)
        self._by_sid: dict[str, Sms] = {}
        self._by_to: dict[str, deque[Sms]] = {}
        self._turns = {service: itertools.cycle(numbers) for service, numbers in settings.services.items() if numbers}

    def find(self, sid: str) -> Sms | None:
        return self._by_sid.get(sid)

    def of_number(self, to: str) -> list[Sms]:
        return list(self._by_to.get(to, ()))

    def pool(self, number: str) -> str:
        """The service a number belongs to, or the number itself."""
        return next((service for service, numbers in self.settings.services.items() if number in numbers), number)

    def opt_out(self, number: str, on: bool = True, pool: str = "") -> None:
        """Records that a number wants nothing, or does again, without any webhook: as a carrier's list would."""
        for one in [pool] if pool else list(dict.fromkeys(map(self.pool, self.settings.numbers))):
            if not on:
                self.opted_out.pop((one, number), None)
            elif len(self.opted_out) < OPT_OUTS_MAX:
                self.opted_out[(one, number)] = self.now()

    def create(self, wanted: Wanted) -> Sms:
        """Takes a message. Refusal for an opted-out or dead number."""
        pool = wanted.service or self.pool(wanted.sender)
        if (pool, wanted.to) in self.opted_out:
            raise words.refused(21610)
        code = self.dead.get(wanted.to, 0)
        if code and code not in words.AFTER:
            raise words.refused(code, wanted.to)
        status = "scheduled" if wanted.send_at is not None else "accepted" if wanted.service else "queued"
        sms = self._make(
            wanted.to,
            wanted.sender,
            wanted.text,
            status,
            "outbound-api",
            service=wanted.service,
            callback=wanted.callback,
            media=wanted.media,
        )
        sms.validity_s = wanted.validity_s
        if wanted.send_at is None:
            self._go_on(sms)
        else:
            self._timers.later(max(wanted.send_at - self.now(), 0), lambda: self._due(sms), counted=False)
        return sms

    def cancel(self, sms: Sms) -> None:
        """Ends a scheduled message. Refusal for any other."""
        if sms.status != "scheduled":
            raise words.refused(30409)
        sms.status, sms.updated_at = "canceled", self.now()
        self._tell(sms)

    def receive(self, sender: str, text: str, receiver: str = "") -> Sms:
        """A customer's SMS: the word is obeyed and answered, then our webhook is called. ValueError for what is no number of this account."""
        receiver = receiver or next(iter(self.settings.numbers), "")
        if receiver not in self.settings.numbers:
            raise ValueError(f"The account has no number {receiver!r}.")
        if not words.E164.fullmatch(sender):
            raise ValueError(f"{sender!r} is no phone number; it starts with + and the country.")
        sms = self._make(receiver, sender, text, "received", "inbound")
        sms.sent_at = self.now()
        pool, word = self.pool(receiver), words.word_of(text)
        if word in ("STOP", "START"):
            self.opt_out(sender, word == "STOP", pool)
        if word:
            self._reply(sms, words.REPLIES[word])
        self._call_inbound(self._inbound_params(sms, word))
        return sms

    def forge(self, how: How, *, sid: str = "", state: str = "delivered", sender: str = "", text: str = "") -> None:
        """Posts a webhook that Twilio never sent: a receipt of message `sid`, or an SMS from `sender`. ValueError for an unknown one."""
        sms = self._by_sid.get(sid)
        if sms is not None:
            params, url = self._status_params(sms) | {"MessageStatus": state, "SmsStatus": state}, sms.callback
        elif sender:
            to = next(iter(self.settings.numbers), "")
            made = Sms(
                id="",
                sid=self._sid("SM"),
                to=to,
                sender=sender,
                text=text,
                status="received",
                direction="inbound",
                created_at=0,
                updated_at=0,
            )
            params, url = self._inbound_params(made, words.word_of(text)), self.inbound_url
        else:
            raise ValueError("A forgery needs the sid of a message, or a sender.")
        if not url:
            raise ValueError("There is no address to post the forgery to.")
        delivery = self._delivery(url, params)
        if how == "wrong_key":
            delivery.headers["X-Twilio-Signature"] = words.signature("0" * 32, url.partition("#")[0], params.items())
        elif how == "unsigned":
            del delivery.headers["X-Twilio-Signature"]
        else:
            delivery.body = urlencode(params | {"From": "+19025550199"}).encode()
        delivery.retries_s = ()
        self._webhooks.send_now(delivery)

    def data(self, sms: Sms) -> dict[str, Any]:
        """The message as the API shows it."""
        uri = f"/{words.API_VERSION}/Accounts/{self.account_sid}/Messages/{sms.sid}"
        return {
            "sid": sms.sid,
            "account_sid": self.account_sid,
            "api_version": words.API_VERSION,
            "body": sms.text,
            "date_created": words.rfc_2822(sms.created_at),
            "date_sent": None if sms.sent_at is None else words.rfc_2822(sms.sent_at),
            "date_updated": words.rfc_2822(sms.updated_at),
            "direction": sms.direction,
            "error_code": sms.error_code or None,
            "error_message": words.AFTER.get(sms.error_code),
            "from": sms.sender or None,
            "messaging_service_sid": sms.service or None,
            "num_media": str(sms.media),
            "num_segments": "0" if sms.service and not sms.sender else str(words.segments(sms.text)),
            "price": None,
            "price_unit": "USD",
            "status": sms.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": sms.to,
            "uri": f"{uri}.json",
        }

    def forget(self) -> None:
        """Empties what was sent and received, opt-outs and dead numbers too."""
        self.messages.clear()
        self._by_sid.clear()
        self._by_to.clear()
        self.opted_out.clear()
        self.dead.clear()
        self.alerts.clear()

    def _make(self, to: str, sender: str, text: str, status: str, direction: str, **more: Any) -> Sms:
        media = more.get("media", 0)
        now = self.now()
        sms = Sms(
            id=self._new_id(),
            sid=self._sid("MM" if media else "SM"),
            to=to,
            sender=sender,
            text=text,
            status=status,
            direction=direction,
            created_at=now,
            updated_at=now,
            **more,
        )
        if len(self.messages) >= MESSAGES_MAX:
            oldest = self.messages.popleft()
            self._by_sid.pop(oldest.sid, None)
            same = self._by_to[oldest.to]
            same.popleft()
            if not same:
                del self._by_to[oldest.to]
        self.messages.append(sms)
        self._by_sid[sms.sid] = sms
        self._by_to.setdefault(to, deque()).append(sms)
        return sms

    def _due(self, sms: Sms) -> None:
        if sms.status == "scheduled":
            sms.status, sms.created_at = "accepted", self.now()
            self._go_on(sms)

    def _go_on(self, sms: Sms) -> None:
        self._timers.later(self.settings.step_s, lambda: self._step(sms))

    def _step(self, sms: Sms) -> None:
        """accepted -> queued -> sent -> delivered or undelivered, a receipt each."""
        now = self.now()
        code = self.dead.get(sms.to, 0)
        if sms.status == "accepted":
            sms.status = "queued"
            sms.sender = sms.sender or next(self._turns[sms.service])
        elif sms.status == "queued" and now - sms.created_at > sms.validity_s:
            sms.status, sms.error_code = "failed", 30036
        elif sms.status == "queued":
            sms.status, sms.sent_at = "sent", now
        elif code in words.AFTER:
            sms.status, sms.error_code = "undelivered", code
        else:
            sms.status = "delivered"
        sms.updated_at = now
        self._tell(sms)
        if sms.status in ("queued", "sent"):
            self._go_on(sms)

    def _tell(self, sms: Sms) -> None:
        if sms.callback:
            self._webhooks.send(self._delivery(sms.callback, self._status_params(sms)))

    def _status_params(self, sms: Sms) -> dict[str, str]:
        params = {
            "AccountSid": self.account_sid,
            "ApiVersion": words.API_VERSION,
            "From": sms.sender,
            "MessageSid": sms.sid,
            "MessageStatus": sms.status,
            "SmsSid": sms.sid,
            "SmsStatus": sms.status,
            "To": sms.to,
        }
        if sms.service:
            params["MessagingServiceSid"] = sms.service
        if sms.error_code:
            params["ErrorCode"] = str(sms.error_code)
        if sms.status in ("delivered", "undelivered"):
            params["RawDlrDoneDate"] = words.done_date(sms.updated_at)
        return params

    def _inbound_params(self, sms: Sms, word: str) -> dict[str, str]:
        pool = self.pool(sms.to)
        params = {
            "AccountSid": self.account_sid,
            "ApiVersion": words.API_VERSION,
            "Body": sms.text,
            "From": sms.sender,
            "MessageSid": sms.sid,
            "NumMedia": "0",
            "NumSegments": str(words.segments(sms.text)),
            "SmsMessageSid": sms.sid,
            "SmsSid": sms.sid,
            "SmsStatus": "received",
            "To": sms.to,
        }
        # Places are often unknown and then blank: a receiver that drops blank values computes another signature.
        params |= {f"{side}{part}": value for side in ("From", "To") for part, value in _PLACE.items()}
        if pool != sms.to:
            params["MessagingServiceSid"] = pool
            if word:
                params["OptOutType"] = word
        return params

    def _call_inbound(self, params: dict[str, str]) -> None:
        if self.inbound_url:
            delivery = self._delivery(self.inbound_url, params)
            delivery.on_answer = lambda heard: self._answered(heard, params)
            self._webhooks.send(delivery)

    def _answered(self, heard: Heard, params: dict[str, str]) -> None:
        """What an inbound webhook's answer does: TwiML is obeyed, plain text goes to the guest, anything else is an alert."""
        sms = self._by_sid.get(params["MessageSid"])
        kind = heard.headers.get("content-type", "").partition(";")[0].strip().lower()
        if heard.status >= 400:
            self._alert(11200)
        elif not heard.body.strip() or sms is None:
            return
        elif kind == "text/plain":
            self._reply(sms, heard.body.decode("utf-8", "replace")[: words.BODY_MAX])
        elif kind in ("text/xml", "application/xml"):
            try:
                root = ElementTree.fromstring(heard.body)
            except ElementTree.ParseError:
                self._alert(12100)
                return
            for message in root.iter("Message"):
                self._reply(sms, "".join(message.itertext()).strip()[: words.BODY_MAX])
        else:
            self._alert(12300)

    def _alert(self, code: int) -> None:
        self.alerts.append(Alert(code, self.inbound_url, self.now()))

    def _reply(self, sms: Sms, text: str) -> None:
        made = self._make(sms.sender, sms.to, text, "delivered", "outbound-reply")
        made.sent_at = made.created_at

    def _delivery(self, callback: str, params: dict[str, str]) -> Delivery:
        url, waits, retry_on, connect_s, read_s = words.retries_of(callback)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            "I-Twilio-Idempotency-Token": f"{self._rng.getrandbits(128):032x}",
            "User-Agent": "TwilioProxy/1.1",
            "X-Twilio-Signature": words.signature(self.auth_token, url, params.items()),
        }
        return Delivery(
            vendor="twilio",
            url=url,
            headers=headers,
            body=urlencode(params).encode(),
            retries_s=waits,
            retry_on=retry_on,
            connect_s=connect_s,
            read_s=read_s,
        )

    def _sid(self, prefix: str) -> str:
        return f"{prefix}{self._rng.getrandbits(128):032x}"


_PLACE = {"City": "", "State": "NS", "Zip": "", "Country": "CA"}
