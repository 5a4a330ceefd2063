"""The hub's own tables beside the ledger's, in numbered migrations. A step that has run on somebody's box is never edited."""

from __future__ import annotations

from pathlib import Path

from shared.ledger import schema as ledger
from shared.runtime.database_steps import migrate

from . import admin_sessions, notifications, passkeys, surveys, texts, told_conditions

TABLES = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE api_keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, token_hash TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL,"
    " created_at INTEGER NOT NULL, revoked_at INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE key_acks (site_id TEXT NOT NULL, key_id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (site_id, key_id))",
)


def m001_hub(db) -> None:
    """API keys, which of our signing keys each site has acknowledged, and what this box calls itself."""
    for statement in TABLES:
        db.execute(statement)


def m002_notifications(db) -> None:
    """What customers chose, addresses that are not written to, and what the hub keeps of what it told them."""
    for statement in notifications.TABLES:
        db.execute(statement)


def m003_admin_sessions(db) -> None:
    """Who is signed in to the hub's own pages."""
    for statement in admin_sessions.TABLES:
        db.execute(statement)


def m004_texts(db) -> None:
    """The operator's own texts of messages."""
    for statement in texts.TABLES:
        db.execute(statement)


def m005_surveys(db) -> None:
    """What guests answer; of which order a browser wants to hear; whom a merged customer is found by."""
    for statement in (*surveys.TABLES, *notifications.ORDERS_OF_BROWSERS):
        db.execute(statement)


def m007_digest(db) -> None:
    """What the staff were told of."""
    for statement in told_conditions.TABLES:
        db.execute(statement)


def m008_passkeys(db) -> None:
    """The telephones that open the doors of their orders."""
    for statement in passkeys.TABLES:
        db.execute(statement)


STEPS = (m001_hub, m002_notifications, m003_admin_sessions, m004_texts, m005_surveys, m007_digest, m008_passkeys)


def prepare(path: Path | str) -> list[str]:
    """Brings the file to today's tables, the ledger's first. Returns the names of the steps applied."""
    return ledger.prepare(path) + migrate(path, "hub", STEPS)
