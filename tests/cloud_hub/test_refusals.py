"""Refusals at the hub: the customer's pages offer what can be had (B13), and which rules stood in whose way is counted, shown and told (R10)."""

import re

import msgspec
import pytest

from shared.ledger import records, rule_hits
from shared.ledger.rule_hits import Key
from shared.model import Customer, Restriction
from shared.policy import Opening
from shared.profiles import profile
from tests.cloud_hub.hub_world import NOON, SITE, HubWorld
from tests.cloud_hub.visitor import DETAILS, Page, Visitor

FAR = 40


@pytest.fixture
def guest(w) -> Visitor:
    return Visitor(w)


def offered(page: Page) -> list[str]:
    """The prices of the ways out, in their order."""
    return re.findall(r'class="way-price">([^<]+)<', page.text)


def closes(w: HubWorld, at: str) -> None:
    usual = profile("business")
    hours = msgspec.structs.replace(usual.policy.hours, weekly=(Opening(opens="00:00", closes=at),))
    own = msgspec.structs.replace(usual, policy=msgspec.structs.replace(usual.policy, hours=hours), version=9)
    for db in (w.db, w.site.db):
        db.write_now(lambda tx: records.put_document(tx, "profile", SITE, SITE, 9, records.text(own)))


async def counted(w: HubWorld) -> dict[tuple[str, str, str], int]:
    """(rule, customer, channel) -> hits, of what has been written down."""
    await w.hub.rule_tally.flush()
    return {tuple(row[:3]): row[3] for row in w.db.read(lambda tx: tx.all("SELECT code, customer_id, channel, hits FROM rule_hits"))}


# ---- the customer's pages
@pytest.mark.parametrize(
    ("code", "values", "sentence"),
    [
        ("off_grid", {"start": FAR + 1}, "Bookings start at"),
        ("duration_too_long", {"start": FAR, "minutes": 390}, "at most 6 hours"),
        ("cut_off_passed", {"start": 2}, "until 1 hour before the start"),
        ("outside_hours", {"start": 36}, "is not open during the whole time"),
        ("too_far_ahead", {"start": 31 * 96}, "You can book up to 30 days ahead"),
        ("in_the_past", {"start": -8}, "is already past"),
    ],
)
async def test_a_time_that_breaks_a_rule_is_refused_with_it_and_three_priced_others(w, guest, code, values, sentence):
    if code == "outside_hours":
        closes(w, "20:00")
    page = await guest.times()
    form = page.form(f"/book/{SITE}")
    no = await guest.send(form, **{"minutes": 60, **values, "start": guest.slot(values["start"])})
    assert no.status in (409, 422) and sentence in no.words and len(offered(no)) == 3 and all("$" in one for one in offered(no))
    taken = await guest.send(no.form(f"/book/{SITE}"), start=re.search(r'class="way" name="start" value="(\d+)"', no.text)[1])
    assert taken.heading == "Your details" and offered(no)[0] in taken.words
    assert (code, "", "web") in await counted(w)


async def test_a_taken_time_is_offered_others_and_is_no_matter_of_rules(w, guest):
    page = await guest.times()
    for n in range(4):
        assert (await w.post("/bookings", w.wish(n + 1, FAR, booking_id=f"booking-{n:04d}", who=n))).status_code == 201
    no = await guest.send(page.form(f"/book/{SITE}"), start=guest.slot(FAR))
    assert "just been taken" in no.words and len(offered(no)) == 3 and await counted(w) == {}


