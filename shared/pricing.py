"""THE price (P1-P4, P10): one resource, one interval, to the cent and the same on both sides.

Not here: quotes and their signatures (P5), payment, credits. A group costs the sum of its bookings (`add`).

How it is cut and rounded, so that the lines always add up:
  * every quarter hour is priced by the one rate in force in it, by the wall clock of the facility; neighbouring quarters of one rate
    and one local day are a part, rounded once; parts of one rate are one line. Cutting a booking where the rate or the day changes
    changes nothing;
  * demand is percent of the rates; discounts are percent or cents of rates and demand; of the discounts the best one counts, and on
    top of it those whose data say that they stack; together they never take more than there is;
  * a fee is never discounted; every tax is reckoned on the net sum, none on another tax;
  * halves are rounded up, away from zero.
Which day decides: rates, discounts and demand by the local day of each quarter hour, tax by the local day of the start (that is when
the service is given), a code by the local day of the asking.

Invariant: the lines add up to the total, and no total is negative.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple, TypeVar

from shared import slots
from shared.errors import refuse
from shared.model import Customer, Frozen, Interval, Price, PriceLine, Resource
from shared.policy import DAYS, BaseRate, Dated, Demand, Discount, PromoCode, Rate, Tariff, Tax, Who

_Dated = TypeVar("_Dated", bound=Dated)
#: rates are reckoned in hundredths of a cent an hour, so that whole percents stay exact
_FINE = 100
_PPM = 1_000_000


class CodeUse(Frozen, frozen=True, kw_only=True):
    """A code as typed, and how often it has been used: by everybody and by this customer (facts of the books, best effort in a cut)."""

    text: str
    used: int = 0
    used_by_customer: int = 0


class _Part(NamedTuple):
    """A run of quarter hours of one rate within one local day."""

    day: date
    label: str
    cents: int
    minutes: int


class _Off(NamedTuple):
    """One offer's amount off: `cents` is positive."""

    code: str
    label: str
    cents: int
    stacks: bool


def half_up(numerator: int, denominator: int) -> int:
    """The quotient to the nearest whole number, halves away from zero."""
    if numerator < 0:
        return -half_up(-numerator, denominator)
    return (2 * numerator + denominator) // (2 * denominator)


def in_force(one: Dated, day: date) -> bool:
    """Whether the setting is in force on this day; both its ends are included."""
    return (one.valid_from is None or one.valid_from <= day) and (one.valid_until is None or day <= one.valid_until)


def latest(settings: Iterable[_Dated], day: date) -> _Dated | None:
    """Of the settings in force on this day the one that came last; of two that began together the first listed."""
    return max((one for one in settings if in_force(one, day)), key=lambda one: one.valid_from or date.min, default=None)


def fits(who: Who, customer: Customer | None) -> bool:
    """Whether the customer is one of those meant. An empty `Who` means everybody, a guest without a profile included."""
    if customer is None:
        return not who.tiers and not who.tags and not who.completed_min
    if who.tiers and customer.tier not in who.tiers:
        return False
    if who.tags and not any(tag in customer.tags for tag in who.tags):
        return False
    return customer.completed >= who.completed_min


def rank(rate: Rate) -> tuple[int, date, str]:
    """The order of rates: the highest wins. Names differ within a tariff, so that it is a total order."""
    return rate.priority, rate.valid_from or date.min, rate.name


def _rates_of(tariff: Tariff, day: date, *, fixed: bool) -> list[tuple[int, int, Rate]]:
    """The day's rates, best first, with their clocks; `fixed` leaves out absolute rates (the resource has a rate of its own)."""
    weekday = DAYS[day.weekday()]
    found = [
        rate for rate in tariff.rates if weekday in rate.days and in_force(rate, day) and not (fixed and rate.cents_per_hour is not None)
    ]
    found.sort(key=rank, reverse=True)
    return [(slots.clock_minutes(rate.from_clock), slots.clock_minutes(rate.to_clock), rate) for rate in found]


def _at(rates: list[tuple[int, int, Rate]], minute: int) -> Rate | None:
    for start, end, rate in rates:
        if (start <= minute < end) if start < end else (minute >= start or minute < end):
            return rate
    return None


def _hourly(rate: Rate | None, base: BaseRate, own_cents: int) -> int:
    """Hundredths of a cent an hour. A resource's own hourly rate stands in for the base."""
    if rate is not None and rate.cents_per_hour is not None:
        return rate.cents_per_hour * _FINE
    percent = rate.percent if rate is not None and rate.percent is not None else 0
    return (own_cents or base.cents_per_hour) * (100 + percent)


