"""Serving an ASGI app with uvicorn: started, ready, stopped; nothing about what is served.

Invariant: the socket is ours and bound before anything else, so a port that is taken is known at once; SIGTERM and SIGINT end the
process with exit code 0 within about two seconds, open streams included; malformed HTTP gets a problem document too.
"""

import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.runtime.problems import PROBLEM_MEDIA, of_status

BACKLOG = 1024
HEAD_MAX = 65_536  # bytes of request line and headers
HEAD_WAIT_S = 15.0  # seconds a client may take to send them
BODY_WAIT_S = 30.0  # seconds it may take to send the body after them
LINGER_S = 1.0  # seconds a refused client gets to read why
STREAM_END_S = 1  # seconds open streams get to end by themselves
GARBAGE_AFTER = 20_000  # objects between looks for garbage; the default of 700 is a look every few requests


class ListenError(Exception):
    """The address cannot be listened on; the message is a sentence."""


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits on the request's head and time, which it has none for, and with problem documents for bad HTTP."""

    _refused = False
    _unfinished = 0
    _watch: asyncio.TimerHandle | None = None
    _body_watch: asyncio.TimerHandle | None = None
    scope: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch = self.loop.call_later(HEAD_WAIT_S, self._head_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self._watch_body(False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        scope = self.scope
        if scope is not None and "method" in scope:
            if self._watch is not None:
                self._unwatch()
            self._unfinished = 0
            self._watch_body(self.cycle is not None and self.cycle.more_body)
            return
        self._unfinished += len(data)
        if self._unfinished > HEAD_MAX and not self.transport.is_closing():
            self._refuse(431, "")
        elif self._watch is None and not self.transport.is_closing():
            self._watch = self.loop.call_later(HEAD_WAIT_S, self._head_late)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "What was sent is not valid HTTP.")

    def _refuse(self, status: int, detail: str) -> None:
        body = msgspec.json.encode(of_status(status, detail).document())
        head = (
            f"HTTP/1.1 {status} {'Bad Request' if status == 400 else 'Request Header Fields Too Large'}\r\n"
            f"content-type: {PROBLEM_MEDIA}\r\ncontent-length: {len(body)}\r\ncache-control: no-store\r\n"
            "x-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self._refused = True
        # Closed at once with bytes unread, the kernel would reset the connection and the answer with it.
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()

    def _head_late(self) -> None:
        self._watch = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _watch_body(self, unfinished: bool) -> None:
        """One time for the whole body: a client that sends it byte by byte must not hold its connection for ever."""
        if unfinished and self._body_watch is None:
            self._body_watch = self.loop.call_later(BODY_WAIT_S, self._body_late)
        elif not unfinished and self._body_watch is not None:
            self._body_watch.cancel()
            self._body_watch = None

    def _body_late(self) -> None:
        self._body_watch = None
        if self.cycle is not None and self.cycle.more_body:
            self.transport.close()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], on_stop: Callable[[], None] | None, signals: bool) -> None:
        super().__init__(config)
        self._ready = ready
        self._on_stop = on_stop
        self._signals = signals

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        if self._on_stop:
            self._on_stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again when it has stopped; a clean stop should be exit code 0.
        if not self._signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(host: str, port: int, *, or_free: bool = False) -> socket.socket:
    """A bound TCP socket. Port 0 takes a free one; with `or_free` so does a port that is taken. Raises ListenError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches TCP_NODELAY on only for sockets that say they are TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        # Listening at once, since two sockets with SO_REUSEADDR may both bind and only the second listen() would fail.
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE and or_free and port:
            return listen(host, 0)
        told = "another program has it" if error.errno == errno.EADDRINUSE else (error.strerror or "unknown reason").lower()
        raise ListenError(f"Cannot listen on {host} port {port}: {told}.") from None
    sock.setblocking(False)
    return sock


async def serve(
    app: Callable[..., Awaitable[Any]],
    sock: socket.socket,
    *,
    ready: Callable[[int], None] | None = None,
    on_stop: Callable[[], None] | None = None,
    stop: asyncio.Event | None = None,
    signals: bool = True,
    tls: tuple[Path, Path] | None = None,
    stream_end_s: int = STREAM_END_S,
) -> None:
    """Serve on a socket from `listen` until SIGTERM, SIGINT or `stop`. Raises RuntimeError if the app does not start.

    `ready(port)` is called once it answers (systemd is told too); `on_stop()` right when stopping begins, for streams to end by
    themselves. `tls`: (certificate, key) in PEM.
    """
    port = sock.getsockname()[1]

    def when_ready() -> None:
        if ready:
            ready(port)
        notify("READY=1")

    server = _Server(_config(app, tls, stream_end_s), when_ready, on_stop, signals)
    helpers = [asyncio.create_task(_watchdog())]
    if stop is not None:
        helpers.append(asyncio.create_task(_stop_when(stop, server)))
    try:
        await server.serve(sockets=[sock])
    except SystemExit:
        raise RuntimeError("The app did not start; the log says why.") from None
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        sock.close()


def run(app: Callable[..., Awaitable[Any]], sock: socket.socket, **options: Any) -> None:
    """`serve` in a uvloop of its own; for main programs."""
    import uvloop

    told = options.pop("ready", None)

    def ready(port: int) -> None:
        # What start has made stays for good; requests make little that refers to itself.
        gc.freeze()
        gc.set_threshold(GARBAGE_AFTER)
        if told:
            told(port)

    options["ready"] = ready
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(app, sock, **options))


def _config(app: Any, tls: tuple[Path, Path] | None, stream_end_s: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # it would believe X-Forwarded-For of anybody on this machine; the web edge has its own rule
        backlog=BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=stream_end_s,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )


async def _stop_when(stop: asyncio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


def notify(state: str) -> bool:
    """Tell systemd ("READY=1", "WATCHDOG=1", "STATUS=…"); False if it did not start us."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or address[0] not in "/@":
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)  # a reader that has fallen behind must not stop the event loop
        sock.connect("\0" + address[1:] if address[0] == "@" else address)
        sock.send(state.encode())
        return True
    return False


async def _watchdog() -> None:
    """Says "alive" from the event loop itself at half the time systemd gives: a stuck loop is a stuck program."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or int(microseconds) == 0 or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(microseconds) / 2_000_000)
