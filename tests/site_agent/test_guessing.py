"""Guessing at PINs and passwords: many tries at once are as many tries, and a PIN that is not good now tells a guesser nothing for free."""

import asyncio

from site_agent.services.visits import checkin
from tests.site_agent.site_world import PASSWORD, Client, code_of


def wrong_pins(world, n: int) -> list[str]:
    taken = {row[0] for row in world.db.read(lambda tx: tx.all("SELECT pin FROM pins"))}
    return [pin for pin in (f"{number:06d}" for number in range(482915, 482915 + n * 3)) if pin not in taken][:n]


async def come(world, code: str):
    return await world.kiosk.post("/api/check-in", {"code": code})


async def test_wrong_pins_typed_all_at_once_are_counted_before_they_are_judged(world, monkeypatch):
    write = world.db.write

    async def takes_a_moment(fn):
        await asyncio.sleep(0)
        return await write(fn)

    monkeypatch.setattr(world.db, "write", takes_a_moment)
    answers = await asyncio.gather(*(come(world, pin) for pin in wrong_pins(world, 40)))
    codes = [code_of(answer)[1] for answer in answers]
    assert codes.count("pin_unknown") == checkin.KIOSK_TRIES_MAX and codes.count("too_many_tries") == 40 - checkin.KIOSK_TRIES_MAX


async def test_wrong_passwords_sent_all_at_once_are_counted_before_they_are_judged(world):
    tries = [world.anybody.post("/api/sign-in", {"user": "sam", "password": f"not it at all {n}"}) for n in range(20)]
    codes = [code_of(answer)[1] for answer in await asyncio.gather(*tries)]
    assert codes.count("wrong_credentials") == 5 and codes.count("too_many_tries") == 15


async def test_good_sign_ins_at_once_do_not_lock_anybody_out(world):
    tries = [world.anybody.post("/api/sign-in", {"user": "sam", "password": PASSWORD}) for _ in range(4)]
    assert [answer.status_code for answer in await asyncio.gather(*tries)] == [200] * 4
    for _ in range(10):
        assert (await world.anybody.post("/api/sign-in", {"user": "sam", "password": PASSWORD})).status_code == 200


async def test_good_pins_are_no_tries(world):
    booking = await world.booked(1, 0)
    for _ in range(checkin.KIOSK_TRIES_MAX + 2):
        assert (await come(world, booking["pin"])).status_code == 200


async def test_pins_of_other_days_are_tries_too_so_that_nobody_collects_them(world):
    later = [await world.booked(1, 4 + 4 * n) for n in range(4)]
    told = [code_of(await come(world, later[n % 4]["pin"]))[1] for n in range(checkin.KIOSK_TRIES_MAX + 1)]
    assert told == ["pass_early"] * checkin.KIOSK_TRIES_MAX + ["too_many_tries"]


async def test_a_code_that_cannot_be_a_pin_is_no_try(world):
    booking = await world.booked(1, 0)
    for _ in range(checkin.KIOSK_TRIES_MAX + 2):
        assert code_of(await come(world, "https://example.test/menu")) == (403, "pass_invalid")
        assert code_of(await come(world, "12345")) == (403, "pin_unknown")
    assert (await come(world, booking["pin"])).status_code == 200


async def test_a_stranger_on_the_network_cannot_lock_an_account_for_everybody(world):
    stranger = Client(world, address="192.0.2.66")
    for _ in range(8):
        await stranger.post("/api/sign-in", {"user": "sam", "password": "not it at all"})
    assert code_of(await stranger.post("/api/sign-in", {"user": "sam", "password": PASSWORD})) == (429, "too_many_tries")
    assert (await world.anybody.post("/api/sign-in", {"user": "sam", "password": PASSWORD})).status_code == 200


async def test_guessing_from_many_addresses_locks_the_account_all_the_same(world):
    for n in range(1, 40):
        await Client(world, address=f"192.0.2.{n}").post("/api/sign-in", {"user": "sam", "password": "not it at all"})
    fresh = Client(world, address="192.0.2.200")
    assert code_of(await fresh.post("/api/sign-in", {"user": "sam", "password": PASSWORD})) == (429, "too_many_tries")
