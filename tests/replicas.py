"""Two replicas of the hub on one PostgreSQL database, interleaved statement by statement under one seed (terr-1, stream-1).

Each replica works through its jobs in a thread of its own; a turnstile lets exactly one statement go at a time. One that must wait for
the other's lock (the server says so) keeps waiting while the other goes on. A naive site reads every committed row of the stream in
order and believes it; what it could do with that belief is held against what the hub has promised.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import msgspec
import psycopg

from shared.errors import Refused
from shared.ledger import frontdesk, holds, lines, records, sales, schema, streams
from shared.ledger.desk import Desk
from shared.messages import Cancelled, Released, Replaced, Sold, decode
from shared.model import Booking, Customer, Facility, Hold, Resource
from shared.profiles import profile
from shared.runtime import postgres as pg
from shared.runtime.clock import Chance
from shared.runtime.database import Tx

#: Saturday 21 Nov 2026, 12:00 in Halifax
NOON = 1795276800
SLOT0 = NOON // 900
NAMES = ("replica-1", "replica-2")
JOBS = 6
WAIT_S = 20


class Harm(AssertionError):
    """What the lock is there to keep away. The first word says what: `double-sale`, `hole`, `never-sent`, `passed-over`, `failed`, `order`."""


class Turnstile:
    """Lets one statement go at a time, of whom the seed chooses among those who want to."""

    def __init__(self, chance: random.Random, monitor: psycopg.Connection, after: Callable[[], None]):
        self._chance, self._monitor, self._after = chance, monitor, after
        self._turn = threading.Condition()
        self._state = dict.fromkeys(NAMES, "running")
        self._pid: dict[str, int] = {}
        self._next = ""
        self.statements = 0
        self.waits = 0

    def enter(self, name: str, pid: int) -> None:
        """The replica's thread: comes back when its statement may go."""
        with self._turn:
            self._state[name], self._pid[name] = "ready", pid
            self._turn.notify_all()
            assert self._turn.wait_for(lambda: self._next == name, WAIT_S), f"{name} never had its turn"
            self._next, self._state[name] = "", "running"
            self._turn.notify_all()

    def leave(self, name: str) -> None:
        with self._turn:
            self._state[name] = "done"
            self._turn.notify_all()

    def run(self) -> None:
        """Until both are done."""
        while True:
            self._rest()
            self._after()
            with self._turn:
                ready = [n for n in NAMES if self._state[n] == "ready"]
                if not ready:
                    if all(s == "done" for s in self._state.values()):
                        return
                    continue  # one stands before the other's lock and the server is about to choose
                self._next = self._chance.choice(ready)
                self.statements += 1
                self._turn.notify_all()
                self._turn.wait_for(lambda: not self._next, WAIT_S)

    def _rest(self) -> None:
        """Waits until whoever runs has come back or stands before a lock."""
        for _ in range(WAIT_S * 1000):
            with self._turn:
                if self._turn.wait_for(lambda: "running" not in self._state.values(), 0.001):
                    return
                running = {self._pid.get(n) for n in NAMES if self._state[n] == "running"}
                free = [n for n in NAMES if self._state[n] == "ready"]
            blocked = {pid for (pid,) in self._monitor.execute("SELECT pid FROM pg_locks WHERE NOT granted").fetchall()}
            if free and running <= blocked:
                self.waits += 1
                return
        raise AssertionError("a replica neither went on nor stood before a lock")


class Gated(pg.Session):
    """A session that waits for its turn before every statement."""

    turnstile: Turnstile | None = None
    name = ""

    def _do(self, act):
        if self.turnstile is not None:
            self.turnstile.enter(self.name, self.pid)
        return super()._do(act)


class Unlocked(pg.PostgresTx):
    """The twin that reads the stream row without locking it."""

    __slots__ = ()
    for_update = ""


