"""The customer's own page behind its link: what it shows and to whom, cancelling, changing, staying longer, the calendar file."""

import re
from datetime import date

import msgspec
import pytest

from cloud_hub.services.offers import House
from cloud_hub.store import notifications as kept
from cloud_hub.web.book import words
from cloud_hub.web.book.calendar_file import escape, fold
from shared.ledger import attendance, blocks, claims, records
from shared.model import Attendance, Block, Facility, Resource
from shared.policy import CancelStep
from shared.profiles import profile
from shared.slots import parse_local
from tests.cloud_hub.hub_world import LINE_AFTER, NOON, SITE
from tests.cloud_hub.test_book_pages import bookings, order_at
from tests.cloud_hub.visitor import Page, Visitor

FAR = LINE_AFTER + 8
NEAR = 8
DAY = "2026-11-21"


@pytest.fixture
async def v(w):
    yield Visitor(w)


def root(page: Page) -> str:
    return page.address.partition("?")[0]


def live(w) -> list:
    return [b for b in bookings(w) if b.status == "confirmed"]


# ---- who sees it
async def test_a_wrong_token_is_answered_like_an_order_that_never_was(w, v):
    page = await v.booked(FAR, date=DAY)
    order_id = order_at(page)
    right = w.hub.customer_links.token(order_id)
    answers = [
        await v.get(f"/b/{order_id}/{right[:-1]}x"),
        await v.get(f"/b/{order_id}/"),
        await v.get(f"/b/w-never/{w.hub.customer_links.token('w-never')}"),
        await v.get(f"/b/w-never/{right}"),
    ]
    strip = lambda page: re.sub(r"please name [^.]+\.", "", page.words)  # noqa: E731
    assert {answer.status for answer in answers} == {404}
    assert len({strip(answer) for answer in answers}) == 1
    for below in ("cancel", "change", "extend", "calendar.ics"):
        assert (await v.get(f"/b/{order_id}/nonsense/{below}")).status == 404


async def test_what_we_told_its_guest_can_be_read_there_and_is_text_only(w, v):
    page = await v.booked(FAR, date=DAY)
    order_id, now = order_at(page), w.hub.desk.now()
    assert "What we told you" not in page.words
    said = lambda n, text: lambda tx: kept.put_app_message(tx, f"m-{n}", "c-1", order_id, f"News {n}", text, "", now + n)  # noqa: E731
    await w.hub.db.write(said(1, "You are booked."))
    await w.hub.db.write(said(2, "<b>It</b> begins at six."))
    page = await v.get(root(page))
    assert page.words.index("News 2") < page.words.index("News 1 ") and "&lt;b&gt;It&lt;/b&gt; begins at six." in page.text


async def test_nothing_keeps_indexes_or_refers_to_the_page(v):
    page = await v.booked(FAR, date=DAY)
    assert page.headers["x-robots-tag"] == "noindex, nofollow" and '<meta name="robots" content="noindex">' in page.text
    assert page.headers["cache-control"] == "no-store" and page.headers["referrer-policy"] == "no-referrer"
    cancel = await v.get(root(page) + "/cancel")
    assert cancel.headers["referrer-policy"] == "same-origin", "a form under no-referrer would send no origin to check"


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        ({"overtime_cents": 3990}, "You stayed 19 minutes after the end: $39.90 with tax is noted for it, and was not taken yet."),
        ({"overtime_cents": 3990, "waived": "The door stuck"}, "You stayed 19 minutes after the end. That is not charged."),
        ({}, "You stayed 19 minutes after the end."),
    ],
)
async def test_who_stayed_longer_reads_what_is_noted_for_it(w, v, noted, said):
    page = await v.booked(FAR, date=DAY)
    visit = Attendance(booking_id=live(w)[0].id, site_id=SITE, state="completed", overtime_min=19, **noted)
    w.db.write_now(lambda tx: records.put_attendance(tx, visit))
    again = (await v.get(root(page))).words
    assert said in again and "The door stuck" not in again, "what staff wrote is theirs"


