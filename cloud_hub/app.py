"""Builds the hub, once: books, link, services, API, edge. Nothing happens on import, and nothing runs before `start`.

    app = build(config)          everything wired
    await app.start()            migrations, books, keys, links, jobs       (the ASGI lifespan does it)
    app.asgi                     what a server serves
    await app.stop()

Clock, ids and chance, books and transports are handed in by tests and simulations; the defaults are the real ones.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.datastructures import State
from prometheus_client import Counter

from shared.ledger import fencing
from shared.ledger.availability import DayCache
from shared.ledger.clock_trust import ClockTrust
from shared.ledger.desk import Desk, Limits
from shared.ledger.displaced import Placing
from shared.ledger.frontdesk import Houses
from shared.ledger.keychain import KeyChain
from shared.ledger.marks import MarkKeeper
from shared.ledger.rule_hits import RuleTally
from shared.ledger.watch import Watch
from shared.messages import Topics
from shared.runtime import database_disk as disk
from shared.runtime import keyfile
from shared.runtime.body import StrictRequest
from shared.runtime.clock import Chance, Clock, SystemClock
from shared.runtime.database import Database, InlineWriter
from shared.runtime.mark import MarkFile
from shared.runtime.metrics import Metrics
from shared.runtime.problems import Problems
from shared.runtime.ratelimit import RateLimiter, RateRule
from shared.runtime.routing import Router
from shared.runtime.scheduler import Ticker
from shared.runtime.static import RUNTIME_STATIC, StaticFiles
from shared.runtime.timesource import Given, Machine, TimeSource
from shared.runtime.transport import Transport, Will
from shared.runtime.web import EdgeSettings, WebEdge
from shared.sealing import Sealer, SealKey

from . import jobs
from .config import Config
from .ports import Witness
from .services.api_keys import ApiKeys
from .services.attempts import Attempts
from .services.backups import open_backups
from .services.blocks import Blocks
from .services.booking import Bookings
from .services.changes import Changes
from .services.conditions import Conditions
from .services.customer_links import CustomerLinks
from .services.digest import Digest
from .services.displaced import Displacements
from .services.holds import Holds
from .services.hub import Hub
from .services.keys import Keys
from .services.link import GOODBYE, Links
from .services.machine_calls import MachineCalls
from .services.notices import Notices
from .services.outage_pins import OutagePins
from .services.passes import Passes
from .services.phone_checks import PhoneChecks
from .services.phone_doors import PhoneDoors
from .services.reports import Reports
from .services.rule_hits import RuleHits
from .services.sites import Sites
from .services.staff_notes import CHANNEL, Notes
from .services.surveys import Surveys
from .services.tray import Tray
from .services.waiting import Waiting
from .services.witness import Witnessing
from .services.witness_shelf import Shelf
from .services.words_desk import WordsDesk
from .services.work_desk import WorkDesk
from .store import schema, settings
from .store.board import Board
from .store.segments import Segments
from .telling import callers, opened, telling, the_wording
from .vendors.channels import HOOKS_PATH
from .web import health, machine_hooks, metrics
from .web import hooks as vendor_hooks
from .web.api import availability, blackouts, bookings, doors, holds, places
from .web.api.description import describe
from .web.auth import ApiGuard
from .web.book import pages as customer_pages
from .web.manage import pages as admin_pages
from .web.refusals import translate
from .web.witness import WitnessServer

DATABASE = "hub.db"
#: books that only their own connection sees; whoever hands them in has prepared them
IN_MEMORY = ":memory:"
Transports = Callable[[str], Transport]


class Unconnected:
    """The transport of a hub without a broker: sites are dark, the hub sells what is its own."""

    def __init__(self) -> None:
        self.connected = False
        self.on_connect: list[Callable[[], None]] = []
        self.on_disconnect: list[Callable[[], None]] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        return None

    def subscribe(self, topic: str, handler: Callable[[str, bytes, bool], None]) -> None:
        return None

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None


class App:
    """The hub, wired. `asgi` serves; `hub` holds the services; `ticker` the calls by the clock."""

    def __init__(self, hub: Hub, ticker: Ticker, litestar: Litestar, asgi: WebEdge):
        self.hub, self.ticker, self.litestar, self.asgi = hub, ticker, litestar, asgi

    async def start(self) -> None:
        hub = self.hub
        if str(hub.db.path) != IN_MEMORY:
            schema.prepare(hub.db.path)
        await hub.db.start()
        await hub.trust.start()
        if disk.torn(hub.db.path):
            await hub.db.write(lambda tx: fencing.fence_all(tx, hub.desk, disk.TORN))
            disk.torn_noted(hub.db.path)
        box_id = await hub.db.write(lambda tx: settings.kept(tx, "box_id", hub.desk.new_id))
        hub.desk.box_id, hub.desk.term = box_id, int(hub.db.read(lambda tx: settings.get(tx, "term")) or 1)
        await hub.mark.hold()  # before a word is written: a copy that has gone on no longer looks older
        hub.keys.load()
        hub.api_keys.load()
        await hub.sites.start()
        await hub.mark.hold()  # now also the sites that an older copy did not know
        await hub.mark.keep()
        await hub.witnessing.start()
        await hub.links.start()
        hub.worker.start()
        await hub.watch.begin()  # after all that writes: books that turn out damaged are shown to people, so the hub must start
        self.ticker.start()

    async def stop(self) -> None:
        """Ends in the reverse order; what was being written is finished."""
        self.ticker.stop()
        self.hub.backups.stop()
        await self.hub.worker.stop()
        for channel in self.hub.channels.values():
            await channel.close()
        await self.hub.links.stop()
        await self.hub.witnessing.stop()
        await self.hub.rule_tally.stop()
        await self.hub.watch.stop()
        await self.hub.sites.stop()
        await self.hub.trust.keep()
        await self.hub.mark.keep()
        await self.hub.db.stop()


def build(
    config: Config,
    *,
    clock: Clock | None = None,
    chance: Chance | None = None,
    db: Database | InlineWriter | None = None,
    transports: Transports | None = None,
    limits: Limits | None = None,
    source: TimeSource | None = None,
    witness: Witness | None = None,
) -> App:
    """Makes the data folder and the key files if they are not there. `transports`: site id -> the transport of its link. A clock that is
    given is trusted, if no `source` says otherwise."""
    if source is None:
        source = Given(clock) if clock is not None else Machine(config.hub.clock.rtc)
    clock, chance = clock or SystemClock(), chance or Chance()
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    hub = _services(config, clock, chance, db or Database(config.data_dir / DATABASE), transports, limits, source, witness)
    ticker = Ticker()
    jobs.plan(ticker, hub, Tray(config.data_dir))
    litestar, asgi = _web(hub)
    app = App(hub, ticker, litestar, asgi)
    litestar.state["app"] = app
    return app


def _services(
    config: Config,
    clock: Clock,
    chance: Chance,
    db: Database | InlineWriter,
    transports: Transports | None,
    limits: Limits | None,
    source: TimeSource | None = None,
    witness: Witness | None = None,
) -> Hub:
    desk = Desk("hub", clock=clock.now, new_id=chance.new_id, chance=chance.random, limits=limits)
    desk.sealer, desk.opener = Sealer(secret(config.data_dir, "outage-pins")), SealKey(secret(config.data_dir, "handed-over"))
    meter = Metrics("hub")
    booked = by_label(meter.counter("bookings", "Bookings by how they came out.", ["outcome"]))
    refused = by_label(meter.counter("refusals", "Broken rules that refusals named.", ["rule"]))
    called = by_label(meter.counter("machine_calls", "Calls about the bays' machines by what became of them.", ["outcome"]))
    changed = by_label(meter.counter("changes", "Changes of bookings by kind.", ["kind"]))
    names = {site.id: site.name for site in config.hub.sites}
    keys = Keys(db, KeyChain(key_file(config.data_dir, "passes")), desk.opener, names)
    watch = Watch(db, desk)
    links = Links(db, desk, clock, keys, list(names), transports or _transports(config, desk), watch)
    houses = Houses(db, config.profile, desk)
    board, waiting = Board(db, houses, desk), Waiting(db)
    backups = open_backups(config, clock.now, DATABASE, lambda: not desk.clock_doubt())
    backups.meter(meter)
    own_links = CustomerLinks(secret(config.data_dir, "customer-links"))
    channels, hooks = opened(config, clock.now)
    attempts = Attempts(desk.now)
    notes = Notes(desk, config.hub.digest, config.hub.http.public_url, names, attempts, channels.get(CHANNEL))
    notifying, worker = telling(config, db, desk, clock, houses, links, own_links, chance.random, channels, notes)
    tally = RuleTally(db, desk, refused)
    selling = Bookings(db=db, desk=desk, houses=houses, board=board, links=links, keys=keys, waiting=waiting, count=booked, hits=tally)
    changes = Changes(selling, count=changed)
    sites, outage_pins = Sites(db, desk, config.hub.hub_id, names, config.profile), OutagePins(db, desk)
    witnessing = Witnessing(db, desk, witness or _witness(config))
    trust = ClockTrust(db, desk, clock, source or Given(clock))
    checks = _phone_checks(config, db, desk)
    mark = MarkKeeper(db, desk, MarkFile(config.mark_file) if config.mark_file else None)
    conditions = Conditions(
        db=db, desk=desk, links=links, sites=sites, witnessing=witnessing, backups=backups, trust=trust, mark=mark, outage_pins=outage_pins,
        work=WorkDesk(db, desk, worker.states), attempts=attempts, began_at=desk.now(),
    )  # fmt: skip
    lane = channels[CHANNEL].vendor if CHANNEL in channels else ""
    return Hub(
        config=config,
        clock=clock,
        db=db,
        desk=desk,
        houses=houses,
        board=board,
        days=DayCache(db, desk, houses, links.heard, clock.monotonic),
        waiting=waiting,
        keys=keys,
        api_keys=ApiKeys(db),
        links=links,
        machine_calls=MachineCalls(db, desk, links, callers(config, clock.now), called),
        sites=sites,
        bookings=selling,
        changes=changes,
        displaced=Displacements(selling, changes),
        placing=Placing(db, desk, houses, links.up),
        holds=Holds(selling),
        blocks=Blocks(selling),
        outage_pins=outage_pins,
        passes=Passes(desk, keys),
        phone_doors=PhoneDoors(db, desk, houses, links, waiting, checks),
        phone_checks=checks,
        customer_links=own_links,
        metrics=meter,
        witnessing=witnessing,
        backups=backups,
        trust=trust,
        mark=mark,
        watch=watch,
        notifying=notifying,
        worker=worker,
        reports=Reports(db, desk),
        notices=Notices(db, desk, names),
        rule_tally=tally,
        rule_hits=RuleHits(db, desk, names),
        surveys=Surveys(db, desk),
        attempts=attempts,
        conditions=conditions,
        digest=Digest(db, desk, conditions, notes, config.hub.digest, lane),
        channels=channels,
        hooks=hooks,
    )


def _witness(config: Config) -> Witness | None:
    """The second machine that the config names."""
    if not config.witness_key:
        return None
    from .vendors.witness import HttpWitness
    from .vendors.witness_wire import Wire

    return HttpWitness(Wire(config.hub.loss.second_machine, config.witness_key), config.witness_key)


def _phone_checks(config: Config, db: Database | InlineWriter, desk: Desk) -> PhoneChecks:
    """Where telephones confirm before they open doors; a hub that asks none does not need the library."""
    sites = frozenset(site.id for site in config.hub.sites if site.door_check == "passkey")
    if not sites:
        return PhoneChecks(db, desk, None, sites)
    from .services.passkeys import Passkeys

    return PhoneChecks(db, desk, Passkeys(config.hub.http.public_url), sites)


def witness_server(folder: Path, key: bytes) -> WitnessServer:
    """The second machine's own server over its folder; `key` is the one that it shares with the hub."""
    from .vendors.witness_wire import is_signed

    return WitnessServer(Shelf(Segments(folder)), partial(is_signed, key))


