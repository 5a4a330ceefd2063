"""terr-1 to terr-10: who may sell what, and what happens to what one side may not sell."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bookings import counts_as_open
from shared.errors import Refused
from shared.ledger import lines, records
from shared.ledger.desk import Limits
from shared.model import Interval
from shared.runtime.transport import Faults
from shared.territory import may_sell, release_ahead_s, release_to
from tests.rules.harm import refused
from tests.rules.story import deafen, statuses, story, until
from tests.two_sides import NOON, SITE, World

rule = pytest.mark.rule
BOX_2 = f"{SITE}.box-2"


@rule("terr-1")
@given(st.integers(0, 100), st.integers(1, 12), st.integers(0, 100), st.integers(0, 20))
def test_no_interval_is_ever_sold_by_both_sides_whatever_the_site_has_not_heard_yet(start, length, site_line, ahead):
    interval = Interval(start, start + length)
    site, hub = may_sell("site", interval, site_line), may_sell("hub", interval, site_line + ahead)
    assert (site, hub) != ("mine", "mine")


@rule("terr-1")
@story()
async def test_each_side_sells_at_once_on_its_own_side_of_the_line_and_asks_beyond_it(w: World):
    [near] = w.site.book(2, 4)
    [far] = w.hub.book(2, 8)
    [near_from_web], [far_from_kiosk] = w.hub.book(1, 12), w.site.book(2, 20)
    assert [b.status for b in (near, far, near_from_web, far_from_kiosk)] == ["confirmed", "confirmed", "requested", "requested"]
    await w.quiet()
    assert statuses(w, near_from_web.id, far_from_kiosk.id) == [("confirmed", "confirmed")] * 2
    assert (w.hub.booking(near_from_web.id).seller, w.site.booking(far_from_kiosk.id).seller) == ("site", "hub")


@rule("terr-2")
@story()
async def test_the_hub_releases_as_its_clock_goes_on_and_the_site_follows(w: World):
    w.forward(3600)
    assert w.hub.release() == 3
    assert (w.hub.line(1), w.hub.line(2), w.site.line(2)) == (196, 12, 8)
    await w.quiet()
    assert (w.site.line(1), w.site.line(2)) == (196, 12)
    assert w.hub.release() == 0


@rule("terr-2")
@story()
async def test_raising_the_line_and_telling_of_it_are_one_transaction(w: World):
    w.forward(3600)
    before = w.hub.stream().sent_no
    with pytest.raises(ZeroDivisionError):
        w.hub.write(lambda tx, desk: lines.release(tx, desk, SITE, link_fresh=True) / 0)
    assert (w.hub.line(2), w.hub.stream().sent_no) == (8, before)


@rule("terr-2")
@story()
async def test_nothing_is_released_while_the_site_is_not_heard(w: World):
    await w.dark()
    w.forward(6 * 3600)
    assert w.hub.release() == 0


@rule("terr-2")
@story()
async def test_a_second_release_waits_until_the_first_is_applied(w: World):
    deafen(w, SITE)
    w.forward(1800)
    w.hub.release()
    w.forward(1800)
    assert w.hub.release() == 0
    await w.healed()
    assert w.hub.release() == 3


@rule("terr-2")
@given(st.integers(0, 50), st.integers(0, 80), st.one_of(st.none(), st.integers(0, 80)))
def test_a_release_only_rises_and_never_passes_what_the_stream_has_not_told_of(line, target, untold):
    new = release_to(line, target, untold)
    assert new is None or (new > line and new <= target and (untold is None or new <= untold))


@rule("terr-2")
@story(limits=Limits(hold_s=7200))
async def test_no_new_hold_starts_below_a_release_that_waits_for_an_older_one(w: World):
    held = w.hub.hold(2, 10)
    w.forward(2 * 3600 - 60)
    w.hub.release()
    await w.quiet()
    assert w.site.line(2) == 10
    with pytest.raises(Refused, match="slot_being_released"):
        w.hub.hold(2, 14)
    w.hub.drop_hold(held.id)
    w.hub.release()
    await w.quiet()
    assert w.site.line(2) == 15


@rule("terr-3")
@story(faults=Faults(delay_s=(0.01, 0.5), reorder=0.5))
async def test_when_the_line_rises_the_site_knows_every_sale_below_it(w: World):
    sold = [w.hub.book(2, start)[0].id for start in (8, 12, 16)]
    w.forward(2 * 3600)
    w.hub.release()
    await until(lambda: w.site.line(2) == 16, 60)
    assert all(w.site.booking(i) is not None for i in sold[:2])


@rule("terr-3")
@story()
async def test_the_lines_in_a_hello_are_for_display_and_raise_nothing(w: World):
    w.network.faults = Faults(loss=1)
    w.forward(3600)
    w.hub.release()
    w.network.faults = Faults()
    w.site.pumps[SITE].hello()
    await asyncio.sleep(0.05)
    assert w.site.pumps[SITE].peer.lines[BOX_2] == w.slot0 + 12
    assert w.site.line(2) == 8


@rule("terr-4")
@story()
async def test_a_web_booking_across_the_line_is_sold_by_the_site_after_the_line_was_raised_to_its_end(w: World):
    [b] = w.hub.book(2, 6)
    assert (b.status, w.hub.line(2), w.site.line(2)) == ("requested", 10, 8)
    await w.quiet()
    assert (statuses(w, b.id), w.site.line(2)) == ([("confirmed", "confirmed")], 10)


@rule("terr-4")
@rule("terr-6")
@story()
async def test_a_kiosk_booking_across_the_line_is_handed_back_by_the_hub_and_decided_by_the_site(w: World):
    [b] = w.site.book(2, 6)
    assert b.status == "requested"
    await w.quiet()
    assert statuses(w, b.id) == [("confirmed", "confirmed")]
    assert (w.site.booking(b.id).seller, w.site.line(2)) == ("site", 10)


@rule("terr-4")
@story(limits=Limits(release_ahead_max_s=48 * 3600))
async def test_across_the_furthest_line_a_booking_is_refused_and_the_line_stays(w: World):
    with pytest.raises(Refused, match="straddles_line"):
        w.hub.book(1, 190)
    assert w.hub.line(1) == 192


@rule("terr-5")
@story()
async def test_nothing_comes_back_by_timer_however_long_the_cut(w: World):
    await w.dark()
    w.forward(24 * 3600)
    for party in w.parties:
        party.tidy()
    assert (w.hub.line(2), w.site.line(2)) == (8, 8)
    assert refused(lambda: w.site.book(2, 100)) == "hub_unreachable"
    assert refused(lambda: w.hub.book(1, 100)) == "site_unreachable"


@rule("terr-5")
@story()
async def test_an_override_yields_to_the_sale_it_did_not_know_of(w: World):
    await w.dark()
    [sold] = w.hub.book(2, 12)
    [walk_in] = w.site.book(2, 12, override=True)
    assert walk_in.override
    await w.healed()
    assert not w.site.booking(sold.id).displaced and w.site.booking(walk_in.id).displaced
    assert {ref for _, ref in w.site.claims().values()} == {sold.id}
    assert [row[:2] for row in conflicts(w)] == [(walk_in.id, sold.id)]


@rule("terr-5")
@story()
async def test_an_override_whose_guest_is_in_the_bay_stays_and_both_go_to_the_conflict_queue(w: World):
    await w.dark()
    [sold] = w.hub.book(2, 12)
    [walk_in] = w.site.book(2, 12, override=True)
    w.site.check_in(walk_in.id)
    await w.healed()
    assert w.site.attendance(walk_in.id).state == "checked_in"
    assert {ref for _, ref in w.site.claims().values()} == {walk_in.id}
    assert {row[0] for row in conflicts(w)} == {walk_in.id, sold.id}
    with pytest.raises(Refused, match="displaced"):
        w.site.check_in(sold.id)


def conflicts(w: World):
    return w.site.read(lambda tx: records.conflicts_open(tx, SITE))


@rule("terr-5")
@story()
async def test_only_staff_at_the_facility_override(w: World):
    assert refused(lambda: w.hub.book(2, 12, override=True)) == "not_allowed"


@rule("terr-6")
@story()
async def test_the_same_id_and_body_gets_the_recorded_answer_on_both_sides(w: World):
    [b] = w.hub.book(1, 12, booking_id="client-made-id")
    await w.quiet()
    for party in w.parties:
        [again] = party.book(1, 12, booking_id="client-made-id")
        assert (again.status, again.sale_no) == ("confirmed", w.site.booking(b.id).sale_no)
    assert len(w.site.bookings()) == 1


@rule("terr-6")
@story()
async def test_a_request_that_meets_a_taken_slot_is_declined_with_the_owners_reason(w: World):
    deafen(w, "hub")
    w.site.book(1, 12)
    [web] = w.hub.book(1, 12)
    assert web.status == "requested"
    await w.healed()
    assert statuses(w, web.id) == [("declined", "declined")]
    assert w.hub.booking(web.id).reason == "slot_taken"


@rule("terr-6")
@story()
async def test_a_hold_asked_of_the_other_side_ends_by_its_owners_clock_only(w: World):
    h = w.hub.hold(1, 12)
    await w.quiet()
    held = w.hub.read(lambda tx: records.hold(tx, h.id))
    assert (h.status, held.status) == ("asked", "held")
    assert {c for c in w.site.claims().values()} == {("hold", h.id)} and w.hub.claims() == {}
    w.hub.clock.forward(3600)  # the hub's clock runs ahead: its list says over, the slots are still the guest's
    w.hub.tidy()
    assert {c for c in w.site.claims().values()} == {("hold", h.id)}
    w.site.clock.forward(3600)
    w.site.tidy()
    assert w.site.claims() == {}


@rule("terr-7")
@story()
async def test_in_a_cut_each_side_sells_its_own_and_refuses_the_rest_with_what_it_can_sell(w: World):
    await w.dark()
    [near], [far] = w.site.book(1, 6), w.hub.book(2, 12)
    assert (near.status, far.status) == ("confirmed", "confirmed")
    assert refused(lambda: w.hub.book(1, 12)) == "site_unreachable"
    assert refused(lambda: w.site.book(2, 16)) == "hub_unreachable"
    assert refused(lambda: w.hub.book(2, 6)) == "site_unreachable"
    offered = w.hub.ways(1, 12)
    assert offered and all(s.start_at >= (w.slot0 + (192 if s.resource_id.endswith("-1") else 8)) * 900 for s in offered)


@rule("terr-8")
@given(st.integers(2, 40))
def test_in_every_near_hour_of_a_cut_both_sides_have_a_bay_to_sell(count):
    ahead_h = [release_ahead_s(i, count) // 3600 for i in range(count)]
    assert all(any(a > hour for a in ahead_h) and any(a <= hour for a in ahead_h) for hour in range(2, 48))
    assert sum(a == 48 for a in ahead_h) == max(1, count // 3)


@rule("terr-8")
def test_the_only_bay_of_a_facility_is_released_half_a_day_ahead():
    assert release_ahead_s(0, 1) == 12 * 3600


@rule("terr-9")
@story()
async def test_an_answer_that_comes_too_late_is_a_no_and_nothing_is_sold(w: World):
    deafen(w, SITE)
    [b] = w.hub.book(1, 12)
    await asyncio.sleep(90)
    await w.healed()
    assert statuses(w, b.id) == [("declined", "declined")] and w.site.claims() == {}
    assert w.hub.booking(b.id).reason == "answer_late"


@rule("terr-9")
@pytest.mark.parametrize("heard_first", [True, False])
def test_what_was_asked_can_be_withdrawn_before_and_after_the_owner_sold_it(heard_first):
    @story()
    async def withdrawn(w: World):
        deafen(w, "hub")
        [b] = w.hub.book(1, 12)
        if heard_first:
            await until(lambda: w.site.booking(b.id) is not None)
        w.hub.cancel(b.id)
        await w.healed()
        assert {s for pair in statuses(w, b.id) for s in pair} == {"cancelled"}
        assert w.site.claims() == {} == w.hub.claims()

    withdrawn()


@rule("terr-9")
@story(equal=False)
async def test_what_nobody_ever_answered_is_expired_after_its_end(w: World):
    deafen(w, SITE)
    [b] = w.hub.book(1, 12)
    w.forward(16 * 900)
    w.hub.tidy()
    assert w.hub.booking(b.id).status == "expired"


@rule("terr-9")
def test_an_overdue_request_counts_against_no_limit():
    times = {"ends_at": NOON + 7200, "answer_by": NOON + 60}
    assert counts_as_open("requested", "", now_at=NOON + 60, **times)
    assert not counts_as_open("requested", "", now_at=NOON + 61, **times)


@rule("terr-9")
@story()
async def test_a_cancel_asked_into_a_cut_has_no_deadline(w: World):
    [b] = w.site.book(1, 12)
    await w.quiet()
    await w.dark()
    _, how = w.hub.cancel(b.id)
    assert how == "asked"
    w.forward(3600)
    await w.healed()
    assert statuses(w, b.id) == [("cancelled", "cancelled")]


@rule("terr-10")
@story()
async def test_no_line_moves_for_a_group_but_by_a_part_that_itself_straddles(w: World):
    found = w.hub.book([1, 2, 3], 6)
    assert (w.hub.line(1), w.hub.line(2), w.hub.line(3)) == (192, 10, 10)
    await w.quiet()
    assert statuses(w, *(b.id for b in found)) == [("confirmed", "confirmed")] * 3


@rule("terr-10")
@story()
async def test_in_a_cut_only_a_group_that_lies_wholly_on_one_side_is_sold(w: World):
    await w.dark()
    assert {b.status for b in w.hub.book([2, 3], 12)} == {"confirmed"}
    assert refused(lambda: w.hub.book([1, 2], 20)) == "site_unreachable"
    assert w.hub.read(lambda tx: tx.one("SELECT COUNT(*) FROM claims WHERE kind = 'pending'")) == (0,)


@rule("terr-3")
@story()
async def test_a_release_that_was_lost_with_a_sale_before_it_is_applied_after_that_sale(w: World):
    w.network.faults = Faults(loss=1)
    [b] = w.hub.book(2, 8)
    w.network.faults = Faults()
    w.forward(3600)
    w.hub.release()
    await until(lambda: w.site.line(2) == 12)
    assert w.site.booking(b.id) is not None

