"""What customers received, in a real browser: it is live, a guest answers STOP there, a mail opens in its frame, a key is revoked."""

import pytest
from playwright.async_api import expect

from deploy.emulators.message_vendors import MessageVendors
from deploy.emulators.messages.twilio_api import NUMBER, TwilioSettings, Wanted
from deploy.emulators.messages.vendors import Settings

GUEST = "+19025550123"
MAIL = {
    "personalizations": [{"to": [{"email": "testa.birdie@example.test"}]}],
    "from": {"email": "golf@example.test", "name": "Golf"},
    "subject": "Your booking",
    "content": [
        {"type": "text/plain", "value": "Come at noon."},
        {"type": "text/html", "value": "<h1>Come at noon</h1><script>document.body.textContent='acted'</script>"},
    ],
}


@pytest.mark.needs_chromium
@pytest.mark.asyncio(loop_scope="module")
async def test_a_person_sees_messages_answers_one_and_breaks_a_vendor(browser, tmp_path):
    vendors = MessageVendors(Settings(twilio=TwilioSettings(step_s=0.01)))
    await vendors.start()
    try:
        page = await (await browser.new_context(viewport={"width": 390, "height": 844})).new_page()
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        await page.goto(f"{vendors.desk_url}/_emulator/")
        await expect(page.get_by_text("Nobody received anything yet.")).to_be_visible()
        vendors.twilio.create(Wanted(to=GUEST, sender=NUMBER, service="", text="Your PIN is 4711"))
        vendors.sendgrid.accept(MAIL)
        await expect(page.locator("#screen")).to_contain_text("Your PIN is 4711")
        await expect(page.locator(".message.mail")).to_contain_text("delivered")
        await page.get_by_text("As the mail looks").click()
        await expect(page.frame_locator("iframe").get_by_role("heading", name="Come at noon")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        await page.locator(".message.sms .to").click()
        await page.get_by_label(f"Write as {GUEST}").fill("Where do I park?")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator(".message.mine")).to_contain_text("Where do I park?")
        await page.locator("#composer").get_by_role("button", name="STOP").click()
        await expect(page.locator("#screen")).to_contain_text("unsubscribed")
        assert [number for _, number in vendors.twilio.opted_out] == [GUEST]
        await page.get_by_role("button", name="Revoke the key").first.click()
        await expect(page.locator("#vendors")).to_contain_text("its key is refused")
        await page.get_by_role("button", name="Break", exact=True).click()
        await expect(page.locator("#vendors")).to_contain_text("1 × answers with an error")
        await page.get_by_role("button", name="Mend everything").click()
        await expect(page.locator("#vendors")).not_to_contain_text("its key is refused")
        assert vendors.faults["twilio"].waiting() == [] and troubles == []
    finally:
        await vendors.stop()
