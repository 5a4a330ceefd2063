"""What a bay's PC says, as structs: decoded strictly in what matters, unknown fields ignored, everything with a limit."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Mark = Annotated[str, Meta(min_length=1, max_length=64)]
Seconds = Annotated[int, Meta(ge=0, le=10**9)]
#: what a PC may say at once
COMMANDS_MAX, PROGRAMS_MAX, OUTCOMES_MAX = 100, 20, 50
POLL_MAX_S = 25.0


class Offered(msgspec.Struct, frozen=True):
    """Something that the PC's own settings allow."""

    kind: Annotated[str, Meta(max_length=32)]
    what: Annotated[str, Meta(max_length=200)] = ""


class Program(msgspec.Struct, frozen=True):
    """A program that is watched there. `running` None: it cannot be seen."""

    name: Annotated[str, Meta(max_length=80)]
    running: bool | None = None
    must_run: bool = False


class Hello(msgspec.Struct, frozen=True):
    """A heartbeat. `idle_s`: since somebody used it, None where that cannot be seen. `clock_off_s`: its clock minus ours, positive: fast."""

    version: Annotated[str, Meta(max_length=40)] = ""
    system: Annotated[str, Meta(max_length=40)] = ""
    boot_id: Annotated[str, Meta(max_length=80)] = ""
    uptime_s: Seconds | None = None
    idle_s: Seconds | None = None
    disk_free_mb: Seconds | None = None
    clock_off_s: Annotated[int, Meta(ge=-(10**10), le=10**10)] = 0
    programs: Annotated[tuple[Program, ...], Meta(max_length=PROGRAMS_MAX)] = ()
    commands: Annotated[tuple[Offered, ...], Meta(max_length=COMMANDS_MAX)] = ()


class Poll(msgspec.Struct, frozen=True):
    """It asks for work, and waits so long for it."""

    wait_s: Annotated[float, Meta(ge=0, le=POLL_MAX_S)] = 0.0


class Outcome(msgspec.Struct, frozen=True):
    """What has become of a command there. `unknown`: it was begun, and nobody there knows how it ended."""

    id: Mark
    state: Literal["taken", "running", "done", "failed", "unknown"]
    text: Annotated[str, Meta(max_length=1000)] = ""


class Report(msgspec.Struct, frozen=True):
    """`never`: commands that it was asked about and nobody gave there."""

    outcomes: Annotated[tuple[Outcome, ...], Meta(max_length=OUTCOMES_MAX)] = ()
    never: Annotated[tuple[Mark, ...], Meta(max_length=OUTCOMES_MAX)] = ()


class Given(msgspec.Struct, frozen=True):
    """A command on its way: not to be begun later than in `ttl_s`."""

    id: str
    kind: str
    what: str
    parameters: str
    ttl_s: int


hello_of = msgspec.json.Decoder(Hello).decode
poll_of = msgspec.json.Decoder(Poll).decode
report_of = msgspec.json.Decoder(Report).decode
