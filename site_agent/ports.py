"""What the site agent asks of the devices around it, in booking words.

For: services, which are handed an implementation by `app`. Not for: deciding anything, or knowing any vendor.
Invariant: every failure is a `shared.errors.Failure` whose text is a sentence for staff, and whose `permanent` says whether to try again.
"""

from collections.abc import AsyncIterator, Container
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


EventKind = Literal["unlocked", "denied", "forced", "held", "opened", "closed"]
"""`unlocked`: somebody was let in. `opened`, `closed`: the leaf moved. `forced`, `held`: the controller itself says so."""


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


# ---- machines: the PCs of the bays
MachinesCode = Literal["key_refused", "consent_missing", "consent_lost", "right_missing", "machine_unknown", "command_unknown", "refused"]


class Machine(msgspec.Struct, frozen=True):
    """A bay's PC as whoever looks after it says. `online` None: not said. `heard_at`: when it was last heard of there (unix seconds, 0: never).

    `online` is late by minutes and proves nothing about the moment. `troubles` are sentences for staff, the worst first; none where it is good.
    """

    machine_id: str
    name: str
    online: bool | None
    heard_at: int
    health: Literal["good", "trouble", "unknown"]
    troubles: tuple[str, ...] = ()


class MachineCommand(msgspec.Struct, frozen=True):
    """Something to be done once. restart: the whole PC; service: a service of it, named by `what`, anew; script: an approved one, `what` is its id.

    `mark` is ours, unique, without spaces; `parameters` one line; `run_as` the credential that it runs under. `reason` goes into the vendor's log.
    """

    kind: Literal["restart", "service", "script"]
    mark: str
    what: str = ""
    parameters: str = ""
    run_as: str = ""
    reason: str = ""


class Bookmark(msgspec.Struct, frozen=True):
    """How far the vendor's journal was before a command, in the vendor's words, and when that was (unix seconds): what came later may be of it."""

    position: str
    at: int


class CommandOutcome(msgspec.Struct, frozen=True):
    """What has become of a command. waiting: nothing shows that it has begun. `text`: the machine's own words, perhaps none. `ref`: the vendor's
    name for the run, empty while it is not known."""

    state: Literal["waiting", "running", "done", "failed"]
    text: str = ""
    ref: str = ""


class MachinesUnavailable(Unavailable):
    """Not now. `outcome_unknown` is true where the command may have been taken although nobody heard the answer."""

    def __init__(self, detail: str, *, retry_after_s: int = 5, outcome_unknown: bool = False, busy: bool = False) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.outcome_unknown, self.busy = outcome_unknown, busy


class MachinesRefused(Broken):
    """The same call again cannot help. `code` is stable; all but the last three are about our own access and need a person."""

    def __init__(self, detail: str, *, code: MachinesCode = "refused") -> None:
        super().__init__(detail)
        self.code = code

    @property
    def ours(self) -> bool:
        """Whether it is our access that is refused, rather than this command."""
        return self.code in ("key_refused", "consent_missing", "consent_lost", "right_missing")


class Machines(Protocol):
    """Whoever looks after the bays' PCs. Every call may raise MachinesUnavailable or MachinesRefused, and nothing else."""

    async def start(self) -> None:
        """Nothing is asked yet; one that is away does not fail this."""

    async def stop(self) -> None:
        """Ends every connection."""

    async def machines(self) -> list[Machine]:
        """All machines of this facility, with their health and what troubles them."""

    async def bookmark(self, machine_id: str) -> Bookmark:
        """Where the journal of a machine stands: taken, and kept, before a command."""

    async def command(self, machine_id: str, command: MachineCommand) -> str:
        """Gives one command, once; the answer is the vendor's name for it, perhaps empty. It was taken, not done. Never repeated in here."""

    async def outcome(self, machine_id: str, command: MachineCommand, since: Bookmark, ref: str) -> CommandOutcome:
        """What is known of it by now; `ref` as `command` or an earlier outcome told it."""

    async def maintenance(self, machine_id: str, until_at: int, reason: str) -> None:
        """No alerts from it until then (unix seconds); 0 ends that."""

    async def renew(self) -> None:
        """Called now and then: keeps alive whatever access would lapse if nobody used it. Not raising where there is none."""

    def alarms(self) -> list[str]:
        """What a person must do about our access, in sentences; nothing is asked."""

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