async def test_who_did_not_come_reads_that_the_rest_is_on_sale_and_is_asked_for_no_longer_stay_until_they_come(w, v):
    page = await v.booked(FAR, date=DAY)
    [b] = live(w)
    w.clock.forward(FAR * 900 + 16 * 60)
    short = msgspec.structs.replace(b, id="booking-short", end=b.end - 2, replaces=b.id, reason="rest_on_sale")
    a = Attendance(booking_id=short.id, site_id=SITE, state="no_show")

    def sold(tx) -> None:
        records.add_booking(tx, short)
        records.put_booking(tx, msgspec.structs.replace(b, status="cancelled", reason="moved", replaced_by=short.id))
        claims.drop(tx, b.id)
        records.put_attendance(tx, a)

    w.db.write_now(sold)
    told = await v.get(root(page))
    assert "Nobody had come, so the rest of this time, from 22:30, is on sale again. The price stays." in told.words
    assert "Not used" in told.words and "Stay longer" not in told.words
    w.db.write_now(lambda tx: records.put_attendance(tx, msgspec.structs.replace(a, state="checked_in", version=2)))
    assert "Stay longer" in (await v.get(root(page))).words
    offer = (await v.get(f"{root(page)}/extend?booking={short.id}")).words
    assert "+$0.00" in offer, "paid for already"


async def test_the_pass_is_shown_until_half_an_hour_after_the_end(w, v):
    page = await v.booked(FAR, date=DAY)
    w.clock.forward((FAR + 4) * 900 + 29 * 60)
    assert 'class="qr"' in (await v.get(root(page))).text
    w.clock.forward(61)
    after = await v.get(root(page))
    assert 'class="qr"' not in after.text and after.heading == "Your visit" and live(w)[0].pin not in after.text.replace(" ", "")


async def test_without_a_pass_the_pin_is_enough_and_the_page_says_so(w, v):
    w.hub.keys._acknowledged.clear()
    page = await v.booked(FAR, date=DAY)
    assert "QR pass appears here as soon as the facility has been heard from" in page.words and 'class="pin"' in page.text


async def test_support_and_address_are_the_facilitys_own(w, v):
    stated = Facility(
        id=SITE, name="Bedford", zone="America/Halifax", address="12 Fairway Lane <North>", support_phone="902-555-0100", version=2
    )
    w.db.write_now(lambda tx: records.put_document(tx, "facility", SITE, SITE, 2, records.text(stated)))
    page = await v.booked(FAR, date=DAY)
    assert 'href="tel:902-555-0100"' in page.text and "12 Fairway Lane &lt;North&gt;" in page.text


# ---- cancel
async def test_what_comes_back_is_said_before_cancelling_and_the_slots_are_free_again(w, v):
    page = await v.booked(FAR, date=DAY)
    sure = await v.get(page.links("/cancel$")[0])
    assert sure.heading == "Cancel this booking?" and "Price $39.90 Comes back $39.90" in sure.words
    assert live(w), "asking changes nothing"
    gone = await v.send(sure.form("/cancel"))
    assert gone.heading == "Cancelled" and "$39.90 comes back." in gone.words
    assert "What next" in gone.words and "the PIN and change" not in gone.words
    assert w.db.read(lambda tx: tx.all("SELECT * FROM claims")) == []
    again = await v.send(sure.form("/cancel"))
    assert again.heading == "Cancelled", "a second press is answered with how it stands"


async def test_one_box_of_a_group_can_go_and_the_others_stay(w, v):
    page = await v.booked(FAR, date=DAY, guests=6)
    sure = await v.get(root(page) + "/cancel")
    first, second = (value for name, value in sure.form("/cancel").fields if name == "booking")
    left = await v.send(sure.form("/cancel"), booking=first)
    assert left.heading == "Your booking" and [b.id for b in live(w)] == [second]
    none = await v.send(sure.form("/cancel"), booking=None)
    assert none.status == 422 and "Please choose what to cancel." in none.words


