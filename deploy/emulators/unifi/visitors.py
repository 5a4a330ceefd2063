"""Visitors and their PINs on the emulated controller.

Not for: opening doors. Invariants: one PIN belongs to one holder of the whole site; a PIN is stored and shown as a hash only; status
follows the handed-in time. Where the documents are silent the harsher reading is taken: a cancelled or ended visitor keeps its PIN
taken until it is unassigned or deleted by force.
"""

import datetime as dt
import hashlib
import re
import uuid
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from deploy.emulators.unifi.envelope import ApiError

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
STATUS_FILTER = {1: "UPCOMING", 2: "VISITED", 3: "VISITING", 4: "CANCELLED", 5: "NO_VISIT", 6: "ACTIVE"}
REASONS = ("Interview", "Business", "Cooperation", "Others", "Other")
UNIX_SECONDS_MAX = 2**40
TEXT_MAX = 1024
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d")


class Span(msgspec.Struct, frozen=True):
    """A part of a weekday, `HH:MM:SS` in the console's time."""

    start_time: str
    end_time: str


class ResourceRef(msgspec.Struct, frozen=True):
    """A door or a door group that a visitor may use."""

    id: str
    type: str


class VisitorBody(msgspec.Struct):
    """The body of a create or an update; what is unset stays as it was. Unknown keys are ignored, as the controller does."""

    first_name: str | msgspec.UnsetType = msgspec.UNSET
    last_name: str | msgspec.UnsetType = msgspec.UNSET
    start_time: int | msgspec.UnsetType = msgspec.UNSET
    end_time: int | msgspec.UnsetType = msgspec.UNSET
    visit_reason: str | msgspec.UnsetType = msgspec.UNSET
    remarks: str | msgspec.UnsetType = msgspec.UNSET
    mobile_phone: str | msgspec.UnsetType = msgspec.UNSET
    email: str | msgspec.UnsetType = msgspec.UNSET
    visitor_company: str | msgspec.UnsetType = msgspec.UNSET
    resources: list[ResourceRef] | msgspec.UnsetType = msgspec.UNSET
    week_schedule: dict[str, list[Span]] | None | msgspec.UnsetType = msgspec.UNSET


_REQUIRED = ("first_name", "last_name", "start_time", "end_time", "visit_reason")
_TEXTS = ("first_name", "last_name", "visit_reason", "remarks", "mobile_phone", "email", "visitor_company")


class Visitor(msgspec.Struct):
    """One visitor; times in unix seconds, `made_ms` in milliseconds."""

    id: str
    made_ms: int
    first_name: str = ""
    last_name: str = ""
    start_time: int = 0
    end_time: int = 0
    visit_reason: str = "Others"
    remarks: str = ""
    mobile_phone: str = ""
    email: str = ""
    visitor_company: str = ""
    resources: list[ResourceRef] = []
    week_schedule: dict[str, list[Span]] | None = None
    cancelled: bool = False
    visited: bool = False
    pin_hash: str | None = None
    qr_text: str | None = None
    cards: list[str] = []

    def status(self, now: float) -> str:
        if self.cancelled:
            return "CANCELLED"
        if now < self.start_time:
            return "UPCOMING"
        if now < self.end_time:
            return "VISITING" if self.visited else "ACTIVE"
        return "VISITED" if self.visited else "NO_VISIT"

    def admitted_at(self, now: float, timezone: ZoneInfo) -> bool:
        """Whether the visit's window and weekly plan are open at `now`."""
        if self.cancelled or not self.start_time <= now < self.end_time:
            return False
        if self.week_schedule is None:
            return True
        local = dt.datetime.fromtimestamp(now, timezone)
        clock = local.strftime("%H:%M:%S")
        return any(span.start_time <= clock <= span.end_time for span in self.week_schedule.get(DAYS[local.weekday()], []))

    @property
    def hidden_name(self) -> str:
        """The door group and schedule that the controller makes behind every visitor."""
        return f"visitor-{self.made_ms}"

    def data(self, status: str, timezone: str) -> dict[str, Any]:
        """The full REST shape; `resources` shows the hidden group, never the doors that were sent."""
        hidden_id = str(uuid.uuid5(uuid.UUID(self.id), "resources"))
        schedule_id = str(uuid.uuid5(uuid.UUID(self.id), "schedule"))
        return {
            "id": self.id,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "status": status,
            "start_time": self.start_time,
            "end_time": self.end_time,
            "visit_reason": self.visit_reason,
            "remarks": self.remarks,
            "mobile_phone": self.mobile_phone,
            "email": self.email,
            "visitor_company": self.visitor_company,
            "create_time": self.made_ms // 1000,
            "timezone": timezone,
            "inviter_id": "",
            "inviter_name": "",
            "avatar": "",
            "nfc_cards": [{"id": f"{number:08X}", "token": token, "type": "ua_card"} for number, token in enumerate(self.cards, 1)],
            "license_plates": [],
            "has_qr_code": self.qr_text is not None,
            "pin_code": {"token": self.pin_hash} if self.pin_hash else None,
            "resources": [{"id": hidden_id, "name": self.hidden_name, "type": "door_group"}] if self.resources else [],
            "schedule_id": schedule_id,
            "schedule": {
                "id": schedule_id,
                "is_default": False,
                "name": self.hidden_name,
                "type": "access",
                "weekly": self._weekly(),
            },
        }

    def _weekly(self) -> dict[str, list[dict[str, str]]] | None:
        if self.week_schedule is None:
            return None
        return {day: [{"start_time": s.start_time, "end_time": s.end_time} for s in self.week_schedule.get(day, [])] for day in DAYS}