class LineBeforeLock(pg.PostgresTx):
    """The twin that reads the lines first and takes the stream's lock, and with it the number, afterwards."""

    __slots__ = ("_lines",)

    def __init__(self, session):
        super().__init__(session)
        self._lines = dict(super().all("SELECT resource_id, line FROM lines"))

    def one(self, sql, params=()):
        if sql.startswith("SELECT line FROM lines WHERE resource_id"):
            return (self._lines[params[0]],)
        return super().one(sql, params)


class Books:
    """Tables made once; every seed has a site of its own in them."""

    def __init__(self, url: str, make_tx: type[Tx] = pg.PostgresTx):
        pg.migrate(url, "ledger", schema.STEPS)
        self.replicas = {name: pg.InlinePostgres(url, make_tx=make_tx) for name in NAMES}
        for db in self.replicas.values():
            db.session.close()
            db.session = Gated(url)
        self.plain = pg.InlinePostgres(url)
        self.monitor = psycopg.connect(url, autocommit=True)

    def close(self) -> None:
        for c in (*(db.session for db in self.replicas.values()), self.plain.session, self.monitor):
            c.close()


class Play:
    """One seed: a site with two bays, two replicas with six jobs each."""

    def __init__(self, books: Books, seed: int):
        self.books, self.seed, self.site_id = books, seed, f"s{seed:06d}"
        self.rng = random.Random(seed)
        self.at = dict.fromkeys(NAMES, NOON)
        self.desks = {
            name: Desk("hub", clock=lambda n=name: self.at[n], new_id=chance.new_id, chance=chance.random, box_id="hub-box")
            for name in NAMES
            if (chance := Chance(seed * 10 + NAMES.index(name)))
        }
        self.log: list[str] = []
        self.failed: list[str] = []
        self.rows: dict[int, bytes] = {}
        self._ids: list[tuple[str, int, int, int]] = []
        self._holds: list[tuple[str, int, int, int]] = []

    # ---- the site and what is done
    def _open(self, tx: Tx) -> None:
        desk = self.desks[NAMES[0]]
        streams.open_site(tx, self.site_id, epoch=f"epoch-{self.seed}", hub_id="hub", box_id="hub-box")
        facility = Facility(id=self.site_id, name="Testville", zone="America/Halifax")
        records.put_document(tx, "facility", self.site_id, self.site_id, 1, records.text(facility))
        for n in (1, 2):
            r = Resource(id=f"{self.site_id}.box-{n}", name=f"Box {n}", number=n, release_ahead_s=4 * 3600)
            records.put_document(tx, "resource", r.id, self.site_id, 1, records.text(r))
            lines.begin(tx, self.site_id, r.id, desk.now_slot() + 6)

    def _wanted(self, booking_id: str, bay: int, start: int, end: int, **more) -> frontdesk.Wanted:
        hold_id = more.pop("hold_id", "")
        part = frontdesk.Part(
            booking_id=booking_id, resource_id=f"{self.site_id}.box-{bay}", start=SLOT0 + start, end=SLOT0 + end, hold_id=hold_id
        )
        who = Customer(id=f"person-{booking_id}", name="Testa Birdie", email=f"{booking_id}@example.test", tags=("tournament_host",))
        return frontdesk.Wanted(site_id=self.site_id, parts=(part,), channel="staff", customer=who, **more)

    def _draw(self) -> tuple[int, int, int]:
        start = 4 * self.rng.randint(1, 6)
        return self.rng.randint(1, 2), start, start + self.rng.choice((4, 4, 8))

    def _job(self, name: str, no: int) -> tuple[str, Callable[[Tx], object]]:
        desk, db = self.desks[name], self.books.replicas[name]
        house = frontdesk.Houses(db, profile("business"), desk)
        kind = self.rng.choices(
            ("sell", "again", "release", "hold", "use_hold", "cancel", "move", "ack", "expire"), (8, 3, 8, 5, 3, 4, 4, 3, 1)
        )[0]
        if kind in ("again", "cancel", "move") and not self._ids or kind == "use_hold" and not self._holds:
            kind = "sell"
        new_id = f"b-{self.seed}-{NAMES.index(name)}-{no}"
        if kind == "sell":
            self._ids.append((new_id, *self._draw()))
        wanted_id, bay, start, end = self.rng.choice(self._ids[-2:]) if self._ids else ("", 1, 4, 6)
        to = self._draw()

        def book(tx: Tx, hold_id: str = "", what=(wanted_id, bay, start, end)):
            wanted = self._wanted(*what, hold_id=hold_id)
            return frontdesk.book(tx, desk, house.of(tx, self.site_id), wanted, link_up=True)

        if kind in ("sell", "again"):
            what = self._ids[-1] if kind == "sell" else (wanted_id, bay, start, end)
            return f"{kind} {what}", lambda tx: book(tx, what=what)
        if kind == "release":
            return kind, lambda tx: lines.release(tx, desk, self.site_id, link_fresh=True)
        if kind == "hold":
            self._holds.append((new_id, *to))
            at, hold_id = to, f"h-{new_id}"
            h = Hold(
                id=hold_id, site_id=self.site_id, resource_id=f"{self.site_id}.box-{at[0]}", start=SLOT0 + at[1], end=SLOT0 + at[2]
            )
            return f"hold {hold_id} {at}", lambda tx: holds.hold(tx, desk, h, link_up=True)
        if kind == "use_hold":
            held = self._holds.pop()
            self._ids.append(held)
            return f"use hold {held}", lambda tx: book(tx, hold_id=f"h-{held[0]}", what=held)
        if kind == "cancel":
            return f"cancel {wanted_id}", lambda tx: sales.cancel(tx, desk, wanted_id, by="customer")
        if kind == "move":

            def move(tx: Tx):
                old = records.booking(tx, wanted_id)
                wanted = self._wanted(f"m-{new_id}", *to, order_id=old.order_id if old else "none")
                return frontdesk.reschedule(tx, desk, house.of(tx, self.site_id), wanted_id, wanted, link_up=True)

            return f"move {wanted_id} to {to}", move
        if kind == "ack":
            return kind, lambda tx: self._ack(tx, desk)
        return kind, lambda tx: holds.expire(tx, desk)

    def _ack(self, tx: Tx, desk: Desk) -> None:
        """The site has applied half of what waits."""
        s = streams.lock(tx, self.site_id)
        no = (s.acked_no + s.sent_no + 1) // 2
        chain = streams.chain_at(tx, s, no)
        if no > s.acked_no and chain:
            streams.acknowledge(tx, desk, s, streams.Position(no, chain))

    def _work(self, name: str, jobs) -> None:
        session = self.books.replicas[name].session
        try:
            for said, now, job in jobs:
                self.at[name] = now
                try:
                    got = self.books.replicas[name].write_now(job)
                    self.log.append(f"{name} {said}: {_short(got)}")
                except Refused as e:
                    self.log.append(f"{name} {said}: refused {e.refusal.code}")
                except Exception as e:
                    self.failed.append(f"{name} {said}: {type(e).__name__}: {str(e).splitlines()[0]}")
        finally:
            session.turnstile.leave(name)

    # ---- play and judge
    def run(self) -> Turnstile:
        """Raises Harm, with the seed and what was done."""
        self.books.plain.write_now(self._open)
        jobs = {name: [] for name in NAMES}
        for no in range(JOBS):
            for name in NAMES:
                jobs[name].append((*self._job(name, no), NOON + no * 900))
        turnstile = Turnstile(self.rng, self.books.monitor, self._look)
        threads = []
        for name in NAMES:
            session = self.books.replicas[name].session
            session.turnstile, session.name = turnstile, name
            todo = [(said, now, job) for said, job, now in jobs[name]]
            threads.append(threading.Thread(target=self._work, args=(name, todo), daemon=True))
        try:
            for t in threads:
                t.start()
            turnstile.run()
            for t in threads:
                t.join(WAIT_S)
            self._judge()
        except Harm as e:
            raise Harm(f"{e}\nseed {self.seed}\n" + "\n".join(self.log + self.failed)) from None
        finally:
            for name in NAMES:
                self.books.replicas[name].session.turnstile = None
        return turnstile

    def _look(self) -> None:
        """The pump of either replica sends what is committed above what it has sent: a number that comes later is never sent."""
        found = self.books.monitor.execute(
            "SELECT no, body FROM outbox WHERE site_id = %s AND no > %s ORDER BY no", (self.site_id, max(self.rows, default=0))
        ).fetchall()
        for no, body in found:
            self.rows[no] = body.encode()

    def _judge(self) -> None:
        self._sent()
        self._believed()
        self._kept()
        if self.failed:
            raise Harm(f"failed: {self.failed[0]}")

    def _sent(self) -> None:
        s = self.books.plain.read(lambda tx: streams.read(tx, self.site_id))
        missing = sorted(set(range(1, s.sent_no + 1)) - set(self.rows))
        if missing:
            raise Harm(f"hole: {missing} of {s.sent_no} were never seen in their turn")

    def _believed(self) -> None:
        """A site that takes every row at its word, in order, and at once sells all that is released to it."""
        line: dict[str, int] = {}
        taken: dict[tuple[str, int], str] = {}
        last_sale, given_up = 0, set()
        for no in sorted(self.rows):
            message = decode(self.rows[no])
            if isinstance(message, Released):
                if message.line <= line.get(message.resource_id, 0):
                    raise Harm(f"order: row {no} releases what was released before")
                line[message.resource_id] = message.line
            if isinstance(message, Cancelled):
                if message.booking_id in given_up:
                    raise Harm(f"order: row {no} gives {message.booking_id} up a second time")
                given_up.add(message.booking_id)
            sold = message.bookings if isinstance(message, Sold) else (message.booking,) if isinstance(message, Replaced) else ()
            for b in sold:
                if b.start < line.get(b.resource_id, 0):
                    raise Harm(f"double-sale: row {no} sells {b.id} from {b.start - SLOT0}, below the line that the site had been given before")
                if b.sale_no <= last_sale:
                    raise Harm(f"order: sale number {b.sale_no} of {b.id} after {last_sale}")
                last_sale = b.sale_no
                replaced = message.old_id if isinstance(message, Replaced) else ""
                for slot in range(b.claimed.start, b.claimed.end):
                    other = taken.get((b.resource_id, slot))
                    if other not in (None, replaced):
                        raise Harm(f"double-sale: {b.resource_id} at {slot - SLOT0} was sold to {other} and to {b.id}")
                    taken[(b.resource_id, slot)] = b.id
        self.told = set(taken.values())

    def _kept(self) -> None:
        def read(tx: Tx):
            found = records.bookings_where(tx, "site_id = :s", {"s": self.site_id})
            held = tx.all("SELECT c.resource_id, c.slot, l.line FROM claims c JOIN lines l ON l.resource_id = c.resource_id"
                          " WHERE l.site_id = :s AND c.kind = 'hold' AND c.slot < l.line", {"s": self.site_id})  # fmt: skip
            claims = {(r, s): ref for r, s, ref in tx.all("SELECT resource_id, slot, ref FROM claims")}
            return found, held, claims

        bookings, held, claims = self.books.plain.read(read)
        if held:
            raise Harm(f"passed-over: a release went over a hold that the site was never told of, {held[0]}")
        for b in bookings:
            if b.status != "confirmed":
                continue
            if b.id not in self.told:
                raise Harm(f"never-sent: {b.id} is confirmed and no row tells of it")
            lacking = [s - SLOT0 for s in range(b.claimed.start, b.claimed.end) if claims.get((b.resource_id, s)) != b.id]
            if lacking:
                raise Harm(f"double-sale: {b.id} is confirmed and lacks {lacking}")


def _short(got: object) -> str:
    if isinstance(got, list) and got and isinstance(got[0], Booking):
        got = got[0]
    if isinstance(got, tuple) and got and isinstance(got[0], Booking):
        got = got[0]
    return f"{got.id} {got.status}" if isinstance(got, msgspec.Struct) and hasattr(got, "status") else repr(got)
