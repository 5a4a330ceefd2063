"""The door reader's own QR codes at the hub: what the controller made for a booking's guest, shown beside the PIN where readers take it (D3).

A code opens a door like a PIN, so it travels sealed to the hub's key, rests sealed under another of its own, and is shown only for the booking it
was made for. Not here: making them
(the site's door controller), nor drawing them. At the site stands which credential's code was told, so that each is told once in an epoch.
Invariant: a code is kept no longer than `KEPT_S` past its booking's end, and of a booking that is given up not at all.
"""

from __future__ import annotations

import msgspec

from ..errors import Broken
from ..messages import DoorCode
from ..model import Booking
from ..passes import shown_until
from ..runtime.database import Tx
from ..sealing import SEED_BYTES, NotOpened, seal_to
from . import records, streams
from .desk import Desk

#: the first schema that knows these messages; nothing of it is sent to an older peer (stream-6)
FIRST_SCHEMA = 4
#: so long a QR code may be; the controllers' are some tens of characters
TEXT_MAX = 512
KEPT_S = 30 * 60

TABLES = (
    "CREATE TABLE door_codes (booking_id TEXT PRIMARY KEY, site_id TEXT NOT NULL, ref TEXT NOT NULL DEFAULT '', told_epoch TEXT NOT NULL DEFAULT '',"
    " sealed TEXT NOT NULL DEFAULT '', until_at INTEGER NOT NULL)",
    "CREATE INDEX door_codes_until ON door_codes (until_at)",
)


class Told(msgspec.Struct, frozen=True):
    """At the site: the code of which credential (`ref`, the controller's name of it) was told, in which epoch."""

    ref: str
    epoch: str


# ---- at the site
def told(tx: Tx, booking_id: str) -> Told | None:
    row = tx.one("SELECT ref, told_epoch FROM door_codes WHERE booking_id = :b", {"b": booking_id})
    return Told(*row) if row else None


def lacking(tx: Tx, desk: Desk, site_id: str, granted: dict[str, str]) -> list[str]:
    """Which of these bookings (-> the controller's name of their credential) have a code that the hub was not told in this epoch. Empty while it
    would not understand, or its key to seal to was not heard."""
    stream = streams.read(tx, site_id)
    if not desk.seal_to or not streams.takes(stream, FIRST_SCHEMA):
        return []
    rows = tx.all("SELECT booking_id, ref FROM door_codes WHERE site_id = :s AND told_epoch = :e", {"s": site_id, "e": stream.epoch})
    known = dict(rows)
    return [booking_id for booking_id, ref in granted.items() if known.get(booking_id) != ref]


def tell(tx: Tx, desk: Desk, b: Booking, ref: str, text: str) -> bool:
    """Tells the hub the code of a booking's credential; an empty one says that there is none. False while it cannot be told."""
    stream = streams.lock(tx, b.site_id)
    if not desk.seal_to or not streams.takes(stream, FIRST_SCHEMA):
        return False
    before = told(tx, b.id)
    if text or (before is not None and before.ref):
        sealed = seal_to(desk.seal_to, text[:TEXT_MAX], _about(b.id), desk.chance.randbytes(SEED_BYTES)) if text else ""
        streams.append(tx, desk, b.site_id, DoorCode(booking_id=b.id, sealed=sealed))
    _put(tx, b, ref=ref, epoch=stream.epoch)
    return True


def _put(tx: Tx, b: Booking, *, ref: str = "", epoch: str = "", sealed: str = "") -> None:
    tx.run(
        "INSERT INTO door_codes (booking_id, site_id, ref, told_epoch, sealed, until_at) VALUES (:b, :s, :r, :e, :x, :at)"
        " ON CONFLICT (booking_id) DO UPDATE SET ref = excluded.ref, told_epoch = excluded.told_epoch, sealed = excluded.sealed,"
        " until_at = excluded.until_at",
        {"b": b.id, "s": b.site_id, "r": ref, "e": epoch, "x": sealed, "at": shown_until(b.end)},
    )


# ---- at the hub
def take(tx: Tx, desk: Desk, message: DoorCode, site_id: str) -> None:
    """The site's word. A hub without a key for it keeps none; a booking that is not known, or not standing, has none, nor has one whose code was
    sealed to another box."""
    b = records.booking(tx, message.booking_id)
    if b is not None and b.site_id != site_id:
        raise Broken("a door code for a booking of another facility")
    if desk.side != "hub" or desk.sealer is None or b is None:
        return
    text = _opened(desk, message) if b.status == "confirmed" else ""
    if text and len(text) <= TEXT_MAX:
        _put(tx, b, sealed=desk.sealer.seal(text, _about(b.id)))
    else:
        _drop(tx, b.id)
    tx.tell("booking", b.id)


def _opened(desk: Desk, message: DoorCode) -> str:
    try:
        return desk.opener.open(message.sealed, _about(message.booking_id)) if desk.opener is not None and message.sealed else ""
    except NotOpened:
        return ""


def of(tx: Tx, desk: Desk, b: Booking) -> str:
    """The code to be shown for a booking now; empty where there is none, or none may be shown: not for one that does not stand, nor past its time."""
    stands = b.status == "confirmed" and not b.withdrawn and not b.displaced and desk.now() < shown_until(b.end)
    if desk.sealer is None or not stands:
        return ""
    row = tx.one("SELECT sealed FROM door_codes WHERE booking_id = :b", {"b": b.id})
    try:
        return desk.sealer.open(row[0], _about(b.id)) if row and row[0] else ""
    except NotOpened:
        return ""


def _about(booking_id: str) -> str:
    return f"door-code {booking_id}"


def _drop(tx: Tx, booking_id: str) -> None:
    tx.run("DELETE FROM door_codes WHERE booking_id = :b", {"b": booking_id})


# ---- both
def forget(tx: Tx, now: int) -> int:
    """Lets codes go that are shown no more, and those of bookings that were given up. Returns how many."""
    return tx.run(
        "DELETE FROM door_codes WHERE until_at <= :now OR EXISTS (SELECT 1 FROM bookings b WHERE b.id = door_codes.booking_id"
        " AND b.status NOT IN ('confirmed', 'cancelling'))",
        {"now": now},
    )
