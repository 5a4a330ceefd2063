"""Check-in: by QR pass, by PIN, by staff. One transaction decides and records, then the doors are asked at once (K1, B15, pass-2).

Not here: what a pass says (`passes`), how a door opens (`doors`). Invariant: a door is asked to open only after the commit that says who
came in, and nobody waits for the controller longer than `ANSWER_WAIT_S`; wrong PINs run into a lock-out, per kiosk and per PIN.
"""

from __future__ import annotations

import msgspec

from shared import passes, presence, slots
from shared.errors import Refusal, Refused, Suggestion, refuse
from shared.ledger import attendance, claims, displaced, lines, pins, records, resale, watch
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.ledger.soundness import Breach, outside_window_s
from shared.model import Booking, Interval
from shared.pins import LENGTH_MAX, LENGTH_MIN
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from shared.runtime.passwords import LockOut
from site_agent.ports import Actor
from site_agent.services import views
from site_agent.services.doors.doors import DoorDesk, Opened
from site_agent.services.link import Link
from site_agent.services.people import Asker
from site_agent.services.views import BookingView

_log = log.get("site_agent.checkin")

#: tries without success at one kiosk, and of one unknown PIN anywhere, within the window
KIOSK_TRIES_MAX, PIN_TRIES_MAX, TRIES_WINDOW_S = 8, 5, 300
#: between the judgement and the door lies a commit: outside the window by less than this, the window has just closed
COMMIT_S = 30
#: who asks when a guest presses the button on the booking's page, and what the trail says of it
PHONE, BY_PHONE = "phone", " from the telephone"
#: what a camera or a scanner reads off something else than a booking: a menu, a parcel, the door reader's own code
FOREIGN = Refusal(
    "pass_invalid",
    "This code is no booking of ours. Please show the QR code on your booking's page, or enter the PIN beside it.",
)


class CheckedIn(msgspec.Struct, frozen=True):
    """Who came in, and what the door did: `door` is `opened`, `asked`, `failed` or `none`. `again` is a re-entry.

    `sentence` tells the guest everything, `about_door` only what the door did.
    """

    booking: BookingView
    bay: str
    until: str
    again: bool
    door: str
    sentence: str
    about_door: str


class _Came(msgspec.Struct, frozen=True):
    booking: Booking
    resource_id: str
    again: bool
    door_ids: tuple[str, ...]


