"""The ticker calls on time, goes on after an error, and never overlaps itself."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from shared.runtime.scheduler import Ticker


@pytest.fixture
async def ticker():
    ticker = Ticker()
    ticker.start()
    yield ticker
    ticker.stop()
    await asyncio.sleep(0)


async def until(condition, within_s=5.0):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def test_plain_functions_and_coroutines_are_called_again_and_again(ticker):
    called = []

    async def later():
        await asyncio.sleep(0)
        called.append("later")

    ticker.every(0.02, lambda: called.append("now"), "now")
    ticker.every(0.02, later, "later")
    await until(lambda: called.count("now") >= 3 and called.count("later") >= 3)
    assert ticker.runs["now"] >= 3 and not ticker.errors


async def test_an_error_is_counted_and_logged_and_the_next_call_comes(ticker, caplog):
    def broken():
        raise RuntimeError("no such thing")

    with caplog.at_level(logging.ERROR, "runtime.scheduler"):
        ticker.every(0.02, broken, "broken")
        await until(lambda: ticker.errors["broken"] >= 2)
    assert caplog.records[0].getMessage() == "ticker.call_failed"
    assert caplog.records[0].fields == {"call": "broken"}


async def test_a_call_that_takes_long_does_not_overlap_itself(ticker):
    at_once, most, done = 0, 0, 0

    async def slow():
        nonlocal at_once, most, done
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.07)
        at_once -= 1
        done += 1

    ticker.every(0.02, slow, "slow")
    await until(lambda: done >= 2)
    assert most == 1


async def test_calls_that_a_blocked_loop_has_missed_are_made_up_for_by_one_at_once(ticker):
    called = []
    ticker.every(30, lambda: called.append(1), "beat")
    # What a loop finds that was blocked meanwhile: three calls due, all of them for longer than the library's default second.
    ticker._scheduler.get_job("beat").modify(next_run_time=datetime.now(UTC) - timedelta(seconds=75))
    await until(lambda: called)
    await asyncio.sleep(0.02)
    assert len(called) == ticker.runs["beat"] == 1 and not ticker.errors


async def test_a_clock_that_is_set_back_does_not_silence_it():
    ticker, called = Ticker(look_every_s=0.05), []
    ticker.every(0.5, lambda: called.append(1), "beat")
    ticker.start()
    # What is left behind by a clock set back an hour: a next call an hour away.
    ticker._scheduler.get_job("beat").modify(next_run_time=datetime.now(UTC) + timedelta(hours=1))
    await until(lambda: called)
    ticker.stop()
    assert ticker.runs["beat"] == 1 and not ticker.errors


async def test_a_name_is_taken_once_and_a_period_is_above_nothing(ticker):
    ticker.every(1, lambda: None, "same")
    with pytest.raises(ValueError, match="named 'same'"):
        ticker.every(1, lambda: None, "same")
    with pytest.raises(ValueError, match="above 0"):
        ticker.every(0, lambda: None, "never")


async def test_nothing_is_called_after_stop(ticker):
    called = []
    ticker.every(0.02, lambda: called.append(1), "beat")
    await until(lambda: called)
    ticker.stop()
    ticker.stop()
    count = len(called)
    await asyncio.sleep(0.06)
    assert len(called) == count
