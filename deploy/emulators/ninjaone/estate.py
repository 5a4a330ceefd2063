"""Everything that one NinjaOne tenant holds and everything that happens in it by the clock: scripts, restarts, alerts.

    estate.advance()    # before every answer, and now and then: does what has become due

Not for: HTTP, OAuth. Invariants: what an offline device is asked waits until it is back; a run's activities share one series; a run happens
once however often its activities are read.
"""

import uuid
from collections.abc import Callable
from random import Random
from typing import Any, Literal

import msgspec

from deploy.emulators.ninjaone.activities import Journal
from deploy.emulators.ninjaone.devices import Alert, Device, DeviceSpec, Maintenance, Script, device
from deploy.emulators.ninjaone.errors import ApiError, bad, unknown
from deploy.emulators.ninjaone.variants import Variants

RUNS_KEPT = 500
RESULTS_MAX = 1_000


class Result(msgspec.Struct, forbid_unknown_fields=True):
    """How the next run ends. `never`: it starts and nothing more is heard of it. `code` is the activity's."""

    result: Literal["SUCCESS", "FAILURE", "UNSUPPORTED", "UNCOMPLETED"] = "SUCCESS"
    code: Literal["COMPLETED", "CANCELLED", "BLOCKED", "EVALUATION_FAILURE", "FAILED", "TIMED_OUT"] = "COMPLETED"
    exit_code: int = 0
    message: str = ""
    never: bool = False


