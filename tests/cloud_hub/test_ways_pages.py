"""A guest whose place could not be kept chooses another by the link of the order, without a script: what is told, what is taken, what is refused."""

import re

import pytest

from shared.ledger import attendance, displaced, records
from shared.model import Booking
from shared.policy import CancelStep, ChangeFee
from tests.cloud_hub.hub_world import NOON, SITE
from tests.cloud_hub.lost_world import (
    BAY,
    DAY,
    FAR,
    NEAR,
    OTHER,
    at_site,
    breaks,
    displaced_guest,
    goes_dark,
    hears_site,
    holders,
    later,
    mended,
    root,
    silences_site,
    standing,
    states,
    way_to,
    ways,
)
from tests.cloud_hub.visitor import Visitor


@pytest.fixture
async def v(w):
    states(w)
    yield Visitor(w)


def attend(w, state: str) -> None:
    w.site.db.write_now(lambda tx: attendance.attend(tx, w.site.desk, standing(w)[0].id, state, by="kiosk"))


# ---- what is told
async def test_the_order_page_says_what_was_lost_and_leads_to_the_ways(w, v):
    order = await v.get(await displaced_guest(w, v))
    assert "We could not keep Box 1 for you at this time. Your booking is kept until you have chosen another place." in order.words
    assert order.text.index("We could not keep Box 1") < order.text.index('class="pass"'), "before the PIN, whose bay it is not"
    assert "The door opens" not in order.words and "Stay longer" not in order.words, "neither is so just now"
    page = await v.get(order.links("/ways")[0])
    assert page.status == 200 and page.heading == "Please choose again"
    assert "Box 1 is out of service on Saturday 21 November, 22:00 to 23:00." in page.words
    assert "Your booking is kept until you have chosen." in page.words and "No extra cost: your price of $39.90 stays." in page.words
    assert "Box 2, 22:00 to 23:00 Today, Saturday 21 November Same time Take it" in page.words
    assert "Keep waiting for Box 1" in page.words and "Cancel, everything comes back" in page.words
    assert ways(page)[:3] == [("2", FAR), ("3", FAR), ("4", FAR)]
    assert page.headers["cache-control"] == "no-store" and page.headers["referrer-policy"] == "same-origin"
    assert page.headers["x-robots-tag"] == "noindex, nofollow"


async def test_the_link_in_a_letter_finds_the_one_booking_that_is_meant(w, v):
    address = await displaced_guest(w, v)
    assert (await v.get(f"{address}/ways")).words == (await v.get(f"{address}/ways?booking={standing(w)[0].id}")).words


@pytest.mark.parametrize(
    ("kind", "said"),
    [("training", "is needed for a training"), ("private_event", "is needed for a private event"), ("blocked", "cannot be used on")],
)
async def test_the_kind_of_a_block_is_told_and_what_staff_wrote_on_it_is_not(w, v, kind, said):
    address = await displaced_guest(w, v, kind=kind, reason="Guest of Sunday broke it <again>")
    page = await v.get(f"{address}/ways")
    assert f"Box 1 {said}" in page.words and "broke it" not in page.text


async def test_other_times_say_how_much_later_they_are(w, v):
    address = await displaced_guest(w, v)
    for bay in (2, 3, 4):
        await breaks(w, bay, FAR)
    page = await v.get(f"{address}/ways")
    assert "Box 1, 23:00 to 00:00 Today, Saturday 21 November 1 hour later" in page.words
    assert "Box 1, 21:00 to 22:00 Today, Saturday 21 November 1 hour earlier" in page.words


async def test_where_nothing_is_free_the_guest_can_wait_look_further_or_cancel(w, v):
    address = await displaced_guest(w, v)
    for bay in (1, 2, 3, 4):
        await breaks(w, bay, -2, FAR + 4 + displaced.REACH_SLOTS + 8)
    page = await v.get(f"{address}/ways")
    assert ways(page) == [] and "Nothing else is free near your time" in page.words
    assert page.links("/change") and page.links("/cancel") and "Keep waiting for Box 1" in page.words


