"""The hub's configuration file as structs. Every key is read by somebody; an unknown one refuses to start (`shared.runtime.config`).

    hub_id = "hub-1"
    data_dir = "data"
    profile = "business"                 # one that comes with the product, or the path of a .toml

    [http]
    host = "127.0.0.1"
    port = 8080

    [mqtt]
    host = "127.0.0.1"
    username = "hub"
    password_file = "broker.password"

    [[sites]]
    id = "bedford"
    name = "Bedford"
    door_check = "passkey"               # a telephone opens the door only after it has looked at its owner's finger, face or code

    [channels.twilio]                    # one table for each vendor that messages go by; its keys: `vendors/<vendor>`
    account_sid = "AC..."
    auth_token_file = "twilio.token"

    [channels.slack]
    hooks = { staff = "slack.hook" }     # name = file with the address

    [digest]                             # what the staff are told by Slack
    zone = "America/Halifax"

    [machines.ninjaone]                  # who calls about the bays' PCs
    secret_file = "ninjaone.hook"

Paths are relative to the file. Invariant: what `load` returns is complete and sound; everything else is a ConfigError with a sentence.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from shared import profiles, recovery
from shared.errors import Broken
from shared.model import ID_PATTERN, SITE_PATTERN
from shared.policy import Profile
from shared.runtime import backup, keyfile
from shared.runtime import config as files
from shared.runtime.backup import BackupSettings
from shared.runtime.config import ConfigError
from shared.runtime.timesource import Rtc
from shared.runtime.web import LOOPBACK, not_a_network


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table in the file."""


class Http(Section, frozen=True, kw_only=True):
    """`behind_tls`: a proxy in front speaks TLS (turns HSTS and secure cookies on). `trusted_proxies`: networks whose X-Forwarded-For counts.

    `allowed_hosts`: names taken in Host; empty takes any. `public_url` is what links to the booking pages begin with.
    `metrics_from`: networks that may read `/metrics`.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    behind_tls: bool = False
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    metrics_from: tuple[str, ...] = LOOPBACK


class Mqtt(Section, frozen=True, kw_only=True):
    """The broker between hub and sites. `tls` alone believes the machine's authorities; `ca_file` another one."""

    host: str
    port: int = 1883
    username: str = ""
    password_file: str = ""
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""


class Clock(Section, frozen=True, kw_only=True):
    """`rtc`: whether this machine has a clock that runs without power; `auto` looks for one (clock-2)."""

    rtc: Rtc = "auto"


class Site(Section, frozen=True, kw_only=True):
    """A site that is enrolled here: only its stream is listened to. `name` is shown until the site has stated its own.

    `door_check`: "passkey" where a guest's telephone must confirm that it is its owner before it opens a door (D10). The site says whether telephones
    open doors at all.
    """

    id: str
    name: str
    door_check: Literal["none", "passkey"] = "none"


class Rates(Section, frozen=True, kw_only=True):
    """Z2, requests per minute: per client address on pages and API, and per API key."""

    per_address: int = 600
    per_key: int = 6000


class LossSettings(Section, frozen=True, kw_only=True):
    """What one lost disk may cost (loss-7). `second_machine`: the address of a witness (`cloud-hub witness`) on another machine, which must hold
    a sale before it is called confirmed, or "none": then the hub does without, and shows what it could lose. `key_file`: the witness's key.
    """

    second_machine: str = "none"
    key_file: str = ""


class DigestSettings(Section, frozen=True, kw_only=True):
    """The staff's digest by [channels.slack]: every day at `at` ("HH:MM") of `zone`, the usual one of those who read it, to the hook named `hook`.
    `urgent`: what cannot wait is told at once."""

    zone: str
    at: str = "08:00"
    hook: str = "staff"
    urgent: bool = True


