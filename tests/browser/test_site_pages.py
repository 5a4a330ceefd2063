"""The staff's and the kiosk's pages in Chromium: everything that is done with them, by mouse, keyboard and finger, and how they look."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.site_pages_world import (
    DESK,
    LYING,
    PHONE,
    STANDING,
    full_day,
    kiosk_page,
    opened,
    pair_real,
    sound,
    staff_page,
    with_emulated_door,
)
from tests.site_agent.site_world import FRONT, NOON, SITE, away
from tests.site_agent.test_door_trail import event

# one browser for all, which takes one event loop for all; every test has contexts and a world of its own
pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="module")]
SLOT = NOON // 900


def cell(page: Page, bay: int, half_hours: int):
    """The grid's cell of a box at half hours from noon."""
    return page.locator(f'.cell[data-column="{bay - 1}"][data-slot="{SLOT + half_hours * 2}"]')


def item(page: Page, name: str):
    return page.locator(".item", has_text=name)


def sheet(page: Page):
    return page.locator("dialog[open]")


def field(page: Page, label: str):
    """A field of the form that shows in the sheet."""
    return sheet(page).locator("form:visible").get_by_label(label)


def toast(page: Page, text: str):
    return page.locator(".toast", has_text=text).last


async def dragged(page: Page, start, end) -> None:
    """Presses on one cell or item, pulls to another, lets go."""
    a, b = await start.bounding_box(), await end.bounding_box()
    await page.mouse.move(a["x"] + 20, a["y"] + 10)
    await page.mouse.down()
    await page.mouse.move((a["x"] + b["x"]) / 2 + 20, (a["y"] + b["y"]) / 2 + 10)
    await page.mouse.move(b["x"] + 20, b["y"] + 10)
    await page.mouse.up()


async def booked_in_sheet(page: Page, name: str) -> None:
    await sheet(page).get_by_label("Name").fill(name)
    await sheet(page).get_by_label("Phone").fill("902-555-0142")
    await sheet(page).get_by_role("button", name="Book", exact=True).click()


# ---- signing in
async def test_a_wrong_password_is_told_and_five_are_too_many(browser, world):
    _, url = world
    page, said = await opened(browser, url)
    await page.goto("/staff")
    for _ in range(6):
        await page.get_by_label("User").fill("sam")
        await page.get_by_label("Password").fill("not this one")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.get_by_role("alert")).to_have_text(re.compile("Too many wrong sign-ins. Please try again in 1[56] minutes."))
    await sound(page)
    assert said == []


# ---- the day
async def test_the_grid_begins_around_now_goes_on_past_midnight_and_knows_days_of_other_lengths(browser, world):
    w, url = world
    await w.booked(1, 23, 4, name="Mocka Nightowl")
    page, said = await staff_page(browser, url)
    await expect(page.locator("h1")).to_have_text("Saturday 21 November 2026")
    await expect(page.locator(".head").first).to_have_text("Box 1TrackMan iO")
    await expect(page.locator(".now span")).to_have_text("12:00")
    top = await page.locator(".now").evaluate("line => line.getBoundingClientRect().top / innerHeight")
    assert 0.1 < top < 0.4
    await expect(page.locator(".time").nth(48)).to_have_text("Sun 00:00")
    late = await item(page, "Mocka Nightowl").bounding_box()
    assert late["height"] > 110  # two hours, one of them tomorrow
    await page.get_by_role("button", name="The day after").click()
    await expect(page.locator("h1")).to_have_text("Sunday 22 November 2026")
    await expect(item(page, "Mocka Nightowl")).to_have_count(1)
    for day, rows, hours in (("2026-11-01", 50, "25 h"), ("2027-03-14", 46, "23 h")):
        await page.get_by_label("Day", exact=True).last.fill(day)
        await expect(page.locator(".corner")).to_have_text(hours)
        await expect(page.locator(".cell[data-column='0']")).to_have_count(rows + 12)
    await page.get_by_role("button", name="Today").click()
    await expect(page.locator(".now span")).to_have_text("12:00")
    assert said == []