class Automation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an administrator may set up at the console: "<mark> <script's name>" written into one custom field starts that script, and its
    end writes "<mark> <exit code> <message>" into the other."""

    command_field: str = "clubosCommand"
    result_field: str = "clubosResult"


class Run(msgspec.Struct):
    """Something that a device does: a script, a service's restart, its own. `mark` where the console's automation started it."""

    series: str
    device_id: int
    kind: Literal["script", "service", "reboot"]
    name: str
    source: str
    by: str
    asked_at: float
    seconds: float
    parameters: str = ""
    run_as: str = ""
    step: Literal["asked", "started", "over"] = "asked"
    started_at: float = 0.0
    how: Result = msgspec.field(default_factory=Result)
    mark: str = ""


class Estate:
    """One tenant. `runs` oldest first; `commands` is what devices were asked to do and took: (device id, kind, name)."""

    def __init__(
        self, specs: tuple[DeviceSpec, ...], scripts: tuple[Script, ...], organizations: dict[int, str], now: Callable[[], float], rng: Random,
        variants: Variants, *, lag_s: float, start_s: float, reboot_s: float, automation: Automation | None = None,
    ) -> None:  # fmt: skip
        self.automation = automation
        self.now, self._rng, self.variants = now, rng, variants
        self.start_s, self.reboot_s = start_s, reboot_s
        self.organizations = organizations
        self.devices: dict[int, Device] = {spec.id: device(spec, now()) for spec in specs}
        self.scripts = {script.id: script for script in scripts}
        self.journal = Journal(now, lag_s)
        self.alerts: dict[str, Alert] = {}
        self.runs: list[Run] = []
        self.results: list[Result] = []
        for spec in specs:
            if spec.alert:
                self.alert(spec.id, spec.alert, "MAJOR")

    def device(self, device_id: int) -> Device:
        found = self.devices.get(device_id)
        if found is None:
            raise unknown(f"Device {device_id}")
        return found

    @property
    def commands(self) -> list[tuple[int, str, str]]:
        return [(run.device_id, run.kind, run.name) for run in self.runs]

    # ---- time
    def advance(self) -> None:
        for run in self.runs:
            self._go_on(run)
        self.journal.advance()

    def _go_on(self, run: Run) -> None:
        machine, now = self.devices[run.device_id], self.now()
        if run.step == "asked" and not machine.offline and now >= run.asked_at + self.start_s:
            run.step, run.started_at = "started", run.asked_at + self.start_s
            self._begin(run, machine)
        if run.step == "started" and not run.how.never and now >= run.started_at + run.seconds:
            run.step = "over"
            self._end(run, machine)

    def _begin(self, run: Run, machine: Device) -> None:
        if run.kind == "script":
            self._line(run, "STARTED", f"{run.name} is running", at=run.started_at)
        elif run.kind == "service":
            machine.services[run.source] = "STOPPED"
        else:
            machine.offline, machine.last_contact = True, run.started_at

    def _end(self, run: Run, machine: Device) -> None:
        at = run.started_at + run.seconds
        if run.kind == "script":
            how = run.how
            message = how.message or (f"{run.name} ended" if how.result == "SUCCESS" else f"{run.name} failed")
            data = {"data": {"exitCode": how.exit_code}, "result_code": {"resultCode": str(how.exit_code)},
                    "nested": {"result": {"exitCode": how.exit_code}}, "absent": {}}[self.variants.exit_code]  # fmt: skip
            self._line(run, how.code, message, at=at, result=how.result, data=data)
            if run.mark and self.automation is not None:
                machine.fields[self.automation.result_field] = f"{run.mark} {how.exit_code} {message}"
        elif run.kind == "service":
            machine.services[run.source] = "RUNNING" if run.how.result == "SUCCESS" else "STOPPED"
        else:
            machine.offline, machine.last_contact, machine.pending_reboot = False, at, ""
            self.journal.write(machine.id, "SYSTEM", "SYSTEM_REBOOTED", f"System rebooted: {run.name}", at=at)

    def _line(self, run: Run, code: str, message: str, **more: Any) -> None:
        self.journal.write(run.device_id, "SCRIPTING", code, message, series=run.series, source=run.name, source_config=run.source, **more)

    # ---- commands
    def run_script(self, device_id: int, script: Script, parameters: str, run_as: str, by: str) -> Run:
        """Takes a script for a device; one that is off does it when it is back."""
        self.device(device_id)
        source = script.uid or str(uuid.uuid5(uuid.NAMESPACE_OID, f"script-{script.id}"))
        run = self._take(Run(self._uid(), device_id, "script", script.name, source, by, self.now(), script.seconds, parameters, run_as))
        run.how = self.results.pop(0) if self.results else Result()
        self._line(run, "START_REQUESTED", f"{script.name} was asked for by {by}")
        return run

    def control(self, device_id: int, service: str, action: str, by: str) -> Run:
        """START, STOP, PAUSE or RESTART of a Windows service."""
        machine = self.device(device_id)
        if service not in machine.services:
            raise unknown(f"Service {service}")
        run = self._take(Run(self._uid(), device_id, "service", f"{action} {service}", service, by, self.now(), 2.0))
        run.how = self.results.pop(0) if self.results else Result()
        if action in ("STOP", "PAUSE"):
            run.how = Result(result="FAILURE")  # it ends stopped
        return run

    def reboot(self, device_id: int, mode: str, reason: str, by: str) -> Run:
        machine = self.device(device_id)
        if machine.offline:
            raise bad("Device is not applicable for reboot.")
        return self._take(Run(self._uid(), device_id, "reboot", reason or mode, mode, by, self.now(), self.reboot_s))

    def _take(self, run: Run) -> Run:
        self.runs.append(run)
        del self.runs[:-RUNS_KEPT]
        return run

    def jobs(self, device_id: int | None = None) -> list[dict[str, Any]]:
        """What runs just now; what is over is in no list."""
        return [
            {
                "uid": run.series,
                "deviceId": run.device_id,
                "message": run.name,
                "createTime": run.asked_at,
                "updateTime": run.asked_at,
                "sourceType": "SCRIPTING",
                "sourceConfigUid": run.source,
                "sourceName": run.name,
                "jobType": "SCRIPTING",
                "jobStatus": "START_REQUESTED" if run.step == "asked" else "IN_PROCESS",
            }  # fmt: skip
            for run in self.runs
            if run.kind == "script" and run.step != "over" and device_id in (None, run.device_id)
        ]

    # ---- what befalls them
    def power(self, device_id: int, on: bool) -> None:
        """A PC is switched off or on, and NinjaOne has noticed."""
        machine = self.device(device_id)
        if machine.offline == on:
            machine.offline, machine.last_contact = not on, self.now()
            for run in self.runs:
                if on and run.device_id == device_id and run.step == "asked":
                    run.asked_at = max(run.asked_at, self.now() - self.start_s)

    def alert(self, device_id: int, message: str, severity: str) -> Alert:
        machine = self.device(device_id)
        made = Alert(self._uid(), device_id, message, severity, self.now())
        self.alerts[made.uid] = made
        self._told(machine, "TRIGGERED", made)
        return made

    def reset(self, uid: str) -> None:
        gone = self.alerts.pop(uid, None)
        if gone is None:
            raise unknown(f"Alert {uid}")
        self._told(self.devices[gone.device_id], "RESET", gone)

    def _told(self, machine: Device, code: str, alert: Alert) -> None:
        self.journal.write(
            machine.id, "CONDITION", code, alert.message, series=alert.uid, source="Bay health", severity=alert.severity,
            result="FAILURE" if code == "TRIGGERED" else "SUCCESS",
        )  # fmt: skip

    def alerts_of(self, device_id: int) -> list[Alert]:
        return [alert for alert in self.alerts.values() if alert.device_id == device_id]

    def health_row(self, machine: Device) -> dict[str, Any]:
        alerts = self.alerts_of(machine.id)
        worst = "UNHEALTHY" if any(alert.severity == "CRITICAL" for alert in alerts) else "NEEDS_ATTENTION" if alerts else "HEALTHY"
        return machine.health_row(len(alerts), len(self.jobs(machine.id)), worst)

    def put_fields(self, device_id: int, fields: dict[str, Any]) -> None:
        """Writes custom fields, and does what the console's automation makes of them."""
        machine = self.device(device_id)
        machine.fields |= fields
        written = fields.get(self.automation.command_field) if self.automation is not None else None
        mark, _, name = written.partition(" ") if isinstance(written, str) else ("", "", "")
        script = next((one for one in self.scripts.values() if name and (name == one.name or name.startswith(f"{one.name} "))), None)
        if script is not None:
            self.run_script(device_id, script, name.removeprefix(script.name).strip(), "system", "an automation").mark = mark

    def maintain(self, device_id: int, window: Maintenance | None) -> None:
        self.device(device_id).maintenance = window

    def next_result(self, how: Result) -> None:
        """How the next run ends. ValueError where too many wait."""
        if len(self.results) >= RESULTS_MAX:
            raise ValueError(f"{RESULTS_MAX} results wait already.")
        self.results.append(how)

    def forget(self) -> None:
        """Ends what runs, alerts and scripted results; devices come back, healthy."""
        self.runs.clear()
        self.results.clear()
        self.alerts.clear()
        for spec_id, machine in self.devices.items():
            self.devices[spec_id] = device(machine.spec, self.now())

    def _uid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))


def script_of(estate: Estate, kind: str, script_id: int | None, uid: str) -> Script:
    """The script or built-in action that a body names. ApiError for none."""
    if kind == "SCRIPT" and script_id in estate.scripts and not estate.scripts[script_id].uid:
        return estate.scripts[script_id]
    named = next((script for script in estate.scripts.values() if kind == "ACTION" and uid and script.uid == uid), None)
    if named is None:
        raise ApiError(404, "not_found", f"No such {kind.lower()}.")
    return named
