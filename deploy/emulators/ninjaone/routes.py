"""The emulated NinjaOne's API under /v2 (and /api/v2, the same): which call needs which scope, and what it answers.

Not for: sockets, OAuth's own addresses. Invariants: starting a script needs a person behind the token; a list is a bare array, a query has a
cursor; success of a command is 204 with nothing in it.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec

from deploy.emulators.messages.wire import Answer
from deploy.emulators.ninjaone.activities import found
from deploy.emulators.ninjaone.bodies import ControlBody, HookBody, MaintenanceBody, RebootBody, ScriptBody, device_filter
from deploy.emulators.ninjaone.devices import Device
from deploy.emulators.ninjaone.errors import ApiError, bad, unknown
from deploy.emulators.ninjaone.estate import Estate, Run, script_of
from deploy.emulators.ninjaone.http import Request
from deploy.emulators.ninjaone.oauth import Token
from deploy.emulators.ninjaone.variants import Variants

PAGE_MAX = 1_000_000
CURSOR_S = 600
LIBRARY_CREDENTIALS = {"roles": ["system", "loggedonuser"], "credentials": [{"id": 26, "name": "Bay operator", "type": "BASIC"}]}


class Tenant(Protocol):
    """What the routes work on."""

    estate: Estate
    variants: Variants
    hook: HookBody | None
    hook_hosts: frozenset[str]


class Call(NamedTuple):
    """One call: the tenant, the request, whose token it bears, and the ids in its path."""

    tenant: Tenant
    request: Request
    token: Token
    ids: tuple[str, ...]

    @property
    def estate(self) -> Estate:
        return self.tenant.estate

    @property
    def device(self) -> Device:
        return self.estate.device(int(self.ids[0]))

    @property
    def by(self) -> str:
        return self.token.user or self.token.client_id


Handler = Callable[[Call], Answer]


class Route(NamedTuple):
    method: str
    path: re.Pattern[str]
    scope: str
    handler: Handler
    user: bool = False


def told(data: Any) -> Answer:
    return Answer(200, msgspec.json.encode(data))


NOTHING = Answer(204)


def _paged(call: Call, rows: list[dict[str, Any]]) -> Answer:
    """A bare array in order of ids, `pageSize` from behind `after` on."""
    after, size = call.request.number("after", 0, 0, 1 << 62), call.request.number("pageSize", 1000, 1, PAGE_MAX)
    return told([row for row in sorted(rows, key=lambda row: row["id"]) if row["id"] > after][:size])


def _query(call: Call, rows: list[dict[str, Any]]) -> Answer:
    """A page of a query with its cursor; the cursor's name says how far it is."""
    size = call.request.number("pageSize", 1000, 1, 10_000)
    cursor = call.request.query.get("cursor", "")
    name, _, at = cursor.partition(".")
    offset = int(at) if name == "cursor" and at.isdigit() else 0
    if cursor and not offset:
        raise bad("Unknown cursor.")
    page, end = rows[offset : offset + size], offset + size
    position = {"name": f"cursor.{end}", "offset": offset, "count": len(page), "expires": call.estate.now() + CURSOR_S}
    return told({"cursor": position, "results": page} if end < len(rows) else {"results": page})


def _chosen(call: Call) -> list[Device]:
    chosen = device_filter(call.request.query.get("df", ""))
    return [machine for machine in sorted(call.estate.devices.values(), key=lambda m: m.id) if chosen(machine)]


# ---- lists
def organizations(call: Call) -> Answer:
    return _paged(call, [{"id": number, "name": name} for number, name in call.estate.organizations.items()])


def devices(call: Call) -> Answer:
    return _paged(call, [machine.told(call.estate.now()) for machine in _chosen(call)])


def devices_detailed(call: Call) -> Answer:
    return _paged(call, [machine.told(call.estate.now(), detailed=True) for machine in _chosen(call)])


def organization_devices(call: Call) -> Answer:
    number = int(call.ids[0])
    if number not in call.estate.organizations:
        raise unknown(f"Organization {number}")
    return _paged(call, [m.told(call.estate.now()) for m in call.estate.devices.values() if m.spec.organization_id == number])


def one_device(call: Call) -> Answer:
    return told(call.device.told(call.estate.now(), detailed=True))


def health(call: Call) -> Answer:
    wanted = call.request.query.get("health", "")
    rows = [call.estate.health_row(machine) for machine in _chosen(call)]
    return _query(call, [row for row in rows if not wanted or row["healthStatus"] == wanted])


