"""Doors that guests open on their telephones (D2): a wish comes down from the hub, is carried out once like a check-in, and is answered.

Not here: whether the booking lets in (`checkin` judges, as at the kiosk), nor the wish's way (`shared.ledger.door_wishes`). A wish is carried out by
the process that heard it, right after the commit; what a stop left over is answered as too late, since nobody knows how long it lay.
Invariant: a wish older than `VALID_S` by the hub's own clock opens nothing; nothing here keeps the link waiting.
"""

from __future__ import annotations

import asyncio

from shared.errors import Failure, Refused
from shared.ledger import door_wishes
from shared.ledger.desk import Desk
from shared.ledger.door_wishes import Wish
from shared.model import DoorOutcome
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter
from site_agent.services.link import Link
from site_agent.services.people import Asker
from site_agent.services.visits.checkin import PHONE, CheckIn

_log = log.get("site_agent.phone_doors")

#: who it is in journals and door logs: whoever has the booking's link
GUEST = Asker(kind=PHONE, id="phone", name="The guest's telephone", rights=frozenset())
USE_PIN = "Please use your PIN at the door."
LATE = f"The facility heard of it too late, so the door was not opened. {USE_PIN}"
RESTARTED = "The facility's system was restarted meanwhile. If the door is shut, use your PIN."
#: wishes under way at once; more are refused, since a door has one lock
AT_ONCE_MAX = 20
STOP_WAIT_S = 5.0
OUTCOMES: dict[str, DoorOutcome] = {"opened": "opened", "asked": "silent", "failed": "failed", "none": "none"}


class PhoneDoors:
    """One site's."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, site_id: str, link: Link, checkin: CheckIn):
        self._db, self._desk, self._site_id, self._link, self._checkin = db, desk, site_id, link, checkin
        self._going: dict[str, asyncio.Task[None]] = {}
        self._begun = False
        db.listen(self._heard)

    async def start(self) -> None:
        """Answers what a stop left over; from now on wishes are carried out. Before the link begins."""
        left = self._db.read(lambda tx: door_wishes.unanswered(tx, self._site_id))
        for wish in left:
            await self._answer(wish, "late", detail=RESTARTED)
        self._begun = True

    async def stop(self) -> None:
        self._begun = False
        if self._going:
            await asyncio.wait(set(self._going.values()), timeout=STOP_WAIT_S)

    def _heard(self, events: list[tuple[str, str]]) -> None:
        for topic, wish_id in events:
            if topic == "door_wish" and self._begun and wish_id not in self._going:
                wish = self._db.read(lambda tx, w=wish_id: door_wishes.one(tx, w))
                if wish is not None and not wish.outcome:
                    task = self._going[wish_id] = asyncio.get_running_loop().create_task(self._carry_out(wish))
                    task.add_done_callback(lambda _, w=wish_id: self._going.pop(w, None))

    async def _carry_out(self, wish: Wish) -> None:
        try:
            if door_wishes.is_late(wish, self._link.hub_clock()):
                _log.warning("phone_door.late", booking_id=wish.booking_id)
                await self._answer(wish, "late", detail=LATE)
            elif len(self._going) > AT_ONCE_MAX:
                await self._answer(wish, "refused", "too_many_requests", f"Too many doors are being asked for at once. {USE_PIN}")
            else:
                await self._open(wish)
        except Failure as error:  # the books cannot be written: the page says to use the PIN when no answer comes
            _log.warning("phone_door.not_done", booking_id=wish.booking_id, why=error.detail)

    async def _open(self, wish: Wish) -> None:
        try:
            came = await self._checkin.by_phone(wish.booking_id, GUEST)
        except Refused as no:
            await self._answer(wish, "refused", no.refusal.code, no.refusal.detail)
            return
        await self._answer(wish, OUTCOMES[came.door], detail=came.sentence)

    async def _answer(self, wish: Wish, outcome: DoorOutcome, code: str = "", detail: str = "") -> None:
        await self._db.write(lambda tx: door_wishes.answer(tx, self._desk, wish.id, outcome, code, detail))
