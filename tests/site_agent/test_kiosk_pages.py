"""The kiosk's pages as a browser without scripts walks them: pair, look, book, check in."""

import re

import pytest

from tests.site_agent.site_world import NOON, csrf_of

HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


def hidden(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the form with this action."""
    form = next(part for part in page.split("<form")[1:] if f'action="{action}"' in part).split("</form>")[0]
    return dict(HIDDEN.findall(form))


async def test_the_attract_screen_says_what_is_free(world):
    screen = await world.screen()
    page = await screen.get("/kiosk")
    assert page.status_code == 200 and "4 are free right now, from $39.90" in page.text
    assert "unsafe-inline" not in page.headers["content-security-policy"] and "<style" not in page.text and " style=" not in page.text
    assert page.headers["cache-control"] == "no-store"


async def test_a_guest_books_now_and_gets_pin_and_code_on_the_screen(world):
    screen = await world.screen()
    openings = await screen.get("/kiosk/book")
    assert openings.text.count("Free now") == 4
    link = re.search(r'href="(/kiosk/book/bedford\.box-1\?start=\d+)"', openings.text)[1]
    details = await screen.get(link)
    assert "1 hour" in details.text and "$39.90" in details.text and "6 hours" in details.text
    assert "2 h 30 min" in details.text and "150 minutes" not in details.text
    fields = {**hidden(details.text, "/kiosk/review"), "minutes": "90", "name": "Walker Inn", "phone": "902-555-0133", "guests": "2"}
    review = await screen.form("/kiosk/review", **fields)
    assert review.status_code == 200 and "$59.85" in review.text and "HST" in review.text
    assert "box-1" not in (await screen.get("/kiosk/book")).text.split("From")[0] or "From 13:30" in (await screen.get("/kiosk/book")).text
    done = await screen.form("/kiosk/confirm", **hidden(review.text, "/kiosk/confirm"))
    pin = re.search(r'class="pin"[^>]*>(\d{3}) (\d{3})<', done.text)
    assert done.status_code == 200 and pin and '<svg xmlns="http://www.w3.org/2000/svg"' in done.text and "Check in now" in done.text
    welcome = await screen.form("/kiosk/check-in", csrf_token=csrf_of(done.text), code=pin[1] + pin[2])
    assert welcome.status_code == 200 and "Box 1" in welcome.text and "The door is open now." in welcome.text and "Walker" not in welcome.text


async def test_confirming_twice_is_one_booking(world):
    screen = await world.screen()
    details = await screen.get(f"/kiosk/book/bedford.box-1?start={NOON // 900}")
    fields = {**hidden(details.text, "/kiosk/review"), "minutes": "60", "name": "Walker Inn", "phone": "902-555-0133", "guests": "1"}
    review = await screen.form("/kiosk/review", **fields)
    form = hidden(review.text, "/kiosk/confirm")
    first, second = await screen.form("/kiosk/confirm", **form), await screen.form("/kiosk/confirm", **form)
    assert first.status_code == second.status_code == 200
    assert world.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM bookings"))[0] == 1
    again = await screen.get(f"/kiosk/booked/{form['booking_id']}")
    assert again.status_code == 200 and "<svg" in again.text


async def test_leaving_lets_the_held_time_go(world):
    screen = await world.screen()
    details = await screen.get(f"/kiosk/book/bedford.box-1?start={NOON // 900}")
    fields = {**hidden(details.text, "/kiosk/review"), "minutes": "60", "name": "Walker Inn", "phone": "902-555-0133"}
    review = await screen.form("/kiosk/review", **fields)
    left = await screen.form("/kiosk/leave", **hidden(review.text, "/kiosk/leave"))
    assert (left.status_code, left.headers["location"]) == (303, "/kiosk")
    assert world.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM claims"))[0] == 0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"name": " "}, "Please type your name."), ({"phone": "555"}, "Please type your phone number"), ({"phone": "902-555-01zz99"}, "Please type your phone number")],
)
async def test_what_is_missing_is_said_and_nothing_typed_is_lost(world, wrong, sentence):
    screen = await world.screen()
    details = await screen.get(f"/kiosk/book/bedford.box-1?start={NOON // 900}")
    fields = {**hidden(details.text, "/kiosk/review"), "minutes": "90", "name": "Walker Inn", "phone": "902-555-0133", **wrong}
    page = await screen.form("/kiosk/review", **fields)
    assert page.status_code == 422 and sentence in page.text
    assert 'value="90" checked' in page.text and (wrong.get("name") or 'value="Walker Inn"' in page.text)


async def test_a_time_that_went_meanwhile_is_refused_with_other_times(world):
    screen = await world.screen()
    details = await screen.get(f"/kiosk/book/bedford.box-1?start={NOON // 900}")
    await world.booked(1, 0)
    fields = {**hidden(details.text, "/kiosk/review"), "minutes": "60", "name": "Walker Inn", "phone": "902-555-0133"}
    page = await screen.form("/kiosk/review", **fields)
    assert page.status_code == 409 and "just been taken" in page.text and "Free instead" in page.text


async def test_hostile_forms_are_refused(world):
    screen = await world.screen()
    details = await screen.get(f"/kiosk/book/bedford.box-1?start={NOON // 900}")
    good = {**hidden(details.text, "/kiosk/review"), "minutes": "60", "name": "<script>alert(1)</script>", "phone": "902-555-0133"}
    review = await screen.form("/kiosk/review", **good)
    assert review.status_code == 200 and "<script>alert" not in review.text
    assert (await screen.form("/kiosk/review", **{**good, "minutes": "7"})).status_code == 400
    assert (await screen.form("/kiosk/review", **{**good, "price": "1"})).status_code == 400
    assert (await screen.form("/kiosk/review", **{**good, "csrf_token": "0" * 64})).status_code == 403
    forged = {**hidden(review.text, "/kiosk/confirm"), "quote": "CQ1.AAAA"}
    assert "not one of our quotes" in (await screen.form("/kiosk/confirm", **forged)).text or (await screen.form("/kiosk/confirm", **forged)).status_code == 409
    assert (await screen.get("/kiosk/book/bedford.box-1?start=-4")).status_code == 400
    assert (await screen.get("/kiosk/book/nowhere.box-1?start=1")).status_code == 404


async def test_a_wrong_pin_is_answered_on_the_page(world):
    screen = await world.screen()
    page = await screen.get("/kiosk/check-in")
    answer = await screen.form("/kiosk/check-in", csrf_token=csrf_of(page.text), code="482915")
    assert answer.status_code == 403 and "No booking here has this PIN" in answer.text and 'role="alert"' in answer.text
    empty = await screen.form("/kiosk/check-in", csrf_token=csrf_of(page.text), code="")
    assert empty.status_code == 422 and "Please enter your PIN" in empty.text


async def test_while_dark_the_kiosk_offers_what_is_its_own_and_says_why(world):
    screen = await world.screen()
    page = (await screen.get("/kiosk/book")).text
    assert "booking centre is out of reach" in page
    box2 = (await screen.get(f"/kiosk/book/bedford.box-2?start={NOON // 900}")).text
    assert "until 14:00" in box2 and "until 14:30" not in box2, "box 2 is ours for two hours"


async def test_on_the_link_it_offers_beyond_the_line_too(linked):
    screen = await linked.screen()
    page = (await screen.get(f"/kiosk/book/bedford.box-2?start={NOON // 900}")).text
    assert "until 18:00" in page and "out of reach" not in page


async def test_the_running_half_hour_is_sold_in_its_first_half_only(world):
    screen = await world.screen()
    world.clock.forward(14 * 60)
    assert "Free now" in (await screen.get("/kiosk/book")).text
    world.clock.forward(2 * 60)
    page = (await screen.get("/kiosk/book")).text
    assert "Free now" not in page and "From 12:30" in page
