"""What NinjaOne's answers hold, as far as we read it. Every field may be missing or null; what is not known is ignored.

Not for: meaning. Invariant: decoding is lenient here, so that a field of a newer release stops nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Lenient(msgspec.Struct, frozen=True, rename="camel"):
    """Base: names as NinjaOne writes them."""


class Device(Lenient):
    """A device of a list. Times are unix seconds with a fraction."""

    id: int
    display_name: str | None = None
    system_name: str | None = None
    offline: bool | None = None
    last_contact: float | None = None
    approval_status: str | None = None


class Health(Lenient):
    """A row of device-health."""

    device_id: int
    health_status: str | None = None
    offline: bool | None = None
    alert_count: int | None = None
    pending_reboot_reason: str | None = None
    # the vendor's letter case, which is no camel's
    failed_patches: int | None = msgspec.field(default=None, name="failedOSPatchesCount")
    active_threats_count: int | None = None


class Alert(Lenient):
    """An active alert."""

    device_id: int | None = None
    message: str | None = None
    subject: str | None = None
    severity: str | None = None
    create_time: float | None = None


class Activity(Lenient):
    """A line of a device's journal."""

    id: int
    activity_time: float | None = None
    activity_type: str | None = None
    status_code: str | None = None
    activity_result: str | None = None
    series_uid: str | None = None
    source_config_uid: str | None = None
    source_name: str | None = None
    message: str | None = None
    data: Any = None


class Activities(Lenient):
    """A device's journal in its envelope; some tenants send the bare list."""

    activities: list[Activity] = []
    last_node_activity_id: int | None = None


class Cursor(Lenient):
    name: str | None = None


class HealthPage(Lenient):
    """A page of the query."""

    results: list[Health] = []
    cursor: Cursor | None = None


class Service(Lenient):
    """A Windows service."""

    service_id: str | None = None
    service_name: str | None = None
    display_name: str | None = None
    state: str | None = None


class Script(Lenient):
    """A script of the library."""

    name: str | None = None
    id: int | None = None
    uid: str | None = None
    active: bool | None = None
    type: str | None = None


class Options(Lenient):
    """What can be run on one device."""

    scripts: list[Script] = []


class Grant(msgspec.Struct, frozen=True):
    """What the token endpoint gives. `expires_in` seconds."""

    access_token: str
    expires_in: float = 3600.0
    refresh_token: str = ""
    scope: str = ""
