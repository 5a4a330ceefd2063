"""What the site's API takes: bodies decoded strictly, and the one way from ISO times to slots.

Invariant: what has passed here is well formed; whether it may be done is for the services to say.
"""

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.errors import refuse
from shared.model import ID_PATTERN, RESOURCE_PATTERN, Interval
from shared.slots import SLOT_S
from site_agent.services.doors.door_holds import MINUTES_MAX

Id = Annotated[str, Meta(pattern=ID_PATTERN, description="Made by the client: 8 to 64 letters, digits, `-` and `_`.")]
ResourceText = Annotated[str, Meta(pattern=RESOURCE_PATTERN, description="For example `bedford.box-1`.")]
Moment = Annotated[datetime, Meta(tz=True, description="ISO 8601 with an offset or Z, on the quarter hour.")]
Day = Annotated[date, Meta(description="A day by the facility's calendar, YYYY-MM-DD.")]
# Names go to doors, mails and screens, where control characters and line ends do harm. `$` alone also matches before a line's end.
_LINE = r"^[^\x00-\x1f\x7f]*$(?!\n)"
Name = Annotated[str, Meta(min_length=1, max_length=80, pattern=_LINE)]
NameOrNone = Annotated[str, Meta(max_length=80, pattern=_LINE)]
#: seven to 21 digits with what people write between them; no digit between, since a pattern that can be read two ways takes minutes to say no
Phone = Annotated[str, Meta(pattern=r"^(|\+?[0-9](?:[() .-]*[0-9]){6,20})$(?!\n)", max_length=32)]
# Named one by one, since not every reader of the schema takes the same characters for white space.
_MAIL = r"[^@\s\x00-\x20\x7f-\xa0\ufeff]"
Email = Annotated[str, Meta(pattern=rf"^(|{_MAIL}{{1,64}}@{_MAIL}{{1,120}}\.[^@.\s\x00-\x20\x7f-\xa0\ufeff]{{2,24}})$(?!\n)", max_length=200)]
Reason = Annotated[str, Meta(max_length=300)]
Guests = Annotated[int, Meta(ge=1, le=100)]
YEARS = (2020, 2100)


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the bodies: an unknown field is an error that names it."""


class TimeBody(Body):
    resource_id: ResourceText
    start: Moment
    end: Moment


class QuoteBody(TimeBody):
    """What is priced; with a phone number a known customer's own price."""

    phone: Phone = ""
    guests: Guests = 1
    code: Annotated[str, Meta(max_length=32)] = ""


class HoldBody(TimeBody):
    hold_id: Id


class BookingBody(TimeBody):
    """A booking. `override_reason` names slots of the hub's (terr-5), or a sale from before a loss below
    the floor (loss-4): staff with the right only."""

    booking_id: Id
    name: NameOrNone = ""
    phone: Phone = ""
    email: Email = ""
    customer_id: Annotated[str, Meta(pattern=r"^(|[A-Za-z0-9][A-Za-z0-9_-]{0,63})$(?!\n)")] = ""
    guests: Guests = 1
    code: Annotated[str, Meta(max_length=32)] = ""
    quote: Annotated[str, Meta(max_length=4096)] = ""
    hold_id: Annotated[str, Meta(pattern=r"^(|[A-Za-z0-9][A-Za-z0-9_-]{7,63})$(?!\n)")] = ""
    notes: Annotated[str, Meta(max_length=500)] = ""
    override_reason: Reason = ""


class MoveBody(TimeBody):
    """The new booking that takes the old one's place."""

    booking_id: Id
    quote: Annotated[str, Meta(max_length=4096)] = ""


class ExtendBody(Body):
    """`booking_id` is the id of the longer booking that takes the old one's place."""

    booking_id: Id
    minutes: Annotated[int, Meta(ge=15, le=1440, multiple_of=15)]


class ReasonBody(Body):
    reason: Reason = ""


class AttendBody(Body):
    """`none` takes a mistaken word back."""

    state: Literal["completed", "no_show", "none"]


class StaffCheckInBody(Body):
    open_doors: bool = True


class PlaceBody(TimeBody):
    """The place, and the id of the booking that takes the old one's stead there."""

    booking_id: Id


class ReseatBody(Body):
    resource_id: ResourceText


class BlockBody(TimeBody):
    block_id: Id
    kind: Literal["maintenance", "training", "private_event", "blocked"] = "blocked"
    reason: Reason = ""


