"""The door by telephone: from the guest's page to the door and back, and everything that keeps it shut."""

import msgspec
import pytest

from cloud_hub.services.phone_doors import Position, is_near
from shared.ledger import door_wishes, records, streams
from shared.ledger.door_wishes import VALID_S, Wish
from shared.model import Facility
from site_agent.store import door_trail
from tests.site_agent.site_world import FRONT, SITE, away
from tests.two_apps import SOONEST, WITH_DOORS, both

OPEN = "/open"
#: the front door's place; a car park away, and a town away
HERE, CAR_PARK, TOWN = (44.7305, -63.6556), (44.7311, -63.6556), (44.6488, -63.5752)
NEAR = WITH_DOORS.replace('word = "Box"\n', f'word = "Box"\nnear_m = 100\nlatitude = {HERE[0]}\nlongitude = {HERE[1]}\n')


@pytest.fixture
async def w(tmp_path):
    async with both(tmp_path) as world:
        yield world


async def pressed(w, b, **fields):
    page = await w.guest_page(b)
    return await w.visitor.send(page.form(OPEN), **fields)


def doors_asked(w) -> list[str]:
    return [door for door, _, _ in w.doors.unlocked]


async def test_a_guest_opens_the_door_on_the_telephone_and_is_checked_in(w):
    b = await w.at_its_time(2)
    page = await w.guest_page(b)
    assert page.words.index("Your PIN") < page.words.index("Open the door") < page.words.index("Or show this code to the kiosk")
    assert page.headers["referrer-policy"] == "same-origin" and "geolocation=()" in page.headers["permissions-policy"]
    form = page.form(OPEN)
    page = await w.visitor.send(form)
    assert "Welcome in: Box 2 is yours until 14:00. The door is open now." in page.words and "Open it again" in page.words
    assert doors_asked(w) == [FRONT, "door-side"]
    await w.visitor.send(form)
    assert doors_asked(w) == [FRONT, "door-side"], "the same press sent again is one pulse"
    await w.quiet()
    assert w.db.read(lambda tx: records.attendance(tx, b.id)).state == "checked_in"
    await w.until(lambda: len(w.kit.door_trail.page(booking_id=b.id).rows) == 2)
    asked = w.kit.db.read(lambda tx: door_trail.page(tx, SITE, booking_id=b.id, limit=5))
    assert {(row.who, row.how) for row in asked} == {("phone", "check-in from the telephone")}
    assert "(check-in from the telephone of Testa 1., Box 2, 13:00 to 14:00)" in w.kit.door_trail.page().rows[0].sentence


async def test_coming_back_opens_again(w):
    b = await w.at_its_time()
    await pressed(w, b)
    await w.later(60)
    assert "Welcome back" in (await pressed(w, b)).words and doors_asked(w) == [FRONT, FRONT]


@pytest.mark.parametrize(
    ("failing", "told"),
    [
        (
            away(),
            "You are checked in, but the door could not be reached. If it stays shut, use your PIN at the door's reader or call 902-555-0100.",
        ),
        (None, "The door has been asked to open"),
    ],
    ids=["controller away", "controller silent"],
)
async def test_what_the_controller_did_not_do_is_told_and_leads_to_the_pin(w, failing, told):
    b = await w.at_its_time()
    w.doors.failure, w.doors.silent = failing, failing is None
    page = await pressed(w, b)
    assert told in page.words and "The door is open now" not in page.words
    assert ("data-waiting" in page.text) == (failing is None), "a page that waits for an answer looks again"
    if failing is None:
        await w.doors.stop()  # which answers what it still owes
        await w.until(lambda: w.db.read(lambda tx: door_wishes.latest(tx, [b.id], 0))[b.id].outcome)
        assert "The door is open now" in (await w.guest_page(b)).words


async def test_a_lock_down_keeps_the_door_shut_for_telephones_too(w):
    b = await w.at_its_time()
    w.kit.doors.barred = lambda: "The facility is locked down, so no door is opened from here."
    page = await pressed(w, b)
    assert "You are checked in, but the facility is locked down" in page.words and doors_asked(w) == []


