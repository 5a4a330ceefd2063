"""The emulated NinjaOne's page and its consent page in Chromium: live, its buttons do what they say, and Allow leads back."""

import asyncio

import pytest
from playwright.async_api import expect

from deploy.emulators.ninjaone_rmm import NinjaOneEmulator
from shared.runtime.clock import SystemClock
from site_agent.devices.ninjaone.consent import Consent, Listener
from site_agent.devices.ninjaone.wire import Wire
from tests.deploy.ninjaone_world import CONSENTING, settings


@pytest.mark.slow
@pytest.mark.needs_chromium
@pytest.mark.asyncio(loop_scope="module")
async def test_a_person_troubles_a_device_mends_it_and_consents(browser, tmp_path):
    emulator = NinjaOneEmulator(settings())
    await emulator.start()
    troubles: list[str] = []
    wire = Wire(emulator.url, SystemClock())
    try:
        page = await (await browser.new_context()).new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        await page.goto(f"{emulator.url}/_emulator/")
        box = page.locator(".device", has_text="Box 1")
        await expect(box).to_contain_text("online, healthy")
        await box.get_by_role("button", name="Raise an alert").click()
        await expect(box).to_contain_text("The projector shows no picture")
        await box.get_by_role("button", name="Mend").click()
        await expect(box).to_contain_text("online, healthy")
        await box.get_by_role("button", name="Pull the plug").click()
        await expect(box).to_contain_text("offline since")
        await page.get_by_label("What happens").select_option("inside")
        await page.get_by_role("button", name="Break", exact=True).click()
        await expect(page.locator("#board")).to_contain_text("1 × answers 200 with an error inside")
        assert emulator.faults.waiting()[0].kind == "inside"
        await page.get_by_role("button", name="Mend all requests").click()
        await expect(page.locator("#board")).not_to_contain_text("1 × answers")

        async with Listener() as listener:
            consent = Consent(wire, CONSENTING.client_id, "", listener.redirect_uri)
            await page.goto(consent.url)
            await expect(page.get_by_role("heading", name="bay-app asks to act for you")).to_be_visible()
            await page.screenshot(path=tmp_path / "consent.png")
            heard = asyncio.create_task(listener.code(consent, 10))
            await page.get_by_role("button", name="Allow").click()
            await expect(page.get_by_text("This window can be closed")).to_be_visible()
            assert await heard
    finally:
        await wire.close()
        await emulator.stop()
    assert troubles == []
