"""Hub, two sites and Mosquitto as real processes, killed with -9 at any moment while clients book the same bays on both sides; disks are lost
and put back from backups, a facility is adopted by a new box, and the old one wakes.

`CLUBOS_CHAOS_S` lengthens the load (seconds), `CLUBOS_CHAOS_SEED` repeats the choices of a run (not its timing).
"""

import asyncio
import os
import random
import time
from pathlib import Path

import msgspec
import pytest

from deploy.demo.processes import until
from tests.chaos import verdict
from tests.chaos.load import Client, Promises
from tests.chaos.losses import Losses, Surgeon
from tests.chaos.machines import Machines

LOAD_S = float(os.environ.get("CLUBOS_CHAOS_S", "45"))
SEED = int(os.environ.get("CLUBOS_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
CLIENTS = 10
#: longer than `link_silence_s`: a cut in which both sides know that they are alone
LONG_CUT_S = 14.0
#: longer than a request may wait for its answer (`answer_by_s`)
REST_WITHIN_S = 100.0
UNSETTLED = ("requested", "pending", "cancelling")

pytestmark = [pytest.mark.slow, pytest.mark.needs_mosquitto, pytest.mark.timeout(LOAD_S + 600)]


async def kill_machines(machines: Machines, chance: random.Random, until_at: float) -> None:
    """Kills hub or a site, and starts it again."""
    while time.monotonic() < until_at:
        await asyncio.sleep(chance.uniform(0.2, 2.0))
        victim, pause_s = chance.choice(machines.names), chance.choice((0.0, 0.5, 3.0))
        async with machines.held(victim):
            await machines.kill(victim)
            await asyncio.sleep(pause_s)
            await machines.start_again(victim)


async def kill_broker(machines: Machines, chance: random.Random, until_at: float) -> None:
    """Kills the broker, and starts it again, now and then without anything it had kept. Once it stays away long enough for both sides to sell
    on their own."""
    pauses = [LONG_CUT_S]
    while time.monotonic() < until_at:
        await asyncio.sleep(chance.uniform(3.0, 9.0))
        await machines.kill_broker()
        await asyncio.sleep(pauses.pop() if pauses else chance.choice((0.1, 1.0, 4.0)))
        await machines.start_broker(wiped=chance.random() < 0.5)


async def at_rest(machines: Machines) -> None:
    """Waits until all hear each other, no message waits and nothing is unsettled."""
    await machines.all_linked()
    hub = machines.hub()
    staff = [machines.staff(site.id) for site in machines.plan.sites]
    for one in staff:
        await one.sign_in()

    async def still() -> bool:
        waiting = sum(site["waiting_messages"] for site in await hub.sites())
        waiting += sum([(await one.link()).body["waiting"] for one in staff])
        for status in UNSETTLED:
            waiting += len((await hub.ask("GET", "/api/v1/bookings", params={"status": status})).body["bookings"])
        return not waiting

    try:
        await until("The machines did not come to rest", still, REST_WITHIN_S, every_s=0.3)
    finally:
        for client in (hub, *staff):
            await client.http.aclose()


async def work(machines: Machines, seed: int) -> tuple[Promises, Losses]:
    """The load under fire; what it was promised, and what loss-3 takes from that."""
    promises, losses = Promises(), Losses()
    hub = machines.hub()
    staff = {site.id: machines.staff(site.id) for site in machines.plan.sites}
    for one in staff.values():
        await one.sign_in()
    bays = {site.id: site.resource_ids for site in machines.plan.sites}
    until_at = time.monotonic() + LOAD_S
    clients = [Client(f"c{n}", random.Random(f"{seed}/{n}"), hub, staff, bays, promises) for n in range(CLIENTS)]
    tasks = [asyncio.ensure_future(client.run(until_at)) for client in clients]
    tasks += [
        asyncio.ensure_future(kill(machines, random.Random(f"{seed}/{kill.__name__}"), until_at)) for kill in (kill_machines, kill_broker)
    ]
    tasks.append(asyncio.ensure_future(Surgeon(machines, random.Random(f"{seed}/disks"), losses).work(until_at)))
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in (hub, *staff.values()):
            await client.http.aclose()
    return promises, losses


async def test_no_sale_is_lost_and_none_is_made_twice_however_often_machines_are_killed(tmp_path: Path) -> None:
    machines = Machines(tmp_path / "chaos")
    try:
        await machines.start()
        promises, losses = await work(machines, SEED)
        await at_rest(machines)
    finally:
        await machines.stop()
    told = {what: count for what, count in sorted(promises.told.items())}
    print(f"\nseed {SEED}; kills {machines.kills}; sold {len(promises.sold)}, given up {len(promises.gone)}, moved {len(promises.moved)},"
          f" inside {len(promises.inside)}, open {len(promises.open)}; losses {losses.done}, doubtful {len(losses.doubtful)}, late"
          f" {len(losses.late)}\nanswers {told}")  # fmt: skip
    assert promises.sold and promises.gone and promises.moved, "the load did nothing"
    assert sum(machines.kills.values()) >= 5
    assert losses.done.keys() == {"hub restored", "site restored", "site adopted", "old box woken"}
    world = verdict.books_of(machines.plan)
    verdict.assert_whole(world, promises, losses.doubtful, losses.late)
    assert_the_verdict_would_have_seen_it(world, promises, losses.doubtful)


def assert_the_verdict_would_have_seen_it(world: verdict.World, promises: Promises, doubtful: set[str]) -> None:
    """The twin: the same books with one sale taken out, and with one sold twice, do not pass."""
    booking_id, site_id = next((i, s) for i, s in promises.sold.items() if i not in doubtful and verdict.in_place(world.sites[s].bookings(s)[i]))
    book = world.sites[site_id]
    with book.altered("DELETE FROM bookings WHERE id = :id", {"id": booking_id}), pytest.raises(AssertionError, match="has lost"):
        verdict.assert_promises_kept(world, promises, doubtful)
    sold = book.bookings(site_id)[booking_id]
    twice = msgspec.structs.replace(sold, id="sold-twice")
    with book.altered(
        "UPDATE bookings SET doc = :doc WHERE id = (SELECT id FROM bookings WHERE id <> :id AND site_id = :s LIMIT 1)",
        {"doc": msgspec.json.encode(twice).decode(), "id": booking_id, "s": site_id},
    ), pytest.raises(AssertionError, match="sold-twice"):  # fmt: skip
        verdict.assert_nobody_sold_twice(world)
