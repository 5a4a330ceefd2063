"""What the hub keeps of telling people: what they chose, addresses that must not be written to, subscriptions, messages to read here, answers.

Addresses are kept as they are written to: a number as E.164, mail in small letters. Invariant: an address that said STOP, or that is dead, stays
so until its owner says otherwise, whatever customer has it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.ledger import records, streams, work
from shared.model import Booking
from shared.notifications import Preferences
from shared.runtime.database import Tx

from . import surveys

TABLES = (
    "CREATE TABLE preferences (customer_id TEXT PRIMARY KEY, doc TEXT NOT NULL, changed_at INTEGER NOT NULL)",
    "CREATE TABLE suppressed (channel TEXT NOT NULL, address TEXT NOT NULL, why TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL,"
    " PRIMARY KEY (channel, address))",
    "CREATE TABLE push_subscriptions (id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, doc TEXT NOT NULL, at INTEGER NOT NULL)",
    "CREATE INDEX push_subscriptions_customer ON push_subscriptions (customer_id)",
    "CREATE TABLE app_messages (id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, order_id TEXT NOT NULL, title TEXT NOT NULL, words TEXT NOT NULL,"
    " url TEXT NOT NULL, at INTEGER NOT NULL, read_at INTEGER NOT NULL DEFAULT 0)",
    "CREATE INDEX app_messages_order ON app_messages (order_id, at)",
    "CREATE TABLE reports (id TEXT PRIMARY KEY, at INTEGER NOT NULL)",
    "CREATE INDEX reports_at ON reports (at)",
)
#: a browser hears of the orders whose pages it has shown, and of no other order of the customer's; merged customers are found by whom they became
ORDERS_OF_BROWSERS = (
    "ALTER TABLE push_subscriptions ADD COLUMN order_id TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX push_subscriptions_order ON push_subscriptions (order_id)",
    "CREATE INDEX aliases_new ON aliases (new_id)",
)
#: browsers that hear of one order; another one takes the oldest one's place
BROWSERS_MAX = 10
#: a report that comes again after this long is taken for a new one. Vendors repeat for a day; but the signature of what people answer holds no time,
#: and an old START that somebody kept must not undo a later STOP
REPORTS_KEPT_S = 400 * 86_400
#: a browser's wish to hear of an order, from when it was last said: longer than any order is ahead
BROWSERS_KEPT_S = 400 * 86_400

Why = Literal["stop", "dead", "bounced", "complained", "unsubscribed"]


class Suppressed(msgspec.Struct, frozen=True):
    """An address that is not written to: why, the vendor's reason, since when (unix seconds)."""

    channel: str
    address: str
    why: Why
    reason: str
    at: int


# ---- what a customer chose
def preferences(tx: Tx, customer_id: str) -> Preferences:
    """What this customer chose last, also under an id that they have been merged from since."""
    asked = "SELECT changed_at, doc FROM preferences WHERE customer_id = ?"
    rows = [row for one in _ids(tx, customer_id) if (row := tx.one(asked, (one,))) is not None]
    return msgspec.json.decode(max(rows)[1], type=Preferences) if rows else Preferences()


def _ids(tx: Tx, customer_id: str) -> list[str]:
    """The id, and every one that leads to it (own-6)."""
    found, last = [customer_id], [customer_id]
    while last:
        last = [old for one in last for (old,) in tx.all("SELECT old_id FROM aliases WHERE new_id = ?", (one,)) if old not in found]
        found += last
    return found


def put_preferences(tx: Tx, customer_id: str, chosen: Preferences, now: int) -> None:
    tx.run(
        "INSERT INTO preferences (customer_id, doc, changed_at) VALUES (?, ?, ?)"
        " ON CONFLICT (customer_id) DO UPDATE SET doc = excluded.doc, changed_at = excluded.changed_at",
        (customer_id, msgspec.json.encode(chosen).decode(), now),
    )


# ---- addresses
def suppressed(tx: Tx, channel: str, address: str) -> Suppressed | None:
    row = tx.one("SELECT channel, address, why, reason, at FROM suppressed WHERE channel = ? AND address = ?", (channel, address))
    return Suppressed(*row) if row else None


