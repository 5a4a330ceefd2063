"""The door by telephone in Chromium: where people must be near, the telephone says where it is when they press, and nothing where it may not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from shared.runtime.server import listen, serve
from tests.browser.test_customer_pages import opened
from tests.cloud_hub.test_phone_doors import HERE, NEAR, TOWN
from tests.site_agent.site_world import FRONT
from tests.two_apps import TwoApps

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]


@contextlib.asynccontextmanager
async def served(folder: Path, config: str) -> AsyncIterator[tuple[TwoApps, str]]:
    """Hub and site, and the address that the hub answers at."""
    w = TwoApps(folder, config)
    sock, stop, ready = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(serve(w.app.asgi, sock, ready=lambda _: ready.set(), stop=stop, signals=False))
    try:
        await asyncio.wait_for(ready.wait(), 10)
        await w.begin()
        await w.linked()
        yield w, f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        await w.visitor.client.aclose()
        await w.client.aclose()
        await w.agent.stop()
        stop.set()
        await running


@pytest.mark.parametrize(
    ("place", "may", "told"),
    [(HERE, True, "The door is open now."), (TOWN, True, "your telephone says that it is not"), (HERE, False, "did not say where it is")],
    ids=["near", "far", "not allowed"],
)
async def test_a_telephone_says_where_it_is_only_when_it_is_pressed_and_may(browser, tmp_path, place, may, told):
    async with served(tmp_path, NEAR) as (w, url):
        b = await w.at_its_time()
        position = {"latitude": place[0], "longitude": place[1], "accuracy": 12}
        page, said = await opened(browser, url, geolocation=position, permissions=["geolocation"] if may else [])
        await page.goto(w.address(b))
        await expect(page.locator("text=Your telephone is asked whether it is near")).to_be_visible()
        await page.click("button:has-text('Open the door')")
        await expect(page.locator("main")).to_contain_text(told)
        await expect(page.locator(".pin").first).to_be_visible()
        assert [door for door, _, _ in w.doors.unlocked] == ([FRONT] if "open now" in told else []) and not said
