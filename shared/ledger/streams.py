"""Outbox, inbox position and chain of each site's two streams (protocol stream-1, -2, -3, -7).

Every sale, release and append of a site locks its row here first (terr-1); the number of a message comes from that row, never from a
sequence, so committed rows have no holes.
"""

from __future__ import annotations

import msgspec

from ..errors import Broken, refuse
from ..messages import Message, Position, Row, chain_next, chain_start, encode, must_understand
from ..runtime.database import Tx
from .desk import Desk


class Behind(Broken):
    """The positions of the two sides do not fit: one of them was set back to an older copy (stream-7, loss-1). `mine`: this side was."""

    def __init__(self, detail: str, *, mine: bool):
        super().__init__(detail)
        self.mine = mine


class Stream(msgspec.Struct):
    """The stream row of one site, as this side keeps it; the fields in the order of `_ROW`."""

    site_id: str
    epoch: str
    hub_id: str
    box_id: str
    term: int
    peer_box_id: str
    peer_term: int
    peer_schema: int
    sent_no: int
    sent_chain: str
    acked_no: int
    acked_chain: str
    applied_no: int
    applied_chain: str
    stopped: str
    fenced: str
    closed: int
    sale_no: int
    heard_at: int
    unknown_count: int
    retired: str
    repair: str
    staged_no: int
    staged_chain: str
    halted: int
    unvouched: str
    stated: int


#: rows read at first, and how many characters of them make a batch that may be as long as it likes
FEW, SMALL = 16, 64_000

#: read more often than anything else: written out once
_ROW = f"SELECT {', '.join(Stream.__struct_fields__)} FROM streams WHERE site_id = ?"


def read(tx: Tx, site_id: str) -> Stream | None:
    row = tx.one(_ROW, (site_id,))
    return Stream(*row) if row else None


def lock(tx: Tx, site_id: str) -> Stream:
    """The site's stream row, locked for this transaction. Everything that sells, releases or appends comes through here."""
    memo = tx.memo.get(site_id)
    if memo is not None:
        return memo
    row = tx.one(_ROW + tx.for_update, (site_id,))
    if row is None:
        raise refuse("facility_not_found", "This facility is not known here.")
    stream = tx.memo[site_id] = Stream(*row)
    return stream


def sites(tx: Tx) -> list[str]:
    return [r[0] for r in tx.all("SELECT site_id FROM streams ORDER BY site_id")]


def open_site(tx: Tx, site_id: str, *, epoch: str = "", hub_id: str = "", box_id: str = "", term: int = 1) -> Stream:
    """Enters a site into the books. The epoch of a new site is its own; a hub learns it from the first answered hello (`adopt_epoch`)."""
    chain = chain_start(epoch) if epoch else ""
    tx.run(
        "INSERT INTO streams (site_id, epoch, hub_id, box_id, term, sent_chain, acked_chain, applied_chain)"
        " VALUES (:s, :e, :h, :b, :t, :c, :c, :c) ON CONFLICT (site_id) DO NOTHING",
        {"s": site_id, "e": epoch, "h": hub_id, "b": box_id, "t": term, "c": chain},
    )
    return lock(tx, site_id)


def adopt_epoch(tx: Tx, site_id: str, epoch: str) -> None:
    """The hub has no epoch for this site yet and has sent nothing: both streams begin with the site's."""
    stream = lock(tx, site_id)
    if stream.epoch or stream.sent_no:
        return
    chain = chain_start(epoch)
    tx.run(
        "UPDATE streams SET epoch = :e, sent_chain = :c, acked_chain = :c, applied_chain = :c WHERE site_id = :s",
        {"e": epoch, "c": chain, "s": site_id},
    )
    stream.epoch, stream.sent_chain, stream.acked_chain, stream.applied_chain = epoch, chain, chain, chain
    tx.tell("stream", site_id)