def suppress(tx: Tx, channel: str, address: str, why: Why, reason: str, now: int) -> None:
    """Writes no more to an address. Somebody's own word stays where a vendor's report follows it."""
    tx.run(
        "INSERT INTO suppressed (channel, address, why, reason, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (channel, address) DO UPDATE SET"
        " why = CASE WHEN suppressed.why = 'stop' THEN 'stop' ELSE excluded.why END, reason = excluded.reason, at = excluded.at",
        (channel, address, why, reason, now),
    )


def allow(tx: Tx, channel: str, address: str) -> None:
    """Its owner wants to be written to again (START)."""
    tx.run("DELETE FROM suppressed WHERE channel = ? AND address = ?", (channel, address))


# ---- browsers
def subscribe(tx: Tx, subscription_id: str, order_id: str, customer_id: str, doc: str, now: int) -> None:
    """A browser wants to hear of an order. Of more than `BROWSERS_MAX` the oldest goes."""
    tx.run(
        "INSERT INTO push_subscriptions (id, order_id, customer_id, doc, at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET customer_id = excluded.customer_id, doc = excluded.doc, at = excluded.at",
        (subscription_id, order_id, customer_id, doc, now),
    )
    others = [one for one, _ in subscriptions(tx, order_id) if one != subscription_id]
    for one in others[: max(0, len(others) + 1 - BROWSERS_MAX)]:
        unsubscribe(tx, one)


def unsubscribe(tx: Tx, subscription_id: str) -> None:
    tx.run("DELETE FROM push_subscriptions WHERE id = ?", (subscription_id,))


def subscriptions(tx: Tx, order_id: str) -> list[tuple[str, str]]:
    """`(id, subscription as JSON)` of each browser that wants to hear of this order, the oldest first."""
    return tx.all("SELECT id, doc FROM push_subscriptions WHERE order_id = ? ORDER BY at, id", (order_id,))


def subscription(tx: Tx, subscription_id: str) -> str:
    """The subscription as JSON; empty where it is gone."""
    row = tx.one("SELECT doc FROM push_subscriptions WHERE id = ?", (subscription_id,))
    return row[0] if row else ""


# ---- to read here
def put_app_message(tx: Tx, message_id: str, customer_id: str, order_id: str, title: str, text: str, url: str, now: int) -> None:
    tx.run(
        "INSERT INTO app_messages (id, customer_id, order_id, title, words, url, at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (message_id, customer_id, order_id, title, text, url, now),
    )
    tx.tell("app_message", order_id)


class AppMessage(msgspec.Struct, frozen=True):
    """A message that its customer reads on the booking's page."""

    id: str
    title: str
    text: str
    url: str
    at: int


def app_messages(tx: Tx, order_id: str, limit: int = 20) -> list[AppMessage]:
    """What was said about an order, the newest first."""
    rows = tx.all("SELECT id, title, words, url, at FROM app_messages WHERE order_id = ? ORDER BY at DESC, id LIMIT ?", (order_id, limit))
    return [AppMessage(*row) for row in rows]


# ---- bookings
def standing_between(tx: Tx, first: int, past: int, reach: int = 0) -> list[Booking]:
    """Confirmed bookings that start in these slots, or up to `reach` slots before and last until then, of all facilities, by start and order."""
    rows = [
        row
        for site_id in streams.sites(tx)
        for row in tx.all(
            "SELECT doc FROM bookings WHERE site_id = ? AND first >= ? AND first < ? AND past >= ? AND status = 'confirmed'"
            " ORDER BY first, order_id, id",
            (site_id, first - reach, past, first),
        )
    ]
    return [records.booking_of(doc) for (doc,) in rows]


# ---- vendors' reports
def is_new(tx: Tx, report_id: str, now: int) -> bool:
    """Whether this report is heard for the first time."""
    return tx.run("INSERT INTO reports (id, at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", (report_id, now)) > 0


def forget(tx: Tx, now: int) -> int:
    """Lets go of reports that come no more, of what was to be read about visits of long ago and said about them, and of browsers that
    have not been heard of since. Returns how many."""
    gone = surveys.forget(tx, now)
    gone += tx.run("DELETE FROM app_messages WHERE at < ?", (now - work.KEPT_S,))
    gone += tx.run("DELETE FROM push_subscriptions WHERE at < ?", (now - BROWSERS_KEPT_S,))
    return gone + tx.run("DELETE FROM reports WHERE at < ?", (now - REPORTS_KEPT_S,))
