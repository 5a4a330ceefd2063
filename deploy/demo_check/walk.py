"""Whom the check meets, what it has booked so far, and how it looks: finding times, waiting, telling right from wrong.

For: the steps. Not for: what is done in which order. Invariant: nothing is known here that a user could not see, and every wait has an end.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import date, timedelta
from typing import Any

import msgspec

from deploy.demo.clients import Answer, Client, Doors, Hub, Inbox, Kiosk, Staff
from deploy.demo.data import Person
from deploy.demo_check import times
from deploy.demo_check.times import Time
from shared import slots

LOOK_EVERY_S = 0.1
HEAL_WITHIN_S = 90.0
#: the web sells until an hour before the start, its pages a little less, since details are to be typed in meanwhile
WEB_NOTICE_SLOTS = 7
#: so many days from now the hub sells every box itself
FAR_DAYS = 4
#: a night when clocks change is looked for among so many days from then on, all of which guests may book
NIGHT_DAYS = 9
#: numbers kept for fiction that nobody of the demo's data has, nor the hub; a run needs about a dozen
CHECK_PHONES = range(164, 190)
#: those of guests who stay inside when the check is over, and so keep a booking open for the next check
STAYING_PHONES = range(190, 198)


class Failed(Exception):
    """The product did not do what it should; the sentence says what was seen instead."""


class Place(msgspec.Struct):
    """One site as the check meets it: its hub, its people, its doors."""

    id: str
    name: str
    zone: str
    hub: Hub
    staff: Staff
    kiosk: Kiosk
    doors: Doors


class Sale(msgspec.Struct, frozen=True):
    """A booking that the walk made, and for whom where a later step speaks of them."""

    place: Place
    booking_id: str
    at: Time
    guest: Person | None = None


class Walk:
    """What the steps share: the way to everybody, and what has been booked so far."""

    def __init__(self, hub: Hub, places: list[Place], inbox: Inbox, bays: Client, control: Client, say: Callable[[str], None]) -> None:
        self.hub, self.places, self.inbox, self.bays, self.control, self.say = hub, places, inbox, bays, control, say
        self.made: dict[str, Sale] = {}
        self._guests = secrets.randbelow(len(CHECK_PHONES))

    @property
    def largest(self) -> Place:
        """The site with the most to sell; the last, as the demo lists them."""
        return self.places[-1]

    def guest(self, *, stays: bool = False) -> Person:
        """Somebody new, so that nobody's limit is met."""
        self._guests += 1
        number = secrets.choice(STAYING_PHONES) if stays else CHECK_PHONES[self._guests % len(CHECK_PHONES)]
        # the hub knows a guest again by the number, and then writes to the address that it knows: one number, one address
        return Person(f"Checka Fairway {number}", f"902-555-{number:04d}", f"checka.{number}@example.test")

    def sold(self, name: str, sale: Sale) -> None:
        """Keeps a sale under the name by which later steps speak of it."""
        self.made[name] = sale


def must(so: bool, otherwise: str) -> None:
    if not so:
        raise Failed(otherwise)


def wanted(answer: Answer, status: int | tuple[int, ...], what: str, code: str = "") -> Any:
    """The body of an answer that is as it should be."""
    allowed = status if isinstance(status, tuple) else (status,)
    must(answer.status in allowed and answer.code == code, f"{what} was answered {answer}")
    return answer.body


async def until(what: str, look: Callable[[], Awaitable[bool]], within_s: float) -> float:
    """Waits for it; the seconds it took."""
    began = time.monotonic()
    while not await look():
        must(time.monotonic() - began < within_s, f"{what} within {within_s:.0f} s")
        await asyncio.sleep(LOOK_EVERY_S)
    return time.monotonic() - began


def now_slot() -> int:
    return int(time.time()) // 900


def today(place: Place) -> date:
    return slots.local_day(place.zone, now_slot())


def told(place: Place, at: Time) -> str:
    """A time as a line of the check shows it."""
    return f"{place.name} {at.resource_id.partition('.')[2]}, {slots.when(place.zone, at.start)}"


# ---- finding times
async def free(place: Place, how: str, *, side: str, first_day: int, days: int, not_before: int = 0) -> Iterator[Time]:
    """Free hours as that side (`hub`, `site`) shows them, earliest first."""
    shown = []
    for number in range(first_day, first_day + days):
        day = (today(place) + timedelta(days=number)).isoformat()
        answer = await (place.hub.availability(place.id, day) if side == "hub" else place.staff.availability(day))
        shown.append(wanted(answer, 200, f"The {side}'s availability of {place.name}"))
    return times.free(times.join(shown), how, 1, not_before)


async def far(place: Place, how: str, side: str) -> Time:
    """An hour that the hub sells, days from now."""
    for found in await free(place, how, side=side, first_day=FAR_DAYS, days=3):
        return found
    raise Failed(f"{place.name} shows no free hour {FAR_DAYS} days from now that is sold {how} by the {side}")


async def night(place: Place) -> Time | None:
    """An hour that the hub sells in a night when clocks change, around the change if it is free; None where none lies so near."""
    day = times.changing_day(place.zone, today(place) + timedelta(days=FAR_DAYS), NIGHT_DAYS)
    if day is None:
        return None
    shown = wanted(await place.hub.availability(place.id, day.isoformat()), 200, f"The hub's availability of {place.name}")
    return next(times.free(shown, "instant", 1, times.change_of(place.zone, day) - times.ROW_SLOTS), None)


async def near(place: Place, how: str, side: str) -> Time:
    """An hour that the site sells, within two days and late enough for the web."""
    for found in await free(place, how, side=side, first_day=0, days=3, not_before=now_slot() + WEB_NOTICE_SLOTS):
        return found
    raise Failed(f"{place.name} shows no free hour within two days that is sold {how} by the {side}; restart the demo if it is full")


# ---- the link
async def linked(walk: Walk, within_s: float) -> float:
    async def up() -> bool:
        links = {site["id"]: site["link"] for site in await walk.hub.sites()}
        theirs = [(await place.staff.link()).body for place in walk.places]
        return all(links.get(place.id) == "up" for place in walk.places) and all(link["link"] == "up" for link in theirs)

    return await until("The hub and its sites do not hear each other", up, within_s)


async def quiet(walk: Walk) -> float:
    """Waits until nothing waits on either side."""

    async def still() -> bool:
        waiting = sum(site["waiting_messages"] for site in await walk.hub.sites())
        for place in walk.places:
            link = (await place.staff.link()).body
            must(not link["stopped"], f"The stream of {place.name} stands still: {link['stopped']}")
            waiting += link["waiting"]
        return not waiting

    return await until("The streams did not come to rest", still, HEAL_WITHIN_S)


async def broker(walk: Walk, what: str) -> None:
    wanted(await walk.control.ask("POST", "/broker", {"do": what}), 200, f"The demo's control was asked to {what} the broker, and")
