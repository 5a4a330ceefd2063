"""Where everything of the demo listens, by what names and secrets the parts know each other, and the settings files that say so to them.

For: one `Plan` per run, made before anything is started, and its files written into the demo's folder. Not for: starting anything.
Invariant: every password, token and key is random and new at each run; each file is readable by its owner only.
"""

import json
import os
import random
import secrets
import socket
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template

import msgspec

from deploy.broker import BrokerUser
from deploy.emulators.messages.push_crypto import new_vapid_key
from deploy.emulators.messages.sendgrid_api import new_event_key, public_event_key
from deploy.emulators.messages.twilio_api import SERVICE
from deploy.emulators.messages.vendors import Ports
from deploy.emulators.tls import self_signed
from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec

HOST = "127.0.0.1"
HERE = Path(__file__).parent
#: below the range from which the system takes ports for outgoing connections
FREE_PORTS = range(20_000, 32_000)
PORT_TRIES = 400
STAFF_USER = "robin"
STAFF_NAME = "Robin Testdesk"
ALERT = "The projector's lamp has 40 hours left"


class DemoError(Exception):
    """The demo cannot start or go on; the message is a sentence for the person at the terminal."""


class FacilityPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One facility as `facilities.toml` describes it. `doors` by name; `port` and `unifi_port` are first choices."""

    id: str
    name: str
    boxes: int
    doors: tuple[str, ...]
    address: str
    port: int
    unifi_port: int


class Facilities(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of `facilities.toml`. `message_ports` are first choices, too; messages come from `sms_number` (E.164) and `mail_sender`."""

    hub_id: str
    hub_port: int
    broker_port: int
    zone: str
    currency: str
    word: str
    profile: str
    support_phone: str
    support_hours: str
    sms_number: str
    mail_sender: str
    machines_port: int
    bays_port: int
    message_ports: Ports
    facilities: tuple[FacilityPlan, ...]


class SitePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One site of this run: its ports and secrets. `folder` holds its settings and books, `box_folder` its emulated controller's."""

    facility: FacilityPlan
    folder: Path
    box_folder: Path
    port: int
    unifi_port: int
    staff_password: str
    broker_password: str
    doors_token: str
    #: whose devices its machines are at the emulated NinjaOne
    organization_id: int
    #: where the switch of each bay listens, in the order of the bays
    switch_ports: tuple[int, ...]

    @property
    def id(self) -> str:
        return self.facility.id

    @property
    def name(self) -> str:
        return self.facility.name

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def box_url(self) -> str:
        """The emulator's own page, over its own self-signed TLS."""
        return f"https://{HOST}:{self.unifi_port}/_emulator/"

    @property
    def resource_ids(self) -> tuple[str, ...]:
        return tuple(f"{self.id}.box-{number}" for number in range(1, self.facility.boxes + 1))


class MachinesPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The emulated NinjaOne of this run, one for all facilities. `folder` holds its settings."""

    folder: Path
    port: int
    secret: str
    #: what its calls to the hub bear
    hook_secret: str

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def page_url(self) -> str:
        """Every bay's PC, to watch and to trouble."""
        return f"{self.url}/_emulator/"


class BaysPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The emulated bays of this run, those of all facilities. `folder` holds their settings, their PCs' keys and disks; `wake_port` is UDP."""

    folder: Path
    port: int
    wake_port: int

    @property
    def page_url(self) -> str:
        """Every bay's PC, plug and lights, to watch and to trouble."""
        return f"http://{HOST}:{self.port}/_emulator/"


class MessagesPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The emulated message vendors of this run: where each listens, and the hub's accounts there. `folder` holds their settings."""

    folder: Path
    ports: Ports
    account_sid: str
    auth_token: str
    api_key: str
    event_key: str
    vapid_key: str
    #: the secret part of the staff's Slack hook
    slack_hook: str

    @property
    def page_url(self) -> str:
        """What customers receive, as a page."""
        return f"http://{HOST}:{self.ports.desk}/_emulator/"

    @property
    def twilio_url(self) -> str:
        return f"http://{HOST}:{self.ports.twilio}"

    @property
    def sendgrid_url(self) -> str:
        return f"http://{HOST}:{self.ports.sendgrid}"

    @property
    def slack_hook_url(self) -> str:
        return f"http://{HOST}:{self.ports.slack}/services/{self.slack_hook}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the demo: folders, ports, secrets."""

    folder: Path
    described: Facilities
    hub_port: int
    broker_port: int
    hub_broker_password: str
    messages: MessagesPlan
    machines: MachinesPlan
    bays: BaysPlan
    sites: tuple[SitePlan, ...]

    @property
    def hub_url(self) -> str:
        return f"http://{HOST}:{self.hub_port}"

    @property
    def hub_folder(self) -> Path:
        return self.folder / "hub"

    @property
    def broker_folder(self) -> Path:
        return self.folder / "broker"

    @property
    def told(self) -> Path:
        """What others read (`build/demo.json`): there exactly while everything serves."""
        return self.folder.with_name(f"{self.folder.name}.json")

    @property
    def control(self) -> Path:
        """How the check reaches the demo's control (`build/demo-control.json`)."""
        return self.folder.with_name(f"{self.folder.name}-control.json")

    def broker_users(self) -> tuple[BrokerUser, ...]:
        hub = BrokerUser("hub", self.hub_broker_password)
        return (hub, *(BrokerUser(site.id, site.broker_password, site.id) for site in self.sites))


def describe(path: Path = HERE / "facilities.toml") -> Facilities:
    """What the demo consists of, as its file says."""
    return msgspec.convert(tomllib.loads(path.read_text("utf-8")), Facilities)


def plan(folder: Path, described: Facilities, *, usual_ports: bool = True) -> Plan:
    """A run in `folder` with its ports chosen: the usual ones where they are free, others where not (all others if not `usual_ports`).

    Raises DemoError when no port is left.
    """
    ports = _ports(usual_ports)

    def port(wish: int) -> int:
        return ports.send(wish)

    next(ports)
    sites = tuple(
        SitePlan(
            facility=one, folder=folder / f"site-{one.id}", box_folder=folder / f"unifi-{one.id}", port=port(one.port),
            unifi_port=port(one.unifi_port), staff_password=secrets.token_urlsafe(9), broker_password=secrets.token_urlsafe(18),
            doors_token=secrets.token_urlsafe(18), organization_id=number,
            switch_ports=tuple(port(described.bays_port + number * 100 + box) for box in range(1, one.boxes + 1)),
        )  # fmt: skip
        for number, one in enumerate(described.facilities, 1)
    )
    return Plan(
        folder=folder, described=described, hub_port=port(described.hub_port), broker_port=port(described.broker_port),
        hub_broker_password=secrets.token_urlsafe(18), messages=_messages(folder / "messages", described.message_ports, port), sites=sites,
        machines=MachinesPlan(
            folder=folder / "ninjaone", port=port(described.machines_port), secret=secrets.token_urlsafe(24), hook_secret=secrets.token_urlsafe(24)
        ),
        bays=BaysPlan(folder=folder / "bays", port=port(described.bays_port), wake_port=port(described.bays_port + 1)),
    )  # fmt: skip


def _messages(folder: Path, wishes: Ports, port: Callable[[int], int]) -> MessagesPlan:
    return MessagesPlan(
        folder=folder,
        ports=Ports(**{name: port(wish) for name, wish in msgspec.structs.asdict(wishes).items()}),
        account_sid=f"AC{secrets.token_hex(16)}",
        auth_token=secrets.token_hex(16),
        api_key=f"SG.{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(32)}",
        event_key=new_event_key(random.SystemRandom()),
        vapid_key=new_vapid_key(random.SystemRandom()),
        slack_hook=f"TDEMO/BDEMO/{secrets.token_hex(12)}",
    )


