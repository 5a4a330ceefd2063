"""The door by telephone in Chromium: where people must be near, the telephone says where it is when they press, and nothing where it may not; where
it must confirm, it makes a key once, and looks at its owner every time."""

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
from tests.two_apps import WITH_DOORS, TwoApps

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]


@contextlib.asynccontextmanager
async def served(folder: Path, config: str, host: str = "127.0.0.1", **more) -> AsyncIterator[tuple[TwoApps, str]]:
    """Hub and site, and the address that the hub answers at."""
    sock, stop, ready = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    url = f"http://{host}:{sock.getsockname()[1]}"
    w = TwoApps(folder, config, public_url=url, **more)
    running = asyncio.create_task(serve(w.app.asgi, sock, ready=lambda _: ready.set(), stop=stop, signals=False))
    try:
        await asyncio.wait_for(ready.wait(), 10)
        await w.begin()
        await w.linked()
        yield w, url
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


async def phone_of(page, *, verifies: bool = True):
    """Gives the page's browser a telephone's own authenticator; the session and its id."""
    session = await page.context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasUserVerification": True,
        "isUserVerified": verifies,
        "hasResidentKey": True,
    }
    added = await session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session, added["authenticatorId"]


async def test_a_telephone_confirms_that_it_is_its_owner_and_then_no_other_opens(browser, tmp_path):
    # browsers make keys for names only, not for an address of numbers; and of a place they ask first
    async with served(tmp_path, NEAR, "localhost", door_check="passkey") as (w, url):
        b = await w.at_its_time()
        here = {"geolocation": {"latitude": HERE[0], "longitude": HERE[1], "accuracy": 12}, "permissions": ["geolocation"]}
        page, said = await opened(browser, url, **here)
        session, phone = await phone_of(page)
        await page.goto(w.address(b))
        await expect(page.locator("text=no other telephone opens the door")).to_be_visible()
        await page.click("button:has-text('Open the door')")
        await expect(page.locator("main")).to_contain_text("The door is open now.")
        await page.click("button:has-text('Open it again')")
        await expect(page.locator("main")).to_contain_text("Welcome back")
        [key] = (await session.send("WebAuthn.getCredentials", {"authenticatorId": phone}))["credentials"]
        assert key["rpId"] == "localhost" and len(w.doors.unlocked) == 2

        await session.send("WebAuthn.setUserVerified", {"authenticatorId": phone, "isUserVerified": False})
        await page.click("button:has-text('Open it again')")
        says = page.locator("[data-check-says]")
        await expect(says).to_have_text("Your telephone did not confirm that it is you. Please use your PIN at the door.")
        await expect(page.locator("button:has-text('Open it again')")).to_be_enabled()

        other, their_said = await opened(browser, url, **here)
        await phone_of(other)
        await other.goto(w.address(b))
        await other.click("button:has-text('Open')")
        await expect(other.locator("[data-check-says]")).to_contain_text("did not confirm")
        assert len(w.doors.unlocked) == 2 and not said and not their_said


@pytest.mark.parametrize("scripts", [True, False], ids=["no authenticator", "no script"])
async def test_a_browser_that_cannot_confirm_reads_that_the_pin_opens(browser, tmp_path, scripts):
    async with served(tmp_path, WITH_DOORS, "localhost", door_check="passkey") as (w, url):
        b = await w.at_its_time()
        page, said = await opened(browser, url, java_script_enabled=scripts)
        await page.goto(w.address(b))
        await expect(page.locator("text=This browser cannot do that: use your PIN.")).to_be_visible()
        await expect(page.locator("button:has-text('Open the door')")).to_be_hidden()
        await expect(page.locator(".pin").first).to_be_visible()
        assert not said
