"""Presence (B15, B21): hears doors and bays, and notes on each visit who came, who did not, whose time is over and who stayed longer. The rest of
a no-show's time it puts on sale, where the house wants that.

Not for: concluding (`shared.presence`, `shared.overtime`), nor for check-ins at the kiosk. Invariants: what staff said stands; while the clock is in
doubt, or this side is fenced, nothing is concluded; whoever was not heard has told nothing. What is noted here is charged by nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from shared import overtime, passes, presence, slots
from shared.errors import Refused, refuse
from shared.ledger import attendance, frontdesk, records, resale, standing, streams
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.model import Booking
from shared.presence import Seen, Verdict, Witness
from shared.runtime import log
from shared.runtime.database import Database, Event, InlineWriter, Tx
from site_agent.ports import Activity
from site_agent.services.doors.door_trail import DoorTrail
from site_agent.services.doors.doors import DoorDesk
from site_agent.services.people import Asker
from site_agent.services.visits import presence_words as words
from site_agent.services.visits.presence_words import PresencePanel, Visit
from site_agent.store import presence as store
from site_agent.store.presence import Played, Unbooked

_log = log.get("site_agent.presence")
replace = msgspec.structs.replace

LOOK_EVERY_S = 15
#: longer without a look, and nothing was heard without a break
GAP_S = 120
#: a bay's word is news for so long; hands that rested for longer play no more, where the PC cannot tell a game
FRESH_S, INPUT_S = 120, 600
#: the doors are heard once they have been live for so long: by then what a cut held back has come
DOORS_SETTLE_S = 60
#: a bay that has told of people within so long is a witness, whether it is heard just now or not
WITNESS_S = 7 * 86_400
#: a guest who goes on after a pause of more than this is not the one who stayed longer
RESUME_S = 900
#: evidence is written down so often while it only grows
KEPT_EVERY_S, HEARD_KEPT_EVERY_S = 300, 3600
LOOK_BACK_SLOTS = 96
#: who came to another booking that ended so lately (slots) may have stayed in the house
STAYED_SLOTS = 4
KEPT_S = 30 * 86_400


class _BayNow:
    """What one bay tells: `playing` None while it is not heard."""

    def __init__(self, deaf_at: int):
        self.playing: bool | None = None
        self.deaf_at, self.heard_at, self.heard_kept_at = deaf_at, 0, 0
        #: since when somebody plays there whom nobody knows, and the row that tells of it
        self.stranger_at, self.row = 0, Unbooked("", "", 0, 0)
        #: whose guest has played without a pause, and the bookings for whose guest the same person may have been taken
        self.who, self.unclear = "", set[str]()
        #: when somebody last touched its PC, as far as it tells: it takes hands that rest for a game for some minutes more
        self.touched_at = 0


class _Work(NamedTuple):
    """What is to be written."""

    played: list[Played]
    verdicts: list[tuple[Visit, Verdict]]
    over: list[tuple[str, int, int]]
    unbooked: list[Unbooked]
    heard: list[tuple[str, int]]
    rests: list[str]

    @property
    def any(self) -> bool:
        return any(self)


class Presence:
    """One facility's. `activity(tx, resource_id)`: what the bay's PC knows of people, None where nobody tells."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, doors: DoorDesk, trail: DoorTrail,
        activity: Callable[[Tx, str], Activity | None],
    ):  # fmt: skip
        self._db, self._desk, self._houses, self._site_id = db, desk, houses, site_id
        self._doors, self._trail, self._activity = doors, trail, activity
        self._bays: dict[str, _BayNow] = {}
        self._played: dict[str, Played] = {}
        self._written: dict[str, int] = {}
        #: booking -> when its guest was last taken for the one who plays
        self._going: dict[str, int] = {}
        self._looked_at = self._doors_live_at = 0
        self._changed = True
        self._watchers: list[Callable[[], None]] = []
        db.listen(self._heard)

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called when a visit is other than it was."""
        self._watchers.append(watcher)

    def _heard(self, events: list[Event]) -> None:
        # somebody who has just opened a door by PIN is to be seen as in at once
        if any(topic == "door_trail" for topic, _ in events):
            self._changed = True

    # ---- look
    async def tick(self) -> int:
        """Looks when something happened at a door, or a while has passed. Returns how many visits were concluded on."""
        now = self._desk.now()
        if not self._changed and 0 <= now - self._looked_at < LOOK_EVERY_S:
            return 0
        if not 0 <= now - self._looked_at <= GAP_S:
            self._was_away(now)
        self._changed, self._looked_at = False, now
        self._hear_doors(now)
        work = self._db.read(lambda tx: self._work(tx, now))
        if not work.any:
            return 0
        done = await self._db.write(lambda tx: self._write(tx, work, now))
        for row in work.played:
            self._written[row.booking_id] = row.played_until
        if done or work.over or work.unbooked:
            for watcher in self._watchers:
                watcher()
        return done

    def _was_away(self, now: int) -> None:
        """Nobody looked for a while, or the clock jumped: what happened meanwhile was heard by nobody here."""
        self._doors_live_at = 0
        for bay in self._bays.values():
            bay.deaf_at = now

    def _hear_doors(self, now: int) -> None:
        self._doors_live_at = (self._doors_live_at or now) if self._trail.live() else 0

    def _doors_witness(self, now: int) -> Witness:
        if not self._doors.configured:
            return "none"
        return "heard" if self._doors_live_at and now - self._doors_live_at >= DOORS_SETTLE_S else "deaf"

    def _work(self, tx: Tx, now: int) -> _Work:
        work = _Work([], [], [], [], [], [])
        stream = streams.read(tx, self._site_id)
        if self._desk.clock_doubt() or stream is None or standing.of_side(self._desk, stream) is not None:
            return work
        house, slot = self._houses.of(tx, self._site_id), now // slots.SLOT_S
        visits = [Visit(*one) for one in store.visits_between(tx, self._site_id, slot - LOOK_BACK_SLOTS, slot + 2)]
        seated: dict[str, list[Visit]] = {}
        for one in visits:
            if not one.b.withdrawn:
                seated.setdefault(one.seat, []).append(one)
        for bay in house.resources.values():
            self._hear_bay(tx, bay.id, seated.get(bay.id, []), now, work)
        for one in visits:
            if one.b.starts_at - presence.EARLY_S <= now:
                self._conclude(tx, house, one, seated.get(one.seat, []), now, work)
        return work

    # ---- bays
    def _hear_bay(self, tx: Tx, rid: str, seated: list[Visit], now: int, work: _Work) -> None:
        bay = self._bays.get(rid)
        if bay is None:
            bay = self._bays[rid] = _BayNow(now)
            bay.heard_at = bay.heard_kept_at = store.heard(tx).get(rid, 0)
        bay.unclear &= {one.b.id for one in seated}
        told = self._activity(tx, rid)
        bay.playing = is_playing(told, now)
        bay.touched_at = min(now, told.last_input_at) if told is not None and told.last_input_at else now
        if bay.playing is None:
            bay.deaf_at = now
            return
        bay.heard_at = now
        if now - bay.heard_kept_at >= HEARD_KEPT_EVERY_S:
            bay.heard_kept_at = now
            work.heard.append((rid, now))
        if not bay.playing:
            bay.stranger_at, bay.who = 0, ""
            return
        whose = self._whose(tx, seated, now)
        if whose is not None:
            bay.stranger_at = 0
            self._note_whose(tx, bay, whose, now, work)
        elif not self._early(seated, now) and not records.blocks_over(tx, rid, now // slots.SLOT_S, now // slots.SLOT_S + 1):
            self._note_stranger(tx, bay, rid, now, work)

    def _whose(self, tx: Tx, seated: list[Visit], now: int) -> Visit | None:
        """Whose time it is in the bay, or who goes on after the end of it."""
        running = next((one for one in seated if one.b.starts_at <= now < one.b.ends_at and one.state != "no_show"), None)
        if running is not None:
            return running
        before = max((one for one in seated if one.b.ends_at <= now and one.came), key=lambda one: one.b.end, default=None)
        if before is None or (before.state == "completed" and (before.a.said or not goes_on(self._going.get(before.b.id, 0), now))):
            return None  # whoever begins anew after a visit was over, cleans up or is early
        seen = self._played_of(tx, before.b.id)
        resumed = now - max(seen.played_until if seen else 0, before.b.ends_at) <= RESUME_S
        return before if resumed and now < _theirs_until(before, seated) else None

    @staticmethod
    def _early(seated: list[Visit], now: int) -> bool:
        return any(one.b.starts_at - presence.EARLY_S <= now < one.b.ends_at and one.state != "no_show" for one in seated)

    def _note_whose(self, tx: Tx, bay: _BayNow, whose: Visit, now: int, work: _Work) -> None:
        """Who goes on without a pause into another's time may be the one or the other, as long as that other one has not come."""
        if bay.who not in ("", whose.b.id) and not whose.came:
            bay.unclear.add(whose.b.id)
            return
        bay.who = whose.b.id
        self._going[whose.b.id] = now
        self._note_played(tx, whose.seat, whose.b, bay.touched_at, now, work)

    def _note_played(self, tx: Tx, rid: str, b: Booking, touched_at: int, now: int, work: _Work) -> None:
        """Up to the end a bay that counts as played is; what may be charged for after it is what hands have done."""
        known = self._played_of(tx, b.id)
        until = now if now <= b.ends_at else max(touched_at, known.played_until if known else 0)
        row = Played(b.id, rid, known.played_from if known else until, until, b.ends_at)
        self._played[b.id] = row
        if known is None or until - self._written.get(b.id, 0) >= KEPT_EVERY_S:
            work.played.append(row)

    def _played_of(self, tx: Tx, booking_id: str) -> Played | None:
        if booking_id not in self._played and (found := store.played(tx, booking_id)) is not None:
            self._played[booking_id] = found
        return self._played.get(booking_id)

    def _note_stranger(self, tx: Tx, bay: _BayNow, rid: str, now: int, work: _Work) -> None:
        if not bay.stranger_at:
            bay.stranger_at, bay.row = now, Unbooked(f"{rid}-{now}", rid, now, now)
        rule = self._houses.of(tx, self._site_id).profile.policy.presence
        told = now - bay.stranger_at >= rule.unbooked_min * 60
        if told and (bay.row.until_at == bay.row.from_at or now - bay.row.until_at >= KEPT_EVERY_S):
            known = store.unbooked(tx, bay.row.id)
            bay.row = replace(known or bay.row, until_at=now)
            work.unbooked.append(bay.row)

    # ---- visits
    def _conclude(self, tx: Tx, house: House, one: Visit, seated: list[Visit], now: int, work: _Work) -> None:
        policy = house.profile.policy
        if one.state != "completed":
            seen = self._seen(tx, house, one, now)
            verdict = presence.judge(one.b, one.a, seen, policy, now)
            if verdict is not None and not (verdict.state == "no_show" and self._perhaps_let_in(tx, one, now)):
                work.verdicts.append((one, verdict))
                self._flush(one.b.id, work)
            elif one.state == "no_show" and self._rest_is_due(tx, house, one, seen, now):
                work.rests.append(one.b.id)
        if one.came and one.b.ends_at < now <= one.b.ends_at + overtime.OVER_MAX_S + RESUME_S and not one.a.waived:
            self._overtime(tx, house, one, seated, now, work)

    def _rest_is_due(self, tx: Tx, house: House, one: Visit, seen: Seen, now: int) -> bool:
        """Whoever plays there without a check-in, or could have come unheard, may be the guest: then people judge."""
        rule, bay = house.profile.policy.presence, self._bays.get(one.seat)
        if not (rule.by_rule and rule.resell_min) or now < presence.due_at(one.b) + rule.resell_min * 60 or (bay and bay.playing):
            return False
        if seen.unclear or "deaf" in (seen.doors, seen.bay) or self._perhaps_let_in(tx, one, now):
            return False
        return resale.rest_of(tx, self._desk, house, one.b) is not None

    def _perhaps_let_in(self, tx: Tx, one: Visit, now: int) -> bool:
        """Whether nobody but the doors would have seen the guest, and they let somebody in of whom they do not know who it was."""
        if self._bay_witness(self._bays.get(one.seat), one.b, now) == "heard":
            return False
        return store.let_in_unnamed(tx, self._site_id, passes.window(one.b.start, one.b.end)[0])

    def _seen(self, tx: Tx, house: House, one: Visit, now: int) -> Seen:
        b = one.b
        opens_at, closes_at = passes.window(b.start, b.end)
        uses = store.uses(tx, self._site_id, b.id, opens_at, closes_at)
        played, bay = self._played_of(tx, b.id), self._bays.get(one.seat)
        told = words.door_told(house, *uses[0], self._doors.name_of) if uses else ""
        return Seen(
            doors=self._doors_witness(now), bay=self._bay_witness(bay, b, now), door_at=uses[0][0] if uses else 0, door_told=told,
            door_last_at=uses[-1][0] if uses else 0, played_from=played.played_from if played else 0,
            played_until=played.played_until if played else 0, playing=bool(bay and bay.playing and goes_on(self._going.get(b.id, 0), now)),
            unclear=bool(bay and b.id in bay.unclear) or (not one.came and self._company_came(tx, b)),
        )  # fmt: skip

    def _company_came(self, tx: Tx, b: Booking) -> bool:
        """Whether somebody came to another booking of the same order or customer around that time, or just before it: one PIN lets a whole party
        in, and nobody uses it again to stay."""
        others = records.bookings_of_order(tx, b.order_id)
        if b.customer_id:
            others += records.bookings_of_customer(tx, b.customer_id, b.start - LOOK_BACK_SLOTS)
        near = {x.id for x in others if x.id != b.id and x.site_id == b.site_id and x.start < b.end and b.start <= x.end + STAYED_SLOTS}
        found = (records.attendance(tx, one) for one in near)
        return any(a is not None and a.state in ("checked_in", "completed") for a in found)

    @staticmethod
    def _bay_witness(bay: _BayNow | None, b: Booking, now: int) -> Witness:
        if bay is None or now - bay.heard_at > WITNESS_S:
            return "none"
        return "heard" if bay.playing is not None and bay.deaf_at < b.starts_at else "deaf"

    def _overtime(self, tx: Tx, house: House, one: Visit, seated: list[Visit], now: int, work: _Work) -> None:
        """Noted while it grows, at every quarter hour that is begun, and to the minute once it is over."""
        a, b, policy = one.a, one.b, house.profile.policy
        seen = self._seen(tx, house, one, now)
        last_at = min(seen.last_at, _theirs_until(one, seated))
        minutes = overtime.minutes(b.ends_at, last_at, policy.overtime)
        if minutes <= a.overtime_min:
            return
        paid_until = frontdesk.paid_for(tx, b).ends_at
        bay = house.resources.get(one.seat) or house.resource(b.resource_id)
        charged = overtime.minutes(paid_until, last_at, policy.overtime)
        price = overtime.charge(
            charged, bay, paid_until // slots.SLOT_S, house.profile.tariff, policy.overtime, zone=house.facility.zone, site_id=self._site_id
        )
        if price.total_cents != a.overtime_cents or not a.overtime_min or not seen.playing:
            work.over.append((b.id, minutes, price.total_cents))
            self._flush(b.id, work)

    def _flush(self, booking_id: str, work: _Work) -> None:
        row = self._played.get(booking_id)
        if row is not None and self._written.get(booking_id) != row.played_until and row not in work.played:
            work.played.append(row)

    def _write(self, tx: Tx, work: _Work, now: int) -> int:
        for row in work.played:
            store.put_played(tx, row)
        for rid, at in work.heard:
            store.put_heard(tx, rid, at)
        for row in work.unbooked:
            store.put_unbooked(tx, row)
        done = sum(self._attend(tx, one, verdict) for one, verdict in work.verdicts)
        for booking_id, minutes, cents in work.over:
            self._over(tx, booking_id, minutes, cents)
        return done + sum(self._sell_rest(tx, one) for one in work.rests)

    def _attend(self, tx: Tx, one: Visit, verdict: Verdict) -> bool:
        """As long as nobody has said anything since it was read."""
        a = records.attendance(tx, one.b.id)
        if (a.version if a else 0) != (one.a.version if one.a else 0):
            return False
        try:
            tx.attempt(lambda: attendance.attend(tx, self._desk, one.b.id, verdict.state, by=words.BY, how=verdict.how))
        except Refused as error:
            _log.info("presence.refused", booking_id=one.b.id, code=error.refusal.code)
            return False
        records.journal(tx, self._desk.now(), self._site_id, words.BY, f"attendance {verdict.state}", one.b.id, verdict.how)
        return True

    def _sell_rest(self, tx: Tx, booking_id: str) -> bool:
        try:
            tx.attempt(lambda: resale.put_on_sale(tx, self._desk, self._houses.of(tx, self._site_id), booking_id, by=words.BY))
        except Refused as error:
            _log.info("presence.refused", booking_id=booking_id, code=error.refusal.code)
            return False
        return True

    def _over(self, tx: Tx, booking_id: str, minutes: int, cents: int) -> None:
        a = records.attendance(tx, booking_id)
        if a is not None and a.state in ("checked_in", "completed") and not a.waived:
            attendance.over(tx, self._desk, booking_id, minutes, cents)

    async def forget(self) -> int:
        """Every hour: lets go of what was seen of visits that are long over."""
        if self._desk.clock_doubt():
            return 0
        before_at = self._desk.now() - KEPT_S
        self._played = {key: row for key, row in self._played.items() if row.ends_at >= self._desk.now() - 2 * 86_400}
        self._written = {key: at for key, at in self._written.items() if key in self._played}
        self._going = {key: at for key, at in self._going.items() if key in self._played}
        return await self._db.write(lambda tx: store.forget(tx, before_at))

    def panel(self) -> PresencePanel:
        """The verdicts of the last hours, time used after the end, and play without a booking."""

        def playing(one: Visit) -> bool:
            bay = self._bays.get(one.seat)
            return bool(
                one.state == "checked_in" and bay is not None and bay.playing and goes_on(self._going.get(one.b.id, 0), self._desk.now())
            )

        def read(tx: Tx) -> PresencePanel:
            house = self._houses.of(tx, self._site_id)
            return words.panel(tx, house, self._desk.now(), playing, lambda b: resale.rest_of(tx, self._desk, house, b))

        return self._db.read(read)

    # ---- staff
    async def waive(self, booking_id: str, why: str, asker: Asker) -> None:
        """Staff do not charge time used after the end, saying why; empty: they do after all. Refuses `booking_not_found`, `illegal_move`."""
        why = " ".join(why.split())[:300]

        def run(tx: Tx) -> None:
            attendance.waive(tx, self._desk, booking_id, why)
            what = "overtime waived" if why else "overtime charged after all"
            records.journal(tx, self._desk.now(), self._site_id, asker.id, what, booking_id, why)

        await self._db.write(run)

    async def explain(self, row_id: str, word: str, asker: Asker) -> None:
        """Staff say who it was that played without a booking. Refuses `not_found`, `bad_request` without a word."""
        word = " ".join(word.split())[:300]
        if not word:
            raise refuse("bad_request", "Please say who it was.")

        def run(tx: Tx) -> None:
            found = store.unbooked(tx, row_id)
            if found is None:
                raise refuse("not_found", "No such use of a bay is known.")
            store.put_unbooked(tx, replace(found, seen_at=self._desk.now(), seen_by=asker.id, word=word))
            records.journal(tx, self._desk.now(), self._site_id, asker.id, "unbooked play explained", found.resource_id, word)

        await self._db.write(run)


def goes_on(going_at: int, now: int) -> bool:
    """Whether somebody of this visit played at the last look."""
    return now - going_at <= LOOK_EVERY_S * 2


def is_playing(told: Activity | None, now: int) -> bool | None:
    """Whether somebody plays in a bay by what its PC tells; None where that is not known."""
    if told is None or now - told.at > FRESH_S:
        return None
    if told.playing is not None:
        return told.playing
    return now - told.last_input_at <= INPUT_S if told.last_input_at else None


def _theirs_until(one: Visit, seated: list[Visit]) -> int:
    later = min((x for x in seated if x.b.start >= one.b.end), key=lambda x: x.b.start, default=None)
    came_at = later.a.at if later is not None and later.a is not None and later.came else 0
    return presence.theirs_until(one.b, later.b if later is not None else None, came_at)
