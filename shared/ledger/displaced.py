"""Bookings that have lost their place, and how each comes to another: the ways out, the placing, and what the rule does alone (B12, block-2).

For both sides. Not for setting the mark (`blocks`), ranking ways (`conflicts`) or telling people. Nobody is asked for money, limits or
notice here: the house is at fault. Invariant: what the old place still has is given up in the transaction that takes the new one, or
after it, never before (own-1, own-4); by rule only the booking's owner places, and near the start only its site.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from .. import conflicts, rules, slots
from ..conflicts import WayOut, by_rule
from ..errors import Refusal, Refused, refuse
from ..model import LAST_SLOT, Booking, Interval
from ..presence import REST_ON_SALE
from ..runtime import log
from ..runtime.database import Database, Event, InlineWriter, Tx
from . import attendance, frontdesk, holds, lines, locked, records, sales, standing, streams, ways
from .desk import Desk
from .frontdesk import House, Houses

__all__ = [
    "Placing", "Queued", "by_rule", "instead_of", "is_asked", "is_due", "is_near", "place", "queue", "queued", "settle", "waiting", "ways_of",
]  # fmt: skip

#: ways out are looked for so far around a booking's time, and it is put no further away
REACH_SLOTS = 3 * 96
#: a place that the other side has refused is not asked for again before a hold there would have ended, or, where it sells nothing there
#: until a person has looked, before one may have
DECLINED_S, SHUT_S = 900, 6 * 3600
#: what a side says that sells nothing there just now, whoever asks
SHUT = frozenset({"bay_halted", "below_floor", "clock_untrusted"})
#: a booking that no way suits is looked at again after so long, or sooner once something has changed
AGAIN_S, CHANGED_S = 60, 5
#: who the journal says did it
RULE = "rule"
_log = log.get("ledger.displaced")
replace = msgspec.structs.replace


# ---- ways out
def ways_of(
    tx: Tx,
    desk: Desk,
    house: House,
    b: Booking,
    *,
    around: int = REACH_SLOTS,
    link_up: bool = True,
    per_kind_max: int | None = conflicts.PER_KIND_MAX,
) -> tuple[WayOut, ...]:
    """Where the booking could go, best first, out of what is open and unclaimed within `around` slots of its time: for one that was put
    elsewhere and may go on from there, the time that was booked, as long as that is ahead. While the other side is not heard only this
    side's own slots count. Of each kind `per_kind_max` ways, None for all."""
    now_slot, here = desk.now_slot(), (b.resource_id, b.start, b.end)
    if not b.displaced and (first := _first_place(tx, b)).start > now_slot:
        b = replace(first, end=first.start + b.end - b.start)  # as long as it is now: it may have been extended

    def can(way: WayOut) -> bool:
        return b.displaced or (way.resource_id, way.start, way.end) != here

    reach = Interval(max(now_slot, b.start - around), max(b.end, now_slot) + b.buffer + around)
    own, zone, hours = house.resources.get(b.resource_id), house.facility.zone, house.profile.policy.hours
    bays = [r.id for r in house.resources.values() if own is not None and r.active and r.kind == own.kind]
    runs = ways.free_of(tx, bays, reach)
    free = {bay: _both(runs[bay], slots.open_between(hours, bay, zone, reach)) for bay in bays}
    known, site_lines = tuple(house.resources.values()), lines.lines_of(tx, house.facility.id)
    if not link_up:
        free = {bay: _both(runs, (_own_side(desk, site_lines.get(bay, 0)),)) for bay, runs in free.items()}
    return conflicts.ways_out(b, known, free, now_slot, site_lines, can=can, per_kind_max=per_kind_max)


def _own_side(desk: Desk, line: int) -> Interval:
    """All that this side sells of a bay (terr-1)."""
    return Interval(0, line) if desk.side == "site" else Interval(line, LAST_SLOT)


def _both(runs: list[Interval], opened: tuple[Interval, ...]) -> list[Interval]:
    """What lies in both."""
    return [
        Interval(max(run.start, one.start), min(run.end, one.end))
        for run in runs
        for one in opened
        if run.start < one.end and one.start < run.end
    ]


