"""Rows to structs and back. SQL and decoding for the nouns; decides nothing."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import msgspec

from ..errors import Broken
from ..model import Attendance, Block, Booking, Customer, Facility, Hold, Order, Resource
from ..runtime.database import Tx
from .journal import write as write_journal

#: documents of each kind that are kept decoded; a booking takes about 2 KB
DOCS_MAX = 2048

_enc = msgspec.json.Encoder().encode
#: what was written is read again and again, on both ends of every change: the same text is the same value, which nobody can change
booking_of = lru_cache(DOCS_MAX)(msgspec.json.Decoder(Booking).decode)
_order = msgspec.json.Decoder(Order).decode
_hold = msgspec.json.Decoder(Hold).decode
_block = msgspec.json.Decoder(Block).decode
attendance_of = lru_cache(DOCS_MAX)(msgspec.json.Decoder(Attendance).decode)
_customer = lru_cache(DOCS_MAX)(msgspec.json.Decoder(Customer).decode)
_resource = lru_cache(DOCS_MAX)(msgspec.json.Decoder(Resource).decode)
_facility = msgspec.json.Decoder(Facility).decode


def text(value) -> str:
    return _enc(value).decode()


# ---- bookings
def booking(tx: Tx, booking_id: str) -> Booking | None:
    row = tx.one("SELECT doc FROM bookings WHERE id = ?", (booking_id,))
    return booking_of(row[0]) if row else None


def body_hash_of(tx: Tx, booking_id: str) -> str:
    row = tx.one("SELECT body_hash FROM bookings WHERE id = :id", {"id": booking_id})
    return row[0] if row else ""


def add_booking(tx: Tx, b: Booking, body_hash: str = "") -> None:
    tx.run(
        "INSERT INTO bookings (id, order_id, site_id, resource_id, first, past, status, displaced, sale_no, customer_id, body_hash, doc)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            b.id,
            b.order_id,
            b.site_id,
            b.resource_id,
            b.start,
            b.end + b.buffer,
            b.status,
            int(b.displaced),
            b.sale_no,
            b.customer_id,
            body_hash,
            text(b),
        ),
    )
    touched(tx, b)


def put_booking(tx: Tx, b: Booking) -> Booking:
    """Writes a changed booking under the next version and returns it; the next after the one in the books, whatever `b` bears."""
    row = tx.one("SELECT doc FROM bookings WHERE id = ?", (b.id,))
    b = msgspec.structs.replace(b, version=max(b.version, booking_of(row[0]).version if row else 0) + 1)
    n = tx.run(
        # the copy of a pass learns its order when the sale is heard (pass-2)
        "UPDATE bookings SET order_id = ?, status = ?, displaced = ?, sale_no = ?, customer_id = ?, doc = ? WHERE id = ?",
        (b.order_id, b.status, int(b.displaced), b.sale_no, b.customer_id, text(b), b.id),
    )
    assert n == 1, b.id
    touched(tx, b)
    return b


def touched(tx: Tx, b: Booking) -> None:
    """What listeners must look at again once this is durable."""
    tx.tell("booking", b.id)
    tx.tell("resource", b.resource_id)


def bookings_where(tx: Tx, where: str, params: dict | tuple) -> list[Booking]:
    """`where` is a constant of this package's callers, never built from input."""
    return [booking_of(r[0]) for r in tx.all(f"SELECT doc FROM bookings WHERE {where}", params)]


#: with the status itself: then the index of those few is used, not the table read through
WAITING = "status IN ('requested', 'pending', 'cancelling')"


def bookings_of_order(tx: Tx, order_id: str) -> list[Booking]:
    return bookings_where(tx, "order_id = :o ORDER BY first, id", {"o": order_id})


def bookings_between(tx: Tx, site_id: str, start: int, end: int) -> list[Booking]:
    """Every booking of the site that touches `[start, end)`, whatever its status; a booking lasts at most a day."""
    return bookings_where(
        tx,
        "site_id = :s AND first >= :low AND first < :end AND past > :start ORDER BY first, id",
        {"s": site_id, "low": start - 200, "start": start, "end": end},
    )


def bookings_of_customer(tx: Tx, customer_id: str, from_slot: int = 0) -> list[Booking]:
    return bookings_where(tx, "customer_id = ? AND first >= ? ORDER BY first, id", (customer_id, from_slot))


# ---- orders
def order(tx: Tx, order_id: str) -> Order | None:
    row = tx.one("SELECT doc FROM orders WHERE id = :id", {"id": order_id})
    return _order(row[0]) if row else None


