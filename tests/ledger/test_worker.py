"""The queues of work: each outcome to its end, in order, within their bounds, each vendor by itself."""

import asyncio
import logging

import pytest

from shared.breaker import LONGEST_S, SHORTEST_S
from shared.ledger.worker import DO_S, LOOK_S, RECEIPT_S, TRIES_MAX, Drop, Wait
from shared.outcomes import Later, Misconfigured, Never, Taken, Unknown
from tests.ledger.work_world import HANGS, NOON, Shop, play

REFUSED = Later("Connection refused.")
LOST = Unknown("The answer was lost.")


# ---- each outcome
def test_what_is_taken_for_good_is_done():
    async def story(w: Shop):
        w.doer.answers["r"] = [Taken("SM1", final=True)]
        w.put("r")
        await asyncio.sleep(1)
        assert (w.state("r"), w.row("r").ref, w.doer.settles) == ("done", "SM1", [("r", Taken("SM1", final=True))])

    play(story)


def test_what_is_taken_waits_for_its_receipt_and_is_done_without_one_in_the_end():
    async def story(w: Shop):
        w.doer.answers["r"] = [Taken("SM1")]
        w.put("r")
        await asyncio.sleep(1)
        assert w.state("r") == "sent"
        w.clock.forward(RECEIPT_S)
        await asyncio.sleep(2)
        assert (w.state("r"), w.row("r").code) == ("done", "no_receipt") and len(w.doer.begun["r"]) == 1

    play(story)


def test_what_was_not_done_is_done_later_at_growing_distances():
    async def story(w: Shop):
        w.doer.answers["r"] = [REFUSED, REFUSED, REFUSED, Taken(final=True)]
        w.put("r")
        await w.until(lambda: w.state("r") == "done")
        first, second, third, fourth = w.doer.begun["r"]
        assert 5 <= second - first <= 7 and 10 <= third - second <= 12 and 20 <= fourth - third <= 22

    play(story)


def test_what_nobody_ever_takes_is_for_a_person_with_the_last_reason():
    async def story(w: Shop):
        w.doer.usual = REFUSED
        w.put("r")
        await w.until(lambda: w.state("r") == "stuck", within_s=4 * 3600, every_s=10)
        assert len(w.doer.begun["r"]) == TRIES_MAX
        assert (w.row("r").code, w.row("r").reason) == ("no_answer", f"Tried {TRIES_MAX} times; last: Connection refused.")

    play(story)


def test_what_will_never_be_done_is_for_a_person_at_once_and_its_doer_is_told():
    never = Never("21211", "No such number.", dead_address=True)

    async def story(w: Shop):
        w.doer.answers["r"] = [never]
        w.put("r")
        await asyncio.sleep(1)
        assert (w.state("r"), w.row("r").code, w.row("r").reason) == ("stuck", "21211", "No such number.")
        assert w.doer.settles == [("r", never)]

    play(story)


def test_a_refused_key_keeps_the_lane_until_somebody_has_mended_it_and_counts_as_no_try():
    async def story(w: Shop):
        w.doer.usual = Misconfigured("The key is revoked.")
        w.put("a", "b", "c")
        await asyncio.sleep(2 * LONGEST_S)
        assert sum(map(len, w.doer.begun.values())) <= 3 + 2, "one to try for each time that the breaker lets it"
        assert w.state("a", "b", "c") == ["waiting"] * 3 and w.row("a").code == "misconfigured"
        assert w.worker.states()[0].why == "The key is revoked."
        w.doer.usual = Taken(final=True)
        await w.until(lambda: w.state("a", "b", "c") == ["done"] * 3, within_s=LONGEST_S + 5)
        assert {w.row(row_id).tries for row_id in "abc"} == {1}

    play(story)


def test_a_time_that_the_vendor_names_is_kept_by_the_row_and_by_the_lane():
    async def story(w: Shop):
        w.doer.answers["a"] = [Later("Too many requests.", 40), Taken(final=True)]
        w.put("a")
        await asyncio.sleep(1)
        w.put("b")
        await w.until(lambda: w.state("a", "b") == ["done", "done"])
        assert 40 <= w.doer.begun["a"][1] <= 43 and 40 <= w.doer.begun["b"][0] <= 43

    play(story)


def test_a_vendor_that_wants_to_be_left_alone_for_a_day_is_asked_again_within_the_hour():
    async def story(w: Shop):
        w.doer.answers["r"] = [Later("Tomorrow.", 86_400), Taken(final=True)]
        w.put("r")
        assert await w.until(lambda: w.state("r") == "done", within_s=4000, every_s=10) > 3590

    play(story)


