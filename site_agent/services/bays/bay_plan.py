"""What a bay needs by itself around its guests: the plan, as a pure function of the books (M1, M2).

Not for: the books, rows or machines. Invariants: nothing that a guest would notice as the end of the game (shutdown, restart, cleanup) is due and
not held while a booking that is still good is in its access window, or somebody is checked in; a bay is not reset (prepare) in another guest's time;
the same books give the same ids, and what a booking needed goes with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from shared.passes import window
from site_agent.config import JobSettings
from site_agent.ports import CommandKind

JobName = Literal["wake", "lights", "prepare", "welcome", "time_left", "cleanup", "lights_off", "shutdown", "nightly"]
#: a guest who was checked in and whom nobody has checked out is believed to have gone so long after the end
STAYS_S = 3600
#: what a clean-up takes at most; how long a guest who is late may still be welcomed, and the bay be reset
CLEANUP_S, LATE_S = 300, 300
#: between two guests who follow each other without a gap there is this long for a reset, also where the second is checked in already
TURN_S = 120
#: how long before the end nobody needs anything any more; how long after a guest has checked out the bay is left alone
END_S, SETTLE_S = 120, 60
#: a PC that was called up is heard of within this long, or is called once more
WAKES_S = 240
#: lights stay on where somebody comes so soon; and who touched the PC so lately is there
DARK_S, TOUCHED_S = 1800, 900


class Visit(NamedTuple):
    """One booking that is or was good, where its guest plays. Times in unix seconds; `state` as the attendance says, `changed_at` since when.
    `unsure`: it is over by the clock alone, and no bay tells whether its guest has gone."""

    booking_id: str
    start_at: int
    end_at: int
    customer_id: str = ""
    state: str = ""
    changed_at: int = 0
    unsure: bool = False

    @property
    def over(self) -> bool:
        """Whether its guest has gone, or never came."""
        return self.state in ("completed", "no_show")

    @property
    def window(self) -> tuple[int, int]:
        return window(self.start_at // 900, self.end_at // 900)

    @property
    def played_until(self) -> int:
        """When its guest's game is, or was, over."""
        return max(self.start_at, min(self.changed_at, self.end_at)) if self.state == "completed" else self.end_at

    @property
    def left_at(self) -> int:
        """When its guest is, or was, gone."""
        if self.state == "completed":
            return max(self.start_at, min(self.changed_at, self.end_at + STAYS_S))
        return self.window[1]

    def holds(self, from_at: int, until_at: int) -> bool:
        """Whether its guest may be there, or on the way in or out, at some moment of that: also one who is believed not to come, until the
        end."""
        if self.state == "completed":
            return self.unsure and self.start_at < until_at and from_at < self.end_at + STAYS_S
        opens, closes = self.window
        if self.state == "checked_in":
            opens, closes = min(opens, self.changed_at or opens), self.end_at + STAYS_S
        return opens < until_at and from_at < closes


class BayFacts(NamedTuple):
    """One bay: `visits` in order of their starts; `does`: what its ways are there for, `gently` without cutting its power; `online` as the ways say;
    `touched_at`: when somebody last used its PC (0: not known); `closed_at`: when the facility closed for now (0: it is open); `night`: the local day's
    hours for a restart (empty day: none near); `free_after`: the bookings after which the next half hour can be had; `blocked`: when staff keep the
    bay for themselves, from and until: somebody may be at work there; `rouse_s`: its PC is off and nobody here switched it off, and so long before a
    guest it is called up, so that a bay that could be woken is not taken from them (0: it is not so)."""

    resource_id: str
    visits: tuple[Visit, ...]
    does: frozenset[str]
    gently: frozenset[str]
    online: bool | None = None
    touched_at: int = 0
    closed_at: int = 0
    night: tuple[str, int, int] = ("", 0, 0)
    free_after: frozenset[str] = frozenset()
    blocked: tuple[tuple[int, int], ...] = ()
    rouse_s: int = 0

    def used(self, from_at: int, until_at: int) -> bool:
        """Whether somebody may be in the bay, or at its door, at some moment of that."""
        kept = any(start < until_at and from_at < end for start, end in self.blocked)
        return kept or any(visit.holds(from_at, until_at) for visit in self.visits)


