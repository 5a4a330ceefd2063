"""The outage drill on the staff page, in Chromium: the button with its confirmation, the bar while it runs, the report."""

import pytest
from playwright.async_api import expect

from site_agent.services.outage import CATCH_UP_MAX_S
from tests.browser.site_pages_world import PHONE, kiosk_page, sound, staff_page

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]


async def test_staff_unplug_the_facility_sell_through_it_and_read_the_report(browser, world):
    w, url = world
    page, said = await staff_page(browser, url, "sam", at=w.clock.now())
    await page.get_by_role("button", name="Outage drill…").click()
    sheet = page.locator("dialog[open]")
    await expect(sheet).to_contain_text("as if the internet were gone")
    await sound(page)
    await sheet.get_by_label("Minutes").fill("61")
    await sheet.get_by_role("button", name="Unplug now").click()
    await expect(sheet).to_be_visible()  # the browser itself says what is wrong with it
    assert w.kit.outage.current() is None
    await sheet.get_by_label("Minutes").fill("12")
    await sheet.get_by_role("button", name="Unplug now").click()
    bar = page.locator("[data-unplugged]")
    await expect(bar).to_contain_text("Outage drill: unplugged from the booking centre until 12:12.")
    await expect(sheet).to_have_count(0)
    await expect(page.locator("[data-link-word]")).to_have_text("Link dark")
    await sound(page)

    kiosk, heard = await kiosk_page(browser, w, url)
    await expect(kiosk.locator("h1").first).to_be_visible()
    await w.booked(1, 2)
    await bar.get_by_role("button", name="Plug in again").click()
    await expect(bar).to_be_hidden()
    await w.linked()
    await w.kit.outage.tick()
    if w.kit.outage.current().state != "done":
        w.clock.forward(CATCH_UP_MAX_S)
        await w.kit.outage.tick()
    await page.get_by_role("button", name="Report of the last drill").click()
    report = page.locator("dialog[open]")
    await expect(report).to_contain_text("ended early")
    await expect(report.locator("dl")).to_contain_text("Sales1 workedHoldsnot tried")
    await sound(page)
    assert said == [] and heard == []
    await page.context.close()
    await kiosk.context.close()


async def test_who_may_not_drill_sees_no_button_but_the_bar_also_on_a_phone(browser, world):
    w, url = world
    page, said = await staff_page(browser, url, "vi", viewport=PHONE)
    await expect(page.locator("[data-link]")).to_contain_text("Booking centre")
    await expect(page.get_by_role("button", name="Outage drill…")).to_have_count(0)
    await w.staff.post("/api/drills", {"minutes": 5})
    await expect(page.locator("[data-unplugged]")).to_contain_text("unplugged from the booking centre until 12:05")
    await expect(page.get_by_role("button", name="Plug in again")).to_have_count(0)
    await sound(page)
    assert said == []
    await page.context.close()
