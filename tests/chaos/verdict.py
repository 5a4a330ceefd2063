"""What must hold of the books of real processes once they have come to rest: read from their files, after they have ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from cloud_hub.app import DATABASE as HUB_DATABASE
from deploy.demo.addresses import Plan
from shared.ledger import records, standing, streams
from shared.model import Attendance, Booking
from shared.runtime.database import InlineWriter, Tx, connect
from site_agent.app import DATABASE as SITE_DATABASE
from tests import two_sides
from tests.chaos.load import Promises


class Book:
    """One side's books, as `tests.two_sides` looks at them."""

    def __init__(self, side: str, path: Path) -> None:
        assert path.exists(), path
        self.side, self._db = side, InlineWriter(path)

    def read(self, fn):
        return self._db.read(fn)

    @contextmanager
    def altered(self, sql: str, values: dict[str, Any]) -> Iterator[None]:
        """The book with something wrong in it, for the length of the block."""
        before = self.read(lambda tx: tx.all("SELECT * FROM bookings"))
        marks = ", ".join("?" for _ in before[0])
        self._db.write_now(lambda tx: tx.run(sql, values))
        try:
            yield
        finally:
            self._db.write_now(lambda tx: (tx.run("DELETE FROM bookings"), tx.many(f"INSERT INTO bookings VALUES ({marks})", before)))

    def claims(self, site_id: str) -> dict[tuple[str, int], tuple[str, str]]:
        rows = self.read(lambda tx: tx.all("SELECT resource_id, slot, kind, ref FROM claims"))
        return {(r, s): (k, ref) for r, s, k, ref in rows if r.startswith(site_id + ".")}

    def stream(self, site_id: str) -> streams.Stream:
        return self.read(lambda tx: streams.read(tx, site_id))

    def bookings(self, site_id: str) -> dict[str, Booking]:
        return {b.id: b for b in self.read(lambda tx: records.bookings_where(tx, "site_id = :s", {"s": site_id}))}

    def attendance(self, booking_id: str) -> Attendance | None:
        return self.read(lambda tx: records.attendance(tx, booking_id))


class World(msgspec.Struct):
    """A world like that of `tests.two_sides`."""

    hub: Book
    sites: dict[str, Book]
    slot0: int = 0


def peek(path: Path, fn):
    """Something of books that are in use: `fn(tx)` over a connection that only reads."""
    c = connect(path, readonly=True)
    try:
        return fn(Tx(c))
    finally:
        c.close()


def books_of(plan: Plan) -> World:
    """The books of a run, out of its files."""
    sites = {site.id: Book("site", site.folder / "data" / SITE_DATABASE) for site in plan.sites}
    return World(Book("hub", plan.hub_folder / "data" / HUB_DATABASE), sites)


def assert_promises_kept(world: World, promises: Promises, doubtful: frozenset[str] | set[str] = frozenset()) -> None:
    """Every confirmed sale stands on both sides, every cancellation is done, every move left the new one and not the old.

    `doubtful`: what a lost disk alone knew (loss-3). It may be gone or as it was; where it has come back, nobody else's sale is lost to it.
    """
    moved = {old for old, new in promises.moved.items() if not doubtful & {old, new}}
    for site_id, site in world.sites.items():
        for book in (world.hub, site):
            have = book.bookings(site_id)
            for booking_id in (i for i, s in promises.sold.items() if s == site_id and i not in doubtful):
                assert booking_id in have, f"{book.side} has lost {booking_id}"
                stands = now_at(have, have[booking_id])
                assert stands.status == "confirmed", f"{book.side}: {stands}"
                if have[booking_id].displaced or stands.placed:
                    assert_met(have, have[booking_id], doubtful)
            for booking_id in have.keys() & ((promises.gone - doubtful) | moved):
                assert have[booking_id].status == "cancelled", f"{book.side}: {have[booking_id]}"
            for booking_id in (have.keys() & promises.inside) - doubtful:
                attended = book.attendance(booking_id)
                assert attended is not None and attended.state == "checked_in", f"{book.side}: {attended}"


def now_at(have: dict[str, Booking], b: Booking) -> Booking:
    """Where the house put its guest, by however many steps; the booking itself where it kept its place."""
    while b.status == "cancelled" and (new := next((x for x in have.values() if x.replaces == b.id and x.placed and x.sale_no), None)):
        b = new
    return b


def in_place(b: Booking) -> bool:
    """Whether it stands where it was sold."""
    return b.status == "confirmed" and not b.displaced


def assert_met(have: dict[str, Booking], b: Booking, doubtful: frozenset[str] | set[str]) -> None:
    """A sale has lost its place only where one that came back late has its slots."""
    others = [o for o in have.values() if o.resource_id == b.resource_id and o.start < b.end and b.start < o.end and o.id != b.id]
    assert any(o.id in doubtful for o in others), f"displaced by nobody who came late: {b}"


def assert_queued(world: World, late: dict[str, str]) -> None:
    """Whoever has no bay is in the queue of the facility's people, and every late sale is in the books of both sides."""
    for site_id, site in world.sites.items():
        queued = {row[0] for row in site.read(lambda tx, s=site_id: records.conflicts_open(tx, s))}
        for b in site.bookings(site_id).values():
            assert not b.displaced or b.id in queued, f"displaced, and nobody is told: {b}"
        for booking_id in (i for i, s in late.items() if s == site_id):
            for book in (world.hub, site):
                assert booking_id in book.bookings(site_id), f"{book.side}: the late sale {booking_id} is lost"


def assert_no_sales_halted(world: World) -> None:
    """No invariant was found broken while it ran."""
    for site_id, site in world.sites.items():
        for book in (world.hub, site):
            assert not book.read(lambda tx, s=site_id: standing.halts(tx, s)), book.side


def assert_nobody_sold_twice(world: World) -> None:
    """On each side by itself, too: no slot of a bay belongs to two confirmed bookings."""
    for site_id, site in world.sites.items():
        for book in (world.hub, site):
            taken: dict[tuple[str, int], str] = {}
            for b in book.bookings(site_id).values():
                for slot in range(b.start, b.end) if b.status == "confirmed" and not b.replaced_by and not b.displaced else ():
                    other = taken.setdefault((b.resource_id, slot), b.id)
                    assert other == b.id, f"{book.side}: {b.resource_id} at {slot}: {other} and {b.id}"


def assert_whole(world: World, promises: Promises, doubtful: frozenset[str] | set[str] = frozenset(), late: dict[str, str] | None = None) -> None:
    """All of it: zero overlaps, zero lost sales, equal books, no stream that stands still; late sales in the queue."""
    two_sides.assert_equal_books(world)
    two_sides.assert_sound(world)
    assert_nobody_sold_twice(world)
    assert_promises_kept(world, promises, doubtful)
    assert_queued(world, late or {})
    assert_no_sales_halted(world)