async def test_at_midnight_a_page_that_shows_today_goes_on_to_the_new_day(browser, world):
    w, url = world
    w.clock.forward(11 * 3600 + 50 * 60)
    page, said = await staff_page(browser, url, at=w.clock.now())
    await expect(page.locator("h1")).to_have_text("Saturday 21 November 2026")
    w.clock.forward(11 * 60)
    await page.clock.fast_forward("11:00")
    await expect(page.locator("h1")).to_have_text("Sunday 22 November 2026")
    await expect(page.locator(".now span")).to_have_text("00:01")
    assert said == []


async def test_a_booking_is_made_by_a_click_by_pulling_and_by_keyboard(browser, world):
    w, url = world
    page, said = await staff_page(browser, url)
    other, heard = await staff_page(browser, url, "sam")
    await cell(page, 1, 1).click()
    await expect(field(page, "Length")).to_have_value("60")
    await expect(sheet(page).locator(".price-line")).to_contain_text("with tax")
    await booked_in_sheet(page, "Mocka Clicker")
    await expect(toast(page, "Box 1 is booked for Mocka Clicker. PIN")).to_be_visible()
    await dragged(page, cell(page, 1, 4), cell(page, 1, 6))
    await expect(field(page, "Length")).to_have_value("90")
    await booked_in_sheet(page, "Sampla Puller")
    await expect(toast(page, "Sampla Puller")).to_be_visible()
    await cell(page, 1, 8).focus()
    for key in ("ArrowDown", "Shift+ArrowDown", "Shift+ArrowDown", "Shift+ArrowDown", "Enter"):
        await page.keyboard.press(key)
    await expect(sheet(page).get_by_label("Name")).to_be_focused()
    await expect(field(page, "Start")).to_have_value(str(SLOT + 18))
    await expect(field(page, "Length")).to_have_value("120")
    await page.keyboard.type("Fictia Typist")
    await page.keyboard.press("Enter")
    await expect(toast(page, "Fictia Typist")).to_be_visible()
    for name in ("Mocka Clicker", "Sampla Puller", "Fictia Typist"):
        await expect(item(other, name)).to_be_visible()  # live, without a reload
    assert said == [] and heard == []


async def test_what_is_refused_is_told_where_the_hands_are_with_what_is_free(browser, world):
    w, url = world
    page, said = await staff_page(browser, url)
    await cell(page, 1, 2).click()
    await w.booked(1, 2, name="Mocka Faster")
    await booked_in_sheet(page, "Sampla Slower")
    await expect(sheet(page).get_by_role("alert")).to_contain_text("Free instead:")
    await expect(sheet(page).get_by_role("alert").locator("li").first).to_contain_text("Box")
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog[open]")).to_have_count(0)
    assert said == []


async def test_a_visit_from_check_in_to_its_end_and_a_cancellation(browser, world):
    w, url = world
    await w.booked(1, 0, name="Mocka Visitor")
    await w.booked(1, 6, name="Sampla Caller")
    page, said = await staff_page(browser, url)
    await item(page, "Mocka Visitor").click()
    await sheet(page).get_by_role("button", name="Check in and open the door").click()
    await expect(toast(page, "The door is open now.")).to_be_visible()
    assert [door for door, _, _ in w.doors.unlocked] == [FRONT]
    await expect(page.locator(".item.t-in")).to_contain_text("Mocka Visitor")
    await item(page, "Mocka Visitor").click()
    await sheet(page).get_by_role("button", name="+30 min").click()
    await expect(item(page, "Mocka Visitor").first).to_be_visible()
    await expect(toast(page, "Half an hour longer.")).to_be_visible()
    await item(page, "Sampla Caller").click()
    await sheet(page).get_by_role("button", name="Cancel…").click()
    await field(page, "Reason").fill("guest called")
    await sheet(page).get_by_role("button", name="Cancel this booking").click()
    await expect(toast(page, "Cancelled.")).to_be_visible()
    await expect(item(page, "Sampla Caller")).to_have_count(0)
    assert said == []


