"""Lends a guest a card for the time of the booking (D11): staff hold it to a reader once, and it opens what the booking's credential opens.

Not for: cards of staff, which are the console's. Invariants: a card that is lent is on the credential that the booking has now, and on none when
the booking is over, cancelled or without a credential; it is taken from nobody else; what the controller does not take now is tried again.
"""

from __future__ import annotations

import msgspec

from shared.errors import Failure, refuse
from shared.ledger import records
from shared.ledger.desk import Desk
from shared.model import Booking
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.ports import CardTaken, DoorCard, Doors, DoorsRefused, DoorsUnavailable, GrantRef
from site_agent.services.people import Asker
from site_agent.store import door_cards, door_work
from site_agent.store.door_cards import Row

_log = log.get("site_agent.door_cards")

#: a reader that waits for a card takes no other meanwhile, so nobody is waited for without end
SESSION_S = 60
AGAIN_S = 10


class CardState(msgspec.Struct, frozen=True):
    """`state`: none, waiting (hold it to the reader now), lent, or returning (the controller has not taken it back yet). `label`: what is printed
    on it; `session` while a reader waits; `told` a sentence."""

    state: str
    told: str
    label: str = ""
    session: str = ""


class _Session(msgspec.Struct, frozen=True):
    booking_id: str
    device_id: str
    until_at: int


