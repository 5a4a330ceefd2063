"""`make sim`: plays site-days under faults, by seed, and writes `build/sim.json`.

    make sim                                  2,000 days of the seeds 1 to 2,000; also writes the table in the README
    make sim DAYS=n                           n days
    make sim SEED=n                           one day, step by step; ARGS="--statements" shows every statement of replicas, too
    make sim SEED=n ARGS="--shrink"           makes a day that fails short, and keeps it as build/sim-n.json
    make sim SEED=n ARGS="--without guard"    the day as it is when a guard of the ledger is gone
    make sim ARGS="--without guard"           days of the guard's kinds without it: one must fail, and the first that does is made short
    make sim ARGS="--schedule file.json"      a day that was kept, step by step

The exit code is 0 where every promise was kept, 1 where one was broken, 2 where what was asked for makes no sense. When days are played without
a guard it is the other way round: 0 where one of them fails that keeps every promise with the guard, 1 where none does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec

from tests.simulation import asking, readme
from tests.simulation.run import Result, alone, of_seed, play
from tests.simulation.schedule import Schedule, draw
from tests.simulation.shrink import shrink
from tests.simulation.teeth import seeds

BUILD = Path("build")
DAYS = 2000
#: days without a guard, where nobody says how many: most guards are missed on one of the first ten
DAYS_WITHOUT = 40
#: how many failures are shrunk and told; one is enough to know
TOLD_MAX = 3


def main(argv: list[str] | None = None) -> int:
    asked = _asked(argv)
    if asked.schedule or asked.seed is not None:
        day = asked.schedule or draw(asked.seed)
        day = msgspec.structs.replace(day, without=list(dict.fromkeys([*day.without, *asked.without])))
        return make_short(day) if asked.shrink else step_by_step(day, asked.statements)
    if asked.without:
        return without(asked.without, asked.first, asked.days or DAYS_WITHOUT, asked.processes)
    return many(asked.first, asked.days or DAYS, asked.processes)


def _asked(argv: list[str] | None) -> argparse.Namespace:
    parser = _parser()
    asked = parser.parse_args(argv)
    one = asked.schedule or asked.seed is not None
    if asked.schedule and asked.seed is not None:
        parser.error("a day is named by its seed or kept in a file, not both")
    if one and (asked.days or asked.first):
        parser.error("SEED= and --schedule play one day, DAYS= and --first play many; please ask for one or the other")
    if not one and (asked.shrink or asked.statements):
        parser.error(f"{'--shrink' if asked.shrink else '--statements'} is about one day; please name it with SEED= or --schedule")
    if asked.shrink and asked.statements:
        parser.error("--shrink plays a day many times; --statements shows one that is played once")
    asked.first = asked.first or 1
    return asked


def _parser() -> argparse.ArgumentParser:
    about, _, ways = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="sim", description=about, epilog=ways, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--days", type=asking.whole("the number of days (DAYS=)"), metavar="N",
        help=f"how many days are played (make: DAYS=); {DAYS}, or {DAYS_WITHOUT} with --without")  # fmt: skip
    add("--first", type=asking.whole("the first seed"), metavar="SEED", help="the seed of the first of them; 1")
    add("--seed", type=asking.whole("a seed (SEED=)"), metavar="SEED", help="plays this one day, step by step (make: SEED=)")
    add("--schedule", type=asking.schedule, metavar="FILE", help="plays the day in this file, step by step; shrinking a day leaves such files")
    add("--without", type=asking.guards, default=[], metavar="GUARD", help="takes a guard of the ledger away, or several with commas between")
    add("--shrink", action="store_true", help="with --seed or --schedule: makes a day that fails short, instead of telling its steps")
    add("--statements", action="store_true", help="with --seed or --schedule: tells every statement of replicas, too")
    add("--processes", type=asking.whole("the number of processes"), default=2, metavar="N", help="how many days are played at once; 2")
    return parser


# ---- one day
def step_by_step(schedule: Schedule, statements: bool = False) -> int:
    """One day, every step on a line of its own; `statements`: where the hub has replicas, every statement of theirs, too."""
    result = play(schedule, tell=lambda line: print(with_unit(line)), statements=statements)
    print(f"seed {result.seed}: {result.failure or 'all promises kept'} (trace {result.trace}, {result.took_s:.2f} s)")
    print(", ".join(f"{name} {n}" for name, n in sorted(result.counts.items())))
    if result.failure and is_whole(schedule):
        print(f"  the shortest day that shows it: {command(schedule, '--shrink')}")
    return 1 if result.failure else 0


def with_unit(line: str) -> str:
    """A line of a world, which begins with the scheduler's time, with the unit after it."""
    at, _, text = line.lstrip().partition(" ")
    return f"{at:>9} s {text}"


def is_whole(schedule: Schedule) -> bool:
    """Whether it is the day of its seed, and not one that was made short."""
    return schedule.actions == draw(schedule.seed).actions


