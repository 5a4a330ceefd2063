"""One site agent, built whole and started in order; every other module is handed what it needs from here.

For: `build(loaded)` and the agent's life (start, serve, stop). Not for: deciding anything. Invariant: the agent serves with no broker, no
hub, no name server and no door controller (L6); nothing is built twice and nothing happens on import.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from importlib import metadata
from typing import Any

import msgspec

from shared import rules
from shared.keys import SigningKey
from shared.ledger import fencing, records
from shared.ledger.clock_trust import ClockTrust
from shared.ledger.desk import Desk, Limits
from shared.ledger.displaced import Placing
from shared.ledger.frontdesk import Houses
from shared.ledger.keychain import Chain, KeyChain
from shared.ledger.marks import MarkKeeper
from shared.ledger.rule_hits import RuleTally
from shared.ledger.worker import Doer, Worker
from shared.messages import Topics
from shared.pins import LENGTH_MIN
from shared.runtime import database_disk as disk
from shared.runtime import log
from shared.runtime.clock import Chance, Clock, SystemClock
from shared.runtime.config import ConfigError
from shared.runtime.csrf import Csrf
from shared.runtime.database import Database, InlineWriter, Tx
from shared.runtime.keyfile import load_or_create
from shared.runtime.mark import MarkFile
from shared.runtime.metrics import Metrics
from shared.runtime.scheduler import Ticker
from shared.runtime.timesource import Given, Machine, TimeSource
from shared.runtime.transport import Transport, Will
from shared.runtime.web import WebEdge
from site_agent import jobs
from site_agent.config import Loaded
from site_agent.ports import BayCalls, Doors, Machines
from site_agent.services import documents
from site_agent.services.alarms import of_books
from site_agent.services.alarms_up import AlarmsUp
from site_agent.services.backups import open_backups
from site_agent.services.bays.bay_jobs import BayJobs
from site_agent.services.bays.bay_signs import BaySigns
from site_agent.services.bays.foresight import Foresight
from site_agent.services.bays.machine_work import JOB as BAY_JOB
from site_agent.services.bays.machine_work import KIND as MACHINE
from site_agent.services.bays.machine_work import lane_of
from site_agent.services.bays.machines import MachineDesk
from site_agent.services.bays.quiet import Quiet
from site_agent.services.bays.stock import Stock
from site_agent.services.booking import BookingDesk
from site_agent.services.clock import TimeDesk
from site_agent.services.doors.credentials import Credentials
from site_agent.services.doors.door_cards import DoorCards
from site_agent.services.doors.door_check import DoorCheck
from site_agent.services.doors.door_holds import DoorHolds
from site_agent.services.doors.door_trail import Clips, DoorTrail, TrailRow, TrailSettings
from site_agent.services.doors.door_witness import DoorWitness
from site_agent.services.doors.doors import DoorDesk
from site_agent.services.doors.emergency import EmergencyDesk
from site_agent.services.doors.outage_pins import OutagePins
from site_agent.services.doors.phone_doors import PhoneDoors
from site_agent.services.doors.reader_codes import ReaderCodes
from site_agent.services.halts import Halts
from site_agent.services.kit import Kit
from site_agent.services.link import Link
from site_agent.services.live import Live
from site_agent.services.notices import NoticeDesk
from site_agent.services.outage import Outage
from site_agent.services.people import People
from site_agent.services.plug import Plug
from site_agent.services.recovery import Recovery
from site_agent.services.tally import Tally
from site_agent.services.upkeep import Upkeep
from site_agent.services.visits.camera import Camera
from site_agent.services.visits.checkin import CheckIn
from site_agent.services.visits.displaced import DisplacedDesk
from site_agent.services.visits.presence import Presence
from site_agent.services.visits.walkin import WalkIn
from site_agent.store.schema import identity, prepare
from site_agent.web import site as web

DATABASE, SIGNING_KEY, CSRF_KEY = "site.db", "signing.key", "csrf.key"
#: 4 MB: a box may run from a memory card, and sells dozens a day
WAL_PAGES = 1000
_log = log.get("site_agent")


class SiteAgent:
    """The agent: `asgi` to serve, `kit` for tests and tools. It starts with the ASGI lifespan."""

    def __init__(self, kit: Kit, desk: Desk, ticker: Ticker):
        self.kit, self.desk, self.ticker = kit, desk, ticker
        self._upkeep = Upkeep(kit.db, desk, kit.bookings.site_id)

    @cached_property
    def asgi(self) -> WebEdge:
        """The screens and the API, made when somebody serves them: an agent in a simulated world has none."""
        return web.make(self.kit, version(), self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Any) -> AsyncIterator[None]:
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def start(self) -> None:
        """Opens the books and begins to serve; whatever is outside may come later."""
        kit, site_id = self.kit, self.kit.bookings.site_id
        await kit.db.start()
        await kit.time.start()
        await kit.mark.hold()  # before a word is written: a copy that has gone on no longer looks older
        await kit.db.write(self._open)
        disk.torn_noted(kit.db.path)
        await kit.mark.keep()
        await self._upkeep.pins()
        await kit.people.begin(kit.loaded.staff)
        await kit.outage.begin()
        self._wire()
        await kit.emergency.start()  # before anybody may ask for a door
        await kit.phone_doors.start()
        await kit.link.start()
        await kit.doors.start()
        await kit.door_trail.start()
        await kit.credentials.start()
        await kit.machines.start()
        if kit.worker is not None:
            kit.worker.start()
        await kit.halts.watch.begin()  # after all that writes: books that turn out damaged are shown to people, so the agent must start
        jobs.register(self.ticker, kit, self._upkeep)
        self.ticker.start()
        _log.info("agent.started", site_id=site_id, box_id=self.desk.box_id)

    def _open(self, tx: Tx) -> None:
        loaded, site_id = self.kit.loaded, self.kit.bookings.site_id
        documents.open_books(tx, self.desk, site_id, hub_id=loaded.config.hub_id, epoch=self.desk.new_id())
        documents.state(tx, self.desk, loaded.facility, loaded.resources)
        if disk.torn(self.kit.db.path):
            if loaded.config.mqtt is not None:  # a facility on its own has nobody to repair it by: a fence there would never end
                fencing.fence_all(tx, self.desk, disk.TORN)
            records.journal(tx, self.desk.now(), site_id, "agent", "books torn", self.desk.box_id, disk.TORN)
        records.journal(tx, self.desk.now(), site_id, "agent", "started", self.desk.box_id)

    def _wire(self) -> None:
        """Who tells the staff pages that a panel changed."""
        self.kit.db.watch(self.kit.live.panels_changed)
        self.kit.door_trail.watch(self._tell_door)
        self.kit.db.listen(self._machines_called)
        self.kit.door_trail.on_emergency = self.kit.emergency.hint
        self.kit.door_trail.meant_open = lambda door_id: self.kit.emergency.opens() or self.kit.door_holds.held(door_id) is not None
        self.kit.doors.held = self.kit.door_holds.held
        self.kit.door_holds.emergency = lambda: bool(self.kit.emergency.barred()) or self.kit.emergency.opens()
        self.kit.doors.barred = self.kit.emergency.barred
        self.kit.emergency.watch(self.kit.live.panels_changed)
        for told in (self.kit.link, self.kit.doors, self.kit.credentials, self.kit.door_check, self.kit.outage, self.kit.backups, self.kit.time, self.kit.machines):
            told.watch(self.kit.live.panels_changed)
        for told in (self.kit.stock, self.kit.presence):
            told.watch(self.kit.live.panels_changed)

    def _machines_called(self, events: list[tuple[str, str]]) -> None:
        for machine_id in dict.fromkeys(key for topic, key in events if topic == "machine_told"):
            self.kit.machines.called(machine_id)

    def _tell_door(self, row: TrailRow) -> None:
        """At once and by itself: somebody at the desk is to see the door open, not a panel drawn anew."""
        self.kit.live.tell("door", msgspec.json.encode(row))

    def on_stop(self) -> None:
        """The moment stopping begins: open streams end by themselves."""
        self.kit.live.close()
        if self.kit.bay_calls is not None:
            self.kit.bay_calls.hang_up()

    async def stop(self) -> None:
        self.ticker.stop()
        self.kit.live.close()
        self.kit.backups.stop()
        self.kit.camera.stop()
        if self.kit.worker is not None:
            await self.kit.worker.stop()
        await self.kit.machines.stop()
        await self.kit.phone_doors.stop()
        await self.kit.door_check.stop()
        await self.kit.credentials.stop()
        await self.kit.door_trail.stop()
        await self.kit.emergency.stop()
        await self.kit.doors.stop()
        await self.kit.outage.stop()
        await self.kit.link.stop()
        await self.kit.halts.watch.stop()
        await self.kit.rule_tally.stop()
        await self.kit.time.stop()
        await self.kit.mark.keep()
        await self.kit.db.stop()
        _log.info("agent.stopped", site_id=self.kit.bookings.site_id)


def build(
    loaded: Loaded,
    *,
    clock: Clock | None = None,
    chance: Chance | None = None,
    db: Database | InlineWriter | None = None,
    transport: Transport | None = None,
    doors: Doors | None = None,
    machines: Mapping[str, Machines] | None = None,
    limits: Limits | None = None,
    source: TimeSource | None = None,
) -> SiteAgent:
    """The agent of this config; what is given takes the place of what the config would make (a clock given is trusted, if no `source` says
    otherwise). Raises ConfigError, ValueError, Broken."""
    if source is None:
        source = Given(clock) if clock is not None else Machine(loaded.config.clock.rtc)
    clock, chance = clock or SystemClock(), chance or Chance()
    loaded.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    box_id = prepare(loaded.data_dir / DATABASE, chance.new_id)
    db = db or Database(loaded.data_dir / DATABASE, wal_pages=WAL_PAGES)
    term, grant = identity(loaded.data_dir / DATABASE)
    limits = limits or Limits(pin_digits=loaded.config.doors.pin_digits if loaded.config.doors else LENGTH_MIN)
    desk = Desk("site", clock=clock.now, new_id=chance.new_id, chance=chance.random, box_id=box_id, term=term, limits=limits)
    desk.grant = grant
    key = KeyChain(loaded.data_dir / SIGNING_KEY)
    transport = transport or _transport(loaded, box_id)
    doors = doors or _doors(loaded, clock)
    kit = _kit(loaded, clock, db, desk, key, transport, doors, source, _machines(loaded, clock) if machines is None else machines, chance)
    kit.mark.read()
    return SiteAgent(kit, desk, Ticker())


def _kit(
    loaded: Loaded, clock: Clock, db: Database | InlineWriter, desk: Desk, key: SigningKey | Chain, transport: Transport | None, doors: Doors | None,
    source: TimeSource | None = None, machines: Mapping[str, Machines] | None = None, chance: Chance | None = None,
) -> Kit:
    site_id, tls = loaded.config.site.id, bool(loaded.config.http.tls_cert)
    houses = Houses(db, loaded.profile, desk)
    plug = Plug(transport) if transport is not None else None
    link = Link(db, desk, clock, site_id, key, plug)
    time_desk = TimeDesk(ClockTrust(db, desk, clock, source or Given(clock)), site_id, doors)
    link.on_answer = time_desk.heard
    mark = MarkKeeper(db, desk, MarkFile(loaded.path(loaded.config.mark_file)) if loaded.config.mark_file else None)
    door_desk = DoorDesk(db, desk, houses, site_id, doors)
    metrics = _metrics(link, db)
    refused = metrics.counter("refusals", "Broken rules that refusals named.", ["rule"])
    hits = RuleTally(db, desk, lambda code: refused.labels(code).inc())
    bookings = BookingDesk(db, desk, houses, site_id, link, clock.monotonic, hits)
    checkin = CheckIn(db, desk, houses, site_id, link, door_desk)
    tally = Tally(clock.monotonic)
    tally.over(bookings, book="sales", hold="holds", reschedule="changes", extend="changes", cancel="cancels")
    tally.over(checkin, by_text="check-ins", by_staff="check-ins")
    if doors is not None:
        tally.over(doors, unlock="door openings")
    backups = open_backups(loaded, clock.now, DATABASE, lambda: not desk.clock_doubt())
    backups.meter(metrics)
    halts = Halts(db, desk, houses, site_id)
    witness = DoorWitness(db, desk, houses, site_id, doors)
    metrics.gauge("breaches", "Broken invariants of the books that nobody has looked at yet.").set_function(lambda: float(halts.breaches()))
    _clock_metrics(metrics, link, time_desk, mark)
    trail = DoorTrail(db, desk, houses, site_id, doors, door_desk, _trail_settings(loaded))
    credentials = Credentials(db, desk, houses, site_id, doors)
    door_check = DoorCheck(db, desk, houses, site_id, doors, credentials)
    metrics.gauge("door_drift", "Differences that the last comparison with the door controller found.").set_function(lambda: float(door_check.counts()[0]))
    metrics.gauge("door_drift_found", "Differences that comparisons with the door controller ever found.").set_function(lambda: float(door_check.counts()[1]))
    metrics.gauge("door_alerts", "Alerts of the doors that nobody has answered yet.").set_function(lambda: float(trail.waiting()))
    metrics.gauge("door_devices_amiss", "Hubs and readers of the doors that are offline, or cannot be seen.").set_function(lambda: float(len(door_desk.amiss())))
    metrics.gauge("door_events_live", "1 while the door controller's events are heard as they happen.").set_function(lambda: float(trail.live()))
    emergency = EmergencyDesk(db, desk, houses, site_id, doors, clock.monotonic)
    machine_desk = _machine_desk(loaded, db, desk, houses, machines or {}, chance or Chance())
    settings = loaded.config.machines
    stock = Stock(db, desk, houses, site_id, BaySigns(desk, machine_desk, settings.breaking if settings is not None else ()))
    return Kit(
        loaded=loaded, clock=clock, db=db, metrics=metrics, tls=tls, backups=backups,
        csrf=Csrf(load_or_create(loaded.data_dir / CSRF_KEY), tls=tls, sign_in_cookies=("session", "kiosk")),
        bookings=bookings, bay_calls=_bay_calls(machines or {}, desk), camera=Camera(_codes_in, clock.monotonic), checkin=checkin, credentials=credentials,
        door_cards=DoorCards(db, desk, site_id, doors), door_holds=DoorHolds(db, desk, site_id, doors, door_desk), emergency=emergency,
        displaced=DisplacedDesk(db, desk, houses, site_id, link), placing=Placing(db, desk, houses, lambda _: link.up()),
        doors=door_desk, door_check=door_check, door_trail=trail, link=link, live=Live(db, desk, houses, site_id), machines=machine_desk,
        bay_jobs=BayJobs(db, desk, houses, site_id, machine_desk, settings.jobs if settings is not None else None),
        quiet=Quiet(db, desk, houses, site_id, machine_desk),
        worker=_worker(loaded, machine_desk, db, desk, clock, chance or Chance()), people=People(db, desk, loaded.data_dir),
        phone_doors=PhoneDoors(db, desk, site_id, link, checkin),
        reader_codes=ReaderCodes(db, desk, site_id, doors if loaded.config.doors is not None and loaded.config.doors.reader_qr else None),
        alarms_up=AlarmsUp(db, desk, site_id, door_desk.name_of, lambda: [*emergency.alarms(), *of_books(db), *stock.alarms()]),
        recovery=Recovery(db, desk, houses, site_id, loaded.data_dir, witness), witness=witness, halts=halts,
        notices=NoticeDesk(db, desk, site_id), rule_tally=hits, stock=stock,
        presence=Presence(db, desk, houses, site_id, door_desk, trail, machine_desk.activity), foresight=Foresight(db, desk, houses, site_id),
        outage=Outage(db, desk, site_id, link, plug, tally, clock.monotonic, loaded.data_dir),
        outage_pins=OutagePins(db, desk, houses, site_id, link, doors), walkin=WalkIn(db, desk, houses, site_id, link), time=time_desk, mark=mark,
    )  # fmt: skip


def _bay_calls(ways: Mapping[str, Machines], desk: Desk) -> BayCalls | None:
    """The way by which the bays' PCs call us, where there is one."""
    found = next((one for one in ways.values() if isinstance(one, BayCalls)), None)
    if found is not None:
        found.attach(lambda: desk.term)
    return found


