"""How long it takes until somebody sells again after a machine was lost: a new box that takes over a facility, a hub rebuilt from its sites.

By the product's own commands and processes, over Mosquitto. What a person has to state (loss-4, loss-5) is stated beforehand.
Invariant: when the time stops the books of both sides say the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from cloud_hub import app as hub_app
from deploy.bench import children, facility, floors, history, results
from deploy.bench.bench import Bench
from deploy.bench.facility import BAYS, HUB, SITE, Facility, until
from deploy.bench.history import History
from deploy.bench.results import BenchError, Entry, Factor
from deploy.broker import BrokerError, BrokerUser, Mosquitto
from deploy.demo.clients import Client, new_id
from deploy.demo.data import Person
from shared import recovery
from shared.runtime.database import Tx
from site_agent import app as site_app

RUNS = 5
ADOPT_BAR_S, REBUILD_BAR_S = 30.0, 120.0
#: a new box's history, half of it still to come
BOOKINGS = 20_000
SITES, BOOKINGS_EACH, BAYS_EACH = 10, 5_000, 8
FLUSH_MS = 0.26
#: what is waited for at most: twice the bar
ADOPTED_WITHIN_S, REBUILT_WITHIN_S, LOOK_EVERY_S = 60.0, 240.0, 0.05
COMMAND_WITHIN_S = 120.0


# ---- a new box
async def adopt(bench: Bench) -> list[Entry]:
    """`adopt`."""
    async with facility.prepared(bench, doors=False) as place:
        await _met(place)
        at_hub = await asyncio.to_thread(_history_of_hub, place)
        with place.run_hub():
            await until("The hub of the bench did not serve", place.hub.ready)
            what = f"a new box with {at_hub} bookings at the hub, from the start of its process to its first sale"
            return [await _median(bench, "adopt", what, lambda: _adopted(place), ADOPT_BAR_S)]


async def _median(bench: Bench, name: str, what: str, once: Callable[[], Awaitable[float]], bar_s: float) -> Entry:
    """The entry of this name: the median of what `once` takes, in seconds, against the bar times the machine's factor over the same rounds."""
    took_s, floors_ms = [], []
    for number in range(1, RUNS + 1):
        floors_ms.append(floors.flush_ms(bench.folder))
        took_s.append(await once())
        bench.say(f"run {number}: {took_s[-1]:.2f} s")
    factor = Factor("flush", results.percentile(floors_ms, 50), FLUSH_MS)
    what = f"{what}, median of {len(took_s)} ({_seconds(took_s)}; {bar_s:g} s × {factor})"
    return results.at_most(name, what, results.percentile(took_s, 50), bar_s * factor.times, "s")


async def _met(place: Facility) -> None:
    """The box that will be lost has once told the hub of itself and its bays."""
    with place.run_hub():
        await until("The hub of the bench did not serve", place.hub.ready)
        with place.run_site():
            await place.linked()
            await place.quiet()


