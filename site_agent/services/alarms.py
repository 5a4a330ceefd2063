"""What needs a person at this box now, as the staff page and programs are told: the books and the disk under them.

Invariant: an alarm stands exactly as long as its cause; each names the page of `deploy/runbooks/` that says what to do.
"""

from __future__ import annotations

import msgspec

from shared.runtime import database_disk as disk
from shared.runtime.database import Database, InlineWriter

RUNBOOKS = {disk.FULL: "full-disk", disk.READ_ONLY: "read-only-disk", disk.FAILING: "read-only-disk", disk.DAMAGED: "corrupt-books"}


class Alarm(msgspec.Struct, frozen=True):
    """`code` is stable, `text` a sentence, `runbook` the page that helps (empty where none does); `bad` stops sales, otherwise it will."""

    code: str
    text: str
    runbook: str = ""
    bad: bool = True


def of_books(db: Database | InlineWriter) -> list[Alarm]:
    """How the books and their disk are. Reads nothing of them, so that it can be told when they cannot be read."""
    if db.failing:
        return [Alarm(f"books_{db.failing_kind or 'unwritable'}", db.failing, RUNBOOKS.get(db.failing_kind, ""))]
    room = db.disk()
    if not room.low:
        return []
    left_mb = room.free_octets // 1_000_000
    text = f"The disk of this machine is nearly full: {left_mb} MB are left. When it is full, nothing can be booked or checked in here."
    return [Alarm("disk_low", text, RUNBOOKS[disk.FULL], bad=False)]