async def test_somebody_who_has_not_come_is_late_then_a_no_show_in_one_press_and_back(browser, world):
    w, url = world
    await w.booked(1, 0, name="Mocka Tardy")
    w.clock.forward(20 * 60)
    page, said = await staff_page(browser, url)
    await expect(page.locator(".item.late")).to_contain_text("late")
    await expect(page.get_by_label("Arrivals")).to_contain_text("late 20 min")
    await page.get_by_role("button", name="Mocka Tardy is a no-show").click()
    await expect(page.locator(".item.t-noshow")).to_contain_text("no show")
    await toast(page, "Mocka Tardy is marked as a no-show.").get_by_role("button", name="Undo").click()
    await expect(page.locator(".item.t-staff")).to_contain_text("Mocka Tardy")
    await w.booked(2, 0, name="Mocka Walkin")  # into the running half hour
    w.clock.forward(4 * 60)
    await page.reload()
    await expect(page.get_by_label("Arrivals")).to_contain_text("Mocka Walkin")
    assert await page.locator(".item.late").count() == 1, "who bought four minutes ago is not late"
    w.clock.forward(3 * 60)
    await page.reload()
    await expect(page.get_by_label("Arrivals")).to_contain_text("late 7 min")
    await expect(page.get_by_role("button", name="Mocka Walkin is a no-show")).to_have_count(0)
    assert said == []


async def test_the_rest_is_sold_in_the_notice_of_the_one_press(browser, world):
    w, url = world
    await w.booked(1, 0, 4, name="Mocka Tardy")
    await w.booked(2, 0, 2, name="Mocka Short")
    await w.booked(2, 2, 2, name="Mocka Next")  # half an hour before that is nothing to sell
    w.clock.forward(20 * 60)
    page, said = await staff_page(browser, url)
    await page.get_by_role("button", name="Mocka Short is a no-show").click()
    await expect(toast(page, "Mocka Short is marked").get_by_role("button", name="Undo")).to_be_visible()
    await expect(toast(page, "Mocka Short is marked").get_by_role("button", name="Sell the rest")).to_have_count(0)
    await page.get_by_role("button", name="Mocka Tardy is a no-show").click()
    await toast(page, "Mocka Tardy is marked").get_by_role("button", name="Sell the rest from 12:30").click()
    await expect(toast(page, "The rest of that time is on sale.")).to_be_visible()
    await expect(page.locator(".item[aria-label^='Mocka Tardy, Box 1, 12:00–12:30']")).to_be_visible()
    assert said == []


async def test_the_rest_of_a_no_shows_time_is_put_on_sale_where_there_is_one(browser, world):
    w, url = world
    await w.booked(1, 0, 4, name="Mocka Tardy")
    w.clock.forward(20 * 60)
    page, said = await staff_page(browser, url)
    await item(page, "Mocka Tardy").click()
    await expect(sheet(page).get_by_role("button", name="No-show")).to_be_visible()
    await expect(sheet(page).get_by_role("button", name="Sell the rest")).to_have_count(0)
    await sheet(page).get_by_role("button", name="No-show").click()
    await item(page, "Mocka Tardy").click()
    await sheet(page).get_by_role("button", name="Sell the rest from 12:30").click()
    await expect(toast(page, "The rest of that time is on sale.")).to_be_visible()
    await expect(page.locator(".item[aria-label^='Mocka Tardy, Box 1, 12:00–12:30']")).to_be_visible()
    await item(page, "Mocka Tardy").click()
    await expect(sheet(page)).to_contain_text("no show: said by Ada Example; the rest from 12:30 is on sale")
    await expect(sheet(page).get_by_role("button", name="Sell the rest")).to_have_count(0)
    assert said == []


