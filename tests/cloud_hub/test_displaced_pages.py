"""The admins' page of bookings that have lost their place: what it lists, what can be done with each, and what came of it."""

import pytest

from shared.errors import Refused
from shared.ledger import digests, records
from shared.model import Attendance, Facility
from tests.cloud_hub.hub_world import NOON, SITE
from tests.cloud_hub.lost_world import (
    BAY,
    FAR,
    NEAR,
    at_site,
    breaks,
    goes_dark,
    hears_site,
    later,
    mended,
    silences_site,
    standing,
    states,
)
from tests.cloud_hub.visitor import Page, Visitor

MOVE = "/manage/displaced/move"


@pytest.fixture
async def v(w):
    """An admin who is signed in."""
    states(w)
    visitor = Visitor(w)
    form = (await visitor.get("/manage/sign-in")).form("/manage/sign-in")
    await visitor.send(form, key=await w.new_key("admin"))
    yield visitor


async def lost(w, bay: int = 1, start: int = FAR, who: int = 1, **more) -> str:
    """A guest has booked this bay, and it broke. The booking's id."""
    booking_id = f"booking-{who:04}"
    made = await w.post("/bookings", w.wish(bay, start, booking_id=booking_id, who=who))
    assert made.status_code == 201, made.text
    await w.quiet()
    await breaks(w, bay, start, **more)
    return booking_id


def moves(page: Page, booking_id: str = "") -> list[str]:
    return page.links(rf"displaced/move\?booking={booking_id}")


async def sure(v: Visitor, page: Page, bay: int, booking_id: str = "") -> Page:
    """The page that asks once more about the first way to this bay."""
    return await v.get(next(link for link in moves(page, booking_id) if f"resource={BAY}{bay}&" in link))


# ---- what it lists
async def test_where_nobody_has_lost_a_place_it_says_so_and_the_links_count_nothing(v):
    page = await v.get("/manage/displaced")
    assert page.heading == "Displaced" and "Nobody has lost a place" in page.words and "open-count" not in page.text


async def test_each_is_told_with_who_where_when_why_and_since_when_the_earliest_first(w, v):
    await lost(w, 1, FAR, who=1, reason="The screen is <torn>.")
    w.clock.forward(5)
    await lost(w, 2, NEAR, who=2)
    w.clock.forward(55)
    page = await v.get("/manage/displaced")
    assert page.words.index("Testa Birdie 2") < page.words.index("Testa Birdie 1 ")
    assert f"Testa Birdie 1 {records.reference_of('booking-0001')}" in page.words
    assert "Box 1, Sat 21 Nov, 22:00 to 23:00 , Bedford (in 9 h)" in page.words
    assert "The bay is blocked at that time: The screen is &lt;torn&gt;." in page.text and "Known for 1 min." in page.words
    assert "/b/" not in page.text, "the guest's link is the guest's"
    work = await v.get("/manage/work")
    assert 'class="open-count">2<' in work.text


async def test_nobody_sees_it_who_is_not_signed_in(w):
    stranger = Visitor(w)
    assert (await stranger.get("/manage/displaced")).heading == "Sign in"
    assert (await stranger.get(MOVE + "?booking=booking-0001")).heading == "Sign in"
    assert (await stranger.post(MOVE, [("booking", "booking-0001")])).heading == "Sign in"


async def test_what_people_must_look_into_and_has_its_place_is_listed_without_ways(w, v):
    await w.post("/bookings", w.wish(1, FAR))
    w.db.write_now(lambda tx: records.put_conflict(tx, SITE, "booking-0001", "site", digests.WHY, NOON))
    page = await v.get("/manage/displaced")
    assert "do not say the same of it. Please call the facility." in page.words and moves(page) == []
    assert "Nothing else is free" not in page.words


async def test_times_are_by_the_facilitys_own_clock(w, v):
    there = Facility(id=SITE, name="Bedford", zone="America/Vancouver", version=2)
    w.db.write_now(lambda tx: records.put_document(tx, "facility", SITE, SITE, 2, records.text(there)))
    await lost(w)
    assert "Sat 21 Nov, 18:00 to 19:00" in (await v.get("/manage/displaced")).words


