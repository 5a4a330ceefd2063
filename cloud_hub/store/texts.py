"""The operator's own texts, every version of them, and how often one could not be used.

What a text is for is told by its `Which`; the highest version is how it stands. Whatever changes a text writes a new token in the same
transaction, by which every replica notices. Not here: whether a text may be used (`services.wording`).
Invariant: of each `Which` at most one version is in use, and its numbers only rise, also past being put back.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from shared.runtime.database import Tx

from . import settings

_KEY = "event TEXT NOT NULL, channel TEXT NOT NULL, language TEXT NOT NULL, site_id TEXT NOT NULL, order_kind TEXT NOT NULL"
_KEYS = "event, channel, language, site_id, order_kind"
TABLES = (
    f"CREATE TABLE texts ({_KEY}, version INTEGER NOT NULL, active INTEGER NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL, html TEXT NOT NULL,"
    f" what TEXT NOT NULL, actor TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY ({_KEYS}, version))",
    f"CREATE UNIQUE INDEX texts_active ON texts ({_KEYS}) WHERE active = 1",
    f"CREATE TABLE texts_failing ({_KEY}, times INTEGER NOT NULL, since_at INTEGER NOT NULL, last_at INTEGER NOT NULL, why TEXT NOT NULL,"
    f" PRIMARY KEY ({_KEYS}))",
)
#: versions kept of each text, the one in use among them
VERSIONS_KEPT = 20
#: the name of the setting that is another one after every change
TOKEN = "texts"

_THIS = "event = ? AND channel = ? AND language = ? AND site_id = ? AND order_kind = ?"
_ALL = f"SELECT {_KEYS}, version, active, subject, body, html, what, actor, at FROM texts"


class Which(NamedTuple):
    """What a text is for: an event, a channel and a language, perhaps one facility and one kind of order (empty: of all)."""

    event: str
    channel: str
    language: str
    site_id: str = ""
    order_kind: str = ""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A text as it stood: templates, and who did `what` to it (`at`: unix seconds). One that is not `active` is not sent."""

    which: Which
    version: int
    active: bool
    text: str
    subject: str = ""
    html: str = ""
    what: str
    actor: str
    at: int


class Failing(msgspec.Struct, frozen=True):
    """A text that was to be used and could not be, so many times since it was last changed; `why` of the last time."""

    which: Which
    times: int
    since_at: int
    last_at: int
    why: str


# ---- noticing changes
def token(tx: Tx) -> str:
    """Another one after every change of any text; "" before the first."""
    return settings.get(tx, TOKEN)


def changes(tx: Tx, new_token: str) -> None:
    """Says that this transaction changes texts. Asked before it reads how they stand: nobody else changes any until it has ended.

    The token is one that was never there, not a number: a change that is taken back must not be taken for the next one.
    """
    settings.put(tx, TOKEN, new_token)


# ---- texts
def put(tx: Tx, version: Version) -> None:
    """Writes a version down as the highest one, and lets go of those that are too old."""
    w = version.which
    tx.run(f"UPDATE texts SET active = 0 WHERE {_THIS} AND active = 1", w)
    tx.run(
        f"INSERT INTO texts ({_KEYS}, version, active, subject, body, html, what, actor, at) VALUES ({', '.join('?' * 13)})",
        (*w, version.version, int(version.active), version.subject, version.text, version.html, version.what, version.actor, version.at),
    )
    tx.run(f"DELETE FROM texts WHERE {_THIS} AND version <= ?", (*w, version.version - VERSIONS_KEPT))
    tx.run(f"DELETE FROM texts_failing WHERE {_THIS}", w)


def versions(tx: Tx, which: Which) -> list[Version]:
    """Those that are kept, the latest first."""
    return [_version(row) for row in tx.all(f"{_ALL} WHERE {_THIS} ORDER BY version DESC", which)]


def latest(tx: Tx, which: Which) -> Version | None:
    """How it stands: perhaps not in use any more; None where there never was one."""
    row = tx.one(f"{_ALL} WHERE {_THIS} ORDER BY version DESC LIMIT 1", which)
    return _version(row) if row else None


def active(tx: Tx) -> list[Version]:
    """All that are in use."""
    return [_version(row) for row in tx.all(f"{_ALL} WHERE active = 1 ORDER BY {_KEYS}")]


def _version(row: tuple) -> Version:
    version, in_use, subject, body, html, what, actor, at = row[5:]
    return Version(
        which=Which(*row[:5]), version=version, active=bool(in_use), text=body, subject=subject, html=html, what=what, actor=actor, at=at
    )


# ---- texts that fail
def failed(tx: Tx, which: Which, why: str, now: int) -> None:
    """It was to be used now and could not be. Of a text that is not in use any more nothing is written down."""
    if tx.one(f"SELECT 1 FROM texts WHERE {_THIS} AND active = 1", which) is None:
        return
    tx.run(
        f"INSERT INTO texts_failing ({_KEYS}, times, since_at, last_at, why) VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT ({_KEYS}) DO UPDATE SET"
        " times = texts_failing.times + 1, last_at = excluded.last_at, why = excluded.why",
        (*which, now, now, why),
    )


def failing(tx: Tx) -> list[Failing]:
    """What could not be used, the latest first."""
    rows = tx.all(f"SELECT {_KEYS}, times, since_at, last_at, why FROM texts_failing ORDER BY last_at DESC, {_KEYS}")
    return [Failing(Which(*row[:5]), *row[5:]) for row in rows]