def _codes_in(grey: bytes, width: int, height: int) -> list[str]:
    """The codes in a picture; what reads them is loaded with the first one."""
    from site_agent.devices import qr

    return qr.decode(grey, width, height)


def _trail_settings(loaded: Loaded) -> TrailSettings:
    found = loaded.config.doors
    if found is None:
        return TrailSettings()
    clips = Clips(found.protect_url, {one.door_id: one.camera_id for one in found.camera})
    return TrailSettings(held_open_s=found.held_open_s, keep_days=found.trail_keep_days, leaf_alarms=found.leaf_alarms, clips=clips)


def _books_metrics(metrics: Metrics, db: Database | InlineWriter) -> None:
    """Of the books and their disk; none of it reads them, so that it is told when they cannot be read."""
    metrics.gauge("books_failing", "1 while the books cannot be read or written.").set_function(lambda: float(bool(db.failing)))
    metrics.gauge("disk_free_bytes", "Room left where the books lie.").set_function(lambda: float(db.disk().free_octets))
    metrics.gauge("disk_low", "1 while that room is nearly used up.").set_function(lambda: float(db.disk().low))


def _clock_metrics(metrics: Metrics, link: Link, time: TimeDesk, mark: MarkKeeper) -> None:
    metrics.gauge("clock_trusted", "1 while this machine's clock is trusted; without it nothing is sold.").set_function(
        lambda: float(not time.doubt())
    )
    metrics.gauge("clock_skew_seconds", "The hub's clock minus ours.").set_function(lambda: link.state().skew_s)
    metrics.gauge("mark_failing", "1 while the mark on the other medium cannot be trusted or kept.").set_function(
        lambda: float(bool(mark.state().trouble))
    )


