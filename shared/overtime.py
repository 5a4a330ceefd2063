"""Time used after the end of a booking: how much of it counts, and what it costs (B21).

Not here: who saw it (`presence`), and any payment: it is noted on the visit and collected by people, or waived by them. Invariant: up to the
grace nothing counts and nothing costs; beyond it every quarter hour that was begun costs the same percent of the rate in force in it, with its
tax, without discounts.
"""

from __future__ import annotations

import hashlib

import msgspec

from shared import pricing, slots
from shared.model import Interval, Price, Resource
from shared.policy import BaseRate, Overtime, Rate, Tariff

#: nobody is charged for more: after that somebody has forgotten to sign off, or plays without a booking
OVER_MAX_S = 4 * 3600
_PERCENT = 100


def minutes(end_at: int, last_at: int, rule: Overtime) -> int:
    """The minutes used after the end, begun ones whole; 0 within the grace. Both times in unix seconds."""
    over_s = min(last_at - end_at, OVER_MAX_S)
    return -(-over_s // 60) if over_s > rule.grace_min * 60 else 0


def is_offered(booking_id: str, rule: Overtime) -> bool:
    """Whether this guest is one of those who are asked to stay longer: always the same answer for one booking."""
    return int.from_bytes(hashlib.sha256(booking_id.encode()).digest()[:4], "big") % _PERCENT < rule.offer_share_percent


def charge(over_min: int, resource: Resource, end: int, tariff: Tariff, rule: Overtime, *, zone: str, site_id: str) -> Price:
    """What so many minutes after slot `end` cost. A price of nothing where there are none, or where they are free."""
    quarters = -(-over_min // slots.SLOT_MIN)
    if not quarters or not rule.percent:
        return Price(currency=tariff.currency, total_cents=0)
    dearer = msgspec.structs.replace(resource, hourly_cents=_of(resource.hourly_cents, rule.percent))
    return pricing.quote(
        dearer, Interval(end, end + quarters), _at(tariff, rule.percent), zone=zone, site_id=site_id, now_at=end * slots.SLOT_S
    )


def _at(tariff: Tariff, percent: int) -> Tariff:
    """The tariff with every rate at so many percent, and nothing taken off or put on besides. Rates in percent of the base go with the base."""
    return msgspec.structs.replace(
        tariff, base=tuple(_base(one, percent) for one in tariff.base), rates=tuple(_rate(one, percent) for one in tariff.rates), demand=(), discounts=(), codes=()
    )  # fmt: skip


def _base(base: BaseRate, percent: int) -> BaseRate:
    return msgspec.structs.replace(base, cents_per_hour=_of(base.cents_per_hour, percent))


def _rate(rate: Rate, percent: int) -> Rate:
    return rate if rate.cents_per_hour is None else msgspec.structs.replace(rate, cents_per_hour=_of(rate.cents_per_hour, percent))


def _of(cents: int, percent: int) -> int:
    return pricing.half_up(cents * percent, _PERCENT)
