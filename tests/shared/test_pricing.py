"""THE price: the operator's table, the planning papers' table, and what holds for every booking."""

from datetime import date, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared import pricing, slots
from shared.errors import Refused
from shared.model import Customer, Interval, Price, PriceLine, Resource
from shared.policy import BaseRate, Demand, Discount, PromoCode, Rate, Tariff, Tax, Who
from shared.pricing import CodeUse
from shared.profiles import profile

HALIFAX = "America/Halifax"
SITE = "bedford"
BOX = Resource(id="bedford.box-1", name="Box 1", number=1)
BUSINESS, PLANNING = profile("business").tariff, profile("planning").tariff
NOW_AT = 1_782_907_200  # 1 Jul 2026, 12:00 UTC
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")
#: an awkward base and steps, so that quarter hours are not whole cents
ODD = Tariff(
    currency="CAD",
    base=(BaseRate(cents_per_hour=3333),),
    rates=(
        Rate(name="early", label="Early", from_clock="05:15", to_clock="09:45", percent=-17),
        Rate(name="late", label="Late", from_clock="21:00", to_clock="02:00", percent=13, days=("fri", "sat")),
        Rate(name="noon", label="Noon", from_clock="12:00", to_clock="13:00", cents_per_hour=1999),
    ),
    demand=(Demand(on=True, cap_percent=37, from_percent=20),),
    taxes=(Tax(name="GST", rate_ppm=50_000), Tax(name="QST", rate_ppm=99_750)),
)

starts = st.integers(slots.slot_of(1_767_225_600), slots.slot_of(1_830_297_600))  # 2026 and 2027
lengths = st.integers(1, 40)
zones = st.sampled_from([HALIFAX, "America/St_Johns", "Europe/London"])
tariffs = st.sampled_from([BUSINESS, PLANNING, ODD])
fullnesses = st.floats(0, 1)
CLUB = Customer(id="customer-club", name="Testa Birdie", tags=("club_plus",))
PROMO = Customer(id="customer-promo", name="Testa Eagle", tags=("promo",))
customers = st.sampled_from([None, CLUB, PROMO, Customer(id="customer-both", name="Testa Bogey", tags=("promo", "club_plus"))])


def span(start: str, end: str, zone: str = HALIFAX) -> Interval:
    return Interval(slots.parse_local(zone, start)[0], slots.parse_local(zone, end)[-1])


def priced(interval: Interval, tariff: Tariff = BUSINESS, *, zone: str = HALIFAX, resource: Resource = BOX, **more) -> Price:
    return pricing.quote(resource, interval, tariff, zone=zone, site_id=SITE, now_at=NOW_AT, **more)


def cents(price: Price, code: str) -> int:
    return sum(line.cents for line in price.lines if line.code == code)


def lines(price: Price, code: str) -> list[tuple[str, int]]:
    return [(line.label, line.cents) for line in price.lines if line.code == code]


# The operator's tariff


@pytest.mark.parametrize(
    ("start", "end", "net"),
    [
        ("2026-01-05T04:00", "2026-01-05T06:00", 1500 + 2500),  # Monday across 05:00
        ("2026-01-05T00:00", "2026-01-05T01:00", 1500),
        ("2026-01-05T12:00", "2026-01-05T14:00", 2500 + 3500),  # across 13:00
        ("2026-01-05T12:30", "2026-01-05T13:30", 1250 + 1750),
        ("2026-01-05T18:00", "2026-01-06T00:00", 6 * 3500),
        ("2026-01-05T23:00", "2026-01-06T01:00", 3500 + 1500),  # Monday night to Tuesday
        ("2026-01-09T23:00", "2026-01-10T01:00", 3500 + 3500),  # Friday night to Saturday
        ("2026-01-11T23:00", "2026-01-12T01:00", 3500 + 1500),  # Sunday night to Monday
        ("2026-01-31T23:30", "2026-02-01T00:30", 3500),  # across the end of a month, Saturday to Sunday
        ("2026-01-10T04:00", "2026-01-10T06:00", 2 * 3500),  # Saturday has one rate
        ("2025-12-31T23:00", "2026-01-01T01:00", 3500 + 1500),
    ],
)
def test_the_operator_charges_by_the_part(start, end, net):
    price = priced(span(start, end))
    assert cents(price, "rate") == net
    assert lines(price, "tax") == [("HST", pricing.half_up(net * 14, 100))]
    assert price.total_cents == net + pricing.half_up(net * 14, 100)
    assert price.currency == "CAD"


