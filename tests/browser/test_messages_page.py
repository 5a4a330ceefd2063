"""The guest's pages of messages and of how it was, in Chromium: on a phone and a desk, in light and dark, by keyboard, without a script; and a browser
that is told: subscribing against the emulated push service, the service worker's own handling of what is pushed.

A real subscription needs the browser maker's push service, so `PushManager` is stood in for; worker, registration and messages are real.
"""

import asyncio
import json
import time
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio
from playwright.async_api import Page, Worker, expect

from cloud_hub import app as hub_app
from cloud_hub.store import notifications as kept
from cloud_hub.store import surveys
from cloud_hub.vendors.web_push import WebPush
from deploy.emulators.message_vendors import MessageVendors
from deploy.emulators.messages.push_crypto import new_vapid_key
from shared.ledger import attendance, records
from shared.notifications import Preferences
from tests.browser.customer_world import served
from tests.browser.test_customer_pages import DESK, PHONE, fill, opened, pressed, sound
from tests.cloud_hub.hub_world import NOON, HubWorld
from tests.cloud_hub.test_notifying import Scripted
from tests.cloud_hub.test_survey_pages import put
from tests.deploy.message_world import running

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]

#: stands in for what only a browser's maker can give; what it was asked for stays in the page's own storage, as in a real browser
PUSH_MANAGER = """
(given) => {
  const made = (key) => ({
    endpoint: given.endpoint, options: { applicationServerKey: key }, toJSON: () => given,
    unsubscribe: async () => { localStorage.removeItem("asked"); return true; },
  });
  const read = () => { const text = localStorage.getItem("asked"); return text ? made(new Uint8Array(JSON.parse(text)).buffer) : null; };
  PushManager.prototype.getSubscription = async () => read();
  PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
    if (!userVisibleOnly || applicationServerKey.length !== 65) throw new Error("asked for in a wrong way");
    localStorage.setItem("asked", JSON.stringify([...applicationServerKey]));
    return read();
  };
}
"""


class Rig:
    """The hub with its channels, served, and the emulated push service."""

    def __init__(self, w: HubWorld, url: str, vendors: MessageVendors, push: WebPush) -> None:
        self.w, self.url, self.vendors, self.push = w, url, vendors, push

    def order(self) -> str:
        """The only order there is, by its page's address."""
        (order_id,) = {b.order_id for b in self.w.db.read(lambda tx: records.bookings_where(tx, "1 = 1", {}))}
        return f"/b/{order_id}/{self.w.hub.customer_links.token(order_id)}"

    def told(self) -> list[dict]:
        """The browsers that hear of it."""
        order_id = self.order().split("/")[2]
        return [json.loads(doc) for _, doc in self.w.db.read(lambda tx: kept.subscriptions(tx, order_id))]


@pytest_asyncio.fixture(loop_scope="module")
async def rig(tmp_path: Path, monkeypatch):
    async with running() as vendors:
        sms, mail = Scripted("sms", "twilio"), Scripted("mail", "sendgrid")
        push = WebPush(vapid_key=new_vapid_key(Random(5)), contact="mailto:ops@example.test", loopback=True, now=time.time)
        monkeypatch.setattr(hub_app, "opened", lambda config, now: ({"sms": sms, "mail": mail, "push": push}, {}))
        async with served(tmp_path) as (w, url):
            w.app.ticker.stop()
            yield Rig(w, url, vendors, push)


async def booked(rig: Rig, browser, **options) -> tuple[Page, list[str]]:
    page, said = await opened(browser, rig.url, **options)
    await pressed(page)
    await fill(page)
    await page.click("button.big")
    await expect(page.locator("h1")).to_have_text("You’re booked")
    return page, said


