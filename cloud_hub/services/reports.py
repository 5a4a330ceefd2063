"""What vendors report of letters, and what people answer: STOP and START.

Reports come twice, late, in any order, and of letters whose answer was lost. Invariant: a report is taken in once; what is known to have been
delivered or refused is never open again.
"""

from __future__ import annotations

from shared.ledger import work
from shared.ledger.desk import Desk
from shared.ledger.worker import RECEIPT_S
from shared.runtime.database import Database, InlineWriter, Tx

from ..ports import Inbound, Receipt
from ..store import notifications as kept
from .outgoing import told_by


class Reports:
    """Over the hub's books. Whoever calls has judged that the vendor signed it."""

    def __init__(self, db: Database | InlineWriter, desk: Desk):
        self._db, self._desk = db, desk

    async def heard(self, news: list[Receipt | Inbound]) -> None:
        """A vendor's reports and people's answers, all or none of them in the books when this comes back."""
        await self._db.write(lambda tx: [self._heard(tx, one) for one in news])

    def _heard(self, tx: Tx, one: Receipt | Inbound) -> None:
        now = self._desk.now()
        if one.id and not kept.is_new(tx, one.id, now):
            return
        if isinstance(one, Inbound):
            if one.word == "stop":
                kept.suppress(tx, "sms", one.sender, "stop", one.text[:160], now)
            elif one.word == "start":
                kept.allow(tx, "sms", one.sender)
            return
        row = work.reported(tx, one.key, one.ref)
        told = told_by(row.body.encode()) if row is not None and row.kind == "message" else None
        to = one.to or (told.letter.to if told is not None and told.letter is not None else "")
        if to and told is not None:
            self._suppressed_by(tx, told.channel, to.lower(), one, now)
        if row is None:
            return
        unsure = row.state in ("taken", "unknown", "waiting") or (row.state == "stuck" and row.code == "unknown")
        if one.state == "delivered":
            if unsure or row.state == "sent":
                work.end(tx, row, now, "done", ref=one.ref)
        elif one.state in ("failed", "bounced", "dropped"):
            if row.state not in work.ENDED:
                work.end(tx, row, now, "stuck", one.code or one.state, one.reason or "The vendor could not deliver it.", ref=one.ref)
        elif one.state in ("accepted", "sent") and unsure:
            work.sent(tx, row, now, one.ref, now + RECEIPT_S)

    @staticmethod
    def _suppressed_by(tx: Tx, channel: str, to: str, one: Receipt, now: int) -> None:
        if one.opted_out:
            kept.suppress(tx, channel, to, "stop", one.reason, now)
        elif one.state in ("complained", "unsubscribed"):
            kept.suppress(tx, channel, to, one.state, one.reason, now)
        elif one.dead_address:
            kept.suppress(tx, channel, to, "bounced" if one.state == "bounced" else "dead", one.reason, now)
