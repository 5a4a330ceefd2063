"""Ways out for several bays that are wanted as one: all of it, at one time after another, in bays that are free (B13)."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared import pricing, slots, together
from shared.model import Facility, Interval, Price, Resource
from shared.profiles import profile
from shared.rules import Facts, Request, buffer_slots, check

HALIFAX = "America/Halifax"
#: Thursday 2 Jul 2026, 12:00 in Halifax
NOW_AT = 1783004400
NOW = NOW_AT // 900
POLICY, TARIFF = profile("business").policy, profile("business").tariff
FACTS = Facts(facility=Facility(id="bedford", name="Bedford", zone=HALIFAX))
BOXES = tuple(Resource(id=f"bedford.box-{n}", name=f"Box {n}", number=n) for n in range(1, 5))
ROOM = Resource(id="bedford.room-1", name="Room", kind="room", number=1)
EVENING = Interval(NOW + 24, NOW + 28)  # 18:00 to 19:00
DAY = (Interval(NOW, NOW + 96),)


def asked(bay: Resource, interval: Interval = EVENING, **more) -> Request:
    return Request(resource=bay, interval=interval, channel="staff", now_at=NOW_AT, **more)


def price_of(bay: Resource, interval: Interval) -> Price:
    return pricing.quote(bay, interval, TARIFF, zone=HALIFAX, site_id="bedford", now_at=NOW_AT)


def ways(requests, free, *, policy=POLICY, bays=(*BOXES, ROOM), **more):
    return together.suggest(tuple(requests), FACTS, policy, free, bays, price_of, **more)


def names(way) -> tuple[str, ...]:
    return tuple(part.resource_id[-1] for part in way.parts)


ALL_FREE = {bay.id: DAY for bay in (*BOXES, ROOM)}


def test_where_one_bay_is_taken_the_group_moves_to_one_beside_it_at_its_own_time_first():
    free = ALL_FREE | {BOXES[0].id: (Interval(NOW, NOW + 24), Interval(NOW + 30, NOW + 96))}
    first, *_ = found = ways([asked(BOXES[0]), asked(BOXES[1])], free)
    assert [names(way) for way in found] == [("2", "3")] * 3
    assert [slots.slot_of(way.start_at) - EVENING.start for way in found] == [0, -2, 2], "the wished time in other bays, then the nearest"
    assert first.total_cents == 2 * price_of(BOXES[1], EVENING).total_cents and first.currency == "CAD"


def test_a_way_is_named_by_its_first_part_and_has_them_all_in_the_order_asked():
    [way] = ways([asked(BOXES[2]), asked(BOXES[0])], ALL_FREE | {BOXES[0].id: ()}, limit=1)
    assert (way.resource_id, way.start_at, way.end_at) == (way.parts[0].resource_id, way.parts[0].start_at, way.parts[0].end_at)
    assert len(way.parts) == 2 and names(way)[0] == "3"


def test_what_was_asked_is_no_way_out_of_itself():
    group = [asked(BOXES[0]), asked(BOXES[1])]
    found = ways(group, ALL_FREE)
    assert len(found) == 3 and all(way.start_at != slots.at_of(EVENING.start) or names(way) != ("1", "2") for way in found)


def test_a_series_keeps_its_distances_and_a_bay_its_kind():
    later = Interval(EVENING.start + 8, EVENING.end + 8)
    free = {BOXES[0].id: (Interval(NOW + 40, NOW + 60),), ROOM.id: DAY}
    [way, *_] = ways([asked(BOXES[0]), asked(BOXES[0], later)], free)
    assert [part.resource_id for part in way.parts] == [BOXES[0].id] * 2
    assert way.parts[1].start_at - way.parts[0].start_at == 8 * 900 and way.start_at == slots.at_of(NOW + 40)


def test_a_group_for_which_there_are_not_enough_bays_gets_nothing():
    assert ways([asked(bay) for bay in BOXES], {bay.id: DAY for bay in BOXES[:3]}) == ()
    assert ways([asked(BOXES[0]), asked(BOXES[1])], {}) == ()


def test_where_no_other_time_helps_nothing_is_looked_for():
    full = replace(FACTS, open_bookings=9)
    group = (asked(BOXES[0]), asked(BOXES[1]))
    assert together.suggest(group, full, POLICY, ALL_FREE, BOXES, price_of) == ()


def test_a_part_that_this_side_cannot_sell_makes_the_whole_way_one_to_be_asked_for():
    group = [asked(BOXES[0]), asked(BOXES[1])]
    found = ways(group, ALL_FREE, instant=lambda bay, _: bay.number < 3)
    assert [way.instant for way in found] == [set(names(way)) <= {"1", "2"} for way in found]


runs = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=3).map(
    lambda found: tuple(Interval(NOW + at, NOW + at + long) for at, long in found)
)


@given(
    st.lists(runs, min_size=4, max_size=4), st.integers(2, 40), st.sampled_from([2, 4, 5, 6]), st.integers(1, 4), st.sampled_from([0, 15])
)
def test_every_way_has_a_free_bay_for_every_part_breaks_no_rule_and_doubles_nothing(free, start, length, many, buffer_min):
    policy = replace(POLICY, buffer_min=buffer_min)
    by_bay = {bay.id: mine for bay, mine in zip(BOXES, free, strict=True)}
    wished = Interval(NOW + start, NOW + start + length)
    requests = tuple(asked(bay, wished) for bay in BOXES[:many])
    for way in ways(requests, by_bay, policy=policy, bays=BOXES):
        places = [(part.resource_id, Interval(part.start_at // 900, part.end_at // 900)) for part in way.parts]
        assert len(places) == many and len({bay for bay, _ in places}) == many
        for bay_id, interval in places:
            bay = next(one for one in BOXES if one.id == bay_id)
            assert any(run.start <= interval.start and interval.end + buffer_slots(policy) <= run.end for run in by_bay[bay_id])
            assert not check(asked(bay, interval), FACTS, policy)
        assert way.total_cents == sum(price_of(BOXES[0], interval).total_cents for _, interval in places)
