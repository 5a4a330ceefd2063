"""What the door controller holds, on the staff page in Chromium: compared now, what differed in words, and a clock that is off."""

import pytest
from playwright.async_api import expect

from tests.browser.site_pages_world import sound, staff_page

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]


async def test_staff_have_it_compared_and_read_what_differed(browser, world):
    w, url = world
    await w.until(lambda: w.kit.door_check.panel().checked_at)  # the one at the start
    booking = await w.booked(1, 0)
    ref = f"v-{booking['id']}"
    await w.until(lambda: ref in w.doors.visitors and w.kit.door_check.panel().owed == 0)
    w.doors.visitors.pop(ref)
    w.doors.skew_s = 400.0
    page, said = await staff_page(browser, url, "sam", at=w.clock.now())
    held = page.get_by_label("Doors").locator(".held")
    await expect(held).to_contain_text("on the doors")
    await expect(held).to_contain_text("The door controller's clock is 7 min ahead of this machine's")
    await expect(held.get_by_role("button", name="Compare now")).not_to_be_visible()
    await held.get_by_text("on the doors").click()
    await held.get_by_role("button", name="Compare now").click()
    await expect(page.locator(".toast", has_text="1 of ").last).to_contain_text("differed; they are being put right.")
    await expect(held.get_by_role("button", name="Box 1, ")).to_contain_text("was not on the controller, and is put back.")
    await sound(page)
    await w.until(lambda: ref in w.doors.visitors)
    await held.get_by_role("button", name="Compare now").click()
    await expect(page.locator(".toast", has_text="are as they should be.").last).to_be_visible()
    await expect(held).to_contain_text("all as they should be")
    w.doors.skew_s = None
    assert said == []


async def test_who_may_only_look_cannot_have_it_compared(browser, world):
    w, url = world
    page, _ = await staff_page(browser, url, "vi", at=w.clock.now())
    await expect(page.get_by_label("Doors").locator(".held")).to_contain_text("on the doors")
    await expect(page.get_by_role("button", name="Compare now")).to_have_count(0)
