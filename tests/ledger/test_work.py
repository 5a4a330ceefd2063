"""Work rows: written once for a cause, claimed by one, and led to an end; on SQLite and on PostgreSQL alike."""

import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database as Tables

from shared.ledger import fencing, schema, streams, work
from shared.ledger.desk import Desk
from shared.ledger.work import Work
from shared.runtime import postgres as pg
from shared.runtime.clock import Chance
from shared.runtime.database import InlineWriter, Tx

NOW = 1_795_276_800
ON = ["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)]


@pytest.fixture(params=ON)
def db(request):
    if request.param == "sqlite":
        db = InlineWriter()
        for step in schema.STEPS:
            step(Tables(db._c))
        yield db
        return
    url = request.getfixturevalue("postgres").books()
    pg.migrate(url, "ledger", schema.STEPS)
    db = pg.InlinePostgres(url)
    yield db
    db.session.close()


def row(row_id: str = "r-1", **more) -> Work:
    return Work(**{"id": row_id, "kind": "message", "lane": "twilio", "created_at": NOW, **more})


def put(db, *rows: Work) -> None:
    db.write_now(lambda tx: [work.put(tx, one) for one in rows])


def one(db, row_id: str = "r-1") -> Work:
    return db.read(lambda tx: work.one(tx, row_id))


def claim(db, now: int = NOW, limit: int = 10, lane: str = "twilio") -> list[Work]:
    return db.write_now(lambda tx: work.claim(tx, lane, now, limit, 120))


def do(db, what, *more, row_id: str = "r-1", **named):
    """One of the module's functions on a row as it stands."""
    return db.write_now(lambda tx: what(tx, work.one(tx, row_id), *more, **named))


def told_of(db) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    db.listen(told.extend)
    return told


# ---- writing it down
def test_the_same_cause_writes_one_row_and_tells_the_lane_once(db):
    told = told_of(db)
    assert db.write_now(lambda tx: work.put(tx, row(body="first")))
    assert not db.write_now(lambda tx: work.put(tx, row(body="second")))
    assert one(db).body == "first" and told == [("work", "twilio")]


def test_what_was_put_is_read_as_it_was_put(db):
    wanted = row(site_id="s", subject="o-1", who="c-1", rank=2**40, due_at=NOW + 60, until_at=NOW + 600, body='{"a": "50% :x ?"}')
    put(db, wanted)
    assert one(db) == msgspec.structs.replace(wanted, mark=work.mark_of("r-1"), next_at=NOW + 60, changed_at=NOW)


def test_a_row_that_is_not_there_is_none(db):
    assert one(db, "r-2") is None and db.write_now(lambda tx: work.one(tx, "r-2")) is None


@given(st.text(), st.text())
def test_a_mark_says_nothing_of_the_row_and_belongs_to_it_alone(a, b):
    mark = work.mark_of(a)
    assert len(mark) == 32 and mark.replace("-", "").replace("_", "").isalnum() and mark.isascii()
    assert (mark == work.mark_of(b)) == (a == b)


def test_all_that_was_done_for_a_booking_is_told_the_oldest_first(db):
    put(db, row("b", subject="o-1", created_at=NOW + 1), row("a", subject="o-1"), row("c", subject="o-2"))
    assert [r.id for r in db.read(lambda tx: work.about(tx, "o-1"))] == ["a", "b"]


# ---- whose turn it is
def test_the_lowest_rank_goes_first_and_of_equals_the_one_due_first(db):
    put(db, row("a", rank=2), row("b", rank=1, due_at=NOW - 1), row("c", rank=1, due_at=NOW - 2), row("d", rank=1, due_at=NOW - 1))
    assert [r.id for r in claim(db, limit=3)] == ["c", "b", "d"]
    assert [r.id for r in claim(db, limit=3)] == ["a"]


def test_nothing_is_claimed_before_it_is_due_or_for_another_lane(db):
    put(db, row("a", due_at=NOW + 1), row("b", lane="sendgrid"))
    assert claim(db) == []
    assert [r.id for r in claim(db, NOW + 1)] == ["a"]


def test_a_claimed_row_is_taken_with_its_lease_and_its_try(db):
    put(db, row())
    [got] = claim(db, NOW + 5)
    assert got == one(db) and (got.state, got.tries, got.lease_at, got.since_at) == ("taken", 1, NOW + 125, NOW + 5)
    assert claim(db, NOW + 6) == []


def test_when_something_is_due_next_is_known_for_each_lane(db):
    put(db, row("a", due_at=NOW + 50), row("b", due_at=NOW + 20), row("c", lane="sendgrid", due_at=NOW + 5))
    assert [db.read(lambda tx, lane=lane: work.next_at(tx, lane)) for lane in ("twilio", "sendgrid", "smtp")] == [NOW + 20, NOW + 5, None]
    assert db.read(lambda tx: work.oldest(tx, NOW + 30)) == {"twilio": 10, "sendgrid": 25}


def test_nothing_is_begun_for_a_site_whose_books_here_are_fenced(db):
    put(db, row("a", site_id="s-1"), row("b", site_id="s-2"), row("c"))
    db.write_now(lambda tx: tx.run("INSERT INTO streams (site_id, fenced) VALUES ('s-1', 'set back'), ('s-2', '')"))
    assert [r.id for r in claim(db)] == ["b", "c"]


# ---- what came of it
def test_what_was_not_done_is_done_later_and_the_lane_is_told_only_where_that_is_now(db):
    put(db, row())
    claim(db)
    told = told_of(db)
    do(db, work.later, NOW, NOW + 30, "later", "It does not answer.")
    got = one(db)
    assert (got.state, got.next_at, got.tries, got.since_at, got.reason) == ("waiting", NOW + 30, 1, 0, "It does not answer.")
    assert told == [] and claim(db, NOW + 29) == []
    assert claim(db, NOW + 30)[0].tries == 2
    do(db, work.later, NOW, NOW, "not_sent", "Once more.")
    assert told == [("work", "twilio")]


def test_what_was_only_put_off_counts_as_no_try(db):
    put(db, row())
    claim(db)
    do(db, work.later, NOW, NOW + 30, "waits", "Quiet hours.", tried=False)
    assert one(db).tries == 0


def test_what_would_come_too_late_ends_with_what_kept_it(db):
    put(db, row(until_at=NOW + 30))
    claim(db)
    do(db, work.later, NOW, NOW + 30, "later", "It does not answer.")
    got = one(db)
    assert (got.state, got.code) == ("dropped", "too_late") and "It does not answer." in got.reason


def test_what_is_unknown_is_claimed_by_nobody(db):
    put(db, row())
    claim(db)
    do(db, work.unknown, NOW, NOW + 20, "The answer was lost.")
    assert claim(db, NOW + 10_000) == []
    assert [r.id for r in db.read(lambda tx: work.overdue(tx, "unknown", NOW + 20))] == ["r-1"]
    assert db.read(lambda tx: work.overdue(tx, "unknown", NOW + 19)) == []


def test_what_is_to_be_looked_up_is_found_lane_by_lane(db):
    put(db, *(row(f"r-{n}", lane=lane) for n, lane in enumerate(("twilio", "twilio", "smtp", "slack"))))
    for n in range(3):
        do(db, work.unknown, NOW, NOW, "?", row_id=f"r-{n}")
    assert sorted(db.read(lambda tx: work.in_question(tx, NOW))) == ["smtp", "twilio"]
    assert [r.id for r in db.read(lambda tx: work.overdue(tx, "unknown", NOW, 10, "twilio"))] == ["r-0", "r-1"]


def test_what_was_sent_waits_for_its_receipt_until_it_is_overdue(db):
    put(db, row())
    claim(db)
    do(db, work.sent, NOW, "SM1", NOW + 100)
    assert (one(db).state, one(db).ref) == ("sent", "SM1")
    assert db.read(lambda tx: work.overdue(tx, "sent", NOW + 99)) == []
    assert len(db.read(lambda tx: work.overdue(tx, "sent", NOW + 100))) == 1


@pytest.mark.parametrize("state", work.ENDED)
def test_an_end_keeps_its_reason_and_the_vendors_name_for_it(db, state):
    put(db, row())
    claim(db)
    do(db, work.sent, NOW, "SM1", NOW + 100)
    do(db, work.end, NOW + 5, state, "30005", "Unknown number.")
    got = one(db)
    assert (got.state, got.code, got.reason, got.ref, got.changed_at) == (state, "30005", "Unknown number.", "SM1", NOW + 5)


def test_only_an_end_ends(db):
    put(db, row())
    with pytest.raises(AssertionError, match="waiting"):
        do(db, work.end, NOW, "waiting")
    assert one(db).state == "waiting"


# ---- who died over it
def test_who_does_not_say_in_time_how_it_went_has_died_and_nobody_knows_what_he_did(db):
    put(db, row())
    claim(db)
    assert db.write_now(lambda tx: work.died(tx, NOW + 119)) == []
    assert [r.id for r in db.write_now(lambda tx: work.died(tx, NOW + 120))] == ["r-1"]
    got = one(db)
    assert (got.state, got.code, got.since_at, got.next_at) == ("unknown", "unknown", NOW, NOW + 120)


def test_what_is_known_to_be_under_way_has_not_died_whatever_the_clock_says(db):
    put(db, row("a"), row("b"))
    claim(db)
    assert [r.id for r in db.write_now(lambda tx: work.died(tx, NOW + 10**6, {"a"}))] == ["b"]
    assert one(db, "a").state == "taken"


def test_what_came_of_an_earlier_try_is_told_from_what_came_of_this_one(db):
    put(db, row())
    [first] = claim(db)
    do(db, work.unknown, NOW, NOW, "?")
    assert work.same_try(first, one(db))
    do(db, work.later, NOW, NOW, "not_sent", "Once more.")
    [second] = claim(db)
    assert not work.same_try(first, second)


# ---- what a vendor says
def test_a_report_finds_its_row_by_our_mark_else_by_a_name_that_only_one_has(db):
    put(db, row("a"), row("b"), row("c"))
    for row_id, ref in (("a", "SM1"), ("b", "SM2"), ("c", "SM2")):
        do(db, work.sent, NOW, ref, NOW, row_id=row_id)

    def reported(mark, ref):
        found = db.write_now(lambda tx: work.reported(tx, mark, ref))
        return found.id if found else None

    assert reported(work.mark_of("b"), "SM1") == "b"
    assert [reported("", ref) for ref in ("SM1", "SM2", "SM3", "")] == ["a", None, None, None]
    assert reported("forged", "") is None


# ---- people
@pytest.mark.parametrize("state", ["stuck", "dropped"])
def test_a_person_has_a_row_tried_again_from_now_on_and_without_an_end(db, state):
    put(db, row(until_at=NOW + 5))
    claim(db)
    do(db, work.end, NOW, state, "x", "It came to nothing.")
    told = told_of(db)
    assert db.write_now(lambda tx: work.retry(tx, "r-1", NOW + 1000)).state == "waiting"
    assert told == [("work", "twilio")]
    [again] = claim(db, NOW + 1000)
    assert (again.tries, again.until_at, again.since_at) == (1, 0, NOW + 1000)


@pytest.mark.parametrize("state", ["waiting", "taken", "unknown", "sent", "done"])
def test_what_has_not_come_to_nothing_is_not_tried_again(db, state):
    put(db, row(state=state))
    assert db.write_now(lambda tx: work.retry(tx, "r-1", NOW)) is None
    assert one(db).state == state
    assert db.write_now(lambda tx: work.retry(tx, "r-2", NOW)) is None


def test_what_is_over_is_let_go_of_after_a_season_and_what_is_stuck_waits_for_somebody(db):
    put(db, *(row(state, state=state) for state in ("waiting", "taken", "unknown", "sent", *work.ENDED)))
    assert db.write_now(lambda tx: work.forget(tx, NOW + work.KEPT_S)) == 0
    assert db.write_now(lambda tx: work.forget(tx, NOW + work.KEPT_S + 1)) == 2
    assert {state for _, state in db.read(work.counts)} == {"waiting", "taken", "unknown", "sent", "stuck"}


def test_what_nobody_came_for_in_time_ends(db):
    put(db, row("a", until_at=NOW + 10), row("b", until_at=NOW + 11), row("c"))
    db.write_now(lambda tx: work.forget(tx, NOW + 10))
    assert [one(db, row_id).state for row_id in "abc"] == ["dropped", "waiting", "waiting"]
    assert one(db, "a").code == "too_late"


# ---- books that were set back
@pytest.mark.rule("loss-1")
def test_of_each_lane_that_needs_somebody_it_is_told_how_many_rows_and_why_the_first(db):
    put(db, row("r-1"), row("r-2"), row("r-3", lane="smtp"), row("r-4", lane="sendgrid"))
    for at, (row_id, reason) in enumerate((("r-2", "No such number."), ("r-1", "No answer."), ("r-3", "Refused."))):
        do(db, work.end, NOW + at, "stuck", "code", reason, row_id=row_id)
    assert db.read(work.stuck_lanes) == [("smtp", 1, NOW + 2, "Refused."), ("twilio", 2, NOW, "No such number.")]


def test_what_was_still_to_be_done_before_a_fence_is_not_done_again_by_itself(db):
    chance = Chance(1)
    desk = Desk("hub", clock=lambda: NOW + 60, new_id=chance.new_id, chance=chance.random, box_id="hub-box")
    states = ("waiting", "taken", "unknown", "sent", "done", "dropped")
    put(db, *(row(f"s-1|{state}", site_id="s-1", state=state) for state in states), row("s-2|waiting", site_id="s-2"))
    db.write_now(lambda tx: streams.open_site(tx, "s-1", epoch="", hub_id="hub", box_id="hub-box"))
    db.write_now(lambda tx: fencing.fence(tx, desk, "s-1", "These books were put back from a backup."))
    now = {state: one(db, f"s-1|{state}") for state in states}
    assert [now[state].state for state in states] == ["stuck", "stuck", "stuck", "sent", "done", "dropped"]
    assert (now["waiting"].code, now["waiting"].changed_at) == ("unknown", NOW + 60) and "set back" in now["waiting"].reason
    assert one(db, "s-2|waiting").state == "waiting"


# ---- two hubs on one database
class Unlocked(pg.PostgresTx):
    """The twin that does not lock what it is about to take."""

    __slots__ = ()
    for_update = ""


def claimed_side_by_side(url: str, make_tx: type[Tx]) -> list[list[str]]:
    """Two replicas claim two rows each of four; the second looks while the first has looked and not yet committed."""
    first, second = (pg.InlinePostgres(url, make_tx=make_tx) for _ in range(2))
    put(first, *(row(f"r-{n}") for n in range(4)))
    got: list[list[str]] = [[], []]
    entered = threading.Event()

    def other() -> None:
        def run(tx: Tx) -> list[Work]:
            entered.set()
            return work.claim(tx, "twilio", NOW, 2, 120)

        got[1] = [r.id for r in second.write_now(run)]

    thread = threading.Thread(target=other)

    def run(tx: Tx) -> list[Work]:
        found = work.claim(tx, "twilio", NOW, 2, 120)
        thread.start()
        entered.wait(10)
        waits_s = 10
        while thread.is_alive() and not blocked(url) and waits_s > 0:  # until it has what it wants, or stands before our lock
            thread.join(0.01)
            waits_s -= 0.01
        return found

    got[0] = [r.id for r in first.write_now(run)]
    thread.join(20)
    for replica in (first, second):
        replica.session.close()
    return got


def blocked(url: str) -> bool:
    monitor = pg.InlinePostgres(url)
    try:
        return bool(monitor.session.c.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall())
    finally:
        monitor.session.close()


@pytest.mark.needs_postgres
def test_two_replicas_that_claim_at_once_get_different_rows(postgres):
    url = postgres.books()
    pg.migrate(url, "ledger", schema.STEPS)
    assert claimed_side_by_side(url, pg.PostgresTx) == [["r-0", "r-1"], ["r-2", "r-3"]]


@pytest.mark.needs_postgres
def test_without_the_lock_both_take_the_same_row(postgres):
    url = postgres.books()
    pg.migrate(url, "ledger", schema.STEPS)
    assert claimed_side_by_side(url, Unlocked) == [["r-0", "r-1"], ["r-0", "r-1"]]


# ---- at what cost
def plans(ask) -> list[str]:
    """How SQLite goes about what `ask(tx)` reads of the rows, a line for each step."""
    db = InlineWriter()
    for step in schema.STEPS:
        step(Tables(db._c))
    asked: list[str] = []
    db._c.set_trace_callback(asked.append)
    db.read(ask)
    db._c.set_trace_callback(None)
    return [line[3] for sql in asked if sql.startswith("SELECT") for line in db._c.execute(f"EXPLAIN QUERY PLAN {sql}")]


def test_the_few_that_are_claimed_are_not_sorted_out_of_all_that_are_due():
    found = plans(lambda tx: work.claim(tx, "twilio", NOW, 10, 120))
    assert found[0] == "SEARCH work USING INDEX work_turn (lane=?)" and not [line for line in found if "B-TREE" in line]


@pytest.mark.parametrize(
    "ask",
    [
        lambda tx: work.next_at(tx, "twilio"),
        lambda tx: work.in_question(tx, NOW),
        lambda tx: work.overdue(tx, "unknown", NOW),
        lambda tx: work.overdue(tx, "unknown", NOW, lane="twilio"),
        lambda tx: work.overdue(tx, "sent", NOW),
        lambda tx: work.died(tx, NOW),
        work.stuck,
        work.stuck_lanes,
    ],
)
def test_what_is_asked_every_second_is_found_by_an_index(ask):
    assert plans(ask)[0].startswith("SEARCH work USING ")
