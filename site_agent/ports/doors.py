"""What the site agent asks of a door controller, in booking words.

Not for: deciding anything, or knowing any vendor.
Invariant: every failure is a `shared.errors.Failure` whose text is a sentence for staff, and whose `permanent` says whether to try again.
"""

from collections.abc import AsyncIterator, Container
from typing import Literal, NewType, Protocol

import msgspec

from shared.errors import Broken, Unavailable

GrantRef = NewType("GrantRef", str)
"""The door controller's own name for a credential it keeps for us."""

RefusalCode = Literal[
    "certificate_changed", "token_refused", "door_unknown", "grant_unknown", "pin_taken", "pin_length", "card_taken", "not_supported", "refused"
]  # fmt: skip


class Actor(msgspec.Struct, frozen=True):
    """Who an unlock is for, as the controller's log shows it. `id` without `#`; `name` for people, never a customer's."""

    id: str
    name: str


class Unlocked(msgspec.Struct, frozen=True):
    """The controller took the command. `confirmed_by` is `log` where its answer was lost and its log told of it. `at` unix seconds.

    It does not say that a person opened the door.
    """

    door_id: str
    request_id: str
    at: int
    confirmed_by: Literal["answer", "log"]


class DoorState(msgspec.Struct, frozen=True):
    """A door as the controller sees it. `controlled` doors can be opened from here; a leaf without sensor is `unknown`."""

    door_id: str
    name: str
    full_name: str
    controlled: bool
    lock: Literal["locked", "unlocked", "unknown"]
    leaf: Literal["open", "closed", "unknown"]


class DoorCredential(msgspec.Struct, frozen=True):
    """What a booking opens: doors by the controller's ids, from `opens_at` to `closes_at` (unix seconds), by `pin` if it has one.

    `label` is for staff at the controller's own screens ("Box 3, 18:00"); it holds no customer's name. `resource_id` is the bay that was
    sold, empty for what is no sale. `keep_pin`: a PIN that the controller has for it already stays; `pin` is for where it has none.
    """

    booking_id: str
    door_ids: tuple[str, ...]
    pin: str | None
    opens_at: int
    closes_at: int
    label: str
    resource_id: str = ""
    keep_pin: bool = False


class Granted(msgspec.Struct, frozen=True):
    """A credential as the controller keeps it; times in unix seconds, 0 where it does not say. PINs cannot be read back, only whether there is one.

    `resource_id` as it was granted; empty where that was no sale. `any_door`: whether it opens a door at all. None: not said.
    """

    ref: GrantRef
    booking_id: str
    opens_at: int
    closes_at: int
    status: Literal["upcoming", "open", "ended", "cancelled", "unknown"]
    has_pin: bool | None
    resource_id: str = ""
    any_door: bool | None = None


EmergencyMode = Literal["normal", "lockdown", "evacuation"]
"""lockdown: every door locked, valid credentials refused. evacuation: every door unlocked."""

HoldRule = Literal["unlocked", "locked", "unlocked_for", "normal", "end_schedule"]
"""unlocked, locked: until it is let go; a door held locked refuses valid credentials. unlocked_for: for some minutes. normal: lets a hold go.
end_schedule: ends a running unlock schedule of the controller's before its time."""

HOLD_MINUTES_MAX = 1440


class DoorHold(msgspec.Struct, frozen=True):
    """How a door is held. `schedule`: by an unlock schedule of the controller's, `schedule_ended`: one that was ended early. `until_at` in unix
    seconds, 0 without an end."""

    door_id: str
    rule: Literal["none", "unlocked", "locked", "unlocked_for", "schedule", "schedule_ended", "unknown"]
    until_at: int = 0


class DoorPlace(msgspec.Struct, frozen=True):
    """Where a door is: the building or group, and the floor, as the controller names them."""

    door_id: str
    name: str
    floor: str
    group: str
    controlled: bool


