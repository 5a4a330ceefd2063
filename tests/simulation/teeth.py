"""`make sim-teeth`: takes every guard of the ledger away in turn and plays days until one of them shows the harm.

A simulation that finds nothing wrong with a guard missing would find nothing wrong with a bug in its place. A find counts only where the
same seed keeps every promise with the guard standing; where it does not, the product has a fault, which is told and fails the run. Writes
`build/teeth.json` after every guard, so that a run that is stopped leaves what it found. To see one: `make sim SEED=n ARGS="--without guard"`.
`make sim-teeth ARGS="guard guard"` looks at these alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice
from pathlib import Path

import msgspec

from shared.ledger.desk import GUARDS
from tests.simulation import asking
from tests.simulation.run import play
from tests.simulation.schedule import draw
from tests.simulation.themes import seed_of

#: the kinds of day on which a guard has most to do ("" the ordinary one), looked at in turn; all other guards stand on ordinary days
PLACES: dict[str, tuple[str, ...]] = {
    "fence_holds": ("restored",),
    "floor_holds": ("restored",),
    "older_than_mark": ("marked",),
    "behind_is_fenced": ("rewound",),
    "chain_continues": ("rewound",),
    "both_fenced_go_far": ("both",),
    "two_machines_hold": ("witness",),
    "trusted_clock": ("clocks",),
    "skew_stops_release": ("clocks",),
    "digests_resend": ("rot",),
    "block_waits": ("hustle",),
    "release_ahead_max": ("strip",),
    "not_mine_is_no_answer": ("strip", "parts"),
    "old_box_retires": ("old_box",),
    "repair_takes_max": ("disks",),
    "newer_document": ("disks",),
    "withdraw_dead_move": ("dark",),
    "merge_keeps_cancelled": ("restored",),
    "displaced_first": ("overridden",),
    "override_yields": ("overridden",),
    "owner_only": ("dark",),
    "release_stops_at_untold": ("parts", "strip"),
    "release_needs_fresh_link": ("dark",),
    "breach_halts": ("worn",),
    "lines_only_rise": ("worn",),
    "one_hub": ("strangers",),
    "new_hub_is_vouched": ("failover",),
    "must_understand_stops": ("releases",),
    "owed_stays_owed": ("owed",),
    "outage_pin_once": ("reader",),
    "outage_pin_revoked_on_release": ("reader",),
}


class Bite(msgspec.Struct, kw_only=True):
    """What came of one guard. `found_seed` is null where no day showed the harm; `faults`: seeds that fail with the guard standing, too."""

    name: str
    found_seed: int | None = None
    harm: str = ""
    days: int = 0
    took_s: float = 0.0
    faults: list[str] = []


def seeds(guard: str, first: int) -> Iterator[int]:
    """The days to look at, without an end: of each of the guard's kinds in turn."""
    n = first
    while True:
        for theme in PLACES.get(guard, ("",)):
            yield seed_of(theme, n)
        n += 1


def bite(guard: str, first: int, days: int, within_s: float) -> Bite:
    """Days without the guard until one fails that is a good day with it."""
    began, found = time.monotonic(), Bite(name=guard)
    for seed in islice(seeds(guard, first), days):
        day = draw(seed)
        failure = play(msgspec.structs.replace(day, without=[guard])).failure
        found.days, found.took_s = found.days + 1, round(time.monotonic() - began, 1)
        if failure and (standing := play(day).failure):
            found.faults.append(f"seed {seed}: {standing[:300]}")
        elif failure:
            found.found_seed, found.harm = seed, failure[:200]
            break
        if found.took_s > within_s:
            break
    return found


def order(guards: list[str]) -> list[str]:
    """What has one kind of day first, then what has several places and may take longer."""
    return sorted(guards, key=lambda g: (len(PLACES.get(g, ("",))), g))


def write(build: Path, found: list[Bite]) -> None:
    """`found_seed` names the day wholly: `make sim SEED=` plays it."""
    rows = [{"name": b.name, "found_seed": b.found_seed, "harm": b.harm, "days": b.days} for b in sorted(found, key=lambda b: b.name)]
    build.mkdir(exist_ok=True)
    (build / "teeth.json").write_bytes(msgspec.json.format(msgspec.json.encode({"guards": rows}), indent=1) + b"\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="sim-teeth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--first", type=asking.whole("the first day"), default=1, metavar="N", help="the number of the first day of every kind; 1")
    add("--days", type=asking.whole("the number of days"), default=150, metavar="N", help="how many days are played for one guard at most; 150")
    add("--within", type=asking.seconds, default=40.0, metavar="SECONDS", help="how long one guard may take; 40 s")
    add("--processes", type=asking.whole("the number of processes"), default=2, metavar="N", help="how many guards are looked at at once; 2")
    add("--build", type=Path, default=Path("build"), metavar="FOLDER", help="the folder of teeth.json; build")
    add("guards", nargs="*", type=asking.guards, metavar="guard", help="the guards to take away, each by itself; all of them")
    asked = parser.parse_args(argv)
    guards = list(dict.fromkeys(guard for names in asked.guards for guard in names)) or list(GUARDS)
    found: list[Bite] = []
    with ProcessPoolExecutor(asked.processes) as pool:
        works = [pool.submit(bite, guard, asked.first, asked.days, asked.within) for guard in order(guards)]
        for work in as_completed(works):
            one = work.result()
            found.append(one)
            where = f"seed {one.found_seed}" if one.found_seed is not None else "not found"
            print(f"{one.name:30} {where:14} {one.days:4} days {one.took_s:6.1f} s  {one.harm[:110]}", flush=True)
            for fault in one.faults:
                print(f"  a fault of the product, with every guard standing: {fault}", flush=True)
            write(asked.build, found)
    good, faults = sum(b.found_seed is not None for b in found), [f for b in found for f in b.faults]
    print(f"{good} of {len(found)} guards are missed when they are gone")
    return 0 if good == len(found) and not faults else 1


if __name__ == "__main__":
    sys.exit(main())
