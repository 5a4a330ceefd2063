"""Bookings over the API: make, read, list, cancel, withdraw, reschedule, extend, pass (X1, X2).

201 says confirmed, 202 asked of the facility and not yet answered, 200 a request that was made before. Check-in and no-show are the
facility's own facts (own-2) and are shown here, not made.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from litestar import Request, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from shared.bookings import shown
from shared.errors import refuse
from shared.model import Status
from shared.runtime.openapi import raises

from ...services.booking import Ask, Part
from ...services.changes import Cancelled, Once
from ...services.hub import Hub
from ...store.board import BookingFilter, Seen
from ..auth import SECURITY, needs
from ..refusals import BOOKING_CODES
from .asked import BookingIn, CancelIn, ExtendIn, RescheduleIn
from .common import REPEATABLE, hub_of, idempotency_key, key_of, made_id, read_cursor, write_cursor
from .told import BookingOut, BookingPage, CancelledOut, OrderOut, PassOut, RefundOut, booking_out
from .wire import (
    MOMENT_MARKS,
    CursorFilter,
    IdFilter,
    ReferenceFilter,
    ResourceFilter,
    SiteFilter,
    answer,
    hash_of,
    moment,
    parse_moment,
    part_of,
)

TAGS = ["Bookings"]
BASE = "/api/v1/bookings"
RETRY_AFTER_S = "2"
LOCATION = [ResponseHeader(name="Location", description="Where the booking is read.", documentation_only=True)]
ASKED = ResponseSpec(BookingOut, description="Asked of the facility, which has not answered yet. Read it again after Retry-After.")
AGAIN = ResponseSpec(BookingOut, description="This request was made before; this is its booking as it stands.")
ASKED_MANY = ResponseSpec(BookingOut | OrderOut, description=ASKED.description)
AGAIN_MANY = ResponseSpec(BookingOut | OrderOut, description=AGAIN.description)


def out(seen: Seen) -> BookingOut:
    return booking_out(seen, shown(seen.booking.status, seen.attendance.state if seen.attendance else ""))


@post(
    "/bookings", security=SECURITY, tags=TAGS, response_headers=LOCATION, responses={200: AGAIN_MANY, 202: ASKED_MANY},
    opt={**needs("bookings:write"), **REPEATABLE, **raises(*BOOKING_CODES)}, summary="Book",
)  # fmt: skip
async def book(request: Request, data: JSONBody[BookingIn]) -> Response[BookingOut | OrderOut]:
    """Book one bay, or several as one order.

    Confirmed at once where the hub sells; otherwise the facility is asked and answers within seconds, or by `answer_by`.
    """
    hub = hub_of(request)
    booked = await hub.bookings.book(_ask(request, data), hash_of(data))
    status = 202 if booked.waiting else 201 if booked.fresh else 200
    if len(booked.made) == 1:
        (seen,) = booked.made
        return _made(out(seen), status, f"{BASE}/{seen.booking.id}")
    order_id = booked.made[0].booking.order_id
    order = OrderOut(order_id=order_id, reference=booked.made[0].reference, bookings=[out(seen) for seen in booked.made])
    return _made(order, status, f"{BASE}?order_id={order_id}")


def _made(value: object, status: int, location: str) -> Response:
    if status == 202:
        return answer(value, 202, location=location, retry_after=RETRY_AFTER_S)
    return answer(value, status, location=location)


def _ask(request: Request, data: BookingIn) -> Ask:
    if (data.customer is None) == (data.customer_id is None):
        raise refuse("bad_request", "Say who comes: either customer (a name with a phone number or an e-mail address) or customer_id.")
    who = data.customer
    if who is not None and not who.phone and not who.email:
        raise refuse("bad_request", "Give the customer a phone number or an e-mail address.")
    if data.parts and data.quote:
        raise refuse("bad_request", "A quote keeps the price of one bay; several bays are priced when they are booked.")
    return Ask(
        parts=_parts(request, data), channel="api", customer_id=data.customer_id or "", name=who.name if who else "",
        phone=who.phone if who else "", email=who.email if who else "", guests=data.guests, code=data.code, quote=data.quote,
        notes=data.notes,
    )  # fmt: skip


def _parts(request: Request, data: BookingIn) -> tuple[Part, ...]:
    single = data.resource_id is not None or data.start is not None or data.end is not None
    if data.parts:
        if single or data.hold_id:
            raise refuse("bad_request", "Give either one bay (resource_id, start, end) or parts, not both.")
        if data.booking_id:
            raise refuse("bad_request", "Each of the parts has a booking_id of its own.")
        return tuple(part_of(part, made_id(request, part.booking_id, "booking_id", i)) for i, part in enumerate(data.parts))
    if data.resource_id is None or data.start is None or data.end is None:
        raise refuse("bad_request", "Give resource_id, start and end, or parts.")
    return (part_of(data, made_id(request, data.booking_id, "booking_id")),)


@get("/bookings", security=SECURITY, tags=TAGS, opt=needs("bookings:read"), summary="List bookings")
async def listed(
    request: Request,
    site_id: SiteFilter = None,
    resource_id: ResourceFilter = None,
    customer_id: IdFilter = None,
    order_id: IdFilter = None,
    reference: ReferenceFilter = None,
    status: FromQuery[Status | None] = None,
    start_from: Annotated[str | None, QueryParameter(name="from", description="Bookings that end after it.", **MOMENT_MARKS)] = None,
    start_to: Annotated[str | None, QueryParameter(name="to", description="Bookings that start before it.", **MOMENT_MARKS)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
    cursor: CursorFilter = None,
) -> Response[BookingPage]:
    """Bookings in order of start. `next_cursor` leads to the next page; it stays good while bookings come and go."""
    hub = hub_of(request)
    first, row_id = read_cursor(cursor) if cursor else (0, "")
    wanted = BookingFilter(
        site_id=site_id or "", resource_id=resource_id or "", customer_id=customer_id or "", order_id=order_id or "",
        reference=(reference or "").upper(), status=status or "", from_slot=_slot(start_from, up=False), to_slot=_slot(start_to, up=True),
        after_first=first, after_id=row_id,
    )  # fmt: skip
    found = hub.board.bookings(wanted, limit)
    last = found[-1] if len(found) == limit else None
    page = BookingPage(
        bookings=[out(seen) for seen in hub.board.see(found)], next_cursor=write_cursor(last.start, last.id) if last else None
    )
    return answer(page)


def _slot(text: str | None, *, up: bool) -> int:
    """The slot of a filter's moment, within the years that are kept; 0 without one."""
    if text is None:
        return 0
    at = min(max(parse_moment(text), datetime(2020, 1, 1, tzinfo=UTC)), datetime(2100, 1, 1, tzinfo=UTC))
    return int((at + timedelta(seconds=899 if up else 0)).timestamp()) // 900