def _parts_of_day(resource: Resource, tariff: Tariff, day: date, minutes: tuple[int, ...]) -> list[_Part]:
    base = latest(tariff.base, day)
    rates = _rates_of(tariff, day, fixed=bool(resource.hourly_cents))
    runs: list[tuple[Rate | None, int]] = []
    for minute in minutes:
        rate = _at(rates, minute)
        if runs and runs[-1][0] is rate:
            runs[-1] = (rate, runs[-1][1] + 1)
        else:
            runs.append((rate, 1))
    return [
        _Part(
            day,
            base.label if rate is None else rate.label,
            half_up(_hourly(rate, base, resource.hourly_cents) * count, _FINE * slots.SLOTS_PER_HOUR),
            count * slots.SLOT_MIN,
        )
        for rate, count in runs
    ]


def _parts(resource: Resource, interval: Interval, tariff: Tariff, zone: str) -> list[_Part]:
    parts: list[_Part] = []
    for day, cut in slots.days_of(zone, interval):
        parts += _parts_of_day(resource, tariff, day, slots.clocks(zone, day, cut))
    return parts


def _rate_lines(parts: list[_Part]) -> list[PriceLine]:
    cents: dict[str, int] = defaultdict(int)
    minutes: dict[str, int] = defaultdict(int)
    for part in parts:
        cents[part.label] += part.cents
        minutes[part.label] += part.minutes
    return [PriceLine(code="rate", label=label, cents=cents[label], minutes=minutes[label]) for label in cents]


def demand_percent(demand: Demand | None, fullness: float) -> int:
    """Percent to add when this share (0 to 1) of the facility is taken (P3): whole percents, rounded down, never above the cap."""
    if not 0 <= fullness <= 1:
        raise ValueError(f"How full the facility is must lie between 0 and 1; {fullness} does not.")
    if demand is None or not demand.on:
        return 0
    # in thousandths, so that both sides reckon with whole numbers
    above = max(0, int(fullness * 1000 + 0.5) - demand.from_percent * 10)
    return demand.cap_percent * above // (1000 - demand.from_percent * 10)


def _with_demand(parts: list[_Part], tariff: Tariff, fullness: float) -> tuple[dict[date, int], int]:
    """What each day costs before discounts, and how much of that is demand."""
    by_day: dict[date, int] = defaultdict(int)
    for part in parts:
        by_day[part.day] += part.cents
    surcharge = 0
    for day, cents in by_day.items():
        more = half_up(cents * demand_percent(latest(tariff.demand, day), fullness), 100)
        by_day[day] += more
        surcharge += more
    return by_day, surcharge


def _offers(tariff: Tariff, by_day: dict[date, int], minutes: int, customer: Customer | None) -> list[_Off]:
    """Every discount this booking could have; of the lines of one name each day takes the best."""
    fine: dict[str, int] = defaultdict(int)
    first: dict[str, Discount] = {}
    for day, cents in by_day.items():
        best: dict[str, int] = {}
        for one in tariff.discounts:
            if DAYS[day.weekday()] in one.days and one.from_min <= minutes and in_force(one, day) and fits(one.who, customer):
                best[one.name] = max(best.get(one.name, 0), one.percent)
                first.setdefault(one.name, one)
        for name, percent in best.items():
            fine[name] += cents * percent
    return [_Off(one.code, one.label, half_up(fine[name], 100), one.stacks) for name, one in first.items()]


def find_code(tariff: Tariff, use: CodeUse, *, site_id: str, day: date, customer: Customer | None) -> PromoCode:
    """The code that was typed, if it is good here, today, for this customer; raises `Refused` with the reason otherwise."""
    text = use.text.strip().upper()
    code = next((one for one in tariff.codes if one.text == text), None)
    if code is None:
        raise refuse("code_unknown", f"We do not know the code {use.text.strip()[:32]!r}. Please check how it is written.")
    if code.valid_from and day < code.valid_from:
        raise refuse("code_not_yet_valid", f"The code {text} is good from {_day_text(code.valid_from)}.")
    if code.valid_until and day > code.valid_until:
        raise refuse("code_expired", f"The code {text} was good until {_day_text(code.valid_until)}.")
    if code.site_ids and site_id not in code.site_ids:
        raise refuse("code_not_here", f"The code {text} is not good at this facility.")
    if not fits(code.who, customer):
        raise refuse("code_not_for_customer", f"The code {text} is not meant for this customer.")
    if code.uses_max and use.used >= code.uses_max:
        raise refuse("code_used_up", f"The code {text} has been used as often as it may be.")
    if code.customer_uses_max and use.used_by_customer >= code.customer_uses_max:
        raise refuse("code_used_up", f"You have used the code {text} as often as you may.")
    return code