class VisitorBook:
    """All visitors and every PIN of the site. `staff_pins` belong to users of the console, who may open every door."""

    def __init__(self, rng: Random, pin_length: int, staff_pins: tuple[str, ...] = ()) -> None:
        if not 4 <= pin_length <= 8:
            raise ValueError("The PIN length of the emulator must be 4 to 8 digits.")
        self._rng = rng
        self._salt = rng.getrandbits(128).to_bytes(16, "big")
        self.pin_length = pin_length
        self.visitors: dict[str, Visitor] = {}
        self.staff_hashes = {self._hash(pin) for pin in staff_pins}

    def create(self, body: VisitorBody, now: float, known_resources: set[str]) -> Visitor:
        for field in _REQUIRED:
            if getattr(body, field) is msgspec.UNSET:
                raise ApiError("CODE_PARAMS_INVALID", f"{field} is required.")
        visitor = Visitor(id=str(uuid.UUID(int=self._rng.getrandbits(128), version=4)), made_ms=int(now * 1000))
        self._fill(visitor, body, known_resources)
        self.visitors[visitor.id] = visitor
        return visitor

    def update(self, visitor_id: str, body: VisitorBody, known_resources: set[str]) -> Visitor:
        visitor = self.get(visitor_id)
        # Filled on a copy first: a body that is refused must leave nothing half changed.
        changed = msgspec.structs.replace(visitor)
        self._fill(changed, body, known_resources)
        self.visitors[visitor_id] = changed
        return changed

    def get(self, visitor_id: str) -> Visitor:
        visitor = self.visitors.get(visitor_id)
        if visitor is None:
            raise ApiError("CODE_NOT_EXISTS", "The visitor does not exist.")
        return visitor

    def cancel(self, visitor_id: str, force: bool) -> None:
        visitor = self.get(visitor_id)
        if force:
            del self.visitors[visitor_id]
        else:
            visitor.cancelled = True

    def search(self, now: float, keyword: str, status: str | None) -> list[Visitor]:
        """Visitors by prefix of first or last name, or by status; a keyword makes the status ignored. Newest first."""
        found = list(self.visitors.values())
        if keyword:
            word = keyword.casefold()
            found = [v for v in found if v.first_name.casefold().startswith(word) or v.last_name.casefold().startswith(word)]
        elif status is not None:
            found = [v for v in found if v.status(now) == status]
        return sorted(found, key=lambda v: v.made_ms, reverse=True)

    def suggest_pin(self) -> str:
        """A free PIN; it is not reserved."""
        taken = self._taken()
        for _ in range(1000):
            pin = "".join(str(self._rng.randrange(10)) for _ in range(self.pin_length))
            if self._hash(pin) not in taken:
                return pin
        raise ApiError("CODE_SYSTEM_ERROR", "No free PIN code was found.")

    def assign_pin(self, visitor_id: str, pin: str) -> None:
        visitor = self.get(visitor_id)
        if not pin.isascii() or not pin.isdigit():
            raise ApiError("CODE_PARAMS_INVALID", "pin_code must consist of digits.")
        if len(pin) != self.pin_length:
            raise ApiError("CODE_CREDS_PIN_CODE_CREDS_LENGTH_INVALID")
        if self._hash(pin) in self._taken():
            # Also when it is this visitor's own: a client that repeats an assignment has to cope with that.
            raise ApiError("CODE_CREDS_PIN_CODE_CREDS_ALREADY_EXIST")
        visitor.pin_hash = self._hash(pin)

    def unassign_pin(self, visitor_id: str) -> None:
        self.get(visitor_id).pin_hash = None

    def assign_qr(self, visitor_id: str) -> None:
        self.get(visitor_id).qr_text = f"UA{self._rng.getrandbits(128):032x}"

    def unassign_qr(self, visitor_id: str) -> None:
        self.get(visitor_id).qr_text = None

    def holder_of_pin(self, pin: str) -> Visitor | None:
        wanted = self._hash(pin)
        return next((v for v in self.visitors.values() if v.pin_hash == wanted), None)

    def assign_card(self, visitor_id: str, token: str, force: bool) -> None:
        """A card has one holder; with `force` it goes over."""
        visitor = self.get(visitor_id)
        holder = self.holder_of_card(token)
        if holder is not None and holder is not visitor and not force:
            raise ApiError("CODE_CREDS_NFC_HAS_BIND_USER")
        if holder is not None:
            holder.cards = [one for one in holder.cards if one != token]
        visitor.cards = [*visitor.cards, token]

    def unassign_card(self, visitor_id: str, token: str) -> None:
        visitor = self.get(visitor_id)
        if token not in visitor.cards:
            raise ApiError("CODE_CREDS_NFC_CARD_INVALID")
        visitor.cards = [one for one in visitor.cards if one != token]

    def holder_of_card(self, token: str) -> Visitor | None:
        return next((v for v in self.visitors.values() if token in v.cards), None)

    def holder_of_qr(self, text: str) -> Visitor | None:
        return next((v for v in self.visitors.values() if v.qr_text == text), None)

    def is_staff_pin(self, pin: str) -> bool:
        return self._hash(pin) in self.staff_hashes

    def _taken(self) -> set[str]:
        return self.staff_hashes | {v.pin_hash for v in self.visitors.values() if v.pin_hash}

    def _hash(self, pin: str) -> str:
        return hashlib.sha256(self._salt + pin.encode()).hexdigest()

    def _fill(self, visitor: Visitor, body: VisitorBody, known_resources: set[str]) -> None:
        _check(body, known_resources)
        for field in body.__struct_fields__:
            value = getattr(body, field)
            if value is not msgspec.UNSET:
                setattr(visitor, field, value)
        if visitor.end_time <= visitor.start_time:
            raise ApiError("CODE_PARAMS_INVALID", "end_time must be after start_time.")


