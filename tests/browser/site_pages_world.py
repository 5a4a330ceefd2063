"""One facility served on a free port of this machine for a browser, with its hub beside it; a full day to look at; what sounds wrong on a page.

    async with served(tmp_path) as (w, url): ...

The world's clock stands at Saturday noon until moved; pages take the time from the site, not from the machine. Invariant: nothing here
leaves 127.0.0.1.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from unittest import mock

from playwright.async_api import Browser, BrowserContext, Page, expect

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi_access import UnifiAccessEmulator
from shared.ledger import frontdesk, lines
from shared.model import Customer
from shared.runtime.server import listen, serve
from site_agent import app, jobs
from site_agent.config import load
from site_agent.ports import DoorState
from tests.site_agent.site_world import CONFIG, FRONT, NEVER_S, NOON, PASSWORD, SITE, SiteWorld, staff_file

ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
LYING, STANDING = {"width": 1280, "height": 800}, {"width": 1080, "height": 1920}
TOKEN = "testing-token-7d1f"


@contextlib.asynccontextmanager
async def _serving(agent: app.SiteAgent) -> AsyncIterator[str]:
    """The address at which the agent answers; ends it."""
    sock, stop, ready = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    running = asyncio.create_task(serve(agent.asgi, sock, ready=lambda _: ready.set(), on_stop=agent.on_stop, stop=stop, signals=False))
    try:
        await asyncio.wait_for(ready.wait(), 10)
        yield url
    finally:
        stop.set()
        await running


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[SiteWorld, str]]:
    """The site that hears its hub, and its address."""
    w = SiteWorld(folder, linked=True)
    w.doors.doors = lambda: _both_doors(w)
    await w.hub.open()
    with mock.patch.object(jobs, "PLACING_EVERY_S", NEVER_S):
        serving = contextlib.AsyncExitStack()
        url = await serving.enter_async_context(_serving(w.agent))
    async with serving:
        w.staff = await w.signed_in("ada")
        w.kiosk = await w.paired()
        await w.linked()
        try:
            yield w, url
        finally:
            for client in w._open:
                await client.http.aclose()


async def _both_doors(w: SiteWorld) -> list[DoorState]:
    w.doors._may("doors")
    names = ((FRONT, "Front"), ("door-side", "Side"))
    return [DoorState(door_id, name, f"Bedford - {name}", True, "locked", "closed") for door_id, name in names]


@contextlib.asynccontextmanager
async def with_emulated_door(folder: Path) -> AsyncIterator[tuple[app.SiteAgent, UnifiAccessEmulator, str]]:
    """A site by the real clock whose front door is the emulated controller's, over TLS."""
    emulator = UnifiAccessEmulator(doors=[DoorSpec("front")], tokens={TOKEN: AGENT_SCOPES}, rng=Random(5), folder=folder, pulse_s=30)
    await emulator.start()
    (folder / "token").write_text(TOKEN)
    doors = f'[doors]\nkind = "unifi"\nhost = "127.0.0.1"\nport = {emulator.port}\ntoken_file = "token"\nfingerprint = "{emulator.fingerprint}"\n'
    text = CONFIG.replace("door-front", emulator.door_id("front")).replace('door_ids = ["door-side"]\n', "") + doors
    (folder / "site.toml").write_text(text)
    (folder / "staff.toml").write_text(staff_file())
    agent = app.build(load(folder / "site.toml"))
    try:
        async with _serving(agent) as url:
            yield agent, emulator, url
    finally:
        await emulator.stop()


# ---- people at browsers
async def opened(browser: Browser, url: str, **options) -> tuple[Page, list[str]]:
    """A page, and what its console complains of (answers with a status of refusal aside): scripts' errors and what the CSP forbids."""
    context = await browser.new_context(**{"viewport": DESK, "base_url": url, **options})
    page = await context.new_page()
    page.set_default_timeout(8_000)
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type == "error" and "the server responded with" not in m.text else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return page, said