async def test_a_dark_facility_hears_of_a_cancellation_later(w, v):
    page = await v.booked(NEAR, date=DAY)
    w.cut()
    w.clock.forward(11)
    await w.until(lambda: not w.hub.links.up(SITE))
    sure = await v.get(root(page) + "/cancel")
    assert "cannot be reached just now" in sure.words
    asked = await v.send(sure.form("/cancel"))
    assert "You have asked to cancel, and that counts from the moment you asked." in asked.words
    assert "Change time" not in asked.words
    await w.heal()
    await w.quiet()
    assert (await v.get(root(page))).heading == "Cancelled"


async def test_a_cancellation_that_crosses_the_check_in_is_told_the_facilitys_no(w, v):
    page = await v.booked(NEAR, date=DAY)
    sure = await v.get(root(page) + "/cancel")
    w.cut()
    w.clock.forward(NEAR * 900)
    await w.until(lambda: not w.hub.links.up(SITE))
    w.site.db.write_now(lambda tx: attendance.attend(tx, w.site.desk, order_at(page), "checked_in", by="kiosk"))
    assert "has still to answer" in (await v.send(sure.form("/cancel"))).words
    await w.heal()
    await w.quiet()
    after = await v.get(root(page))
    assert "Checked in" in after.words and "The guest has checked in already." in after.words and live(w)
    assert not after.links("/cancel") and (await v.get(root(page) + "/cancel")).heading == "Your booking"


async def test_cancelling_a_booking_of_somebody_else_through_ones_own_link_is_not_possible(w, v):
    mine = await v.booked(FAR, date=DAY)
    other = await Visitor(w).booked(FAR + 8, date=DAY, details={"phone": "902-555-0199", "email": "other@example.test"})
    sure = await v.get(root(mine) + "/cancel")
    page = await v.send(sure.form("/cancel"), booking=order_at(other))
    assert page.status == 404 and len(live(w)) == 2


# ---- change
async def test_the_first_change_is_free_and_the_second_costs_what_was_said(w, v):
    page = await v.booked(FAR, date=DAY)
    for number, (start, told, total) in enumerate(
        [(FAR + 96, "This change is free.", 3990), (FAR + 100, "This change costs $10.00", 5130)], 1
    ):
        times = await v.get((await v.get(root(page))).links("/change")[0] + "&date=2026-11-22")
        assert told in times.words
        sure = await v.get(next(link for link in times.links("/change/confirm") if f"start={v.slot(start)}" in link))
        assert words.money(total) in sure.words
        page = await v.send(sure.form("/change/confirm"))
        (now,) = live(w)
        assert (now.start, now.changes, now.price.total_cents) == (v.slot(start), number, total)
    assert "Change time" not in (await v.get(root(page))).words, "the third is for staff"
    staff = await v.get(root(page) + f"/change?booking={live(w)[0].id}")
    assert "please ask our staff" in staff.words


async def test_a_booking_may_move_by_half_an_hour_within_its_own_time(w, v):
    page = await v.booked(FAR, date=DAY)
    for n in (2, 3, 4):
        w.site.db.write_now(lambda tx, n=n: blocks.block(tx, w.site.desk, whole_night(n), link_up=True))
    await w.quiet()
    times = await v.get(root(page) + "/change")
    sure = await v.get(next(link for link in times.links("/change/confirm") if f"start={v.slot(FAR + 2)}" in link))
    moved = await v.send(sure.form("/change/confirm"))
    assert moved.heading == "Your booking" and [(b.resource_id, b.start) for b in live(w)] == [(f"{SITE}.box-1", v.slot(FAR + 2))]