def alerts(call: Call) -> Answer:
    known = {machine.id for machine in _chosen(call)}
    return told([alert.told() for alert in call.estate.alerts.values() if alert.device_id in known])


def device_alerts(call: Call) -> Answer:
    return told([alert.told() for alert in call.estate.alerts_of(call.device.id)])


def reset_alert(call: Call) -> Answer:
    if call.request.method == "POST":
        call.request.decode(dict)
    call.estate.reset(call.ids[0])
    return NOTHING


def jobs(call: Call) -> Answer:
    return told(call.estate.jobs())


def device_jobs(call: Call) -> Answer:
    return told(call.estate.jobs(call.device.id))


def activities(call: Call) -> Answer:
    wanted = {"type": "type", "status": "status", "seriesUid": "series", "sourceConfigUid": "source"}
    return _activities(call, {ours: call.request.query.get(theirs, "") for theirs, ours in wanted.items()}, "lastActivityId")


def device_activities(call: Call) -> Answer:
    wanted = {"activityType": "type", "status": "status", "seriesUid": "series"}
    chosen = {ours: call.request.query.get(theirs, "") for theirs, ours in wanted.items()}
    return _activities(call, chosen | {"device": str(call.device.id)}, "lastNodeActivityId")


def _activities(call: Call, wanted: dict[str, str], last_name: str) -> Answer:
    size = call.request.number("pageSize", 200, 10, 1000)
    newer, older = call.request.id_of("newerThan"), call.request.id_of("olderThan")
    lines = call.estate.journal.visible()
    page = [line.told() for line in found(lines, wanted | {"newer": newer, "older": older})][:size]
    if call.tenant.variants.activities_bare:
        return told(page)
    newest = found(lines, {"device": wanted.get("device", "")})
    return told({last_name: newest[0].id if newest else 0, "activities": page})


def fields(call: Call) -> Answer:
    return told(call.device.fields)


def all_fields(call: Call) -> Answer:
    return _query(call, [{"deviceId": machine.id, "fields": machine.fields} for machine in _chosen(call)])


def scripting_options(call: Call) -> Answer:
    call.estate.device(int(call.ids[0]))
    rows = [
        {"type": "ACTION" if script.uid else "SCRIPT", "name": script.name, "description": script.description, "language": "powershell",
         "architecture": ["64"], "categoryId": 1, **({"uid": script.uid} if script.uid else {"id": script.id})}
        for script in call.estate.scripts.values()
    ]  # fmt: skip
    return told({"categories": [{"id": 1, "name": "Bays", "internal": False}], "scripts": rows, "credentials": LIBRARY_CREDENTIALS})


def library(call: Call) -> Answer:
    return told([
        {"id": script.id, "name": script.name, "description": script.description, "active": True, "language": "powershell", "architecture": ["64"],
         "operatingSystems": ["Windows"], "scriptParameters": [], "scriptVariables": []}
        for script in call.estate.scripts.values() if not script.uid
    ])  # fmt: skip


def services(call: Call) -> Answer:
    return told(call.device.service_rows(call.request.query.get("name", ""), call.request.query.get("state", "")))


def logged_on(call: Call) -> Answer:
    return told({"userName": "bay", "logonTime": call.device.last_contact})


# ---- commands
def run_script(call: Call) -> Answer:
    body = call.request.decode(ScriptBody)
    body.check()
    script = script_of(call.estate, body.type, body.id, body.uid or "")
    run = call.estate.run_script(call.device.id, script, body.parameters or "", body.runAs or "system", call.by)
    return _started(call, run)


def _started(call: Call, run: Run) -> Answer:
    line = next(iter(call.estate.journal.visible()), None)
    answers: dict[str, Any] = {
        "id": {"id": line.id if line else 1}, "activity": {"activityId": line.id if line else 1}, "series": {"seriesUid": run.series},
        "uid": {"uid": run.series}, "number": line.id if line else 1, "text": run.series,
    }  # fmt: skip
    wanted = call.tenant.variants.run_answer
    return NOTHING if wanted == "nothing" else told(answers[wanted])


def reboot(call: Call) -> Answer:
    body = call.request.decode(RebootBody)
    call.estate.reboot(call.device.id, call.ids[1], body.reason, call.by)
    return NOTHING


def control(call: Call) -> Answer:
    call.estate.control(call.device.id, call.ids[1], call.request.decode(ControlBody).action, call.by)
    return NOTHING


