"""Whether this side may take a new claim at all, whatever the line says: fence, retirement, clock, halted bay, floor.

For every claim that is this side's own wish (sale, hold, pending part, block over free slots). Not for facts of the peer, which never
fail (stream-8), nor for doors, check-in and attendance, which go on. Invariant: it is asked inside the transaction that takes the claim.
"""

from __future__ import annotations

import msgspec

from ..errors import Refusal, Refused
from ..model import site_of
from ..runtime.database import Tx
from . import records, streams
from .desk import Desk


class Halt(msgspec.Struct, frozen=True):
    """Sales stopped by a breach of an invariant; `resource_id` is empty where it is the whole site. `at` in unix seconds."""

    site_id: str
    resource_id: str
    why: str
    at: int


def of_side(desk: Desk, stream: streams.Stream, *, selling: bool = True) -> Refusal | None:
    """What stands in the way of everything this side decides for the site (loss-1, loss-5), and of its sales (clock-2)."""
    if stream.retired:
        return Refusal("retired", f"This box has been replaced and sells nothing any more. {stream.retired}")
    if stream.fenced and desk.guard("fence_holds"):
        return Refusal("fenced", "This system is being repaired and sells nothing just now.", retry_after_s=60)
    doubt = desk.clock_doubt() if selling else ""
    if doubt and desk.guard("trusted_clock"):
        return Refusal("clock_untrusted", f"Nothing can be sold until the time is confirmed. {doubt}", retry_after_s=60)
    return None


def may_sell(tx: Tx, desk: Desk, site_id: str, resource_id: str, start: int, *, stated: bool = False) -> Refusal | None:
    """None where a new claim that begins in slot `start` may be taken here. `stated`: a person enters what was sold below the floor (loss-4)."""
    stream = streams.lock(tx, site_id)
    no = of_side(desk, stream)
    if no is not None:
        return no
    if stream.halted and desk.guard("breach_halts"):
        row = tx.one(
            "SELECT why FROM halts WHERE site_id = :s AND resource_id IN (:r, '') ORDER BY resource_id LIMIT 1",
            {"s": site_id, "r": resource_id},
        )
        if row is not None:
            return Refusal("bay_halted", "This bay is not sold just now: its books need a person's look. The staff have been told.")
    if desk.side == "site" and not stated and desk.guard("floor_holds"):
        floor = tx.one("SELECT floor FROM lines WHERE resource_id = :r", {"r": resource_id})
        if floor is not None and start < floor[0]:
            return Refusal(
                "below_floor",
                "This time may have been sold before the box was replaced. A member of staff has to state what was sold first.",
            )
    return None


def require(tx: Tx, desk: Desk, resource_id: str, start: int, *, stated: bool = False) -> None:
    """Refuses where `may_sell` says no."""
    no = may_sell(tx, desk, site_of(resource_id), resource_id, start, stated=stated)
    if no is not None:
        raise Refused(no)


def require_side(tx: Tx, desk: Desk, site_id: str, *, selling: bool = True) -> streams.Stream:
    """The locked stream row; refuses what changes bookings while this side is fenced or retired, and what sells without a trusted clock."""
    stream = streams.lock(tx, site_id)
    no = of_side(desk, stream, selling=selling)
    if no is not None:
        raise Refused(no)
    return stream


# ---- halts
def halt(tx: Tx, desk: Desk, site_id: str, resource_id: str, why: str) -> bool:
    """Stops the sales of a bay (or of the site, where `resource_id` is empty) and raises the alarm. False where they were stopped already."""
    stream = streams.lock(tx, site_id)
    fresh = tx.run(
        "INSERT INTO halts (site_id, resource_id, why, at) VALUES (:s, :r, :w, :at) ON CONFLICT DO NOTHING",
        {"s": site_id, "r": resource_id, "w": why, "at": desk.now()},
    )
    if not fresh:
        return False
    _count(tx, stream)
    records.journal(tx, desk.now(), site_id, "invariants", "sales halted", resource_id or site_id, why)
    tx.tell("alarm", site_id)
    return True


def lift(tx: Tx, desk: Desk, site_id: str, resource_id: str, by: str, reason: str) -> bool:
    """A person has looked and lets sales go on. False where nothing was halted."""
    stream = streams.lock(tx, site_id)
    if not tx.run("DELETE FROM halts WHERE site_id = :s AND resource_id = :r", {"s": site_id, "r": resource_id}):
        return False
    _count(tx, stream)
    records.journal(tx, desk.now(), site_id, by, "sales resumed", resource_id or site_id, reason)
    tx.tell("alarm", site_id)
    tx.tell("resource", resource_id)
    return True


def halts(tx: Tx, site_id: str) -> list[Halt]:
    rows = tx.all("SELECT site_id, resource_id, why, at FROM halts WHERE site_id = :s ORDER BY at, resource_id", {"s": site_id})
    return [Halt(*row) for row in rows]


def _count(tx: Tx, stream: streams.Stream) -> None:
    stream.halted = tx.one("SELECT COUNT(*) FROM halts WHERE site_id = :s", {"s": stream.site_id})[0]
    tx.run("UPDATE streams SET halted = :n WHERE site_id = :s", {"n": stream.halted, "s": stream.site_id})
