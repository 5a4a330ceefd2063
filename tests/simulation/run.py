"""One day from its first action to the judgement: `play(schedule)`.

While it runs the cheap invariants are looked at every few seconds; at the end every link is healed, every machine is up, the queues drain,
and the books are held against each other and against the oracle. Invariant: the same schedule gives the same trace, byte for byte.
"""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import gc
import hashlib
import logging
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from shared.ledger.desk import Limits
from tests import invariants
from tests.simtime import simulate
from tests.simulation.fate import Fate
from tests.simulation.glance import Glance
from tests.simulation.oracle import Oracle
from tests.simulation.papers import Papers
from tests.simulation.people import People
from tests.simulation.schedule import Schedule
from tests.simulation.troubles import TROUBLES, Troubles
from tests.simulation.visitors import VISITS, Visitors
from tests.world import Dead, World

FATE = frozenset({"pass", "weather", "cut", "heal", "crash", "broker", "replay", "skew", "backup", "restore", "rewind", "rot", "lose_disk",
                  "old_box_wakes", "hours", "second_machine"})  # fmt: skip
GLANCE_EVERY_S, LOOK_EVERY_S = 1.5, 40.0
#: of sqlite3.h
SQLITE_CONFIG_SINGLETHREAD, SQLITE_CONFIG_MEMSTATUS = 1, 9


class Result(msgspec.Struct, kw_only=True):
    """What came of one day. `failure` is the first broken promise, as a sentence; empty where all were kept."""

    seed: int
    failure: str
    counts: dict[str, int]
    double_sales: int
    lost: int
    trace: str
    took_s: float
    log: list[str] = []


def play(schedule: Schedule, *, tell: Callable[[str], None] | None = None, keep_log: bool = False, statements: bool = False) -> Result:
    """Plays the day. Never raises for what the product does wrong: that is the result. `tell` hears every line as it happens; with
    `statements` also every statement of the hub's replicas."""
    began, oracle = time.perf_counter(), Oracle()
    worlds: list[World] = []
    silent = logging.root.manager.disable >= logging.CRITICAL  # every change of it makes all loggers forget what they know
    if not silent:
        logging.disable(logging.CRITICAL)
    _settle_memory()
    gc.disable()  # a day makes little rubbish that is in circles; it is all taken away before the next
    try:
        failure = simulate(lambda loop: _day(loop, schedule, oracle, worlds, tell, tell if statements else None)) or ""
    except Exception as e:  # the harness or the product broke: a failure of this seed like any other
        failure = f"{type(e).__name__}: {e}"
        if tell is not None:
            import traceback

            traceback.print_exc()
    finally:
        gc.enable()
        if not silent:
            logging.disable(logging.NOTSET)
    world = worlds[0] if worlds else None
    oracle.count.update(world.close() if world else {})
    log = world.log if world else []
    trace = hashlib.sha256("\n".join(log).encode()).hexdigest()[:16]
    lost = oracle.count.pop("lost", 0)
    return Result(
        seed=schedule.seed, failure=failure, counts=dict(oracle.count), double_sales=len(oracle.double), lost=lost, trace=trace,
        took_s=time.perf_counter() - began, log=log if keep_log else [],
    )  # fmt: skip


@lru_cache
def _settle_memory() -> None:
    """Once per process: what was there before the first day stays, and need not be looked through after each."""
    gc.collect()
    gc.freeze()


def alone() -> None:
    """For a process with one thread that plays days and nothing else: SQLite locks and counts nothing there, which is a fifth of its time,
    and nobody listens to logs.

    To be called while no books are open; where SQLite does not lend itself to it, it stays as it is.
    """
    logging.disable(logging.CRITICAL)
    try:
        lib = ctypes.CDLL(ctypes.util.find_library("sqlite3") or "libsqlite3.so.0")
    except OSError:
        return
    lib.sqlite3_shutdown()
    lib.sqlite3_config(SQLITE_CONFIG_SINGLETHREAD)
    lib.sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0)
    lib.sqlite3_initialize()


async def _day(loop, schedule: Schedule, oracle: Oracle, worlds: list[World], tell, tell_statements) -> str:
    settings = schedule.settings
    world = World(
        loop, seed=schedule.seed, sites=tuple(settings["sites"]), bays=settings["bays"], replicas=settings.get("replicas", 1),
        limits=Limits(**settings["limits"]), without=frozenset(schedule.without), twin=settings.get("twin", ""),
        readers=settings.get("readers", False),
    )  # fmt: skip
    worlds.append(world)
    if tell is not None:
        world.listeners.append(tell)
    if world.gate is not None:
        world.gate.tell = tell_statements
    day = _Day(world, oracle)
    await world.open()
    world.calm()
    await world.rest(30)
    try:
        await day.run(schedule)
        return await day.end()
    except _Stop as stop:
        return str(stop)
    finally:
        await day.close()


class _Stop(Exception):
    """A promise is broken: no need to go on."""


