"""The site's own tables, beside the ledger's in the same file, in numbered migrations. A step that has run somewhere is never edited.

Invariant: nothing here takes or frees a slot; losing these tables costs sign-ins, pairings and a sweep of the door controller, no sale.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from shared.ledger import schema
from shared.runtime.database_file import connect
from shared.runtime.database_steps import migrate
from site_agent.store import door_cards, door_checks, door_trail, emergencies, machines, presence, stock

TABLES = """
CREATE TABLE identity (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE sessions (
    key_hash TEXT PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, created_at INTEGER NOT NULL, seen_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
);
CREATE INDEX sessions_subject ON sessions (kind, subject);
CREATE TABLE staff (
    user TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, password_hash TEXT NOT NULL, active INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE kiosks (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, token_hash TEXT NOT NULL UNIQUE, paired_at INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE pairings (code_hash TEXT PRIMARY KEY, name TEXT NOT NULL, ends_at INTEGER NOT NULL);
CREATE TABLE door_work (
    booking_id TEXT PRIMARY KEY, wanted TEXT NOT NULL, ref TEXT NOT NULL DEFAULT '', stamp TEXT NOT NULL DEFAULT '',
    done_stamp TEXT NOT NULL DEFAULT '', ends_at INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX door_work_due ON door_work (next_at) WHERE next_at > 0;
CREATE INDEX door_work_end ON door_work (ends_at)
"""


def m001_site(db) -> None:
    """Who signs in, which screens are paired, what the door controller owes us."""
    for statement in TABLES.split(";"):
        db.execute(statement)


def m002_drills(db) -> None:
    """Outage drills and their reports."""
    db.execute("CREATE TABLE drills (no INTEGER PRIMARY KEY, started_at INTEGER NOT NULL, state TEXT NOT NULL, doc TEXT NOT NULL)")


def m003_door_trail(db) -> None:
    """The access trail of the doors and its alerts (D6)."""
    for statement in door_trail.SCHEMA:
        db.execute(statement)


def m004_machines(db) -> None:
    """What was last known of the bays' machines."""
    for statement in machines.SCHEMA:
        db.execute(statement)


def m005_machines_by_ways(db) -> None:
    """Machines that several ways lead to."""
    for statement in machines.BY_WAYS:
        db.execute(statement)


def m006_door_checks(db) -> None:
    """What came of comparing the door controller with the books."""
    for statement in door_checks.SCHEMA:
        db.execute(statement)


def m007_presence_and_health(db) -> None:
    """What was seen of visits, and what is remembered of the bays' health."""
    for statement in presence.SCHEMA + stock.SCHEMA:
        db.execute(statement)


def m008_emergencies_and_cards(db) -> None:
    """Emergencies that people called, and cards that guests were lent (D5, D11)."""
    for statement in (*emergencies.SCHEMA, *door_cards.SCHEMA):
        db.execute(statement)


def m009_seats(db) -> None:
    """Guests who were reseated are few, and found without reading every visit there ever was (M4)."""
    db.execute("CREATE INDEX attendance_seat ON attendance (seat) WHERE seat <> ''")


STEPS = (
    m001_site,
    m002_drills,
    m003_door_trail,
    m004_machines,
    m005_machines_by_ways,
    m006_door_checks,
    m007_presence_and_health,
    m008_emergencies_and_cards,
    m009_seats,
)


def prepare(path: Path, new_id: Callable[[], str]) -> str:
    """Brings the file to today's tables and returns the box's id, which is made once and kept (loss-5)."""
    schema.prepare(path)
    migrate(path, "site", STEPS)
    c = connect(path)
    try:
        c.execute("INSERT INTO identity (name, value) VALUES ('box_id', ?) ON CONFLICT DO NOTHING", (new_id(),))
        return c.execute("SELECT value FROM identity WHERE name = 'box_id'").fetchone()[0]
    finally:
        c.close()


def identity(path: Path) -> tuple[int, str]:
    """`(term, grant)`: the box's term, 1 if none was granted, and the word that shows that it was (loss-5)."""
    c = connect(path, readonly=True)
    try:
        return term_of(c), _kept(c).get("grant", "")
    finally:
        c.close()


def term_of(c: sqlite3.Connection) -> int:
    """The term of the box that has these books."""
    return int(_kept(c).get("term", 1))


def _kept(c: sqlite3.Connection) -> dict[str, str]:
    return dict(c.execute("SELECT name, value FROM identity"))


def new_box(path: Path, box_id: str, term: int, grant: str) -> str:
    """Another machine has these books from now on (loss-5). Returns its id."""
    c = connect(path)
    try:
        for name, value in (("box_id", box_id), ("term", str(term)), ("grant", grant)):
            c.execute("INSERT INTO identity (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value))
    finally:
        c.close()
    return box_id
