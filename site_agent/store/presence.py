"""What was seen of each visit, and of bays in use that nobody has: kept so that a restart forgets no evidence (B15, B21).

Not here: attendance, which is the ledger's. Invariant: a row is only evidence; losing these tables costs a verdict, no sale.
"""

from __future__ import annotations

import msgspec

from shared.ledger import records
from shared.model import Attendance, Booking
from shared.runtime.database import Tx

SCHEMA = (
    """CREATE TABLE visits_seen (
    booking_id TEXT PRIMARY KEY, resource_id TEXT NOT NULL, played_from INTEGER NOT NULL, played_until INTEGER NOT NULL, ends_at INTEGER NOT NULL
) WITHOUT ROWID""",
    "CREATE INDEX visits_seen_end ON visits_seen (ends_at)",
    "CREATE TABLE bays_heard (resource_id TEXT PRIMARY KEY, heard_at INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE bays_unbooked (
    id TEXT PRIMARY KEY, resource_id TEXT NOT NULL, from_at INTEGER NOT NULL, until_at INTEGER NOT NULL, seen_at INTEGER NOT NULL DEFAULT 0,
    seen_by TEXT NOT NULL DEFAULT '', word TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID""",
    "CREATE INDEX bays_unbooked_open ON bays_unbooked (from_at) WHERE seen_at = 0",
)
#: how a door tells that a credential was used; what was opened from afar, or by the exit button, was nobody's PIN
CREDENTIALS = ("pin", "qr", "nfc", "face")
UNBOOKED_SHOWN_S = 14 * 86_400
#: of the trail, the newest rows that are looked through; and how long after an unlock a leaf opens by it
LOOKED_MAX, PULSE_S = 1000, 30


class Played(msgspec.Struct, frozen=True):
    """A visit's bay was seen in use from then until then, unix seconds."""

    booking_id: str
    resource_id: str
    played_from: int
    played_until: int
    ends_at: int


class Unbooked(msgspec.Struct, frozen=True):
    """A bay that was in use while nobody had it. `seen_at` 0 until staff have said in `word` what it was."""

    id: str
    resource_id: str
    from_at: int
    until_at: int
    seen_at: int = 0
    seen_by: str = ""
    word: str = ""


# ---- the bay
def played(tx: Tx, booking_id: str) -> Played | None:
    row = tx.one("SELECT booking_id, resource_id, played_from, played_until, ends_at FROM visits_seen WHERE booking_id = ?", (booking_id,))
    return Played(*row) if row else None


def put_played(tx: Tx, row: Played) -> None:
    tx.run(
        "INSERT INTO visits_seen (booking_id, resource_id, played_from, played_until, ends_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (booking_id)"
        " DO UPDATE SET played_from = excluded.played_from, played_until = excluded.played_until, ends_at = excluded.ends_at",
        (row.booking_id, row.resource_id, row.played_from, row.played_until, row.ends_at),
    )


def heard(tx: Tx) -> dict[str, int]:
    """Per bay when it last told whether somebody plays there, roughly."""
    return dict(tx.all("SELECT resource_id, heard_at FROM bays_heard"))


def put_heard(tx: Tx, resource_id: str, at: int) -> None:
    tx.run(
        "INSERT INTO bays_heard (resource_id, heard_at) VALUES (?, ?) ON CONFLICT (resource_id) DO UPDATE SET heard_at = excluded.heard_at",
        (resource_id, at),
    )


# ---- the door
def uses(tx: Tx, site_id: str, booking_id: str, from_at: int, until_at: int) -> list[tuple[int, str, str]]:
    """`(at, how, door_id)` of what the booking's own credential opened then, in order."""
    marks = ", ".join(f"'{one}'" for one in CREDENTIALS)
    return tx.all(
        "SELECT at, how, door_id FROM door_trail WHERE booking_id = :b AND booking_id <> '' AND site_id = :s AND kind = 'unlocked'"
        f" AND how IN ({marks}) AND at >= :f AND at < :u ORDER BY at, n",
        {"b": booking_id, "s": site_id, "f": from_at, "u": until_at},
    )


def let_in_unnamed(tx: Tx, site_id: str, from_at: int) -> bool:
    """Whether since then somebody was let in who used no credential of a booking's, or a door stood open or unlocked: from afar, by staff's card, by a
    schedule. The exit button lets nobody in. Looks through the newest `LOOKED_MAX` rows."""
    rows = tx.all(
        "SELECT at, kind, how, booking_id, door_id, detail FROM door_trail WHERE site_id = ? ORDER BY n DESC LIMIT ?", (site_id, LOOKED_MAX)
    )
    unlocked = {(door_id, at // PULSE_S + more) for at, kind, _, _, door_id, _ in rows if kind == "unlocked" for more in (0, 1)}
    for at, kind, how, booking_id, door_id, lock in rows:
        unnamed = kind == "unlocked" and not booking_id and how != "button"
        stood = kind == "opened" and lock == "unlocked" and (door_id, at // PULSE_S) not in unlocked
        if at >= from_at and (unnamed or stood or kind in ("forced", "held", "emergency")):
            return True
    return False


# ---- in use without a booking
def put_unbooked(tx: Tx, row: Unbooked) -> None:
    tx.run(
        "INSERT INTO bays_unbooked (id, resource_id, from_at, until_at, seen_at, seen_by, word) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET until_at = excluded.until_at, seen_at = excluded.seen_at, seen_by = excluded.seen_by, word = excluded.word",
        (row.id, row.resource_id, row.from_at, row.until_at, row.seen_at, row.seen_by, row.word),
    )


def unbooked(tx: Tx, row_id: str) -> Unbooked | None:
    row = tx.one("SELECT id, resource_id, from_at, until_at, seen_at, seen_by, word FROM bays_unbooked WHERE id = ?", (row_id,))
    return Unbooked(*row) if row else None


def open_unbooked(tx: Tx, now: int) -> list[Unbooked]:
    """What nobody has explained yet, the newest first."""
    found = tx.all(
        "SELECT id, resource_id, from_at, until_at, seen_at, seen_by, word FROM bays_unbooked WHERE seen_at = 0 AND from_at > ? ORDER BY from_at DESC LIMIT 20",
        (now - UNBOOKED_SHOWN_S,),
    )
    return [Unbooked(*row) for row in found]


def forget(tx: Tx, before_at: int) -> int:
    """Lets go of what was seen before."""
    return tx.run("DELETE FROM visits_seen WHERE ends_at < ?", (before_at,)) + tx.run(
        "DELETE FROM bays_unbooked WHERE from_at < ?", (before_at,)
    )


# ---- from the books
def no_shows_of(tx: Tx, customer_id: str, from_slot: int) -> int:
    """How many of the customer's bookings since then nobody came to."""
    if not customer_id:
        return 0
    row = tx.one(
        "SELECT COUNT(*) FROM bookings b JOIN attendance a ON a.booking_id = b.id WHERE b.customer_id = :c AND b.first >= :f"
        " AND b.status = 'confirmed' AND a.state = 'no_show'",
        {"c": customer_id, "f": from_slot},
    )
    return row[0]


def visits_between(tx: Tx, site_id: str, start: int, end: int) -> list[tuple[Booking, Attendance | None]]:
    """The confirmed bookings that touch `[start, end)`, with their attendance, in order."""
    attended = records.attendance_between(tx, site_id, start, end)
    return [(b, attended.get(b.id)) for b in records.bookings_between(tx, site_id, start, end) if b.status == "confirmed"]
