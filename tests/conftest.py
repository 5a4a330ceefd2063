"""What every test shares: which system programs are here, what was skipped for want of them, and how hard Hypothesis looks.

A missing program skips the tests that need it and is named at the end, with the way to install it. Where skipping is not allowed
(`CI=true` or `CLUBOS_NO_SKIPS=1`) any skip, for whatever reason, turns the run into a failed one.

Invariant: a run that skipped something says so in its last lines.
"""

import gc
import glob
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

# Debian puts Mosquitto and PostgreSQL's server where the search path of ordinary users does not look.
SEARCHED = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
)


@dataclass(frozen=True)
class SystemProgram:
    """A program that tests start and Python cannot install: its marker, the names it goes by, the package that brings it."""

    marker: str
    names: tuple[str, ...]
    package: str

    @property
    def path(self) -> str | None:
        """Where it is on this machine, or None."""
        return next((found for name in self.names if (found := shutil.which(name, path=SEARCHED))), None)

    @property
    def reason(self) -> str:
        return f"{self.package} is not on this machine (apt-get install {self.package})"


SYSTEM_PROGRAMS = (
    SystemProgram("needs_mosquitto", ("mosquitto",), "mosquitto"),
    SystemProgram("needs_chromium", ("chromium", "chromium-browser"), "chromium"),
    SystemProgram("needs_wrk", ("wrk",), "wrk"),
    SystemProgram("needs_faketime", ("faketime",), "faketime"),
    SystemProgram("needs_postgres", ("initdb",), "postgresql"),
)


def path_of(marker: str) -> str | None:
    """Where the program is that tests with this marker start; None where it is not on this machine."""
    return next(program.path for program in SYSTEM_PROGRAMS if program.marker == marker)


settings.register_profile("quick", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=250, deadline=None, print_blob=True)


def is_yes(value: str | None) -> bool:
    """Whether an environment variable's value means yes; unset and empty mean no."""
    return (value or "").strip().lower() in {"1", "true", "yes", "on"}


def skips_are_failures() -> bool:
    return is_yes(os.environ.get("CI")) or is_yes(os.environ.get("CLUBOS_NO_SKIPS"))


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if is_yes(os.environ.get("CI")) else "quick"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for program in SYSTEM_PROGRAMS:
        wanting = [item for item in items if item.get_closest_marker(program.marker)]
        if wanting and program.path is None:
            for item in wanting:
                item.add_marker(pytest.mark.skip(reason=program.reason))


def pytest_collection_finish() -> None:
    # What is there by now stays to the end, and need not be looked through after every test.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser to hand to Playwright; only for tests marked `needs_chromium`."""
    path = path_of("needs_chromium")
    assert path is not None, "mark this test with needs_chromium"
    return path


@pytest.fixture(scope="session")
def postgres():
    """A `tests.postgres.Cluster` for this run; only for tests marked `needs_postgres`."""
    path = path_of("needs_postgres")
    assert path is not None, "mark this test with needs_postgres"
    from tests.postgres import Cluster

    cluster = Cluster(Path(path).parent)
    yield cluster
    cluster.remove()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # With xdist the workers end first and know only their share; the one that reports to the person decides.
    if hasattr(session.config, "workerinput"):
        return
    if skipped_reasons(session.config) and skips_are_failures() and exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reasons = skipped_reasons(config)
    if not reasons:
        return
    terminalreporter.section("skipped, and why", sep="-")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} {'test' if count == 1 else 'tests'}: {reason}")
    if skips_are_failures():
        terminalreporter.write_line("Nothing may be skipped in this run (CI or CLUBOS_NO_SKIPS is set), so it counts as failed.", red=True)


def skipped_reasons(config: pytest.Config) -> Counter[str]:
    """How many tests (or whole files) were skipped, by reason."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return Counter(_reason(report) for report in (reporter.stats.get("skipped", []) if reporter else []))


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr or "no reason given")
