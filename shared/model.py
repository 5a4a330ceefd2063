"""The nouns that both sides agree on: values without behaviour beyond arithmetic on themselves. No clock, no I/O.

Times on the grid are slots (`slot = unix_seconds // 900`, see `slots`), half-open `[start, end)`; other times are UTC unix seconds and
end in `_at`; money is integer cents. Structs are frozen: a change is a new value (`msgspec.structs.replace`). Every struct that travels
on the link or rests in a document ignores unknown fields, so that an older peer can read what a newer one writes.
"""

from __future__ import annotations

from typing import Literal, NewType

import msgspec

SiteId = NewType("SiteId", str)
ResourceId = NewType("ResourceId", str)
BookingId = NewType("BookingId", str)
OrderId = NewType("OrderId", str)
CustomerId = NewType("CustomerId", str)
HoldId = NewType("HoldId", str)
BlockId = NewType("BlockId", str)
Slot = NewType("Slot", int)

#: (`$` alone also matches before a closing line break, hence `(?!\n)`)
#: client-made ids: long enough not to collide, safe in a path, a topic and a log line
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{7,63}$(?!\n)"
#: a site's id names its topic tree; a resource's id is `<site>.<name>` and so can never belong to two sites
SITE_PATTERN = r"^[a-z0-9][a-z0-9-]{1,31}$(?!\n)"
RESOURCE_PATTERN = r"^[a-z0-9][a-z0-9-]{1,31}\.[a-z0-9][a-z0-9-]{0,31}$(?!\n)"

#: 1 Jan 2020 and 1 Jan 2100 in slots: an interval outside is a mistake, not a booking
FIRST_SLOT, LAST_SLOT = 1577836800 // 900, 4102444800 // 900

Side = Literal["site", "hub"]
Channel = Literal["web", "kiosk", "staff", "api", "clubos"]
#: what the owner of a booking says of it (own-1). Attendance is a document of the site's own (own-2).
Status = Literal["requested", "pending", "confirmed", "declined", "cancelling", "cancelled", "expired"]
Attended = Literal["", "checked_in", "completed", "no_show"]
#: what people see: both together (`bookings.shown`)
Shown = Literal["held", "requested", "confirmed", "checked_in", "completed", "declined", "cancelling", "cancelled", "no_show", "expired"]


def site_of(resource_id: str) -> str:
    """The site that a resource belongs to: the part of its id before the dot."""
    return resource_id.partition(".")[0]


class Frozen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the values below."""


class Interval(msgspec.Struct, frozen=True, order=True):
    """Half-open `[start, end)` in slots."""

    start: int
    end: int

    def overlaps(self, other: Interval) -> bool:
        return self.start < other.end and other.start < self.end

    def __len__(self) -> int:
        return self.end - self.start


class PriceLine(Frozen):
    """One line of a price. `code` is stable (`rate`, `demand`, `member`, `promo`, `duration`, `fee`, `tax`), `label` is for people."""

    code: str
    label: str
    cents: int
    minutes: int = 0


class Price(Frozen):
    """Lines that add up to `total_cents` exactly; ISO 4217 currency."""

    currency: str
    total_cents: int
    lines: tuple[PriceLine, ...] = ()


class Customer(Frozen):
    """What a site needs of a customer (own-6): the name as shown, a contact for look-up, and what the rules ask for."""

    id: str
    name: str
    phone: str = ""
    email: str = ""
    tier: str = ""
    tags: tuple[str, ...] = ()
    completed: int = 0
    restrictions: tuple[Restriction, ...] = ()
    version: int = 1


class Restriction(Frozen):
    """R9: `kind` is `ban`, `prepay` or `limit`; `site_id` empty means the whole network; `until_at` 0 means until lifted."""

    kind: str
    site_id: str = ""
    until_at: int = 0
    reason: str = ""
    author: str = ""
    limit: int = 0


class Resource(Frozen):
    """Something bookable: a simulator, a room, a piece of equipment (B1). The site's document (own-6)."""

    id: str
    name: str
    kind: Literal["simulator", "room", "equipment"] = "simulator"
    make: str = ""
    number: int = 0
    features: tuple[str, ...] = ()
    capacity: int = 4
    hourly_cents: int = 0
    door_ids: tuple[str, ...] = ()
    machine_id: str = ""
    active: bool = True
    release_ahead_s: int = 0
    version: int = 1


class Facility(Frozen):
    """One facility: its own zone, word, currency and policy profile. The site's document (own-6)."""

    id: str
    name: str
    zone: str
    currency: str = "CAD"
    word: str = "Box"
    address: str = ""
    support_phone: str = ""
    support_hours: str = ""
    door_ids: tuple[str, ...] = ()
    #: whether guests may open the doors by telephone within their window; with `near_m` only so many metres from there, by the telephone's word (D10)
    door_by_phone: bool = False
    near_m: int = 0
    latitude: float = 0.0
    longitude: float = 0.0
    version: int = 1