# ---- what people see of it
class Queued(msgspec.Struct, frozen=True):
    """One booking in the conflict queue. `why` as the books say it (`block`, `slots`, `override`, …), `against`: the block or booking that
    has its slots, `reason`: what was written on the block; `since_at` in unix seconds. `asked`: the place that the other side is asked for,
    as long as nothing else can be done (`is_asked`)."""

    booking: Booking
    why: str
    against: str
    reason: str
    since_at: int
    asked: Booking | None = None


def queue(tx: Tx, desk: Desk, site_id: str) -> list[Queued]:
    """The facility's open conflicts of bookings that are not over, one for each booking, the earliest start first."""
    found: dict[str, Queued] = {}
    for booking_id, against, why, at in records.conflicts_open(tx, site_id):
        if booking_id not in found and (one := _queued(tx, desk, booking_id, against, why, at)) is not None:
            found[booking_id] = one
    return sorted(found.values(), key=lambda one: (one.booking.start, one.booking.id))


def queued(tx: Tx, desk: Desk, booking_id: str) -> Queued | None:
    """The same of one booking; None where it has no open conflict, or is over."""
    row = next(iter(records.conflicts_of(tx, booking_id)), None)
    return _queued(tx, desk, booking_id, *row) if row is not None else None


def _queued(tx: Tx, desk: Desk, booking_id: str, against: str, why: str, at: int) -> Queued | None:
    b = records.booking(tx, booking_id)
    if b is None or b.ends_at <= desk.now():
        return None
    block = records.block(tx, against) if against else None
    if block is None and why == "block":  # told by the site, which names no block
        block = next(iter(records.blocks_over(tx, b.resource_id, b.start, b.claimed.end)), None)
    return Queued(b, why, against, block.reason if block else "", at, _asked(tx, b) if is_asked(tx, desk, b) else None)


def _asked(tx: Tx, b: Booking) -> Booking | None:
    ids = records.asks_waiting(tx, "move", b.id) + records.asks_waiting(tx, "moved", b.id)
    return records.booking(tx, ids[0]) if ids else None


def instead_of(tx: Tx, b: Booking) -> Booking:
    """What the house gave its guest instead of this booking, by however many steps: another place (B12), or less time (B15); the booking itself
    where there is none, or what it was given is over. Two places may have been given at once, of which one was taken back."""
    order = records.bookings_of_order(tx, b.order_id) if _is_moved(b) else []
    for _ in order:
        after = [
            x for x in order if x.replaces == b.id and (x.placed or x.reason == REST_ON_SALE) and x.sale_no and (_is_moved(x) or _stands(x))
        ]
        if not _is_moved(b) or not after:
            break
        b = min(after, key=lambda x: (x.id != b.replaced_by, not _stands(x)))
    return b


def _is_moved(b: Booking) -> bool:
    return b.status in ("cancelled", "cancelling") and b.reason == "moved"


def _stands(b: Booking) -> bool:
    return b.status == "confirmed" and not b.withdrawn


# ---- placing
def place(
    tx: Tx,
    desk: Desk,
    house: House,
    booking_id: str,
    *,
    resource_id: str,
    start: int,
    end: int,
    new_id: str,
    by: str,
    link_up: bool,
) -> Booking:
    """Puts a displaced booking, or one that was placed before, elsewhere (`start`, `end` in slots): a new booking `new_id` of the same order
    with the old one's price, PIN, guests and count of changes. `confirmed`, or `requested` while the other side is asked (own-4). A place
    that was asked for before, and whose answer would be too late, is given up for it.

    The same again gives the same booking. Refuses `booking_not_found`, `illegal_move`, `bad_interval`, `resource_not_found`,
    `bad_request` (another kind of bay), `outside_hours`, and what `sales.move` refuses.
    """
    old = locked.booking(tx, booking_id)
    if old is None:
        raise refuse("booking_not_found", "This booking is not known.")
    wish = _wish(tx, desk, old, new_id, resource_id, start, end, link_up)
    before = sales.known(tx, desk, wish)
    if before is not None:
        return before[0]
    _judge_old(tx, old)
    _judge_new(tx, desk, house, old, wish.bookings[0])
    if not (is_asked(tx, desk, old) or _is_asked_for(tx, old, wish.bookings[0])):
        sales.drop_asked(tx, desk, old)
    new = sales.move(tx, desk, old.id, wish)
    what = "placed elsewhere" if new.status == "confirmed" else "place asked"
    records.journal(tx, desk.now(), old.site_id, by, what, old.id, f"{new.id} in {new.resource_id}")
    return new