def append(tx: Tx, desk: Desk, site_id: str, message: Message) -> int:
    """Writes the message to the outbox in the transaction of the change it tells of (stream-1). Returns its number."""
    stream = lock(tx, site_id)
    if not stream.epoch:
        raise refuse("site_unreachable", "This facility has not been heard from yet.")
    body = encode(message)
    no = stream.sent_no + 1
    chain = chain_next(stream.sent_chain, no, body)
    tx.run(
        "INSERT INTO outbox (site_id, epoch, no, type, must, body, chain, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (site_id, stream.epoch, no, type(message).__name__, int(must_understand(message)), body.decode(), chain, desk.now()),
    )
    tx.run("UPDATE streams SET sent_no = ?, sent_chain = ?, sale_no = ? WHERE site_id = ?", (no, chain, stream.sale_no, site_id))
    stream.sent_no, stream.sent_chain = no, chain
    tx.tell("outbox", site_id)
    return no


def next_sale_no(tx: Tx, site_id: str) -> int:
    """pass-1: greater than every sale number this side has issued or applied for the site. Written with the message that tells of the sale."""
    stream = lock(tx, site_id)
    stream.sale_no += 1
    return stream.sale_no


def heard_sale_no(tx: Tx, desk: Desk, site_id: str, sale_no: int) -> None:
    stream = lock(tx, site_id)
    if sale_no > stream.sale_no and desk.guard("sale_number_heard"):
        stream.sale_no = sale_no
        tx.run("UPDATE streams SET sale_no = :n WHERE site_id = :s", {"n": sale_no, "s": site_id})


def rows_after(tx: Tx, stream: Stream, after: int, limit: int) -> tuple[str, list[Row]]:
    """The chain before the first row, and up to `limit` rows above `after`; fewer of a snapshot's, which are large."""
    sql = "SELECT no, body, must FROM outbox WHERE site_id = ? AND epoch = ? AND no > ? ORDER BY no LIMIT ?"
    params = (stream.site_id, stream.epoch, after)
    rows = tx.all(sql, (*params, min(limit, FEW) if stream.sent_no - after > FEW else limit))
    if len(rows) == FEW < limit and sum(len(row[1]) for row in rows) < SMALL:
        rows = tx.all(sql, (*params, limit))
    return chain_at(tx, stream, after) or "", [Row(no, msgspec.Raw(body.encode()), bool(must)) for no, body, must in rows]


def chain_at(tx: Tx, stream: Stream, no: int) -> str | None:
    """The chain of what we sent, at `no`; None where that row is no longer (or not yet) kept."""
    if no == stream.acked_no:
        return stream.acked_chain
    if no == stream.sent_no:
        return stream.sent_chain
    row = tx.one("SELECT chain FROM outbox WHERE site_id = ? AND epoch = ? AND no = ?", (stream.site_id, stream.epoch, no))
    return row[0] if row else None


def acknowledge(tx: Tx, desk: Desk, stream: Stream, at: Position) -> bool:
    """The peer has applied our stream up to `at` (stream-3). Keeps the position and lets the rows go. True where it moved.

    Raises Behind where the peer has applied more than was sent, or its chain is another (stream-7): this side is a rolled-back copy.
    """
    if at.no <= stream.acked_no:
        if at.no == stream.acked_no and at.chain != stream.acked_chain and desk.guard("chain_continues"):
            raise Behind(f"chain differs at our row {at.no}", mine=True)
        return False
    if at.no > stream.sent_no:
        raise Behind(f"peer has applied row {at.no}, we have sent {stream.sent_no}", mine=True)
    if chain_at(tx, stream, at.no) != at.chain and desk.guard("chain_continues"):
        raise Behind(f"chain differs at our row {at.no}", mine=True)
    tx.run("UPDATE streams SET acked_no = ?, acked_chain = ? WHERE site_id = ?", (at.no, at.chain, stream.site_id))
    tx.run("DELETE FROM outbox WHERE site_id = ? AND epoch = ? AND no <= ?", (stream.site_id, stream.epoch, at.no))
    if desk.side == "hub":  # who alone releases
        tx.run("UPDATE lines SET release_no = 0 WHERE site_id = ? AND release_no > 0 AND release_no <= ?", (stream.site_id, at.no))
    stream.acked_no, stream.acked_chain = at.no, at.chain
    if desk.second_machine:
        tx.tell("secured", stream.site_id)
    return True


