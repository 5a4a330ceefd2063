"""The emulated NinjaOne's own desk at /_emulator/: the page for people, its state, and what can be done to devices, tokens and answers.

Not for: anything the vendor has. It asks for no sign-in, so it listens where the emulator listens (this machine by default); JSON bodies
are demanded so that a foreign web page cannot post to it. Invariant: bad input gets an answer that says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from deploy.emulators.common import page as common
from deploy.emulators.common.faults import SECONDS_MAX
from deploy.emulators.messages.wire import Answer
from deploy.emulators.ninjaone import page
from deploy.emulators.ninjaone.errors import ApiError, bad
from deploy.emulators.ninjaone.estate import Result
from deploy.emulators.ninjaone.faults import Fault
from deploy.emulators.ninjaone.http import Request

if TYPE_CHECKING:
    from deploy.emulators.ninjaone.tenant import Tenant

PREFIX = "/_emulator"


class DeviceBody(msgspec.Struct, forbid_unknown_fields=True):
    """What befalls a device; what is not given stays. `alert` raises one, `mend` ends all."""

    device_id: int
    power: bool | None = None
    health: Literal["HEALTHY", "NEEDS_ATTENTION", "UNHEALTHY", "UNKNOWN"] | None = None
    alert: str = ""
    severity: Literal["MINOR", "MODERATE", "MAJOR", "CRITICAL"] = "MAJOR"
    mend: bool = False
    pending_reboot: str | None = None


class RunsBody(msgspec.Struct, forbid_unknown_fields=True):
    """How the next runs end, in order."""

    next: list[Result]


class TokensBody(msgspec.Struct, forbid_unknown_fields=True):
    """What befalls tokens: `access` all access tokens die, `consent` every person's consent is taken back, `revoked` all apps are refused."""

    access: bool = False
    consent: bool = False
    revoked: bool | None = None


class FaultsBody(msgspec.Struct, forbid_unknown_fields=True):
    """What to break; `clear` comes first. `refuse_s`: connections are refused for so long. `lag_s`, `drop_hooks`: late and lost news."""

    clear: bool = False
    next: list[Fault] = []
    refuse_s: float = 0.0
    lag_s: float | None = None
    drop_hooks: int = 0


class VariantsBody(msgspec.Struct, forbid_unknown_fields=True):
    """Variants by name; what is not given stays."""

    change: dict[str, Any]


def answer(tenant: Tenant, refuse_for: Callable[[float], None], request: Request) -> Answer:
    """One request below /_emulator. Raises ApiError."""
    path = request.path.removeprefix(PREFIX)
    if request.method in ("GET", "HEAD"):
        return _show(tenant, path)
    deeds: dict[str, tuple[type, Callable[[Any], None]]] = {
        "/device": (DeviceBody, lambda body: _device(tenant, body)),
        "/runs": (RunsBody, lambda body: [tenant.estate.next_result(one) for one in body.next] and None),
        "/tokens": (TokensBody, lambda body: _tokens(tenant, body)),
        "/faults": (FaultsBody, lambda body: _faults(tenant, body, refuse_for)),
        "/variants": (VariantsBody, lambda body: _variants(tenant, body)),
        "/forget": (dict, lambda body: tenant.estate.forget()),
    }
    if request.method != "POST":
        raise ApiError(405, "method_not_allowed", "The emulator's desk takes GET and POST.")
    if path not in deeds:
        raise ApiError(404, "not_found", "The emulator's desk has no such path.")
    kind, deed = deeds[path]
    try:
        deed(request.decode(kind))
    except ValueError as error:
        raise bad(str(error)) from error
    return Answer(200, b'{"done":true}', headers={"Cache-Control": "no-store"})


def state(tenant: Tenant) -> dict[str, Any]:
    """Everything the page shows, as JSON values, without secrets."""
    estate, now = tenant.estate, tenant.now()
    return {
        "now": now,
        "devices": [
            machine.told(now) | {"health": estate.health_row(machine), "services": machine.services, "fields": machine.fields}
            for machine in estate.devices.values()
        ],
        "alerts": [alert.told() for alert in estate.alerts.values()],
        "runs": [msgspec.to_builtins(run) for run in reversed(estate.runs)],
        "activities": [line.told() for line in estate.journal.visible()[:100]],
        "tokens": {
            "revoked": tenant.oauth.revoked,
            "consents": tenant.oauth.consents,
            "grants": [{"at": at, "grant": grant, "app": app} for at, grant, app in tenant.oauth.grants[-50:]],
        },  # fmt: skip
        "hook": None if tenant.hook is None else {"url": tenant.hook.url},
        "hooks": [
            {"url": one.url, "at": one.at, "status": one.status, "trouble": one.trouble} for one in list(tenant.hooks.attempts)[-50:]
        ],
        "faults": [msgspec.to_builtins(fault) for fault in tenant.faults.waiting()],
        "variants": msgspec.to_builtins(tenant.variants),
        "lag_s": estate.journal.lag_s,
        "requests": len(tenant.requests),
    }


def _show(tenant: Tenant, path: str) -> Answer:
    if path in ("", "/"):
        return Answer(200, page.render(tenant).encode(), "text/html; charset=utf-8", common.HEADERS)
    if path == "/board":
        return Answer(200, page.board(tenant).encode(), "text/html; charset=utf-8", common.HEADERS)
    if path == "/state":
        return Answer(200, msgspec.json.encode(state(tenant)), headers={"Cache-Control": "no-store"})
    found = common.file(path.removeprefix("/"), page.STATIC)
    if found is None:
        raise ApiError(404, "not_found", "The emulator's desk has no such path.")
    return Answer(200, *found, {"X-Content-Type-Options": "nosniff"})


def _device(tenant: Tenant, body: DeviceBody) -> None:
    estate = tenant.estate
    machine = estate.device(body.device_id)
    if body.mend:
        for alert in estate.alerts_of(machine.id):
            estate.reset(alert.uid)
        machine.health = "HEALTHY"
    if body.power is not None:
        estate.power(machine.id, body.power)
    if body.health is not None:
        machine.health = body.health
    if body.pending_reboot is not None:
        machine.pending_reboot = body.pending_reboot
    if body.alert:
        estate.alert(machine.id, body.alert[:300], body.severity)


def _tokens(tenant: Tenant, body: TokensBody) -> None:
    if body.access:
        tenant.oauth.revoke_access()
    if body.consent:
        tenant.oauth.end_consent()
    if body.revoked is not None:
        tenant.oauth.revoked = body.revoked


def _faults(tenant: Tenant, body: FaultsBody, refuse_for: Callable[[float], None]) -> None:
    for fault in body.next:
        if fault.problem():
            raise ValueError(fault.problem())
    if not 0 <= body.refuse_s <= SECONDS_MAX or not 0 <= (body.lag_s or 0) <= SECONDS_MAX:
        raise ValueError(f"Seconds must be 0 to {SECONDS_MAX:.0f}.")
    if body.clear:
        tenant.faults.clear()
    for fault in body.next:
        tenant.faults.add(fault)
    if body.lag_s is not None:
        tenant.estate.journal.lag_s = body.lag_s
    tenant.hooks.drop += max(0, body.drop_hooks)
    if body.refuse_s:
        refuse_for(body.refuse_s)


def _variants(tenant: Tenant, body: VariantsBody) -> None:
    wanted = msgspec.convert(msgspec.to_builtins(tenant.variants) | body.change, type(tenant.variants))
    for name, value in msgspec.structs.asdict(wanted).items():
        setattr(tenant.variants, name, value)
