"""PINs: drawn by chance, never two alike, never easy, and refused when they grow rare (pass-3, D1)."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Refusal
from shared.pins import BLOCK_MAX, DRAWS_MAX, REST_S, due_for_top_up, guessable, make_block, resting


def nobody(pin: str) -> bool:
    return False


@given(st.integers(1, 200), st.integers(6, 10), st.integers())
def test_a_block_has_as_many_different_unguessable_pins_as_asked_for(n, length, seed):
    block = make_block(n, nobody, random.Random(seed).randrange, length)
    assert len(set(block)) == n == len(block)
    assert all(len(pin) == length and pin.isdigit() and not guessable(pin) for pin in block)


@given(st.sets(st.integers(0, 999_999), max_size=300), st.integers())
def test_a_taken_pin_is_never_handed_out(out, seed):
    taken = {f"{number:06d}" for number in out}
    assert not taken & set(make_block(50, taken.__contains__, random.Random(seed).randrange))


def said(*numbers: int):
    """A chance that says these numbers, in this order."""
    left = iter(numbers)
    return lambda n: next(left)


def test_a_chance_that_repeats_itself_makes_no_pin_twice():
    assert make_block(2, nobody, said(123_890, 123_890, 55_571)) == ("123890", "055571")


def test_a_second_block_shares_no_pin_with_the_first_because_it_asks_what_is_taken():
    leased = {"123890"}
    assert make_block(1, leased.__contains__, said(123_890, 7_341)) == ("007341",)
    assert make_block(1, nobody, said(123_890, 7_341)) == ("123890",), "the twin: nobody asked, and one PIN opens for two"


@pytest.mark.parametrize(
    "pin", ["000000", "111111", "123456", "654321", "789012", "135791", "121212", "112211", "111112", "123123", "474747", "4747474"]
)
def test_pins_that_people_try_first_are_never_drawn(pin):
    assert guessable(pin)
    assert make_block(1, nobody, said(int(pin), 480_213), len(pin)) == (f"{480_213:0{len(pin)}d}",)


@pytest.mark.parametrize("pin", ["480213", "007341", "112358", "123457", "9876542"])
def test_ordinary_pins_are_not_called_guessable(pin):
    assert not guessable(pin)


def test_leading_zeros_are_kept():
    assert make_block(1, nobody, said(7341)) == ("007341",)


def test_when_pins_grow_rare_the_block_is_refused_whole():
    answer = make_block(3, lambda pin: pin != "480213", random.Random(1).randrange)
    assert isinstance(answer, Refusal) and answer.code == "pins_exhausted" and "longer PINs" in answer.detail


def test_a_refusal_comes_after_a_known_number_of_draws():
    draws = []
    make_block(1, lambda pin: True, lambda n: draws.append(n) or 480_213)
    assert draws == [10**6] * DRAWS_MAX


@pytest.mark.parametrize(("n", "length"), [(0, 6), (-1, 6), (BLOCK_MAX + 1, 6), (1, 5), (1, 11)])
def test_an_impossible_block_is_a_bug_of_the_caller(n, length):
    with pytest.raises(ValueError):
        make_block(n, nobody, random.Random(1).randrange, length)


def test_a_pin_rests_for_30_days_after_it_last_opened_a_door():
    assert REST_S == 30 * 24 * 3600
    assert resting(1000, 1000 + REST_S - 1) and not resting(1000, 1000 + REST_S)
    assert resting(5000, 1000), "one that is still good is not free either"


def test_the_stock_is_topped_up_at_its_floor():
    assert due_for_top_up(20, 20) and due_for_top_up(0, 20) and not due_for_top_up(21, 20)
