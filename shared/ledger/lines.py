"""Lines and releases: who may sell what, moved by the hub alone (protocol terr-1 to terr-4). The rule itself is `shared.territory`."""

from __future__ import annotations

from .. import territory
from ..errors import refuse
from ..messages import Released
from ..model import Interval
from ..runtime.database import Tx
from . import claims, records, standing, streams
from .desk import Desk


def line_of(tx: Tx, resource_id: str) -> int:
    """This side's copy of the line. Refuses for a resource that no stream has stated."""
    row = tx.one("SELECT line FROM lines WHERE resource_id = ?", (resource_id,))
    if row is None:
        raise refuse("resource_not_found", "This bay is not known here.")
    return row[0]


def floor_of(tx: Tx, site_id: str, resource_id: str) -> int:
    """loss-4: below this slot the site's books may have forgotten sales; everywhere while they wait for a repair. 0 where they are whole."""
    stream = streams.lock(tx, site_id)
    if stream.fenced:
        return 1 << 40
    row = tx.one("SELECT floor FROM lines WHERE resource_id = :r", {"r": resource_id})
    return row[0] if row else 0


def highest_floor(tx: Tx, site_id: str) -> int:
    """The slot from which on every bay of the site is sold; 0 where none has a floor."""
    return tx.one("SELECT COALESCE(MAX(floor), 0) FROM lines WHERE site_id = :s", {"s": site_id})[0]


def lines_of(tx: Tx, site_id: str) -> dict[str, int]:
    return dict(tx.all("SELECT resource_id, line FROM lines WHERE site_id = ?", (site_id,)))


def bounds_of(tx: Tx, site_id: str) -> dict[str, tuple[int, int]]:
    """Per bay its line, and the slot from which this side may take new claims: its floor (loss-4), or what is being released (terr-2)."""
    rows = tx.all("SELECT resource_id, line, floor, wanted FROM lines WHERE site_id = ?", (site_id,))
    return {resource_id: (line, max(floor, wanted)) for resource_id, line, floor, wanted in rows}


def begin(tx: Tx, site_id: str, resource_id: str, line: int) -> None:
    """The first line of a new resource; never lowers one that stands."""
    tx.run(
        "INSERT INTO lines (resource_id, site_id, line) VALUES (:r, :s, :l)"
        " ON CONFLICT (resource_id) DO UPDATE SET line = excluded.line WHERE excluded.line > lines.line",
        {"r": resource_id, "s": site_id, "l": line},
    )


def verdict(tx: Tx, desk: Desk, resource_id: str, interval: Interval) -> territory.Verdict:
    """terr-1, read inside the transaction, after the stream row is locked."""
    line = line_of(tx, resource_id)
    if not desk.guard("sell_own_only"):
        return "mine"
    return territory.may_sell(desk.side, interval, line)


def owns(tx: Tx, desk: Desk, resource_id: str, start: int) -> bool:
    """own-1."""
    if not desk.guard("owner_only"):
        return True
    return territory.owns(desk.side, start, line_of(tx, resource_id))


def release(tx: Tx, desk: Desk, site_id: str, *, link_fresh: bool) -> int:
    """terr-2: the hub's clock raises the lines of one site as far as they may go. Returns how many were raised."""
    stream = streams.lock(tx, site_id)
    if stream.stopped or standing.of_side(desk, stream) or not _may_raise(desk, site_id, link_fresh):
        return 0
    raised, now, most = 0, desk.now_slot(), _most(desk)
    known = {r: (line, no) for r, line, no in tx.all("SELECT resource_id, line, release_no FROM lines WHERE site_id = ?", (site_id,))}
    for resource in records.resources(tx, site_id):
        if resource.active and resource.id in known:
            target = territory.release_target(now, resource.release_ahead_s // 900, most)
            raised += _raise(tx, desk, site_id, resource.id, target, known[resource.id])
    return raised


def release_for(tx: Tx, desk: Desk, site_id: str, resource_id: str, interval: Interval, *, link_fresh: bool) -> bool:
    """terr-4: raises the line to a straddling interval's end, so that the site may sell it whole. False where it may not go so far."""
    stream = streams.lock(tx, site_id)
    if stream.stopped or standing.of_side(desk, stream) or not _may_raise(desk, site_id, link_fresh):
        return False
    target = territory.straddle_target(interval, desk.now_slot(), _most(desk))
    if target is None:
        return False
    known = tx.one("SELECT line, release_no FROM lines WHERE resource_id = ?", (resource_id,))
    if known is not None:
        _raise(tx, desk, site_id, resource_id, target, known)
    return line_of(tx, resource_id) >= interval.end


def _may_raise(desk: Desk, site_id: str, link_fresh: bool) -> bool:
    """terr-2: only while the site is heard; clock-1: only while the two clocks agree to a minute, since a line follows the hub's clock."""
    if site_id in desk.skewed and desk.guard("skew_stops_release"):
        return False
    return link_fresh or not desk.guard("release_needs_fresh_link")


def _most(desk: Desk) -> int:
    return desk.limits.release_ahead_max_s // 900 if desk.guard("release_ahead_max") else 1 << 40


def _raise(tx: Tx, desk: Desk, site_id: str, resource_id: str, target: int, known: tuple[int, int]) -> bool:
    """Raising the line and telling it are one transaction; at most one release per resource is unapplied. `known`: the line, and the
    number of the release that is."""
    line, release_no = known
    if line >= target:
        return False
    if release_no and desk.guard("one_release_waiting"):
        return False
    untold = claims.first_untold(tx, resource_id, line) if desk.guard("release_stops_at_untold") else None
    new = territory.release_to(line, target, untold)
    wanted = target if untold is not None and untold < target else 0
    if new is None:
        tx.run("UPDATE lines SET wanted = :w WHERE resource_id = :r", {"w": wanted, "r": resource_id})
        return False
    no = streams.append(tx, desk, site_id, Released(resource_id=resource_id, line=new))
    tx.run(
        "UPDATE lines SET line = ?, release_no = ?, wanted = ? WHERE resource_id = ?",
        (new, no, wanted, resource_id),
    )
    tx.tell("resource", resource_id)
    return True


def refuse_below_waiting(tx: Tx, desk: Desk, resource_id: str, interval: Interval) -> None:
    """terr-2: no new untold claim starts below a release that waits for the last one to end."""
    row = tx.one("SELECT wanted FROM lines WHERE resource_id = :r", {"r": resource_id})
    if row and interval.start < row[0] and desk.guard("release_stops_at_untold"):
        raise refuse(
            "slot_being_released",
            "This time is just being handed over to the facility. Please choose another time or try again in a few minutes.",
            retry_after_s=60,
        )


def apply_release(tx: Tx, desk: Desk, message: Released) -> None:
    """terr-3: the site's line rises by what it is told, after everything told before."""
    below = message.line if desk.guard("lines_only_rise") else 1 << 40
    tx.run("UPDATE lines SET line = ? WHERE resource_id = ? AND line < ?", (message.line, message.resource_id, below))
    tx.tell("resource", message.resource_id)
