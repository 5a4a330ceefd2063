"""The operator's settings as values: what is allowed (`Policy`) and what it costs (`Tariff`), together a `Profile`.

Not here: any decision. `rules` reads the policy, `pricing` the tariff, `slots` the opening hours. A profile is a document of the hub
(own-6) that travels to every site as JSON and ignores unknown fields there; a file written by a person is read strictly (`profiles`).
Invariant: a value that decoded is complete and consistent, so the rules need no second look; whatever is a price carries the days on
which it is in force, both ends included, cut in the facility's zone.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta

from shared.model import Frozen

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: local clock on the quarter hour; 24:00 is the end of the day
Clock = Annotated[str, Meta(pattern=r"^(?:(?:[01]\d|2[0-3]):(?:00|15|30|45)|24:00)$")]
Name = Annotated[str, Meta(min_length=1, max_length=60)]
Cents = Annotated[int, Meta(ge=0, le=10_000_000)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Minutes = Annotated[int, Meta(ge=0, le=366 * 24 * 60)]

#: what staff may be allowed to pass over; the past, the grid, a ban and the capacity never
Skippable = Literal[
    "duration_too_short",
    "duration_step",
    "duration_too_long",
    "too_far_ahead",
    "cut_off_passed",
    "too_many_open",
    "outside_hours",
    "reschedule_limit",
    "prepay_only",
    "restriction_unknown",
]


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is given twice.")


class Dated(Frozen, frozen=True, kw_only=True):
    """In force from `valid_from` until and including `valid_until`; none means without end on that side."""

    valid_from: date | None = None
    valid_until: date | None = None

    def __post_init__(self):
        if self.valid_from and self.valid_until and self.valid_until < self.valid_from:
            raise ValueError(f"valid_until {self.valid_until} lies before valid_from {self.valid_from}.")


class Who(Frozen, frozen=True, kw_only=True):
    """Whom a setting is for: one of the tiers (if any are named), one of the tags (if any), at least so many completed bookings."""

    tiers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    completed_min: Annotated[int, Meta(ge=0)] = 0


class Opening(Frozen, frozen=True, kw_only=True):
    """Open from `opens` to `closes` on these days; `closes` before `opens` runs into the next day."""

    days: tuple[Day, ...] = DAYS
    opens: Clock = "00:00"
    closes: Clock = "24:00"

    def __post_init__(self):
        if self.opens == "24:00":
            raise ValueError("Nothing opens at 24:00; write 00:00 of the next day.")
        if self.opens == self.closes:
            raise ValueError(f"Opening and closing are both {self.opens}; the whole day is 00:00 to 24:00.")


class HoursException(Frozen, frozen=True, kw_only=True):
    """Replaces the openings that begin on these days (none: closed), for all resources or the named ones."""

    from_day: date
    until_day: date
    openings: tuple[Opening, ...] = ()
    resource_ids: tuple[str, ...] = ()

    def __post_init__(self):
        if self.until_day < self.from_day:
            raise ValueError(f"until_day {self.until_day} lies before from_day {self.from_day}.")


class ResourceHours(Frozen, frozen=True, kw_only=True):
    """A resource with a weekly pattern of its own."""

    resource_id: str
    weekly: tuple[Opening, ...]


class Hours(Frozen, frozen=True, kw_only=True, cache_hash=True):
    """Opening hours (R6). The most particular wins: exception for the resource, exception, the resource's week, the week."""

    weekly: tuple[Opening, ...] = (Opening(),)
    exceptions: tuple[HoursException, ...] = ()
    resources: tuple[ResourceHours, ...] = ()

    def __post_init__(self):
        _unique("The week of resource", [one.resource_id for one in self.resources])


class Notice(Frozen, frozen=True, kw_only=True):
    """Minutes that must lie between the asking and the start, per channel (R4)."""

    web: Minutes = 60
    api: Minutes = 60
    clubos: Minutes = 60
    kiosk: Minutes = 0
    staff: Minutes = 0


class Horizon(Frozen, frozen=True, kw_only=True):
    """How far ahead these customers may book, in days of 24 hours (R3)."""

    who: Who
    days: Annotated[int, Meta(ge=0, le=800)]


class OpenLimit(Frozen, frozen=True, kw_only=True):
    """How many open bookings these customers may have (R5)."""

    who: Who
    bookings: Annotated[int, Meta(ge=0)]


class CancelStep(Frozen, frozen=True, kw_only=True):
    """`percent` of the price comes back while at least `before_min` minutes remain until the start (R8)."""

    before_min: Minutes
    percent: Percent
    who: Who = Who()


class ChangeFee(Dated, frozen=True, kw_only=True):
    """What the change of this number costs (1 is the first) and whether it is flagged to staff (R12)."""

    change: Annotated[int, Meta(ge=1)]
    cents: Cents
    flag: bool = False


class Deposit(Dated, frozen=True, kw_only=True):
    """The part of the price that is due at booking and kept on a no-show."""

    cents: Cents


