"""Booking in a browser without JavaScript: the whole path, both territories, and everything that can be wrong on the way."""

import re

import msgspec
import pytest

from cloud_hub.services.guest_booking import order_of
from shared.ledger import frontdesk, holds, records, sales
from shared.model import Customer, Restriction
from shared.profiles import to_json
from tests.cloud_hub.hub_world import LINE_AFTER, NOON, SITE, opened
from tests.cloud_hub.visitor import DETAILS, Page, Visitor

FAR = LINE_AFTER + 8  # 22:00 that night: the hub's
NEAR = 8  # 14:00: the site's
DAY = "2026-11-21"


@pytest.fixture
async def v(w):
    yield Visitor(w)


def order_at(page: Page) -> str:
    found = re.match(r"/b/([^/]+)/([^/?]+)", page.address)
    assert found, f"{page.address}: {page.words[:600]}"
    return found[1]


def bookings(w) -> list:
    return w.db.read(lambda tx: records.bookings_where(tx, "1 = 1", {}))


def claims(w) -> list:
    return w.db.read(lambda tx: tx.all("SELECT slot, kind, ref FROM claims"))


# ---- the path
async def test_a_guest_books_from_the_list_of_places_to_the_pin(w, v):
    places = await v.get("/")
    assert places.heading == "Where would you like to play?" and places.links(f"/book/{SITE}$")
    page = await v.booked(FAR, date=DAY)
    assert page.heading == "You’re booked"
    (booking,) = bookings(w)
    assert (booking.status, booking.channel, booking.shown_name) == ("confirmed", "web", "Testa Birdie")
    assert f"{booking.pin[:3]} {booking.pin[3:]}" in page.words and 'class="qr"' in page.text
    assert "22:00 to 23:00" in page.words and "from 21:45 to 23:15" in page.words
    assert records.reference_of(booking.order_id) in page.words


async def test_a_near_time_is_confirmed_by_the_facility(w, v):
    page = await v.booked(NEAR, date=DAY)
    assert page.heading == "You’re booked"
    (booking,) = bookings(w)
    assert (booking.status, booking.seller) == ("confirmed", "site")


