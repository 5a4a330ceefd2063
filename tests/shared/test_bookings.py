"""The state machine: every pair of statuses is either in the table or refused with a code."""

from typing import get_args

import pytest

from shared import bookings
from shared.errors import STATUS, Refused
from shared.model import Attended, Shown, Status

ATTENDED = get_args(Attended)
EVERY_MOVE = [(one, to) for one in bookings.STATUSES for to in bookings.STATUSES]
MOVES = {
    ("requested", "confirmed"),
    ("requested", "declined"),
    ("requested", "cancelled"),
    ("requested", "expired"),
    ("pending", "confirmed"),
    ("pending", "declined"),
    ("pending", "cancelled"),
    ("confirmed", "cancelling"),
    ("confirmed", "cancelled"),
    ("cancelling", "cancelled"),
    ("cancelling", "confirmed"),
}
ATTENDANCE_MOVES = {("", "checked_in"), ("", "no_show"), ("checked_in", "completed"), ("no_show", "checked_in")}


def test_the_tables_know_every_status_and_attendance():
    assert set(bookings.LEGAL) == set(bookings.STATUSES)
    assert set(bookings.LEGAL_ATTENDANCE) == set(ATTENDED)


@pytest.mark.parametrize(("status", "to"), EVERY_MOVE)
def test_a_status_moves_only_where_the_table_says(status: Status, to: Status):
    if (status, to) in MOVES:
        assert bookings.may_move(status, to) is None
        assert bookings.move(status, to) == to
    else:
        with pytest.raises(Refused) as refused:
            bookings.move(status, to)
        assert STATUS[refused.value.refusal.code] == 409
        assert refused.value.refusal.detail.endswith(".")


@pytest.mark.parametrize(
    ("status", "to", "code"),
    [
        ("cancelled", "cancelling", "already_cancelled"),
        ("cancelled", "cancelled", "already_cancelled"),
        ("cancelling", "cancelling", "already_cancelled"),
        ("cancelled", "confirmed", "already_cancelled"),
        ("declined", "confirmed", "declined"),
        ("expired", "confirmed", "illegal_move"),
        ("confirmed", "requested", "illegal_move"),
        ("confirmed", "confirmed", "illegal_move"),
    ],
)
def test_an_illegal_move_is_named_by_what_is_wrong(status, to, code):
    assert bookings.may_move(status, to).code == code


def test_from_an_end_nothing_follows_and_only_one_step_leads_back():
    ends = {status for status in bookings.STATUSES if bookings.settled(status)}
    assert ends == {"declined", "cancelled", "expired"}
    back = [(one, to) for one, to in MOVES if (to, one) in MOVES]
    assert sorted(back) == [("cancelling", "confirmed"), ("confirmed", "cancelling")]


def test_only_standing_bookings_take_their_slots():
    assert {status for status in bookings.STATUSES if bookings.live(status)} == {"pending", "confirmed", "cancelling"}
    assert {status for status in bookings.STATUSES if bookings.waiting(status)} == {"requested", "pending"}


@pytest.mark.parametrize("state", ATTENDED)
@pytest.mark.parametrize("to", ATTENDED)
def test_an_attendance_moves_only_where_the_table_says(state: Attended, to: Attended):
    if (state, to) in ATTENDANCE_MOVES:
        assert bookings.attend(state, to) == to
    else:
        with pytest.raises(Refused) as refused:
            bookings.attend(state, to)
        assert STATUS[refused.value.refusal.code] == 409


@pytest.mark.parametrize(
    ("state", "to", "code"),
    [
        ("checked_in", "checked_in", "already_checked_in"),
        ("completed", "checked_in", "already_checked_in"),
        ("", "completed", "not_checked_in"),
        ("no_show", "completed", "not_checked_in"),
        ("checked_in", "no_show", "illegal_move"),
        ("completed", "", "illegal_move"),
    ],
)
def test_a_refused_attendance_says_why(state, to, code):
    refusal = bookings.may_attend(state, to)
    assert refusal.code == code
    assert "_" not in refusal.detail


@pytest.mark.parametrize(
    ("status", "attended", "seen"),
    [
        ("requested", "", "requested"),
        ("pending", "", "requested"),
        ("confirmed", "", "confirmed"),
        ("confirmed", "checked_in", "checked_in"),
        ("confirmed", "completed", "completed"),
        ("confirmed", "no_show", "no_show"),
        ("cancelling", "", "cancelling"),
        ("cancelling", "checked_in", "checked_in"),
        ("cancelled", "completed", "completed"),
        ("cancelled", "no_show", "cancelled"),
        ("declined", "", "declined"),
        ("expired", "", "expired"),
    ],
)
def test_people_see_status_and_attendance_together(status, attended, seen):
    assert bookings.shown(status, attended) == seen


@pytest.mark.parametrize("status", bookings.STATUSES)
@pytest.mark.parametrize("attended", ATTENDED)
def test_whatever_is_seen_is_a_word_that_people_know(status, attended):
    assert bookings.shown(status, attended) in get_args(Shown)


NOW_AT = 1_800_000_000


def counts(status: Status, attended: Attended = "", ends_in_s: int = 3600, answer_in_s: int = 60) -> bool:
    return bookings.counts_as_open(status, attended, ends_at=NOW_AT + ends_in_s, answer_by=NOW_AT + answer_in_s, now_at=NOW_AT)


def test_what_is_to_come_counts_as_open():
    assert counts("confirmed") and counts("pending") and counts("requested") and counts("confirmed", "checked_in")


def test_what_is_over_given_up_or_missed_does_not_count():
    assert not counts("confirmed", ends_in_s=0)
    assert not counts("confirmed", "no_show")
    assert not counts("confirmed", "completed")
    assert not any(counts(status) for status in ("declined", "cancelled", "expired", "cancelling"))


def test_a_request_counts_until_its_answer_is_overdue():
    assert counts("requested", answer_in_s=0)
    assert not counts("requested", answer_in_s=-1)
    assert counts("confirmed", answer_in_s=-1), "once confirmed the deadline is past history"
    assert bookings.counts_as_open("requested", "", ends_at=NOW_AT + 1, answer_by=0, now_at=NOW_AT), "0 is no deadline"
