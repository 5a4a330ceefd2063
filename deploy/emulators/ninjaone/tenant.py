"""One emulated NinjaOne without its socket: OAuth, devices, faults, webhook, and the application that answers for them.

Not for: listening (`deploy.emulators.ninjaone_rmm`). Invariant: every request gets one answer, and every refusal one of the vendor's four styles.
"""

from collections import deque
from collections.abc import Callable
from random import Random, SystemRandom
from typing import Any

import msgspec

from deploy.emulators.common.http import BodyTooLarge, send_answer
from deploy.emulators.messages.wire import Answer, Front, Receive, Scope, Send
from deploy.emulators.ninjaone import consent, desk, errors, routes
from deploy.emulators.ninjaone.bodies import HookBody
from deploy.emulators.ninjaone.devices import DeviceSpec, Script
from deploy.emulators.ninjaone.errors import ApiError
from deploy.emulators.ninjaone.estate import Automation, Estate
from deploy.emulators.ninjaone.faults import Fault, Faults
from deploy.emulators.ninjaone.hooks import Hooks
from deploy.emulators.ninjaone.http import Request, read_request
from deploy.emulators.ninjaone.oauth import LOOPBACK, App, OAuth
from deploy.emulators.ninjaone.variants import Variants

REQUESTS_KEPT = 5_000
TOKEN_PATHS = ("/ws/oauth/token", "/oauth/token")
AUTHORIZE_PATHS = ("/ws/oauth/authorize", "/oauth/authorize")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be chosen, also the shape of the command's TOML file. Times in seconds.

    `access_s`, `refresh_s`: how long tokens live. `lag_s`: how late activities are seen. `start_s`: until a device begins what it was
    asked. `reboot_s`: how long it is away then. `technician`: who consents. `hook_hosts`: hosts beside this machine for the webhook.
    """

    host: str = "127.0.0.1"
    port: int = 8140
    timezone: str = "America/Halifax"
    access_s: float = 3600.0
    refresh_s: float = 30 * 86_400.0
    lag_s: float = 2.0
    start_s: float = 1.0
    reboot_s: float = 60.0
    technician: str = "bay.technician@example.test"
    hook_hosts: tuple[str, ...] = ()
    organizations: dict[str, str] = msgspec.field(default_factory=lambda: {"1": "ClubOS Demo"})
    apps: tuple[App, ...] = ()
    devices: tuple[DeviceSpec, ...] = ()
    scripts: tuple[Script, ...] = ()
    automation: Automation | None = None
    variants: Variants = msgspec.field(default_factory=Variants)


class Tenant:
    """The whole of it. `requests` are the API's: (unix seconds, method, path without /api, the token's user or app)."""

    def __init__(self, settings: Settings, now: Callable[[], float], rng: Random | None = None) -> None:
        rng = rng or SystemRandom()
        self.settings, self.now = settings, now
        self.variants = settings.variants
        self.oauth = OAuth(settings.apps, now, rng, self.variants, settings.access_s, settings.refresh_s)
        organizations = {int(number): name for number, name in settings.organizations.items()}
        self.estate = Estate(
            settings.devices, settings.scripts, organizations, now, rng, self.variants, lag_s=settings.lag_s, start_s=settings.start_s,
            reboot_s=settings.reboot_s, automation=settings.automation,
        )  # fmt: skip
        self.faults = Faults()
        self.hook: HookBody | None = None
        self.hook_hosts = frozenset((*LOOPBACK, *settings.hook_hosts))
        self.hooks = Hooks(now, self._expanded)
        self.requests: deque[tuple[float, str, str, str]] = deque(maxlen=REQUESTS_KEPT)
        self.estate.journal.on_line = lambda line: self.hooks.tell(
            self.hook, line, self.estate.devices[line.device_id].spec.organization_id
        )

    def asked(self, method: str, path: str = "") -> list[str]:
        """Paths that were asked with `method` and begin with `path`, oldest first."""
        return [asked for _, verb, asked, _ in self.requests if verb == method and asked.startswith(path)]

    def _expanded(self, device_id: int, wanted: list[str]) -> dict[str, Any]:
        machine = self.estate.devices[device_id]
        number = machine.spec.organization_id
        known = {"device": machine.told(self.now()), "organization": {"id": number, "name": self.estate.organizations.get(number, "")}}
        return {name: known[name] for name in wanted if name in known}


class _Front(Front):
    """Faults as NinjaOne's: worded in its styles, also inside a 200."""

    def __init__(self, app: Any, tenant: Tenant) -> None:
        super().__init__(app, tenant.faults, lambda status, path: errors.of_status(status, path, tenant.variants.error_style))  # type: ignore[arg-type]
        self._tenant = tenant

    def _broken(self, fault: Fault, path: str) -> Answer:  # type: ignore[override]
        if fault.kind not in ("status", "inside"):
            return super()._broken(fault, path)  # type: ignore[arg-type]
        answer = errors.of_status(fault.code, path, fault.style or self._tenant.variants.error_style)
        headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
        return msgspec.structs.replace(answer, headers=headers)


class Application:
    """ASGI application: the desk, OAuth's addresses, and the API behind its faults. `refuse_for`: what the desk may do to the socket."""

    def __init__(self, tenant: Tenant, refuse_for: Callable[[float], None]) -> None:
        self._tenant, self._refuse_for = tenant, refuse_for
        self._front = _Front(self._vendor, tenant)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self._tenant.estate.advance()
        path = scope["path"]
        if path == desk.PREFIX or path.startswith(desk.PREFIX + "/"):
            await self._answered(scope, receive, send, lambda request: desk.answer(self._tenant, self._refuse_for, request))
            return
        await self._front({**scope, "path": path.removeprefix("/api")}, receive, send)

    async def _vendor(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answered(scope, receive, send, self._judged)

    def _judged(self, request: Request) -> Answer:
        tenant = self._tenant
        if request.path in TOKEN_PATHS:
            if request.method != "POST":
                raise ApiError(405, "method_not_allowed", "Use POST.")
            tenant.requests.append((tenant.now(), "POST", "/ws/oauth/token", ""))
            return Answer(200, msgspec.json.encode(tenant.oauth.token(request.form())), headers={"Cache-Control": "no-store"})
        if request.path in AUTHORIZE_PATHS:
            return consent.answer(tenant.oauth, tenant.settings.technician, request)
        token = tenant.oauth.bearer(request.headers.get("authorization", ""))
        tenant.requests.append((tenant.now(), request.method, request.path, token.user or token.client_id))
        return routes.answer(tenant, request, token)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, judge: Callable[[Request], Answer]) -> None:
        try:
            answer = judge(await read_request(scope, receive))
        except BodyTooLarge:
            answer = errors.worded(413, "request_too_large", "The body is too large.", "gateway")
        except ConnectionError:
            return
        except ApiError as error:
            answer = errors.of_error(error, self._tenant.variants.error_style)
        await send_answer(send, answer.status, answer.media, answer.body, answer.headers.items())
