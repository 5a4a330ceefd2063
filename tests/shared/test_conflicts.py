"""Ways out: ranked, free, and at the price already agreed (B12, block-2)."""

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.conflicts import PER_KIND_MAX, WayOut, by_rule, own_first, ways_out
from shared.model import Booking, Interval, Price, PriceLine, Resource
from shared.policy import Displacement, Policy

START = 1_990_000
PRICE = Price(currency="CAD", total_cents=3500, lines=(PriceLine(code="rate", label="1 h", cents=3500),))
BOOKING = Booking(
    id="testa-birdie-0001",
    order_id="testa-order-0001",
    site_id="bedford",
    resource_id="bedford.box-1",
    start=START,
    end=START + 4,
    displaced=True,
    price=PRICE,
)
DAY = Interval(START - 40, START + 56)


def box(number: int, **more) -> Resource:
    return Resource(id=f"bedford.box-{number}", name=f"Box {number}", number=number, make="trackman", **more)


BOXES = [box(1), box(2), box(3), box(4)]


def replace(value, **changes):
    return msgspec.structs.replace(value, **changes)


def find(free, booking=BOOKING, resources=BOXES, now_slot=START - 20, lines=None):
    return ways_out(booking, resources, free, now_slot, lines or {})


def short(ways):
    return [(way.kind, way.resource_id.removeprefix("bedford."), way.start - START, way.end - way.start) for way in ways]


def test_its_own_time_elsewhere_comes_first_then_the_nearest_time_whatever_the_bay():
    elsewhere = {"bedford.box-2": [DAY], "bedford.box-3": [Interval(START + 2, START + 9)]}
    ways = find({"bedford.box-1": [Interval(START + 8, START + 20)], **elsewhere})
    assert short(ways) == [("same_time", "box-2", 0, 4), ("other_bay", "box-3", 2, 4), ("same_bay", "box-1", 8, 4)]


def test_the_price_is_kept():
    ways = find({"bedford.box-2": [DAY], "bedford.box-1": [Interval(START + 8, START + 20)]})
    assert [way.price for way in ways] == [PRICE, PRICE]


def test_the_nearest_time_wins_and_of_two_as_near_the_later():
    free = {"bedford.box-1": [Interval(START - 20, START - 8), Interval(START - 12, START - 2), Interval(START + 6, START + 20)]}
    assert [start for _, _, start, _ in short(find(free))] == [6, -6]
    free["bedford.box-1"] = [Interval(START - 12, START - 2), Interval(START + 10, START + 20)]
    assert [start for _, _, start, _ in short(find(free))] == [-6, 10]


def test_starts_stay_on_the_half_hours_of_the_booking():
    free = {"bedford.box-1": [Interval(START + 5, START + 15), Interval(START - 11, START - 5)]}
    assert [start for _, _, start, _ in short(find(free))] == [6, -10]


def test_the_same_make_and_features_come_before_the_nearer_number():
    resources = [box(1, features=("camera",)), replace(box(2), make="foresight"), box(3), box(4, features=("camera",))]
    ways = find({f"bedford.box-{n}": [DAY] for n in (2, 3, 4)}, resources=resources)
    assert [way.resource_id for way in ways] == ["bedford.box-4", "bedford.box-3", "bedford.box-2"]


def test_only_active_resources_of_the_same_kind_and_site_are_offered():
    resources = [
        BOXES[0],
        replace(box(2), active=False),
        replace(box(3), kind="room"),
        Resource(id="dartmouth.box-1", name="Box 1", number=1, make="trackman"),
    ]
    assert find({resource.id: [DAY] for resource in resources[1:]}, resources=resources) == ()


def test_a_buffer_needs_its_room_too():
    tight = {"bedford.box-2": [Interval(START, START + 4)]}
    assert short(find(tight)) == [("same_time", "box-2", 0, 4)]
    assert find(tight, booking=replace(BOOKING, buffer=1)) == ()


def test_two_free_halves_that_touch_are_one_place():
    assert short(find({"bedford.box-2": [Interval(START + 2, START + 4), Interval(START, START + 2)]})) == [("same_time", "box-2", 0, 4)]


def test_nothing_starts_in_the_past_and_a_booking_that_is_over_has_no_way_out():
    assert [start for _, _, start, _ in short(find({"bedford.box-1": [DAY]}, now_slot=START + 1, booking=BOOKING))] == [1, 2]
    assert find({"bedford.box-2": [DAY]}, now_slot=START + 4) == ()


def test_of_a_booking_that_has_begun_the_rest_is_placed_elsewhere_at_once():
    assert short(find({"bedford.box-2": [DAY]}, now_slot=START + 2))[0] == ("same_time", "box-2", 2, 2)


def test_its_own_place_comes_first_when_what_stood_there_has_ended():
    assert short(find({"bedford.box-1": [DAY], "bedford.box-2": [DAY]}))[:2] == [("same_time", "box-1", 0, 4), ("same_time", "box-2", 0, 4)]


def test_each_way_says_whose_slots_it_would_take():
    free = {f"bedford.box-{n}": [Interval(START, START + 4)] for n in (2, 3, 4)}
    lines = {"bedford.box-2": START + 4, "bedford.box-3": START, "bedford.box-4": START + 2}
    assert {way.resource_id[-1]: way.seller for way in find(free, lines=lines)} == {"2": "site", "3": "hub", "4": "line"}
    with_buffer = find({"bedford.box-2": [DAY]}, booking=replace(BOOKING, buffer=1), lines=lines)
    assert with_buffer[0].seller == "line", "the buffer counts"


def test_a_booking_on_an_unknown_resource_or_with_nothing_free_has_no_way_out():
    assert find({"bedford.box-2": [DAY]}, resources=BOXES[1:]) == ()
    assert find({}) == ()


