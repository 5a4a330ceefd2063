"""The journal's chain (U7): whoever changes, takes away or turns round its rows is found out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database as Tables

from shared.ledger import journal, records, schema
from shared.runtime.database import InlineWriter

COLUMNS = ("at", "site_id", "actor", "what", "ref", "reason", "chain")


def books() -> InlineWriter:
    db = InlineWriter()
    for step in schema.STEPS:
        step(Tables(db._c))
    return db


def written(db: InlineWriter, rows: int, site_id: str = "bedford") -> None:
    for i in range(rows):
        db.write_now(lambda tx, i=i: records.journal(tx, 1000 + i, site_id, f"staff-{i % 3}", "sign in", f"r-{i}", "because" * (i % 2)))


def problems(db: InlineWriter, *noted: journal.Noted) -> list[str]:
    return [problem for report in db.read(lambda tx: journal.verify(tx, noted)) for problem in report.problems]


def head(db: InlineWriter, site_id: str = "bedford") -> journal.Noted:
    [report] = [r for r in db.read(journal.verify) if r.site_id == site_id]
    return journal.Noted(site_id, report.n, report.chain)


def test_an_untouched_journal_is_sound_and_each_site_has_a_chain_of_its_own():
    db = books()
    written(db, 5)
    written(db, 3, "truro")
    written(db, 2)
    reports = db.read(journal.verify)
    assert [(r.site_id, r.rows, r.n, r.problems) for r in reports] == [("bedford", 7, 7, ()), ("truro", 3, 3, ())]


def test_a_row_whose_transaction_failed_leaves_no_hole():
    db = books()
    written(db, 2)

    def fails(tx):
        records.journal(tx, 5, "bedford", "agent", "started", "box")
        raise RuntimeError("the change failed")

    with pytest.raises(RuntimeError):
        db.write_now(fails)
    written(db, 2)
    assert problems(db) == []


def test_a_long_chain_is_read_in_steps():
    db = books()
    written(db, 25)
    check, steps = journal.Check("bedford"), 1
    while not db.read(lambda tx: check.step(tx, 10)):
        steps += 1
    assert steps == 3 and check.report().rows == 25 and not check.report().problems


@given(data=st.data(), rows=st.integers(2, 12))
def test_any_change_of_any_row_shows(data, rows):
    db = books()
    written(db, rows)
    at = data.draw(st.integers(1, rows), label="row")
    how = data.draw(st.sampled_from(["change", "delete", "swap", "insert", "twice", "head"]), label="how")

    def tamper(tx):
        row = {"n": at}
        if how == "change":
            column = data.draw(st.sampled_from(COLUMNS), label="column")
            value = "1" if column == "at" else "'x'"
            tx.run(f"UPDATE journal SET {column} = {value} WHERE n = :n", row)
        elif how == "delete":
            tx.run("DELETE FROM journal WHERE n = :n", row)
        elif how == "swap":
            other = data.draw(st.integers(1, rows).filter(lambda n: n != at), label="other")
            pair = {"a": at, "b": other}
            tx.run("UPDATE journal SET n = -1 WHERE n = :a", pair)
            tx.run("UPDATE journal SET n = :a WHERE n = :b", pair)
            tx.run("UPDATE journal SET n = :b WHERE n = -1", pair)
        elif how == "insert":
            tx.run("INSERT INTO journal (at, site_id, actor, what, ref, reason) VALUES (1, 'bedford', 'staff-x', 'nothing', '', '')")
        elif how == "twice":
            tx.run(
                "INSERT INTO journal (at, site_id, actor, what, ref, reason, n, chain)"
                " SELECT at, site_id, actor, what, ref, reason, n, chain FROM journal WHERE n = :n",
                row,
            )
        else:
            tx.run("DELETE FROM journal_heads")

    db.write_now(tamper)
    assert problems(db), how


@given(rows=st.integers(2, 8), cut=st.integers(1, 7))
def test_a_journal_cut_off_with_its_head_shows_against_a_head_that_was_noted(rows, cut):
    db = books()
    written(db, rows)
    noted, left = head(db), max(rows - cut, 1)
    if left == rows:
        return

    def cut_off(tx):
        tx.run("DELETE FROM journal WHERE n > :n", {"n": left})
        [chain] = tx.one("SELECT chain FROM journal WHERE n = :n", {"n": left})
        tx.run("UPDATE journal_heads SET n = :n, chain = :c", {"n": left, "c": chain})

    db.write_now(cut_off)
    assert problems(db) == []
    assert problems(db, noted) == [f"the journal ends at row {left}, but row {rows} was noted"]


def test_a_journal_written_anew_from_the_start_shows_against_a_noted_head():
    db, other = books(), books()
    written(db, 4)
    noted = head(db)
    for i in range(6):
        other.write_now(lambda tx, i=i: records.journal(tx, i, "bedford", "staff-x", "nothing to see", ""))
    assert problems(other) == []
    assert problems(other, noted) == ["row 4 does not bear the chain that was noted: the journal has been written anew"]
    written(db, 3)
    assert problems(db, noted) == []


def test_rows_from_before_the_chain_are_taken_into_it_and_kept_safe_from_then_on():
    db = InlineWriter()
    tables = Tables(db._c)
    at = schema.STEPS.index(schema.m003_journal_chain)
    for step in schema.STEPS[:at]:
        step(tables)
    old = "INSERT INTO journal (at, site_id, actor, what, ref, reason) VALUES (:at, :s, 'staff-1', 'sign in', '', '')"
    for i in range(6):
        db.write_now(lambda tx, i=i: tx.run(old, {"at": i, "s": ("bedford", "truro")[i % 2]}))
    for step in schema.STEPS[at:]:
        step(tables)
    written(db, 2)
    assert [(r.site_id, r.n, r.problems) for r in db.read(journal.verify)] == [("bedford", 5, ()), ("truro", 3, ())]
    db.write_now(lambda tx: tx.run("UPDATE journal SET actor = 'staff-2' WHERE at = 2 AND n = 2"))
    assert problems(db) == ["row 2 is not what was written"]


@given(st.lists(st.text(max_size=4), min_size=4, max_size=4), st.lists(st.text(max_size=4), min_size=4, max_size=4))
def test_no_two_different_rows_make_the_same_link(a, b):
    before = journal.link("", 1, 5, "bedford", *a)
    assert (before == journal.link("", 1, 5, "bedford", *b)) == (a == b)
