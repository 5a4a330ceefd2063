"""Token buckets on a clock that the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.clock import ManualClock
from shared.runtime.ratelimit import RateLimiter, RateRule, rule_for

RULE = RateRule("api", 3, 30)


def test_a_bucket_empties_refuses_and_refills_evenly():
    clock = ManualClock()
    limiter = RateLimiter(clock.monotonic)
    assert [limiter.take(RULE, "a")[0] for _ in range(3)] == [2, 1, 0]
    assert limiter.take(RULE, "a") == (0, 30, 10)
    clock.forward(9.9)
    assert limiter.take(RULE, "a")[2] == 1
    clock.forward(0.1)
    assert limiter.take(RULE, "a")[2] == 0
    clock.forward(1000)
    assert limiter.take(RULE, "a")[0] == 2


def test_keys_and_classes_do_not_share_a_bucket():
    limiter = RateLimiter(lambda: 0.0)
    one = RateRule("one", 1, 60)
    assert limiter.take(one, "a")[2] == 0 and limiter.take(one, "a")[2] == 60
    assert limiter.take(one, "b")[2] == 0 and limiter.take(RULE, "a")[2] == 0


def test_memory_is_bounded_and_the_longest_unseen_goes_first():
    limiter = RateLimiter(lambda: 0.0, keys_max=100)
    one = RateRule("one", 1, 60)
    limiter.take(one, "busy")
    for number in range(1000):
        limiter.take(one, f"k{number}")
        assert limiter.take(one, "busy")[2] > 0
    assert len(limiter) == 100


def test_a_clock_that_steps_back_gives_nothing_away():
    times = iter([100.0, 100.0, 50.0, 50.0])
    limiter = RateLimiter(lambda: next(times))
    one = RateRule("one", 1, 60)
    assert [limiter.take(one, "a")[2] > 0 for _ in range(4)] == [False, True, True, True]


@given(st.lists(st.floats(0, 20), min_size=1, max_size=200), st.integers(1, 10), st.floats(1, 60))
def test_never_more_than_the_bucket_and_its_refill(gaps, capacity, window_s):
    clock = ManualClock()
    limiter, rule = RateLimiter(clock.monotonic), RateRule("r", capacity, window_s)
    allowed = 0
    for gap in gaps:
        clock.forward(gap)
        remaining, reset_s, retry_s = limiter.take(rule, "a")
        allowed += retry_s == 0
        assert 0 <= remaining < capacity and 0 <= reset_s <= window_s + 1 and 0 <= retry_s <= window_s + 1
    assert allowed <= capacity + clock.monotonic() * capacity / window_s + 1e-6


def test_the_first_rule_that_applies_counts():
    sign_in = RateRule("sign_in", 1, 60, ("/sign-in",), frozenset({"POST"}))
    api = RateRule("api", 9, 60, ("/api/", "/hooks/"))
    rules = (sign_in, api)
    assert rule_for(rules, "POST", "/sign-in") is sign_in and rule_for(rules, "GET", "/sign-in") is None
    assert rule_for(rules, "GET", "/hooks/x") is api and rule_for(rules, "GET", "/static/x") is None


@pytest.mark.parametrize(("capacity", "window_s"), [(0, 1), (1, 0), (1, -1)])
def test_a_rule_without_room_is_refused(capacity, window_s):
    with pytest.raises(ValueError, match="capacity"):
        RateRule("r", capacity, window_s)
