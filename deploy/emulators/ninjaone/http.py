"""A request of the emulated NinjaOne: its body decoded, its query read.

Not for: routes. Invariant: what does not fit is an ApiError.
"""

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from deploy.emulators.common.http import Receive, Scope, headers_of, read_body
from deploy.emulators.ninjaone.errors import ApiError, bad

T = TypeVar("T")


class Request(msgspec.Struct, frozen=True):
    """One request, its body complete; header names are lower-case; `path` without the prefix /api."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from the query. ApiError when it is none or out of bounds."""
        given = self.query.get(name, str(default))
        if not given.isascii() or not given.isdigit() or len(given) > 18 or not low <= int(given) <= high:
            raise bad(f"{name} must be a number from {low} to {high}.")
        return int(given)

    def id_of(self, name: str) -> str:
        """An activity's id from the query, empty if not given. ApiError for anything else: a time is none."""
        given = self.query.get(name, "")
        if given and not (given.isascii() and given.isdigit() and len(given) <= 18):
            raise bad(f"{name} is the id of an activity.")
        return given

    def decode(self, kind: type[T]) -> T:
        """The JSON body. ApiError where it does not fit; unknown keys are refused where the type says so."""
        if self.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise ApiError(415, "unsupported_media_type", "The body must be application/json.")
        try:
            return msgspec.json.decode(self.body or b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = str(error)
            raise bad(
                f"Unrecognized field {text.split('unknown field ')[1]}" if "unknown field" in text else f"Invalid body: {text}"
            ) from error

    def form(self) -> dict[str, str]:
        """A form's fields. ApiError for another kind of body."""
        if self.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            raise ApiError(415, "unsupported_media_type", "The body must be a form.")
        return dict(parse_qsl(self.body.decode("latin-1"), keep_blank_values=True))


async def read_request(scope: Scope, receive: Receive) -> Request:
    """The whole request; BodyTooLarge beyond BODY_MAX, ConnectionError when the client left."""
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    return Request(scope["method"], scope["path"], query, headers_of(scope), await read_body(receive))
