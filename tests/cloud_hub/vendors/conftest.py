"""Vendors on this machine, and the clock that channels are given."""

import socket

import pytest

from tests.cloud_hub.vendors.stub import HttpStub, SmtpStub

NOW = 1_790_000_000


@pytest.fixture
def now():
    return lambda: float(NOW)


@pytest.fixture
async def http():
    """`await http(*answers)`: a started HttpStub."""
    started = []

    async def start(*answers: object) -> HttpStub:
        stub = HttpStub(*answers)
        await stub.start()
        started.append(stub)
        return stub

    yield start
    for stub in started:
        await stub.stop()


@pytest.fixture
async def smtp():
    """`await smtp(says, tls=..., **more)`: a started SmtpStub."""
    started = []

    async def start(says: dict[str, object] | None = None, *, tls=None, **more) -> SmtpStub:
        stub = SmtpStub(says, **more)
        await stub.start(tls)
        started.append(stub)
        return stub

    yield start
    for stub in started:
        await stub.stop()


@pytest.fixture
def nobody() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
async def closing():
    """Channels given to it are closed at the end."""
    opened = []

    def keep(channel):
        opened.append(channel)
        return channel

    yield keep
    for channel in opened:
        await channel.close()