class DoorDevice(msgspec.Struct, frozen=True):
    """A device of the controller. `kind` for people; `model` and `firmware` as it says, empty where it does not; `online` None: not said. `reads`:
    what its reader takes (`pin`, `nfc`, `qr`, `face`), none for what is no reader. `door_id` may be empty."""

    device_id: str
    name: str
    kind: Literal["hub", "reader", "device"]
    model: str
    door_id: str
    online: bool | None
    firmware: str = ""
    reads: tuple[str, ...] = ()


class DoorCheck(msgspec.Struct, frozen=True):
    """One thing that was looked at. `good` None: it cannot be found out without changing something. `text` is a sentence."""

    what: str
    good: bool | None
    text: str


class DoorCard(msgspec.Struct, frozen=True):
    """A card that a reader has read: `card_id` by which it is given, `label` what is printed on it, or a part of its number."""

    card_id: str
    label: str


EventKind = Literal["unlocked", "denied", "forced", "held", "opened", "closed", "emergency"]
"""`unlocked`: somebody was let in. `opened`, `closed`: the leaf moved. `forced`, `held`: the controller itself says so. `emergency`: the controller
tells of its mode (`how`, an EmergencyMode; no door)."""


class DoorEvent(msgspec.Struct, frozen=True):
    """Something that happened at a door. `request_id` is ours, where the unlock was ours.

    `how` is `remote`, `pin`, `qr`, `nfc`, `button`, or the controller's own word in lower case. For a PIN or QR `actor_id` is the GrantRef, and
    `booking_id` what the credential was granted for, where the controller's words tell. `at` is unix seconds, `said_ms` the same in milliseconds
    as the controller told it, both by its clock; where it told no time (`said_ms` 0, a leaf) `at` is ours. `key` is the same for the same event
    however it is heard. `live` is false for a leaf that was found so and not heard moving; `lock` is what its lock was when the leaf moved.
    """

    at: int
    door_id: str
    door_name: str
    admitted: bool
    how: str
    actor_id: str
    actor_name: str
    request_id: str
    message: str
    kind: EventKind = "unlocked"
    said_ms: int = 0
    key: str = ""
    booking_id: str = ""
    live: bool = True
    lock: Literal["locked", "unlocked", "unknown"] = "unknown"


class DoorsUnavailable(Unavailable):
    """Not now. `outcome_unknown` is true where the command may have been carried out although nobody heard the answer."""

    def __init__(self, detail: str, *, retry_after_s: int = 5, outcome_unknown: bool = False) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.outcome_unknown = outcome_unknown


class DoorsRefused(Broken):
    """The controller said no, or must not be talked to; the same call again cannot help. `code` is stable."""

    def __init__(self, detail: str, *, code: RefusalCode = "refused") -> None:
        super().__init__(detail)
        self.code = code


class PinTaken(DoorsRefused):
    """Another credential of the site has this PIN: choose another and grant again."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, code="pin_taken")


class CardTaken(DoorsRefused):
    """The card is another credential's, or a person's at the controller: it is taken from nobody."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, code="card_taken")


