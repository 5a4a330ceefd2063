"""What it costs to cancel (R8) and to change (R12) a booking, and what is due at booking.

Not here: whether a change is allowed (`rules`, R7), the price of the new booking (`pricing`), the paying. Everything is judged at the
moment of asking, however long the answer takes (terr-9). Invariant: what comes back and what is kept add up to the price.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from shared.model import Customer, Frozen, Price
from shared.policy import Policy
from shared.pricing import fits, half_up, in_force, latest

DAY_S = 86_400


class Refund(Frozen, frozen=True, kw_only=True):
    """What a cancellation gives back and keeps, both in cents. `rule`: full_refund, part_refund, no_refund or waived; `flag` for staff."""

    cents: int
    kept_cents: int
    rule: str
    flag: str = ""


class Change(Frozen, frozen=True, kw_only=True):
    """What the next change costs, whether it is flagged, and whether only staff may make it."""

    fee_cents: int
    flag: str = ""
    staff_only: bool = False


def cancellation(
    policy: Policy,
    price: Price,
    *,
    starts_at: int,
    now_at: int,
    customer: Customer | None = None,
    cancelled_at: Iterable[int] = (),
    waive_reason: str = "",
) -> Refund:
    """What cancelling at `now_at` gives back (R8), judged at the moment of asking: the most generous step that still holds.

    `cancelled_at` are the customer's earlier cancellations: with this one `cancel_flag_count` of them within `cancel_flag_days` raise
    the flag `many_cancellations`. Staff may waive what would be kept, with a reason.
    """
    left_s = starts_at - now_at
    steps = (one.percent for one in policy.cancellation if left_s >= one.before_min * 60 and fits(one.who, customer))
    percent = max(steps, default=0)
    since_at = now_at - policy.cancel_flag_days * DAY_S
    recent = 1 + sum(since_at < at <= now_at for at in cancelled_at)
    flag = "many_cancellations" if policy.cancel_flag_count and recent >= policy.cancel_flag_count else ""
    if waive_reason.strip() and percent < 100:
        return Refund(cents=price.total_cents, kept_cents=0, rule="waived", flag=flag)
    back = half_up(price.total_cents * percent, 100)
    rule = "full_refund" if percent == 100 else "part_refund" if percent else "no_refund"
    return Refund(cents=back, kept_cents=price.total_cents - back, rule=rule, flag=flag)


def change_fee(policy: Policy, changes_so_far: int, day: date) -> Change:
    """What the next change costs when asked on this local day (R12); after the listed changes the last one's fee goes on."""
    if changes_so_far < 0:
        raise ValueError(f"The number of changes cannot be negative; {changes_so_far} is.")
    listed = [one for one in policy.change_fees if one.change <= changes_so_far + 1 and in_force(one, day)]
    number = max((one.change for one in listed), default=0)
    fee = latest([one for one in listed if one.change == number], day)
    return Change(
        fee_cents=fee.cents if fee else 0,
        flag="changed_again" if fee and fee.flag else "",
        staff_only=changes_so_far >= policy.reschedule_max,
    )


def deposit_cents(policy: Policy, price: Price, day: date) -> int:
    """The part of the price that is due at booking and kept on a no-show: the deposit in force on this local day, never more than all."""
    deposit = latest(policy.deposits, day)
    return min(deposit.cents, price.total_cents) if deposit else 0
