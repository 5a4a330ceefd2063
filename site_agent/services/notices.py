"""Facility notices at the site (B22): what this facility's guests are told at its screens, written here or by the hub, ended here or there.

Works without the hub: a dark facility can say that its front door sticks. Not here: the rows and their way to the hub
(`shared.ledger.notices`). Invariant: what staff write or end is shown so at once, whatever the link does.
"""

from __future__ import annotations

import msgspec

from shared.ledger import notices
from shared.ledger.desk import Desk
from shared.model import Notice, NoticeLevel
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.services.people import Asker
from site_agent.services.views import iso

__all__ = ["NoticeDesk", "NoticeView"]


class NoticeView(msgspec.Struct, frozen=True):
    """A notice; `since` and `until` are ISO 8601 in UTC. `text_fr` is empty where nobody wrote it in French."""

    id: str
    level: NoticeLevel
    text: str
    text_fr: str
    since: str
    until: str
    by: str
    ended: bool


class NoticeDesk:
    """The site's notices for its screens, its staff and its jobs."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, site_id: str):
        self._db, self._desk, self._site_id = db, desk, site_id

    def current(self) -> tuple[Notice, ...]:
        """What guests are told now, the most urgent first."""
        return self._db.read(lambda tx: notices.current(tx, self._site_id, self._desk.now()))

    def open(self) -> list[NoticeView]:
        """All that are neither past nor ended."""
        return [_view(one) for one in self._db.read(lambda tx: notices.upcoming(tx, self._site_id, self._desk.now()))]

    async def write(self, notice_id: str, level: NoticeLevel, text: str, text_fr: str, until_at: int, asker: Asker) -> NoticeView:
        """Shows a notice from now on. The same id and words again give the same. Refuses as `notices.state` does."""
        now = self._desk.now()
        wanted = Notice(
            id=notice_id, site_id=self._site_id, level=level, text=text, text_fr=text_fr, from_at=now, until_at=until_at, by=asker.id
        )
        return _view(await self._db.write(lambda tx: notices.state(tx, self._desk, wanted)))

    async def end(self, notice_id: str, asker: Asker) -> NoticeView:
        """Takes one down, whoever wrote it. Refuses `notice_not_found`."""
        return _view(await self._db.write(lambda tx: notices.end(tx, self._desk, self._site_id, notice_id, by=asker.id)))

    async def tick(self) -> int:
        """Tells the hub what it has not been told. Most of the time there is nothing, and nothing is written."""

        def behind(tx: Tx) -> bool:
            return notices.untold(tx, self._site_id, self._desk.now())

        return await self._db.write(lambda tx: notices.tell(tx, self._desk, self._site_id)) if self._db.read(behind) else 0


def _view(one: Notice) -> NoticeView:
    return NoticeView(one.id, one.level, one.text, one.text_fr, iso(one.from_at), iso(one.until_at), one.by, one.ended)
