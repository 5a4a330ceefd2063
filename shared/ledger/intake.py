"""The rows of one link's stream coming in: each batch against position and chain, each row applied once and in order (protocol stream-2,
-3, -6, -7), the snapshot of a repair set aside and merged. A part of the pump; everything here happens in a transaction that it opens.

Invariant: the position moves in the transaction that applied the row, and never over a row that is missing.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import msgspec

from ..messages import Batch, Message, Unknown, chain_next, decode
from ..runtime.clock import Clock
from ..runtime.database import Database, InlineWriter, Tx
from . import boxes, fencing, repair, streams
from .apply import From, apply
from .desk import Desk

log = logging.getLogger("clubos.link")

#: so many rows are applied in one transaction; where others wait for the books it ends after fewer, so that a sale of our own does not
#: wait for what a long cut has left
TAKEN_AT_ONCE, TAKEN_AT_LEAST = 32, 2
#: a merge that failed is tried again after this long
MERGE_AGAIN_S = 60.0


class Applied(msgspec.Struct):
    """What came of the batches taken in one transaction; `rest` are those, or what is left of them, for the next."""

    rows: int = 0
    gap: bool = False
    stopped: str = ""
    merged: bool = False
    rest: tuple[Batch, ...] = ()
    at: Known | None = None


class Known(NamedTuple):
    """Where a transaction that took batches left the books: who spoke, and both positions with their chains."""

    box_id: str
    term: int
    epoch: str
    acked_no: int
    acked_chain: str
    applied_no: int
    applied_chain: str


class RowFailed(Exception):
    """One of the rows taken in this transaction cannot be applied; nothing of it is kept."""


class Intake:
    """What comes in on the link of one site."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, clock: Clock, site_id: str):
        self.db, self.desk, self.clock, self.site_id = db, desk, clock, site_id
        self._merge_again_at = float("-inf")
        self._known: Known | None = None

    def settled(self, outcome: Applied) -> None:
        """The transaction of `take` is committed: what it has seen need not be looked up again."""
        self._known = outcome.at

    def is_repeat(self, batch: Batch) -> bool:
        """A batch that says nothing new, of which a link that repeats and sends again has many: it needs no transaction. Positions only move
        forward within an epoch, so that what was known when we last looked is known now."""
        known = self._known
        if known is None or batch.gap or (batch.box_id, batch.term, batch.epoch) != known[:3] or not self.desk.guard("applied_once"):
            return False
        if batch.applied.no > known.acked_no or (batch.applied.no == known.acked_no and batch.applied.chain != known.acked_chain):
            return False
        if not batch.rows:
            return True
        if batch.rows[-1].no > known.applied_no:
            return False
        chain = batch.prev
        for row in batch.rows:
            chain = chain_next(chain, row.no, bytes(row.body))
        return batch.rows[-1].no < known.applied_no or chain == known.applied_chain

    def take(self, tx: Tx, batches: list[Batch], link_fresh: bool, *, apart: bool = False) -> Applied:
        """As much of the batches as one transaction should hold. `apart`: each row in a savepoint of its own, after a RowFailed."""
        out = Applied()
        for number, batch in enumerate(batches, 1):
            if self._enough(out):
                out.rest += tuple(batches[number - 1 :])
                return out
            s = streams.lock(tx, self.site_id)
            if self._stranger(tx, s, batch):
                continue
            staging = bool(s.repair) and batch.epoch == s.repair
            if (batch.epoch != s.epoch or s.closed or s.retired) and not staging:
                continue
            try:
                if batch.epoch == s.epoch:
                    streams.acknowledge(tx, self.desk, s, batch.applied)
                if staging or not s.stopped:
                    self._rows(tx, batch, out, link_fresh, apart)
            except streams.Behind as behind:
                fencing.close(tx, self.desk, self.site_id, behind)
            s = streams.lock(tx, self.site_id)
            out.stopped = "" if staging else s.stopped
            if batch.epoch == s.epoch and not (s.stopped or s.closed or staging):
                out.at = Known(batch.box_id, batch.term, s.epoch, s.acked_no, s.acked_chain, s.applied_no, s.applied_chain)
        return out

    def _enough(self, taken: Applied) -> bool:
        """Also after a merge, whose transaction says only what was so before: what comes behind it is news (`repair.restates`)."""
        return taken.merged or taken.rows >= TAKEN_AT_ONCE or (taken.rows >= TAKEN_AT_LEAST and self.db.crowded)

    def _stranger(self, tx: Tx, s: streams.Stream, batch: Batch) -> bool:
        """A batch of another box than the one we talk to; what a replaced box of the site hands in is taken note of (loss-5)."""
        if not self.desk.guard("old_box_retires") or not s.peer_box_id:
            return False
        if self.desk.side == "site":
            return batch.term < s.peer_term
        if batch.box_id == s.peer_box_id:
            return False
        if batch.term < s.peer_term and batch.epoch != s.epoch:
            boxes.late(tx, self.desk, self.site_id, batch)
        return True

    def _rows(self, tx: Tx, batch: Batch, out: Applied, link_fresh: bool, apart: bool) -> None:
        chain, desk = batch.prev, self.desk
        for number, row in enumerate(batch.rows):
            if self._enough(out):
                out.rest = (msgspec.structs.replace(batch, prev=chain, rows=batch.rows[number:], gap=False),)
                return
            s = streams.lock(tx, self.site_id)
            to_stage = bool(s.repair) and batch.epoch == s.repair
            aside = to_stage and desk.side == "hub"
            at_no, at_chain = (s.staged_no, s.staged_chain) if aside else (s.applied_no, s.applied_chain)
            before, chain = chain, chain_next(chain, row.no, bytes(row.body))
            if row.no <= at_no and desk.guard("applied_once"):
                if row.no == at_no and chain != at_chain and desk.guard("chain_continues"):
                    raise streams.Behind(f"chain differs at the peer's row {row.no}", mine=False)
                continue
            if row.no > at_no + 1 and desk.guard("no_gap"):
                out.gap = True
                return
            if row.no == at_no + 1 and before != at_chain and desk.guard("chain_continues"):
                raise streams.Behind(f"chain differs before the peer's row {row.no}", mine=False)
            if to_stage:
                if not self._stage(tx, batch.epoch, row, chain, out):
                    return
                continue
            if not self._row(tx, row, link_fresh, apart):
                return
            streams.advance(tx, streams.lock(tx, self.site_id), row.no, chain)
            out.rows += 1

    def _stage(self, tx: Tx, epoch: str, row, chain: str, out: Applied) -> bool:
        """Keeps a row of the peer's snapshot; merges at its last. False where the rows behind it have to wait."""
        desk, site_id = self.desk, self.site_id
        s = streams.lock(tx, site_id)
        if repair.is_complete(tx, site_id, epoch):
            return False  # the merge waits, for a person or for its next attempt; what follows the snapshot is for later
        body = bytes(row.body)
        try:
            kind = type(decode(body, row.crit)).__name__
            last = repair.stage(tx, s, epoch, row.no, body.decode(), kind)
            if desk.side == "hub":
                repair.staged_at(tx, s, row.no, chain)
            else:
                streams.advance(tx, s, row.no, chain)
            out.rows += 1
        except Unknown as e:
            log.exception("repair failed", extra={"site_id": site_id, "message_no": row.no})
            streams.keep(tx, desk, s, row.no, body.decode(errors="replace"), str(e))
            return False
        if not last:
            return True
        out.merged = self.merge(tx)
        return out.merged

    def merge(self, tx: Tx) -> bool:
        """R2 or R3, once the whole snapshot is kept. False where the hub waits for a person, or where it failed: the books are as they were
        then, people are told, and it is tried again after `MERGE_AGAIN_S` and after a start (an upgrade may have mended it)."""
        desk, site_id = self.desk, self.site_id
        merge = repair.merge_at_hub if desk.side == "hub" else repair.merge_at_site
        try:
            return tx.attempt(lambda: merge(tx, desk, site_id)) is not False
        except Exception as e:
            if tx.trouble is not None:
                raise
            log.exception("repair failed", extra={"site_id": site_id})
            s = streams.lock(tx, site_id)
            no = s.staged_no if desk.side == "hub" else s.applied_no
            streams.keep(tx, desk, s, no, "", f"{type(e).__name__}: {e}")
            self._merge_again_at = self.clock.monotonic() + MERGE_AGAIN_S
            return False

    def merge_waits(self, tx: Tx, s: streams.Stream) -> bool:
        """Whether a snapshot is whole and was not merged, and it is time to try again."""
        return self.clock.monotonic() >= self._merge_again_at and repair.is_complete(tx, self.site_id, s.repair)

    def _together(self, tx: Tx, message: Message, link_fresh: bool) -> None:
        try:
            apply(tx, self.desk, message, From(self.site_id, link_fresh))
        except Exception as e:
            if tx.trouble is not None:
                raise
            raise RowFailed from e

    def _row(self, tx: Tx, row, link_fresh: bool, apart: bool) -> bool:
        """Applies one row. False where the stream stops here (stream-6); what is only informative is kept and passed over.

        `apart`: in a savepoint of its own. Rows that fail are so few that all others need none: one that does raises RowFailed there.
        """
        body = bytes(row.body)
        try:
            message = decode(body, row.crit)
            if apart:
                tx.attempt(lambda: apply(tx, self.desk, message, From(self.site_id, link_fresh)))
            else:
                self._together(tx, message, link_fresh)
            return True
        except RowFailed:
            raise
        except Unknown as e:
            why = str(e)
        except Exception as e:  # a row that fails must not be lost, nor those behind it be applied over the hole
            if tx.trouble is not None:
                raise  # the disk, not the row: all of it is taken back and comes again
            log.exception("row of the link failed", extra={"site_id": self.site_id, "message_no": row.no})
            why = f"{type(e).__name__}: {e}"
        if row.must and self.desk.guard("must_understand_stops"):
            streams.stop(tx, self.desk, self.site_id, f"row {row.no}: {why}", row.no, body.decode(errors="replace"))
            return False
        streams.keep(tx, self.desk, streams.lock(tx, self.site_id), row.no, body.decode(errors="replace"), why)
        return True
