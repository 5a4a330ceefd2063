"""`clubos rules`: what it calls held, and what it does not."""

import pytest

from deploy import rules
from deploy.rules import WITH, WITHOUT, Found, lines_of, problems, twin_of
from shared.protocol_rules import BY_NAME, RULES, Rule, rule_of

GUARDED = Rule("terr-99", "Nobody sells the moon.", guards=("moon",))


def found(*tests: tuple[str, str], twin: tuple[str, str] | None = ("passed", "passed")) -> Found:
    out = Found()
    for name, outcome in tests:
        out.tests["terr-99"][name].append(outcome)
    if twin:
        out.twins["moon"] = dict(zip((WITH, WITHOUT), twin, strict=True))
    return out


def test_a_rule_is_held_by_tests_that_passed_and_guards_that_are_missed():
    seen = found(("test_the_moon_is_kept", "passed"))
    assert problems(GUARDED, seen) == []
    text = "\n".join(lines_of(GUARDED, seen))
    assert "ok   the moon is kept" in text and "guard moon: the story passes with it and fails without it" in text


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (found(), "no test holds it"),
        (found((WITH, "passed"), (WITHOUT, "passed")), "no test holds it"),
        (found(("test_a", "passed"), ("test_a", "failed")), "test_a did not pass"),
        (found(("test_a", "passed"), ("test_b", "skipped")), "test_b did not pass"),
        (found(("test_a", "passed"), twin=None), "guard moon: no story is told of it"),
        (found(("test_a", "passed"), twin=("failed", "passed")), "guard moon: the story fails even with it"),
        (found(("test_a", "passed"), twin=("passed", "failed")), "guard moon: nothing goes wrong without it"),
    ],
)
def test_a_rule_without_its_test_or_a_guard_that_nobody_misses_is_a_problem(seen, said):
    assert said in problems(GUARDED, seen)
    assert said in "\n".join(lines_of(GUARDED, seen))


def test_every_rule_has_one_name_and_words_of_its_own():
    assert len(BY_NAME) == len(RULES) == len({rule.words for rule in RULES})
    assert rule_of("sell_own_only") is BY_NAME["terr-1"] and rule_of("moon") is None
    assert {rule.name.partition("-")[0] for rule in RULES} == {"B5", "terr", "stream", "own", "pass", "block", "loss", "clock"}


def test_an_installed_package_without_its_tests_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(rules, "ROOT", tmp_path)
    assert rules.main([]) == 2
    assert "checkout" in capsys.readouterr().err
    assert twin_of("moon", Found()) == "no story is told of it"
