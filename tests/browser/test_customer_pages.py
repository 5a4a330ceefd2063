"""The customer's pages in Chromium: the whole path with JavaScript and without, on a phone and a desk, by keyboard, in light and dark."""

import re
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from shared.ledger import holds, records
from tests.browser.customer_world import served
from tests.cloud_hub.hub_world import LINE_AFTER, NOON, SITE

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
FAR = NOON // 900 + LINE_AFTER + 8  # 22:00 that night


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path: Path):
    async with served(tmp_path) as (w, url):
        yield w, url


async def opened(browser: Browser, url: str, **options) -> tuple[Page, list[str]]:
    """A page, and what its console complains of (answers with a status of refusal aside)."""
    context = await browser.new_context(**{"viewport": PHONE, "base_url": url, **options})
    page = await context.new_page()
    page.set_default_timeout(10_000)
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type == "error" and "the server responded with" not in m.text else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return page, said


async def fill(page: Page, **details: str) -> None:
    details = {"name": "Testa Birdie", "phone": "902-555-0101", "email": "testa@example.test"} | details
    for name, value in details.items():
        await page.fill(f"#{name}", value)


async def pressed(page: Page, start: int = FAR) -> None:
    """From the list of places to the details."""
    await page.goto("/")
    await page.click(f'a[href="/book/{SITE}"]')
    await page.click(f'button[name="start"][value="{start}"]')
    await expect(page.locator("h1")).to_have_text("Your details")


def live(w) -> list:
    return w.db.read(lambda tx: records.bookings_where(tx, "status = 'confirmed'", {}))


@pytest.mark.slow
@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_a_guest_books_changes_extends_and_cancels(browser, world, scripts):
    w, url = world
    page, said = await opened(browser, url, java_script_enabled=scripts)
    await pressed(page)
    await expect(page.locator(".countdown")).to_have_text(re.compile("left") if scripts else "")
    await fill(page)
    await page.click("text=Book for $39.90")
    await expect(page.locator("h1")).to_have_text("You’re booked")
    (booking,) = live(w)
    await expect(page.locator(".pin span").first).to_have_text(f"{booking.pin[:3]} {booking.pin[3:]}")
    await expect(page.locator(".pass svg.qr")).to_be_visible()

    await page.click("text=Change time")
    await page.click(f'a[href*="start={FAR - 4}"]')
    await page.click("text=Change to this time")
    await expect(page.locator("h2").first).to_contain_text("21:00 to 22:00")
    await w.quiet()  # the old time is free once the facility has heard
    await page.reload()
    await page.click("text=Stay longer")
    await page.click("button:has-text('1 hour more')")
    await expect(page.locator("h2").first).to_contain_text("21:00 to 23:00")
    await page.click("a:has-text('Cancel')")
    await page.click("button:has-text('Cancel the booking')")
    await expect(page.locator("h1")).to_have_text(re.compile("Cancelled|on its way"))
    assert live(w) == [] and said == []


@pytest.mark.slow
@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_bad_input_is_told_and_changes_nothing(browser, world, scripts):
    w, url = world
    page, said = await opened(browser, url, java_script_enabled=scripts)
    await pressed(page)
    await fill(page, name="", phone="12")
    await page.click("button.big")
    await expect(page.locator("#errors")).to_contain_text("Please give your name.")
    await expect(page.locator("#errors")).to_contain_text("A phone number has 7 to 15 digits")
    await expect(page.locator("#email")).to_have_value("testa@example.test")
    await expect(page.locator("#errors")).to_be_focused()
    assert live(w) == [] and said == []


async def test_the_times_follow_the_search_without_a_new_page(browser, world):
    w, url = world
    page, said = await opened(browser, url)
    await page.goto(f"/book/{SITE}")
    await expect(page.locator("text=Show times")).to_be_hidden()
    await page.locator("#guests").select_option("6")
    await expect(page.locator(".results-head")).to_contain_text("2 boxes together")
    await page.locator("#minutes").select_option("90")
    await expect(page.locator(".results-head")).to_contain_text("1 h 30 min for 6 people")
    await page.locator(".days a").nth(1).click()
    await expect(page.locator("#times h2")).to_have_text("Tomorrow, Sunday 22 November")
    assert "date=2026-11-22" in page.url and "guests=6" in page.url
    await page.reload()
    await expect(page.locator(".results-head")).to_contain_text("1 h 30 min for 6 people")
    await page.locator(".chip", has_text="Box 2").click()
    await expect(page.locator("[role=alert], .empty").first).to_be_visible()
    assert said == []


async def test_the_hold_counts_down_and_ends_with_a_way_on(browser, world):
    w, url = world
    page, said = await opened(browser, url)
    await page.clock.install()
    await pressed(page)
    await page.clock.run_for(3_000)
    await expect(page.locator(".countdown")).to_contain_text("9:5")
    await page.clock.run_for(60_000)
    await expect(page.locator("[data-countdown-spoken]")).to_have_text(re.compile("[89] minutes left"))
    w.clock.forward(601)
    w.db.write_now(lambda tx: holds.expire(tx, w.hub.desk))
    await page.clock.run_for(600_000)
    await expect(page.locator("h1")).to_have_text("This time cannot be booked")
    await page.locator(".way").first.click()
    await expect(page.locator("h1")).to_have_text("Your details")
    assert said == []


