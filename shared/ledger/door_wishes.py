"""Doors that guests ask for on their telephones (D2, D10): the wish at the hub, what the site made of it, on both sides by one id.

Not here: whether a door opens (the site's check-in judges, `site_agent`), nor what the page says. Wishes are kept for some days, so that the same
press, sent again by whoever, is the same wish. A site asks the age of what it hears: of the hub's clock as the nonces measure it, since an own
one that is off would let an old wish open a door, or none.
Invariant: a wish is carried out once at most, by the site, and not when it is older than `VALID_S`; no booking is changed here.
"""

from __future__ import annotations

import msgspec

from ..errors import refuse
from ..messages import DoorAnswered, OpenDoor
from ..model import DoorOutcome
from ..runtime.database import Tx
from . import streams
from .desk import Desk

#: the first schema that knows these messages; nothing of it is sent to an older peer (stream-6)
FIRST_SCHEMA = 4
#: how long a wish is worth anything
VALID_S = 20
#: presses of one booking within the window: whoever stands at a door presses again, but not for ever
TRIES_MAX, TRIES_WINDOW_S = 6, 300
KEPT_S = 3 * 86_400

TABLES = (
    "CREATE TABLE door_wishes (id TEXT PRIMARY KEY, site_id TEXT NOT NULL, booking_id TEXT NOT NULL, asked_at INTEGER NOT NULL,"
    " outcome TEXT NOT NULL DEFAULT '', code TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '')",
    "CREATE INDEX door_wishes_booking ON door_wishes (booking_id, asked_at)",
    "CREATE INDEX door_wishes_at ON door_wishes (asked_at)",
)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """One press. `asked_at`: unix seconds by the hub's clock. `outcome` is empty until the site has answered."""

    id: str
    site_id: str
    booking_id: str
    asked_at: int
    outcome: DoorOutcome | str = ""
    code: str = ""
    detail: str = ""


_COLUMNS = ", ".join(Wish.__struct_fields__)


def _of(row: tuple) -> Wish:
    return Wish(**dict(zip(Wish.__struct_fields__, row, strict=True)))


def one(tx: Tx, wish_id: str) -> Wish | None:
    row = tx.one(f"SELECT {_COLUMNS} FROM door_wishes WHERE id = :id", {"id": wish_id})
    return _of(row) if row else None


def flows(tx: Tx, site_id: str) -> bool:
    """Whether the site is one that would understand a wish."""
    stream = streams.read(tx, site_id)
    return streams.takes(stream, FIRST_SCHEMA)


# ---- at the hub
def ask(tx: Tx, desk: Desk, wish_id: str, site_id: str, booking_id: str) -> Wish:
    """Sends a press to the site. The same id again gives the wish as it stands.

    Refuses `facility_not_found`, `id_reused` (the id is another booking's), `too_many_tries`, `site_unreachable` (it could not understand).
    """
    stream = streams.lock(tx, site_id)
    known = one(tx, wish_id)
    if known is not None:
        if known.booking_id != booking_id:
            raise refuse("id_reused", "This id was used before for another booking.")
        return known
    _not_too_often(tx, desk, booking_id)
    if not streams.takes(stream, FIRST_SCHEMA):
        raise refuse("site_unreachable", "The door cannot be opened from here just now. Please use your PIN at the door.", retry_after_s=5)
    wish = Wish(id=wish_id, site_id=site_id, booking_id=booking_id, asked_at=desk.now())
    _add(tx, wish)
    streams.append(tx, desk, site_id, OpenDoor(id=wish.id, booking_id=booking_id, asked_at=wish.asked_at))
    return wish


