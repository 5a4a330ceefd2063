"""Every message on the link: one tagged union, its topics, its envelope (protocol stream-1 to stream-7).

Commands are imperatives (`BookingRequest`), facts past participles (`Cancelled`). A row travels with `must`: a receiver that does not
know a must-understand type, a field it names in `crit`, or fails on it, stops that stream there and alarms; anything else unknown is
kept and reported (stream-6). Payloads are JSON. `SCHEMA` is the version of this file: no type newer than the peer's schema is sent.
"""

from __future__ import annotations

import hashlib

import msgspec

from .model import Attendance, Block, Booking, Customer, DoorOutcome, Facility, Hold, Notice, Order, Resource, RuleHits, Side, SiteAlarm
from .reconcile import Digest
from .reconcile import Row as DigestRow

SCHEMA = 4


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of everything that travels in a stream."""


# ---- facts about territory and documents
class ResourceStated(Message, frozen=True, tag=True):
    """The site's document of a resource and the line it stood at when it was first stated."""

    resource: Resource
    line: int


class FacilityStated(Message, frozen=True, tag=True):
    """The site's document of itself."""

    facility: Facility


class ProfileStated(Message, frozen=True, tag=True):
    """The hub's rules and prices for this site (own-6), as the JSON document that `policy.Profile` decodes."""

    profile: msgspec.Raw
    version: int


class Released(Message, frozen=True, tag=True):
    """The hub gives everything below `line` to the site (terr-2, terr-3)."""

    resource_id: str
    line: int


class PinsLeased(Message, frozen=True, tag=True):
    """pass-3: door PINs that the hub may give to its own sales."""

    pins: tuple[str, ...]


class PinGiven(Message, frozen=True, tag=True):
    """The site gave a booking its PIN because the sale came without one."""

    booking_id: str
    pin: str


class CustomerStated(Message, frozen=True, tag=True):
    """What a site needs of a customer (own-6)."""

    customer: Customer


class CustomerMerged(Message, frozen=True, tag=True):
    """`old_id` is `new_id` from now on; the alias is kept for good."""

    old_id: str
    new_id: str


# ---- sales
class Sold(Message, frozen=True, tag=True):
    """The sender sold these in its own territory."""

    order: Order
    bookings: tuple[Booking, ...]
    customer: Customer | None = None


class Replaced(Message, frozen=True, tag=True):
    """The sender owns both: `booking` takes the place of `old_id` (own-1). From the hub it asks for CancelDone (own-3)."""

    old_id: str
    order: Order
    booking: Booking
    customer: Customer | None = None


class Cancelled(Message, frozen=True, tag=True):
    """The owner gave the booking up. From the hub it asks for CancelDone (own-3)."""

    booking_id: str
    by: str = ""
    reason: str = ""


class CancelDone(Message, frozen=True, tag=True):
    """own-3: the site heard the hub's cancel; the slots are free on both sides now."""

    booking_id: str


class CancelRefused(Message, frozen=True, tag=True):
    """The owner (or, under own-3, the site) does not give the booking up."""

    booking_id: str
    code: str
    detail: str = ""


class BookingRequest(Message, frozen=True, tag=True):
    """terr-6: asks the owner of the slots to sell them; refused after `answer_by` (terr-9)."""

    order: Order
    bookings: tuple[Booking, ...]
    answer_by: int
    customer: Customer | None = None
    hold_id: str = ""


class BookingConfirmed(Message, frozen=True, tag=True):
    """The owner's yes: the bookings as sold, with sale number and PIN."""

    order_id: str
    bookings: tuple[Booking, ...]


class BookingDeclined(Message, frozen=True, tag=True):
    """The owner's no."""

    order_id: str
    booking_ids: tuple[str, ...]
    code: str
    detail: str


class NotMine(Message, frozen=True, tag=True):
    """Whoever was asked is not entitled; not a decision (terr-6)."""

    asked: str
    ids: tuple[str, ...]


class Withdraw(Message, frozen=True, tag=True):
    """The asker's customer does not want it any more (terr-9): the owner frees it without fee. `unless_moved`: only the change is given
    up; where the move is done already the new booking stands, or its customer would hold neither (own-4)."""

    booking_id: str
    unless_moved: bool = False


class CancelRequest(Message, frozen=True, tag=True):
    """Asks the owner to give a booking up; has no deadline (terr-9). `replaced_by`: what the asker has put in its place (own-4)."""

    booking_id: str
    by: str = ""
    reason: str = ""
    replaced_by: str = ""


