"""Every rule refuses its bad request with its code, and without that rule the same request passes; ways out are near, priced and good."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared import pricing, rules, slots
from shared.errors import STATUS, Suggestion, status_of
from shared.model import Customer, Facility, Interval, Price, Resource, Restriction
from shared.policy import Hours, HoursException, Opening, OpenLimit, Policy, Who
from shared.profiles import profile
from shared.rules import RULES, Facts, Request, check, judge, suggest

HALIFAX = "America/Halifax"
BEDFORD = Facility(id="bedford", name="Bedford", zone=HALIFAX, word="Box")
BOXES = tuple(Resource(id=f"bedford.box-{n}", name=f"Bay {n}", number=n) for n in (1, 2, 3, 4))
BOX = BOXES[2]
POLICY, PLANNING = profile("business").policy, profile("planning").policy
TARIFF = profile("business").tariff
#: Wed 1 Jul 2026, 12:10 in Halifax
NOW_AT = int(datetime(2026, 7, 1, 15, 10, tzinfo=UTC).timestamp())
FACTS = Facts(facility=BEDFORD)
GUEST = Customer(id="customer-0001", name="Testa Birdie")
DAY_S, HOUR_S = 86_400, 3600


def span(start: str, end: str) -> Interval:
    return Interval(*(slots.parse_local(HALIFAX, f"2026-{text}")[0] for text in (start, end)))


TOMORROW = span("07-02T18:00", "07-02T19:00")


def asked(interval: Interval = TOMORROW, **more) -> Request:
    return Request(**{"resource": BOX, "interval": interval, "channel": "web", "now_at": NOW_AT, "customer": GUEST} | more)


def restricted(kind: str, **more) -> Customer:
    return replace(GUEST, restrictions=(Restriction(kind=kind, reason="was rude", **more),))


def codes(request: Request, facts: Facts = FACTS, policy: Policy = POLICY, table=RULES) -> list[str]:
    return [violation.code for violation in check(request, facts, policy, table)]


EVENINGS = replace(POLICY, hours=Hours(weekly=(Opening(opens="10:00", closes="18:30"),)))
CHANGED_TWICE = replace(FACTS, changes_so_far=2)
#: rule, code, row of the mission, request, facts, policy
BAD = [
    ("active", "resource_not_active", "B1", asked(resource=replace(BOX, active=False)), FACTS, POLICY),
    ("banned", "customer_blocked", "R9", asked(customer=restricted("ban")), FACTS, POLICY),
    ("unknown_restriction", "restriction_unknown", "R9", asked(customer=restricted("escort")), FACTS, POLICY),
    ("prepay", "prepay_only", "R9", asked(customer=restricted("prepay")), FACTS, POLICY),
    ("too_short", "duration_too_short", "R2", asked(span("07-02T18:00", "07-02T18:30")), FACTS, POLICY),
    ("wrong_step", "duration_step", "R2", asked(span("07-02T18:00", "07-02T19:15")), FACTS, POLICY),
    ("too_long", "duration_too_long", "R2", asked(span("07-02T18:00", "07-03T00:30")), FACTS, POLICY),
    ("off_grid", "off_grid", "B2", asked(span("07-02T18:15", "07-02T19:15")), FACTS, POLICY),
    ("in_the_past", "in_the_past", "R4", asked(span("07-01T11:00", "07-01T12:00"), channel="kiosk"), FACTS, POLICY),
    ("cut_off", "cut_off_passed", "R4", asked(span("07-01T13:00", "07-01T14:00")), FACTS, POLICY),
    ("horizon", "too_far_ahead", "R3", asked(span("07-15T12:30", "07-15T13:30")), FACTS, POLICY),
    ("closed", "outside_hours", "R6", asked(), FACTS, EVENINGS),
    ("open_limit", "too_many_open", "R5", asked(), replace(FACTS, open_bookings=2), POLICY),
    ("reschedule_limit", "reschedule_limit", "R7", asked(), CHANGED_TWICE, POLICY),
    ("wrong_guests", "too_many_guests", "B1", asked(guests=5), FACTS, POLICY),
    ("wrong_guests", "too_few_guests", "B1", asked(guests=0), FACTS, POLICY),
]


def test_a_good_request_breaks_no_rule():
    assert codes(asked()) == []
    assert codes(asked(customer=None, channel="kiosk")) == []
    assert judge(asked(), FACTS, POLICY) is None


@pytest.mark.parametrize(("rule", "code", "row", "request_", "facts", "policy"), BAD, ids=[case[1] for case in BAD])
def test_a_bad_request_is_refused_with_its_code_alone(rule, code, row, request_, facts, policy):
    (violation,) = check(request_, facts, policy)
    assert (violation.code, violation.rule) == (code, row)
    assert violation.detail[0].isupper() and violation.detail.endswith(".") and "_" not in violation.detail


@pytest.mark.parametrize(("rule", "code", "row", "request_", "facts", "policy"), BAD, ids=[case[1] for case in BAD])
def test_without_its_rule_the_bad_request_would_pass(rule, code, row, request_, facts, policy):
    without = {name: one for name, one in RULES.items() if name != rule}
    assert len(without) == len(RULES) - 1
    assert codes(request_, facts, policy, without) == []


def test_every_rule_has_a_bad_request():
    assert {case[0] for case in BAD} == set(RULES)


def test_all_broken_rules_are_named_at_once():
    late_and_long = asked(span("07-01T12:45", "07-01T19:15"), guests=9, customer=restricted("ban"))
    assert codes(late_and_long) == ["customer_blocked", "duration_too_long", "off_grid", "cut_off_passed", "too_many_guests"]


# The edges, both sides of each


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        (45, ["duration_too_short"]),
        (60, []),
        (75, ["duration_step"]),
        (90, []),
        (360, []),
        (375, ["duration_step", "duration_too_long"]),
        (390, ["duration_too_long"]),
    ],
)
def test_lengths(minutes, expected):
    assert codes(asked(Interval(TOMORROW.start, TOMORROW.start + minutes // 15))) == expected


@pytest.mark.parametrize(
    ("channel", "start", "expected"),
    [
        ("web", "07-01T13:00", ["cut_off_passed"]),
        ("web", "07-01T13:30", []),
        ("api", "07-01T13:00", ["cut_off_passed"]),
        ("clubos", "07-01T13:00", ["cut_off_passed"]),
        ("kiosk", "07-01T12:30", []),
        ("kiosk", "07-01T12:00", []),  # the row that is running, for a walk-in
        ("kiosk", "07-01T11:30", ["in_the_past"]),
        ("staff", "07-01T11:30", []),  # runs until 12:30
        ("staff", "07-01T11:00", ["in_the_past"]),  # ended at 12:00
        ("web", "07-01T11:30", ["in_the_past", "cut_off_passed"]),
    ],
)
def test_the_cut_off_is_the_webs_and_the_past_is_nobodys(channel, start, expected):
    (first,) = slots.parse_local(HALIFAX, f"2026-{start}")
    assert codes(asked(Interval(first, first + 4), channel=channel)) == expected


def test_the_cut_off_is_to_the_second():
    starts_at = slots.at_of(TOMORROW.start)
    assert codes(asked(now_at=starts_at - HOUR_S)) == []
    assert codes(asked(now_at=starts_at - HOUR_S + 1)) == ["cut_off_passed"]


@pytest.mark.parametrize(
    ("customer", "days"),
    [
        (None, 14),
        (GUEST, 14),
        (replace(GUEST, completed=1), 30),
        (replace(GUEST, tags=("tournament_host",)), 150),
        (replace(GUEST, tags=("tournament_host",), completed=9), 150),
    ],
)
def test_the_horizon_is_days_of_24_hours_and_fourteen_days_and_23_hours_are_too_far(customer, days):
    starts_at = slots.at_of(TOMORROW.start)
    assert codes(asked(customer=customer, now_at=starts_at - days * DAY_S)) == []
    assert codes(asked(customer=customer, now_at=starts_at - days * DAY_S - 1)) == ["too_far_ahead"]
    assert codes(asked(customer=customer, now_at=starts_at - days * DAY_S - 23 * HOUR_S)) == ["too_far_ahead"]


@pytest.mark.parametrize(("customer", "days"), [(GUEST, 14), (replace(GUEST, tags=("member",)), 30), (replace(GUEST, tier="GOLD"), 30)])
def test_the_planning_papers_let_members_book_thirty_days_ahead(customer, days):
    assert rules.horizon_days(PLANNING, customer) == days


def test_open_bookings_by_tier_and_by_restriction():
    policy = replace(POLICY, open_limits=(OpenLimit(who=Who(tiers=("GOLD",)), bookings=5),))
    gold = replace(GUEST, tier="GOLD")
    assert codes(asked(customer=gold), replace(FACTS, open_bookings=4), policy) == []
    assert codes(asked(customer=gold), replace(FACTS, open_bookings=5), policy) == ["too_many_open"]
    limited = replace(gold, restrictions=(Restriction(kind="limit", limit=1),))
    assert codes(asked(customer=limited), replace(FACTS, open_bookings=1), policy) == ["too_many_open"]
    assert codes(asked(customer=limited), replace(FACTS, open_bookings=0), policy) == []


def test_a_change_adds_no_open_booking():
    assert codes(asked(), replace(FACTS, open_bookings=2, changes_so_far=0)) == []


@pytest.mark.parametrize(("changes", "expected"), [(None, []), (0, []), (1, []), (2, ["reschedule_limit"]), (3, ["reschedule_limit"])])
def test_two_changes_then_staff(changes, expected):
    facts = replace(FACTS, changes_so_far=changes)
    assert codes(asked(), facts) == expected
    assert codes(asked(channel="staff"), facts) == []


def test_a_restriction_holds_at_its_facility_until_its_end():
    assert codes(asked(customer=restricted("ban", site_id="truro"))) == []
    assert codes(asked(customer=restricted("ban", site_id="bedford"))) == ["customer_blocked"]
    assert codes(asked(customer=restricted("ban", until_at=NOW_AT + 1))) == ["customer_blocked"]
    assert codes(asked(customer=restricted("ban", until_at=NOW_AT))) == []


def test_who_must_prepay_may_book_once_it_is_paid():
    assert codes(asked(customer=restricted("prepay"), prepaid=True)) == []


def test_the_reason_of_a_ban_is_not_told():
    (violation,) = check(asked(customer=restricted("ban")), FACTS, POLICY)
    assert "rude" not in violation.detail


def test_opening_hours_are_the_sites_own_where_it_has_them():
    closed = Hours(exceptions=(HoursException(from_day=date(2026, 7, 2), until_day=date(2026, 7, 2)),))
    assert codes(asked(), replace(FACTS, hours=closed)) == ["outside_hours"]
    assert codes(asked(), replace(FACTS, hours=Hours()), EVENINGS) == []
    assert rules.within_hours(BOX, TOMORROW, BEDFORD, closed).code == "outside_hours"
    assert rules.within_hours(BOX, TOMORROW, BEDFORD, Hours()) is None


def test_staff_pass_over_what_the_policy_names_and_nothing_else():
    everything = asked(span("07-01T13:00", "07-01T13:30"), channel="staff", guests=9, customer=restricted("ban"))
    strict = replace(POLICY, notice_min=replace(POLICY.notice_min, staff=120), staff_skip=())
    assert codes(everything, CHANGED_TWICE, strict) == [
        "customer_blocked", "duration_too_short", "cut_off_passed", "reschedule_limit", "too_many_guests",
    ]  # fmt: skip
    lenient = replace(strict, staff_skip=("cut_off_passed", "reschedule_limit", "duration_too_short"))
    assert codes(everything, CHANGED_TWICE, lenient) == ["customer_blocked", "too_many_guests"]
    web = replace(everything, channel="web")
    assert "reschedule_limit" in codes(web, CHANGED_TWICE, lenient), "only staff"


def test_sentences_say_the_facilitys_word_and_local_time():
    (long,) = check(asked(span("07-02T18:00", "07-03T00:30")), FACTS, POLICY)
    assert long.detail == "Box 3 can be booked for at most 6 hours at a time."
    (far,) = check(asked(span("07-15T12:30", "07-15T13:30")), FACTS, POLICY)
    assert far.detail == "You can book up to 14 days ahead; that is Wed 15 Jul 2026, 12:00 now."
    (shut,) = check(asked(), replace(FACTS, facility=replace(BEDFORD, word="Sim")), EVENINGS)
    assert shut.detail == "Sim 3 is not open during the whole time from Thu 2 Jul 2026, 18:00 to Thu 2 Jul 2026, 19:00."
    (full,) = check(asked(), replace(FACTS, open_bookings=2), POLICY)
    assert full.detail == "You have 2 open bookings; at most 2 at a time can be open."


def test_an_interval_without_length_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="end must lie after the start"):
        check(asked(Interval(10, 10)), FACTS, POLICY)


@given(st.integers(0, 30 * 96), st.integers(1, 40), st.sampled_from(["web", "kiosk", "staff", "api", "clubos"]))
def test_whatever_passes_is_on_the_grid_in_time_and_of_a_legal_length(ahead, length, channel):
    start = slots.slot_of(NOW_AT) - 96 + ahead
    request = asked(Interval(start, start + length), channel=channel)
    if not check(request, FACTS, POLICY):
        assert length in range(4, 25, 2) and start % 2 == 0
        assert slots.at_of(start + length) > NOW_AT
        assert slots.at_of(start) <= NOW_AT + 14 * DAY_S
        if channel not in ("kiosk", "staff"):
            assert slots.at_of(start) >= NOW_AT + HOUR_S


# Ways out (B13)


def price_of(resource: Resource, interval: Interval) -> Price:
    return pricing.quote(resource, interval, TARIFF, zone=HALIFAX, site_id="bedford", now_at=NOW_AT)


def ways(request: Request, free, *, facts: Facts = FACTS, policy: Policy = POLICY, **more) -> list[tuple[int, str]]:
    """The suggestions as (number of the box, local start)."""
    found = suggest(request, facts, policy, free, price_of, **more)
    return [(int(one.resource_id[-1]), slots.when(HALIFAX, one.start_at // 900)[4:]) for one in found]


WHOLE_DAY = span("07-02T00:00", "07-03T00:00")
ALL_FREE = [(box, (WHOLE_DAY,)) for box in BOXES]


def test_a_taken_slot_is_answered_with_the_neighbours_at_the_same_time():
    free = [(box, (WHOLE_DAY,) if box is not BOX else (span("07-02T00:00", "07-02T18:00"),)) for box in BOXES]
    assert ways(asked(), free) == [(2, "2 Jul 2026, 18:00"), (4, "2 Jul 2026, 18:00"), (1, "2 Jul 2026, 18:00")]


def test_where_one_box_is_all_there_is_the_nearest_times_are_named():
    free = [(BOX, (span("07-02T12:00", "07-02T18:00"), span("07-02T19:30", "07-02T23:00")))]
    assert ways(asked(), free) == [(3, "2 Jul 2026, 17:00"), (3, "2 Jul 2026, 16:30"), (3, "2 Jul 2026, 19:30")]


def test_a_suggestion_is_priced_for_its_own_time():
    free = [(BOX, (span("07-02T12:30", "07-02T13:30"),))]
    (found,) = suggest(asked(), FACTS, POLICY, free, price_of, instant=lambda resource, interval: False)
    start, end = (slots.at_of(slot) for slot in (span("07-02T12:30", "07-02T13:30").start, span("07-02T12:30", "07-02T13:30").end))
    assert found == Suggestion(
        resource_id=BOX.id, start_at=start, end_at=end, total_cents=3420, currency="CAD", instant=False
    )  # (1250 + 1750) and 14 %


def test_the_buffer_must_be_free_too_or_there_is_no_way_out():
    policy = replace(POLICY, buffer_min=15)
    assert rules.buffer_slots(policy) == 1
    tight, enough = span("07-02T20:00", "07-02T21:00"), span("07-02T20:00", "07-02T21:15")
    assert ways(asked(), [(BOX, (tight,))], policy=POLICY) == [(3, "2 Jul 2026, 20:00")], "without a buffer it would do"
    assert ways(asked(), [(BOX, (tight,))], policy=policy) == []
    assert ways(asked(), [(BOX, (enough,))], policy=policy) == [(3, "2 Jul 2026, 20:00")]


def test_a_wrong_length_or_start_is_put_right():
    for wrong in (span("07-02T18:00", "07-02T18:30"), span("07-02T18:15", "07-02T19:15")):
        request = asked(wrong)
        found = suggest(request, FACTS, POLICY, ALL_FREE, price_of, limit=1)
        assert [one.end_at - one.start_at for one in found] == [HOUR_S]
        assert found[0].start_at in (slots.at_of(span("07-02T18:00", "07-02T19:00").start), slots.at_of(wrong.start) + 900)
    (found,) = suggest(asked(span("07-02T10:00", "07-02T20:00")), FACTS, POLICY, ALL_FREE, price_of, limit=1)
    assert found.end_at - found.start_at == 6 * HOUR_S


def test_too_late_gives_the_next_and_too_far_the_last_time():
    month = [(BOX, (span("06-28T00:00", "07-28T00:00"),))]
    assert ways(asked(span("07-01T12:30", "07-01T13:30")), month, limit=1) == [(3, "1 Jul 2026, 13:30")]
    assert ways(asked(span("07-20T18:00", "07-20T19:00")), month, limit=1) == [(3, "15 Jul 2026, 12:00")]
    assert ways(asked(span("07-01T11:00", "07-01T12:00"), channel="kiosk"), month, limit=1) == [(3, "1 Jul 2026, 12:00")]


def test_closed_hours_are_skipped_however_many_boxes_there_are():
    policy = replace(POLICY, hours=Hours(weekly=(Opening(opens="10:00", closes="18:30"),)))
    many = [(replace(BOX, id=f"bedford.box-{n}", number=n), (span("07-02T00:00", "07-04T00:00"),)) for n in range(1, 30)]
    found = suggest(asked(span("07-03T02:00", "07-03T03:00")), FACTS, policy, many, price_of)
    assert [slots.when(HALIFAX, one.start_at // 900) for one in found] == ["Fri 3 Jul 2026, 10:00"] * 3


def test_only_the_same_kind_is_suggested():
    room = Resource(id="bedford.room-1", name="Lounge", kind="room")
    assert ways(asked(), [(room, (WHOLE_DAY,))]) == []


def test_a_bigger_box_is_a_way_out_for_too_many_guests():
    big = replace(BOXES[0], capacity=6)
    assert ways(asked(guests=5), [(big, (WHOLE_DAY,)), (BOX, (WHOLE_DAY,))], limit=1) == [(1, "2 Jul 2026, 18:00")]


@pytest.mark.parametrize(
    ("request_", "facts"),
    [
        (asked(customer=restricted("ban")), FACTS),
        (asked(customer=restricted("prepay")), FACTS),
        (asked(), replace(FACTS, open_bookings=2)),
        (asked(), CHANGED_TWICE),
    ],
)
def test_where_no_other_slot_helps_none_is_suggested(request_, facts):
    assert ways(request_, ALL_FREE, facts=facts) == []


@given(
    st.integers(-96, 20 * 96),
    st.integers(1, 30),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 800), st.integers(1, 60)), max_size=8),
    st.sampled_from(["web", "kiosk"]),
    st.sampled_from([POLICY, EVENINGS, replace(POLICY, buffer_min=30)]),
)
def test_every_suggestion_is_free_with_its_buffer_and_breaks_no_rule(ahead, length, runs, channel, policy):
    now = slots.slot_of(NOW_AT)
    request = asked(Interval(now + ahead, now + ahead + length), channel=channel)
    free = [(box, [Interval(now + at, now + at + n) for number, at, n in runs if number == index]) for index, box in enumerate(BOXES)]
    found = suggest(request, FACTS, policy, free, price_of)
    assert len(found) <= 3
    for one in found:
        interval = slots.interval_of(one.start_at, one.end_at)
        (box,) = (box for box in BOXES if box.id == one.resource_id)
        assert check(replace(request, resource=box, interval=interval), FACTS, policy) == ()
        need = Interval(interval.start, interval.end + rules.buffer_slots(policy))
        assert any(run.start <= need.start and need.end <= run.end for run in dict((b.id, r) for b, r in free)[box.id])
        assert one.total_cents == price_of(box, interval).total_cents


@given(
    st.integers(8, 6 * 96),
    st.integers(1, 26),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 800), st.integers(4, 60)), max_size=6, unique_by=lambda run: run[0]),
    st.sampled_from([POLICY, EVENINGS, replace(POLICY, buffer_min=30)]),
)
def test_the_suggestions_are_those_that_trying_everything_would_find_first(ahead, length, runs, policy):
    now = slots.slot_of(NOW_AT)
    request = asked(Interval(now + ahead, now + ahead + length))
    wide = min(max(4, length + length % 2), 24)
    free = {BOXES[index]: Interval(now + at, now + at + n) for index, at, n in runs}
    every = []
    for box, run in free.items():
        for start in range(run.start, run.end - wide - rules.buffer_slots(policy) + 1):
            if not check(replace(request, resource=box, interval=Interval(start, start + wide)), FACTS, policy):
                distance = abs(start - request.interval.start)
                every.append((distance, box is not BOX, abs(box.number - BOX.number), box.id, start))
    found = suggest(request, FACTS, policy, [(box, (run,)) for box, run in free.items()], price_of)
    near = [one for one in sorted(every) if one[0] <= rules.SUGGEST_REACH_SLOTS]
    assert [(one.resource_id, one.start_at // 900) for one in found] == [one[3:] for one in near[:3]]


# The refusal


def test_a_refusal_names_every_rule_and_the_ways_out():
    refusal = judge(asked(span("07-02T18:15", "07-02T18:45")), FACTS, POLICY, ALL_FREE, price_of)
    assert refusal.code == "rules_violated" and status_of(refusal.code) == 422
    assert [one.code for one in refusal.violations] == ["duration_too_short", "off_grid"]
    assert all(one.detail in refusal.detail for one in refusal.violations)
    assert len(refusal.suggestions) == 3


def test_a_refusal_without_a_way_to_price_has_no_suggestions():
    assert judge(asked(guests=9), FACTS, POLICY).suggestions == ()


@pytest.mark.parametrize(
    ("request_", "facts", "code"),
    [
        (asked(customer=restricted("ban"), guests=9), FACTS, "customer_blocked"),
        (asked(), CHANGED_TWICE, "reschedule_limit"),
        (asked(guests=9), CHANGED_TWICE, "rules_violated"),
        (asked(guests=9), FACTS, "rules_violated"),
    ],
)
def test_a_rule_with_a_status_of_its_own_gives_the_refusal_its_code(request_, facts, code):
    refusal = judge(request_, facts, POLICY)
    assert refusal.code == code in STATUS
