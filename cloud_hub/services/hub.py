"""Everything the hub's pages and API are handed: the services, built once by `app` and never changed."""

from __future__ import annotations

from dataclasses import dataclass

from shared.ledger.availability import DayCache
from shared.ledger.backups import Backups
from shared.ledger.clock_trust import ClockTrust
from shared.ledger.desk import Desk
from shared.ledger.displaced import Placing
from shared.ledger.frontdesk import Houses
from shared.ledger.marks import MarkKeeper
from shared.ledger.rule_hits import RuleTally
from shared.ledger.watch import Watch
from shared.ledger.worker import Worker
from shared.runtime.clock import Clock
from shared.runtime.database import Database, InlineWriter
from shared.runtime.metrics import Metrics

from ..config import Config
from ..ports import Channel, Hooks
from ..store.board import Board
from .api_keys import ApiKeys
from .attempts import Attempts
from .blocks import Blocks
from .booking import Bookings
from .changes import Changes
from .conditions import Conditions
from .customer_links import CustomerLinks
from .digest import Digest
from .displaced import Displacements
from .holds import Holds
from .keys import Keys
from .link import Links
from .machine_calls import MachineCalls
from .notices import Notices
from .notifying import Notifying
from .outage_pins import OutagePins
from .passes import Passes
from .phone_checks import PhoneChecks
from .phone_doors import PhoneDoors
from .reports import Reports
from .rule_hits import RuleHits
from .sites import Sites
from .surveys import Surveys
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
    machine_calls: MachineCalls
    sites: Sites
    bookings: Bookings
    changes: Changes
    displaced: Displacements
    placing: Placing
    holds: Holds
    blocks: Blocks
    outage_pins: OutagePins
    passes: Passes
    phone_doors: PhoneDoors
    phone_checks: PhoneChecks
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
    notices: Notices
    rule_tally: RuleTally
    rule_hits: RuleHits
    surveys: Surveys
    attempts: Attempts
    conditions: Conditions
    digest: Digest
    channels: dict[str, Channel]
    hooks: dict[str, Hooks]
