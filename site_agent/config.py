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
from shared.pins import LENGTH_MAX, LENGTH_MIN
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
    """The facility itself. `word` is what a bay is called on its screens ("Box"); `door_ids` open for every booking here.

    `door_by_phone`: guests may open the doors on their booking's page, within their window. With `near_m` only where their telephone says that it is
    so near to `latitude`, `longitude` (degrees): that is asked for when they press, and not kept.
    """

    id: Annotated[str, msgspec.Meta(pattern=SITE_PATTERN)]
    name: Text
    zone: str = "America/Halifax"
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")] = "CAD"
    word: Text = "Box"
    address: str = ""
    support_phone: str = ""
    support_hours: str = ""
    door_ids: tuple[str, ...] = ()
    door_by_phone: bool = True
    near_m: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)] | None = None


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


class CameraSettings(Strict):
    """The camera that looks at a door, as UniFi Protect calls it."""

    door_id: Text
    camera_id: Text


class DoorSettings(Strict):
    """The door controller: its address, the file with our token, and the certificate it must show.

    `webhook_secret_file`: the secret by which it signs what it calls at /hooks/doors, if that was set up at its console.
    `held_open_s`: how long a leaf may stand open before staff are alarmed. `leaf_alarms` off: where people go out by a handle that the controller
    does not know of, a leaf that opens while locked, or stands open, is no alarm. `trail_keep_days`: how long the access trail is kept.
    `reader_qr`: the doors' readers take QR codes, so the guest's page shows the controller's own beside the PIN.
    `pin_digits`: how long a PIN is, as the controller is set.
    `protect_url`: the address at which a recording is seen, with `{camera}` and `{at_ms}` (unix milliseconds) in it, for the doors that `camera` names.
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
    reader_qr: bool = False
    trail_keep_days: Annotated[int, msgspec.Meta(ge=1, le=3660)] = 400
    pin_digits: Annotated[int, msgspec.Meta(ge=LENGTH_MIN, le=LENGTH_MAX)] = LENGTH_MIN
    protect_url: Annotated[str, msgspec.Meta(max_length=400)] = ""
    camera: Annotated[tuple[CameraSettings, ...], msgspec.Meta(max_length=100)] = ()


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


LocalClock = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):(00|15|30|45)$")]
BayText = Annotated[str, msgspec.Meta(max_length=300)]


class JobSettings(Strict):
    """What the bays need by themselves (`[machines.jobs]`); each is done only where a way to the bay does it, and can be switched off.

    `prepare`, `lights`, `welcome`: `prepare_before_min` before a guest; the PC is woken then, too. `cleanup`: after a guest, within
    `cleanup_within_min`. `time_left`: a message so long before the end. `idle_shutdown`: after `idle_min` without anybody, or after closing, where nobody
    is expected within `idle_free_min` and the PC can be woken. `nightly_restart`: once a night between two local times, when the bay is free for
    `nightly_min`. In texts {until}, {minutes} and {bay} stand for the end, the minutes left and the bay.
    """

    prepare: bool = True
    prepare_before_min: Annotated[int, msgspec.Meta(ge=1, le=60)] = 10
    lights: bool = True
    welcome: bool = True
    welcome_text: BayText = "Welcome to {bay}. It is yours until {until}. Have a good game!"
    cleanup: bool = True
    cleanup_within_min: Annotated[int, msgspec.Meta(ge=5, le=720)] = 60
    time_left: bool = True
    time_left_min: Annotated[int, msgspec.Meta(ge=3, le=30)] = 10
    time_left_text: BayText = "{minutes} minutes are left: {bay} is yours until {until}."
    free_text: BayText = "The next half hour is free: extend at the kiosk or on your phone."
    idle_shutdown: bool = True
    idle_min: Annotated[int, msgspec.Meta(ge=15, le=1440)] = 60
    idle_free_min: Annotated[int, msgspec.Meta(ge=30, le=1440)] = 60
    nightly_restart: bool = True
    nightly_from: LocalClock = "04:00"
    nightly_until: LocalClock = "06:00"
    nightly_min: Annotated[int, msgspec.Meta(ge=5, le=120)] = 15

    def __post_init__(self) -> None:
        if self.nightly_from >= self.nightly_until:
            raise ValueError(f"nightly_from {self.nightly_from} is not before nightly_until {self.nightly_until}.")
        for name in ("welcome_text", "time_left_text", "free_text"):
            left = getattr(self, name)
            for word in ("{until}", "{minutes}", "{bay}"):
                left = left.replace(word, "")
            if "{" in left or "}" in left:
                raise ValueError(f"{name} may hold {{until}}, {{minutes}} and {{bay}}, and no other word in braces.")


class MachineSettings(Strict):
    """The bays' PCs: the ways to them (`way`: kind -> its own table, read by `devices.machine_ways`; the first is asked first), how often they are
    looked at, and what staff may have done there. Nothing that is not listed here is ever run. `breaking`: a trouble with one of these words means
    that nobody can play there, so that the bay leaves sale; any other is only told."""

    way: Annotated[dict[str, dict[str, Any]], msgspec.Meta(min_length=1, max_length=3)]
    breaking: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=3, max_length=100)], ...], msgspec.Meta(max_length=50)] = ("does not run on its PC",)
    poll_s: Annotated[int, msgspec.Meta(ge=30, le=3600)] = 60
    script: Annotated[tuple[ScriptSettings, ...], msgspec.Meta(max_length=50)] = ()
    service: Annotated[tuple[ServiceSettings, ...], msgspec.Meta(max_length=50)] = ()
    jobs: JobSettings = JobSettings()


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
    if found.site.near_m and (found.site.latitude is None or found.site.longitude is None):
        raise ConfigError(f"{file}: the setting 'site.near_m' needs 'site.latitude' and 'site.longitude': near to where?")
    _check_machines(file, found)
    if found.doors:
        _check_cameras(file, found.doors)
    if found.doors and bool(found.doors.fingerprint) == bool(found.doors.certificate_file):
        raise ConfigError(f"{file}: the door controller needs 'doors.fingerprint' or 'doors.certificate_file': one of the two.")


def _check_cameras(file: Path, found: DoorSettings) -> None:
    url, ids = found.protect_url, [one.door_id for one in found.camera]
    if url and not (url.startswith(("https://", "http://")) and "{camera}" in url and "{at_ms}" in url and url.isprintable() and " " not in url):
        raise ConfigError(f"{file}: the setting 'doors.protect_url' is wrong: give an address with {{camera}} and {{at_ms}} in it.")
    if bool(url) != bool(ids):
        raise ConfigError(f"{file}: the settings 'doors.protect_url' and '[[doors.camera]]' go together.")
    if twice := next((door for door in ids if ids.count(door) > 1), ""):
        raise ConfigError(f"{file}: the setting 'doors.camera' is wrong: the door {twice!r} is given twice.")


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
    site, by_phone = found.site, found.site.door_by_phone and found.doors is not None
    return Facility(
        id=site.id, name=site.name, zone=site.zone, currency=site.currency, word=site.word, address=site.address,
        support_phone=site.support_phone, support_hours=site.support_hours, door_ids=site.door_ids,
        door_by_phone=by_phone, near_m=site.near_m if by_phone else 0, latitude=site.latitude or 0.0, longitude=site.longitude or 0.0,
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
