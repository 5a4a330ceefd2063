"""What the door controller should hold and what it does: one row per booking, with tries and the reason where it is stuck (D4, N5's manner).

`stamp` is a digest of the credential wanted, `done_stamp` of the one the controller took; `next_at` 0 means that nothing is owed. What is on the
controller beside a booking's own has a row of its own, whose key begins with `STRAY`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.ledger import records
from shared.model import Booking
from shared.runtime.database import Tx

SPARE, STRAY = "spare-", "stray-"
#: instead of a stamp, of what is on the controller without its PIN, which another credential there has
PIN_TAKEN = "pin taken"
#: nothing waits longer to be tried again: what seems to was noted before the clock was set back
AGAIN_MAX_S = 600
#: whose credential opens or ends within this may stand at the door already
SOON_S = 8 * 3600


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One booking's credential. Times in unix seconds."""

    booking_id: str
    wanted: Literal["grant", "revoke"]
    ref: str = ""
    stamp: str = ""
    done_stamp: str = ""
    ends_at: int = 0
    tries: int = 0
    next_at: int = 0
    error: str = ""


_COLUMNS = ", ".join(Work.__struct_fields__)
_MARKS = ", ".join(f":{name}" for name in Work.__struct_fields__)


def _work(row: tuple) -> Work:
    return Work(**dict(zip(Work.__struct_fields__, row, strict=True)))


def work(tx: Tx, booking_id: str) -> Work | None:
    row = tx.one(f"SELECT {_COLUMNS} FROM door_work WHERE booking_id = :b", {"b": booking_id})
    return _work(row) if row else None


def booking_of(tx: Tx, ref: str) -> str:
    """Whose credential the controller calls so: a booking's id, or a spare PIN's; empty for none of ours."""
    row = tx.one("SELECT booking_id FROM door_work WHERE ref = :r AND ref <> ''", {"r": ref})
    return row[0] if row else ""


def put(tx: Tx, row: Work) -> None:
    values = {name: getattr(row, name) for name in Work.__struct_fields__}
    tx.run(f"INSERT OR REPLACE INTO door_work ({_COLUMNS}) VALUES ({_MARKS})", values)


def drop(tx: Tx, booking_id: str) -> None:
    tx.run("DELETE FROM door_work WHERE booking_id = :b", {"b": booking_id})


#: what is owed, the most urgent first: a cancel, a guest of the next hours, a spare that opens, other guests, other spares, what is long over
_URGENCY = (
    "CASE WHEN wanted = 'revoke' AND ends_at <= :now THEN 5"
    f" WHEN wanted = 'revoke' THEN CASE WHEN booking_id LIKE '{SPARE}%' OR booking_id LIKE '{STRAY}%' THEN 2 ELSE 0 END"
    f" WHEN booking_id LIKE '{SPARE}%' THEN 4 WHEN ends_at <= :now + {SOON_S} THEN 1 ELSE 3 END"
)
#: up to here it is somebody's who may stand at the door, and waits for no pace
URGENT = 1


def due(tx: Tx, now: int, urgency_max: int = 9) -> tuple[Work, int] | None:
    """What is owed now before all else, with its urgency (0 the most), of those up to `urgency_max`; None where nothing is."""
    row = tx.one(
        f"SELECT {_COLUMNS}, {_URGENCY} AS urgency FROM door_work WHERE next_at > 0 AND NOT next_at BETWEEN :now + 1 AND :now + {AGAIN_MAX_S}"
        f" AND {_URGENCY} <= :most"
        " ORDER BY urgency, ends_at, booking_id LIMIT 1",
        {"now": now, "most": urgency_max},
    )
    return (_work(row[:-1]), row[-1]) if row else None


def wake(tx: Tx, now: int) -> int:
    """Everything that waits to be tried again is due now. Returns how many."""
    return tx.run("UPDATE door_work SET next_at = :now WHERE next_at > :now AND error <> ''", {"now": now})


def retry_pins(tx: Tx, now: int) -> int:
    """What is on the controller without its PIN, because another's was the same, is due now. Returns how many."""
    return tx.run("UPDATE door_work SET next_at = :now WHERE wanted = 'grant' AND done_stamp = :taken", {"now": now, "taken": PIN_TAKEN})


def all_works(tx: Tx) -> list[Work]:
    return [_work(row) for row in tx.all(f"SELECT {_COLUMNS} FROM door_work")]


def next_due_at(tx: Tx) -> int:
    """When something is owed next (unix seconds); 0 if nothing is."""
    row = tx.one("SELECT MIN(next_at) FROM door_work WHERE next_at > 0")
    return row[0] or 0


def stuck(tx: Tx) -> list[Work]:
    """What has an error, for staff."""
    return [_work(row) for row in tx.all(f"SELECT {_COLUMNS} FROM door_work WHERE error <> '' ORDER BY ends_at LIMIT 50")]


def counts(tx: Tx) -> tuple[int, int]:
    """`(owed, on the controller)`."""
    row = tx.one("SELECT COALESCE(SUM(next_at > 0), 0), COALESCE(SUM(ref <> ''), 0) FROM door_work")
    return (row[0], row[1])


def bookings_in_reach(tx: Tx, site_id: str, from_slot: int, until_slot: int) -> list[Booking]:
    """Confirmed bookings that begin in the window, and those that have a credential whatever became of them."""
    return records.bookings_where(
        tx,
        "site_id = :s AND ((status IN ('confirmed', 'cancelling') AND past > :from AND first < :until)"
        " OR id IN (SELECT booking_id FROM door_work))",
        {"s": site_id, "from": from_slot, "until": until_slot},
    )
