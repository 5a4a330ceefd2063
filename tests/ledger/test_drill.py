"""A drill finds what is wrong with a copy, and what the copy shows to be wrong with the books; what merely went on is no fault."""

import shutil
from pathlib import Path
from random import Random

import msgspec
import pytest

from shared.errors import Broken
from shared.ledger import drill, records, schema
from shared.ledger.desk import Desk
from shared.model import Attendance, Booking
from shared.runtime import database_copy
from shared.runtime.database import InlineWriter, connect
from shared.runtime.database_copy import Facts

NOW = 1_795_276_800
TODAY = NOW // 86_400 * 96
KNOWN = {"ledger": tuple(step.__name__ for step in schema.STEPS)}


class Books:
    """Live books with a copy of an earlier moment beside them."""

    def __init__(self, folder: Path):
        self.live, self.copy = folder / "live.db", folder / "copy.db"
        schema.prepare(self.live)
        self.db = InlineWriter(self.live)
        self.desk = Desk("site", clock=lambda: NOW, new_id=lambda: "id", chance=Random(1))

    def book(self, number: int, *, bay: int = 1, day: int = 0, **more) -> Booking:
        made = Booking(
            id=f"booking-{number:04d}", order_id=f"order-{number:04d}", site_id="bedford", resource_id=f"bedford.box-{bay}",
            start=TODAY + day * 96 + number % 20 * 4, end=TODAY + day * 96 + number % 20 * 4 + 4, **more,
        )  # fmt: skip
        self.db.write_now(lambda tx: records.add_booking(tx, made))
        return made

    def change(self, booking: Booking, **more) -> None:
        self.db.write_now(lambda tx: records.put_booking(tx, msgspec.structs.replace(booking, **more)))

    def behind(self, sql: str) -> None:
        """Changes the live rows as no code of ours does."""
        self.db.write_now(lambda tx: tx.run(sql))

    def take(self) -> None:
        self.copy.unlink(missing_ok=True)
        self.told = database_copy.copy(self.live, self.copy)

    def verify(self, **more) -> drill.Report:
        return drill.verify(self.copy, self.live, self.told, more.pop("known", KNOWN), **more)


@pytest.fixture
def books(tmp_path):
    made = Books(tmp_path)
    for number in range(60):
        made.book(number, bay=1 + number % 3, day=number - 30)
    made.take()
    yield made
    made.db._c.close()


def test_a_fresh_copy_is_good_and_every_day_was_compared(books):
    report = books.verify()
    assert report.ok and (report.bookings, report.days, report.moved_on) == (60, 60, 0)


def test_sales_and_changes_after_the_copy_are_no_fault(books):
    first = books.book(100, day=3)
    books.change(first, status="cancelled")
    books.db.write_now(lambda tx: records.put_attendance(tx, Attendance(booking_id="booking-0030", site_id="bedford", state="checked_in")))
    old = books.db.read(lambda tx: records.booking(tx, "booking-0031"))
    books.change(old, status="cancelled")
    report = books.verify()
    assert report.ok and report.moved_on >= 2 and report.days + report.moved_on >= 60


def test_a_row_that_differs_in_the_same_version_is_named_by_its_day(books):
    books.behind("UPDATE bookings SET doc = REPLACE(doc, '\"order_id\"', '\"status\":\"cancelled\",\"order_id\"') WHERE id = 'booking-0040'")
    report = books.verify()
    assert not report.ok and report.wrong == (
        f"The bookings of bedford.box-2 on {drill._date(TODAY // 96 + 10)} differ between the copy and the books, though none has changed since.",
    )


def test_a_booking_that_the_books_have_lost_is_named(books):
    books.behind("DELETE FROM bookings WHERE id = 'booking-0007'")
    assert books.verify().wrong == ("The booking booking-0007 is in the copy and no longer in the books.",)


def test_books_that_went_back_are_named(books, tmp_path):
    shutil.copy(books.copy, tmp_path / "old.db")
    books.change(books.db.read(lambda tx: records.booking(tx, "booking-0009")), status="cancelled")
    books.take()
    report = drill.verify(books.copy, tmp_path / "old.db", books.told, KNOWN)
    assert report.wrong == ("The booking booking-0009 is younger in the copy than in the books: the books have gone back.",)


def test_many_differences_are_counted_and_the_first_told(books):
    books.behind("DELETE FROM bookings")
    report = books.verify()
    assert len(report.wrong) == drill.TOLD_MAX + 1 and report.wrong[-1] == "50 more differences were found."


def test_a_copy_of_a_newer_program_is_refused(books):
    known = {"ledger": KNOWN["ledger"][:-1]}
    assert "newer program" in books.verify(known=known).wrong[0] and KNOWN["ledger"][-1] in books.verify(known=known).wrong[0]


def test_an_older_programs_copy_is_good(books):
    assert books.verify(known={**KNOWN, "ledger": (*KNOWN["ledger"], "m999_later")}).ok


def test_rows_that_went_missing_from_the_copy_are_counted(books):
    c = connect(books.copy)
    c.execute("DELETE FROM bookings WHERE id = 'booking-0001'")
    c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    c.close()
    assert books.verify().wrong == ("The copy's table 'bookings' has 59 rows where 60 were counted when it was made.",)


def test_a_file_that_is_no_database_is_refused(books):
    books.copy.write_bytes(b"\x00" * 100_000)
    assert "no books of this program" in books.verify().wrong[0] or "no sound database" in books.verify().wrong[0]


def test_a_corrupt_page_is_found(books):
    octets = bytearray(books.copy.read_bytes())
    octets[40_960:41_060] = b"\xff" * 100
    books.copy.write_bytes(octets)
    assert books.verify().wrong[0].startswith("The copy is no sound database: ")


def test_a_copy_can_be_checked_where_there_are_no_books(books):
    """On another box, where nothing is to compare with."""
    report = drill.verify(books.copy, None, books.told, KNOWN)
    assert report.ok and (report.bookings, report.days) == (60, 0)


def test_a_copy_of_something_else_is_refused(tmp_path, books):
    c = connect(tmp_path / "other.db")
    c.execute("CREATE TABLE recipes (id TEXT)")
    c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    c.close()
    assert "no books of this program" in drill.verify(tmp_path / "other.db", None, Facts(steps={}, rows={"recipes": 0}), KNOWN).wrong[0]


def test_books_that_are_not_there_are_an_error(books, tmp_path):
    with pytest.raises(Broken, match="no books"):
        drill.verify(books.copy, tmp_path / "nowhere.db", books.told, KNOWN)