def _not_too_often(tx: Tx, desk: Desk, booking_id: str) -> None:
    now = desk.now()
    count, first_at = tx.one(
        "SELECT COUNT(*), COALESCE(MIN(asked_at), 0) FROM door_wishes WHERE booking_id = :b AND asked_at > :at",
        {"b": booking_id, "at": now - TRIES_WINDOW_S},
    )
    if count >= TRIES_MAX:
        wait_s = max(1, first_at + TRIES_WINDOW_S - now)
        minutes = -(-wait_s // 60)
        again = f"{minutes} minute{'' if minutes == 1 else 's'}"
        told = f"The door was asked for many times. Please use your PIN at the door, or try again in {again}."
        raise refuse("too_many_tries", told, retry_after_s=wait_s)


def answered(tx: Tx, desk: Desk, message: DoorAnswered, site_id: str) -> None:
    """The site's word on a wish of ours; the first one stands."""
    wish = one(tx, message.id)
    if desk.side != "hub" or wish is None or wish.site_id != site_id or wish.outcome:
        return
    _end(tx, wish, message.outcome, message.code, message.detail)


# ---- at the site
def hear(tx: Tx, desk: Desk, message: OpenDoor, site_id: str) -> None:
    """A wish came in: whoever opens doors is told after the commit. One that was heard before is not told again."""
    if desk.side != "site" or one(tx, message.id) is not None:
        return
    _add(tx, Wish(id=message.id, site_id=site_id, booking_id=message.booking_id, asked_at=message.asked_at))


def is_late(wish: Wish, hub_clock: float) -> bool:
    """Whether nothing may be opened for it any more; `hub_clock`: unix seconds as the hub's clock shows them now. What comes from the future comes
    from a clock that has been moved, and is as old as nobody knows."""
    return not -VALID_S <= hub_clock - wish.asked_at <= VALID_S


def answer(tx: Tx, desk: Desk, wish_id: str, outcome: DoorOutcome, code: str = "", detail: str = "") -> bool:
    """Notes what came of it and tells the hub. False where that was told before."""
    wish = one(tx, wish_id)
    if wish is None or wish.outcome:
        return False
    _end(tx, wish, outcome, code, detail)
    stream = streams.lock(tx, wish.site_id)
    if streams.takes(stream, FIRST_SCHEMA):
        streams.append(
            tx, desk, wish.site_id, DoorAnswered(id=wish.id, booking_id=wish.booking_id, outcome=outcome, code=code, detail=detail)
        )
    return True


def unanswered(tx: Tx, site_id: str) -> list[Wish]:
    """What was heard and not carried out, the oldest first."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM door_wishes WHERE site_id = :s AND outcome = '' ORDER BY asked_at, id", {"s": site_id})
    return [_of(row) for row in rows]


# ---- both
def _add(tx: Tx, wish: Wish) -> None:
    tx.run(
        "INSERT INTO door_wishes (id, site_id, booking_id, asked_at) VALUES (:id, :s, :b, :at)",
        {"id": wish.id, "s": wish.site_id, "b": wish.booking_id, "at": wish.asked_at},
    )
    tx.tell("door_wish", wish.id)


def _end(tx: Tx, wish: Wish, outcome: str, code: str, detail: str) -> None:
    tx.run(
        "UPDATE door_wishes SET outcome = :o, code = :c, detail = :d WHERE id = :id",
        {"o": outcome, "c": code, "d": detail, "id": wish.id},
    )
    tx.tell("door_wish", wish.id)


def latest(tx: Tx, booking_ids: list[str], since_at: int) -> dict[str, Wish]:
    """Booking -> its last press since then."""
    found: dict[str, Wish] = {}
    for booking_id in booking_ids:
        row = tx.one(
            f"SELECT {_COLUMNS} FROM door_wishes WHERE booking_id = :b AND asked_at >= :at ORDER BY asked_at DESC, id DESC LIMIT 1",
            {"b": booking_id, "at": since_at},
        )
        if row:
            found[booking_id] = _of(row)
    return found


def forget(tx: Tx, now: int) -> int:
    """Lets wishes of some days ago go. Returns how many."""
    return tx.run("DELETE FROM door_wishes WHERE asked_at < :at", {"at": now - KEPT_S})
