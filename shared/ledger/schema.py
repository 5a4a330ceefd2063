"""The tables of both sides, in numbered migrations. A step that has run on somebody's box is never edited; a new one follows it.

Columns beside a `doc` repeat what queries need; the document is the truth. Times are UTC unix seconds, slots are quarter hours.
"""

from __future__ import annotations

from pathlib import Path

from ..runtime.database_disk import look_through
from ..runtime.database_steps import migrate
from . import door_codes, door_wishes, notices, rule_hits, site_alarms, work
from .journal import chain_old_rows

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


RECOVERY = """
ALTER TABLE streams ADD COLUMN retired TEXT NOT NULL DEFAULT '';
ALTER TABLE streams ADD COLUMN repair TEXT NOT NULL DEFAULT '';
ALTER TABLE streams ADD COLUMN staged_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN staged_chain TEXT NOT NULL DEFAULT '';
ALTER TABLE streams ADD COLUMN halted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN unvouched TEXT NOT NULL DEFAULT '';
ALTER TABLE streams ADD COLUMN stated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams DROP COLUMN floor;
ALTER TABLE lines ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;
CREATE TABLE halts (
    site_id TEXT NOT NULL, resource_id TEXT NOT NULL, why TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (site_id, resource_id)
);
CREATE TABLE staged (
    site_id TEXT NOT NULL, epoch TEXT NOT NULL, no INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (site_id, epoch, no)
);
CREATE TABLE boxes (
    site_id TEXT NOT NULL, term INTEGER NOT NULL, box_id TEXT NOT NULL DEFAULT '', grant_hash TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (site_id, term)
);
"""


def m002_recovery(db) -> None:
    """Fence, repair and boxes (protocol loss-1, -2, -4, -5); a floor belongs to a bay, as its line does."""
    for statement in RECOVERY.split(";"):
        if statement.strip():
            db.execute(statement)


JOURNAL_CHAIN = """
ALTER TABLE journal ADD COLUMN n INTEGER NOT NULL DEFAULT 0;
ALTER TABLE journal ADD COLUMN chain TEXT NOT NULL DEFAULT '';
CREATE INDEX journal_chain ON journal (site_id, n);
CREATE TABLE journal_heads (site_id TEXT PRIMARY KEY, n INTEGER NOT NULL, chain TEXT NOT NULL)
"""


def m003_journal_chain(db) -> None:
    """The journal's hash chain (U7). Rows from before are taken into it as they stand."""
    for statement in JOURNAL_CHAIN.split(";"):
        db.execute(statement)
    chain_old_rows(db)


BREACHES = """
CREATE TABLE breaches (
    kind TEXT NOT NULL, site_id TEXT NOT NULL, resource_id TEXT NOT NULL, ref TEXT NOT NULL, detail TEXT NOT NULL, state TEXT NOT NULL,
    at INTEGER NOT NULL, PRIMARY KEY (site_id, resource_id, kind, ref)
)
"""


def m003_breaches(db) -> None:
    """What the watch over the invariants has found (B5), and what a person has let stand."""
    db.execute(BREACHES)


DIGESTS = """
CREATE TABLE digests (
    site_id TEXT PRIMARY KEY, stated_at INTEGER NOT NULL, answered_at INTEGER NOT NULL, answered_differing INTEGER NOT NULL,
    compared_at INTEGER NOT NULL, differing INTEGER NOT NULL, differences INTEGER NOT NULL, resent INTEGER NOT NULL,
    mended INTEGER NOT NULL, unsettled INTEGER NOT NULL
)
"""


def m004_digests(db) -> None:
    """When the two books were last compared, and what came of it (loss-8)."""
    db.execute(DIGESTS)


def m007_box_facts(db) -> None:
    """What a box remembers of itself: its clock (clock-2), its mark (loss-1)."""
    db.execute("CREATE TABLE box_facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)")


def m008_witnessed(db) -> None:
    """How far the second machine has our streams (loss-7)."""
    db.execute("CREATE TABLE witnessed (site_id TEXT PRIMARY KEY, epoch TEXT NOT NULL, no INTEGER NOT NULL)")


OUTAGE_PINS = """
CREATE TABLE outage_pins (
    id TEXT PRIMARY KEY, site_id TEXT NOT NULL, resource_id TEXT NOT NULL, first INTEGER NOT NULL, past INTEGER NOT NULL,
    secret TEXT NOT NULL, state TEXT NOT NULL, booking_id TEXT NOT NULL DEFAULT '', used_at INTEGER NOT NULL DEFAULT 0,
    used_door TEXT NOT NULL DEFAULT ''
);
CREATE INDEX outage_pins_when ON outage_pins (resource_id, first);
CREATE INDEX outage_pins_state ON outage_pins (site_id, state)
"""


def m005_outage_pins(db) -> None:
    """Door PINs for sales that a dark site has not heard of (pass-4)."""
    for statement in OUTAGE_PINS.split(";"):
        db.execute(statement)


def m009_work(db) -> None:
    """What must reach somebody or something outside, from its cause to its end."""
    for statement in work.TABLES:
        db.execute(statement)


def m010_notices(db) -> None:
    """What guests of a facility must know (B22)."""
    for statement in notices.TABLES:
        db.execute(statement)


def m011_rule_hits(db) -> None:
    """Which rule was hit by whom, how often (R10)."""
    for statement in rule_hits.TABLES:
        db.execute(statement)


def m012_doors(db) -> None:
    """Doors asked for by telephone, the readers' own codes, what people at a site must see to."""
    for statement in (*door_wishes.TABLES, *door_codes.TABLES, *site_alarms.TABLES):
        db.execute(statement)


def m013_alarms_told(db) -> None:
    """What the other side was not told of is found among the few."""
    for statement in site_alarms.TOLD:
        db.execute(statement)


STEPS = (
    m001_ledger,
    m002_recovery,
    m003_journal_chain,
    m003_breaches,
    m004_digests,
    m007_box_facts,
    m008_witnessed,
    m005_outage_pins,
    m009_work,
    m010_notices,
    m011_rule_hits,
    m012_doors,
    m013_alarms_told,
)


def prepare(path: Path | str) -> list[str]:
    """Brings the file to today's tables, whoever else starts beside us. Returns the names of the steps applied.

    Books that were not closed are looked through first; Broken for damaged ones.
    """
    look_through(Path(path))
    return migrate(path, "ledger", STEPS)
