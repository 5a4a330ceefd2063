"""The pages of the operator's own words in Chromium: on a phone and a desk, in light and dark; a text is written, seen, kept and put back
without a script; and the page of a mail is drawn in a frame that can do nothing."""

from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from cloud_hub.services.admins import Admin
from cloud_hub.services.words_desk import Text, Which
from cloud_hub.store import texts as kept
from tests.browser.customer_world import served
from tests.browser.test_customer_pages import DESK, LOOK, PHONE, opened
from tests.browser.test_manage_page import sign_in
from tests.cloud_hub.hub_world import NOON, SITE, HubWorld

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]

SMS, MAIL = Which("confirmed", "sms", "fr", SITE), Which("confirmed", "mail", "fr", "", "group")
OWN_SMS = Text("{{ facility }} : c'est réservé, {{ bays }}, {{ when }}.{% if pin %} NIP {{ pin }}.{% endif %} {{ link }}")
OWN_MAIL = Text(
    "Bonjour{% if name %} {{ name }}{% endif %},\n\nvotre tournoi est réservé.\n\n{{ visit_card }}\n\n{{ pin_card }}",
    "Votre tournoi chez {{ facility }}",
    "<h2>Votre tournoi</h2><p>Bonjour{% if name %} {{ name }}{% endif %}, tout est prêt chez <strong>{{ facility }}</strong>.</p>{{ visit_card }}{{ pin_card }}",
)


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path: Path):
    async with served(tmp_path) as (w, url):
        await fill(w)
        yield w, url


async def fill(w: HubWorld) -> None:
    desk, admin = w.app.litestar.state["words"], Admin("key-1", "Testa Birdie")
    await desk.save(SMS, OWN_SMS, 0, admin)
    await desk.save(MAIL, OWN_MAIL, 0, admin)
    w.db.write_now(lambda tx: kept.failed(tx, MAIL, "The subject came out 163 characters long; 150 are allowed.", NOON))


async def sound(page: Page) -> None:
    found = await page.evaluate(LOOK)
    unnamed = await page.evaluate("[...document.querySelectorAll('textarea')].filter(e => !e.labels.length).map(e => e.name)")
    assert (found, unnamed) == ([], []), f"{page.url}: {found} {unnamed}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_the_pages_fit_read_well_and_have_room_for_a_thumb(browser, world, size, scheme):
    w, url = world
    page, said = await opened(browser, url, viewport=size, color_scheme=scheme)
    await page.goto("/manage/texts")
    await sign_in(w, page)
    await expect(page.locator("h1")).to_have_text("Words")
    await sound(page)
    await page.locator(".work-row", has_text="in French").first.click()
    await expect(page.locator("h1")).to_contain_text("in French")
    await sound(page)
    await page.goto(f"/manage/texts/confirmed/sms/fr?facility={SITE}")
    await page.fill("#text", "{{ pinn }}")
    await page.get_by_role("button", name="Check and preview").click()
    await expect(page.locator("#said")).to_contain_text("there is no value 'pinn' here")
    await sound(page)
    assert said == []


async def test_the_page_of_a_mail_is_drawn_with_its_styles_in_a_frame_without_rights(browser, world):
    w, url = world
    page, said = await opened(browser, url, viewport=DESK, color_scheme="light")
    await page.goto("/manage/texts/confirmed/mail/fr?kind=group")
    await sign_in(w, page)
    frame = page.frame_locator("iframe.mail").first
    await expect(frame.locator("h2")).to_have_text("Votre tournoi")
    drawn = await frame.locator("body").evaluate("b => getComputedStyle(b).backgroundColor")
    assert drawn == "rgb(246, 245, 241)", "the mail's own paper"
    assert await page.locator("iframe.mail").first.get_attribute("sandbox") == ""
    assert await frame.locator("body").evaluate("() => origin") == "null"
    assert said == []


async def test_a_person_writes_a_text_mends_it_keeps_it_and_puts_it_back_without_a_script(browser, world):
    w, url = world
    page, said = await opened(browser, url, java_script_enabled=False)
    await page.goto("/manage/texts")
    await sign_in(w, page)
    await page.get_by_role("link", name="English for Reminder by SMS").click()
    await page.select_option("#facility", SITE)
    await page.get_by_role("button", name="Show this one").click()
    await page.fill("#text", "Bring your clubs to {{ facilty }}")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#said")).to_contain_text("there is no value 'facilty' here")
    await expect(page.locator("#text")).to_have_value("Bring your clubs to {{ facilty }}")
    await page.fill("#text", "Bring your clubs to {{ facility }}.")
    await page.get_by_role("button", name="Check and preview").click()
    await expect(page.locator(".previews .sms").first).to_have_text("Bring your clubs to Bedford.")
    await expect(page.locator(".previews")).to_contain_text("28 of 160 characters, one segment")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#said")).to_contain_text("It is saved, and sent from now on.")
    await page.get_by_role("button", name="Put back").click()
    await expect(page.locator("#said")).to_contain_text("Your text is put back")
    await page.get_by_role("link", name="Version 1").click()
    await expect(page.locator("#text")).to_have_value("Bring your clubs to {{ facility }}.")
    assert said == []