class Doors(Protocol):
    """The door controller of one facility. Every call may raise DoorsUnavailable or DoorsRefused, and nothing else."""

    async def start(self) -> None:
        """Makes the connection warm and keeps it so; a controller that is away does not fail this."""

    async def stop(self) -> None:
        """Ends the connection and everything started by `start`."""

    def clock_skew_s(self) -> float | None:
        """The controller's clock minus ours, in seconds, by its last answer; None while there is none that is young. Never raises."""

    async def unlock(self, door_id: str, actor: Actor, request_id: str) -> Unlocked:
        """One pulse at a door. The same `request_id` is one pulse however often it is asked for.

        After `outcome_unknown` the same request first looks into the controller's log, and is carried out only if that shows nothing.
        """

    async def unlocked_already(self, door_id: str, actor: Actor, request_id: str, since_at: int) -> Unlocked | None:
        """What the controller's log knows of this request since then; None if nothing (its log is about a second behind)."""

    async def doors(self) -> list[DoorState]:
        """All doors the controller has."""

    async def grant(self, credential: DoorCredential) -> GrantRef:
        """Puts a credential on the controller. Safe to repeat: one booking has one credential. Raises PinTaken."""

    async def regrant(self, ref: GrantRef, credential: DoorCredential) -> GrantRef:
        """Makes a credential as given; the answer is another ref where the old one was gone. Raises PinTaken."""

    async def revoke(self, ref: GrantRef, *, erase: bool = False) -> None:
        """Takes a credential off, its PIN first; `erase` leaves no trace of it. Safe to repeat."""

    async def granted(self, *, ended: bool = False) -> list[Granted]:
        """Our credentials that open or will open something; with `ended` also those whose window is over."""

    async def kept(self, booking_id: str = "") -> list[Granted]:
        """Everything of ours (of one booking, where it is named), whatever became of it, in as few requests as the controller allows: what its lists
        do not say is not said here either, nor need `resource_id` be."""

    async def kept_one(self, ref: GrantRef) -> Granted | None:
        """One of ours with everything that is said of it; None where it is gone."""

    async def log(self, since_at: int, until_at: int) -> list[DoorEvent]:
        """Door events from `since_at` to `until_at` (unix seconds), oldest first."""

    def events(self, after_ms: int, known: Container[str] = frozenset()) -> AsyncIterator[DoorEvent]:
        """What happens at the doors, as it happens, for as long as one listens: nothing lost, nothing twice by `key`.

        It begins with what the controller's log has since `after_ms` (unix milliseconds by the controller's clock, as `said_ms`; 0: the last
        hour) and `known` does not. A controller that is away, refuses or falls silent is asked again with a back-off, and what was missed is
        read from its log; so this raises nothing. Events that come late or out of order come as they come.
        """

    def called(self, signature: str, body: bytes) -> bool:
        """Somebody called us in the controller's name: whether it was the controller, whose log is then looked at without waiting for its turn.
        Never raises."""

    def hearing(self) -> bool:
        """Whether events come live just now; otherwise they come late, by the log. Never raises."""

    # ---- the house as a whole
    async def emergency_now(self) -> EmergencyMode:
        """What the controller is in by its own word, whoever began it. Lock-down and evacuation together are told as evacuation."""

    async def emergency(self, mode: EmergencyMode) -> None:
        """Puts every door of the controller into this mode until another is asked for. Safe to repeat."""

    async def hold(self, door_id: str, rule: HoldRule, minutes: int = 0) -> None:
        """Holds a door, or lets it go; `minutes` (1 to `HOLD_MINUTES_MAX`) for `unlocked_for` alone. Safe to repeat, but it begins the minutes anew."""

    async def held(self, door_id: str) -> DoorHold:
        """How a door is held now."""

    async def places(self) -> list[DoorPlace]:
        """Where the doors are, by the controller's floors and groups."""

    async def devices(self) -> list[DoorDevice]:
        """The controller's hubs and readers, as they are just now."""

    async def check(self, pin_digits: int = 6) -> list[DoorCheck]:
        """What our token may do and what the controller can, found out without changing anything; and whether PINs of that length are taken. Unlike
        the other calls it tells of a right that lacks and raises for a controller that is away alone."""

    # ---- credentials beside the PIN
    async def code_of(self, ref: GrantRef) -> str:
        """The text of the QR code that the controller's own readers take for this credential, made there if it has none; empty where the
        controller or its readers take none."""

    async def card_begin(self, device_id: str) -> str:
        """A reader begins to wait for a card that is to be known; the answer names the session."""

    async def card_read(self, session_id: str) -> DoorCard | None:
        """The card that was held to it; None while there was none."""

    async def card_end(self, session_id: str) -> None:
        """The reader waits no more. Safe to repeat."""

    async def give_card(self, ref: GrantRef, card_id: str) -> None:
        """The card opens what the credential opens, in its window. Safe to repeat. Raises CardTaken where it is somebody else's."""

    async def take_card(self, ref: GrantRef, card_id: str) -> None:
        """The card opens nothing of this credential any more. Safe to repeat."""