class Displacement(Frozen, frozen=True, kw_only=True):
    """What the house does alone for a booking that has lost its place (B12); all else waits for a person or the guest.

    `by_rule` False: nothing. `shift_max_min`: how far the start may be moved without asking anybody, 0 for the same time only. `same_make`:
    only a resource of the same make.
    """

    by_rule: bool = True
    shift_max_min: Annotated[int, Meta(ge=0, le=1440)] = 0
    same_make: bool = False


class Presence(Frozen, frozen=True, kw_only=True):
    """What the house concludes of visits by itself (B15); what staff have said always stands. Minutes but for the two that say otherwise.

    `no_show_min`: from so long after the start, or the sale if that is later, nobody is waited for any more. `unbooked_min`: somebody who plays
    for so long in a bay that nobody has is told of. A customer with `no_show_flag_count` no-shows within `no_show_flag_days` is flagged to
    staff, 0: nobody is. `resell_min`: from so long after the same the rest of a no-show's time goes on sale by itself, 0: only when staff say so.
    """

    by_rule: bool = True
    no_show_min: Annotated[int, Meta(ge=5, le=240)] = 15
    unbooked_min: Annotated[int, Meta(ge=1, le=240)] = 5
    no_show_flag_count: Annotated[int, Meta(ge=0, le=100)] = 2
    no_show_flag_days: Annotated[int, Meta(ge=1, le=730)] = 90
    resell_min: Annotated[int, Meta(ge=0, le=240)] = 0

    def __post_init__(self):
        if 0 < self.resell_min < self.no_show_min:
            raise ValueError(
                f"resell_min {self.resell_min} is less than no_show_min {self.no_show_min}: until then the guest is waited for."
            )


class Overtime(Frozen, frozen=True, kw_only=True):
    """What time used after the end costs (B21): `percent` of the rate for every quarter hour that was begun, once `grace_min` minutes are over;
    then from the end on. 0 percent: it is told and costs nothing. `offer_share_percent`: so many of the guests are asked shortly before the end
    whether they stay longer, where the next half hour is free; 0: nobody is."""

    grace_min: Annotated[int, Meta(ge=0, le=60)] = 10
    percent: Annotated[int, Meta(ge=0, le=1000)] = 200
    offer_share_percent: Percent = 0


class Health(Frozen, frozen=True, kw_only=True):
    """When a failing bay leaves sale by itself, and when it comes back (M3). All in minutes but `takes_max`.

    It fails for `broken_min`, and somebody is expected there within `soon_min`, or it has failed for `alone_min`: it is taken out for
    `ahead_min` at a time. It comes back when it has been well for `healthy_min`, twice as long with every further time within a day, and after
    `takes_max` times within a day not by itself any more. Staff may have it sold all the same, for `spare_min`.
    """

    by_rule: bool = True
    broken_min: Annotated[int, Meta(ge=0, le=120)] = 5
    soon_min: Annotated[int, Meta(ge=15, le=1440)] = 120
    alone_min: Annotated[int, Meta(ge=5, le=1440)] = 30
    ahead_min: Annotated[int, Meta(ge=60, le=1440)] = 180
    healthy_min: Annotated[int, Meta(ge=0, le=240)] = 10
    takes_max: Annotated[int, Meta(ge=1, le=20)] = 4
    spare_min: Annotated[int, Meta(ge=15, le=1440)] = 120


class Care(Frozen, frozen=True, kw_only=True):
    """When maintenance of a bay is proposed (M4): after `hours_max` hours of play since the last, or `alerts_max` troubles within `alert_days`;
    as `length_min` minutes within the next `ahead_days`. What staff dismiss is not proposed again for `dismissed_days`."""

    hours_max: Annotated[int, Meta(ge=1, le=10_000)] = 200
    alerts_max: Annotated[int, Meta(ge=1, le=1000)] = 5
    alert_days: Annotated[int, Meta(ge=1, le=90)] = 14
    length_min: Annotated[int, Meta(ge=30, le=480, multiple_of=30)] = 120
    ahead_days: Annotated[int, Meta(ge=1, le=30)] = 7
    dismissed_days: Annotated[int, Meta(ge=1, le=90)] = 7


