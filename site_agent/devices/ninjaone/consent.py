"""The one consent of a person: the address that they open, the answer that their browser brings back to this machine, and what is kept of it.

For: `site-agent ninjaone connect`. Not for: renewing (`tokens`). Invariants: the code that comes back is worth nothing without the verifier,
which never leaves this process; an answer without our `state` is somebody else's and is not taken.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable
from html import escape
from urllib.parse import parse_qs, urlencode, urlsplit

from site_agent.devices.ninjaone.tokens import ConsentFile, Kept, kept_of
from site_agent.devices.ninjaone.wire import AUTHORIZE_PATH, Wire

SCOPE = "monitoring management offline_access"
HOST = "127.0.0.1"
BACK_PATH = "/ninjaone"
WITHIN_S = 600.0
REQUEST_MAX = 16_384
REQUEST_WITHIN_S = 10.0


class Denied(ValueError):
    """The person said no."""


class Consent:
    """One asking. `redirect_uri` is where the browser goes afterwards: a port of this machine, or the address registered with a web app."""

    def __init__(self, wire: Wire, client_id: str, secret: str, redirect_uri: str) -> None:
        self._wire, self._client_id, self._secret, self.redirect_uri = wire, client_id, secret, redirect_uri
        self._verifier, self._state = secrets.token_urlsafe(64), secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """What the person opens, signed in as the technician that the bays belong to."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self._verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code", "client_id": self._client_id, "redirect_uri": self.redirect_uri, "scope": SCOPE, "state": self._state,
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        return f"{self._wire.base}{AUTHORIZE_PATH}?{urlencode(query)}"

    def code_in(self, answer: str) -> str:
        """The code in the address that the browser went to. ValueError with a sentence where it is none of ours."""
        try:
            query = parse_qs(urlsplit(answer.strip()).query)
        except ValueError:
            query = {}
        if not hmac.compare_digest(query.get("state", [""])[0].encode(), self._state.encode()):
            raise ValueError("That is not the answer to this question. Paste the whole address that the browser shows after Allow.")
        if "error" in query:
            raise Denied(f"Nothing was allowed: NinjaOne says {query['error'][0][:80]!r}.")
        if not query.get("code"):
            raise ValueError("The address holds no code. Paste the whole address that the browser shows after Allow.")
        return query["code"][0]

    async def keep(self, code: str, file: ConsentFile, now: int) -> Kept:
        """Exchanges the code and keeps what it gives, durably. Raises WireError, ValueError, OSError."""
        grant = await self._wire.token({
            "grant_type": "authorization_code", "client_id": self._client_id, "client_secret": self._secret, "code": code,
            "redirect_uri": self.redirect_uri, "code_verifier": self._verifier,
        })  # fmt: skip
        if not grant.refresh_token:
            raise ValueError(
                "NinjaOne gave no refresh token, so the consent would end in an hour. Allow the app the grant type “Refresh token”."
            )
        if lacking := [scope for scope in ("monitoring", "management") if grant.scope and scope not in grant.scope.split()]:
            raise ValueError(f"The consent lacks {' and '.join(lacking)}. Allow the app these scopes and connect again.")
        async with file.alone():
            kept = kept_of(grant, url=self._wire.base, client_id=self._client_id, now=now, granted_at=now)
            await asyncio.to_thread(file.write, kept)
        return kept


class Listener:
    """Hears the browser's way back on a port of this machine, once. `port` 0 takes a free one."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._judge: Callable[[str], str] = lambda answer: answer

    async def __aenter__(self) -> Listener:
        self._server = await asyncio.start_server(self._hear, HOST, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def redirect_uri(self) -> str:
        return f"http://{HOST}:{self._port}{BACK_PATH}"

    async def code(self, consent: Consent, within_s: float = WITHIN_S) -> str:
        """The code, once the browser has brought it. TimeoutError; ValueError where the person said no."""
        self._judge = consent.code_in
        async with asyncio.timeout(within_s):
            return await self._heard

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            async with asyncio.timeout(REQUEST_WITHIN_S):
                request = (await reader.readuntil(b"\r\n\r\n"))[:REQUEST_MAX].decode("latin-1")
            status, text = self._answer(request.split(" ", 2)[1] if request.startswith("GET ") else "")
            body = _PAGE.format(escape(text)).encode()
            head = f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
            writer.write(f"{head}Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()

    def _answer(self, target: str) -> tuple[str, str]:
        """What the browser is shown. An answer that is not ours ends nothing: anybody on this machine can ask this port."""
        if not target.startswith(f"{BACK_PATH}?"):
            return "404 Not Found", "There is nothing here."
        try:
            code = self._judge(target)
        except Denied as error:
            if not self._heard.done():
                self._heard.set_exception(error)
            return "200 OK", str(error)
        except ValueError as error:
            return "400 Bad Request", str(error)
        if not self._heard.done():
            self._heard.set_result(code)
        return "200 OK", "Thank you. This window can be closed; the terminal says how it went."


_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><title>ClubOS Booking</title>'
    '<p style="font: 20px system-ui; margin: 3rem">{}</p></html>'
)
