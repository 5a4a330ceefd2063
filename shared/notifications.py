"""Which notifications a booking causes, when each is due and until when it is worth anything (N2, N3, N6). Pure: the moment is handed in.

A plan is a projection of the bookings: whatever moves, ends or comes back changes what is due, and nothing has to be remembered for it. Not here:
words (`cloud_hub/services/wording`), addresses, vendors. Invariant: a notification that is due has a moment after which it is not sent any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from .model import Booking

Event = Literal[
    "confirmed", "moved", "cancelled", "declined", "displaced", "placed", "reminder", "check_in", "extend", "follow_up", "survey"
]  # fmt: skip
EVENTS: tuple[Event, ...] = get_args(Event)
ChannelName = Literal["sms", "mail", "push", "app"]
CHANNELS: tuple[ChannelName, ...] = get_args(ChannelName)
Language = Literal["en", "fr"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

MIN, H, DAY = 60, 3600, 86_400


class Timing(msgspec.Struct, frozen=True):
    """`from_s` after the start (or, `of_end`, the end) of the booking it is due, and `worth_s` later it is worth nothing any more. `booked_s`: not
    for a booking that was made less than this long before it is due, whose guest has just read all of it."""

    from_s: int
    worth_s: int
    of_end: bool = False
    booked_s: int = 0


#: what the clock causes (mission N2): 2 h before, 15 min before, 30 min after, 24 h after; and 10 min before the end (B21)
TIMED: dict[Event, Timing] = {
    "reminder": Timing(-2 * H, 100 * MIN, booked_s=30 * MIN),
    "check_in": Timing(-15 * MIN, 30 * MIN, booked_s=5 * MIN),
    "extend": Timing(-10 * MIN, 8 * MIN, of_end=True),
    "follow_up": Timing(30 * MIN, 12 * H, of_end=True),
    "survey": Timing(24 * H, 3 * DAY, of_end=True),
}
#: how long what happened to a booking is news
NEWS_S = 12 * H
#: by which channels, where the customer has not chosen: the first is tried; the others go beside it
USUAL: dict[Event, tuple[ChannelName, ...]] = {
    "confirmed": ("sms", "mail", "app"),
    "moved": ("sms", "mail", "app"),
    "cancelled": ("sms", "mail", "app"),
    "declined": ("sms", "mail", "app"),
    "displaced": ("sms", "mail", "push", "app"),
    "placed": ("sms", "mail", "push", "app"),
    "reminder": ("sms", "push", "app"),
    "check_in": ("push", "app"),
    "extend": ("sms", "push", "app"),
    "follow_up": ("mail",),
    "survey": ("mail", "app"),
}
#: sent whatever the hour: they answer the customer, or will not wait
URGENT: frozenset[Event] = frozenset({"confirmed", "moved", "cancelled", "declined", "displaced", "placed", "check_in"})
#: what is no service to the booking itself: only within usual hours, and a customer's word ends it for good
COURTESY: frozenset[Event] = frozenset({"follow_up", "survey"})
#: what somebody may not want, as a courtesy, but what will not wait for an hour: who is in the bay is awake
OFFERS: frozenset[Event] = frozenset({"extend"})
#: local hours in which courtesies are not sent, where the customer has not chosen any
USUAL_QUIET = (21 * 60, 8 * 60)


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer has chosen. `off`: channels that they want nothing by; `quiet`: minutes of the local day from and until which only what is
    urgent comes, (0, 0) for none chosen; `courtesies`: whether they want follow-ups, surveys and offers."""

    language: Language = "en"
    off: tuple[ChannelName, ...] = ()
    quiet: tuple[int, int] = (0, 0)
    courtesies: bool = True


class Moment(msgspec.Struct, frozen=True):
    """When a notification is due and until when it is worth sending, unix seconds."""

    due_at: int
    until_at: int


def timed(event: Event, b: Booking) -> Moment | None:
    """When the clock causes this notification of a booking; None where its guest needs none."""
    t = TIMED[event]
    due_at = (b.ends_at if t.of_end else b.starts_at) + t.from_s
    if t.booked_s and b.created_at > due_at - t.booked_s:
        return None
    return Moment(due_at, due_at + t.worth_s)


def window(event: Event, now: int) -> tuple[int, int]:
    """The slots `(first, past)` in which a booking starts, or ends, of which this is due now or still worth sending."""
    t = TIMED[event]
    return (now - t.from_s - t.worth_s) // 900, (now - t.from_s) // 900 + 1


def news(b: Booking, happened_at: int) -> Moment:
    """What has just happened to a booking is told at once, and is no news after half a day or after the visit."""
    return Moment(happened_at, max(happened_at + 15 * MIN, min(happened_at + NEWS_S, b.ends_at)))


def channels(event: Event, preferences: Preferences, able: tuple[ChannelName, ...]) -> tuple[ChannelName, ...]:
    """By which channels this customer hears of it. `able`: those that there is an address for. Where all that is usual is switched off or
    impossible, what is urgent goes by whatever is left and not switched off."""
    if event in COURTESY | OFFERS and not preferences.courtesies:
        return ()
    wanted = tuple(name for name in able if name not in preferences.off)
    usual = tuple(name for name in USUAL[event] if name in wanted)
    if usual and set(usual) != {"app"}:
        return usual
    return usual + tuple(name for name in wanted if name not in usual) if event in URGENT else usual


def not_before(event: Event, preferences: Preferences, zone: str, now: int) -> int:
    """The first moment from `now` on at which the customer's hours allow it: `now` itself, or the end of the quiet hours."""
    if event in URGENT:
        return now
    begin, end = preferences.quiet if preferences.quiet != (0, 0) else USUAL_QUIET if event in COURTESY else (0, 0)
    if begin == end or not _within(now, zone, begin, end):
        return now
    return min(at for at in _clock_shows(end % 1440, zone, now) if not _within(at, zone, begin, end))


def _within(at: int, zone: str, begin: int, end: int) -> bool:
    local = datetime.fromtimestamp(at, ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def _clock_shows(minute: int, zone: str, now: int) -> list[int]:
    """The moments of the next days at which the local clock shows this minute: twice in a night that repeats its hour; in one that skips it, as
    long after it as it would have."""
    today = datetime.fromtimestamp(now, ZoneInfo(zone)).replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)
    moments = [int((today + timedelta(days=n)).replace(fold=fold).timestamp()) for n in range(3) for fold in (0, 1)]
    return [at for at in moments if at > now]
