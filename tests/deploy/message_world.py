"""For tests of the emulated message vendors: one that hears their webhooks, and the vendors started on free ports."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from deploy.emulators.message_vendors import MessageVendors
from deploy.emulators.messages.vendors import Settings
from deploy.emulators.messages.wire import Listener
from shared.runtime.clock import Clock

GUEST = "+19025550123"
GUEST_MAIL = "testa.birdie@example.test"


class Heard(msgspec.Struct, frozen=True):
    """One webhook as it arrived; header names are lower-case."""

    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def events(self) -> list[dict[str, Any]]:
        return msgspec.json.decode(self.body)


class Ear:
    """A web server that keeps what it hears. `answers` are (status, media type, body) for the next requests, else 204."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[tuple[int, str, bytes]] = []
        self.listener = Listener(self, "127.0.0.1")

    @property
    def url(self) -> str:
        return self.listener.url

    async def __call__(self, scope, receive, send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self.heard.append(Heard(scope["path"], scope["query_string"].decode(), headers, body))
        status, media, answer = self.answers.pop(0) if self.answers else (204, "text/plain", b"")
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", media.encode())]})
        await send({"type": "http.response.body", "body": answer})

    def states(self) -> list[str]:
        """What Twilio's receipts said, in the order they came."""
        return [one.form["MessageStatus"] for one in self.heard if "MessageStatus" in one.form]

    def events(self) -> list[dict[str, Any]]:
        """SendGrid's events of every batch, in the order they came."""
        return [event for one in self.heard for event in one.events]


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Ear]:
    ear = Ear()
    await ear.listener.come_back()
    try:
        yield ear
    finally:
        await ear.listener.go_down()


@contextlib.asynccontextmanager
async def running(settings: Settings | None = None, clock: Clock | None = None, **more: Any) -> AsyncIterator[MessageVendors]:
    vendors = MessageVendors(settings, clock=clock, **more)
    await vendors.start()
    try:
        yield vendors
    finally:
        await vendors.stop()