@get("/bookings/{booking_id:str}", security=SECURITY, tags=TAGS, opt={**needs("bookings:read"), **raises("booking_not_found")})
async def read(request: Request, booking_id: FromPath[str]) -> Response[BookingOut]:
    """Read one booking."""
    return answer(out(_seen(hub_of(request), booking_id)))


def _seen(hub: Hub, booking_id: str) -> Seen:
    found = hub.board.booking(booking_id)
    if found is None:
        raise refuse("booking_not_found", "This booking is not known.")
    (seen,) = hub.board.see([found])
    return seen


CANCEL_CODES = ("booking_not_found", "already_cancelled", "already_checked_in", "illegal_move", "id_reused", "declined")
UNANSWERED = ResponseSpec(CancelledOut, description="The facility has not answered yet. Read the booking again after Retry-After.")


@post(
    "/bookings/{booking_id:str}/cancel", status_code=200, security=SECURITY, tags=TAGS, responses={202: UNANSWERED},
    opt={**needs("bookings:write"), **REPEATABLE, **raises(*CANCEL_CODES)}, summary="Cancel",
)  # fmt: skip
async def cancel(request: Request, booking_id: FromPath[str], data: JSONBody[CancelIn]) -> Response[CancelledOut]:
    """Give a booking up. With an Idempotency-Key a retry gets the same answer; without one, the second says `already_cancelled`."""
    done = await hub_of(request).changes.cancel(
        booking_id, by=key_of(request).id, reason=data.reason, once=_once(request, "cancel", booking_id, data)
    )
    return _cancelled(done)


@post(
    "/bookings/{booking_id:str}/withdraw", status_code=200, security=SECURITY, tags=TAGS, responses={202: UNANSWERED},
    opt={**needs("bookings:write"), **REPEATABLE, **raises(*CANCEL_CODES)}, summary="Withdraw a request",
)  # fmt: skip
async def withdraw(request: Request, booking_id: FromPath[str], data: JSONBody[CancelIn]) -> Response[CancelledOut]:
    """Take back a booking that the facility has not answered yet: it is freed without fee."""
    done = await hub_of(request).changes.cancel(
        booking_id, by=key_of(request).id, reason=data.reason, once=_once(request, "withdraw", booking_id, data), only_asked=True
    )
    return _cancelled(done)


