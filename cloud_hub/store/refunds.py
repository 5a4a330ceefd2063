"""What a cancellation gives back, as it was judged when it was asked for (terr-9): said on the booking's page and in the letter about it.

Rows among the answers, under a scope that no API key has. Decides nothing, pays nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.ledger import records
from shared.runtime.database import Tx
from shared.terms import Refund

from . import answers
from .answers import Answer

#: no API key's id has a stroke in it
SCOPE = "refund|customer"


def keep(tx: Tx, booking_id: str, refund: Refund, now: int) -> None:
    answers.replace(tx, SCOPE, booking_id, Answer("", 200, records.text(refund)), now)


def of(tx: Tx, booking_ids: Sequence[str]) -> Refund | None:
    """What all of them give back together; None where one of them was cancelled elsewhere, or long ago."""
    kept = [told for one in booking_ids if (told := answers.find(tx, SCOPE, one)) is not None]
    refunds = [msgspec.json.decode(told.body, type=Refund) for told in kept]
    if not refunds or len(refunds) < len(booking_ids):
        return None
    return Refund(cents=sum(r.cents for r in refunds), kept_cents=sum(r.kept_cents for r in refunds), rule=refunds[0].rule)