class Order(Frozen):
    """The bookings that a customer made as one; `reference` is what people quote on the telephone."""

    id: str
    reference: str
    site_id: str
    customer_id: str
    channel: Channel
    kind: Literal["single", "group", "series"] = "single"
    guests: int = 1
    notes: str = ""
    created_at: int = 0


class Booking(Frozen):
    """One resource and one interval, which never change (own-1); what changes is the status, moved by the owner only.

    `start`, `end` in slots are the guest's time; `buffer` slots after it are claimed too. `sale_no` grows per site (pass-1). `outage_pin`:
    the outage credential that it was given because the site was dark (pass-4); its guest is told this one. `placed`: the house gave it this place
    instead of one that it could not keep (B12), so that giving it up costs nothing.
    """

    id: str
    order_id: str
    site_id: str
    resource_id: str
    start: int
    end: int
    buffer: int = 0
    status: Status = "confirmed"
    seller: Side = "hub"
    sale_no: int = 0
    pin: str = ""
    outage_pin: str = ""
    customer_id: str = ""
    shown_name: str = ""
    channel: Channel = "web"
    price: Price | None = None
    replaces: str = ""
    replaced_by: str = ""
    changes: int = 0
    displaced: bool = False
    placed: bool = False
    override: bool = False
    withdrawn: bool = False
    answer_by: int = 0
    reason: str = ""
    created_at: int = 0
    version: int = 1

    @property
    def claimed(self) -> Interval:
        return Interval(self.start, self.end + self.buffer)

    @property
    def door_pin(self) -> str:
        """The PIN that its guest is told and the door knows."""
        return self.outage_pin or self.pin

    @property
    def starts_at(self) -> int:
        return self.start * 900

    @property
    def ends_at(self) -> int:
        return self.end * 900

    def seat(self, visit: Attendance | None) -> str:
        """The bay its guest plays in: where the facility has reseated it (block-2), else the one that was booked."""
        return visit.seat if visit is not None and visit.seat else self.resource_id


class Hold(Frozen):
    """Slots kept while a guest fills the form (B6). Only the owner's clock ends it (terr-6)."""

    id: str
    site_id: str
    resource_id: str
    start: int
    end: int
    buffer: int = 0
    expires_at: int = 0
    extended: bool = False
    status: Literal["asked", "held", "declined", "used", "ended"] = "held"
    reason: str = ""

    @property
    def claimed(self) -> Interval:
        return Interval(self.start, self.end + self.buffer)


BLOCK_KINDS = ("maintenance", "training", "private_event", "blocked")


class Block(Frozen):
    """The site takes a bay out of sale (B11, block-1): free slots at once, occupied ones when the booking there moves or ends."""

    id: str
    site_id: str
    resource_id: str
    start: int
    end: int
    kind: Literal["maintenance", "training", "private_event", "blocked"] = "blocked"
    reason: str = ""
    by: str = ""
    status: Literal["asked", "active", "ended", "declined"] = "active"
    created_at: int = 0
    version: int = 1

    @property
    def claimed(self) -> Interval:
        return Interval(self.start, self.end)


NoticeLevel = Literal["info", "warning", "critical"]


class Notice(Frozen):
    """What guests of a facility must know (B22): shown from `from_at` until `until_at`. `text` is English, `text_fr` French where somebody
    wrote it. The words never change and `ended` is for good, so that either side may end what the other one wrote (version 2).
    """

    id: str
    site_id: str
    level: NoticeLevel
    text: str
    from_at: int
    until_at: int
    text_fr: str = ""
    by: str = ""
    ended: bool = False
    version: int = 1


class RuleHits(Frozen):
    """R10: how often on a local `day` (ISO) the facility's refusals named one rule to one customer (empty: nobody known) on one channel, and
    when last. The count only grows, so that the same told twice changes nothing."""

    day: str
    rule: str
    code: str
    channel: str
    hits: int
    last_at: int
    customer_id: str = ""


#: what came of a door that was asked for by telephone. opened: the controller took it; silent: asked, and it has not answered; failed: it could not
#: be reached; none: this booking opens no door; refused: the booking does not let in now; late: the wish was too old, and nothing was opened
DoorOutcome = Literal["opened", "silent", "failed", "none", "refused", "late"]


class SiteAlarm(Frozen):
    """Something at a facility that people must see to, from `since_at` (unix seconds) on; `ended` is for good. `text` is a sentence without a guest's
    name. `urgent`: somebody is to be told at once."""

    id: str
    site_id: str
    kind: str
    text: str
    since_at: int
    urgent: bool = True
    ended: bool = False


class Attendance(Frozen):
    """The site's own document about a booking (own-2), with its own version; `seat` is the resource it was reseated on (block-2).

    `how`: how the state is known, as the end of a sentence. `said`: staff have said what the visit is, and nothing but staff changes it. Time
    used after the end (B21): `overtime_min` minutes for `overtime_cents` with tax, unless staff have waived it, saying why in `waived`.
    """

    booking_id: str
    site_id: str
    state: Attended = ""
    at: int = 0
    by: str = ""
    seat: str = ""
    how: str = ""
    said: bool = False
    overtime_min: int = 0
    overtime_cents: int = 0
    waived: str = ""
    version: int = 1