# ---- how they look
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK, {"width": 320, "height": 640}], ids=["phone", "desk", "small"])
async def test_the_pages_fit_read_well_and_have_room_for_a_thumb(browser, rig, size, scheme):
    page, said = await booked(rig, browser, viewport=size, color_scheme=scheme, bypass_csp=True)
    await sound(page)
    await page.goto(f"{rig.order()}/messages")
    await sound(page)
    await page.get_by_label("From").select_option("1320")
    await page.click("text=Save")
    await expect(page.locator("#errors")).to_be_focused()
    await sound(page)
    rig.w.db.write_now(lambda tx: kept.suppress(tx, "sms", "+19025550101", "stop", "STOP", NOON))
    rig.w.db.write_now(lambda tx: kept.put_preferences(tx, _customer(rig), Preferences(off=("mail", "app")), NOON))
    await page.goto(f"{rig.order()}/messages")
    await expect(page.locator(".notice.warn")).to_contain_text("Nothing is sent to you now")
    await sound(page)
    await page.goto(f"{rig.order()}/survey")
    await sound(page)
    await came(rig)
    await page.goto(f"{rig.order()}/survey")
    await page.click("text=Send")
    await expect(page.locator("#errors")).to_be_focused()
    await sound(page)
    await page.locator(".score", has_text="4").click()
    await page.fill("#words", "Good balls.\n\nCold coffee.")
    await page.click("text=Send")
    await expect(page.locator("h1")).to_have_text("Thank you")
    await sound(page)
    assert said == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_the_admins_page_of_answers_fits_and_reads_well(browser, rig, size, scheme):
    page, said = await opened(browser, rig.url, viewport=size, color_scheme=scheme, bypass_csp=True)
    (
        put(rig.w, 1, 5, words="Good balls.\nCold coffee, but a very long word: " + "b" * 120),
        put(rig.w, 2, 1),
        put(rig.w, 3, 3, site_id="dartmouth"),
    )
    await page.goto("/manage/answers")
    await page.get_by_label("API key").fill(await rig.w.new_key("admin"))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("h1")).to_have_text("Answers")
    await sound(page)
    rig.w.db.write_now(lambda tx: surveys.forget(tx, NOON + 2 * surveys.KEPT_S))
    await page.reload()
    await expect(page.locator(".figure.unknown")).to_have_text("unknown")
    await sound(page)
    assert said == []


def _customer(rig: Rig) -> str:
    return rig.w.db.read(lambda tx: records.bookings_where(tx, "1 = 1", {}))[0].customer_id


async def came(rig: Rig) -> None:
    b = rig.w.db.read(lambda tx: records.bookings_where(tx, "1 = 1", {}))[0]
    await rig.w.quiet()
    rig.w.site.db.write_now(lambda tx: attendance.attend(tx, rig.w.site.desk, b.id, "checked_in", by="kiosk"))
    await rig.w.quiet()


# ---- how they are used
async def test_everything_but_a_device_is_chosen_without_a_script(browser, rig):
    page, said = await booked(rig, browser, java_script_enabled=False)
    await page.click("text=How we reach you")
    await page.get_by_label("SMS").uncheck()
    await page.get_by_label("Français").check(force=True)
    await page.get_by_label("From").select_option("1320")
    await page.get_by_label("Until").select_option("480")
    await page.click("text=Save")
    await expect(page.locator(".notice")).to_contain_text("Saved.")
    chosen = rig.w.db.read(lambda tx: kept.preferences(tx, _customer(rig)))
    assert chosen == Preferences(language="fr", off=("sms",), quiet=(1320, 480))
    await expect(page.get_by_role("button", name="Tell me on this device")).to_be_hidden()
    await expect(page.locator("[data-push-says]")).to_contain_text("does not take such messages")
    assert said == []


async def test_a_visit_is_answered_by_keyboard_alone(browser, rig):
    page, said = await booked(rig, browser)
    await came(rig)
    await page.goto(f"{rig.order()}/survey")
    await page.locator("[name=score]").first.focus()
    for _ in range(3):
        await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Tab")
    await page.keyboard.type("Good balls.")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Thank you")
    answer = rig.w.db.read(lambda tx: surveys.of(tx, rig.order().split("/")[2]))
    assert (answer.score, answer.words) == (4, "Good balls.") and said == []


