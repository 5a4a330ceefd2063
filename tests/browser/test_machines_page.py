"""The bays' machines on the staff page, in Chromium: how each is, help from afar with the second question, and what came of it."""

import pytest
import pytest_asyncio
from playwright.async_api import expect

from site_agent.ports import CommandOutcome, Machine, MachinesUnavailable
from tests.browser.site_pages_world import PHONE, _serving, sound, staff_page
from tests.site_agent.site_world import NOON
from tests.site_agent.test_machines import machined

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def at_desk(tmp_path):
    """A site with machines, served; and its address."""
    async with machined(tmp_path) as w:
        w.machines.states["32"] = Machine("32", "BOX-2", False, NOON - 4000, "trouble", ("Its PC is off, or cut off from the internet.",))
        await w.move()
        # its own lifespan would start the agent again, which runs already
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(w.agent, "start", _nothing)
            patched.setattr(w.agent, "stop", _nothing)
            async with _serving(w.agent) as url:
                yield w, url


async def _nothing() -> None: ...


async def test_staff_see_each_machine_and_help_one_whose_bay_is_in_use(browser, at_desk, tmp_path):
    w, url = at_desk
    await w.booked(1, 0)
    page, said = await staff_page(browser, url, "sam", at=w.clock.now())
    machines = page.get_by_label("Machines", exact=True)
    await expect(machines.locator("[data-machine$='box-1']")).to_contain_text("good")
    await expect(machines.locator("[data-machine$='box-2']")).to_contain_text("Its PC is off")
    await sound(page)
    await machines.get_by_role("button", name="Help for the machine of Box 1").click()
    sheet = page.locator("dialog[open]")
    await expect(sheet).to_contain_text("It is booked until 13:00, and nobody has checked in.")
    await sheet.get_by_label("Restart the simulator").check()
    await sheet.get_by_label("Why?").fill("The picture froze")
    await sheet.get_by_role("button", name="Do it").click()
    await expect(sheet.get_by_role("alert")).to_contain_text("Do it all the same?")
    await sound(page)
    await page.screenshot(path=tmp_path / "asks.png")
    await sheet.get_by_label("Restart the PC").check()  # another choice asks again
    await expect(sheet.get_by_role("button", name="Do it", exact=True)).to_be_visible()
    await sheet.get_by_role("button", name="Do it", exact=True).click()
    await sheet.get_by_role("button", name="Yes, do it all the same").click()
    await expect(page.locator(".toast", has_text="Restart the PC is asked for").last).to_be_visible()
    await expect(machines).to_contain_text("Restart the PC: under way")
    w.machines.ends = CommandOutcome("failed", "The PC did not come back", "s-1")
    await w.move(6)
    await page.clock.run_for(7_000)
    await expect(machines).to_contain_text("Restart the PC: failed")
    await expect(machines).to_contain_text("The PC did not come back")
    assert [command.kind for _, command in w.machines.given] == ["restart"] and said == []
    await page.screenshot(path=tmp_path / "machines.png")


async def test_what_nobody_knows_is_said_and_since_when(browser, at_desk, tmp_path):
    w, url = at_desk
    w.machines.failure = MachinesUnavailable("NinjaOne cannot be reached.")
    w.machines.told = ["The consent for NinjaOne lapses in about 5 days. Please run “site-agent ninjaone connect” again."]
    for _ in range(4):
        await w.move(70)
    page, said = await staff_page(browser, url, "sam", at=w.clock.now(), viewport=PHONE)
    machines = page.get_by_label("Machines", exact=True)
    await expect(machines).to_contain_text("NinjaOne cannot be reached.")
    await expect(machines.locator("[data-machine$='box-1']")).to_contain_text("not heard of since 12:0")
    await expect(machines).to_contain_text("lapses in about 5 days")
    await sound(page)
    await machines.scroll_into_view_if_needed()
    await page.screenshot(path=tmp_path / "unknown.png")
    assert said == []


async def test_who_may_only_look_gets_no_button(browser, at_desk):
    w, url = at_desk
    page, _ = await staff_page(browser, url, "vi", at=w.clock.now())
    await expect(page.get_by_label("Machines", exact=True)).to_contain_text("Box 1")
    await expect(page.get_by_role("button", name="Help for the machine")).to_have_count(0)
