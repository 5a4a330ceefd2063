"""When a vendor may be asked, and since when it has been left alone, whatever it answers meanwhile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.breaker import FAILURES, LONGEST_S, SHORTEST_S, Breaker, backoff_s

NOW = 1_795_000_000.0


def failed(times: int, breaker: Breaker | None = None, at: float = NOW) -> Breaker:
    breaker = breaker or Breaker()
    for _ in range(times):
        breaker = breaker.failed(at, "It does not answer.")
    return breaker


def test_a_vendor_that_failed_once_is_not_away():
    once = failed(FAILURES - 1)
    assert not once.is_away(NOW) and once.room(NOW, 8) == 8


def test_a_vendor_is_away_from_the_failure_that_opened_its_breaker_on():
    opened = failed(FAILURES)
    assert opened.is_away(NOW) and opened.away_since == NOW and opened.room(NOW, 8) == 0


def test_the_failures_that_follow_do_not_make_the_absence_shorter():
    later = failed(1, failed(FAILURES), NOW + 600)
    assert later.away_since == NOW and later.is_away(NOW + 600 + LONGEST_S)
    assert later.room(NOW + 600 + LONGEST_S, 8) == 1


def test_a_success_ends_the_absence():
    back = failed(FAILURES).succeeded()
    assert not back.is_away(NOW) and back.away_since == 0


def test_a_vendor_that_only_asks_for_patience_again_and_again_is_away_as_well():
    patient = Breaker()
    for at in (0, 60, 120):
        patient = patient.asked_to_wait(NOW + at, 60, "Too many requests.")
    assert patient.away_since == NOW and patient.is_away(NOW + 121)
    assert not patient.is_away(NOW + 180) and patient.room(NOW + 180, 8) == 8


@pytest.mark.parametrize("again", [lambda b, at: b.asked_to_wait(at, 5, "wait"), lambda b, at: b.failed(at, "revoked", at_once=True)])
def test_what_it_asked_for_long_ago_does_not_count_when_nobody_has_asked_since(again):
    old = Breaker().asked_to_wait(NOW, 5, "Too many requests.")
    assert again(old, NOW + 7200).away_since == NOW + 7200


@given(st.lists(st.tuples(st.sampled_from(["failed", "at_once", "wait", "good"]), st.floats(0, 400)), max_size=30))
def test_it_is_never_away_without_a_beginning_and_is_asked_again_in_time(story):
    breaker, at = Breaker(), NOW
    for what, passed in story:
        at += passed
        if what == "good":
            breaker = breaker.succeeded()
        elif what == "wait":
            breaker = breaker.asked_to_wait(at, passed, "wait")
        else:
            breaker = breaker.failed(at, "no", at_once=what == "at_once")
        if breaker.is_away(at):
            assert NOW <= breaker.away_since <= at
        assert breaker.open_until <= at + LONGEST_S and breaker.room(at + LONGEST_S, 8) >= 1
        assert what != "failed" or not breaker.ill or breaker.room(at, 8) == 0, "after a failure nobody asks an ill one at once"


# ---- when it may be asked
def test_all_may_ask_one_that_answers_and_nobody_one_that_failed_five_times():
    assert Breaker().room(NOW, 8) == 8 and not Breaker().ill
    assert failed(FAILURES).ill and failed(FAILURES).room(NOW + SHORTEST_S - 1, 8) == 0


def test_then_one_may_try_and_its_success_lets_all_in():
    opened = failed(FAILURES)
    assert opened.room(NOW + SHORTEST_S, 8) == 1
    assert opened.succeeded().room(NOW + SHORTEST_S, 8) == 8


def test_each_try_that_fails_doubles_the_wait_up_to_the_longest():
    breaker, at, waits = failed(FAILURES), NOW, []
    for _ in range(9):
        waits.append(breaker.open_until - at)
        at = breaker.open_until
        breaker = breaker.failed(at, "It does not answer.")
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_many_that_were_under_way_when_it_opened_and_fail_with_it_count_once():
    opened = failed(FAILURES)
    assert failed(75, opened, NOW + 1) == opened


def test_what_is_sure_to_fail_again_opens_it_at_once_and_for_long():
    refused = Breaker().failed(NOW, "The key is revoked.", at_once=True)
    assert refused.room(NOW + LONGEST_S - 1, 8) == 0 and refused.room(NOW + LONGEST_S, 8) == 1 and refused.why == "The key is revoked."
    assert failed(FAILURES).failed(NOW + 1, "The key is revoked.", at_once=True).open_until == NOW + 1 + LONGEST_S


def test_a_time_that_it_names_is_kept_without_its_being_ill():
    patient = failed(FAILURES - 1).asked_to_wait(NOW, 30, "Too many requests.")
    assert patient.room(NOW + 29, 8) == 0 and patient.room(NOW + 30, 8) == 8 and not patient.ill


def test_it_is_asked_again_sooner_than_it_wished_where_it_wished_for_too_much():
    assert Breaker().asked_to_wait(NOW, 86_400, "Tomorrow.").open_until == NOW + LONGEST_S


def test_there_is_no_reason_to_read_before_it_is_left_alone():
    assert failed(FAILURES - 1).why == "" and failed(FAILURES).why == "It does not answer." and failed(FAILURES).succeeded().why == ""


# ---- how long a row waits
@given(st.integers(0, 1000), st.floats(0, 1))
def test_the_wait_between_tries_grows_to_a_quarter_of_an_hour_and_is_spread_by_a_half(tries, chance):
    wait_s = backoff_s(tries, chance)
    assert 3.75 <= wait_s <= 1125
    assert backoff_s(tries, 0) <= wait_s <= backoff_s(tries, 1) <= 2 * backoff_s(tries, 0)
    assert backoff_s(tries + 1, chance) >= wait_s
