"""One site agent, built whole and started in order; every other module is handed what it needs from here.

For: `build(loaded)` and the agent's life (start, serve, stop). Not for: deciding anything. Invariant: the agent serves with no broker, no
hub, no name server and no door controller (L6); nothing is built twice and nothing happens on import.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Any

import msgspec

from shared.keys import SigningKey
from shared.ledger import records
from shared.ledger.desk import Desk, Limits
from shared.ledger.frontdesk import Houses
from shared.messages import Topics
from shared.runtime import log
from shared.runtime.clock import Chance, Clock, SystemClock
from shared.runtime.config import ConfigError
from shared.runtime.csrf import Csrf
from shared.runtime.database import Database, InlineWriter, Tx
from shared.runtime.keyfile import load_or_create
from shared.runtime.metrics import Metrics
from shared.runtime.scheduler import Ticker
from shared.runtime.transport import Transport, Will
from shared.runtime.web import WebEdge
from site_agent import jobs
from site_agent.config import Loaded
from site_agent.ports import Doors
from site_agent.services import documents
from site_agent.services.booking import BookingDesk
from site_agent.services.checkin import CheckIn
from site_agent.services.credentials import Credentials
from site_agent.services.doors import DoorDesk
from site_agent.services.kit import Kit
from site_agent.services.link import Link
from site_agent.services.live import Live
from site_agent.services.people import People
from site_agent.services.upkeep import Upkeep
from site_agent.services.walkin import WalkIn
from site_agent.store.schema import prepare
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
        self.asgi: WebEdge = web.make(kit, version(), self._lifespan)

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
        await kit.db.write(self._open)
        await self._upkeep.pins()
        await kit.people.begin(kit.loaded.staff)
        self._wire()
        await kit.link.start()
        await kit.doors.start()
        await kit.credentials.start()
        jobs.register(self.ticker, kit, self._upkeep)
        self.ticker.start()
        _log.info("agent.started", site_id=site_id, box_id=self.desk.box_id)

    def _open(self, tx: Tx) -> None:
        loaded, site_id = self.kit.loaded, self.kit.bookings.site_id
        documents.open_books(tx, self.desk, site_id, hub_id=loaded.config.hub_id, epoch=self.desk.new_id())
        documents.state(tx, self.desk, loaded.facility, loaded.resources)
        records.journal(tx, self.desk.now(), site_id, "agent", "started", self.desk.box_id)

    def _wire(self) -> None:
        """Who tells the staff pages that a panel changed."""
        for told in (self.kit.link, self.kit.doors, self.kit.credentials):
            told.watch(self.kit.live.panels_changed)

    def on_stop(self) -> None:
        """The moment stopping begins: open streams end by themselves."""
        self.kit.live.close()

    async def stop(self) -> None:
        self.ticker.stop()
        self.kit.live.close()
        await self.kit.credentials.stop()
        await self.kit.doors.stop()
        await self.kit.link.stop()
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
    limits: Limits | None = None,
) -> SiteAgent:
    """The agent of this config; what is given takes the place of what the config would make. Raises ConfigError, ValueError."""
    clock, chance = clock or SystemClock(), chance or Chance()
    loaded.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    box_id = prepare(loaded.data_dir / DATABASE, chance.new_id)
    db = db or Database(loaded.data_dir / DATABASE, wal_pages=WAL_PAGES)
    desk = Desk("site", clock=clock.now, new_id=chance.new_id, chance=chance.random, box_id=box_id, limits=limits)
    key = SigningKey.from_seed(load_or_create(loaded.data_dir / SIGNING_KEY))
    transport = transport or _transport(loaded, box_id)
    doors = doors or _doors(loaded, clock)
    kit = _kit(loaded, clock, db, desk, key, transport, doors)
    return SiteAgent(kit, desk, Ticker())


def _kit(
    loaded: Loaded, clock: Clock, db: Database | InlineWriter, desk: Desk, key: SigningKey, transport: Transport | None, doors: Doors | None
) -> Kit:
    site_id, tls = loaded.config.site.id, bool(loaded.config.http.tls_cert)
    houses = Houses(db, loaded.profile, desk)
    link = Link(db, desk, clock, site_id, key, transport)
    door_desk = DoorDesk(db, desk, houses, site_id, doors)
    return Kit(
        loaded=loaded, clock=clock, db=db, metrics=_metrics(link, db), tls=tls,
        csrf=Csrf(load_or_create(loaded.data_dir / CSRF_KEY), tls=tls, sign_in_cookies=("session", "kiosk")),
        bookings=BookingDesk(db, desk, houses, site_id, link, clock.monotonic),
        checkin=CheckIn(db, desk, houses, site_id, link, door_desk), credentials=Credentials(db, desk, houses, site_id, doors),
        doors=door_desk, link=link, live=Live(db, desk, houses, site_id), people=People(db, desk, loaded.data_dir),
        walkin=WalkIn(db, desk, houses, site_id, link),
    )  # fmt: skip


def _metrics(link: Link, db: Database | InlineWriter) -> Metrics:
    metrics = Metrics("site")
    metrics.gauge("link_up", "1 while the hub answers.").set_function(lambda: float(link.up()))
    metrics.gauge("outbox_rows", "Messages that the hub has not applied yet.").set_function(lambda: float(link.state().waiting))
    metrics.gauge("link_stopped", "1 while a stream stands still and needs a person.").set_function(lambda: float(bool(link.state().stopped)))
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
    from site_agent.devices.unifi.doors import UnifiDoors, UnifiSettings  # an HTTP client that a site without doors does not need

    certificate = str(loaded.path(settings.certificate_file)) if settings.certificate_file else ""
    try:
        wanted = UnifiSettings(
            host=settings.host, port=settings.port, token=loaded.secret(settings.token_file, "doors.token"), fingerprint=settings.fingerprint,
            certificate_path=certificate,
        )  # fmt: skip
        return UnifiDoors(wanted, clock)
    except ValueError as error:
        raise ConfigError(f"{loaded.file}: the settings 'doors' are wrong: {error}") from None


def version() -> str:
    try:
        return metadata.version("clubos-booking")
    except metadata.PackageNotFoundError:
        return "0"
