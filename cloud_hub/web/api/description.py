"""The API's own description (OpenAPI 3.1), as JSON and as a page that loads nothing from elsewhere."""

from importlib import metadata

from litestar.openapi.spec import SecurityScheme, Tag

from shared.runtime.openapi import ApiDescription

from ..refusals import CATALOGUE

ABOUT = """Bookings of all facilities.

Ids are made by you: send the same id and body again after a lost answer, and you get the same booking and never a second one. A POST without
an id of yours needs an `Idempotency-Key` header. Refusals are problem documents (RFC 9457): go by `code`, show `detail`, offer `suggestions`.
Times need an offset; answers are in UTC. `503` alone means that we cannot serve, and comes with `Retry-After`."""


def describe(css_url: str) -> ApiDescription:
    """`css_url`: the address of the page's style sheet."""
    return ApiDescription(
        "ClubOS Booking",
        version(),
        ABOUT,
        css_url=css_url,
        catalogue=CATALOGUE,
        security={"api_key": SecurityScheme(type="http", scheme="bearer", description="An API key: `cloud-hub key create`.")},
        tags=[Tag("Availability and prices"), Tag("Bookings"), Tag("Holds"), Tag("Blackouts"), Tag("Sites"), Tag("Customers")],
    )


def version() -> str:
    try:
        return metadata.version("clubos-booking")
    except metadata.PackageNotFoundError:
        return "0"