def _wish(tx: Tx, desk: Desk, old: Booking, new_id: str, resource_id: str, start: int, end: int, link_up: bool) -> sales.Wish:
    new = replace(
        old, id=new_id, resource_id=resource_id, start=start, end=end, status="confirmed", seller=desk.side, sale_no=0, outage_pin="",
        replaces=old.id, replaced_by="", placed=True, displaced=False, override=False, withdrawn=False, answer_by=0, reason="",
        created_at=desk.now(), version=1,
    )  # fmt: skip
    customer = records.customer(tx, old.customer_id)
    return sales.Wish(order=frontdesk.order_of(tx, desk, old), bookings=(new,), customer=customer, link_up=link_up)


def _is_asked_for(tx: Tx, old: Booking, new: Booking) -> bool:
    """Whether it is this very place whose answer is late: given up for itself it would be in its own way."""
    asked = _asked(tx, old)
    return asked is not None and (asked.resource_id, asked.start, asked.end) == (new.resource_id, new.start, new.end)


def _judge_old(tx: Tx, old: Booking) -> None:
    a = records.attendance(tx, old.id)
    if a is not None and a.state:
        raise refuse("illegal_move", "The guest has come, or the visit is over, so this booking is not put elsewhere any more.")
    if old.status == "confirmed" and not (old.displaced or old.placed):
        raise refuse("illegal_move", "This booking has the place that was booked, so there is nothing to put right; move it instead.")


def _judge_new(tx: Tx, desk: Desk, house: House, old: Booking, new: Booking) -> None:
    """What is asked of the place; slots and blocks are asked where they are taken."""
    frontdesk.sound_interval(new.start, new.end)
    resource, own = house.resource(new.resource_id), house.resources.get(old.resource_id)
    if own is not None and own.kind != resource.kind:
        raise refuse("bad_request", f"{rules.called(resource, house.facility)} is not of the kind that was booked.")
    if not resource.active:
        raise refuse("slot_taken", f"{rules.called(resource, house.facility)} is not in use.")
    if not _fits(old, new, desk.now_slot()):
        raise refuse(
            "bad_interval", "It must be as long as it was booked, or the rest of it where it has begun, and cannot begin in the past."
        )
    first = _first_place(tx, old)
    if new.start > first.start + REACH_SLOTS or new.end < first.end - REACH_SLOTS:
        raise refuse(
            "bad_interval", f"It cannot be put further than {REACH_SLOTS // 96} days from the time that was booked; please move it instead."
        )
    if not old.displaced and (new.resource_id, new.start, new.end) == (old.resource_id, old.start, old.end):
        raise refuse("illegal_move", "It has this place already.")
    closed = rules.within_hours(resource, Interval(new.start, new.end), house.facility, house.profile.policy.hours)
    if closed is not None:
        raise Refused(Refusal(closed.code, closed.detail, violations=(closed,)))


def _fits(old: Booking, new: Booking, now_slot: int) -> bool:
    """The whole length, or what is left of it. What was offered may have been looked at for a quarter of an hour."""
    if new.start < now_slot - 1 or new.end <= now_slot:
        return False
    whole = new.end - new.start == old.end - old.start
    return whole or (old.start < new.start <= now_slot and new.end == old.end)


def _first_place(tx: Tx, b: Booking) -> Booking:
    """The booking as its customer made it, before the house put it elsewhere."""
    seen = {b.id}
    while b.placed and (before := records.booking(tx, b.replaces)) is not None and before.id not in seen:
        b = before
        seen.add(b.id)
    return b


# ---- what is done without a person
def is_near(desk: Desk, b: Booking) -> bool:
    """block-2: so near the start its site alone finds it another bay."""
    return desk.now() >= b.starts_at - desk.limits.displace_local_min * 60


def is_asked(tx: Tx, desk: Desk, b: Booking) -> bool:
    """Whether something about this booking waits for the other side's answer, so that nothing else is done with it. Not a place that we have
    asked for and whose answer would be too late: it may be given up for another (`place`). What the other side moves for us it may have
    moved; but near the start its site seats the guest all the same."""
    cancel = records.ask(tx, f"cancel|{b.id}")
    if cancel is not None and cancel[0] == "waiting":
        return True
    if any(_in_time(tx, desk, new_id) for new_id in records.asks_waiting(tx, "move", b.id)):
        return True
    alone = desk.side == "site" and is_near(desk, b)
    return any(not alone or _in_time(tx, desk, new_id) for new_id in records.asks_waiting(tx, "moved", b.id))


