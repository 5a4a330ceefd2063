"""What the pages' forms and addresses carry, decoded; what is wrong becomes a sentence beside a sound default (addresses) or a 400 (forms).

Invariant: nothing here is believed. A price, an id or a length that somebody typed into a hidden field is judged again by the services.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from cloud_hub.services.guest_booking import Details
from cloud_hub.services.offers import GUESTS_MAX, House, Search, lengths
from cloud_hub.services.reaching import Choice
from shared.notifications import CHANNELS, LANGUAGES, Preferences

Slot = Annotated[int, Meta(ge=1_000_000, le=9_999_999)]
Minutes = Annotated[int, Meta(ge=1, le=24 * 60)]
Guests = Annotated[int, Meta(ge=1, le=GUESTS_MAX)]
Short = Annotated[str, Meta(max_length=64)]
Typed = Annotated[str, Meta(max_length=400)]
Token = Annotated[str, Meta(max_length=4096)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Accuracy = Annotated[float, Meta(ge=0, le=10**7)]


class HoldForm(msgspec.Struct, forbid_unknown_fields=True):
    """A start that was pressed on the page of times, with what the page was showing."""

    start: Slot
    minutes: Minutes
    guests: Guests
    page: Short
    resource: Short = ""


class DetailsForm(msgspec.Struct, forbid_unknown_fields=True):
    """The guest's details. `do`: `book`, or `price` to see what a code brings."""

    guests: Guests
    name: Typed = ""
    phone: Typed = ""
    email: Typed = ""
    code: Typed = ""
    shown_cents: Annotated[int, Meta(ge=-1, le=10**12)] = -1
    quote: Token = ""
    do: Short = "book"

    def details(self) -> Details:
        return Details(
            name=self.name, phone=self.phone, email=self.email, guests=self.guests, code=self.code, quote=self.quote,
            shown_cents=self.shown_cents,
        )  # fmt: skip


class PressForm(msgspec.Struct, forbid_unknown_fields=True):
    """A form that is only a button."""

    guests: Guests = 1


class CancelForm(msgspec.Struct, forbid_unknown_fields=True):
    """The bookings of the order to give up."""

    booking: list[Short] = []


class MoveForm(msgspec.Struct, forbid_unknown_fields=True):
    """A change as it was shown, with our own promise of its price."""

    booking: Short
    resource: Short
    start: Slot
    minutes: Minutes
    nonce: Short
    quote: Token = ""


class WayForm(msgspec.Struct, forbid_unknown_fields=True):
    """Another place for a booking that has lost its own, as it was shown; `end` as a slot."""

    booking: Short
    resource: Short
    start: Slot
    end: Slot
    nonce: Short


class ExtendForm(msgspec.Struct, forbid_unknown_fields=True):
    """A longer stay as it was shown."""

    booking: Short
    minutes: Minutes
    nonce: Short
    shown_cents: Annotated[int, Meta(ge=0, le=10**12)]


class OpenForm(msgspec.Struct, forbid_unknown_fields=True):
    """ "Open the door"; where the telephone is (degrees, metres) and its answer (JSON), if the page asked for them."""

    booking: Short
    nonce: Short
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    accuracy: Accuracy | None = None
    answer: Annotated[str, Meta(max_length=8000)] = ""


class PhoneIn(msgspec.Struct, forbid_unknown_fields=True):
    """Before "Open the door": which one, and from where. `answer`: the key that the telephone has made, as WebAuthn's JSON has it."""

    booking: Short
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    accuracy: Accuracy | None = None
    answer: dict[str, Any] = {}


class MessagesForm(msgspec.Struct, forbid_unknown_fields=True):
    """How somebody wants to be reached. `offered`: the channels that the page let them choose among; hours as minutes of the day, empty for none."""

    language: Short = ""
    offered: list[Short] = []
    channel: list[Short] = []
    quiet_from: Short = ""
    quiet_until: Short = ""
    courtesies: Short = ""


class SurveyForm(msgspec.Struct, forbid_unknown_fields=True):
    """An answer. More than fits is let in, so that it is not lost when it is told how much fits."""

    score: Short = ""
    words: Annotated[str, Meta(max_length=20_000)] = ""


class BrowserKeys(msgspec.Struct):
    """For whom a message is sealed."""

    p256dh: Annotated[str, Meta(max_length=200)]
    auth: Annotated[str, Meta(max_length=100)]


class BrowserIn(msgspec.Struct):
    """A browser's `PushSubscription.toJSON()`; what else it says is let go of."""

    endpoint: Annotated[str, Meta(max_length=2000)]
    keys: BrowserKeys


class BrowserOut(msgspec.Struct):
    """The browser that is not to be told any more."""

    endpoint: Annotated[str, Meta(max_length=2000)]