class Job(NamedTuple):
    """One need: worth doing from `due_at` until `until_at` (unix seconds). `held`: why not just now, as a sentence; empty for nothing. `free`: of a
    message before the end, whether more time can be had. `end_at`: until when the guest it is for has the bay."""

    id: str
    job: JobName
    kind: CommandKind
    booking_id: str
    due_at: int
    until_at: int
    rank: int = 0
    what: str = ""
    held: str = ""
    free: bool = False
    end_at: int = 0


def plan(bay: BayFacts, settings: JobSettings, now: int) -> list[Job]:
    """All that the bay needs and that is not over yet, soonest first."""
    found = [*_of_guests(bay, settings, now), *_rouse(bay, now), *_shutdown(bay, settings, now), *_nightly(bay, settings, now)]
    return sorted((job for job in found if now < job.until_at), key=lambda job: (job.due_at, job.rank, job.id))


def continues(before: Visit | None, visit: Visit | None) -> bool:
    """Whether one guest plays on without a gap."""
    if before is None or visit is None or not visit.customer_id:
        return False
    return before.customer_id == visit.customer_id and before.end_at == visit.start_at and not before.over


def _of_guests(bay: BayFacts, settings: JobSettings, now: int) -> Iterator[Job]:
    for at, visit in enumerate(bay.visits):
        before = bay.visits[at - 1] if at else None
        after = bay.visits[at + 1] if at + 1 < len(bay.visits) else None
        if not visit.over and not continues(before, visit):
            yield from _arrival(bay, settings, visit, now)
        if settings.time_left and "message" in bay.does and not visit.over and not continues(visit, after):
            due = visit.end_at - settings.time_left_min * 60
            free = visit.booking_id in bay.free_after
            yield Job(
                _id("time_left", bay, visit),
                "time_left",
                "message",
                visit.booking_id,
                due,
                visit.end_at - END_S,
                free=free,
                end_at=visit.end_at,
            )
        if visit.state != "no_show" and not (after is not None and _plays_on(visit, after)):
            yield from _departure(bay, settings, visit, now)


def _rouse(bay: BayFacts, now: int) -> Iterator[Job]:
    """Once for the guest who comes next."""
    visit = next((one for one in bay.visits if not one.over and one.end_at > now), None)
    if visit is not None and bay.rouse_s and "wake" in bay.does:
        held = "Staff have the bay for themselves." if any(start <= now < end for start, end in bay.blocked) else ""
        yield Job(
            _id("wake", bay, visit) + ":early", "wake", "wake", visit.booking_id, visit.start_at - bay.rouse_s, visit.end_at, 0, held=held
        )


def _plays_on(visit: Visit, after: Visit) -> bool:
    return visit.customer_id != "" and visit.customer_id == after.customer_id and visit.end_at == after.start_at and not after.over


def _arrival(bay: BayFacts, settings: JobSettings, visit: Visit, now: int) -> Iterator[Job]:
    due = visit.start_at - settings.prepare_before_min * 60
    others = [one for one in bay.visits if one.booking_id != visit.booking_id and not one.over]
    # whoever plays before keeps the bay as it is until the end of their time, or until they have gone
    ends = [one.played_until for one in bay.visits if one.start_at < visit.start_at and one.state != "no_show"]
    turn = max([due, *(end for end in ends if end <= visit.start_at)])
    useful_until = max(visit.start_at, visit.end_at - settings.time_left_min * 60)
    if "wake" in bay.does and bay.online is not True and (settings.prepare or settings.idle_shutdown):
        yield Job(_id("wake", bay, visit), "wake", "wake", visit.booking_id, due, useful_until, 0)
        if bay.online is False:  # a call may get lost, and nobody answers it
            yield Job(_id("wake", bay, visit) + ":again", "wake", "wake", visit.booking_id, due + WAKES_S, useful_until, 0)
    if settings.lights and "lights" in bay.does:
        yield Job(_id("lights", bay, visit), "lights", "lights", visit.booking_id, due, useful_until, 1, "on")
    late = max(visit.start_at, turn) + LATE_S
    if settings.prepare and "prepare" in bay.does and _resettable(visit, due, turn, now):
        held = "Another guest's time is not over." if _taken_by(others, now) else ""
        yield Job(_id("prepare", bay, visit), "prepare", "prepare", visit.booking_id, turn, late, 2, held=held)
    if settings.welcome and "message" in bay.does:
        held = "Another guest's time is not over." if _taken_by(others, now) else ""
        yield Job(_id("welcome", bay, visit), "welcome", "message", visit.booking_id, turn, late, 3, held=held, end_at=visit.end_at)