def _check(body: VisitorBody, known_resources: set[str]) -> None:
    for field in _TEXTS:
        value = getattr(body, field)
        if value == "" and field in _REQUIRED:
            raise ApiError("CODE_PARAMS_INVALID", f"{field} must not be empty.")
        if value is not msgspec.UNSET and len(value) > TEXT_MAX:
            raise ApiError("CODE_PARAMS_INVALID", f"{field} is longer than {TEXT_MAX} characters.")
    for field in ("start_time", "end_time"):
        value = getattr(body, field)
        if value is not msgspec.UNSET and not 0 <= value <= UNIX_SECONDS_MAX:
            raise ApiError("CODE_PARAMS_INVALID", f"{field} must be in unix seconds.")
    if body.visit_reason is not msgspec.UNSET and body.visit_reason not in REASONS:
        raise ApiError("CODE_PARAMS_INVALID", f"visit_reason must be one of {', '.join(REASONS)}.")
    if body.resources is not msgspec.UNSET:
        for ref in body.resources:
            if ref.type not in ("door", "door_group"):
                raise ApiError("CODE_PARAMS_INVALID", "A resource's type is door or door_group.")
            if ref.id not in known_resources:
                raise ApiError("CODE_RESOURCE_NOT_FOUND", "A resource of the visitor does not exist.")
    if body.week_schedule is not msgspec.UNSET and body.week_schedule is not None:
        _check_week(body.week_schedule)


def _check_week(week: dict[str, list[Span]]) -> None:
    for day, spans in week.items():
        if day not in DAYS:
            raise ApiError("CODE_PARAMS_INVALID", "week_schedule has the days sunday to saturday.")
        for span in spans:
            if not (_TIME.fullmatch(span.start_time) and _TIME.fullmatch(span.end_time) and span.start_time < span.end_time):
                raise ApiError("CODE_PARAMS_INVALID", "week_schedule times are HH:MM:SS, the start before the end.")