@pytest.mark.parametrize("start", [FAR, NEAR])
async def test_a_group_gets_as_many_boxes_as_it_needs(w, v, start):
    details = await v.press(start, date=DAY, guests=9)
    assert "Box 1, Box 2 and Box 3" in details.words and "3 hours in all" in details.words
    page = await v.send(details.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    made = bookings(w)
    assert page.heading == "You’re booked" and [b.status for b in made] == ["confirmed"] * 3
    assert {b.resource_id for b in made} == {f"{SITE}.box-{n}" for n in (1, 2, 3)}
    for b in made:
        assert f"{b.pin[:3]} {b.pin[3:]}" in page.words


async def test_the_price_has_its_lines_and_its_tax(v):
    details = await v.press(FAR, date=DAY, minutes=120)
    assert re.search(r"Standard rate, 2 hours \$70\.00 HST \$9\.80 Total \$79\.80 CAD", details.words)
    assert "Book for $79.80" in details.words


async def test_the_policy_is_told_before_booking(v):
    details = (await v.press(FAR, date=DAY)).words
    assert "At most 2 bookings can be open at a time." in details and "Name required" in details
    assert "If you cancel before the start, the whole price comes back." in details
    assert "The first change is free; the second change costs $10.00; after that our staff can help you." in details
    assert "$10.00 of the price is a deposit. It is kept only if nobody comes." in details


async def test_sending_the_form_twice_books_once(w, v):
    details = await v.press(FAR, date=DAY)
    form = details.form(r"/book/hold/[^/]+")
    first, second = await v.send(form, **DETAILS, do="book"), await v.send(form, **DETAILS, do="book")
    assert first.address == second.address and len(bookings(w)) == 1


async def test_pressing_a_time_twice_holds_one_box(w, v):
    times = await v.times(date=DAY)
    first, second = await v.press(FAR, times), await v.press(FAR, times)
    assert first.address == second.address
    assert len({ref for _, _, ref in claims(w)}) == 1


async def test_choosing_another_time_gives_the_first_back(w, v):
    await v.press(FAR, date=DAY)
    await v.press(FAR + 8, date=DAY)
    assert {slot for slot, _, _ in claims(w)} == set(range(NOON // 900 + FAR + 8, NOON // 900 + FAR + 12))


async def test_a_held_time_is_offered_again_to_whoever_holds_it(v):
    await v.press(FAR, date=DAY)
    times = await v.times(date=DAY)
    assert "still kept for you: Today, Saturday 21 November, 22:00 to 23:00" in times.words
    details = await v.get(times.links("/book/hold/")[0])
    assert details.heading == "Your details"


async def test_letting_go_puts_the_time_back_on_sale(w, v):
    details = await v.press(FAR, date=DAY)
    times = await v.send(details.form("/drop"))
    assert times.heading == "Bedford" and claims(w) == []


# ---- the hold
async def test_a_hold_is_prolonged_once(w, v):
    details = await v.press(FAR, date=DAY)
    assert "until 12:10" in details.words
    longer = await v.send(details.form("/extend"))
    assert "until 12:20" in longer.words and "Keep it longer" not in longer.words
    again = await v.post(details.form("/extend").action, details.form("/extend").filled())
    assert again.status == 409 and "extended once already" in again.words


async def test_a_hold_that_is_over_says_so_and_offers_the_same_time(w, v):
    details = await v.press(FAR, date=DAY)
    w.clock.forward(601)
    w.db.write_now(lambda tx: holds.expire(tx, w.hub.desk))
    page = await v.send(details.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert page.status == 409 and "Your time to book was over" in page.words
    assert "22:00 to 23:00" in page.words and bookings(w) == []


# ---- the facility is asked, or cannot be
async def test_a_silent_facility_keeps_the_guest_waiting_with_a_page_that_looks_again(w, v):
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)
    asking = await v.press(NEAR, date=DAY)
    assert asking.heading == "Asking Bedford…" and '<meta http-equiv="refresh"' in asking.text
    w.network.heal(f"site-{SITE}")
    w.clock.forward(3)
    w.site.pump.tick()
    w.say_hello()
    asked = lambda: w.db.read(lambda tx: tx.one("SELECT 1 FROM holds WHERE status = 'asked'"))  # noqa: E731
    await w.until(lambda: w.hub.links.up(SITE) and not asked())
    details = await v.get(asking.address)
    assert details.heading == "Your details"


async def test_a_booking_that_waits_can_be_withdrawn(w, v):
    details = await v.press(NEAR, date=DAY)
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)
    page = await v.send(details.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert page.heading == "Asking Bedford…" and "Nothing is booked until it says yes." in page.words
    withdraw = await v.get(page.links("/cancel$")[0])
    assert withdraw.heading == "Withdraw this request?" and "withdrawing costs nothing" in withdraw.words
    gone = await v.send(withdraw.form("/cancel"))
    assert gone.heading == "Your cancellation is on its way"
    assert bookings(w)[0].withdrawn


async def test_an_overdue_answer_is_told_as_what_it_is(w, v):
    details = await v.press(NEAR, date=DAY)
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)
    page = await v.send(details.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    w.clock.forward(70)
    assert "has not answered in time" in (await v.get(page.address)).words


async def test_a_dark_facility_sells_only_what_the_hub_may(w, v):
    w.cut()
    w.clock.forward(11)
    await w.until(lambda: not w.hub.links.up(SITE))
    times = await v.times(date=DAY)
    assert "Bedford cannot be reached just now" in times.words and "from Today, Saturday 21 November, 20:00 on" in times.words
    starts = [int(value) for name, value in times.form(f"/book/{SITE}").buttons if name == "start"]
    assert min(starts) == NOON // 900 + LINE_AFTER
    page = await v.press(NEAR, times)
    assert page.status == 409 and "only it can sell this time" in page.words
    assert "20:00 to 21:00" in page.words
    again = await v.send(page.form(f"/book/{SITE}"), start=v.slot(LINE_AFTER))
    assert again.heading == "Your details"


async def test_a_time_taken_meanwhile_is_refused_with_the_nearest_three(w, v):
    times = await v.times(date=DAY, guests=13)
    await Visitor(w).booked(FAR, date=DAY)
    page = await v.press(FAR, times)
    assert page.status == 409 and "Your group needs 4 boxes, and not so many are free" in page.words
    ways = [value for name, value in page.form(f"/book/{SITE}").buttons if name == "start"]
    assert len(ways) == 3 and str(v.slot(FAR)) not in ways
    assert "$159.60" in page.words, "four boxes for an hour"
    assert (await v.send(page.form(f"/book/{SITE}"), start=ways[0])).heading == "Your details"


async def test_a_facility_that_says_no_leaves_nothing_booked(w, v):
    details = await v.press(NEAR, date=DAY)
    hold_id = re.search(r"/book/hold/([^?]+)", details.address)[1]
    w.site.db.write_now(lambda tx: holds.drop(tx, w.site.desk, hold_id))
    for n in range(1, 5):
        take_at_site(w, n, NEAR)
    page = await v.send(details.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert page.status == 409 and page.heading == "This time cannot be booked"
    assert [b.status for b in bookings(w) if b.order_id == order_of(hold_id)] == ["declined"]
    again = await v.send(details.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert again.heading == "Not booked" and "you owe nothing" in again.words


def take_at_site(w, n: int, start: int) -> None:
    part = frontdesk.Part(
        booking_id=f"walkin-000{n}", resource_id=f"{SITE}.box-{n}", start=NOON // 900 + start, end=NOON // 900 + start + 4
    )
    wanted = frontdesk.Wanted(site_id=SITE, parts=(part,), channel="kiosk", customer=Customer(id=f"walkin-{n}", name="Testa Walker"))
    w.site.db.write_now(lambda tx: frontdesk.book(tx, w.site.desk, w.site.houses.of(tx, SITE), wanted))


# ---- bad input: a sentence, and nothing changed
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": " "}, "Please give your name."),
        ({"name": "x" * 81}, "A name has at most 80 letters"),
        ({"name": "Testa\u202eBirdie"}, "no control characters"),
        ({"phone": ""}, "Please give a phone number"),
        ({"phone": "12"}, "A phone number has 7 to 15 digits"),
        ({"phone": "call me maybe"}, "A phone number has 7 to 15 digits"),
        ({"email": "testa"}, "An e-mail address looks like"),
        ({"email": "a@b@example.test"}, "An e-mail address looks like"),
        ({"code": "NOSUCH"}, "We do not know the code"),
    ],
)
async def test_a_wrong_field_is_named_with_a_sentence_and_keeps_the_rest(w, v, wrong, told):
    details = await v.press(FAR, date=DAY)
    page = await v.send(details.form(r"/book/hold/[^/]+"), **{**DETAILS, **wrong}, do="book")
    assert page.status == 422 and told in page.words and bookings(w) == []
    (name,) = wrong
    assert f'href="#{name}"' in page.text and 'aria-invalid="true"' in page.text
    kept = next(value for field, value in DETAILS.items() if field != name)
    assert f'value="{kept}"' in page.text
    right = await v.send(page.form(r"/book/hold/[^/]+"), **DETAILS, code="", do="book")
    assert right.heading == "You’re booked", "the hold is still there"


async def test_what_was_typed_is_shown_as_text_and_never_as_markup(v):
    details = await v.press(FAR, date=DAY)
    page = await v.send(details.form(r"/book/hold/[^/]+"), **DETAILS | {"name": '"><script>alert(1)</script>', "email": "x"}, do="book")
    assert "<script>alert" not in page.text and "&lt;script&gt;" in page.text


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"start": NOON // 900 - 4}, 422, "is already past"),
        ({"start": NOON // 900 + 2}, 422, "until 1 hour before the start"),
        ({"start": NOON // 900 + FAR + 1}, 422, "Bookings start at :00 and :30."),
        ({"start": NOON // 900 + 96 * 60}, 422, "You can book up to 30 days ahead"),
        ({"minutes": 15}, 422, "can be booked for 1 hour or more"),
        ({"minutes": 420}, 422, "at most 6 hours at a time"),
        ({"minutes": 75}, 422, "longer by steps of 30 minutes"),
        ({"guests": 17}, 400, "room for 16 people"),
        ({"guests": 400}, 400, ""),
        ({"start": "soon"}, 400, ""),
        ({"resource": f"{SITE}.box-9"}, 404, "has no such box"),
        ({"resource": "elsewhere.box-1"}, 404, "has no such box"),
        ({"page": "x"}, 400, "This page is out of date"),
        ({"page": "../../etc/passwd-of-nobody"}, 400, "This page is out of date"),
        ({"price": 1}, 400, "no field"),
    ],
)
async def test_tampering_with_the_times_gets_a_sentence_and_holds_nothing(w, v, fields, status, told):
    times = await v.times(date=DAY)
    page = await v.send(times.form(f"/book/{SITE}"), **{"start": v.slot(FAR), **fields})
    assert page.status == status and told in page.words, page.words
    assert page.heading and claims(w) == [] and bookings(w) == []


async def test_every_broken_rule_is_named(v):
    times = await v.times(date=DAY)
    page = await v.send(times.form(f"/book/{SITE}"), start=v.slot(2), minutes=15)
    assert "can be booked for 1 hour or more" in page.words and "until 1 hour before the start" in page.words
    assert len([name for name, _ in page.form(f"/book/{SITE}").buttons if name == "start"]) == 3


async def test_a_lower_price_in_the_form_is_not_the_price(w, v):
    details = await v.press(FAR, date=DAY)
    page = await v.send(details.form(r"/book/hold/[^/]+"), **DETAILS, do="book", shown_cents=1)
    assert page.status == 409 and bookings(w) == []
    assert "Book for $39.90" in page.words


async def test_a_quote_that_was_changed_is_not_honoured(w, v):
    details = await v.press(FAR, date=DAY)
    form = details.form(r"/book/hold/[^/]+")
    token = dict(form.fields)["quote"]
    page = await v.send(form, **DETAILS, do="book", shown_cents=1, quote=token[:-4] + "AAAA")
    assert page.status == 409 and bookings(w) == []


@pytest.mark.parametrize("token", [None, "", "0" * 64])
async def test_a_form_without_our_token_changes_nothing(w, v, token):
    times = await v.times(date=DAY)
    page = await v.send(times.form(f"/book/{SITE}"), start=v.slot(FAR), csrf_token=token)
    assert page.status == 403 and "out of date or was not ours" in page.words and claims(w) == []


async def test_a_form_from_another_site_is_refused(w, v):
    times = await v.times(date=DAY)
    form = times.form(f"/book/{SITE}")
    page = await v.post(form.action, form.filled(start=v.slot(FAR)), origin="https://elsewhere.example")
    assert page.status == 403 and claims(w) == []


async def test_another_visitors_token_is_refused(w, v):
    times, other = await v.times(date=DAY), await Visitor(w).times(date=DAY)
    token = dict(other.form(f"/book/{SITE}").fields)["csrf_token"]
    page = await v.send(times.form(f"/book/{SITE}"), start=v.slot(FAR), csrf_token=token)
    assert page.status == 403 and claims(w) == []


@pytest.mark.parametrize("address", ["/book/nowhere", "/book/hold/nothing", "/book/hold/" + "a" * 24 + "-1994754", "/book/%3Cb%3E"])
async def test_an_address_that_leads_nowhere_is_a_page_that_says_so(v, address):
    page = await v.get(address)
    assert page.status == 404 and page.heading and "<b>" not in page.text


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"date": "tomorrow"}, "The date is not one like"),
        ({"date": "2020-01-01"}, "That day is over"),
        ({"date": "2030-01-01"}, "further ahead than can be booked"),
        ({"minutes": "45"}, "45 minutes is not a length"),
        ({"minutes": "x"}, "The length is not a number"),
        ({"guests": "0"}, "A group is 1 to"),
        ({"guests": "40"}, "room for 16 people"),
        ({"resource": "bedford.box-77"}, "has no such box"),
    ],
)
async def test_a_wrong_search_says_what_is_wrong_and_shows_what_there_is(v, query, told):
    page = await v.times(**query)
    assert page.status == 400 and told in page.words and page.form(f"/book/{SITE}").buttons


async def test_too_many_forms_from_one_address_are_slowed_down(w):
    v = Visitor(w, "192.0.2.9")
    form = (await v.times(date=DAY)).form(f"/book/{SITE}")
    statuses = [(await v.send(form, start=v.slot(-4))).status for _ in range(41)]
    assert statuses[0] == 422 and statuses[-1] == 429


# ---- who the guest is
async def test_rules_of_a_person_are_judged_when_the_person_is_known(w, v):
    for n in range(2):
        assert (await v.booked(FAR + 4 * n, date=DAY)).heading == "You’re booked"
    page = await v.booked(FAR + 16, date=DAY)
    assert page.status == 422 and "You have 2 open bookings; at most 2 at a time can be open." in page.words
    assert len(bookings(w)) == 2


def known(w, **more) -> None:
    customer = Customer(id="known-0001", name="Testa Known", phone=DETAILS["phone"], email=DETAILS["email"], **more)
    w.db.write_now(lambda tx: records.put_customer(tx, customer))


async def test_a_known_guest_is_shown_their_own_price_before_it_is_booked(w, v):
    known(w, tags=("promo",))
    details = await v.press(FAR, date=DAY)
    page = await v.send(details.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert page.status == 409 and "not the one you saw" in page.words and bookings(w) == []
    assert "Promotion, 25 % off" in page.words and "Book for $29.93" in page.words
    done = await v.send(page.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert done.heading == "You’re booked" and bookings(w)[0].price.total_cents == 2993


async def test_half_of_a_contact_brings_nobodys_price_and_shows_nobodys_name(w, v):
    known(w, tags=("promo",), completed=3)
    details = await v.press(FAR, date=DAY)
    page = await v.send(details.form(r"/book/hold/[^/]+"), **DETAILS | {"email": "other@example.test", "name": "Testa Other"}, do="book")
    assert page.heading == "You’re booked" and "Testa Known" not in page.text
    (booking,) = bookings(w)
    assert (booking.price.total_cents, booking.customer_id, booking.shown_name) == (3990, "known-0001", "Testa Other")
    kept, order = w.db.read(lambda tx: (records.customer(tx, "known-0001"), records.order(tx, booking.order_id)))
    assert kept.tags == ("promo",) and kept.completed == 3
    assert "other@example.test" in order.notes, "staff can reach the guest"


async def test_further_ahead_is_for_guests_who_have_been_here(w, v):
    times = await v.times(date="2026-12-15")
    assert "More than 14 days ahead is for guests who have played here before" in times.words
    page = await v.booked(24 * 96, date="2026-12-15")
    assert page.status == 422 and "You can book up to 14 days ahead" in page.words and "same phone number and e-mail" in page.words
    known(w, completed=1)
    done = await v.send(page.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert done.heading == "You’re booked"


async def test_a_banned_guest_is_told_to_call(w, v):
    known(w, restrictions=(Restriction(kind="ban", reason="secret reason"),))
    page = await v.booked(FAR, date=DAY, details={"email": "other@example.test"})
    assert page.status == 403 and "Please call us." in page.words and "secret reason" not in page.text


async def test_a_price_kept_by_our_quote_stands_when_prices_rise(w, v):
    details = await v.press(FAR, date=DAY)
    raise_prices(w)
    page = await v.send(details.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert page.heading == "You’re booked" and bookings(w)[0].price.total_cents == 3990


async def test_after_a_quarter_of_an_hour_the_new_price_is_shown_first(w, v):
    details = await v.press(FAR, date=DAY)
    details = await v.send(details.form("/extend"))
    raise_prices(w)
    form = details.form(r"/book/hold/[^/]+")
    w.clock.forward(1000)
    page = await v.send(form, **DETAILS, do="book")
    assert page.status == 409 and "kept for 15 minutes" in page.words and "Book for $57.00" in page.words
    done = await v.send(page.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert done.heading == "You’re booked" and bookings(w)[0].price.total_cents == 5700


def raise_prices(w) -> None:
    """The hub's profile with every base rate at $50 an hour."""
    old = w.db.read(lambda tx: w.hub.houses.of(tx, SITE)).profile
    base = tuple(msgspec.structs.replace(rate, cents_per_hour=5000) for rate in old.tariff.base)
    new = msgspec.structs.replace(old, version=old.version + 1, tariff=msgspec.structs.replace(old.tariff, base=base))
    w.db.write_now(lambda tx: records.put_document(tx, "profile", SITE, SITE, new.version, to_json(new).decode()))


# ---- every page
async def test_no_page_holds_a_style_or_a_script_of_its_own(v):
    pages = [
        await v.get("/book"),
        await v.times(date=DAY),
        await v.press(FAR, date=DAY),
        await v.booked(FAR, date=DAY),
        await v.get("/b/x/y"),
    ]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "unsafe-inline" not in policy and "script-src 'self'" in policy
        assert " style=" not in page.text and "<style" not in page.text and not re.search(r"<script(?! src=)", page.text)
        assert not re.search(r"\son[a-z]+=", page.text)
        assert page.headers["cache-control"] == "no-store"
        assert '<html lang="en-CA">' in page.text and page.text.count("<h1") == 1 and 'href="#main"' in page.text


async def test_the_pages_work_for_a_hub_without_any_facility_heard(tmp_path):
    async with opened(tmp_path, link=False) as w:
        page = await Visitor(w).get("/book")
        assert page.status == 200 and "No facility has been heard from yet" in page.words


async def test_expired_holds_and_requests_do_not_stop_the_next_guest(w, v):
    await v.press(FAR, date=DAY, resource=f"{SITE}.box-1")
    w.clock.forward(601)
    w.db.write_now(lambda tx: (holds.expire(tx, w.hub.desk), sales.expire(tx, w.hub.desk)))
    page = await Visitor(w).booked(FAR, date=DAY, resource=f"{SITE}.box-1")
    assert page.heading == "You’re booked" and bookings(w)[0].resource_id == f"{SITE}.box-1"