class MoveRequest(Message, frozen=True, tag=True):
    """Asks the owner of `old_id` to put `booking` in its place (own-4)."""

    old_id: str
    order: Order
    booking: Booking
    answer_by: int
    customer: Customer | None = None


class Displaced(Message, frozen=True, tag=True):
    """block-2: the mark beside the status, set or taken away by the side that lacks the slot."""

    booking_id: str
    displaced: bool
    reason: str = ""


# ---- holds
class HoldRequest(Message, frozen=True, tag=True):
    hold: Hold
    answer_by: int


class HoldGranted(Message, frozen=True, tag=True):
    hold_id: str
    expires_at: int


class HoldDeclined(Message, frozen=True, tag=True):
    hold_id: str
    code: str
    detail: str


class HoldDropped(Message, frozen=True, tag=True):
    """The asker's guest went away: the owner may free the slots before its clock does."""

    hold_id: str


class HoldProlonged(Message, frozen=True, tag=True):
    """The asker's guest wants the one extension; answered with HoldGranted or HoldDeclined."""

    hold_id: str


# ---- the site's own
class BlockStated(Message, frozen=True, tag=True):
    """The site's document of a block: active or ended (block-1)."""

    block: Block


class BlockRequest(Message, frozen=True, tag=True):
    """The hub asks the site to take a bay out of sale, or (status `ended`) to put it back."""

    block: Block


class AttendanceStated(Message, frozen=True, tag=True):
    """own-2: the site's document about a booking."""

    attendance: Attendance


class PassSeen(Message, frozen=True, tag=True):
    """pass-2: a good pass of a booking the site did not know; it is in the site's books now."""

    booking: Booking


# ---- repair (loss-2) and what witnesses bring back (loss-3, loss-5)
class Visit(msgspec.Struct, frozen=True, omit_defaults=True):
    """One booking as a side knows it, with the guest's attendance."""

    booking: Booking
    attendance: Attendance | None = None


