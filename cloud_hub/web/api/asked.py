"""The bodies that the API takes. Strict: a field that is not known refuses the request."""

from typing import Annotated

import msgspec
from msgspec import Meta

from .wire import PARTS_MAX, Code, Email, Guests, Id, Moment, Name, Phone, QuoteToken, ResourceId, Text


class In(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: a field that is not known refuses the request."""


class PersonIn(In):
    """Who comes. Somebody known is found by phone or e-mail; at least one of them is needed."""

    name: Name
    phone: Phone = ""
    email: Email = ""


class PartIn(In):
    """One bay for one interval."""

    resource_id: ResourceId
    start: Moment
    end: Moment
    booking_id: Id | None = None
    hold_id: Id | None = None


class BookingIn(In):
    """One bay (`resource_id`, `start`, `end`), or several as one order (`parts`).

    `booking_id` is yours: keep it and send it again when you retry. Without it an `Idempotency-Key` header is needed, from which it is made.
    """

    booking_id: Id | None = None
    resource_id: ResourceId | None = None
    start: Moment | None = None
    end: Moment | None = None
    hold_id: Id | None = None
    parts: Annotated[tuple[PartIn, ...], Meta(max_length=PARTS_MAX)] = ()
    customer: PersonIn | None = None
    customer_id: Id | None = None
    guests: Guests = 1
    code: Code = ""
    quote: QuoteToken = ""
    notes: Text = ""


class QuoteIn(In):
    """What to price: one bay, or several as one order. A signed quote is given for one bay."""

    resource_id: ResourceId | None = None
    start: Moment | None = None
    end: Moment | None = None
    parts: Annotated[tuple[PartIn, ...], Meta(max_length=PARTS_MAX)] = ()
    customer_id: Id | None = None
    guests: Guests = 1
    code: Code = ""


class CancelIn(In):
    reason: Text = ""


class RescheduleIn(In):
    """Where and when instead. `booking_id` is the new booking's, made by you, as for a booking."""

    resource_id: ResourceId
    start: Moment
    end: Moment
    booking_id: Id | None = None
    hold_id: Id | None = None
    code: Code = ""
    quote: QuoteToken = ""


class ExtendIn(In):
    """`minutes` more in the same bay. `booking_id` is the new booking's, made by you."""

    minutes: Annotated[int, Meta(ge=15, le=1440, multiple_of=15)]
    booking_id: Id | None = None


class OpenIn(In):
    """One press. `open_id` is yours, the same when you retry: it is then one pulse at the door."""

    open_id: Id | None = None


class HoldIn(In):
    resource_id: ResourceId
    start: Moment
    end: Moment
    hold_id: Id | None = None


class BlockIn(In):
    resource_id: ResourceId
    start: Moment
    end: Moment
    kind: Annotated[str, Meta(pattern="^(maintenance|training|private_event|blocked)$(?!\n)")] = "blocked"
    reason: Text = ""
    block_id: Id | None = None