# ---- a browser that is told
async def with_push(rig: Rig, browser, given: dict | None = None, permissions: tuple[str, ...] = ("notifications",)):
    page, said = await opened(browser, rig.url)
    await page.context.grant_permissions(list(permissions), origin=rig.url)
    given = given or rig.vendors.subscribe(rig.push.public_key)
    await page.context.add_init_script(f"({PUSH_MANAGER})({json.dumps(given)})")
    await pressed(page)
    await fill(page)
    await page.click("button.big")
    await expect(page.locator("h1")).to_have_text("You’re booked")
    await page.goto(f"{rig.order()}/messages")
    return page, said, given


async def test_a_device_is_told_from_one_press_on_until_another(browser, rig):
    page, said, given = await with_push(rig, browser)
    await page.get_by_role("button", name="Tell me on this device").click()
    await expect(page.locator("[data-push-says]")).to_have_text("This device is told of this booking from now on.")
    assert [one["endpoint"] for one in rig.told()] == [given["endpoint"]]
    scope = await page.evaluate("navigator.serviceWorker.ready.then(r => r.scope + ' ' + r.active.scriptURL)")
    assert scope == f"{rig.url}/b/ {rig.url}/b/push.js"
    await page.reload()
    await expect(page.get_by_role("button", name="Tell this device no more")).to_be_visible()
    await expect(page.get_by_role("button", name="Tell me on this device")).to_be_hidden()
    await page.get_by_role("button", name="Tell this device no more").click()
    await expect(page.locator("[data-push-says]")).to_have_text("This device is told nothing any more.")
    await expect(page.get_by_role("button", name="Tell this device no more")).to_be_hidden()
    assert rig.told() == [] and await page.evaluate("localStorage.getItem('asked')") is None
    assert said == []


async def test_a_device_that_is_told_already_hears_of_the_next_order_whose_page_it_shows(browser, rig):
    page, said, given = await with_push(rig, browser)
    await page.get_by_role("button", name="Tell me on this device").click()
    await expect(page.get_by_role("button", name="Tell this device no more")).to_be_visible()
    first = rig.order().split("/")[2]
    rig.w.db.write_now(lambda tx: [kept.unsubscribe(tx, one) for one, _ in kept.subscriptions(tx, first)])
    await page.goto(rig.order())
    await rig.w.until(lambda: [one["endpoint"] for one in rig.told()] == [given["endpoint"]])
    assert said == []


async def test_a_device_whose_push_service_is_not_known_is_told_why_and_stays_as_it_was(browser, rig):
    elsewhere = rig.vendors.subscribe(rig.push.public_key) | {"endpoint": "https://intranet.example.test/x"}
    page, said, _ = await with_push(rig, browser, elsewhere)
    await page.get_by_role("button", name="Tell me on this device").click()
    await expect(page.locator("[data-push-says]")).to_have_text("The subscription names no push service that is known here.")
    await expect(page.get_by_role("button", name="Tell me on this device")).to_be_visible()
    assert rig.told() == [] and await page.evaluate("localStorage.getItem('asked')") is None and said == []


async def test_a_browser_that_lets_nothing_through_is_told_where_that_is_changed(browser, rig):
    page, said, _ = await with_push(rig, browser, permissions=())
    await page.get_by_role("button", name="Tell me on this device").click()
    await expect(page.locator("[data-push-says]")).to_contain_text("told to let no message through")
    assert rig.told() == [] and said == []


