"""Everything that the web and the jobs are handed, in one value: built once by `app`, never by anybody else."""

from __future__ import annotations

import msgspec

from shared.ledger.backups import Backups
from shared.ledger.displaced import Placing
from shared.ledger.marks import MarkKeeper
from shared.ledger.rule_hits import RuleTally
from shared.ledger.worker import Worker
from shared.runtime.clock import Clock
from shared.runtime.csrf import Csrf
from shared.runtime.database import Database, InlineWriter
from shared.runtime.metrics import Metrics
from site_agent.config import Loaded
from site_agent.services.booking import BookingDesk
from site_agent.services.camera import Camera
from site_agent.services.checkin import CheckIn
from site_agent.services.clock import TimeDesk
from site_agent.services.credentials import Credentials
from site_agent.services.displaced import DisplacedDesk
from site_agent.services.door_trail import DoorTrail
from site_agent.services.door_witness import DoorWitness
from site_agent.services.doors import DoorDesk
from site_agent.services.halts import Halts
from site_agent.services.link import Link
from site_agent.services.live import Live
from site_agent.services.machines import MachineDesk
from site_agent.services.notices import NoticeDesk
from site_agent.services.outage import Outage
from site_agent.services.outage_pins import OutagePins
from site_agent.services.people import People
from site_agent.services.recovery import Recovery
from site_agent.services.walkin import WalkIn


class Kit(msgspec.Struct, kw_only=True):
    """The services of one site agent."""

    loaded: Loaded
    clock: Clock
    mark: MarkKeeper
    db: Database | InlineWriter
    metrics: Metrics
    backups: Backups
    csrf: Csrf
    tls: bool
    bookings: BookingDesk
    camera: Camera
    checkin: CheckIn
    credentials: Credentials
    displaced: DisplacedDesk
    door_trail: DoorTrail
    placing: Placing
    doors: DoorDesk
    halts: Halts
    recovery: Recovery
    witness: DoorWitness
    link: Link
    live: Live
    machines: MachineDesk
    notices: NoticeDesk
    outage: Outage
    outage_pins: OutagePins
    people: People
    rule_tally: RuleTally
    time: TimeDesk
    walkin: WalkIn
    #: does the work rows; None where nothing here makes any
    worker: Worker | None = None
