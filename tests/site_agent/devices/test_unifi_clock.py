"""The time that the door controller's answers bear: carried on by our uptime, and forgotten when it is old."""

from email.utils import formatdate

import httpx
import pytest
import respx

from shared.runtime.clock import ManualClock
from site_agent.devices.unifi.doors import DATE_KEPT_S, UnifiDoors, UnifiSettings
from tests.site_agent.devices.unifi_words import NOON

DOORS = "https://127.0.0.1:12445/api/v1/developer/doors"
DATE = formatdate(NOON, usegmt=True)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(float(NOON))


@pytest.fixture
async def doors(clock):
    doors = UnifiDoors(UnifiSettings(host="127.0.0.1", token="telltale", fingerprint="ab" * 32), clock)
    yield doors
    await doors.stop()


async def answered(doors: UnifiDoors, **headers: str) -> None:
    respx.get(DOORS).respond(json={"code": "SUCCESS", "data": []}, headers=headers)
    await doors.doors()


@pytest.mark.rule("clock-2")
@respx.mock
async def test_an_answer_tells_how_far_the_controllers_clock_is_from_ours(doors, clock):
    assert doors.clock_skew_s() is None
    clock._now -= 90
    await answered(doors, date=DATE)
    assert doors.clock_skew_s() == pytest.approx(90, abs=1)


@respx.mock
async def test_a_clock_set_since_is_held_against_the_answer_before(doors, clock):
    await answered(doors, date=DATE)
    clock.forward(60)
    assert doors.clock_skew_s() == pytest.approx(0, abs=1)
    clock._now += 7200
    assert doors.clock_skew_s() == pytest.approx(-7200, abs=1)


@respx.mock
async def test_an_old_answer_says_nothing_any_more(doors, clock):
    await answered(doors, date=DATE)
    clock.forward(DATE_KEPT_S + 1)
    assert doors.clock_skew_s() is None


@pytest.mark.parametrize("date", ["", "yesterday", "Sat, 99 Nov 2026 99:00:00 GMT"])
@respx.mock
async def test_an_answer_without_a_readable_time_is_an_answer_all_the_same(doors, date):
    await answered(doors, date=date)
    assert doors.clock_skew_s() is None


@respx.mock
async def test_a_controller_that_does_not_answer_tells_no_time(doors):
    respx.get(DOORS).mock(side_effect=httpx.ConnectError("gone"))
    with pytest.raises(Exception, match="cannot be reached|does not answer"):
        await doors.doors()
    assert doors.clock_skew_s() is None
