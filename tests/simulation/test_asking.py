"""`make sim` and `make sim-teeth` as commands: what may be asked, what is refused with a sentence, what is told of a failing day."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest

from shared.ledger.desk import GUARDS
from tests.simulation import __main__ as sim
from tests.simulation import asking, teeth
from tests.simulation.run import play
from tests.simulation.schedule import draw, from_json
from tests.simulation.shrink import kind_of, shrink
from tests.simulation.themes import seed_of

ROOT = Path(__file__).parents[2]
#: a guard that is missed on the first ordinary day
MISSED = "claim_is_exclusive"


class Here:
    """Plays in this process what the command plays in others."""

    def __init__(self, processes, initializer=None):
        self.processes = processes

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def map(self, fn, items, chunksize=1):
        return map(fn, items)


@pytest.fixture
def at_hand(monkeypatch, tmp_path):
    """The command in this process, with its build folder elsewhere and little time to make a day short."""
    monkeypatch.setattr(sim, "BUILD", tmp_path / "build")
    monkeypatch.setattr(sim, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(sim, "shrink", partial(shrink, within_s=1.0))
    return tmp_path / "build"


def refused(main, *words: str, capsys) -> str:
    """The sentence of a command line that is refused."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


@pytest.mark.parametrize("option", ["--days", "--first", "--seed", "--processes"])
@pytest.mark.parametrize("text", ["-3", "0", "many", "1.5", "", "inf"])
def test_a_number_of_the_simulation_is_a_whole_one_from_1_on(option, text, capsys):
    said = refused(sim.main, option, text, capsys=capsys)
    assert f"argument {option}: " in said and f"must be a whole number of 1 or more, not '{text}'" in said


@pytest.mark.parametrize("words", [("--days", "-3"), ("--first", "0"), ("--processes", "two"), ("--within", "nan"), ("--within", "-1"), ("--within", "long")])
def test_a_number_of_the_teeth_is_above_none(words, capsys):
    assert f"{words[0]}: " in (said := refused(teeth.main, *words, capsys=capsys)) and f"not '{words[1]}'" in said


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (sim.main, ("--without", "claim_is_exclusiv")),
        (sim.main, ("--seed", "5", "--without", f"{MISSED},claim_is_exclusiv")),
        (teeth.main, ("claim_is_exclusiv",)),
        (teeth.main, (MISSED, "claim_is_exclusiv")),
    ],
)
def test_a_guard_that_does_not_exist_is_refused_with_the_one_that_may_be_meant(main, words, capsys):
    assert refused(main, *words, capsys=capsys).endswith("there is no guard called claim_is_exclusiv; did you mean claim_is_exclusive?")