def whole_night(n: int) -> Block:
    return Block(id=f"block-00{n}", site_id=SITE, resource_id=f"{SITE}.box-{n}", start=NOON // 900 + FAR - 8, end=NOON // 900 + FAR + 16)


async def test_sending_a_change_twice_changes_once(w, v):
    page = await v.booked(FAR, date=DAY)
    times = await v.get(root(page) + "/change")
    sure = await v.get(times.links(f"/change/confirm.*start={v.slot(FAR - 4)}")[0])
    form = sure.form("/change/confirm")
    first, second = await v.send(form), await v.send(form)
    assert first.heading == second.heading == "Your booking"
    assert [(b.start, b.changes) for b in live(w)] == [(v.slot(FAR - 4), 1)]


async def test_a_change_to_a_time_that_is_gone_keeps_the_booking_and_names_others(w, v):
    page = await v.booked(FAR, date=DAY)
    times = await v.get(root(page) + "/change?date=2026-11-22")
    link = times.links(f"/change/confirm.*start={v.slot(FAR + 96)}")[0]
    sure = await v.get(link)
    await Visitor(w).booked(FAR + 96, date="2026-11-22", guests=16, details={"phone": "902-555-0199", "email": "other@example.test"})
    no = await v.send(sure.form("/change/confirm"))
    assert no.status == 409 and no.heading == "Not changed" and "Your booking stands as it was" in no.words
    assert len(no.links("/change/confirm")) == 3
    assert [b.start for b in live(w) if b.order_id == order_at(page)] == [v.slot(FAR)]


async def test_while_a_change_is_asked_the_page_shows_what_stands_at_its_own_price_and_nothing_to_withdraw(w, v):
    page = await v.booked(FAR, date=DAY)
    (before,) = live(w)
    times = await v.get(root(page) + "/change")
    sure = await v.get(times.links(f"/change/confirm.*start={v.slot(NEAR)}")[0])
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)
    asked = await v.send(sure.form("/change/confirm"))
    assert asked.heading == "Your booking" and "Until it answers, this booking stands as it is." in asked.words
    assert "22:00 to 23:00" in asked.words and "14:00" not in asked.words and "Total $39.90" in asked.words
    assert "Withdraw" not in asked.words and 'data-waiting="' in asked.text, "the page looks again by itself"
    sure = await v.get(root(page) + "/cancel")
    given_up = [value for name, value in sure.form("/cancel").fields if name == "booking"]
    assert sure.heading == "Cancel this booking?" and given_up == [before.id]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"start": NOON // 900 - 8}, 422),
        ({"minutes": 15}, 422),
        ({"minutes": 1441}, 400),
        ({"resource": "bedford.box-9"}, 404),
        ({"booking": "w-somebody-elses"}, 404),
        ({"nonce": "x"}, 400),
        ({"quote": "CQ1.forged", "start": NOON // 900 + FAR + 8}, 409),
        ({"csrf_token": "no"}, 403),
        ({"fee": "0"}, 400),
    ],
)
async def test_tampering_with_a_change_gets_a_sentence_and_changes_nothing(w, v, fields, status):
    page = await v.booked(FAR, date=DAY)
    times = await v.get(root(page) + "/change")
    sure = await v.get(times.links(f"/change/confirm.*start={v.slot(FAR - 4)}")[0])
    before = live(w)
    no = await v.send(sure.form("/change/confirm"), **fields)
    assert no.status == status and no.heading and live(w) == before, no.words


@pytest.mark.parametrize("query", ["", "?start=1", "?start=1994800&minutes=60", "?booking=x&start=1994800&minutes=60&resource=y"])
async def test_a_change_without_sense_in_its_address_is_refused(w, v, query):
    page = await v.booked(FAR, date=DAY)
    no = await v.get(root(page) + "/change/confirm" + query)
    assert no.status in (404, 422) and no.heading


# ---- stay longer
async def test_staying_longer_costs_what_was_said(w, v):
    page = await v.booked(FAR, date=DAY)
    longer = await v.get((await v.get(root(page))).links("/extend")[0])
    assert "1 hour more until 00:00" in longer.words and "+$39.90" in longer.words
    form = next(form for form in longer.forms if ("minutes", "60") in form.fields)
    after = await v.send(form)
    (now,) = live(w)
    assert (now.end - now.start, now.price.total_cents, now.changes) == (8, 7980, 0) and "22:00 to 00:00" in after.words


async def test_what_is_taken_behind_it_cannot_be_had(w, v):
    page = await v.booked(FAR, date=DAY, resource=f"{SITE}.box-1")
    details = {"phone": "902-555-0199", "email": "other@example.test"}
    await Visitor(w).booked(FAR + 6, date=DAY, resource=f"{SITE}.box-1", details=details)
    booking_id = order_at(page)
    longer = await v.get(root(page) + f"/extend?booking={booking_id}")
    assert "30 minutes more" in longer.words and "1 hour more" not in longer.words
    form = longer.form("/extend")
    no = await v.send(form, minutes=60)
    assert no.status == 409 and "just been taken" in no.words


