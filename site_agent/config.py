"""The settings of one facility's box: a TOML file, read strictly, and the values that follow from it.

Not here: what the hub says (profiles) or what people do at the screens (the database). Invariant: a `SiteConfig` that was read is
complete: every resource belongs to the site, every file it names is found relative to the config file.
"""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from shared import profiles, recovery, territory
from shared.model import RESOURCE_PATTERN, SITE_PATTERN, Facility, Resource
from shared.policy import Profile
from shared.runtime import backup, config
from shared.runtime.backup import BackupSettings
from shared.runtime.config import ConfigError
from shared.runtime.timesource import Rtc
from shared.runtime.web import LOOPBACK, not_a_network
from shared.slots import day_span

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
#: any day will do to see whether a zone is known
EPOCH_DAY = date(2026, 1, 1)
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the settings: what is not known is refused by name."""


class SiteSettings(Strict):
    """The facility itself. `word` is what a bay is called on its screens ("Box"); `door_ids` open for every booking here."""

    id: Annotated[str, msgspec.Meta(pattern=SITE_PATTERN)]
    name: Text
    zone: str = "America/Halifax"
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")] = "CAD"
    word: Text = "Box"
    address: str = ""
    support_phone: str = ""
    support_hours: str = ""
    door_ids: tuple[str, ...] = ()


class ResourceSettings(Strict):
    """One bay. `release_ahead_h` empty: the default of terr-8 by its place in the list."""

    id: Annotated[str, msgspec.Meta(pattern=RESOURCE_PATTERN)]
    name: Text
    kind: Literal["simulator", "room", "equipment"] = "simulator"
    make: str = ""
    number: Annotated[int, msgspec.Meta(ge=0, le=999)] = 0
    features: tuple[str, ...] = ()
    capacity: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    hourly_cents: Annotated[int, msgspec.Meta(ge=0)] = 0
    door_ids: tuple[str, ...] = ()
    machine_id: str = ""
    active: bool = True
    release_ahead_h: Annotated[float, msgspec.Meta(gt=0, le=72)] | None = None


class HttpSettings(Strict):
    """Where the screens are served. With `tls_cert` and `tls_key` (PEM) over TLS. `metrics_from`: networks that may read `/metrics`."""

    host: str = "127.0.0.1"
    port: Port = 8080
    tls_cert: str = ""
    tls_key: str = ""
    allowed_hosts: tuple[str, ...] = ()
    metrics_from: tuple[str, ...] = LOOPBACK


class MqttSettings(Strict):
    """The broker. `tls` without `ca_file` trusts the machine's own authorities."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1883
    username: str = ""
    password_file: str = ""
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""


class DoorSettings(Strict):
    """The door controller: its address, the file with our token, and the certificate it must show.

    `webhook_secret_file`: the secret by which it signs what it calls at /hooks/doors, if that was set up at its console.
    `held_open_s`: how long a leaf may stand open before staff are alarmed. `leaf_alarms` off: where people go out by a handle that the controller
    does not know of, a leaf that opens while locked, or stands open, is no alarm. `trail_keep_days`: how long the access trail is kept.
    """

    kind: Text
    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 12445
    token_file: str = ""
    fingerprint: str = ""
    certificate_file: str = ""
    webhook_secret_file: str = ""
    held_open_s: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 120
    leaf_alarms: bool = True
    trail_keep_days: Annotated[int, msgspec.Meta(ge=1, le=3660)] = 400


class ScriptSettings(Strict):
    """A script that staff may have run on a bay's PC. `label` is what they read; `script` its number (or a built-in action's uid) at whoever
    looks after the PCs. In `parameters` the words {number} and {bay} stand for the bay's number and the last part of its id."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    label: Text
    script: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    parameters: Annotated[str, msgspec.Meta(max_length=500)] = ""
    run_as: Annotated[str, msgspec.Meta(max_length=64)] = "system"


class ServiceSettings(Strict):
    """A service of the bays' PCs that staff may restart: `service` as Windows calls it, `label` as they read it."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    label: Text
    service: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class MachineSettings(Strict):
    """The bays' PCs: who looks after them (`way`: kind -> its own table, read by `devices.machine_ways`), how often they are looked at, and what
    staff may have done there. Nothing that is not listed here is ever run."""

    way: Annotated[dict[str, dict[str, Any]], msgspec.Meta(min_length=1, max_length=1)]
    poll_s: Annotated[int, msgspec.Meta(ge=30, le=3600)] = 60
    script: Annotated[tuple[ScriptSettings, ...], msgspec.Meta(max_length=50)] = ()
    service: Annotated[tuple[ServiceSettings, ...], msgspec.Meta(max_length=50)] = ()


class ClockSettings(Strict):
    """`rtc`: whether this machine has a clock that runs without power; `auto` looks for one (clock-2)."""

    rtc: Rtc = "auto"


class SiteConfig(Strict, kw_only=True):
    """Everything one agent is told. Paths are relative to the config file. `mark_file`: on another medium than the data (loss-1).
    `recovery_public`: the public half of the operator's recovery key (loss-6)."""

    data_dir: str
    site: SiteSettings
    resource: Annotated[tuple[ResourceSettings, ...], msgspec.Meta(min_length=1, max_length=200)]
    hub_id: str = ""
    profile: str = "business"
    staff_file: str = ""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    http: HttpSettings = HttpSettings()
    mqtt: MqttSettings | None = None
    doors: DoorSettings | None = None
    machines: MachineSettings | None = None
    clock: ClockSettings = ClockSettings()
    mark_file: str = ""
    recovery_public: str = ""
    backup: BackupSettings | None = None


