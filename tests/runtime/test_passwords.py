"""Passwords and lock-out."""

import asyncio
import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.passwords import HASHINGS_AT_ONCE, PASSWORD_MAX, LockOut, Passwords, hash_token, new_token


async def test_the_right_password_passes_and_others_do_not():
    passwords = Passwords()
    stored = await passwords.hash("fairway-iron-seven")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$") and not passwords.needs_rehash(stored)
    assert await passwords.verify(stored, "fairway-iron-seven")
    for wrong in ("fairway-iron-eight", "", "fairway-iron-seven ", "x" * 100_000, "\ud800"):
        assert not await passwords.verify(stored, wrong)


async def test_an_unknown_user_and_a_damaged_hash_are_a_plain_no():
    passwords = Passwords()
    assert not await passwords.verify(None, "whatever-it-is")
    assert not await passwords.verify("$argon2id$nonsense", "whatever-it-is")
    assert passwords.needs_rehash("$argon2id$nonsense")


async def test_an_unknown_user_costs_a_hashing_as_well(monkeypatch):
    passwords, verified = Passwords(), []
    plain = passwords._matches
    monkeypatch.setattr(passwords, "_matches", lambda stored, password: verified.append(stored) or plain(stored, password))
    await passwords.verify(None, "whatever-it-is")
    await passwords.verify(None, "x" * (PASSWORD_MAX + 1))
    assert len(verified) == 2 and all(stored.startswith("$argon2id$") for stored in verified)


@pytest.mark.parametrize("password", ["", "short", "x" * (PASSWORD_MAX + 1)])
async def test_a_password_too_short_or_long_is_told(password):
    with pytest.raises(ValueError, match="10 to 256"):
        await Passwords().hash(password)


async def test_no_more_than_two_are_hashed_at_once_and_none_on_the_loop(monkeypatch):
    passwords, running, most, threads = Passwords(), 0, 0, set()
    lock, gate = threading.Lock(), threading.Event()

    def slow(stored, password):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            threads.add(threading.get_ident())
            if running == HASHINGS_AT_ONCE:
                gate.set()
        assert gate.wait(5)
        with lock:
            running -= 1
        return False

    monkeypatch.setattr(passwords, "_matches", slow)
    await asyncio.gather(*(passwords.verify("s", "p") for _ in range(10)))
    assert most == HASHINGS_AT_ONCE and threading.get_ident() not in threads


async def test_nothing_of_a_password_is_logged(caplog):
    passwords = Passwords()
    with caplog.at_level(logging.DEBUG):
        await passwords.verify(await passwords.hash("fairway-iron-seven"), "fairway-iron-eight")
    assert "fairway" not in caplog.text


def test_tokens_are_long_different_and_hashed_alike():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100 and all(len(token) == 43 for token in tokens)
    assert hash_token("a") == hash_token("a") != hash_token("b") and len(hash_token("")) == 64
    assert hash_token("\ud800") != hash_token("?")
    with pytest.raises(ValueError, match="16"):
        new_token(8)


def test_five_wrong_tries_lock_until_the_window_has_passed():
    lock = LockOut(tries_max=5, window_s=900)
    keys = ("account:7", "ip:192.0.2.1")
    for number in range(5):
        assert lock.wait_s(keys, number) == 0
        lock.failed(keys, number)
    assert lock.wait_s(keys, 5) == 896 and lock.wait_s(["account:7"], 5) > 0 and lock.wait_s(["ip:192.0.2.1", "account:8"], 5) > 0
    assert lock.wait_s(["account:8"], 5) == 0
    assert lock.wait_s(keys, 899.5) == 1 and lock.wait_s(keys, 900) == 0
    lock.failed(keys, 901)
    assert lock.wait_s(keys, 901) == 0


def test_a_try_that_was_counted_ahead_can_be_taken_back():
    lock = LockOut(tries_max=2)
    lock.failed(["account"], 0)
    lock.failed(["account"], 1)
    assert lock.wait_s(["account"], 1) > 0
    lock.take_back(["account", "never heard of"])
    assert lock.wait_s(["account"], 1) == 0
    lock.take_back(["account"])
    assert len(lock._tries) == 0


def test_a_good_sign_in_forgets_the_account_only():
    lock = LockOut(tries_max=2)
    for _ in range(2):
        lock.failed(["account", "ip"], 0)
    lock.passed("account")
    assert lock.wait_s(["account"], 1) == 0 and lock.wait_s(["ip"], 1) > 0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 2000)), max_size=300))
def test_a_lock_out_is_bounded_in_memory_and_time(tries):
    lock, now = LockOut(keys_max=20), 0.0
    for key, gap in tries:
        now += gap
        lock.failed([str(key)], now)
        assert 0 <= lock.wait_s([str(key)], now) <= 901
    assert len(lock._tries) <= 20
