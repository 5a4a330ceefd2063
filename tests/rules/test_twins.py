"""Every guard has its twin: with it the story ends well, without it the harm is seen."""

import pytest

from shared.ledger.desk import GUARDS
from shared.protocol_rules import RULES
from tests.rules import (
    harm_bookings,
    harm_clock,
    harm_digests,
    harm_loss,
    harm_outage_pins,
    harm_streams,
    harm_territory,
    harm_watch,
    harm_witness,
)
from tests.rules.harm import SCENARIOS

TOLD_IN = (harm_bookings, harm_clock, harm_digests, harm_loss, harm_outage_pins, harm_streams, harm_territory, harm_watch, harm_witness)
EACH = [pytest.param(guard, marks=pytest.mark.rule(rule), id=guard) for guard, (rule, _) in GUARDS.items()]


def test_every_guard_has_a_scenario_of_its_rule_and_no_scenario_is_of_an_unknown_guard():
    assert {guard: s.rule for guard, s in SCENARIOS.items()} == {guard: rule for guard, (rule, _) in GUARDS.items()}


def test_every_guard_belongs_to_the_one_rule_that_names_it():
    assert {guard: rule.name for rule in RULES for guard in rule.guards} == {guard: rule for guard, (rule, _) in GUARDS.items()}
    assert sum(len(rule.guards) for rule in RULES) == len(GUARDS)


def test_every_scenario_says_what_it_is_called():
    assert len({s.name for s in SCENARIOS.values()}) == len(SCENARIOS)
    assert {s.script.__module__ for s in SCENARIOS.values()} == {m.__name__ for m in TOLD_IN}


@pytest.mark.parametrize("guard", EACH)
def test_with_the_guard_standing_the_story_ends_well(guard):
    assert SCENARIOS[guard].harm() == ""


@pytest.mark.parametrize("guard", EACH)
def test_without_the_guard_the_harm_is_seen(guard):
    assert SCENARIOS[guard].harm(without=frozenset({guard}))
