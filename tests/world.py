"""A hub and its sites as machines that can die: the product's own services, jobs, ledger and link under one seeded scheduler.

For `tests/simulation`, which says what people and fate do here. Everything that is wired in `site_agent.app` and `cloud_hub.app` is wired
the same way, but for HTTP and accounts; clocks, chance, disks, network and ticker are the world's. Invariant: two worlds of one seed in
which the same is done behave the same to the last byte.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from types import coroutine
from typing import TYPE_CHECKING, Any
from zlib import crc32

from shared.ledger.desk import Limits
from shared.runtime.clock import Chance
from shared.runtime.database import InlineWriter, Tx, followed
from shared.runtime.transport import Faults, MemoryNetwork
from tests.simtime import LoopClock

if TYPE_CHECKING:
    from tests.simulation.statements import Replica, SharedDisk

#: Saturday 21 Nov 2026, 12:00 in Halifax
NOON = 1795276800
SITES = ("bedford", "truro")


class Dead(BaseException):
    """The process that was asked, or that asks, is gone. No `except Exception` of the product may live through it."""


#: an image with tables and no rows -> connections that held it, and know its statements: hundreds, which take a while to prepare
_SPARE: dict[int, tuple[bytes, list[sqlite3.Connection]]] = {}


def without_rows(image: bytes) -> bytes:
    """Notes that disks which begin with this image may be used again."""
    _SPARE[id(image)] = image, []
    return image


def _connected(image: bytes) -> sqlite3.Connection:
    c = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=512)
    copy = sqlite3.connect(":memory:")
    copy.deserialize(image)
    copy.backup(c)  # into pages of its own: those of an image are copied at every commit
    copy.close()
    c.execute("PRAGMA foreign_keys=ON")
    c.execute("PRAGMA journal_mode=MEMORY")
    return c


def _emptied(c: sqlite3.Connection) -> sqlite3.Connection:
    c.execute("BEGIN")
    for (table,) in c.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        c.execute(f"DELETE FROM {table}")
    c.execute("COMMIT")
    return c


class Disk:
    """What outlives a process: one SQLite database, in memory. `image()` is a backup as the online backup would make it."""

    def __init__(self, image: bytes):
        self._spare = _SPARE[id(image)][1] if id(image) in _SPARE else None
        self.connection = _emptied(self._spare.pop()) if self._spare else _connected(image)
        #: what processes and judges ask with; whoever asks takes the whole answer at once, so that one does for all
        self.cursor = self.connection.cursor()

    def close(self) -> None:
        """Nobody asks any more. What is known of the statements is kept for another disk that begins as this one did."""
        self.cursor.close()
        if self._spare is not None and not self.connection.in_transaction:
            self._spare.append(self.connection)
            self._spare = None

    def image(self) -> bytes:
        return self.connection.serialize()

    def another(self, image: bytes) -> Disk:
        """A disk of the same kind with this on it."""
        return Disk(image)

    @property
    def version(self) -> int:
        """Another number after every change."""
        return self.connection.total_changes

    def open(self, machine: Machine) -> SimWriter:
        """The books as a process of this machine has them."""
        return SimWriter(self, machine.die)


class SimWriter(InlineWriter):
    """The product's inline writer over a disk, in a process that may die at any commit: `crash_in` counts commits down, and at the last
    one the process is gone, just before the commit (`lose_last`) or just after it, when nobody has been told."""

    def __init__(self, disk: Disk, on_death: Callable[[], None]):
        super().__init__()
        self._c.close()
        self._c = disk.cursor
        self._on_death = on_death
        self.dead = False
        self.crash_in = 0
        self.lose_last = False

    def write_now(self, fn):
        if self.dead:
            raise Dead
        if self.crash_in:
            self.crash_in -= 1
            if not self.crash_in:
                self._last(fn)
        value, events = self._commit(fn)
        if events:
            for listener in self._listeners:
                listener(events)
        return value

    def _commit(self, fn) -> tuple:
        """One job, one transaction: `InlineWriter` does the same with savepoints and a judgement of the disk's errors."""
        self._c.execute("BEGIN")
        tx = Tx(self._c)
        try:
            value = followed(self._followers, fn)(tx)
        except BaseException:
            self._c.execute("ROLLBACK")
            raise
        self._c.execute("COMMIT")
        self.commits += 1
        return value, list(dict.fromkeys(tx.events))

    def _last(self, fn) -> None:
        if not self.lose_last:
            with suppress(Exception):
                self._commit(fn)
        self._on_death()
        raise Dead

    def read(self, fn):
        if self.dead:
            raise Dead
        return fn(Tx(self._c))

    async def stop(self) -> None:
        """The disk stays."""

    def kill(self) -> None:
        self.dead = True


#: jobs that look at files, at devices or at vendors, of which the world has none
LEFT_OUT = frozenset({
    "tray", "outage", "recovery", "key-errands", "backups", "mark", "doors", "door-credentials", "door-check", "door-witness", "outage-pins-watched", "sessions",
    "work", "presence", "presence-old", "stock", "stock-old",
    "notifications", "notifications.forget",
})  # fmt: skip