class SnapshotBegun(Message, frozen=True, tag=True):
    """Row 1 of a side's stream in a new epoch. `lines` and `floors` in slots per resource; `fenced`: the sender was restored or is a new box;
    `behind`: the positions that the sender was told show that the receiver was set back."""

    lines: dict[str, int]
    floors: dict[str, int] = {}
    fenced: bool = False
    behind: bool = False
    sale_no: int = 0
    facility: Facility | None = None
    resources: tuple[Resource, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()


class SnapshotPart(Message, frozen=True, tag=True):
    """A handful of what the sender knows; the receiver keeps it until `SnapshotEnded`."""

    orders: tuple[Order, ...] = ()
    visits: tuple[Visit, ...] = ()
    customers: tuple[Customer, ...] = ()
    blocks: tuple[Block, ...] = ()


class SnapshotEnded(Message, frozen=True, tag=True):
    """Everything has been told: `bookings` of them. The receiver merges in one transaction."""

    bookings: int


class SnapshotMerged(Message, frozen=True, tag=True):
    """The site has merged the hub's snapshot and is open: what the hub kept claimed for the repair is settled (own-3)."""


class SaleFound(Message, frozen=True, tag=True):
    """A sale that a witness brought back (loss-3) or a replaced box sent late (loss-5): a fact, seated where its slots are free."""

    order: Order
    bookings: tuple[Booking, ...]
    why: str
    customer: Customer | None = None


# ---- digests (loss-8)
class DigestStated(Message, frozen=True, tag=True):
    """What the sender owns from `from_day` (UTC days since 1970) on: one digest per resource and day, under its `lines` in slots."""

    from_day: int
    lines: dict[str, int]
    digests: tuple[Digest, ...]


class DigestCompared(Message, frozen=True, tag=True):
    """The answer to `DigestStated`: how many days it named, and how many differ (a day that it does not name may differ too)."""

    days: int
    differing: int


class RowsStated(Message, frozen=True, tag=True):
    """What the sender has of a resource's day that differs, cut at the owner's `line`; the owner resends."""

    resource_id: str
    day: int
    line: int
    rows: tuple[DigestRow, ...]


class Resent(Message, frozen=True, tag=True):
    """The owner's word on a booking of a day that differed: merged into the receiver's books."""

    order: Order
    booking: Booking
    attendance: Attendance | None = None
    customer: Customer | None = None


class BooksDiffer(Message, frozen=True, tag=True):
    """Bookings on which the books differ and resending does not help: for people, on both sides. `owner` is whose word was asked."""

    booking_ids: tuple[str, ...]
    owner: Side


# ---- outage credentials (pass-4)
class OutagePin(msgspec.Struct, frozen=True):
    """A door PIN for one booking of this resource that starts in `[start, end)`, in slots. It is on the door controller already. `sealed`: to the
    hub's key, about `id`; a site of before schema 4 told it in `pin`."""

    id: str
    resource_id: str
    start: int
    end: int
    pin: str = ""
    sealed: str = ""


class OutagePinsLeased(Message, frozen=True, tag=True):
    """The hub may give these, each to one booking, while the site is dark; the booking names it in `Sold`."""

    pins: tuple[OutagePin, ...]


class OutagePinsEnded(Message, frozen=True, tag=True):
    """Staff have voided the sender's stock: these open nothing any more, and are given to nobody."""

    ids: tuple[str, ...]


class OutagePinUsed(Message, frozen=True, tag=True):
    """A door opened for one whose booking the site does not know. `at` in unix seconds."""

    id: str
    resource_id: str
    door: str
    at: int


# ---- what guests must know, and what they were refused
class NoticeStated(Message, frozen=True, tag=True):
    """B22: a facility's notice, whole. Told by whoever wrote or ended it, and in a new epoch by both."""

    notice: Notice


class RuleHitsStated(Message, frozen=True, tag=True):
    """R10: the sender's own counts of broken rules as they stand now; the receiver keeps the higher."""

    rows: tuple[RuleHits, ...]


# ---- doors and machines
class OpenDoor(Message, frozen=True, tag=True):
    """A guest pressed "open the door" on their telephone, at `asked_at` (unix seconds by the hub's clock). The same `id` is one press; what is old
    opens nothing. A wish, not a promise: the PIN opens whatever becomes of it."""

    id: str
    booking_id: str
    asked_at: int


class DoorAnswered(Message, frozen=True, tag=True):
    """What came of `OpenDoor`: `outcome` as `model.DoorOutcome`, `detail` a sentence for the guest, `code` of a refusal."""

    id: str
    booking_id: str
    outcome: DoorOutcome
    code: str = ""
    detail: str = ""


class DoorCode(Message, frozen=True, tag=True):
    """The text of the QR code that the door controller made for this booking's guest, sealed to the hub's key about the booking. Empty: it has none
    any more."""

    booking_id: str
    sealed: str


class MachineTold(Message, frozen=True, tag=True):
    """Whoever looks after a bay's PC called the hub about it: look now. May be lost, late or repeated, and says nothing by itself."""

    machine_id: str


class AlarmStated(Message, frozen=True, tag=True):
    """Something at the site that people must see to, from its beginning to its end."""

    alarm: SiteAlarm


AnyMessage = (
    ResourceStated
    | FacilityStated
    | ProfileStated
    | Released
    | PinsLeased
    | PinGiven
    | CustomerStated
    | CustomerMerged
    | Sold
    | Replaced
    | Cancelled
    | CancelDone
    | CancelRefused
    | BookingRequest
    | BookingConfirmed
    | BookingDeclined
    | NotMine
    | Withdraw
    | CancelRequest
    | MoveRequest
    | Displaced
    | HoldRequest
    | HoldGranted
    | HoldDeclined
    | HoldDropped
    | HoldProlonged
    | BlockStated
    | BlockRequest
    | AttendanceStated
    | PassSeen
    | SnapshotBegun
    | SnapshotPart
    | SnapshotEnded
    | SnapshotMerged
    | SaleFound
    | DigestStated
    | DigestCompared
    | RowsStated
    | Resent
    | BooksDiffer
    | OutagePinsLeased
    | OutagePinsEnded
    | OutagePinUsed
    | NoticeStated
    | RuleHitsStated
    | OpenDoor
    | DoorAnswered
    | DoorCode
    | MachineTold
    | AlarmStated
)
TYPES: dict[str, type[Message]] = {t.__name__: t for t in AnyMessage.__args__}
#: what may be unknown to a receiver without harm: it takes no slot, frees none, moves no line and answers nothing
INFORMATIVE = frozenset(
    {
        "FacilityStated", "ProfileStated", "PinsLeased", "PinGiven", "CustomerStated", "CustomerMerged",
        "DigestStated", "DigestCompared", "RowsStated", "BooksDiffer",
        "OutagePinsLeased", "OutagePinsEnded", "OutagePinUsed", "NoticeStated", "RuleHitsStated",
        "OpenDoor", "DoorAnswered", "DoorCode", "MachineTold", "AlarmStated",
    }
)

_encode = msgspec.json.Encoder().encode
_decoders: dict[str, msgspec.json.Decoder] = {}
_peek = msgspec.json.Decoder(type=dict[str, msgspec.Raw]).decode


def must_understand(message: Message) -> bool:
    return type(message).__name__ not in INFORMATIVE


def encode(message: Message) -> bytes:
    return _encode(message)


class Unknown(Exception):
    """A row that this side cannot take: the type, a critical field or the body is not understood."""


def decode(body: bytes, crit: tuple[str, ...] = ()) -> Message:
    """The message of a row. Unknown fields are ignored unless `crit` names them. Raises Unknown."""
    try:
        name = msgspec.json.decode(_peek(body)["type"], type=str)
        kind = TYPES[name]
    except (KeyError, msgspec.MsgspecError) as e:
        raise Unknown(f"no such type of message: {e}") from e
    missing = [f for f in crit if f not in kind.__struct_fields__]
    if missing:
        raise Unknown(f"{name} needs the field {', '.join(missing)} to be understood")
    decoder = _decoders.get(name)
    if decoder is None:
        decoder = _decoders[name] = msgspec.json.Decoder(type=kind)
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as e:
        raise Unknown(f"{name} does not decode: {e}") from e


# ---- the envelope
class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    no: int
    body: msgspec.Raw
    must: bool = True
    crit: tuple[str, ...] = ()


class Position(msgspec.Struct, frozen=True):
    """How far a side has applied the other's stream, and the chain there."""

    no: int
    chain: str


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one stream from `rows[0].no` on, chained to `prev`; with the acknowledgement of the other direction (stream-3).

    `gap`: rows are missing before what was received; please send from `applied` on (stream-2).
    """

    site_id: str
    box_id: str
    term: int
    epoch: str
    prev: str
    rows: tuple[Row, ...]
    applied: Position
    gap: bool = False


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """stream-4. `echo` is the nonce answered; only such a reply counts. `lines` are for display."""

    hub_id: str
    site_id: str
    box_id: str
    term: int
    fenced: bool
    stopped: bool
    epoch: str
    schema: int
    sent: Position
    applied: Position
    lines: dict[str, int]
    clock: float
    keys: tuple[dict[str, str], ...]
    known_keys: tuple[str, ...]
    nonce: str = ""
    echo: str = ""
    #: how far the sender knows that its own stream was applied, so that a receiver that was set back can see it (loss-1)
    acked: Position | None = None
    #: both streams are closed until a repair (loss-2)
    closed: bool = False
    #: the epoch that a repair under way will open, and how far its rows have been taken in
    repair: str = ""
    staged: Position | None = None
    #: the term of the box that is enrolled instead of the one addressed; 0 where it is that one (loss-5)
    retired: int = 0
    #: the word by which a new box shows that its term was granted (loss-5)
    grant: str = ""
    #: what secrets for the sender are sealed to: its public key, and by which signing key's word (id, signature)
    seal: tuple[str, ...] = ()
    #: whether the sender trusts `clock`, so that it may confirm another (clock-2)
    clock_sure: bool = True


def chain_start(epoch: str) -> str:
    """stream-7: the chain of an epoch begins with the epoch itself."""
    return hashlib.sha256(b"clubos.chain.v1\0" + epoch.encode()).hexdigest()[:32]


def chain_next(chain: str, no: int, body: bytes) -> str:
    """SHA-256 over the chain so far, the number and the very bytes of the body; 128 bits of it, as hex."""
    return hashlib.sha256(b"%s|%d|%s" % (chain.encode(), no, body)).hexdigest()[:32]


class Topics:
    """stream-6: one tree per site, the direction in the last part."""

    def __init__(self, site_id: str):
        root = f"clubos/v1/{site_id}"
        self.up, self.down = f"{root}/up", f"{root}/down"
        self.hello_site, self.hello_hub = f"{root}/hello/site", f"{root}/hello/hub"
        self.state_site, self.state_hub = f"{root}/state/site", f"{root}/state/hub"
