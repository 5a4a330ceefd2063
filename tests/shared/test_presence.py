"""Who came, who did not, and what staying longer costs (B15, B21)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import overtime, presence, slots
from shared.model import Attendance, Booking, Interval, Resource
from shared.policy import Overtime, Policy, Presence
from shared.presence import Seen, judge
from shared.pricing import quote
from shared.profiles import profile

START = 1_994_752  # Saturday, 12:00 in Halifax
B = Booking(
    id="testa-birdie-0001",
    order_id="order-0001",
    site_id="bedford",
    resource_id="bedford.box-1",
    start=START,
    end=START + 4,
    customer_id="c-1",
)
AT, END = B.starts_at, B.ends_at
POLICY, MIN = profile("business").policy, 60
HEARD = Seen(doors="heard", bay="heard")


def seen(**more) -> Seen:
    return msgspec.structs.replace(HEARD, **more)


def came(state: str = "checked_in", **more) -> Attendance:
    return Attendance(booking_id=B.id, site_id="bedford", state=state, **more)


def state(seen: Seen, now_at: int, a: Attendance | None = None, b: Booking = B, policy: Policy = POLICY) -> str | None:
    found = judge(b, a, seen, policy, now_at)
    return found.state if found else None


def test_the_bookings_own_pin_at_the_door_is_a_check_in():
    found = judge(B, None, seen(door_at=AT - 5 * MIN, door_told="by PIN at 11:55, front door"), POLICY, AT)
    assert (found.state, found.how) == ("checked_in", "came in by PIN at 11:55, front door")


def test_play_is_a_check_in_once_the_guest_before_has_had_time_to_leave():
    assert state(seen(played_from=AT, played_until=AT + 14 * MIN), AT + 16 * MIN) is None, "who plays may be the guest before: people judge"
    assert state(seen(played_from=AT, played_until=AT + 15 * MIN), AT + 16 * MIN) == "checked_in"


def test_nobody_is_a_no_show_before_the_grace_is_over():
    assert state(HEARD, AT + 15 * MIN - 1) is None
    found = judge(B, None, HEARD, POLICY, AT + 15 * MIN)
    assert found.how == "no check-in, no PIN or code used at a door, nobody in the bay until 15 minutes after the start"


def test_who_was_booked_into_a_running_half_hour_is_waited_for_as_long_as_anybody():
    at_start, at_sale = "15 minutes after the start", "15 minutes after it was booked"
    for why, created_min, due_min, until in [
        ("booked long before", -600, 0, at_start), ("not known when", -AT // MIN, 0, at_start), ("at the start", 0, 0, at_start),
        ("18 minutes into it", 18, 18, at_sale), ("later than the grace", 24, 24, at_sale),
    ]:  # fmt: skip
        b = msgspec.structs.replace(B, created_at=AT + created_min * MIN)
        assert state(HEARD, AT + (due_min + 15) * MIN - 1, b=b) is None, why
        assert judge(b, None, HEARD, POLICY, AT + (due_min + 15) * MIN).how.endswith(f"nobody in the bay until {until}"), why
    short = msgspec.structs.replace(B, created_at=AT + 20 * MIN, reason=presence.REST_ON_SALE)
    assert presence.due_at(short) == AT, "its guest was sold the longer one, and that was waited for"


@given(st.integers(-3600, 3 * 3600), st.integers(-3600, 4 * 3600), st.integers(5, 60))
def test_nobody_is_a_no_show_before_the_whole_grace_has_passed_since_start_and_sale(created_s, now_s, grace):
    b = msgspec.structs.replace(B, created_at=AT + created_s)
    policy = msgspec.structs.replace(POLICY, presence=Presence(no_show_min=grace))
    found = judge(b, None, HEARD, policy, AT + now_s)
    assert (found is not None) == (now_s >= max(0, created_s) + grace * MIN)
    assert found is None or found.how.endswith("it was booked" if created_s > 0 else "the start")


@pytest.mark.parametrize(
    ("doors", "bay", "said"),
    [("heard", "none", "no_show"), ("none", "heard", "no_show"), ("heard", "deaf", None), ("deaf", "heard", None), ("none", "none", None)],
)
def test_a_no_show_needs_a_witness_and_none_who_was_not_heard(doors, bay, said):
    assert state(Seen(doors=doors, bay=bay), AT + 20 * MIN) == said


def test_the_word_of_staff_stands_and_a_displaced_guest_is_no_no_show():
    later = AT + 30 * MIN
    assert state(HEARD, later, came("", said=True)) is None
    assert state(seen(door_at=AT), later, came("no_show", said=True)) is None
    assert state(HEARD, END + 3600, came("checked_in", said=True)) is None
    lost = msgspec.structs.replace(B, displaced=True)
    assert state(HEARD, later, None, lost) is None
    assert state(HEARD, later, came("", seat="bedford.box-2"), lost) == "no_show"
    for gone in (msgspec.structs.replace(B, withdrawn=True), msgspec.structs.replace(B, status="cancelled")):
        assert state(HEARD, later, None, gone) is None
    assert state(HEARD, later, policy=msgspec.structs.replace(POLICY, presence=Presence(by_rule=False))) is None


def test_a_no_show_who_opens_the_door_after_all_has_come():
    assert state(seen(door_at=AT + 20 * MIN, door_told="by PIN"), AT + 21 * MIN, came("no_show")) == "checked_in"
    assert state(HEARD, AT + 21 * MIN, came("no_show")) is None


def test_a_visit_is_over_after_the_grace_or_when_the_guest_has_left():
    assert state(HEARD, END + 10 * MIN - 1, came()) is None
    assert state(HEARD, END + 10 * MIN, came()) == "completed"
    assert state(seen(playing=True), END + 60 * MIN, came()) is None
    assert state(seen(playing=True), END + overtime.OVER_MAX_S, came()) == "completed", "somebody has forgotten it"
    assert state(HEARD, END + 60 * MIN, came("completed")) is None


def test_who_plays_on_is_this_guest_until_the_next_one_comes():
    next_one = msgspec.structs.replace(B, id="testa-bogey-0002", start=B.end + 4, end=B.end + 8, customer_id="c-2")
    assert presence.theirs_until(B, None, 0) == END + overtime.OVER_MAX_S
    assert presence.theirs_until(B, next_one, 0) == next_one.starts_at
    assert presence.theirs_until(B, next_one, next_one.starts_at - 600) == next_one.starts_at - 600
    own = msgspec.structs.replace(next_one, start=B.end, end=B.end + 4, customer_id="c-1")
    assert presence.theirs_until(B, own, 0) == END, "the guest's own next booking goes on there"


def test_second_no_shows_are_flagged_where_the_house_counts_them():
    assert [presence.is_flagged(n, POLICY) for n in (0, 1, 2, 3)] == [False, False, True, True]
    assert not presence.is_flagged(9, msgspec.structs.replace(POLICY, presence=Presence(no_show_flag_count=0)))


@given(
    st.builds(
        Seen, doors=st.sampled_from(["heard", "deaf", "none"]), bay=st.sampled_from(["heard", "deaf", "none"]), playing=st.booleans()
    ),
    st.integers(-90, 400),
)
def test_without_any_sign_of_the_guest_nobody_is_checked_in_and_deaf_witnesses_say_nothing(unseen, minutes):
    found = state(unseen, AT + minutes * MIN)
    assert found in (None, "no_show")
    if found == "no_show":
        assert minutes >= 15 and "deaf" not in (unseen.doors, unseen.bay) and "heard" in (unseen.doors, unseen.bay)


# ---- the rest of a no-show's time
ZONE = "America/Halifax"


def rest(now_at: int, b: Booking = B, policy: Policy = POLICY, free_until: int | None = None) -> tuple[int, int] | None:
    """In slots from the start; free until the end of the booking if nothing is said."""
    found = presence.rest_of(b, now_at, policy, B.end + 96 if free_until is None else START + free_until, zone=ZONE)
    return (found.start - START, found.end - START) if found else None


def test_the_rest_of_a_no_shows_time_begins_at_the_next_start_and_is_worth_something():
    long, hours = msgspec.structs.replace(B, end=START + 8), msgspec.structs.replace(POLICY, grid_min=60)
    buffered, buffer = msgspec.structs.replace(long, buffer=1), msgspec.structs.replace(POLICY, buffer_min=15)
    for now_min, b, policy, free_until, expected in [
        (15, long, POLICY, 8, (2, 8)),
        (30, long, POLICY, 8, (2, 8)),
        (31, long, POLICY, 8, (4, 8)),
        (-20, long, POLICY, 8, (2, 8)),  # said before the start: something is left of the booking
        (61, long, POLICY, 8, None),  # half an hour is no booking
        (61, long, POLICY, 10, (6, 8)),  # but it is with the free time behind it
        (95, long, POLICY, 96, None),  # nothing of it is left
        (15, B, POLICY, 4, None),
        (15, long, hours, 8, (4, 8)),
        (15, buffered, buffer, 9, (2, 8)),
        (16, buffered, buffer, 9, (4, 8)),  # what is left of the booking is not over already
        (16, buffered, buffer, 8, None),  # the next one needs its buffer, too
    ]:
        assert rest(AT + now_min * MIN, b, policy, free_until) == expected, (now_min, free_until)


@given(
    st.integers(0, 3), st.integers(1, 24), st.sampled_from([15, 30, 60]), st.sampled_from([60, 90, 120]), st.integers(-3600, 7 * 3600),
    st.integers(-10, 40), st.sampled_from([0, *range(-60, 60)]),
)  # fmt: skip
def test_what_is_sold_again_can_be_sold_and_leaves_something_of_the_booking(buffer, length, grid, least, now_s, behind, off_slots):
    # beside a plain day the night in which clocks go back by half an hour
    for start, zone in ((START, ZONE), (1_972_572 + off_slots, "Australia/Lord_Howe")):
        b = msgspec.structs.replace(B, start=start, end=start + length, buffer=buffer)
        policy = msgspec.structs.replace(POLICY, grid_min=grid, min_min=least, buffer_min=buffer * 15)
        now_at, free_until = b.starts_at + now_s, b.claimed.end + behind
        found = presence.rest_of(b, now_at, policy, free_until, zone=zone)
        if found is None:
            continue
        assert b.start < found.start - buffer and now_at <= (found.start - buffer) * 900 and found.end == b.end > found.start
        assert found.start + least // 15 + buffer <= free_until
        assert slots.local_minute(zone, found.start) % grid == 0
        first = max(now_at, (b.start + 1) * 900) + buffer * 900
        assert not any(slots.local_minute(zone, at) % grid == 0 for at in range(-(-first // 900), found.start)), (
            "the next start, and no later"
        )


def test_a_guest_is_waited_for_before_the_rest_of_the_time_is_sold():
    assert Presence(resell_min=15).resell_min == 15 and Presence().resell_min == 0
    with pytest.raises(msgspec.ValidationError, match="resell_min 14 is less than no_show_min 15: until then the guest is waited for"):
        msgspec.convert({"resell_min": 14}, Presence)


# ---- money
BOX = Resource(id="bedford.box-1", name="TrackMan", number=1)
TARIFF = profile("business").tariff


def cost(minutes: int, end: int = B.end, rule: Overtime = POLICY.overtime, box: Resource = BOX) -> int:
    return overtime.charge(minutes, box, end, TARIFF, rule, zone="America/Halifax", site_id="bedford").total_cents


def test_up_to_the_grace_nothing_counts_and_then_all_of_it_does():
    rule = Overtime(grace_min=10)
    assert [overtime.minutes(END, END + s, rule) for s in (-60, 0, 600, 601, 1200)] == [0, 0, 0, 11, 20]
    assert overtime.minutes(END, END + 86_400, rule) == overtime.OVER_MAX_S // 60


def test_a_begun_quarter_hour_costs_twice_the_rate_with_its_tax():
    quarter = (3500 * 2 // 4) * 114 // 100  # $35 an hour on a Saturday, 14 % tax
    assert [cost(n) for n in (0, 1, 15, 16, 30)] == [0, quarter, quarter, 2 * quarter, 2 * quarter]
    assert cost(15, rule=Overtime(percent=0)) == 0
    assert cost(15, box=msgspec.structs.replace(BOX, hourly_cents=8000)) == 8000 * 2 // 4 * 114 // 100


@given(st.integers(1, 240), st.integers(0, 7 * 96))
def test_the_charge_is_what_those_quarter_hours_cost_twice_whatever_the_hour(minutes, later):
    end, quarters = B.end + later, -(-minutes // 15)
    plain = quote(
        BOX,
        Interval(end, end + quarters),
        msgspec.structs.replace(TARIFF, discounts=()),
        zone="America/Halifax",
        site_id="bedford",
        now_at=AT,
    )
    net = sum(line.cents for line in plain.lines if line.code == "rate")
    charged = overtime.charge(minutes, BOX, end, TARIFF, POLICY.overtime, zone="America/Halifax", site_id="bedford")
    assert sum(line.cents for line in charged.lines) == charged.total_cents
    assert abs(sum(line.cents for line in charged.lines if line.code == "rate") - 2 * net) <= len(plain.lines)


def test_so_many_guests_as_the_house_says_are_asked_to_stay_longer_and_always_the_same():
    asked = [sum(overtime.is_offered(f"booking-{n}", Overtime(offer_share_percent=share)) for n in range(1000)) for share in (0, 40, 100)]
    assert asked[0] == 0 and 350 <= asked[1] <= 450 and asked[2] == 1000
