"""What every handler of the API needs: the services, who asks, and the id of a request that may be repeated."""

import base64
import binascii

from litestar import Request

from shared.errors import refuse
from shared.runtime.openapi import HeaderField, reads
from shared.runtime.problems import bad_request

from ...services.api_keys import ApiKey
from ...services.hub import Hub
from ..auth import KEY
from .wire import id_from

HUB = "hub"
IDEMPOTENCY_KEY_MAX = 200
CURSOR_MAX = 200
#: for the `opt` of whatever may be sent again
REPEATABLE = reads(
    HeaderField(
        "Idempotency-Key",
        "Yours, the same when you send the request again: it is then done once. Needed where the body has no id of yours.",
        f"^[\\x21-\\x7e]([\\x20-\\x7e]{{0,{IDEMPOTENCY_KEY_MAX - 2}}}[\\x21-\\x7e])?$",
    )
)


def hub_of(request: Request) -> Hub:
    """The services; `app` puts them into the application's state."""
    return request.app.state[HUB]


def key_of(request: Request) -> ApiKey:
    return request.scope[KEY]


def idempotency_key(request: Request) -> str:
    """The header's value, empty without one; 400 for one that is no plain text of 1 to 200 characters."""
    for name, value in request.scope["headers"]:
        if name == b"idempotency-key":
            text = value.decode("latin-1")
            if not 0 < len(text) <= IDEMPOTENCY_KEY_MAX or not text.isascii() or not text.isprintable():
                raise bad_request(f"An Idempotency-Key has 1 to {IDEMPOTENCY_KEY_MAX} plain ASCII characters.")
            return text
    return ""


def made_id(request: Request, given: str | None, field: str, index: int = 0) -> str:
    """The id that the client made, or the one that its Idempotency-Key stands for. Refuses a request with neither."""
    if given:
        return given
    key = idempotency_key(request)
    if not key:
        raise refuse("bad_request", f"Send a {field} of your own, or an Idempotency-Key header, so that a retry cannot do it twice.")
    return id_from(key_of(request).id, key, index)


def write_cursor(first: int, row_id: str) -> str:
    return base64.urlsafe_b64encode(f"{first}.{row_id}".encode()).rstrip(b"=").decode()


def read_cursor(text: str) -> tuple[int, str]:
    """`(first, id)` of the last row of the page before; 400 for a text that is no cursor of ours."""
    try:
        plain = base64.b64decode(text[:CURSOR_MAX].encode() + b"=" * (-len(text) % 4), b"-_", validate=True).decode()
        first, _, row_id = plain.partition(".")
        if not first.isascii() or not first.isdigit() or len(first) > 10 or not row_id:
            raise ValueError
        return int(first), row_id
    except (ValueError, binascii.Error):
        raise bad_request("This is not a cursor that was given here.") from None
