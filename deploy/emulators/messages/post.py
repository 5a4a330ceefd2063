"""Posts a webhook: one HTTP/1.1 request over a kept connection, with a time limit each for connecting and answering.

Not for: anything but the emulators. It exists because thousands of receipts a minute must cost next to nothing beside what is being
measured. Invariant: a connection on which anything went wrong is never used again.
"""

import asyncio
import ssl
import time
from typing import cast
from urllib.parse import SplitResult, urlsplit

import httptools
import msgspec

ANSWER_MAX = 1 << 20
IDLE_MAX = 64
"""Connections kept for one receiver."""
IDLE_S = 3.0
"""How long one is kept: shorter than any receiver's own patience, so that it is not used while being closed."""


class Heard(msgspec.Struct, frozen=True):
    """What a receiver answered; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes


class NotConnected(ConnectionError):
    """Nobody took the connection: nothing was sent."""


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.idle_since = 0.0
        self.closed = False
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: asyncio.Future[Heard] | None = None
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self.keeps = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name

    def ask(self, request: bytes) -> asyncio.Future[Heard]:
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._body, self.keeps = {}, bytearray(), False
        self._answer = asyncio.get_running_loop().create_future()
        assert self._transport is not None
        if self.closed:
            self._fail(ConnectionError("The connection was closed before it was used."))
        else:
            self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._answer is None or self._answer.done():
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"The answer is not valid HTTP: {error}."))

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._fail(ConnectionError("The connection was closed without an answer."))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self._body += part
        if len(self._body) > ANSWER_MAX:
            self._fail(ConnectionError("The answer is too large."))

    def on_message_complete(self) -> None:
        assert self._parser is not None
        self.keeps = self._parser.should_keep_alive() and not self.closed
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Heard(self._parser.get_status_code(), self._headers, bytes(self._body)))

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        self.keeps = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
            self.close()


class Poster:
    """Posts bodies to URLs (http and https, certificates unchecked, since the receivers are this machine's)."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int, bool], list[_Connection]] = {}
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    async def post(self, url: str, headers: dict[str, str], body: bytes, *, connect_s: float, read_s: float) -> Heard:
        """NotConnected when nothing was sent, ConnectionError or TimeoutError when nobody knows."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        key = (parts.hostname or "", parts.port or (443 if tls else 80), tls)
        connection = self._kept(key) or await self._connect(key, connect_s)
        answer = connection.ask(_request(parts, headers, body))
        try:
            # Not wait_for: before Python 3.12 it swallows a cancellation that meets the answer, and then a stop waits for ever.
            async with asyncio.timeout(read_s):
                heard = await answer
        except BaseException:
            connection.close()
            raise
        self._keep(key, connection)
        return heard

    def close(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def _kept(self, key: tuple[str, int, bool]) -> _Connection | None:
        idle = self._idle.get(key, [])
        while idle:
            connection = idle.pop()
            if not connection.closed and time.monotonic() - connection.idle_since < IDLE_S:
                return connection
            connection.close()
        return None

    def _keep(self, key: tuple[str, int, bool], connection: _Connection) -> None:
        idle = self._idle.setdefault(key, [])
        if connection.keeps and len(idle) < IDLE_MAX:
            connection.idle_since = time.monotonic()
            idle.append(connection)
        else:
            connection.close()

    async def _connect(self, key: tuple[str, int, bool], connect_s: float) -> _Connection:
        host, port, tls = key
        try:
            async with asyncio.timeout(connect_s):
                _, connection = await asyncio.get_running_loop().create_connection(_Connection, host, port, ssl=self._tls if tls else None)
        except (OSError, TimeoutError) as error:
            raise NotConnected(f"Nobody answers at {host} port {port}.") from error
        return connection


def _request(parts: SplitResult, headers: dict[str, str], body: bytes) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
