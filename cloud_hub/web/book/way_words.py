"""What the pages say to a guest whose place could not be kept: what happened, and how another place differs from the one that was booked.

Invariant: of a block only its kind is told, never what staff wrote on it.
"""

from cloud_hub.services.offers import House
from shared import slots
from shared.conflicts import WayOut
from shared.model import Booking

from . import words

#: kind of a block -> what it does to the bay; anything else is said without a reason
_HAPPENED = {
    "maintenance": "{bay} is out of service on {when}.",
    "training": "{bay} is needed for a training on {when}.",
    "private_event": "{bay} is needed for a private event on {when}.",
    "blocked": "{bay} cannot be used on {when}.",
}
_OTHERWISE = "We could not keep {bay} for you on {when}."


def happened(house: House, was: Booking, why: str) -> str:
    """ "Box 2 is out of service on Saturday 21 November, 18:00 to 19:00." """
    return _HAPPENED.get(why, _OTHERWISE).format(bay=words.called(house, was.resource_id), when=when(house, was.start, was.end))


def when(house: House, start: int, end: int) -> str:
    """ "Saturday 21 November, 18:00 to 19:00"."""
    return f"{words.day(slots.local_day(house.facility.zone, start))}, {words.span(house, start, end)}"


def shift(house: House, was: Booking, start: int) -> str:
    """How a start differs from that of the place that was lost: "same time", "1 hour later", "2 days earlier"."""
    minutes = (start - was.start) * slots.SLOT_MIN
    if not minutes:
        return "same time"
    way = "later" if minutes > 0 else "earlier"
    if abs(minutes) < 24 * 60:
        return f"{words.length(abs(minutes))} {way}"
    days = abs((slots.local_day(house.facility.zone, start) - slots.local_day(house.facility.zone, was.start)).days)
    return f"{days} {'day' if days == 1 else 'days'} {way}"


def offer(house: House, was: Booking, way: WayOut) -> str:
    """What a way is beside its bay and time: "Same time", "1 hour later, made by Alba, confirmed by the facility"."""
    resource = house.resources.get(way.resource_id)
    make = f", made by {resource.make}" if resource is not None and resource.make and not way.same_make else ""
    asked = "" if way.seller == "hub" else ", confirmed by the facility"
    text = f"{shift(house, was, way.start)}{make}{asked}"
    return f"{text[0].upper()}{text[1:]}"
