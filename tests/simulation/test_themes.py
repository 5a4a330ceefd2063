"""Days of one kind: promises are kept on them, their seed alone names them, and what they are there to show shows."""

import msgspec
import pytest

from shared.ledger.desk import GUARDS
from tests.simulation.run import play
from tests.simulation.schedule import draw, from_json
from tests.simulation.teeth import PLACES, bite
from tests.simulation.themes import THEMES, seed_of, theme_of


@pytest.mark.parametrize("theme", THEMES)
def test_every_promise_is_kept_on_days_of_a_kind(theme):
    results = [play(draw(seed_of(theme, n))) for n in (1, 2)]
    assert not [f"seed {r.seed}: {r.failure}" for r in results if r.failure]
    assert sum(r.counts.get("sales", 0) for r in results) > 0


def test_every_guard_has_its_days():
    assert PLACES.keys() <= GUARDS.keys() and {theme for places in PLACES.values() for theme in places} <= {"", *THEMES}


def test_a_seed_alone_names_its_day():
    assert all(theme_of(seed_of(theme, 7)) == theme for theme in THEMES)
    assert theme_of(7) == theme_of(seed_of("", 7)) == "" and theme_of(999_000_000) == ""
    day = draw(seed_of("restored", 1))
    assert from_json(day.to_json()) == day == draw(day.seed)
    assert play(day).trace == play(day).trace


#: one of every kind of day that is there for a guard or two
TRIED = (
    "fence_holds", "floor_holds", "chain_continues", "two_machines_hold", "override_yields", "breach_halts", "one_hub", "new_hub_is_vouched",
    "must_understand_stops", "owed_stays_owed", "outage_pin_once",
)  # fmt: skip


@pytest.mark.parametrize("guard", TRIED)
def test_a_guard_that_is_gone_is_missed(guard):
    found = bite(guard, 1, 12, 30)
    assert found.found_seed is not None and found.harm and not found.faults
    assert play(msgspec.structs.replace(draw(found.found_seed), without=[guard])).failure.startswith(found.harm[:100])
