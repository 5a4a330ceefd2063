"""Brokers for tests: a started Mosquitto or embedded broker that knows the hub and two sites.

Import the fixture into the test module that wants it: `from tests.brokers import mosquitto`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.broker import BrokerUser, EmbeddedBroker, Mosquitto

PASSWORDS = {"hub": "hub-secret-1", "bedford": "bedford-secret-2", "dartmouth": "dartmouth-secret-3"}
USERS = (
    BrokerUser("hub", PASSWORDS["hub"]),
    BrokerUser("bedford", PASSWORDS["bedford"], "bedford"),
    BrokerUser("dartmouth", PASSWORDS["dartmouth"], "dartmouth"),
)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A started Mosquitto with the users hub, bedford and dartmouth. Tests that use it carry the marker `needs_mosquitto`."""
    broker = Mosquitto(tmp_path / "broker", USERS)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def embedded_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """The same on amqtt."""
    broker = EmbeddedBroker(tmp_path / "broker", USERS)
    broker.start()
    yield broker
    broker.stop()
