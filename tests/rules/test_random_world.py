"""Worlds under random mischief: never two sales of one slot, and equal books once the link has healed.

CLUBOS_SEEDS=n plays n worlds instead of the few of every day. A failure names its seed; `random_world.run(seed)` plays it again.
"""

import os

import pytest

from tests.rules.random_world import run

SEEDS = int(os.environ.get("CLUBOS_SEEDS") or 50)
EVERY_RULE = ("terr-1", "terr-2", "terr-3", "terr-4", "terr-5", "terr-6", "terr-9", "terr-10", "stream-2", "stream-8", "own-1", "own-3", "own-4")


def of_every_rule(test):
    for name in EVERY_RULE:
        test = pytest.mark.rule(name)(test)
    return test


@of_every_rule
@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_people_and_the_broker_do_no_slot_is_sold_twice_and_the_books_become_equal(seed):
    assert run(seed).done > 20, "a world in which nothing happens proves nothing"
