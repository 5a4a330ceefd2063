"""The site agent with a real writer, a real server and the emulated door controller over TLS."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from random import Random

import httpx
import pytest

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi_access import UnifiAccessEmulator
from shared.runtime.clock import SystemClock
from shared.runtime.server import listen, serve
from site_agent import app
from site_agent.config import load
from site_agent.services.people import Asker
from tests.site_agent.site_world import CONFIG, PASSWORD, staff_file

TOKEN = "testing-token-7d1f"


@pytest.fixture
async def real(tmp_path):
    """An agent with the emulator as its doors, served on a port; yields (agent, emulator, url, stop)."""
    emulator = UnifiAccessEmulator(doors=[DoorSpec("front")], tokens={TOKEN: AGENT_SCOPES}, rng=Random(5), folder=tmp_path)
    await emulator.start()
    (tmp_path / "token").write_text(TOKEN)
    doors = f'[doors]\nkind = "unifi"\nhost = "127.0.0.1"\nport = {emulator.port}\ntoken_file = "token"\nfingerprint = "{emulator.fingerprint}"\n'
    text = CONFIG.replace("door-front", emulator.door_id("front")).replace('door_ids = ["door-side"]\n', "") + doors
    (tmp_path / "site.toml").write_text(text)
    (tmp_path / "staff.toml").write_text(staff_file())
    agent = app.build(load(tmp_path / "site.toml"))
    sock, stop, up = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    serving = asyncio.create_task(serve(agent.asgi, sock, ready=lambda port: up.set(), on_stop=agent.on_stop, stop=stop, signals=False))
    await asyncio.wait_for(up.wait(), 10)
    yield agent, emulator, url, stop
    stop.set()
    await asyncio.wait_for(serving, 10)
    await emulator.stop()


@contextlib.asynccontextmanager
async def signed_in(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=10) as client:
        answer = await client.post("/api/sign-in", json={"user": "ada", "password": PASSWORD})
        client.headers["x-csrf-token"] = answer.json()["csrf_token"]
        yield client


def wish(now: float, number: int, start: int) -> dict:
    """A booking of box 1, two half hours from the running one on."""
    person = {"name": "Testa Birdie", "phone": f"902-555-010{number}"}
    return {"booking_id": f"booking-000{number}", "resource_id": "bedford.box-1", "start": row(now, start), "end": row(now, start + 2), **person}


async def until(condition, complaint) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, complaint()
        await asyncio.sleep(0.01)


def row(now: float, half_hours: int) -> str:
    at = int(now) // 1800 * 1800 + half_hours * 1800
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


async def test_from_booking_to_the_reader_knowing_the_pin_and_the_kiosk_opening_the_door(real):
    agent, emulator, url, _ = real
    now = SystemClock().now()
    async with signed_in(url) as staff:
        booking = (await staff.post("/api/bookings", json=wish(now, 1, 0))).json()["booking"]
        await until(lambda: agent.kit.credentials.counts() == (0, 1), agent.kit.credentials.stuck)
        assert emulator.box.read_pin(emulator.door_id("front"), booking["pin"]).admitted
        before = len(emulator.box.unlocks)
        came = await staff.post("/api/bookings/booking-0001/check-in", json={})
        assert came.json()["door"] == "opened" and len(emulator.box.unlocks) == before + 1
        later = (await staff.post("/api/bookings", json=wish(now, 2, 4))).json()["booking"]
        await until(lambda: agent.kit.credentials.counts() == (0, 2), agent.kit.credentials.stuck)
        await staff.post(f"/api/bookings/{later['id']}/cancel", json={})
        await until(lambda: agent.kit.credentials.counts() == (0, 1), agent.kit.credentials.stuck)


async def test_check_in_reaches_the_wire_within_a_few_milliseconds(real):
    """The bar of the bench is 25 ms at the 95th percentile; here the middle is held to it, since other tests run beside."""
    agent, emulator, url, _ = real
    now = SystemClock().now()
    async with signed_in(url) as staff:
        booking = (await staff.post("/api/bookings", json=wish(now, 1, 0))).json()["booking"]
        kiosk, took = Asker("kiosk", "kiosk-1", "Kiosk", frozenset({"kiosk"})), []
        for _ in range(15):
            before, count = SystemClock().now(), len(emulator.box.unlocks)
            came = await agent.kit.checkin.by_pin(booking["pin"], kiosk)
            assert came.door == "opened" and len(emulator.box.unlocks) == count + 1
            took.append(emulator.box.unlocks[-1].at - before)
        assert statistics.median(took) < 0.025, took


async def test_an_open_stream_does_not_hold_the_end_up(real):
    _, _, url, stop = real
    async with signed_in(url) as staff, staff.stream("GET", "/staff/events", params={"date": row(SystemClock().now(), 0)[:10]}) as stream:
        chunks = stream.aiter_bytes()
        assert await anext(chunks) == b"retry: 1500\n\n"
        begun = time.monotonic()
        stop.set()
        async for _ in chunks:
            pass
        assert time.monotonic() - begun < 3