def _in_time(tx: Tx, desk: Desk, new_id: str) -> bool:
    """Whether its owner may say yes yet (terr-9)."""
    new = records.booking(tx, new_id)
    return new is not None and desk.now() <= new.answer_by


def is_due(tx: Tx, desk: Desk, house: House, b: Booking) -> bool:
    """Whether this side is to place it now by rule: its own (own-1), not begun, nobody there, nothing asked. Near the start that is the
    site's alone, whoever owns it (block-2). Whether this side may sell at all is asked where it is done."""
    if not b.displaced or b.status != "confirmed" or b.withdrawn or desk.now() >= b.starts_at:
        return False
    if not house.profile.policy.displacement.by_rule:
        return False
    a = records.attendance(tx, b.id)
    if (a is not None and (a.state or a.seat)) or is_asked(tx, desk, b):
        return False
    if is_near(desk, b):
        return desk.side == "site"
    return lines.owns(tx, desk, b.resource_id, b.start)


def waiting(tx: Tx, desk: Desk, house: House) -> list[Booking]:
    """The facility's displaced bookings that this side is to place now by rule, the earliest first."""
    return [b for b in _displaced(tx, desk) if b.site_id == house.facility.id and is_due(tx, desk, house, b)]


def _displaced(tx: Tx, desk: Desk) -> list[Booking]:
    """Those of all facilities that are not over, the earliest first."""
    # no facility is asked for: the index of the displaced, who are few, is used alone and not one of all that a facility ever had
    found = records.bookings_where(tx, "displaced = 1 AND status = 'confirmed' AND past > :now", {"now": desk.now_slot()})
    return sorted(found, key=lambda b: (b.start, b.id))


def settle(tx: Tx, desk: Desk, house: House, booking_id: str, *, link_up: bool) -> str:
    """Gives one displaced booking the best place that the rule allows and that can be had: `reseated`, `placed` or `asked`; empty where
    nothing could be done, or is to be done any more. A way that is refused leads to the next. Off a bay whose sales are stopped, and on a
    side whose are (fence, clock), nothing is done: its books, and so the mark, are in doubt."""
    b = locked.booking(tx, booking_id)
    if b is None or not is_due(tx, desk, house, b) or standing.may_sell(tx, desk, b.site_id, b.resource_id, b.start) is not None:
        return ""
    if link_up and not is_near(desk, b) and _asked(tx, b) is not None:
        return ""  # it is late, and under way
    left = conflicts.own_first(_near_ways(tx, desk, house, b, link_up), desk.side)
    while (way := by_rule(house.profile.policy, b, left)) is not None:
        left.remove(way)
        done = _take(tx, desk, house, b, way, link_up)
        if done:
            return done
    return ""


def _near_ways(tx: Tx, desk: Desk, house: House, b: Booking, link_up: bool) -> tuple[WayOut, ...]:
    """All of those within the reach of the rule that can be had from here."""
    reach = house.profile.policy.displacement.shift_max_min // 15
    return ways_of(tx, desk, house, b, around=reach, link_up=link_up, per_kind_max=None)


def _take(tx: Tx, desk: Desk, house: House, b: Booking, way: WayOut, link_up: bool) -> str:
    """What came of one way; empty where it is refused, or is not for this side to take."""
    near = is_near(desk, b)
    if near and way.seller == "site" and way.start == b.start:
        return holds.try_or(partial(_reseat, tx, desk, b, way), lambda no: "", tx)
    if near and not lines.owns(tx, desk, b.resource_id, b.start):
        return ""
    theirs = way.seller != desk.side
    if theirs and (not link_up or _asked(tx, b) is not None or _was_declined(tx, desk, b, way)):
        return ""  # what they were asked for already they may have given, and told the guest of
    return holds.try_or(partial(_place_by_rule, tx, desk, house, b, way, link_up), lambda no: "", tx)


