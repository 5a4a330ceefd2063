"""How an emulated vendor listens and answers over HTTP: answers and refusals, faults in front of the app, a socket that can go away.

Not for: routes. Invariant: a request whose fault says so is done to its end although its client hears nothing.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from deploy.emulators.common.http import Receive, Scope, Send, send_answer
from deploy.emulators.messages.faults import Fault, VendorFaults

BACKLOG = 1024
BODY_MAX = 32 * 1024 * 1024
KEEP_ALIVE_S = 75

App = Callable[[Scope, Receive, Send], Awaitable[None]]

_GATEWAY_PAGE = b"<html><head><title>Gateway</title></head><body><h1>Gateway</h1><p>nginx</p></body></html>"
_CLOSE = "emulator.close"


class Answer(msgspec.Struct, frozen=True):
    """One answer; `headers` are beside content type and length."""

    status: int
    body: bytes = b""
    media: str = "application/json"
    headers: dict[str, str] = {}


class Refusal(Exception):
    """A request that the vendor refuses; `answer` is what its client hears."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status}")
        self.answer = answer


def respond(answer: Answer) -> Response[bytes]:
    # Litestar adds the character set to text by itself.
    media = answer.media.partition(";")[0]
    return Response(answer.body, status_code=answer.status, media_type=media, headers=answer.headers)


def application(handlers: Sequence[HTTPRouteHandler], of_status: Callable[[int, str], Answer]) -> Litestar:
    """A Litestar app in which every refusal, the framework's own included, is told in the vendor's words: `of_status(status, path)`."""

    def refused(_: Request, error: Refusal) -> Response[bytes]:
        return respond(error.answer)

    def framework(request: Request, error: HTTPException) -> Response[bytes]:
        return respond(of_status(error.status_code, request.scope["path"]))

    return Litestar(
        list(handlers),
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_MAX,
        exception_handlers={Refusal: refused, HTTPException: framework},
    )


class Front:
    """What stands between the socket and a vendor's app: scripted faults, a limit of requests at once, a time that each takes.

    `in_flight_max` 0 means no limit. `of_status(status, path)` words the vendor's errors, also those of the limit.
    """

    def __init__(
        self, app: App, faults: VendorFaults, of_status: Callable[[int, str], Answer], *, in_flight_max: int = 0, latency_s: float = 0.0
    ) -> None:
        self.app = app
        self.in_flight_max = in_flight_max
        self.latency_s = latency_s
        self.in_flight = 0
        self.in_flight_most = 0
        self._faults = faults
        self._of_status = of_status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight_most, self.in_flight)
        try:
            if self.in_flight_max and self.in_flight > self.in_flight_max:
                await _drain(receive)
                await _send(send, self._of_status(429, scope["path"]))
                return
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            fault = self._faults.take(scope["method"], scope["path"])
            if fault is None:
                await self.app(scope, receive, send)
            else:
                await self._suffer(fault, scope, receive, send)
        finally:
            self.in_flight -= 1

    async def _suffer(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            await self.app(scope, receive, send)
            return
        if fault.done:
            await self.app(scope, receive, _unheard)
        else:
            await _drain(receive)
        if fault.seconds:
            await asyncio.sleep(fault.seconds)
        if fault.kind == "lost":
            scope["extensions"][_CLOSE]()
            while (await receive())["type"] != "http.disconnect":
                continue
            return
        await _send(send, self._broken(fault, scope["path"]))

    def _broken(self, fault: Fault, path: str) -> Answer:
        if fault.kind == "html":
            return Answer(fault.code, _GATEWAY_PAGE, "text/html; charset=utf-8")
        if fault.kind == "empty":
            return Answer(fault.code)
        answer = self._of_status(fault.code, path)
        if fault.retry_after_s is None:
            return answer
        return msgspec.structs.replace(answer, headers=answer.headers | {"Retry-After": str(fault.retry_after_s)})


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which hands the app a way to close the connection without an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_CLOSE: self.transport.close}


class Listener:
    """One address at which an app answers; it can go down and come back on the same port."""

    def __init__(self, app: App, host: str, port: int = 0) -> None:
        self.app = app
        self.host = host
        self.port = port
        self._server: asyncio.Server | None = None
        self._state = ServerState()

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def come_back(self) -> None:
        """Begins to listen. OSError when the port is taken."""
        if self._server is not None:
            return
        sock = bound(self.host, self.port)
        self.port = sock.getsockname()[1]
        config = uvicorn.Config(
            self.app, http=_Protocol, ws="none", lifespan="off", log_level="critical", access_log=False, timeout_keep_alive=KEEP_ALIVE_S
        )
        config.load()
        state = self._state = ServerState()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Protocol(config=config, server_state=state, app_state={}), sock=sock, backlog=BACKLOG
        )

    async def go_down(self) -> None:
        """Stops listening and ends every connection and request, as a machine that loses power; what is known stays. Again is nothing."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        tasks = [task for task in self._state.tasks if task is not asyncio.current_task()]
        for connection in list(self._state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def bound(host: str, port: int) -> socket.socket:
    """A TCP socket bound to `host` and `port` (0: a free one). OSError when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's delay off only for sockets that say they are TCP: else 44 ms an answer.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


async def _unheard(_: dict[str, Any]) -> None:
    """Takes an answer that nobody is to hear."""


async def _drain(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return


async def _send(send: Send, answer: Answer) -> None:
    await send_answer(send, answer.status, answer.media, answer.body, answer.headers.items())
