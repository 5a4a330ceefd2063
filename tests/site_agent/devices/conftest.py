"""An emulated door controller and our side of it, on a clock that the tests move."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random

import pytest

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi.envelope import Style
from deploy.emulators.unifi_access import UnifiAccessEmulator
from shared.runtime.clock import ManualClock
from site_agent.devices.unifi.doors import UnifiDoors, UnifiSettings
from tests.site_agent.devices.unifi_words import NOON, TOKEN


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(float(NOON))


@pytest.fixture
async def controller(certificates, clock) -> AsyncIterator[Callable[..., Awaitable[UnifiAccessEmulator]]]:
    """Starts emulators: front and side doors of bedford, side without sensor, shed without hub."""
    async with AsyncExitStack() as stack:

        async def start(**more) -> UnifiAccessEmulator:
            more.setdefault("tokens", {TOKEN: AGENT_SCOPES})
            doors = [DoorSpec("front"), DoorSpec("side", sensor=False), DoorSpec("shed", bound=False)]
            emulator = UnifiAccessEmulator(doors=doors, clock=clock, rng=Random(5), folder=certificates, **more)
            await emulator.start()
            stack.push_async_callback(emulator.stop)
            return emulator

        yield start


@pytest.fixture
async def connect(clock) -> AsyncIterator[Callable[..., UnifiDoors]]:
    """Makes the adapter for an emulator; not started, so that nothing runs beside the test."""
    async with AsyncExitStack() as stack:

        def build(emulator: UnifiAccessEmulator, **more) -> UnifiDoors:
            more = {"port": emulator.port, "token": TOKEN, "fingerprint": emulator.fingerprint, "read_timeout_s": 2.0} | more
            doors = UnifiDoors(UnifiSettings(host="127.0.0.1", **more), clock)
            stack.push_async_callback(doors.stop)
            return doors

        yield build


@pytest.fixture(params=["200", "4xx"])
def style(request) -> Style:
    """Business errors as HTTP 200 with a code, and as 4xx."""
    return Style(business_errors=request.param)
