"""A backup of a year of bookings and the drill that restores and checks it, while the same process goes on selling.

Invariant: every sale is a new booking and in the books afterwards, every backup passes its drill; else the figure is doubtful.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import time
from pathlib import Path
from random import Random

import msgspec

from deploy.bench import floors, results
from deploy.bench.bench import Bench
from deploy.bench.results import Entry, Factor
from shared.ledger import lines, pins, records, sales, schema, streams
from shared.ledger.backups import Backups
from shared.ledger.desk import Desk
from shared.model import Attendance, Booking, Customer, Order, Price, PriceLine
from shared.runtime import sealed
from shared.runtime.backup import BackupSettings
from shared.runtime.database import Database, InlineWriter, Tx
from shared.runtime.vault import FolderVault

SECONDS_BAR, SALES_BAR = 20.0, 3.0
ROUNDS = 5
SITE, BAYS, DAYS, HOURS = "bedford", 4, 365, range(8, 22)
#: between two sales: about a hundred times what a busy facility sells
PAUSE_S = 0.004
#: sales without a backup are watched for at least so long
ALONE_S = 2.0
FLUSH_MS = 0.26
BOOKS = "site.db"
PRICE = Price(
    currency="CAD", total_cents=5750,
    lines=(PriceLine(code="rate", label="60 minutes", cents=5000, minutes=60), PriceLine(code="tax", label="HST 15 %", cents=750)),
)  # fmt: skip


class Shop:
    """A year of a facility's books, made once; `sell` takes the next free hour of the year to come."""

    def __init__(self) -> None:
        self.now = time.time()
        self.midnight = int(self.now) // 86_400 * 96
        self._random, self._next, self._made = Random(7), 0, 0
        self.desk = Desk("site", clock=lambda: self.now, new_id=self._id, chance=self._random, box_id="box-bench")

    def _id(self) -> str:
        self._made += 1
        return f"bench-{self._made:08d}"

    def fill(self, path: Path) -> int:
        """The year that has passed, sold and played day by day. Returns how many bookings."""
        schema.prepare(path)
        books, today = InlineWriter(path), self.now
        books.write_now(self._open)
        for day in range(-DAYS, 0):
            self.now = today + day * 86_400
            books.write_now(lambda tx, day=day: self._played(tx, day))
        self.now = today
        # a year's messages that the hub has long applied
        books.write_now(lambda tx: tx.run("DELETE FROM outbox"))
        filled = books.read(lambda tx: tx.one("SELECT COUNT(*) FROM bookings")[0])
        asyncio.run(books.stop())
        return filled

    def _open(self, tx: Tx) -> None:
        streams.open_site(tx, SITE, epoch="epoch-bench", hub_id="hub-bench", box_id="box-bench")
        for bay in range(BAYS):
            lines.begin(tx, SITE, f"{SITE}.box-{bay + 1}", self.midnight + 3 * DAYS * 96)

    def _played(self, tx: Tx, day: int) -> None:
        pins.rested(tx, self.desk)
        for bay in range(BAYS):
            for hour in HOURS:
                booking = self._place(tx, bay, self.midnight + day * 96 + hour * 4)
                at = booking.start * 900
                records.put_attendance(tx, Attendance(booking_id=booking.id, site_id=SITE, state="completed", at=at, by="kiosk", version=2))

    def sell(self, tx: Tx) -> None:
        """One sale of an hour that nobody has."""
        bay, hour = self._next % BAYS, self._next // BAYS
        self._next += 1
        self._place(tx, bay, self.midnight + 2 * 96 + hour * 4)

    @property
    def sold(self) -> int:
        return self._next

    def _place(self, tx: Tx, bay: int, start: int) -> Booking:
        number = self._made
        customer = Customer(id=f"customer-{number % 900:04d}", name=f"Testa Birdie {number % 900}", phone=f"902555{number % 900:04d}")
        order_id, now = self._id(), int(self.now)
        order = Order(
            id=order_id, reference=records.reference_of(order_id), site_id=SITE, customer_id=customer.id, channel="kiosk", guests=2, created_at=now
        )
        booking = Booking(
            id=self._id(), order_id=order_id, site_id=SITE, resource_id=f"{SITE}.box-{bay + 1}", start=start, end=start + 4, seller="site",
            customer_id=customer.id, shown_name=customer.name, channel="kiosk", price=PRICE, created_at=now,
        )  # fmt: skip
        return sales.place(tx, self.desk, sales.Wish(order=order, bookings=(booking,), customer=customer))[0]


