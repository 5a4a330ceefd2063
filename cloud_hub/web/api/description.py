"""The API's own description (OpenAPI 3.1), as JSON and as a page that loads nothing from elsewhere."""

from collections.abc import Callable
from importlib import metadata

from litestar.openapi.spec import SecurityScheme, Tag

from shared.runtime.openapi import ApiDescription
from shared.runtime.openapi_page import EXAMPLE_DAY

from ..refusals import CATALOGUE

ABOUT = """Bookings of all facilities.

Ids are made by you: send the same id and body again after a lost answer, and you get the same booking and never a second one. A POST without
an id of yours needs an `Idempotency-Key` header. Refusals are problem documents (RFC 9457): go by `code`, show `detail`, offer `suggestions`.
Times need an offset; answers are in UTC. `503` alone means that we cannot serve, and comes with `Retry-After`."""

_BAY, _OTHER_BAY, _THIRD_BAY = "bedford.box-1", "bedford.box-2", "bedford.box-3"
_BOOKING = "booking-0001-example"


def _time(resource_id: str = _BAY, begins: str = "18:00", ends: str = "19:00") -> dict[str, str]:
    return {"resource_id": resource_id, "start": f"{EXAMPLE_DAY}T{begins}:00Z", "end": f"{EXAMPLE_DAY}T{ends}:00Z"}


#: by field, parameter or shape: one booking on one evening, and what can be done beside it without standing in its way
EXAMPLES = {
    "site_id": "bedford",
    "resource_id": _BAY,
    "booking_id": _BOOKING,
    "hold_id": "hold-0001-example",
    "block_id": "block-0001-example",
    "customer_id": "$CUSTOMER_ID",
    "BookingIn": {"booking_id": _BOOKING, **_time(), "customer": {"name": "Testa Birdie", "phone": "902-555-0100"}, "guests": 2},
    "QuoteIn": {**_time(), "guests": 2},
    "CancelIn": {"reason": "The guest is ill."},
    "RescheduleIn": {"booking_id": "booking-0002-example", **_time(_BAY, "20:00", "21:00")},
    "ExtendIn": {"booking_id": "booking-0003-example", "minutes": 60},
    "OpenIn": {"open_id": "open-0001-example"},
    "HoldIn": {"hold_id": "hold-0001-example", **_time(_OTHER_BAY)},
    "BlockIn": {"block_id": "block-0001-example", **_time(_THIRD_BAY), "kind": "maintenance", "reason": "The screen is replaced."},
}


def describe(css_url: str, clock: Callable[[], float]) -> ApiDescription:
    """`css_url`: the address of the page's style sheet. `clock`: unix seconds; the examples are for the day after."""
    return ApiDescription(
        "ClubOS Booking",
        version(),
        ABOUT,
        css_url=css_url,
        catalogue=CATALOGUE,
        security={"api_key": SecurityScheme(type="http", scheme="bearer", description="An API key: `cloud-hub key create`.")},
        tags=[Tag("Availability and prices"), Tag("Bookings"), Tag("Holds"), Tag("Blackouts"), Tag("Sites"), Tag("Customers")],
        examples=EXAMPLES,
        clock=clock,
    )


def version() -> str:
    try:
        return metadata.version("clubos-booking")
    except metadata.PackageNotFoundError:
        return "0"
