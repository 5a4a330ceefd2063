"""The little HTTP that the emulator needs: read a request, decode its body, send an answer.

Not for: routes. Invariant: a body is read to its end before anything acts, and never beyond BODY_MAX bytes.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from deploy.emulators.unifi.envelope import ApiError

BODY_MAX = 1 << 20
PAGE_SIZE_MAX = 1000

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
T = TypeVar("T")


class Request(msgspec.Struct, frozen=True):
    """One request, its body complete; header names are lower-case."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def text(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from the query; ApiError when it is none or out of bounds."""
        given = self.text(name, str(default))
        if not given.isascii() or not given.isdigit() or len(given) > 9 or not low <= int(given) <= high:
            raise ApiError("CODE_PARAMS_INVALID", f"{name} must be a number from {low} to {high}.")
        return int(given)

    def page(self) -> tuple[int, int]:
        """page_num (from 1) and page_size."""
        return self.number("page_num", 1, 1, 1_000_000), self.number("page_size", 25, 1, PAGE_SIZE_MAX)

    def decode(self, kind: type[T]) -> T:
        """The JSON body as `kind`; an empty body counts as `{}`. ApiError when it does not fit."""
        try:
            return msgspec.json.decode(self.body or b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError("CODE_PARAMS_INVALID", f"The body is not what this call takes: {error}.") from error


class Response(msgspec.Struct, frozen=True):
    """One answer; `headers` are beside content type and length."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class BodyTooLarge(Exception):
    """The request's body passed BODY_MAX."""


async def read_request(scope: Scope, receive: Receive) -> Request:
    """The whole request; BodyTooLarge beyond BODY_MAX, ConnectionError when the client left."""
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
            break
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True),
        headers=headers_of(scope),
        body=b"".join(parts),
    )


def headers_of(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def send_response(send: Send, response: Response) -> None:
    headers = [
        (b"content-type", response.content_type.encode("latin-1")),
        (b"content-length", str(len(response.body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