# ---- moving
async def test_an_admin_moves_a_guest_after_being_asked_once_more_and_the_journal_says_who(w, v):
    booking_id = await lost(w)
    (before,) = standing(w)
    page = await v.get("/manage/displaced")
    assert "Move to Box 3, Sat 21 Nov, 22:00 to 23:00, same time" in page.words
    asked = await sure(v, page, 3)
    assert asked.heading == "Move Testa Birdie 1?" and "From Box 1, Sat 21 Nov, 22:00 to 23:00" in asked.words
    assert standing(w) == [before], "asking changes nothing"
    done = await v.send(asked.form(MOVE))
    assert done.heading == "Displaced" and "Moved: Testa Birdie 1 has Box 3, Sat 21 Nov, 22:00 to 23:00 at Bedford." in done.words
    assert moves(done) == [] and "Nobody has lost a place" in done.words
    (now,) = standing(w)
    assert (now.resource_id, now.price, now.pin, now.placed) == (f"{BAY}3", before.price, before.pin, True)
    written = [row for row in w.db.read(lambda tx: records.journal_of(tx, SITE)) if row[3] == booking_id]
    assert written[0][2] == "placed elsewhere" and written[0][1].startswith("a program (")
    await w.quiet()
    assert at_site(w) == [("3", FAR)]


async def test_what_the_facility_sells_is_asked_of_it_and_told_when_it_has_answered(w, v):
    await lost(w, 1, NEAR)
    page = await v.get("/manage/displaced")
    form = (await sure(v, page, 2)).form(MOVE)
    silences_site(w)
    asked = await v.send(form)
    assert "Bedford is being asked for Box 2, Sat 21 Nov, 14:00 to 15:00. Until it answers nothing is given up" in asked.words
    assert "Box 2, Sat 21 Nov, 14:00 to 15:00, is being asked of Bedford." in asked.words and moves(asked) == []
    assert [b.resource_id for b in standing(w)] == [f"{BAY}1"]
    await hears_site(w)
    await w.until(lambda: [b.resource_id for b in standing(w)] == [f"{BAY}2"])
    assert "Moved: Testa Birdie 1 has Box 2" in (await v.get(asked.address)).words and at_site(w) == [("2", NEAR)]


async def test_a_no_of_the_facility_is_told_and_the_guest_stays_in_the_list(w, v):
    await lost(w, 1, NEAR)
    form = (await sure(v, await v.get("/manage/displaced"), 2)).form(MOVE)
    await breaks(w, 2, NEAR, told=False)
    no = await v.send(form)
    assert no.status == 409 and "Not moved." in no.words and "Testa Birdie 1" in no.words and moves(no)
    assert [b.resource_id for b in standing(w)] == [f"{BAY}1"]


async def test_a_no_that_comes_later_is_told_where_the_asking_was(w, v):
    await lost(w, 1, NEAR)
    form = (await sure(v, await v.get("/manage/displaced"), 2)).form(MOVE)
    silences_site(w)
    await breaks(w, 2, NEAR, told=False)
    asked = await v.send(form)
    await hears_site(w)
    await w.until(lambda: w.hub.displaced.open()[0].queued.asked is None)
    page = await v.get(asked.address)
    assert "Bedford could not give Testa Birdie 1 Box 2, Sat 21 Nov, 14:00 to 15:00. Please choose again." in page.words and moves(page)


async def test_a_way_that_was_taken_meanwhile_is_refused_before_and_after_the_question(w, v):
    await lost(w)
    page = await v.get("/manage/displaced")
    asked, link = await sure(v, page, 3), next(link for link in moves(page) if f"resource={BAY}3&" in link)
    await w.post("/bookings", w.wish(3, FAR, booking_id="booking-0002", who=2))
    no = await v.send(asked.form(MOVE))
    assert no.status == 409 and "Not moved. This time has just been taken." in no.words and moves(no)
    gone = await v.get(link)
    assert gone.status == 409 and "This place cannot be had any more. Please choose again." in gone.words


async def test_pressing_twice_moves_once_and_a_second_admin_is_told(w, v):
    await lost(w)
    page = await v.get("/manage/displaced")
    form, other = (await sure(v, page, 3)).form(MOVE), (await sure(v, page, 4)).form(MOVE)
    first, second = await v.send(form), await v.send(form)
    assert first.words == second.words and [b.resource_id for b in standing(w)] == [f"{BAY}3"]
    late = await v.send(other)
    assert late.status == 409 and "Not moved." in late.words and [b.resource_id for b in standing(w)] == [f"{BAY}3"]


async def test_what_was_told_of_a_move_is_told_anew_by_the_books(w, v):
    await lost(w)
    done = await v.send((await sure(v, await v.get("/manage/displaced"), 3)).form(MOVE))
    await breaks(w, 3, FAR)
    again = await v.get(done.address)
    assert "Box 3, Sat 21 Nov, 22:00 to 23:00" in again.words and moves(again), "it has lost that place too"
    await w.hub.changes.cancel(standing(w)[0].id, by="customer")
    assert "Testa Birdie 1 does not have Box 3" in (await v.get(done.address)).words


