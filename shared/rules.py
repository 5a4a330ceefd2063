"""May this customer have these slots? (R1-R7, R9) Violations with stable codes, and ways out with their prices (B13).

The asking side judges with this: customer, times, limits. Not here: whether the slots are free (claims, in the database), whose they
are (`territory`), what they cost (`pricing`), what cancelling and changing cost (`terms`). The owner of the slots asks `within_hours`
alone (terr-6). The buffer (R6) is claimed behind a booking (`buffer_slots`), so the claims keep it, not a rule.

Each rule is one function of `RULES`; a request is good when none objects. `channel` is what the handler knows of the asker, never what
a client says of itself. Invariant: the same request, facts and policy get the same answer on both sides.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from msgspec.structs import replace

from shared import slots
from shared.errors import STATUS, Refusal, Suggestion, Violation
from shared.model import Channel, Customer, Facility, Frozen, Interval, Price, Resource, Restriction
from shared.policy import Hours, Policy
from shared.pricing import fits

DAY_S = 86_400
#: how far from the wished time a way out may lie, and how many are looked at before giving up
SUGGEST_REACH_SLOTS = 7 * 96
SUGGEST_TRIES_MAX = 400

#: the time, the length or the bay can be changed; for the other codes no other slot helps
MOVABLE = frozenset(
    {
        "duration_too_short", "duration_step", "duration_too_long", "off_grid", "too_far_ahead", "cut_off_passed",
        "in_the_past", "outside_hours", "too_many_guests", "resource_not_active",
    }
)  # fmt: skip
CHANNEL_WORDS: dict[Channel, str] = {"web": "on the web", "kiosk": "at the kiosk", "staff": "by staff"}


class Request(Frozen, frozen=True, kw_only=True):
    """What is asked: one resource, one interval, at `now_at`. `guests` come to this resource; `prepaid` when paid before it stands."""

    resource: Resource
    interval: Interval
    channel: Channel
    now_at: int
    customer: Customer | None = None
    guests: int = 1
    prepaid: bool = False


class Facts(Frozen, frozen=True, kw_only=True):
    """What the books say. `open_bookings` by `bookings.counts_as_open`, orders as one, without what this request replaces.

    `changes_so_far` is None for a new booking (and an extension). `hours` is the site's own document, None means the profile's.
    """

    facility: Facility
    open_bookings: int = 0
    changes_so_far: int | None = None
    hours: Hours | None = None


Rule = Callable[[Request, Facts, Policy], Violation | None]


def called(resource: Resource, facility: Facility) -> str:
    """The resource as people say it: the facility's word and the number ("Box 3"), else its name."""
    return f"{facility.word} {resource.number}" if resource.number and resource.kind == "simulator" else resource.name


def length(minutes: int) -> str:
    """Minutes for a sentence: "90 minutes", "2 hours", "1 hour"."""
    if minutes % 60:
        return f"{minutes} minutes"
    return "1 hour" if minutes == 60 else f"{minutes // 60} hours"