class CheckIn:
    """Lets people in."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str, link: Link, doors: DoorDesk
    ):
        self._db, self._desk, self._houses, self._site_id, self._link, self._doors = db, desk, houses, site_id, link, doors
        self._kiosk_tries = LockOut(tries_max=KIOSK_TRIES_MAX, window_s=TRIES_WINDOW_S)
        self._pin_tries = LockOut(tries_max=PIN_TRIES_MAX, window_s=TRIES_WINDOW_S)

    async def by_text(self, text: str, asker: Asker) -> CheckedIn:
        """What a guest typed or a scanner read: a pass, else a PIN. Refuses as `by_pass` and `by_pin`; what is neither, `pass_invalid`."""
        text = "".join(text.split())
        if text.upper().startswith(passes.PREFIX):
            # A scanner with caps lock the wrong way round types small letters; the code itself knows only capitals.
            return await self.by_pass(text.upper(), asker)
        if len(text) > LENGTH_MAX:
            _log.info("checkin.refused", code=FOREIGN.code, kiosk=asker.id)
            raise Refused(FOREIGN)
        return await self.by_pin(text, asker)

    async def by_pass(self, token: str, asker: Asker) -> CheckedIn:
        """pass-2, D1. Refuses `pass_invalid`, `pass_other_site`, `pass_early`, `pass_expired`, `pass_not_seated`, `already_cancelled`,
        `already_checked_in`, `declined`, `displaced`."""
        facts = passes.read(token, self._link.ring, self._site_id)
        if isinstance(facts, Refusal):
            _log.info("checkin.refused", code=facts.code, kiosk=asker.id)
            raise Refused(facts)
        return await self._come_in(lambda tx: facts, asker)

    async def by_pin(self, pin: str, asker: Asker) -> CheckedIn:
        """pass-3. Refuses `pin_unknown`, `too_many_tries`, and what `by_pass` refuses of the booking."""
        keys, now = (asker.id,), self._desk.now()
        if not (pin.isascii() and pin.isdigit() and LENGTH_MIN <= len(pin) <= LENGTH_MAX):
            raise refuse("pin_unknown", f"A PIN has {LENGTH_MIN} digits. Please look at your confirmation and try again.")
        wait_s = self._kiosk_tries.wait_s(keys, now) or self._pin_tries.wait_s((pin,), now)
        if wait_s:
            raise refuse(
                "too_many_tries",
                f"Too many wrong PINs. Please wait {_wait(wait_s)}, or hold the QR code of your booking to the scanner.",
                retry_after_s=wait_s,
            )
        # Counted before it is judged, or tries sent all at once would all be judged; a PIN that is somebody's, but not now, counts at the
        # kiosk like any other, or it would tell a guesser for free whose it is.
        self._kiosk_tries.failed(keys, now)
        self._pin_tries.failed((pin,), now)
        try:
            came = await self._come_in(lambda tx: self._facts_of_pin(tx, pin), asker)
        except Refused as error:
            if error.refusal.code != "pin_unknown":
                self._pin_tries.take_back((pin,))
            raise
        except BaseException:
            self._kiosk_tries.take_back(keys)
            self._pin_tries.take_back((pin,))
            raise
        self._kiosk_tries.take_back(keys)
        self._pin_tries.take_back((pin,))
        return came

    def _facts_of_pin(self, tx: Tx, pin: str) -> passes.PassFacts:
        b = pins.booking_by_pin(tx, self._site_id, pin)
        if b is None:
            raise refuse("pin_unknown", "No booking here has this PIN. Please look at your confirmation and try again.")
        return passes.facts_of(b, "", self._desk.now())

    async def by_phone(self, booking_id: str, asker: Asker) -> CheckedIn:
        """The guest pressed "open the door" on the booking's page. The booking is known by its id, as behind its link; everything else is judged as of
        its pass. Refuses `booking_not_found`, and what `by_pass` refuses of the booking."""

        def facts_of(tx: Tx) -> passes.PassFacts:
            b = records.booking(tx, booking_id)
            if b is None:
                raise refuse("booking_not_found", "This booking is not known here yet.")
            return passes.facts_of(b, "", self._desk.now())

        return await self._come_in(facts_of, asker)

    async def by_staff(self, booking_id: str, asker: Asker, *, open_doors: bool = True) -> CheckedIn:
        """Staff vouch for the guest: the window is theirs to judge, what the books say is not. Refuses as `attendance.attend` does."""

        def run(tx: Tx) -> _Came:
            b = _as_it_stands(tx, booking_id)
            before = records.attendance(tx, b.id)
            again_after_all = bool(before and before.state == "completed")
            attendance.attend(tx, self._desk, b.id, "checked_in", by=asker.id, how=f"checked in by {asker.name or asker.id}", said=again_after_all)
            return self._came(tx, b, b.seat(before), bool(before and before.state == "checked_in"), asker)

        return await self._open(await self._db.write(run), asker, open_doors=open_doors, vouched=True)

    async def attend(self, booking_id: str, state: str, asker: Asker) -> BookingView:
        """Staff's other words on a visit: `completed`, `no_show`, or back to nothing after a mistake."""

        def run(tx: Tx) -> BookingView:
            b = _as_it_stands(tx, booking_id)
            attendance.attend(tx, self._desk, b.id, state, by=asker.id, how=f"said by {asker.name or asker.id}", said=True)
            records.journal(tx, self._desk.now(), self._site_id, asker.id, f"attendance {state or 'taken back'}", b.id)
            return views.booking(tx, self._desk, self._houses.of(tx, self._site_id), b, full=True)

        return await self._db.write(run)

    async def sell_rest(self, booking_id: str, asker: Asker) -> BookingView:
        """Staff put the rest of a no-show's time on sale: the shorter booking that stands in its place now. Refuses as `resale.put_on_sale` does."""

        def run(tx: Tx) -> BookingView:
            house = self._houses.of(tx, self._site_id)
            return views.booking(tx, self._desk, house, resale.put_on_sale(tx, self._desk, house, booking_id, by=asker.id), full=True)

        return await self._db.write(run)

    # ---- the one transaction
    async def _come_in(self, facts_of, asker: Asker) -> CheckedIn:
        def run(tx: Tx) -> _Came:
            facts = self._instead(tx, facts_of(tx))
            copy, known = records.booking(tx, facts.booking_id), records.attendance(tx, facts.booking_id)
            house = self._houses.of(tx, self._site_id)
            house.resource(facts.resource_id)
            verdict = passes.may_enter(
                facts, copy, known, lines.line_of(tx, facts.resource_id), *self._now_and_skew(),
                attendance.seated_sale_no(tx, facts.resource_id, Interval(facts.start, facts.end), facts.booking_id),
                ways=self._ways(tx, house, copy), floor=lines.floor_of(tx, self._site_id, facts.resource_id),
            )  # fmt: skip
            if isinstance(verdict, Refusal):
                raise Refused(self._told(verdict, house, copy))
            if copy is not None and not verdict.again and self._is_sold_on(tx, copy, verdict.resource_id):
                raise Refused(self._told(Refusal("pass_expired", "This pass has expired: its booking is over."), house, copy))
            if verdict.as_copy:
                copy = attendance.admit(tx, self._desk, passes.copy_of(facts))
            attendance.attend(tx, self._desk, copy.id, "checked_in", by=asker.id, how=f"checked in{BY_PHONE if asker.kind == PHONE else ' at the kiosk'}")
            return self._came(tx, copy, verdict.resource_id, verdict.again, asker)

        try:
            came = await self._db.write(run)
        except Refused as error:
            _log.info("checkin.refused", code=error.refusal.code, kiosk=asker.id)
            raise
        return await self._open(came, asker, open_doors=True)

    def _instead(self, tx: Tx, facts: passes.PassFacts) -> passes.PassFacts:
        """A guest whom the house put elsewhere, or whose rest it sold, comes with the pass of before, good for what was given instead (B12, B15)."""
        old = records.booking(tx, facts.booking_id)
        if old is None or (old.resource_id, old.start, old.end) != (facts.resource_id, facts.start, facts.end):
            return facts
        new = displaced.instead_of(tx, old)
        return facts if new is old else passes.facts_of(new, facts.key_id, self._desk.now())

    def _is_sold_on(self, tx: Tx, b: Booking, resource_id: str) -> bool:
        """Whether the rest of a no-show's time has begun, and somebody else has the bay by now."""
        slot = self._desk.now_slot()
        if b.reason != presence.REST_ON_SALE or slot < b.end or self._desk.clock_doubt():
            return False
        return any(ref != b.id for _, _, ref in claims.holders(tx, resource_id, Interval(slot, slot + 1)))

    def _now_and_skew(self) -> tuple[int, int]:
        """clock-1, clock-2: check-in goes on while the clock is in doubt, by the time that can still be told; how far that is from the true
        one nobody knows, so that a window is as wide as it ever is."""
        return int(self._desk.believed()), passes.SKEW_MAX_S if self._desk.clock_doubt() else self._link.skew_s()

    def _told(self, no: Refusal, house: House, b: Booking | None) -> Refusal:
        """A guest who comes in time is not told that they did not, where nobody here knows the time; one who comes so late that the rest of
        the time was given back is told so."""
        support = house.facility.support_phone
        ask = f"call {support}" if support else "ask the staff"
        doubt = self._desk.clock_doubt()
        if no.code == "pass_expired" and not doubt and b is not None and b.reason == presence.REST_ON_SALE:
            end = slots.label(house.facility.zone, b.end)
            return Refusal(no.code, f"Nobody had come for this booking, so its time from {end} on was put on sale again. Please {ask}, who can help you.")
        if no.code not in ("pass_early", "pass_expired") or not doubt:
            return no
        reader = "use your PIN at the door's reader, which has a clock of its own, or " if self._doors.configured else ""
        return Refusal(no.code, f"By the clock here this is not the time of your booking, but that clock is in doubt. Please {reader}{ask}.")

    def _came(self, tx: Tx, b: Booking, resource_id: str, again: bool, asker: Asker) -> _Came:
        what = "re-entry" if again else "check-in"
        records.journal(tx, self._desk.now(), self._site_id, asker.id, what, b.id)
        return _Came(b, resource_id, again, self._doors.doors_of(tx, resource_id))

    def _ways(self, tx: Tx, house: House, b: Booking | None) -> tuple[Suggestion, ...]:
        """Where a displaced guest may go, for the sentence at the kiosk."""
        if b is None or not b.displaced:
            return ()
        return tuple(
            Suggestion(
                way.resource_id, way.start * 900, way.end * 900, way.price.total_cents if way.price else 0,
                way.price.currency if way.price else house.facility.currency, way.seller == "site",
            )  # fmt: skip
            for way in displaced.ways_of(tx, self._desk, house, b)[:3]
        )

    async def _within(self, came: _Came) -> bool:
        """A pass opens only inside its window: asked again right before the door is, of the booking and the clock alone. Outside, the door
        stays shut and the bay's sales are stopped, since something that judged before has failed."""
        late_s = outside_window_s(came.booking, *self._now_and_skew())
        if not late_s:
            return True
        detail = f"A door would have opened for booking {came.booking.id} {late_s} s outside its time, and was kept shut."
        breach = Breach("window", self._site_id, came.resource_id, came.booking.id, detail)

        def withhold(tx: Tx) -> None:
            records.journal(tx, self._desk.now(), self._site_id, "invariants", "unlock withheld", came.booking.id, detail)
            if late_s > COMMIT_S:
                watch.note(tx, self._desk, [breach])

        _log.error("checkin.outside_window", booking_id=came.booking.id, late_s=late_s)
        await self._db.write(withhold)
        return False

    async def _open(self, came: _Came, asker: Asker, *, open_doors: bool, vouched: bool = False) -> CheckedIn:
        actor = Actor(asker.id, asker.name or asker.id)
        kept_shut = open_doors and not vouched and not await self._within(came)
        open_doors = open_doors and not kept_shut
        what = f"{'re-entry' if came.again else 'check-in'}{BY_PHONE if asker.kind == PHONE else ''}"
        tasks = self._doors.ask(came.door_ids, actor, came.booking.id, what) if open_doors else {}
        opened = await self._doors.answered(tasks)
        house = self._db.read(lambda tx: self._houses.of(tx, self._site_id))
        view = self._db.read(
            lambda tx: views.booking(tx, self._desk, house, records.booking(tx, came.booking.id), full=asker.may("view"))
        )
        bay, until = views.bay(house, came.resource_id), slots.label(house.facility.zone, came.booking.end)
        door, about = ("failed", _kept_shut(house.facility.support_phone)) if kept_shut else _said(opened, house.facility.support_phone)
        place = f"Welcome {'back' if came.again else 'in'}: {bay} is yours until {until}."
        return CheckedIn(view, bay, until, came.again, door, f"{place} {about}".strip(), about)