def _reseat(tx: Tx, desk: Desk, b: Booking, way: WayOut) -> str:
    attendance.reseat(tx, desk, b.id, way.resource_id, by=RULE)
    records.journal(tx, desk.now(), b.site_id, RULE, "reseat", b.id, way.resource_id)
    return "reseated"


def _place_by_rule(tx: Tx, desk: Desk, house: House, b: Booking, way: WayOut, link_up: bool) -> str:
    new = place(
        tx, desk, house, b.id, resource_id=way.resource_id, start=way.start, end=way.end, new_id=desk.new_id(), by=RULE, link_up=link_up
    )
    return "placed" if new.status == "confirmed" else "asked"


def _was_declined(tx: Tx, desk: Desk, b: Booking, way: WayOut) -> bool:
    """Whether the other side has lately said no to this place: it knows of something there that we do not, as a hold."""
    return any(
        x.replaces == b.id
        and x.status == "declined"
        and (x.resource_id, x.start) == (way.resource_id, way.start)
        and desk.now() - x.created_at < (SHUT_S if x.reason in SHUT else DECLINED_S)
        for x in records.bookings_of_order(tx, b.order_id)
    )


class Placing:
    """Places what is displaced, on this side, again and again; what no way suits stays in the queue for people.

    `link_up(site_id)`: whether the other side of that link is heard. `run()` is for the ticker, about once a second; it looks only where
    something has changed, or a while has passed.
    """

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, link_up: Callable[[str], bool]):
        self._db, self._desk, self._houses, self._link_up = db, desk, houses, link_up
        #: booking -> when it was tried in vain (unix seconds)
        self._tried: dict[str, int] = {}
        self._changed, self._look_at, self._busy = True, 0, False
        db.listen(self._heard)

    def _heard(self, events: list[Event]) -> None:
        if any(topic in ("conflict", "resource") for topic, _ in events):
            self._changed = True

    async def run(self) -> int:
        """Each booking in a transaction of its own, the earliest start first. Returns how many were placed, reseated or asked for."""
        now = self._desk.now()
        if self._busy or not (self._changed or now >= self._look_at or now < self._look_at - AGAIN_S):
            return 0
        self._busy, changed, self._changed = True, self._changed, False
        try:
            return await self._all(now, CHANGED_S if changed else AGAIN_S)
        finally:
            self._busy = False

    async def _all(self, now: int, again_s: int) -> int:
        found = self._db.read(self._waiting)
        self._tried = {b.id: self._tried[b.id] for b in found if b.id in self._tried}
        done = 0
        for b in found:
            if 0 <= now - self._tried.get(b.id, -AGAIN_S) < again_s:
                self._changed = self._changed or again_s < AGAIN_S  # looked at again when it may be tried
                continue
            done += await self._one(b)
            if self._db.failing:
                break
        self._look_at = now + AGAIN_S
        return done

    def _waiting(self, tx: Tx) -> list[Booking]:
        found = _displaced(tx, self._desk)
        houses = {site_id: self._houses.of(tx, site_id) for site_id in {b.site_id for b in found} if self._may_place(tx, site_id)}
        return [b for b in found if b.site_id in houses and is_due(tx, self._desk, houses[b.site_id], b)]

    def _may_place(self, tx: Tx, site_id: str) -> bool:
        stream = streams.read(tx, site_id)
        return stream is not None and standing.of_side(self._desk, stream) is None and records.facility(tx, site_id) is not None

    def _hopeful(self, tx: Tx, b: Booking) -> bool:
        """Whether there is any way at all, so that what has none costs no commit."""
        house = self._houses.of(tx, b.site_id)
        return by_rule(house.profile.policy, b, _near_ways(tx, self._desk, house, b, self._link_up(b.site_id))) is not None

    async def _one(self, b: Booking) -> int:
        """One that fails stays in the queue and stops no other."""

        def run(tx: Tx) -> str:
            return settle(tx, self._desk, self._houses.of(tx, b.site_id), b.id, link_up=self._link_up(b.site_id))

        try:
            done = await self._db.write(run) if self._db.read(lambda tx: self._hopeful(tx, b)) else ""
        except Exception as error:
            _log.error("displaced.not_placed", booking_id=b.id, error=error)
            done = ""
        if not done:
            self._tried[b.id] = self._desk.now()
            return 0
        _log.info("displaced.settled", booking_id=b.id, how=done)
        return 1