async def test_a_press_that_lay_on_the_way_opens_nothing_later(w):
    b = await w.at_its_time()
    page = await w.guest_page(b)
    w.cut()
    page = await w.visitor.send(page.form(OPEN))
    assert "The door has been asked to open. If it stays shut, use your PIN." in page.words
    w.clock.forward(VALID_S + 5)
    page = await w.guest_page(b)
    assert "cannot be reached just now, so the door does not open from this page. Use your PIN." in page.words
    assert not [form for form in page.forms if form.action.endswith(OPEN)]
    await w.heal()
    assert doors_asked(w) == [] and w.kit.db.read(lambda tx: records.attendance(tx, b.id)) is None
    assert "The facility heard of it too late, so the door was not opened." in (await w.guest_page(b)).words


async def test_what_a_restart_of_the_site_left_over_is_not_carried_out(w):
    b = await w.at_its_time()
    await w.kit.phone_doors.stop()
    await pressed(w, b)
    await w.kit.phone_doors.start()
    await w.quiet()
    assert doors_asked(w) == [] and "restarted meanwhile" in (await w.guest_page(b)).words


async def test_the_door_is_offered_within_the_window_only(w):
    b = await w.sold(1, SOONEST)
    has = lambda page: any(form.action.endswith(OPEN) for form in page.forms)  # noqa: E731
    early = await w.guest_page(b)
    await w.later(SOONEST * 900 - 15 * 60)
    page = await w.guest_page(b)
    assert (has(early), has(page)) == (False, True)
    await w.later(15 * 60 + 4 * 900 + 15 * 60)
    assert not has(await w.guest_page(b))
    page = await w.visitor.send(page.form(OPEN))
    assert (page.status, page.heading) == (403, "The door stays shut") and "This booking is over" in page.words and not doors_asked(w)


async def test_the_site_judges_again_and_its_no_is_shown(w):
    b = await w.at_its_time()
    page = await w.guest_page(b)
    lost = lambda tx: records.put_booking(tx, msgspec.structs.replace(records.booking(tx, b.id), displaced=True))  # noqa: E731
    await w.kit.db.write(lost)
    page = await w.visitor.send(page.form(OPEN))
    assert doors_asked(w) == [] and 'class="door-says refused"' in page.text


async def test_whoever_presses_too_often_is_sent_to_the_pin(w):
    b = await w.at_its_time()
    for _ in range(door_wishes.TRIES_MAX):
        await pressed(w, b)
    page = await pressed(w, b)
    assert page.status == 429 and "try again in 5 minutes" in page.words and "Your PIN" in page.words
    assert len(doors_asked(w)) == door_wishes.TRIES_MAX


