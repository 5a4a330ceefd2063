"""The shapes of the API: what comes in, strictly, and what goes out. No behaviour beyond turning one into the other.

Times are ISO 8601: answers are in UTC (`2026-11-21T18:00:00Z`), requests may carry any offset but must carry one. Money is integer cents.
"""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Response
from msgspec import Meta

from shared.errors import refuse
from shared.model import ID_PATTERN, RESOURCE_PATTERN, SITE_PATTERN, Block, Hold, Price, Resource, Shown, Status

from ...services.booking import Part
from ...store.board import Seen

# `$` alone also matches before a line's end.
_WHOLE = r"(?!\n)"
Id = Annotated[str, Meta(pattern=ID_PATTERN + _WHOLE, max_length=64, description="Made by the client; a UUID is fine.")]
ResourceId = Annotated[str, Meta(pattern=RESOURCE_PATTERN + _WHOLE, max_length=65, description="`<site>.<bay>`", examples=["bedford.box-1"])]
SiteId = Annotated[str, Meta(pattern=SITE_PATTERN + _WHOLE, max_length=32, examples=["bedford"])]
Moment = Annotated[datetime, Meta(tz=True, description="ISO 8601 with an offset, on a quarter hour.")]
Name = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
Phone = Annotated[str, Meta(max_length=24, pattern=r"^(\+?[0-9][0-9 ().-]{6,22})?$(?!\n)", examples=["902-555-0100"])]
Email = Annotated[str, Meta(max_length=254, pattern=r"^([^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+\.[^@\s.\x00-\x1f\x7f]+)?$(?!\n)")]
Code = Annotated[str, Meta(max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
Text = Annotated[str, Meta(max_length=500)]
QuoteToken = Annotated[str, Meta(max_length=4096)]
Guests = Annotated[int, Meta(ge=1, le=200)]
PARTS_MAX = 12


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


class BookingOut(msgspec.Struct, kw_only=True):
    """A booking as it stands. `status` is its owner's word, `shown` what people see (with attendance), `displaced` a mark beside it.

    `requested`: asked of the facility, which answers by `answer_by`. `cancelling`: given up, and free once the facility has heard.
    """

    id: str
    order_id: str
    reference: str
    site_id: str
    resource_id: str
    resource: str
    start: datetime
    end: datetime
    status: Status
    shown: Shown
    displaced: bool
    customer_id: str
    name: str
    channel: str
    seller: str
    sale_no: int
    pin: str
    price: Price | None
    changes: int
    replaces: str
    replaced_by: str
    reason: str
    answer_by: datetime | None
    created_at: datetime
    version: int


class OrderOut(msgspec.Struct, kw_only=True):
    """Several bays booked as one."""

    order_id: str
    reference: str
    bookings: list[BookingOut]


class BookingPage(msgspec.Struct, kw_only=True):
    """`next_cursor` is null on the last page."""

    bookings: list[BookingOut]
    next_cursor: str | None


class RefundOut(msgspec.Struct, kw_only=True):
    """What comes back and what is kept (R8), judged when it was asked; due once the booking is `cancelled`."""

    cents: int
    kept_cents: int
    rule: str


class CancelledOut(msgspec.Struct, kw_only=True):
    """`outcome`: `cancelled`, `cancelling` (the facility must hear first) or `asked` (the facility decides)."""

    outcome: str
    refund: RefundOut
    booking: BookingOut


class HoldOut(msgspec.Struct, kw_only=True):
    """`status`: `held`, or `asked` while the facility has not answered. `expires_at` is null until then."""

    id: str
    resource_id: str
    start: datetime
    end: datetime
    status: str
    expires_at: datetime | None
    extended: bool


class PartPrice(msgspec.Struct, kw_only=True):
    resource_id: str
    start: datetime
    end: datetime
    price: Price


class RuleOut(msgspec.Struct, kw_only=True):
    """A rule that stands against it."""

    code: str
    rule: str
    message: str
    limit: str


class QuoteOut(msgspec.Struct, kw_only=True):
    """`quote` keeps the price until `valid_until` (P5); send it with the booking. Empty for several bays."""

    price: Price
    parts: list[PartPrice]
    quote: str
    valid_until: datetime
    violations: list[RuleOut]


class CheckOut(msgspec.Struct, kw_only=True):
    """`how`: `instant`, `ask_site`, `unreachable`, `taken`, or `refused` (see `violations`). `available`: it could be booked now."""

    available: bool
    how: str
    price: Price
    violations: list[RuleOut]


class BlockOut(msgspec.Struct, kw_only=True):
    """`status`: `asked` while the facility has not answered, then `active`, later `ended`."""

    id: str
    resource_id: str
    start: datetime
    end: datetime
    kind: str
    reason: str
    by: str
    status: str
    created_at: datetime


class BlockList(msgspec.Struct, kw_only=True):
    blackouts: list[BlockOut]


class ResourceOut(msgspec.Struct, kw_only=True):
    id: str
    site_id: str
    name: str
    kind: str
    make: str
    number: int
    features: list[str]
    capacity: int
    active: bool


class ResourceList(msgspec.Struct, kw_only=True):
    resources: list[ResourceOut]


class PassOut(msgspec.Struct, kw_only=True):
    """`token` is the text of the QR code; `qr_url` its picture (SVG), shown until `shown_until`."""

    booking_id: str
    token: str
    pin: str
    qr_url: str
    opens_at: datetime
    closes_at: datetime
    shown_until: datetime


class CustomerOut(msgspec.Struct, kw_only=True):
    id: str
    name: str
    phone: str
    email: str
    tier: str
    tags: list[str]
    bookings: int
    upcoming: int
    completed: int


class SiteOut(msgspec.Struct, kw_only=True):
    """A site and its link. `hub_sells_from`: per bay, from when on the hub sells at once; before that the site is asked."""

    id: str
    name: str
    link: str
    since: datetime | None
    heard_at: datetime | None
    rtt_s: float
    skew_s: float
    skew_shown: bool
    releasing: bool
    waiting_messages: int
    waiting_since: datetime | None
    stopped_because: str
    fenced_because: str
    unknown_messages: int
    hub_sells_from: dict[str, datetime]


class SiteList(msgspec.Struct, kw_only=True):
    sites: list[SiteOut]


JSON = "application/json"
_encode = msgspec.json.Encoder().encode


def answer(value: Any, status: int = 200, **headers: str) -> Response:
    """A struct as JSON, encoded once. Header names are given with underscores."""
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(_encode(value), status_code=status, headers=given, media_type=JSON)


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


def booking_out(seen: Seen, shown: Shown) -> BookingOut:
    b = seen.booking
    return BookingOut(
        id=b.id,
        order_id=b.order_id,
        reference=seen.reference,
        site_id=b.site_id,
        resource_id=b.resource_id,
        resource=seen.called,
        start=moment(b.start * 900),
        end=moment(b.end * 900),
        status=b.status,
        shown=shown,
        displaced=b.displaced,
        customer_id=b.customer_id,
        name=b.shown_name,
        channel=b.channel,
        seller=b.seller,
        sale_no=b.sale_no,
        pin=b.pin if b.status in ("confirmed", "cancelling") else "",
        price=b.price,
        changes=b.changes,
        replaces=b.replaces,
        replaced_by=b.replaced_by,
        reason=b.reason,
        answer_by=moment_or_none(b.answer_by),
        created_at=moment(b.created_at),
        version=b.version,
    )


def hold_out(h: Hold) -> HoldOut:
    return HoldOut(
        id=h.id,
        resource_id=h.resource_id,
        start=moment(h.start * 900),
        end=moment(h.end * 900),
        status=h.status,
        expires_at=moment_or_none(h.expires_at),
        extended=h.extended,
    )


def block_out(b: Block) -> BlockOut:
    return BlockOut(
        id=b.id,
        resource_id=b.resource_id,
        start=moment(b.start * 900),
        end=moment(b.end * 900),
        kind=b.kind,
        reason=b.reason,
        by=b.by,
        status=b.status,
        created_at=moment(b.created_at),
    )


def resource_out(r: Resource) -> ResourceOut:
    return ResourceOut(
        id=r.id,
        site_id=r.id.partition(".")[0],
        name=r.name,
        kind=r.kind,
        make=r.make,
        number=r.number,
        features=list(r.features),
        capacity=r.capacity,
        active=r.active,
    )
