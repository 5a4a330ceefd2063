"""Bays that fail, overtime and proposals on the staff page, in Chromium: told in sentences, and settled with a reason."""

import re

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.site_pages_world import PHONE, served, sound, staff_page
from tests.site_agent import test_presence, test_stock
from tests.site_agent.test_presence import check_in
from tests.site_agent.test_stock import OFF, Bays, worn

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def failing(tmp_path):
    """Box 1 is out of sale with a guest who waits, box 2 is played beyond the end, box 3 by nobody, box 4 is worn."""
    async with served(tmp_path) as (w, url):
        signs, people = Bays(), test_presence.Bays(w)
        w.kit.stock._signs, w.kit.presence._activity = signs, people.activity
        late = await w.booked(2, 0, 2)
        await w.booked(1, 5, 2, name="Testa Bogey")
        for bay in (2, 3, 4):
            await w.booked(bay, 5, 2, name="Mocka Eagle")
        await check_in(w, late)
        worn(w, 208, bay=4)
        people.playing |= {2: True, 3: True}
        await test_presence.pass_by(w, 75)
        signs.signs[1] = OFF
        await test_stock.pass_by(w, 7)
        await w.kit.placing.run()
        yield w, url


async def test_staff_read_what_happened_to_the_bays_and_settle_it(browser, failing, tmp_path):
    w, url = failing
    page, said = await staff_page(browser, url, "ada", at=w.clock.now())
    bays = page.get_by_label("Bays and visits", exact=True)
    await expect(bays).to_contain_text(
        re.compile(r"Box 1 was taken out of sale at 13:2\d: its PC is off, or cut off from the internet\. 1 guest needs you\.")
    )
    await expect(bays).to_contain_text(
        re.compile(r"Testa B\. has been in Box 2 for (1[6-9]|2\d) minutes after the end\. The next guest comes at 14:30\.")
    )
    await expect(bays).to_contain_text("It costs $39.90 with tax, and is noted on the booking.")
    await expect(bays).to_contain_text(re.compile(r"Box 3 was played from 12:00 to 13:\d\d, and nobody had booked it\."))
    await expect(bays).to_contain_text("Box 4 has been played for 208 hours since hours are counted.")
    await sound(page)
    await page.screenshot(path=tmp_path / "bays.png", full_page=True)
    await bays.get_by_role("button", name="Sell it all the same: Box 1").click()
    sheet = page.locator("dialog[open]")
    await sheet.get_by_label("Why?").fill("It plays without the PC")
    await sheet.get_by_role("button", name="Sell it").click()
    await expect(bays).to_contain_text("Box 1 is sold all the same until")
    await bays.get_by_role("button", name="Do not charge: Testa B.").click()
    await sheet.get_by_label("Why?").fill("The door stuck")
    await sheet.get_by_role("button", name="Do not charge it").click()
    await expect(bays).to_contain_text("Not charged: The door stuck.")
    await bays.get_by_role("button", name="Who was it: Box 3").click()
    await sheet.get_by_label("Who was it?").fill("The coach tried the clubs")
    await sheet.get_by_role("button", name="Write it down").click()
    await expect(bays).not_to_contain_text("nobody had booked it")
    await bays.get_by_role("button", name="Block it for maintenance: Box 4").click()
    await expect(bays).not_to_contain_text("Box 4 has been played")
    await sound(page)
    assert said == []


async def test_the_rest_of_a_no_shows_time_is_sold_beside_the_verdict(browser, tmp_path):
    async with served(tmp_path) as (w, url):
        people = test_presence.Bays(w)
        w.kit.presence._activity = people.activity
        await test_presence.pass_by(w, 2)
        await w.booked(1, 1, 4)
        await test_presence.pass_by(w, 46)
        page, said = await staff_page(browser, url, "ada", at=w.clock.now(), viewport=PHONE, color_scheme="dark")
        bays = page.get_by_label("Bays and visits", exact=True)
        await page.get_by_role("button", name="Bays and visits", exact=True).click()
        await bays.get_by_role("button", name="Sell the rest from 13:00: Box 1, Testa B.").scroll_into_view_if_needed()
        await sound(page)
        await page.screenshot(path=tmp_path / "rest.png")
        await bays.get_by_role("button", name="Sell the rest from 13:00: Box 1, Testa B.").click()
        await expect(bays).to_contain_text("until 15 minutes after the start; the rest from 13:00 is on sale.")
        await expect(bays.get_by_role("button", name="Sell the rest")).to_have_count(0)
        assert said == []


async def test_on_a_phone_in_the_dark_a_viewer_reads_it_without_buttons(browser, failing, tmp_path):
    w, url = failing
    page, said = await staff_page(browser, url, "vi", at=w.clock.now(), viewport=PHONE, color_scheme="dark")
    bays = page.get_by_label("Bays and visits", exact=True)
    await expect(bays).to_contain_text("Box 1 was taken out of sale")
    assert await bays.get_by_role("button", name="Sell").count() == 0
    await sound(page)
    await bays.scroll_into_view_if_needed()
    await page.screenshot(path=tmp_path / "phone.png")
    assert said == []
