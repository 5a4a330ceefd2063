"""Disks that die under load: a side put back from a backup taken earlier in the run, a facility adopted by a new box, the old box that wakes.

For: doing it with the product's own commands, and noting what loss-3 allows to be lost by it. Not for: what must hold in the end (`verdict`).
Invariant: one disk at a time, and the next only after the repair of the one before, as the promise of loss-3 speaks of one loss.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import msgspec

from deploy.demo.addresses import DemoError
from deploy.demo.data import Person
from deploy.demo.processes import until
from shared.ledger import records, streams
from shared.model import Booking
from shared.runtime import backup
from shared.runtime.vault import FolderVault
from tests import invariants
from tests.chaos.machines import Machines
from tests.chaos.verdict import HUB_DATABASE, SITE_DATABASE, peek

HEALED_WITHIN_S = 90.0
FIRST_AFTER_S = 4.0
BREAK_S = (1.0, 4.0)
WALK_IN = Person("Testa Birdie", "", "testa-late@example.test")


class Losses(msgspec.Struct):
    """What happened, and what may be missing because of it.

    `doubtful`: bookings of which only the lost disk had the last word: not in the backup, and not applied by the other side. `late`: those of
    them that a replaced box has in its books as its own sales; it hands them in when it wakes. `done`: how often what was done.
    """

    doubtful: set[str] = set()
    late: dict[str, str] = {}
    done: dict[str, int] = {}
    old: dict[str, Path] = {}

    def count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1


class Surgeon:
    """Loses disks of the machines and puts them back, by one seed."""

    def __init__(self, machines: Machines, chance: random.Random, losses: Losses):
        self.machines, self._chance, self.losses = machines, chance, losses
        self._sites = [site.id for site in machines.plan.sites]
        self._backups: dict[str, list[str]] = {}

    async def work(self, until_at: float) -> None:
        """Each kind of loss at least once, in an order of the seed's; then any of them until the time is over."""
        await asyncio.sleep(FIRST_AFTER_S)
        for name in ("hub", *self._sites):
            self._backups[name] = [await self.machines.back_up(name)]
        adopted, restored = self._chance.sample(self._sites, 2)
        due = [lambda: self._restore_site(restored), self._restore_hub, lambda: self._adopt(adopted)]
        self._chance.shuffle(due)
        while due or time.monotonic() < until_at:
            act = due.pop() if due else self._any()
            await asyncio.sleep(self._chance.uniform(*BREAK_S))
            await act()
            await self._healed()

    def _any(self):
        site_id = self._chance.choice(self._sites)
        return self._chance.choice((lambda: self._restore_site(site_id), self._restore_hub, lambda: self._adopt(site_id)))

    # ---- the three
    async def _restore_hub(self) -> None:
        machines = self.machines
        async with machines.held("hub"):
            name = self._chance.choice(self._backups["hub"])
            await self._disk_dies("hub", name)
            off = self._chance.random() < 0.5
            await machines.command(
                "hub", "restore", "--name", name, "--identity", str(machines.operator_key), "--recovery-key", str(machines.recovery_key),
                *(("--old-hub-off",) if off else ()),
            )  # fmt: skip
            await machines.start_again("hub")
            if not off:
                await machines.command("hub", "vouch", "--by", "Testa Birdie")
        self.losses.count("hub restored")

    async def _restore_site(self, site_id: str) -> None:
        machines = self.machines
        async with machines.held("hub", site_id):
            name = self._backups[site_id][-1]
            another = site_id in self.losses.old or self._chance.random() < 0.5
            how = ("--grant", await machines.grant(site_id)) if another else ("--same-machine",)
            lost = await self._disk_dies(site_id, name)
            await machines.command(site_id, "restore", "--name", name, "--identity", str(machines.operator_key), *how)
            await machines.start_again(site_id)
            await self._speak(site_id)
            if another:
                self.losses.old[site_id] = lost
        self.losses.count("site restored")

    async def _adopt(self, site_id: str) -> None:
        machines = self.machines
        async with machines.held("hub", site_id):
            grant = await machines.grant(site_id)
            lost = await self._disk_dies(site_id, "")
            self._late(site_id, lost)
            words = ("--old-box-off", "--nothing-sold") if self._chance.random() < 0.5 else ()
            await machines.command(site_id, "adopt", "--grant", grant, *words)
            await machines.start_again(site_id)
            if not words:
                await self._speak(site_id)
        self.losses.count("site adopted")
        await self._healed()
        self._backups[site_id].append(await self._backed_up(site_id))
        await self._wakes(site_id, lost)

    async def _backed_up(self, name: str) -> str:
        async with self.machines.held(name):
            return await self.machines.back_up(name)

    async def _speak(self, site_id: str) -> None:
        """A person vouches, and states that nothing was sold: what is known of it too late is for the queue."""
        await self.machines.command(site_id, "vouch", "--by", "Testa Birdie")
        await self.machines.command(site_id, "state-sold", "--by", "Testa Birdie", "--reason", "nobody remembers a sale")

    async def _wakes(self, site_id: str, lost: Path) -> None:
        """The old box runs again beside its successor: it is retired, sells nothing, and hands in what it had not told."""
        machines = self.machines
        name, staff = await machines.wake_old(site_id, lost)

        async def retired() -> bool:
            return bool(self._stream(lost / SITE_DATABASE, site_id).retired)

        async def told() -> bool:
            known = self._bookings(machines.plan.hub_folder / "data" / HUB_DATABASE, site_id)
            return all(booking_id in known for booking_id, where in self.losses.late.items() if where == site_id)

        try:
            await until(f"{name} was not retired", retired, HEALED_WITHIN_S, every_s=0.5)
            async with staff:
                await staff.sign_in()
                start = int(time.time()) // 1800 * 2 + 8
                refused = await staff.book(f"never-{name}", f"{site_id}.box-1", start, start + 4, WALK_IN)
                assert refused.code == "retired", refused
            for _ in range(3):  # what it hands in may be lost with the broker; who wakes it once more gets it all
                try:
                    await until("The late sales did not come", told, 20, every_s=0.5)
                    break
                except DemoError:
                    await machines.forget(name)
                    name, again = await machines.wake_old(site_id, lost)
                    await again.http.aclose()
            assert await told(), f"{name} did not hand in what it had sold"
        finally:
            await machines.forget(name)
        self.losses.count("old box woken")

    # ---- what is lost
    async def _disk_dies(self, name: str, backup_name: str) -> Path:
        """kill -9 and no disk any more; what loss-3 says of it is noted. `backup_name` empty: there is none."""
        machines = self.machines
        await machines.kill(name)
        lost = machines.lose_disk(name)
        for site_id in self._sites if name == "hub" else [name]:
            kept = await asyncio.to_thread(self._in_backup, name, backup_name, site_id) if backup_name else {}
            if name == "hub":
                had, other = self._word(lost / HUB_DATABASE, site_id), self._word(machines.folder(site_id) / "data" / SITE_DATABASE, site_id)
            else:
                had, other = self._word(lost / SITE_DATABASE, site_id), self._word(machines.plan.hub_folder / "data" / HUB_DATABASE, site_id)
            self.losses.doubtful |= {i for i in had.keys() | kept.keys() if had.get(i) != other.get(i) and had.get(i) != kept.get(i)}
        return lost

    def _in_backup(self, name: str, backup_name: str, site_id: str) -> dict[str, tuple]:
        plan = self.machines.plan
        owner = f"hub-{plan.described.hub_id}" if name == "hub" else f"site-{name}"
        path = plan.folder / f"seen-{backup_name}-{site_id}.db"
        if not path.exists():
            backup.fetch(FolderVault(plan.folder / "vault", owner), backup_name, self.machines.operator_key.read_text(), path)
        return self._word(path, site_id)

    def _late(self, site_id: str, lost: Path) -> None:
        """What the replaced box had sold and its hub does not have."""
        known = self._bookings(self.machines.plan.hub_folder / "data" / HUB_DATABASE, site_id)
        for b in self._bookings(lost / SITE_DATABASE, site_id).values():
            if b.id not in known and b.status == "confirmed" and b.seller == "site":
                self.losses.late[b.id] = site_id

    # ---- looking
    async def _healed(self) -> None:
        """No fence, no repair under way, the same epoch on both sides of every site."""

        async def whole() -> bool:
            for site_id in self._sites:
                hub = self._stream(self.machines.plan.hub_folder / "data" / HUB_DATABASE, site_id)
                site = self._stream(self.machines.folder(site_id) / "data" / SITE_DATABASE, site_id)
                if hub is None or site is None or hub.epoch != site.epoch:
                    return False
                if any((s.fenced, s.repair, s.closed) != ("", "", 0) for s in (hub, site)):
                    return False
            return True

        await until("A repair did not come to its end", whole, HEALED_WITHIN_S, every_s=0.3)

    @staticmethod
    def _stream(path: Path, site_id: str) -> streams.Stream | None:
        return peek(path, lambda tx: streams.read(tx, site_id))

    @staticmethod
    def _bookings(path: Path, site_id: str) -> dict[str, Booking]:
        return {b.id: b for b in peek(path, lambda tx: records.bookings_where(tx, "site_id = :s", {"s": site_id}))}

    @staticmethod
    def _word(path: Path, site_id: str) -> dict[str, tuple]:
        """What these books say of every booking, attendance included."""

        def read(tx) -> dict[str, tuple]:
            found = records.bookings_where(tx, "site_id = :s", {"s": site_id})
            return {b.id: (invariants.comparable(b), records.attendance(tx, b.id)) for b in found}

        return peek(path, read)