def test_a_monday_morning_across_five_is_forty_dollars_and_tax_line_by_line():
    price = priced(span("2026-01-05T04:00", "2026-01-05T06:00"))
    assert price.lines == (
        PriceLine(code="rate", label="Weekdays 00:00 to 05:00", cents=1500, minutes=60),
        PriceLine(code="rate", label="Weekdays 05:00 to 13:00", cents=2500, minutes=60),
        PriceLine(code="tax", label="HST", cents=560),
    )
    assert price.total_cents == 4560


def test_no_surge_in_the_operators_profile_however_full():
    interval = span("2026-01-05T18:00", "2026-01-05T19:00")
    assert priced(interval, fullness=1.0) == priced(interval, fullness=0.0)


# The planning papers' table (P2)


@pytest.mark.parametrize(
    ("day", "clock", "percent"),
    [
        *((day, clock, percent) for day in ("2026-01-05", "2026-01-09") for clock, percent in [
            ("00:00", -25), ("05:30", -25), ("06:00", -15), ("08:30", -15), ("09:00", 0), ("12:00", 0), ("16:30", 0),
            ("17:00", 20), ("20:30", 20), ("21:00", -25), ("23:30", -25),
        ]),
        *((day, clock, percent) for day in ("2026-01-10", "2026-01-11") for clock, percent in [
            ("00:00", -25), ("05:30", -25), ("06:00", 15), ("09:30", 15), ("10:00", 25), ("19:30", 25),
            ("20:00", 15), ("20:30", 15), ("21:00", -25), ("23:30", -25),
        ]),
    ],
)  # fmt: skip
def test_each_half_hour_is_priced_by_the_rate_in_force_in_it(day, clock, percent):
    (start,) = slots.parse_local(HALIFAX, f"{day}T{clock}")
    price = priced(Interval(start, start + 2), PLANNING)
    assert cents(price, "rate") == 2000 * (100 + percent) // 100


def test_a_step_in_the_middle_of_a_booking_is_charged_by_the_part():
    price = priced(span("2026-01-05T16:30", "2026-01-05T17:30"), PLANNING)
    assert lines(price, "rate") == [("Standard rate", 2000), ("Weekday evening, +20 %", 2400)]


# Nights when clocks change: what is played is paid


@pytest.mark.parametrize(
    ("zone", "gap", "fold"),
    [
        (HALIFAX, "2026-03-08", "2026-11-01"),
        (HALIFAX, "2027-03-14", "2027-11-07"),
        ("America/St_Johns", "2026-03-08", "2026-11-01"),
        ("America/St_Johns", "2027-03-14", "2027-11-07"),
        ("Europe/London", "2026-03-29", "2026-10-25"),
        ("Europe/London", "2027-03-28", "2027-10-31"),
    ],
)
def test_a_booking_over_the_night_of_the_change_costs_its_real_hours(zone, gap, fold):
    for day, hours in ((gap, 4), (fold, 6)):
        eve = date.fromisoformat(day) - timedelta(1)
        interval = span(f"{eve}T23:00", f"{day}T04:00", zone)
        assert slots.minutes_of(interval) == hours * 60
        assert cents(priced(interval, zone=zone), "rate") == hours * 3500
        assert cents(priced(interval, PLANNING, zone=zone), "rate") == hours * 3000


# What holds for every booking


@given(starts, lengths, zones, tariffs, customers, fullnesses, st.integers(0, 2000))
def test_the_lines_add_up_and_nothing_is_negative(start, length, zone, tariff, customer, fullness, fee):
    price = priced(Interval(start, start + length), tariff, zone=zone, customer=customer, fullness=fullness, change_fee_cents=fee)
    assert sum(line.cents for line in price.lines) == price.total_cents >= 0
    assert sum(line.minutes for line in price.lines if line.code == "rate") == length * 15
    assert all(line.cents >= 0 for line in price.lines if line.code not in ("member", "duration", "promo"))
    assert all(line.label for line in price.lines)


