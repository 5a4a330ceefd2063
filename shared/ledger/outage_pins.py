"""Outage credentials (protocol pass-4): door PINs for the sales of the hub that a dark site has not heard of when the guest stands there.

The site puts them on its door controller ahead, one per bay and hour of arrival above the line, and leases them to the hub; the hub gives
one to a booking that it sells while the site is dark, and `Sold` names it (`Booking.outage_pin`). Which visitor the controller keeps for
each is the site's credentials worker's affair; here is who may have which.

At the site: `made` (drawn, not on the controller yet), `leased` (on it, and told), `given` (its booking is known), `ended`.
At the hub: `free`, `given`, `ended`; what is `free` is sealed under the hub's own key. On its way it is sealed to the hub's public key.

Invariant: one credential is one booking's and no second's; below the line none opens whose booking is not known.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..errors import Broken
from ..messages import OutagePin, OutagePinsEnded, OutagePinsLeased, OutagePinUsed
from ..model import Booking, site_of
from ..runtime.database import Tx
from ..sealing import SEED_BYTES, NotOpened, seal_to
from . import lines, pins, records, streams
from .desk import Desk

replace = msgspec.structs.replace

#: the first versions of the messages that have these, and that have them sealed (stream-6): none is handed over in the open
FIRST_SCHEMA, SEALED_SCHEMA = 2, 4
#: a window's length, in slots: the hour of arrival
WINDOW = 4
#: ended rows are kept this long, so that a late use is still recognised
KEPT_S = 14 * 86_400
#: new ones in one transaction at most, so that a box with many bays does not draw them all in one breath
MADE_MAX = 50


class Spare(msgspec.Struct, frozen=True, kw_only=True):
    """One outage credential. `first`, `past` in slots: starts within may have it. `secret` is the PIN at the site, sealed at the hub, empty
    once ended. `used_at` (unix seconds, 0: never) and `used_door`: the first opening before its booking was known."""

    id: str
    site_id: str
    resource_id: str
    first: int
    past: int
    secret: str
    state: str
    booking_id: str = ""
    used_at: int = 0
    used_door: str = ""


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are in each state, apart from those that are over."""

    made: int = 0
    leased: int = 0
    free: int = 0
    given: int = 0


_COLUMNS = ", ".join(Spare.__struct_fields__)
_PUT = (
    f"INSERT INTO outage_pins ({_COLUMNS}) VALUES ({', '.join('?' * len(Spare.__struct_fields__))})"
    " ON CONFLICT (id) DO UPDATE SET state = excluded.state, secret = excluded.secret, booking_id = excluded.booking_id,"
    " used_at = excluded.used_at, used_door = excluded.used_door"
)


def _of(row: tuple) -> Spare:
    return Spare(**dict(zip(Spare.__struct_fields__, row, strict=True)))


def one(tx: Tx, pin_id: str) -> Spare | None:
    row = tx.one(f"SELECT {_COLUMNS} FROM outage_pins WHERE id = :id", {"id": pin_id})
    return _of(row) if row else None


def _where(tx: Tx, where: str, params: dict | tuple) -> list[Spare]:
    """`where` is a constant of this file."""
    return [_of(row) for row in tx.all(f"SELECT {_COLUMNS} FROM outage_pins WHERE {where} ORDER BY first, id", params)]


def _put(tx: Tx, spare: Spare) -> Spare:
    return _put_all(tx, [spare])[0]


def _put_all(tx: Tx, spares: list[Spare]) -> list[Spare]:
    if spares:
        tx.many(_PUT, [msgspec.structs.astuple(spare) for spare in spares])
    for spare in spares:
        tx.tell("outage_pin", spare.id)
    return spares


def stock(tx: Tx, site_id: str) -> Stock:
    rows = tx.all("SELECT state, COUNT(*) FROM outage_pins WHERE site_id = :s AND state <> 'ended' GROUP BY state", {"s": site_id})
    return Stock(**dict(rows))