async def test_a_booking_is_moved_by_pulling_it_and_by_its_sheet_also_to_another_day(browser, world):
    w, url = world
    await w.booked(1, 1, name="Mocka Mover")
    page, said = await staff_page(browser, url)
    await dragged(page, item(page, "Mocka Mover"), cell(page, 3, 0))
    await expect(sheet(page).get_by_label("To box")).to_have_value(f"{SITE}.box-3")
    await expect(field(page, "Start")).to_have_value(str(SLOT))
    await sheet(page).get_by_role("button", name="Move", exact=True).click()
    await expect(page.locator(".item[aria-label^='Mocka Mover, Box 3, 12:00']")).to_be_visible()
    await item(page, "Mocka Mover").click()
    await sheet(page).get_by_role("button", name="Move…").click()
    await sheet(page).get_by_label("To box").select_option(f"{SITE}.box-1")
    await sheet(page).get_by_label("On").fill("2026-11-22")
    await expect(field(page, "Start").locator("option:checked")).to_have_text("12:00")
    await sheet(page).get_by_role("button", name="Move", exact=True).click()
    await expect(item(page, "Mocka Mover")).to_have_count(0)
    await page.get_by_role("button", name="The day after").click()
    await expect(page.locator(".item[aria-label^='Mocka Mover, Box 1, 12:00']")).to_be_visible()
    assert said == []


async def test_a_block_displaces_is_resolved_by_a_seat_elsewhere_and_is_taken_away(browser, world):
    w, url = world
    await w.booked(3, 1, name="Mocka Displaced")
    page, said = await staff_page(browser, url)
    await cell(page, 3, 0).click()
    await sheet(page).get_by_role("tab", name="Block").click()
    await field(page, "Reason").fill("projector lamp")
    await field(page, "Length").select_option("120")
    await sheet(page).get_by_role("button", name="Take out of sale").click()
    await expect(toast(page, "the rest is under “Needs you”.")).to_be_visible()
    await expect(page.locator(".item.t-displaced")).to_contain_text("Mocka Displaced")
    await page.reload()  # the day anew draws blocks after bookings
    await page.locator(".item.t-block").hover(position={"x": 12, "y": 45})
    box = await item(page, "Mocka Displaced").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    assert "Maintenance" not in await page.evaluate("([x, y]) => document.elementFromPoint(x, y).closest('.item').textContent", middle)
    await page.mouse.click(*middle)
    await expect(sheet(page)).to_contain_text("confirmed, displaced")
    await sheet(page).get_by_role("button", name="Close").click()
    conflicts = page.get_by_label("Conflicts")
    await expect(conflicts).to_contain_text("The box is blocked at that time: projector lamp")
    await conflicts.get_by_role("button", name=re.compile("Move to Box")).first.click()
    await expect(toast(page, "Mocka Displaced plays in Box")).to_be_visible()
    await expect(conflicts).to_be_hidden()
    await page.locator(".item.t-block").click()
    await sheet(page).get_by_role("button", name="Put back on sale").click()
    await expect(page.locator(".item.t-block")).to_have_count(0)
    assert said == []


async def test_a_block_of_a_free_box_speaks_of_nobody_who_is_displaced(browser, world):
    w, url = world
    await w.booked(3, 4, name="Mocka Afterwards")
    page, said = await staff_page(browser, url)
    await cell(page, 3, 0).click()
    await sheet(page).get_by_role("tab", name="Block").click()
    await field(page, "Length").select_option("120")
    await sheet(page).get_by_role("button", name="Take out of sale").click()
    await expect(page.locator(".toast span")).to_have_text("Out of sale.")
    assert said == []


async def test_the_cards_are_of_the_day_shown_and_nobody_plays_or_is_late_on_another_day(browser, world):
    w, url = world
    await w.booked(1, 0)
    await w.booked(1, 40, 4)
    await w.booked(1, 60, 4)
    w.clock.forward(600)
    page, said = await staff_page(browser, url)
    cards = page.get_by_label("The day in numbers").locator(".figure")
    await expect(cards).to_have_text(["1expected", "0playing", "1late", "1 %booked"])
    await page.get_by_label("The day after").click()
    await expect(cards).to_have_text(["2expected", "–playing", "–late", "4 %booked"])
    await page.get_by_role("button", name="Today").click()
    await expect(cards.first).to_have_text("1expected")
    assert said == []