def command(schedule: Schedule, *more: str) -> str:
    """How to play the day of a seed as it is here."""
    args = " ".join([*(["--without", ",".join(schedule.without)] if schedule.without else []), *more])
    return f"make sim SEED={schedule.seed}" + (f' ARGS="{args}"' if args else "")


def make_short(schedule: Schedule) -> int:
    """Plays a day, and where it fails looks for the shortest that fails so, too."""
    result = play(schedule)
    if not result.failure:
        print(f"seed {schedule.seed}: all promises kept, so there is nothing to make short")
        return 0
    _tell(schedule, result.failure)
    return 1


def _tell(schedule: Schedule, failure: str) -> None:
    """What failed, how to see it, and the shortest day that shows it."""
    print(f"\nseed {schedule.seed}: {failure}", flush=True)
    if is_whole(schedule):
        print(f"  step by step: {command(schedule)}", flush=True)
    short, sentence = shrink(schedule, failure)
    BUILD.mkdir(exist_ok=True)
    path = BUILD / f"sim-{schedule.seed}.json"
    path.write_bytes(short.to_json())
    print(f'  shrunk to {len(short.actions)} actions: make sim ARGS="--schedule {path}"\n  which ends: {sentence}')


# ---- many days
def many(first: int, days: int, processes: int) -> int:
    """Days of the seeds from `first` on; a line now and then, the summary at the end."""
    began = time.monotonic()
    total, failed = _played(range(first, first + days), (), processes)
    took = time.monotonic() - began
    summary = _summary(total, first, days, failed, took)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "sim.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n")
    _say(summary, took)
    for result in failed[:TOLD_MAX]:
        _tell(draw(result.seed), result.failure)
    if days >= DAYS and not failed:
        readme.write(summary)
    return 1 if failed or summary["double_sales"] or summary["lost"] else 0


def without(guards: list[str], first: int, days: int, processes: int) -> int:
    """Days with these guards gone, of the kinds on which the first of them has most to do. Writes no summary: they are no proof of anything
    but that the simulation sees the harm."""
    _, failed = _played(islice(seeds(guards[0], first), days), tuple(guards), processes)
    names = " and ".join(guards)
    print(f"without {names}: {len(failed)} of {days} site-days fail")
    good = next((r for r in failed if not play(draw(r.seed)).failure), None)
    if good is not None:
        _tell(msgspec.structs.replace(draw(good.seed), without=guards), good.failure)
        return 0
    if failed:
        print(f"and each of them fails with every guard standing, too, which is a fault of the product: make sim SEED={failed[0].seed}")
    else:
        print(f"so nobody misses {names} on these days; more of them may: make sim DAYS={4 * days} ARGS=\"--without {','.join(guards)}\"")
    return 1


def _played(seeds: Iterable[int], guards: tuple[str, ...], processes: int) -> tuple[Counter, list[Result]]:
    """What came of the days of these seeds together, and those that failed."""
    began, total, failed, seeds = time.monotonic(), Counter(), [], list(seeds)
    with ProcessPoolExecutor(processes, initializer=alone) as pool:
        for n, result in enumerate(pool.map(partial(_of_seed, guards), seeds, chunksize=4 if len(seeds) > 4 * processes else 1), 1):
            _add(total, result)
            if result.failure:
                failed.append(result)
                print(f"seed {result.seed}: {result.failure[:300]}", flush=True)
            if n % 250 == 0:
                took = time.monotonic() - began
                print(f"{n} of {len(seeds)} site-days, {n / took:.1f} a second, {total['sales']} sales, {len(failed)} failed", flush=True)
    return total, failed


def _of_seed(guards: tuple[str, ...], seed: int) -> Result:
    return play(msgspec.structs.replace(draw(seed), without=list(guards))) if guards else of_seed(seed)


def _add(total: Counter, result: Result) -> None:
    total.update(result.counts)
    total["double_sales"] += result.double_sales
    total["lost"] += result.lost


def _summary(total: Counter, first: int, days: int, failed: list[Result], took: float) -> dict:
    names = ("sales", "changes", "check_ins", "cuts", "crashes", "restores", "double_sales", "lost", "lost_with_disk")
    return {
        "site_days": days,
        **{name: total[name] for name in names},
        "failed": [r.seed for r in failed],
        "seeds": [first, first + days - 1],
        "commit": commit(),
        "took_s": round(took, 1),
    }


def _say(summary: dict, took: float) -> None:
    print(
        f"{summary['site_days']} site-days in {took:.0f} s ({summary['site_days'] / took:.1f} a second): {summary['sales']} sales,"
        f" {summary['changes']} changes, {summary['check_ins']} check-ins, {summary['cuts']} cuts, {summary['crashes']} crashes,"
        f" {summary['restores']} restores; double sales {summary['double_sales']}, lost {summary['lost']},"
        f" lost with a disk {summary['lost_with_disk']}"
    )


def commit() -> str:
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
