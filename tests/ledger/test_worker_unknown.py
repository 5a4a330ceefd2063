"""What may have been done and was not answered, who died over it, and books or clocks that cannot be relied on: nothing is done again before
somebody knows that it was not done."""

import asyncio

import pytest

from shared.errors import Broken, Unavailable
from shared.ledger import work
from shared.ledger.worker import DO_S, LEASE_S, LOOK_S, TRIES_MAX, UNKNOWN_MAX_S
from shared.outcomes import Later, Misconfigured, Never, Taken, Unknown
from tests.ledger.work_world import HANGS, NOON, Shop, play

REFUSED = Later("Connection refused.")
LOST = Unknown("The answer was lost.")


# ---- what is not known
def test_what_may_have_been_done_is_looked_up_and_is_not_done_again_meanwhile():
    async def story(w: Shop):
        w.doer.answers["r"] = [LOST]
        w.doer.finds["r"] = [LOST, LOST, Taken("SM1", final=True)]
        w.put("r")
        await w.until(lambda: w.state("r") == "done")
        assert w.row("r").ref == "SM1" and len(w.doer.begun["r"]) == 1
        first, second, third = w.doer.looked["r"]
        assert LOOK_S <= first <= LOOK_S + 2 and 20 <= second - first <= 23 and 40 <= third - second <= 45

    play(story)


@pytest.mark.parametrize(("answer", "state"), [(Taken("SM1", final=True), "done"), (REFUSED, "stuck")])
def test_books_that_are_set_back_while_it_is_being_done_still_learn_that_it_was_done(answer, state):
    async def story(w: Shop):
        w.doer.answers["r"] = [answer]
        w.put("r", site_id="bedford")
        await w.until(lambda: w.state("r") == "taken")
        await w.books.write(lambda tx: work.uncertain(tx, "bedford", NOON))
        assert (w.state("r"), w.row("r").code) == ("stuck", "unknown")
        await asyncio.sleep(3)
        assert w.state("r") == state and len(w.doer.begun["r"]) == 1

    play(story)


def test_what_was_surely_not_done_is_done_again_at_once():
    async def story(w: Shop):
        w.doer.answers["r"] = [LOST, Taken(final=True)]
        w.doer.finds["r"] = [None]
        w.put("r")
        await w.until(lambda: w.state("r") == "done")
        assert len(w.doer.begun["r"]) == 2 and w.doer.begun["r"][1] - w.doer.looked["r"][0] < 0.1

    play(story)


def test_what_is_lost_every_time_and_never_done_is_for_a_person_after_so_many_tries():
    async def story(w: Shop):
        w.doer.usual = LOST
        w.doer.finds["r"] = [None]
        w.put("r")
        await w.until(lambda: w.state("r") == "stuck", within_s=3 * 3600, every_s=10)
        assert len(w.doer.begun["r"]) == TRIES_MAX and w.row("r").code == "no_answer"

    play(story)


def test_what_was_not_done_in_time_is_not_done_any_more():
    async def story(w: Shop):
        w.doer.answers["r"] = [LOST]
        w.doer.finds["r"] = [None]
        w.put("r", until_at=NOON + 10)
        await w.until(lambda: w.state("r") == "dropped")
        assert len(w.doer.begun["r"]) == 1

    play(story)


def test_what_nobody_can_tell_is_for_a_person_after_a_day_and_was_done_once_at_most():
    async def story(w: Shop):
        w.doer.answers["r"] = [LOST]
        w.doer.finds["r"] = [Unknown("Only the vendor's own report can tell.")]
        w.put("r")
        await asyncio.sleep(3600)
        assert w.state("r") == "unknown" and 5 <= len(w.doer.looked["r"]) <= 10
        w.clock.forward(UNKNOWN_MAX_S)
        await asyncio.sleep(2)
        assert (w.state("r"), w.row("r").code) == ("stuck", "unknown") and len(w.doer.begun["r"]) == 1
        assert "Only the vendor's own report can tell." in w.row("r").reason

    play(story)


