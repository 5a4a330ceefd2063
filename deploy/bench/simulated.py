"""How fast the simulation plays the days of hub and sites under faults, on one core.

The simulation belongs to the tests, so that it is there in a checkout only, and is started as a process. Its books
are in memory, so that it is the processor's work alone and no flush says anything of it: the bar is scaled by what says how
much of a processor there is (`floors.imports_ms`), taken before each run, and the figure is printed as it was measured.
Invariant: every promise was kept and the days were as full as they are said to be; else the figure is doubtful.
"""

from __future__ import annotations

import msgspec

from deploy.bench import children, floors, results
from deploy.bench.bench import Bench
from deploy.bench.results import BenchError, Entry, Factor

RUNS, DAYS = 5, 24
BAR_PER_S, DONE_BAR = 3.0, 150
FIRST_SEED = 1
DAYS_WITHIN_S = 300.0


class Played(msgspec.Struct):
    """What the simulation wrote of its days."""

    site_days: int
    sales: int
    changes: int
    check_ins: int
    failed: list[int]
    took_s: float

    @property
    def done_each(self) -> float:
        return (self.sales + self.changes + self.check_ins) / self.site_days


def speed(bench: Bench) -> list[Entry]:
    """`sim_speed`."""
    if not (children.PROJECT / "tests" / "simulation").is_dir():
        raise BenchError("The simulation is in a checkout of the project only.")
    runs, imports_ms = [], []
    for number in range(1, RUNS + 1):
        imports_ms.append(floors.imports_ms())
        runs.append(_play(bench, FIRST_SEED + (number - 1) * DAYS))
        bench.say(f"run {number}: {runs[-1].site_days / runs[-1].took_s:.2f} site-days a second, {runs[-1].done_each:.0f} steps each")
    factor = Factor("the web framework's import", results.percentile(imports_ms, 50), floors.IMPORTS_MS)
    doubts = [f"promises were broken on the days of the seeds {run.failed}" for run in runs if run.failed]
    done = sum(run.done_each for run in runs) / len(runs)
    if done < DONE_BAR:
        doubts.append(f"a site-day had only {done:.0f} sales, changes and check-ins")
    what = (
        f"the simulation on one core, {DAYS} site-days with {done:.0f} sales, changes and check-ins each, median of {RUNS} ({BAR_PER_S:g} /s : {factor})"
    )
    value = results.percentile([run.site_days / run.took_s for run in runs], 50)
    return [results.at_least("sim_speed", what, value, BAR_PER_S / factor.times, "/s", doubts)]


def _play(bench: Bench, first: int) -> Played:
    folder = bench.fresh("simulation")
    words = ["-m", "tests.simulation", "--days", str(DAYS), "--first", str(first), "--processes", "1"]
    with children.python(words, folder / "simulation.log", children.SERVER_CORE, folder) as child:
        child.found(r"site-days in", DAYS_WITHIN_S)
    try:
        return msgspec.json.decode((folder / "build" / "sim.json").read_bytes(), type=Played)
    except (OSError, msgspec.MsgspecError) as error:
        raise BenchError(f"The simulation wrote nothing that can be read: {error}") from None
