"""The kiosk's camera and the scanner that types, in Chromium: its made-up camera shows what a test puts before it."""

import asyncio
from datetime import datetime
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from deploy.bench.frames import Scene, empty
from shared.runtime.ratelimit import RateLimiter
from tests.browser.site_pages_world import (
    ARGS,
    LYING,
    PHONE,
    STANDING,
    kiosk_page,
    opened,
    pair_real,
    sound,
    staff_page,
    with_emulated_door,
)
from tests.site_agent.site_world import FRONT

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]
WIDTH, HEIGHT = 640, 480
NOBODY = b""


class Lens:
    """What the browser's camera sees, from when a page next begins to look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shows(NOBODY)

    def shows(self, grey: bytes) -> None:
        """A film of one still frame (YUV4MPEG2, grey: both colours in the middle)."""
        grey = grey or empty(WIDTH, HEIGHT, Random(1))
        colours = b"\x80" * (WIDTH * HEIGHT // 2)
        self.path.write_bytes(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F10:1 Ip A1:1 C420jpeg\nFRAME\n".encode() + grey + colours)

    def holds(self, text: str) -> None:
        self.shows(Scene(text, WIDTH, HEIGHT, 4.5, turn_deg=7, blur=1, noise=10, fade=0.3).draw(Random(2)))


@pytest.fixture(scope="module")
def lens(tmp_path_factory: pytest.TempPathFactory) -> Lens:
    return Lens(tmp_path_factory.mktemp("lens") / "camera.y4m")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seeing(chromium_path, lens):
    film = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={lens.path}"]
    async with async_playwright() as p:
        browser = await p.chromium.launch(executable_path=chromium_path, args=[*ARGS, *film])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def eyes(seeing, lens):
    """A browser whose camera sees an empty room until `lens` says otherwise."""
    lens.shows(NOBODY)
    yield seeing
    for context in seeing.contexts:
        await context.close()


@pytest.fixture(autouse=True)
def any_number_of_frames(monkeypatch):
    """The world's clock stands, so that a camera's allowance would never be filled up again; `test_camera` has it."""
    monkeypatch.setattr(RateLimiter, "take", lambda self, rule, key: (rule.capacity, 1, 0))


ALLOWED = {"permissions": ["camera"]}


def preview(page: Page):
    return page.locator("[data-camera]")


async def pass_of(w, booking: dict) -> str:
    return (await w.staff.get(f"/api/bookings/{booking['id']}")).json()["pass"]


async def scanner_types(page: Page, text: str, *, enter: bool = True) -> None:
    """As a hand scanner does: every key within a millisecond or two, then Enter, at whatever has the focus."""
    await page.evaluate(
        """keys => {
          for (const key of keys)
            (document.activeElement || document.body).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
        }""",
        [*text, "Enter"] if enter else [*text],
    )


# ---- the camera
async def test_a_guest_holds_the_pass_before_the_camera_and_the_emulated_door_opens(eyes: Browser, lens, tmp_path):
    async with with_emulated_door(tmp_path) as (agent, emulator, url):
        staff, said = await staff_page(eyes, url)
        kiosk, heard = await opened(eyes, url, viewport=LYING, has_touch=True, **ALLOWED)
        await pair_real(staff, kiosk)
        await staff.locator(".cell:not(.past)").first.click()
        await staff.locator("dialog[open]").get_by_label("Name").fill("Testa Birdie")
        await staff.locator("dialog[open]").get_by_label("Phone").fill("902-555-0142")
        await staff.locator("dialog[open]").get_by_role("button", name="Book", exact=True).click()
        await expect(staff.locator(".toast", has_text="is booked for Testa Birdie")).to_be_visible()
        today = datetime.now(ZoneInfo(agent.kit.bookings.house().facility.zone)).date().isoformat()
        (told,) = await staff.evaluate("async (on) => (await fetch(`/api/bookings?date=${on}`)).json()", today)
        lens.holds((await staff.evaluate("async (id) => (await fetch(`/api/bookings/${id}`)).json()", told["id"]))["pass"])
        before = len(emulator.box.unlocks)
        await kiosk.get_by_text("I have a booking").tap()
        await expect(kiosk.get_by_role("heading", name="Welcome in")).to_be_visible()
        await expect(kiosk.get_by_role("status")).to_contain_text("The door is open now.")
        assert len(emulator.box.unlocks) == before + 1
        await expect(staff.locator(".item.t-in")).to_contain_text("Testa Birdie")
        assert said == [] and heard == []


async def test_the_camera_shows_itself_looks_and_ends_with_the_page(eyes: Browser, lens, world):
    w, url = world
    page, said = await kiosk_page(eyes, w, url, **ALLOWED)
    sent: list[int] = []
    page.on("response", lambda answer: sent.append(answer.status) if "/api/scan" in answer.url else None)
    await page.goto("/kiosk/check-in")
    await expect(preview(page)).to_contain_text("Or hold the QR code of your booking before the camera.")
    await expect(page.get_by_text("to the scanner")).to_be_hidden()
    async with page.expect_response("**/api/scan?*") as first:
        pass
    assert (await first.value).url.endswith("?width=480&height=480")
    for digit in "12":
        await page.locator(f'[data-key="{digit}"]').tap()
    await expect(page.locator(".dots .on")).to_have_count(2)  # the pad is as it was
    await page.get_by_role("button", name="Start over").tap()
    await expect(page.get_by_text("I have a booking")).to_be_visible()
    assert set(sent) == {204} and await page.locator("video").count() == 0 and said == []


async def test_a_pass_that_comes_too_early_is_told_once_and_not_again_while_it_is_held(eyes: Browser, lens, world):
    w, url = world
    lens.holds(await pass_of(w, await w.booked(1, 6)))
    page, said = await kiosk_page(eyes, w, url, **ALLOWED)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method) if request.url.endswith("/kiosk/check-in") else None)
    await page.goto("/kiosk/check-in")
    await expect(page.get_by_role("alert")).to_contain_text("It is too early: this pass opens the door from 15 minutes before the start.")
    for _ in range(3):  # the page that says so looks again, and sees the same code
        async with page.expect_response("**/api/scan?*") as again:
            pass
        assert (await again.value).status == 204
    assert asked == ["GET", "POST"] and w.doors.unlocked == [] and said == []


async def test_a_code_that_is_none_of_ours_is_told_beside_the_preview_and_the_pad_stays(eyes: Browser, lens, world):
    w, url = world
    lens.holds("https://golf.example.test/menu")
    page, said = await kiosk_page(eyes, w, url, **ALLOWED)
    await page.goto("/kiosk/check-in")
    await expect(preview(page).get_by_role("status")).to_contain_text("This code is no booking of ours.")
    await expect(page.get_by_role("alert")).to_have_count(0)
    booking = await w.booked(1, 0)
    for digit in booking["pin"]:
        await page.locator(f'[data-key="{digit}"]').tap()
    await expect(page.get_by_role("heading", name="Welcome in")).to_be_visible()
    assert [door for door, _, _ in w.doors.unlocked] == [FRONT] and said == []


async def test_a_camera_that_is_not_allowed_is_asked_for_once_and_the_page_stays_as_it_was(eyes: Browser, lens, world):
    w, url = world
    page, said = await kiosk_page(eyes, w, url)
    asks = "navigator.mediaDevices.getUserMedia = () => { asked = Number(sessionStorage.asks || 0) + 1; sessionStorage.asks = asked; "
    await page.add_init_script("let asked; " + asks + "return Promise.reject(new DOMException('no', 'NotAllowedError')); };")
    for _ in range(3):
        await page.goto("/kiosk/check-in")
        await expect(page.get_by_text("Or hold the QR code of your booking to the scanner.")).to_be_visible()
        await expect(preview(page)).to_be_hidden()
    assert await page.evaluate("sessionStorage.asks") == "1" and said == []


async def test_a_kiosk_without_a_camera_checks_in_by_pin_and_says_nothing_of_it(browser, world):
    w, url = world
    page, said = await kiosk_page(browser, w, url, **ALLOWED)
    await page.goto("/kiosk/check-in")
    await expect(page.get_by_text("to the scanner")).to_be_visible()
    await expect(preview(page)).to_be_hidden()
    booking = await w.booked(1, 0)
    for digit in booking["pin"]:
        await page.locator(f'[data-key="{digit}"]').tap()
    await expect(page.get_by_role("heading", name="Welcome in")).to_be_visible()
    assert said == []


async def test_a_kiosk_that_was_unpaired_stops_looking(eyes: Browser, lens, world):
    w, url = world
    page, said = await kiosk_page(eyes, w, url, **ALLOWED)
    await page.goto("/kiosk/check-in")
    await expect(preview(page)).to_be_visible()
    for kiosk in (await w.staff.get("/api/kiosks")).json():
        assert (await w.staff.delete(f"/api/kiosks/{kiosk['id']}")).status_code == 204
    await expect(preview(page)).to_be_hidden()
    assert await page.evaluate("document.querySelector('video').srcObject.active") is False and said == []


# ---- the scanner that types
async def test_a_scanner_types_a_pass_wherever_the_focus_is(browser, world):
    w, url = world
    text = await pass_of(w, await w.booked(1, 0))
    page, said = await kiosk_page(browser, w, url)
    for focus in ("#code", '[data-key="5"]', "h1"):
        await page.goto("/kiosk/check-in")
        await page.locator(focus).evaluate("one => { document.activeElement.blur(); one.focus(); }")
        await scanner_types(page, text.lower())
        await expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
    assert len(w.doors.unlocked) == 3 and said == []


async def test_a_scanner_that_stops_for_breath_is_still_a_scanner(browser, world):
    w, url = world
    text = await pass_of(w, await w.booked(1, 0))
    page, said = await kiosk_page(browser, w, url)
    await page.goto("/kiosk/check-in")
    await page.evaluate("document.activeElement.blur()")
    for key in "12":  # left behind by whoever was here before
        await page.keyboard.press(key)
    await expect(page.locator(".dots .on")).to_have_count(2)
    await scanner_types(page, text[:90], enter=False)
    await asyncio.sleep(0.1)  # longer than between two keys of a scanner, and the rest looks like a code of its own
    await scanner_types(page, text[90:])
    await expect(page.get_by_role("heading", name="Welcome in")).to_be_visible()
    assert said == []


@pytest.mark.parametrize(
    ("path", "code"),
    [("/kiosk/check-in", "4006381333931"), ("/kiosk", "https://golf.example.test/menu?table=12"), ("/kiosk/check-in", "7" * 500)],
)
async def test_whatever_else_a_scanner_reads_is_no_pin_and_is_told_to_be_none_of_ours(browser, world, path, code):
    w, url = world
    page, said = await kiosk_page(browser, w, url)
    await page.goto(path)
    await page.evaluate("document.activeElement.blur()")
    await scanner_types(page, code)
    await expect(page.get_by_role("alert")).to_contain_text("This code is no booking of ours.")
    assert page.url.endswith("/kiosk/check-in") and said == []


async def test_a_pin_typed_by_hand_without_the_field_is_the_pads(browser, world):
    w, url = world
    booking = await w.booked(1, 0)
    page, said = await kiosk_page(browser, w, url)
    await page.goto("/kiosk/check-in")
    await page.evaluate("document.activeElement.blur()")
    for number, digit in enumerate(booking["pin"][:5], 1):
        await page.keyboard.press(digit)
        await expect(page.locator(".dots .on")).to_have_count(number)
    await page.keyboard.press(booking["pin"][5])
    await expect(page.get_by_role("heading", name="Welcome in")).to_be_visible()
    assert said == []


# ---- how it looks
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [LYING, STANDING, PHONE], ids=["lying", "standing", "phone"])
async def test_the_check_in_page_with_its_camera_fits_and_reads_well(eyes: Browser, lens, world, size, scheme):
    w, url = world
    lens.holds("https://golf.example.test/menu")
    page, said = await kiosk_page(eyes, w, url, viewport=size, color_scheme=scheme, **ALLOWED)
    await page.goto("/kiosk/check-in")
    await expect(preview(page).get_by_role("status")).to_contain_text("no booking of ours")
    await sound(page)
    if size is not PHONE:
        assert await page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "everything is to be seen at once"
    assert said == []
