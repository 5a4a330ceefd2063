"""What the emulated NinjaOne's API takes, checked as strictly as the real one is told to be, and the device filter's grammar.

Not for: acting. Invariant: bad input is an ApiError that says what is wrong.
"""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from deploy.emulators.ninjaone.devices import Device, Maintenance
from deploy.emulators.ninjaone.errors import bad

#: numbers below look like seconds: as milliseconds they would be in 1970
MS_FROM = 100_000_000_000
PARAMETERS_MAX = 30_000
REFUSED_LETTERS = set("&|;$><`!")
ROLES = ("system", "loggedonuser", "SR_MAC_SCRIPT", "SR_LINUX_SCRIPT", "SR_LOCAL_ADMINISTRATOR", "SR_DOMAIN_ADMINISTRATOR")


class ScriptBody(msgspec.Struct, forbid_unknown_fields=True):
    """A script's start. `parameters` is one string; `runAs` a role in its own case, or a credential's id."""

    type: Literal["ACTION", "SCRIPT"]
    id: int | None = None
    uid: str | None = None
    parameters: str | None = None
    runAs: str | None = None

    def check(self) -> None:
        parameters = self.parameters or ""
        if len(parameters) > PARAMETERS_MAX or REFUSED_LETTERS & set(parameters):
            raise bad("The parameters are too long or hold a character that is not allowed.")
        if self.runAs and self.runAs not in ROLES and not self.runAs.isdigit():
            raise bad(f"Unknown credential role {self.runAs}.")


class RebootBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class ControlBody(msgspec.Struct, forbid_unknown_fields=True):
    action: Literal["START", "PAUSE", "STOP", "RESTART"]


class MaintenanceBody(msgspec.Struct, forbid_unknown_fields=True):
    """`start`, `end`: ISO 8601, or epoch milliseconds."""

    disabledFeatures: list[Literal["ALERTS", "PATCHING", "AVSCANS", "TASKS"]] = []
    start: str | float | None = None
    end: str | float | None = None
    reasonMessage: str = ""

    def window(self, now: float, *, seconds: bool) -> Maintenance:
        start = _moment("start", self.start, seconds) if self.start is not None else now
        end = _moment("end", self.end, seconds) if self.end is not None else 0.0
        if end and end <= start:
            raise bad("end must be after start.")
        return Maintenance(start, end, self.reasonMessage)


def _moment(name: str, given: str | float, seconds: bool) -> float:
    if isinstance(given, str):
        try:
            moment = dt.datetime.fromisoformat(given)
        except ValueError as error:
            raise bad(f"{name} is no ISO-8601 time.") from error
        if moment.tzinfo is None:
            raise bad(f"{name} has no offset.")
        return moment.timestamp()
    if given >= MS_FROM:
        return given / 1000
    if seconds:
        return given
    raise bad(f"{name} must be ISO-8601 or epoch milliseconds.")


class HookHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    value: str


class HookBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The webhook's one configuration. `activities`: type -> status codes; none means all."""

    url: str
    activities: dict[str, list[str]] | None = None
    expand: list[str] = []
    headers: list[HookHeader] = []
    organizationIds: list[int] | None = None


_CLAUSE = re.compile(
    r"^\s*(?:(?P<flag>online|offline)|(?P<name>org|organization|loc|id|class|status)\s*(?P<op>=|!=|eq|neq|in|notin)\s*(?P<value>.+?))\s*$",
    re.I,
)


def device_filter(text: str) -> Callable[[Device], bool]:
    """The device filter (`df`): clauses joined by AND, as far as the emulator knows them. ApiError for others."""
    checks = [_clause(part) for part in re.split(r"\s+AND\s+", text, flags=re.I)] if text.strip() else []
    return lambda machine: all(check(machine) for check in checks)


def _clause(text: str) -> Callable[[Device], bool]:
    found = _CLAUSE.match(text)
    if found is None:
        raise bad(f"Invalid device filter: {text.strip()}")
    if found["flag"]:
        wanted = found["flag"].lower() == "offline"
        return lambda machine: machine.offline == wanted
    values = {value.strip() for value in found["value"].strip("() ").split(",")}
    reads: dict[str, Callable[[Device], Any]] = {
        "org": lambda m: m.spec.organization_id, "organization": lambda m: m.spec.organization_id, "loc": lambda m: m.spec.organization_id,
        "id": lambda m: m.id, "class": lambda m: m.spec.node_class, "status": lambda m: "APPROVED",
    }  # fmt: skip
    read, negated = reads[found["name"].lower()], found["op"].lower() in ("!=", "neq", "notin")
    return lambda machine: (str(read(machine)) in values) != negated
