"""The access trail on the staff page, in Chromium: a row the moment it happens, an alarm that is answered with a word, a filter, tampering."""

import pytest
from playwright.async_api import expect

from site_agent.services.doors import door_trail
from tests.browser.site_pages_world import sound, staff_page
from tests.site_agent.test_door_trail import event, granted, leaf

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]


async def test_staff_see_a_door_open_an_alarm_and_answer_it_and_see_that_the_trail_was_changed(browser, world):
    w, url = world
    booking = await w.booked(3, 0)
    ref = await granted(w, booking["id"])
    page, said = await staff_page(browser, url, "sam", at=w.clock.now())
    trail = page.get_by_label("Access trail", exact=True)
    await expect(trail).to_contain_text("Nothing has happened at the doors yet.")
    w.doors.happens.put_nowait(event(actor_id=ref))
    await expect(trail).to_contain_text("Front door opened at 12:00 by PIN for Testa B., Box 3, 12:00 to 13:00.")
    w.doors.happens.put_nowait(event("denied", "nfc", 1, door_id="door-side"))
    await expect(trail.locator(".happened")).to_have_count(2)
    await expect(trail.locator(".happened").first).to_contain_text("Side door refused a card of no booking at 12:00.")
    await trail.get_by_role("combobox", name="Door").select_option("door-side")
    await expect(trail.locator(".happened")).to_have_count(1)
    await trail.get_by_role("combobox", name="Door").select_option("")
    await trail.get_by_role("button", name="Access trail of this booking").click()
    await expect(trail.locator(".happened")).to_have_count(1)
    await trail.get_by_role("button", name="Show all").click()
    await expect(trail.locator(".happened")).to_have_count(2)

    w.doors.happens.put_nowait(leaf("opened", 60))
    await expect(trail.locator(".happened")).to_have_count(3)
    w.clock.forward(60 + door_trail.FORCED_WAIT_S)
    await w.kit.door_trail.tick()
    alarm = trail.get_by_role("alert").first
    await expect(alarm).to_contain_text("Forced open: Front door")
    await expect(alarm).to_contain_text("Let in there last: Testa B., Box 3")
    await sound(page)
    await alarm.get_by_role("textbox").fill("the wind took it")
    await alarm.get_by_role("button", name="Answer").click()
    await expect(alarm).not_to_contain_text("Forced open")
    assert w.kit.door_trail.alerts() == []

    await trail.get_by_role("button", name="Check that nobody changed it").click()
    await expect(page.locator(".toast").last).to_contain_text("as it was written")
    await w.db.write(lambda tx: tx.run("DELETE FROM door_trail WHERE n = 2"))
    await trail.get_by_role("button", name="Check that nobody changed it").click()
    await expect(page.locator("[data-alarm=trail_changed]")).to_contain_text("row 2 is missing")
    await sound(page)
    assert said == []


async def test_somebody_who_may_only_look_reads_alarms_and_answers_none(browser, world):
    w, url = world
    w.doors.happens.put_nowait(event("forced", ""))
    await w.until(lambda: w.kit.door_trail.waiting() == 1)
    page, said = await staff_page(browser, url, "vi", at=w.clock.now())
    trail = page.get_by_label("Access trail", exact=True)
    await expect(trail.get_by_role("alert").first).to_contain_text("Forced open: Front door")
    await expect(trail.get_by_role("button", name="Answer")).to_have_count(0)
    assert said == []
