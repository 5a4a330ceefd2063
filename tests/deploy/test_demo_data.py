"""The demo's day is believable and possible: nobody exists, nothing overlaps, everything keeps the operator's rules."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.services.addresses import address_of
from deploy.demo import addresses, data
from deploy.demo_check.walk import CHECK_PHONES
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
    assert all(re.fullmatch(r"(902-)?555-01\d\d", person.phone) for person in everybody)
    assert all(not person.email or person.email.endswith("@example.test") for person in everybody)
    taken = {person.phone[-8:] for person in everybody}
    assert taken.isdisjoint({DESCRIBED.support_phone[-8:], f"555-{DESCRIBED.sms_number[-4:]}"})
    assert taken.isdisjoint(f"555-{number:04d}" for number in CHECK_PHONES)
    assert CHECK_PHONES.stop <= int(DESCRIBED.sms_number[-4:]) < int(DESCRIBED.support_phone[-4:])


def test_messages_reach_one_in_eight_so_that_the_inbox_does_not_begin_with_hundreds() -> None:
    customers = [Customer(id="somebody", name=person.name, phone=person.phone, email=person.email) for person in data.people()]
    by_sms, by_mail = ([c for c in customers if address_of(c, channel)] for channel in ("sms", "mail"))
    assert by_sms == by_mail and len(by_sms) * 8 == len(customers)


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
