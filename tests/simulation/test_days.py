"""Site-days under faults, as many as the daily tests can afford; `make sim` plays thousands.

A failure prints its seed: `make sim SEED=n` plays that day step by step. `test_more_days` plays the other half, in another process.
"""

import os

import pytest

from tests.simulation import readme
from tests.simulation.run import of_seed, play
from tests.simulation.schedule import draw, from_json
from tests.simulation.shrink import kind_of, shrink

#: fixed, so that a red test is red again; other days are played by `make sim`
FIRST, DAYS = 1, int(os.environ.get("CLUBOS_SIM_DAYS") or 64)
#: days in one test
SHARE = 8
#: the first seed of every share; two files of tests have half of them each, so that two processes play at once
SHARES = range(FIRST, FIRST + DAYS, SHARE)


def broken_promises(first: int) -> list[str]:
    """Plays the days of one share, and judges them: what was not kept, and on which day."""
    results = [of_seed(seed) for seed in range(first, first + SHARE)]
    broken = [f"seed {r.seed}: {r.failure}" for r in results if r.failure]
    broken += [f"seed {r.seed}: {r.double_sales} sold twice, {r.lost} lost" for r in results if r.double_sales or r.lost]
    done = sum(r.counts.get(what, 0) for r in results for what in ("sales", "changes", "check_ins"))
    if done < 100 * SHARE:
        broken.append(f"days on which nobody comes prove nothing: {done} sales, changes and check-ins")
    return broken


@pytest.mark.parametrize("first", SHARES[::2])
def test_every_promise_is_kept_whatever_fails(first):
    assert broken_promises(first) == []


def test_every_share_is_played_by_one_of_the_two_files_and_they_are_sixty_days_or_more():
    from tests.simulation import test_more_days  # which plays with what is here

    here, there = (f.pytestmark[0].args[1] for f in (test_every_promise_is_kept_whatever_fails, test_more_days.test_every_promise_is_kept_whatever_fails))
    assert sorted([*here, *there]) == list(SHARES)
    assert SHARE * len(SHARES) >= 60 or "CLUBOS_SIM_DAYS" in os.environ


def test_the_same_seed_is_the_same_day_to_the_last_line():
    assert of_seed(3).trace == of_seed(3).trace
    assert of_seed(3).trace != of_seed(4).trace


def test_a_day_is_a_value_that_can_be_kept_and_played_again():
    day = draw(7)
    assert from_json(day.to_json()) == day == draw(7)


def test_a_failing_day_is_made_short_and_still_fails():
    day = draw(1)
    day.without = ["claim_is_exclusive"]
    failure = play(day).failure
    assert failure, "a ledger that sells a taken slot again was not noticed"
    short, sentence = shrink(day, failure, within_s=8)
    assert len(short.actions) < len(day.actions) / 2 and kind_of(sentence) == kind_of(failure)
    assert play(short).failure == sentence


def test_the_table_in_the_readme_is_written_between_its_marks():
    summary = {
        "site_days": 2000, "seeds": [1, 2000], "commit": "abc1234", "sales": 200_000, "changes": 40_000, "check_ins": 60_000, "cuts": 2500,
        "crashes": 1500, "restores": 150, "double_sales": 0, "lost": 0, "lost_with_disk": 12,
    }  # fmt: skip
    text = readme.written(f"before\n{readme.BEGIN}\nyesterday\n{readme.END}\nafter", summary)
    assert text.startswith("before") and text.endswith("after") and "yesterday" not in text
    assert "| site-days | 2,000 (5.5 site-years) |" in text and "commit abc1234" in text
    assert readme.written("no marks", summary) == "no marks"