def order_of(tx: Tx, b: Booking) -> Order:
    """The booking's order as the stream of the booking's facility tells it: an order may have come from another one (own-4)."""
    return msgspec.structs.replace(order(tx, b.order_id), site_id=b.site_id)


def order_by_reference(tx: Tx, reference: str) -> list[Order]:
    return [_order(r[0]) for r in tx.all("SELECT doc FROM orders WHERE reference = :r", {"r": reference})]


def add_order(tx: Tx, o: Order) -> None:
    """The first to write it wins: an order never changes."""
    tx.run(
        "INSERT INTO orders (id, site_id, reference, customer_id, created_at, doc) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (o.id, o.site_id, o.reference, o.customer_id, o.created_at, text(o)),
    )


REFERENCE_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


@lru_cache(4096)
def reference_of(order_id: str) -> str:
    """Seven letters that people can read out (no 0/O, 1/I/L): derived from the id, so that both sides and a retry say the same."""
    n = int.from_bytes(hashlib.sha256(order_id.encode()).digest()[:8], "big")
    out = []
    for _ in range(7):
        n, r = divmod(n, len(REFERENCE_LETTERS))
        out.append(REFERENCE_LETTERS[r])
    return "".join(out)


# ---- holds
def hold(tx: Tx, hold_id: str) -> Hold | None:
    row = tx.one("SELECT doc FROM holds WHERE id = :id", {"id": hold_id})
    return _hold(row[0]) if row else None


def put_hold(tx: Tx, h: Hold) -> Hold:
    tx.run(
        "INSERT INTO holds (id, site_id, resource_id, status, expires_at, doc) VALUES (:id, :s, :r, :st, :e, :doc)"
        " ON CONFLICT (id) DO UPDATE SET status = excluded.status, expires_at = excluded.expires_at, doc = excluded.doc",
        {"id": h.id, "s": h.site_id, "r": h.resource_id, "st": h.status, "e": h.expires_at, "doc": text(h)},
    )
    tx.tell("hold", h.id)
    tx.tell("resource", h.resource_id)
    return h


def holds_expired(tx: Tx, now: int) -> list[Hold]:
    return [_hold(r[0]) for r in tx.all("SELECT doc FROM holds WHERE status = 'held' AND expires_at <= ?", (now,))]


# ---- blocks
def block(tx: Tx, block_id: str) -> Block | None:
    row = tx.one("SELECT doc FROM blocks WHERE id = :id", {"id": block_id})
    return _block(row[0]) if row else None


def put_block(tx: Tx, b: Block, *, older_too: bool = False) -> Block:
    """Raises Broken instead of writing an older version over a newer."""
    n = tx.run(
        "INSERT INTO blocks (id, site_id, resource_id, first, past, status, version, doc) VALUES (:id, :s, :r, :f, :p, :st, :v, :doc)"
        " ON CONFLICT (id) DO UPDATE SET first = excluded.first, past = excluded.past, status = excluded.status,"
        f" version = excluded.version, doc = excluded.doc{'' if older_too else ' WHERE excluded.version >= blocks.version'}",
        {"id": b.id, "s": b.site_id, "r": b.resource_id, "f": b.start, "p": b.end, "st": b.status, "v": b.version, "doc": text(b)},
    )
    _not_older(n, "block", b.id, b.version)
    tx.tell("resource", b.resource_id)
    tx.tell("block", b.id)
    return b


def blocks_over(tx: Tx, resource_id: str, start: int, end: int) -> list[Block]:
    """Active blocks of the resource that touch `[start, end)`."""
    return [
        _block(r[0])
        for r in tx.all(
            "SELECT doc FROM blocks WHERE resource_id = ? AND status = 'active' AND first < ? AND past > ? ORDER BY first, id",
            (resource_id, end, start),
        )
    ]


def blocks_between(tx: Tx, site_id: str, start: int, end: int) -> list[Block]:
    return [
        _block(r[0])
        for r in tx.all(
            "SELECT doc FROM blocks WHERE site_id = :s AND first < :e AND past > :b ORDER BY first, id",
            {"s": site_id, "b": start, "e": end},
        )
    ]


# ---- attendance
def attendance(tx: Tx, booking_id: str) -> Attendance | None:
    row = tx.one("SELECT doc FROM attendance WHERE booking_id = ?", (booking_id,))
    return attendance_of(row[0]) if row else None


