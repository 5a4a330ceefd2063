"""What messages, channels, languages and the values of a text are called, for the admins' pages. Words only.

Invariant: whatever there is (`shared.notifications`, `services.wording`) has a name here; tests hold it to that.
"""

from typing import NamedTuple
from urllib.parse import urlencode

from cloud_hub.services.words_desk import Which
from shared import sms_text


class Named(NamedTuple):
    """What a message is called, and when it is sent, as a sentence."""

    name: str
    when: str


EVENTS: dict[str, Named] = {
    "confirmed": Named("Confirmation", "When something is booked."),
    "moved": Named("Change", "When a booking is moved, by its guest or by staff."),
    "cancelled": Named("Cancellation", "When a booking is cancelled."),
    "declined": Named("Refusal", "When a facility could not take what was asked of it."),
    "displaced": Named("Lost place", "When a booked place cannot be had after all, and the guest chooses another."),
    "placed": Named("Other place", "When a booked place cannot be had, and another one is kept."),
    "reminder": Named("Reminder", "Two hours before the visit."),
    "check_in": Named("Door opens", "A quarter of an hour before the visit."),
    "extend": Named("Stay longer", "Ten minutes before the end of the visit, where the next half hour is free."),
    "follow_up": Named("Thanks", "Half an hour after the visit."),
    "survey": Named("Survey", "The day after the visit."),
}
CHANNELS = {"sms": "SMS", "mail": "mail", "push": "push", "app": "in-app message", "slack": "Slack"}
#: the same above a list
SHORT = {"sms": "SMS", "mail": "Mail", "push": "Push", "app": "In-app"}
LANGUAGES = {"en": "English", "fr": "French"}
ORDER_KINDS = {"": "Every order", "single": "Single bookings", "group": "Groups", "series": "Series"}
#: name of a value -> what it says
VALUES = {
    "facility": "What the facility is called",
    "word": "What a bay is called there",
    "bays": "The bays of the first visit",
    "when": "Day and time of the first visit",
    "day": "Its day, in full",
    "from_clock": "When it begins",
    "to_clock": "When it ends",
    "name": "The guest’s name, where it is one that can be written to",
    "visits": "A line for each visit; goes through with for",
    "was": "What stood before a change",
    "pin": "The door PIN",
    "reference": "What people call the order",
    "link": "The booking’s own page",
    "total": "The price",
    "refund": "What comes back",
    "refund_rule": "A sentence about what comes back",
    "support_phone": "Whom to call",
    "support_hours": "When somebody answers",
    "address": "Where it is",
    "reason": "Why it was changed or cancelled",
    "ways": "A line for each other place that can be had; goes through with for",
    "ways_link": "Where the guest chooses one",
    "notices": "A line for each notice of the facility; goes through with for",
    "dark": "Whether the facility is not heard just now; for if",
    "stop": "Whether to say how to end these messages; for if",
    "survey_link": "Where the guest answers",
    "button": "The button to the booking, or to what is asked",
    "pin_card": "The PIN, with what to do with it",
    "visit_card": "The visits, with price and reference",
    "ways_card": "Other places that can be had",
    "notice_card": "The facility’s notices",
}
#: name of a preview -> what it is made of
PREVIEWS = {
    "usual": "An ordinary booking",
    "all": "Everything is known, the facility is not heard, and it must be said how to end these messages",
    "least": "Only bay and time are known",
}


def called(which: Which) -> str:
    """ "Confirmation by SMS, in French"."""
    return (
        f"{EVENTS[which.event].name} by {CHANNELS[which.channel]}, in {LANGUAGES[which.language]}"
        if which.event in EVENTS
        else "/".join(which)
    )


def reach(which: Which, facility: str) -> str:
    """For what it is used: "all facilities", "Bedford, groups"."""
    kind = f", {ORDER_KINDS[which.order_kind].lower()}" if which.order_kind else ""
    return f"{facility if which.site_id else 'all facilities'}{kind}"


def address(which: Which, **query: object) -> str:
    """Of the text's editor."""
    values = {"facility": which.site_id, "kind": which.order_kind, **query}
    asked = urlencode({name: value for name, value in values.items() if value})
    return f"/manage/texts/{which.event}/{which.channel}/{which.language}{f'?{asked}' if asked else ''}"


def cost(units: int, encoding: str, segments: int) -> str:
    """What an SMS costs: "142 of 160 characters, one segment"."""
    gsm = encoding == "gsm7"
    alone, joined = (sms_text.GSM_ALONE, sms_text.GSM_JOINED) if gsm else (sms_text.UCS_ALONE, sms_text.UCS_JOINED)
    of = alone if segments <= 1 else joined * segments
    parts = "one segment" if segments == 1 else f"{segments} segments"
    more = "" if gsm else "; a character outside the plain alphabet makes each segment less than half as long"
    return f"{units} of {of} characters, {parts}{more}"