@given(starts, lengths, zones, tariffs)
def test_cutting_where_rate_or_day_changes_gives_the_same_sum(start, length, zone, tariff):
    interval = Interval(start, start + length)
    whole = cents(priced(interval, tariff, zone=zone), "rate")
    for at in range(interval.start + 1, interval.end):
        names = [lines(priced(Interval(one, one + 1), tariff, zone=zone), "rate")[0][0] for one in (at - 1, at)]
        if names[0] != names[1] or slots.local_day(zone, at) != slots.local_day(zone, at - 1):
            parts = [priced(Interval(*part), tariff, zone=zone) for part in ((interval.start, at), (at, interval.end))]
            assert sum(cents(part, "rate") for part in parts) == whole


@given(starts, lengths, zones, tariffs, customers, fullnesses)
def test_more_time_never_costs_less(start, length, zone, tariff, customer, fullness):
    shorter, longer = (
        priced(Interval(start, start + n), tariff, zone=zone, customer=customer, fullness=fullness) for n in (length, length + 1)
    )
    assert longer.total_cents >= shorter.total_cents


@given(starts, lengths, zones)
def test_a_booking_across_midnight_is_the_sum_of_its_days(start, length, zone):
    interval = Interval(start, start + length)
    for tariff in (BUSINESS, PLANNING):
        parts = [priced(part, tariff, zone=zone) for _, part in slots.days_of(zone, interval)]
        assert sum(cents(part, "rate") for part in parts) == cents(priced(interval, tariff, zone=zone), "rate")


@given(starts, lengths, zones)
def test_each_quarter_hour_is_priced_by_its_own_wall_clock(start, length, zone):
    """Against the operator's table written out once more, the long way."""

    def hourly(slot: int) -> int:
        day, minute = slots.local_clock(zone, slot)
        if day.weekday() >= 5 or minute >= 13 * 60:
            return 3500
        return 1500 if minute < 5 * 60 else 2500

    expected = sum(hourly(slot) for slot in range(start, start + length)) // 4
    assert cents(priced(Interval(start, start + length), zone=zone), "rate") == expected


# Which rate wins

OVERLAPPING = (
    Rate(name="a", label="A", cents_per_hour=1000),
    Rate(name="b", label="B", cents_per_hour=2000),
    Rate(name="c", label="C", cents_per_hour=3000, valid_from=date(2026, 1, 1)),
    Rate(name="d", label="D", cents_per_hour=4000, priority=1),
    Rate(name="e", label="E", cents_per_hour=5000, priority=2, from_clock="12:00", to_clock="13:00"),
)


def with_rates(*rates: Rate) -> Tariff:
    return Tariff(currency="CAD", base=(BaseRate(cents_per_hour=4000),), rates=tuple(rates))


@given(st.sampled_from(OVERLAPPING), st.sampled_from(OVERLAPPING), st.sampled_from(OVERLAPPING))
def test_any_two_rates_are_ordered(one, other, third):
    assert (pricing.rank(one) == pricing.rank(other)) is (one is other)
    if pricing.rank(one) <= pricing.rank(other) <= pricing.rank(third):
        assert pricing.rank(one) <= pricing.rank(third)


def test_the_winner_does_not_depend_on_the_order_of_the_list():
    noon, morning = span("2026-07-01T12:00", "2026-07-01T13:00"), span("2026-07-01T10:00", "2026-07-01T11:00")
    for order in permutations(OVERLAPPING):
        assert lines(priced(noon, with_rates(*order)), "rate") == [("E", 5000)]
        assert lines(priced(morning, with_rates(*order)), "rate") == [("D", 4000)]
    for order in permutations(OVERLAPPING[:3]):
        assert lines(priced(morning, with_rates(*order)), "rate") == [("C", 3000)], "the later valid_from wins"
    assert lines(priced(morning, with_rates(OVERLAPPING[1], OVERLAPPING[0])), "rate") == [("B", 2000)], "then the name"