async def test_a_site_of_an_older_release_and_one_without_the_setting_offer_the_pin_only(w):
    b = await w.at_its_time()
    await w.db.write(lambda tx: tx.run("UPDATE streams SET peer_schema = 3"))
    page = await w.guest_page(b)
    assert "does not open from this page" in page.words and OPEN not in page.text
    answer = await w.post(f"/bookings/{b.id}/open", {"open_id": "open-from-api-1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "site_unreachable")


async def test_a_facility_without_the_setting_says_nothing_of_doors(tmp_path):
    async with both(tmp_path, WITH_DOORS.replace('word = "Box"\n', 'word = "Box"\ndoor_by_phone = false\n')) as w:
        b = await w.at_its_time()
        page = await w.guest_page(b)
        assert OPEN not in page.text and "door does not open" not in page.words
        answer = await w.post(f"/bookings/{b.id}/open", {"open_id": "open-from-api-1"})
        assert (answer.status_code, answer.json()["code"]) == (409, "door_not_by_phone")


async def test_where_people_must_be_near_the_telephone_says_where_it_is_and_nothing_keeps_it(tmp_path):
    async with both(tmp_path, NEAR) as w:
        b = await w.at_its_time()
        page = await w.guest_page(b)
        assert "data-near" in page.text and "geolocation=(self)" in page.headers["permissions-policy"]
        for place, told in (((None, None), "did not say where it is"), (TOWN, "your telephone says that it is not")):
            no = await w.visitor.send(page.form(OPEN), latitude=place[0] or "", longitude=place[1] or "", accuracy=15)
            assert no.status == 403 and told in no.words and "Your PIN" in no.words
        assert doors_asked(w) == []
        assert "is open now" in (await w.visitor.send(page.form(OPEN), latitude=HERE[0], longitude=HERE[1], accuracy=15)).words
        (stored,) = [w.db.read(lambda tx: tx.all("SELECT * FROM door_wishes"))]
        assert len(stored) == 1 and str(HERE[0]) not in repr(stored)


@pytest.mark.parametrize(
    ("at", "near"),
    [(Position(*HERE), True), (Position(*CAR_PARK), True), (Position(*TOWN), False), (Position(*TOWN, 10**6), False),
     (Position(44.7325, HERE[1], 150.0), True), (Position(44.7325, HERE[1], 20.0), False), (Position(float("nan"), 0.0), False)],
)  # fmt: skip
def test_near_is_judged_by_the_place_and_by_how_well_the_telephone_knows_it(at, near):
    assert is_near(Facility("bedford", "Bedford", "America/Halifax", near_m=100, latitude=HERE[0], longitude=HERE[1]), at) is near


@pytest.mark.parametrize(("age_s", "late"), [(0, False), (20, False), (21, True), (86_400, True), (-20, False), (-21, True)])
def test_a_wish_is_worth_something_for_twenty_seconds_of_the_hubs_clock(age_s, late):
    wish = Wish(id="o-1", site_id=SITE, booking_id="b-1", asked_at=1_000_000)
    assert door_wishes.is_late(wish, 1_000_000 + age_s) is late


async def test_the_api_opens_a_door_too(w):
    b = await w.at_its_time()
    answer = await w.post(f"/bookings/{b.id}/open", {"open_id": "open-from-api-1"})
    assert (answer.status_code, answer.json()["outcome"]) == (200, "opened") and "Box 1" in answer.json()["detail"]
    again = await w.post(f"/bookings/{b.id}/open", {"open_id": "open-from-api-1"})
    assert again.json() == answer.json() and doors_asked(w) == [FRONT]
    other = await w.sold(2, SOONEST + 8, booking_id="booking-0002", who=2)
    refused = await w.post(f"/bookings/{other.id}/open", {"open_id": "open-from-api-1"})
    assert (refused.status_code, refused.json()["code"]) == (409, "id_reused")
    assert (await w.post("/bookings/never-was/open", {"open_id": "open-from-api-2"})).status_code == 404
    assert (await w.post(f"/bookings/{b.id}/open", {"open_id": "x"})).status_code == 400
    reader = await w.new_key("bookings:read")
    assert (await w.post(f"/bookings/{b.id}/open", {"open_id": "open-from-api-3"}, key=reader)).status_code == 403
    await w.kit.phone_doors.stop()
    waits = await w.post(f"/bookings/{b.id}/open", {"open_id": "open-from-api-4"})
    assert (waits.status_code, waits.json()["outcome"]) == (202, "asked")


async def test_a_wish_of_another_facilitys_booking_is_answered_by_nobody(w):
    b = await w.at_its_time()
    await w.db.write(lambda tx: streams.open_site(tx, "truro", epoch="e"))
    wish = await w.db.write(lambda tx: door_wishes.ask(tx, w.hub.desk, "o-truro", SITE, b.id))
    forged = door_wishes.DoorAnswered(id=wish.id, booking_id=b.id, outcome="opened", detail="Come in.")
    await w.db.write(lambda tx: door_wishes.answered(tx, w.hub.desk, forged, "truro"))
    assert w.db.read(lambda tx: door_wishes.one(tx, wish.id)).detail != "Come in."
