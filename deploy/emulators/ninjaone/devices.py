"""The devices of the emulated NinjaOne and what is known of them: on or off, healthy or not, alerts, services, fields, maintenance.

Not for: what runs on them (`runs`), HTTP. Invariant: times are unix seconds with a fraction, as NinjaOne tells them.
"""

import hashlib
from typing import Any, Literal

import msgspec

_SERVICES = {"TrackManPerformance": "TrackMan Performance Studio", "Spooler": "Print Spooler"}

ServiceState = Literal["RUNNING", "STOPPED", "PAUSED"]


class DeviceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device as the settings name it. `services`: Windows service -> the name that people see."""

    id: int
    name: str
    organization_id: int = 1
    node_class: str = "WINDOWS_WORKSTATION"
    services: dict[str, str] = msgspec.field(default_factory=lambda: dict(_SERVICES))
    alert: str = ""
    offline: bool = False


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A script of the library, or a built-in action where `uid` is given. `seconds`: how long it runs."""

    id: int
    name: str
    description: str = ""
    uid: str = ""
    seconds: float = 4.0


class Alert(msgspec.Struct, frozen=True):
    """An active alert; a series of activities has the same uid."""

    uid: str
    device_id: int
    message: str
    severity: str
    at: float

    def told(self) -> dict[str, Any]:
        return {
            "uid": self.uid, "deviceId": self.device_id, "message": self.message, "createTime": self.at, "updateTime": self.at,
            "sourceType": "CONDITION_SYSTEM", "sourceName": "Bay health", "subject": self.message, "severity": self.severity, "priority": "HIGH",
            "conditionName": "Bay health", "conditionHealthStatus": "UNHEALTHY" if self.severity == "CRITICAL" else "NEEDS_ATTENTION",
        }  # fmt: skip


class Maintenance(msgspec.Struct, frozen=True):
    """Unix seconds; `end` 0 for no end."""

    start: float
    end: float
    reason: str


class Device(msgspec.Struct):
    """One device. `health` is what device-health says where no alert says worse; `power`: whether its PC is on, which `offline` tells late."""

    spec: DeviceSpec
    last_contact: float
    offline: bool = False
    health: Literal["HEALTHY", "NEEDS_ATTENTION", "UNHEALTHY", "UNKNOWN"] = "HEALTHY"
    services: dict[str, ServiceState] = {}
    fields: dict[str, Any] = {}
    maintenance: Maintenance | None = None
    pending_reboot: str = ""

    @property
    def id(self) -> int:
        return self.spec.id

    def told(self, now: float, *, detailed: bool = False) -> dict[str, Any]:
        """As the lists tell it; `detailed` with what one device's own address adds."""
        name = self.spec.name
        fields: dict[str, Any] = {
            "id": self.id, "uid": _uid(f"device-{self.id}"), "organizationId": self.spec.organization_id, "locationId": self.spec.organization_id,
            "nodeClass": self.spec.node_class, "nodeRoleId": 2, "rolePolicyId": 5, "approvalStatus": "APPROVED", "offline": self.offline,
            "displayName": name, "systemName": name.upper().replace(" ", "-"), "created": 1690000000.123,
            "lastContact": now - 12.5 if not self.offline else self.last_contact, "lastUpdate": self.last_contact,
        }  # fmt: skip
        if self.maintenance is not None and (not self.maintenance.end or self.maintenance.end > now):
            status = "PENDING" if self.maintenance.start > now else "IN_MAINTENANCE"
            fields["maintenance"] = {"status": status, "start": self.maintenance.start, "reasonMessage": self.maintenance.reason}
            if self.maintenance.end:
                fields["maintenance"]["end"] = self.maintenance.end
        if detailed:
            fields |= {"ipAddresses": [f"192.0.2.{self.id % 250 + 1}"], "publicIP": "198.51.100.7", "notes": []}
            fields |= {"os": {"name": "Windows 11 Professional", "needsReboot": bool(self.pending_reboot)}}
        return fields

    def health_row(self, alerts: int, jobs: int, worst: str) -> dict[str, Any]:
        """A row of device-health."""
        return {
            "deviceId": self.id, "offline": self.offline, "parentOffline": False,
            "healthStatus": self.health if self.health != "HEALTHY" else worst, "alertCount": alerts, "activeJobCount": jobs,
            "pendingRebootReason": self.pending_reboot or None, "failedOSPatchesCount": 0, "pendingOSPatchesCount": 0, "activeThreatsCount": 0,
            "installationIssuesCount": 0,
        }  # fmt: skip

    def service_rows(self, wanted: str, state: str) -> list[dict[str, Any]]:
        """Its Windows services, of one name or in one state where asked."""
        return [
            {"serviceId": name, "serviceName": name, "displayName": self.spec.services[name], "state": now, "startType": "AUTO_START"}
            for name, now in self.services.items()
            if (not wanted or wanted in (name, self.spec.services[name])) and (not state or state == now)
        ]


def device(spec: DeviceSpec, now: float) -> Device:
    """A device as it is when the emulator starts."""
    services: dict[str, ServiceState] = dict.fromkeys(spec.services, "RUNNING")
    return Device(spec, now, offline=spec.offline, services=services, fields={})


def _uid(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