def _times(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def too_short(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R2: at least `min_min`."""
    if slots.minutes_of(request.interval) >= policy.min_min:
        return None
    detail = f"{called(request.resource, facts.facility)} can be booked for {length(policy.min_min)} or more."
    return Violation("R2", "duration_too_short", detail, str(policy.min_min))


def wrong_step(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R2: whole steps of `step_min` on top of `min_min`; what is too short is another matter."""
    over = slots.minutes_of(request.interval) - policy.min_min
    if over <= 0 or over % policy.step_min == 0:
        return None
    detail = f"A booking is {length(policy.min_min)} and then longer by steps of {length(policy.step_min)}."
    return Violation("R2", "duration_step", detail, str(policy.step_min))


def too_long(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R2: at most `max_min`."""
    if slots.minutes_of(request.interval) <= policy.max_min:
        return None
    detail = f"{called(request.resource, facts.facility)} can be booked for at most {length(policy.max_min)} at a time."
    return Violation("R2", "duration_too_long", detail, str(policy.max_min))


def off_grid(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """B2: the start lies on the facility's grid, by its wall clock."""
    if slots.local_minute(facts.facility.zone, request.interval.start) % policy.grid_min == 0:
        return None
    starts = " and ".join(f":{at:02}" for at in range(0, 60, policy.grid_min))
    return Violation("B2", "off_grid", f"Bookings start at {starts}.", str(policy.grid_min))


def in_the_past(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R4: nobody books what is over. Staff may enter what is running; others only the grid row that is running (a walk-in)."""
    if request.channel == "staff":
        past = slots.at_of(request.interval.end) <= request.now_at
    else:
        past = slots.at_of(request.interval.start) + policy.grid_min * 60 <= request.now_at
    if not past:
        return None
    begins = slots.when(facts.facility.zone, request.interval.start)
    return Violation("R4", "in_the_past", f"{begins} is already past.")


def cut_off(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R4: so many minutes before the start, by channel; 0 is no cut-off."""
    notice = getattr(policy.notice_min, request.channel)
    if not notice or slots.at_of(request.interval.start) - request.now_at >= notice * 60:
        return None
    how = CHANNEL_WORDS.get(request.channel, "this way")
    detail = f"{called(request.resource, facts.facility)} can be booked {how} until {length(notice)} before the start."
    return Violation("R4", "cut_off_passed", detail, str(notice))


def horizon_days(policy: Policy, customer: Customer | None) -> int:
    """How many days ahead this customer may book: the most generous line that fits (R3)."""
    return max([policy.horizon_days, *(one.days for one in policy.horizons if fits(one.who, customer))])


def horizon(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R3: days of 24 hours, to the second: 14 days and 23 hours are more than 14 days."""
    days = horizon_days(policy, request.customer)
    last_at = request.now_at + days * DAY_S
    if slots.at_of(request.interval.start) <= last_at:
        return None
    last = slots.when(facts.facility.zone, slots.slot_of(last_at))
    return Violation("R3", "too_far_ahead", f"You can book up to {_times(days, 'day', 'days')} ahead; that is {last} now.", str(days))


def restrictions_of(request: Request, facts: Facts) -> Iterable[Restriction]:
    """The customer's restrictions that are in force now and here (R9)."""
    for one in request.customer.restrictions if request.customer else ():
        if one.site_id in ("", facts.facility.id) and (not one.until_at or request.now_at < one.until_at):
            yield one


def open_limit(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R5: open bookings per customer; a restriction of the kind `limit` (R9) goes before the generous lines. A change adds none."""
    if facts.changes_so_far is not None:
        return None
    limit = max([policy.open_max, *(one.bookings for one in policy.open_limits if fits(one.who, request.customer))])
    limit = min([limit, *(one.limit for one in restrictions_of(request, facts) if one.kind == "limit")])
    if facts.open_bookings < limit:
        return None
    detail = f"You have {_times(facts.open_bookings, 'open booking', 'open bookings')}; at most {limit} at a time can be open."
    return Violation("R5", "too_many_open", detail, str(limit))


def within_hours(resource: Resource, interval: Interval, facility: Facility, hours: Hours) -> Violation | None:
    """R6: open during the whole interval. The owner of the slots asks this alone (terr-6)."""
    if slots.is_open(hours, resource.id, facility.zone, interval):
        return None
    begins, ends = slots.when(facility.zone, interval.start), slots.when(facility.zone, interval.end)
    detail = f"{called(resource, facility)} is not open during the whole time from {begins} to {ends}."
    return Violation("R6", "outside_hours", detail)


def closed(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R6: opening hours, the site's own where it has them."""
    return within_hours(request.resource, request.interval, facts.facility, facts.hours or policy.hours)


def reschedule_limit(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R7 (and the "then staff" of R12): so many changes per booking."""
    if facts.changes_so_far is None or facts.changes_so_far < policy.reschedule_max:
        return None
    done = _times(facts.changes_so_far, "time", "times")
    detail = f"This booking has been changed {done} already; please ask our staff to change it again."
    return Violation("R7", "reschedule_limit", detail, str(policy.reschedule_max))


def banned(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R9: a ban, of the network or of this facility. Its reason is for staff and not said here."""
    if not any(one.kind == "ban" for one in restrictions_of(request, facts)):
        return None
    return Violation("R9", "customer_blocked", "This customer cannot book here at present. Please call us.")


def prepay(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R9: some customers pay first."""
    if request.prepaid or not any(one.kind == "prepay" for one in restrictions_of(request, facts)):
        return None
    return Violation("R9", "prepay_only", "This booking must be paid before it is confirmed.")


def unknown_restriction(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """R9: a restriction of a kind that a newer peer wrote is honoured by asking, never by ignoring it."""
    if all(one.kind in ("ban", "prepay", "limit") for one in restrictions_of(request, facts)):
        return None
    return Violation("R9", "restriction_unknown", "This customer has a restriction that must be looked at first. Please ask our staff.")


def wrong_guests(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """B1: as many people as the resource takes, and somebody."""
    if request.guests < 1:
        return Violation("B1", "too_few_guests", "A booking is for at least one person.", "1")
    if request.guests <= request.resource.capacity:
        return None
    people = _times(request.resource.capacity, "person", "people")
    detail = f"{called(request.resource, facts.facility)} takes up to {people}; you asked for {request.guests}."
    return Violation("B1", "too_many_guests", detail, str(request.resource.capacity))


def active(request: Request, facts: Facts, policy: Policy) -> Violation | None:
    """B1: what has been taken out of sale is not booked."""
    if request.resource.active:
        return None
    return Violation("B1", "resource_not_active", f"{called(request.resource, facts.facility)} cannot be booked at present.")


RULES: dict[str, Rule] = {
    "active": active,
    "banned": banned,
    "unknown_restriction": unknown_restriction,
    "prepay": prepay,
    "too_short": too_short,
    "wrong_step": wrong_step,
    "too_long": too_long,
    "off_grid": off_grid,
    "in_the_past": in_the_past,
    "cut_off": cut_off,
    "horizon": horizon,
    "closed": closed,
    "open_limit": open_limit,
    "reschedule_limit": reschedule_limit,
    "wrong_guests": wrong_guests,
}


def check(request: Request, facts: Facts, policy: Policy, rules: Mapping[str, Rule] = RULES) -> tuple[Violation, ...]:
    """Every rule that the request breaks, in the order of `RULES`; none means that it may be asked of the books.

    Staff pass over the codes that the policy names in `staff_skip`. ValueError for an interval without length: nobody asked for it.
    """
    if request.interval.end <= request.interval.start:
        raise ValueError("The end must lie after the start.")
    found = [violation for rule in rules.values() if (violation := rule(request, facts, policy))]
    if found and request.channel == "staff":
        found = [one for one in found if one.code not in policy.staff_skip]
    return tuple(found)


def buffer_slots(policy: Policy) -> int:
    """How many slots behind a booking are claimed with it (R6)."""
    return policy.buffer_min // slots.SLOT_MIN


def legal_slots(interval: Interval, policy: Policy) -> int:
    """The nearest allowed length, rounded up to the step, in slots."""
    minutes = max(slots.minutes_of(interval), policy.min_min)
    minutes += -(minutes - policy.min_min) % policy.step_min
    longest = policy.max_min - (policy.max_min - policy.min_min) % policy.step_min
    return min(minutes, longest) // slots.SLOT_MIN


def window_of(request: Request, policy: Policy) -> Interval:
    """The starts (slots) that the clock leaves: from cut-off to horizon, near the wished time or as near as it goes."""
    notice_s = getattr(policy.notice_min, request.channel) * 60
    # without a cut-off the grid row that is running can be had too
    first_at = request.now_at + (notice_s or 1 - policy.grid_min * 60)
    first = -(-first_at // slots.SLOT_S)
    last = slots.slot_of(request.now_at + horizon_days(policy, request.customer) * DAY_S)
    wished = _wished(request, Interval(first, last))
    return Interval(max(first, wished - SUGGEST_REACH_SLOTS), min(last, wished + SUGGEST_REACH_SLOTS))


def _wished(request: Request, window: Interval) -> int:
    return max(window.start, min(request.interval.start, window.end))


def nearest_first(low: int, high: int, wished: int) -> Iterator[int]:
    """The numbers from `low` to `high`, both included, by their distance from `wished`; of two equally near the lower first."""
    after = max(low, wished)
    before = min(high, after - 1)
    while after <= high or before >= low:
        if after > high or (before >= low and wished - before <= after - wished):
            yield before
            before -= 1
        else:
            yield after
            after += 1


def _starts(policy: Policy, free: Interval, window: Interval, wide: int) -> tuple[int, int]:
    """The first and the last start (slots) of something so long, with its buffer, in a free interval; none where the first is the later."""
    return max(free.start, window.start), min(free.end - wide - buffer_slots(policy), window.end)


def _candidates(
    request: Request, facts: Facts, policy: Policy, resource: Resource, free: Interval, order: tuple, window: Interval
) -> Iterator[tuple[tuple, Resource, Interval]]:
    """What of one free interval could be had instead, within the starts that the clock leaves: open, on the grid, nearest first, each with
    its key of order."""
    wide = legal_slots(request.interval, policy)
    wished, zone = _wished(request, window), facts.facility.zone
    first, last = _starts(policy, free, window, wide)
    if first > last:
        return
    possible = Interval(first, last + wide)
    runs = slots.open_between(facts.hours or policy.hours, resource.id, zone, possible)
    starts = [nearest_first(run.start, run.end - wide, wished) for run in runs]
    for start in starts[0] if len(starts) == 1 else heapq.merge(*starts, key=lambda at: abs(at - wished)):
        if slots.local_minute(zone, start) % policy.grid_min == 0:
            yield (abs(start - wished), *order, start), resource, Interval(start, start + wide)


def suggest(
    request: Request,
    facts: Facts,
    policy: Policy,
    free: Iterable[tuple[Resource, Iterable[Interval]]],
    price_of: Callable[[Resource, Interval], Price],
    *,
    limit: int = 3,
    instant: Callable[[Resource, Interval], bool] | None = None,
) -> tuple[Suggestion, ...]:
    """The nearest ways out: resources of the same kind, the nearest time first, at one time the wished bay and then its neighbours.

    `free` says per resource which slots nobody has claimed; a suggestion and its buffer lie within one of them and break no rule. The
    length is kept where it is allowed, else the nearest that is. `instant` says what this side can sell itself; None means all of it.
    Nothing is suggested where no other slot would help (a ban, too many open bookings ...).
    """
    if any(one.code not in MOVABLE for one in check(request, facts, policy)):
        return ()
    window, wide = window_of(request, policy), legal_slots(request.interval, policy)
    wished, runs = _wished(request, window), []
    for resource, intervals in free:
        if resource.kind == request.resource.kind:
            order = (resource.id != request.resource.id, abs(resource.number - request.resource.number), resource.id)
            for one in intervals:
                first, last = _starts(policy, one, window, wide)
                if first <= last:
                    far = max(first - wished, wished - last, 0)
                    runs.append((far, *order, len(runs), _candidates(request, facts, policy, resource, one, order, window)))
    found: list[tuple[Resource, Interval]] = []
    for resource, interval in islice(_by_nearness(runs), SUGGEST_TRIES_MAX):
        if len(found) == limit:
            break
        if not check(replace(request, resource=resource, interval=interval), facts, policy):
            found.append((resource, interval))
    return tuple(_suggestion(resource, interval, price_of(resource, interval), instant) for resource, interval in found)


def _by_nearness(runs: list[tuple]) -> Iterator[tuple[Resource, Interval]]:
    """The candidates of all free intervals, nearest first. `runs`: how near the interval comes, its order, its number, its candidates;
    one that lies further off than what is found is not looked into."""
    waiting = sorted(runs, key=lambda run: run[:-1], reverse=True)
    under_way: list[tuple] = []
    while waiting or under_way:
        while waiting and not (under_way and under_way[0][0][:-1] < waiting[-1][:-2]):
            *_, number, candidates = waiting.pop()
            _step(under_way, number, candidates)
        if under_way:
            _, number, resource, interval, candidates = heapq.heappop(under_way)
            yield resource, interval
            _step(under_way, number, candidates)


def _step(under_way: list[tuple], number: int, candidates: Iterator[tuple[tuple, Resource, Interval]]) -> None:
    """The next of these candidates waits among the others."""
    for key, resource, interval in candidates:
        heapq.heappush(under_way, (key, number, resource, interval, candidates))
        return


def _suggestion(resource: Resource, interval: Interval, price: Price, instant: Callable[[Resource, Interval], bool] | None) -> Suggestion:
    return Suggestion(
        resource_id=resource.id,
        start_at=slots.at_of(interval.start),
        end_at=slots.at_of(interval.end),
        total_cents=price.total_cents,
        currency=price.currency,
        instant=instant is None or instant(resource, interval),
    )


def judge(
    request: Request,
    facts: Facts,
    policy: Policy,
    free: Iterable[tuple[Resource, Iterable[Interval]]] = (),
    price_of: Callable[[Resource, Interval], Price] | None = None,
    *,
    limit: int = 3,
    instant: Callable[[Resource, Interval], bool] | None = None,
) -> Refusal | None:
    """None if no rule objects, else one refusal with every violated rule and priced ways out.

    Its code is `rules_violated`, or the rule's own where that has a status of its own (`errors.STATUS`): a ban goes before all others,
    any other stands alone.
    """
    violations = check(request, facts, policy)
    if not violations:
        return None
    ways = suggest(request, facts, policy, free, price_of, limit=limit, instant=instant) if price_of else ()
    return replace(refusal_of(violations), suggestions=ways)


def refusal_of(violations: tuple[Violation, ...]) -> Refusal:
    """One refusal that names every violated rule, of which there is at least one; see `judge` for its code."""
    codes = [one.code for one in violations]
    code = "rules_violated"
    if "customer_blocked" in codes:
        code = "customer_blocked"
    elif len(codes) == 1 and codes[0] in STATUS:
        code = codes[0]
    return Refusal(code, " ".join(one.detail for one in violations), violations=violations)
