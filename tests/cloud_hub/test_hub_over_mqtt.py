"""The hub as it runs in earnest: books on a disk with their writer thread, the link through Mosquitto."""

import asyncio

import pytest

from cloud_hub.config import Mqtt
from shared.messages import Topics
from shared.runtime.database import Database
from shared.runtime.mqtt import MqttTransport
from shared.runtime.transport import Will
from tests.brokers import PASSWORDS, mosquitto  # noqa: F401
from tests.cloud_hub.hub_world import LINE_AFTER, SITE, opened

pytestmark = pytest.mark.needs_mosquitto
FAR = LINE_AFTER + 8
NEAR = 8


@pytest.fixture
async def w(tmp_path, mosquitto):  # noqa: F811
    site = MqttTransport(
        mosquitto.host, mosquitto.port, "bedford-box", username="bedford", password=PASSWORDS["bedford"],
        will=Will(Topics(SITE).state_site, b'{"up":false}'),
    )  # fmt: skip
    mqtt = Mqtt(host=mosquitto.host, port=mosquitto.port, username="hub")
    async with opened(tmp_path, mqtt=mqtt, site_transport=site, db=Database(tmp_path / "hub.db"), password=PASSWORDS["hub"]) as world:
        yield world


async def test_a_booking_in_each_territory_is_confirmed_and_known_to_both(w):
    near, far = await asyncio.gather(
        w.post("/bookings", w.wish(1, NEAR)), w.post("/bookings", w.wish(2, FAR, booking_id="booking-0002", who=2))
    )
    assert (near.status_code, near.json()["seller"], far.status_code, far.json()["seller"]) == (201, "site", 201, "hub")
    await w.until(lambda: w.site.booking("booking-0002") is not None)
    gone = await w.post("/bookings/booking-0002/cancel", {})
    assert (gone.status_code, gone.json()["booking"]["status"]) == (200, "cancelled")


async def test_without_the_broker_the_hub_sells_its_own_and_the_site_hears_of_it_afterwards(w, mosquitto):  # noqa: F811
    mosquitto.stop()
    await w.until(lambda: not w.hub.links.up(SITE))
    assert (await w.post("/bookings", w.wish(1, FAR))).status_code == 201
    assert (await w.post("/bookings", w.wish(1, NEAR, booking_id="booking-0002", who=2))).json()["code"] == "site_unreachable"
    mosquitto.start()
    await w.until(lambda: w.site.booking("booking-0001") is not None, within_s=20)


async def test_a_hub_that_leaves_says_so(w):
    heard = []
    w.site.transport.subscribe(Topics(SITE).state_hub, lambda topic, payload, retained: heard.append(payload))
    assert w.site.pump.fresh()
    await w.hub.links.stop()
    await w.until(lambda: not w.site.pump.fresh())  # the clock stands, so that silence alone would not tell
    assert heard[-1] == b'{"up":false}'