def _metrics(link: Link, db: Database | InlineWriter) -> Metrics:
    metrics = Metrics("site")
    _books_metrics(metrics, db)
    metrics.gauge("link_up", "1 while the hub answers.").set_function(lambda: float(link.up()))
    metrics.gauge("outbox_rows", "Messages that the hub has not applied yet.").set_function(lambda: float(link.state().waiting))
    metrics.gauge("link_stopped", "1 while a stream stands still and needs a person.").set_function(lambda: float(bool(link.state().stopped)))
    metrics.gauge("digest_differences", "Days on which the hub's books and ours were found to differ.").set_function(
        lambda: float(link.state().books.differences)
    )
    metrics.gauge("digest_resent", "Bookings sent again because the hub's books lacked them.").set_function(lambda: float(link.state().books.resent))
    metrics.gauge("digest_mended", "Bookings of ours that the hub's word mended.").set_function(lambda: float(link.state().books.mended))
    metrics.gauge("digest_doubtful", "Bookings on which the books differ and which people must settle.").set_function(
        lambda: float(len(link.state().doubtful))
    )
    metrics.gauge("digest_compared_at_seconds", "When the hub's books were last compared with ours, unix time.").set_function(
        lambda: float(link.state().books.compared_at)
    )
    metrics.gauge("commits", "Commits of the books since the start.").set_function(lambda: float(db.commits))
    return metrics


