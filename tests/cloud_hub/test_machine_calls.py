"""NinjaOne's calls at the hub: what is theirs goes to the site that has the machine, and trouble shows there at once; nothing else comes in."""

import asyncio
import json
from pathlib import Path
from unittest import mock

import msgspec
import pytest

from cloud_hub.config import Config, HubConfig, Site
from cloud_hub.services.machine_calls import TOLD_MAX
from cloud_hub.telling import callers
from deploy.emulators.messages.wire import Listener
from shared.ledger import records, streams
from shared.runtime.config import ConfigError
from tests.cloud_hub.hub_world import opened
from tests.deploy import ninjaone_world
from tests.deploy.ninjaone_world import BOX_1, ELSEWHERE, READER
from tests.site_agent.site_world import SITE
from tests.two_apps import WITH_DOORS, both

SECRET = "calls-of-ninjaone-7f31a2"
HEADERS = {"x-clubos-hook": SECRET, "content-type": "application/json"}
PATH = "/hooks/machines/ninjaone"


def table(folder: Path) -> dict:
    (folder / "ninja.hook").write_text(SECRET)
    return {"ninjaone": {"secret_file": str(folder / "ninja.hook")}}


def activity(number: int, device_id: int | None = BOX_1.id, **more) -> bytes:
    return json.dumps({"id": number, "deviceId": device_id, "activityType": "CONDITION", "statusCode": "TRIGGERED", **more}).encode()


@pytest.fixture
async def w(tmp_path):
    async with opened(tmp_path, machines=table(tmp_path)) as world:
        bay = world.db.read(lambda tx: records.resource(tx, f"{SITE}.box-1"))
        with_machine = records.text(msgspec.structs.replace(bay, machine_id=str(BOX_1.id), version=2))
        await world.db.write(lambda tx: records.put_document(tx, "resource", bay.id, SITE, 2, with_machine))
        world.told = []
        world.site.db.listen(lambda events: world.told.extend(key for topic, key in events if topic == "machine_told"))
        yield world


async def call(w, body: bytes, **headers: str) -> int:
    answer = await w.client.post(PATH, content=body, headers=HEADERS | headers)
    await w.quiet()
    return answer.status_code


async def test_a_call_goes_to_the_site_that_has_the_machine_once_however_often_it_comes(w):
    assert [await call(w, activity(7001)) for _ in range(3)] == [204] * 3 and w.told == [str(BOX_1.id)]
    assert await call(w, activity(7002)) == 204 and len(w.told) == 2
    metrics = (await w.client.get("/metrics")).text
    assert 'machine_calls_total{outcome="told"} 2.0' in metrics and 'outcome="duplicate"} 2.0' in metrics


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (activity(1), {"x-clubos-hook": ""}, 403),
        (activity(1), {"x-clubos-hook": SECRET[:-1]}, 403),
        (b"", {}, 400),
        (b"[[[[", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b'{"id": {}, "deviceId": "31; drop"}', {}, 400),
        (activity(1, note="x" * 256 * 1024), {}, 413),
        (activity(1, note="x" * (1 << 20)), {}, 413),
        (activity(1, ELSEWHERE.id), {}, 204),
        (activity(1, None), {}, 204),
        (b'{"deviceId": 99999999999999999999999}', {}, 400),
        (b"[]", {}, 204),
    ],
)
async def test_what_is_forged_foreign_or_no_call_at_all_reaches_no_site(w, body, headers, status):
    assert await call(w, body, **headers) == status and w.told == []
    assert w.db.read(lambda tx: streams.read(tx, SITE)).unknown_count == 0


async def test_forged_calls_are_counted_for_the_staff_and_another_vendor_has_no_address(w):
    await call(w, activity(1), **{"x-clubos-hook": "somebody-else-entirely-0"})
    assert w.hub.attempts.counted("forged_call", 0, int(w.clock.now()) + 1) == 1
    assert (await w.client.post("/hooks/machines/atera", content=b"{}", headers=HEADERS)).status_code == 404


