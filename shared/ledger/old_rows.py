"""Rows that no rule asks for any more, let go by the clock, so that a box runs for years.

Let go are closed questions to the other side and ended holds a month after they could matter, facility notices a month after their time, counts
of broken rules after 400 days, and of the messages that were not understood all but the last. Not here: rows that end by themselves (outbox,
staged, rested PINs, outage PINs, answers). Kept for good are bookings, orders, attendance and cancelled ids, which repairs and digests compare,
and the journal, whose chain would break: 185 octets a row on SQLite, so 7 MB a year where people act a hundred times a day.
Invariant: nothing that still waits is let go, nor anything of a booking that is not over, nor anything at all by a clock in doubt (clock-2).
"""

from __future__ import annotations

from ..runtime.database import Tx
from . import notices, rule_hits, streams
from .desk import Desk

KEPT_S = 30 * 86_400
#: messages of a site that were not understood: the last ones tell what its newer release says, the others say it again
NOT_UNDERSTOOD_MAX = 1000


def forget(tx: Tx, desk: Desk) -> int:
    """Called now and then by both sides. Returns how many rows went."""
    if desk.clock_doubt():
        return 0
    before_at = desk.now() - KEPT_S
    asks = tx.run(
        "DELETE FROM asks WHERE state <> 'waiting' AND at < :at"
        " AND NOT EXISTS (SELECT 1 FROM bookings b WHERE b.id IN (asks.id, asks.booking_id) AND b.past > :past)",
        {"at": before_at, "past": before_at // 900},
    )
    # one that was declined has no time of its own; few are, and what was answered must be answered again
    holds = tx.run(
        "DELETE FROM holds WHERE status IN ('used', 'ended') AND expires_at > 0 AND expires_at < :at", {"at": before_at}
    )
    notes = notices.forget(tx, before_at) + rule_hits.forget(tx, desk.now())
    return asks + holds + notes + sum(_not_understood(tx, site_id) for site_id in streams.sites(tx))


def _not_understood(tx: Tx, site_id: str) -> int:
    oldest = tx.one(
        "SELECT at, no FROM inbox WHERE site_id = :s ORDER BY at DESC, no DESC LIMIT 1 OFFSET :n", {"s": site_id, "n": NOT_UNDERSTOOD_MAX}
    )
    if oldest is None:
        return 0
    at, no = oldest
    return tx.run("DELETE FROM inbox WHERE site_id = :s AND (at < :at OR (at = :at AND no <= :no))", {"s": site_id, "at": at, "no": no})