async def test_a_rule_that_speaks_against_this_contact_leaves_the_form_and_offers_what_anybody_may_have(w, guest):
    details = await guest.press(20 * 96, date="2026-12-11")
    no = await guest.send(details.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert no.heading == "Your details" and "You can book up to 14 days ahead" in no.words and "Have you played here before?" in no.words
    assert len(offered(no)) == 3 and await counted(w) == {("too_far_ahead", "", "web"): 1}
    held = await guest.send(no.form(f"/book/{SITE}"), start=re.search(r'class="way" name="start" value="(\d+)"', no.text)[1])
    booked = await guest.send(held.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert booked.heading == "You’re booked", "an offered time is within what anybody may book"


async def test_what_no_other_time_mends_is_said_without_offers_and_counted_for_whom_it_is_proven(w, guest):
    known = Customer(
        id="testa-known", name=DETAILS["name"], phone=DETAILS["phone"], email=DETAILS["email"], restrictions=(Restriction(kind="ban"),)
    )
    w.db.write_now(lambda tx: records.put_customer(tx, known))
    details = await guest.press(FAR)
    no = await guest.send(details.form(r"/book/hold/[^/]+"), **DETAILS, do="book")
    assert no.status == 403 and "cannot book here at present" in no.words and offered(no) == []
    again = await guest.send(no.form(r"/book/hold/[^/]+"), **{**DETAILS, "email": "stranger@example.test"}, do="book")
    assert again.status == 403
    assert await counted(w) == {("customer_blocked", "testa-known", "web"): 1, ("customer_blocked", "", "web"): 1}


async def test_a_change_that_cannot_be_made_offers_three_with_their_fee(w, guest):
    order = await guest.booked(FAR)
    await w.post("/bookings", w.wish(2, FAR + 20, booking_id="booking-0002", who=2))
    root, _, booking = order.links("/change")[0].partition("/change?")
    confirm = await guest.get(f"{root}/change/confirm?{booking}&resource={SITE}.box-2&start={guest.slot(FAR + 16)}&minutes=60")
    no = await guest.send(confirm.form("/change/confirm"), start=guest.slot(FAR + 20), quote="")
    assert no.heading == "Not changed" and "Your booking stands as it was" in no.words and len(offered(no)) == 3
    there = await guest.get(no.links("/change/confirm")[0])
    assert offered(no)[0] in there.words


async def test_a_visit_that_cannot_be_extended_offers_the_whole_time_elsewhere(w, guest):
    order = await guest.booked(FAR)
    page = await guest.get(order.links("/extend")[0])
    [booking] = (await w.get("/bookings")).json()["bookings"]
    bay = int(booking["resource_id"][-1])
    assert (await w.post("/bookings", w.wish(bay, FAR + 4, booking_id="booking-0002", who=2))).status_code == 201
    no = await guest.send(page.form("/extend"))
    assert "The whole time elsewhere" in no.words and len(offered(no)) == 3
    there = await guest.get(no.links("/change/confirm")[0])
    assert offered(no)[0] in there.words


# ---- who hit which rule how often
async def test_the_api_counts_for_the_customer_it_names_and_says_so(w):
    await w.post("/bookings", w.wish(1, FAR))
    who = (await w.get("/bookings/booking-0001")).json()["customer_id"]
    for n in range(3):
        await w.post("/bookings", {**w.wish(1, FAR + 1, 2, booking_id=f"booking-1{n:03d}"), "customer": None, "customer_id": who} if n else
                     w.wish(1, FAR + 1, 2, booking_id=f"booking-1{n:03d}"))  # fmt: skip
    await w.post("/bookings", w.wish(1, FAR + 1, booking_id="booking-2000", who=77))
    assert await counted(w) == {
        ("duration_too_short", who, "api"): 3, ("off_grid", who, "api"): 3, ("off_grid", "", "api"): 1
    }  # fmt: skip
    told = (await w.get(f"/customers/{who}/rule-hits")).json()
    assert told["customer_id"] == who
    assert [(one["rule"], one["code"], one["hits"]) for one in told["rule_hits"]] == [
        ("R2", "duration_too_short", 3),
        ("B2", "off_grid", 3),
    ]
    assert told["rule_hits"][0]["site_id"] == SITE and told["rule_hits"][0]["last_at"] == "2026-11-21T16:00:00Z"
    assert (await w.get("/customers/nobody-known/rule-hits")).json()["code"] == "customer_not_found"
    reader = await w.new_key("bookings:read")
    assert (await w.get(f"/customers/{who}/rule-hits", key=reader)).status_code == 403


async def test_holds_changes_and_extensions_are_counted_for_whose_booking_it_is(w):
    await w.post("/bookings", w.wish(1, FAR))
    who = (await w.get("/bookings/booking-0001")).json()["customer_id"]
    await w.post("/bookings/booking-0001/reschedule", {"booking_id": "booking-0002", **w.time(1, FAR + 9)})
    await w.post("/bookings/booking-0001/extend", {"booking_id": "booking-0003", "minutes": 360})
    assert await counted(w) == {("off_grid", who, "api"): 1, ("duration_too_long", who, "api"): 1}


async def test_what_sells_counts_nothing_and_writes_nothing_more(w):
    before = w.db.commits
    assert (await w.post("/bookings", w.wish(1, FAR))).status_code == 201
    await w.quiet()
    sold = w.db.commits - before
    assert await w.hub.rule_tally.flush() == 0 and w.db.commits - before == sold


async def test_metrics_count_by_rule(w):
    await w.post("/bookings", w.wish(1, FAR + 1))
    assert 'hub_refusals_total{rule="off_grid"} 1.0' in w.hub.metrics.render().decode()


async def test_what_waits_is_written_when_the_hub_stops(w):
    await w.post("/bookings", w.wish(1, FAR + 1))
    await w.hub.rule_tally.stop()
    assert w.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM rule_hits")) == (1,)


async def test_the_admins_page_sums_both_sides_and_names_who_met_rules_most(w):
    testa = Customer(id="testa-one", name="Testa <Birdie>", email="testa@example.test")
    w.db.write_now(lambda tx: records.put_customer(tx, testa))
    w.db.write_now(lambda tx: rule_hits.add(tx, w.hub.desk, {Key(SITE, "R4", "cut_off_passed", "testa-one", "web"): (3, NOON)}))
    w.site.db.write_now(
        lambda tx: rule_hits.add(tx, w.site.desk, {Key(SITE, "R2", "duration_too_long", "testa-one", "kiosk"): (1200, NOON)})
    )
    w.site.db.write_now(lambda tx: rule_hits.tell(tx, w.site.desk, SITE))
    await w.quiet()
    visitor = Visitor(w)
    form = (await visitor.get("/manage/sign-in")).form("/manage/sign-in")
    await visitor.send(form, key=await w.new_key("admin"))
    page = await visitor.get("/manage/refusals")
    assert "Longer than may be booked R2 Kiosk 1,200 1" in page.words and "Too short before the start R4 Web 3 1" in page.words
    assert "Testa <Birdie> testa-one" in page.words and "Testa &lt;Birdie&gt;" in page.text and "1,203" in page.words
    assert (await Visitor(w).get("/manage/refusals")).heading == "Sign in"


async def test_a_page_without_any_refusal_says_so(w):
    visitor = Visitor(w)
    form = (await visitor.get("/manage/sign-in")).form("/manage/sign-in")
    await visitor.send(form, key=await w.new_key("admin"))
    assert "No rule has stood in anybody's way." in (await visitor.get("/manage/refusals")).words
