"""What the bays need by themselves, from the books to work rows: prepare, welcome, time left, clean up, lights, shut-down, nightly restart (M1, M2).

Not for: the rules (`bay_plan`), nor for doing it (`machine_work`). Invariants: a row is written when its moment has come, never before, so that
what was moved or cancelled has none; when its turn comes it is judged by the books once more; nothing is written while the clock is in doubt.
"""

from __future__ import annotations

import msgspec

from shared import rules, slots
from shared.ledger import claims, records, work
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.ledger.work import Work
from shared.ledger.worker import Drop, Wait
from shared.model import Attendance, Booking, Interval, Resource
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.config import JobSettings
from site_agent.ports import MachineCommand
from site_agent.services.bays import machine_choice as choice
from site_agent.services.bays.bay_plan import BayFacts, Job, Visit, nightly_id, plan
from site_agent.services.bays.machine_work import JOB, Order, lane_of, order_of, state_of
from site_agent.services.bays.machines import CommandView, MachineDesk
from site_agent.services.bays.stock import BY as STOCK
from site_agent.services.visits.presence import is_playing
from site_agent.services.visits.presence_words import BY as PRESENCE
from site_agent.store import foresight
from site_agent.store import machines as store

#: what jobs are called for people
LABELS = {
    "wake": "Wake the PC", "lights": "Lights on", "prepare": "Prepare", "welcome": "Welcome message", "time_left": "Message before the end",
    "cleanup": "Clean up", "lights_off": "Lights off", "shutdown": "Shut down while nobody comes", "nightly": "Nightly restart",
}  # fmt: skip
BY = "agent"
#: a job that cannot be done just now has its turn again after this long
HELD_S = 30
#: bookings are looked at so far back and ahead (slots), and what comes is shown so far ahead
BACK, AHEAD, SHOWN_AHEAD_S = 100, 104, 12 * 3600
NEXT_MAX, LATELY_MAX, LATELY_S = 4, 4, 86_400
#: jobs that went well are of no use after some days
KEPT_S = 3 * 86_400
#: a restart that the night had no room for is told so long after it
SKIPPED_S = 7200
#: jobs without which a guest finds a bay that is not ready, and which of their ends say so
NEEDED = ("wake", "prepare")
NOT_DONE = ("failed", "unknown", "dropped")
#: a job that was not done, but that nobody misses
NOT_MISSED = ("not_wanted", "no_way", "not_needed", "skipped")
#: after a PC has been heard for so long since we shut it down, that is over
AWAKE_S = 300
#: a PC that is off is called up so much earlier than a failing bay's guests would be moved
ROUSE_S = 1800
WEEK = 7 * 96
#: blocks with guests
EVENTS = ("training", "private_event")


class NextView(msgspec.Struct, frozen=True):
    """Something that a bay will need: when (unix seconds), and why it waits, if it does."""

    told: str
    at: int
    held: str


class BayJobsView(msgspec.Struct, frozen=True):
    """A bay's jobs: what comes `next`, and what was done `lately`, the newest first. `played_min`: minutes played in the last seven days."""

    resource_id: str
    bay: str
    next: tuple[NextView, ...]
    lately: tuple[CommandView, ...]
    played_min: int


class JobsPanel(msgspec.Struct, frozen=True):
    """All bays' jobs; `needs`: sentences on bays that are not ready for their guests."""

    needs: tuple[str, ...]
    bays: tuple[BayJobsView, ...]