class StaffEntry(Strict, kw_only=True):
    """One bootstrap account; the hash is argon2's own text form."""

    user: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._@-]{1,63}$")]
    name: Text
    role: Literal["admin", "staff", "viewer", "cleaner", "contractor"] = "staff"
    password_hash: Annotated[str, msgspec.Meta(pattern=r"^\$argon2id\$")]


class StaffFile(Strict):
    staff: tuple[StaffEntry, ...] = ()


class Loaded(msgspec.Struct, frozen=True):
    """A config with what was found beside it: resolved paths, secrets, the fallback profile and the first accounts."""

    file: Path
    data_dir: Path
    config: SiteConfig
    facility: Facility
    resources: tuple[Resource, ...]
    profile: Profile
    staff: tuple[StaffEntry, ...]

    def __repr__(self) -> str:
        return f"Loaded({str(self.file)!r})"

    def path(self, name: str) -> Path:
        return config.resolve(name, self.file)

    def secret(self, file: str, key: str) -> str:
        return config.secret("", file, self.file.parent, key=key)


def load(file: str | Path) -> Loaded:
    """The config at `file` with everything it names. Raises ConfigError with the file and the key that is wrong."""
    file = Path(file).absolute()
    found = config.load(file, SiteConfig)
    _check(file, found)
    staff: tuple[StaffEntry, ...] = ()
    if found.staff_file:
        staff = config.load(config.resolve(found.staff_file, file), StaffFile).staff
    return Loaded(
        file=file, data_dir=config.resolve(found.data_dir, file), config=found, facility=facility_of(found), resources=resources_of(found),
        profile=_profile(file, found.profile), staff=staff,
    )  # fmt: skip


def _check(file: Path, found: SiteConfig) -> None:
    try:
        day_span(found.site.zone, EPOCH_DAY)
    except ValueError as error:
        raise ConfigError(f"{file}: the setting 'site.zone' is wrong: {error}") from None
    ids = [one.id for one in found.resource]
    for index, one in enumerate(found.resource):
        if one.id.partition(".")[0] != found.site.id:
            raise ConfigError(f"{file}: the setting 'resource[{index}].id' is wrong: {one.id!r} must begin with {found.site.id + '.'!r}.")
        if ids.count(one.id) > 1:
            raise ConfigError(f"{file}: the setting 'resource[{index}].id' is wrong: {one.id!r} is given twice.")
    if bool(found.http.tls_cert) != bool(found.http.tls_key):
        raise ConfigError(f"{file}: the settings 'http.tls_cert' and 'http.tls_key' go together.")
    if wrong := not_a_network(found.http.metrics_from):
        raise ConfigError(f"{file}: the setting 'http.metrics_from' is wrong: {wrong!r} is no network.")
    if found.recovery_public and not recovery.is_public(found.recovery_public):
        raise ConfigError(f"{file}: the setting 'recovery_public' is wrong: give what `cloud-hub recovery-key create` printed behind \"# public:\".")
    if found.backup and (why := backup.wrong(found.backup)):
        raise ConfigError(f"{file}: the setting {why}.")
    _check_machines(file, found)
    if found.doors and bool(found.doors.fingerprint) == bool(found.doors.certificate_file):
        raise ConfigError(f"{file}: the door controller needs 'doors.fingerprint' or 'doors.certificate_file': one of the two.")


def _check_machines(file: Path, found: SiteConfig) -> None:
    if found.machines is None:
        return
    names = [one.name for one in (*found.machines.script, *found.machines.service)]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ConfigError(f"{file}: the setting 'machines' is wrong: the name {twice!r} is given twice.")
    ids = [one.machine_id for one in found.resource if one.machine_id]
    if twice := next((name for name in ids if ids.count(name) > 1), ""):
        raise ConfigError(f"{file}: the setting 'resource' is wrong: the machine {twice!r} is given to two of them.")


def facility_of(found: SiteConfig) -> Facility:
    """The facility's document as the config states it (version 1; `documents` counts on)."""
    site = found.site
    return Facility(
        id=site.id, name=site.name, zone=site.zone, currency=site.currency, word=site.word, address=site.address,
        support_phone=site.support_phone, support_hours=site.support_hours, door_ids=site.door_ids,
    )  # fmt: skip


def resources_of(found: SiteConfig) -> tuple[Resource, ...]:
    """The bays' documents; `release_ahead_s` by place in the list where the config does not say (terr-8)."""
    bays = [one for one in found.resource if one.active]
    out = []
    for one in found.resource:
        place = bays.index(one) if one in bays else 0
        ahead_s = int(one.release_ahead_h * 3600) if one.release_ahead_h else territory.release_ahead_s(place, len(bays))
        out.append(
            Resource(
                id=one.id, name=one.name, kind=one.kind, make=one.make, number=one.number, features=one.features, capacity=one.capacity,
                hourly_cents=one.hourly_cents, door_ids=one.door_ids, machine_id=one.machine_id, active=one.active,
                release_ahead_s=ahead_s,
            )  # fmt: skip
        )
    return tuple(out)


def _profile(file: Path, name: str) -> Profile:
    """A profile that comes with the product, or a TOML file of one's own."""
    if name in profiles.NAMES:
        return profiles.profile(name)
    path = config.resolve(name, file)
    try:
        return profiles.from_toml(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        names = " or ".join(profiles.NAMES)
        raise ConfigError(f"{file}: the setting 'profile' is wrong: there is no profile {name!r}; give {names}, or a file.") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
