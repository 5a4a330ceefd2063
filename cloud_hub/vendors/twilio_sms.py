"""SMS by Twilio: the wire and the channel. The one file that imports `twilio`.

Twilio knows no idempotency: a message whose answer is lost may be on its way. So nothing is ever tried twice here, and `find` looks among the
messages that Twilio has. The package's own HTTP client is not used: it ignores its time limit, loses Retry-After, logs numbers, and
can be made to repeat a POST. Invariant: `Later` is said only where no message can have been made.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import aiohttp
import msgspec
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from shared.outcomes import Later, Misconfigured, Never, Outcome, Taken, Unknown

from ..ports import Letter
from . import answers
from .channels import Around

VALIDITY_MAX_S = 36_000
#: how many messages to one number, of the time in question, are looked through
LOOK_MAX = 50
#: Twilio's clock and ours need not agree
SKEW_S = 30
#: a request that Twilio has taken in but not carried out yet would not be found
SETTLED_S = 30

#: no number of a person's mobile, and none that will be one soon
DEAD = frozenset({21211, 21214, 21217, 21614, 21635})
OPTED_OUT = frozenset({21610})
#: our sender, service or callback is wrong, whoever the letter is for
OURS = frozenset({20003, 20404, 21212, 21603, 21606, 21609, 21659, 21660, 21661, 21701, 21703})
BUSY = 20429


class TwilioSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[channels.twilio]: `sender` is a number of ours (E.164) or the SID of a messaging service. An API key (`key_sid`, `key_secret_file`) is
    used to send where there is one; the auth token signs the webhooks and is always needed."""

    account_sid: Annotated[str, msgspec.Meta(pattern=r"^AC[0-9a-fA-F]{32}$")]
    auth_token_file: str
    sender: Annotated[str, msgspec.Meta(pattern=r"^(\+[1-9][0-9]{6,14}|MG[0-9a-fA-F]{32})$")]
    key_sid: Annotated[str, msgspec.Meta(pattern=r"^(SK[0-9a-fA-F]{32})?$")] = ""
    key_secret_file: str = ""
    base_url: str = "https://api.twilio.com"
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    connections_max: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50


SETTINGS = TwilioSettings


def open_channel(settings: TwilioSettings, around: Around) -> TwilioSms:
    """Raises ConfigError, ValueError."""
    if bool(settings.key_sid) != bool(settings.key_secret_file):
        raise ValueError("give both 'key_sid' and 'key_secret_file', or neither.")
    file, name = (settings.key_secret_file, "key_secret") if settings.key_sid else (settings.auth_token_file, "auth_token")
    return TwilioSms(
        account_sid=settings.account_sid,
        username=settings.key_sid or settings.account_sid,
        password=around.secret(file, name),
        sender=settings.sender,
        callback_url=around.hook_url("twilio"),
        base_url=settings.base_url,
        timeout_s=settings.timeout_s,
        connections_max=settings.connections_max,
        now=around.now,
    )


class TwilioSms:
    """`cloud_hub.ports.Channel` for SMS. `callback_url`: where Twilio reports each message; "" for nowhere, then `Taken` is final.

    ValueError (with a sentence) for an address or password that cannot be right.
    """

    name = "sms"
    vendor = "twilio"
    finds = True

    def __init__(
        self,
        *,
        account_sid: str,
        username: str,
        password: str,
        sender: str,
        callback_url: str = "",
        base_url: str = "https://api.twilio.com",
        timeout_s: float = 10.0,
        connect_timeout_s: float = 3.0,
        connections_max: int = 50,
        settled_s: float = SETTLED_S,
        now: Callable[[], float],
    ):
        if not password:
            raise ValueError("the auth token or the key's secret is missing.")
        self._wire = _Wire(timeout_s, min(connect_timeout_s, timeout_s), connections_max, now)
        # A mapping with something in it: the package would read the environment for whatever is not given.
        client = Client(username, password, account_sid, http_client=self._wire, environment={"TWILIO_EDGE": ""})
        client.api.base_url = answers.checked_url(base_url, "base_url")
        self._messages = client.messages
        self._sender = {"messaging_service_sid": sender} if sender.startswith("MG") else {"from_": sender}
        self._callback_url, self._settled_s, self._now = callback_url, settled_s, now

    async def send(self, letter: Letter) -> Outcome:
        now = self._now()
        if late := answers.worthless(letter, now):
            return late
        more: dict[str, Any] = dict(self._sender)
        if self._callback_url:
            more["status_callback"] = f"{self._callback_url}?m={quote(letter.key)}"
        if letter.expires_at:
            more["validity_period"] = max(1, min(VALIDITY_MAX_S, int(letter.expires_at - now)))
        try:
            made = await self._messages.create_async(to=letter.to, body=letter.text, **more)
        except _Told as told:
            return told.outcome
        except (TwilioRestException, TwilioServiceException) as error:
            return _judged(error)
        except (ValueError, TypeError, AttributeError, KeyError, TwilioException) as error:
            return Unknown(f"Twilio's answer makes no sense ({type(error).__name__}).")
        if not isinstance(made.sid, str | None) or (made.sid is None and made.status is None):
            return Unknown("Twilio's answer makes no sense (no message in it).")
        return Taken(made.sid or "", final=not self._callback_url)

    async def find(self, letter: Letter, since_at: int) -> Taken | None | Unknown:
        after = datetime.fromtimestamp(since_at - SKEW_S, UTC)
        # A message that still waits has no DateSent and is passed over by the filter; so the newest ones are looked through as well.
        queries: tuple[dict[str, Any], ...] = ({"date_sent_after": after}, {})
        try:
            for query in queries:
                for message in await self._messages.list_async(to=letter.to, limit=LOOK_MAX, page_size=LOOK_MAX, **query):
                    if _is(message, letter, after):
                        return Taken(message.sid or "", final=not self._callback_url)
        except _Told as told:
            return Unknown(told.outcome.reason)
        except (ValueError, TypeError, AttributeError, KeyError, TwilioException) as error:
            return Unknown(f"Twilio does not tell which messages it has ({type(error).__name__}).")
        if self._now() < since_at + self._settled_s:
            return Unknown("Twilio does not have it, but may still be taking it in.")
        return None

    async def close(self) -> None:
        await self._wire.close()