async def staff_page(browser: Browser, url: str, user: str = "ada", *, at: float | None = None, **options) -> tuple[Page, list[str]]:
    """Somebody of the staff, signed in and with the day before them. `at`: the page's clock begins there and stands until moved."""
    page, said = await opened(browser, url, **options)
    if at is not None:
        await page.clock.install(time=at)
    await page.goto("/staff/sign-in")
    await page.get_by_label("User").fill(user)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".cell").first).to_be_attached()
    return page, said


async def pair(context: BrowserContext, w: SiteWorld, url: str) -> None:
    """Makes a browser a kiosk, as if it had used a code up."""
    code = (await w.staff.post("/api/kiosks", {"name": "A screen"})).json()["code"]
    token = (await w.anybody.post("/api/kiosks/pair", {"code": code})).json()["token"]
    w.anybody.http.cookies.clear()
    await context.add_cookies([{"name": "kiosk", "value": token, "url": url}])


async def pair_real(staff: Page, kiosk: Page) -> None:
    """Makes a browser a kiosk by the address that an admin's page gives."""
    await staff.get_by_role("button", name="Screens").click()
    await staff.get_by_label("A new screen, called").fill("Front kiosk")
    await staff.get_by_role("button", name="Make a code").click()
    await kiosk.goto(await staff.locator(".address").inner_text())
    await kiosk.get_by_role("button", name="Pair this screen").click()
    await staff.keyboard.press("Escape")


async def kiosk_page(browser: Browser, w: SiteWorld, url: str, **options) -> tuple[Page, list[str]]:
    """A paired kiosk at its first screen."""
    page, said = await opened(browser, url, **{"viewport": LYING, "has_touch": True, **options})
    await pair(page.context, w, url)
    await page.goto("/kiosk")
    return page, said


def _web_sale(w: SiteWorld, bay: int, start: float, hours: float, name: str) -> None:
    """A sale in the hub's own books, `start` in half hours from noon."""
    slot, booking_id = NOON // 900 + int(start * 2), str(uuid.uuid4())
    part = frontdesk.Part(booking_id=booking_id, resource_id=f"{SITE}.box-{bay}", start=slot, end=slot + int(hours * 4))
    customer = Customer(id=f"c-{booking_id}", name=name, phone=f"902-555-{slot % 9000 + 1000}")
    wanted = frontdesk.Wanted(site_id=SITE, parts=(part,), channel="web", customer=customer)
    w.hub.db.write_now(lambda tx: frontdesk.book(tx, w.hub.desk, w.hub.houses.of(tx, SITE), wanted, link_up=w.hub.pump.fresh()))


async def full_day(w: SiteWorld) -> None:
    """A believable Saturday, told at 18:20: web, kiosk and staff sales, guests playing and gone, somebody late, a lamp being changed."""
    names = iter(
        ["Mocka Eagle", "Sampla Bogey", "Fictia Fairway", "Imagina Mulligan", "Pretenda Divot", "Inventa Bunker", "Exampla Caddie", "Testa Eagle",
         "Mocka Birdie", "Sampla Fairway", "Fictia Bogey", "Imagina Bunker", "Pretenda Birdie", "Inventa Eagle", "Exampla Divot", "Testa Caddie"]
    )  # fmt: skip
    came = [await w.booked(1, 4, 4, name=next(names)), await w.booked(3, 6, 3, name=next(names))]
    for bay, start, hours in [(2, 7, 1.5), (4, 8, 2), (2, 11, 2), (3, 12, 1.5), (4, 14, 1), (2, 16, 2), (3, 16, 3), (4, 17, 1.5), (2, 21, 1.5), (4, 21, 2)]:
        _web_sale(w, bay, start, hours, next(names))
    await w.quiet()
    await w.booked(1, 16, 3, name=next(names))
    lamp = {"block_id": "block-000001", "resource_id": f"{SITE}.box-1", "start": w.at(19), "end": w.at(22), "kind": "maintenance"}
    await w.staff.post("/api/blocks", lamp | {"reason": "Projector lamp"})
    w.clock.forward(2 * 3600)
    for booking in came:
        await w.staff.post(f"/api/bookings/{booking['id']}/check-in", {})
    w.clock.forward(3 * 3600 + 50 * 60)
    for booking in came:
        await w.staff.post(f"/api/bookings/{booking['id']}/attendance", {"state": "completed"})
    bookings = (await w.staff.get("/api/bookings", date="2026-11-21")).json()
    for booking in bookings:
        if booking["start"] in (w.at(7), w.at(8), w.at(11)):
            await w.staff.post(f"/api/bookings/{booking['id']}/check-in", {})
        if booking["start"] in (w.at(7), w.at(8)):
            await w.staff.post(f"/api/bookings/{booking['id']}/attendance", {"state": "completed"})
    walk_in = await w.kiosk.post("/api/bookings", w.wish(1, 12, 3, name=next(names)))
    await w.kiosk.post("/api/check-in", {"code": walk_in.json()["booking"]["pin"]})
    w.clock.forward(30 * 60)
    await w.saying_hello(w.kit.link.up)
    w.hub.db.write_now(lambda tx: lines.release(tx, w.hub.desk, SITE, link_fresh=True))
    await w.quiet()