def _day_text(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def _code_off(code: PromoCode, gross: int) -> _Off:
    cents = half_up(gross * code.percent, 100) if code.percent is not None else min(code.cents or 0, gross)
    return _Off("promo", code.label, cents, code.stacks)


def _discount_lines(offers: list[_Off], gross: int) -> list[PriceLine]:
    """The best offer and whatever stacks on it, as negative lines that together take no more than `gross`."""
    alone = [one for one in offers if not one.stacks]
    best = max(alone, key=lambda one: one.cents, default=None)
    lines, left = [], gross
    for one in ([best] if best else []) + [one for one in offers if one.stacks]:
        cents = min(one.cents, left)
        left -= cents
        if cents:
            lines.append(PriceLine(code=one.code, label=one.label, cents=-cents))
    return lines


def _tax_lines(tariff: Tariff, site_id: str, day: date, net: int) -> list[PriceLine]:
    """A line for each tax in force; a rate for the facility goes before the general one of the same name."""
    by_name: dict[str, list[Tax]] = defaultdict(list)
    for tax in tariff.taxes:
        if (not tax.site_ids or site_id in tax.site_ids) and in_force(tax, day):
            by_name[tax.name].append(tax)
    lines = []
    for name, taxes in by_name.items():
        tax = latest([one for one in taxes if one.site_ids] or taxes, day)
        lines.append(PriceLine(code="tax", label=name, cents=half_up(net * tax.rate_ppm, _PPM)))
    return lines


def quote(
    resource: Resource,
    interval: Interval,
    tariff: Tariff,
    *,
    zone: str,
    site_id: str,
    now_at: int,
    customer: Customer | None = None,
    code: CodeUse | None = None,
    fullness: float = 0.0,
    change_fee_cents: int = 0,
) -> Price:
    """The price of one resource for one interval (slots).

    `zone` and `site_id` are the facility's; `fullness` (0 to 1) is how full it is then, for P3; `change_fee_cents` comes from
    `rules.change_fee`. A resource with its own `hourly_cents` pays that in place of the base and of absolute rates; rates in percent
    change it too. Raises `Refused` (code_unknown, code_not_yet_valid, code_expired, code_not_here, code_not_for_customer,
    code_used_up) for a code that is not good, and ValueError for an impossible interval, fullness or fee.
    """
    if interval.end <= interval.start:
        raise ValueError("The end must lie after the start.")
    if change_fee_cents < 0:
        raise ValueError(f"A fee cannot be negative; {change_fee_cents} is.")
    parts = _parts(resource, interval, tariff, zone)
    by_day, surcharge = _with_demand(parts, tariff, fullness)
    gross = sum(by_day.values())
    lines = _rate_lines(parts)
    if surcharge:
        lines.append(PriceLine(code="demand", label="High demand", cents=surcharge))
    offers = _offers(tariff, by_day, slots.minutes_of(interval), customer) if tariff.discounts else []
    if code is not None:
        asked_on = slots.local_day(zone, slots.slot_of(now_at))
        offers.append(_code_off(find_code(tariff, code, site_id=site_id, day=asked_on, customer=customer), gross))
    if offers:
        lines += _discount_lines(offers, gross)
    if change_fee_cents:
        lines.append(PriceLine(code="fee", label="Change fee", cents=change_fee_cents))
    net = sum(line.cents for line in lines)
    lines += _tax_lines(tariff, site_id, parts[0].day, net)
    return Price(currency=tariff.currency, total_cents=sum(line.cents for line in lines), lines=tuple(lines))


def alike(resource: Resource) -> int:
    """Resources of which this is equal cost the same at the same time: all of a resource that its price hangs on."""
    return resource.hourly_cents


def add(prices: Iterable[Price]) -> Price:
    """The price of an order: its bookings' prices together, lines of one code and label as one. ValueError for none or two currencies."""
    prices = tuple(prices)
    currencies = {price.currency for price in prices}
    if len(currencies) != 1:
        raise ValueError(f"Prices of one order have one currency; here are {len(currencies)}.")
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for line in (line for price in prices for line in price.lines):
        cents, minutes = sums.get((line.code, line.label), (0, 0))
        sums[line.code, line.label] = (cents + line.cents, minutes + line.minutes)
    # the order in which a price is read: rates first, taxes last
    reading = {"rate": 0, "demand": 1, "member": 2, "duration": 3, "promo": 4, "fee": 5, "tax": 6}
    lines = [PriceLine(code=code, label=text, cents=cents, minutes=minutes) for (code, text), (cents, minutes) in sums.items()]
    lines.sort(key=lambda line: reading.get(line.code, len(reading)))
    return Price(currency=currencies.pop(), total_cents=sum(line.cents for line in lines), lines=tuple(lines))