async def test_a_waiting_page_goes_on_by_itself_when_the_facility_has_answered(browser, world):
    w, url = world
    page, said = await opened(browser, url)
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)
    await page.goto(f"/book/{SITE}")
    await page.click(f'button[name="start"][value="{NOON // 900 + 8}"]')
    await expect(page.locator("h1")).to_have_text("Asking Bedford…")
    w.network.heal(f"site-{SITE}")
    w.clock.forward(3)
    w.site.pump.tick()
    w.say_hello()
    await expect(page.locator("h1")).to_have_text("Your details", timeout=15_000)
    assert said == []


async def test_the_path_works_by_keyboard_alone(browser, world):
    w, url = world
    page, said = await opened(browser, url, viewport=DESK)
    await page.goto("/book")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.locator(".place").first).to_be_focused()
    await page.keyboard.press("Enter")
    await page.locator(f'button[name="start"][value="{FAR}"]').focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Your details")
    await page.locator("#name").focus()
    for text in ("Testa Birdie", "902-555-0101", "testa@example.test"):
        await page.keyboard.type(text)
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("You’re booked")
    assert len(live(w)) == 1 and said == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK, {"width": 320, "height": 640}], ids=["phone", "desk", "small"])
async def test_every_page_fits_reads_well_and_has_room_for_a_thumb(browser, world, size, scheme):
    w, url = world
    page, said = await opened(browser, url, viewport=size, color_scheme=scheme, bypass_csp=True)
    await page.goto("/book")
    await sound(page)
    await page.goto(f"/book/{SITE}?date=2026-11-22&guests=6")
    await sound(page)
    await page.locator(".slot").nth(20).click()
    await sound(page)
    await page.click("button.big")
    await sound(page)
    await fill(page)
    await page.click("button.big")
    await expect(page.locator("h1")).to_have_text("You’re booked")
    await sound(page)
    root = page.url.partition("?")[0]
    for below in ("/cancel", f"/change?booking={live(w)[0].id}", f"/extend?booking={live(w)[0].id}"):
        await page.goto(root + below)
        await sound(page)
    await page.goto("/b/no/where")
    await sound(page)
    assert said == []


async def sound(page: Page) -> None:
    """What WCAG 2.2 AA asks that a program can see."""
    found = await page.evaluate(LOOK)
    assert found == [], f"{page.url}: {found}"


#: no sideways scrolling; names for fields, buttons and links; headings in order; targets of 44 px; text contrast of 4.5 to 1 (3 to 1 where large)
LOOK = r"""
() => {
  const wrong = [];
  if (document.documentElement.scrollWidth > window.innerWidth) wrong.push("scrolls sideways");
  if (!document.documentElement.lang) wrong.push("no language");
  const shown = (e) => e.getClientRects().length && getComputedStyle(e).visibility !== "hidden" && !e.closest(".sr, .skip");
  let level = 0;
  for (const h of document.querySelectorAll("h1, h2, h3, h4")) {
    const own = Number(h.tagName[1]);
    if (own > level + 1) wrong.push("heading jumps: " + h.textContent.trim());
    level = own;
  }
  for (const f of document.querySelectorAll("input:not([type=hidden]), select"))
    if (!f.labels.length || !f.labels[0].textContent.trim()) wrong.push("no label: " + f.name);
  for (const b of document.querySelectorAll("a, button")) {
    if (!b.textContent.trim() && !b.getAttribute("aria-label")) wrong.push("no name: " + b.outerHTML.slice(0, 80));
    if (!shown(b) || b.closest("#errors, .notice")) continue;
    const r = b.getBoundingClientRect();
    if (r.height < 43.5) wrong.push("too low for a thumb: " + b.textContent.trim() + " " + r.height);
  }
  for (const id of document.querySelectorAll("[aria-describedby], [aria-labelledby]"))
    for (const ref of ((id.getAttribute("aria-describedby") || "") + " " + (id.getAttribute("aria-labelledby") || "")).split(" ").filter(Boolean))
      if (!document.getElementById(ref)) wrong.push("points nowhere: " + ref);
  const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const read = (text) => (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const behind = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const c = read(getComputedStyle(at).backgroundColor);
      if (c.length < 4 || c[3] > 0.99) return c;
    }
    return [255, 255, 255];
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !shown(e) || e.closest("script, noscript, option, svg")) continue;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const a = light(read(style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (large ? 3 : 4.5)) wrong.push("hard to read, " + ratio.toFixed(2) + ": " + walk.currentNode.textContent.trim().slice(0, 40));
  }
  return [...new Set(wrong)];
}
"""
