"""`clubos rules`: every named rule of the protocol, the tests that hold it, and what becomes of it without its guards.

Runs the tests that are marked with a rule's name and prints a table; for each guard the same story is told with the guard and without it,
and without it the harm must be seen. Fails where a rule has no test, a test fails, or a guard is not missed.
Not here: the rules themselves (`shared.protocol_rules`), the stories (`tests/rules`). Needs a checkout with its tests.
Invariant: a rule counts as held only by tests that ran and passed just now.
"""

import argparse
import contextlib
import io
import os
import sys
import textwrap
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from shared.protocol_rules import RULES, Rule

ROOT = Path(__file__).resolve().parent.parent
#: how many random worlds are played; `make test` plays more, and CLUBOS_SEEDS as many as one likes
SEEDS = "12"
WIDTH = 100
#: where the tests are that hold the rules
HELD_IN = ("tests/rules", "tests/shared", "tests/ledger", "tests/site_agent/test_recovery.py")
#: the two tests of tests/rules/test_twins.py, each once per guard
WITH, WITHOUT = "test_with_the_guard_standing_the_story_ends_well", "test_without_the_guard_the_harm_is_seen"


@dataclass(eq=False)
class Found:
    """What the run saw: per rule the outcome of each test function (cases together), per guard its twin, and what went wrong."""

    tests: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    twins: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    failures: list[str] = field(default_factory=list)
    _marks: dict[str, tuple[str, ...]] = field(default_factory=dict)

    # ---- called by pytest
    def pytest_collection_modifyitems(self, items) -> None:
        for item in items:
            self._marks[item.nodeid] = tuple(mark.args[0] for mark in item.iter_markers("rule"))

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            self.failures.append(f"{report.nodeid} cannot be read:\n{report.longreprtext}")

    def pytest_runtest_logreport(self, report) -> None:
        outcome = _outcome(report)
        if outcome is None:
            return
        name, _, case = report.nodeid.rpartition("::")[2].partition("[")
        for rule in self._marks.get(report.nodeid, ()):
            self.tests[rule][name].append(outcome)
        if name in (WITH, WITHOUT):
            self.twins[case.rstrip("]")][name] = outcome
        if outcome != "passed":
            self.failures.append(f"{report.nodeid} {outcome}:\n{report.longreprtext}")


def _outcome(report) -> str | None:
    """One outcome per test: of its call, or of the set-up that kept it from being called."""
    if report.when == "call" or (report.when == "setup" and not report.passed):
        return report.outcome
    return "failed" if report.when == "teardown" and report.failed else None


def run() -> Found:
    """Runs what is marked with a rule, and keeps what it prints to itself unless it cannot be run at all."""
    import pytest

    found, printed = Found(), io.StringIO()
    os.environ.setdefault("CLUBOS_SEEDS", SEEDS)
    with contextlib.redirect_stdout(printed), contextlib.chdir(ROOT):
        code = pytest.main(["-q", "-m", "rule and not slow", "-p", "no:cacheprovider", *HELD_IN], plugins=[found])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not found.failures:
        found.failures.append(printed.getvalue())
    return found


def twin_of(guard: str, found: Found) -> str:
    """What became of the story with the guard and without it; empty where it ended well with it and badly without."""
    outcomes = found.twins.get(guard, {})
    if outcomes.get(WITH) != "passed":
        return "the story fails even with it" if WITH in outcomes else "no story is told of it"
    return "" if outcomes.get(WITHOUT) == "passed" else "nothing goes wrong without it"


def problems(rule: Rule, found: Found) -> list[str]:
    """Why a rule cannot be called held."""
    tests = found.tests.get(rule.name, {})
    out = [] if any(name not in (WITH, WITHOUT) for name in tests) else ["no test holds it"]
    out += [f"{name} did not pass" for name, outcomes in tests.items() if set(outcomes) != {"passed"}]
    return out + [f"guard {guard}: {twin}" for guard in rule.guards if (twin := twin_of(guard, found))]


def lines_of(rule: Rule, found: Found) -> list[str]:
    """The rule as printed: its words, its tests with the number of their cases, its guards."""
    indent = " " * 12
    body = textwrap.wrap(rule.words, WIDTH - len(indent))
    out = [f"{rule.name:<12}{body[0]}", *(indent + line for line in body[1:])]
    for name, outcomes in sorted(found.tests.get(rule.name, {}).items()):
        if name in (WITH, WITHOUT):
            continue
        mark = "ok  " if set(outcomes) == {"passed"} else "FAIL"
        cases = f" ({len(outcomes)} cases)" if len(outcomes) > 1 else ""
        out.append(f"{indent}{mark} {name.removeprefix('test_').replace('_', ' ')}{cases}")
    for guard in rule.guards:
        twin = twin_of(guard, found)
        out.append(f"{indent}{'FAIL' if twin else 'ok  '} guard {guard}: {twin or 'the story passes with it and fails without it'}")
    return [*out, *(f"{indent}PROBLEM: {p}" for p in problems(rule, found)), ""]


def main(argv: list[str]) -> int:
    """Prints the table. 0: every rule is held; 1: one is not; 2: there are no tests here to run."""
    parser = argparse.ArgumentParser(prog="clubos rules", description="Every named rule of the protocol, its tests, and its guards' twins.")
    parser.parse_args(argv)
    if not (ROOT / "tests" / "rules").is_dir():
        print("The rules are held by tests, which an installed package does not have. Please run this in a checkout.", file=sys.stderr)
        return 2
    began = time.monotonic()
    found = run()
    for rule in RULES:
        print("\n".join(lines_of(rule, found)))
    unheld = [rule.name for rule in RULES if problems(rule, found)]
    guards = sum(len(rule.guards) for rule in RULES)
    print(f"{len(RULES) - len(unheld)} of {len(RULES)} rules held, {guards} guards, {time.monotonic() - began:.0f} s")
    for failure in found.failures:
        print(f"\n{failure}", file=sys.stderr)
    if unheld:
        print(f"Not held: {', '.join(unheld)}", file=sys.stderr)
    return 1 if unheld or found.failures else 0