async def test_a_site_that_is_not_heard_is_told_nothing_that_it_would_hear_late(w):
    w.cut()
    w.clock.forward(60)
    before = w.db.read(lambda tx: streams.read(tx, SITE)).sent_no
    answer = await w.client.post(PATH, content=activity(1), headers=HEADERS)
    assert answer.status_code == 204 and w.db.read(lambda tx: streams.read(tx, SITE)).sent_no == before
    await w.heal()
    assert w.told == [] and await call(w, activity(2)) == 204 and w.told == [str(BOX_1.id)]


async def test_a_site_of_an_older_release_is_told_nothing(w):
    await w.db.write(lambda tx: tx.run("UPDATE streams SET peer_schema = 3"))
    assert await call(w, activity(1)) == 204 and w.told == []


async def test_a_storm_of_calls_does_not_become_a_storm_at_the_site(w):
    body = b"[" + b",".join(activity(number) for number in range(3 * TOLD_MAX)) + b"]"
    sent = lambda: w.db.read(lambda tx: streams.read(tx, SITE)).sent_no  # noqa: E731
    before = sent()
    assert await call(w, body) == 204 and sent() - before == TOLD_MAX and 1 <= len(w.told) <= TOLD_MAX
    assert f'outcome="too_many"}} {2 * TOLD_MAX}.0' in (await w.client.get("/metrics")).text
    w.clock.forward(61)
    await w.linked()
    w.told.clear()
    assert await call(w, activity(9001)) == 204 and w.told == [str(BOX_1.id)]


@pytest.mark.parametrize(
    ("machines", "told"),
    [({"atera": {}}, "nobody calls as 'machines.atera'"), ({"ninjaone": {"secret_file": "{short}"}}, "at least 24 characters"), ({"ninjaone": {}}, "secret_file")],
)  # fmt: skip
def test_a_mistake_in_the_table_is_a_sentence(tmp_path, machines, told):
    (tmp_path / "short").write_text("short")
    filled = {vendor: {key: value.format(short=tmp_path / "short") for key, value in one.items()} for vendor, one in machines.items()}
    hub = HubConfig(hub_id="hub-test", data_dir=".", sites=(Site(id=SITE, name="Bedford"),), machines=filled)
    with pytest.raises(ConfigError, match=told):
        callers(Config(hub=hub, data_dir=tmp_path, profile=None), lambda: 0.0)


async def test_trouble_at_a_bays_pc_shows_at_the_site_without_a_moment_passing(tmp_path):
    async with ninjaone_world.emulated() as ninja:
        way = f'\n[machines.way.ninjaone]\nurl = "{ninja.emulator.url}"\nclient_id = "{READER.client_id}"\nsecret_file = "ninja.secret"\norganization_id = 1\n'
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "ninja.secret").write_text(READER.secret)
        config = WITH_DOORS.replace("number = 1\n", f'number = 1\nmachine_id = "{BOX_1.id}"\n', 1) + way
        # one clock for both, or a token of one would be over for the other
        with mock.patch("tests.cloud_hub.hub_world.ManualClock", lambda now: ninja.clock):
            world = both(tmp_path, config, machines=table(tmp_path))
        async with world as w:
            hub = Listener(w.app.asgi, "127.0.0.1")
            await hub.come_back()
            try:
                desk = w.kit.machines
                await desk.look()
                assert desk.panel().bays[0].state == "good"
                w.clock.forward(5)
                await desk.ways["ninjaone"].machines.call_at(f"{hub.url}{PATH}", SECRET)
                await ninja.desk("/device", {"device_id": BOX_1.id, "alert": "The picture froze"})
                await w.until(lambda: desk.panel().bays[0].state == "trouble")
                assert "The picture froze" in desk.panel().bays[0].told
                await desk.ways["ninjaone"].machines.call_at("", "")
                await ninja.desk("/device", {"device_id": BOX_1.id, "mend": True})
                await asyncio.sleep(0)
                assert ninja.emulator.hooks.waiting == 0
            finally:
                await hub.go_down()
