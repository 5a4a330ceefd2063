"""Health to stock (M3): a bay that fails leaves sale, and is back when it is well. Its guests are placed by the rule that every block has.

Not for: deciding when (`shared.health`), hearing machines (`bay_signs`), placing guests (`shared.ledger.displaced`). Invariants: only blocks that
this made are prolonged or lifted by it; who plays is never displaced, staff are told instead; a bay is out only by a block in the books, so that
whoever asks hears the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from shared import health, slots
from shared.errors import refuse
from shared.health import Sign, Step, Track
from shared.ledger import blocks, records, standing, streams
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.model import Block, Booking, Interval
from shared.policy import Health
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.services import views
from site_agent.services.alarms import Alarm
from site_agent.services.doors import door_words
from site_agent.services.people import Asker
from site_agent.store import presence as visits
from site_agent.store import stock as store
from site_agent.store.stock import Kept

_log = log.get("site_agent.stock")
replace = msgspec.structs.replace

#: who made a block of this rule's
BY = "health"
LOOK_EVERY_S = 10
#: longer without a look, and what was heard before is no unbroken story any more
GAP_S = 120
#: a block is made longer when so little less than the whole is left of it
PROLONG_S = 1800
#: outside opening hours a bay counts from so long before a guest: it is out before the bay is prepared for them, and they are placed in time
GUEST_S = 2700
#: a visit that began so long ago may go on (slots)
LONGEST = 200
TROUBLES_KEPT_S = 90 * 86_400


class Signs(Protocol):
    """Whoever hears the bays."""

    def sign_of(self, tx: Tx, resource_id: str) -> Sign:
        """How a bay is now; unknown where nobody has been heard."""

    def troubles_of(self, tx: Tx, resource_id: str) -> tuple[str, ...]:
        """What is told of its machines now, as sentences."""


class BayOut(msgspec.Struct, frozen=True):
    """A bay that staff should know of. `state`: out (of sale), stays (out, and staff put it back), asked (staff decide), playing (it fails, and somebody
    plays there), spared (sold although it fails). `told`: all of it in sentences. `moved`, `waiting`: guests who lost their place there, settled and
    not. `block_id` empty where it is on sale; times in unix seconds, `until_at` 0 without one."""

    resource_id: str
    bay: str
    state: str
    told: str
    since_at: int
    until_at: int
    moved: int
    waiting: int
    block_id: str


class _Bay(msgspec.Struct, frozen=True):
    """One bay at this moment. `inside`: whose guest is in it, with the end of what is claimed."""

    kept: Kept
    step: Step
    inside: Booking | None


class Stock:
    """One facility's."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, signs: Signs):
        self._db, self._desk, self._houses, self._site_id, self._signs = db, desk, houses, site_id, signs
        self._looked_at = 0
        self._troubles: dict[str, tuple[str, ...]] = {}
        self._alarms: list[Alarm] = []
        self._watchers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called when a bay is other than it was."""
        self._watchers.append(watcher)

    # ---- look
    async def tick(self) -> int:
        """Looks when that is due. Returns how many bays changed; where none did, nothing is written."""
        now = self._desk.now()
        if 0 <= now - self._looked_at < LOOK_EVERY_S:
            return 0
        unbroken = 0 <= now - self._looked_at <= GAP_S
        self._looked_at = now
        changed = await self._look(now, unbroken)
        self._alarms = [_alarm(one) for one in self.bays() if one.state != "spared"]
        return changed

    async def _look(self, now: int, unbroken: bool) -> int:
        news = self._troubles_news()
        if not news and not self._db.read(lambda tx: self._changes(tx, now, unbroken)):
            return 0
        changed = await self._db.write(lambda tx: self._settle(tx, now, unbroken, news))
        if changed:
            for watcher in self._watchers:
                watcher()
        return changed

    def _changes(self, tx: Tx, now: int, unbroken: bool) -> bool:
        known = store.all_kept(tx)
        return any(
            bay.kept != known.get(rid, Kept()) or bay.step in ("take", "lift") or self._is_touched(tx, bay, now)
            for rid, bay in self._bays(tx, now, unbroken).items()
        )

    def _bays(self, tx: Tx, now: int, unbroken: bool) -> dict[str, _Bay]:
        """Each bay's track with what is heard now, and what is to be done. Nothing on a side that decides nothing."""
        stream = streams.read(tx, self._site_id)
        if stream is None or standing.of_side(self._desk, stream) is not None:
            return {}
        house = self._houses.of(tx, self._site_id)
        rule, known = house.profile.policy.health, store.all_kept(tx)
        there = self._there(tx, now, rule)
        kept = {
            bay.id: self._heard(tx, bay.id, known.get(bay.id, Kept()), now, unbroken, in_use=_is_open(house, bay.id, now) or _is_due(there, bay.id, now))
            for bay in house.resources.values() if bay.active
        }  # fmt: skip
        expected = frozenset(there)
        steps = health.decide({rid: one.track for rid, one in kept.items()}, expected, rule, now)
        found = {}
        for rid, one in kept.items():
            step, inside = steps[rid], there.get(rid, (None, 0))[0]
            if step in ("take", "ask") and self._is_covered(tx, rid, self._span(tx, inside, now)):
                step = "none"  # somebody else has taken it out, and it is left to them
            elif step == "lift" and one.stays:
                step = "stay"
            one = replace(one, asked=step == "ask", stays=one.stays or step == "stay")
            found[rid] = _Bay(one, step, inside)
        return found

    def _heard(self, tx: Tx, resource_id: str, kept: Kept, now: int, unbroken: bool, *, in_use: bool) -> Kept:
        track = kept.track if unbroken else replace(kept.track, failing_at=0, good_at=0)
        track = health.follow(track, self._signs.sign_of(tx, resource_id), now, in_use=in_use)
        return replace(kept, track=track, spared_by=kept.spared_by if track.spared_until else "")

    def _there(self, tx: Tx, now: int, rule: Health) -> dict[str, tuple[Booking | None, int]]:
        """Of each bay in which somebody is or is due soon: whose guest is in it, and when the first of them has it from (unix seconds)."""
        slot, found = now // slots.SLOT_S, {}
        for b, a in visits.visits_between(tx, self._site_id, slot, slot + -(-rule.soon_min // slots.SLOT_MIN)):
            state, rid = a.state if a else "", b.seat(a)
            if b.withdrawn or state in ("completed", "no_show") or b.ends_at <= now:
                continue
            inside, first_at = found.get(rid, (None, b.starts_at))
            found[rid] = (b if state == "checked_in" else inside, min(first_at, b.starts_at))
        return found

    def _is_touched(self, tx: Tx, bay: _Bay, now: int) -> bool:
        """Whether its block has ended, or must be made longer."""
        if not bay.kept.block_id:
            return False
        block = records.block(tx, bay.kept.block_id)
        return block is None or block.status != "active" or block.end * slots.SLOT_S <= now or self._is_short(tx, bay, block, now)

    def _is_short(self, tx: Tx, bay: _Bay, block: Block, now: int) -> bool:
        ahead_s = self._rule(tx).ahead_min * 60
        return (bay.step == "keep" or bay.kept.stays) and block.end * slots.SLOT_S - now < ahead_s - PROLONG_S

    def _rule(self, tx: Tx) -> Health:
        return self._houses.of(tx, self._site_id).profile.policy.health

    # ---- settle
    def _settle(self, tx: Tx, now: int, unbroken: bool, news: dict[str, tuple[str, ...]]) -> int:
        """All of it once more, in the transaction that changes the books. Returns how many bays are other than they were."""
        for rid, texts in news.items():
            for text in texts:
                store.add_trouble(tx, rid, text, now)
        known, changed = store.all_kept(tx), 0
        for rid, bay in self._bays(tx, now, unbroken).items():
            kept = self._stepped(tx, rid, bay, now)
            if kept != known.get(rid, Kept()):
                store.put(tx, rid, kept)
                changed += 1
        return changed

    def _stepped(self, tx: Tx, rid: str, bay: _Bay, now: int) -> Kept:
        kept = bay.kept
        if kept.block_id:
            block = records.block(tx, kept.block_id)
            if block is None or block.status != "active":
                return self._put_back_by_staff(tx, rid, kept, now)
            if block.end * slots.SLOT_S <= now:
                return _on_sale(kept)
            if bay.step == "lift":
                return self._lift(tx, rid, kept)
            if self._is_short(tx, bay, block, now):
                blocks.prolong(tx, self._desk, block.id, self._ahead(tx, now))
            return kept
        return self._take(tx, rid, bay, now, BY, kept.track.why) if bay.step == "take" else kept

    def _take(self, tx: Tx, rid: str, bay: _Bay, now: int, by: str, why: str) -> Kept:
        span = self._span(tx, bay.inside, now)
        block = Block(id=self._desk.new_id(), site_id=self._site_id, resource_id=rid, start=span.start, end=span.end, reason=why, by=BY)
        blocks.block(tx, self._desk, block)
        records.journal(tx, now, self._site_id, by, "bay taken out of sale", rid, why)
        _log.warning("stock.taken", resource_id=rid, why=why)
        track = replace(bay.kept.track, taken_at=now, takes=(*bay.kept.track.takes, now))
        return replace(bay.kept, track=track, block_id=block.id, why=why, asked=False, stays=False, spared_by="")

    def _span(self, tx: Tx, inside: Booking | None, now: int) -> Interval:
        """From now, or from when whoever plays there has gone."""
        start = max(now // slots.SLOT_S, inside.claimed.end if inside else 0)
        return Interval(start, max(self._ahead(tx, now), start + slots.SLOTS_PER_HOUR))

    @staticmethod
    def _is_covered(tx: Tx, rid: str, span: Interval) -> bool:
        return any(one.start <= span.start and one.end >= span.end for one in records.blocks_over(tx, rid, span.start, span.end))

    def _ahead(self, tx: Tx, now: int) -> int:
        """The slot until which a bay is taken out now."""
        return -(-(now + self._rule(tx).ahead_min * 60) // slots.SLOT_S)

    def _lift(self, tx: Tx, rid: str, kept: Kept) -> Kept:
        blocks.unblock(tx, self._desk, kept.block_id)
        records.journal(tx, self._desk.now(), self._site_id, BY, "bay back on sale", rid, "It is well again.")
        _log.info("stock.back", resource_id=rid)
        return _on_sale(kept)

    def _put_back_by_staff(self, tx: Tx, rid: str, kept: Kept, now: int) -> Kept:
        """Somebody has ended the block: their word stands for a while, whatever the bay does."""
        return replace(_on_sale(kept, until_at=now + self._rule(tx).spare_min * 60), spared_by="staff")

    def _troubles_news(self) -> dict[str, tuple[str, ...]]:
        """What is told of bays that was not told a look before."""

        def read(tx: Tx) -> dict[str, tuple[str, ...]]:
            house = self._houses.of(tx, self._site_id)
            return {bay.id: self._signs.troubles_of(tx, bay.id) for bay in house.resources.values() if bay.active}

        told = self._db.read(read)
        # what is told at the first look may have been told before the restart
        news = {
            rid: new
            for rid, texts in told.items()
            if rid in self._troubles and (new := tuple(t for t in texts if t not in self._troubles[rid]))
        }
        self._troubles = told
        return news

    async def forget(self) -> int:
        """Every hour: lets go of troubles that nobody counts any more."""
        before_at = self._desk.now() - TROUBLES_KEPT_S
        return 0 if self._desk.clock_doubt() else await self._db.write(lambda tx: store.forget_troubles(tx, before_at))

    # ---- staff
    async def spare(self, resource_id: str, why: str, asker: Asker) -> None:
        """Staff have a failing bay sold all the same, for `spare_min`. Refuses `resource_not_found`, `bad_request` without a reason, `illegal_move`
        for a bay that is neither out by this rule nor about to be."""
        why = _reason(why)

        def run(tx: Tx) -> None:
            bay = self._named(tx, resource_id)
            if not (bay.kept.block_id or bay.kept.track.fails):
                raise refuse("illegal_move", "This bay is on sale, and nothing is known to be wrong with it.")
            if bay.kept.block_id:
                blocks.unblock(tx, self._desk, bay.kept.block_id)
            until_at = self._desk.now() + self._rule(tx).spare_min * 60
            store.put(tx, resource_id, replace(_on_sale(bay.kept, until_at=until_at), spared_by=asker.name or asker.id))
            records.journal(tx, self._desk.now(), self._site_id, asker.id, "bay sold all the same", resource_id, why)

        await self._db.write(run)

    async def take(self, resource_id: str, asker: Asker) -> None:
        """Staff take out a bay about which they are asked; it comes back by itself like any other. Refuses `resource_not_found`, and `illegal_move`
        for one that does not fail, or is out."""

        def run(tx: Tx) -> None:
            bay = self._named(tx, resource_id)
            inside = bay.inside
            if bay.kept.block_id or not bay.kept.track.fails or self._is_covered(tx, resource_id, self._span(tx, inside, self._desk.now())):
                raise refuse(
                    "illegal_move",
                    "This bay is out of sale already, or nothing is known to be wrong with it; block it on the board instead.",
                )
            spared_no_more = replace(bay, kept=replace(bay.kept, track=replace(bay.kept.track, spared_until=0)))
            store.put(tx, resource_id, self._take(tx, resource_id, spared_no_more, self._desk.now(), asker.id, bay.kept.track.why))

        await self._db.write(run)

    def _named(self, tx: Tx, resource_id: str) -> _Bay:
        self._houses.of(tx, self._site_id).resource(resource_id)
        standing.require_side(tx, self._desk, self._site_id)
        found = self._bays(tx, self._desk.now(), True).get(resource_id)
        if found is None:
            raise refuse("resource_not_found", "This bay is not in use.")
        return found

    # ---- show
    def alarms(self) -> list[Alarm]:
        """What staff who are elsewhere must hear of: at once where somebody has to look, else with the day's news."""
        return self._alarms

    def bays(self) -> list[BayOut]:
        """The bays that staff should know of, in their order."""

        def read(tx: Tx) -> list[BayOut]:
            house, now, known = self._houses.of(tx, self._site_id), self._desk.now(), store.all_kept(tx)
            there = self._there(tx, now, house.profile.policy.health)
            shown = [self._shown(tx, house, rid, known[rid], there.get(rid, (None, 0))[0], now) for rid in house.resources if rid in known]
            return [one for one in shown if one is not None]

        return self._db.read(read)

    def _shown(self, tx: Tx, house: House, rid: str, kept: Kept, inside: Booking | None, now: int) -> BayOut | None:
        track, bay, zone = kept.track, views.bay(house, rid), house.facility.zone
        block = records.block(tx, kept.block_id) if kept.block_id else None
        playing = f"Somebody plays in {bay} until {slots.label(zone, inside.end)}" if inside else ""
        if block is not None:
            moved, waiting = _guests(tx, block)
            told = [
                f"{bay} was taken out of sale at {door_words.clock(zone, track.taken_at)}: {clause(kept.why)}.",
                guests_told(moved, waiting),
            ]
            told += [f"{playing}: please look how it is there."] if inside else []
            told += [f"It failed {len(track.takes)} times within a day, so it stays out until somebody puts it back."] if kept.stays else []
            told += ["It is well again and comes back by itself soon."] if track.good_at and not kept.stays else []
            told += [_unheard(track)] if not track.is_heard else []
            state = "stays" if kept.stays else "out"
            return BayOut(rid, bay, state, " ".join(filter(None, told)), track.taken_at, block.end * slots.SLOT_S, moved, waiting, block.id)
        if track.spared_until > now and track.fails:
            told = f"{bay} is sold all the same until {door_words.clock(zone, track.spared_until)}, as {kept.spared_by} said: {clause(track.why)}."
            return BayOut(rid, bay, "spared", told, track.failing_at, track.spared_until, 0, 0, "")
        if kept.asked:
            return BayOut(rid, bay, "asked", _asked_told(tx, house, rid, track, zone), track.failing_at, 0, 0, 0, "")
        if inside and track.fails:
            return BayOut(
                rid, bay, "playing", f"{playing}, and {clause(track.why)}. Please look how it is there.", track.failing_at, 0, 0, 0, ""
            )
        return None


def _is_open(house: House, resource_id: str, now: int) -> bool:
    slot = now // slots.SLOT_S
    return slots.is_open(house.profile.policy.hours, resource_id, house.facility.zone, Interval(slot, slot + 1))


def _is_due(there: dict[str, tuple[Booking | None, int]], resource_id: str, now: int) -> bool:
    """Whether somebody is in the bay, or comes before there is more time to place them."""
    return resource_id in there and there[resource_id][1] - now <= GUEST_S


def _unheard(track: Track) -> str:
    if track.kind == "resting":
        return "Just now its PC is being restarted, or was shut down from here."
    return "Just now nobody is heard who could say how it is."


def _asked_told(tx: Tx, house: House, rid: str, track: Track, zone: str) -> str:
    others = [
        views.bay(house, one) for one, kept in store.all_kept(tx).items()
        if one != rid and kept.track.fails and abs(kept.track.failing_at - track.failing_at) <= health.TOGETHER_S
    ]  # fmt: skip
    at = door_words.clock(zone, track.failing_at)
    together = (
        f"together with {' and '.join(sorted(others))}"
        if others
        else "and no other bay is heard of, by which it could be told apart from a cut"
    )
    return (
        f"{views.bay(house, rid)} fell silent at {at} {together}. It may be the power, the network or whoever looks after the PCs, so nothing was taken"
        " out of sale. Please look, and take out what does not work."
    )


def guests_told(moved: int, waiting: int) -> str:
    """What became of the guests, as a sentence; empty where it concerned none."""
    parts = [f"{moved} {'guest was' if moved == 1 else 'guests were'} moved"] * bool(moved)
    who = "" if moved else " guest" if waiting == 1 else " guests"
    parts += [f"{waiting}{who} {'needs' if waiting == 1 else 'need'} you"] * bool(waiting)
    return f"{', '.join(parts)}." if parts else ""


def _guests(tx: Tx, block: Block) -> tuple[int, int]:
    """`(moved, waiting)` of the block's guests."""
    over = Interval(block.start, block.end)
    found = records.bookings_where(
        tx, "resource_id = :r AND first > :low AND first < :e AND past > :s", {"r": block.resource_id, "low": over.start - LONGEST, "s": over.start, "e": over.end}
    )  # fmt: skip
    waiting = sum(1 for b in found if b.displaced and b.status == "confirmed" and b.ends_at > block.created_at)
    moved = 0
    for b in found:
        new = records.booking(tx, b.replaced_by) if b.reason == "moved" and b.replaced_by else None
        a = records.attendance(tx, b.id)
        placed = new is not None and new.placed and new.created_at >= block.created_at
        moved += placed or (b.status == "confirmed" and a is not None and bool(a.seat) and a.seat != block.resource_id)
    return moved, waiting


def _alarm(one: BayOut) -> Alarm:
    return Alarm(f"bay_{one.state}_{one.resource_id}", one.told, bad=one.state != "out")


def _on_sale(kept: Kept, *, until_at: int = 0) -> Kept:
    return replace(
        kept, track=replace(kept.track, taken_at=0, spared_until=until_at), block_id="", why="", asked=False, stays=False, spared_by=""
    )


def _reason(why: str) -> str:
    why = " ".join(why.split())
    if not why:
        raise refuse("bad_request", "Please say why: it is written down.")
    return why[:300]


_BEGINNINGS = ("It", "Its", "The", "A", "An", "Nobody", "Somebody", "There", "No")


def clause(why: str) -> str:
    """A sentence as a part of another: "its PC is off"."""
    told = why.strip().rstrip(".") or "nobody said why"
    # the name of a program keeps its letters
    return told[:1].lower() + told[1:] if told.partition(" ")[0] in _BEGINNINGS else told
