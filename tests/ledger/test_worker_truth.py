"""Whatever a vendor answers, keeps to itself or reports, and wherever the process dies: every row comes to its end, and none is done twice.

The vendor keeps the truth: what it did and when. It answers look-ups truthfully, or says that it cannot tell.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ledger import work, worker
from shared.ledger.work import Work
from shared.ledger.worker import Doer
from shared.outcomes import Later, Misconfigured, Never, Outcome, Taken, Unknown
from tests.ledger.work_world import Shop, play

ROWS = 8
#: an example ends well before that, or does not end
ENDS_WITHIN_S = 24 * 3600
SAYS = ("taken", "final", "refused", "later", "busy", "lost", "late", "hangs", "fault", "never", "key")
#: how likely each is; most go well, so that an example ends soon
LIKELY = (6, 6, 2, 1, 1, 3, 2, 1, 1, 1, 1)


class Vendor:
    """Does what is asked, or not, and says so, or not. What has arrived is done even if nobody listens any more."""

    def __init__(self, seed: int, shop: Shop, finds: bool):
        self.chance, self.shop, self.finds = random.Random(seed), shop, finds
        self.did: Counter[str] = Counter()
        self.on_its_way: Counter[str] = Counter()
        self.tasks: set[asyncio.Task] = set()

    def judge(self, tx, row: Work, now: int) -> str:
        return row.id

    def settled(self, tx, row: Work, outcome: Outcome) -> None:
        return None

    async def do(self, row: Work, what: str) -> Outcome:
        says = self.chance.choices(SAYS, LIKELY)[0]
        acts = says in ("taken", "final") or says in ("lost", "late", "hangs", "fault") and self.chance.random() < 0.5
        await asyncio.sleep(self.chance.uniform(0, 2))
        if acts:
            self._arrives(row, self.chance.uniform(20, 90) if says == "late" else 0, reports=says != "final" and self.chance.random() < 0.7)
        await asyncio.sleep(self.chance.uniform(0, 2))
        return await self._answer(says)

    async def _answer(self, says: str) -> Outcome:
        if says == "hangs":
            await asyncio.Event().wait()
        if says == "fault":
            raise ValueError("nonsense")
        return {
            "taken": Taken("SM1"),
            "final": Taken(final=True),
            "refused": Later("Connection refused."),
            "later": Later("Too many requests."),
            "busy": Later("Too many requests.", 30),
            "never": Never("21211", "No such number."),
            "key": Misconfigured("The key is revoked."),
        }.get(says, Unknown("The answer was lost."))

    def _arrives(self, row: Work, after_s: float, reports: bool) -> None:
        async def act() -> None:
            await asyncio.sleep(after_s)
            self.on_its_way[row.id] -= 1
            self.did[row.id] += 1
            if reports:
                await asyncio.sleep(self.chance.uniform(0, 5))
                self.shop.books.write_now(self._report(row))

        self.on_its_way[row.id] += 1
        task = asyncio.get_running_loop().create_task(act())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _report(self, row: Work):
        def run(tx) -> None:
            known = work.reported(tx, row.mark, "")
            if known.state not in work.ENDED:
                work.end(tx, known, self.shop.now, "done")

        return run

    async def find(self, row: Work) -> Taken | None | Unknown:
        await asyncio.sleep(self.chance.uniform(0, 2))
        if self.chance.random() < 0.2:
            raise TimeoutError
        if not self.finds or self.on_its_way[row.id]:
            return Unknown("Only its own report can tell.")
        return Taken("SM1") if self.did[row.id] else None


async def lives(shop: Shop, vendor: Vendor, chance: random.Random, deaths: int) -> None:
    """Processes one after the other, each of which dies somewhere; the last lives on."""
    for _ in range(deaths):
        shop.open()
        shop.db.die_in, shop.db.lost = chance.choice([0, chance.randint(1, 30)]), chance.random() < 0.5
        dies_at = shop.clock.monotonic() + chance.uniform(0, 200)
        while not shop.db.dead and shop.clock.monotonic() < dies_at:
            await asyncio.sleep(chance.uniform(0, 3))
        await shop.kill(frozenset(vendor.tasks))
    shop.open()


def told(seed: int, finds: bool, deaths: int) -> tuple[Shop, Vendor]:
    seen: list[Vendor] = []

    async def story(shop: Shop) -> None:
        chance = random.Random(seed)
        vendor = Vendor(seed + 1, shop, finds)
        seen.append(vendor)
        shop.doers = {"message": vendor}
        for n in range(ROWS):
            shop.put(f"r-{n}", rank=n, until_at=0 if chance.random() < 0.7 else shop.now + chance.randint(1, 900))
        await lives(shop, vendor, chance, deaths)
        rows = [f"r-{n}" for n in range(ROWS)]
        await shop.until(lambda: all(s in work.ENDED for s in shop.state(*rows)), within_s=ENDS_WITHIN_S, every_s=5)
        for row_id in rows:
            row = shop.row(row_id)
            assert vendor.did[row_id] <= 1, f"{row_id} was done twice: {row}"
            assert row.state != "done" or vendor.did[row_id] == 1, f"{row_id} is said to be done and was not: {row}"
            assert row.state != "dropped" or vendor.did[row_id] == 0, f"{row_id} was done and is said not to be: {row}"

    return play(story, {"twilio": 3}, opened=False), seen[0]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A day is an hour here, and who has died is missed sooner, so that an example takes less time."""
    monkeypatch.setattr(worker, "UNKNOWN_MAX_S", 3600)
    monkeypatch.setattr(worker, "RECEIPT_S", 3600)
    monkeypatch.setattr("tests.ledger.work_world.TICK_S", 5.0)


@pytest.mark.slow  # with as many examples as CI looks at
@given(st.integers(0, 10**9), st.booleans(), st.integers(0, 4))
def test_every_row_ends_and_none_is_done_twice(seed, finds, deaths):
    _, vendor = told(seed, finds, deaths)
    assert set(vendor.did.values()) <= {0, 1}


def test_the_vendor_of_these_tests_is_a_doer_and_does_what_it_says():
    doer: Doer = Vendor(1, None, True)
    assert doer.judge(None, Work(id="r", kind="message", lane="twilio"), 0) == "r" and len(SAYS) == len(LIKELY)


def test_a_vendor_that_says_it_has_nothing_while_something_is_on_its_way_is_found_out(monkeypatch):
    """The twin: a look-up that is not truthful, and these tests see what was done twice."""

    async def liar(self, row: Work) -> None:
        return None

    monkeypatch.setattr(Vendor, "find", liar)
    with pytest.raises(AssertionError, match="was done twice"):
        for seed in range(50):
            told(seed, True, 2)