async def test_what_is_pushed_is_shown_once_however_often_it_comes_and_opens_the_booking(browser, rig):
    page, said, _ = await with_push(rig, browser)
    await page.get_by_role("button", name="Tell me on this device").click()
    await expect(page.get_by_role("button", name="Tell this device no more")).to_be_visible()
    deliver = await deliverer(page, rig.url)
    opens = f"{rig.url}{rig.order()}"
    letter = {"title": "Bedford", "body": "Box 1 at 22:00. PIN 123456", "tag": "mark-1", "url": opens}
    for sent in (letter, letter, {**letter, "body": "Box 2 now."}, {**letter, "tag": "mark-2", "url": "javascript:alert(1)"}):
        await deliver(json.dumps(sent))
    shown = await shown_by(page)
    assert sorted((one["tag"], one["body"], one["url"]) for one in shown) == [
        ("mark-1", "Box 2 now.", opens), ("mark-2", "Box 1 at 22:00. PIN 123456", ""),
    ]  # fmt: skip
    for broken in ("", "no JSON", "[]", '"text"', '{"title": 7, "url": {}}'):
        await deliver(broken)
    shown = await shown_by(page)
    assert any(one["title"] == "ClubOS Booking" and one["body"] == "There is news about your booking." for one in shown)

    (worker,) = page.context.service_workers
    opened_url = await worker.evaluate("""async () => {
      const found = (await self.registration.getNotifications()).find((one) => one.tag === "mark-1"), seen = [];
      self.clients.openWindow = async (url) => { seen.push(url); };
      const click = new NotificationEvent("notificationclick", { notification: found });
      self.dispatchEvent(click);
      for (let turn = 0; turn < 100 && !seen.length; turn += 1) await new Promise((go) => setTimeout(go, 10));
      return seen[0];
    }""")
    assert opened_url == opens and said == []


#: counts what the worker has shown, so that nobody has to look at the notifications to know it
COUNT_SHOWN = """() => {
  const show = self.registration.showNotification.bind(self.registration);
  self.shown = 0;
  self.registration.showNotification = (...said) => show(...said).then(() => { self.shown += 1; });
}"""


async def deliverer(page: Page, origin: str):
    """How the browser's own push service hands the worker a message; each one is shown before the next one comes.

    The notifications must not be read in the meantime: what Chromium has written down but not yet displayed it takes for closed at such a look, and forgets it.
    """
    cdp, known = await page.context.new_cdp_session(page), asyncio.get_running_loop().create_future()

    def heard(event: dict) -> None:
        ours = [one["registrationId"] for one in event["registrations"] if one["scopeURL"] == f"{origin}/b/"]
        if ours and not known.done():
            known.set_result(ours[0])

    cdp.on("ServiceWorker.workerRegistrationUpdated", heard)
    await cdp.send("ServiceWorker.enable")
    registration = await asyncio.wait_for(known, 10)
    worker = await active_worker(page)
    await worker.evaluate(COUNT_SHOWN)
    delivered = 0

    async def deliver(data: str) -> None:
        nonlocal delivered
        delivered += 1
        await cdp.send("ServiceWorker.deliverPushMessage", {"origin": origin, "registrationId": registration, "data": data})
        async with asyncio.timeout(10):
            while await worker.evaluate("self.shown") < delivered:
                await asyncio.sleep(0.02)

    return deliver


async def active_worker(page: Page) -> Worker:
    """The page's worker, activated: a registration is ready while its worker is still at it."""
    await page.evaluate("""() => navigator.serviceWorker.ready.then((r) => new Promise((go) => {
      const look = () => r.active.state === "activated" && go();
      r.active.addEventListener("statechange", look);
      look();
    }))""")
    return page.context.service_workers[0] if page.context.service_workers else await page.context.wait_for_event("serviceworker")


async def shown_by(page: Page) -> list[dict]:
    """The notifications of the worker."""
    return await page.evaluate("""() => navigator.serviceWorker.ready.then((r) => r.getNotifications()).then((all) => all.map((one) =>
      ({ title: one.title, body: one.body, tag: one.tag, url: one.data.url })))""")
