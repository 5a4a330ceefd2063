"""The plug of the link: pulled like a cable, over the memory broker and over a real one."""

import asyncio
import time
from random import Random

import pytest

from shared.runtime.mqtt import MqttTransport, Patience
from shared.runtime.transport import MemoryNetwork, Will
from site_agent.services.plug import Plug
from tests.brokers import PASSWORDS, mosquitto

__all__ = ["mosquitto"]

STATE, UP, DOWN = "clubos/v1/bedford/state/site", "clubos/v1/bedford/up", "clubos/v1/bedford/down"
CUT = ["came", "went", "came"]
HASTY = Patience(connect_s=0.6, answer_s=0.6, again_min_s=0.02, again_max_s=0.1, settled_s=5)


async def until(condition, within_s=8.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen in time"
        await asyncio.sleep(0.005)


async def pulled_and_put_back(site: Plug, hub) -> tuple[list[str], list[bytes]]:
    """What the link's own hooks told, and what each side heard of the other, in turn."""
    heard, told, hooks = [], [], []
    hub.subscribe(STATE, lambda topic, payload, retained: told.append(payload))
    hub.subscribe(UP, lambda topic, payload, retained: told.append(payload))
    site.subscribe(DOWN, lambda topic, payload, retained: heard.append(payload))
    site.on_connect.append(lambda: hooks.append("came"))
    site.on_disconnect.append(lambda: hooks.append("went"))
    await hub.start()
    await until(lambda: hub.connected)
    await site.start()
    await until(lambda: site.connected)
    site.publish(UP, b"before")
    await until(lambda: b"before" in told)
    await site.pull()
    await site.pull()
    await until(lambda: b"gone" in told)
    assert not site.connected and site.out
    site.publish(UP, b"meanwhile")
    hub.publish(DOWN, b"meanwhile")
    await site.put_back()
    await site.put_back()
    await until(lambda: site.connected)
    await until(lambda: hub.publish(DOWN, b"after") or b"after" in heard)
    site.publish(UP, b"after")
    await until(lambda: b"after" in told)
    seen = list(hooks), told + heard
    await site.stop()
    await hub.stop()
    return seen


async def test_a_pulled_plug_is_like_a_cut_cable_over_the_memory_broker():
    network = MemoryNetwork(Random(1), asyncio.get_running_loop().call_later)
    hooks, heard = await pulled_and_put_back(Plug(network.attach("site", Will(STATE, b"gone"))), network.attach("hub"))
    assert hooks == CUT and b"meanwhile" not in heard


@pytest.mark.needs_mosquitto
async def test_a_pulled_plug_is_like_a_cut_cable_over_a_real_broker(mosquitto):
    def link(user, will=None):
        return MqttTransport("127.0.0.1", mosquitto.port, f"{user}-1", username=user, password=PASSWORDS[user], will=will, patience=HASTY)

    hooks, heard = await pulled_and_put_back(Plug(link("bedford", Will(STATE, b"gone"))), link("hub"))
    assert hooks == CUT and b"meanwhile" not in heard


async def test_an_agent_that_stops_while_unplugged_stays_away():
    network = MemoryNetwork(Random(1), asyncio.get_running_loop().call_later)
    site = Plug(network.attach("site"))
    await site.start()
    await until(lambda: site.connected)
    await site.pull()
    await site.stop()
    await site.put_back()
    await asyncio.sleep(0)
    assert not site.connected
