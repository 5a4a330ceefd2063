"""The doors as a whole on the staff page, in Chromium: an emergency asked twice, a reader that is offline, a card for a guest, a clip."""

import pytest
from msgspec.structs import replace
from playwright.async_api import expect

from site_agent.ports import DoorCard
from site_agent.services.doors.door_trail import Clips
from tests.browser.site_pages_world import PHONE, sound, staff_page
from tests.site_agent.site_world import FRONT, SITE
from tests.site_agent.test_door_trail import event, granted

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]


async def test_an_emergency_is_asked_twice_seen_by_everybody_and_ended(browser, world, tmp_path):
    w, url = world
    reader = w.doors.fitted[1]
    w.doors.fitted[1] = replace(reader, online=False)
    w.clock.forward(61)
    await w.kit.doors.look()
    await w.until(lambda: w.kit.doors.panel().told)
    page, said = await staff_page(browser, url, "sam", at=w.clock.now())
    doors = page.get_by_label("Doors", exact=True)
    await expect(doors).to_contain_text("The reader “Front reader” at the front door is offline.")
    await doors.get_by_text("Hubs and readers (2)").click()
    await expect(doors.locator(".device.off")).to_contain_text("firmware v2.7")
    await doors.get_by_role("button", name="Emergency…").click()
    sheet = page.locator("dialog[open]")
    await sheet.get_by_label("Lock-down").check()
    await sheet.get_by_label("Why?").fill("Somebody shouts in the hall")
    await sheet.get_by_role("button", name="Go on").click()
    await expect(sheet.get_by_role("alert")).to_contain_text("no PIN, code or card opens any door")
    await sound(page)
    await page.screenshot(path=tmp_path / "asks.png")
    await sheet.get_by_label("For how many minutes?").fill("20")  # another wish asks again
    await sheet.get_by_role("button", name="Go on").click()
    await sheet.get_by_role("button", name="Yes: lock-down now").click()
    await expect(page.locator("[data-alarm=emergency_lockdown]")).to_contain_text("Sam Example called it: Somebody shouts in the hall.")
    assert w.doors.mode == "lockdown"
    other, _ = await staff_page(browser, url, "vi", at=w.clock.now(), viewport=PHONE, color_scheme="dark")
    await expect(other.locator("[data-alarm=emergency_lockdown]")).to_contain_text("Lock-down until")
    for may_not in ("Emergency…", "End it…"):
        await expect(other.get_by_role("button", name=may_not)).to_have_count(0)
    await sound(other)
    await other.screenshot(path=tmp_path / "phone.png")
    await expect(page.get_by_label("Access trail", exact=True)).to_contain_text("Sam Example called a lock-down")
    await sound(page)
    await page.screenshot(path=tmp_path / "lockdown.png")
    await expect(doors.get_by_role("button", name="End it…")).to_be_visible()
    await page.locator("[data-alarm=emergency_lockdown]").get_by_role("button", name="End it…").click()
    await sheet.get_by_role("button", name="Yes, let the doors go").click()
    await expect(page.locator("[data-alarm=emergency_lockdown]")).to_have_count(0)
    assert w.doors.mode == "normal" and said == []


async def test_one_door_is_held_open_with_a_reason_and_let_close(browser, world):
    w, url = world
    page, said = await staff_page(browser, url, "sam", at=w.clock.now())
    front, sheet = page.get_by_label("Doors", exact=True).locator(".door").first, page.locator("dialog[open]")
    await front.get_by_role("button", name="Hold Front door open").click()
    await sheet.get_by_label("Why?").fill("Chairs come in")
    await sheet.get_by_label("For how many minutes?").fill("20")
    await sound(page)
    await sheet.get_by_role("button", name="Hold it open").click()
    await expect(front).to_contain_text("held unlocked until 12:20 · leaf closed")
    await expect(page.get_by_label("Access trail", exact=True)).to_contain_text(
        "Sam Example held the front door open at 12:00, until 12:20: Chairs come in."
    )
    await sound(page)
    other, _ = await staff_page(browser, url, "vi", at=w.clock.now(), viewport=PHONE)
    await expect(other.locator(".door").first).to_contain_text("held unlocked until 12:20 · leaf closed")
    await expect(other.locator(".door").get_by_role("button")).to_have_count(0)
    await front.get_by_role("button", name="Let Front door close").click()
    await expect(front.get_by_role("button", name="Hold Front door open")).to_be_visible()
    assert w.doors.holds[FRONT] == "normal" and said == []


async def test_a_guest_is_lent_a_card_and_a_row_leads_to_its_recording(browser, world, tmp_path):
    w, url = world
    w.kit.door_trail._settings = replace(
        w.kit.door_trail._settings, clips=Clips("https://protect.example.test/{camera}/{at_ms}", {FRONT: "cam-1"})
    )
    booking = await w.booked(3, 0)
    ref = await granted(w, booking["id"])
    page, said = await staff_page(browser, url, "sam", at=w.clock.now(), color_scheme="dark")
    w.doors.happens.put_nowait(event(actor_id=ref))
    clip = page.get_by_role("link", name="Recording: Front door opened")
    await expect(clip).to_have_attribute("href", f"https://protect.example.test/cam-1/{int(w.clock.now())}000")
    await page.locator('.item[aria-label*="Box 3"]').first.click()
    sheet = page.locator("dialog[open]")
    await sheet.get_by_role("button", name="Lend a card…").click()
    await expect(sheet).to_contain_text("Hold the card to the reader now.")
    w.doors.card = DoorCard("token-1", "0451")
    await page.clock.run_for(1_500)
    await expect(sheet).to_contain_text("The card 0451 opens what this booking opens, until its end.")
    await sound(page)
    await page.screenshot(path=tmp_path / "card.png")
    await sheet.get_by_role("button", name="Card is back").click()
    await expect(sheet.get_by_role("button", name="Lend a card…")).to_be_visible()
    assert w.doors.cards == {} and said == [] and SITE in booking["resource_id"]
