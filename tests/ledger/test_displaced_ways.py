"""Which places there are for a displaced booking, whom the rule leaves alone, and what an old pass leads to (B12, block-2)."""

import msgspec
import pytest

from shared.ledger import displaced, records, standing
from tests.ledger.test_displaced import BAY, refusal, where
from tests.rules.story import story
from tests.two_sides import SITE, World

rule = pytest.mark.rule
ALL_NEAR_S = 12 * 3600


# ---- what the old pass leads to
@rule("block-2")
@story(bays=4, release_ahead_s=ALL_NEAR_S)
async def test_the_old_pass_leads_to_the_place_that_stands_and_not_to_one_that_was_taken_back(w: World):
    [b] = w.site.book(1, 4)
    await w.quiet()
    w.site.block(1, 4)
    one = w.site.place(b.id, 2, 4)
    two = w.site.place(one.id, 3, 4)

    def instead(**last) -> str:
        def look(tx, desk):
            records.put_booking(tx, msgspec.structs.replace(records.booking(tx, two.id), **last))
            return displaced.instead_of(tx, records.booking(tx, b.id)).id

        return w.site.write(look)

    stray = msgspec.structs.replace(one, id="a-stray-0001", status="cancelled", reason="withdrawn", withdrawn=True)
    w.site.write(lambda tx, desk: records.add_booking(tx, stray))
    assert instead() == two.id
    w.site.write(lambda tx, desk: records.put_booking(tx, msgspec.structs.replace(stray, reason="moved", withdrawn=False)))
    assert instead() == two.id, "what is known to have replaced it"
    w.site.write(lambda tx, desk: records.put_booking(tx, stray))
    w.site.write(lambda tx, desk: records.put_booking(tx, msgspec.structs.replace(records.booking(tx, b.id), replaced_by="")))
    assert instead() == two.id, "the other side may not have said what replaced it"
    assert instead(withdrawn=True) == one.id
    assert instead(withdrawn=False) == two.id
    [other] = w.site.book(4, 8)
    assert w.site.read(lambda tx: displaced.instead_of(tx, records.booking(tx, other.id))).id == other.id


# ---- which ways there are
@story(bays=4)
async def test_whoever_extended_a_visit_that_was_put_elsewhere_is_offered_places_that_can_be_taken(w: World):
    [b] = w.site.book(1, 2)
    await w.quiet()
    w.site.block(1, 2)
    first = w.site.place(b.id, 2, 2)
    longer = w.site.extend(first.id, 30)
    assert longer.status == "confirmed" and longer.placed
    ways = w.site.ways_of(longer.id)
    assert ways and {way.end - way.start for way in ways} == {6}
    assert (longer.resource_id, longer.start, longer.end) not in [(way.resource_id, way.start, way.end) for way in ways]
    way = ways[0]
    assert w.site.place(longer.id, int(way.resource_id[-1]), way.start - w.slot0, 6).status in ("confirmed", "requested")


@story(bays=12)
async def test_in_a_cut_a_bay_of_ones_own_is_found_behind_many_nearer_ones_of_the_other_side(w: World):
    [b] = w.hub.book(5, 40)
    for bay in (6, 7):
        w.hub.book(bay, 40)
    await w.quiet()
    w.site.block(5, 40)
    await w.quiet()
    await w.dark()
    assert {way.seller for way in w.hub.ways_of(b.id) if way.kind == "same_time"} == {"site"}, "the nearest three"
    house = w.hub.read(lambda tx: w.hub.houses.of(tx, SITE))
    own = w.hub.read(lambda tx: displaced.ways_of(tx, w.hub.desk, house, records.booking(tx, b.id), link_up=False))
    assert [(way.resource_id, way.kind) for way in own][:1] == [(BAY + "8", "same_time")] and {way.seller for way in own} == {"hub"}
    assert w.hub.place_by_rule() == ["placed"]
    assert where(w, b.id)[0] == ("8", 40, "confirmed")


@story(bays=12)
async def test_the_rule_finds_a_bay_of_ones_own_behind_many_nearer_ones_that_would_have_to_be_asked_for(w: World):
    [b] = w.hub.book(5, 40)
    for bay in (6, 7):
        w.hub.book(bay, 40)
    await w.quiet()
    w.site.block(5, 40)
    await w.quiet()
    assert w.hub.up() and w.hub.place_by_rule() == ["placed"]
    assert where(w, b.id)[0] == ("8", 40, "confirmed")