def by_label(counter: Counter) -> Callable[[str], None]:
    """Counts under a label; each label's counter is looked up once, since sales run through here."""
    labelled = lru_cache(64)(counter.labels)
    return lambda label: labelled(label).inc()


def secret(data_dir: Path, name: str) -> bytes:
    """32 secret bytes of this hub, made once and kept in the data folder."""
    return keyfile.load_or_create(key_file(data_dir, name))


def key_file(data_dir: Path, name: str) -> Path:
    """Where a key of this hub is kept."""
    folder = data_dir / "keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{name}.key"


def _transports(config: Config, desk: Desk) -> Transports:
    mqtt = config.hub.mqtt
    if mqtt is None:
        return lambda site_id: Unconnected()
    from shared.runtime.mqtt import MqttTransport, TlsSettings  # a hub without a broker does not need the library

    files = config.mqtt_files
    tls = TlsSettings(
        ca_file=files.get("ca_file"), cert_file=files.get("cert_file"), key_file=files.get("key_file"), server_name=mqtt.server_name or None
    )

    def connect(site_id: str) -> Transport:
        return MqttTransport(
            mqtt.host,
            mqtt.port,
            f"{config.hub.hub_id}-{desk.new_id()[:8]}-{site_id}",
            username=mqtt.username or None,
            password=config.mqtt_password or None,
            tls=tls if mqtt.tls or files else None,
            will=Will(Topics(site_id).state_hub, GOODBYE),
            log=logging.getLogger(f"clubos.mqtt.{site_id}"),
        )

    return connect


