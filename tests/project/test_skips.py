"""What is skipped is named at the end of a run, and where nothing may be skipped the run fails for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

FILE = """
import pytest

@pytest.mark.needs_wrk
def test_under_load(): pass

@pytest.mark.needs_wrk
def test_under_more_load(): pass

@pytest.mark.skip(reason="the moon is full")
def test_by_moonlight(): pass

def test_always(): pass
"""
INI = '[pytest]\nmarkers =\n  needs_wrk: x\n'


def run(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a small test file in `folder` under this project's conftest, on a machine whose search path holds no program at all.

    Only with the plugin that starts workers: to load all the others takes longer than the run.
    """
    conftest = (TESTS / "conftest.py").read_text(encoding="utf-8").replace("/usr/sbin", "/nowhere")
    (folder / "conftest.py").write_text(conftest, encoding="utf-8")
    (folder / "pytest.ini").write_text(INI, encoding="utf-8")
    (folder / "test_small.py").write_text(FILE, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI", "CLUBOS_"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist", *options]
    kept |= {"PATH": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=kept | variables, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["in one process", "by a worker"])
def test_a_missing_program_skips_its_tests_and_is_named_at_the_end(tmp_path: Path, options: tuple[str, ...]) -> None:
    ended = run(tmp_path, *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 tests: wrk is not on this machine (apt-get install wrk)" in ended.stdout
    assert "1 test: the moon is full" in ended.stdout
    assert "1 passed, 3 skipped" in ended.stdout.splitlines()[-1]


@pytest.mark.parametrize("variable", ["CI", "CLUBOS_NO_SKIPS"])
@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["in one process", "by a worker"])
def test_where_nothing_may_be_skipped_the_run_fails_and_says_why(tmp_path: Path, options: tuple[str, ...], variable: str) -> None:
    ended = run(tmp_path, *options, **{variable: "true"})
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "2 tests: wrk is not on this machine" in ended.stdout
    assert "it counts as failed" in ended.stdout


def test_where_nothing_may_be_skipped_a_run_without_skips_is_good(tmp_path: Path) -> None:
    ended = run(tmp_path, "-k", "always", CI="true")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "skipped" not in ended.stdout