def test_no_more_than_a_few_of_each_kind_are_offered():
    many = [box(n) for n in range(1, 10)]
    assert len(find({resource.id: [DAY] for resource in many[1:]}, resources=many)) == PER_KIND_MAX


def test_only_what_can_be_had_counts_among_the_few_and_a_rule_is_told_all():
    many = [box(n) for n in range(1, 10)]
    free = {resource.id: [DAY] for resource in many[1:]}
    lines = {resource.id: START + 90 for resource in many[:6]}
    had = ways_out(BOOKING, many, free, START - 20, lines, can=lambda way: way.seller == "hub")
    assert [way.resource_id for way in had] == ["bedford.box-7", "bedford.box-8", "bedford.box-9"]
    assert len(ways_out(BOOKING, many, free, START - 20, lines, per_kind_max=None)) == 8


def test_at_one_start_ones_own_slots_come_first_and_nobody_starts_later_or_gets_another_make_for_it():
    bays = [box(1), box(2), replace(box(3), make="foresight"), box(4), box(5)]
    same, later = [Interval(START, START + 4)], [Interval(START + 2, START + 6)]
    free = {"bedford.box-2": same, "bedford.box-3": same, "bedford.box-4": same, "bedford.box-5": later}
    ways = find(free, resources=bays, lines={"bedford.box-2": START + 90})
    assert [way.resource_id[-1] for way in ways] == ["2", "4", "3", "5"]
    assert [way.resource_id[-1] for way in own_first(ways, "hub")] == ["4", "2", "3", "5"]
    assert own_first(ways, "site") == list(ways)


intervals = st.lists(
    st.tuples(st.integers(-40, 55), st.integers(1, 12)).map(lambda pair: Interval(START + pair[0], START + pair[0] + pair[1])), max_size=8
)


@given(
    taken=st.fixed_dictionaries({f"bedford.box-{n}": intervals for n in (1, 2, 3)}),
    length=st.integers(1, 12),
    buffer=st.integers(0, 2),
    now=st.integers(-30, 12),
    seed=st.integers(),
)
def test_no_way_out_overlaps_a_taken_interval_and_the_order_of_the_facts_does_not_matter(taken, length, buffer, now, seed):
    booking = replace(BOOKING, end=START + length, buffer=buffer)
    free = {
        name: [Interval(slot, slot + 1) for slot in range(DAY.start, DAY.end) if not any(t.start <= slot < t.end for t in busy)]
        for name, busy in taken.items()
    }
    ways = find(free, booking=booking, now_slot=START + now)
    for way in ways:
        claimed = Interval(way.start, way.end + buffer)
        assert not any(claimed.overlaps(busy) for busy in taken[way.resource_id])
        assert DAY.start <= claimed.start and claimed.end <= DAY.end and way.start >= START + now
        assert way.end - way.start == length or way.kind == "same_time"
    away = [(way.kind != "same_time", abs(way.start - booking.start)) for way in ways]
    assert away == sorted(away)
    chance = random.Random(seed)
    shuffled = {name: chance.sample(free[name], len(free[name])) for name in chance.sample(list(free), len(free))}
    assert find(shuffled, booking=booking, now_slot=START + now, resources=chance.sample(BOXES, len(BOXES))) == ways


# ---- what the rule takes without asking anybody
def test_by_default_the_rule_takes_the_same_time_and_nothing_else():
    ways = find({"bedford.box-1": [Interval(START + 4, START + 20)], "bedford.box-3": [DAY]})
    assert by_rule(Policy(), BOOKING, ways) == ways[0] and ways[0].kind == "same_time"
    assert by_rule(Policy(), BOOKING, ways[1:]) is None


def test_a_house_may_let_the_rule_move_the_start_or_keep_the_make_or_do_nothing():
    resources = [box(1), replace(box(2), make="foresight")]
    ways = find({"bedford.box-1": [Interval(START + 4, START + 20)], "bedford.box-2": [DAY]}, resources=resources)
    assert [way.same_make for way in ways[:2]] == [False, True]
    taken = {
        (shift, make): by_rule(Policy(displacement=Displacement(shift_max_min=shift, same_make=make)), BOOKING, ways)
        for shift in (45, 60)
        for make in (False, True)
    }
    assert taken == {(45, False): ways[0], (45, True): None, (60, False): ways[0], (60, True): ways[1]}
    assert by_rule(Policy(displacement=Displacement(by_rule=False)), BOOKING, ways) is None


def test_the_rest_of_a_booking_that_has_begun_is_never_placed_by_rule():
    ways = find({"bedford.box-2": [DAY]}, now_slot=START + 2)
    assert by_rule(Policy(displacement=Displacement(shift_max_min=15)), BOOKING, ways) is None


@given(
    ways=st.lists(
        st.builds(
            lambda bay, shift, length, make: WayOut(
                kind="other_bay", resource_id=f"bedford.box-{bay}", start=START + shift, end=START + shift + length, seller="hub", same_make=make
            ),
            st.integers(1, 9), st.integers(-20, 20), st.integers(3, 5), st.booleans(),
        ),
        max_size=9,
    ),
    shift=st.integers(0, 300),
    make=st.booleans(),
)  # fmt: skip
def test_the_rule_takes_the_first_way_that_it_allows_and_no_other(ways, shift, make):
    def allowed(way: WayOut) -> bool:
        near = 15 * abs(way.start - BOOKING.start) <= shift
        return near and way.end - way.start == BOOKING.end - BOOKING.start and (way.same_make or not make)

    policy = Policy(displacement=Displacement(shift_max_min=shift, same_make=make))
    assert by_rule(policy, BOOKING, ways) == next(filter(allowed, ways), None)
