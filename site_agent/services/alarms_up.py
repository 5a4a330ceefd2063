"""Tells the hub what people must see to here, so that staff who are elsewhere hear of it: emergencies, door alerts, a disk that fills up (D5, D6).

Not here: raising alarms (their services), keeping and sending them (`shared.ledger.site_alarms`), who is told (the hub). Invariant: what is told stands
exactly as long as its cause, and names no guest.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.ledger import site_alarms
from shared.ledger.desk import Desk
from shared.model import SiteAlarm
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.services.alarms import Alarm
from site_agent.services.doors import door_words
from site_agent.store import door_trail
from site_agent.store.door_trail import Alert

#: what an alert says without whom it is about; forced doors are told at once, the others in the daily digest
_DOOR = {
    "forced": ("{} was forced open.", True),
    "held": ("{} stood open for too long.", False),
    "denied": ("{} refused somebody several times.", False),
}
#: of the doors' alerts only so many at a time, the oldest; of the others how many they are
DOOR_ALERTS_MAX = 20
MORE = "door_more"


class AlarmsUp:
    """`name_of(door_id)`: a door as people call it. `others()`: what stands beside the doors' alerts, told by its code."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, site_id: str, name_of: Callable[[str], str], others: Callable[[], list[Alarm]]
    ):
        self._db, self._desk, self._site_id, self._name_of, self._others = db, desk, site_id, name_of, others

    async def tick(self) -> int:
        """About once a second; most of the time there is nothing, and nothing is written. Returns how many were told."""
        others = self._others()
        if not self._db.read(lambda tx: site_alarms.differs(tx, self._site_id, self._standing(tx, others))):
            return 0
        return await self._db.write(lambda tx: site_alarms.state(tx, self._desk, self._site_id, self._standing(tx, others)))

    def _standing(self, tx: Tx, others: list[Alarm]) -> list[SiteAlarm]:
        alerts = door_trail.oldest_alerts(tx, self._site_id, DOOR_ALERTS_MAX)
        known = {one.kind: one for one in site_alarms.current(tx, self._site_id)}
        told = [known.get(one.code) or self._other(one) for one in others] + [self._door(one) for one in alerts]
        more = self._more(tx, alerts[-1].n, known.get(MORE)) if len(alerts) == DOOR_ALERTS_MAX else None
        return told if more is None else [*told, more]

    def _more(self, tx: Tx, after_n: int, known: SiteAlarm | None) -> SiteAlarm | None:
        """How many there are beside those; another number is another alarm, since what was told of one stays as it is."""
        count, forced = door_trail.count_alerts(tx, self._site_id, after_n)
        if not count:
            return None
        text = f"And {count} more {'alert of a door waits' if count == 1 else 'alerts of doors wait'} for somebody"
        text += f", {forced} of them of a door that was forced open." if forced else "."
        if known is not None and known.text == text:
            return known
        now = self._desk.now()
        return SiteAlarm(id=f"{MORE}-{now}-{count}", site_id=self._site_id, kind=MORE, text=text, since_at=now, urgent=forced > 0)

    def _other(self, alarm: Alarm) -> SiteAlarm:
        now = self._desk.now()
        return SiteAlarm(id=f"{alarm.code}-{now}", site_id=self._site_id, kind=alarm.code, text=alarm.text, since_at=now, urgent=alarm.bad)

    def _door(self, alert: Alert) -> SiteAlarm:
        words, urgent = _DOOR[alert.kind]
        text = words.format(door_words.door_name(self._name_of(alert.door_id)))
        return SiteAlarm(
            id=f"door-{alert.n}-{alert.at}", site_id=self._site_id, kind=f"door_{alert.kind}", text=text, since_at=alert.at, urgent=urgent
        )