@story()
async def test_in_a_cut_a_bay_that_is_free_across_its_line_is_offered_where_it_is_ones_own(w: World):
    [b] = w.site.book(1, 40)
    await w.quiet()
    w.site.block(1, 40)
    await w.dark()
    house = w.site.read(lambda tx: w.site.houses.of(tx, SITE))
    own = w.site.read(lambda tx: displaced.ways_of(tx, w.site.desk, house, records.booking(tx, b.id), link_up=False))
    found = {(way.resource_id.removeprefix(BAY), way.start - w.slot0) for way in own}
    assert {way.seller for way in own} == {"site"} and {("1", 44), ("2", 4), ("3", 4)} <= found and w.site.line(2) == 8
    assert w.site.place(b.id, 2, 4).status == "confirmed"


@story()
async def test_a_guest_is_put_no_further_back_than_some_days_before_the_time_that_was_booked(w: World):
    days = displaced.REACH_SLOTS
    [b] = w.hub.book(2, days + 60)
    await w.quiet()
    w.site.block(2, days + 60)
    await w.quiet()
    for start in (54, 55):
        assert refusal(lambda start=start: w.hub.place(b.id, 3, start))[0] == "bad_interval"
    assert w.hub.place(b.id, 3, 60).status == "confirmed"


# ---- whom the rule leaves alone
@rule("block-2")
@story()
async def test_the_rule_leaves_alone_who_was_given_up_and_who_waits_for_an_answer(w: World):
    [b], [gone] = w.hub.book(2, 40), w.hub.book(2, 50)
    await w.quiet()
    w.site.block(2, 40, 4)
    await w.quiet()
    w.hub.write(lambda tx, desk: records.put_booking(tx, msgspec.structs.replace(records.booking(tx, gone.id), withdrawn=True)))
    w.network.cut(SITE, noticed=False)
    w.hub.place(b.id, 1, 40)
    house = w.hub.read(lambda tx: w.hub.houses.of(tx, SITE))
    assert w.hub.read(lambda tx: displaced.waiting(tx, w.hub.desk, house)) == []
    w.hub.write(lambda tx, desk: records.put_booking(tx, msgspec.structs.replace(records.booking(tx, gone.id), withdrawn=False)))
    assert [x.id for x in w.hub.read(lambda tx: displaced.waiting(tx, w.hub.desk, house))] == [gone.id]


@rule("block-2")
@story(bays=4)
async def test_a_place_that_nobody_may_sell_just_now_is_asked_for_a_few_times_a_day_and_not_every_quarter_of_an_hour(w: World):
    [b] = w.hub.book(2, 150)
    for bay in (3, 4):
        w.hub.book(bay, 150)
    await w.quiet()
    w.site.block(2, 150)
    await w.quiet()
    w.site.write(lambda tx, desk: standing.halt(tx, desk, SITE, BAY + "1", "a claim without a reason"))
    asked = []
    for _ in range(26):
        asked += w.hub.place_by_rule()
        await w.quiet()
        w.forward(displaced.DECLINED_S)
        await w.healed()
    no = [x for x in w.hub.bookings().values() if x.replaces == b.id]
    assert len(no) == len(asked) == 2 and {(x.status, x.reason) for x in no} == {("declined", "bay_halted")}


@story(sites=("bedford", "dartmouth"))
async def test_what_is_to_be_placed_at_all_facilities_is_read_at_once_and_not_where_sales_are_stopped(w: World):
    both = {s: w.hub.book(2, 40, site_id=s)[0] for s in w.sites}
    await w.quiet()
    for s, site in w.sites.items():
        site.block(2, 40, site_id=s)
    await w.quiet()

    asked, where_ = [], records.bookings_where

    def read() -> tuple[list[str], int]:
        asked.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records, "bookings_where", lambda tx, sql, params: (asked.append(sql), where_(tx, sql, params))[1])
            return [x.id for x in w.hub.read(w.hub.placing._waiting)], len(asked)

    assert read() == ([both["bedford"].id, both["dartmouth"].id], 1)
    w.hub.write(lambda tx, desk: tx.run("UPDATE streams SET fenced = 'put back' WHERE site_id = 'bedford'"))
    assert read() == ([both["dartmouth"].id], 1)
    w.hub.write(lambda tx, desk: tx.run("UPDATE streams SET fenced = '' WHERE site_id = 'bedford'"))
    assert await w.hub.placing.run() == 2