async def test_no_more_people_can_be_chosen_than_the_box_holds(browser, world):
    w, url = world
    boxes = w.kit.loaded.resources
    page, said = await staff_page(browser, url)
    await page.route("**/api/board?*", _a_small_second_box)
    await page.reload()
    await cell(page, 1, 2).click()
    people = field(page, "People")
    await expect(people.locator("option")).to_have_count(boxes[0].capacity)
    await people.select_option(str(boxes[0].capacity))
    await field(page, "Box").first.select_option(f"{SITE}.box-2")
    await expect(people.locator("option")).to_have_count(2)
    await expect(people).to_have_value("2")
    assert said == []


async def _a_small_second_box(route):
    answer = await route.fetch()
    board = await answer.json()
    board["bays"][1]["capacity"] = 2
    await route.fulfill(response=answer, json=board)


async def test_a_dark_link_is_shown_and_a_far_time_takes_an_override_with_a_warning_and_a_reason(browser, world):
    w, url = world
    page, said = await staff_page(browser, url)
    await expect(page.locator("[data-link-pill]")).to_have_text("Link up")
    w.cut()
    w.clock.forward(60)
    w.kit.link.tick()
    await expect(page.locator("[data-link-pill]")).to_have_text("Link dark")
    await expect(page.get_by_label("Link to the booking centre")).to_contain_text("Not heard.")
    await cell(page, 2, 8).click()
    await booked_in_sheet(page, "Mocka Override")
    await expect(sheet(page)).to_contain_text("If the web has sold it already")
    await sheet(page).get_by_label("Reason for the override").fill("stands before me")
    await sheet(page).get_by_role("button", name="Book", exact=True).click()
    await expect(page.locator(".item.t-override")).to_contain_text("Mocka Override")
    assert any("stands before me" in str(row) for row in w.journal())
    assert said == []


async def test_doors_are_known_by_name_at_first_sight_open_and_are_unknown_while_the_controller_is_away(browser, world):
    w, url = world
    page, said = await staff_page(browser, url)
    doors = page.get_by_label("Doors")
    await expect(doors.locator(".door").first).to_have_text(re.compile("Front doorlocked · leaf closed"))
    await doors.get_by_role("button", name="Unlock Side").click()
    await expect(toast(page, "Side door: the controller took the command.")).to_be_visible()
    assert w.doors.unlocked[-1][0] == "door-side"
    w.doors.failure = away()
    await doors.get_by_role("button", name="Unlock Front").click()
    await expect(page.locator(".toast.bad")).to_contain_text("The door controller does not answer.")
    await expect(doors).to_contain_text("The door controller does not answer.")
    await expect(doors.locator(".door").first).to_have_text(re.compile("Front doorstate unknown"))
    assert said == []