def test_what_nobody_ever_will_tell_is_for_a_person_at_once():
    async def story(w: Shop):
        w.doer.answers["r"] = [LOST]
        w.doer.finds["r"] = [Never("gone", "The vendor keeps nothing.")]
        w.put("r")
        await w.until(lambda: w.state("r") == "stuck", within_s=LOOK_S + 5)
        assert w.row("r").code == "gone" and len(w.doer.begun["r"]) == 1

    play(story)


@pytest.mark.parametrize("said", [Later("Too many questions.", 1), Misconfigured("The key is revoked."), ValueError("nonsense"), HANGS])
def test_a_question_that_is_not_answered_says_nothing_of_what_was_asked_about(said):
    async def story(w: Shop):
        w.doer.answers["r"] = [LOST]
        w.doer.finds["r"] = [said, Taken(final=True)]
        w.put("r")
        await w.until(lambda: len(w.doer.looked["r"]) == 2)
        await w.until(lambda: w.state("r") == "done")
        assert len(w.doer.begun["r"]) == 1

    play(story)


def test_a_doer_that_fails_may_have_done_it(caplog):
    async def story(w: Shop):
        w.doer.answers["r"] = [KeyError("sid")]
        w.doer.finds["r"] = [Taken(final=True)]
        w.put("r")
        await asyncio.sleep(1)
        assert (w.state("r"), w.row("r").reason) == ("unknown", "KeyError while it was being done.")
        await w.until(lambda: w.state("r") == "done")
        assert len(w.doer.begun["r"]) == 1

    play(story)
    assert "work.failed" in caplog.text


def test_a_doer_that_never_answers_is_given_up_before_its_lease_ends():
    async def story(w: Shop):
        w.doer.answers["r"] = [HANGS]
        w.doer.finds["r"] = [Taken(final=True)]
        w.put("r")
        await w.until(lambda: w.state("r") == "unknown", within_s=LEASE_S - 30)
        assert str(DO_S) in w.row("r").reason
        await w.until(lambda: w.state("r") == "done")
        assert len(w.doer.begun["r"]) == 1

    play(story)


def test_what_follows_from_an_outcome_may_fail_and_the_outcome_stands(caplog):
    async def story(w: Shop):
        w.doer.settled = lambda tx, row, outcome: (tx.run("UPDATE work SET body = 'half'"), {}["address"])
        w.put("r")
        await asyncio.sleep(1)
        assert (w.state("r"), w.row("r").body) == ("done", "")

    play(story)
    assert "work.not_followed" in caplog.text


# ---- reports that are quick, and answers that are late
@pytest.mark.parametrize("answer", [Taken("SM1"), LOST, REFUSED, Never("x", "y"), Misconfigured("z")])
def test_a_report_that_is_quicker_than_the_answer_stands(answer):
    async def story(w: Shop):
        w.doer.answers["r"] = [answer]
        w.put("r")
        await asyncio.sleep(0.2)
        assert w.state("r") == "taken"
        w.end("r")
        await asyncio.sleep(100)
        assert (w.state("r"), w.row("r").code, len(w.doer.begun["r"])) == ("done", "", 1)

    play(story)


def test_a_report_that_comes_while_it_is_looked_up_stands():
    async def story(w: Shop):
        async def slow(row):
            await asyncio.sleep(5)

        w.doer.answers["r"] = [LOST]
        w.doer.finds["r"] = [slow]
        w.put("r")
        await w.until(lambda: bool(w.doer.looked["r"]))
        w.end("r")
        await asyncio.sleep(100)
        assert w.state("r") == "done" and len(w.doer.begun["r"]) == 1

    play(story)


def test_a_clock_that_jumps_does_not_make_the_living_dead():
    async def story(w: Shop):
        w.doer.takes_s = 20
        w.put("r")
        await asyncio.sleep(1)
        w.clock.forward(3600)
        await asyncio.sleep(5)
        assert w.state("r") == "taken"
        await w.until(lambda: w.state("r") == "done")
        assert not w.doer.looked and len(w.doer.begun["r"]) == 1

    play(story)


