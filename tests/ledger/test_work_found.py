"""Work rows as people look for them: the last changed first, a page at a time, without reading months of rows at once."""

import sqlite3

import pytest
from sqlite_utils import Database as Tables

from shared.ledger import schema, work
from shared.ledger.work import Work
from shared.runtime.database import Tx

NOW = 1_795_000_000


@pytest.fixture
def tx():
    c = sqlite3.connect(":memory:", isolation_level=None)
    for step in schema.STEPS:
        step(Tables(c))
    yield Tx(c)
    c.close()


def put(tx: Tx, row_id: str, changed_at: int = NOW, **more) -> Work:
    work.put(tx, Work(**{"id": row_id, "kind": "message", "lane": "twilio", "created_at": changed_at, **more}))
    return work.one(tx, row_id)


def ids(found: work.Found) -> list[str]:
    return [row.id for row in found.rows]


def walked(tx: Tx, **wanted) -> list[str]:
    """Every id, page after page."""
    seen, before = [], None
    while True:
        page = work.found(tx, before=before, **wanted)
        seen += ids(page)
        if page.older is None:
            return seen
        assert page.older != before
        before = page.older


def test_the_last_changed_is_first_and_rows_of_one_second_are_in_order(tx):
    for row_id, at in (("a", NOW), ("c", NOW + 5), ("b", NOW + 5)):
        put(tx, row_id, at)
    assert ids(work.found(tx)) == ["b", "c", "a"] and work.found(tx).older is None


@pytest.mark.parametrize(("limit", "look"), [(3, 100), (100, 4), (3, 4), (1, 1), (7, 7)])
def test_page_after_page_shows_every_row_once(tx, limit, look):
    for n in range(20):
        put(tx, f"row-{n:02}", NOW + n // 3)
    seen = walked(tx, limit=limit, look=look)
    assert sorted(seen) == [f"row-{n:02}" for n in range(20)]
    assert seen == sorted(seen, key=lambda one: (-(int(one[4:]) // 3), one))


def test_a_page_that_is_just_full_is_the_last(tx):
    for n in range(3):
        put(tx, f"row-{n}", NOW + n)
    assert work.found(tx, limit=3).older is None


def test_what_is_rare_is_found_further_back_and_the_way_there_is_told(tx):
    put(tx, "old", NOW - 100, state="dropped")
    for n in range(10):
        put(tx, f"row-{n}", NOW + n, state="done")
    first = work.found(tx, state="dropped", look=5)
    assert ids(first) == [] and first.older is not None
    assert walked(tx, state="dropped", look=5) == ["old"]


@pytest.mark.parametrize(
    ("text", "there"), [("order-7", ["b"]), ("guest", ["a"]), ("revoked", ["b"]), ("a", ["a"]), ("%", []), ("_", []), ("!", [])]
)
def test_text_is_looked_for_as_it_stands_in_ids_subjects_customers_and_reasons(tx, text, there):
    put(tx, "a", who="guest-1")
    put(tx, "b", subject="order-7", reason="The key is revoked.")
    found = ids(work.found(tx, text=text))
    assert found == there


def test_state_and_vendor_narrow_the_search(tx):
    put(tx, "a", state="stuck")
    put(tx, "b", state="stuck", lane="smtp")
    put(tx, "c")
    assert ids(work.found(tx, state="stuck", lane="smtp")) == ["b"]
    assert (work.stuck(tx), work.counts(tx)) == (2, {("twilio", "stuck"): 1, ("smtp", "stuck"): 1, ("twilio", "waiting"): 1})


def plans(tx: Tx, ask) -> list[str]:
    asked: list[str] = []
    tx._c.set_trace_callback(asked.append)
    ask(tx)
    tx._c.set_trace_callback(None)
    return [row[3] for sql in asked if sql.startswith("SELECT") for row in tx.all(f"EXPLAIN QUERY PLAN {sql}")]


def test_health_counts_the_stuck_among_the_few_that_are_not_over(tx):
    assert plans(tx, work.stuck) == ["SEARCH work USING COVERING INDEX work_open (state=? AND next_at>?)"]


def test_rows_are_counted_without_reading_what_they_say(tx):
    assert plans(tx, work.counts) == ["SCAN work USING COVERING INDEX work_counted"]


def test_a_page_is_read_by_when_rows_changed(tx):
    found = plans(tx, lambda tx: work.found(tx, text="x", before=(NOW, "a")))
    assert found and all("work_changed" in line or "TEMP B-TREE" in line for line in found), found