async def test_a_screen_is_paired_by_its_address_used_and_removed(browser, world):
    w, url = world
    page, said = await staff_page(browser, url)
    await page.get_by_role("button", name="Screens").click()
    await sheet(page).get_by_label("A new screen, called").fill("Lobby screen")
    await sheet(page).get_by_role("button", name="Make a code").click()
    address = await sheet(page).locator(".address").inner_text()
    screen, heard = await opened(browser, url, viewport=LYING)
    assert (await screen.goto("/kiosk")).status == 404  # unpaired: nothing
    assert await screen.locator("body").inner_text() == "There is nothing here."
    await screen.goto(address)
    await sound(screen)
    await screen.get_by_role("button", name="Pair this screen").click()
    await expect(screen.get_by_text("I have a booking")).to_be_visible()
    await screen.reload()
    await expect(screen.get_by_text("I have a booking")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Screens").click()
    await sheet(page).get_by_role("button", name="Remove Lobby screen").click()
    await expect(sheet(page).get_by_role("button", name="Remove Lobby screen")).to_have_count(0)
    assert (await screen.goto("/kiosk")).status == 404
    assert (await screen.goto(address)).status == 404  # a code works once
    assert said == [] and heard == []


async def test_somebody_who_may_only_look_finds_nothing_to_press(browser, world):
    w, url = world
    await w.booked(1, 0, name="Mocka Visitor")
    page, said = await staff_page(browser, url, "vi")
    await item(page, "Mocka Visitor").click()
    await expect(sheet(page)).to_contain_text("ours to change")
    await expect(sheet(page).locator(".actions button")).to_have_count(0)
    await page.keyboard.press("Escape")
    await cell(page, 1, 6).click()
    await expect(page.locator("dialog[open]")).to_have_count(0)
    await expect(page.get_by_role("button", name="Screens")).to_have_count(0)
    await expect(page.locator(".door button")).to_have_count(0)
    assert said == []


# ---- the kiosk
async def typed(page: Page, pin: str) -> None:
    for digit in pin:
        await page.locator(f'[data-key="{digit}"]').tap()


async def test_wrong_pins_are_told_and_many_lock_the_pad_but_not_the_scanner(browser, world):
    w, url = world
    booking = await w.booked(1, 0, name="Mocka Scanned")
    page, said = await kiosk_page(browser, w, url)
    await page.get_by_text("I have a booking").tap()
    for number in range(9):
        await typed(page, f"99990{number}")
        await expect(page.get_by_role("alert")).to_contain_text("PIN")
        await expect(page.locator(".dots .on")).to_have_count(0)
    await expect(page.get_by_role("alert")).to_contain_text("Too many wrong PINs. Please wait")
    text = (await w.staff.get(f"/api/bookings/{booking['id']}")).json()["pass"]
    await page.keyboard.type(text)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Welcome in")).to_be_visible()
    await expect(page.locator(".bay")).to_have_text("Box 1")
    assert w.doors.unlocked[-1][0] == FRONT and said == []


async def test_a_scanner_works_at_the_first_screen_too(browser, world):
    w, url = world
    booking = await w.booked(1, 0, name="Mocka Scanned")
    text = (await w.staff.get(f"/api/bookings/{booking['id']}")).json()["pass"]
    page, said = await kiosk_page(browser, w, url)
    await page.keyboard.type(text.lower())  # caps lock the wrong way round
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Welcome in")).to_be_visible()
    assert said == []


async def test_a_guest_books_with_a_finger_and_checks_in_with_the_pin_that_is_shown(browser, world):
    w, url = world
    page, said = await kiosk_page(browser, w, url)
    await page.clock.set_fixed_time(NOON)
    await page.get_by_text("Book now").tap()
    await page.locator(".bay-card").first.tap()
    await page.get_by_label("Your name").tap()
    for key in "testa birdie":
        await page.locator(f'.letters [data-type="{key}"]').tap()
    await expect(page.get_by_label("Your name")).to_have_value("Testa Birdie")
    field, letters = await page.get_by_label("Your name").bounding_box(), await page.locator(".letters").bounding_box()
    assert field["y"] + field["height"] <= letters["y"]  # what is typed can be seen
    await page.get_by_label("Phone number").tap()
    for key in "9025550142":
        await page.locator(f'.letters [data-type="{key}"]').tap()
    await page.get_by_text("Done").tap()
    await page.get_by_role("button", name="See the price").tap()
    await expect(page.locator(".receipt tfoot")).to_contain_text("$39.90")
    await page.get_by_role("button", name="Book it for $39.90").tap()
    await expect(page.locator(".qr svg")).to_be_visible()
    pin = re.sub(r"\D", "", await page.locator(".pin").inner_text())
    await page.get_by_text("Check in now").tap()
    await typed(page, pin)
    await expect(page.get_by_role("heading", name="Welcome in")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name=re.compile("Welcome"))).to_be_visible()
    assert len(w.doors.unlocked) >= 1 and said == []