# ---- at the site
def lacking(tx: Tx, desk: Desk, resource_id: str, windows: Iterable[int]) -> list[int]:
    """Which of these hours (their first slots) have no credential yet and a slot that could still be sold: what is taken is not sold a second
    time while the two sides do not hear each other (own-3)."""
    # one whose booking is not in that hour any more (given back, moved) lets nobody in who comes after it
    rows = tx.all(
        "SELECT first FROM outage_pins AS p WHERE resource_id = :r AND state <> 'ended' AND (state <> 'given' OR EXISTS (SELECT 1 FROM claims"
        " WHERE claims.ref = p.booking_id AND claims.resource_id = p.resource_id AND slot >= p.first AND slot < p.past))",
        {"r": resource_id},
    )
    had = {row[0] for row in rows}
    wanted = [first for first in windows if first not in had]
    if not wanted:
        return []
    span = {"r": resource_id, "a": min(wanted), "b": max(wanted) + WINDOW}
    taken = {row[0] for row in tx.all("SELECT slot FROM claims WHERE resource_id = :r AND slot >= :a AND slot < :b", span)}
    return [first for first in wanted if not taken.issuperset(range(first, first + WINDOW))]


def make(tx: Tx, desk: Desk, site_id: str, wanted: list[tuple[str, int]]) -> list[Spare]:
    """New credentials: of a bay, for arrivals in `[first, first + WINDOW)`; nobody has one before the controller does. Refuses `pins_exhausted`."""
    if not wanted:
        return []
    streams.lock(tx, site_id)
    drawn = pins.draw(tx, desk, site_id, [(first + WINDOW) * 900 for _, first in wanted])
    return _put_all(
        tx,
        [
            Spare(
                id=f"spare-{site_id}-{desk.new_id()}",
                site_id=site_id,
                resource_id=resource_id,
                first=first,
                past=first + WINDOW,
                secret=pin,
                state="made",
            )
            for (resource_id, first), pin in zip(wanted, drawn, strict=True)
        ],
    )


def leased(tx: Tx, desk: Desk, pin_id: str) -> bool:
    """The controller has it: the hub is told under its seal, and may give it. False where it has ended meanwhile, was told before, or cannot be
    told yet (a hub of before schema 4, or whose key to seal to was not heard): `untold` has it then."""
    known = one(tx, pin_id)
    if known is None or not desk.seal_to or streams.lock(tx, known.site_id).peer_schema < SEALED_SCHEMA:
        return False
    spare = one(tx, pin_id)
    if spare is None or spare.state != "made":
        return False
    _put(tx, replace(spare, state="leased"))
    sealed = seal_to(desk.seal_to, spare.secret, spare.id, desk.chance.randbytes(SEED_BYTES))
    told = OutagePin(id=spare.id, resource_id=spare.resource_id, start=spare.first, end=spare.past, sealed=sealed)
    streams.append(tx, desk, spare.site_id, OutagePinsLeased(pins=(told,)))
    return True


def heard(tx: Tx, desk: Desk, b: Booking) -> Booking:
    """At the site: a sale named its credential. One that has ended, or is another booking's, is not the booking's: it gets an ordinary PIN."""
    if desk.side != "site" or not b.outage_pin:
        return b
    found = _where(tx, "site_id = :s AND secret = :p AND state <> 'ended'", {"s": b.site_id, "p": b.outage_pin})
    mine = [spare for spare in found if spare.booking_id in ("", b.id, b.replaces)]
    if not mine:
        return replace(b, outage_pin="")
    _put(tx, replace(mine[0], state="given", booking_id=b.id))
    pins.put(tx, b.site_id, b.outage_pin, "used", b.id, b.ends_at)
    return b


def below_line(tx: Tx, desk: Desk, resource_id: str, line: int) -> int:
    """`Released` was applied: what lies below and is nobody's ends, for a hub that may not sell there cannot give it. Returns how many."""
    if not desk.guard("outage_pin_revoked_on_release"):
        return 0
    found = _where(tx, "resource_id = ? AND past <= ? AND state IN ('made', 'leased', 'free')", (resource_id, line))
    _end_all(tx, desk, found)
    return len(found)