def begun(work: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any] | None:
    """Takes the first step of a job; most have no second, and need no task. What is left of it otherwise."""
    try:
        waits_for = work.send(None)
    except StopIteration:
        return None
    return _go_on(work, waits_for)


@coroutine
def _go_on(work: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """What waits for `waits_for`, as if it had been asked for just now."""
    while True:
        try:
            heard = yield waits_for
        except BaseException as error:
            go = partial(work.throw, error)
        else:
            go = partial(work.send, heard)
        try:
            waits_for = go()
        except StopIteration as end:
            return end.value


class SimTicker:
    """`jobs` enter their calls here as with the product's ticker; a call that is under way is not begun again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: random.Random):
        self._loop, self._rng = loop, rng
        self._stopped = False
        self._calls: list[tuple[float, Callable, str]] = []
        self._busy: dict[str, asyncio.Task] = {}

    def every(self, seconds: float, fn: Callable, name: str) -> None:
        if name not in LEFT_OUT:
            self._calls.append((seconds, fn, name))

    def start(self) -> None:
        """Processes do not begin in step with each other."""
        for seconds, fn, name in self._calls:
            self._loop.call_later(self._rng.uniform(0, min(seconds, 5.0)), self._run, seconds, fn, name)

    def _run(self, seconds: float, fn: Callable, name: str) -> None:
        if self._stopped:
            return
        self._loop.call_later(seconds, self._run, seconds, fn, name)
        if name not in self._busy or self._busy[name].done():
            work = fn()
            if asyncio.iscoroutine(work) and (rest := begun(work)) is not None:
                self._busy[name] = self._loop.create_task(rest)

    def stop(self) -> None:
        self._stopped = True


class Machine(ABC):
    """One box: a disk, a clock, and while it is up a process. `name` is also the client id of its link, where it has one only."""

    side = ""

    def __init__(self, world: World, name: str, disk: Disk | SharedDisk):
        self.world, self.name, self.disk = world, name, disk
        self.clock = LoopClock(world.loop, world.start_at)
        self.db: SimWriter | Replica | None = None
        self.ticker: SimTicker | None = None
        self.lives = 0
        self.term, self.grant = 1, ""
        self.box_id = f"{name}-box"
        #: what `restore` or `adopt` does to the books before the process begins: `(tx, desk)`, once
        self.prepare: Callable | None = None

    # ---- life
    @property
    def up(self) -> bool:
        return self.db is not None and not self.db.dead

    def chance(self) -> Chance:
        """Anew for every life: what a process drew dies with it."""
        self.lives += 1
        return Chance(crc32(f"{self.world.seed}/{self.name}/{self.lives}".encode()))

    async def start(self) -> None:
        """A process begins on this disk. May die while it starts."""
        self.db = self.disk.open(self)
        self.ticker = SimTicker(self.world.loop, random.Random(crc32(f"{self.world.seed}/{self.name}/{self.lives}/ticks".encode())))
        await self._begin()

    @abstractmethod
    async def _begin(self) -> None:
        """What a process does at its start, its books being open."""

    @abstractmethod
    def clients(self) -> tuple[str, ...]:
        """Its client ids at the broker."""

    @abstractmethod
    def pumps(self) -> list:
        """The links of its process; none where it is down."""

    def die(self) -> None:
        """The process is gone: nothing of it runs on, and the broker says its last will."""
        if self.db is not None:
            self.db.kill()
        if self.ticker is not None:
            self.ticker.stop()
        for client in self.clients():
            self.world.network.crash(client)
        self.world.note(f"{self.name} is gone")

    # ---- the books, as they are on the disk: for those who judge
    def read(self, fn):
        return fn(Tx(self.disk.connection))


class World:
    """`limits`, `zone`, `bays` as in `two_sides.World`; `without` takes guards away, for mutants. With several `replicas` of the hub these
    share one database and are interleaved statement by statement; `twin` takes away what keeps them apart (`statements.TWINS`). `readers`:
    the doors have a reader for PINs."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        seed: int,
        sites: tuple[str, ...] = SITES,
        bays: int = 4,
        limits: Limits | None = None,
        without: frozenset[str] = frozenset(),
        start_at: int = NOON,
        replicas: int = 1,
        twin: str = "",
        readers: bool = False,
    ):
        from tests.simulation.machines import Hub, Site  # machines know the world's parts; the world makes machines
        from tests.simulation.statements import Gate

        self.loop, self.seed, self.start_at, self.bays, self.without = loop, seed, start_at, bays, without
        self.slot0 = start_at // 900
        #: whether guests type PINs at the reader of a door, so that the box keeps the door controller up to date
        self.readers = readers
        self.limits = limits or Limits()
        self.network = MemoryNetwork(random.Random(crc32(f"{seed}/net".encode())), loop.call_later)
        self.site_ids = sites
        self.passed = self.skew_max = self.passed_at = 0.0
        self._cut_at: dict[str, float] = {}
        self.log: list[str] = []
        self.listeners: list[Callable[[str], None]] = []
        #: (machine, booking) that a process has written, for whoever tells people of it
        self.news: list[tuple[Machine, str]] = []
        self.gate = Gate(loop, seed, twin) if replicas > 1 else None
        self.hub = Hub(self, "hub")
        self.hubs = [self.hub] + [self.hub.replica(n) for n in range(2, replicas + 1)]
        self.sites: dict[str, Site] = {s: Site(self, s) for s in sites}
        self.strays: list[Machine] = []
        loop.set_exception_handler(self._failed)
        self.failures: list[str] = []

    # ---- telling
    def note(self, text: str) -> None:
        line = f"{self.loop.time():9.3f} {text}"
        self.log.append(line)
        for listener in self.listeners:
            listener(line)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict) -> None:
        error = context.get("exception")
        if isinstance(error, (Dead, asyncio.CancelledError)) or self._of_the_dead(context):
            return
        self.failures.append(f"{context.get('message')}: {type(error).__name__}: {error}")

    @staticmethod
    def _of_the_dead(context: dict) -> bool:
        task = context.get("task") or context.get("future")
        return context.get("exception") is None and task is not None

    def close(self) -> dict[str, int]:
        """No statement of this world runs any more, and nothing of it stays. Returns how the replicas met."""
        for disk in {id(m.disk): m.disk for m in (*self.machines, *self.strays)}.values():
            disk.close()
        if self.gate is None:
            return {}
        self.note(f"statements {self.gate.count['statements']}, interleaved as {self.gate.trace:08x}")
        self.gate.close()
        return dict(self.gate.count)

    # ---- machines
    @property
    def machines(self) -> list[Machine]:
        return [*self.hubs, *self.sites.values()]

    async def open(self) -> None:
        await asyncio.gather(*(hub.start() for hub in self.hubs))
        for site in self.sites.values():
            await site.start()

    async def start(self, machine: Machine) -> None:
        """Up again, as often as it takes."""
        while not machine.up:
            with suppress(Dead):
                await machine.start()
                self.note(f"{machine.name} is up")

    def now(self) -> float:
        """The true time, unix seconds."""
        return self._true.now()

    def forward(self, seconds: float) -> None:
        """Every clock goes on; no timer of the link notices. Cheaper than sleeping through hours of hellos."""
        if self.gate is not None:
            self.gate.finish()  # the hours that are passed over do not lie within one transaction
        self._true.forward(seconds)
        self.passed += seconds
        self.passed_at = self.loop.time()
        for machine in (*self.machines, *self.strays):
            machine.clock.forward(seconds)
            for pump in machine.pumps():
                pump._nonces.clear()  # an answer under way would tell of clocks that differ by half of what was passed over

    @property
    def _true(self) -> LoopClock:
        if not hasattr(self, "_clock"):
            self._clock = LoopClock(self.loop, self.start_at)
        return self._clock

    # ---- the network
    def attached(self, client: str) -> bool:
        """Whether this client was ever at the broker: a new box is not before it starts."""
        return client in self.network._lines

    def cut(self, site_id: str, way: str = "both", *, noticed: bool = True) -> None:
        if self.attached(self.sites[site_id].client):
            self.network.cut(self.sites[site_id].client, way, noticed=noticed)
        line = self.network._lines.get(self.sites[site_id].client)
        if line is not None and line.cut_to_broker and line.cut_from_broker:
            self._cut_at.setdefault(site_id, self.loop.time())

    def dark_for(self, site_id: str) -> float:
        """For how many seconds nothing at all can have come through, 0 where something may: a box that was replaced is not cut with its
        successor, and may be listened to while that has never been heard."""
        if site_id not in self._cut_at or any(stray.up and stray.site_id == site_id for stray in self.strays if stray.side == "site"):
            return 0.0
        return self.loop.time() - self._cut_at[site_id]

    def heal(self, site_id: str | None = None) -> None:
        """Every cut of this site's link (of all) is over."""
        for s in (site_id,) if site_id else self.site_ids:
            self._cut_at.pop(s, None)
            for client in (self.sites[s].client, *(f"{hub.name}-{s}" for hub in self.hubs)):
                if self.attached(client):
                    self.network.heal(client)

    def calm(self) -> None:
        self.network.faults = Faults(delay_s=(0.005, 0.03))

    def at_rest(self) -> bool:
        """Every link is up and nothing waits on any side."""
        return all(self._at_rest(s) for s in self.site_ids)

    def _at_rest(self, site_id: str) -> bool:
        both = (self.hub.stream(site_id), self.sites[site_id].stream(site_id))
        if not all(s is not None and s.epoch and s.sent_no == s.acked_no for s in both) or both[0].epoch != both[1].epoch:
            return False
        return all(hub.up for hub in self.hubs) and self.sites[site_id].up and self.hub.hears(site_id) and self.sites[site_id].hears()

    async def rest(self, seconds: float = 120) -> bool:
        """Waits until the world is at rest. False where it is not within `seconds` simulated."""
        until = self.loop.time() + seconds
        while self.loop.time() < until:
            if self.at_rest():
                return True
            await asyncio.sleep(0.25)
        return False