class _Day:
    def __init__(self, world: World, oracle: Oracle):
        self.w, self.o = world, oracle
        self.people, self.fate = People(world, oracle), Fate(world, oracle)
        self.visitors, self.troubles = Visitors(self.people), Troubles(self.fate)
        self.glance = Glance(world, oracle, self.troubles.spoilt)
        self.doing: list[asyncio.Task] = []

    async def run(self, schedule: Schedule) -> None:
        """Every action at its moment; nobody waits for anybody."""
        begin = self.w.loop.time()
        glance_at, look_at = begin + GLANCE_EVERY_S, begin + LOOK_EVERY_S
        for action in schedule.actions:
            due = begin + action.at
            while self.w.loop.time() < due:
                await asyncio.sleep(min(due - self.w.loop.time(), max(0.0, glance_at - self.w.loop.time())) or 0.0001)
                if self.w.loop.time() >= glance_at:
                    glance_at += GLANCE_EVERY_S
                    self.people.letters()
                    self._check(self.glance.look())
                    if self.w.loop.time() >= look_at:
                        look_at += LOOK_EVERY_S
                        self._look_closely()
            do = self._who_does(action.kind)
            if action.kind == "pass":
                await do(action)
            else:
                self.doing.append(self.w.loop.create_task(do(action)))
            self._check([])

    def _who_does(self, kind: str) -> Callable:
        if kind in FATE:
            return self.fate.do
        return self.troubles.do if kind in TROUBLES else self.visitors.do if kind in VISITS else self.people.do

    def _check(self, found: list[str]) -> None:
        broken = found or self.o.breaches or self.w.failures
        if broken:
            raise _Stop(broken[0])

    def _look_closely(self) -> None:
        away = any(not m.up or m.prepare is not None for m in self.w.machines)  # books put back say so when a process has begun on them
        if away or self.troubles.spoilt or any(self.glance.hurt(s) for s in self.w.site_ids):
            return  # books under repair are judged when it is over, those that a disk has spoilt when somebody has looked
        try:
            invariants.assert_always(self.w)
        except AssertionError as e:
            raise _Stop(str(e)) from None

    # ---- the end
    async def end(self) -> str:
        """Everything heals; then it is judged. Returns the first broken promise."""
        w = self.w
        await asyncio.sleep(6)
        for task in self.doing:  # an action that broke is a fault of the harness or a bug of the product
            if task.done() and not task.cancelled() and task.exception() is not None and not isinstance(task.exception(), Dead):
                raise task.exception()
        w.calm()
        w.heal()
        for m in w.machines:
            m.clock.skew_s = 0
            if m.db is not None:
                m.db.crash_in = 0
            await w.start(m)
        for task in self.fate.tasks:
            task.cancel()
        if not await w.rest(90):
            return f"the links do not come to rest: {self._stuck()}"
        for site in w.sites.values():
            if self.fate.may_vouch(site):
                self.fate.speak(site)
        for _ in range(3):
            w.forward(1300)
            await asyncio.sleep(17)
            if not await w.rest(60):
                return f"the links do not come to rest: {self._stuck()}"
        self._check(self.glance.look())
        return self._judge()

    def _stuck(self) -> str:
        out = []
        for s in self.w.site_ids:
            for m in (self.w.hub, self.w.sites[s]):
                st = m.stream(s)
                out.append(f"{m.name}/{s} up={m.up} sent={st.sent_no} acked={st.acked_no} applied={st.applied_no} epoch={st.epoch[:8]} "
                           f"stopped={st.stopped!r} fenced={st.fenced!r} retired={st.retired!r} repair={st.repair[:8]}")  # fmt: skip
        return "; ".join(out)

    def _judge(self) -> str:
        w, o = self.w, self.o
        self._last_news()
        try:
            invariants.assert_sound(w)
            invariants.assert_equal_books(w)
        except AssertionError as e:
            problem = str(e)
        else:
            problem = ""
        found, live = self._found()
        lost = o.judge_lost(found)
        o.count["lost"] = len(lost)
        twice = o.judge_double(live)
        papers = Papers(w, o, self.fate.closed_since)
        wrong = [*twice, *lost, *o.judge_ghosts(found), *o.judge_twins(found), *o.breaches, *w.failures, *papers.wrong()]
        return wrong[0] if wrong else problem

    def _last_news(self) -> None:
        """Everybody who waits for an answer looks at the page again, and reads what the house has written."""
        self.people.letters(all_of_them=True)
        for sale in self.o.sales.values():
            if sale.told or sale.ended:
                continue
            machine = self.w.hub if sale.side == "hub" else self.w.sites[sale.site]
            b = machine.booking(sale.id)
            if b is not None and b.status == "confirmed":
                self.o.told_confirmed(b.id, b.resource_id, b.start, b.end)

    def _found(self) -> tuple[dict[str, tuple[str, bool]], dict[str, tuple[str, int, int]]]:
        found: dict[str, tuple[str, bool]] = {}
        live: dict[str, tuple[str, int, int]] = {}
        for site_id, site in self.w.sites.items():
            at_site, at_hub = site.bookings(site_id), self.w.hub.bookings(site_id)
            for b in invariants.word_of_owner(self.w, site_id).values():
                found[b.id] = b.status, b.id in at_site and b.id in at_hub
                sale = self.o.sales.get(b.id)
                if sale is None or not sale.told or sale.ended or sale.override or sale.lost_with_disk:
                    continue
                displaced = any(x.displaced for x in (at_site.get(b.id), at_hub.get(b.id)) if x is not None)
                if sale.firm or (b.status == "confirmed" and not displaced):
                    a = site.attendance(b.id)
                    live[b.id] = a.seat if a is not None and a.seat else b.resource_id, b.start, b.end
        return found, live

    async def close(self) -> None:
        for task in (*self.doing, *self.fate.tasks):
            task.cancel()
        for m in (*self.w.machines, *self.w.strays):
            if m.db is not None and not m.db.dead:
                m.die()
        await asyncio.sleep(0)


def of_seed(seed: int, **more: Any) -> Result:
    """Draws and plays the day of a seed."""
    from tests.simulation.schedule import draw

    return play(draw(seed), **more)
