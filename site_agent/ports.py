"""What the site agent asks of the devices around it, in booking words.

For: services, which are handed an implementation by `app`. Not for: deciding anything, or knowing any vendor.
Invariant: every failure is a `shared.errors.Failure` whose text is a sentence for staff, and whose `permanent` says whether to try again.
"""

from typing import Literal, NewType, Protocol

import msgspec

from shared.errors import Broken, Unavailable

GrantRef = NewType("GrantRef", str)
"""The door controller's own name for a credential it keeps for us."""

RefusalCode = Literal["certificate_changed", "token_refused", "door_unknown", "grant_unknown", "pin_taken", "pin_length", "refused"]


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
    """A credential as the controller keeps it; times in unix seconds. PINs cannot be read back, only whether there is one.

    `resource_id` as it was granted; empty where that was no sale.
    """

    ref: GrantRef
    booking_id: str
    opens_at: int
    closes_at: int
    status: Literal["upcoming", "open", "ended", "cancelled", "unknown"]
    has_pin: bool
    resource_id: str = ""


class DoorEvent(msgspec.Struct, frozen=True):
    """One line of the controller's door log. `at` unix seconds; `request_id` is ours, where the unlock was ours.

    `how` is `remote`, `pin`, `qr`, or the controller's own word in lower case. For a PIN or QR `actor_id` is the GrantRef.
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

    async def log(self, since_at: int, until_at: int) -> list[DoorEvent]:
        """Door events from `since_at` to `until_at` (unix seconds), oldest first."""
