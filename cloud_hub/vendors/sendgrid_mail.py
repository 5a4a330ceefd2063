"""Mail by SendGrid: the wire and the channel. The one file that imports `sendgrid` and the HTTP client that comes with it.

The package is synchronous, without time limit, follows redirects with our key, and logs key and content at DEBUG; all four are mended here.
The letter's key travels as a custom argument and comes back on every event: that is how the fate of a send without an answer is learnt, since
SendGrid cannot be asked. Invariant: no name, address or key of a person is in what SendGrid keeps for good (categories, custom arguments).
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Annotated, Any
from urllib.error import URLError
from urllib.parse import urlsplit

import msgspec
import python_http_client
from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient

from shared.outcomes import Later, Misconfigured, Never, Outcome, Taken, Unknown

from ..ports import Letter
from . import answers
from .channels import Around

#: the custom argument that bears the letter's key
KEY = "msg_key"
#: fields of a request that are ours, whoever the letter is for
_OURS = ("from", "reply_to", "template_id", "asm", "ip_pool_name", "tracking_settings", "mail_settings")


class SendGridSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[channels.sendgrid]: `sender` and `reply_to` are addresses, `sender_name` what is shown. `webhook_public_key` is what SendGrid prints for
    the signed event webhook; without it no event is believed. `hook_age_max_s`: how old a signed event call may be."""

    api_key_file: str
    sender: Annotated[str, msgspec.Meta(pattern=r"^[^@\s]+@[^@\s]+$")]
    sender_name: str = ""
    reply_to: Annotated[str, msgspec.Meta(pattern=r"^([^@\s]+@[^@\s]+)?$")] = ""
    webhook_public_key: str = ""
    hook_age_max_s: Annotated[int, msgspec.Meta(ge=60, le=172_800)] = 600
    base_url: str = "https://api.sendgrid.com"
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    connections_max: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8


SETTINGS = SendGridSettings


def open_channel(settings: SendGridSettings, around: Around) -> SendGridMail:
    """Raises ConfigError, ValueError."""
    return SendGridMail(
        api_key=around.secret(settings.api_key_file, "api_key"),
        sender=settings.sender,
        sender_name=settings.sender_name,
        reply_to=settings.reply_to,
        reports=bool(settings.webhook_public_key and around.public_url),
        base_url=settings.base_url,
        timeout_s=settings.timeout_s,
        connections_max=settings.connections_max,
        now=around.now,
    )


