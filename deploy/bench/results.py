"""What a run of the bench says: entries, the arithmetic behind them, the table at the terminal and the one in the README.

For: pure values. Not for: measuring. Invariant: an entry is `ok` only if its bar was reached and nothing was doubtful on the way; a value
that could not be measured is None and never ok.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


class BenchError(Exception):
    """Something could not be measured; the message is a sentence."""


class Entry(msgspec.Struct, frozen=True):
    """One line of `build/bench.json`. `what` says what was measured, with the figures behind the value, and what was doubtful."""

    id: str
    what: str
    value: float | None
    bar: float
    unit: str
    ok: bool


class Factor(msgspec.Struct, frozen=True):
    """How much slower than the machine of the bars this one is just now, by one floor in ms; a faster one is held to the same bars."""

    floor: str
    now_ms: float
    then_ms: float

    @property
    def times(self) -> float:
        return max(1.0, self.now_ms / self.then_ms)

    def __str__(self) -> str:
        return f"machine factor {self.times:.2f} by {self.floor}: {self.now_ms:.3f} ms now, {self.then_ms:g} ms where the bar was set"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when a run was made: no names, no paths."""

    date: str
    commit: str
    cores: int
    flush_ms: float
    echo_ms: float

    def __str__(self) -> str:
        return (
            f"{self.date}, commit {self.commit or 'unknown'}; {self.cores} cores, flush (4 KiB append) {self.flush_ms:.2f} ms,"
            f" loopback echo {self.echo_ms:.3f} ms"
        )


# ---- arithmetic
def at_least(entry_id: str, what: str, value: float, bar: float, unit: str, doubts: Iterable[str] = ()) -> Entry:
    """An entry whose value must reach the bar."""
    return _entry(entry_id, what, value, bar, unit, value >= bar, list(doubts))


def at_most(entry_id: str, what: str, value: float, bar: float, unit: str, doubts: Iterable[str] = ()) -> Entry:
    """An entry whose value must not pass the bar."""
    return _entry(entry_id, what, value, bar, unit, value <= bar, list(doubts))


def unmeasured(entry_id: str, why: str, bar: float, unit: str) -> Entry:
    return Entry(entry_id, f"not measured: {why}", None, bar, unit, False)


def _entry(entry_id: str, what: str, value: float, bar: float, unit: str, reached: bool, doubts: list[str]) -> Entry:
    told = "".join(f"; DOUBTFUL: {doubt}" for doubt in doubts)
    return Entry(entry_id, what + told, _rounded(value), _rounded(bar), unit, reached and not doubts)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}") if abs(value) < 100 else round(value, 1)


def ratio(rounds: Sequence[tuple[float, float]]) -> float:
    """Median of `ours / naive` over interleaved rounds of `(naive, ours)`: neighbours on the machine disturb both of a round alike."""
    if any(naive <= 0 for naive, _ in rounds):
        raise BenchError("The naive way measured nothing, so there is no ratio to it.")
    return statistics.median(ours / naive for naive, ours in rounds)


def percentile(values: Sequence[float], per_cent: float) -> float:
    """The nearest-rank percentile: a value that was seen."""
    if not values:
        raise BenchError("Nothing was measured.")
    ordered = sorted(values)
    rank = -(-len(ordered) * per_cent // 100)
    return ordered[max(0, int(rank) - 1)]


def ceiling_doubt(ceiling_per_s: float, measured_per_s: float) -> list[str]:
    """The load must be able to do twice what is measured, or it is the load that was measured."""
    if ceiling_per_s >= 2 * measured_per_s:
        return []
    return [f"the load itself reaches {ceiling_per_s:.0f} /s only, less than twice the {measured_per_s:.0f} /s measured"]


# ---- tables
def text_table(entries: Sequence[Entry]) -> str:
    """For the terminal: one line per entry, what was measured below it."""
    lines = []
    width = max((len(one.id) for one in entries), default=0)
    for one in entries:
        value = "-" if one.value is None else f"{one.value:g}"
        lines.append(f"{'ok    ' if one.ok else 'MISSED'}  {one.id:<{width}}  {value} {one.unit} (bar {one.bar:g})".rstrip())
        lines.append(f"        {'':<{width}}  {one.what}")
    return "\n".join(lines)


def markdown(entries: Sequence[Entry], about: About) -> str:
    """The block of the README."""
    rows = [f"Measured by `make bench` on {about}.", "", "| id | what | value | bar | |", "|---|---|---|---|---|"]
    for one in entries:
        value = "-" if one.value is None else f"{one.value:g} {one.unit}".rstrip()
        what = one.what.replace("|", "\\|")
        rows.append(f"| `{one.id}` | {what} | {value} | {one.bar:g} {one.unit}".rstrip() + f" | {'ok' if one.ok else 'missed'} |")
    return "\n".join(rows)


def with_table(readme: str, table: str) -> str:
    """The README with its block replaced. Raises BenchError where the two markers are not there, in this order, once."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise BenchError(f"The README has no place for the table: one line {BEGIN} and below it one line {END}.")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
