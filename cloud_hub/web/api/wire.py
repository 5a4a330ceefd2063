"""The words of the API: how ids, moments and names may come in, and the small steps between them and the books.

Times are ISO 8601: answers are in UTC (`2026-11-21T18:00:00Z`), requests may carry any offset but must carry one. Money is integer cents.
"""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Response
from litestar.params import QueryParameter
from msgspec import Meta

from shared.errors import refuse
from shared.model import FIRST_SLOT, ID_PATTERN, LAST_SLOT, RESOURCE_PATTERN, SITE_PATTERN
from shared.runtime.problems import bad_request

from ...services.booking import Part

Id = Annotated[str, Meta(pattern=ID_PATTERN, max_length=64, description="Made by the client; a UUID is fine.")]
ResourceId = Annotated[str, Meta(pattern=RESOURCE_PATTERN, max_length=65, description="`<site>.<bay>`", examples=["bedford.box-1"])]
Moment = Annotated[datetime, Meta(tz=True, description="ISO 8601 with an offset, on a quarter hour.")]
Name = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
Phone = Annotated[str, Meta(max_length=24, pattern=r"^(\+?[0-9][0-9 ().-]{6,22})?$(?!\n)", examples=["902-555-0100"])]
# Named one by one, since not every reader of the schema takes the same characters for white space.
_MAIL = r"[^@\s\x00-\x20\x7f-\xa0\ufeff]"
Email = Annotated[str, Meta(max_length=254, pattern=rf"^({_MAIL}+@{_MAIL}+\.[^@.\s\x00-\x20\x7f-\xa0\ufeff]+)?$(?!\n)")]
Code = Annotated[str, Meta(max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
Text = Annotated[str, Meta(max_length=500)]
QuoteToken = Annotated[str, Meta(max_length=4096)]
Guests = Annotated[int, Meta(ge=1, le=200)]
PARTS_MAX = 12

# The same in an address, where the framework reads its own marks and not msgspec's.

SiteQuery = Annotated[str, QueryParameter(pattern=SITE_PATTERN)]
SiteFilter = Annotated[str | None, QueryParameter(pattern=SITE_PATTERN)]
ResourceQuery = Annotated[str, QueryParameter(pattern=RESOURCE_PATTERN)]
ResourceFilter = Annotated[str | None, QueryParameter(pattern=RESOURCE_PATTERN)]
IdFilter = Annotated[str | None, QueryParameter(pattern=ID_PATTERN)]
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})$(?!\n)"
MOMENT_MARKS = {"pattern": _MOMENT, "schema_extra": {"format": "date-time"}}
MomentQuery = Annotated[str, QueryParameter(**MOMENT_MARKS)]
ReferenceFilter = Annotated[str | None, QueryParameter(pattern=r"^[0-9A-Za-z]{1,12}$(?!\n)")]
CursorFilter = Annotated[str | None, QueryParameter(max_length=200, description="`next_cursor` of the page before.")]

JSON = "application/json"
_encode = msgspec.json.Encoder().encode


def answer(value: Any, status: int = 200, **headers: str) -> Response:
    """A struct as JSON, encoded once. Header names are given with underscores."""
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(_encode(value), status_code=status, headers=given, media_type=JSON)


def parse_moment(text: str) -> datetime:
    """A moment in an address, which its pattern has let through; 400 for a day or an hour that there is not."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise bad_request("There is no such day or hour.") from None


def moment(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def moment_or_none(at: int) -> datetime | None:
    return datetime.fromtimestamp(at, UTC) if at else None


def slots_of(start: datetime, end: datetime) -> tuple[int, int]:
    """`[start, end)` in slots. Refuses `bad_interval` for times off the quarter hour or an end that is not after the start."""
    first, past = start.timestamp(), end.timestamp()
    if first % 900 or past % 900:
        raise refuse("bad_interval", "Start and end must lie on a quarter hour.")
    if past <= first:
        raise refuse("bad_interval", "The end must lie after the start.")
    if not FIRST_SLOT <= first // 900 <= past // 900 <= LAST_SLOT:
        raise refuse("bad_interval", "The time must lie between the years 2020 and 2100.")
    return int(first) // 900, int(past) // 900


def hash_of(*parts: Any) -> str:
    """What was asked, as 32 hex digits: the same content gives the same, however it was spelled."""
    return hashlib.sha256(_encode(parts)).hexdigest()[:32]


def id_from(key_id: str, idempotency_key: str, index: int = 0) -> str:
    """The id that an Idempotency-Key stands for: the same key of the same caller is the same booking."""
    return "ik-" + hashlib.sha256(f"{key_id}\0{idempotency_key}\0{index}".encode()).hexdigest()[:40]


def part_of(given: Any, booking_id: str) -> Part:
    start, end = slots_of(given.start, given.end)
    hold_id = getattr(given, "hold_id", None)
    return Part(booking_id=booking_id, resource_id=given.resource_id, start=start, end=end, hold_id=hold_id or "")