def test_what_another_has_taken_for_dead_is_not_looked_up_while_it_is_under_way_here():
    async def story(w: Shop):
        w.doer.takes_s = 30
        w.doer.finds["r"] = [None]
        w.put("r")
        await asyncio.sleep(1)
        w.books.write_now(lambda tx: work.unknown(tx, work.one(tx, "r"), w.now, w.now, "?"))  # another replica, whose clock is ahead
        await asyncio.sleep(20)
        assert w.state("r") == "unknown" and not w.doer.looked
        await w.until(lambda: w.state("r") == "done")
        assert len(w.doer.begun["r"]) == 1

    play(story)


@pytest.mark.parametrize("late", [Taken(final=True), REFUSED, Never("x", "y")])
def test_what_came_of_an_earlier_try_changes_nothing_of_a_later_one(late):
    async def story(w: Shop):
        w.doer.takes_s = 10
        w.doer.answers["r"] = [late]
        w.put("r")
        await asyncio.sleep(1)

        def taken_by_another(tx):
            work.died(tx, w.now + LEASE_S)
            work.later(tx, work.one(tx, "r"), w.now, w.now, "not_sent", "Another found out that it was not done.")
            [row] = work.claim(tx, "twilio", w.now, 1, LEASE_S)
            return row

        theirs = w.books.write_now(taken_by_another)
        await asyncio.sleep(15)
        assert w.row("r") == theirs

    play(story)


# ---- the end of a process
def test_who_dies_over_a_row_leaves_it_unknown_when_its_lease_ends():
    for found, ends, times in (
        (Taken("SM1", final=True), "done", 1),
        (None, "done", 2),
        (Unknown("Nobody can tell yet."), "unknown", 1),
        (Never("gone", "The vendor keeps nothing."), "stuck", 1),
    ):

        async def story(w: Shop, found=found, ends=ends, times=times):
            w.doer.answers["r"] = [HANGS, Taken(final=True)]
            w.doer.finds["r"] = [found]
            w.put("r")
            await asyncio.sleep(1)
            await w.kill()
            assert w.state("r") == "taken"
            w.open()
            await asyncio.sleep(LEASE_S - 5)
            assert w.state("r") == "taken" and not w.doer.looked
            await asyncio.sleep(10)
            assert (w.state("r"), len(w.doer.begun["r"])) == (ends, times)

        play(story)


def test_the_end_of_the_program_waits_for_what_is_under_way_and_begins_nothing_more():
    async def story(w: Shop):
        w.doer.takes_s = 3
        w.put(*(f"r-{n}" for n in range(8)))
        await asyncio.sleep(1)
        begun = w.clock.monotonic()
        await w.worker.stop()
        assert 1.5 <= w.clock.monotonic() - begun <= 2.5
        assert w.state(*(f"r-{n}" for n in range(8))) == ["done"] * 4 + ["waiting"] * 4
        await asyncio.sleep(60)
        assert len(w.doer.order) == 4

    play(story)


def test_what_a_vendor_keeps_waiting_at_the_end_of_the_program_is_unknown_and_found_out_after_the_next_start():
    async def story(w: Shop):
        w.doer.answers["r"] = [HANGS]
        w.doer.finds["r"] = [Taken(final=True)]
        w.put("r")
        await asyncio.sleep(1)
        await w.worker.stop()
        assert (w.state("r"), w.row("r").reason) == ("unknown", "The program ended before an answer came.")
        assert w.worker.states()[0].why == "", "which says nothing of the vendor"
        await w.kill()
        w.open()
        await w.until(lambda: w.state("r") == "done", within_s=LOOK_S + 5)
        assert len(w.doer.begun["r"]) == 1

    play(story)


