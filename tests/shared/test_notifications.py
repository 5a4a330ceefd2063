"""What a booking causes to be told, when, by which channel and in which hours of its guest's day."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared import notifications
from shared.model import Booking
from shared.notifications import CHANNELS, COURTESY, DAY, EVENTS, MIN, NEWS_S, TIMED, URGENT, USUAL, USUAL_QUIET, H, Moment, Preferences

HALIFAX = "America/Halifax"
#: Saturday 21 Nov 2026, 12:00 in Halifax
NOON = 1795276800
SLOT0 = NOON // 900


def booking(start: int = SLOT0 + 40, slots: int = 4, created_at: int = NOON, buffer: int = 0) -> Booking:
    return Booking(
        id="b-1", order_id="o-1", site_id="s", resource_id="s.box-1", start=start, end=start + slots, buffer=buffer, created_at=created_at
    )


bookings = st.builds(
    booking, st.integers(SLOT0, SLOT0 + 4000), st.integers(1, 32), st.integers(NOON - 60 * DAY, NOON + 45 * DAY), st.integers(0, 4)
)
events = st.sampled_from(EVENTS)
timed_events = st.sampled_from(sorted(TIMED))
minutes = st.integers(0, 1440)


# ---- when
def test_the_clock_causes_five_of_them():
    b = booking(created_at=NOON - 30 * DAY)
    due = {event: notifications.timed(event, b).due_at for event in TIMED}
    assert due == {
        "reminder": b.starts_at - 2 * H,
        "check_in": b.starts_at - 15 * MIN,
        "extend": b.ends_at - 10 * MIN,
        "follow_up": b.ends_at + 30 * MIN,
        "survey": b.ends_at + 24 * H,
    }


@given(timed_events, bookings)
def test_each_is_worth_something_when_it_is_due_and_nothing_for_ever(event, b):
    moment = notifications.timed(event, b)
    if moment is None:
        assert event in ("reminder", "check_in"), "who was there is always asked how it was"
    else:
        assert moment.due_at < moment.until_at <= moment.due_at + 3 * DAY


@given(bookings)
def test_nobody_is_reminded_of_what_has_begun_or_let_in_long_after(b):
    if reminder := notifications.timed("reminder", b):
        assert reminder.until_at <= b.starts_at
    if check_in := notifications.timed("check_in", b):
        assert check_in.until_at <= b.starts_at + 15 * MIN


@given(timed_events, bookings, st.integers(-4000, 4000))
def test_a_moved_booking_takes_its_moments_along(event, b, by):
    moved = msgspec.structs.replace(b, start=b.start + by, end=b.end + by, created_at=b.created_at + by * 900)
    before, after = notifications.timed(event, b), notifications.timed(event, moved)
    assert after == (Moment(before.due_at + by * 900, before.until_at + by * 900) if before else None)


@given(bookings, st.integers(1, 30))
def test_a_longer_visit_moves_only_what_follows_it(b, more):
    longer = msgspec.structs.replace(b, end=b.end + more)
    for event, timing in TIMED.items():
        before, after = notifications.timed(event, b), notifications.timed(event, longer)
        if timing.of_end:
            assert after.due_at == before.due_at + more * 900
        else:
            assert after == before


@pytest.mark.parametrize(
    ("booked_before_s", "reminded"), [(2 * H + 30 * MIN, True), (2 * H + 30 * MIN - 1, False), (60, False), (-60, False)]
)
def test_who_has_just_booked_is_not_reminded(booked_before_s, reminded):
    b = booking()
    b = msgspec.structs.replace(b, created_at=b.starts_at - booked_before_s)
    assert (notifications.timed("reminder", b) is not None) == reminded


@given(timed_events, bookings, st.integers(0, 3 * DAY))
def test_a_sweep_finds_every_booking_of_which_one_is_due(event, b, late_s):
    moment = notifications.timed(event, b)
    assume(moment is not None)
    now = moment.due_at + late_s
    first, past = notifications.window(event, now)
    slot = b.end if TIMED[event].of_end else b.start
    assert now >= moment.until_at or first <= slot < past
    assert past - first <= TIMED[event].worth_s // 900 + 2, "and reads no more than those that may be"


@given(bookings, st.integers(-60 * DAY, 60 * DAY))
def test_news_are_due_at_once_and_old_after_half_a_day_or_the_visit(b, before_end_s):
    happened_at = b.ends_at - before_end_s
    moment = notifications.news(b, happened_at)
    assert moment.due_at == happened_at
    assert happened_at + 15 * MIN <= moment.until_at <= max(happened_at + 15 * MIN, min(happened_at + NEWS_S, b.ends_at))


# ---- by which channels
subsets = st.lists(st.sampled_from(CHANNELS), unique=True).map(tuple)


@given(events, subsets, subsets, st.booleans())
def test_nothing_goes_by_a_channel_that_is_switched_off_or_impossible(event, off, able, courtesies):
    names = notifications.channels(event, Preferences(off=off, courtesies=courtesies), able)
    assert set(names) <= set(able) - set(off) and len(names) == len(set(names))


@given(st.sampled_from(sorted(URGENT)), subsets, subsets)
def test_what_is_urgent_goes_by_something_wherever_there_is_any_address_that_is_not_switched_off(event, off, able):
    names = notifications.channels(event, Preferences(off=off), able)
    left = set(able) - set(off)
    assert bool(names) == bool(left)
    assert set(names) != {"app"} or left == {"app"}, "a page that nobody has open is not enough"


@given(events)
def test_the_usual_channels_are_taken_in_their_order_where_all_is_possible(event):
    assert notifications.channels(event, Preferences(), CHANNELS) == USUAL[event]


@given(st.sampled_from(sorted(COURTESY)), subsets)
def test_who_wants_no_courtesies_gets_none(event, able):
    assert notifications.channels(event, Preferences(courtesies=False), able) == ()


@given(st.sampled_from(sorted(set(EVENTS) - URGENT)), subsets, subsets)
def test_what_can_wait_never_takes_to_another_channel(event, off, able):
    assert set(notifications.channels(event, Preferences(off=off), able)) <= set(USUAL[event])


# ---- at which hours
def local(at: int) -> tuple[int, int]:
    clock = datetime.fromtimestamp(at, ZoneInfo(HALIFAX))
    return clock.hour, clock.minute


def at(text: str, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(HALIFAX), fold=fold).timestamp())


def is_quiet(moment: int, begin: int, end: int) -> bool:
    hour, minute = local(moment)
    clock = hour * 60 + minute
    return begin <= clock < end if begin < end else clock >= begin or clock < end


@given(st.sampled_from(sorted(URGENT)), minutes, minutes, st.integers(NOON, NOON + 400 * DAY))
def test_what_is_urgent_comes_at_any_hour(event, begin, end, now):
    assert notifications.not_before(event, Preferences(quiet=(begin, end)), HALIFAX, now) == now


#: minutes around the nights in which Halifax goes on an hour, and back
NIGHTS = [at("2026-11-01T00:00"), at("2027-03-14T00:00"), NOON]
some_night = st.builds(lambda night, s: night + s, st.sampled_from(NIGHTS), st.integers(-DAY, 2 * DAY))


@given(st.sampled_from(["reminder", "follow_up", "survey"]), minutes, minutes, some_night)
def test_the_rest_waits_for_the_end_of_the_quiet_hours_and_no_longer(event, begin, end, now):
    assume(begin != end and (begin, end) not in ((0, 1440), (1440, 0)))
    allowed = notifications.not_before(event, Preferences(quiet=(begin, end)), HALIFAX, now)
    assert allowed >= now and not is_quiet(allowed, begin, end)
    assert allowed <= now + 2 * DAY
    if any(60 <= minute < 180 for minute in (begin, end)):
        return  # in the hour that a night repeats or skips: the examples below
    assert all(is_quiet(moment, begin, end) for moment in range(now, allowed, 60))


@pytest.mark.parametrize(
    ("now", "quiet", "allowed"),
    [
        (at("2026-11-21T22:10"), (21 * 60, 8 * 60), at("2026-11-22T08:00")),
        (at("2026-11-22T03:10"), (21 * 60, 8 * 60), at("2026-11-22T08:00")),
        (at("2026-11-22T08:00"), (21 * 60, 8 * 60), at("2026-11-22T08:00")),
        (at("2026-11-21T13:10"), (13 * 60, 15 * 60), at("2026-11-21T15:00")),
        (at("2026-11-21T22:10"), (21 * 60, 1440), at("2026-11-22T00:00")),
        # the night of 25 hours: from ten to eight are eleven hours
        (at("2026-10-31T22:00"), (22 * 60, 8 * 60), at("2026-10-31T22:00") + 11 * H),
        (at("2026-11-01T01:10"), (60, 90), at("2026-11-01T01:30")),
        (at("2026-11-01T01:10", fold=1), (60, 90), at("2026-11-01T01:30", fold=1)),
        # the night of 23 hours: nine
        (at("2027-03-13T22:00"), (22 * 60, 8 * 60), at("2027-03-13T22:00") + 9 * H),
        (at("2027-03-14T01:10"), (60, 150), at("2027-03-14T03:30")),
        # nothing is left of that night; the next one has the hour
        (at("2027-03-14T01:10"), (180, 150), at("2027-03-15T02:30")),
    ],
)
def test_quiet_hours_are_hours_of_the_local_clock_in_every_night(now, quiet, allowed):
    assert notifications.not_before("reminder", Preferences(quiet=quiet), HALIFAX, now) == allowed


def test_courtesies_keep_the_usual_hours_of_quiet_where_none_were_chosen_and_a_reminder_does_not():
    night = at("2026-11-21T23:00")
    assert notifications.not_before("survey", Preferences(), HALIFAX, night) == at("2026-11-22T08:00")
    assert notifications.not_before("reminder", Preferences(), HALIFAX, night) == night
    assert USUAL_QUIET == (21 * 60, 8 * 60)


def test_chosen_hours_stand_for_the_usual_ones():
    evening = at("2026-11-21T22:00")
    chosen = Preferences(quiet=(23 * 60, 6 * 60))
    assert notifications.not_before("survey", chosen, HALIFAX, evening) == evening
    assert notifications.not_before("survey", chosen, HALIFAX, evening + 90 * MIN) == at("2026-11-22T06:00")


def test_a_reminder_that_must_wait_for_the_morning_is_still_worth_something_then():
    b = booking(start=at("2026-11-22T09:00") // 900)
    moment = notifications.timed("reminder", b)
    allowed = notifications.not_before("reminder", Preferences(quiet=(21 * 60, 8 * 60)), HALIFAX, moment.due_at)
    assert timedelta(seconds=allowed - moment.due_at) == timedelta(hours=1) and allowed < moment.until_at