# ---- choosing
async def test_a_guest_of_the_hubs_takes_another_bay_at_the_same_time(w, v):
    address = await displaced_guest(w, v)
    (before,) = standing(w)
    order = await v.send(way_to(await v.get(f"{address}/ways"), 3))
    assert root(order) == address and order.heading == "Your booking"
    assert "Box 3" in order.words and "Moved here by us from Box 1." in order.words and "Total $39.90" in order.words
    (now,) = standing(w)
    kept = ("order_id", "price", "pin", "start", "end", "customer_id", "changes")
    assert [getattr(now, name) for name in kept] == [getattr(before, name) for name in kept]
    assert now.placed and not now.displaced and now.replaces == before.id and now.id.startswith("w-")
    await w.quiet()
    assert at_site(w) == [("3", FAR)] and w.hub.displaced.open() == []
    told = w.db.read(lambda tx: records.journal_of(tx, SITE))
    assert ("customer", "placed elsewhere", before.id) in [row[1:4] for row in told]


async def test_a_guest_of_the_facilitys_takes_another_bay_once_the_facility_has_said_yes(w, v):
    address = await displaced_guest(w, v, NEAR)
    page = await v.get(f"{address}/ways")
    assert "Box 2, 14:00 to 15:00 Today, Saturday 21 November Same time, confirmed by the facility" in page.words
    order = await v.send(way_to(page, 2))
    assert "Moved here by us from Box 1." in order.words
    await w.quiet()
    assert at_site(w) == [("2", NEAR)] and [b.seller for b in standing(w)] == ["site"]


async def test_while_the_facility_is_asked_the_order_waits_and_there_is_nothing_to_choose(w, v):
    address = await displaced_guest(w, v, NEAR)
    page = await v.get(f"{address}/ways")
    silences_site(w)
    asked = await v.send(way_to(page, 2))
    assert asked.heading == "Your booking" and 'data-waiting="' in asked.text
    assert "Another place is being asked of Bedford; until it answers, nothing is given up." in asked.words
    assert "14:00 to 15:00" in asked.words and "Total $39.90" in asked.words and not asked.links("/ways")
    assert root(await v.get(f"{address}/ways")) == address, "the page waits, and the order's page says for what"
    again = await v.send(way_to(page, 3))
    assert again.status == 409 and "Another place is being asked of Bedford." in again.words
    await hears_site(w)
    await w.until(lambda: [b.resource_id for b in standing(w)] == [f"{BAY}2"])
    assert "Moved here by us from Box 1." in (await v.get(address)).words and at_site(w) == [("2", NEAR)]


async def test_the_old_slots_are_free_only_when_the_facility_has_heard(w, v):
    address = await displaced_guest(w, v, slots=2)
    page = await v.get(f"{address}/ways")
    assert holders(w, 1, FAR + 2, 2) == ["booking"], "half of the time it still has"
    silences_site(w)
    assert "Moved here by us" in (await v.send(way_to(page, 2))).words
    assert holders(w, 1, FAR + 2, 2) == ["booking"] == holders(w, 2, FAR)
    await hears_site(w)
    assert holders(w, 1, FAR + 2, 2) == [] and holders(w, 2, FAR) == ["booking"]


async def test_no_rule_or_fee_for_customers_stands_in_the_way(w, v):
    address = await displaced_guest(w, v)
    states(w, reschedule_max=0, open_max=0, horizon_days=0)
    await later(w, FAR * 900 - 20 * 60)
    order = await v.send(way_to(await v.get(f"{address}/ways"), 2))
    assert "Moved here by us from Box 1." in order.words and "Total $39.90" in order.words


# ---- the link is down
async def test_while_the_facility_is_not_heard_the_hub_offers_what_it_sells_itself(w, v):
    address = await displaced_guest(w, v)
    await goes_dark(w)
    page = await v.get(f"{address}/ways")
    assert "Bedford cannot be reached just now. Shown is what can be had without it." in page.words
    assert ways(page) and all(start >= FAR - 8 for _, start in ways(page))
    assert "Moved here by us from Box 1." in (await v.send(way_to(page, 2))).words
    await w.heal()
    await w.quiet()
    assert at_site(w) == [("2", FAR)]


