"""`make sim-teeth`: takes every guard of the ledger away in turn and plays days until one of them shows the harm.

A simulation that finds nothing wrong with a guard missing would find nothing wrong with a bug in its place. Writes `build/teeth.json`.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from shared.ledger.desk import GUARDS
from tests.simulation.run import play
from tests.simulation.schedule import draw

#: the issue asks for as many
FOUND_MIN = 25


class Bite(msgspec.Struct, kw_only=True):
    """What came of one guard. `found_seed` is null where no day showed the harm."""

    name: str
    found_seed: int | None = None
    harm: str = ""
    days: int = 0
    took_s: float = 0.0


def needs_disks(guard: str) -> bool:
    """The guards of loss stand by until a disk is lost or put back."""
    return GUARDS[guard][0].startswith("loss") or guard in ("chain_continues", "merge_keeps_cancelled")


def bite(guard: str, first: int, days: int, within_s: float) -> Bite:
    """Days without the guard until one fails."""
    began, disks = time.monotonic(), needs_disks(guard)
    for n in range(days):
        seed = first + n
        failure = play(msgspec.structs.replace(draw(seed, disks=disks), without=[guard])).failure
        took = time.monotonic() - began
        if failure:
            return Bite(name=guard, found_seed=seed, harm=failure[:200], days=n + 1, took_s=round(took, 1))
        if took > within_s:
            break
    return Bite(name=guard, days=n + 1, took_s=round(time.monotonic() - began, 1))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sim-teeth", description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--within", type=float, default=50.0, help="seconds for one guard")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("guards", nargs="*")
    asked = parser.parse_args(argv)
    guards = asked.guards or list(GUARDS)
    with ProcessPoolExecutor(asked.processes) as pool:
        works = [pool.submit(bite, guard, asked.first, asked.days, asked.within) for guard in guards]
        found = []
        for work in works:
            one = work.result()
            found.append(one)
            where = f"seed {one.found_seed}" if one.found_seed is not None else "not found"
            print(f"{one.name:28} {where:12} {one.days:4} days {one.took_s:6.1f} s  {one.harm[:100]}", flush=True)
    build = Path("build")
    build.mkdir(exist_ok=True)
    body = {"guards": [{"name": b.name, "found_seed": b.found_seed, "harm": b.harm, "days": b.days, "disks": needs_disks(b.name)} for b in found]}
    (build / "teeth.json").write_bytes(msgspec.json.format(msgspec.json.encode(body), indent=1) + b"\n")
    good = sum(b.found_seed is not None for b in found)
    print(f"{good} of {len(found)} guards are missed when they are gone")
    return 0 if good >= min(FOUND_MIN, len(found)) else 1


if __name__ == "__main__":
    sys.exit(main())
