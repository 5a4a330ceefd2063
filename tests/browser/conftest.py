"""What every test of a page is handed: one Chromium for all tests of a file, and a site of its own with its hub beside it.

One browser takes one event loop, so these tests are marked `asyncio(loop_scope="module")`.
"""

from pathlib import Path

import pytest_asyncio
from playwright.async_api import async_playwright

from tests.browser.site_pages_world import ARGS, served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(chromium_path):
    async with async_playwright() as p:
        browser = await p.chromium.launch(executable_path=chromium_path, args=ARGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium):
    yield chromium
    for context in chromium.contexts:  # a page that is left open goes on asking
        await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path: Path):
    """The site, and its address."""
    async with served(tmp_path) as (w, url):
        yield w, url
