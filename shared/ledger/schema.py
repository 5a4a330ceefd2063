"""The tables of both sides, in numbered migrations. A step that has run on somebody's box is never edited; a new one follows it.

Columns beside a `doc` repeat what queries need; the document is the truth. Times are UTC unix seconds, slots are quarter hours.
"""

from __future__ import annotations

from pathlib import Path

from ..runtime.database import migrate

TABLES = """
CREATE TABLE streams (
    site_id TEXT PRIMARY KEY, epoch TEXT NOT NULL DEFAULT '', hub_id TEXT NOT NULL DEFAULT '', box_id TEXT NOT NULL DEFAULT '',
    term INTEGER NOT NULL DEFAULT 0, peer_box_id TEXT NOT NULL DEFAULT '', peer_term INTEGER NOT NULL DEFAULT 0,
    peer_schema INTEGER NOT NULL DEFAULT 0, sent_no INTEGER NOT NULL DEFAULT 0, sent_chain TEXT NOT NULL DEFAULT '',
    acked_no INTEGER NOT NULL DEFAULT 0, acked_chain TEXT NOT NULL DEFAULT '', applied_no INTEGER NOT NULL DEFAULT 0,
    applied_chain TEXT NOT NULL DEFAULT '', stopped TEXT NOT NULL DEFAULT '', fenced TEXT NOT NULL DEFAULT '',
    closed INTEGER NOT NULL DEFAULT 0, floor INTEGER NOT NULL DEFAULT 0, sale_no INTEGER NOT NULL DEFAULT 0,
    heard_at INTEGER NOT NULL DEFAULT 0, unknown_count INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE outbox (
    site_id TEXT NOT NULL, epoch TEXT NOT NULL, no INTEGER NOT NULL, type TEXT NOT NULL, must INTEGER NOT NULL, body TEXT NOT NULL,
    chain TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (site_id, epoch, no)
);
CREATE TABLE inbox (
    site_id TEXT NOT NULL, epoch TEXT NOT NULL, no INTEGER NOT NULL, body TEXT NOT NULL, chain TEXT NOT NULL, why TEXT NOT NULL,
    at INTEGER NOT NULL, PRIMARY KEY (site_id, epoch, no)
);
CREATE TABLE lines (
    resource_id TEXT PRIMARY KEY, site_id TEXT NOT NULL, line INTEGER NOT NULL, release_no INTEGER NOT NULL DEFAULT 0,
    wanted INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE claims (
    resource_id TEXT NOT NULL, slot INTEGER NOT NULL, kind TEXT NOT NULL, ref TEXT NOT NULL, PRIMARY KEY (resource_id, slot)
) WITHOUT ROWID;
CREATE INDEX claims_ref ON claims (ref);
CREATE TABLE orders (
    id TEXT PRIMARY KEY, site_id TEXT NOT NULL, reference TEXT NOT NULL, customer_id TEXT NOT NULL, created_at INTEGER NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX orders_reference ON orders (reference);
CREATE TABLE bookings (
    id TEXT PRIMARY KEY, order_id TEXT NOT NULL, site_id TEXT NOT NULL, resource_id TEXT NOT NULL, first INTEGER NOT NULL,
    past INTEGER NOT NULL, status TEXT NOT NULL, displaced INTEGER NOT NULL, sale_no INTEGER NOT NULL, customer_id TEXT NOT NULL,
    body_hash TEXT NOT NULL DEFAULT '', doc TEXT NOT NULL
);
CREATE INDEX bookings_order ON bookings (order_id);
CREATE INDEX bookings_when ON bookings (site_id, first);
CREATE INDEX bookings_resource ON bookings (resource_id, first);
CREATE INDEX bookings_customer ON bookings (customer_id, first);
CREATE INDEX bookings_waiting ON bookings (status) WHERE status IN ('requested', 'pending', 'cancelling');
CREATE INDEX bookings_displaced ON bookings (resource_id) WHERE displaced = 1;
CREATE TABLE holds (
    id TEXT PRIMARY KEY, site_id TEXT NOT NULL, resource_id TEXT NOT NULL, status TEXT NOT NULL, expires_at INTEGER NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX holds_expiry ON holds (status, expires_at);
CREATE TABLE blocks (
    id TEXT PRIMARY KEY, site_id TEXT NOT NULL, resource_id TEXT NOT NULL, first INTEGER NOT NULL, past INTEGER NOT NULL,
    status TEXT NOT NULL, version INTEGER NOT NULL, doc TEXT NOT NULL
);
CREATE INDEX blocks_when ON blocks (resource_id, status, first);
CREATE TABLE attendance (
    booking_id TEXT PRIMARY KEY, site_id TEXT NOT NULL, state TEXT NOT NULL, seat TEXT NOT NULL DEFAULT '', version INTEGER NOT NULL,
    doc TEXT NOT NULL
);
CREATE TABLE asks (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, site_id TEXT NOT NULL, booking_id TEXT NOT NULL, state TEXT NOT NULL,
    code TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '', at INTEGER NOT NULL
);
CREATE INDEX asks_booking ON asks (booking_id, state);
CREATE TABLE documents (
    kind TEXT NOT NULL, id TEXT NOT NULL, site_id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE TABLE customers (
    id TEXT PRIMARY KEY, phone TEXT NOT NULL, email TEXT NOT NULL, version INTEGER NOT NULL, doc TEXT NOT NULL
);
CREATE INDEX customers_phone ON customers (phone);
CREATE INDEX customers_email ON customers (email);
CREATE TABLE aliases (old_id TEXT PRIMARY KEY, new_id TEXT NOT NULL);
CREATE TABLE pins (
    site_id TEXT NOT NULL, pin TEXT NOT NULL, state TEXT NOT NULL, booking_id TEXT NOT NULL DEFAULT '', until_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (site_id, pin)
) WITHOUT ROWID;
CREATE INDEX pins_state ON pins (site_id, state, pin);
CREATE INDEX pins_booking ON pins (booking_id);
CREATE TABLE conflicts (
    id TEXT PRIMARY KEY, site_id TEXT NOT NULL, booking_id TEXT NOT NULL, against TEXT NOT NULL, why TEXT NOT NULL,
    state TEXT NOT NULL, at INTEGER NOT NULL
);
CREATE INDEX conflicts_open ON conflicts (site_id, state);
CREATE TABLE keys (
    id TEXT PRIMARY KEY, site_id TEXT NOT NULL, side TEXT NOT NULL, public TEXT NOT NULL, known_to_peer INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE journal (
    no INTEGER PRIMARY KEY, at INTEGER NOT NULL, site_id TEXT NOT NULL, actor TEXT NOT NULL, what TEXT NOT NULL, ref TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE answers (
    scope TEXT NOT NULL, key TEXT NOT NULL, body_hash TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
);
"""


def m001_ledger(db) -> None:
    """The spine."""
    for statement in TABLES.split(";"):
        if statement.strip():
            db.execute(statement)


STEPS = (m001_ledger,)


def prepare(path: Path | str) -> list[str]:
    """Brings the file to today's tables, whoever else starts beside us. Returns the names of the steps applied."""
    return migrate(path, "ledger", STEPS)
