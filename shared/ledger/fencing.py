"""The fence: a copy of the books that may lack what was sold stands still until a repair, and how the two sides find out which of them it is (loss-1).

Not here: the repair (`repair`). Invariant: only an answer to a nonce says that books were set back, never a replayed message.
"""

from __future__ import annotations

from ..messages import Hello
from ..runtime.database import Tx
from . import records, streams, work
from .desk import Desk


def fence(tx: Tx, desk: Desk, site_id: str, why: str) -> None:
    """This copy may lack what was sold (loss-1): it takes no claim and decides nothing for the site until a repair. Doors and check-in go on."""
    stream = streams.lock(tx, site_id)
    stream.fenced, stream.stopped, stream.closed, stream.repair = why, why, 1, ""
    tx.run("UPDATE streams SET fenced = :w, stopped = :w, closed = 1, repair = '' WHERE site_id = :s", {"w": why, "s": site_id})
    tx.run("DELETE FROM staged WHERE site_id = :s", {"s": site_id})
    work.uncertain(tx, site_id, desk.now())
    records.journal(tx, desk.now(), site_id, "repair", "fenced", site_id, why)
    tx.tell("fenced", site_id)
    tx.tell("alarm", site_id)


def fence_all(tx: Tx, desk: Desk, why: str) -> int:
    """Every site of these books. Returns how many."""
    known = streams.sites(tx)
    for site_id in known:
        fence(tx, desk, site_id, why)
    return len(known)


def close(tx: Tx, desk: Desk, site_id: str, behind: streams.Behind) -> None:
    """The two copies do not fit (stream-7). The one that was set back is fenced; the other goes on selling until the repair."""
    if behind.mine and desk.guard("behind_is_fenced"):
        fence(tx, desk, site_id, behind.detail)
    else:
        streams.stop(tx, desk, site_id, behind.detail)


def evidence(tx: Tx, desk: Desk, s: streams.Stream, hello: Hello, applied_no: int, acked_no: int) -> list[streams.Behind]:
    """Who of us was set back, by the peer's positions, answered to my nonce, against my own; empty where the two books fit.

    `applied_no` and `acked_no` are where I stood when I asked, in this epoch: rows may have overtaken the answer since.
    """
    if hello.epoch != s.epoch:
        if not hello.epoch or s.repair:
            return []
        mine, theirs = repairs_of(s.epoch), repairs_of(hello.epoch)
        found = []
        if mine <= theirs:
            found.append(streams.Behind(f"the other side has been through {theirs} repairs, we know of {mine}", mine=True))
        if theirs <= mine:
            found.append(streams.Behind(f"we have been through {mine} repairs, the other side knows of {theirs}", mine=False))
        return found
    found = []
    try:
        streams.acknowledge(tx, desk, s, hello.applied)
    except streams.Behind as behind:
        found.append(behind)
    if hello.acked is not None and hello.acked.no > s.applied_no:
        found.append(streams.Behind(f"the other side had our word for its row {hello.acked.no}, we know only {s.applied_no}", mine=True))
    if hello.sent.no < applied_no:
        found.append(streams.Behind(f"peer has sent {hello.sent.no} rows, we have applied {applied_no}", mine=False))
    if hello.applied.no < acked_no:
        found.append(streams.Behind(f"peer has applied {hello.applied.no} rows, it had said {acked_no}", mine=False))
    return found


def repairs_of(epoch: str) -> int:
    """How many repairs came before this epoch: it begins with that number, so that the older of two is known by its name."""
    number = epoch.partition(".")[0]
    return int(number) if "." in epoch and number.isdigit() else 0


def wanted(s: streams.Stream, hello: Hello, acked_no: int) -> bool:
    """At the site: whether what the hub answered to my nonce calls for R1. `acked_no`: what I knew when I asked that it has of this epoch."""
    if s.repair:  # one is under way: anew only if the hub took part of it in, or finished it, and was set back since
        if hello.epoch == s.epoch:
            return hello.closed
        staged_no = hello.staged.no if hello.repair == s.epoch and hello.staged is not None else -1
        return acked_no > 0 and staged_no < acked_no
    if s.fenced or s.closed or hello.closed:
        return True
    return hello.epoch != s.epoch and (bool(hello.epoch) or s.acked_no > 0 or s.applied_no > 0)
