"""What the kiosk tells guests of a lock-down, an evacuation and doors that stand open, before and after they book."""

import re

import pytest

from site_agent.services.doors import door_words
from tests.site_agent.emergency_world import after, by_hand, called, quiet
from tests.site_agent.site_world import NOON
from tests.site_agent.test_kiosk_pages import hidden

SLOT = NOON // 900
USUAL = "Code and PIN open the door from 15 minutes before the start to 15 minutes after the end."


@pytest.fixture
async def world(tmp_path):
    async with by_hand(tmp_path) as w:
        yield w


async def sold(screen, start: int) -> tuple[str, str, str]:
    """The three pages of a sale: who and how long, the price, the PIN."""
    details = (await screen.get(f"/kiosk/book/bedford.box-1?start={start}")).text
    fields = {**hidden(details, "/kiosk/review"), "minutes": "60", "name": "Walker Inn", "phone": "902-555-0133", "guests": "1"}
    review = (await screen.form("/kiosk/review", **fields)).text
    return details, review, (await screen.form("/kiosk/confirm", **hidden(review, "/kiosk/confirm"))).text


@pytest.mark.parametrize(
    ("mode", "sentence", "title"),
    [
        (
            "lockdown",
            "The facility is locked down until 12:30 at the latest: no door opens for guests before it is over, not even with a booking.",
            "The doors are locked.",
        ),
        (
            "evacuation",
            "The facility is being evacuated until 12:30 at the latest: every door stands open, so please leave now by the nearest exit.",
            "Please leave now.",
        ),
        (
            "unlock_all",
            "All doors stand open until 12:30 at the latest: you need no PIN or code to come in, but please check in here as always.",
            "Step in and",
        ),
    ],
)
async def test_every_page_says_at_its_top_what_stands_and_until_when(world, mode, sentence, title):
    screen = await world.screen()
    await called(world, mode=mode)
    for path in ("/kiosk", "/kiosk/book", f"/kiosk/book/bedford.box-1?start={SLOT}", "/kiosk/check-in"):
        page = (await screen.get(path)).text
        assert sentence in page and page.index(sentence) < page.index("<form" if "check-in" in path else "<h1>"), path
    home = (await screen.get("/kiosk")).text
    free = (await screen.get("/kiosk/book")).text
    assert ("Free now" in free) == (mode == "unlock_all")
    *_, done = await sold(screen, SLOT)
    assert ("Check in now" in done) == (mode == "unlock_all"), "nobody is sent to a door that does not open"
    home = (await screen.get("/kiosk")).text
    assert title in home and ("free right now" in home) == (mode == "unlock_all") and 'data-refresh="60"' in home
    await after(world, 1803, step=601)
    home = (await screen.get("/kiosk")).text
    assert "data-emergency" not in home and "free right now" in home and "Step in and" in home


async def test_a_time_within_a_lock_down_is_sold_with_a_word_before_the_price_and_without_a_promise(world):
    screen = await world.screen()
    await called(world)
    details, review, done = await sold(screen, SLOT)
    ahead = "This time begins before the lock-down is over: you can come in once it is, at the latest at 12:30."
    assert details.index(ahead) < details.index("$39.90") and review.index(ahead) < review.index("Total")
    assert "Code and PIN open the door once the lock-down is over, at the latest at 12:30." in done and USUAL not in done


async def test_a_time_after_a_lock_down_is_sold_as_always_and_one_wholly_within_it_promises_nothing(world):
    screen = await world.screen()
    await called(world, minutes=30)
    details, review, done = await sold(screen, SLOT + 4)
    assert (
        "data-ahead" not in details + review and USUAL in done and "locked down until 12:30" in review and "locked down until 12:30" in done
    )
    await called(world, minutes=480, number=2)
    done = (await screen.get(f"/kiosk/booked/{hidden(review, '/kiosk/confirm')['booking_id']}")).text
    assert "Code and PIN open the door only if the lock-down is over before your time is." in done


async def test_a_lock_down_that_was_begun_at_the_controller_has_no_end_to_tell(world):
    screen = await world.screen()
    world.doors.mode = "lockdown"
    await world.kit.emergency.tick()
    await quiet(world)
    await after(world, 31)
    assert "The facility is locked down: no door opens for guests" in (await screen.get("/kiosk")).text
    details, _, done = await sold(screen, SLOT + 8)
    assert "you can come in once it is." in details and "open the door once the lock-down is over." in done


@pytest.mark.parametrize(("minutes", "told"), [(30, "12:30"), (719, "23:59"), (721, "Sun 22 Nov 00:01")])
def test_a_clock_says_its_day_where_that_is_another(minutes, told):
    assert door_words.clock("America/Halifax", NOON + minutes * 60, NOON) == told


async def test_a_start_of_tomorrow_says_so_on_the_list(world):
    screen = await world.screen()
    world.clock.forward(11 * 3600 + 50 * 60)
    page = (await screen.get("/kiosk/book")).text
    assert "From tomorrow 00:00<" in page
    details = (await screen.get(re.search(r'href="(/kiosk/book/[^"]+start=\d+)"', page)[1])).text
    assert "Sunday 22 November" in details and "tomorrow" not in details, "its day stands above it"


async def test_a_start_of_tomorrow_among_those_of_today_says_so(world):
    screen = await world.screen()
    world.clock.forward(11 * 3600)
    details = (await screen.get(f"/kiosk/book/bedford.box-1?start={SLOT + 44}")).text
    assert ">23:30</a>" in details and ">tomorrow 00:00</a>" in details