# ---- whether it is still wanted
def test_what_is_not_wanted_any_more_is_dropped_with_the_reason_and_not_done():
    async def story(w: Shop):
        w.doer.judges["r"] = Drop("no_longer", "The booking was cancelled.")
        w.put("r")
        await asyncio.sleep(1)
        assert (w.state("r"), w.row("r").code, w.row("r").reason) == ("dropped", "no_longer", "The booking was cancelled.")
        assert not w.doer.begun

    play(story)


def test_what_is_put_off_comes_at_its_time_and_counts_as_one_try():
    async def story(w: Shop):
        w.doer.judges["r"] = lambda tx, row, now: "now" if now >= NOON + 300 else Wait(NOON + 300, "Quiet hours.")
        w.put("r")
        await asyncio.sleep(1)
        assert (w.state("r"), w.row("r").code, w.row("r").next_at) == ("waiting", "waits", NOON + 300)
        await w.until(lambda: w.state("r") == "done")
        assert 300 <= w.doer.begun["r"][0] <= 302 and w.row("r").tries == 1

    play(story)


def test_who_puts_a_row_off_until_now_does_not_keep_the_lane_busy():
    asked = []

    async def story(w: Shop):
        w.doer.judges["r"] = lambda tx, row, now: asked.append(now) or Wait(now, "Not yet.")
        w.put("r")
        await asyncio.sleep(10)
        assert len(asked) <= 11 and w.state("r") == "waiting"

    play(story)


def test_what_is_too_late_is_dropped_and_not_done():
    async def story(w: Shop):
        w.put("late", due_at=NOON - 100, until_at=NOON)
        w.put("just", due_at=NOON - 100, until_at=NOON + 1)
        await asyncio.sleep(1)
        assert w.state("late", "just") == ["dropped", "done"] and w.row("late").code == "too_late"
        assert w.doer.order == ["just"]

    play(story)


def test_what_waited_out_an_outage_past_its_moment_is_dropped_with_what_kept_it():
    async def story(w: Shop):
        w.doer.usual = REFUSED
        w.put("r", until_at=NOON + 30)
        await w.until(lambda: w.state("r") == "dropped")
        assert w.row("r").code == "too_late" and "Connection refused." in w.row("r").reason

    play(story)


def test_work_that_nobody_here_does_is_for_a_person():
    async def story(w: Shop):
        w.put("r", kind="carrier-pigeon")
        await asyncio.sleep(1)
        assert (w.state("r"), w.row("r").code) == ("stuck", "no_doer") and "carrier-pigeon" in w.row("r").reason

    play(story)


def test_a_row_that_cannot_be_judged_keeps_no_other_waiting_and_leaves_nothing_behind(caplog):
    def half(tx, row, now):
        tx.run("UPDATE work SET body = 'half' WHERE id = ?", (row.id,))
        raise KeyError("zone")

    async def story(w: Shop):
        w.doer.judges["bad"] = half
        w.put("bad", rank=-1)
        w.put("good")
        await asyncio.sleep(1)
        assert w.state("bad", "good") == ["stuck", "done"]
        assert (w.row("bad").code, w.row("bad").body) == ("bug", "") and "KeyError" in w.row("bad").reason

    play(story)
    assert "work.not_judged" in caplog.text


# ---- order and bounds
def test_the_lowest_rank_goes_first_however_many_are_due():
    async def story(w: Shop):
        for n in (5, 3, 9, 1, 7, 2, 8, 4, 6, 0):
            w.put(f"r-{n}", rank=n)
        w.open()
        await w.until(lambda: len(w.doer.order) == 10)
        assert w.doer.order == [f"r-{n}" for n in range(10)]

    play(story, {"twilio": 1}, opened=False)


@pytest.mark.parametrize("most", [1, 3, 80])
def test_no_more_are_under_way_than_the_vendor_allows_and_as_many_as_it_does(most):
    async def story(w: Shop):
        w.put(*(f"r-{n:03}" for n in range(200)))
        await w.until(lambda: len(w.doer.order) == 200)
        assert w.doer.most == most and w.worker.states()[0].doing <= most

    play(story, {"twilio": most})


def test_nothing_waits_for_the_clock_where_there_is_room():
    async def story(w: Shop):
        await asyncio.sleep(0.01)  # the clock has just ticked
        w.put(*(f"r-{n}" for n in range(8)))
        took = await w.until(lambda: len(w.doer.order) == 8, every_s=0.01)
        assert 0.5 <= took <= 0.6, "four at once, and then four at once"

    play(story)


