"""The admins' pages in Chromium: on a phone and a desk, in light and dark, readable and with room for a thumb; they work without a script."""

from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from cloud_hub.ports import Letter
from cloud_hub.services.outgoing import Told
from shared.ledger import work
from shared.ledger.work import Work
from shared.ledger.worker import LaneState
from tests.browser.customer_world import served
from tests.browser.test_customer_pages import DESK, LOOK, PHONE, opened
from tests.cloud_hub.hub_world import NOON, SITE, HubWorld

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]

LOST = "Nobody can tell whether it was done: the connection ended after the request had gone out."
ROWS = (
    ("confirmed|order-3f9a|sms", {"state": "stuck", "code": "unknown", "reason": LOST, "tries": 2, "since_at": NOON - 86_400}),
    ("reminder|order-77b1|1994750|push|subscription-0c1d2e3f4a5b6c7d8e9f", {"lane": "web_push", "state": "sent", "next_at": NOON + 3600}),
    ("cancelled|order-a810|mail", {"lane": "sendgrid", "state": "dropped", "code": "suppressed", "reason": "This address is not written to: bounced"}),
    ("confirmed|order-b2c4|mail", {"lane": "sendgrid", "state": "unknown", "code": "unknown", "reason": "The answer made no sense.", "next_at": NOON + 20}),
    ("moved|order-c0de|sms", {"state": "waiting", "due_at": NOON - 400, "reason": "It is limited to 100 requests at once."}),
    ("survey|order-9d21|mail", {"lane": "sendgrid", "state": "done", "ref": "msg-1"}),
)
LETTER = Letter(key="k", to="+19025550101", text="Bedford Golf: Box 1, Sat 21 Nov, 18:00 to 19:30. PIN 123 456.\nhttps://golf.example.test/b/order-3f9a/x")


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path: Path):
    async with served(tmp_path) as (w, url):
        fill(w)
        yield w, url


def fill(w: HubWorld) -> None:
    body = msgspec.json.encode(Told(event="confirmed", order_id="order-3f9a", bookings=("b-1",), channel="sms", letter=LETTER)).decode()
    for n, (row_id, more) in enumerate(ROWS):
        row = Work(**{"id": row_id, "kind": "message", "lane": "twilio", "site_id": SITE, "subject": row_id.split("|")[1], "who": f"guest-{n}",
                      "created_at": NOON - n * 700, "body": body, **more})  # fmt: skip
        w.db.write_now(lambda tx, row=row: work.put(tx, row))
    away = LaneState("twilio", 0, NOON + 140.0, "It answers that its key is revoked.", NOON - 900.0)
    w.app.litestar.state["work"]._states = lambda: [away, LaneState("sendgrid", 3, 0.0, ""), LaneState("web_push", 0, 0.0, "")]


async def sign_in(w: HubWorld, page: Page) -> None:
    await page.get_by_label("API key").fill(await w.new_key("admin"))
    await page.get_by_role("button", name="Sign in").click()


async def sound(page: Page) -> None:
    found = await page.evaluate(LOOK)
    assert found == [], f"{page.url}: {found}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_the_pages_fit_read_well_and_have_room_for_a_thumb(browser, world, size, scheme):
    w, url = world
    page, said = await opened(browser, url, viewport=size, color_scheme=scheme, bypass_csp=True)
    await page.goto("/manage/work")
    await sound(page)
    await sign_in(w, page)
    await expect(page.locator("h1")).to_have_text("Work")
    await sound(page)
    await page.locator(".work-row").first.click()
    await expect(page.locator(".letter pre")).to_contain_text("PIN 123 456")
    await sound(page)
    await page.goto("/manage/work?state=lost&text=nothing-like-it")
    await sound(page)
    await page.goto("/manage/work/no-such-row")
    await sound(page)
    assert said == []


async def test_a_person_finds_what_is_stuck_confirms_and_has_it_tried_again_without_a_script(browser, world):
    w, url = world
    page, said = await opened(browser, url, java_script_enabled=False)
    await page.goto("/manage/work?state=stuck")
    await sign_in(w, page)
    await page.locator(".work-row").click()
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".pill").first).to_have_text("Stuck")
    await page.get_by_label("Nobody knows whether this was done.").check()
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".pill").first).to_have_text("Waiting")
    assert w.db.read(lambda tx: work.one(tx, ROWS[0][0])).state == "waiting"
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.locator("h1")).to_have_text("Sign in")
    assert said == []