def _ports(usual: bool) -> Iterator[int]:
    """Answers each port that is sent in with itself if it can be had, else with a free one; none is given twice."""
    given: set[int] = set()
    port = 0
    while True:
        wish = yield port
        if usual and wish not in given and is_free(wish):
            port = wish
        else:
            port = _another(given)
        given.add(port)


def _another(given: set[int]) -> int:
    for _ in range(PORT_TRIES):
        port = secrets.choice(FREE_PORTS)
        if port not in given and is_free(port):
            return port
    raise DemoError(f"No free port was found between {FREE_PORTS.start} and {FREE_PORTS.stop}.")


def is_free(port: int) -> bool:
    """Whether nobody listens there just now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)  # two sockets with SO_REUSEADDR may both bind; the second cannot listen
        except OSError:
            return False
    return True


# ---- files
def write(plan: Plan, staff_hashes: dict[str, str]) -> None:
    """Writes every settings file of the run. `staff_hashes`: site id to the argon2 hash of its staff password."""
    _write_hub(plan)
    _write_messages(plan)
    _write_machines(plan)
    for site in plan.sites:
        _write_box(plan, site)
        _write_site(plan, site, staff_hashes[site.id])


def _write_hub(plan: Plan) -> None:
    described = plan.described
    sites = "\n".join(f"[[sites]]\nid = {quoted(site.id)}\nname = {quoted(site.name)}\n" for site in plan.sites)
    messages = plan.messages
    text = _filled(
        "hub.toml", hub_id=described.hub_id, port=plan.hub_port, url=plan.hub_url, broker_port=plan.broker_port,
        account_sid=messages.account_sid, sms_sender=SERVICE, twilio_url=messages.twilio_url, mail_sender=described.mail_sender,
        event_public_key=public_event_key(messages.event_key), sendgrid_url=messages.sendgrid_url,
        push_contact=f"mailto:{described.mail_sender}", zone=described.zone,
    )  # fmt: skip
    private(plan.hub_folder / "profile.toml", _filled("profile.toml", profile=described.profile))
    private(plan.hub_folder / "hub.toml", text.replace("$sites", sites))
    private(plan.hub_folder / "broker.password", plan.hub_broker_password)
    private(plan.hub_folder / "twilio.token", messages.auth_token)
    private(plan.hub_folder / "sendgrid.key", messages.api_key)
    private(plan.hub_folder / "vapid.key", messages.vapid_key)
    private(plan.hub_folder / "slack.hook", messages.slack_hook_url)
    private(plan.hub_folder / "ninjaone.hook", plan.machines.hook_secret)


def _write_messages(plan: Plan) -> None:
    described, messages = plan.described, plan.messages
    text = _filled(
        "messages.toml", zone=described.zone, **msgspec.structs.asdict(messages.ports), account_sid=messages.account_sid,
        auth_token=messages.auth_token, sms_service=SERVICE, numbers=[described.sms_number], api_key=messages.api_key,
        event_key=messages.event_key, senders=[described.mail_sender], twilio_hook=f"{plan.hub_url}/hooks/twilio",
        sendgrid_hook=f"{plan.hub_url}/hooks/sendgrid", slack_hook=messages.slack_hook,
    )  # fmt: skip
    private(messages.folder / "messages.toml", text)


def machine_id(site: SitePlan, number: int) -> int:
    """What the emulated NinjaOne calls the PC of a box."""
    return site.organization_id * 100 + number


def mac(site: SitePlan, number: int) -> str:
    """The network card of a box's PC: an address that its owner made up, and so nobody's."""
    return f"02:00:00:00:{site.organization_id:02x}:{number:02x}"


def _write_machines(plan: Plan) -> None:
    """One tenant with an organization for each facility. One PC has an alert from the start."""
    organizations = "[organizations]\n" + "".join(f"{site.organization_id} = {quoted(site.name)}\n" for site in plan.sites)
    devices = "\n".join(
        f'[[devices]]\nid = {machine_id(site, number)}\nname = {quoted(f"{site.name} {plan.described.word} {number}")}\n'
        f"organization_id = {site.organization_id}\n" + (f"alert = {quoted(ALERT)}\n" if (site is plan.sites[0] and number == 2) else "")
        for site in plan.sites
        for number in range(1, site.facility.boxes + 1)
    )
    text = _filled("ninjaone.toml", port=plan.machines.port, zone=plan.described.zone, secret=plan.machines.secret)
    private(plan.machines.folder / "ninjaone.toml", text.replace("$organizations", organizations).replace("$devices", devices))


def _write_box(plan: Plan, site: SitePlan) -> None:
    doors = "\n".join(f"[[doors]]\nname = {quoted(door)}\nfloor = {quoted(site.id)}\n" for door in site.facility.doors)
    text = _filled(
        "unifi.toml", port=site.unifi_port, zone=plan.described.zone, token=site.doors_token, scopes=sorted(AGENT_SCOPES)
    )
    private(site.box_folder / "unifi.toml", text.replace("$doors", doors))


def _write_site(plan: Plan, site: SitePlan, staff_hash: str) -> None:
    described, facility = plan.described, site.facility
    resources = "\n".join(
        f'[[resource]]\nid = {quoted(resource_id)}\nname = {quoted(f"{described.word} {number}")}\nnumber = {number}\n'
        f'machine_id = "{machine_id(site, number)}"\n'
        for number, resource_id in enumerate(site.resource_ids, 1)
    )
    around = "\n".join(
        f'[[machines.way.lan.bay]]\nid = {quoted(resource_id)}\nmac = {quoted(mac(site, number))}\nplug = "http://{HOST}:{port}"\n'
        f'lights = "http://{HOST}:{port}"\nlights_channel = 1\nidle_w = 20\npower_cycle = true\n'
        for number, (resource_id, port) in enumerate(zip(site.resource_ids, site.switch_ports, strict=True), 1)
    )
    text = _filled(
        "site.toml", hub_id=described.hub_id, id=site.id, name=site.name, zone=described.zone,
        currency=described.currency, word=described.word, address=facility.address, support_phone=described.support_phone,
        support_hours=described.support_hours, door_ids=[DoorSpec(door, site.id).id for door in facility.doors], port=site.port,
        broker_port=plan.broker_port, unifi_port=site.unifi_port, wake_address=f"{HOST}:{plan.bays.wake_port}",
        machines_url=plan.machines.url, organization_id=site.organization_id,
        # the emulator keeps its certificate in its folder, so that it is known before it runs
        fingerprint=self_signed(site.box_folder, "unifi-access", ("localhost", HOST, HOST)).fingerprint,
    )  # fmt: skip
    private(site.folder / "profile.toml", _filled("profile.toml", profile=described.profile))
    private(site.folder / "site.toml", text.replace("$resources", resources).replace("$bays", around))
    private(site.folder / "broker.password", site.broker_password)
    private(site.folder / "doors.token", site.doors_token)
    private(site.folder / "ninjaone.secret", plan.machines.secret)
    staff = (
        f"[[staff]]\nuser = {quoted(STAFF_USER)}\nname = {quoted(STAFF_NAME)}\nrole = \"admin\"\npassword_hash = {quoted(staff_hash)}\n"
    )
    private(site.folder / "staff.toml", staff)


def _filled(template: str, **values: object) -> str:
    """The template with every value as TOML writes it. Names that have none stay, for the caller's tables."""
    return Template((HERE / template).read_text("utf-8")).safe_substitute({name: quoted(value) for name, value in values.items()})


def quoted(value: object) -> str:
    """A value in TOML: JSON's strings, numbers and lists of strings are TOML's too."""
    return json.dumps(value)


def private(path: Path, text: str) -> None:
    """Writes a file that its owner alone can read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    beside.replace(path)
