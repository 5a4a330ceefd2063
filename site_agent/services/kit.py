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
from site_agent.ports import BayCalls
from site_agent.services.alarms_up import AlarmsUp
from site_agent.services.bays.bay_jobs import BayJobs
from site_agent.services.bays.foresight import Foresight
from site_agent.services.bays.machines import MachineDesk
from site_agent.services.bays.quiet import Quiet
from site_agent.services.bays.stock import Stock
from site_agent.services.booking import BookingDesk
from site_agent.services.clock import TimeDesk
from site_agent.services.doors.credentials import Credentials
from site_agent.services.doors.door_cards import DoorCards
from site_agent.services.doors.door_check import DoorCheck
from site_agent.services.doors.door_holds import DoorHolds
from site_agent.services.doors.door_trail import DoorTrail
from site_agent.services.doors.door_witness import DoorWitness
from site_agent.services.doors.doors import DoorDesk
from site_agent.services.doors.emergency import EmergencyDesk
from site_agent.services.doors.outage_pins import OutagePins
from site_agent.services.doors.phone_doors import PhoneDoors
from site_agent.services.doors.reader_codes import ReaderCodes
from site_agent.services.halts import Halts
from site_agent.services.link import Link
from site_agent.services.live import Live
from site_agent.services.notices import NoticeDesk
from site_agent.services.outage import Outage
from site_agent.services.people import People
from site_agent.services.recovery import Recovery
from site_agent.services.visits.camera import Camera
from site_agent.services.visits.checkin import CheckIn
from site_agent.services.visits.displaced import DisplacedDesk
from site_agent.services.visits.presence import Presence
from site_agent.services.visits.walkin import WalkIn


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
    door_check: DoorCheck
    door_cards: DoorCards
    door_holds: DoorHolds
    door_trail: DoorTrail
    placing: Placing
    doors: DoorDesk
    emergency: EmergencyDesk
    foresight: Foresight
    halts: Halts
    recovery: Recovery
    witness: DoorWitness
    link: Link
    live: Live
    machines: MachineDesk
    bay_jobs: BayJobs
    quiet: Quiet
    notices: NoticeDesk
    outage: Outage
    outage_pins: OutagePins
    people: People
    phone_doors: PhoneDoors
    reader_codes: ReaderCodes
    alarms_up: AlarmsUp
    presence: Presence
    rule_tally: RuleTally
    stock: Stock
    time: TimeDesk
    walkin: WalkIn
    #: what the bays' own program calls; None where no way of the configuration is called
    bay_calls: BayCalls | None = None
    #: does the work rows; None where nothing here makes any
    worker: Worker | None = None
