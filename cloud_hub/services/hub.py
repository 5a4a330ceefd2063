"""Everything the hub's pages and API are handed: the services, built once by `app` and never changed."""

from __future__ import annotations

from dataclasses import dataclass

from shared.ledger.availability import DayCache
from shared.ledger.backups import Backups
from shared.ledger.clock_trust import ClockTrust
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.ledger.marks import MarkKeeper
from shared.ledger.watch import Watch
from shared.ledger.worker import Worker
from shared.runtime.clock import Clock
from shared.runtime.database import Database, InlineWriter
from shared.runtime.metrics import Metrics

from ..config import Config
from ..ports import Channel, Hooks
from ..store.board import Board
from .api_keys import ApiKeys
from .blocks import Blocks
from .booking import Bookings
from .changes import Changes
from .customer_links import CustomerLinks
from .holds import Holds
from .keys import Keys
from .link import Links
from .notifying import Notifying
from .outage_pins import OutagePins
from .passes import Passes
from .reports import Reports
from .sites import Sites
from .waiting import Waiting
from .witness import Witnessing


@dataclass(frozen=True, slots=True)
class Hub:
    config: Config
    clock: Clock
    db: Database | InlineWriter
    desk: Desk
    houses: Houses
    board: Board
    days: DayCache
    waiting: Waiting
    keys: Keys
    api_keys: ApiKeys
    links: Links
    sites: Sites
    bookings: Bookings
    changes: Changes
    holds: Holds
    blocks: Blocks
    outage_pins: OutagePins
    passes: Passes
    customer_links: CustomerLinks
    metrics: Metrics
    witnessing: Witnessing
    backups: Backups
    trust: ClockTrust
    mark: MarkKeeper
    watch: Watch
    notifying: Notifying
    worker: Worker
    reports: Reports
    channels: dict[str, Channel]
    hooks: dict[str, Hooks]