def maintain(call: Call) -> Answer:
    window = call.request.decode(MaintenanceBody).window(call.estate.now(), seconds=call.tenant.variants.maintenance_seconds)
    call.estate.maintain(call.device.id, window)
    return NOTHING


def end_maintenance(call: Call) -> Answer:
    call.estate.maintain(call.device.id, None)
    return NOTHING


def put_fields(call: Call) -> Answer:
    call.estate.put_fields(call.device.id, call.request.decode(dict[str, Any]))
    return NOTHING


# ---- the webhook
def _administrators_only(call: Call) -> None:
    if call.tenant.variants.webhook == "administrators":
        raise ApiError(403, "insufficient_privileges", "Only system administrators can configure webhooks")


def put_hook(call: Call) -> Answer:
    _administrators_only(call)
    body = call.request.decode(HookBody)
    try:
        parts = urlsplit(body.url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or parts.hostname not in call.tenant.hook_hosts:
        raise bad("url must be one that this emulator may call.")
    call.tenant.hook = body
    return NOTHING


def delete_hook(call: Call) -> Answer:
    _administrators_only(call)
    call.tenant.hook = None
    return NOTHING


def _route(method: str, path: str, scope: str, handler: Handler, *, user: bool = False) -> Route:
    marks = {"<n>": r"(\d{1,15})", "<s>": r"([^/]{1,200})", "<mode>": "(NORMAL|FORCED)"}
    pattern = re.escape("/v2" + path)
    for mark, expression in marks.items():
        pattern = pattern.replace(re.escape(mark), expression)
    return Route(method, re.compile(pattern + "/?"), scope, handler, user)


READ, MANAGE = "monitoring", "management"
ROUTES = (
    _route("GET", "/organizations", READ, organizations),
    _route("GET", "/organization/<n>/devices", READ, organization_devices),
    _route("GET", "/devices", READ, devices),
    _route("GET", "/devices-detailed", READ, devices_detailed),
    _route("GET", "/device/<n>", READ, one_device),
    _route("GET", "/queries/device-health", READ, health),
    _route("GET", "/queries/custom-fields", READ, all_fields),
    _route("GET", "/alerts", READ, alerts),
    _route("GET", "/device/<n>/alerts", READ, device_alerts),
    _route("DELETE", "/alert/<s>", MANAGE, reset_alert),
    _route("POST", "/alert/<s>/reset", MANAGE, reset_alert),
    _route("GET", "/jobs", READ, jobs),
    _route("GET", "/device/<n>/jobs", READ, device_jobs),
    _route("GET", "/activities", READ, activities),
    _route("GET", "/device/<n>/activities", READ, device_activities),
    _route("GET", "/device/<n>/custom-fields", READ, fields),
    _route("PATCH", "/device/<n>/custom-fields", MANAGE, put_fields),
    _route("GET", "/device/<n>/scripting/options", READ, scripting_options),
    _route("GET", "/automation/scripts", READ, library),
    _route("GET", "/device/<n>/windows-services", READ, services),
    _route("POST", "/device/<n>/windows-service/<s>/control", MANAGE, control),
    _route("GET", "/device/<n>/last-logged-on-user", READ, logged_on),
    _route("POST", "/device/<n>/script/run", MANAGE, run_script, user=True),
    _route("POST", "/device/<n>/reboot/<mode>", MANAGE, reboot),
    _route("PUT", "/device/<n>/maintenance", MANAGE, maintain),
    _route("DELETE", "/device/<n>/maintenance", MANAGE, end_maintenance),
    _route("PUT", "/webhook", MANAGE, put_hook),
    _route("DELETE", "/webhook", MANAGE, delete_hook),
)


def answer(tenant: Tenant, request: Request, token: Token) -> Answer:
    """The API's answer to a call with a good token. Raises ApiError."""
    fitting = [(route, found) for route in ROUTES if (found := route.path.fullmatch(request.path))]
    if not fitting:
        raise ApiError(404, "not_found", "HTTP 404 Not Found")
    route, match = next(((route, match) for route, match in fitting if route.method == request.method), (None, None))
    if route is None or match is None:
        raise ApiError(405, "method_not_allowed", "HTTP 405 Method Not Allowed")
    if route.scope not in token.scopes:
        raise ApiError(tenant.variants.missing_scope_status, "insufficient_privileges", f"The token lacks the scope {route.scope}.")
    if route.user and not token.user:
        text = "Access key does not have user context which is required for this request"
        raise ApiError(tenant.variants.user_context_status, "user_context_required", text)
    return route.handler(Call(tenant, request, token, match.groups()))