def attendance_between(tx: Tx, site_id: str, start: int, end: int) -> dict[str, Attendance]:
    rows = tx.all(
        "SELECT a.doc FROM attendance a JOIN bookings b ON b.id = a.booking_id"
        " WHERE b.site_id = :s AND b.first >= :low AND b.first < :e AND b.past > :b",
        {"s": site_id, "low": start - 200, "b": start, "e": end},
    )
    found = (attendance_of(r[0]) for r in rows)
    return {a.booking_id: a for a in found}


def put_attendance(tx: Tx, a: Attendance, *, older_too: bool = False) -> Attendance:
    """Raises Broken instead of writing an older version over a newer."""
    n = tx.run(
        "INSERT INTO attendance (booking_id, site_id, state, seat, version, doc) VALUES (:id, :s, :st, :seat, :v, :doc)"
        " ON CONFLICT (booking_id) DO UPDATE SET state = excluded.state, seat = excluded.seat, version = excluded.version,"
        f" doc = excluded.doc{'' if older_too else ' WHERE excluded.version >= attendance.version'}",
        {"id": a.booking_id, "s": a.site_id, "st": a.state, "seat": a.seat, "v": a.version, "doc": text(a)},
    )
    _not_older(n, "attendance", a.booking_id, a.version)
    tx.tell("booking", a.booking_id)
    return a


# ---- documents (own-6)
def _not_older(written: int, kind: str, doc_id: str, version: int) -> None:
    """Revisions never go back: whoever comes here with an older one has not looked, and its transaction is taken back."""
    if not written:
        raise Broken(f"version {version} of {kind} {doc_id} is older than the one in the books")


def document(tx: Tx, kind: str, doc_id: str) -> tuple[int, str] | None:
    row = tx.one("SELECT version, body FROM documents WHERE kind = :k AND id = :id", {"k": kind, "id": doc_id})
    return (row[0], row[1]) if row else None


def put_document(tx: Tx, kind: str, doc_id: str, site_id: str, version: int, body: str, *, older_too: bool = False) -> None:
    """Raises Broken instead of writing an older version over a newer."""
    n = tx.run(
        "INSERT INTO documents (kind, id, site_id, version, body) VALUES (:k, :id, :s, :v, :b)"
        " ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, body = excluded.body,"
        f" site_id = excluded.site_id{'' if older_too else ' WHERE excluded.version >= documents.version'}",
        {"k": kind, "id": doc_id, "s": site_id, "v": version, "b": body},
    )
    _not_older(n, kind, doc_id, version)
    tx.tell("document", f"{kind}/{doc_id}")


def resource(tx: Tx, resource_id: str) -> Resource | None:
    found = document(tx, "resource", resource_id)
    return _resource(found[1]) if found else None


def resources(tx: Tx, site_id: str = "") -> list[Resource]:
    rows = (
        tx.all("SELECT body FROM documents WHERE kind = 'resource' AND site_id = :s", {"s": site_id})
        if site_id
        else tx.all("SELECT body FROM documents WHERE kind = 'resource'")
    )
    return sorted((_resource(r[0]) for r in rows), key=lambda r: (r.id.partition(".")[0], r.kind != "simulator", r.number, r.id))


def facility(tx: Tx, site_id: str) -> Facility | None:
    found = document(tx, "facility", site_id)
    return _facility(found[1]) if found else None


def facilities(tx: Tx) -> list[Facility]:
    return sorted((_facility(r[0]) for r in tx.all("SELECT body FROM documents WHERE kind = 'facility'")), key=lambda f: f.name)


# ---- customers
def customer(tx: Tx, customer_id: str) -> Customer | None:
    """By id, through merges: an alias leads to whoever it is now."""
    row = tx.one("SELECT doc FROM customers WHERE id = :id", {"id": alias(tx, customer_id)})
    return _customer(row[0]) if row else None


def alias(tx: Tx, customer_id: str) -> str:
    """Follows `CustomerMerged` to its end (own-6); a ring, which cannot be made here, would end at its start."""
    seen = {customer_id}
    while row := tx.one("SELECT new_id FROM aliases WHERE old_id = ?", (customer_id,)):
        customer_id = row[0]
        if customer_id in seen:
            break
        seen.add(customer_id)
    return customer_id


def put_customer(tx: Tx, c: Customer, *, only_newer: bool = False) -> None:
    newer = " WHERE excluded.version > customers.version" if only_newer else ""
    tx.run(
        "INSERT INTO customers (id, phone, email, version, doc) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
        f" SET phone = excluded.phone, email = excluded.email, version = excluded.version, doc = excluded.doc{newer}",
        (c.id, phone_key(c.phone), c.email.casefold(), c.version, text(c)),
    )