def choice_of(form: MessagesForm, chosen: Preferences) -> tuple[Choice | None, dict[str, str]]:
    """What the form chooses, or a sentence for every field that is wrong. `chosen`: what stands, whose own hours may be off the half hour."""
    errors: dict[str, str] = {}
    if form.language not in LANGUAGES:
        errors["language"] = "Please choose English or French."
    if any(name not in CHANNELS for name in (*form.offered, *form.channel)):
        errors["channel"] = "There is no such way to reach you; please choose among those that are shown."
    hours = [_half_hour(text, chosen.quiet) for text in (form.quiet_from, form.quiet_until)]
    if None in hours:
        errors["quiet"] = "Quiet hours begin and end on a half hour, for instance from 22:00 until 8:00."
    elif (hours[0] == -1) != (hours[1] == -1):
        errors["quiet"] = "Quiet hours need a beginning and an end; or choose none for both."
    elif hours[0] == hours[1] != -1:
        errors["quiet"] = "Quiet hours cannot end when they begin; or choose none for both."
    if form.courtesies not in ("", "yes"):
        errors["courtesies"] = "Please choose whether you want follow-ups and surveys."
    if errors:
        return None, errors
    quiet = (0, 0) if hours[0] == -1 else (hours[0], hours[1])
    offered, wanted = (tuple(name for name in CHANNELS if name in names) for names in (form.offered, form.channel))
    return Choice(offered=offered, wanted=wanted, language=form.language, quiet=quiet, courtesies=form.courtesies == "yes"), {}


def _half_hour(text: str, standing: tuple[int, int]) -> int | None:
    """A minute of the day; -1 for none; None for what is no half hour, nor stands already."""
    if not text:
        return -1
    minute = int(text) if len(text) <= 4 and text.isascii() and text.isdigit() else -1
    return minute if 0 <= minute < 24 * 60 and (minute % 30 == 0 or minute in standing) else None


def search_of(query: Mapping[str, str], house: House, today: date, last: date, usual: Search | None = None) -> tuple[Search, list[str]]:
    """The search that an address asks for, and a sentence for everything in it that is not to be had; `usual` are its defaults.

    A day that is over or too far away becomes the nearest that is not.
    """
    usual = usual or Search(site_id=house.facility.id, on=today, minutes=lengths(house)[0])
    wrong: list[str] = []
    on = _day(query.get("date", ""), usual.on, today, last, wrong)
    minutes = _number(query.get("minutes", ""), usual.minutes, wrong, "The length")
    if minutes not in lengths(house) and minutes != usual.minutes:
        wrong.append(f"{minutes} minutes is not a length that can be booked, so another is shown.")
        minutes = usual.minutes
    guests = _number(query.get("guests", ""), usual.guests, wrong, "The number of people")
    if not 1 <= guests <= GUESTS_MAX:
        wrong.append(f"A group is 1 to {GUESTS_MAX} people.")
        guests = usual.guests
    resource = query.get("resource", "")
    if resource and resource not in house.resources:
        wrong.append(f"{house.facility.name} has no such {house.facility.word.lower()}, so any is shown.")
        resource = ""
    found = Search(site_id=house.facility.id, on=on, minutes=minutes, guests=guests, resource_id=resource, moving=usual.moving)
    return found, wrong


def guests_of(query: Mapping[str, str]) -> int:
    """The number of people an address carries from page to page; 1 where it carries none that makes sense."""
    guests = _number(query.get("guests", ""), 1, [], "")
    return guests if 1 <= guests <= GUESTS_MAX else 1


def slot_of(text: str) -> int:
    """A slot number in an address; 0 where it is none."""
    return int(text) if len(text) == 7 and text.isascii() and text.isdigit() else 0


def _day(text: str, usual: date, today: date, last: date, wrong: list[str]) -> date:
    if not text:
        return usual
    try:
        day = date.fromisoformat(text[:10]) if len(text) == 10 else None
    except ValueError:
        day = None
    if day is None:
        wrong.append("The date is not one like 2026-11-28, so another day is shown.")
        return usual
    if day < today:
        wrong.append("That day is over, so today is shown.")
        return today
    if day > last:
        wrong.append(f"That day is further ahead than can be booked; the last is {last.day} {last:%B}.")
        return last
    return day


def _number(text: str, usual: int, wrong: list[str], what: str) -> int:
    if not text:
        return usual
    if len(text) <= 5 and text.isascii() and text.isdigit():
        return int(text)
    wrong.append(f"{what} is not a number.")
    return usual


def day_strip(today: date, last: date, on: date, most: int = 15) -> list[date]:
    """The days to choose among by one tap: from today, or around a day further out."""
    first = today if on < today + timedelta(most) else min(on - timedelta(3), last - timedelta(most - 1))
    return [first + timedelta(i) for i in range(most) if first + timedelta(i) <= last]


def minutes_of(text: str) -> int:
    """A length in an address, as it stands; 0 where it is no number. The rules say whether it is a good one."""
    return int(text) if 0 < len(text) <= 4 and text.isascii() and text.isdigit() else 0
