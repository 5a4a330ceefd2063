"""The emulated door controller's page in a real browser: it is live, and its keypad opens a door."""

import time

import pytest
from playwright.async_api import expect

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi.visitors import ResourceRef, VisitorBody
from deploy.emulators.unifi_access import UnifiAccessEmulator


@pytest.mark.needs_chromium
@pytest.mark.asyncio(loop_scope="module")
async def test_a_person_types_a_pin_at_the_page_and_sees_the_door_open(browser, tmp_path):
    doors = [DoorSpec("front"), DoorSpec("side", sensor=False), DoorSpec("shed", bound=False)]
    emulator = UnifiAccessEmulator(doors=doors, tokens={"good": AGENT_SCOPES}, folder=tmp_path, log_delay_s=0.1, pulse_s=30)
    now = int(time.time())
    body = VisitorBody("ClubOS", "booking-1", now - 60, now + 3600, "Others", resources=[ResourceRef(doors[0].id, "door")])
    visitor = emulator.box.visitors.create(body, now, emulator.box.known_resources())
    emulator.box.visitors.assign_pin(visitor.id, "570121")
    await emulator.start()
    try:
        page = await (await browser.new_context(ignore_https_errors=True)).new_page()
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        await page.goto(f"{emulator.url}/_emulator/")
        await expect(page.get_by_text("No door has been unlocked yet.")).to_be_visible()
        await page.get_by_label("Number or text").fill("111111")
        await page.get_by_role("button", name="Enter").click()
        await expect(page.locator("#verdict")).to_have_text("Unknown credential")
        await page.get_by_label("Number or text").fill("570121")
        await page.get_by_role("button", name="Enter").click()
        await expect(page.locator("#verdict")).to_have_text("Access granted")
        await expect(page.locator(".door.open")).to_contain_text("front")
        await expect(page.get_by_role("region", name="Unlocks")).to_contain_text("booking-1")
        await expect(page.get_by_role("region", name="Log")).to_contain_text("BLOCKED")
        await page.get_by_role("button", name="Cut its reader off").click()
        await page.get_by_role("button", name="Call an evacuation at the console").click()
        await expect(page.locator(".mode")).to_have_text("Evacuation: every door is open.")
        await expect(page.locator(".door").first).to_contain_text("reader offline")
        await page.screenshot(path=tmp_path / "page.png", full_page=True)
        await page.close()
    finally:
        await emulator.stop()
    assert troubles == []