class BayJobs:
    """The jobs of a facility's bays; `settings` None where nobody looks after its machines."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, machines: MachineDesk, settings: JobSettings | None
    ):
        self._db, self._desk, self._houses, self._site_id = db, desk, houses, site_id
        self._machines, self._settings = machines, settings
        machines.judge_job = self.judge

    # ---- rows
    async def tick(self) -> None:
        """Every few seconds: writes down what is due."""
        if self._settings is None or not self._machines.configured or self._desk.clock_doubt():
            return
        now = self._desk.now()
        if not self._db.read(lambda tx: self._due(tx, now) or self._awake(tx, now)):
            return

        def run(tx: Tx) -> int:
            for resource_id in self._awake(tx, now):
                store.put_asleep(tx, resource_id, 0)
            return sum(work.put(tx, row) for row in self._due(tx, now))

        if await self._db.write(run):
            self._machines.changed()

    def _due(self, tx: Tx, now: int) -> list[Work]:
        """Rows for what is due and has none."""
        assert self._settings is not None
        house, found = self._houses.of(tx, self._site_id), []
        for bay, facts in self._bays(tx, house, now):
            for job in plan(facts, self._settings, now):
                if job.due_at <= now and not job.held and work.one(tx, job.id) is None:
                    found.append(self._row(house, bay, job, now))
            skipped = self._skipped(tx, house, bay, facts, now)
            found += [skipped] if skipped is not None else []
        return found

    def _row(self, house: House, bay: Resource, job: Job, now: int) -> Work:
        order = self._order(house, bay, job)
        return Work(
            id=job.id, kind=JOB, lane=lane_of(bay.id), site_id=self._site_id, subject=bay.id, who=BY, rank=job.rank, due_at=now,
            until_at=job.until_at, body=msgspec.json.encode(order).decode(), created_at=now,
        )  # fmt: skip

    def _order(self, house: House, bay: Resource, job: Job) -> Order:
        called = rules.called(bay, house.facility)
        text = self._text(house, bay, job) if job.kind == "message" else ""
        command = MachineCommand(job.kind, work.mark_of(job.id), what=job.what, parameters=text, reason=f"{LABELS[job.job]}, ClubOS")
        return Order(
            machine_id=bay.machine_id,
            command=command,
            told=f"{LABELS[job.job]}, {called}",
            by=BY,
            why="",
            job=job.job,
            booking_id=job.booking_id,
        )

    def _text(self, house: House, bay: Resource, job: Job) -> str:
        """For the bay's screen: no name, since everybody in the bay reads it."""
        assert self._settings is not None
        end = job.end_at
        text = self._settings.time_left_text if job.job == "time_left" else self._settings.welcome_text
        if job.free:
            text = f"{text} {self._settings.free_text}".strip()
        left = max(1, round((end - self._desk.now()) / 60))
        told = {"{until}": slots.label(house.facility.zone, end // 900), "{minutes}": str(left), "{bay}": rules.called(bay, house.facility)}
        for word, value in told.items():
            text = text.replace(word, value)
        return text

    def _skipped(self, tx: Tx, house: House, bay: Resource, facts: BayFacts, now: int) -> Work | None:
        """A sentence on a restart for which the night had no room."""
        assert self._settings is not None
        day, _, until_at = facts.night
        over = day and until_at <= now < until_at + SKIPPED_S and self._settings.nightly_restart
        if not over or "restart" not in facts.gently or facts.online is False or work.one(tx, nightly_id(bay.id, day)) is not None:
            return None
        between = f"{self._settings.nightly_from} and {self._settings.nightly_until}"
        reason = f"{rules.called(bay, house.facility)} was not restarted: it was not free long enough between {between}."
        job = Job(nightly_id(bay.id, day), "nightly", "restart", "", now, until_at)
        return msgspec.structs.replace(self._row(house, bay, job, now), state="dropped", code="skipped", reason=reason)

    def _awake(self, tx: Tx, now: int) -> list[str]:
        """Bays that we shut down and that have been heard of since."""
        found = []
        for resource_id, (since_at, _) in store.asleep(tx).items():
            told = self._machines.told(tx, resource_id)
            if told is None or (told.online is True and told.heard_at - since_at > AWAKE_S):
                found.append(resource_id)
        return found

    async def tidy(self) -> None:
        """Now and then: lets go of jobs that are over."""
        now = self._desk.now()
        await self._db.write(lambda tx: work.forget_kind(tx, JOB, now - KEPT_S))

    # ---- the last word
    def judge(self, tx: Tx, row: Work, order: Order, now: int) -> Order | Drop | Wait:
        """Whether a job is still wanted, as the books are now; the order as it is now."""
        if self._settings is None:
            return Drop("not_wanted", "The settings have no jobs any more.")
        house = self._houses.of(tx, self._site_id)
        bay = house.resources.get(row.subject)
        facts = next((facts for one, facts in self._bays(tx, house, now, row.subject) if bay is not None), None)
        job = next((job for job in plan(facts, self._settings, now) if job.id == row.id), None) if facts is not None else None
        if bay is None or job is None:
            if order.job == "wake" and facts is not None and facts.online is True:
                return Drop("not_needed", "It is on already.")
            return Drop("not_wanted", "It is not needed any more: the booking was moved or cancelled, or its moment has passed.")
        if job.held:
            return Wait(now + HELD_S, job.held)
        return msgspec.structs.replace(order, command=self._order(house, bay, job).command)

    # ---- facts
    def _bays(self, tx: Tx, house: House, now: int, only: str = "") -> list[tuple[Resource, BayFacts]]:
        """Each bay that some way leads to, with what the books and the machines say of it."""
        slot = now // 900
        seen = records.attendance_between(tx, self._site_id, slot - BACK, slot + AHEAD)
        by_bay: dict[str, list[Booking]] = {}
        for b in records.bookings_between(tx, self._site_id, slot - BACK, slot + AHEAD):
            if _good(b, seen.get(b.id)):
                by_bay.setdefault(b.seat(seen.get(b.id)), []).append(b)
        found = []
        for bay in house.resources.values():
            if not bay.active or (only and bay.id != only):
                continue
            ways = self._machines.ways_to(tx, bay.id)
            does = frozenset(kind for way in ways for kind in way.does)
            if does:
                gently = frozenset(kind for kind in does if choice.doing(ways, kind, gently=True))
                found.append((bay, self._facts(tx, house, bay, by_bay.get(bay.id, []), seen, does, gently, now)))
        return found

    def _facts(
        self, tx: Tx, house: House, bay: Resource, bookings: list[Booking], seen: dict[str, Attendance], does: frozenset[str],
        gently: frozenset[str], now: int,
    ) -> BayFacts:  # fmt: skip
        told, activity = self._machines.told(tx, bay.id), self._machines.activity(tx, bay.id)
        touched = 0
        if activity is not None:
            touched = max(activity.last_input_at, activity.at if activity.playing else 0)
        tells = is_playing(activity, now) is not None
        slot = now // 900
        blocks = [one for one in records.blocks_over(tx, bay.id, slot - BACK, slot + AHEAD) if one.by != STOCK]
        visits = [_visit(b, seen.get(b.id), tells=tells) for b in bookings]
        # an event or a lesson is a visit; otherwise staff have the bay for themselves
        visits += [Visit(one.id, one.start * 900, one.end * 900) for one in blocks if one.kind in EVENTS]
        visits.sort(key=lambda one: (one.start_at, one.booking_id))
        kept = tuple((one.start * 900, one.end * 900) for one in blocks if one.kind not in EVENTS)
        ending = [b for b in bookings if 0 <= b.ends_at - now < 1800]
        free = frozenset(b.id for b in ending if _more(tx, house, bay, b))
        return BayFacts(
            bay.id, tuple(visits), does, gently, told.online if told is not None else None, touched, _closed_at(house, bay, now),
            self._night(house, now), free, kept, self._rouse_s(house, told),
        )  # fmt: skip

    @staticmethod
    def _rouse_s(house: House, told: choice.Told | None) -> int:
        """Before the rule for failing bays would take it from the guest."""
        off = told is not None and told.online is False and told.state == "trouble"
        return (house.profile.policy.health.ahead_min * 60 + ROUSE_S) if off else 0

    def _night(self, house: House, now: int) -> tuple[str, int, int]:
        assert self._settings is not None
        zone = house.facility.zone
        day = slots.local_day(zone, now // 900)
        ends = [
            slots.parse_local(zone, f"{day.isoformat()}T{clock}") for clock in (self._settings.nightly_from, self._settings.nightly_until)
        ]
        if not all(ends):
            return "", 0, 0  # clocks jump over it: tomorrow is another night
        return day.isoformat(), ends[0][0] * 900, ends[1][-1] * 900

    # ---- people
    def panel(self) -> JobsPanel:
        """What is planned, and what came of it; nothing is asked."""
        if self._settings is None or not self._machines.configured:
            return JobsPanel((), ())
        return self._db.read(self._panel)

    def _panel(self, tx: Tx) -> JobsPanel:
        house, now = self._houses.of(tx, self._site_id), self._desk.now()
        needs: list[str] = []
        views = []
        for bay, facts in self._bays(tx, house, now):
            rows = [row for row in work.about(tx, bay.id) if row.kind == JOB and now - row.created_at < LATELY_S]
            views.append(self._view(tx, house, bay, facts, rows, now))
            told = self._machines.told(tx, bay.id)
            needs += self._needs(house, bay, facts, rows, now, is_on=told is not None and told.online is True)
        return JobsPanel(tuple(needs), tuple(views))

    def _view(self, tx: Tx, house: House, bay: Resource, facts: BayFacts, rows: list[Work], now: int) -> BayJobsView:
        assert self._settings is not None
        known = {row.id for row in rows}
        coming = [job for job in plan(facts, self._settings, now) if job.id not in known and job.due_at < now + SHOWN_AHEAD_S]
        following = tuple(
            NextView(LABELS[job.job], max(job.due_at, now), job.held if job.due_at <= now else "") for job in coming[:NEXT_MAX]
        )
        lately = [row for row in rows[::-1] if row.code not in ("not_wanted", "not_needed")]
        slot = now // 900
        played = sum(end - start for start, end in foresight.played(tx, bay.id, slot - WEEK, slot + 1)) * 15
        called = rules.called(bay, house.facility)
        return BayJobsView(bay.id, called, following, tuple(self._machines.view(row) for row in lately[:LATELY_MAX]), played)

    @staticmethod
    def _needs(house: House, bay: Resource, facts: BayFacts, rows: list[Work], now: int, *, is_on: bool) -> list[str]:
        """What was not done for guests who are expected, or there. Who is on needs no waking any more."""
        here = {visit.booking_id: visit for visit in facts.visits if not visit.over and now < visit.end_at}
        said = []
        for row in rows:
            order = order_of(row.body)
            visit = here.get(order.booking_id)
            if order.job == "wake" and is_on:
                continue
            if visit is not None and order.job in NEEDED and state_of(row) in NOT_DONE and row.code not in NOT_MISSED:
                at = slots.label(house.facility.zone, visit.start_at // 900)
                doing = "woken" if order.job == "wake" else "prepared"
                said.append(f"{rules.called(bay, house.facility)} was not {doing} for {at}: {row.reason or 'nobody knows why.'}")
        return said


def _good(b: Booking, a: Attendance | None) -> bool:
    """Whether somebody may play by it, or did."""
    return b.status in ("confirmed", "cancelling") and not b.withdrawn and not (b.displaced and not (a is not None and a.seat))


def _visit(b: Booking, a: Attendance | None, *, tells: bool) -> Visit:
    """`tells`: whether the bay tells of people just now."""
    if a is None:
        return Visit(b.id, b.starts_at, b.ends_at, b.customer_id)
    unsure = a.state == "completed" and a.by == PRESENCE and not a.said and not tells
    return Visit(b.id, b.starts_at, b.ends_at, b.customer_id, a.state, a.at, unsure)


def _closed_at(house: House, bay: Resource, now: int) -> int:
    """When the bay closed, if it is closed now; 0 while it is open, or where that is more than a day ago."""
    slot = now // 900
    spans = slots.open_between(house.profile.policy.hours, bay.id, house.facility.zone, Interval(slot - 96, slot + 1))
    if not spans or spans[-1].end > slot:
        return 0
    return slots.at_of(spans[-1].end)


def _more(tx: Tx, house: House, bay: Resource, b: Booking) -> bool:
    """Whether the half hour after a booking is free and open."""
    wanted = Interval(b.end, b.end + 2)
    taken = any(ref != b.id for _, _, ref in claims.holders(tx, bay.id, Interval(b.end, b.end + 2 + b.buffer)))
    return not taken and slots.is_open(house.profile.policy.hours, bay.id, house.facility.zone, wanted)
