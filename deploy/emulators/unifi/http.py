"""A request of the controller's API with its body decoded, and an answer.

Not for: routes. Invariant: what does not fit is an ApiError.
"""

from typing import TypeVar
from urllib.parse import parse_qs

import msgspec

from deploy.emulators.common.http import Receive, Scope, Send, headers_of, read_body, send_answer
from deploy.emulators.unifi.envelope import ApiError

PAGE_SIZE_MAX = 1000

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


async def read_request(scope: Scope, receive: Receive) -> Request:
    """The whole request; BodyTooLarge beyond BODY_MAX, ConnectionError when the client left."""
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return Request(scope["method"], scope["path"], query, headers_of(scope), await read_body(receive))


async def send_response(send: Send, response: Response) -> None:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers]
    await send_answer(send, response.status, response.content_type, response.body, (("x-content-type-options", "nosniff"), *headers))