def _once(request: Request, what: str, booking_id: str, data: CancelIn) -> Once | None:
    key = idempotency_key(request)
    return Once(key_of(request).id, key, hash_of(what, booking_id, data)) if key else None


def _cancelled(done: Cancelled) -> Response:
    refund = RefundOut(cents=done.refund.cents, kept_cents=done.refund.kept_cents, rule=done.refund.rule)
    value = CancelledOut(outcome=done.outcome, refund=refund, booking=out(done.seen))
    return answer(value) if done.outcome == "cancelled" else answer(value, 202, retry_after=RETRY_AFTER_S)


@post(
    "/bookings/{booking_id:str}/reschedule", security=SECURITY, tags=TAGS, response_headers=LOCATION, responses={200: AGAIN, 202: ASKED},
    opt={**needs("bookings:write"), **REPEATABLE, **raises(*BOOKING_CODES, "booking_not_found", "already_cancelled", "already_checked_in", "illegal_move",
                                             "reschedule_limit")}, summary="Reschedule",
)  # fmt: skip
async def reschedule(request: Request, booking_id: FromPath[str], data: JSONBody[RescheduleIn]) -> Response[BookingOut]:
    """Another time or bay, here or at another facility. The new booking takes the old one's place; refused, nothing has changed."""
    part = part_of(data, made_id(request, data.booking_id, "booking_id"))
    seen, fresh = await hub_of(request).changes.reschedule(
        booking_id, part, channel="api", code=data.code, quote=data.quote, body_hash=hash_of(booking_id, data)
    )
    return _moved(seen, fresh)


@post(
    "/bookings/{booking_id:str}/extend", security=SECURITY, tags=TAGS, response_headers=LOCATION, responses={200: AGAIN, 202: ASKED},
    opt={**needs("bookings:write"), **REPEATABLE, **raises(*BOOKING_CODES, "booking_not_found", "already_cancelled", "illegal_move")}, summary="Extend",
)  # fmt: skip
async def extend(request: Request, booking_id: FromPath[str], data: JSONBody[ExtendIn]) -> Response[BookingOut]:
    """The same bay for longer: a new booking of the whole time takes the old one's place."""
    new_id = made_id(request, data.booking_id, "booking_id")
    seen, fresh = await hub_of(request).changes.extend(booking_id, new_id, data.minutes, channel="api", body_hash=hash_of(booking_id, data))
    return _moved(seen, fresh)


def _moved(seen: Seen, fresh: bool) -> Response:
    status = 202 if seen.booking.status in ("requested", "pending") else 201 if fresh else 200
    return _made(out(seen), status, f"{BASE}/{seen.booking.id}")


PASS_CODES = ("booking_not_found", "illegal_move", "pass_expired", "site_unreachable")


@get("/bookings/{booking_id:str}/pass", security=SECURITY, tags=TAGS, opt={**needs("bookings:read"), **raises(*PASS_CODES)}, summary="Pass")
async def read_pass(request: Request, booking_id: FromPath[str]) -> Response[PassOut]:
    """The signed pass that opens the door, also where the facility has not heard of the booking yet."""
    hub = hub_of(request)
    made = hub.passes.of(hub.board.told(hub.board.booking(booking_id)))
    return answer(
        PassOut(
            booking_id=booking_id, token=made.token, pin=made.booking.door_pin, qr_url=f"{BASE}/{booking_id}/pass.svg",
            opens_at=moment(made.opens_at), closes_at=moment(made.closes_at), shown_until=moment(made.shown_until_at),
        )
    )  # fmt: skip


@get(
    "/bookings/{booking_id:str}/pass.svg", security=SECURITY, tags=TAGS, media_type="image/svg+xml",
    opt={**needs("bookings:read"), **raises(*PASS_CODES)}, summary="Pass as a QR picture",
)  # fmt: skip
async def read_pass_picture(request: Request, booking_id: FromPath[str]) -> Response[str]:
    """The pass as an SVG."""
    hub = hub_of(request)
    return Response(hub.passes.image(hub.board.told(hub.board.booking(booking_id))), media_type="image/svg+xml")


HANDLERS = [book, listed, read, cancel, withdraw, reschedule, extend, read_pass, read_pass_picture]
