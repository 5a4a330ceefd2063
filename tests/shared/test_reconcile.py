"""Digests: equal exactly when the books are, and what is resent where they are not (loss-8)."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model import Attendance, Booking
from shared.reconcile import UNSETTLED, Digest, Repairs, Row, differences, digests, owned, repairs, row_of

DAY = 20_728
START = DAY * 96 + 40

rows = st.builds(
    Row,
    booking_id=st.sampled_from(["testa-birdie-0001", "testa-birdie-0002", 'odd",id', "testa-eagle-0003"]),
    resource_id=st.sampled_from(["bedford.box-1", "bedford.box-2"]),
    start=st.integers(START, START + 192),
    end=st.integers(START + 193, START + 195),
    group=st.sampled_from(["live", "gone"]),
    displaced=st.booleans(),
    attendance=st.integers(0, 2),
)


def row(number=1, **changes) -> Row:
    known = Row(f"testa-birdie-{number:04d}", "bedford.box-1", START + 4 * number, START + 4 * number + 4, "live")
    return msgspec.structs.replace(known, **changes)


def booking(**changes) -> Booking:
    return Booking(
        **{
            "id": "testa-birdie-0001",
            "order_id": "testa-order-0001",
            "site_id": "bedford",
            "resource_id": "bedford.box-1",
            "start": START,
            "end": START + 4,
            "sale_no": 7,
            **changes,
        }
    )


@given(st.lists(rows, max_size=6), st.lists(rows, max_size=6))
def test_digests_are_equal_exactly_when_the_sets_of_rows_are(mine, theirs):
    assert (digests(mine) == digests(theirs)) == (set(mine) == set(theirs))
    assert (differences(digests(mine), digests(theirs)) == []) == (set(mine) == set(theirs))


@given(st.lists(rows, max_size=8), st.integers())
def test_order_and_repetition_do_not_matter(some, seed):
    again = random.Random(seed).sample(some, len(some)) + some[:2]
    assert digests(again) == digests(some)


@pytest.mark.parametrize(
    "change",
    [
        {"booking_id": "testa-birdie-9999"},
        {"start": START + 3},
        {"end": START + 9},
        {"group": "gone"},
        {"displaced": True},
        {"attendance": 1},
    ],
)
def test_every_fact_of_a_row_counts(change):
    assert differences(digests([row()]), digests([row(**change)])) == [("bedford.box-1", DAY)]


def test_only_the_resource_and_day_that_differ_are_named_in_order():
    same = [row(1), row(2, resource_id="bedford.box-2")]
    mine = [*same, row(3, start=START + 96, end=START + 100), row(4, resource_id="bedford.box-0")]
    assert differences(digests(mine), digests(same)) == [("bedford.box-0", DAY), ("bedford.box-1", DAY + 1)]
    assert differences(digests(same), digests(mine)) == differences(digests(mine), digests(same))


def test_a_booking_across_midnight_belongs_to_the_utc_day_of_its_start():
    (digest,) = digests([row(start=DAY * 96 + 94, end=DAY * 96 + 98)])
    assert (digest.day, digest.rows) == (DAY, 1)


def test_a_day_that_is_being_settled_is_not_reported_as_lost():
    leaving = digests([row(1), row(2, group="leaving")])
    assert leaving[0].sha256 == UNSETTLED
    assert differences(leaving, digests([row(1), row(2, group="gone")])) == []
    assert differences(digests([row(1), row(2, group="gone")]), leaving) == []
    assert differences(digests([row(1)]), digests([row(1), row(2, group="gone")])) != [], "the twin: without the mark it differs"


def test_what_was_withdrawn_before_it_was_sold_is_no_row():
    assert row_of(booking(status="cancelled", sale_no=0, withdrawn=True)) is None


@pytest.mark.parametrize(("status", "group"), [("confirmed", "live"), ("cancelled", "gone"), ("cancelling", "leaving")])
def test_a_booking_that_the_peer_was_told_of_is_a_row(status, group):
    found = row_of(booking(status=status, displaced=True), Attendance(booking_id="testa-birdie-0001", site_id="bedford", version=3))
    assert found == Row("testa-birdie-0001", "bedford.box-1", START, START + 4, group, True, 3)


@pytest.mark.parametrize("status", ["requested", "pending", "declined", "expired"])
def test_a_booking_that_the_peer_need_not_know_is_no_row(status):
    assert row_of(booking(status=status)) is None


def test_each_side_digests_what_starts_in_its_own_territory():
    lines = {"bedford.box-1": START + 8}
    below, above, unlined = row(1, attendance=2, displaced=True), row(2, attendance=2, displaced=True), row(3, resource_id="bedford.box-2")
    assert owned([below, above, unlined], "site", lines) == (below,)
    assert owned([below, above, unlined], "hub", lines) == (row(2), unlined), "attendance and displacement are told by the site only"


def test_the_hubs_digest_is_no_false_alarm_while_the_sites_news_is_under_way():
    lines = {"bedford.box-1": START}
    at_hub, at_site = [row(1)], [row(1, displaced=True, attendance=1)]
    assert differences(digests(owned(at_hub, "hub", lines)), digests(owned(at_site, "hub", lines))) == []
    assert differences(digests(at_hub), digests(at_site)) != [], "the twin: whole rows would differ"


@given(st.lists(rows, max_size=6, unique_by=lambda row: row.booking_id), st.lists(rows, max_size=6, unique_by=lambda row: row.booking_id))
def test_after_the_owner_resent_nothing_but_the_unknown_differs(mine, theirs):
    found = repairs(mine, theirs)
    resent = {row.booking_id: row for row in mine if row.booking_id in found.resend}
    healed = [row for row in theirs if row.booking_id not in resent] + list(resent.values())
    assert {row for row in healed if row.booking_id not in found.unknown} == set(mine)
    assert not set(found.unknown) & {row.booking_id for row in mine}


def test_repairs_resend_what_is_missing_or_otherwise_in_order_of_start_and_name_what_is_unknown():
    mine = [row(3), row(1), row(2)]
    theirs = [row(1), row(3, group="gone"), row(7)]
    assert repairs(mine, theirs) == Repairs(resend=("testa-birdie-0002", "testa-birdie-0003"), unknown=("testa-birdie-0007",))
    assert repairs(mine, mine) == Repairs()


def test_repairs_leave_alone_what_is_being_settled():
    assert repairs([row(1, group="leaving")], [row(1, group="gone")]) == Repairs()
    assert repairs([row(1, group="gone")], [row(1, group="leaving")]) == Repairs()


def test_digests_travel_as_json():
    sent = digests([row(1), row(2, resource_id="bedford.box-2")])
    assert msgspec.json.decode(msgspec.json.encode(sent), type=tuple[Digest, ...]) == sent