def _transport(loaded: Loaded, box_id: str) -> Transport | None:
    """The link over MQTT, where the config names a broker."""
    settings, site_id = loaded.config.mqtt, loaded.config.site.id
    if settings is None:
        return None
    from shared.runtime.mqtt import MqttTransport, TlsSettings, TransportConfigError

    def path(name: str) -> str | None:
        return str(loaded.path(name)) if name else None

    tls = None
    if settings.tls:
        tls = TlsSettings(path(settings.ca_file), path(settings.cert_file), path(settings.key_file), settings.server_name or None)
    will = Will(Topics(site_id).state_site, msgspec.json.encode({"up": False, "box_id": box_id}))
    try:
        return MqttTransport(
            settings.host, settings.port, f"site-{site_id}-{box_id}", username=settings.username or None,
            password=loaded.secret(settings.password_file, "mqtt.password") or None, tls=tls, will=will,
        )  # fmt: skip
    except TransportConfigError as error:
        raise ConfigError(f"{loaded.file}: {error}") from None


def _doors(loaded: Loaded, clock: Clock) -> Doors | None:
    """The door controller, where the config names one."""
    settings = loaded.config.doors
    if settings is None:
        return None
    from site_agent.devices.door_ways import Around, open_doors

    return open_doors(settings, Around(loaded.secret, loaded.path, clock, str(loaded.file)))