class SendGridMail:
    """`cloud_hub.ports.Channel` for mail. `reports`: whether events come in; where they do not, `Taken` is final.

    ValueError (with a sentence) for an address or key that cannot be right.
    """

    name = "mail"
    vendor = "sendgrid"
    finds = False

    def __init__(
        self,
        *,
        api_key: str,
        sender: str,
        sender_name: str = "",
        reply_to: str = "",
        reports: bool = True,
        base_url: str = "https://api.sendgrid.com",
        timeout_s: float = 10.0,
        connections_max: int = 8,
        now: Callable[[], float],
    ):
        if not api_key:
            raise ValueError("the API key is missing.")
        url = answers.checked_url(base_url, "base_url")
        # At DEBUG it writes the Authorization header and the mail into the log.
        logging.getLogger("python_http_client").setLevel(logging.INFO)
        wire = SendGridAPIClient(api_key, host=url)
        self._client = _Wire(url, wire.client.request_headers, _opener(url), timeout_s)
        self._from = {"email": sender} | ({"name": sender_name} if sender_name else {})
        self._reply_to, self._reports, self._now = reply_to, reports, now
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(connections_max, thread_name_prefix="sendgrid")
        self._free = asyncio.Semaphore(connections_max)

    async def send(self, letter: Letter) -> Outcome:
        if late := answers.worthless(letter, self._now()):
            return late
        mail = self._mail(letter)
        async with self._free:
            work = self._pool.submit(lambda: self._client.mail.send.post(request_body=mail))
            try:
                # The socket's own limit is for each step; this one is for the whole. Not wait_for: before Python 3.12 it swallows a
                # cancellation that meets the answer.
                async with asyncio.timeout(self._timeout_s * 2):
                    answer = await asyncio.wrap_future(work)
            except HTTPError as error:
                return self._judged(error)
            except URLError as error:  # raised only while the request is not yet wholly handed over
                return Later(answers.told(f"SendGrid cannot be reached ({type(error.reason).__name__})."))
            except TimeoutError:
                return Later("SendGrid is waited for by too many.") if work.cancelled() else Unknown("SendGrid did not answer in time.")
            except (OSError, HTTPException, ValueError) as error:
                return Unknown(f"SendGrid's answer was lost ({type(error).__name__}).")
        if answer.status_code != 202 or answer.body.strip():
            return Unknown(f"SendGrid's answer makes no sense ({answer.status_code}, {len(answer.body)} bytes).")
        return Taken(answer.headers.get("X-Message-Id") or "", final=not self._reports)

    async def find(self, letter: Letter, since_at: int) -> Taken | None | Unknown:
        return Unknown("SendGrid cannot be asked; its event will tell.")

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _mail(self, letter: Letter) -> dict[str, Any]:
        content = [{"type": "text/plain", "value": letter.text or " "}]
        if letter.html:
            content.append({"type": "text/html", "value": letter.html})
        mail = {
            "personalizations": [{"to": [{"email": letter.to}], "custom_args": {KEY: letter.key}}],
            "from": self._from,
            "subject": answers.subject_of(letter),
            "content": content,
            # Links in our mails open bookings; nobody else's server stands between.
            "tracking_settings": {"click_tracking": {"enable": False, "enable_text": False}},
        }
        return mail | ({"reply_to": {"email": self._reply_to}} if self._reply_to else {})

    def _judged(self, error: HTTPError) -> Outcome:
        status, (field, said) = int(error.status_code), _first_error(error.body)
        reason = answers.told(f"SendGrid: {said or error.reason} ({status}).")
        if status == 429:
            return Later(reason, self._pause(error.headers))
        if status >= 500 or status == 408:
            return Unknown(reason)
        if status in (400, 422):
            if field.partition(".")[0] in _OURS:
                return Misconfigured(reason)
            return Never(str(status), reason, dead_address=field.startswith("personalizations") and ".to" in field)
        if status == 413:
            return Never("413", reason)
        return Misconfigured(reason)

    def _pause(self, headers: Any) -> float | None:
        pause = answers.after_s(headers.get("Retry-After"), self._now())
        reset = headers.get("X-RateLimit-Reset") or ""
        if pause is None and reset.isascii() and reset.isdigit():
            return min(max(0.0, int(reset) - self._now()), answers.AFTER_MAX_S)
        return pause


class _Wire(python_http_client.Client):
    """The package's client with an opener of ours; each call is made by a new one, so the opener is handed on."""

    def __init__(
        self, host: str, headers: dict[str, str], opener: urllib.request.OpenerDirector, timeout_s: float, path: list[str] | None = None
    ):
        super().__init__(host, request_headers=headers, version=3, url_path=path, timeout=timeout_s)
        self._opener = opener

    def _build_client(self, name: str | None = None) -> _Wire:
        path = [*self._url_path, name] if name else self._url_path
        # The headers are copied, or whatever one call adds would be in all later ones.
        return _Wire(self.host, dict(self.request_headers), self._opener, self.timeout, path)

    def _make_request(self, opener: Any, request: Any, timeout: float | None = None) -> Any:
        return super()._make_request(self._opener, request, timeout)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Follows nothing; asks this machine without a proxy, whatever the environment names."""
    direct = [urllib.request.ProxyHandler({})] if answers.is_loopback(urlsplit(url).hostname or "") else []
    return urllib.request.build_opener(_NoRedirect, *direct)


def _first_error(body: bytes) -> tuple[str, str]:
    """(field, message) of SendGrid's error document; empty where it is none."""
    try:
        first = json.loads(body)["errors"][0]
        return str(first.get("field") or ""), str(first.get("message") or "")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return "", ""
