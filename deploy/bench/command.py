"""`clubos bench [ID …]`: measures, prints a table, writes `build/bench.json` and, after a whole run, the table in the README.

Invariant: what was measured is written even where a bar was missed, a measure failed or a program is not here; the exit code tells.
Everything that was started is ended, also on Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop

from deploy.bench import (
    agents,
    catching,
    children,
    days,
    doors,
    drills,
    floors,
    held,
    load,
    recoveries,
    results,
    sales,
    scanning,
    simulated,
    telling,
    visits,
)
from deploy.bench.bench import Bench
from deploy.bench.results import About, BenchError, Entry
from deploy.broker import Mosquitto

OUT, README = Path("build/bench.json"), Path("README.md")


@dataclass(frozen=True)
class Measure:
    """One measure: its entries as (id, bar, unit), in the order of the table; what it needs on the machine; the function."""

    entries: tuple[tuple[str, float, str], ...]
    needs: tuple[str, ...]
    run: Callable[[Bench], object]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(entry[0] for entry in self.entries)


MEASURES = (
    Measure((("hub_sales", sales.FAST_BAR, "×"),), ("wrk",), sales.fast),
    Measure((("hub_sales_slow_disk", sales.SLOW_BAR, "×"),), ("wrk",), sales.slow),
    Measure((("availability", days.BAR, "×"),), ("wrk",), days.shown),
    Measure((("availability_304", days.UNCHANGED_BAR, ""),), (), days.unchanged),
    Measure((("site_roundtrip", visits.ROUNDTRIP_BAR, "×"),), ("mosquitto",), visits.roundtrip),
    Measure((("checkin_unlock", visits.UNLOCK_BAR_MS, "ms"),), ("mosquitto",), visits.unlock),
    Measure((("door_event", doors.EVENT_BAR_MS, "ms"),), ("mosquitto",), doors.events),
    Measure((("cancel_revoke", held.REVOKE_BAR_MS, "ms"),), ("mosquitto",), held.revoked),
    Measure((("door_reconcile", held.READ_BAR_S, "s"), ("door_repair", held.REPAIR_BAR_S, "s")), (), held.reconciled),
    Measure((("qr_decode", scanning.DECODE_BAR_MS, "ms"),), (), scanning.decode),
    Measure((("agent_memory", agents.MEMORY_BAR_MB, "MB"), ("agent_start", agents.START_BAR_S, "s")), ("mosquitto",), agents.agents),
    Measure((("catch_up", catching.RATE_BAR_PER_S, "/s"), ("catch_up_sales", catching.SALES_BAR, "×")), ("mosquitto",), catching.catch_up),
    Measure((("adopt", recoveries.ADOPT_BAR_S, "s"),), ("mosquitto",), recoveries.adopt),
    Measure((("rebuild", recoveries.REBUILD_BAR_S, "s"),), ("mosquitto",), recoveries.rebuild),
    Measure((("sim_speed", simulated.BAR_PER_S, "/s"),), (), simulated.speed),
    Measure((("drill", drills.SECONDS_BAR, "s"), ("drill_sales", drills.SALES_BAR, "×")), (), drills.drills),
    Measure((("confirm_wire", telling.CONFIRM_BAR_S, "s"),), ("mosquitto",), telling.confirmed),
    Measure((("reminder_burst", telling.BURST_BAR_S, "s"),), (), telling.reminded),
    Measure((("displace", telling.DISPLACE_BAR_S, "s"),), ("mosquitto",), telling.displaced),
)
IDS = tuple(entry_id for measure in MEASURES for entry_id in measure.ids)
HERE = {"wrk": load.available, "mosquitto": lambda: Mosquitto.program() is not None}


def main(argv: list[str] | None = None) -> int:
    """0 when every bar asked for was reached, 1 when not, 2 for an unknown id."""
    wanted = parser().parse_args(argv).ids or list(IDS)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return run(wanted)
    except KeyboardInterrupt:
        print("\nThe bench was stopped; nothing was written.", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="clubos bench", description="Measures this machine's ratios against the bars (about three minutes).")
    made.add_argument("ids", nargs="*", metavar="ID", type=_known, help=f"only these: {', '.join(IDS)}")
    return made


def _known(word: str) -> str:
    if word not in IDS:
        raise argparse.ArgumentTypeError(f"there is no {word!r}; there are {', '.join(IDS)}")
    return word


def run(wanted: Sequence[str], measures: Sequence[Measure] = MEASURES) -> int:
    """Measures what is wanted, in the current folder: `build/bench.json` always, the README's table after a run of everything."""
    began = time.monotonic()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    # In the project's own folder: /tmp may be memory, and then no flush would cost anything.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=OUT.parent) as folder:
        bench = Bench(Path(folder).absolute(), lambda line: print(f"  {line}", flush=True))
        about = _about(bench)
        print(f"{about}", flush=True)
        entries = [entry for measure in measures if set(measure.ids) & set(wanted) for entry in _entries(measure, bench) if entry.id in wanted]
    print(f"\n{results.text_table(entries)}\n")
    OUT.write_bytes(msgspec.json.format(msgspec.json.encode(entries), indent=2) + b"\n")
    print(f"Written to {OUT} after {time.monotonic() - began:.0f} s.{_into_readme(entries, about, wanted)}", flush=True)
    return 0 if all(entry.ok for entry in entries) else 1


def _entries(measure: Measure, bench: Bench) -> list[Entry]:
    """The measure's entries; where it could not be made, why."""
    print(f"\n{', '.join(measure.ids)}", flush=True)
    missing = [program for program in measure.needs if not HERE[program]()]
    try:
        if missing:
            raise BenchError(f"{' and '.join(missing)} is not on this machine (apt-get install {' '.join(missing)}).")
        made = measure.run(bench)
        if inspect.iscoroutine(made):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                made = runner.run(made)
        return list(made)
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        bench.say(f"could not be measured: {error}")
        return [results.unmeasured(entry_id, _one_line(error), bar, unit) for entry_id, bar, unit in measure.entries]


def _one_line(error: Exception) -> str:
    """Its first line: what a process said below it stands at the terminal, and may name this machine's folders."""
    return str(error).splitlines()[0] if isinstance(error, BenchError) and str(error) else type(error).__name__


def _about(bench: Bench) -> About:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        echo = runner.run(bench.echo())
    return About(
        date=datetime.now(UTC).date().isoformat(), commit=commit(), cores=children.cores(), flush_ms=floors.flush_ms(bench.folder),
        echo_ms=echo.now_ms,
    )  # fmt: skip


def commit() -> str:
    """The short id of the commit of this folder; empty where there is none."""
    try:
        return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _into_readme(entries: Sequence[Entry], about: About, wanted: Sequence[str]) -> str:
    """Puts the table into the README of a run of everything; what to say of it."""
    if set(wanted) != set(IDS) or not README.exists():
        return ""
    try:
        README.write_text(results.with_table(README.read_text("utf-8"), results.markdown(entries, about)), "utf-8")
    except BenchError as error:
        return f" {error}"
    return f" The table in {README} is new."


def _stop(*_: object) -> None:
    raise KeyboardInterrupt
