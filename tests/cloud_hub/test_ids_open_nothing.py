"""The id of a booking or an order is no secret: it stands in passes, calendars, logs and on staff screens, so it must open nothing."""

import pytest

from tests.cloud_hub.test_book_pages import order_at
from tests.cloud_hub.visitor import Visitor

FAR = 40
DAY = "2026-11-21"


@pytest.fixture
async def v(w):
    yield Visitor(w)


def hold_of(page) -> str:
    """The hold's id, as anybody who has read the order's id can work it out."""
    return order_at(page).removeprefix("w-")


async def test_the_holds_id_of_a_booked_time_does_not_lead_a_stranger_to_the_order(w, v):
    mine = await v.booked(FAR, date=DAY)
    stranger = Visitor(w)
    page = await stranger.get(f"/book/hold/{hold_of(mine)}")
    assert page.status == 409 and "/b/" not in page.address and 'class="pin"' not in page.text
    assert w.hub.customer_links.token(order_at(mine)) not in page.text
    assert "has been booked" in page.words


async def test_a_form_sent_to_somebody_elses_booked_hold_leads_nowhere_either(w, v):
    mine = await v.booked(FAR, date=DAY)
    stranger = Visitor(w)
    other = await stranger.press(FAR + 8, date=DAY)
    form = other.form(r"/book/hold/[^/]+")
    form.action = f"/book/hold/{hold_of(mine)}"
    page = await stranger.send(form, name="Testa Other", phone="902-555-0199", email="other@example.test", do="book")
    assert page.status == 409 and "/b/" not in page.address and 'class="pin"' not in page.text


async def test_whoever_booked_finds_the_order_again_from_the_same_browser(w, v):
    mine = await v.booked(FAR, date=DAY)
    again = await v.get(f"/book/hold/{hold_of(mine)}")
    assert again.status == 200 and order_at(again) == order_at(mine)


async def test_a_booked_time_is_not_dropped_when_its_guest_presses_another(w, v):
    await v.booked(FAR, date=DAY)
    second = await v.press(FAR + 8, date=DAY)
    assert second.heading == "Your details"
    assert len(w.db.read(lambda tx: tx.all("SELECT id FROM bookings WHERE status = 'confirmed'"))) == 1


async def test_one_address_cannot_keep_time_after_time_from_everybody_else(w):
    answers = []
    for n in range(31):
        page = await Visitor(w).press(FAR + 2 * (n % 8), date=DAY)
        answers.append(page.status)
    assert answers[-1] == 429 and 429 not in answers[:-1]
    elsewhere = await Visitor(w, address="192.0.2.9").press(FAR + 56, date=DAY)
    assert elsewhere.status != 429