class Round(msgspec.Struct, frozen=True):
    """One round: seconds for backup and drill, and the 99th percentiles of sales in ms without and with them."""

    seconds: float
    alone_ms: float
    beside_ms: float
    doubts: tuple[str, ...]

    @property
    def times(self) -> float:
        return self.beside_ms / self.alone_ms


async def drills(bench: Bench) -> list[Entry]:
    """`drill` and `drill_sales`."""
    shop, year = Shop(), bench.fresh("year") / BOOKS
    filled = await asyncio.to_thread(shop.fill, year)
    octets = year.stat().st_size
    bench.say(f"a year: {filled} bookings, {octets / 1e6:.0f} MB")
    rounds = []
    for number in range(1, ROUNDS + 1):
        folder = bench.fresh("drill")
        shutil.copy(year, folder / BOOKS)
        rounds.append(await _round(shop, folder))
        one = rounds[-1]
        bench.say(f"round {number}: {one.seconds:.2f} s; p99 of sales {one.alone_ms:.2f} ms alone, {one.beside_ms:.2f} ms beside it")
    factor = Factor("flush", floors.flush_ms(bench.folder), FLUSH_MS)
    doubts = [doubt for one in rounds for doubt in one.doubts]
    seconds = results.percentile([one.seconds for one in rounds], 50)
    about = f"{filled} bookings on {BAYS} bays, {octets / 1e6:.0f} MB; median of {ROUNDS}, {factor}"
    times = results.ratio([(one.alone_ms, one.beside_ms) for one in rounds])
    sold = "p99 of durable sales in the process that makes backup and drill, beside them / without (medians of"
    medians = [results.percentile([getattr(one, name) for one in rounds], 50) for name in ("beside_ms", "alone_ms")]
    return [
        results.at_most("drill", f"backup of a year and the drill that restores and checks it: {about}", seconds, SECONDS_BAR * factor.times, "s", doubts),
        results.at_most("drill_sales", f"{sold} {ROUNDS}: {medians[0]:.2f} and {medians[1]:.2f} ms)", times, SALES_BAR, "×", doubts),
    ]


async def _round(shop: Shop, folder: Path) -> Round:
    (folder / "vault").mkdir()
    settings = BackupSettings(to=str(folder / "vault"), recipients=(sealed.new_identity()[1],))
    known = {"ledger": tuple(step.__name__ for step in schema.STEPS)}
    backups = Backups(
        settings, FolderVault(folder / "vault", f"site-{SITE}"), data_dir=folder, books=BOOKS, keys=(), known=known, now=time.time, sure=lambda: True,
        term=lambda books: 1,
    )
    began_at, first = _rows(folder / BOOKS), shop.sold
    db = Database(folder / BOOKS)
    await db.start()
    try:
        work = asyncio.create_task(asyncio.to_thread(_worked, backups))
        beside = await _selling(db, shop, work)
        seconds, wrong = work.result()
        alone = await _selling(db, shop, asyncio.create_task(asyncio.sleep(max(seconds, ALONE_S))))
    finally:
        await db.stop()
    doubts = [f"the drill failed: {wrong}"] if wrong else []
    if _rows(folder / BOOKS) - began_at != shop.sold - first:
        doubts.append("the books do not hold what was sold")
    return Round(seconds, results.percentile(alone, 99), results.percentile(beside, 99), tuple(doubts))


def _worked(backups: Backups) -> tuple[float, str]:
    """Backup and drill: seconds, and what was wrong."""
    began = time.perf_counter()
    backups.make()
    report = backups.drill()
    return time.perf_counter() - began, "; ".join(report.wrong)


async def _selling(db: Database, shop: Shop, until: asyncio.Task) -> list[float]:
    """Sells one after the other until the task is done; how long each took, in ms."""
    took = []
    while not until.done():
        began = time.perf_counter()
        await db.write(shop.sell)
        took.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(PAUSE_S)
    return took


def _rows(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as c:
        return c.execute("SELECT COUNT(*) FROM bookings").fetchone()[0]
