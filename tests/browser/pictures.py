"""Makes the README's pictures anew: `python -m tests.browser.pictures` writes deploy/pictures/staff.png and book.png.

Not a test. Invariant: what is in the pictures was drawn by the product, with invented people.
"""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import Browser, async_playwright, expect

from tests.browser import customer_world, site_pages_world
from tests.browser.site_pages_world import ARGS, PHONE, full_day, opened, staff_page
from tests.cloud_hub.hub_world import SITE
from tests.conftest import SYSTEM_PROGRAMS

PICTURES = Path(__file__).parents[2] / "deploy" / "pictures"


async def staff(browser: Browser) -> None:
    """The day as staff see it on Saturday at 18:20."""
    with tempfile.TemporaryDirectory() as folder:
        async with site_pages_world.served(Path(folder)) as (w, url):
            await full_day(w)
            page, _ = await staff_page(browser, url, color_scheme="light", locale="en-CA")
            await expect(page.locator(".door .what").first).to_contain_text("locked")
            await page.locator("[data-board-box]").evaluate("box => { box.scrollTop -= 270; }")
            await page.screenshot(path=PICTURES / "staff.png")


async def book(browser: Browser) -> None:
    """The times page on a guest's phone."""
    with tempfile.TemporaryDirectory() as folder:
        async with customer_world.served(Path(folder)) as (_, url):
            page, _ = await opened(browser, url, viewport=PHONE, color_scheme="light", locale="en-CA", device_scale_factor=2)
            await page.goto(f"/book/{SITE}")
            await page.locator(".days").evaluate("days => scrollTo(0, days.getBoundingClientRect().top - 12)")
            await page.screenshot(path=PICTURES / "book.png")


async def main() -> None:
    async with async_playwright() as p:
        browser = await p.chromium.launch(executable_path=SYSTEM_PROGRAMS[1].path, args=ARGS)
        await staff(browser)
        await book(browser)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
