"""The `Machines` port on NinjaOne: a bay's PC is a device, help is a script, a restart or a service's restart.

Not for: HTTP (the wire), tokens' lives, nor for deciding what may be run. Invariants: a command is sent once; scripts go in the name of the
person who consented, because NinjaOne takes them from nobody else; without a consent, and only if the settings name fields for it, they are
written into a custom field that an automation at the console acts on.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import msgspec

from shared.errors import Broken
from shared.runtime import log
from shared.runtime.clock import Clock
from shared.runtime.keyfile import load_or_create
from shared.sealing import SEED_BYTES, Sealer
from site_agent.devices.machine_ways import Around
from site_agent.devices.ninjaone import objects, words
from site_agent.devices.ninjaone.consent import Consent
from site_agent.devices.ninjaone.tokens import AppTokens, ConsentFile, Kept, PersonTokens
from site_agent.devices.ninjaone.wire import READ_TIMEOUT_S, Wire, WireError, loose, read
from site_agent.ports import Activity, Bookmark, CommandKind, CommandOutcome, Machine, MachineCommand, MachinesRefused

_log = log.get("site_agent.devices.ninjaone")

CONSENT, KEY = "ninjaone.consent", "ninjaone.key"
SCOPE = "monitoring management"
PAGE_SIZE, PAGES_MAX = 1000, 50
#: a device's journal is read so far back at most, since a command: NinjaOne's largest page
LINES_MAX = 1000
LIBRARY_KEPT_S = 3600.0
DAY_S = 86_400
#: a refresh token lives about 30 days: it is renewed each week whether needed or not, and staff are told when it has not been for three
RENEW_AFTER_S, ALARM_AFTER_S, LAPSES_AFTER_S = 7 * DAY_S, 21 * DAY_S, 29 * DAY_S
T = TypeVar("T")


class NinjaOneSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where NinjaOne is (`url`, as people sign in there) and as whom it is asked; secrets by their files.

    `client_id`: the app for reading, by client credentials (empty: the person's consent reads, too). `consent_client_id`: the app that a person
    consents to once (empty: nobody does, and no script is run); without a secret it is a native app.
    `organization_id`: whose devices are read (0: all that the app may see). `command_field`, `result_field`: custom fields by which scripts
    are asked for while there is no consent (empty: they are not). `outcome_field`: a custom field in which scripts write how they ended, for
    tenants whose journal does not tell: each is then given "-Mark <mark>" and writes "<mark> <exit code> <text>".
    `message_script`, `prepare_script`, `cleanup_script`, `shutdown_script`: the scripts that do these, by number or uid (empty: NinjaOne does not).
    """

    url: str
    client_id: str = ""
    secret_file: str = ""
    consent_client_id: str = ""
    consent_secret_file: str = ""
    organization_id: Annotated[int, msgspec.Meta(ge=0)] = 0
    command_field: str = ""
    result_field: str = ""
    outcome_field: str = ""
    message_script: str = ""
    prepare_script: str = ""
    cleanup_script: str = ""
    shutdown_script: str = ""
    read_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=50)] = READ_TIMEOUT_S


SETTINGS = NinjaOneSettings


def _seed(path: Path) -> bytes:
    """The key that seals the consent. A damaged one keeps no facility from opening: then the consent does not open, and staff are told."""
    try:
        return load_or_create(path)
    except Broken as error:
        _log.error("ninjaone.key_unusable", error=error)
        return secrets.token_bytes(SEED_BYTES)


def open_machines(settings: NinjaOneSettings, around: Around) -> NinjaOneMachines:
    """The way as the settings want it. The consent lies in the site's folder, sealed under a key of its own. Raises ValueError, ConfigError."""
    return NinjaOneMachines(
        settings, around.clock, around.folder / CONSENT, Sealer(_seed(around.folder / KEY)),
        secret=around.secret(settings.secret_file, "secret"), consent_secret=around.secret(settings.consent_secret_file, "consent_secret"),
    )  # fmt: skip


