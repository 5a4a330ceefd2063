"""The answers of the API, and how the books become them."""

from datetime import datetime
from typing import Literal

import msgspec

from shared.errors import SuggestedPart, Suggestion
from shared.model import Attendance, Block, Hold, NoticeLevel, Price, Resource, Shown, Status

from ...store.board import Seen
from .wire import moment, moment_or_none


class OvertimeOut(msgspec.Struct, kw_only=True):
    """Time used after the end (B21), as the facility noted it: `cents` with tax, which nobody has taken; `waived` with the staff's reason, else null."""

    minutes: int
    cents: int
    waived: str | None


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
    overtime: OvertimeOut | None


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


class PlaceOut(msgspec.Struct, kw_only=True):
    resource_id: str
    start: datetime
    end: datetime


class WayOut(msgspec.Struct, kw_only=True):
    """What could be had instead, at its whole price. For several bays `parts` names each, in the order in which they were asked for."""

    resource_id: str
    start: datetime
    end: datetime
    total_cents: int
    currency: str
    instant: bool
    parts: list[PlaceOut]


class QuoteOut(msgspec.Struct, kw_only=True):
    """`quote` keeps the price until `valid_until` (P5); send it with the booking. Empty for several bays. `suggestions`: the nearest that could
    be had, where a rule stands against it."""

    price: Price
    parts: list[PartPrice]
    quote: str
    valid_until: datetime
    violations: list[RuleOut]
    suggestions: list[WayOut]


class CheckOut(msgspec.Struct, kw_only=True):
    """`how`: `instant`, `ask_site`, `unreachable`, `taken`, or `refused` (see `violations`). `available`: it could be booked now; otherwise
    `suggestions` says what could be."""

    available: bool
    how: str
    price: Price
    violations: list[RuleOut]
    suggestions: list[WayOut]


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


class OpenOut(msgspec.Struct, kw_only=True):
    """What came of asking for the door. `outcome`: `opened`, `silent` (asked, and its controller has not answered), `failed` (not reached), `none`
    (this booking opens no door), `refused` (not let in now, `code` says why), `late` (the facility heard too late), `asked` (no answer yet)."""

    open_id: str
    booking_id: str
    outcome: Literal["opened", "silent", "failed", "none", "refused", "late", "asked"]
    code: str
    detail: str


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


class RuleHitsOut(msgspec.Struct, kw_only=True):
    """How often one rule was named to a customer in refusals of one facility, on one channel, in the last 400 days."""

    site_id: str
    rule: str
    code: str
    channel: str
    hits: int
    last_at: datetime


class RuleHitsList(msgspec.Struct, kw_only=True):
    """The most frequent first. `customer_id`: who they are now, after merges."""

    customer_id: str
    rule_hits: list[RuleHitsOut]


class NoticeOut(msgspec.Struct, kw_only=True):
    """What guests of the facility must know until then. `text_fr` is empty where nobody wrote it in French."""

    id: str
    level: NoticeLevel
    text: str
    text_fr: str
    since: datetime
    until: datetime


class SiteOut(msgspec.Struct, kw_only=True):
    """A site and its link. `possible_loss`: sales that only the hub's own machine holds.

    `recovery`: how the repair of the hub's books for this site stands; `unvouched`: it waits for a person's word that the old hub is off.

    `hub_sells_from`: per bay, from when on the hub sells at once; before that the site is asked. `notices`: what guests must know now, the most
    urgent first."""

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
    recovery: Literal["sound", "fenced", "repairing", "retired"]
    unvouched: bool
    unknown_messages: int
    possible_loss: int
    possible_loss_since: datetime | None
    hub_sells_from: dict[str, datetime]
    notices: list[NoticeOut]


class SatisfactionOut(msgspec.Struct, kw_only=True):
    """The answers of the last `days`: how many, their mean from 1 (worst) to 5, and the share of 4 and 5 from 0 to 1; null where nobody has
    answered."""

    site_id: str
    days: int
    answers: int
    mean: float | None
    good_share: float | None


class SiteList(msgspec.Struct, kw_only=True):
    sites: list[SiteOut]


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
        pin=b.door_pin if b.status in ("confirmed", "cancelling") else "",
        price=b.price,
        changes=b.changes,
        replaces=b.replaces,
        replaced_by=b.replaced_by,
        reason=b.reason,
        answer_by=moment_or_none(b.answer_by),
        created_at=moment(b.created_at),
        version=b.version,
        overtime=_overtime(seen.attendance),
    )


def _overtime(a: Attendance | None) -> OvertimeOut | None:
    return (
        OvertimeOut(minutes=a.overtime_min, cents=a.overtime_cents, waived=a.waived or None) if a is not None and a.overtime_min else None
    )


def way_out(way: Suggestion) -> WayOut:
    return WayOut(
        resource_id=way.resource_id,
        start=moment(way.start_at),
        end=moment(way.end_at),
        total_cents=way.total_cents,
        currency=way.currency,
        instant=way.instant,
        parts=[_place_out(part) for part in way.parts],
    )


def _place_out(part: SuggestedPart) -> PlaceOut:
    return PlaceOut(resource_id=part.resource_id, start=moment(part.start_at), end=moment(part.end_at))


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