def test_prices_change_on_their_day_even_within_a_booking():
    tariff = Tariff(
        currency="CAD",
        base=(BaseRate(cents_per_hour=4000), BaseRate(cents_per_hour=4400, valid_from=date(2026, 7, 2), label="New rate")),
        rates=(Rate(name="fair", label="Fair", cents_per_hour=1000, valid_from=date(2026, 7, 5), valid_until=date(2026, 7, 6)),),
    )
    assert lines(priced(span("2026-07-01T23:00", "2026-07-02T01:00"), tariff), "rate") == [("Standard rate", 4000), ("New rate", 4400)]
    for day, net in ((4, 4400), (5, 1000), (6, 1000), (7, 4400)):
        assert cents(priced(span(f"2026-07-0{day}T10:00", f"2026-07-0{day}T11:00"), tariff), "rate") == net


def test_a_resource_with_its_own_rate_keeps_it_but_for_steps_in_percent():
    clubs = Resource(id="bedford.clubs-1", name="Left-handed clubs", kind="equipment", hourly_cents=500)
    night, evening = span("2026-01-05T02:00", "2026-01-05T03:00"), span("2026-01-05T18:00", "2026-01-05T19:00")
    assert cents(priced(night, BUSINESS, resource=clubs), "rate") == 500
    assert cents(priced(evening, PLANNING, resource=clubs), "rate") == 600


# Demand (P3)


@pytest.mark.parametrize(("fullness", "percent"), [(0.0, 0), (0.5, 0), (0.51, 1), (0.6, 10), (0.75, 25), (0.999, 49), (1.0, 50)])
def test_demand_rises_with_how_full_it_is_up_to_the_cap(fullness, percent):
    price = priced(span("2026-01-05T12:00", "2026-01-05T13:00"), PLANNING, fullness=fullness)
    assert lines(price, "demand") == ([("High demand", 40 * percent)] if percent else [])


@given(fullnesses, fullnesses)
def test_fuller_never_costs_less_and_never_more_than_the_cap(one, other):
    demand = Demand(on=True, cap_percent=50, from_percent=30)
    low, high = (pricing.demand_percent(demand, fullness) for fullness in sorted((one, other)))
    assert 0 <= low <= high <= 50
    assert pricing.demand_percent(replace(demand, on=False), other) == 0


@pytest.mark.parametrize("fullness", [-0.1, 1.1, float("nan")])
def test_an_impossible_fullness_is_refused(fullness):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        priced(span("2026-01-05T12:00", "2026-01-05T13:00"), fullness=fullness)


# Discounts (P4)

SIX_PM = span("2026-01-05T18:00", "2026-01-05T19:00")  # Monday, $35


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ((), []),
        (("new",), []),
        (("promo",), [("Promotion, 25 % off", -875)]),
        (("club_plus",), [("Club+", -1750)]),
        (("promo", "club_plus"), [("Club+", -1750)]),
    ],
)
def test_discounts_do_not_stack_and_the_best_one_counts(tags, expected):
    price = priced(SIX_PM, customer=Customer(id="customer-0001", name="Testa Birdie", tags=tags))
    assert lines(price, "member") == expected
    assert cents(price, "tax") == pricing.half_up((3500 + cents(price, "member")) * 14, 100), "tax is on what is left"


def test_club_plus_is_half_on_weekdays_and_a_quarter_at_the_weekend_by_each_days_part():
    assert cents(priced(span("2026-01-10T18:00", "2026-01-10T19:00"), customer=CLUB), "member") == -875
    friday_night = priced(span("2026-01-09T23:00", "2026-01-10T01:00"), customer=CLUB)
    assert lines(friday_night, "member") == [("Club+", -(1750 + 875))]


def test_discounts_stack_where_the_data_say_so_and_never_below_nothing():
    tariff = replace(
        BUSINESS,
        discounts=(
            Discount(name="tag", label="Tag", percent=25, who=Who(tags=("promo",))),
            Discount(name="long", label="Long", percent=10, code="duration", from_min=120, stacks=True),
            Discount(name="crazy", label="Crazy", percent=90, who=Who(tiers=("GOLD",)), stacks=True),
        ),
    )
    two_hours = span("2026-01-05T18:00", "2026-01-05T20:00")
    both = priced(two_hours, tariff, customer=PROMO)
    assert lines(both, "member") + lines(both, "duration") == [("Tag", -1750), ("Long", -700)]
    gold = priced(two_hours, tariff, customer=replace(PROMO, tier="GOLD"))
    assert cents(gold, "member") + cents(gold, "duration") == -7000
    assert gold.total_cents == 0


