"""The witness's own server: keeps rows that are signed for, gives them back, and nothing else (`cloud-hub witness`).

It has the key to tell the hub's requests from others; it never opens a row. Invariant: 204 is answered only when the rows are on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from shared.runtime import log

from ..services.witness_shelf import Shelf

BODY_MAX = 4 << 20
SIGNED = b"x-clubos-signature"
_log = log.get("witness")


class WitnessServer:
    """An ASGI app. `is_signed(method, path, body, signature)` tells whether a request is the hub's."""

    def __init__(self, shelf: Shelf, is_signed: Callable[[str, str, bytes, str], bool]):
        self._shelf, self._is_signed = shelf, is_signed
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            status, body = await self._answer(scope, receive)
            headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: dict[str, Any], receive: Callable) -> tuple[int, bytes]:
        method, path = scope["method"], scope["path"]
        if (method, path) == ("GET", "/health/live"):
            return 200, b'{"status":"live"}'
        body = await _body(receive)
        if body is None:
            return 413, b""
        given = dict(scope["headers"]).get(SIGNED, b"").decode("latin-1")
        if scope["query_string"] or not given.isascii() or not self._is_signed(method, path, body, given):
            return 401, b""
        if path != "/rows" or method not in ("GET", "POST"):
            return 404, b""
        try:
            async with self._one_at_a_time:
                if method == "GET":
                    return 200, await asyncio.to_thread(self._shelf.all)
                await asyncio.to_thread(self._shelf.keep, body)
                return 204, b""
        except msgspec.MsgspecError:
            return 400, b""
        except OSError as error:
            _log.error("witness.disk", error=error)
            return 507, b""


async def _body(receive: Callable) -> bytes | None:
    """The whole body; None where it is longer than anything we are sent."""
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if len(body) > BODY_MAX or event["type"] == "http.disconnect":
            return None
        if not event.get("more_body"):
            return body


async def _lifespan(receive: Callable, send: Callable) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