def customers_by_contact(tx: Tx, *, phone: str = "", email: str = "") -> list[Customer]:
    rows = []
    if email:
        rows += tx.all("SELECT doc FROM customers WHERE email = :e", {"e": email.casefold()})
    if phone:
        rows += tx.all("SELECT doc FROM customers WHERE phone = :p", {"p": phone_key(phone)})
    return list({c.id: c for c in (_customer(r[0]) for r in rows)}.values())


def phone_key(phone: str) -> str:
    """Phones are compared by their last ten digits (North American plan)."""
    digits = "".join(ch for ch in phone if ch.isdigit())
    return digits[-10:] if len(digits) >= 7 else ""


# ---- asks, conflicts, journal
def put_ask(tx: Tx, kind: str, site_id: str, ask_id: str, booking_id: str, at: int) -> None:
    tx.run(
        "INSERT INTO asks (id, kind, site_id, booking_id, state, at) VALUES (:id, :k, :s, :b, 'waiting', :at)"
        " ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, state = 'waiting', code = '', detail = '', at = excluded.at",
        {"id": ask_id, "k": kind, "s": site_id, "b": booking_id, "at": at},
    )
    tx.tell("booking", booking_id)


def ask(tx: Tx, ask_id: str) -> tuple[str, str, str, str] | None:
    """`(state, code, detail, booking_id)` of something asked of the other side."""
    return tx.one("SELECT state, code, detail, booking_id FROM asks WHERE id = ?", (ask_id,))


def end_ask(tx: Tx, ask_id: str, state: str, code: str = "", detail: str = "") -> None:
    tx.run("UPDATE asks SET state = :st, code = :c, detail = :d WHERE id = :id", {"id": ask_id, "st": state, "c": code, "d": detail})


def asks_waiting(tx: Tx, kind: str, booking_id: str) -> list[str]:
    return [
        r[0] for r in tx.all("SELECT id FROM asks WHERE kind = :k AND booking_id = :b AND state = 'waiting'", {"k": kind, "b": booking_id})
    ]


def put_conflict(tx: Tx, site_id: str, booking_id: str, against: str, why: str, at: int) -> None:
    """One open row per pair: the same conflict met again changes nothing."""
    tx.run(
        "INSERT INTO conflicts (id, site_id, booking_id, against, why, state, at) VALUES (:id, :s, :b, :a, :w, 'open', :at)"
        " ON CONFLICT (id) DO UPDATE SET state = 'open', why = excluded.why",
        {"id": f"{booking_id}|{against}", "s": site_id, "b": booking_id, "a": against, "w": why, "at": at},
    )
    tx.tell("conflict", site_id)


def end_conflicts(tx: Tx, booking_id: str) -> None:
    if tx.run("UPDATE conflicts SET state = 'ended' WHERE booking_id = :b AND state = 'open'", {"b": booking_id}):
        tx.tell("conflict", tx.one("SELECT site_id FROM bookings WHERE id = :b", {"b": booking_id})[0])


def conflicts_open(tx: Tx, site_id: str) -> list[tuple[str, str, str, int]]:
    """`(booking_id, against, why, at)` of the site's conflict queue."""
    return tx.all(
        "SELECT booking_id, against, why, at FROM conflicts WHERE site_id = :s AND state = 'open' ORDER BY at, id", {"s": site_id}
    )


def conflicts_of(tx: Tx, booking_id: str) -> list[tuple[str, str, int]]:
    """`(against, why, at)` of the booking's open conflicts, in the order of the queue."""
    # through its facility, whose open conflicts have an index
    return tx.all(
        "SELECT against, why, at FROM conflicts WHERE site_id = (SELECT site_id FROM bookings WHERE id = :b) AND state = 'open'"
        " AND booking_id = :b ORDER BY at, id",
        {"b": booking_id},
    )


def journal(tx: Tx, at: int, site_id: str, actor: str, what: str, ref: str, reason: str = "") -> None:
    write_journal(tx, at, site_id, actor, what, ref, reason)


def journal_of(tx: Tx, site_id: str, limit: int = 100) -> list[tuple[int, str, str, str, str]]:
    return tx.all(
        "SELECT at, actor, what, ref, reason FROM journal WHERE site_id = :s ORDER BY no DESC LIMIT :n", {"s": site_id, "n": limit}
    )
