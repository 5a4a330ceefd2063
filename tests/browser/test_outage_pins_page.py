"""The spare PINs for outages on the staff page, in Chromium: how many there are, the alert, and the step that voids them."""

import pytest
import pytest_asyncio
from playwright.async_api import expect

from shared.ledger import outage_pins, records
from shared.sealing import Sealer
from tests.browser.site_pages_world import sound, staff_page
from tests.site_agent.site_world import SITE

pytestmark = [pytest.mark.needs_chromium, pytest.mark.rule("pass-4"), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def world(world):
    w, _ = world
    w.hub.desk.sealer = Sealer(bytes(32))
    await w.kit.outage_pins.tick()
    await w.kit.credentials.settle()
    await w.quiet()
    return world


async def test_staff_see_the_stock_an_alert_and_void_it(browser, world):
    w, url = world
    page, said = await staff_page(browser, url, "sam", at=w.clock.now())
    doors = page.get_by_label("Doors")
    count = w.kit.outage_pins.state().ready
    await expect(doors).to_contain_text(f"{count} spare PINs for outages")
    spare = w.db.read(lambda tx: outage_pins.unassigned(tx, SITE))[0]
    await w.db.write(lambda tx: outage_pins.used(tx, w.agent.desk, spare.id, "Front", int(w.clock.now())))
    await page.reload()
    await expect(doors.get_by_role("alert")).to_contain_text("Front door opened at 12:0")
    await sound(page)
    await doors.get_by_text("spare PINs for outages").click()
    await doors.get_by_role("button", name="Void spare PINs…").click()
    sheet = page.locator("dialog[open]")
    await expect(sheet).to_contain_text("PINs of bookings go on working")
    await sheet.get_by_role("button", name="Void them all").click()
    await expect(page.locator(".toast", has_text="The spare PINs are void.").last).to_be_visible()
    await expect(doors).to_contain_text("No spare PINs for outages just now.")
    await expect(doors.get_by_role("button", name="Void spare PINs…")).to_have_count(0)
    assert w.kit.outage_pins.state().ready == 0 and said == []


async def test_somebody_who_may_only_look_cannot_void_them(browser, world):
    w, url = world
    page, _ = await staff_page(browser, url, "vi", at=w.clock.now())
    await expect(page.get_by_label("Doors")).to_contain_text("spare PINs for outages")
    await expect(page.get_by_role("button", name="Void spare PINs…")).to_have_count(0)


async def test_books_on_which_the_two_sides_differ_are_named(browser, world):
    w, url = world
    booking = await w.booked(1, 2)
    await w.db.write(lambda tx: records.put_conflict(tx, SITE, booking["id"], "hub", "books_differ", int(w.clock.now())))
    page, _ = await staff_page(browser, url, "sam", at=w.clock.now())
    told = page.get_by_label("Link to the booking centre")
    await expect(told.get_by_role("alert")).to_contain_text("do not say the same of these bookings")
    await expect(told.get_by_role("button", name=booking["id"])).to_be_visible()
    await sound(page)