class _Told(Exception):
    """What happened is known on the wire already."""

    def __init__(self, outcome: Later | Unknown | Misconfigured):
        super().__init__(outcome.reason)
        self.outcome = outcome


class _Wire(AsyncHttpClient):
    """The package's port for HTTP: a pool of our own, a time limit that counts, no redirects, no retries, no log. Its session is made by the
    first request, in the running loop."""

    def __init__(self, timeout_s: float, connect_timeout_s: float, connections_max: int, now: Callable[[], float]):
        super().__init__(logging.getLogger("vendors.twilio"), is_async=True, timeout=timeout_s)
        self._limit = aiohttp.ClientTimeout(total=timeout_s, connect=connect_timeout_s, sock_connect=connect_timeout_s)
        # Waiting for a free connection is done outside, where it is on nobody's time.
        self._free = asyncio.Semaphore(connections_max)
        self._connections_max, self._now = connections_max, now
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        uri: str,
        params: Any = None,
        data: Any = None,
        headers: Any = None,
        auth: Any = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """One HTTP exchange. Raises _Told for everything but an answer that Twilio itself means."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=self._connections_max))
        if auth:
            headers = {**(headers or {}), "Authorization": f"Basic {base64.b64encode(':'.join(auth).encode()).decode()}"}
        try:
            async with (
                self._free,
                self._session.request(
                    method, uri, params=params, data=data, headers=headers, timeout=self._limit, allow_redirects=False
                ) as answer,
            ):
                text = await answers.body_of(answer.content.iter_chunked(65_536))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _Told(Later(f"Twilio cannot be reached ({type(error).__name__}).")) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _Told(Unknown(f"Twilio's answer was lost ({type(error).__name__}).")) from None
        if answer.status == 429:
            raise _Told(
                Later("Twilio has too much to do for us just now (429).", answers.after_s(answer.headers.get("Retry-After"), self._now()))
            )
        if 300 <= answer.status < 400:
            raise _Told(Misconfigured(f"What answers at Twilio's address sends us elsewhere ({answer.status})."))
        return Response(answer.status, text, answer.headers)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _judged(error: TwilioRestException | TwilioServiceException) -> Outcome:
    status, code = error.status, error.code or 0
    said = error.msg if isinstance(error, TwilioRestException) else error.detail or error.title
    reason = answers.told(f"Twilio: {said} ({code}).")
    if code == BUSY:
        return Later(reason)
    if status >= 500 or status == 408:
        return Unknown(reason)
    if code in OURS or status in (401, 403, 404, 405, 410, 415):
        return Misconfigured(reason)
    if code in OPTED_OUT:
        return Never(str(code), reason, opted_out=True)
    return Never(str(code), reason, dead_address=code in DEAD)


def _is(message: Any, letter: Letter, after: datetime) -> bool:
    """Whether a message of Twilio's list is this letter: the same words, not from before, not taken back."""
    made = message.date_created or message.date_sent
    same = (message.body or "").strip() == letter.text.strip()
    return same and message.status != "canceled" and (made is None or made >= after)