def tidy(tx: Tx, desk: Desk, site_id: str) -> int:
    """What the line or the clock has passed ends, on either side; what ended long ago is forgotten. Returns how many ended. A clock in doubt
    ends nothing (clock-2)."""
    streams.lock(tx, site_id)
    ended = sum(below_line(tx, desk, resource_id, line) for resource_id, line in lines.lines_of(tx, site_id).items())
    if desk.clock_doubt():
        return ended
    over = _where(tx, "site_id = :s AND past < :now AND state <> 'ended'", {"s": site_id, "now": desk.now_slot() - 96})
    _end_all(tx, desk, over)
    ended += len(over)
    tx.run(
        "DELETE FROM outage_pins WHERE site_id = :s AND state = 'ended' AND past < :p", {"s": site_id, "p": (desk.now() - KEPT_S) // 900}
    )
    return ended


def _end(tx: Tx, desk: Desk, spare: Spare) -> None:
    _end_all(tx, desk, [spare])


def _end_all(tx: Tx, desk: Desk, spares: list[Spare]) -> None:
    """Of one site."""
    nobodys = [spare for spare in spares if desk.side == "site" and not spare.booking_id]
    if nobodys:
        rested_at = desk.now() + desk.limits.pin_rest_s
        pins.put_all(tx, nobodys[0].site_id, ((spare.secret, rested_at) for spare in nobodys), "resting")
    _put_all(tx, [replace(spare, state="ended", secret="") for spare in spares])


def end(tx: Tx, desk: Desk, pin_id: str) -> bool:
    """Ends one that is nobody's and was never leased: the controller does not take it. False for another."""
    spare = one(tx, pin_id)
    if spare is None or spare.state != "made":
        return False
    _end(tx, desk, spare)
    return True


def used(tx: Tx, desk: Desk, pin_id: str, door: str, at: int) -> bool:
    """The door opened for a credential whose booking is not known here: an alert, once. The hub is told, who may know the booking."""
    known = one(tx, pin_id)
    if known is None:
        return False
    streams.lock(tx, known.site_id)
    spare = one(tx, pin_id)
    if spare is None or spare.booking_id or spare.used_at:
        return False
    _put(tx, replace(spare, used_at=at, used_door=door))
    records.journal(tx, at, spare.site_id, "door", "spare PIN used without a known booking", spare.id, f"{spare.resource_id} at {door}")
    streams.append(tx, desk, spare.site_id, OutagePinUsed(id=spare.id, resource_id=spare.resource_id, door=door, at=at))
    tx.tell("alarm", spare.site_id)
    return True


def known(tx: Tx, site_id: str) -> list[Spare]:
    """All that have not been forgotten."""
    return _where(tx, "site_id = :s", {"s": site_id})


def untold(tx: Tx, site_id: str) -> list[Spare]:
    """At the site: made, and the hub does not know it; those that the controller has meanwhile are to be told."""
    return _where(tx, "site_id = :s AND state = 'made'", {"s": site_id})


def unassigned(tx: Tx, site_id: str) -> list[Spare]:
    """At the site: on the controller, or being put there, with no booking known to have it."""
    return _where(tx, "site_id = :s AND state IN ('made', 'leased') AND used_at = 0", {"s": site_id})


def unexplained(tx: Tx, desk: Desk, site_id: str) -> list[Spare]:
    """Used, and no booking known to this day: for people. The hub's list leaves out what it has given."""
    return _where(tx, "site_id = :s AND used_at > :since AND booking_id = ''", {"s": site_id, "since": desk.now() - 2 * 86_400})


# ---- at the hub
def take(tx: Tx, desk: Desk, message: OutagePinsLeased, site_id: str) -> None:
    """The lease enters the hub's stock, sealed. A hub without a key for it keeps none, and so gives none. What was sealed to another box's key, as
    before this one took over, is told to be ended: the site makes others."""
    if desk.sealer is None:
        return
    closed = []
    for told in message.pins:
        if site_of(told.resource_id) != site_id:
            raise Broken("an outage credential of another facility")
        if one(tx, told.id) is not None:
            continue
        pin = _opened(desk, told)
        if not pin:
            closed.append(told.id)
            continue
        sealed = desk.sealer.seal(pin, told.id)
        _put(
            tx,
            Spare(id=told.id, site_id=site_id, resource_id=told.resource_id, first=told.start, past=told.end, secret=sealed, state="free"),
        )
    if closed:
        streams.append(tx, desk, site_id, OutagePinsEnded(ids=tuple(closed)))


def _opened(desk: Desk, told: OutagePin) -> str:
    """The PIN as it was handed over; empty where it was not sealed to us."""
    if not told.sealed:
        return told.pin
    try:
        return desk.opener.open(told.sealed, told.id) if desk.opener is not None else ""
    except NotOpened:
        return ""


def give(tx: Tx, desk: Desk, b: Booking) -> str:
    """The PIN of a free credential for this booking's hour of arrival, given for good; empty where there is none (or its seal is broken)."""
    if desk.side != "hub" or desk.sealer is None:
        return ""
    where = "resource_id = :r AND first <= :s AND past > :s AND state = 'free'"
    for spare in _where(tx, where, {"r": b.resource_id, "s": b.start}):
        try:
            pin = desk.sealer.open(spare.secret, spare.id)
        except NotOpened:
            _end(tx, desk, spare)
            continue
        if desk.guard("outage_pin_once"):
            _put(tx, replace(spare, state="given", booking_id=b.id))
        return pin
    return ""


def hear_use(tx: Tx, desk: Desk, message: OutagePinUsed, site_id: str) -> None:
    """The site saw it used. Where we have given it, its booking is known here; otherwise it is an alert here too."""
    spare = one(tx, message.id)
    if spare is None or spare.site_id != site_id or spare.used_at:
        return
    _put(tx, replace(spare, used_at=message.at, used_door=message.door))
    known = f"booking {spare.booking_id}" if spare.booking_id else "without a known booking"
    records.journal(tx, message.at, site_id, "door", "spare PIN used", spare.id, f"{spare.resource_id} at {message.door}, {known}")
    if not spare.booking_id:
        tx.tell("alarm", site_id)


def distrust(tx: Tx, desk: Desk, site_id: str) -> None:
    """The hub's books were set back: what they call free may have been given since. It is given to nobody any more; the site is not told,
    so that the guests who have one are still let in."""
    _end_all(tx, desk, _where(tx, "site_id = :s AND state = 'free'", {"s": site_id}))


# ---- both
def void(tx: Tx, desk: Desk, site_id: str, *, by: str) -> int:
    """Staff end the whole stock of a site in one step; the other side is told and ends it too. Returns how many ended."""
    stream = streams.lock(tx, site_id)
    found = _where(tx, "site_id = :s AND state IN ('made', 'leased', 'free')", {"s": site_id})
    _end_all(tx, desk, found)
    told = tuple(spare.id for spare in found if spare.state != "made")
    if told and stream.epoch and stream.peer_schema >= FIRST_SCHEMA:
        streams.append(tx, desk, site_id, OutagePinsEnded(ids=told))
    records.journal(tx, desk.now(), site_id, by, "spare PINs voided", site_id, f"{len(found)} ended")
    return len(found)


def ended(tx: Tx, desk: Desk, message: OutagePinsEnded, site_id: str) -> None:
    """The other side has voided these. A booking to which we have given one of them is left with its ordinary PIN."""
    for spare in filter(None, (one(tx, pin_id) for pin_id in message.ids)):
        if spare.site_id != site_id or spare.state == "ended" or (desk.side == "site" and spare.state == "given"):
            continue
        b = records.booking(tx, spare.booking_id) if spare.booking_id else None
        if b is not None and b.outage_pin:
            records.put_booking(tx, replace(b, outage_pin=""))
        _end(tx, desk, spare)