async def test_a_screen_that_was_left_warns_and_then_forgets_what_was_typed_and_held(browser, world):
    w, url = world
    page, said = await kiosk_page(browser, w, url)
    await page.clock.install(time=NOON)
    await page.goto("/kiosk/book")
    await page.locator(".bay-card").first.tap()
    await page.get_by_label("Your name").fill("Testa Birdie")
    await page.get_by_label("Phone number").fill("902-555-0142")
    await page.keyboard.press("Tab")
    await page.locator("form.form").evaluate("form => form.requestSubmit()")
    await expect(page.locator("[data-left]")).to_contain_text("for 9:")
    await page.clock.run_for(80_000)
    await expect(page.get_by_role("dialog")).to_contain_text("Still there?")
    await page.get_by_role("button", name="I am still here").tap()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    board = (await w.staff.get("/api/board", date="2026-11-21")).json()
    assert [one["kind"] for one in board["items"]] == ["hold"]
    await page.clock.run_for(92_000)
    await expect(page.get_by_text("I have a booking")).to_be_visible()
    board = (await w.staff.get("/api/board", date="2026-11-21")).json()
    assert board["items"] == [] and said == []


async def test_the_pin_at_the_kiosk_opens_the_emulated_door(browser, tmp_path):
    async with with_emulated_door(tmp_path) as (agent, emulator, url):
        page, said = await staff_page(browser, url)
        await page.locator(".cell:not(.past)").first.click()
        await booked_in_sheet(page, "Testa Birdie")
        told = await toast(page, "is booked for Testa Birdie").inner_text()
        before = len(emulator.box.unlocks)
        kiosk, heard = await opened(browser, url, viewport=LYING, has_touch=True)
        await pair_real(page, kiosk)
        await kiosk.get_by_text("I have a booking").tap()
        await typed(kiosk, re.search(r"PIN (\d{6})", told)[1])
        await expect(kiosk.get_by_role("status")).to_contain_text("The door is open now.")
        assert len(emulator.box.unlocks) == before + 1
        await expect(page.locator(".door")).to_contain_text("unlocked")  # and staff see it
        assert said == [] and heard == []


# ---- how it looks
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_staff_pages_fit_and_read_well(browser, world, scheme):
    w, url = world
    await full_day(w)
    for size in (DESK, PHONE):
        page, said = await staff_page(browser, url, viewport=size, color_scheme=scheme)
        if size is PHONE:
            for fold in await page.locator(".fold button:visible").all():
                if await fold.get_attribute("aria-expanded") == "false":
                    await fold.click()
        await expect(page.locator(".door").first).to_be_visible()
        await sound(page)
        await item(page, "Inventa Bunker").click()
        await sound(page)
        await sheet(page).get_by_role("button", name="Move…").click()
        await sound(page)
        await page.keyboard.press("Escape")
        await cell(page, 1, 26).click()
        await sound(page)
        await sheet(page).get_by_role("tab", name="Block").click()
        await sound(page)
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Screens").click()
        await sound(page)
        await page.context.close()
        assert said == []


