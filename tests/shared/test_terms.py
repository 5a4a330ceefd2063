"""What cancelling and changing cost, in the operator's profile and in the planning papers'."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.model import Customer, Price, PriceLine
from shared.policy import CancelStep, ChangeFee, Deposit, Policy, Who
from shared.profiles import profile
from shared.terms import Change, Refund, cancellation, change_fee, deposit_cents

BUSINESS, PLANNING = profile("business").policy, profile("planning").policy
STARTS_AT = 1_782_907_200
MINUTE, HOUR, DAY = 60, 3600, 86_400
PRICE = Price(currency="CAD", total_cents=4561, lines=(PriceLine(code="rate", label="Standard rate", cents=4561),))
TODAY = date(2026, 7, 1)


def back(policy: Policy, before_s: int, **more) -> Refund:
    return cancellation(policy, PRICE, starts_at=STARTS_AT, now_at=STARTS_AT - before_s, **more)


@pytest.mark.parametrize(
    ("before_s", "cents", "rule"),
    [
        (30 * DAY, 4561, "full_refund"),
        (24 * HOUR, 4561, "full_refund"),
        (24 * HOUR - 1, 2281, "part_refund"),  # half of 4561, halves up
        (2 * HOUR, 2281, "part_refund"),
        (2 * HOUR - 1, 0, "no_refund"),
        (0, 0, "no_refund"),
        (-HOUR, 0, "no_refund"),
    ],
)
def test_the_planning_papers_refund_in_steps(before_s, cents, rule):
    assert back(PLANNING, before_s) == Refund(cents=cents, kept_cents=4561 - cents, rule=rule)


@pytest.mark.parametrize(("before_s", "cents"), [(DAY, 4561), (1, 4561), (0, 4561), (-1, 0)])
def test_the_operator_refunds_in_full_until_the_start(before_s, cents):
    assert back(BUSINESS, before_s).cents == cents


@pytest.mark.parametrize(
    ("earlier_days", "flag"),
    [
        ((), ""),
        ((1,), ""),
        ((1, 29), "many_cancellations"),
        ((1, 30), ""),  # 30 days ago is no longer within 30 days
        ((1, 2, 3), "many_cancellations"),
        ((-1, -2), ""),  # what is yet to come does not count
    ],
)
def test_the_third_cancellation_in_thirty_days_raises_a_flag(earlier_days, flag):
    earlier = [STARTS_AT - DAY - days * DAY for days in earlier_days]
    assert back(BUSINESS, DAY, cancelled_at=earlier).flag == flag
    assert back(PLANNING, DAY, cancelled_at=earlier).flag == "", "the planning papers have no such flag"


def test_staff_may_waive_with_a_reason():
    assert back(PLANNING, 0, waive_reason="burst pipe") == Refund(cents=4561, kept_cents=0, rule="waived")
    assert back(PLANNING, 0, waive_reason="  ").rule == "no_refund"
    assert back(PLANNING, 30 * DAY, waive_reason="burst pipe").rule == "full_refund"


def test_steps_can_be_for_a_tier():
    policy = replace(PLANNING, cancellation=(*PLANNING.cancellation, CancelStep(before_min=60, percent=100, who=Who(tiers=("GOLD",)))))
    gold = Customer(id="customer-0001", name="Testa Birdie", tier="GOLD")
    assert back(policy, HOUR, customer=gold).rule == "full_refund"
    assert back(policy, HOUR).rule == "no_refund"


@given(st.integers(0, 100_000), st.integers(-DAY, 3 * DAY), st.integers(0, DAY), st.sampled_from([BUSINESS, PLANNING]))
def test_what_comes_back_and_what_is_kept_add_up_and_earlier_never_gets_less(total, before_s, earlier_s, policy):
    price = Price(currency="CAD", total_cents=total)
    one, earlier = (
        cancellation(policy, price, starts_at=STARTS_AT, now_at=STARTS_AT - seconds) for seconds in (before_s, before_s + earlier_s)
    )
    assert one.cents + one.kept_cents == total and min(one.cents, one.kept_cents) >= 0
    assert earlier.cents >= one.cents


@pytest.mark.parametrize("policy", [BUSINESS, PLANNING])
def test_the_first_change_is_free_the_second_costs_ten_dollars_and_a_flag_then_staff(policy):
    assert [change_fee(policy, done, TODAY) for done in range(3)] == [
        Change(fee_cents=0),
        Change(fee_cents=1000, flag="changed_again"),
        Change(fee_cents=1000, flag="changed_again", staff_only=True),
    ]


def test_a_fee_counts_from_its_day():
    policy = replace(BUSINESS, change_fees=(*BUSINESS.change_fees, ChangeFee(change=2, cents=1500, valid_from=date(2026, 7, 2))))
    assert [change_fee(policy, 1, date(2026, 7, day)).fee_cents for day in (1, 2)] == [1000, 1500]
    later = replace(BUSINESS, change_fees=(ChangeFee(change=1, cents=500), ChangeFee(change=2, cents=900, valid_from=date(2026, 7, 2))))
    assert change_fee(later, 1, TODAY).fee_cents == 500, "a fee that is not in force yet leaves the one before it"


def test_without_fees_every_change_is_free():
    assert change_fee(replace(BUSINESS, change_fees=()), 1, TODAY) == Change(fee_cents=0)


def test_a_negative_number_of_changes_is_a_mistake():
    with pytest.raises(ValueError, match="cannot be negative"):
        change_fee(BUSINESS, -1, TODAY)


def test_the_deposit_is_part_of_the_price_and_counts_from_its_day():
    assert deposit_cents(BUSINESS, PRICE, TODAY) == 1000
    assert deposit_cents(BUSINESS, replace(PRICE, total_cents=400), TODAY) == 400
    assert deposit_cents(PLANNING, PRICE, TODAY) == 0
    dearer = replace(BUSINESS, deposits=(*BUSINESS.deposits, Deposit(cents=1200, valid_from=date(2026, 7, 2))))
    assert [deposit_cents(dearer, PRICE, date(2026, 7, day)) for day in (1, 2)] == [1000, 1200]
