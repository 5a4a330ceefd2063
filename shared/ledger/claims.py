"""Who has which slot. The primary key `(resource_id, slot)` is what keeps a slot from being sold twice (B5): one guard for holds,
pending parts, bookings and blocks, in the database and not in a check before an insert.

Kinds: `hold` and `pending` are not told of by the stream, so a release stops at them (terr-2); `booking` and `block` are told.
"""

from __future__ import annotations

from ..errors import refuse
from ..model import Booking, Interval
from ..runtime.database import Tx
from . import records, standing
from .desk import Desk

UNTOLD = ("hold", "pending")
#: before the id of a booking that was given up and whose slots a repair keeps from sale until the site has answered
OWED = "owed|"


def _insert(tx: Tx, resource_id: str, slots, kind: str, ref: str) -> int:
    """Takes what is free of `slots`; returns how many. Row by row: SQLite keeps a journal of its own for a statement with several, and
    in a transaction as large as a repair's that costs more than everything else."""
    rows = [(resource_id, slot, kind, ref) for slot in slots]
    return tx.many("INSERT INTO claims (resource_id, slot, kind, ref) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows) if rows else 0


def take(tx: Tx, desk: Desk, resource_id: str, interval: Interval, kind: str, ref: str, *, stated: bool = False) -> None:
    """Takes every slot or refuses with `slot_taken`. An expired hold in the way is ended first: only its clock ends it, and it has.

    Refuses, too, while this side may take no new claim at all (`standing.may_sell`, which says what `stated` is).
    """
    standing.require(tx, desk, resource_id, interval.start, stated=stated)
    got = _insert(tx, resource_id, range(interval.start, interval.end), kind, ref)
    if got == len(interval):
        return
    if _end_expired(tx, desk, resource_id, interval, ref):
        got += _insert(tx, resource_id, range(interval.start, interval.end), kind, ref)
    if got < len(interval) and desk.guard("claim_is_exclusive"):
        raise refuse("slot_taken", "This time has just been taken.")


def take_free(tx: Tx, resource_id: str, interval: Interval, kind: str, ref: str) -> int:
    """Takes what is free, for facts that never fail for want of a slot (stream-8) and for blocks. Returns how many slots are still lacking."""
    _insert(tx, resource_id, range(interval.start, interval.end), kind, ref)
    return len(lacking(tx, resource_id, interval, ref))


def lacking(tx: Tx, resource_id: str, interval: Interval, ref: str) -> list[int]:
    """The slots of the interval that somebody else has, or nobody."""
    mine = {
        r[0]
        for r in tx.all(
            "SELECT slot FROM claims WHERE resource_id = ? AND slot >= ? AND slot < ? AND ref = ?",
            (resource_id, interval.start, interval.end, ref),
        )
    }
    return [s for s in range(interval.start, interval.end) if s not in mine]


def holders(tx: Tx, resource_id: str, interval: Interval) -> list[tuple[int, str, str]]:
    """`(slot, kind, ref)` of what is taken."""
    return tx.all(
        "SELECT slot, kind, ref FROM claims WHERE resource_id = ? AND slot >= ? AND slot < ? ORDER BY slot",
        (resource_id, interval.start, interval.end),
    )


def taken_of(tx: Tx, resource_ids: list[str], interval: Interval) -> dict[str, list[int]]:
    """Per bay the slots that are taken, in order, asked at once."""
    found: dict[str, list[int]] = {r: [] for r in resource_ids}
    if not found:
        return found
    # `IN` and not a range: a range over bays would use only the first column of the key (24 times slower)
    rows = tx.all(
        f"SELECT resource_id, slot FROM claims WHERE resource_id IN ({', '.join('?' * len(found))}) AND slot >= ? AND slot < ? ORDER BY resource_id, slot",
        (*found, interval.start, interval.end),
    )
    for resource_id, slot in rows:
        found[resource_id].append(slot)
    return found


def hand_over(tx: Tx, from_ref: str, kind: str, to_ref: str) -> int:
    """A claim passes from one to another without being free in between (hold to booking, pending to booking)."""
    return tx.run("UPDATE claims SET kind = :k, ref = :to WHERE ref = :f", {"k": kind, "to": to_ref, "f": from_ref})


def hand_over_slots(tx: Tx, resource_id: str, slots: list[int], from_ref: str, kind: str, to_ref: str) -> int:
    return sum(
        tx.run(
            "UPDATE claims SET kind = :k, ref = :to WHERE resource_id = :r AND slot = :s AND ref = :f",
            {"k": kind, "to": to_ref, "f": from_ref, "r": resource_id, "s": s},
        )
        for s in slots
    )


def free(tx: Tx, desk: Desk, ref: str) -> None:
    """Ends every claim of `ref`; the slots pass on in the same transaction (block-1, block-2)."""
    for resource_id, interval in drop(tx, ref):
        pass_on(tx, desk, resource_id, interval)


def drop(tx: Tx, ref: str) -> list[tuple[str, Interval]]:
    """Ends every claim of `ref` and returns what was freed; the caller passes it on."""
    rows = tx.all("SELECT resource_id, slot FROM claims WHERE ref = :ref ORDER BY resource_id, slot", {"ref": ref})
    tx.run("DELETE FROM claims WHERE ref = :ref", {"ref": ref})
    freed: list[tuple[str, Interval]] = []
    for resource_id, slot in rows:
        if freed and freed[-1][0] == resource_id and freed[-1][1].end == slot:
            freed[-1] = (resource_id, Interval(freed[-1][1].start, slot + 1))
        else:
            freed.append((resource_id, Interval(slot, slot + 1)))
        tx.tell("resource", resource_id)
    return freed


def pass_on(tx: Tx, desk: Desk, resource_id: str, freed: Interval) -> None:
    """Freed slots go to a waiting block first, then to the displaced booking there with the lowest sale number, before anyone can buy them."""
    if desk.guard("block_waits"):
        for block in records.blocks_over(tx, resource_id, freed.start, freed.end):
            overlap = Interval(max(freed.start, block.start), min(freed.end, block.end))
            take_free(tx, resource_id, overlap, "block", block.id)
    if desk.guard("displaced_first"):
        for booking in displaced_at(tx, resource_id, freed):
            seat(tx, desk, booking)


def displaced_at(tx: Tx, resource_id: str, interval: Interval) -> list[Booking]:
    return records.bookings_where(
        tx,
        # `+first`: found by the index of the displaced, not through all that the bay ever had before this end
        "resource_id = ? AND displaced = 1 AND status IN ('confirmed', 'cancelling') AND +first < ? AND past > ? ORDER BY sale_no, id",
        (resource_id, interval.end, interval.start),
    )


def seat(tx: Tx, desk: Desk, booking: Booking) -> Booking:
    """A sale that is a fact takes its slots, as many as are free; the mark `displaced` follows (stream-8, block-2). Returns the booking as stored.

    Over a block it stays marked even where it has its slots: the bay is out of service for it.
    """
    from . import blocks  # blocks know claims; this is the one step back

    interval = booking.claimed
    missing = take_free(tx, booking.resource_id, interval, "booking", booking.id)
    if missing and not desk.guard("facts_never_fail"):
        raise refuse("slot_taken", "This time has just been taken.")
    blocked = records.blocks_over(tx, booking.resource_id, interval.start, interval.end)
    return blocks.mark(tx, desk, booking, bool(missing or blocked), [b.id for b in blocked] or _others(tx, booking))


def _others(tx: Tx, booking: Booking) -> list[str]:
    found = [ref for _, _, ref in holders(tx, booking.resource_id, booking.claimed) if ref != booking.id]
    return list(dict.fromkeys(found))


def first_untold(tx: Tx, resource_id: str, from_slot: int) -> int | None:
    """The first slot at or above `from_slot` that a claim untold by the stream takes (terr-2)."""
    row = tx.one(
        "SELECT MIN(slot) FROM claims WHERE resource_id = ? AND slot >= ? AND kind IN ('hold', 'pending')",
        (resource_id, from_slot),
    )
    return row[0] if row else None


def _end_expired(tx: Tx, desk: Desk, resource_id: str, interval: Interval, ref: str) -> bool:
    """Ends the holds in the way of `ref` whose time is over on our clock. True where there was one."""
    from . import holds

    ended = False
    for other in dict.fromkeys(other for _, kind, other in holders(tx, resource_id, interval) if kind == "hold" and other != ref):
        hold = records.hold(tx, other)
        if hold is None or (hold.status == "held" and hold.expires_at <= desk.now()):
            holds.end(tx, desk, other)
            ended = True
    return ended