class HubConfig(Section, frozen=True, kw_only=True):
    """The whole file. `channels`: a table for each vendor, which the vendor's own file reads as strictly (`vendors/channels`); `machines`: one for each
    vendor that calls about the bays' machines (`vendors/machine_callers`). `mark_file`: on
    another medium than the data (loss-1). `recovery_public`: the public half of the operator's
    recovery key (loss-5, loss-6)."""

    hub_id: str
    data_dir: str
    sites: tuple[Site, ...]
    http: Http = Http()
    mqtt: Mqtt | None = None
    rates: Rates = Rates()
    profile: str = "business"
    log_level: str = "INFO"
    loss: LossSettings = LossSettings()
    backup: BackupSettings | None = None
    clock: Clock = Clock()
    mark_file: str = ""
    channels: dict[str, dict[str, Any]] = {}
    machines: dict[str, dict[str, Any]] = {}
    digest: DigestSettings | None = None
    recovery_public: str = ""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The file as the app uses it: paths resolved, the secret read, the profile decoded. `file`: where it lies; paths begin beside it."""

    hub: HubConfig
    data_dir: Path
    profile: Profile
    mqtt_password: str = ""
    mqtt_files: dict[str, str] = {}
    file: Path = Path("hub.toml")
    #: empty where the hub does without a second machine
    witness_key: bytes = b""
    mark_file: Path | None = None

    def __repr__(self) -> str:
        return f"Config({self.hub.hub_id})"


def load(path: str | Path) -> Config:
    """Reads and checks the file. Raises ConfigError with one sentence that names the key."""
    hub = files.load(path, HubConfig)
    check(hub, str(path))
    base = Path(path).absolute().parent
    mqtt = hub.mqtt or Mqtt(host="none")
    return Config(
        hub=hub,
        data_dir=files.resolve(hub.data_dir, path),
        profile=_profile(hub.profile, path),
        mqtt_password=files.secret("", mqtt.password_file, base, key="mqtt.password"),
        mqtt_files={k: str(files.resolve(v, path)) for k in ("ca_file", "cert_file", "key_file") if (v := getattr(mqtt, k))},
        file=Path(path).absolute(),
        witness_key=_witness_key(hub.loss, path),
        mark_file=files.resolve(hub.mark_file, path) if hub.mark_file else None,
    )


def check(hub: HubConfig, where: str) -> None:
    """What types alone cannot say. Raises ConfigError."""
    if not re.fullmatch(ID_PATTERN, hub.hub_id) and not re.fullmatch(SITE_PATTERN, hub.hub_id):
        raise ConfigError(f"{where}: the setting 'hub_id' is wrong: use small letters, digits and '-'.")
    ids = [site.id for site in hub.sites]
    for site_id in ids:
        if not re.fullmatch(SITE_PATTERN, site_id):
            raise ConfigError(f"{where}: the setting 'sites.id' is wrong: {site_id!r} is no site id (small letters, digits and '-').")
        if ids.count(site_id) > 1:
            raise ConfigError(f"{where}: the site {site_id!r} is named twice.")
    check_doors(hub, where)
    for name, port in (("http.port", hub.http.port), ("mqtt.port", hub.mqtt.port if hub.mqtt else 1)):
        if not 0 <= port <= 65_535:
            raise ConfigError(f"{where}: the setting {name!r} is wrong: {port} is no port.")
    for name in ("trusted_proxies", "metrics_from"):
        if wrong := not_a_network(getattr(hub.http, name)):
            raise ConfigError(f"{where}: the setting 'http.{name}' is wrong: {wrong!r} is no network.")
    if hub.http.behind_tls and not hub.http.trusted_proxies:
        # All the world would be one client address: one visitor's requests would use up everybody's.
        raise ConfigError(f"{where}: with 'http.behind_tls' the setting 'http.trusted_proxies' must name the proxy, e.g. \"127.0.0.1/32\".")
    if hub.recovery_public and not recovery.is_public(hub.recovery_public):
        raise ConfigError(f"{where}: the setting 'recovery_public' is wrong: give what `cloud-hub recovery-key create` printed behind \"# public:\".")
    if hub.backup and (why := backup.wrong(hub.backup)):
        raise ConfigError(f"{where}: the setting {why}.")
    if hub.rates.per_address < 1 or hub.rates.per_key < 1:
        raise ConfigError(f"{where}: the settings under 'rates' must be at least 1.")
    check_digest(hub, where)
    if hub.log_level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ConfigError(f"{where}: the setting 'log_level' is wrong: use DEBUG, INFO, WARNING or ERROR.")


def check_doors(hub: HubConfig, where: str) -> None:
    """Whether browsers would make keys for our pages: these are made for a name, over TLS. Raises ConfigError."""
    if not any(site.door_check == "passkey" for site in hub.sites):
        return
    try:
        url = urlsplit(hub.http.public_url)
        name, _ = url.hostname or "", url.port
    except ValueError:
        raise ConfigError(f"{where}: the setting 'http.public_url' is wrong: {hub.http.public_url!r} is no address.") from None
    named = bool(re.fullmatch(r"[a-z0-9.-]+", name)) and not re.fullmatch(r"[0-9.]+", name)
    if not named or (url.scheme != "https" and (url.scheme, name) != ("http", "localhost")):
        raise ConfigError(
            f"{where}: the setting 'sites.door_check' is wrong: \"passkey\" needs 'http.public_url' to begin with https:// and a name, not a number."
        )


def check_digest(hub: HubConfig, where: str) -> None:
    """Whether the staff can be told as the file says. Raises ConfigError."""
    slack, wanted = hub.channels.get("slack"), hub.digest
    if slack is None and wanted is None:
        return
    if slack is None:
        raise ConfigError(f"{where}: the table [digest] needs [channels.slack], by which the staff are told.")
    if wanted is None:
        raise ConfigError(f"{where}: [channels.slack] needs the table [digest], at least with the setting 'zone', e.g. \"America/Halifax\".")
    try:
        ZoneInfo(wanted.zone)
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"{where}: the setting 'digest.zone' is wrong: {wanted.zone!r} is not a time zone that this machine knows.") from None
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", wanted.at):
        raise ConfigError(f"{where}: the setting 'digest.at' is wrong: {wanted.at!r} is no time of day like \"08:00\".")
    hooks = slack.get("hooks")
    if isinstance(hooks, dict) and wanted.hook not in hooks:
        raise ConfigError(f"{where}: the setting 'digest.hook' is wrong: [channels.slack] has no hook {wanted.hook!r} among its 'hooks'.")


def _witness_key(loss: LossSettings, path: str | Path) -> bytes:
    """The key that hub and witness share. Raises ConfigError; a key is never made here, or the two would have different ones."""
    if loss.second_machine == "none":
        if loss.key_file:
            raise ConfigError(f"{path}: the setting 'loss.key_file' needs 'loss.second_machine'.")
        return b""
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]{1,200}/?", loss.second_machine):
        raise ConfigError(f"{path}: the setting 'loss.second_machine' is wrong: give \"none\" or an address like \"http://192.0.2.8:8090\".")
    file = files.resolve(loss.key_file, path)
    if not loss.key_file or not file.is_file():
        raise ConfigError(f"{path}: the setting 'loss.key_file' must name the key that `cloud-hub witness` made on the second machine.")
    try:
        return keyfile.load_or_create(file)
    except Broken as error:
        raise ConfigError(f"{path}: the setting 'loss.key_file' is wrong: {error.detail}") from None


def _profile(name: str, path: str | Path) -> Profile:
    try:
        if not name.endswith(".toml"):
            return profiles.profile(name)
        return profiles.from_toml(files.resolve(name, path).read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: the setting 'profile' is wrong: {error}") from None
