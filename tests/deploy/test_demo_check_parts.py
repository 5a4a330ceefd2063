"""The parts of the check that judge: which times are free, whether two books are equal, what a page's forms hold."""

from datetime import date

import pytest

from deploy.demo.clients import iso
from deploy.demo.data import Person
from deploy.demo_check import books, times
from deploy.demo_check.pages import Page
from deploy.demo_check.telling import number_of, says
from deploy.demo_check.times import Time
from deploy.demo_check.walk import Place, Sale
from shared import slots

ROWS = [{"slot": 1000 + 2 * n} for n in range(8)]


def day(**cells: str) -> dict:
    return {"rows": ROWS, "resources": [{"id": f"bedford.{name.replace('_', '-')}", "cells": said} for name, said in cells.items()]}


def test_a_free_hour_is_two_half_hours_in_a_row_that_are_sold_the_same_way() -> None:
    found = list(times.free(day(box_1="xiixiaai", box_2="iiiiicpu"), "instant", 1, 0))
    assert found == [Time(1000, 1004, "bedford.box-2"), Time(1002, 1006, "bedford.box-1"), Time(1004, 1008, "bedford.box-2")]
    assert list(times.free(day(box_1="xiixiaai"), "ask_site", 1, 0)) == [Time(1010, 1014, "bedford.box-1")]
    assert list(times.free(day(box_1="uuxxxxxx"), "unreachable", 1, 0)) == [Time(1000, 1004, "bedford.box-1")]


def test_what_begins_too_early_is_not_free() -> None:
    assert list(times.free(day(box_1="iiiixxxx"), "instant", 1, 1003)) == [Time(1004, 1008, "bedford.box-1")]
    assert list(times.free(day(box_1="iiiixxxx"), "instant", 1, 1005)) == []


def test_a_time_may_lie_across_midnight() -> None:
    after = {"rows": [{"slot": 1016}, {"slot": 1018}], "resources": [{"id": "bedford.box-1", "cells": "ix"}]}
    both = times.join([day(box_1="xxxxxxxi", box_2="iiiiiiii"), after])
    assert list(times.free(both, "instant", 1, 0)) == [Time(1014, 1018, "bedford.box-1")]


HALIFAX = "America/Halifax"


@pytest.mark.parametrize(
    ("first", "days", "day", "around"),
    [
        (date(2027, 3, 6), 9, date(2027, 3, 14), ["01:30", "01:45", "03:00", "03:15"]),
        (date(2026, 10, 24), 9, date(2026, 11, 1), ["01:30 ADT", "01:45 ADT", "01:00 AST", "01:15 AST"]),
        (date(2026, 10, 23), 9, None, []),
        (date(2026, 11, 2), 9, None, []),
    ],
)
def test_the_night_in_which_clocks_change_is_found_where_it_is_near(first: date, days: int, day: date | None, around: list[str]) -> None:
    assert times.changing_day(HALIFAX, first, days) == day
    if day is not None:
        change = times.change_of(HALIFAX, day)
        assert [slots.label(HALIFAX, change + step) for step in range(-2, 2)] == around


def test_a_day_without_a_change_has_none() -> None:
    day = date(2026, 11, 21)
    assert times.change_of(HALIFAX, day) == slots.day_span(HALIFAX, day).start


def test_a_message_says_the_time_if_it_names_day_and_both_ends_by_the_facilitys_clock() -> None:
    start = times.change_of(HALIFAX, date(2026, 11, 1)) - 2
    sale = Sale(Place("bedford", "Bedford", HALIFAX, *[None] * 4), "b-1", Time(start, start + 4, "bedford.box-1"))  # type: ignore[arg-type]
    assert says({"text": "Bedford: Box 1, Sun 1 Nov, 01:30 ADT to 01:30 AST. PIN 123456."}, sale)
    assert not says({"text": "Bedford: Box 1, Sun 1 Nov, 01:30 to 02:30. PIN 123456."}, sale)


def test_a_guests_number_is_written_as_vendors_write_it() -> None:
    assert number_of(Person("Checka Fairway", "902-555-0170", "checka@example.test")) == "+19025550170"


def hub_row(booking_id: str, shown: str = "confirmed", **more: object) -> dict:
    row = {"id": booking_id, "resource_id": "bedford.box-1", "start": iso(1_994_000), "end": iso(1_994_004), "pin": "1234", "displaced": False}
    return {**row, "status": "confirmed", "shown": shown, **more}


def site_row(booking_id: str, status: str = "confirmed", **more: object) -> dict:
    return {**hub_row(booking_id), "status": status, **more}


def test_equal_books_have_no_differences_whatever_was_never_sold() -> None:
    hub = books.of_hub([hub_row("a"), hub_row("b", "checked_in"), hub_row("never", "declined")])
    site = books.of_site([site_row("b", "checked_in"), site_row("a")])
    assert books.differences(hub, site) == []
    lines = books.page("Bedford", hub, site, "America/Halifax", [date(2026, 11, 14), date(2026, 11, 13)])
    assert len(lines) == 3 and lines[1].replace("hub ", "site") == lines[2]


@pytest.mark.parametrize(
    "theirs",
    [[], [site_row("a", "cancelled")], [site_row("a", pin="9999")], [site_row("a", end=iso(1_994_006))], [site_row("a", displaced=True)],
     [site_row("a"), site_row("b")]],
)  # fmt: skip
def test_every_difference_between_the_books_is_named(theirs: list[dict]) -> None:
    (line,) = books.differences(books.of_hub([hub_row("a")]), books.of_site(theirs))
    assert "the hub has" in line and "the site has" in line and "9999" not in line


PAGE = """<html><head><title>Times</title></head><body><form method="get" action="/x"><input name="q"></form>
<form method="post" action="/book"><input type="hidden" name="csrf_token" value="t&amp;1"><input type="checkbox" name="off" value="1">
<button name="start" value="7">07:00</button><button name="start" value="8">08:00</button></form><p>Box&nbsp;1 <b>is</b> free</p></body></html>"""


def test_a_form_is_read_as_a_browser_would_send_it() -> None:
    page = Page(200, "http://127.0.0.1/book", PAGE)
    form = page.form("/book", button="start")
    assert form is not None and form.fields == {"csrf_token": "t&1"}
    assert form.buttons == [("start", "7"), ("start", "8")]
    assert page.form("/book", button="do") is None and page.form("/x") is None
    assert page.words == "07:00 08:00 Box 1 is free"
