"""How a page says what happened to a place, and how another one differs from it."""

import pytest

from cloud_hub.services.offers import House
from cloud_hub.web.book import way_words
from shared.conflicts import WayOut
from shared.model import Booking, Resource
from shared.slots import parse_local
from tests.cloud_hub.hub_world import NOON, SITE
from tests.cloud_hub.lost_world import BAY
from tests.cloud_hub.test_order_pages import house


def booked(start: int) -> Booking:
    return Booking(id="b-0000001", order_id="o-0000001", site_id=SITE, resource_id=f"{BAY}1", start=start, end=start + 4)


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("maintenance", "Box 1 is out of service on Saturday 21 November, 12:00 to 13:00."),
        ("", "We could not keep Box 1 for you on Saturday 21 November, 12:00 to 13:00."),
        ("a kind of later", "We could not keep Box 1 for you on Saturday 21 November, 12:00 to 13:00."),
    ],
)
def test_what_happened_is_said_with_a_reason_only_where_there_is_one(why, said):
    assert way_words.happened(house(), booked(NOON // 900), why) == said


def test_a_shift_is_told_as_people_say_it():
    (start,) = parse_local("America/Halifax", "2026-10-31T18:00")
    was = booked(start)
    said = {slots: way_words.shift(house(), was, start + slots) for slots in (0, 2, 4, -6, 94, 100, -96, 196)}
    assert said == {
        0: "same time", 2: "30 minutes later", 4: "1 hour later", -6: "1 h 30 min earlier", 94: "23 h 30 min later",
        100: "1 day later", -96: "1 day earlier", 196: "2 days later",
    }  # fmt: skip


def test_another_make_is_named_and_who_confirms():
    found = house()
    bays = {**found.resources, f"{BAY}2": Resource(id=f"{BAY}2", name="Box 2", number=2, make="Alba")}
    found = House(facility=found.facility, resources=bays, profile=found.profile)
    was = booked(NOON // 900)
    way = WayOut(kind="same_time", resource_id=f"{BAY}2", start=was.start, end=was.end, seller="line", same_make=False)
    assert way_words.offer(found, was, way) == "Same time, made by Alba, confirmed by the facility"