@pytest.mark.parametrize("steps", range(8))
def test_what_is_being_claimed_as_the_program_ends_is_done_and_not_left_taken(steps):
    async def story(w: Shop):
        await asyncio.sleep(0.01)
        w.put("r")
        for _ in range(steps):
            await asyncio.sleep(0)
        await w.worker.stop()
        assert w.state("r") in ("waiting", "done")

    play(story)


def test_the_end_of_the_program_comes_even_where_nobody_lets_go():
    async def story(w: Shop):
        async def stubborn(row):
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    await asyncio.sleep(1000)

        w.doer.answers["r"] = [stubborn]
        w.put("r")
        await asyncio.sleep(1)
        begun = w.clock.monotonic()
        await w.worker.stop()
        assert w.clock.monotonic() - begun < 15

    play(story)


# ---- books that cannot be written
def test_what_came_of_it_is_kept_until_the_books_can_be_written_again():
    async def story(w: Shop):
        w.put("r")
        await asyncio.sleep(0.1)
        w.db.fails = Unavailable("The disk is full.")
        await asyncio.sleep(LEASE_S + 60)
        assert w.state("r") == "taken"
        w.db.fails = None
        await w.until(lambda: w.state("r") == "done", within_s=5)
        assert len(w.doer.begun["r"]) == 1 and not w.doer.looked

    play(story)


def test_what_came_of_it_is_not_kept_for_books_that_are_damaged():
    async def story(w: Shop):
        w.put("r")
        await asyncio.sleep(0.1)
        w.db.fails = Broken("The books are damaged.")
        await asyncio.sleep(5)
        assert w.worker.states()[0].doing == 0 and w.state("r") == "taken"

    play(story)


def test_nothing_is_begun_while_the_books_cannot_be_written_and_all_is_afterwards():
    async def story(w: Shop):
        w.db.fails = Unavailable("The disk is full.")
        w.put("r")
        await asyncio.sleep(30)
        assert not w.doer.begun
        w.db.fails = None
        await w.until(lambda: w.state("r") == "done", within_s=3)

    play(story)


# ---- a clock that is not believed
@pytest.mark.rule("clock-2")
def test_by_a_clock_in_doubt_nothing_is_begun_or_too_late_or_given_up():
    doubts = ["The clock is behind the newest record."]

    async def story(w: Shop):
        w.put("due", until_at=NOON + 100)
        w.put("odd")
        w.books.write_now(lambda tx: work.unknown(tx, work.one(tx, "odd"), NOON, NOON, "?"))
        w.clock.forward(10 * 86_400)
        await asyncio.sleep(5)
        assert w.state("due", "odd") == ["waiting", "unknown"] and not w.doer.begun
        w.clock.forward(-10 * 86_400)
        doubts.clear()
        await w.until(lambda: w.state("due") == "done", within_s=3)

    play(story, doubt=lambda: doubts[0] if doubts else "")


# ---- a person has it tried again
def test_a_person_has_a_stuck_row_done_at_once():
    async def story(w: Shop):
        w.doer.answers["r"] = [Never("21608", "The sender is not allowed yet."), Taken(final=True)]
        w.put("r", until_at=NOON + 5)
        await asyncio.sleep(20)
        assert w.state("r") == "stuck"
        w.books.write_now(lambda tx: work.retry(tx, "r", w.now))
        await w.until(lambda: w.state("r") == "done", within_s=1)

    play(story)


def test_rows_of_a_lane_that_is_not_worked_any_more_are_still_found_out_about():
    async def story(w: Shop):
        w.doer.finds["r"] = [Unknown("Nobody is configured who could tell.")]
        w.put("r", lane="pigeons", since_at=NOON)
        w.books.write_now(lambda tx: work.unknown(tx, work.one(tx, "r"), NOON, NOON, "?"))
        await asyncio.sleep(3)
        assert len(w.doer.looked["r"]) == 1
        w.clock.forward(UNKNOWN_MAX_S)
        await asyncio.sleep(3)
        assert w.state("r") == "stuck"

    play(story)
