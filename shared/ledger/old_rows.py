"""Rows that no rule asks for any more, let go by the clock, so that a box runs for years.

Let go are closed questions to the other side and ended holds a month after they could matter, and with them the places for a displaced booking that
were declined; facility notices and alarms of sites a month after their time, presses for a door after days, readers' codes as soon as they are not
shown any more, counts of broken rules after 400 days, and of the messages that were not understood all but the last.
What was in the conflict queue and is over is closed. Not here: rows that end by themselves (outbox,
staged, rested PINs, outage PINs, answers). Kept for good are all other bookings, orders, attendance and cancelled ids, which repairs and digests compare,
and the journal, whose chain would break: 185 octets a row on SQLite, so 7 MB a year where people act a hundred times a day.
Invariant: nothing that still waits is let go, nor anything of a booking that is not over, nor anything at all by a clock in doubt (clock-2).
"""

from __future__ import annotations

from ..runtime.database import Tx
from . import digests, door_codes, door_wishes, notices, records, rule_hits, site_alarms, streams
from .desk import Desk

KEPT_S = 30 * 86_400
#: so far back from there declined places are looked for, so that not all that the facility ever had is read every time
LOOK_BACK_S = 3 * 86_400
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
    holds = tx.run("DELETE FROM holds WHERE status IN ('used', 'ended') AND expires_at > 0 AND expires_at < :at", {"at": before_at})
    places = 0
    for site_id in streams.sites(tx):
        _close_conflicts(tx, site_id, desk.now_slot())
        places += _declined_places(tx, site_id, before_at)
    now = desk.now()
    notes = notices.forget(tx, before_at) + rule_hits.forget(tx, now) + site_alarms.forget(tx, now)
    doors = door_wishes.forget(tx, now) + door_codes.forget(tx, now)
    return asks + holds + places + notes + doors + sum(_not_understood(tx, site_id) for site_id in streams.sites(tx))


def _close_conflicts(tx: Tx, site_id: str, now_slot: int) -> None:
    """A visit that is over needs no place any more, whatever was never settled about it. That the two books differ stays for people."""
    tx.run(
        "UPDATE conflicts SET state = 'ended' WHERE site_id = :s AND state = 'open' AND why <> :w AND EXISTS"
        " (SELECT 1 FROM bookings b WHERE b.id = conflicts.booking_id AND b.past <= :now)",
        {"s": site_id, "w": digests.WHY, "now": now_slot},
    )


def _declined_places(tx: Tx, site_id: str, before_at: int) -> int:
    """Of one displaced booking there may be several a day. They never were anybody's."""
    over = records.bookings_where(
        tx,
        "site_id = :s AND first >= :from AND first < :past AND past < :past AND status = 'declined'",
        {"s": site_id, "from": (before_at - LOOK_BACK_S) // 900, "past": before_at // 900},
    )
    ids = [b.id for b in over if b.placed and b.replaces]
    return tx.many("DELETE FROM bookings WHERE id = ?", [(one,) for one in ids]) if ids else 0


def _not_understood(tx: Tx, site_id: str) -> int:
    oldest = tx.one(
        "SELECT at, no FROM inbox WHERE site_id = :s ORDER BY at DESC, no DESC LIMIT 1 OFFSET :n", {"s": site_id, "n": NOT_UNDERSTOOD_MAX}
    )
    if oldest is None:
        return 0
    at, no = oldest
    return tx.run("DELETE FROM inbox WHERE site_id = :s AND (at < :at OR (at = :at AND no <= :no))", {"s": site_id, "at": at, "no": no})