def _web(hub: Hub) -> tuple[Litestar, WebEdge]:
    http, rates = hub.config.hub.http, hub.config.hub.rates
    static = StaticFiles({"runtime": RUNTIME_STATIC, "book": customer_pages.STATIC, "manage": admin_pages.STATIC})
    customers = customer_pages.build(hub, static.url, secret(hub.config.data_dir, "csrf"))
    work = hub.conditions.work
    words = WordsDesk(
        hub.db, hub.desk, hub.houses, the_wording(), hub.channels, sites=[site.id for site in hub.config.hub.sites],
        public_url=http.public_url, seconds=hub.clock.monotonic,
    )  # fmt: skip
    admins = admin_pages.build(hub, work, words, static.url, secret(hub.config.data_dir, "csrf"))
    problems = Problems(translate=translate, render_page=partial(_problem_page, customers, admins), sign_in=admins.sign_in)
    guard = ApiGuard(hub.api_keys, hub.clock.monotonic, rates.per_key, hub.attempts.refused_sign_in)
    api = Router(
        "/api/v1",
        route_handlers=[*bookings.HANDLERS, *doors.HANDLERS, *holds.HANDLERS, *availability.HANDLERS, *blackouts.HANDLERS, *places.HANDLERS],
        guards=[guard],
    )
    routers = [api, customers.router, admins.router, *health.HANDLERS, *metrics.HANDLERS, *vendor_hooks.HANDLERS, *machine_hooks.HANDLERS, static.handler()]
    litestar = Litestar(
        routers,
        request_class=StrictRequest,
        exception_handlers=problems.handlers(),
        openapi_config=describe(static.url("runtime/openapi.css"), hub.clock.now).config,
        logging_config=None,
        lifespan=[_lifespan],
        state=State({"hub": hub, "work": work, "words": words, "gauges": metrics.Gauges(hub.metrics, work)}),
    )
    rules = (*customer_pages.RATE_RULES, *admin_pages.RATE_RULES, RateRule("address", rates.per_address, 60.0, prefixes=("/api/",)))
    settings_ = EdgeSettings(
        tls=http.behind_tls,
        allowed_hosts=frozenset(http.allowed_hosts),
        trusted_proxies=http.trusted_proxies,
        rate_rules=rules,
        large=(HOOKS_PATH, admin_pages.LARGE),
    )
    limiter = RateLimiter(hub.clock.monotonic)
    return litestar, WebEdge(litestar, settings_, problems, meter=hub.metrics.http, limiter=limiter)


def _problem_page(
    customers: customer_pages.CustomerPages, admins: admin_pages.AdminPages, document: Mapping[str, Any], scope: Mapping[str, Any]
) -> str:
    """What goes wrong on a page, in the frame of the pages that it is one of."""
    pages = admins if scope["path"].startswith(admin_pages.PREFIX) else customers
    return pages.problem(document, scope)


@contextlib.asynccontextmanager
async def _lifespan(litestar: Litestar) -> AsyncIterator[None]:
    app: App = litestar.state["app"]
    await app.start()
    try:
        yield
    finally:
        await app.stop()
