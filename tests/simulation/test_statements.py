"""Two replicas on one database, statement by statement: nothing is lost between them, and what keeps them apart is missed when it is gone."""

import asyncio
import sqlite3

import msgspec
import pytest

from shared.runtime.database import Tx
from shared.runtime.database_disk import DiskUnavailable
from tests.simtime import simulate
from tests.simulation.run import play
from tests.simulation.schedule import draw
from tests.simulation.statements import BUSY_TIMEOUT_S, Gate, Replica, SharedDisk
from tests.simulation.themes import seed_of
from tests.world import Dead

JOBS = 40


def purse() -> bytes:
    """Two accounts with 100 between them."""
    c = sqlite3.connect(":memory:")
    c.executescript("CREATE TABLE purse (id INTEGER PRIMARY KEY, cents INTEGER); INSERT INTO purse VALUES (1, 100), (2, 0);")
    return c.serialize()


class Two:
    """Two processes that keep one purse."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int, twin: str = ""):
        self.gate = Gate(loop, seed, twin)
        self.disk = SharedDisk(self.gate, purse())
        self.killed: list[str] = []
        self.replicas = [self.new(name) for name in ("one", "two")]

    def new(self, name: str) -> Replica:
        def died() -> None:
            self.killed.append(name)
            replica.kill()

        replica = Replica(self.disk, name, died)
        return replica

    def cents(self) -> list[int]:
        return [cents for (cents,) in self.disk.connection.execute("SELECT cents FROM purse ORDER BY id")]


def run(seed: int, do, twin: str = ""):
    async def day(loop):
        two = Two(loop, seed, twin)
        try:
            return await do(two)
        finally:
            two.gate.close()

    return simulate(lambda loop: day(loop))


def balance(tx: Tx, account: int) -> int:
    return tx.one("SELECT cents FROM purse WHERE id = :i", {"i": account})[0]


def move(tx: Tx) -> None:
    """One cent from the first account to the second: two reads, then two writes of what was read."""
    first, second = balance(tx, 1), balance(tx, 2)
    tx.run("UPDATE purse SET cents = :c WHERE id = 1", {"c": first - 1})
    tx.run("UPDATE purse SET cents = :c WHERE id = 2", {"c": second + 1})


async def both_move(two: Two) -> list[int]:
    await asyncio.gather(*(r.write(move) for _ in range(JOBS) for r in two.replicas))
    return two.cents()


async def one_after_another(two: Two) -> list[int]:
    """So that no job shares a transaction with the next."""

    async def work(replica: Replica) -> None:
        for _ in range(JOBS):
            await replica.write(move)

    await asyncio.gather(*(work(r) for r in two.replicas))
    return two.cents()


@pytest.mark.parametrize("seed", range(6))
def test_nothing_that_one_replica_writes_is_lost_on_the_other(seed):
    assert run(seed, both_move) == [100 - 2 * JOBS, 2 * JOBS]
    assert run(seed, one_after_another) == [100 - 2 * JOBS, 2 * JOBS]


def test_statements_of_both_alternate_and_whoever_meets_the_lock_waits():
    async def count(two: Two):
        await one_after_another(two)
        return two.gate.count

    counts = [run(seed, count) for seed in range(6)]
    assert all(c["switches"] > JOBS for c in counts) and sum(c["lock_waits"] for c in counts) > JOBS


def test_the_same_seed_gives_the_same_interleaving_and_another_seed_another():
    async def trace(two: Two):
        await one_after_another(two)
        return two.gate.trace

    traces = [run(seed, trace) for seed in range(5)]
    assert traces == [run(seed, trace) for seed in range(5)] and len(set(traces)) == 5


def test_without_a_transaction_around_them_statements_of_two_replicas_lose_writes():
    assert any(run(seed, one_after_another, "single") != [100 - 2 * JOBS, 2 * JOBS] for seed in range(3))


def test_a_transaction_that_begins_without_the_lock_is_refused_when_it_comes_to_write():
    with pytest.raises(DiskUnavailable):
        for seed in range(3):
            run(seed, one_after_another, "deferred")


async def reads(two: Two) -> set[int]:
    """What the accounts hold together, read in two statements while both replicas move cents."""
    work = asyncio.gather(*(one_after_another(two) for _ in range(1)))
    seen = set()
    while not work.done():
        seen.add(two.replicas[0].read(lambda tx: balance(tx, 1) + balance(tx, 2)))
        await asyncio.sleep(0.003)
    await work
    return seen


def test_a_read_is_of_one_moment_whoever_commits_between_its_statements():
    assert all(run(seed, reads) == {100} for seed in range(6))
    assert any(run(seed, reads, "torn") != {100} for seed in range(6))


@pytest.mark.parametrize("seed", range(8))
def test_a_process_that_is_killed_between_two_statements_leaves_whole_transactions_only(seed):
    async def day(two: Two):
        first, second = two.replicas
        first.crash_in = 3
        works = [asyncio.create_task(r.write(move)) for _ in range(JOBS) for r in two.replicas]
        done = await asyncio.gather(*works, return_exceptions=True)
        assert two.killed == ["one"] and first.dead and not second.dead
        assert any(isinstance(d, Dead) for d in done[::2]) and not any(done[1::2])
        for late in (first.read, first.write_now):
            with pytest.raises(Dead):
                late(lambda tx: balance(tx, 1))
        first_again = two.new("one")
        await first_again.write(move)
        return sum(d is None for d in done), two.cents()

    answered, (left, moved) = run(seed, day)
    assert left + moved == 100 and moved >= answered + 1


def test_who_finds_another_program_with_the_lock_waits_for_ten_seconds_and_then_says_so():
    async def held(two: Two, seconds: float) -> list[int]:
        other = sqlite3.connect(two.disk.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(seconds, other.rollback)
        try:
            await two.replicas[0].write(move)
        finally:
            other.close()
        return two.cents()

    assert run(1, lambda two: held(two, BUSY_TIMEOUT_S - 2)) == [99, 1]
    with pytest.raises(DiskUnavailable, match="Another program holds the books"):
        run(1, lambda two: held(two, BUSY_TIMEOUT_S + 5))


def test_an_operators_word_is_written_while_both_are_in_the_middle_of_something():
    async def day(two: Two):
        works = [asyncio.create_task(r.write(move)) for r in two.replicas for _ in range(JOBS)]
        for _ in range(10):
            two.replicas[0].write_now(move)
            await asyncio.sleep(0.002)
        await asyncio.gather(*works)
        return two.cents()

    assert run(3, day) == [100 - 2 * JOBS - 10, 2 * JOBS + 10]


def test_a_replica_hears_what_the_other_has_committed():
    async def day(two: Two):
        heard = [asyncio.Event() for _ in two.replicas]
        for replica, event in zip(two.replicas, heard, strict=True):
            replica.listen(lambda events, event=event: ("moved", "1") in events and event.set())
        for _ in range(10):  # now and then it does not
            await two.replicas[0].write(lambda tx: tx.tell("moved", "1"))
        async with asyncio.timeout(5):
            await asyncio.gather(*(event.wait() for event in heard))
        return [event.is_set() for event in heard]

    assert run(2, day) == [True, True]


def test_a_backup_of_a_shared_disk_is_what_is_committed_and_can_be_put_back():
    async def day(two: Two):
        await two.replicas[0].write(move)
        copy = two.disk.image()
        await two.replicas[1].write(move)
        other = two.disk.another(copy)
        return two.cents(), [cents for (cents,) in other.connection.execute("SELECT cents FROM purse ORDER BY id")]

    assert run(1, day) == ([98, 2], [99, 1])


# ---- days
def of_theme(n: int, *, twin: str = "", without: tuple[str, ...] = ()):
    day = draw(seed_of("replicas", n))
    return msgspec.structs.replace(day, settings=day.settings | {"twin": twin}, without=list(without))


def test_a_day_of_replicas_is_the_same_to_the_last_statement_and_tells_them_on_demand():
    told: list[str] = []
    first = play(of_theme(1), tell=told.append, statements=True)
    assert not first.failure and first.trace == play(of_theme(1)).trace
    assert first.counts["statements"] > 5000 and first.counts["switches"] > 300 and first.counts["asked_both"] > 10
    begins = [line.split("|")[1].split()[0] for line in told if line.endswith("BEGIN IMMEDIATE")]
    assert {"hub", "hub2"} == set(begins)


def test_replicas_are_killed_in_the_middle_of_transactions():
    results = [play(of_theme(n)) for n in (2, 3)]
    assert not [r.failure for r in results if r.failure]
    assert sum(r.counts.get("killed_inside", 0) for r in results) > 0


@pytest.mark.parametrize("guard", ["claim_is_exclusive", "decided_once", "same_body"])
def test_a_guard_that_is_gone_is_missed_where_replicas_meet(guard):
    assert any(play(of_theme(n, without=(guard,))).failure for n in range(1, 7))


@pytest.mark.parametrize("twin", ["deferred", "single"])
def test_replicas_that_nothing_keeps_apart_do_harm(twin):
    assert all(play(of_theme(n, twin=twin)).failure for n in (1, 2))
