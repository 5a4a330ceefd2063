"""The demo's day is believable and possible: nobody exists, nothing overlaps, everything keeps the operator's rules."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo import addresses, data
from shared import rules, slots
from shared.model import Customer, Facility, Interval, Resource
from shared.profiles import profile

DESCRIBED = addresses.describe()
MOMENTS = st.integers(int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2027, 12, 31, tzinfo=UTC).timestamp()))


def test_the_demo_has_a_two_box_and_a_four_box_facility() -> None:
    assert {(one.name, one.boxes) for one in DESCRIBED.facilities} == {("Bedford", 2), ("Dartmouth", 4)}


def test_nobody_in_the_demo_exists() -> None:
    everybody = data.people()
    assert len({person.phone for person in everybody}) == len(everybody)
    assert all(re.fullmatch(r"902-555-01\d\d", person.phone) and person.email.endswith("@example.test") for person in everybody)
    assert DESCRIBED.support_phone not in {person.phone for person in everybody}


@given(now_at=MOMENTS)
def test_no_two_wishes_want_one_box_at_one_time(now_at: int) -> None:
    wishes, repairs = data.wishes(now_at, DESCRIBED.zone, DESCRIBED.facilities)
    taken = [(w.site_id, box, slot) for w in wishes for box in w.boxes for slot in range(w.start, w.end)]
    taken += [(r.site_id, r.box, slot) for r in repairs for slot in range(r.start, r.end)]
    assert len(set(taken)) == len(taken)
    assert max(sum(w.person == person for w in wishes) for person in data.people()) <= data.OPEN_MAX


@given(now_at=MOMENTS)
def test_every_wish_keeps_the_rules_that_its_way_of_booking_is_judged_by(now_at: int) -> None:
    policy = profile(DESCRIBED.profile).policy
    channels = {"web": "api", "kiosk": "kiosk", "staff": "staff"}
    for wish in data.wishes(now_at, DESCRIBED.zone, DESCRIBED.facilities)[0]:
        request = rules.Request(
            resource=Resource(id=f"{wish.site_id}.box-1", name="Box 1"), interval=Interval(wish.start, wish.end), channel=channels[wish.way],
            now_at=now_at, customer=Customer(id="somebody", name=wish.person.name), guests=-(-wish.guests // len(wish.boxes)),
        )  # fmt: skip
        facts = rules.Facts(facility=Facility(id=wish.site_id, name="", zone=DESCRIBED.zone))
        assert rules.check(request, facts, policy) == ()


@pytest.mark.parametrize("moment", ["2026-11-21T12:00:00Z", "2026-03-08T05:10:00Z", "2026-11-01T04:50:00Z"])
def test_somebody_plays_now_and_there_is_room_for_a_visitor_of_the_demo(moment: str) -> None:
    now_at = int(datetime.fromisoformat(moment).timestamp())
    wishes, _ = data.wishes(now_at, DESCRIBED.zone, DESCRIBED.facilities)
    now = slots.slot_of(now_at)
    for facility in DESCRIBED.facilities:
        inside = {box for w in wishes for box in w.boxes if w.site_id == facility.id and w.start <= now < w.end}
        near = {box for w in wishes for box in w.boxes if w.site_id == facility.id and w.start < now + 8}
        assert len(inside) == 1 and near == inside, "the other boxes are free for the next two hours"
    assert any(len(w.boxes) == 2 for w in wishes), "a group"
