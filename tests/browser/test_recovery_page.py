"""After a loss, on the staff page in Chromium: one place for all alarms, and the two words of a person behind a question."""

import pytest
import pytest_asyncio
from playwright.async_api import expect

from shared.ledger import boxes
from tests.browser.site_pages_world import PHONE, sound, staff_page
from tests.site_agent.site_world import NOON, SITE

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def world(world):
    """A site after its repair: a floor of every bay at 18:00 on the next day, and nobody has vouched yet."""
    w, _ = world
    w.db.write_now(lambda tx: tx.run("UPDATE lines SET floor = :f", {"f": NOON // 900 + 120}))
    w.db.write_now(lambda tx: boxes.mark_restored(tx, w.kit.recovery._desk, SITE, vouched=False, stated=False))
    return world


@pytest.mark.rule("loss-4")
@pytest.mark.rule("loss-5")
async def test_staff_vouch_that_the_old_box_is_off_and_state_what_was_sold(browser, world):
    w, url = world
    page, said = await staff_page(browser, url, at=w.clock.now())
    floor, old = page.locator("[data-alarm='recovery_floor']"), page.locator("[data-alarm='recovery_unvouched']")
    await expect(floor).to_contain_text("begins before Sun 22 Nov 2026, 18:00")
    await expect(floor.get_by_role("button")).to_have_count(0)  # first the other word
    await sound(page)
    await old.get_by_role("button", name="The old box is off…").click()
    sheet = page.locator("dialog[open]")
    await expect(sheet).to_contain_text("switched off and stays off")
    await sound(page)
    await page.keyboard.press("Escape")
    assert w.kit.recovery.panel().unvouched, "the question alone says nothing"
    await old.get_by_role("button", name="The old box is off…").click()
    await sheet.get_by_role("button", name="It is off and stays off").click()
    await expect(old).to_have_count(0)
    await floor.get_by_role("button", name="State what was sold…").click()
    await sheet.get_by_role("button", name="All of it is entered").click()
    await expect(sheet).to_be_visible()  # the browser itself asks for words
    await sheet.get_by_label("How do you know?").fill("   ")
    await sheet.get_by_role("button", name="All of it is entered").click()
    await expect(sheet.get_by_role("alert")).to_have_text("Please say how you know what was sold.")
    await sound(page)
    await sheet.get_by_label("How do you know?").fill("the paper list is entered")
    await sheet.get_by_role("button", name="All of it is entered").click()
    await expect(page.locator(".toast", has_text="All times are sold again.")).to_be_visible()
    await expect(page.locator("[data-alarms]")).to_be_hidden()
    assert any("the paper list is entered" in str(row) for row in w.journal())
    assert said == []
    await page.context.close()


async def test_who_may_not_resume_sales_reads_the_alarms_and_has_no_buttons_also_on_a_phone(browser, world):
    w, url = world
    page, said = await staff_page(browser, url, "sam", viewport=PHONE)
    await expect(page.locator("[data-alarm='recovery_floor']")).to_be_visible()
    await expect(page.locator("[data-alarm] button")).to_have_count(0)
    await sound(page)
    await w.staff.post("/api/drills", {"minutes": 5})
    await expect(page.locator(".above [data-unplugged]")).to_be_visible()
    await sound(page)
    assert said == []
    await page.context.close()
