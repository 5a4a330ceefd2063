"""Sessions on a clock that the test moves."""

from shared.runtime.clock import ManualClock
from shared.runtime.passwords import hash_token
from shared.runtime.sessions import TOUCH_EVERY_S, MemorySessionStore, Sessions


def setting() -> tuple[ManualClock, MemorySessionStore, Sessions]:
    clock, store = ManualClock(), MemorySessionStore()
    return clock, store, Sessions(store, clock.now, idle_s=600, absolute_s=3600)


async def test_a_session_is_found_by_its_cookie_and_by_nothing_else():
    _, store, sessions = setting()
    cookie = await sessions.start("staff", "s-1")
    row = await sessions.find(cookie)
    assert row is not None and (row.kind, row.subject, row.ends_at - row.created_at) == ("staff", "s-1", 3600)
    assert await store.get(cookie) is None and await store.get(hash_token(cookie)) is not None
    for wrong in ("", "x", cookie + "x", row.key_hash):
        assert await sessions.find(wrong) is None


async def test_every_sign_in_has_a_cookie_of_its_own():
    _, _, sessions = setting()
    assert await sessions.start("staff", "s-1") != await sessions.start("staff", "s-1")


async def test_an_idle_session_ends_and_a_used_one_does_not_until_its_absolute_end():
    clock, store, sessions = setting()
    idle, used = await sessions.start("staff", "s-1"), await sessions.start("staff", "s-2")
    for _ in range(7):
        clock.forward(500)
        assert await sessions.find(used) is not None
    assert await sessions.find(idle) is None and await store.get(hash_token(idle)) is None
    clock.forward(100)
    assert await sessions.find(used) is None


async def test_being_seen_is_written_at_most_once_a_minute():
    clock, store, sessions = setting()
    cookie = await sessions.start("staff", "s-1")
    born = (await sessions.find(cookie)).seen_at
    clock.forward(TOUCH_EVERY_S - 1)
    await sessions.find(cookie)
    assert (await store.get(hash_token(cookie))).seen_at == born
    clock.forward(1)
    await sessions.find(cookie)
    assert (await store.get(hash_token(cookie))).seen_at == born + TOUCH_EVERY_S


async def test_signing_out_ends_one_and_removal_ends_all():
    _, _, sessions = setting()
    first, second, other = [await sessions.start("staff", who) for who in ("s-1", "s-1", "s-2")]
    await sessions.end(first)
    await sessions.end("never-was")
    assert await sessions.find(first) is None and await sessions.find(second) is not None
    assert await sessions.end_all("staff", "s-1") == 1
    assert await sessions.find(second) is None and await sessions.find(other) is not None


async def test_what_has_expired_is_purged():
    clock, store, sessions = setting()
    await sessions.start("staff", "s-1")
    clock.forward(601)
    kept = await sessions.start("staff", "s-2")
    assert await sessions.purge() == 1 and await sessions.find(kept) is not None
