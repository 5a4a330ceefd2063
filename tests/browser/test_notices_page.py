"""Facility notices and refusals in Chromium, on hub and site: written, read and ended by people, on a phone, a kiosk and a desk, in light and dark."""

from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from shared.ledger import notices, records, rule_hits
from shared.ledger.rule_hits import Key
from shared.model import Customer, Notice
from tests.browser import customer_world, site_pages_world
from tests.browser.site_pages_world import LYING, STANDING, kiosk_page, staff_page
from tests.browser.test_customer_pages import DESK, PHONE, fill, opened, pressed
from tests.browser.test_customer_pages import sound as hub_sound
from tests.browser.test_manage_page import sign_in
from tests.cloud_hub.hub_world import NOON, SITE, HubWorld

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]

TOLD = (
    ("critical", "The front door cannot be opened from outside until noon. Please call 902-555-0100 and we will let you in.", ""),
    ("warning", "Box 2 has no left-handed clubs this week.", "La Box 2 n’a pas de bâtons pour gauchers cette semaine."),
    ("info", "Parking behind the house is free after 18:00.", "Le stationnement derrière la maison est gratuit après 18 h."),
)


@pytest_asyncio.fixture(loop_scope="module")
async def hub(tmp_path: Path):
    async with customer_world.served(tmp_path) as (w, url):
        yield w, url


def tell(db, desk) -> None:
    for n, (level, text, french) in enumerate(TOLD):
        one = Notice(
            id=f"notice-no-{n:04d}", site_id=SITE, level=level, text=text, text_fr=french, from_at=NOON, until_at=NOON + 86_400, by="Testa Admin"
        )
        db.write_now(lambda tx, one=one: notices.state(tx, desk, one))


def refuse_some(w: HubWorld) -> None:
    testa = Customer(id="0c1d2e3f-4a5b-6c7d-8e9f-0a1b2c3d4e5f", name="Testa Birdie", email="testa@example.test")
    w.db.write_now(lambda tx: records.put_customer(tx, testa))
    for n, (rule, code, who, channel) in enumerate([
        ("R4", "cut_off_passed", "", "web"), ("R2", "duration_too_long", testa.id, "kiosk"), ("R5", "too_many_open", testa.id, "api"),
        ("R3", "too_far_ahead", "", "web"), ("R6", "outside_hours", "", "staff"),
    ]):  # fmt: skip
        key = Key(SITE, rule, code, who, channel)
        w.db.write_now(lambda tx, key=key, n=n: rule_hits.add(tx, w.hub.desk, {key: (1234 - 250 * n, NOON - 3600 * n)}))


def sizes(*those: dict) -> list[dict]:
    return [{"viewport": size, "color_scheme": scheme, "bypass_csp": True} for size in those for scheme in ("light", "dark")]


@pytest.mark.parametrize("look", sizes(PHONE, DESK))
async def test_guests_read_them_on_the_way_to_a_booking(browser, hub, look):
    w, url = hub
    tell(w.db, w.hub.desk)
    page, said = await opened(browser, url, **look)
    await page.goto("/book")
    await _told(page)
    await page.goto(f"/book/{SITE}")
    await _told(page)
    await pressed(page)
    await _told(page)
    await fill(page)
    await page.get_by_role("button", name="Book for").click()
    await expect(page.locator("h1")).to_have_text("You’re booked")
    await _told(page)
    assert said == []


async def _told(page: Page) -> None:
    await expect(page.locator(".announcement")).to_have_count(3)
    await expect(page.get_by_role("alert").first).to_contain_text("Important The front door")
    await hub_sound(page)


@pytest.mark.parametrize("look", sizes(PHONE, DESK))
async def test_admins_write_look_at_and_end_one_and_see_who_was_refused(browser, hub, look):
    w, url = hub
    refuse_some(w)
    page, said = await opened(browser, url, **look)
    await page.goto("/manage/notices")
    await sign_in(w, page)
    await page.get_by_label("Where").select_option("Bedford")
    await page.get_by_label("How urgent").select_option("warning")
    await page.get_by_label("English").fill(TOLD[1][1])
    await page.get_by_label("French").fill(TOLD[1][2])
    await page.get_by_role("button", name="See how it looks").click()
    await expect(page.get_by_role("heading", name="This is what guests will see")).to_be_visible()
    await hub_sound(page)
    await page.get_by_role("button", name="Show it to guests").click()
    await expect(page.locator(".standing .announcement")).to_contain_text(TOLD[1][1])
    await hub_sound(page)
    await page.get_by_role("link", name="Refusals").click()
    await expect(page.get_by_role("row", name="Longer than may be booked R2")).to_contain_text("984")
    await hub_sound(page)
    await page.get_by_role("link", name="Notices").click()
    await page.get_by_role("button", name="End it").click()
    await expect(page.get_by_role("status").first).to_contain_text("not shown any more")
    assert said == []


@pytest.mark.parametrize("look", sizes(LYING, STANDING))
async def test_guests_read_them_at_the_kiosk_and_choose_what_is_free_instead(browser, world, look):
    w, url = world
    tell(w.db, w.agent.desk)
    page, said = await kiosk_page(browser, w, url, **look)
    await expect(page.locator(".announcement")).to_have_count(3)
    await site_pages_world.sound(page)
    for path in ("/kiosk/book", "/kiosk/check-in", f"/kiosk/book/{SITE}.box-1?start={NOON // 900}"):
        await page.goto(path)
        await expect(page.get_by_role("alert").first).to_contain_text("The front door cannot be opened")
        await site_pages_world.sound(page)
    await w.booked(1, 2)
    await page.goto(f"/kiosk/book/{SITE}.box-1?start={NOON // 900 + 4}")
    await expect(page.locator(".way")).to_have_count(3)
    await site_pages_world.sound(page)
    await page.locator(".way").first.click()
    await expect(page.get_by_text("How long?")).to_be_visible()
    assert said == [one for one in said if "409" in one], "the page of the no is the only one that was refused"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_staff_tell_guests_and_take_it_back(browser, world, scheme):
    w, url = world
    page, said = await staff_page(browser, url, "sam", at=w.clock.now(), color_scheme=scheme)
    told = page.get_by_label("Notices for guests")
    await expect(told).to_contain_text("Nothing just now.")
    await told.get_by_role("button", name="Tell guests…").click()
    sheet = page.locator("dialog[open]")
    await sheet.get_by_label("English").fill("The front door sticks. Please pull it hard.")
    await sheet.get_by_label("How urgent").select_option("critical")
    await site_pages_world.sound(page)
    await sheet.get_by_role("button", name="Show it to guests").click()
    await expect(told.locator("li")).to_contain_text("The front door sticks.")
    [one] = w.db.read(lambda tx: notices.current(tx, SITE, int(w.clock.now())))
    assert (one.level, one.by) == ("critical", "staff-sam") and one.until_at % 1800 == 0
    await site_pages_world.sound(page)
    await told.get_by_role("button", name="End the notice").click()
    await expect(told).to_contain_text("Nothing just now.")
    assert said == []


async def test_somebody_who_may_only_look_writes_and_ends_none(browser, world):
    w, url = world
    tell(w.db, w.agent.desk)
    page, _ = await staff_page(browser, url, "vi", at=w.clock.now())
    told = page.get_by_label("Notices for guests")
    await expect(told.locator("li")).to_have_count(3)
    await expect(told.get_by_role("button")).to_have_count(0)