class NinjaOneMachines:
    """Implements `site_agent.ports.Machines`. ValueError (with a sentence) for settings that cannot be right."""

    near = False

    def __init__(
        self, settings: NinjaOneSettings, clock: Clock, consent_path: Path, sealer: Sealer, *, secret: str = "", consent_secret: str = ""
    ) -> None:  # fmt: skip
        if not settings.client_id and not settings.consent_client_id:
            raise ValueError("NinjaOne needs a client id for reading, one for a person's consent, or both.")
        if bool(settings.command_field) != bool(settings.result_field):
            raise ValueError("The fields for commands and for results go together.")
        if settings.client_id and not secret:
            raise ValueError("The app for reading needs its secret: the setting 'secret_file'.")
        self.settings, self._clock = settings, clock
        self._wire = Wire(settings.url, clock, read_timeout_s=settings.read_timeout_s)
        self.person = None
        self._file, self._consent_secret = ConsentFile(consent_path, sealer), consent_secret
        if settings.consent_client_id:
            self.person = PersonTokens(self._wire, clock, self._file, settings.consent_client_id, consent_secret)
        self._app = AppTokens(self._wire, clock, settings.client_id, secret, SCOPE) if settings.client_id else None
        self._library: dict[str, str] = {}
        self._library_until = 0.0
        #: what our kinds are at NinjaOne, where it is a script
        self._scripts: dict[str, str] = {
            "message": settings.message_script, "prepare": settings.prepare_script, "cleanup": settings.cleanup_script,
            "shutdown": settings.shutdown_script,
        }  # fmt: skip
        for kind, script in self._scripts.items():
            if script and not words.is_script(script):
                raise ValueError(f"'{kind}_script' is no script of NinjaOne: give its number, or a built-in action's uid.")
        #: device -> whether it is said to be on, by the last look; and whether NinjaOne answered when it was last asked
        self._online: dict[str, bool | None] = {}
        self._answers = False

    async def start(self) -> None: ...

    async def stop(self) -> None:
        await self._wire.close()

    # ---- what there is
    def reaches(self, resource_id: str, machine_id: str) -> str:
        return machine_id if words.is_machine(machine_id) else ""

    def does(self, machine: str) -> frozenset[CommandKind]:
        return words.NATIVE | {kind for kind, script in self._scripts.items() if script} if words.is_machine(machine) else frozenset()

    def able(self, machine: str) -> frozenset[CommandKind]:
        here = self._answers and machine in self._online and self._online[machine] is not False
        return self.does(machine) if here else frozenset()

    def activity(self, machine: str) -> Activity | None:
        return None

    async def machines(self) -> list[Machine]:
        found = await self._told(self._machines)
        self._online = {one.machine_id: one.online for one in found}
        return found

    async def _machines(self) -> list[Machine]:
        df = {"df": f"org = {self.settings.organization_id}"} if self.settings.organization_id else {}
        devices = await self._devices(df)
        health = {row.device_id: row for row in await self._health(df)}
        alerts: dict[int, list[objects.Alert]] = {}
        for alert in read(list[objects.Alert], await self._get("/alerts", df)):
            alerts.setdefault(alert.device_id or 0, []).append(alert)
        return [
            words.machine(one, health.get(one.id), alerts.get(one.id, ())) for one in devices if one.approval_status != "DECOMMISSIONED"
        ]

    async def _devices(self, df: dict[str, Any]) -> list[objects.Device]:
        found: dict[int, objects.Device] = {}
        after = 0
        for _ in range(PAGES_MAX):
            page = read(list[objects.Device], await self._get("/devices", df | {"pageSize": PAGE_SIZE, "after": after}))
            found |= {one.id: one for one in page}
            last = max((one.id for one in page), default=after)
            if len(page) < PAGE_SIZE or last <= after:
                break
            after = last
        return list(found.values())

    async def _health(self, df: dict[str, Any]) -> list[objects.Health]:
        rows: list[objects.Health] = []
        cursor: dict[str, Any] = {}
        for _ in range(PAGES_MAX):
            page = read(objects.HealthPage, await self._get("/queries/device-health", df | {"pageSize": PAGE_SIZE} | cursor))
            rows += page.results
            name = page.cursor.name if page.cursor is not None else None
            if len(page.results) < PAGE_SIZE or not name or name == cursor.get("cursor"):
                break
            cursor = {"cursor": name}
        return rows

    # ---- commands
    async def bookmark(self, machine_id: str) -> Bookmark:
        words.check_machine(machine_id)
        at = int(self._clock.now())
        if self._by_field():
            return Bookmark("field", at)
        lines, last = await self._told(lambda: self._journal(machine_id, {"pageSize": 10}))
        return Bookmark(str(max([last, *(line.id for line in lines)])), at)

    def _as_script(self, command: MachineCommand) -> MachineCommand:
        """What is a script there as the command to run it."""
        script = self._scripts.get(command.kind, "")
        if not script:
            return command
        told = words.quoted(command.parameters) if command.kind == "message" else command.parameters
        return msgspec.structs.replace(command, kind="script", what=script, parameters=told)

    async def command(self, machine_id: str, command: MachineCommand) -> str:
        command = self._as_script(command)
        words.check_machine(machine_id)
        words.check_command(command)
        return await self._told(lambda: self._command(machine_id, command))

    async def _command(self, machine_id: str, command: MachineCommand) -> str:
        path = f"/device/{machine_id}"
        if command.kind == "restart":
            await self._do("POST", f"{path}/reboot/NORMAL", {"reason": command.reason or "asked for by staff"})
            return ""
        if command.kind == "service":
            await self._do("POST", f"{path}/windows-service/{quote(command.what, safe='')}/control", {"action": "RESTART"})
            return ""
        if self._by_field():
            name = await self._script_name(command.what)
            if not name:
                raise MachinesRefused("NinjaOne's library has no such script.", code="command_unknown")
            written = f"{command.mark} {name} {command.parameters}".strip()
            await self._do("PATCH", f"{path}/custom-fields", {self.settings.command_field: written})
            return ""
        if self.settings.outcome_field:
            told = f"{command.parameters} -Mark {command.mark}".strip()
            command = msgspec.structs.replace(command, parameters=told)
        return words.run_ref(loose(await self._do("POST", f"{path}/script/run", words.script_body(command), person=True)))

    async def outcome(self, machine_id: str, command: MachineCommand, since: Bookmark, ref: str) -> CommandOutcome:
        command = self._as_script(command)
        words.check_machine(machine_id)
        return await self._told(lambda: self._outcome(machine_id, command, since, ref))

    async def _outcome(self, machine_id: str, command: MachineCommand, since: Bookmark, ref: str) -> CommandOutcome:
        path = f"/device/{machine_id}"
        if command.kind == "service":
            services = read(list[objects.Service], await self._get(f"{path}/windows-services"))
            return words.service_outcome(services, command.what, since, self._clock.now())
        if command.kind == "script" and since.position == "field":
            return await self._by_custom_field(path, self.settings.result_field, command)
        newer = {} if since.position == "field" else {"newerThan": since.position}
        lines, _ = await self._journal(machine_id, newer | {"pageSize": LINES_MAX})
        # asked for anew here, since not every tenant may heed the id
        lines = [line for line in lines if since.position == "field" or line.id > int(since.position)]
        if command.kind == "script":
            name = await self._script_name(command.what)
            found = words.script_outcome(lines, since, {name, command.what} - {""} if name else set(), ref)
            if found.state in ("done", "failed") or not self.settings.outcome_field:
                return found
            written = await self._by_custom_field(path, self.settings.outcome_field, command)
            return found if written.state == "waiting" else msgspec.structs.replace(written, ref=found.ref)
        device = read(objects.Device, await self._get(path))
        return words.restart_outcome(lines, since, device.offline)

    async def _by_custom_field(self, path: str, field: str, command: MachineCommand) -> CommandOutcome:
        fields = read(dict[str, Any], await self._get(f"{path}/custom-fields", {"withInheritance": "true"}))
        return words.field_outcome(fields.get(field), command.mark)

    async def maintenance(self, machine_id: str, until_at: int, reason: str) -> None:
        words.check_machine(machine_id)
        path = f"/device/{machine_id}/maintenance"
        # milliseconds are what the document says of numbers; a time in words cannot be taken for seconds
        body = {"disabledFeatures": ["ALERTS"], "end": _iso(until_at), "reasonMessage": reason}
        await self._told(lambda: self._do("PUT", path, body) if until_at else self._do("DELETE", path))

    async def _journal(self, machine_id: str, query: dict[str, Any]) -> tuple[list[objects.Activity], int]:
        """A device's lines, and the id of its last one: in the envelope, or as the bare list that some tenants send."""
        found = await self._get(f"/device/{machine_id}/activities", query)
        if found.lstrip().startswith(b"["):
            return read(list[objects.Activity], found), 0
        page = read(objects.Activities, found)
        return page.activities, page.last_node_activity_id or 0

    async def _script_name(self, what: str) -> str:
        """A script's name, by which its runs are known; empty where the library does not tell it."""
        if words.is_uid(what):
            return ""
        if self._clock.monotonic() >= self._library_until:
            try:
                self._library = {str(one.id): one.name or "" for one in read(list[objects.Script], await self._get("/automation/scripts"))}
                self._library_until = self._clock.monotonic() + LIBRARY_KEPT_S
            except WireError as error:
                if error.passing:
                    raise
        return self._library.get(what, "")

    async def library(self) -> dict[str, str]:
        """The scripts there are, by number, for whoever sets the box up."""
        self._library_until = 0.0
        await self._told(lambda: self._script_name("0"))
        return dict(self._library)

    # ---- access
    def asking(self, redirect_uri: str) -> Consent:
        """One asking for a person's consent. MachinesRefused where the settings name no app for it."""
        if self.person is None:
            raise MachinesRefused("The settings name no app for a person's consent: give 'consent_client_id'.", code="consent_missing")
        return Consent(self._wire, self.settings.consent_client_id, self._consent_secret, redirect_uri)

    async def keep(self, consent: Consent, code: str) -> Kept:
        """Keeps what the person allowed. Raises the port's failures, ValueError with a sentence, OSError of the disk."""
        return await self._told(lambda: consent.keep(code, self._file, int(self._clock.now())))

    async def call_at(self, url: str, secret: str) -> None:
        """Has NinjaOne call the hub about this facility's machines: `url` is the hub's, `secret` what each call must bear. An empty url ends that.
        Raises the port's failures."""
        try:
            await (self._do("PUT", "/webhook", words.webhook_body(url, secret)) if url else self._do("DELETE", "/webhook"))
        except WireError as error:
            raise words.webhook_failure(error) from None

    def kept(self) -> Kept | None:
        """The consent as it is kept; None where there is none, or none that opens."""
        try:
            return self.person.kept() if self.person is not None else None
        except WireError:
            return None

    def _by_field(self) -> bool:
        """Whether scripts are asked for by a custom field: nobody has consented, and the fields are there."""
        return bool(self.settings.command_field) and not self._consented()

    async def renew(self) -> None:
        if self.person is None:
            return
        person = self.person

        async def due() -> None:
            kept = person.kept()
            if kept is not None and not kept.lost and self._clock.now() - kept.renewed_at >= RENEW_AFTER_S:
                await person.renew()

        await self._told(due)

    def alarms(self) -> list[str]:
        if self.person is None:
            return []
        try:
            kept = self.person.kept()
        except WireError as error:
            return [str(error)]
        if kept is None:
            return ["Nobody has consented yet that scripts are run at NinjaOne: please run “site-agent ninjaone connect”."]
        if kept.lost:
            return [kept.lost]
        unused_s = self._clock.now() - kept.renewed_at
        if unused_s < ALARM_AFTER_S:
            return []
        left_days = max(0, int((LAPSES_AFTER_S - unused_s) // DAY_S))
        return [
            f"The consent for NinjaOne could not be renewed for {int(unused_s // DAY_S)} days and lapses in about {left_days}."
            " Please run “site-agent ninjaone connect” again."
        ]

    async def _get(self, path: str, query: dict[str, Any] | None = None) -> bytes:
        return await self._as(self._app or self.person, lambda token: self._wire.call("GET", path, token, query=query))

    async def _do(self, method: str, path: str, body: Any = None, *, person: bool = False) -> bytes:
        """A change: in the person's name where somebody consented, since nobody has written down which of them need that."""
        if person and self.person is None:
            raise WireError("no_person", "The settings name no app for a person's consent, without which NinjaOne runs no script.")
        who = self.person if person or (self.person is not None and self._consented()) else self._app
        return await self._as(who or self.person, lambda token: self._wire.call(method, path, token, body=body))

    def _consented(self) -> bool:
        kept = self.kept()
        return kept is not None and not kept.lost

    @staticmethod
    async def _as(who: AppTokens | PersonTokens | None, call: Callable[[str], Awaitable[bytes]]) -> bytes:
        """The call with a token; once more with another where that one is dead, because then nothing was done."""
        assert who is not None
        token = await _token(who)
        try:
            return await call(token)
        except WireError as error:
            if error.kind != "token":
                raise
        return await call(await _token(who, dead=token))

    async def _told(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            told = await call()
        except WireError as error:
            self._answers = not error.passing or error.kind == "busy"
            raise words.failure(error) from None
        self._answers = True
        return told


async def _token(who: AppTokens | PersonTokens, dead: str = "") -> str:
    """A token; that it could not be had says for certain that the call was not made."""
    try:
        return await who.get(dead)
    except WireError as error:
        error.may_have_acted = False
        raise


def _iso(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
