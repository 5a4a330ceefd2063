"""When a bay should be looked after before it fails, and at which quiet hour (M4)."""

from hypothesis import given
from hypothesis import strategies as st

from shared import foresight, slots
from shared.foresight import Wear, is_due, propose, usage_of
from shared.model import Interval
from shared.policy import Care

ZONE = "America/Halifax"
NOON = 1_994_752  # Saturday, 12:00
WEEK = Interval(NOON, NOON + 7 * 96)
RULE = Care()
WORN = Wear(played_min=212 * 60, troubles=5, since_at=NOON * 900 - 90 * 86_400)


def test_it_is_due_by_hours_or_by_troubles():
    assert [is_due(Wear(played_min=hours * 60, troubles=troubles), RULE) for hours, troubles in ((199, 4), (200, 0), (0, 5))] == [
        False,
        True,
        True,
    ]
    assert propose("Box 3", Wear(played_min=0, troubles=0), [WEEK], {}, RULE, ZONE) is None


def test_the_quietest_free_time_is_proposed_with_the_reason_in_numbers():
    everything = usage_of([(NOON - 96 * n, NOON - 96 * n + 96) for n in range(1, 29)], ZONE)
    # Tuesdays from 6 to 8 nobody plays
    quiet = {key: minutes for key, minutes in everything.items() if key not in ((1, 6), (1, 7))}
    found = propose("Box 3", WORN, [WEEK], quiet, RULE, ZONE)
    assert slots.when(ZONE, found.at.start) == "Tue 24 Nov 2026, 06:00"
    assert found.why == (
        "Box 3 has been played for 212 hours since its last maintenance, and its PC told of trouble 5 times within 14 days."
        " Tuesday from 06:00 to 08:00 is free and usually quiet."
    )


def test_a_bay_without_a_free_time_of_that_length_gets_no_proposal():
    assert propose("Box 3", WORN, [Interval(NOON, NOON + 7), Interval(NOON + 9, NOON + 16)], {}, RULE, ZONE) is None


runs = st.lists(st.tuples(st.integers(0, 600), st.integers(1, 40)), max_size=8).map(
    lambda found: [Interval(NOON + a, NOON + a + n) for a, n in found]
)
played = st.lists(st.tuples(st.integers(-2000, -1), st.integers(1, 20)), max_size=12).map(
    lambda found: [(NOON + a, NOON + a + n) for a, n in found]
)


@given(runs, played, st.sampled_from([30, 60, 120, 240]))
def test_what_is_proposed_is_free_and_no_free_time_was_played_less(free, past, length_min):
    usage, rule = usage_of(past, ZONE), Care(length_min=length_min)
    found = propose("Box 3", WORN, free, usage, rule, ZONE)
    length = length_min // 15
    starts = [at for run in free for at in range(run.start, run.end - length + 1) if at % 2 == 0]
    if found is None:
        assert not starts
        return
    assert found.at.start in starts and len(found.at) == length
    assert foresight.played(found.at, usage, ZONE) == min(foresight.played(Interval(at, at + length), usage, ZONE) for at in starts)