class Policy(Frozen, frozen=True, kw_only=True):
    """What is allowed. Durations in minutes; the generous answer wins where several lines fit a customer."""

    grid_min: Annotated[int, Meta(ge=15, le=60)] = 30
    min_min: Annotated[int, Meta(ge=15)] = 60
    step_min: Annotated[int, Meta(ge=15)] = 30
    max_min: Annotated[int, Meta(le=1440)] = 360
    notice_min: Notice = Notice()
    horizon_days: Annotated[int, Meta(ge=0, le=800)] = 14
    horizons: tuple[Horizon, ...] = ()
    open_max: Annotated[int, Meta(ge=0)] = 2
    open_limits: tuple[OpenLimit, ...] = ()
    hours: Hours = Hours()
    buffer_min: Annotated[int, Meta(ge=0, le=240)] = 0
    reschedule_max: Annotated[int, Meta(ge=0)] = 2
    change_fees: tuple[ChangeFee, ...] = ()
    cancellation: tuple[CancelStep, ...] = (CancelStep(before_min=0, percent=100),)
    cancel_flag_count: Annotated[int, Meta(ge=0)] = 0
    cancel_flag_days: Annotated[int, Meta(ge=1)] = 30
    deposits: tuple[Deposit, ...] = ()
    staff_skip: tuple[Skippable, ...] = ("cut_off_passed", "reschedule_limit")
    displacement: Displacement = Displacement()
    presence: Presence = Presence()
    overtime: Overtime = Overtime()
    health: Health = Health()
    care: Care = Care()

    def __post_init__(self):
        if 60 % self.grid_min or self.grid_min % 15:
            raise ValueError(f"grid_min is {self.grid_min}; it must be 15, 30 or 60.")
        for name in ("min_min", "step_min", "max_min", "buffer_min"):
            if getattr(self, name) % 15:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a multiple of 15.")
        if self.max_min < self.min_min:
            raise ValueError(f"max_min {self.max_min} is less than min_min {self.min_min}.")


class BaseRate(Dated, frozen=True, kw_only=True):
    """The price of an hour where no other rate is in force; of several the one with the latest `valid_from`."""

    cents_per_hour: Cents
    label: Name = "Standard rate"


class Rate(Dated, frozen=True, kw_only=True):
    """A rate in force on these days between two local clocks; `from_clock` after `to_clock` means both ends of the same day.

    Either `cents_per_hour` or `percent` of change on the base. The higher `priority` wins, then the later `valid_from`, then the name.
    """

    name: Name
    label: Name
    days: tuple[Day, ...] = DAYS
    from_clock: Clock = "00:00"
    to_clock: Clock = "24:00"
    cents_per_hour: Cents | None = None
    percent: Annotated[int, Meta(ge=-100, le=1000)] | None = None
    priority: int = 0

    def __post_init__(self):
        super().__post_init__()
        if (self.cents_per_hour is None) == (self.percent is None):
            raise ValueError(f"Rate {self.name!r} needs either cents_per_hour or percent.")
        if self.from_clock == self.to_clock:
            raise ValueError(f"Rate {self.name!r} begins and ends at {self.from_clock}; the whole day is 00:00 to 24:00.")


class Demand(Dated, frozen=True, kw_only=True):
    """Surcharge by how full the facility is (P3): nothing up to `from_percent` full, from there in a line up to `cap_percent`."""

    on: bool
    cap_percent: Percent
    from_percent: Annotated[int, Meta(ge=0, le=99)] = 0


class Discount(Dated, frozen=True, kw_only=True):
    """Percent off for some customers, days or lengths (P4). Lines of one `name` are one offer with several conditions."""

    name: Name
    label: Name
    percent: Percent
    code: Literal["member", "duration"] = "member"
    who: Who = Who()
    days: tuple[Day, ...] = DAYS
    from_min: Minutes = 0
    stacks: bool = False


class PromoCode(Dated, frozen=True, kw_only=True):
    """A code that takes `percent` or `cents` off (P4). Its days are those of the asking, not of play. 0 uses mean no limit."""

    text: Annotated[str, Meta(pattern=r"^[A-Z0-9][A-Z0-9_-]{1,31}$")]
    label: Name
    percent: Percent | None = None
    cents: Cents | None = None
    who: Who = Who()
    site_ids: tuple[str, ...] = ()
    uses_max: Annotated[int, Meta(ge=0)] = 0
    customer_uses_max: Annotated[int, Meta(ge=0)] = 0
    stacks: bool = False

    def __post_init__(self):
        super().__post_init__()
        if (self.cents is None) == (self.percent is None):
            raise ValueError(f"Code {self.text!r} needs either cents or percent.")


class Tax(Dated, frozen=True, kw_only=True):
    """A tax, in millionths of the net price (14 % is 140000), everywhere or at the named facilities (P10)."""

    name: Name
    rate_ppm: Annotated[int, Meta(ge=0, le=1_000_000)]
    site_ids: tuple[str, ...] = ()


class Tariff(Frozen, frozen=True, kw_only=True):
    """What it costs, in integer cents of one currency. One base rate has no `valid_from`, so that every hour has a price."""

    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
    base: tuple[BaseRate, ...]
    rates: tuple[Rate, ...] = ()
    demand: tuple[Demand, ...] = ()
    discounts: tuple[Discount, ...] = ()
    codes: tuple[PromoCode, ...] = ()
    taxes: tuple[Tax, ...] = ()

    def __post_init__(self):
        if not any(one.valid_from is None and one.valid_until is None for one in self.base):
            raise ValueError("One base rate must have neither valid_from nor valid_until, so that every hour has a price.")
        _unique("Rate", [one.name for one in self.rates])
        _unique("Code", [one.text for one in self.codes])


class Profile(Frozen, frozen=True, kw_only=True):
    """A named, numbered set of settings; a facility follows one. A higher version replaces a lower."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    version: Annotated[int, Meta(ge=1)]
    policy: Policy
    tariff: Tariff
