"""`make sim`: plays days and writes `build/sim.json`; `make sim SEED=n` plays one step by step; `make sim DAYS=n` as many as wanted.

    python -m tests.simulation [--days 2000] [--first 1] [--seed n [--without guard] [--statements]] [--schedule file.json] [--processes 2]

Exit code 1 where a promise was broken: the seed, the sentence and the path of the shrunk schedule are printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from tests.simulation import readme
from tests.simulation.run import Result, alone, of_seed, play
from tests.simulation.schedule import Schedule, draw, from_json
from tests.simulation.shrink import shrink

BUILD = Path("build")
DAYS = 2000
#: how many failures are shrunk and told; one is enough to know
TOLD_MAX = 3


def main(argv: list[str] | None = None) -> int:
    asked = _parser().parse_args(argv)
    if asked.schedule:
        return step_by_step(from_json(Path(asked.schedule).read_text()), asked.statements)
    if asked.seed is not None:
        return step_by_step(msgspec.structs.replace(draw(asked.seed), without=asked.without.split(",") if asked.without else []), asked.statements)
    return many(asked.first, asked.days, asked.processes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sim", description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--without", default="", help="with --seed: the guard (or guards, by commas) that is taken away")
    parser.add_argument("--schedule")
    parser.add_argument("--statements", action="store_true", help="with --seed or --schedule: every statement of replicas, as they come")
    parser.add_argument("--processes", type=int, default=2)
    return parser


def step_by_step(schedule: Schedule, statements: bool = False) -> int:
    """One day, every step on a line of its own; `statements`: where the hub has replicas, every statement of theirs, too."""
    result = play(schedule, tell=print, statements=statements)
    print(f"seed {result.seed}: {result.failure or 'all promises kept'} (trace {result.trace}, {result.took_s:.2f} s)")
    print(", ".join(f"{name} {n}" for name, n in sorted(result.counts.items())))
    return 1 if result.failure else 0


def many(first: int, days: int, processes: int) -> int:
    """Days of the seeds from `first` on; a line now and then, the summary at the end."""
    began, total, failed = time.monotonic(), Counter(), []
    with ProcessPoolExecutor(processes, initializer=alone) as pool:
        for n, result in enumerate(pool.map(of_seed, range(first, first + days), chunksize=4), 1):
            _add(total, result)
            if result.failure:
                failed.append(result)
                print(f"seed {result.seed}: {result.failure[:300]}", flush=True)
            if n % 250 == 0:
                took = time.monotonic() - began
                print(f"{n} of {days} site-days, {n / took:.1f} a second, {total['sales']} sales, {len(failed)} failed", flush=True)
    took = time.monotonic() - began
    summary = _summary(total, first, days, failed, took)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "sim.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n")
    _say(summary, took)
    for result in failed[:TOLD_MAX]:
        _tell(result)
    if days >= DAYS and not failed:
        readme.write(summary)
    return 1 if failed or summary["double_sales"] or summary["lost"] else 0


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


def _tell(result: Result) -> None:
    """What failed, how to see it, and the shortest day that shows it."""
    print(f"\nseed {result.seed}: {result.failure}\n  step by step: make sim SEED={result.seed}")
    short, sentence = shrink(draw(result.seed), result.failure)
    path = BUILD / f"sim-{result.seed}.json"
    path.write_bytes(short.to_json())
    print(f"  shrunk to {len(short.actions)} actions: python -m tests.simulation --schedule {path}\n  which ends: {sentence}")


def commit() -> str:
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