class DoorCards:
    """One site's; `doors` None where no controller is configured."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, site_id: str, doors: Doors | None):
        self._db, self._desk, self._site_id, self._doors = db, desk, site_id, doors
        self._sessions: dict[str, _Session] = {}
        self._some = True
        self._try_at = 0

    # ---- lend
    async def begin(self, booking_id: str, device_id: str, asker: Asker) -> CardState:
        """A reader begins to wait for the card. Refuses `not_allowed`, `no_doors`, `booking_not_found`, `illegal_move` for a booking that opens
        nothing now, `door_unavailable`, `door_refused`."""
        doors = self._port(asker)
        if self._db.read(lambda tx: records.booking(tx, booking_id)) is None:
            raise refuse("booking_not_found", "This booking is not known.")
        if not self._ref(booking_id):
            raise refuse("illegal_move", "This booking has nothing on the door yet, or not any more, so no card can go with it.")
        try:
            session = await doors.card_begin(device_id)
        except Failure as error:
            raise _refused(error) from None
        now = self._desk.now()
        self._sessions = {one: known for one, known in self._sessions.items() if now <= known.until_at}
        self._sessions[session] = _Session(booking_id, device_id, now + SESSION_S)
        return CardState("waiting", "Hold the card to the reader now.", session=session)

    async def read(self, session: str, asker: Asker) -> CardState:
        """Whether the card was held to the reader; then it is lent. Refuses `card_not_read` for a session that is over, and what `begin` does."""
        doors, known = self._port(asker), self._sessions.get(session)
        if known is None or self._desk.now() > known.until_at:
            await self.leave(session)
            raise refuse("card_not_read", "The reader waits for no card any more. Please begin again.")
        try:
            card = await doors.card_read(session)
            if card is None:
                return CardState("waiting", "Hold the card to the reader now.", session=session)
            await self.leave(session)
            return await self._lend(doors, known.booking_id, card, asker)
        except Failure as error:
            raise _refused(error) from None

    async def leave(self, session: str) -> None:
        """The reader waits no more; one that cannot be told ends by itself."""
        if self._sessions.pop(session, None) is not None and self._doors is not None:
            try:
                await self._doors.card_end(session)
            except Failure as error:
                _log.info("door_card.reader_not_told", why=error.detail)

    async def _lend(self, doors: Doors, booking_id: str, card: DoorCard, asker: Asker) -> CardState:
        ref, now = self._ref(booking_id), self._desk.now()

        def note(tx: Tx) -> None:
            other, before = door_cards.of_card(tx, card.card_id), door_cards.of_booking(tx, booking_id)
            if other is not None and other.booking_id != booking_id:
                raise refuse("door_refused", "This card is lent to another guest. Take it back there first, or use another card.")
            if before is not None and before.card_id != card.card_id:
                raise refuse("door_refused", "This guest has a card already. Take that one back first.")
            b = records.booking(tx, booking_id)
            if b is None or not ref:
                raise refuse("illegal_move", "This booking has nothing on the door any more, so no card can go with it.")
            # Before the controller is asked: should its answer be lost, the card is taken back all the same.
            door_cards.put(
                tx, Row(booking_id=booking_id, card_id=card.card_id, label=card.label, by_id=asker.id, at=now, ends_at=b.end * 900)
            )
            records.journal(tx, now, self._site_id, asker.id, "card lent", booking_id, card.label)

        await self._db.write(note)
        self._some = True
        try:
            await doors.give_card(GrantRef(ref), card.card_id)
        except CardTaken:
            await self._db.write(lambda tx: door_cards.drop(tx, booking_id))
            raise
        await self._db.write(lambda tx: self._is_on(tx, booking_id, ref))
        return CardState("lent", f"The card {card.label} opens what this booking opens, until its end.".replace("  ", " "), card.label)

    @staticmethod
    def _is_on(tx: Tx, booking_id: str, ref: str) -> None:
        row = door_cards.of_booking(tx, booking_id)
        if row is not None:
            door_cards.put(tx, msgspec.structs.replace(row, ref=ref))

    async def take(self, booking_id: str, asker: Asker) -> CardState:
        """The guest has given it back. Refuses `not_allowed`, `no_doors`, `not_found` where none is lent."""
        self._port(asker)

        def run(tx: Tx) -> None:
            row = door_cards.of_booking(tx, booking_id)
            if row is None:
                raise refuse("not_found", "No card is lent for this booking.")
            door_cards.put(tx, msgspec.structs.replace(row, back=1))
            records.journal(tx, self._desk.now(), self._site_id, asker.id, "card taken back", booking_id, row.label)

        await self._db.write(run)
        self._some, self._try_at = True, 0
        await self.tick()
        return self.of(booking_id)

    def of(self, booking_id: str) -> CardState:
        """What is lent for a booking."""
        row = self._db.read(lambda tx: door_cards.of_booking(tx, booking_id))
        if row is None:
            return CardState("none", "No card is lent for this booking.")
        if row.back:
            return CardState(
                "returning", "The card still opens: the door controller has not taken it back yet. It is tried again.", row.label
            )
        there = f"The card {row.label} is lent for this booking.".replace("  ", " ")
        return CardState("lent", there if row.ref else f"{there} The door controller has not taken it yet.", row.label)

    # ---- by the clock
    async def tick(self) -> None:
        """Every second: brings cards to the credentials that their bookings have now, and takes them back at the end."""
        if self._doors is None or not self._some or self._desk.now() < self._try_at:
            return
        rows = self._db.read(door_cards.lent)
        self._some = bool(rows)
        for row in rows:
            try:
                if not await self._gone_over(row):
                    await self._settle(self._doors, row)
            except Failure as error:
                self._try_at = self._desk.now() + AGAIN_S
                _log.warning("door_card.not_settled", booking_id=row.booking_id, why=error.detail)

    async def _gone_over(self, row: Row) -> bool:
        """A guest who plays on, or was moved, has another booking, which takes the credential over, and the card with it."""

        def run(tx: Tx) -> bool:
            now, heir = door_cards.of_booking(tx, row.booking_id), _heir(tx, row.booking_id)
            if now is None or now.back or heir is None or door_cards.of_booking(tx, heir.id) is not None:
                return False
            door_cards.drop(tx, now.booking_id)
            door_cards.put(tx, msgspec.structs.replace(now, booking_id=heir.id, ends_at=heir.end * 900))
            return True

        if row.back or self._db.read(lambda tx: _heir(tx, row.booking_id)) is None:
            return False
        return await self._db.write(run)

    async def _settle(self, doors: Doors, row: Row) -> None:
        ref = self._ref(row.booking_id)
        over = row.back or not ref or (row.ends_at <= self._desk.now() and not self._desk.clock_doubt())
        if over:
            for old in dict.fromkeys(one for one in (row.ref, ref) if one):
                await doors.take_card(GrantRef(old), row.card_id)
            await self._db.write(lambda tx: door_cards.drop(tx, row.booking_id))
            _log.info("door_card.back", booking_id=row.booking_id)
        elif ref != row.ref:
            if row.ref:
                await doors.take_card(GrantRef(row.ref), row.card_id)
            await doors.give_card(GrantRef(ref), row.card_id)
            await self._db.write(lambda tx: self._is_on(tx, row.booking_id, ref))

    def _ref(self, booking_id: str) -> str:
        """The booking's credential on the controller; empty where it has none, or is to lose it."""
        row, b = self._db.read(lambda tx: (door_work.work(tx, booking_id), records.booking(tx, booking_id)))
        # the books' word beside the reconciler's, which comes a moment later
        return row.ref if row is not None and row.wanted == "grant" and b is not None and b.status in ("confirmed", "cancelling") else ""

    def _port(self, asker: Asker) -> Doors:
        asker.needs("check_in")
        if self._doors is None:
            raise refuse("no_doors", "No door controller is connected to this system.")
        return self._doors


def _heir(tx: Tx, booking_id: str) -> Booking | None:
    """The booking that stands in the place of this one; None where nothing does."""
    b = records.booking(tx, booking_id)
    heir = records.booking(tx, b.replaced_by) if b is not None and b.replaced_by else None
    return heir if heir is not None and b is not None and heir.site_id == b.site_id and heir.status == "confirmed" else None


def _refused(error: Failure) -> Exception:
    if isinstance(error, DoorsUnavailable):
        return refuse("door_unavailable", error.detail, retry_after_s=error.retry_after_s)
    return refuse("door_refused", error.detail) if isinstance(error, DoorsRefused) else error
