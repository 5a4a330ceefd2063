"""The grid: days tile the time line, clocks that are skipped or repeated are told apart, opening hours become slots."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import slots
from shared.model import FIRST_SLOT, LAST_SLOT, Interval
from shared.policy import Hours, HoursException, Opening, ResourceHours

ZONES = ("America/Halifax", "America/St_Johns", "Europe/London")
#: zone, day of the gap, day of the fold
CHANGES = [
    ("America/Halifax", date(2026, 3, 8), date(2026, 11, 1)),
    ("America/Halifax", date(2027, 3, 14), date(2027, 11, 7)),
    ("America/St_Johns", date(2026, 3, 8), date(2026, 11, 1)),
    ("America/St_Johns", date(2027, 3, 14), date(2027, 11, 7)),
    ("Europe/London", date(2026, 3, 29), date(2026, 10, 25)),
    ("Europe/London", date(2027, 3, 28), date(2027, 10, 31)),
]
HALIFAX = "America/Halifax"
WEDNESDAY = date(2026, 7, 1)

#: a day from the ends, so that the local calendar is within them too
some_slots = st.integers(FIRST_SLOT + 96, LAST_SLOT - 97)


def at(text: str, zone: str = HALIFAX) -> int:
    (slot,) = slots.parse_local(zone, text)
    return slot


@given(some_slots, st.integers(0, 899))
def test_a_slot_holds_every_second_of_its_quarter_hour(slot, second):
    assert slots.slot_of(slots.at_of(slot) + second) == slot


def test_an_interval_is_cut_on_quarter_hours():
    assert slots.interval_of(1767225600, 1767225600 + 3600) == Interval(1963584, 1963588)
    assert slots.minutes_of(Interval(1963584, 1963588)) == 60


@pytest.mark.parametrize(
    ("start_at", "end_at", "sentence"),
    [
        (1767225601, 1767229200, "The start must lie on a quarter hour"),
        (1767225600, 1767229201, "The end must lie on a quarter hour"),
        (1767225600, 1767225600, "The end must lie after the start"),
        (1767229200, 1767225600, "The end must lie after the start"),
        (0, 3600, "between the years 2020 and 2100"),
        (4102444800, 4102448400, "between the years 2020 and 2100"),
    ],
)
def test_an_impossible_interval_is_refused_with_a_sentence(start_at, end_at, sentence):
    with pytest.raises(ValueError, match=sentence):
        slots.interval_of(start_at, end_at)


@pytest.mark.parametrize("zone", ZONES)
def test_the_days_of_two_years_tile_the_time_line(zone):
    days = [date(2026, 1, 1) + timedelta(n) for n in range(731)]
    spans = [slots.day_span(zone, day) for day in days]
    for one, following in pairwise(spans):
        assert one.end == following.start
    lengths = [len(span) for span in spans]
    assert lengths.count(92) == 2 and lengths.count(100) == 2 and lengths.count(96) == 727


@pytest.mark.parametrize("zone", ["America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu"])
def test_days_tile_also_where_clocks_change_at_midnight_or_by_half_an_hour(zone):
    days = [date(2026, 1, 1) + timedelta(n) for n in range(366)]
    for one, following in pairwise(slots.day_span(zone, day) for day in days):
        assert one.end == following.start


@given(st.sampled_from(ZONES), some_slots)
def test_a_slot_lies_in_the_span_of_its_local_day_and_shows_the_clock_that_the_zone_says(zone, slot):
    day, minute = slots.local_clock(zone, slot)
    shown = datetime.fromtimestamp(slot * 900, UTC).astimezone(ZoneInfo(zone))
    assert (day, minute) == (shown.date(), shown.hour * 60 + shown.minute)
    assert day == slots.local_day(zone, slot)
    span = slots.day_span(zone, day)
    assert span.start <= slot < span.end


@given(st.sampled_from(ZONES), some_slots, st.integers(1, 300))
def test_an_interval_cut_at_midnights_is_still_whole(zone, start, length):
    parts = slots.days_of(zone, Interval(start, start + length))
    assert parts[0][1].start == start and parts[-1][1].end == start + length
    for (day, one), (next_day, following) in pairwise(parts):
        assert one.end == following.start == slots.day_span(zone, next_day).start
        assert next_day == day + timedelta(1)
    for day, part in parts:
        assert len(slots.clocks(zone, day, part)) == len(part)


@pytest.mark.parametrize(("zone", "gap", "fold"), CHANGES)
def test_the_grid_has_46_or_50_rows_when_clocks_change(zone, gap, fold):
    assert [len(slots.rows(zone, day)) for day in (gap, fold, WEDNESDAY)] == [46, 50, 48]
    for day in (gap, fold, WEDNESDAY):
        labels = [label for _, label in slots.rows(zone, day)]
        assert len(set(labels)) == len(labels), "two rows must not read the same"


def test_the_repeated_hour_is_labelled_with_its_zone():
    labels = [label for _, label in slots.rows(HALIFAX, date(2026, 11, 1))]
    assert labels[2:8] == ["01:00 ADT", "01:30 ADT", "01:00 AST", "01:30 AST", "02:00", "02:30"]
    assert [label for _, label in slots.rows(HALIFAX, date(2026, 3, 8))][3:5] == ["01:30", "03:00"]


def test_a_moment_is_said_with_day_and_clock():
    assert slots.when(HALIFAX, at("2026-01-05T04:00")) == "Mon 5 Jan 2026, 04:00"
    first, second = slots.parse_local(HALIFAX, "2026-11-01T01:30")
    assert (slots.when(HALIFAX, first), slots.when(HALIFAX, second)) == ("Sun 1 Nov 2026, 01:30 ADT", "Sun 1 Nov 2026, 01:30 AST")


@pytest.mark.parametrize(("zone", "gap", "fold"), CHANGES)
def test_a_local_time_has_no_slot_in_the_gap_and_two_in_the_fold(zone, gap, fold):
    hour = "01" if zone == "Europe/London" else "02"
    assert slots.parse_local(zone, f"{gap}T{hour}:30") == ()
    first, second = slots.parse_local(zone, f"{fold}T01:30")
    assert second - first == slots.SLOTS_PER_HOUR


@given(st.sampled_from(ZONES), some_slots)
def test_a_slot_is_among_those_that_its_local_time_can_mean(zone, slot):
    day, minute = slots.local_clock(zone, slot)
    assert slot in slots.parse_local(zone, f"{day}T{minute // 60:02}:{minute % 60:02}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not a local time"),
        ("tomorrow at six", "is not a local time"),
        ("2026-02-30T10:00", "is not a local time"),
        ("2026-07-01T24:00", "is not a local time"),
        ("2026-07-01T10:75", "is not a local time"),
        ("2026-07-01T10:00Z", "is not a local time"),
        ("2026-07-01 10:00", "is not a local time"),
        ("٢٠٢٦-07-01T10:00", "is not a local time"),
        ("2026-07-01T10:07", "quarter hour"),
        ("1999-07-01T10:00", "between the years 2020 and 2100"),
    ],
)
def test_a_text_that_is_no_local_time_is_refused_with_a_sentence(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        slots.parse_local(HALIFAX, text)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc/passwd", "America"])
def test_an_unknown_zone_is_refused_by_name(zone):
    with pytest.raises(ValueError, match="is not a time zone"):
        slots.day_span(zone, WEDNESDAY)


# Opening hours

EVENINGS = Hours(
    weekly=(
        Opening(days=("mon", "tue", "wed", "thu"), opens="10:00", closes="22:00"),
        Opening(days=("fri", "sat"), opens="10:00", closes="02:00"),
    )
)
BOX = "river.box-1"


def opened(hours: Hours, day: date, resource_id: str = BOX) -> list[tuple[str, str]]:
    """What is open on a day, as the wall clock reads."""
    intervals = slots.open_intervals(hours, resource_id, HALIFAX, day)
    return [tuple(slots.when(HALIFAX, end)[4:] for end in (one.start, one.end)) for one in intervals]


@given(some_slots, st.integers(1, 200))
def test_open_day_and_night_is_open_at_any_time(start, length):
    assert slots.is_open(Hours(), BOX, HALIFAX, Interval(start, start + length))


def test_no_openings_at_all_is_closed():
    assert not slots.is_open(Hours(weekly=()), BOX, HALIFAX, Interval(at("2026-07-01T10:00"), at("2026-07-01T11:00")))


def test_an_evening_runs_past_midnight_into_the_next_day():
    assert opened(EVENINGS, date(2026, 7, 3)) == [("3 Jul 2026, 10:00", "4 Jul 2026, 00:00")]
    assert opened(EVENINGS, date(2026, 7, 4)) == [("4 Jul 2026, 00:00", "4 Jul 2026, 02:00"), ("4 Jul 2026, 10:00", "5 Jul 2026, 00:00")]
    assert opened(EVENINGS, date(2026, 7, 5)) == [("5 Jul 2026, 00:00", "5 Jul 2026, 02:00")]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-07-01T10:00", "2026-07-01T22:00", True),
        ("2026-07-01T09:45", "2026-07-01T11:00", False),
        ("2026-07-01T21:30", "2026-07-01T22:15", False),
        ("2026-07-03T23:00", "2026-07-04T02:00", True),
        ("2026-07-03T23:00", "2026-07-04T02:15", False),
        ("2026-07-04T01:00", "2026-07-04T02:00", True),
        ("2026-07-04T01:00", "2026-07-04T11:00", False),
        ("2026-07-05T12:00", "2026-07-05T13:00", False),
    ],
)
def test_a_booking_must_lie_within_one_run_of_openings(start, end, expected):
    assert slots.is_open(EVENINGS, BOX, HALIFAX, Interval(at(start), at(end))) is expected


def test_an_exception_replaces_what_begins_on_its_days_but_not_the_night_before():
    closed = Hours(weekly=EVENINGS.weekly, exceptions=(HoursException(from_day=date(2026, 7, 4), until_day=date(2026, 7, 4)),))
    assert opened(closed, date(2026, 7, 4)) == [("4 Jul 2026, 00:00", "4 Jul 2026, 02:00")]
    assert opened(closed, date(2026, 7, 5)) == []
    short = HoursException(from_day=date(2026, 7, 4), until_day=date(2026, 7, 4), openings=(Opening(opens="12:00", closes="13:00"),))
    only = Hours(exceptions=(short,))
    assert opened(only, date(2026, 7, 4)) == [("4 Jul 2026, 12:00", "4 Jul 2026, 13:00")]


def test_the_most_particular_hours_win():
    day = date(2026, 7, 1)
    own_week = ResourceHours(resource_id=BOX, weekly=(Opening(opens="06:00", closes="07:00"),))
    for_all = HoursException(from_day=day, until_day=day, openings=(Opening(opens="08:00", closes="09:00"),))
    for_box = HoursException(from_day=day, until_day=day, openings=(Opening(opens="09:00", closes="10:00"),), resource_ids=(BOX,))
    assert opened(Hours(resources=(own_week,)), day) == [("1 Jul 2026, 06:00", "1 Jul 2026, 07:00")]
    assert opened(Hours(resources=(own_week,), exceptions=(for_all,)), day) == [("1 Jul 2026, 08:00", "1 Jul 2026, 09:00")]
    hours = Hours(resources=(own_week,), exceptions=(for_all, for_box))
    assert opened(hours, day) == [("1 Jul 2026, 09:00", "1 Jul 2026, 10:00")]
    assert opened(hours, day, "river.box-2") == [("1 Jul 2026, 08:00", "1 Jul 2026, 09:00")]


def test_openings_that_meet_at_midnight_are_one():
    whole = Interval(at("2026-07-01T20:00"), at("2026-07-02T04:00"))
    assert slots.open_between(Hours(), BOX, HALIFAX, whole) == (whole,)


def test_hours_on_the_night_of_the_gap_and_of_the_fold():
    early = Hours(weekly=(Opening(opens="01:30", closes="02:30"),))
    (gap,) = slots.open_intervals(early, BOX, HALIFAX, date(2026, 3, 8))
    assert slots.minutes_of(gap) == 30, "02:00 to 02:30 does not exist"
    (fold,) = slots.open_intervals(early, BOX, HALIFAX, date(2026, 11, 1))
    assert slots.minutes_of(fold) == 120, "the repeated hour is open both times"
    past = Hours(weekly=(Opening(opens="22:00", closes="01:30"),))
    night = slots.open_between(past, BOX, HALIFAX, Interval(at("2026-10-31T12:00"), at("2026-11-01T12:00")))
    assert [slots.minutes_of(one) for one in night] == [270]
