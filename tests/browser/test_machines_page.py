"""The bays' machines on the staff page, in Chromium: how each is, help from afar with the second question, and what came of it."""

import pytest
import pytest_asyncio
from playwright.async_api import expect

from site_agent.ports import CommandOutcome, Machine, MachinesRefused, MachinesUnavailable
from tests.browser.site_pages_world import PHONE, _serving, sound, staff_page
from tests.site_agent.machines_world import MachinesDouble, machined
from tests.site_agent.site_world import NOON

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def at_desk(tmp_path):
    """A site with machines, served; and its address."""
    ways = {"ninjaone": MachinesDouble(), "bay_agent": MachinesDouble("message", "prepare", "lights")}
    async with machined(tmp_path, **ways) as w:
        for way in ways.values():
            way.states = w.machines.states
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
    for way in w.ways.values():
        way.failure = MachinesUnavailable("NinjaOne cannot be reached.")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_staff_see_what_a_bay_needs_what_failed_and_write_on_its_screen(browser, at_desk, tmp_path, scheme):
    w, url = at_desk
    w.ways["bay_agent"].failure, w.ways["bay_agent"].failing = MachinesRefused("Its disk is full."), ("command",)
    await w.booked(1, 2)
    await w.booked(3, 2)
    for _ in range(2):
        await w.due(26 * 60)
    page, said = await staff_page(browser, url, "sam", at=w.clock.now(), viewport=PHONE if scheme == "light" else None)
    await page.emulate_media(color_scheme=scheme)
    machines = page.get_by_label("Machines", exact=True)
    await expect(machines).to_contain_text("Box 1 was not prepared for 13:00: Its disk is full.")
    await expect(machines.locator("[data-machine$='box-1']")).to_contain_text("Next: Message before the end 13:50")
    await sound(page)
    await machines.scroll_into_view_if_needed()
    await page.screenshot(path=tmp_path / f"jobs-{scheme}.png")
    w.ways["bay_agent"].failure = None
    await machines.get_by_role("button", name="Message for the screen of Box 1").click()
    await page.locator("dialog[open]").get_by_label("Everybody in the bay").fill("Please close the door behind you.")
    await page.locator("dialog[open]").get_by_role("button", name="Show it").click()
    await expect(page.locator(".toast", has_text="The message for Box 1 is on its way").last).to_be_visible()
    await machines.get_by_role("button", name="Help for the machine of Box 1").click()
    await expect(page.locator("dialog[open]")).to_contain_text("Ways: NinjaOne: answers; the bay's own program: answers.")
    await sound(page)
    await page.screenshot(path=tmp_path / f"help-{scheme}.png")
    assert said == []