class NoticeBody(Body):
    """What guests are told until then. `text` is English; at most 240 characters each."""

    notice_id: Id
    text: Annotated[str, Meta(min_length=1, max_length=240)]
    until: Annotated[datetime, Meta(tz=True, description="ISO 8601 with an offset or Z.")]
    level: Literal["info", "warning", "critical"] = "info"
    text_fr: Annotated[str, Meta(max_length=240)] = ""


class CheckInBody(Body):
    """What the guest typed or the scanner read: the text of a pass, or a PIN."""

    code: Annotated[str, Meta(min_length=1, max_length=400)]


class UnlockBody(Body):
    """The same `request_id` is one pulse however often it is sent."""

    request_id: Id
    reason: Reason = ""


class HoldDoorBody(Body):
    """Held open for so many minutes from now on; `reason` is written down."""

    minutes: Annotated[int, Meta(ge=1, le=MINUTES_MAX)]
    reason: Annotated[str, Meta(min_length=1, max_length=300)]


class HelpBody(Body):
    """Help for a bay's machine. `kind` and `name` as the panel offers it; `reason` is written down. `sure`: although somebody plays there. The
    same `command_id` is one command however often it is sent."""

    command_id: Id
    kind: Literal["restart", "service", "script", "wake", "shutdown", "lights", "prepare", "cleanup"]
    reason: Annotated[str, Meta(min_length=1, max_length=300, pattern=_LINE)]
    name: Annotated[str, Meta(max_length=32)] = ""
    sure: bool = False


class BayMessageBody(Body):
    """A text for a bay's screen. The same `command_id` is one message however often it is sent."""

    command_id: Id
    text: Annotated[str, Meta(min_length=1, max_length=300, pattern=_LINE)]


class SignInBody(Body):
    user: Annotated[str, Meta(min_length=1, max_length=64)]
    password: Annotated[str, Meta(min_length=1, max_length=256)]


class StatedBody(Body):
    """`reason`: how it is known what was sold."""

    reason: Annotated[str, Meta(min_length=1, max_length=300)]


class AnswerAlertBody(Body):
    """What an alert of a door was, in somebody's words; `alert` is its row in the trail."""

    alert: Annotated[int, Meta(ge=1, le=2**53)]
    word: Annotated[str, Meta(min_length=1, max_length=300)]


class ChangedBody(Body):
    """`alarm` as the panels name it; `reason` says what was found."""

    alarm: Literal["trail_changed", "journal_changed"]
    reason: Annotated[str, Meta(min_length=1, max_length=300)]


class LiftBody(Body):
    """`resource_id` empty for a stop of the whole facility; `reason` says what was looked at."""

    reason: Annotated[str, Meta(min_length=1, max_length=300)]
    resource_id: Annotated[str, Meta(pattern=r"^(|[a-z0-9][a-z0-9-]{1,31}\.[a-z0-9][a-z0-9-]{0,31})$(?!\n)")] = ""


class DrillBody(Body):
    """How long the facility is unplugged from the booking centre."""

    minutes: Annotated[int, Meta(ge=1, le=60)]


class ClockBody(Body):
    """The time that the person was shown and says is right."""

    shown_at: Annotated[datetime, Meta(tz=True, description="ISO 8601 with an offset or Z.")]


class PairBody(Body):
    code: Annotated[str, Meta(min_length=4, max_length=40)]


class NewKioskBody(Body):
    name: Name


def slot(moment: datetime, what: str) -> int:
    """The slot that begins at this moment. Refuses `bad_interval` off the quarter hour or outside the years kept."""
    if not YEARS[0] <= moment.year < YEARS[1]:
        raise refuse("bad_interval", f"The {what} must lie between the years {YEARS[0]} and {YEARS[1]}.")
    at = moment.timestamp()
    if at % SLOT_S:
        raise refuse("bad_interval", f"The {what} must lie on a quarter hour.")
    return int(at) // SLOT_S


def moment(at: datetime) -> float:
    """Unix seconds. Refuses `bad_request` outside the years kept."""
    if not YEARS[0] <= at.year < YEARS[1]:
        raise refuse("bad_request", f"The time must lie between the years {YEARS[0]} and {YEARS[1]}.")
    return at.timestamp()


def interval(body: TimeBody) -> Interval:
    """The body's times as slots."""
    start, end = slot(body.start, "start"), slot(body.end, "end")
    if end <= start:
        raise refuse("bad_interval", "The end must lie after the start.")
    return Interval(start, end)


def day(on: date) -> date:
    """A day that the calendar of this system has. Refuses `bad_request`."""
    if not YEARS[0] <= on.year < YEARS[1]:
        raise refuse("bad_request", f"The day must lie between the years {YEARS[0]} and {YEARS[1]}.")
    return on
