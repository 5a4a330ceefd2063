"""The little HTTP that an emulator needs: a request's body and headers, and an answer sent.

Not for: routes. Invariant: a body is read to its end before anything acts, and never beyond BODY_MAX bytes.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

BODY_MAX = 1 << 20

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class BodyTooLarge(Exception):
    """The request's body passed BODY_MAX."""


async def read_body(receive: Receive) -> bytes:
    """The whole body; BodyTooLarge beyond BODY_MAX, ConnectionError when the client left."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("The client left before its request was complete.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_MAX:
            raise BodyTooLarge
        if not message.get("more_body"):
            return b"".join(parts)


def headers_of(scope: Scope) -> dict[str, str]:
    """Their names lower-case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def send_answer(send: Send, status: int, media: str, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> None:
    """`headers` are beside content type and length, of which an answer without content (204) has neither."""
    own = [] if status == 204 else [("content-type", media), ("content-length", str(len(body)))]
    told = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (*own, *headers)]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})
