"""What is asked every few seconds, or at every cancellation, is found by an index and not by reading through the history of the books."""

import sqlite3
from random import Random

import pytest
from sqlite_utils import Database as Tables

from shared.ledger import claims, displaced, holds, sales, schema, site_alarms
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House
from shared.model import Facility, Interval
from shared.profiles import profile
from shared.runtime.database import Tx

DESK = Desk("site", clock=lambda: 1_800_000_000, new_id=lambda: "id", chance=Random(1))


@pytest.fixture
def books():
    c = sqlite3.connect(":memory:", isolation_level=None)
    for step in schema.STEPS:
        step(Tables(c))
    yield c
    c.close()


def plans(c: sqlite3.Connection, ask) -> list[str]:
    """How SQLite goes about what `ask(tx)` reads, a line for each table."""
    asked: list[str] = []
    c.set_trace_callback(asked.append)
    ask(Tx(c))
    c.set_trace_callback(None)
    return [row[3] for sql in asked if sql.startswith("SELECT") for row in c.execute(f"EXPLAIN QUERY PLAN {sql}")]


def test_requests_whose_time_is_over_are_found_among_the_few_that_wait(books):
    assert plans(books, lambda tx: sales.expire(tx, DESK)) == ["SEARCH bookings USING INDEX bookings_waiting (status=?)"]


def test_holds_whose_time_is_over_are_found_by_their_end(books):
    assert plans(books, lambda tx: holds.expire(tx, DESK)) == ["SEARCH holds USING INDEX holds_expiry (status=? AND expires_at<?)"]


def test_the_displaced_of_a_bay_are_found_among_the_displaced(books):
    found = plans(books, lambda tx: claims.displaced_at(tx, "bedford.box-1", Interval(2_000_000, 2_000_004)))
    assert found[0] == "SEARCH bookings USING INDEX bookings_displaced (resource_id=?)"


def test_what_a_site_has_not_told_of_its_alarms_is_found_among_those_and_not_among_the_months_that_are_over(books):
    books.execute("INSERT INTO streams (site_id, epoch, peer_schema) VALUES ('bedford', 'epoch-1', 99)")
    found = plans(books, lambda tx: site_alarms.differs(tx, "bedford", []))
    told = "SEARCH site_alarms USING INDEX site_alarms_told (site_id=? AND ended=?"
    assert [line for line in found if "site_alarms" in line] == [
        f"{told})", f"{told})", *(f"{told} AND told_ended=? AND told_epoch>{end}" for end in ("?)", "? AND told_epoch<?)", "?)")),
    ]  # fmt: skip


def test_who_is_to_be_put_elsewhere_is_found_among_the_displaced(books):
    house = House(facility=Facility(id="bedford", name="Bedford", zone="America/Halifax"), resources={}, profile=profile("business"))
    found = plans(books, lambda tx: displaced.waiting(tx, DESK, house))
    assert found == ["SCAN bookings USING INDEX bookings_displaced"]
