"""Translations between the port's words and NinjaOne's: devices to machines, activities to outcomes, errors to failures.

Not for: calls. Invariant: pure; whatever NinjaOne says becomes one of the port's values or failures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from site_agent.devices.ninjaone import objects
from site_agent.devices.ninjaone.wire import WireError
from site_agent.ports import (
    Bookmark,
    CommandKind,
    CommandOutcome,
    Machine,
    MachineCommand,
    MachinesCode,
    MachinesRefused,
    MachinesUnavailable,
)

#: how far NinjaOne's clock may be from ours before a run is taken for an earlier one
SKEW_S = 120
#: a service that was restarted is believed to run again only after this long: before, it may not have stopped yet
SERVICE_SETTLES_S = 15
TEXT_MAX = 300
#: letters that NinjaOne is told to refuse in parameters, and line ends
_REFUSED = re.compile(r"[&|;$><`!\x00-\x1f\x7f]")
_UID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: what NinjaOne does by itself; all else is a script there
NATIVE: frozenset[CommandKind] = frozenset({"restart", "service", "script"})
_ENDS = {"COMPLETED", "CANCELLED", "CANCELED", "BLOCKED", "EVALUATION_FAILURE", "FAILED", "TIMED_OUT"}
_CODES: dict[str, MachinesCode] = {
    "token": "key_refused", "client": "key_refused", "consent": "consent_lost", "no_person": "consent_missing", "scope": "right_missing",
}  # fmt: skip


def is_uid(text: str) -> bool:
    return bool(_UID.fullmatch(text))


def is_script(what: str) -> bool:
    return is_uid(what) or what.isascii() and what.isdigit() and len(what) < 10


def is_machine(machine_id: str) -> bool:
    return machine_id.isascii() and machine_id.isdigit() and len(machine_id) <= 15


def quoted(text: str) -> str:
    """A text as one argument, without the letters that NinjaOne takes for something else."""
    return '"' + re.sub(r"\s+", " ", _REFUSED.sub(" ", text.replace('"', "'"))).strip() + '"'


def check_machine(machine_id: str) -> None:
    if not is_machine(machine_id):
        raise MachinesRefused(f"{machine_id!r} is no device of NinjaOne: its id is a number.", code="machine_unknown")


def check_command(command: MachineCommand) -> None:
    """Refuses what could mean another thing at the other end than was approved here."""
    if not command.mark or " " in command.mark:
        raise MachinesRefused("A command needs a mark without spaces.")
    if command.kind not in NATIVE:
        raise MachinesRefused(
            f"NinjaOne has nothing for {command.kind!r} here: name a script for it in the settings.", code="command_unknown"
        )
    if command.kind == "script" and not is_script(command.what):
        raise MachinesRefused(
            f"{command.what!r} is no script of NinjaOne: give its number, or a built-in action's uid.", code="command_unknown"
        )
    if command.kind == "service" and not command.what:
        raise MachinesRefused("A service's restart needs its name.", code="command_unknown")
    if _REFUSED.search(command.parameters):
        raise MachinesRefused("The parameters hold a character that NinjaOne does not take.", code="command_unknown")


def script_body(command: MachineCommand) -> dict[str, Any]:
    """The documented body, and nothing beside it: unknown keys are refused."""
    named: dict[str, Any] = {"type": "ACTION", "uid": command.what} if is_uid(command.what) else {"type": "SCRIPT", "id": int(command.what)}
    return named | {"parameters": command.parameters, "runAs": command.run_as or "system"}


# ---- machines
def machine(device: objects.Device, health: objects.Health | None, alerts: Iterable[objects.Alert]) -> Machine:
    """A device with its health and its alerts. What no answer speaks of is unknown."""
    online = None if device.offline is None else not device.offline
    troubles = [] if online is not False else ["Its PC is off, or cut off from the internet."]
    troubles += dict.fromkeys(said for alert in alerts if (said := _short(alert.message or alert.subject)))
    status = health.health_status if health is not None else None
    if status in ("UNHEALTHY", "NEEDS_ATTENTION") and not troubles:
        troubles.append(_unwell(status, health))
    state: Literal["good", "trouble", "unknown"] = "trouble" if troubles else "good" if status == "HEALTHY" else "unknown"
    name = device.display_name or device.system_name or str(device.id)
    return Machine(str(device.id), name, online, int(device.last_contact or 0), state, tuple(troubles))


def _unwell(status: str, health: objects.Health | None) -> str:
    said = "NinjaOne calls it unhealthy" if status == "UNHEALTHY" else "NinjaOne says that it needs attention"
    counts = [] if health is None else [(health.active_threats_count, "threats"), (health.failed_patches, "updates that failed")]
    why = [f"{count} {what}" for count, what in counts if count]
    why += ["a restart is due"] if health is not None and health.pending_reboot_reason else []
    return f"{said}{': ' + ', '.join(why) if why else ''}."


# ---- outcomes
def script_outcome(lines: list[objects.Activity], since: Bookmark, names: set[str], ref: str) -> CommandOutcome:
    """What the journal says of a run: of the series `ref`, else of the first that was begun since the bookmark under one of the names.

    No name known: then of the only series there is, since nobody can tell which of several is ours.
    """
    runs: dict[str, list[objects.Activity]] = {}
    for line in lines:
        mine = line.activity_type in ("SCRIPTING", "ACTION", "ACTIONSET") and (line.activity_time or since.at) >= since.at - SKEW_S
        if mine and (line.series_uid or "") and (not names or {line.source_name, line.source_config_uid} & names):
            runs.setdefault(line.series_uid or "", []).append(line)
    if ref not in runs and (not runs or (not names and len(runs) > 1)):
        return CommandOutcome("waiting", ref=ref)
    series = ref if ref in runs else min(runs, key=lambda uid: min(line.id for line in runs[uid]))
    last = max(runs[series], key=lambda line: (line.status_code in _ENDS, line.id))
    if last.status_code not in _ENDS:
        return CommandOutcome("waiting" if last.status_code == "START_REQUESTED" else "running", ref=series)
    return CommandOutcome("done" if _succeeded(last) else "failed", _said(last), series)


def _succeeded(line: objects.Activity) -> bool:
    """The result is asked first: what is COMPLETED may have failed. Without one the exit code decides, then the code itself."""
    if line.activity_result:
        return line.activity_result == "SUCCESS"
    code = _exit_code(line.data)
    return line.status_code == "COMPLETED" and code in (None, 0)


def _said(line: objects.Activity) -> str:
    code, text = _exit_code(line.data), _short(line.message)
    if line.activity_result == "UNCOMPLETED":
        text = f"It did not end in time. {text}".strip()
    if line.status_code not in ("COMPLETED", "FAILED") and line.status_code:
        text = f"{text} ({line.status_code.lower().replace('_', ' ')})".strip()
    return f"{text} (exit code {code})".strip() if code else text


def _exit_code(data: Any) -> int | None:
    for place in (data, data.get("result") if isinstance(data, dict) else None):
        found = next((place[name] for name in ("exitCode", "resultCode") if name in place), None) if isinstance(place, dict) else None
        if isinstance(found, int) or (isinstance(found, str) and found.lstrip("-").isdigit() and len(found) < 12):
            return int(found)
    return None


def restart_outcome(lines: list[objects.Activity], since: Bookmark, offline: bool | None) -> CommandOutcome:
    """A restart is proven by the journal alone: that a PC is heard of may be from before."""
    for line in lines:
        if line.status_code == "SYSTEM_REBOOTED" and (line.activity_time or since.at) >= since.at - SKEW_S:
            return CommandOutcome("done", "The PC has restarted.")
    return CommandOutcome("running" if offline else "waiting")


def service_outcome(found: list[objects.Service], name: str, since: Bookmark, now: float) -> CommandOutcome:
    """By the service's own state, which is no news while it may not have stopped yet."""
    state = next((one.state for one in found if name in (one.service_id, one.service_name, one.display_name)), None)
    if state is None or now < since.at + SERVICE_SETTLES_S:
        return CommandOutcome("waiting")
    return (
        CommandOutcome("done", "The service runs.") if state == "RUNNING" else CommandOutcome("running", f"The service is {state.lower()}.")
    )