def test_longer_is_cheaper_only_from_its_length_on():
    tariff = replace(BUSINESS, discounts=(Discount(name="long", label="Long", percent=20, code="duration", from_min=180),))
    assert lines(priced(span("2026-01-05T18:00", "2026-01-05T20:45"), tariff), "duration") == []
    assert lines(priced(span("2026-01-05T18:00", "2026-01-05T21:00"), tariff), "duration") == [("Long", -2100)]


@pytest.mark.parametrize(
    ("who", "customer", "expected"),
    [
        (Who(), None, True),
        (Who(tags=("promo",)), None, False),
        (Who(completed_min=1), None, False),
        (Who(completed_min=1), Customer(id="customer-0001", name="T", completed=1), True),
        (Who(completed_min=2), Customer(id="customer-0001", name="T", completed=1), False),
        (Who(tiers=("GOLD", "SILVER")), Customer(id="customer-0001", name="T", tier="SILVER"), True),
        (Who(tiers=("GOLD",)), Customer(id="customer-0001", name="T"), False),
        (Who(tiers=("GOLD",), tags=("promo",)), Customer(id="customer-0001", name="T", tier="GOLD"), False),
    ],
)
def test_whom_a_setting_is_for(who, customer, expected):
    assert pricing.fits(who, customer) is expected


# Codes (P4)

WINTER = PromoCode(
    text="WINTER",
    label="Winter",
    percent=20,
    site_ids=(SITE,),
    uses_max=100,
    customer_uses_max=1,
    valid_from=date(2026, 6, 1),
    valid_until=date(2026, 7, 1),
)


def with_codes(*codes: PromoCode) -> Tariff:
    return replace(BUSINESS, codes=codes)


def coded(code: PromoCode, *, used: int = 0, used_by_customer: int = 0, typed: str = "WINTER", now_at: int = NOW_AT, site_id: str = SITE):
    use = CodeUse(text=typed, used=used, used_by_customer=used_by_customer)
    return pricing.quote(BOX, SIX_PM, with_codes(code), zone=HALIFAX, site_id=site_id, now_at=now_at, code=use)


def test_a_good_code_takes_its_percent_off_however_it_is_typed():
    assert lines(coded(WINTER, typed=" winter "), "promo") == [("Winter", -700)]


def test_a_code_of_a_fixed_sum_never_takes_more_than_the_price():
    fixed = PromoCode(text="WINTER", label="Gift", cents=1000)
    assert lines(coded(fixed), "promo") == [("Gift", -1000)]
    assert coded(replace(fixed, cents=99_999)).total_cents == 0


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"typed": "SUMMER"}, "code_unknown"),
        ({"typed": ""}, "code_unknown"),
        ({"now_at": NOW_AT - 60 * 86_400}, "code_not_yet_valid"),
        ({"now_at": NOW_AT + 86_400}, "code_expired"),
        ({"site_id": "truro"}, "code_not_here"),
        ({"used": 100}, "code_used_up"),
        ({"used_by_customer": 1}, "code_used_up"),
    ],
)
def test_a_code_that_is_not_good_is_refused_with_the_reason(more, code):
    with pytest.raises(Refused) as refused:
        coded(WINTER, **more)
    assert refused.value.refusal.code == code
    assert refused.value.refusal.detail.endswith(".")


def test_the_limits_of_a_code_include_the_last_use_and_its_last_day_until_local_midnight():
    assert cents(coded(WINTER, used=99), "promo") == -700
    last_second = slots.at_of(slots.parse_local(HALIFAX, "2026-07-02T00:00")[0]) - 1
    assert cents(coded(WINTER, now_at=last_second), "promo") == -700
    with pytest.raises(Refused):
        coded(WINTER, now_at=last_second + 1)