def advance(tx: Tx, stream: Stream, no: int, chain: str) -> None:
    """Our position in the peer's stream, in the transaction that applied the row (stream-2)."""
    tx.run("UPDATE streams SET applied_no = ?, applied_chain = ? WHERE site_id = ?", (no, chain, stream.site_id))
    stream.applied_no, stream.applied_chain = no, chain


def stop(tx: Tx, desk: Desk, site_id: str, why: str, no: int = 0, body: str = "") -> None:
    """stream-6: the stream coming in stands here until a person or an upgrade; what stopped it (`no`, `body`) is kept. stream-7: without a
    row to name, the two copies do not fit and the one going out is closed too, until a repair. Local selling goes on.
    """
    stream = lock(tx, site_id)
    stream.stopped, stream.closed = why, int(not no) or stream.closed
    tx.run("UPDATE streams SET stopped = :w, closed = :c WHERE site_id = :s", {"w": why, "c": stream.closed, "s": site_id})
    if no:
        keep(tx, desk, stream, no, body, why)
    tx.tell("alarm", site_id)


def start_again(tx: Tx, site_id: str) -> bool:
    """A process has begun, perhaps of another release, that knows the row which stopped the stream: it is tried once more. What waits for
    a repair waits on. False where nothing stood still at a row."""
    stream = lock(tx, site_id)
    if not stream.stopped or stream.closed or stream.fenced:
        return False
    stream.stopped = ""
    tx.run("UPDATE streams SET stopped = '' WHERE site_id = :s", {"s": site_id})
    tx.tell("stream", site_id)
    return True


def keep(tx: Tx, desk: Desk, stream: Stream, no: int, body: str, why: str) -> None:
    """Keeps a row that was not understood, and counts it."""
    tx.run(
        "INSERT INTO inbox (site_id, epoch, no, body, chain, why, at) VALUES (:s, :e, :n, :b, :c, :w, :at) ON CONFLICT DO NOTHING",
        {"s": stream.site_id, "e": stream.epoch, "n": no, "b": body, "c": stream.applied_chain, "w": why, "at": desk.now()},
    )
    tx.run("UPDATE streams SET unknown_count = unknown_count + 1 WHERE site_id = :s", {"s": stream.site_id})


def unacknowledged(tx: Tx, site_id: str) -> bool:
    """Whether anything that was written is not known to have been applied by the peer: asked every second, of two columns only."""
    row = tx.one("SELECT sent_no > acked_no FROM streams WHERE site_id = ?", (site_id,))
    return row is not None and bool(row[0])


def takes(stream: Stream | None, schema: int) -> bool:
    """Whether the peer would understand rows that came with this version of the messages, and the stream to it is open (stream-6)."""
    return stream is not None and bool(stream.epoch) and stream.peer_schema >= schema and not (stream.closed or stream.retired)


def waiting(tx: Tx, site_id: str) -> tuple[int, int]:
    """`(rows, since)`: how many messages wait for the peer, and when the oldest was written (0 where none waits)."""
    row = tx.one("SELECT COUNT(*), COALESCE(MIN(at), 0) FROM outbox WHERE site_id = ?", (site_id,))
    return (row[0], row[1]) if row else (0, 0)


def heard(tx: Tx, site_id: str, hello, at: int) -> None:
    """Who answered our nonce, and when: kept about once a minute, so that a restarted box knows how old its picture of the peer is."""
    s = lock(tx, site_id)
    if at - s.heard_at < 60 and (s.peer_box_id, s.peer_term, s.peer_schema) == (hello.box_id, hello.term, hello.schema):
        return
    tx.run(
        "UPDATE streams SET heard_at = :at, peer_box_id = :b, peer_term = :t, peer_schema = :v WHERE site_id = :s",
        {"at": at, "b": hello.box_id, "t": hello.term, "v": hello.schema, "s": site_id},
    )
    s.heard_at, s.peer_box_id, s.peer_term, s.peer_schema = at, hello.box_id, hello.term, hello.schema


def marry(tx: Tx, site_id: str, hub_id: str) -> None:
    """loss-6: the site follows this hub from now on, whoever spoke to it before; the first answer brings a repair."""
    tx.run(
        "UPDATE streams SET hub_id = :h, peer_box_id = '', peer_term = 0, peer_schema = 0, closed = 1 WHERE site_id = :s",
        {"h": hub_id, "s": site_id},
    )
