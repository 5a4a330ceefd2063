"""What the site agent asks of whoever looks after the bays' machines, in booking words.

Not for: deciding anything, or knowing any vendor.
Invariant: every failure is a `shared.errors.Failure` whose text is a sentence for staff, and whose `permanent` says whether to try again.
"""

from typing import Literal, Protocol

import msgspec

from shared.errors import Broken, Unavailable

MachinesCode = Literal["key_refused", "consent_missing", "consent_lost", "right_missing", "machine_unknown", "command_unknown", "refused"]


class Machine(msgspec.Struct, frozen=True):
    """A bay's PC as whoever looks after it says. `online` None: not said. `heard_at`: when it was last heard of there (unix seconds, 0: never).

    `online` is late by minutes and proves nothing about the moment. `troubles` are sentences for staff, the worst first; none where it is good.
    `of`: what the word is about: the PC itself, or only the power it gets, which proves nothing of how the PC is.
    """

    machine_id: str
    name: str
    online: bool | None
    heard_at: int
    health: Literal["good", "trouble", "unknown"]
    troubles: tuple[str, ...] = ()
    of: Literal["pc", "power"] = "pc"


class Activity(msgspec.Struct, frozen=True):
    """What the bay's PC knows of people, as it told at `at`: when somebody last touched it (0: it cannot tell), and whether a game goes on (None:
    it cannot tell). Unix seconds."""

    at: int
    last_input_at: int
    playing: bool | None


CommandKind = Literal["restart", "service", "script", "message", "shutdown", "wake", "lights", "prepare", "cleanup"]


class MachineCommand(msgspec.Struct, frozen=True):
    """Something to be done once. restart: the whole PC; service: a service of it, named by `what`, anew; script: an approved one, `what` is its id
    at the vendor's; message: the text in `parameters` on the bay's screen; shutdown, wake: the PC off, and on again; lights: `what` is on or off;
    prepare, cleanup: what the bay needs before a guest and after one.

    `mark` is ours, unique, without spaces; `parameters` one line; `run_as` the credential that it runs under. `reason` goes into the vendor's log.
    `name`: what our settings call a script or a service, for ways that know it by that.
    """

    kind: CommandKind
    mark: str
    what: str = ""
    parameters: str = ""
    run_as: str = ""
    reason: str = ""
    name: str = ""


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
    """One way to the bays' PCs, or to what is around them. Every call that waits may raise MachinesUnavailable or MachinesRefused, and nothing
    else; the others ask nothing and never raise. `near`: it is on the facility's own network, and so may be looked at often."""

    near: bool

    def reaches(self, resource_id: str, machine_id: str) -> str:
        """The id of this bay's machine in this way, empty where it has none here. `machine_id` is the bay's of the configuration."""

    def does(self, machine: str) -> frozenset[CommandKind]:
        """The kinds of commands that it is there for, whether or not it answers now; empty for a machine that is none of its own."""

    def able(self, machine: str) -> frozenset[CommandKind]:
        """Those that it would carry out now, as far as is known: empty while it does not answer, or the machine is said to be off."""

    def activity(self, machine: str) -> Activity | None:
        """What is known of people at this machine; None where this way knows nothing, or nothing new."""

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