@pytest.mark.parametrize("steps", range(8))
def test_what_comes_while_the_lane_finds_nothing_to_claim_is_not_left_lying(steps):
    async def story(w: Shop):
        await asyncio.sleep(0.01)  # the clock has just ticked
        w.books.write_now(lambda tx: tx.tell("work", "twilio"))
        for _ in range(steps):
            await asyncio.sleep(0)  # at every step of the lane's own
        w.put("r")
        took = await w.until(lambda: bool(w.doer.begun), within_s=0.1, every_s=0.01)
        assert took < 0.1, "it was begun before the clock came round again"

    play(story)


# ---- vendors that are gone
def test_after_five_failures_nobody_asks_then_one_tries_and_its_success_lets_all_in():
    async def story(w: Shop):
        w.doer.usual = LOST
        w.put(*(f"r-{n:02}" for n in range(20)))
        await asyncio.sleep(3)
        asked = len(w.doer.order)
        assert 5 <= asked <= 8 and w.worker.states()[0].open_until > w.now
        await asyncio.sleep(SHORTEST_S)
        assert len(w.doer.order) == asked + 1, "one to try, and it failed"
        assert w.doer.most == 4
        w.doer.usual, w.doer.most = Taken(final=True), 0
        for row_id in w.doer.order:
            w.doer.finds[row_id] = [None]
        await w.until(lambda: all(w.state(f"r-{n:02}") == "done" for n in range(20)))
        assert w.doer.most == 4 and w.worker.states()[0].open_until == 0

    play(story)


def test_while_one_tries_nobody_else_does():
    async def story(w: Shop):
        w.doer.usual, w.doer.takes_s = REFUSED, 3
        w.put(*(f"r-{n:02}" for n in range(20)))
        await w.until(lambda: w.worker.states()[0].open_until > 0)
        await w.until(lambda: w.doer.under_way == 0)
        w.doer.most = 0
        await asyncio.sleep(120)
        assert w.doer.most == 1

    play(story)


def test_a_vendor_that_is_gone_keeps_no_other_waiting():
    async def story(w: Shop):
        w.doer.answers = {f"t-{n}": [HANGS] for n in range(20)}
        w.put(*(f"t-{n}" for n in range(20)))
        w.put(*(f"s-{n}" for n in range(20)), lane="sendgrid")
        took = await w.until(lambda: all(w.state(f"s-{n}") == "done" for n in range(20)))
        assert took <= 3 and [lane.doing for lane in w.worker.states()] == [4, 0]

    play(story)


def test_a_vendor_that_does_not_tell_what_it_did_keeps_no_other_from_telling():
    async def story(w: Shop):
        w.doer.answers = {"t": [LOST], "s": [LOST]}
        w.doer.finds = {"t": [HANGS], "s": [Taken(final=True)]}
        w.put("t")
        w.put("s", lane="sendgrid")
        await w.until(lambda: w.state("s") == "done", within_s=LOOK_S + 3)
        assert w.state("t") == "unknown"
        await w.until(lambda: len(w.doer.looked["t"]) == 2, within_s=DO_S + LOOK_S + DO_S)

    play(story)


def test_a_vendor_goes_once_and_comes_back_once_in_the_log(caplog):
    async def story(w: Shop):
        w.doer.usual = REFUSED
        w.put(*(f"r-{n:02}" for n in range(12)))
        await asyncio.sleep(60)
        w.doer.usual = Taken(final=True)
        await w.until(lambda: all(w.state(f"r-{n:02}") == "done" for n in range(12)))

    with caplog.at_level(logging.INFO):
        play(story)
    said = [record.message for record in caplog.records if record.message.startswith("work.vendor")]
    assert said == ["work.vendor_gone", "work.vendor_back"]


def test_a_vendor_that_is_left_alone_is_not_asked_what_became_of_things_either():
    async def story(w: Shop):
        w.doer.answers["r"] = [LOST]
        w.doer.finds["r"] = [Taken(final=True)]
        w.put("r")
        await asyncio.sleep(1)
        w.doer.answers["other"] = [Later("Too many requests.", 100), Taken(final=True)]
        w.put("other")
        await asyncio.sleep(95)
        assert not w.doer.looked
        await w.until(lambda: w.state("r", "other") == ["done", "done"], within_s=10)

    play(story)
