"""What a bay needs by itself around its guests, as a pure plan: when, for whom, and never in somebody's game."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.passes import window
from site_agent.config import JobSettings
from site_agent.services.bays.bay_plan import STAYS_S, BayFacts, Visit, continues, plan

SLOT, MIN = 900, 60
BASE = 2_000_000 * SLOT
ALL = frozenset({"wake", "lights", "prepare", "message", "cleanup", "shutdown", "restart"})
JOBS = JobSettings()
ENDS_THE_GAME = {"shutdown", "restart", "cleanup"}


def at(hour: float) -> int:
    return BASE + int(hour * 3600)


def visit(name: str, start: float, end: float, who: str = "", state: str = "", changed: float = 0) -> Visit:
    return Visit(name, at(start), at(end), who or f"guest-{name}", state, at(changed) if changed else 0)


def bay(*visits: Visit, **more) -> BayFacts:
    return BayFacts("bedford.box-1", visits, ALL, ALL, **more)


def due(facts: BayFacts, now: float, settings: JobSettings = JOBS) -> set[str]:
    """The jobs that would be done at this moment."""
    return {job.job for job in plan(facts, settings, at(now)) if job.due_at <= at(now) and not job.held}


def test_before_a_guest_comes_the_bay_is_woken_lit_prepared_and_welcomes_them():
    facts = bay(visit("a", 10, 11), online=False)
    assert due(facts, 9.8) == set()
    assert due(facts, 9.9) == {"wake", "lights", "prepare", "welcome"}
    assert due(facts._replace(online=True), 9.9) == {"lights", "prepare", "welcome"}
    assert due(facts, 10.2) == {"wake", "lights"}  # nobody resets what a guest may have begun


def test_between_two_guests_the_bay_is_reset_at_the_turn_and_not_in_the_first_ones_game():
    facts = bay(visit("a", 9, 10, state="checked_in", changed=9), visit("b", 10, 11), online=True)
    assert "prepare" not in due(facts, 9.9) and "welcome" not in due(facts, 9.9)
    over = bay(visit("a", 9, 10, state="completed", changed=10), visit("b", 10, 11, state="checked_in", changed=9.95), online=True)
    assert {"prepare", "welcome"} <= due(over, 10.01)
    assert "prepare" not in due(over, 10.05)  # by then b plays
    assert "cleanup" not in due(over, 10.01)  # preparing is enough


def test_one_guest_who_plays_on_is_left_alone_between_two_bookings():
    facts = bay(visit("a", 9, 10, "kim", "checked_in", 9), visit("b", 10, 11, "kim"), online=True)
    for now in (9.84, 9.9, 10.0, 10.01, 10.3):
        assert due(facts, now) <= {"lights"}, now
    assert "time_left" in due(facts, 10.85) and "time_left" not in due(facts, 9.85)
    assert continues(*facts.visits) and not continues(visit("a", 9, 10, "kim"), visit("b", 10.5, 11, "kim"))


def test_the_end_is_told_ten_minutes_before_with_an_offer_where_more_can_be_had():
    facts = bay(visit("a", 9, 10, state="checked_in", changed=9), free_after=frozenset({"a"}), online=True)
    (job,) = [job for job in plan(facts, JOBS, at(9.84)) if job.job == "time_left"]
    assert (job.due_at, job.free, job.kind) == (at(10) - 600, True, "message")
    assert "time_left" not in due(facts, 9.98)  # that would come too late to be of use
    assert "time_left" not in due(facts, 9.85, replace(JOBS, time_left=False))


def test_after_a_guest_the_bay_is_cleaned_up_and_dark_once_nobody_is_there():
    stays = bay(visit("a", 9, 10, state="checked_in", changed=9), online=True)
    assert not due(stays, 10.3) & {"cleanup", "lights_off"}
    assert "cleanup" in due(stays, 10 + STAYS_S / 3600)  # nobody ever checked them out
    gone = bay(visit("a", 9, 10, state="completed", changed=9.8), online=True)
    assert due(gone, 9.83) == {"cleanup"} and due(gone, 9.95) == {"cleanup", "lights_off"}
    assert due(bay(visit("a", 9, 10, state="no_show", changed=9.3), online=True), 10.5) == set()
    plays_on = bay(visit("a", 9, 10, state="completed", changed=10.17), online=True, touched_at=at(10.18))
    assert "cleanup" not in due(plays_on, 10.2), "by the clock the time is over, and hands play on"


def test_whose_time_is_over_by_the_clock_alone_is_left_in_peace_where_no_bay_could_tell():
    closed = visit("a", 9, 10, state="completed", changed=10.17)
    perhaps = bay(closed._replace(unsure=True), online=True, closed_at=at(10), night=("night", at(10), at(12)))
    assert not due(perhaps, 10.99) & {"cleanup", "lights_off", "shutdown", "nightly"}
    assert "cleanup" in due(perhaps, 11) and due(perhaps, 11.2) == {"cleanup", "lights_off", "shutdown", "nightly"}
    assert "cleanup" in due(bay(closed, online=True), 10.2), "where the bay tells that nobody plays"
    followed = bay(*perhaps.visits, visit("b", 10.5, 11.5), online=True)
    assert "prepare" not in due(followed, 10.3) and "prepare" in due(followed, 10.35)
    assert "cleanup" not in due(followed, 10.35) | due(followed, 11)


def test_the_lights_stay_on_for_who_plays_on_after_the_end():
    facts = bay(visit("a", 9, 10, state="completed", changed=10.17), online=True, touched_at=at(10.4))
    assert not due(facts, 10.5) & {"cleanup", "lights_off"} and {"cleanup", "lights_off"} <= due(facts, 10.7)


def test_who_is_believed_not_to_come_and_plays_after_all_is_not_shut_down():
    for job in ("shutdown", "nightly"):
        facts = bay(
            visit("a", 5, 6, state="completed", changed=6), visit("b", 9, 10, state="no_show", changed=9.25), online=True, night=("night", at(9), at(12))
        )  # fmt: skip
        assert job not in due(facts, 9.5) and job in due(facts, 10.3)


def test_a_pc_that_nobody_here_switched_off_is_called_up_hours_before_its_guest_unless_staff_are_at_it():
    facts = bay(visit("a", 10, 11), visit("b", 12, 13), online=False, rouse_s=3 * 3600)
    assert due(facts, 6.9) == set() and due(facts, 7.1) == {"wake"}
    assert len([job for job in plan(facts, JOBS, at(7.1)) if job.due_at <= at(7.1)]) == 1
    assert due(facts._replace(blocked=((at(7), at(8)),)), 7.1) == set() and due(facts._replace(rouse_s=0), 7.1) == set()


def test_a_pc_that_did_not_hear_the_call_is_called_once_more():
    calls = [job for job in plan(bay(visit("a", 10, 11), online=False), JOBS, at(9.9)) if job.job == "wake"]
    assert [job.due_at - at(10) for job in calls] == [-10 * MIN, -6 * MIN] and len({job.id for job in calls}) == 2


def test_a_pc_that_nobody_needs_is_shut_down_once_and_never_where_nothing_wakes_it():
    facts = bay(visit("a", 9, 10, state="completed", changed=10), online=True)
    assert "shutdown" not in due(facts, 10.9) and "shutdown" in due(facts, 11.0)
    assert "shutdown" not in due(facts._replace(online=False), 11.0)
    assert "shutdown" not in due(facts._replace(does=ALL - {"wake"}), 11.0)
    assert "shutdown" not in due(facts._replace(touched_at=at(10.95)), 11.0)
    assert "shutdown" not in due(bay(*facts.visits, visit("b", 12, 13), online=True), 11.0)
    assert "shutdown" in due(facts._replace(closed_at=at(10.2)), 10.2)
    ids = {job.id for now in (10.5, 11, 14) for job in plan(facts, JOBS, at(now)) if job.job == "shutdown"}
    assert len(ids) == 1


def test_a_nightly_restart_waits_until_the_bay_is_free_for_its_length():
    facts = bay(visit("a", 3, 4.5), visit("b", 5.25, 6), online=True, night=("2033-05-18", at(4), at(6)))
    assert "nightly" not in due(facts, 4.1)  # a may still be there
    assert "nightly" in due(facts, 4.75)
    assert "nightly" not in due(facts, 4.8)  # b may come before it is up again
    assert "nightly" not in due(facts._replace(online=False), 4.75) and "nightly" not in due(facts._replace(gently=frozenset()), 4.75)


def test_each_can_be_switched_off_and_what_no_way_does_is_not_planned():
    facts = bay(visit("a", 9, 10, state="completed", changed=9.9), visit("b", 12, 13), online=True, night=("x", at(11), at(12)))
    off = JobSettings(
        prepare=False, lights=False, welcome=False, cleanup=False, time_left=False, idle_shutdown=False, nightly_restart=False
    )
    assert plan(facts, off, at(8)) == [] == plan(facts._replace(does=frozenset(), gently=frozenset()), JOBS, at(8))


@st.composite
def days(draw) -> tuple[BayFacts, int]:
    """A day of one bay, and a moment of it."""
    visits, slot = [], draw(st.integers(0, 8))
    for number in range(draw(st.integers(0, 5))):
        length = draw(st.sampled_from([2, 4, 6, 8]))
        state = draw(st.sampled_from(["", "checked_in", "completed", "no_show"]))
        start, end = BASE + slot * SLOT, BASE + (slot + length) * SLOT
        changed = draw(st.integers(start - 900, end + 1800)) if state else 0
        unsure = state == "completed" and draw(st.booleans())
        visits.append(Visit(f"b{number}", start, end, draw(st.sampled_from(["kim", "lou", ""])), state, changed, unsure))
        slot += length + draw(st.sampled_from([0, 0, 1, 2, 6, 12]))
    facts = BayFacts(
        "bedford.box-1", tuple(visits), ALL, ALL, draw(st.sampled_from([None, True, False])), draw(st.sampled_from([0, BASE + 20_000])),
        draw(st.sampled_from([0, BASE + 30_000])), ("night", BASE + draw(st.integers(0, 80)) * SLOT, BASE + 90 * SLOT),
        blocked=draw(st.sampled_from([(), ((BASE + 20 * SLOT, BASE + 30 * SLOT),)])),
    )  # fmt: skip
    return facts, draw(st.integers(BASE - 3600, BASE + 100 * SLOT))


@given(days())
def test_nothing_that_ends_a_game_is_done_while_a_guest_is_there_or_at_the_door(day):
    facts, now = day
    done = [job for job in plan(facts, JOBS, now) if job.due_at <= now < job.until_at and not job.held]
    for one in facts.visits:
        opens, closes = window(one.start_at // SLOT, one.end_at // SLOT)
        good = one.state in ("", "checked_in", "no_show") and opens <= now < closes
        inside = one.state == "checked_in" and one.changed_at <= now < one.end_at + STAYS_S
        if good or inside or (one.unsure and one.end_at <= now < one.end_at + STAYS_S):
            assert not ENDS_THE_GAME & {job.kind for job in done}
        if one.state in ("", "checked_in") and one.start_at <= now < one.end_at:
            assert not [job for job in done if job.kind == "prepare" and job.booking_id != one.booking_id]
    if any(start <= now < end for start, end in facts.blocked):
        assert not ENDS_THE_GAME & {job.kind for job in done}


@given(days(), st.integers(0, 7200))
def test_the_same_books_give_the_same_jobs_and_what_was_cancelled_needs_nothing(day, later):
    facts, now = day
    first, second = plan(facts, JOBS, now), plan(facts, JOBS, now + later)
    assert len({job.id for job in first}) == len(first)
    dues = {job.id: job.due_at for job in first}
    assert all(dues.get(job.id, job.due_at) == job.due_at for job in second)
    for gone in facts.visits:
        left = facts._replace(visits=tuple(one for one in facts.visits if one is not gone))
        assert gone.booking_id not in {job.booking_id for job in plan(left, JOBS, now)}


def test_without_its_guard_the_plan_would_end_a_game(monkeypatch):
    facts = bay(visit("a", 9, 12, state="checked_in", changed=9), online=True, night=("night", at(11), at(12)))
    assert "nightly" not in due(facts, 11.2)
    monkeypatch.setattr(BayFacts, "used", lambda *_: False)
    assert "nightly" in due(facts, 11.2)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"nightly_from": "06:00"}, "is not before nightly_until"),
        ({"nightly_until": "06:10"}, "nightly_until"),
        ({"welcome_text": "Hello {name}"}, "no other word in braces"),
        ({"prepare_before_min": 0}, "prepare_before_min"),
        ({"reboot": True}, "reboot"),
    ],
)
def test_settings_of_jobs_that_cannot_be_right_are_refused_by_name(settings, text):
    with pytest.raises(msgspec.ValidationError, match=text):
        msgspec.convert(settings, JobSettings)