def _history_of_hub(place: Facility) -> int:
    """Half of it played, half to come; all of it was known to the box that is lost. How many."""
    books, past = place.folder / "hub" / "data" / hub_app.DATABASE, History("hub", SITE, BAYS)
    history.write(books, BOOKINGS // 2, past.past)
    history.write(books, 1, lambda tx, _: past.stock(tx, BOOKINGS))
    history.write(books, BOOKINGS // 2, past.ahead)
    history.told(books, SITE)
    return len(history.bookings(books, SITE))


async def _adopted(place: Facility) -> float:
    """One new box in an empty folder: seconds from its start to its first sale."""
    site, hub = place.folder / "site", place.folder / "hub"
    shutil.rmtree(site / "data")
    grant = await _command("cloud_hub", "grant", "--config", str(hub / "hub.toml"), "--site", SITE)
    await _command("site_agent", "adopt", "--config", str(site / "site.toml"), "--grant", grant.split()[-1], "--old-box-off", "--nothing-sold")
    began = time.perf_counter()
    with place.run_site():
        await until("The new box did not serve", place.staff.ready)
        await place.staff.sign_in()
        await until("The new box sold nothing", lambda: _sold(place), ADOPTED_WITHIN_S, LOOK_EVERY_S)
        took_s = time.perf_counter() - began
        await until("The books of the new box and the hub differ", lambda: _alike(place.folder, {SITE: site}), ADOPTED_WITHIN_S, 0.2)
    return took_s


async def _sold(place: Facility) -> bool:
    """Tries the bays one after the other: an earlier box of this run may have sold the first."""
    row = int(time.time()) // 1800 * 2 + 4
    for number in range(1, BAYS + 1):
        guest = Person("Testa Eagle", "", f"{new_id('first')}@example.test")  # one who books for the first time, whoever did before
        answer = await place.staff.book(new_id(), f"{SITE}.box-{number}", row, row + 4, guest)
        if answer.ok:
            return True
        if answer.code != "slot_taken":
            return False
    return False


# ---- a lost hub
REBUILT_TOML = """
hub_id = "bench-hub"
data_dir = "data"
log_level = "WARNING"
recovery_public = "{public}"

[clock]
rtc = "yes"

[http]
port = {port}

[mqtt]
host = "127.0.0.1"
port = {broker_port}
username = "hub"
password_file = "broker.password"
"""


class Chain:
    """A hub and its ten sites: files, ports, a broker. Made by `_chain`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sites = {f"site-{number:02d}": folder / f"site-{number:02d}" for number in range(1, SITES + 1)}
        self.broker = Mosquitto(folder / "broker", (BrokerUser(HUB, HUB), *(BrokerUser(name, name, name) for name in self.sites)))
        self.hub_port, self.key = facility.free_port(), folder / "recovery.key"
        self.hub = Client(f"http://127.0.0.1:{self.hub_port}")

    def write(self) -> None:
        """Settings and secrets of all."""
        seed = bytes(range(32))
        facility.write(self.key, recovery.secret_text(seed))
        public = recovery.public_text(recovery.key_of(recovery.secret_text(seed)))
        text = REBUILT_TOML.format(public=public, port=self.hub_port, broker_port=self.broker.port)
        rows = "".join(f'\n[[sites]]\nid = "{name}"\nname = "{name}"\n' for name in self.sites)
        facility.write(self.folder / "hub" / "hub.toml", text + rows)
        facility.write(self.folder / "hub" / "broker.password", HUB)
        for name, folder in self.sites.items():
            settings = facility.SITE_TOML.format(site=name, door_ids="[]", port=facility.free_port(), broker_port=self.broker.port)
            bays = (facility.BAY_TOML.format(site=name, number=number) for number in range(1, BAYS_EACH + 1))
            facility.write(folder / "site.toml", settings + "".join(bays))
            facility.write(folder / "broker.password", name)
            facility.write(folder / "staff.toml", "")

    def run_hub(self) -> contextlib.AbstractContextManager[children.Child]:
        return children.python(["-m", "cloud_hub", "run", "--config", str(self.folder / "hub" / "hub.toml")], self.folder / "hub.log")

    def run_site(self, name: str) -> contextlib.AbstractContextManager[children.Child]:
        return children.python(["-m", "site_agent", "run", "--config", str(self.sites[name] / "site.toml")], self.folder / f"{name}.log")


async def rebuild(bench: Bench) -> list[Entry]:
    """`rebuild`. The sites run on through all rounds; each round loses the hub's books anew."""
    what = (
        f"a lost hub rebuilt from {SITES} sites with {BOOKINGS_EACH} bookings each, from the start of its process until every site is open and"
        " the books are equal"
    )
    async with _chain(bench) as chain:
        for name in chain.sites:
            with chain.run_site(name):
                await until(f"The agent of {name} made no books", lambda at=name: _has_bays(chain, at))
        await asyncio.to_thread(_histories_of_sites, chain)
        with contextlib.ExitStack() as running:
            for name in chain.sites:
                running.enter_context(chain.run_site(name))
            return [await _median(bench, "rebuild", what, lambda: _rebuilt(chain), REBUILD_BAR_S)]


@contextlib.asynccontextmanager
async def _chain(bench: Bench) -> AsyncIterator[Chain]:
    chain = Chain(bench.fresh("chain"))
    try:
        chain.broker.start()
    except BrokerError as error:
        raise BenchError(str(error)) from None
    try:
        chain.write()
        async with chain.hub:
            yield chain
    finally:
        chain.broker.stop()


async def _has_bays(chain: Chain, name: str) -> bool:
    with contextlib.suppress(sqlite3.Error):
        return len(history.look(_books(chain.sites[name]), "SELECT 1 FROM lines WHERE site_id = ?", name)) == BAYS_EACH
    return False


def _histories_of_sites(chain: Chain) -> None:
    """Two thirds sold by the site and played, one third sold by the hub and to come; the lost hub knew it all."""
    for name, folder in chain.sites.items():
        past = History("site", name, BAYS_EACH)

        def one(tx: Tx, number: int, past: History = past) -> None:
            past.ahead(tx, number) if number % 3 == 0 else past.past(tx, number)

        history.write(_books(folder), BOOKINGS_EACH, one)
        history.told(_books(folder), name)


async def _rebuilt(chain: Chain) -> float:
    """One hub that begins with empty books: seconds from its start until all is as it was."""
    hub = chain.folder / "hub"
    shutil.rmtree(hub / "data", ignore_errors=True)
    await _command("cloud_hub", "rebuild", "--from-sites", "--config", str(hub / "hub.toml"), "--recovery-key", str(chain.key), "--old-hub-off")
    began = time.perf_counter()
    with chain.run_hub():
        await until("The rebuilt hub did not serve", chain.hub.ready)
        await until("The rebuilt hub's sites did not open", lambda: _open(chain), REBUILT_WITHIN_S, 0.2)
        await until("The books of the rebuilt hub and its sites differ", lambda: _alike(chain.folder, chain.sites), REBUILT_WITHIN_S, 0.2)
        return time.perf_counter() - began


async def _open(chain: Chain) -> bool:
    """Whether no stream is under repair, on either side."""
    sql = "SELECT COUNT(*) FROM streams WHERE epoch = '' OR repair <> '' OR fenced <> '' OR stopped <> '' OR closed"
    return all(history.look(_books(folder), sql) == [(0,)] for folder in (chain.folder / "hub", *chain.sites.values()))


# ---- both
async def _alike(folder: Path, sites: dict[str, Path]) -> bool:
    """Whether the hub's books say the same of every site as its own."""
    return await asyncio.to_thread(_same_books, _books(folder / "hub"), sites)


def _same_books(hub: Path, sites: dict[str, Path]) -> bool:
    lines = "SELECT resource_id, line FROM lines WHERE site_id = ? ORDER BY resource_id"
    for name, folder in sites.items():
        books = _books(folder)
        if history.look(hub, lines, name) != history.look(books, lines, name) or history.bookings(hub, name) != history.bookings(books, name):
            return False
    return True


def _books(folder: Path) -> Path:
    return folder / "data" / (hub_app.DATABASE if folder.name == "hub" else site_app.DATABASE)


async def _command(module: str, *words: str) -> str:
    """What a command of the product printed. Raises BenchError with its last words."""
    call = [sys.executable, "-m", module, *words]
    done = await asyncio.to_thread(
        subprocess.run, call, capture_output=True, text=True, timeout=COMMAND_WITHIN_S, cwd=children.PROJECT, check=False
    )
    if done.returncode:
        raise BenchError(f"`{module} {words[0]}` ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _seconds(took_s: list[float]) -> str:
    return "runs " + ", ".join(f"{one:.1f}" for one in took_s) + " s"
