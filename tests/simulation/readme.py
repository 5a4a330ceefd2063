"""The table in the README that a run of the simulation writes, between two marks. Not here: the run."""

from __future__ import annotations

from pathlib import Path

BEGIN, END = "<!-- sim -->", "<!-- /sim -->"
README = Path(__file__).parents[2] / "README.md"
DAYS_A_YEAR = 365


def table(summary: dict) -> str:
    """The section's lines, from what `build/sim.json` says."""
    first, last = summary["seeds"]
    rows = (
        ("site-days", f"{summary['site_days']:,} ({summary['site_days'] / DAYS_A_YEAR:.1f} site-years)"),
        ("seeds", f"{first} to {last}, commit {summary['commit'] or 'unknown'}"),
        ("sales, changes, check-ins", f"{summary['sales']:,}, {summary['changes']:,}, {summary['check_ins']:,}"),
        ("cuts, crashes, restores", f"{summary['cuts']:,}, {summary['crashes']:,}, {summary['restores']:,}"),
        ("slots sold twice", f"{summary['double_sales']}"),
        ("bookings lost", f"{summary['lost']}"),
        ("sales that were on one disk only when it was lost", f"{summary['lost_with_disk']}"),
    )
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def written(text: str, summary: dict) -> str:
    """The README's text with the table in its place; unchanged where the marks are missing."""
    if BEGIN not in text or END not in text:
        return text
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{table(summary)}\n{END}{rest.split(END, 1)[1]}"


def write(summary: dict) -> None:
    README.write_text(written(README.read_text("utf-8"), summary), "utf-8")