def test_a_guard_that_is_like_no_other_is_refused_with_the_list_of_all(capsys):
    said = refused(sim.main, "--without", "zzz", capsys=capsys)
    assert "there is no guard called zzz" in said and all(guard in said for guard in GUARDS)
    assert "names no guard" in refused(sim.main, "--without", ", ", capsys=capsys)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--seed", "3", "--days", "4"), "play one day, DAYS= and --first play many"),
        (("--seed", "3", "--first", "1"), "play one day, DAYS= and --first play many"),
        (("--shrink",), "--shrink is about one day; please name it with SEED= or --schedule"),
        (("--statements",), "--statements is about one day"),
        (("--seed", "3", "--shrink", "--statements"), "--shrink plays a day many times"),
        (("--seed", "3", "--schedule", str(ROOT / "README.md")), "holds no day that can be played"),
        (("--schedule", "no such file"), "the file no such file cannot be read: No such file or directory"),
        (("--schedule", str(ROOT)), "cannot be read: Is a directory"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(words, sentence, capsys):
    assert sentence in refused(sim.main, *words, capsys=capsys)


def test_a_kept_day_is_not_named_by_a_seed_too_and_takes_away_only_what_is_there(tmp_path, capsys):
    kept = tmp_path / "day.json"
    kept.write_bytes(draw(3).to_json())
    assert "not both" in refused(sim.main, "--seed", "3", "--schedule", str(kept), capsys=capsys)
    kept.write_bytes(msgspec.structs.replace(draw(3), without=["claim_is_exclusiv"]).to_json())
    said = refused(sim.main, "--schedule", str(kept), capsys=capsys)
    assert "takes away what is not there: there is no guard called claim_is_exclusiv" in said


@pytest.mark.parametrize(
    ("main", "ways"),
    [
        (sim.main, "DAYS=n SEED=n --shrink --statements --processes --first --schedule exit code"),
        (teeth.main, "--first --days --within --processes --build guards make sim"),
    ],
)
def test_the_help_names_every_way_to_ask_and_what_is_taken_when_nothing_is_said(main, ways, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0 and [way for way in ways.split() if way not in told] == []
    assert ("2000" in told and "40 with --without" in told) if main is sim.main else "150" in told


def test_a_good_day_is_told_step_by_step_with_the_unit_of_its_times(at_hand, capsys):
    assert sim.main(["--seed", str(seed_of("restored", 1))]) == 0
    *steps, verdict, counts = capsys.readouterr().out.splitlines()
    assert len(steps) > 20 and all(line.split()[1] == "s" and float(line.split()[0]) >= 0 for line in steps)
    assert "all promises kept" in verdict and "sales" in counts


def test_a_day_that_fails_step_by_step_is_told_with_the_command_that_makes_it_short(at_hand, capsys):
    assert sim.main(["--seed", "1", "--without", MISSED]) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith(f'make sim SEED=1 ARGS="--without {MISSED} --shrink"')


def test_the_command_that_makes_a_failing_day_short_keeps_a_day_that_fails_so_too(at_hand, capsys):
    assert sim.main(["--seed", "1", "--without", MISSED, "--shrink"]) == 1
    told, kept = capsys.readouterr().out, at_hand / "sim-1.json"
    assert f'step by step: make sim SEED=1 ARGS="--without {MISSED}"' in told and f'make sim ARGS="--schedule {kept}"' in told
    short = from_json(kept.read_bytes())
    assert short.without == [MISSED] and len(short.actions) < len(draw(1).actions)
    sentence = told.splitlines()[-1].removeprefix("  which ends: ")
    assert sentence and play(short).failure == sentence
    assert sim.main(["--schedule", str(kept)]) == 1
    assert sentence in capsys.readouterr().out


def test_a_good_day_is_not_made_short(at_hand, capsys):
    assert sim.main(["--seed", str(seed_of("restored", 1)), "--shrink"]) == 0
    assert "nothing to make short" in capsys.readouterr().out and not at_hand.exists()


def test_days_without_a_guard_are_expected_to_fail_and_the_first_is_made_short(at_hand, capsys):
    assert sim.main(["--without", MISSED, "--days", "2"]) == 0
    told = capsys.readouterr().out
    assert f"without {MISSED}: 2 of 2 site-days fail" in told and "seed 1: " in told
    short = from_json((at_hand / "sim-1.json").read_bytes())
    assert kind_of(play(short).failure) == kind_of(play(msgspec.structs.replace(draw(1), without=[MISSED])).failure)
    assert not (at_hand / "sim.json").exists(), "days without a guard are no proof, and no summary of theirs is kept"


def test_a_guard_that_nobody_misses_on_the_days_that_were_played_fails_the_command(at_hand, capsys, monkeypatch):
    good = play(draw(seed_of("restored", 1)))
    monkeypatch.setattr(sim, "play", lambda day: good)
    assert sim.main(["--without", MISSED, "--days", "3"]) == 1
    told = capsys.readouterr().out
    assert f"without {MISSED}: 0 of 3 site-days fail" in told and f'make sim DAYS=12 ARGS="--without {MISSED}"' in told


def test_a_day_that_fails_with_the_guard_standing_too_is_a_fault_of_the_product(at_hand, capsys, monkeypatch):
    bad = msgspec.structs.replace(play(draw(seed_of("restored", 1))), failure="a slot was sold twice")
    monkeypatch.setattr(sim, "play", lambda day: bad)
    assert sim.main(["--without", MISSED, "--days", "1"]) == 1
    assert "fails with every guard standing, too" in capsys.readouterr().out


def test_days_without_a_guard_are_of_the_kinds_on_which_it_has_most_to_do(at_hand, monkeypatch):
    asked = []
    monkeypatch.setattr(sim, "_played", lambda seeds, guards, processes: asked.append((list(seeds), guards)) or ({}, []))
    assert sim.main(["--without", "not_mine_is_no_answer, decided_once", "--days", "4", "--first", "3"]) == 1
    days = [seed_of("strip", 3), seed_of("parts", 3), seed_of("strip", 4), seed_of("parts", 4)]
    assert asked == [(days, ("not_mine_is_no_answer", "decided_once"))]


def test_guards_are_read_once_each():
    assert asking.guards(f"{MISSED}, same_body,{MISSED}") == [MISSED, "same_body"]


def test_the_command_plays_days_in_processes_of_its_own_and_writes_their_summary(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--days", "2", "--first", "5", "--processes", "1"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 site-days in" in done.stdout
    kept = msgspec.json.decode((tmp_path / "build" / "sim.json").read_bytes())
    assert kept["site_days"] == 2 and kept["seeds"] == [5, 6] and kept["failed"] == [] and kept["sales"] > 50