async def test_a_bay_that_is_free_again_takes_its_guest_back(w, v):
    await lost(w)
    link = moves(await v.get("/manage/displaced"))[0]
    (b,) = standing(w)
    (block,) = w.db.read(lambda tx: records.blocks_over(tx, b.resource_id, b.start, b.end))
    await mended(w, block)
    assert "Nobody has lost a place" in (await v.get("/manage/displaced")).words
    assert (await v.get(link)).status == 404


# ---- what stands in the way
async def test_a_facility_that_is_not_heard_is_marked_and_the_hubs_own_can_be_given(w, v):
    await lost(w, 1, FAR, who=1)
    await lost(w, 2, NEAR, who=2)
    await goes_dark(w)
    page = await v.get("/manage/displaced")
    assert "Bedford is not heard just now. What the hub itself sells there can be given all the same" in page.words
    assert page.words.count("Not heard") == 2 and "Nothing can be given before Bedford is heard." in page.words
    assert moves(page, "booking-0001") and not moves(page, "booking-0002")
    asked = await sure(v, page, 3, "booking-0001")
    assert "It is told of this move when it is." in asked.words
    assert "Moved: Testa Birdie 1 has Box 3" in (await v.send(asked.form(MOVE))).words
    await w.heal()
    await w.quiet()
    assert at_site(w) == [("2", NEAR), ("3", FAR)]


async def test_who_has_come_is_left_to_the_staff_there(w, v):
    booking_id = await lost(w, slots=2)
    w.db.write_now(lambda tx: records.put_attendance(tx, Attendance(booking_id=booking_id, site_id=SITE, state="checked_in")))
    page = await v.get("/manage/displaced")
    assert "The guest has come, so the facility’s staff see to it." in page.words and moves(page) == []
    assert w.hub.displaced.ways(booking_id) == (), "each of them would be refused"
    with pytest.raises(Refused):
        await w.hub.displaced.place(
            booking_id, f"{BAY}2", NOON // 900 + FAR, NOON // 900 + FAR + 4, new_id="booking-0009", by="Testa Keeper"
        )


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"resource": f"{SITE}.box-9"}, 404),
        ({"booking": "booking-9999"}, 404),
        ({"end": NOON // 900 + FAR + 9}, 422),
        ({"start": "x"}, 400),
        ({"nonce": "x"}, 400),
        ({"by": "somebody else"}, 400),
        ({"resource": None}, 400),
        ({"csrf_token": "no"}, 403),
    ],
)
async def test_a_form_that_makes_no_sense_is_refused_and_moves_nobody(w, v, fields, status):
    await lost(w)
    form = (await sure(v, await v.get("/manage/displaced"), 3)).form(MOVE)
    no = await v.send(form, **fields)
    assert no.status == status and no.heading and [b.resource_id for b in standing(w)] == [f"{BAY}1"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("booking=booking-9999", 404),
        ("booking=booking-0001", 409),
        (f"booking=booking-0001&resource={BAY}3&start=soon&end=later", 409),
        (f"booking=booking-0001&resource={BAY}3&start=1994792&end=9999999", 409),
    ],
)
async def test_an_address_that_makes_no_sense_asks_about_nothing(w, v, query, status):
    await lost(w)
    page = await v.get(f"{MOVE}?{query}")
    assert page.status == status and page.heading and not [form for form in page.forms if form.action == MOVE]


async def test_an_address_that_names_no_move_of_this_page_tells_of_none(w, v):
    await w.post("/bookings", w.wish(1, FAR))
    for booking_id in ("booking-0001", "no-such-booking", "%3Cb%3E"):
        page = await v.get(f"/manage/displaced?new={booking_id}")
        assert page.status == 200 and "Moved:" not in page.words and "Nobody has lost a place" in page.words


async def test_a_visit_that_is_over_leaves_the_list(w, v):
    await lost(w)
    await later(w, (FAR + 4) * 900)
    page = await v.get("/manage/displaced")
    assert "Nobody has lost a place" in page.words and "open-count" not in page.text


async def test_the_rest_of_a_visit_that_has_begun_can_be_given(w, v):
    await lost(w)
    await later(w, FAR * 900 + 20 * 60)
    page = await v.get("/manage/displaced")
    assert "Move to Box 2, Sat 21 Nov, 22:15 to 23:00" in page.words
    done = await v.send((await sure(v, page, 2)).form(MOVE))
    assert "Moved: Testa Birdie 1 has Box 2, Sat 21 Nov, 22:15 to 23:00" in done.words
