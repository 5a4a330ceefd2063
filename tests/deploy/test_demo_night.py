"""In the nights when clocks change a guest is told the facility's own clock, end to end: the whole demo, on such a day."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from deploy.demo_check import times
from deploy.demo_check.walk import FAR_DAYS
from tests.deploy.running_demo import check, days_later, start

pytestmark = [pytest.mark.slow, pytest.mark.needs_mosquitto, pytest.mark.needs_faketime, pytest.mark.timeout(180)]
ZONE = "America/Halifax"


def changes_of_the_year() -> tuple[date, date]:
    """The next day on which clocks are put on, and the next on which they are put back; both far enough ahead for the hub to sell them."""
    first = times.changing_day(ZONE, datetime.now(UTC).date() + timedelta(days=FAR_DAYS + 2), 370)
    assert first is not None
    second = times.changing_day(ZONE, first + timedelta(days=1), 370)
    assert second is not None
    return (first, second) if first.month < 7 else (second, first)


@pytest.mark.parametrize("which", [0, 1], ids=["clocks_are_put_on", "clocks_are_put_back"])
async def test_a_booking_in_a_night_when_clocks_change_is_told_by_the_clock_on_the_wall(tmp_path: Path, which: int) -> None:
    day = changes_of_the_year()[which]
    env = days_later((day - datetime.now(UTC).date()).days - FAR_DAYS - 2)
    demo = await start(tmp_path / "demo", env=env)
    try:
        await demo.served()
        code, said = await check(demo, env)
    finally:
        if demo.process.returncode is None:
            demo.process.terminate()
            await demo.ended()
    assert code == 0, said
    (line,) = [one for one in said.splitlines() if "a guest is told" in one]
    assert f"{day.day} {day:%b %Y}" in line, line