def test_a_code_for_some_customers_is_refused_to_others():
    with pytest.raises(Refused) as refused:
        coded(replace(WINTER, who=Who(tags=("promo",))))
    assert refused.value.refusal.code == "code_not_for_customer"


def test_a_code_and_a_discount_do_not_stack_unless_the_code_says_so():
    def both(code: PromoCode) -> Price:
        return priced(SIX_PM, with_codes(code), customer=PROMO, code=CodeUse(text="WINTER"))

    assert [cents(both(WINTER), code) for code in ("member", "promo")] == [-875, 0]
    assert [cents(both(replace(WINTER, percent=30)), code) for code in ("member", "promo")] == [0, -1050]
    assert [cents(both(replace(WINTER, stacks=True)), code) for code in ("member", "promo")] == [-875, -700]


# Tax (P10) and fees


def test_tax_is_by_facility_and_by_the_day_of_the_start():
    taxes = (
        Tax(name="HST", rate_ppm=150_000),
        Tax(name="HST", rate_ppm=140_000, valid_from=date(2026, 7, 2)),
        Tax(name="HST", rate_ppm=130_000, site_ids=("toronto",)),
    )
    tariff = replace(BUSINESS, taxes=taxes)
    over_midnight, next_day = span("2026-07-01T23:00", "2026-07-02T01:00"), span("2026-07-02T00:00", "2026-07-02T01:00")
    assert lines(priced(over_midnight, tariff), "tax") == [("HST", 750)]
    assert lines(priced(next_day, tariff), "tax") == [("HST", 210)]
    elsewhere = pricing.quote(BOX, next_day, tariff, zone=HALIFAX, site_id="toronto", now_at=NOW_AT)
    assert lines(elsewhere, "tax") == [("HST", 195)]


def test_two_taxes_are_two_lines_and_neither_is_taxed():
    hour = span("2026-01-05T18:00", "2026-01-05T19:00")
    assert lines(priced(hour, ODD), "tax") == [("GST", 167), ("QST", 332)]  # 3333: 166.65 and 332.46675


def test_a_change_fee_is_a_line_that_is_taxed_and_not_discounted():
    price = priced(SIX_PM, customer=CLUB, change_fee_cents=1000)
    assert lines(price, "fee") == [("Change fee", 1000)]
    assert cents(price, "member") == -1750
    assert price.total_cents == 1750 + 1000 + 385


@pytest.mark.parametrize(("numerator", "denominator", "whole"), [(1, 2, 1), (3, 2, 2), (5, 10, 1), (49, 100, 0), (-1, 2, -1), (0, 7, 0)])
def test_halves_are_rounded_away_from_zero(numerator, denominator, whole):
    assert pricing.half_up(numerator, denominator) == whole


def test_an_impossible_question_is_refused():
    with pytest.raises(ValueError, match="end must lie after the start"):
        priced(Interval(10, 10))
    with pytest.raises(ValueError, match="cannot be negative"):
        priced(SIX_PM, change_fee_cents=-1)


# Orders


def test_a_group_pays_for_each_of_its_boxes():
    one = priced(SIX_PM)
    three = pricing.add([one, one, one])
    assert three.total_cents == 3 * one.total_cents
    assert lines(three, "rate") == [("Standard rate", 10_500)]
    assert [line.minutes for line in three.lines if line.code == "rate"] == [180]


@given(st.lists(st.tuples(starts, lengths, customers), min_size=1, max_size=5))
def test_the_price_of_an_order_is_the_sum_and_its_lines_add_up(bookings):
    prices = [priced(Interval(start, start + length), customer=customer) for start, length, customer in bookings]
    together = pricing.add(prices)
    assert together.total_cents == sum(price.total_cents for price in prices) == sum(line.cents for line in together.lines)
    assert [line.code for line in together.lines][-1] == "tax"


def test_prices_of_two_currencies_or_none_are_not_added():
    one = priced(SIX_PM)
    with pytest.raises(ValueError, match="one currency"):
        pricing.add([one, replace(one, currency="USD")])
    with pytest.raises(ValueError, match="one currency"):
        pricing.add([])