def _as_it_stands(tx: Tx, booking_id: str) -> Booking:
    """The booking that staff mean, also on a page that has not heard yet that its rest was put on sale."""
    b = records.booking(tx, booking_id)
    if b is None:
        raise refuse("booking_not_found", "This booking is not known.")
    return resale.shorter_of(tx, b)


def _kept_shut(support: str) -> str:
    return f"The door stays shut, since it is not the time of this booking. Please {f'call {support}' if support else 'ask the staff'}."


def _said(opened: Opened, support: str) -> tuple[str, str]:
    """What the door did in a word, and in a sentence that says nothing but what is known."""
    if not opened.asked:
        return "none", ""
    if opened.any:
        return "opened", "The door is open now."
    call = f"If it stays shut, use your PIN at the door's reader or call {support}." if support else "If it stays shut, use your PIN there."
    if opened.barred:
        return "failed", f"You are checked in, but {opened.barred[:1].lower()}{opened.barred[1:]} Please {f'call {support}' if support else 'ask the staff'}."
    if opened.silent:
        return "asked", f"The door has been asked to open and has not answered yet. {call}"
    return "failed", f"You are checked in, but the door could not be reached. {call}"


def _wait(seconds: int) -> str:
    return f"{-(-seconds // 60)} minutes" if seconds > 90 else f"{seconds} seconds"
