"""Facility notices at the hub (B22): written for one facility or for all, shown on the booking pages, told in letters and by the API.

Not here: the rows and their way to the sites (`shared.ledger.notices`). Invariant: a notice for all facilities is written for all or for none,
and each facility can end its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.ledger import notices, records
from shared.ledger.desk import Desk
from shared.model import Facility, Notice, NoticeLevel
from shared.runtime.database import Database, InlineWriter

__all__ = ["Notices"]


class Notices:
    """`site_ids`: the facilities that are enrolled here."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, site_ids: Iterable[str]):
        self._db, self._desk, self._site_ids = db, desk, tuple(sorted(site_ids))

    def new_id(self) -> str:
        """The id of a notice that a page is about to send, so that sending it twice writes it once."""
        return self._desk.new_id()

    def draft(
        self, notice_id: str, site_ids: Iterable[str], level: NoticeLevel, text: str, text_fr: str, untils: dict[str, int], by: str
    ) -> tuple[Notice, ...]:
        """The notices as they would be written, one for each facility; `untils`: facility -> unix second. Refuses as `notices.sound` does."""
        now = self._desk.now()
        found = (
            Notice(id=notice_id, site_id=site_id, level=level, text=text, text_fr=text_fr, from_at=now, until_at=untils[site_id], by=by)
            for site_id in sorted(site_ids)
        )
        return tuple(notices.sound(one, now) for one in found)

    async def write(self, drafts: tuple[Notice, ...]) -> tuple[Notice, ...]:
        """Writes them, all or none. Refuses as `notices.state` does."""
        return await self._db.write(lambda tx: tuple(notices.state(tx, self._desk, one) for one in drafts))

    async def end(self, site_id: str, notice_id: str, by: str) -> Notice:
        """Takes one down, whoever wrote it. Refuses `facility_not_found`, `notice_not_found`."""
        return await self._db.write(lambda tx: notices.end(tx, self._desk, site_id, notice_id, by=by))

    def places(self) -> dict[str, Facility]:
        """The facilities that have stated themselves, by name: of others no clock is known."""
        return {one.id: one for one in self._db.read(records.facilities) if one.id in self._site_ids}

    def current(self, site_id: str) -> tuple[Notice, ...]:
        """What is shown now."""
        return self._db.read(lambda tx: notices.current(tx, site_id, self._desk.now()))

    def during(self, site_id: str, starts_at: int, ends_at: int) -> tuple[Notice, ...]:
        """What stands while somebody's visit lasts (unix seconds)."""
        return self._db.read(lambda tx: notices.during(tx, site_id, self._desk.now(), starts_at, ends_at))

    def open(self) -> dict[str, tuple[Notice, ...]]:
        """Per facility all that are neither past nor ended."""
        return self._db.read(lambda tx: {site_id: notices.upcoming(tx, site_id, self._desk.now()) for site_id in self._site_ids})

    async def tick(self) -> int:
        """Tells the sites what they have not been told. Most of the time there is nothing, and nothing is written."""
        now = self._desk.now()
        behind = self._db.read(lambda tx: [site_id for site_id in self._site_ids if notices.untold(tx, site_id, now)])
        return sum([await self._db.write(lambda tx, s=site_id: notices.tell(tx, self._desk, s)) for site_id in behind])