def _machines(loaded: Loaded, clock: Clock) -> dict[str, Machines]:
    """The ways to the bays' machines, where the config names any."""
    settings = loaded.config.machines
    if settings is None:
        return {}
    from site_agent.devices.machine_ways import Around, open_ways

    return open_ways(settings.way, Around(loaded.secret, loaded.data_dir, clock, str(loaded.file), loaded.resources, lambda bay: rules.called(bay, loaded.facility)))


def _machine_desk(
    loaded: Loaded, db: Database | InlineWriter, desk: Desk, houses: Houses, ways: Mapping[str, Machines], chance: Chance
) -> MachineDesk:  # fmt: skip
    return MachineDesk(db, desk, houses, loaded.config.site.id, ways, loaded.config.machines, chance.random.random)


def _worker(loaded: Loaded, machine_desk: MachineDesk, db: Database | InlineWriter, desk: Desk, clock: Clock, chance: Chance) -> Worker | None:
    """Who does the work rows: each bay's one after the other."""
    if not machine_desk.configured:
        return None
    lanes = {lane_of(bay.id): 1 for bay in loaded.resources}
    doers: dict[str, Doer] = {MACHINE: machine_desk.work, BAY_JOB: machine_desk.work}
    return Worker(db, clock, chance.random.random, lanes=lanes, doers=doers, doubt=lambda: desk.clock_doubt())


def version() -> str:
    try:
        return metadata.version("clubos-booking")
    except metadata.PackageNotFoundError:
        return "0"
