"""The pages of lost places in Chromium, a guest's and the admins': on a phone and a desk, in light and dark, with a script and without."""

from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.customer_world import served
from tests.browser.test_customer_pages import DESK, PHONE, opened, sound
from tests.browser.test_manage_page import sign_in
from tests.cloud_hub.lost_world import BAY, DAY, FAR, breaks, displaced_guest, silences_site, standing, states
from tests.cloud_hub.visitor import Visitor

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path: Path):
    async with served(tmp_path) as (w, url):
        states(w)
        yield w, url


async def seen(browser: Browser, url: str, *addresses: str, **options) -> Page:
    """The last of these pages; each of them is looked at."""
    page, said = await opened(browser, url, bypass_csp=True, **options)
    for address in addresses:
        await page.goto(address)
        await sound(page)
    assert said == []
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_a_guests_pages_fit_read_well_and_have_room_for_a_thumb(browser, world, size, scheme):
    w, url = world
    address = await displaced_guest(w, Visitor(w))
    page = await seen(browser, url, address, f"{address}/ways", viewport=size, color_scheme=scheme)
    await expect(page.locator("h1")).to_have_text("Please choose again")
    await page.locator(".way", has_text="Box 3").first.click()
    await expect(page.locator("h1")).to_have_text("Your booking")
    await expect(page.locator(".facts-list")).to_contain_text("Moved here by us from Box 1.")
    await sound(page)
    await page.get_by_role("link", name="Choose another place").click()
    await expect(page.locator("h1")).to_have_text("Your new place")
    await sound(page)
    await page.get_by_role("link", name="Cancel, everything comes back").click()
    await sound(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_the_admins_pages_fit_read_well_and_have_room_for_a_thumb(browser, world, size, scheme):
    w, url = world
    await displaced_guest(w, Visitor(w), reason="The screen is torn.")
    page, said = await opened(browser, url, viewport=size, color_scheme=scheme, bypass_csp=True)
    await page.goto("/manage/displaced")
    await sign_in(w, page)
    await expect(page.locator("h1")).to_have_text("Displaced")
    await expect(page.locator(".open-count")).to_have_text("1")
    await sound(page)
    await page.get_by_role("link", name="Move to Box 3").first.click()
    await expect(page.locator("h1")).to_have_text("Move Testa Birdie?")
    await sound(page)
    await page.get_by_role("button", name="Move to Box 3").click()
    await expect(page.locator(".notice")).to_contain_text("Moved: Testa Birdie has Box 3")
    await sound(page)
    assert said == []


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_a_guest_whose_first_choice_is_gone_takes_the_next(browser, world, scripts):
    w, url = world
    address = await displaced_guest(w, Visitor(w))
    page, said = await opened(browser, url, java_script_enabled=scripts)
    await page.goto(f"{address}/ways")
    await breaks(w, 2, FAR)
    await page.locator(".way", has_text="Box 2").first.click()
    await expect(page.locator("[role=alert]")).to_be_visible()
    await page.locator(".way", has_text="Box 3, 22:00").click()
    await expect(page.locator(".facts-list")).to_contain_text("Moved here by us from Box 1.")
    assert [b.resource_id for b in standing(w)] == [f"{BAY}3"] and said == []


async def test_the_order_waits_for_the_facilitys_answer_and_goes_on_by_itself(browser, world):
    w, url = world
    address = await displaced_guest(w, Visitor(w), 8)
    page, said = await opened(browser, url)
    await page.goto(f"{address}/ways")
    silences_site(w)
    await page.locator(".way", has_text="Box 2, 14:00").click()
    await expect(page.locator(".visit .notice")).to_contain_text("Another place is being asked of Bedford")
    w.network.heal("site-bedford")
    w.clock.forward(3)
    w.site.pump.tick()
    w.say_hello()
    await expect(page.locator(".facts-list")).to_contain_text("Moved here by us from Box 1.", timeout=15_000)
    assert said == []


async def test_by_keyboard_alone_a_way_is_taken_from_two_lost_bays(browser, world):
    w, url = world
    order = await Visitor(w).booked(FAR, date=DAY, guests=6)
    await w.quiet()
    for b in standing(w):
        await breaks(w, int(b.resource_id[-1]), FAR)
    address = order.address.partition("?")[0]
    page = await seen(browser, url, f"{address}/ways")
    for _ in range(2):  # the list of both, then the ways of the first
        await page.locator(".way").first.focus()
        await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Your booking")
    await expect(page.locator(".facts-list", has_text="Box 3")).to_be_visible()
    await sound(page)
