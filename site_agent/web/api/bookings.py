"""Prices, holds, bookings and their changes."""

from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from shared.model import Price
from shared.runtime.openapi import raises
from shared.runtime.problems import bad_request
from site_agent.services.booking import Ask, Outcome
from site_agent.services.views import BookingView, HoldView, iso
from site_agent.web import bodies
from site_agent.web.api.common import ANY, KIOSK_SCHEME, SALE, STAFF_SCHEME, STOPPED, TIMES, DayQuery, outcome
from site_agent.web.auth import asker_of, kit_of, needs
from site_agent.web.problems import SuggestionShown, suggested


class PriceAnswer(msgspec.Struct, frozen=True):
    """A price with the promise to keep it until `valid_until`; `violations` say what speaks against booking it now, `suggestions` then what does
    not."""

    price: Price
    quote: str
    valid_until: str
    violations: list[dict[str, str]]
    suggestions: list[SuggestionShown]


def _ask(body: bodies.TimeBody, **more: Any) -> Ask:
    interval = bodies.interval(body)
    names = ("name", "phone", "email", "customer_id", "guests", "code", "quote", "hold_id", "notes", "override_reason")
    said = {name: getattr(body, name) for name in names if hasattr(body, name)}
    return Ask(
        **{"booking_id": getattr(body, "booking_id", ""), **said, **more},
        resource_id=body.resource_id,
        start=interval.start,
        end=interval.end,
    )


@post("/quotes", status_code=200, tags=["Bookings"], guards=[needs("book", "kiosk")], security=KIOSK_SCHEME, opt=raises(*TIMES))
async def quote(request: Request, data: JSONBody[bodies.QuoteBody]) -> PriceAnswer:
    """The price, kept for 15 minutes by either side."""
    found = kit_of(request).bookings.quote(_ask(data), asker_of(request))
    violations = [{"rule": one.rule, "code": one.code, "detail": one.detail} for one in found.violations]
    return PriceAnswer(
        found.price,
        found.tokens[0] if found.tokens else "",
        iso(found.valid_until),
        violations,
        [suggested(way) for way in found.suggestions],
    )


@post(
    "/holds", status_code=201, tags=["Bookings"], guards=[needs("book", "kiosk")], security=KIOSK_SCHEME,
    opt=raises(*TIMES, "slot_taken", "id_reused", "hub_unreachable", *STOPPED),
)  # fmt: skip
async def hold(request: Request, data: JSONBody[bodies.HoldBody]) -> HoldView:
    """Keep a time for ten minutes while the guest decides."""
    return await kit_of(request).bookings.hold(data.hold_id, data.resource_id, bodies.interval(data))


@post(
    "/holds/{hold_id:str}/extend", status_code=200, tags=["Bookings"], guards=[needs("book", "kiosk")], security=KIOSK_SCHEME,
    opt=raises("hold_not_found", "hold_ended"),
)  # fmt: skip
async def prolong(request: Request, hold_id: FromPath[str]) -> HoldView:
    """Ten minutes more, once."""
    return await kit_of(request).bookings.prolong(hold_id)


@delete("/holds/{hold_id:str}", tags=["Bookings"], guards=[needs("book", "kiosk")], security=KIOSK_SCHEME)
async def drop_hold(request: Request, hold_id: FromPath[str]) -> None:
    """Let the time go. Unknown or ended holds change nothing."""
    await kit_of(request).bookings.drop(hold_id)


@post("/bookings", status_code=201, tags=["Bookings"], guards=[needs("book", "kiosk")], security=KIOSK_SCHEME, opt=raises(*SALE))
async def book(request: Request, data: JSONBody[bodies.BookingBody]) -> Response[Outcome]:
    """Book one bay. 201 when confirmed, 202 while the booking centre is asked. The same id and body again give the same answer."""
    if not data.customer_id and not data.name.strip():
        raise bad_request("A booking needs a name, or the id of a known customer.")
    return outcome(await kit_of(request).bookings.book(_ask(data), asker_of(request)), made=True)


@get("/bookings", tags=["Bookings"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False)
def bookings_of_day(request: Request, on: DayQuery) -> list[BookingView]:
    """The bookings of a day; a kiosk sees initials only."""
    return kit_of(request).bookings.of_day(bodies.day(on), asker_of(request))


@get(
    "/bookings/{booking_id:str}", tags=["Bookings"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False,
    opt=raises("booking_not_found"),
)  # fmt: skip
def read_booking(request: Request, booking_id: FromPath[str]) -> BookingView:
    """One booking with its pass. A kiosk reads only what it sold in the last half hour."""
    return kit_of(request).bookings.read(booking_id, asker_of(request))


@post(
    "/bookings/{booking_id:str}/cancel", status_code=200, tags=["Bookings"], guards=[needs("book")], security=STAFF_SCHEME,
    opt=raises("booking_not_found", "already_cancelled", "already_checked_in", "illegal_move"),
)  # fmt: skip
async def cancel(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.ReasonBody]) -> Response[Outcome]:
    """Cancel. 202 while the booking centre, whose booking it is, has not answered."""
    return outcome(await kit_of(request).bookings.cancel(booking_id, data.reason, asker_of(request)), made=False)


@post(
    "/bookings/{booking_id:str}/reschedule", status_code=201, tags=["Bookings"], guards=[needs("book")], security=STAFF_SCHEME,
    opt=raises(*SALE, "booking_not_found", "illegal_move", "reschedule_limit"),
)  # fmt: skip
async def reschedule(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.MoveBody]) -> Response[Outcome]:
    """Move to another time or bay, as a new booking of the same order; the old one is given up when the new one stands."""
    return outcome(await kit_of(request).bookings.reschedule(booking_id, _ask(data), asker_of(request)), made=True)


@post(
    "/bookings/{booking_id:str}/extend", status_code=201, tags=["Bookings"], guards=[needs("book")], security=STAFF_SCHEME,
    opt=raises(*SALE, "booking_not_found", "illegal_move"),
)  # fmt: skip
async def extend(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.ExtendBody]) -> Response[Outcome]:
    """Stay longer in the same bay."""
    return outcome(await kit_of(request).bookings.extend(booking_id, data.booking_id, data.minutes, asker_of(request)), made=True)


HANDLERS = (quote, hold, prolong, drop_hold, book, bookings_of_day, read_booking, cancel, reschedule, extend)
