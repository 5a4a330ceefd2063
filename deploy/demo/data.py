"""A believable day for the demo: who comes when, worked out as values. People are invented and obviously so.

For: `deploy.demo.filling`, which makes these wishes true through the product's own doors. Not for: talking to anybody.
Invariant: the same moment and facilities give the same wishes; nobody wants more than `OPEN_MAX` bookings, no two wishes want one box at
one time, and every box keeps gaps in which a visitor of the demo can book.
"""

import random
from collections.abc import Iterator
from typing import Literal

import msgspec

from deploy.demo.addresses import FacilityPlan
from shared import slots

FIRST_NAMES = ("Testa", "Mocka", "Sampla", "Fictia", "Imagina", "Pretenda", "Inventa", "Exampla")
#: one in eight has left an address that messages reach; the others wrote their number as neighbours do, so that the demo does not begin with
#: hundreds of messages in its inbox
WRITTEN_TO = FIRST_NAMES[0]
LAST_NAMES = ("Birdie", "Eagle", "Bogey", "Fairway", "Mulligan", "Divot", "Bunker", "Caddie")
OPEN_MAX = 2
DAYS = 3
#: chance that somebody begins in a free half hour, by local hour
BUSY = (0.0,) * 7 + (0.12,) * 5 + (0.2,) * 4 + (0.5,) * 6 + (0.15,) * 2
LENGTHS_MIN = (60, 60, 60, 90, 120, 120, 180)
#: the web sells until an hour before the start; a little more, so that a slow start of the demo is no refusal
WEB_NOTICE_SLOTS = 6
#: the near hours stay free but for those who have walked in
QUIET_SLOTS = 12

Way = Literal["web", "kiosk", "staff"]


class Person(msgspec.Struct, frozen=True):
    """Somebody who does not exist: a telephone number kept for fiction; an address that cannot be, or none."""

    name: str
    phone: str
    email: str


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """One order: `boxes` (numbers) of a site for one interval in slots, by somebody, in some way. `present`: has come in and checks in."""

    site_id: str
    boxes: tuple[int, ...]
    start: int
    end: int
    person: Person
    way: Way
    guests: int = 2
    present: bool = False


class Repair(msgspec.Struct, frozen=True):
    """A box out of sale for an interval in slots."""

    site_id: str
    box: int
    start: int
    end: int
    reason: str


def people() -> tuple[Person, ...]:
    """Sixty-four invented people, eight of whom messages reach."""
    names = [f"{first} {last}" for last in LAST_NAMES for first in FIRST_NAMES]
    return tuple(_person(name, f"555-{100 + number:04d}") for number, name in enumerate(names))


def _person(name: str, near_number: str) -> Person:
    if not name.startswith(WRITTEN_TO):
        return Person(name, near_number, "")
    return Person(name, f"902-{near_number}", f"{name.lower().replace(' ', '.')}@example.test")


def wishes(now_at: int, zone: str, facilities: tuple[FacilityPlan, ...]) -> tuple[tuple[Wish, ...], tuple[Repair, ...]]:
    """The orders and repairs of the next `DAYS` days, as seen at `now_at` (unix seconds). Those who are present come first."""
    row = slots.slot_of(now_at)
    row -= row % 2
    chance = random.Random(row)
    guests = _guests(chance)
    repairs = tuple(_repairs(row, zone, facilities))
    found: list[Wish] = []
    for facility in facilities:
        found.append(_walk_in(facility, row, next(guests)))
    group = _group(facilities, row, zone, next(guests))
    if group is not None:
        found.append(group)
    taken = {(r.site_id, r.box, slot) for r in repairs for slot in range(r.start, r.end)}
    taken |= {(w.site_id, box, slot) for w in found for box in w.boxes for slot in range(w.start, w.end)}
    for facility in facilities:
        for box in range(1, facility.boxes + 1):
            found += _box_day(facility, box, row, zone, taken, chance, guests)
    return tuple(found), repairs


def _guests(chance: random.Random) -> Iterator[Person]:
    """Everybody once, then everybody again, up to `OPEN_MAX` times; then nobody is left and no more is wished."""
    for _ in range(OPEN_MAX):
        everybody = list(people())
        chance.shuffle(everybody)
        yield from everybody


def _walk_in(facility: FacilityPlan, row: int, person: Person) -> Wish:
    """Somebody has just come in from the street and plays in the last box."""
    return Wish(
        site_id=facility.id, boxes=(facility.boxes,), start=row, end=row + 4, person=person, way="kiosk", guests=2, present=True
    )


def _group(facilities: tuple[FacilityPlan, ...], row: int, zone: str, person: Person) -> Wish | None:
    """Eight friends in two boxes of the largest facility, tomorrow at eight in the evening."""
    largest = max(facilities, key=lambda facility: facility.boxes)
    if largest.boxes < 2:
        return None
    start = _clock(row, zone, 1, 20)
    return Wish(site_id=largest.id, boxes=(1, 2), start=start, end=start + 8, person=person, way="web", guests=8)


def _repairs(row: int, zone: str, facilities: tuple[FacilityPlan, ...]) -> Iterator[Repair]:
    largest = max(facilities, key=lambda facility: facility.boxes)
    start = _clock(row, zone, 1, 9)
    yield Repair(largest.id, largest.boxes, start, start + 12, "Projector lamp is changed")


def _clock(row: int, zone: str, days: int, hour: int) -> int:
    """The slot of a full hour of the local clock, so many days from the day of `row`."""
    span = slots.day_span(zone, slots.local_day(zone, row + days * 96))
    return next(slot for slot in range(span.start, span.end) if slots.local_clock(zone, slot)[1] == hour * 60)


def _box_day(
    facility: FacilityPlan, box: int, row: int, zone: str, taken: set, chance: random.Random, guests: Iterator[Person]
) -> Iterator[Wish]:
    at = row + QUIET_SLOTS
    while at < row + DAYS * 96:
        _, minute = slots.local_clock(zone, at)
        length = chance.choice(LENGTHS_MIN) // slots.SLOT_MIN
        free = all((facility.id, box, slot) not in taken for slot in range(at, at + length))
        if not free or chance.random() >= BUSY[minute // 60]:
            at += 2
            continue
        person = next(guests, None)
        if person is None:
            return
        way: Way = "web" if at - row >= WEB_NOTICE_SLOTS and chance.random() < 0.8 else "staff"
        yield Wish(
            site_id=facility.id, boxes=(box,), start=at, end=at + length, person=person, way=way, guests=chance.randint(1, 4)
        )
        # now and then an hour's rest behind it, so that the day has gaps
        at += length + chance.choice((0, 0, 2, 4))