def field_outcome(written: Any, mark: str) -> CommandOutcome:
    """What the console's automation wrote: "<mark> <exit code> <text>"."""
    said = written.get("text", "") if isinstance(written, dict) else written
    first, _, rest = said.partition(" ") if isinstance(said, str) else ("", "", "")
    if first != mark:
        return CommandOutcome("waiting")
    code, _, text = rest.partition(" ")
    if not code.lstrip("-").isdigit():
        return CommandOutcome("running", _short(rest))
    return CommandOutcome("done" if int(code) == 0 else "failed", _short(text) + (f" (exit code {code})" if int(code) else ""))


def run_ref(answer: Any) -> str:
    """The series in a start's answer where a tenant gives one; other ids are no use."""
    if isinstance(answer, dict):
        answer = next((answer[name] for name in ("seriesUid", "jobUid", "uid") if name in answer), None)
    return answer if isinstance(answer, str) and is_uid(answer) else ""


# ---- the webhook
#: by which the hub knows a call of NinjaOne's, and what it is called about: whatever may change how a machine is
HOOK_HEADER = "X-Clubos-Hook"
_CALLED_ABOUT = {"CONDITION": ["TRIGGERED", "RESET"], "SYSTEM": ["SYSTEM_REBOOTED"], "SCRIPTING": ["COMPLETED"]}


def webhook_body(url: str, secret: str) -> dict[str, Any]:
    """One configuration serves all facilities of an app, since NinjaOne keeps only one; the hub passes over what is nobody's."""
    return {"url": url, "activities": _CALLED_ABOUT, "headers": [{"name": HOOK_HEADER, "value": secret}]}


def webhook_failure(error: WireError) -> MachinesUnavailable | MachinesRefused:
    """As `failure`; a lacking right is of another kind here."""
    if error.kind not in ("scope", "no_person"):
        return failure(error)
    return MachinesRefused(
        "NinjaOne lets only a system administrator have it call somebody. Please run “site-agent ninjaone connect” and sign in as one, then"
        f" try again. {error}",
        code="right_missing",
    )


# ---- failures
def failure(error: WireError) -> MachinesUnavailable | MachinesRefused:
    """The port's failure for the wire's."""
    if error.passing:
        busy = error.kind == "busy"
        return MachinesUnavailable(str(error), retry_after_s=error.retry_after_s or 5, outcome_unknown=error.may_have_acted, busy=busy)
    return MachinesRefused(str(error), code=_CODES.get(error.kind, "machine_unknown" if error.kind == "unknown_thing" else "refused"))


def _short(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip()[:TEXT_MAX]