def _resettable(visit: Visit, due: int, turn: int, now: int) -> bool:
    """A guest who is checked in plays: then only what could not be done before may still be, in the moment of the turn."""
    return visit.state != "checked_in" or (turn > due and now < turn + TURN_S)


def _taken_by(others: list[Visit], now: int) -> bool:
    return any(
        one.start_at <= now < one.end_at or (one.state == "checked_in" and one.start_at <= now < one.end_at + STAYS_S) for one in others
    )


def _departure(bay: BayFacts, settings: JobSettings, visit: Visit, now: int) -> Iterator[Job]:
    due = visit.end_at + STAYS_S if visit.unsure else visit.left_at + (SETTLE_S if visit.state == "completed" else 0)
    until = due + settings.cleanup_within_min * 60
    following = [one for one in bay.visits if one.start_at >= visit.start_at and one.booking_id != visit.booking_id and not one.over]
    if any(one.holds(due, due + CLEANUP_S) for one in following):
        return  # the next guest's bay is prepared instead
    # whose time is over plays on
    plays = "Somebody has just used it." if visit.left_at < bay.touched_at and now - bay.touched_at < TOUCHED_S else ""
    held = "Somebody is there, or about to come." if bay.used(now, now + CLEANUP_S) else plays
    if settings.cleanup and "cleanup" in bay.does:
        yield Job(_id("cleanup", bay, visit), "cleanup", "cleanup", visit.booking_id, due, until, 4, held=held)
    if settings.lights and "lights" in bay.does and not bay.used(due, due + DARK_S):
        held = "Somebody is there, or about to come." if bay.used(now, now + DARK_S) else plays
        yield Job(_id("lights_off", bay, visit), "lights_off", "lights", visit.booking_id, due + CLEANUP_S, until, 5, "off", held=held)


def _shutdown(bay: BayFacts, settings: JobSettings, now: int) -> Iterator[Job]:
    """Once for each time that a bay was left alone, and never where nothing could wake it again."""
    if not settings.idle_shutdown or not {"shutdown", "wake"} <= bay.does or bay.online is False:
        return
    gone = [visit.left_at for visit in bay.visits if visit.state != "no_show" and visit.start_at <= now]
    left_at = max([*gone, bay.closed_at])
    if not left_at:
        return
    due = bay.closed_at if bay.closed_at and bay.closed_at >= left_at else left_at + settings.idle_min * 60
    free_s = settings.idle_free_min * 60
    held = ""
    if bay.used(now, now + free_s):
        held = "Somebody is there, or expected soon."
    elif bay.touched_at and now - bay.touched_at < TOUCHED_S:
        held = "Somebody has just used it."
    # worth something until the next guest
    until = min((visit.window[0] for visit in bay.visits if visit.window[0] > due and not visit.over), default=due + 86_400)
    yield Job(f"job:shutdown:{bay.resource_id}:{left_at}", "shutdown", "shutdown", "", due, min(until, due + 86_400), 6, held=held)


def _nightly(bay: BayFacts, settings: JobSettings, now: int) -> Iterator[Job]:
    day, from_at, until_at = bay.night
    if not settings.nightly_restart or not day or "restart" not in bay.gently or bay.online is False:
        return
    held = ""
    if bay.used(now, now + settings.nightly_min * 60):
        held = "Somebody is there, or about to come."
    elif bay.touched_at and now - bay.touched_at < TOUCHED_S:
        held = "Somebody has just used it."
    yield Job(nightly_id(bay.resource_id, day), "nightly", "restart", "", from_at, until_at, 7, held=held)


def nightly_id(resource_id: str, day: str) -> str:
    return f"job:nightly:{resource_id}:{day}"


def _id(job: JobName, bay: BayFacts, visit: Visit) -> str:
    # with the bay: who was reseated needs it all again where they sit
    return f"job:{job}:{visit.booking_id}:{bay.resource_id}"