async def sound(page: Page) -> None:
    """What WCAG 2.2 AA asks that a program can see, and 44 px for every finger."""
    found = await page.evaluate(LOOK)
    assert found == [], f"{page.url}: {found}"


#: no sideways scrolling; names for fields, buttons, links; headings in order; targets of 44 px (but the grid's, which has the keyboard
#: and the arrivals beside it); text contrast of 4.5 to 1, or 3 to 1 where large
LOOK = r"""
() => {
  const wrong = [];
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("scrolls sideways");
  if (!document.documentElement.lang) wrong.push("no language");
  if (!document.title.trim()) wrong.push("no title");
  const open = document.querySelector("dialog[open]"), root = open || document.body;
  const shown = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  let level = 0;
  for (const h of document.querySelectorAll("h1, h2, h3, h4")) {
    if (!shown(h) || h.closest("dialog") !== open) continue;
    const own = Number(h.tagName[1]);
    if (!open && own > level + 1) wrong.push("heading jumps: " + h.textContent.trim());
    level = own;
  }
  for (const f of root.querySelectorAll("input:not([type=hidden]), select"))
    if (!f.getAttribute("aria-label") && !(f.labels.length && f.labels[0].textContent.trim())) wrong.push("no label: " + f.name);
  for (const b of root.querySelectorAll("a, button, input:not([type=hidden]), select")) {
    if (!shown(b) || b.closest(".grid")) continue;
    if (b.matches("a, button") && !b.textContent.trim() && !b.getAttribute("aria-label")) wrong.push("no name: " + b.outerHTML.slice(0, 80));
    const r = (b.matches("[type=radio]") ? b.closest("label") : b).getBoundingClientRect();
    if (!b.matches("dd a") && r.height && (r.height < 43.5 || r.width < 43.5))
      wrong.push(`too small for a finger: ${b.textContent.trim()} ${b.className} ${r.width}×${r.height}`);
  }
  for (const one of document.querySelectorAll("[id]"))
    if (document.querySelectorAll(`[id="${CSS.escape(one.id)}"]`).length > 1) wrong.push("id twice: " + one.id);
  const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); return [...paint.getImageData(0, 0, 1, 1).data]; };
  const behind = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const c = rgb(getComputedStyle(at).backgroundColor);
      if (c[3] > 252) return c;
    }
    return [255, 255, 255];
  };
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !shown(e) || e.closest("script, option, svg, button:disabled")) continue;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const a = light(rgb(style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (large ? 3 : 4.5)) wrong.push(`hard to read, ${ratio.toFixed(2)}: ${walk.currentNode.textContent.trim().slice(0, 40)}`);
  }
  return [...new Set(wrong)];
}
"""