async def test_on_a_phone_the_day_comes_first_then_who_arrives_and_above_it_only_what_needs_somebody(browser, world):
    w, url = world
    await w.booked(1, 1)
    page, said = await staff_page(browser, url, viewport=PHONE, at=w.clock.now())

    async def top(mark: str) -> float:
        return await page.locator(f"[data-{mark}]").evaluate("box => box.getBoundingClientRect().top + scrollY")

    assert await top("board-box") < await top("figures") < await top("arrivals")
    doors, centre = page.get_by_label("Doors", exact=True), page.get_by_label("Link to the booking centre")
    await expect(doors).to_be_visible()
    assert await top("arrivals") < await top("doors")
    await page.get_by_role("button", name="Doors", exact=True).click()
    await expect(doors).not_to_be_visible()
    await expect(centre).not_to_be_visible()
    await page.locator("[data-link-pill]").click()
    await expect(centre).to_be_visible()
    w.doors.happens.put_nowait(event("forced", ""))
    trail = page.get_by_label("Access trail", exact=True)
    await expect(trail.get_by_role("alert").first).to_contain_text("Forced open: Front door")
    assert await top("trail") < await top("board-box")
    await sound(page)
    assert said == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_kiosk_pages_fit_and_read_well(browser, world, scheme):
    w, url = world
    for number, size in enumerate((LYING, STANDING, PHONE)):
        page, said = await kiosk_page(browser, w, url, viewport=size, color_scheme=scheme)
        await page.clock.set_fixed_time(NOON)
        await sound(page)
        await page.goto("/kiosk/check-in")
        await sound(page)
        await typed(page, "999999")
        await expect(page.get_by_role("alert")).to_be_visible()
        await sound(page)
        await page.goto("/kiosk/book")
        await sound(page)
        await page.locator(".bay-card").first.tap()
        await page.get_by_label("Your name").fill("Testa Birdie")
        await page.get_by_label("Phone number").fill(f"902-555-014{number}")
        await sound(page)
        await page.locator("form.form").evaluate("form => form.requestSubmit()")
        await expect(page.locator(".receipt")).to_be_visible()
        await sound(page)
        await page.locator("form[action='/kiosk/confirm'] button").tap()
        await expect(page.locator(".qr svg")).to_be_visible()
        await sound(page)
        await page.context.close()
        assert said == []


async def test_a_stopped_bay_is_shown_above_everything_and_sold_again_with_a_reason(browser, world):
    w, url = world
    booking = await w.booked(1, 8)
    w.db.write_now(lambda tx: tx.run("DELETE FROM claims WHERE ref = :b", {"b": booking["id"]}))
    await w.kit.halts.watch.look()
    page, said = await staff_page(browser, url)
    await expect(page.locator("[data-alarm='bay_halted']")).to_contain_text("Box 1 is not sold")
    halt = page.get_by_label("Conflicts").locator("[data-halt]")
    await expect(halt).to_contain_text(booking["reference"])
    await halt.get_by_role("button", name="Sell again").click()
    await expect(halt.get_by_role("alert")).to_have_text("Please say what you have looked at: it is written down.")
    await halt.get_by_role("textbox").fill("looked at the day")
    await page.evaluate("document.activeElement.blur()")
    await w.booked(3, 12)
    await expect(page.locator("[data-figures]")).to_contain_text("2")
    await expect(halt.get_by_role("alert")).to_be_visible()
    await expect(halt.get_by_role("textbox")).to_have_value("looked at the day")
    await halt.get_by_role("button", name="Sell again").click()
    await expect(toast(page, "Box 1 is sold again.")).to_be_visible()
    await expect(page.locator("[data-alarm='bay_halted']")).to_have_count(0)
    await expect(page.locator("[data-halt]")).to_have_count(0)
    assert any("looked at the day" in str(row) for row in w.journal())
    assert all("400" in line for line in said), said


@pytest.mark.rule("clock-2")
async def test_a_doubted_clock_is_shown_above_everything_and_confirmed_by_a_press(browser, world):
    w, url = world
    page, said = await staff_page(browser, url, at=NOON)
    bar = page.locator("[data-clock]")
    await expect(bar).to_be_hidden()
    await w.kit.time.tick()
    w.clock._now -= 600
    await w.kit.time.tick()
    await expect(bar).to_contain_text("Nothing can be sold until the time is confirmed.")
    await expect(bar).to_contain_text("Check-in and doors work as always.")
    await bar.get_by_role("button", name="The time shown is right").click()
    await expect(toast(page, "The time is confirmed.")).to_be_visible()
    await expect(bar).to_be_hidden()
    assert w.kit.time.doubt() == "" and said == []