async def test_a_guest_who_waits_for_a_facility_that_is_not_heard_may_choose_anew_when_it_would_answer_too_late(w, v):
    address = await displaced_guest(w, v)
    [lost] = standing(w)
    silences_site(w)
    near = NOON // 900 + NEAR
    await w.hub.displaced.place(lost.id, f"{BAY}2", near, near + 4, new_id="asked-0001", by="customer")
    assert not (await v.get(address)).links("/ways")
    await goes_dark(w)
    assert not (await v.get(address)).links("/ways"), "it may have said yes in time"
    w.clock.forward(w.hub.desk.limits.answer_by_s)
    assert (await v.get(address)).links("/ways")
    page = await v.get(f"{address}/ways")
    assert "Moved here by us from Box 1." in (await v.send(way_to(page, 3))).words
    w.network.heal(f"site-{SITE}")
    await w.heal()
    await w.until(lambda: at_site(w) == [("3", FAR)])
    assert [(b.resource_id, b.start) for b in standing(w)] == [(f"{BAY}3", NOON // 900 + FAR)]


async def test_what_the_facility_alone_can_move_waits_for_it(w, v):
    address = await displaced_guest(w, v, NEAR)
    page = await v.get(f"{address}/ways")
    await goes_dark(w)
    no = await v.send(way_to(page, 2))
    assert no.status == 409 and "cannot be reached" in no.words and [b.resource_id for b in standing(w)] == [f"{BAY}1"]
    dark = await v.get(f"{address}/ways")
    assert ways(dark) == [] and "What can be had instead is shown here once it is." in dark.words
    assert w.hub.displaced.ways(standing(w)[0].id) == (), "a way that would be refused is none"


# ---- a no, and presses too many
async def test_a_place_that_was_taken_meanwhile_is_told_with_what_is_left(w, v):
    address = await displaced_guest(w, v)
    page = await v.get(f"{address}/ways")
    await Visitor(w).booked(FAR, date=DAY, resource=f"{BAY}2", details=OTHER)
    no = await v.send(way_to(page, 2, FAR))
    assert no.status == 409 and no.heading == "Please choose again" and "This time has just been taken." in no.words
    assert ("2", FAR) not in ways(no) and ("3", FAR) in ways(no)
    assert "Moved here by us" in (await v.send(way_to(no, 3))).words


async def test_a_place_that_the_facility_refuses_is_not_offered_in_the_same_breath(w, v):
    address = await displaced_guest(w, v, NEAR)
    page = await v.get(f"{address}/ways")
    await breaks(w, 2, NEAR, told=False)
    no = await v.send(way_to(page, 2, NEAR))
    assert no.status == 409 and ("2", NEAR) not in ways(no) and ("3", NEAR) in ways(no)
    assert [b.resource_id for b in standing(w)] == [f"{BAY}1"], "nothing was given up"


async def test_pressing_twice_takes_one_place(w, v):
    address = await displaced_guest(w, v)
    form = way_to(await v.get(f"{address}/ways"), 2)
    first, second = await v.send(form), await v.send(form)
    assert root(first) == root(second) == address and (first.status, second.status) == (200, 200)
    assert [b.resource_id for b in standing(w)] == [f"{BAY}2"]
    w.clock.forward(FAR * 900 + 60)
    assert root(await v.send(form)) == address, "whenever it comes again"


async def test_of_two_tabs_the_second_is_told_what_the_first_has_taken(w, v):
    address = await displaced_guest(w, v)
    one, two = await v.get(f"{address}/ways"), await v.get(f"{address}/ways")
    await v.send(way_to(one, 2))
    late = await v.send(way_to(two, 3))
    assert late.status == 409 and late.heading == "Your new place" and "has been taken for this booking already" in late.words
    assert "You have Box 2 instead, at the same time." in late.words and [b.resource_id for b in standing(w)] == [f"{BAY}2"]
    await v.send(way_to(late, 4))
    assert [b.resource_id for b in standing(w)] == [f"{BAY}4"], "what is pressed now is a choice of its own"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"resource": "bedford.box-9"}, 404),
        ({"resource": "elsewhere.box-1"}, 404),
        ({"start": NOON // 900 - 40, "end": NOON // 900 - 36}, 422),
        ({"end": NOON // 900 + FAR + 8}, 422),
        ({"end": NOON // 900 + FAR}, 422),
        ({"start": NOON // 900 + FAR + 1000, "end": NOON // 900 + FAR + 1004}, 422),
        ({"start": "soon"}, 400),
        ({"booking": None}, 400),
        ({"booking": "w-somebody-elses"}, 404),
        ({"nonce": "x"}, 400),
        ({"price": "0"}, 400),
        ({"csrf_token": "no"}, 403),
    ],
)
async def test_tampering_with_a_way_gets_a_sentence_and_changes_nothing(w, v, fields, status):
    address = await displaced_guest(w, v)
    form, before = way_to(await v.get(f"{address}/ways"), 2), standing(w)
    no = await v.send(form, **fields)
    assert no.status == status and no.heading and standing(w) == before, no.words


async def test_a_booking_that_has_its_place_cannot_be_put_elsewhere_this_way(w, v):
    address = await displaced_guest(w, v)
    form = way_to(await v.get(f"{address}/ways"), 2)
    other = await Visitor(w).booked(FAR + 8, date=DAY, resource=f"{BAY}4", details=OTHER)
    stranger = Visitor(w)
    token = dict((await stranger.get(root(other) + "/cancel")).form("/cancel").fields)["csrf_token"]
    mine = next(b for b in standing(w) if b.resource_id == f"{BAY}4")
    fields = form.filled(booking=mine.id, start=mine.start, end=mine.end, csrf_token=token)
    no = await stranger.post(root(other) + "/ways", fields)
    assert no.status == 409 and "there is nothing to put right" in no.words and "Nothing to choose now" in no.words


# ---- whose it is
async def test_a_booking_of_another_order_is_answered_like_a_link_that_was_never_given(w, v):
    address = await displaced_guest(w, v)
    form = way_to(await v.get(f"{address}/ways"), 2)
    other = await Visitor(w).booked(FAR + 8, date=DAY, resource=f"{BAY}4", details=OTHER)
    theirs = next(b for b in standing(w) if b.resource_id == f"{BAY}4")
    order_id = address.split("/")[2]
    answers = [
        await v.get(f"{address}/ways?booking={theirs.id}"),
        await v.get(f"/b/{order_id}/nonsense/ways"),
        await v.get(f"{address}/ways?booking=no-such-booking"),
        await v.send(form, booking=theirs.id),
        await v.post(f"/b/{order_id}/nonsense/ways", form.fields),
    ]
    strip = lambda page: re.sub(r"please name [^.]+\.", "", page.words)  # noqa: E731
    assert {page.status for page in answers} == {404} and len({strip(page) for page in answers}) == 1
    assert root(other) != address and not [b for b in standing(w) if b.placed]


# ---- already put elsewhere
async def test_who_was_put_elsewhere_can_leave_it_choose_another_or_cancel_for_nothing(w, v):
    states(w, cancellation=(CancelStep(before_min=0, percent=0),))
    address = await displaced_guest(w, v)
    await w.hub.displaced.place(
        standing(w)[0].id, f"{BAY}3", NOON // 900 + FAR + 4, NOON // 900 + FAR + 8, new_id="placed-by-staff", by="Testa Keeper"
    )
    order = await v.get(address)
    assert "Moved here by us from Box 1, Today, Saturday 21 November, 22:00 to 23:00." in order.words
    page = await v.get(order.links("/ways")[0])
    assert page.heading == "Your new place" and "Box 1 is out of service" in page.words
    assert "You have Box 3 instead, Saturday 21 November, 23:00 to 00:00." in page.words
    assert [one for one in page.links(re.escape(address) + "$")] and "That’s fine" in page.words
    assert ways(page)[0] == ("2", FAR) and ("3", FAR + 4) not in ways(page), "the nearest to what was booked"
    assert "Box 2, 22:00 to 23:00 Today, Saturday 21 November Same time" in page.words
    sure = await v.get(page.links("/cancel")[0])
    assert "Comes back $39.90" in sure.words and "Is kept" not in sure.words
    assert "We could not keep the place you had booked, so everything comes back." in sure.words and "nothing comes back" not in sure.words
    gone = await v.send(sure.form("/cancel"))
    assert "$39.90 comes back." in gone.words


async def test_the_place_of_before_is_offered_when_it_is_free_again(w, v):
    address = await displaced_guest(w, v)
    block = standing(w)[0]
    await v.send(way_to(await v.get(f"{address}/ways"), 2))
    await w.quiet()
    (found,) = w.db.read(lambda tx: records.blocks_over(tx, block.resource_id, block.start, block.end))
    await mended(w, found)
    page = await v.get(f"{address}/ways")
    assert "We could not keep Box 1 for you on Saturday 21 November" in page.words and ways(page)[0][1] == FAR
    order = await v.send(way_to(page, 1))
    assert [b.resource_id for b in standing(w)] == [f"{BAY}1"] and "Moved here" not in order.words and not order.links("/ways")
    assert root(await v.get(f"{address}/ways")) == address, "what was booked is what it has"


async def test_the_usual_change_costs_nothing_and_says_why(w, v):
    address = await displaced_guest(w, v)
    page = await v.get(f"{address}/ways")
    states(w, change_fees=(ChangeFee(change=1, cents=1000),))
    free = "This change is free, since we could not keep your place; the price is that of the new time."
    assert free in (await v.get(page.links("/change")[0])).words
    await v.send(way_to(page, 2))
    times = await v.get((await v.get(address)).links("/change")[0] + "&date=2026-11-22")
    assert free in times.words
    sure = await v.get(times.links(f"/change/confirm.*start={v.slot(FAR + 96)}")[0])
    assert "Total $39.90" in sure.words
    order = await v.send(sure.form("/change/confirm"))
    (now,) = standing(w)
    assert (now.start, now.changes, now.placed) == (v.slot(FAR + 96), 0, False)
    assert "Moved here" not in order.words
    again = await v.get(order.links("/change")[0])
    assert "This change costs $10.00" in again.words, "from here on it is the guest's own wish"


# ---- nothing to choose
async def test_what_has_its_place_leads_back_to_the_order(w, v):
    page = await v.booked(FAR, date=DAY)
    assert root(await v.get(root(page) + "/ways")) == root(page)
    assert root(await v.get(root(page) + f"/ways?booking={standing(w)[0].id}")) == root(page)


async def test_who_keeps_waiting_gets_the_bay_when_it_is_free_again(w, v):
    address = await displaced_guest(w, v)
    (b,) = standing(w)
    (block,) = w.db.read(lambda tx: records.blocks_over(tx, b.resource_id, b.start, b.end))
    await mended(w, block)
    order = await v.get(address)
    assert "We could not keep" not in order.words and not order.links("/ways") and holders(w, 1, FAR) == ["booking"]
    assert root(await v.get(f"{address}/ways")) == address


async def test_a_cancelled_one_leads_back_and_an_old_address_to_what_has_become_of_it(w, v):
    address = await displaced_guest(w, v)
    (b,) = standing(w)
    page = await v.get(f"{address}/ways")
    await v.send(way_to(page, 2))
    assert (await v.get(f"{address}/ways?booking={b.id}")).heading == "Your new place"
    sure = await v.get(f"{address}/cancel")
    await v.send(sure.form("/cancel"))
    assert root(await v.get(f"{address}/ways?booking={b.id}")) == address
    no = await v.send(way_to(page, 3))
    assert no.status == 409 and standing(w) == []


@pytest.mark.parametrize(
    ("at", "state", "said", "cancel"),
    [
        (FAR * 900 + 60, "", "Your time has begun", True),
        ((FAR + 4) * 900 + 60, "", "The time of this booking is over", True),
        (FAR * 900 - 60, "checked_in", "You have been here already", False),
    ],
)
async def test_who_has_begun_is_told_so_and_moves_nowhere(w, v, at, state, said, cancel):
    address = root(await v.booked(FAR, date=DAY, resource=f"{BAY}1"))
    await w.quiet()
    if state:
        await later(w, at)
        attend(w, state)
    await breaks(w, 1, FAR)
    form = await sent_form(v, address, standing(w)[0])
    await later(w, at - int(w.clock.now()) + NOON)
    told = await v.get(f"{address}/ways")
    assert told.status == 200 and said in told.words and ways(told) == [] and "Keep waiting" not in told.words
    assert bool(told.links("/cancel")) is cancel and not told.links("/change")
    no = await v.post(f"{address}/ways", form)
    assert no.status == 409 and no.words.count(said) == 1 and [b.resource_id for b in standing(w)] == [f"{BAY}1"]


async def sent_form(v: Visitor, address: str, b: Booking) -> list[tuple[str, str]]:
    """What a page sends that was opened while there was still something to choose."""
    token = dict((await v.times()).form(f"/book/{SITE}").fields)["csrf_token"]
    values = {"csrf_token": token, "booking": b.id, "resource": f"{BAY}2", "start": b.start, "end": b.end, "nonce": "0" * 24}
    return [(name, str(value)) for name, value in values.items()]


async def test_who_was_reseated_near_the_start_has_nothing_to_choose(w, v):
    address = await displaced_guest(w, v, NEAR)
    await later(w, NEAR * 900 - 25 * 60)
    w.site.db.write_now(lambda tx: attendance.reseat(tx, w.site.desk, standing(w)[0].id, f"{BAY}2", by="staff"))
    await w.quiet()
    order = await v.get(address)
    assert "Box 2" in order.words and not order.links("/ways") and "We could not keep" not in order.words
    assert root(await v.get(f"{address}/ways")) == address


# ---- several bays
async def test_of_a_group_one_bay_is_chosen_anew_and_the_others_stay(w, v):
    page = await v.booked(FAR, date=DAY, guests=6)
    address, (first, second) = root(page), standing(w)
    await w.quiet()
    await breaks(w, int(first.resource_id[-1]), FAR)
    told = await v.get(f"{address}/ways")
    assert told.heading == "Please choose again" and dict(told.form("/ways").fields)["booking"] == first.id
    sure = await v.get(told.links("/cancel")[0])
    assert sure.text.count(" checked") == 1 and f'value="{first.id}" checked' in sure.text
    assert "We could not keep the place you had booked" in sure.words and "If you cancel before the start" in sure.words
    order = await v.send(way_to(told, 4))
    assert [b.resource_id for b in standing(w)] == [second.resource_id, f"{BAY}4"] and order.words.count("Moved here by us") == 1
    assert "Total $79.80" in order.words


async def test_of_several_lost_bays_each_is_chosen_for(w, v):
    page = await v.booked(FAR, date=DAY, guests=6)
    address, both = root(page), standing(w)
    await w.quiet()
    for b in both:
        await breaks(w, int(b.resource_id[-1]), FAR)
    which = await v.get(f"{address}/ways")
    assert "2 boxes of your order could not be kept for you." in which.words and len(which.links("/ways")) == 2
    await v.send(way_to(await v.get(which.links("/ways")[0]), 3))
    left = await v.get(f"{address}/ways")
    assert dict(left.form("/ways").fields)["booking"] == both[1].id, "of what is left, the one that waits"
    await v.send(way_to(left, 4))
    assert [b.resource_id for b in standing(w)] == [f"{BAY}3", f"{BAY}4"]
    which = await v.get(f"{address}/ways")
    assert which.heading == "Your new places" and "This is what you have instead" in which.words
    assert len(which.links("/ways")) == len((await v.get(address)).links("/ways")) == 2