async def test_another_price_than_was_shown_is_not_taken(w, v):
    page = await v.booked(FAR, date=DAY)
    longer = await v.get(root(page) + "/extend")
    no = await v.send(longer.form("/extend"), shown_cents=1)
    assert no.status == 422 and "price has changed" in no.words and len(live(w)) == 1


# ---- calendar
async def test_the_calendar_file_has_the_time_in_utc_and_no_pin(w, v):
    page = await v.booked(FAR, date=DAY, guests=6)
    answer = await v.client.get(root(page) + "/calendar.ics")
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8" and "attachment" in answer.headers["content-disposition"]
    text = answer.text
    assert text.count("BEGIN:VEVENT") == 2 and "DTSTART:20261122T020000Z" in text and "DTEND:20261122T030000Z" in text
    assert all(b.pin not in text for b in live(w)) and all(line.endswith("\r\n") for line in text.splitlines(keepends=True))


def test_calendar_text_is_escaped_and_folded():
    assert escape("Box 1; a,b\\c\r\nx") == "Box 1\\; a\\,b\\\\c\\nx"
    line = "SUMMARY:" + "é" * 100
    folded = fold(line)
    assert all(len(part.encode()) <= 75 for part in folded.split("\r\n")) and folded.replace("\r\n ", "") == line


# ---- words
def house(name: str = "business", zone: str = "America/Halifax", **policy) -> House:
    found = profile(name)
    found = msgspec.structs.replace(found, policy=msgspec.structs.replace(found.policy, **policy))
    bays = {f"{SITE}.box-1": Resource(id=f"{SITE}.box-1", name="Box 1", number=1)}
    return House(facility=Facility(id=SITE, name="Bedford", zone=zone), resources=bays, profile=found)


def test_the_repeated_hour_of_autumn_is_told_apart():
    first, second = parse_local("America/Halifax", "2026-11-01T01:30")
    assert words.span(house(), first, second + 4) == "01:30 ADT to 02:30"
    assert words.span(house(), second, second + 4) == "01:30 AST to 02:30"


def test_an_end_after_midnight_names_its_day_and_an_end_at_midnight_does_not():
    (start,) = parse_local("America/Halifax", "2026-11-21T23:00")
    assert words.span(house(), start, start + 4) == "23:00 to 00:00"
    assert words.span(house(), start, start + 8) == "23:00 to 01:00 (Sunday)"
    assert words.doors(house(), start, (start * 900 - 900, (start + 4) * 900 + 900)) == "from 22:45 to Sunday 00:15"


@pytest.mark.parametrize(
    ("house", "told"),
    [
        (house(), "If you cancel before the start, the whole price comes back."),
        (
            house("planning"),
            "If you cancel up to 24 hours before the start, the whole price comes back; up to 2 hours before the start, 50 % of the price comes"
            " back; after that nothing comes back.",
        ),
        (house(cancellation=()), "A booking that is cancelled is not paid back."),
        (house(cancellation=(CancelStep(before_min=0, percent=0),)), "If you cancel before the start, nothing comes back."),
    ],
)
def test_the_sentence_about_cancelling_follows_from_the_policy(house, told):
    assert words.cancelling(house.profile.policy) == told


def test_the_sentence_about_changes_follows_from_the_policy():
    assert words.changing(house(reschedule_max=0), date(2026, 11, 21)) == "Please ask our staff."
    assert words.changing(house(reschedule_max=1), date(2026, 11, 21)) == "The first change is free; after that our staff can help you."


def test_money_and_pins_are_written_as_people_read_them():
    assert [words.money(cents) for cents in (0, 5, 123456, -990)] == ["$0.00", "$0.05", "$1,234.56", "−$9.90"]
    assert words.money(100, "JPY") == "JPY 1.00" and words.money(100, "GBP") == "£1.00"
    assert [words.pin(text) for text in ("123456", "12345678", "123456789")] == ["123 456", "1234 5678", "123 456 789"]
